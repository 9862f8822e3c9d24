import type { Caller, Context, Log } from "sluice";
import type { Caller as KnownCaller } from "../exchange/caller.ts";
import type { Hook } from "./hook.ts";
import type { MetadataOf, Visit } from "./visit.ts";

const MAX_COST = 1e9;
const MAX_TAGS = 16;
const MAX_TAG = 256;
const TAG_NAME = /^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}$/;

/** The hooks after which limits count. */
const BEFORE_LIMITS: readonly (Hook | null)[] = ["request", "identify", "admit"];

/** Shows a plug-in what is known of a request; nothing of it is made before it is asked for. */
export class PluginContext implements Context {
  readonly #visit: Visit;
  #state: Record<string, unknown> | null = null;
  #log: Log | null = null;
  #caller: { readonly of: KnownCaller; readonly view: Caller | null } | null = null;

  constructor(visit: Visit) {
    this.#visit = visit;
  }

  get route(): Context["route"] {
    const { name, path } = this.#visit.exchange.route;
    return { name, path };
  }

  get ip(): string {
    return this.#visit.exchange.ip;
  }

  get requestId(): string {
    return this.#visit.exchange.id;
  }

  get caller(): Caller | null {
    const { caller } = this.#visit.exchange;
    if (this.#caller?.of !== caller) this.#caller = { of: caller, view: viewOf(caller, this.#visit.visits.metadataOf) };
    return this.#caller.view;
  }

  get cost(): number {
    const { exchange } = this.#visit;
    return exchange.cost ?? exchange.route.cost;
  }

  set cost(cost: number) {
    if (!Number.isInteger(cost) || cost < 0 || cost > MAX_COST)
      throw new TypeError(`context.cost must be a whole number from 0 to ${MAX_COST}, got ${String(cost)}`);
    const visit = this.#visit;
    if (!this.#mayChange("cost")) return;
    const before = visit.exchange.cost;
    visit.changes(() => () => {
      visit.exchange.cost = before;
    });
    visit.exchange.cost = cost;
  }

  get tags(): Record<string, string> {
    const visit = this.#visit;
    const { exchange } = visit;
    // What a hook does that took too long changes nothing.
    if (visit.isOver) return { ...exchange.tags };
    if (!visit.hasTags) {
      const before = exchange.tags;
      visit.changes(() => () => {
        exchange.tags = before;
      });
      // A tag may be called as what all objects have.
      exchange.tags = Object.assign(Object.create(null), before);
      visit.hasTags = true;
    }
    // This class alone makes them, and as a copy that may be changed.
    return (exchange.tags ?? {}) as Record<string, string>;
  }

  set tags(tags: Record<string, string>) {
    if (typeof tags !== "object" || tags === null)
      throw new TypeError('context.tags must be an object of texts, such as { tenant: "acme" }');
    if (!this.#mayChange("tags")) return;
    for (const name of Object.keys(this.tags)) delete this.tags[name];
    Object.assign(this.tags, tags);
  }

  get state(): Record<string, unknown> {
    this.#state ??= {};
    return this.#state;
  }

  get log(): Log {
    this.#log ??= this.#visit.use.instance.logOf(this.requestId);
    return this.#log;
  }

  /** Tells whether limits have still to count; throws where they have counted. */
  #mayChange(what: string): boolean {
    const { isOver, hook } = this.#visit;
    if (isOver) return false;
    if (!BEFORE_LIMITS.includes(hook))
      throw new TypeError(`context.${what} can be set in request, identify and admit: limits have counted`);
    return true;
  }
}

/** Says what is wrong with the tags that a plug-in has set; `null`: nothing is. */
export function tagsFault(tags: Readonly<Record<string, unknown>> | null): string | null {
  const entries = Object.entries(tags ?? {});
  if (entries.length > MAX_TAGS) return `context.tags has more than ${MAX_TAGS} tags`;
  for (const [name, value] of entries) {
    if (!TAG_NAME.test(name)) return `context.tags has a name that no limit can have: ${JSON.stringify(name.slice(0, MAX_TAG))}`;
    if (typeof value !== "string" || value.length > MAX_TAG) return `context.tags.${name} must be text of at most ${MAX_TAG} characters`;
  }
  return null;
}

/** Shows a caller. What the records say of it besides is read when it is asked for, and is the plug-in's own copy. */
function viewOf(caller: KnownCaller, metadataOf: MetadataOf): Caller | null {
  const { via, consumer, id, scopes } = caller;
  if (via === "none") return null;
  let metadata: Caller["metadata"] | null = null;
  return {
    ...{ via, consumer: consumer.id, tier: consumer.tier, scopes, keyId: via === "key" ? id : null },
    get metadata() {
      metadata ??= caller.metadata ?? structuredClone(metadataOf(caller) ?? {});
      return metadata;
    },
  };
}
