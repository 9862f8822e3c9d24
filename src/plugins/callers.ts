import type { Caller, Consumer } from "../exchange/caller.ts";
import { KEYS_UNAVAILABLE, type Problem, problem } from "../http/problem.ts";
import type { ConsumerEntry, KeyRegistry } from "../keys/registry.ts";
import { isObject } from "../values/json.ts";

/**
 * The characters of a consumer's id: it stands in a header, and among the subjects of limits, where nothing may pass for an address or a
 * list.
 */
const CONSUMER = /^[A-Za-z0-9][!#-[\]-~]{0,127}$/;
const SCOPE = /^[!#-[\]-~]{1,128}$/;
const MAX_SCOPES = 256;

/** The callers that are remembered, with their compiled limits: those who called last. */
const MAX_KNOWN = 10_000;

const NO_ACCESS = problem("forbidden", "Your access is disabled: ask whoever runs this.");

const FIELDS: readonly string[] = ["consumer", "tier", "scopes", "metadata"];

/** Holds what `identify` gave, once it is known to be sound. */
interface Named {
  readonly consumer: string;
  readonly tier?: string | null;
  readonly scopes?: readonly string[] | null;
  readonly metadata?: Readonly<Record<string, unknown>> | null;
}

export interface CallersDeps {
  readonly registry: Pick<KeyRegistry, "consumer" | "anonymousTierName" | "policiesFor">;
  readonly hasTier: (name: string) => boolean;
}

interface Remembered {
  readonly caller: Caller;
  /** The record that it was made of, with the limits and quotas that it had then; `null`: there was none. */
  readonly record: ConsumerEntry | null;
  readonly limits: Consumer["limits"];
  readonly quota: Consumer["quota"];
}

/** Makes callers of those whom plug-ins name. */
export class NamedCallers {
  private readonly known = new Map<string, Remembered>();

  constructor(private readonly deps: CallersDeps) {}

  /** Says what is wrong with what `identify` gave; `null`: it names somebody who can call. */
  fault(given: unknown): string | null {
    if (!isObject(given)) return `identify gave ${wordFor(given)} in place of { consumer, tier, scopes, metadata }, null or a Response`;
    const { consumer, tier, scopes, metadata } = given;
    const odd = Object.keys(given).find((name) => !FIELDS.includes(name));
    if (odd !== undefined) return `identify gave a field ${JSON.stringify(odd)}, which means nothing: put it into metadata`;
    if (typeof consumer !== "string" || !CONSUMER.test(consumer))
      return "identify gave a consumer that can't be one: 1 to 128 printable ASCII characters without spaces, quotes and backslashes, beginning with a letter or digit";
    if (isGiven(tier) && (typeof tier !== "string" || !this.deps.hasTier(tier)))
      return `identify gave the tier ${JSON.stringify(tier)}, which does not exist`;
    if (isGiven(scopes) && !(Array.isArray(scopes) && scopes.length <= MAX_SCOPES && scopes.every(isScope)))
      return `identify gave scopes that are no list of at most ${MAX_SCOPES} words without spaces, quotes and backslashes`;
    return isGiven(metadata) && !isObject(metadata) ? "identify gave metadata that is no object" : null;
  }

  /** Gives the caller whom a plug-in names, or the refusal of one whose record is disabled. `given` must be without a fault. */
  of(given: object): Caller | Problem {
    // Found to be sound by whoever calls.
    const named = given as Named;
    const { registry } = this.deps;
    let record: ConsumerEntry | null;
    try {
      record = registry.consumer(named.consumer) ?? null;
    } catch {
      return KEYS_UNAVAILABLE;
    }
    if (record !== null && !record.enabled) return NO_ACCESS;
    const tier = named.tier ?? record?.tier ?? registry.anonymousTierName;
    const scopes = named.scopes ?? [];
    const name = `${named.consumer}\n${tier}\n${scopes.join(" ")}`;
    const caller = this.remembered(name, record) ?? this.remember(name, record, { id: named.consumer, tier }, scopes);
    if (!isGiven(named.metadata)) return caller;
    // Compiled beforehand, so that the copies have them too.
    registry.policiesFor(caller);
    return { ...caller, metadata: named.metadata as Readonly<Record<string, unknown>> };
  }

  private remembered(name: string, record: ConsumerEntry | null): Caller | null {
    const found = this.known.get(name);
    if (found === undefined || found.record !== record) return null;
    return record === null || (found.limits === record.limits && found.quota === record.quota) ? found.caller : null;
  }

  private remember(
    name: string,
    record: ConsumerEntry | null,
    { id, tier }: Pick<Consumer, "id" | "tier">,
    scopes: readonly string[],
  ): Caller {
    const limits = record?.limits ?? null;
    const quota = record?.quota ?? null;
    const models = record?.models ?? null;
    const caller: Caller = {
      via: "plugin",
      consumer: { id, tier, limits, quota, models },
      id,
      scopes: [...scopes],
      ...{
        routes: [],
        ips: null,
        models: null,
        limits: null,
        quota: null,
        expiresAt: Number.POSITIVE_INFINITY,
        policies: null,
        version: 0,
      },
    };
    // Those who come again are put in anew, so that the first are those who have not come for longest.
    this.known.delete(name);
    if (this.known.size >= MAX_KNOWN) this.known.delete(this.known.keys().next().value as string);
    this.known.set(name, { caller, record, limits, quota });
    return caller;
  }
}

const isGiven = (value: unknown): boolean => value !== undefined && value !== null;
const isScope = (value: unknown): boolean => typeof value === "string" && SCOPE.test(value);

/** Names what a value is, for a sentence. */
export function wordFor(value: unknown): string {
  if (Array.isArray(value)) return "a list";
  if (typeof value === "object" && value !== null) return "an object";
  const text = typeof value === "bigint" ? undefined : JSON.stringify(value);
  return text === undefined ? `a ${typeof value}` : text.length > 40 ? `${text.slice(0, 37)}…` : text;
}
