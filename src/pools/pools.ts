import type { RedisLink } from "../redis/link.ts";
import { Contended, SharedState } from "../redis/shared-state.ts";
import type { Chunks } from "../shared/chunks.ts";
import type { Table } from "../shared/table.ts";
import type { Storage } from "../storage/open.ts";
import type { Emit } from "../telemetry/occurrences.ts";
import type { Clock } from "../values/clock.ts";
import { NANO, nanoOf } from "../values/money.ts";
import { parseDuration } from "../values/units.ts";
import {
  accept,
  type Budget,
  type Choice,
  type Cost,
  doubt,
  type Grant,
  growth,
  type Lease,
  lease,
  type NearlySpent,
  nearlySpent,
  opensNext,
  type PoolKey,
  type PoolPolicy,
  type PoolState,
  poolShape,
  quarantine,
  remainingOf,
  rest,
  type Spent,
  settle,
  spentOf,
  standingOf,
  unitOf,
} from "./pool.ts";
import type { PoolConfig } from "./settings.ts";
import { MemoryStates, type PoolStates, type Repair, SharedStates, shifted } from "./states.ts";

/** Describes a pool, ready for use. */
export interface Pool {
  readonly policy: PoolPolicy;
  readonly auth: "required" | "none";
  /** Whether a key has a budget in money, and whether all have. */
  readonly countsMoney: "no" | "of some keys" | "of all keys";
}

/** Says what a request has used of a grant, once it is over. */
interface Settlement {
  readonly grant: Grant;
  readonly used: Cost;
  /** The number of requests that were made with it. */
  readonly requests: number;
}

export interface PoolsDeps {
  readonly storage: Storage;
  readonly clock: Clock;
  /** Redis, where several instances share what is given; `null` for an instance on its own. */
  readonly link: RedisLink | null;
  /** The table that the processes of this gateway share; `null`: states are in the memory of this one. */
  readonly table: { readonly table: Table; readonly chunks: Chunks } | null;
  /** True in the process that writes the database. */
  readonly isWriter: boolean;
  readonly onFault: (error: unknown) => void;
  /** Tells of each grant and each denial, and when an upstream's answer changes whether a key is used. */
  readonly emit: Emit;
}

/** Says what a pool's key has left, and whether it is used. Times in milliseconds of the clock. */
export interface KeyReport {
  readonly id: string;
  readonly status: "ready" | "resting" | "quarantined";
  /** The time until which it rests, or at which it is tried again. */
  readonly until: number | null;
  readonly lastError: { readonly status: number; readonly at: number } | null;
  /** What is left in its tightest window, in its unit: money in nano-dollars, as in its budgets. */
  readonly remaining: number;
  readonly unit: Budget["of"];
  readonly budgets: readonly { of: Budget["of"]; limit: number; window: number; used: number; resetAt: number | null }[];
}

/**
 * Milliseconds after which a key that the upstream was found to take may be asked about again; and the number of keys of which that is
 * remembered.
 */
const ASKED_AGAIN_AFTER = 5000;
const MAX_QUESTIONS = 4096;

/** Tells whether a status may be about the key, or just as well about the request that came with it. */
export const isDoubtful = (status: number): boolean => status === 401 || status === 402 || status === 403;

/** Milliseconds between two tries of a change that must be made, and how many there are: whoever holds a state holds it for microseconds. */
const TRY_AGAIN_EVERY = 20;
const MAX_TRIES = 500;

/** Milliseconds after which to come again when others have changed a pool's state all the time. */
const CONTENDED_FOR = 1000;

/** Hands out upstream credentials within their budgets; with Redis, several instances together. */
export class Pools {
  private pools = new Map<string, Pool>();
  private readonly states: PoolStates;
  private readonly shared = new Map<string, SharedState<PoolState>>();
  /** What requests have used, by pool: noted with the pool's next change, or at the end of this turn of the event loop. */
  private readonly unsettled = new Map<string, Settlement[]>();
  /** True when they are noted at the end of this turn. */
  private isDue = false;
  /** Tries again where another process holds a pool's state, and how often that was in vain. */
  private again: Timer | null = null;
  private tries = 0;
  /** Questions to the upstream about keys, with its answers, by pool, key, secret and refusal. */
  private readonly questions = new Map<string, { until: number; readonly isRefused: Promise<boolean> }>();

  constructor(private readonly deps: PoolsDeps) {
    const { storage, clock, link, table } = deps;
    const repair: Repair = (name, state) => {
      for (const key of this.pools.get(name)?.policy.keys ?? []) named(state, key);
    };
    const of = { storage, clock, repair, isByWall: link !== null };
    this.states = link === null && table !== null ? new SharedStates(of, table.table, table.chunks) : new MemoryStates(of);
  }

  /** Puts these pools in force. What their keys have spent stays; what the upstream said of a secret goes with the secret. */
  configure(configs: Iterable<readonly [name: string, config: PoolConfig]>): void {
    this.pools = new Map([...configs].map(([name, config]) => [name, compilePool(name, config)]));
    for (const [name, { policy }] of this.pools) {
      const state = this.states.known(name);
      for (const key of policy.keys) named(state, key);
    }
  }

  get isEmpty(): boolean {
    return this.pools.size === 0;
  }

  /** Tells whether any pool hands out to callers without a key. */
  get isOpen(): boolean {
    return [...this.pools.values()].some(({ auth }) => auth === "none");
  }

  /** Gives the pool of this name; without a name `default`, or the only one. `null` when there is none. */
  find(name: string | undefined): Pool | null {
    if (name !== undefined) return this.pools.get(name) ?? null;
    const [only, ...more] = this.pools.values();
    return this.pools.get("default") ?? (more.length === 0 ? (only ?? null) : null);
  }

  names(): string[] {
    return [...this.pools.keys()];
  }

  /** Gives the pool of this name; `null` when there is none. */
  get(name: string): Pool | null {
    return this.pools.get(name) ?? null;
  }

  /** Tells whether a key of this pool has a budget in money. */
  countsMoney(name: string): boolean {
    const pool = this.pools.get(name);
    return pool !== undefined && pool.countsMoney !== "no";
  }

  /**
   * Takes the cost of `service` from one of the pool's keys. The service must be the pool's. A key with a budget in money is never handed
   * out: nobody could tell what is spent with it.
   */
  lease(pool: Pool, service: string): Lease | Promise<Lease> {
    const cost = { tokens: pool.policy.services.get(service) ?? 0, usd: Number.POSITIVE_INFINITY };
    return this.take(pool, service, "handedOut", cost, [undefined]);
  }

  /**
   * Takes `cost` from one of the pool's keys for a request on `route`, by the first of these choices that finds one; `settle` follows when
   * it has ended.
   */
  reserve(pool: Pool, route: string, cost: Cost, choices: readonly Choice[]): Lease | Promise<Lease> {
    return this.take(pool, route, "injected", cost, choices);
  }

  private take(
    pool: Pool,
    user: string,
    kind: "handedOut" | "injected",
    cost: Cost,
    choices: readonly (Choice | undefined)[],
  ): Lease | Promise<Lease> {
    const { policy } = pool;
    const work = (state: PoolState, now: number): Lease => {
      let result: Lease = { granted: false, retryIn: 0 };
      for (const choice of choices) {
        result = lease(policy, state, cost, now, choice, this.states.self);
        if (result.granted) break;
      }
      return result;
    };
    const tell = (lease: Lease): Lease => {
      this.deps.emit({ type: "lease", pool: policy.name, user, kind, lease });
      return lease;
    };
    // Nobody knows what is left: better none than one too many.
    const none = (error: unknown): Lease => {
      if (error instanceof Contended) return tell({ granted: false, retryIn: CONTENDED_FOR });
      throw error;
    };
    try {
      const given = this.perform(pool, work, { isPatient: false, isChange: ({ granted }) => granted });
      return given instanceof Promise ? given.then(tell, none) : tell(given);
    } catch (error) {
      return none(error);
    }
  }

  /** Gives the milliseconds until a key can take the cost, as far as is known here; infinite when none ever will. */
  whenNext({ policy }: Pool, cost: Cost): number {
    const { state, now } = this.known(policy.name);
    return opensNext(policy, state, cost, now);
  }

  /** Replaces what was reserved for a request by what it used; `used.usd` null: what was reserved of money stays. */
  settle(pool: Pool, grant: Grant, used: Cost, requests: number): void {
    if (this.deps.link !== null) {
      const work = (state: PoolState, now: number) => {
        settle(state, grant, used, requests);
        return pool.countsMoney === "no" ? [] : nearlySpent(state, grant.key, now);
      };
      this.later(this.perform(pool, work), (spent) => this.tellSpent(pool.policy.name, grant, spent));
      return;
    }
    const { name } = pool.policy;
    const settlement = { grant, used, requests };
    const waiting = this.unsettled.get(name);
    if (waiting === undefined) this.unsettled.set(name, [settlement]);
    else waiting.push(settlement);
    if (this.isDue) return;
    this.isDue = true;
    setImmediate(() => {
      this.isDue = false;
      this.settleWaiting();
    });
  }

  /** Notes what waits to be settled; what another process keeps it from is tried again, and noted with the pool's next change all the same. */
  private settleWaiting(): void {
    for (const name of this.unsettled.keys()) this.settleNow(name);
    if (this.unsettled.size === 0) this.tries = 0;
    else this.again ??= setTimeout(() => this.settleAgain(), TRY_AGAIN_EVERY);
  }

  private settleAgain(): void {
    this.again = null;
    if (++this.tries === MAX_TRIES) this.deps.onFault(new Contended("the pool's state is held by another process"));
    this.settleWaiting();
  }

  /** Notes what waits to be settled of one pool, unless another process holds its state. */
  private settleNow(name: string): void {
    if (!this.unsettled.has(name)) return;
    try {
      this.change(
        name,
        () => {},
        () => true,
      );
    } catch (error) {
      if (error instanceof Contended) return;
      // What was reserved stays.
      this.unsettled.delete(name);
      this.deps.onFault(error);
    }
  }

  /** Changes a pool's state here, by what waits to be settled before all else. Throws `Contended`. */
  private change<T>(name: string, work: (state: PoolState, now: number) => T, isChange: (result: T) => boolean): T {
    const waiting = this.unsettled.get(name);
    if (waiting === undefined) return this.states.change(name, work, isChange);
    const isInMoney = this.countsMoney(name);
    let spent: (readonly NearlySpent[])[] = [];
    const result = this.states.change(
      name,
      (state, now) => {
        for (const { grant, used, requests } of waiting) settle(state, grant, used, requests);
        if (isInMoney) spent = waiting.map(({ grant }) => nearlySpent(state, grant.key, now));
        return work(state, now);
      },
      () => true,
    );
    this.unsettled.delete(name);
    for (const [i, each] of spent.entries()) this.tellSpent(name, (waiting[i] as Settlement).grant, each);
    return result;
  }

  private tellSpent(name: string, { key }: Grant, spent: readonly NearlySpent[]): void {
    for (const each of spent) this.deps.emit({ type: "poolSpent", pool: name, key: key.id, ...each });
  }

  /**
   * Takes more nano-dollars for a request from every budget in money that it was charged to, or from none. Gives whether it did. One call
   * at a time for each grant, and `settle` follows the last.
   */
  grow(pool: Pool, grant: Grant, usd: number): boolean | Promise<boolean> {
    if (!grant.from.some(({ of }) => of === "usd")) return true;
    const take = (from: Grant["from"] | null): boolean => {
      if (from !== null) grant.from = from;
      return from !== null;
    };
    const from = this.perform(pool, (state, now) => growth(state, grant, usd, now), { isChange: (from) => from !== null });
    return from instanceof Promise ? from.then(take) : take(from);
  }

  /**
   * Notes how the upstream answered a key. `retryAfter`: the milliseconds that it asked for. Gives whether it refused the key, or may have:
   * 401, 402 and 403 may be about the request, and by themselves say nothing.
   */
  answered(pool: Pool, key: PoolKey, status: number, retryAfter: number | null): boolean {
    const { name } = pool.policy;
    if (status === 429) {
      this.later(
        this.perform(pool, (state, now) => rest(state, key, retryAfter, now)),
        (until) => this.tellOf(name, key.id, "rests", status, until),
      );
      return true;
    }
    if (isDoubtful(status)) return true;
    // Nothing was said of the key before: there is nothing to take back.
    if (status < 500 && standingOf(this.stateOf(name), key) !== undefined)
      this.later(
        this.perform(pool, (state) => accept(state, key)),
        (wasOut) => {
          if (wasOut) this.tellOf(name, key.id, "back", status, this.known(name).now);
        },
      );
    return false;
  }

  /** Puts a key in quarantine that the upstream refuses, whatever is asked with it. */
  quarantine(pool: Pool, key: PoolKey, status: number): void {
    this.later(
      this.perform(pool, (state, now) => quarantine(state, key, status, now)),
      (until) => this.tellOf(pool.policy.name, key.id, "quarantined", status, until),
    );
  }

  /**
   * Counts a refusal that another key could not be asked about, or got as well. Gives whether the key itself is suspect by now: none of
   * several requests in a row was taken.
   */
  doubt(pool: Pool, key: PoolKey, status: number): boolean | Promise<boolean> {
    return this.perform(pool, (state, now) => doubt(state, key, status, now));
  }

  /**
   * Asks the upstream about a key by a request of our own, in which nothing is the caller's, and puts the key in quarantine when that gets
   * the same refusal. Gives whether it did. Requests that have the same doubt at the same time ask once; a key that was found good is not
   * asked about again for some seconds, so that callers can't make us ask for each of their requests.
   */
  async confirm(pool: Pool, key: PoolKey, status: number, ask: () => Promise<number | null>): Promise<boolean> {
    const name = `${pool.policy.name}\n${key.id}\n${key.mark}\n${status}`;
    const now = this.deps.clock.now();
    let question = this.questions.get(name);
    if (question === undefined || now >= question.until) {
      const asked = { until: Number.POSITIVE_INFINITY, isRefused: this.askUpstream(pool, key, status, ask) };
      question = asked;
      // Old answers go when there are many: keys come and go.
      if (this.questions.size >= MAX_QUESTIONS) this.questions.clear();
      this.questions.set(name, asked);
      const done = () => {
        asked.until = this.deps.clock.now() + ASKED_AGAIN_AFTER;
      };
      asked.isRefused.then((isRefused) => {
        if (isRefused) this.questions.delete(name);
        done();
      }, done);
    }
    return question.isRefused;
  }

  private async askUpstream(pool: Pool, key: PoolKey, status: number, ask: () => Promise<number | null>): Promise<boolean> {
    const answer = await ask();
    if (answer === null) return false;
    if (answer === status) this.quarantine(pool, key, status);
    else this.answered(pool, key, answer, null);
    return answer === status;
  }

  /**
   * Lifts the rest, the quarantine and the doubts that the upstream's answers have put on a pool's keys, or on one of them. Gives false
   * when there is no such key.
   */
  async reset(pool: Pool, id: string | null): Promise<boolean> {
    const keys = pool.policy.keys.filter((key) => id === null || key.id === id);
    await this.perform(pool, (state) => {
      for (const key of keys) {
        state.standing.delete(key.id);
        state.probing.delete(key.id);
      }
    });
    return keys.length > 0;
  }

  /** Gives what each key of a pool has left, and whether it is used, as far as is known here; see `refresh`. */
  keysOf(name: string): KeyReport[] {
    const pool = this.pools.get(name);
    if (pool === undefined) return [];
    const { state, now } = this.known(name);
    // With Redis the times are those of its clock.
    const behind = this.deps.clock.now() - now;
    const here = (at: number): number => at + behind;
    return pool.policy.keys.map((key) => {
      const standing = standingOf(state, key);
      const rests = standing !== undefined && now < standing.restUntil;
      const probeAt = standing?.probeAt ?? null;
      return {
        id: key.id,
        status: rests ? "resting" : probeAt !== null ? "quarantined" : "ready",
        until: rests ? here(standing.restUntil) : probeAt === null ? null : here(probeAt),
        lastError: standing?.lastError ? { ...standing.lastError, at: here(standing.lastError.at) } : null,
        remaining: remainingOf(state, key, now),
        unit: unitOf(key),
        budgets: key.budgets.map(({ of, limit, window }, i) => {
          const { start, used } = spentOf(state, key)[i] as Spent;
          const isOpen = now < start + window;
          return { of, limit, window, used: isOpen ? used : 0, resetAt: isOpen && used > 0 ? here(start + window) : null };
        }),
      };
    });
  }

  /** Reads what other instances have given, and has others know what was settled here. */
  async refresh(): Promise<void> {
    const { link } = this.deps;
    this.settleWaiting();
    // Of a pool that this instance has not used yet too.
    if (link !== null) await Promise.all(this.names().map((name) => this.sharedOf(name, link).refresh()));
  }

  /** Gives the number of pools that wait to be written. */
  get waiting(): number {
    return this.deps.isWriter ? this.states.unsaved().length : 0;
  }

  /** Writes what was spent since the last call; for a timer. Times are written as the system's: another clock may begin anew with the system. */
  flush(): void {
    this.settleWaiting();
    const pools = this.deps.isWriter ? this.states.unsaved() : [];
    if (pools.length === 0) return;
    const { storage, clock } = this.deps;
    const { client } = storage;
    const all = pools.map((name) => ({ name, ...this.known(name) }));
    const put = client.query("INSERT OR REPLACE INTO pool_spent (pool, key, spent, standing) VALUES (?1, ?2, ?3, ?4)");
    client
      .transaction(() => {
        for (const { name, state, now } of all) {
          const ahead = this.deps.link === null ? clock.wall() - now : 0;
          for (const [key, counts] of state.spent) {
            const spent = counts.map((each) => ({ ...each, start: each.start + ahead }));
            const standing = state.standing.get(key);
            put.run(name, key, JSON.stringify(spent), JSON.stringify(standing === undefined ? null : shifted(standing, ahead)));
          }
        }
      })
      .immediate();
    for (const { name, state } of all) this.states.saved(name, state);
  }

  /** Changes a pool's state: here, or by way of Redis. `isChange`: tells by the result whether anything was changed. */
  private perform<T>(
    { policy: { name } }: Pool,
    work: (state: PoolState, now: number) => T,
    { isPatient = true, isChange = () => true }: { readonly isPatient?: boolean; readonly isChange?: (result: T) => boolean } = {},
  ): T | Promise<T> {
    const { link } = this.deps;
    const { states } = this;
    if (link !== null) {
      if (states instanceof MemoryStates) states.touch(name);
      return this.sharedOf(name, link).run(work, isPatient);
    }
    try {
      return this.change(name, work, isChange);
    } catch (error) {
      if (!isPatient || !(error instanceof Contended)) throw error;
      return this.performLater(name, work, isChange);
    }
  }

  private async performLater<T>(name: string, work: (state: PoolState, now: number) => T, isChange: (result: T) => boolean): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      await Bun.sleep(TRY_AGAIN_EVERY);
      try {
        return this.change(name, work, isChange);
      } catch (error) {
        if (!(error instanceof Contended) || attempt >= MAX_TRIES) throw error;
      }
    }
  }

  /** Calls `tell` with the result of a change, at once or when the change is done, and does not wait for it. */
  private later<T>(done: T | Promise<T>, tell: (value: T) => void): void {
    if (done instanceof Promise) done.then(tell, this.deps.onFault);
    else tell(done);
  }

  /** Gives a pool's state as far as is known here, without what waits to be settled. */
  private stateOf(name: string): PoolState {
    const { link } = this.deps;
    return link === null ? this.states.known(name) : this.sharedOf(name, link).state;
  }

  private known(name: string): { state: PoolState; now: number } {
    const { link, clock } = this.deps;
    if (link === null) {
      this.settleNow(name);
      return { state: this.states.known(name), now: clock.now() };
    }
    const shared = this.sharedOf(name, link);
    return { state: shared.state, now: shared.now() };
  }

  private sharedOf(name: string, link: RedisLink): SharedState<PoolState> {
    let shared = this.shared.get(name);
    if (shared === undefined) {
      shared = new SharedState(link, `${link.prefix}:pool:${name}`, poolShape, this.states.known(name));
      this.shared.set(name, shared);
    }
    return shared;
  }

  private tellOf(pool: string, key: string, change: "rests" | "quarantined" | "back", status: number, until: number): void {
    // With Redis the time is that of its clock.
    const behind = this.deps.clock.now() - this.known(pool).now;
    this.deps.emit({ type: "poolKey", pool, key, change, status, until: until + behind });
  }
}

/** Gives an amount as it is shown: money in dollars. */
export const shownAmount = (of: Budget["of"], amount: number): number => (of === "usd" ? amount / NANO : amount);

/** Gives each count its budget's kind and window, where it was stored without them: such counts stand in the order of the budgets. */
function named({ spent }: PoolState, { id, budgets }: PoolKey): void {
  const counts = spent.get(id) as readonly (Omit<Spent, "of" | "window"> & Partial<Spent>)[] | undefined;
  if (counts?.length !== budgets.length || counts.every(({ of }) => of !== undefined)) return;
  spent.set(
    id,
    budgets.map(({ of, window }, i) => ({ start: counts[i]?.start ?? 0, used: counts[i]?.used ?? 0, of, window })),
  );
}

/** Gives a mark that stands for a secret in what is kept of it, so that the secret itself is not. */
const markOf = (secret: string): string => new Bun.CryptoHasher("sha256").update(`sluice pool key ${secret}`).digest("hex").slice(0, 16);

/** Compiles a budget, whose limit is a number or, in money, an amount in dollars; `poolFaults` has looked at it. */
const budgetOf = (of: Budget["of"], limit: number | string, window: string): Budget => ({
  of,
  limit: typeof limit === "number" ? limit : (nanoOf(limit) ?? 0),
  window: parseDuration(window),
});

function compilePool(name: string, config: PoolConfig): Pool {
  const keys = config.keys.map(
    ({ id, secret, cost, limit, window, budgets }): PoolKey => ({
      id,
      secret: secret ?? null,
      mark: markOf(secret ?? id),
      budgets: [
        ...(limit === undefined || window === undefined ? [] : [budgetOf(cost ?? "tokens", limit, window)]),
        ...(budgets ?? []).map(({ of, cost, limit, window }) => budgetOf(cost ?? of ?? "tokens", limit, window)),
      ],
    }),
  );
  const services = new Map(Object.entries(config.services).map(([service, { cost }]) => [service, cost]));
  const inMoney = keys.filter(({ budgets }) => budgets.some(({ of }) => of === "usd")).length;
  return {
    policy: { name, strategy: config.strategy, keys, services },
    auth: config.auth,
    countsMoney: inMoney === 0 ? "no" : inMoney < keys.length ? "of some keys" : "of all keys",
  };
}
