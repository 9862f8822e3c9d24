import type { SystemHealth } from "../health/health.ts";
import type { RedisLink } from "../redis/link.ts";
import { RedisDown } from "../redis/link.ts";
import type { Bus } from "../shared/bus.ts";
import type { Chunks } from "../shared/chunks.ts";
import type { Table } from "../shared/table.ts";
import type { Storage } from "../storage/open.ts";
import type { Emit, Occurrences } from "../telemetry/occurrences.ts";
import type { Clock } from "../values/clock.ts";
import { Limiter, type LimitService } from "./limiter.ts";
import { type Entry, MemoryStore } from "./memory/store.ts";
import type { Census } from "./metrics.ts";
import { CountPersistence } from "./persistence.ts";
import { RedisLimiter } from "./redis/limiter.ts";
import { countRepository } from "./repository.ts";
import { SharedCounts } from "./shared/counts.ts";
import { SharedLimiter } from "./shared/limiter.ts";
import { Logs } from "./shared/logs.ts";

/** Names what limits need of the gateway's ground. */
interface LimitsGround {
  readonly clock: Clock;
  readonly storage: Storage;
  readonly link: RedisLink | null;
  readonly bus: Bus;
  /** The table that the processes of this gateway share. */
  readonly table: SharedTable | null;
  readonly instance: string;
  readonly inForce: { readonly config: { readonly limits: { readonly maxSubjects: number }; readonly redis: RedisRules | null } };
  readonly emit: Emit;
  readonly occurrences: Occurrences;
  readonly tell: (error: unknown) => void;
  readonly guarded: (work: () => void) => void;
  readonly every: (milliseconds: number, work: () => void) => void;
}

interface SharedTable {
  readonly table: Table;
  readonly chunks: Chunks;
}

type RedisRules = { readonly mode: "exact" | "leased"; readonly onFailure: "local" | "deny" | "allow" };

type ScopeOfLimits = { defer(close: () => unknown): void };

export interface Limits {
  /** Counts limits: in memory that processes share, or in Redis. */
  readonly limiter: LimitService;
  readonly census: () => Census;
  /** Keeps the counts of long windows. `waiting`: how many are not written yet. */
  readonly counts: { flush(): void; readonly waiting: number };
  /** Counts limits in Redis; `null` without Redis. */
  readonly shared: RedisLimiter | null;
  /** Gives what limits do while Redis is away; `null` while it is there, or there is none. */
  readonly away: () => "local" | "allow" | "deny" | null;
  /** Takes another `maxSubjects`; a table keeps its size until the next start. */
  resize(maxSubjects: number): void;
}

/** Milliseconds between two sweeps of idle subjects. */
const SWEEP_EVERY = 1000;

/** Opens what counts limits. Counts from before the start go on. */
export function openLimits(scope: ScopeOfLimits, ground: LimitsGround, health: SystemHealth): Limits {
  const isDegraded = () => health.isDegraded;
  const { link, table } = ground;
  if (link !== null) return openInRedis(scope, ground, link, isDegraded);
  if (table === null) throw new Error("limits are counted in a table, where Redis does not");
  return openTable(scope, ground, table, isDegraded);
}

/** Opens limits in a table that the processes of this gateway share. */
function openTable(scope: ScopeOfLimits, ground: LimitsGround, shared: SharedTable, isDegraded: () => boolean): Limits {
  const { clock, storage, bus, inForce, every, guarded } = ground;
  const { maxSubjects } = inForce.config.limits;
  const { table, chunks } = shared;
  const logs = new Logs(chunks);
  const counts = new SharedCounts({ ...{ table, logs, clock, bus, maxSubjects }, counts: countRepository(storage, clock) });
  const limiter = new SharedLimiter({ table, logs, clock, isDegraded, durable: counts });
  const isWorker = bus.role === "worker";
  if (isWorker) scope.defer(() => counts.close());
  else counts.restore();
  every(SWEEP_EVERY, () => {
    guarded(() => limiter.sweep());
    if (!isWorker) guarded(() => counts.prune());
  });
  return { limiter, counts, census: () => table.counts(), shared: null, away: () => null, resize: () => {} };
}

/** Opens limits in Redis, and in this process while Redis is away. */
function openInRedis(scope: ScopeOfLimits, ground: LimitsGround, link: RedisLink, isDegraded: () => boolean): Limits {
  const { clock, storage, inForce, every, guarded } = ground;
  const onFailure = () => inForce.config.redis?.onFailure ?? "local";
  const store = new MemoryStore(inForce.config.limits.maxSubjects);
  const local = new Limiter({ store, clock, isDegraded });
  const counts = new CountPersistence({ store, counts: countRepository(storage, clock), clock });
  counts.restore();
  const shared = openRedisLimiter(ground, { link, local, store, counts, isDegraded, onFailure });
  scope.defer(() => shared.close());
  every(SWEEP_EVERY, () => {
    guarded(() => shared.sweep());
    guarded(() => counts.prune());
  });
  return {
    ...{ limiter: shared, counts, shared },
    census: () => ({ subjects: store.size, evictions: store.evictions, takeovers: 0 }),
    away: () => (link.isUp ? null : onFailure()),
    resize: (maxSubjects) => {
      store.maxSubjects = maxSubjects;
    },
  };
}
/** Opens the limiter in Redis. What was counted here while Redis was away goes there when it is back. */
function openRedisLimiter(
  { clock, instance, inForce, emit, occurrences, tell, guarded }: LimitsGround,
  deps: {
    readonly link: RedisLink;
    readonly local: Limiter;
    readonly store: MemoryStore;
    readonly counts: CountPersistence;
    readonly isDegraded: () => boolean;
    readonly onFailure: () => "local" | "deny" | "allow";
  },
): RedisLimiter {
  const { link, local, store, counts, isDegraded, onFailure } = deps;
  const shared = new RedisLimiter({
    ...{ link, local, clock, isDegraded, onFailure, instance, onFault: tell },
    mode: inForce.config.redis?.mode ?? "exact",
    onOwing: () => emit({ type: "owing" }),
  });
  const giveBack = (): void => {
    const forgotten: Entry[] = [];
    const forget = (entry: Entry): void => {
      store.forget(entry);
      if (entry.policy.durable) forgotten.push(entry);
    };
    shared
      .giveBack(store.all(), forget)
      .catch((error: unknown) => {
        // Lost again: what is left is given back the next time.
        if (!(error instanceof RedisDown)) tell(error);
      })
      .finally(() => guarded(() => counts.forget(forgotten)));
  };
  occurrences.subscribe({
    owing: giveBack,
    redis: ({ isUp }) => {
      if (isUp) giveBack();
    },
  });
  return shared;
}
