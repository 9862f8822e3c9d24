import type { Clock } from "../clock.ts";
import type { PoolConfig } from "../config/schema.ts";
import { parseDuration } from "../config/units.ts";
import type { Storage } from "../storage/open.ts";
import {
  type Lease,
  lease,
  newPoolState,
  type PoolKey,
  type PoolPolicy,
  type PoolState,
  remainingOf,
  type Spent,
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
  /** Called for each grant and each denial. */
  readonly onLease: (pool: string, service: string, lease: Lease) => void;
}

/** Upstream credentials that are handed out within their budgets. */
export class Pools {
  private pools = new Map<string, Pool>();
  /** States outlive the pool's configuration, and a restart. */
  private readonly states = new Map<string, PoolState>();
  private readonly dirty = new Set<string>();

  constructor(private readonly parts: PoolsParts) {
    const rows = parts.storage.client
      .query<{ pool: string; key: string; spent: string }, []>("SELECT pool, key, spent FROM pool_spent")
      .all();
    for (const { pool, key, spent } of rows) this.stateOf(pool).spent.set(key, JSON.parse(spent) as Spent[]);
  }

  /** Puts these pools in force. What their keys have spent stays. */
  configure(configs: Iterable<readonly [name: string, config: PoolConfig]>): void {
    this.pools = new Map(
      [...configs].map(([name, config]) => [name, { policy: compilePool(name, config), auth: config.auth, state: this.stateOf(name) }]),
    );
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

  /** Takes the cost of `service` from one of the pool's keys. The service must be the pool's. */
  lease(pool: Pool, service: string): Lease {
    const cost = pool.policy.services.get(service) ?? 0;
    const given = lease(pool.policy, pool.state, cost, this.parts.clock.now());
    if (given.granted) this.dirty.add(pool.policy.name);
    this.parts.onLease(pool.policy.name, service, given);
    return given;
  }

  /** What is left to each key of a pool. */
  keysOf(
    name: string,
  ): { id: string; remaining: number; budgets: { of: string; limit: number; window: number; used: number; resetAt: number | null }[] }[] {
    const pool = this.pools.get(name);
    if (pool === undefined) return [];
    const now = this.parts.clock.now();
    return pool.policy.keys.map((key) => ({
      id: key.id,
      remaining: remainingOf(pool.state, key, now),
      budgets: key.budgets.map(({ of, limit, window }, i) => {
        const { start, used } = spentOf(pool.state, key)[i] as Spent;
        const isOpen = now < start + window;
        return { of, limit, window, used: isOpen ? used : 0, resetAt: isOpen && used > 0 ? start + window : null };
      }),
    }));
  }

  /** Writes what was spent since the last call; for a timer. */
  flush(): void {
    if (this.dirty.size === 0) return;
    const { client } = this.parts.storage;
    const put = client.query("INSERT OR REPLACE INTO pool_spent (pool, key, spent) VALUES (?1, ?2, ?3)");
    client
      .transaction(() => {
        for (const name of this.dirty) for (const [key, spent] of this.stateOf(name).spent) put.run(name, key, JSON.stringify(spent));
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
