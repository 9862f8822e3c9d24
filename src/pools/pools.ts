import type { Clock } from "../clock.ts";
import type { PoolConfig } from "../config/schema.ts";
import { parseDuration } from "../config/units.ts";
import type { Storage } from "../storage/open.ts";
import {
  accept,
  type Choice,
  doubt,
  type Grant,
  type Lease,
  lease,
  newPoolState,
  opensNext,
  type PoolKey,
  type PoolPolicy,
  type PoolState,
  quarantine,
  remainingOf,
  rest,
  type Spent,
  type Standing,
  settle,
  spentOf,
} from "./pool.ts";

/** A pool, ready for use, and what it has given. */
export interface Pool {
  readonly policy: PoolPolicy;
  readonly auth: "required" | "none";
  readonly state: PoolState;
}

export interface PoolsParts {
  readonly storage: Storage;
  readonly clock: Clock;
  /** Called for each grant and each denial. `user`: the service that asked, or the route that a key was taken for. */
  readonly onLease: (pool: string, user: string, kind: "handedOut" | "injected", lease: Lease) => void;
  /** Called when the upstream's answer changes whether a key is used. `until` in milliseconds of the clock. */
  readonly onStanding: (pool: string, key: string, change: "rests" | "quarantined" | "back", status: number, until: number) => void;
}

/** What a pool's key has left, and whether it is used. Times in milliseconds of the clock. */
export interface KeyReport {
  readonly id: string;
  readonly status: "ready" | "resting" | "quarantined";
  /** Until when it rests, or when it is tried again. */
  readonly until: number | null;
  readonly lastError: { readonly status: number; readonly at: number } | null;
  readonly remaining: number;
  readonly budgets: readonly { of: string; limit: number; window: number; used: number; resetAt: number | null }[];
}

/** Upstream credentials that are handed out within their budgets. */
export class Pools {
  private pools = new Map<string, Pool>();
  /** States outlive the pool's configuration, and a restart. */
  private readonly states = new Map<string, PoolState>();
  private readonly dirty = new Set<string>();
  /** What tells a key's secret from the one before, by pool and key. */
  private readonly secrets = new Map<string, string>();

  constructor(private readonly parts: PoolsParts) {
    const rows = parts.storage.client
      .query<{ pool: string; key: string; spent: string; standing: string | null }, []>("SELECT pool, key, spent, standing FROM pool_spent")
      .all();
    for (const { pool, key, spent, standing } of rows) {
      const state = this.stateOf(pool);
      state.spent.set(key, JSON.parse(spent) as Spent[]);
      if (standing === null) continue;
      const { of, ...its } = JSON.parse(standing) as Standing & { of: string };
      state.standing.set(key, its);
      this.secrets.set(`${pool} ${key}`, of);
    }
  }

  /** Puts these pools in force. What their keys have spent stays; what the upstream said of a secret goes with the secret. */
  configure(configs: Iterable<readonly [name: string, config: PoolConfig]>): void {
    this.pools = new Map(
      [...configs].map(([name, config]) => [name, { policy: compilePool(name, config), auth: config.auth, state: this.stateOf(name) }]),
    );
    for (const [name, { policy, state }] of this.pools) {
      for (const { id, secret } of policy.keys) {
        const mark = markOf(secret ?? id);
        const before = this.secrets.get(`${name} ${id}`);
        this.secrets.set(`${name} ${id}`, mark);
        if (before !== undefined && before !== mark && state.standing.delete(id)) this.dirty.add(name);
      }
    }
  }

  get isEmpty(): boolean {
    return this.pools.size === 0;
  }

  /** Whether any pool hands out to callers without a key. */
  get isOpen(): boolean {
    return [...this.pools.values()].some(({ auth }) => auth === "none");
  }

  /** The pool of this name; without a name `default`, or the only one. */
  find(name: string | undefined): Pool | null {
    if (name !== undefined) return this.pools.get(name) ?? null;
    const [only, ...more] = this.pools.values();
    return this.pools.get("default") ?? (more.length === 0 ? (only ?? null) : null);
  }

  names(): string[] {
    return [...this.pools.keys()];
  }

  /** The pool of this name. */
  get(name: string): Pool | null {
    return this.pools.get(name) ?? null;
  }

  /** Takes the cost of `service` from one of the pool's keys. The service must be the pool's. */
  lease(pool: Pool, service: string): Lease {
    return this.take(pool, service, "handedOut", pool.policy.services.get(service) ?? 0);
  }

  /** Takes `cost` from one of the pool's keys for a request on `route`; `settle` follows when it has ended. */
  reserve(pool: Pool, route: string, cost: number, choice: Choice): Lease {
    return this.take(pool, route, "injected", cost, choice);
  }

  private take(pool: Pool, user: string, kind: "handedOut" | "injected", cost: number, choice?: Choice): Lease {
    const given = lease(pool.policy, pool.state, cost, this.parts.clock.now(), choice);
    if (given.granted) this.dirty.add(pool.policy.name);
    this.parts.onLease(pool.policy.name, user, kind, given);
    return given;
  }

  /** Milliseconds until a key can take the cost; infinite when none ever will. */
  whenNext({ policy, state }: Pool, cost: number): number {
    return opensNext(policy, state, cost, this.parts.clock.now());
  }

  /** Puts what a request used in the place of what was reserved for it. */
  settle({ policy, state }: Pool, grant: Grant, actual: number, requests: number): void {
    settle(grant, actual, requests);
    state.probing.delete(grant.key.id);
    this.dirty.add(policy.name);
  }

  /**
   * Takes note of how the upstream answered a key. `retryAfter`: what it asked for, in milliseconds. `isSure`: whether a 403 is known to be about the key.
   * Gives whether it refused the key, or may have.
   */
  answered({ policy: { name }, state }: Pool, id: string, status: number, retryAfter: number | null, isSure: boolean): boolean {
    const { onStanding, clock } = this.parts;
    const now = clock.now();
    if (status === 429) onStanding(name, id, "rests", status, rest(state, id, retryAfter, now));
    else if (status === 401 || status === 402 || (status === 403 && isSure))
      onStanding(name, id, "quarantined", status, quarantine(state, id, status, now));
    else if (status !== 403) {
      if (status < 500 && accept(state, id)) {
        this.dirty.add(name);
        onStanding(name, id, "back", status, now);
      }
      return false;
    }
    this.dirty.add(name);
    return true;
  }

  /** A 403 that another key could not be asked about. */
  doubt({ policy: { name }, state }: Pool, id: string): void {
    const until = doubt(state, id, this.parts.clock.now());
    this.dirty.add(name);
    if (until !== null) this.parts.onStanding(name, id, "quarantined", 403, until);
  }

  /** Lifts what the upstream's answers have put on a pool's keys, or on one of them. False when there is no such key. */
  reset({ policy, state }: Pool, id: string | null): boolean {
    const keys = policy.keys.filter((key) => id === null || key.id === id);
    for (const key of keys) {
      state.standing.delete(key.id);
      state.probing.delete(key.id);
    }
    this.dirty.add(policy.name);
    return keys.length > 0;
  }

  /** What is left to each key of a pool, and whether it is used. */
  keysOf(name: string): KeyReport[] {
    const pool = this.pools.get(name);
    if (pool === undefined) return [];
    const now = this.parts.clock.now();
    return pool.policy.keys.map((key) => {
      const standing = pool.state.standing.get(key.id);
      const rests = standing !== undefined && now < standing.restUntil;
      const probeAt = standing?.probeAt ?? null;
      return {
        id: key.id,
        status: rests ? "resting" : probeAt !== null ? "quarantined" : "ready",
        until: rests ? standing.restUntil : probeAt,
        lastError: standing?.lastError ?? null,
        remaining: remainingOf(pool.state, key, now),
        budgets: key.budgets.map(({ of, limit, window }, i) => {
          const { start, used } = spentOf(pool.state, key)[i] as Spent;
          const isOpen = now < start + window;
          return { of, limit, window, used: isOpen ? used : 0, resetAt: isOpen && used > 0 ? start + window : null };
        }),
      };
    });
  }

  /** Writes what was spent since the last call; for a timer. */
  flush(): void {
    if (this.dirty.size === 0) return;
    const { client } = this.parts.storage;
    const put = client.query("INSERT OR REPLACE INTO pool_spent (pool, key, spent, standing) VALUES (?1, ?2, ?3, ?4)");
    client
      .transaction(() => {
        for (const name of this.dirty) {
          const { spent, standing } = this.stateOf(name);
          for (const [key, its] of spent)
            put.run(
              name,
              key,
              JSON.stringify(its),
              standing.has(key) ? JSON.stringify({ ...standing.get(key), of: this.secrets.get(`${name} ${key}`) }) : null,
            );
        }
      })
      .immediate();
    this.dirty.clear();
  }

  private stateOf(name: string): PoolState {
    let state = this.states.get(name);
    if (state === undefined) {
      state = newPoolState();
      this.states.set(name, state);
    }
    return state;
  }
}

/** Secrets themselves are not kept beside what is said of them. */
const markOf = (secret: string): string => new Bun.CryptoHasher("sha256").update(`sluice pool key ${secret}`).digest("hex").slice(0, 16);

function compilePool(name: string, config: PoolConfig): PoolPolicy {
  const keys = config.keys.map(
    ({ id, secret, limit, window, budgets }): PoolKey => ({
      id,
      secret: secret ?? null,
      budgets: [
        ...(limit === undefined || window === undefined ? [] : [{ of: "tokens" as const, limit, window: parseDuration(window) }]),
        ...(budgets ?? []).map((budget) => ({ of: budget.of, limit: budget.limit, window: parseDuration(budget.window) })),
      ],
    }),
  );
  const services = new Map(Object.entries(config.services).map(([service, { cost }]) => [service, cost]));
  return { name, strategy: config.strategy, keys, services };
}
