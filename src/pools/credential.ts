import type { Arrival, Exchange } from "../exchange/exchange.ts";
import type { Spending } from "../exchange/spending.ts";
import type { UpstreamResponse } from "../http/client.ts";
import { retryAfterOf } from "../http/retry-after.ts";
import type { RouteConfig } from "../routes/settings.ts";
import { AUTO_USAGE, type Meter, type UsageRecipe, usageByPaths } from "../tokens/meter.ts";
import type { Prompt } from "../tokens/prompt.ts";
import type { Clock } from "../values/clock.ts";
import type { Choice, Cost, Grant, Lease, PoolKey } from "./pool.ts";
import { isDoubtful, type Pool, type Pools } from "./pools.ts";

/** Says how a route's requests get a credential of a pool. */
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
  /** What a request is reckoned to cost of which nothing can be estimated. */
  readonly otherwise: number;
  /** Where the upstream is asked whether it takes a key: a path below a target's own, or `null` for the route's with /models behind it. */
  readonly probe: string | null;
}

/** Writes the header line that carries a key. */
export const credentialLine = ({ header, before, after }: RouteCredential, { secret, id }: PoolKey): string =>
  `${header}: ${before}${secret ?? id}${after}\r\n`;

/** Compiles a route's credential. A cost of the route that is more than one says what a request costs; otherwise it is estimated. */
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
    otherwise: routeCost,
    probe: config.probe,
  };
}

/** Reads `auto`, a path such as `usage.total_tokens`, or several that are added up. */
export function compileUsage(usage: string | readonly string[] | null): UsageRecipe | null {
  if (usage === null) return null;
  return usage === "auto" ? AUTO_USAGE : usageByPaths((typeof usage === "string" ? [usage] : usage).map((path) => path.split(".")));
}

/** Says that no key of the pool can take the request now. */
export class PoolExhausted extends Error {
  /**
   * Takes `retryIn` in milliseconds, infinite when no key will ever hold the cost; and the status with which the upstream has refused the last
   * key, 0 where it was not asked.
   */
  constructor(
    readonly retryIn: number,
    readonly cost: Cost,
    readonly status: number = 0,
  ) {
    super("no key of the pool is left");
  }
}

/** Says that the request's model has no price, and that every key of the pool has a budget in money. */
export class ModelUnpriced extends Error {
  constructor(readonly model: string) {
    super(`the model ${JSON.stringify(model)} has no price`);
  }
}

/**
 * Tells what a request with a pool's key costs in money, in nano-dollars: an exchange's `Spending`, or of several attempts with keys of
 * several pools one attempt's.
 */
export type Charge = Pick<Spending, "reserve" | "model" | "cost">;

/** Says that the upstream refused the caller's request, or that it is not known whether it refused our key: what it said may be about the key, and is not for the caller. */
export class CredentialRefused extends Error {
  /** Takes the upstream's status. */
  constructor(
    message: string,
    readonly status: number,
  ) {
    super(message);
  }
}

/** Says that the route names a pool that was deleted. */
export class PoolMissing extends Error {}

/** Reads the fields by which providers say when a key may be used again: OpenAI's, in milliseconds, before the standard's. */
function restAsked({ fields }: UpstreamResponse, clock: Clock): number | null {
  const exact = fields.get("retry-after-ms");
  if (exact !== null && /^\d{1,12}(\.\d{1,9})?$/.test(exact)) return Math.ceil(Number(exact));
  return retryAfterOf(fields.get("retry-after"), clock.wall());
}

/** Holds the key of a pool that a request uses, from before it is sent until what it cost is known. */
export class CredentialUse {
  private requests = 0;
  private call: { readonly isSent: boolean } | null = null;
  private readonly refused: string[] = [];
  /** The keys whose refusal (401, 402, 403) may be about the request: the next key's answer tells. */
  private readonly doubtful: { readonly key: PoolKey; readonly status: number }[] = [];
  private meter: Meter | null = null;
  private status = 0;
  private isSettled = false;
  private isLost = false;
  /** Hears whether the grant has grown; `null`: it is not growing. */
  private growing: Promise<boolean> | null = null;

  private constructor(
    private readonly deps: { readonly pools: Pools; readonly clock: Clock },
    private readonly exchange: Exchange<Arrival>,
    private readonly pool: Pool,
    private readonly credential: RouteCredential,
    private readonly cost: Cost,
    /** What the request costs in money; `null`: it can't be said in money. */
    private readonly charge: Charge | null,
    /** Tokens of the request itself; `null` when its cost is no estimate. */
    private readonly input: number | null,
    private grant: Grant,
  ) {}

  /**
   * Reserves what the request will cost with one of the pool's keys, until the exchange ends or the attempt is given up. `charge`: what it
   * costs in money. Throws, or rejects with, `PoolExhausted`, `PoolMissing` and `ModelUnpriced`; waits only where Redis has the pools.
   */
  static begin(
    deps: { readonly pools: Pools; readonly clock: Clock },
    exchange: Exchange<Arrival>,
    credential: RouteCredential,
    prompt: Prompt,
    mayProbe: boolean,
    charge: Charge | null = exchange.spending,
  ): CredentialUse | Promise<CredentialUse> {
    const pool = deps.pools.get(credential.pool);
    if (pool === null) throw new PoolMissing(`there is no pool ${credential.pool}`);
    if (charge?.reserve === null && pool.countsMoney === "of all keys") throw new ModelUnpriced(charge.model);
    const stated = statedCost(exchange, credential);
    const tokens = stated ?? (prompt.isRead ? Math.max(1, prompt.input + prompt.output) : credential.otherwise);
    const cost = { tokens, usd: charge === null ? null : (charge.reserve ?? Number.POSITIVE_INFINITY) };
    const input = stated === null && prompt.isRead ? prompt.input : null;
    const used = (grant: Grant): CredentialUse => {
      const use = new CredentialUse(deps, exchange, pool, credential, cost, charge, input, grant);
      exchange.onEnded(() => use.settle());
      return use;
    };
    const taken = take(deps.pools, pool, exchange.route.name, cost, mayProbe ? PROBING : RATHER_NOT);
    return taken instanceof Promise ? taken.then(used) : used(taken);
  }

  /** The header line that carries the key. */
  get line(): string {
    return credentialLine(this.credential, this.grant.key);
  }

  /** Notes that a request with the key goes out. */
  sent(call: { readonly isSent: boolean }): void {
    this.requests++;
    this.call = call;
    this.status = 0;
  }

  /** Notes that the request can't have reached anybody. */
  unsent(): void {
    this.requests--;
    this.call = null;
  }

  /** Takes note of an answer. True when the upstream refused the key, or may have: 401, 402 and 403 may be about what the caller sent as well. */
  answered(response: UpstreamResponse): boolean {
    const { pools, clock } = this.deps;
    const { status } = response;
    this.status = status;
    const isRefusal = pools.answered(this.pool, this.grant.key, status, restAsked(response, clock));
    // This key was taken: then it was the others that were refused, not the request.
    if (!isRefusal && status < 500 && this.doubtful.length > 0)
      for (const doubt of this.doubtful.splice(0)) pools.quarantine(this.pool, doubt.key, doubt.status);
    return isRefusal;
  }

  /** Takes another key in place of the refused one, for nothing was used of that. False when two keys got the same refusal: then it is about the request. Throws `PoolExhausted`. */
  async next(): Promise<boolean> {
    const { pools } = this.deps;
    this.refused.push(this.grant.key.id);
    const isRepeated = this.doubtful.some(({ status }) => status === this.status);
    this.isDoubted();
    if (isRepeated) return false;
    pools.settle(this.pool, this.grant, NOTHING, this.requests);
    this.isSettled = true;
    this.requests = 0;
    this.call = null;
    this.grant = await take(pools, this.pool, this.exchange.route.name, this.cost, [{ without: this.refused, mayProbe: true }]);
    this.isSettled = false;
    // It may have ended meanwhile.
    this.exchange.onEnded(() => this.settle());
    return true;
  }

  /** Notes that the key's refusal may be about the request. */
  private isDoubted(): void {
    const { key } = this.grant;
    if (isDoubtful(this.status) && !this.doubtful.some((doubt) => doubt.key === key)) this.doubtful.push({ key, status: this.status });
  }

  /**
   * Asks the upstream about the keys themselves, where no other key tells whose fault it is (`ask`: the status that a request of our own with this key gets, or `null`), and puts
   * those in quarantine that it refuses. Gives whether the key that was refused last is known to be at fault.
   * Of 403, which is seldom about a key, only several requests in a row make us ask.
   */
  async confirmed(ask: Ask): Promise<boolean> {
    if (this.status === 429) return true;
    this.isDoubted();
    const { pools } = this.deps;
    const verdicts = await Promise.all(
      this.doubtful.map(async ({ key, status }) => {
        const isSuspect = await pools.doubt(this.pool, key, status);
        return (isSuspect || status !== 403) && pools.confirm(this.pool, key, status, () => ask(key));
      }),
    );
    return verdicts.at(-1) ?? false;
  }

  /** Notes that two keys got the same refusal, which is about the request: only if no request at all gets through with them, the upstream is asked about them, and nobody waits for it. */
  repeated(ask: Ask, onFault: (error: unknown) => void): void {
    const { pools } = this.deps;
    for (const { key, status } of this.doubtful)
      (async () => {
        if (await pools.doubt(this.pool, key, status)) await pools.confirm(this.pool, key, status, () => ask(key));
      })().catch(onFault);
  }

  /** Takes the meter of the response that the caller gets. */
  measure(meter: Meter | null): void {
    this.meter = meter;
  }

  /** Says when the first key can be used again after this one was refused, as an error for the caller. */
  exhausted(): PoolExhausted {
    const retryIn = this.deps.pools.whenNext(this.pool, this.cost);
    return new PoolExhausted(retryIn, this.cost, this.status);
  }

  /**
   * Takes more nano-dollars from the key's budgets in money: from all of them or from none. Gives whether it did; true where it has none.
   * One call at a time.
   */
  grow(usd: number): boolean | Promise<boolean> {
    if (this.isSettled) return false;
    const grown = this.deps.pools.grow(this.pool, this.grant, usd);
    if (!(grown instanceof Promise)) return grown;
    const growing = grown.finally(() => {
      if (this.growing === growing) this.growing = null;
    });
    this.growing = growing;
    return growing;
  }

  /**
   * Settles an attempt that is given up for another one before the exchange is over: what was reserved counts as used where it went out and
   * was not refused, unless the response has reported less.
   */
  lost(): void {
    this.isLost = true;
    this.settle();
  }

  /** Settles the cost when the exchange is over: what it used takes the place of what was reserved. A second call does nothing. */
  settle(): void {
    if (this.isSettled) return;
    this.isSettled = true;
    const { pools } = this.deps;
    const { pool, grant, made } = this;
    const used = this.used();
    const settle = () => pools.settle(pool, grant, used, made);
    // What was reserved is known when it has grown.
    if (this.growing === null) settle();
    else this.growing.then(settle, settle);
  }

  /** Requests that have left: one whose caller gave up before there was a connection has not. */
  private get made(): number {
    return this.requests - (this.call?.isSent === false ? 1 : 0);
  }

  private used(): Cost {
    if (this.made === 0) return NOTHING;
    return { tokens: this.tokens(), usd: this.charge === null ? null : this.charge.cost() };
  }

  private tokens(): number {
    const { cost } = this;
    const reported = this.meter?.reported ?? null;
    if (reported !== null) return this.isLost ? Math.min(reported, cost.tokens) : reported;
    // An error that reports no usage cost nothing.
    if (this.status >= 400) return 0;
    if (this.input === null || this.isLost) return cost.tokens;
    // No answer came: the upstream had the request all the same. A stream that broke off, or that does not say: what has passed of it.
    if (this.status === 0) return this.input;
    const passed = this.meter?.passed ?? null;
    return passed === null ? cost.tokens : this.input + passed;
  }
}

/** What a request has used that did not go out, or was refused. */
const NOTHING: Cost = { tokens: 0, usd: 0 };

/** Asks the upstream about a key: the status that a request of our own gets with it, `null` without an answer. */
export type Ask = (key: PoolKey) => Promise<number | null>;

/** Choices of a request that can be sent again with another key. */
const PROBING: readonly Choice[] = [{ without: [], mayProbe: true }];
/** Choices of one that can't: better a key that may fail than none. */
const RATHER_NOT: readonly Choice[] = [{ without: [], mayProbe: false }, ...PROBING];

/** Takes a key that has room for the cost, by the first of these choices that finds one. Throws, or rejects with, `PoolExhausted`. */
function take(pools: Pools, pool: Pool, route: string, cost: Cost, choices: readonly Choice[]): Grant | Promise<Grant> {
  const granted = (lease: Lease): Grant => {
    if (!lease.granted) throw new PoolExhausted(lease.retryIn, cost);
    return lease.grant;
  };
  const lease = pools.reserve(pool, route, cost, choices);
  return lease instanceof Promise ? lease.then(granted) : granted(lease);
}

function statedCost(exchange: Exchange<Arrival>, { cost }: RouteCredential): number | null {
  if (cost.kind === "fixed") return cost.tokens;
  if (cost.kind === "estimate") return null;
  const stated = exchange.incoming.head.fields.get(cost.name);
  return stated !== null && /^\d{1,12}$/.test(stated) ? Number(stated) : null;
}
