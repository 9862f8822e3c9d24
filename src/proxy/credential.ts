import type { Clock } from "../clock.ts";
import type { RouteConfig } from "../config/schema.ts";
import type { Choice, Grant, PoolKey } from "../pools/pool.ts";
import type { Pool, Pools } from "../pools/pools.ts";
import type { Meter, UsagePaths } from "../tokens/meter.ts";
import type { Prompt } from "../tokens/prompt.ts";
import type { UpstreamResponse } from "../upstreams/client.ts";
import { retryAfterOf } from "../upstreams/retry.ts";
import type { Arrival, Exchange } from "./exchange.ts";

/** How a route's requests get a credential of a pool. */
export interface RouteCredential {
  readonly pool: string;
  /** The field that carries it, as configured and in lower case. */
  readonly header: string;
  readonly field: string;
  /** What stands around the key in the field's value. */
  readonly before: string;
  readonly after: string;
  /** What is reserved: so many tokens, what a request's field says, or an estimate of the request. */
  readonly cost:
    | { readonly kind: "fixed"; readonly tokens: number }
    | { readonly kind: "header"; readonly name: string }
    | { readonly kind: "estimate" };
}

/** `route.cost` of more than one says what a request costs; otherwise it is estimated. */
export function compileCredential(config: RouteConfig["credential"], routeCost: number): RouteCredential | null {
  if (config === null) return null;
  const field = config.header.toLowerCase();
  const value = config.value ?? (field === "authorization" ? "Bearer {key}" : "{key}");
  const [before = "", after = ""] = value.split("{key}");
  const { cost } = config;
  return {
    pool: config.pool,
    header: config.header,
    field,
    before,
    after,
    cost:
      typeof cost === "number"
        ? { kind: "fixed", tokens: cost }
        : cost.startsWith("header:")
          ? { kind: "header", name: cost.slice("header:".length).toLowerCase() }
          : cost === "route" || routeCost > 1
            ? { kind: "fixed", tokens: routeCost }
            : { kind: "estimate" },
  };
}

/** A path such as `usage.total_tokens`, or several that are added up. */
export const compilePaths = (usage: string | readonly string[] | null): UsagePaths | null =>
  usage === null ? null : (typeof usage === "string" ? [usage] : usage).map((path) => path.split("."));

/** No key of the pool can take the request now. */
export class PoolExhausted extends Error {
  /** `retryIn`: milliseconds, infinite when no key will ever hold the cost. */
  constructor(
    readonly retryIn: number,
    readonly cost: number,
  ) {
    super("no key of the pool is left");
  }
}

/** The upstream answered 403, and whether that is about the caller's request or about our key is not known. */
export class CredentialRefused extends Error {}

/** The route names a pool that was deleted. */
export class PoolMissing extends Error {}

/** The fields by which providers say when a key may be used again: OpenAI's, in milliseconds, before the standard's. */
function restAsked({ fields }: UpstreamResponse, clock: Clock): number | null {
  const exact = fields.get("retry-after-ms");
  if (exact !== null && /^\d{1,12}(\.\d{1,9})?$/.test(exact)) return Math.ceil(Number(exact));
  return retryAfterOf(fields.get("retry-after"), clock.wall());
}

/** The key of a pool that a request uses, from before it is sent until what it cost is known. */
export class CredentialUse {
  private requests = 0;
  private call: { readonly isSent: boolean } | null = null;
  private readonly refused: string[] = [];
  /** The keys whose 403 may be about the request: the next key's answer tells. */
  private readonly doubtful: PoolKey[] = [];
  private meter: Meter | null = null;
  private status = 0;
  private isSettled = false;

  private constructor(
    private readonly parts: { readonly pools: Pools; readonly clock: Clock },
    private readonly pool: Pool,
    private readonly route: string,
    private readonly credential: RouteCredential,
    private readonly cost: number,
    /** Tokens of the request itself; `null` when its cost is no estimate. */
    private readonly input: number | null,
    private grant: Grant,
  ) {}

  /** Reserves what the request will cost with one of the pool's keys. Throws `PoolExhausted` and `PoolMissing`. */
  static async begin(
    parts: { readonly pools: Pools; readonly clock: Clock },
    x: Exchange<Arrival>,
    route: string,
    credential: RouteCredential,
    prompt: Prompt,
    mayProbe: boolean,
  ): Promise<CredentialUse> {
    const pool = parts.pools.get(credential.pool);
    if (pool === null) throw new PoolMissing(`there is no pool ${credential.pool}`);
    const stated = statedCost(x, credential);
    const cost = stated ?? Math.max(1, prompt.input + prompt.output);
    const grant = await take(parts.pools, pool, route, cost, { without: [], mayProbe });
    return new CredentialUse(parts, pool, route, credential, cost, stated === null ? prompt.input : null, grant);
  }

  get field(): string {
    return this.credential.field;
  }

  /** The header line that carries the key. */
  get line(): string {
    const { header, before, after } = this.credential;
    const { secret, id } = this.grant.key;
    return `${header}: ${before}${secret ?? id}${after}\r\n`;
  }

  /** A request with the key goes out. */
  sent(call: { readonly isSent: boolean }): void {
    this.requests++;
    this.call = call;
    this.status = 0;
  }

  /** The request can't have reached anybody. */
  unsent(): void {
    this.requests--;
    this.call = null;
  }

  /** Takes note of an answer. True when the upstream refused the key, not the request; with 403 it may be either. */
  answered(response: UpstreamResponse): boolean {
    const { pools, clock } = this.parts;
    const { status } = response;
    this.status = status;
    const isRefusal = pools.answered(this.pool, this.grant.key, status, restAsked(response, clock), false);
    // Another key was taken, or refused for what it is: then it was the key.
    if (status !== 403 && status < 500) for (const key of this.doubtful.splice(0)) pools.answered(this.pool, key, 403, null, true);
    return isRefusal;
  }

  /** Takes another key in place of the refused one, for nothing was used of that. False when two keys got the same 403: then it is about the request. Throws `PoolExhausted`. */
  async next(): Promise<boolean> {
    const { pools } = this.parts;
    const { key } = this.grant;
    this.refused.push(key.id);
    if (this.status === 403) {
      this.doubtful.push(key);
      if (this.doubtful.length > 1) return false;
    }
    pools.settle(this.pool, this.grant, 0, this.requests);
    this.isSettled = true;
    this.requests = 0;
    this.call = null;
    try {
      this.grant = await take(pools, this.pool, this.route, this.cost, { without: this.refused, mayProbe: true });
    } catch (error) {
      this.unconfirmed();
      throw error;
    }
    this.isSettled = false;
    return true;
  }

  /** A 403 that no other key could be asked about. */
  unconfirmed(): void {
    if (this.status === 403) this.parts.pools.doubt(this.pool, this.grant.key);
  }

  /** The response that the caller gets goes by this meter. */
  measure(meter: Meter | null): void {
    this.meter = meter;
  }

  /** When the first key can be used again after this one was refused, as an error for the caller. */
  exhausted(): PoolExhausted {
    const it = this.parts.pools.whenNext(this.pool, this.cost);
    return new PoolExhausted(it, this.cost);
  }

  /** The exchange is over: what it used takes the place of what was reserved. A second call does nothing. */
  settle(): void {
    if (this.isSettled) return;
    this.isSettled = true;
    this.parts.pools.settle(this.pool, this.grant, this.used(), this.made);
  }

  /** Requests that have left: one whose caller gave up before there was a connection has not. */
  private get made(): number {
    return this.requests - (this.call?.isSent === false ? 1 : 0);
  }

  private used(): number {
    const reported = this.meter?.reported ?? null;
    if (reported !== null) return reported;
    if (this.made === 0) return 0;
    // An error that reports no usage cost nothing.
    if (this.status >= 400) return 0;
    if (this.input === null) return this.cost;
    // No answer came: the upstream had the request all the same. A stream that broke off, or that does not say: what has passed of it.
    if (this.status === 0) return this.input;
    const passed = this.meter?.passed ?? null;
    return passed === null ? this.cost : this.input + passed;
  }
}

/** A key that takes the cost; better one that may fail than none. Rejects with `PoolExhausted`. */
async function take(pools: Pools, pool: Pool, route: string, cost: number, choice: Choice): Promise<Grant> {
  const lease = await pools.reserve(pool, route, cost, choice.mayProbe ? [choice] : [choice, { ...choice, mayProbe: true }]);
  if (!lease.granted) throw new PoolExhausted(lease.retryIn, cost);
  return lease.grant;
}

function statedCost(x: Exchange<Arrival>, { cost }: RouteCredential): number | null {
  if (cost.kind === "fixed") return cost.tokens;
  if (cost.kind === "estimate") return null;
  const stated = x.incoming.head.fields.get(cost.name);
  return stated !== null && /^\d{1,12}$/.test(stated) ? Number(stated) : null;
}
