import type { SystemHealth } from "../health/health.ts";
import type { RedisLink } from "../redis/link.ts";
import { RedisDown } from "../redis/link.ts";
import type { Storage } from "../storage/open.ts";
import type { Emit, Occurrences } from "../telemetry/occurrences.ts";
import type { Clock } from "../values/clock.ts";
import { Limiter, type LimitService } from "./limiter.ts";
import { type Entry, MemoryStore } from "./memory/store.ts";
import { CountPersistence } from "./persistence.ts";
import { RedisLimiter } from "./redis/limiter.ts";
import { countRepository } from "./repository.ts";

/** Names what limits need of the gateway's ground. */
interface LimitsGround {
  readonly clock: Clock;
  readonly storage: Storage;
  readonly link: RedisLink | null;
  readonly instance: string;
  readonly inForce: { readonly config: { readonly limits: { readonly maxSubjects: number }; readonly redis: RedisRules | null } };
  readonly emit: Emit;
  readonly occurrences: Occurrences;
  readonly tell: (error: unknown) => void;
  readonly guarded: (work: () => void) => void;
  readonly every: (milliseconds: number, work: () => void) => void;
}

type RedisRules = { readonly mode: "exact" | "leased"; readonly onFailure: "local" | "deny" | "allow" };

export interface Limits {
  /** Counts limits: in this process, or in Redis. */
  readonly limiter: LimitService;
  readonly store: MemoryStore;
  readonly counts: CountPersistence;
  /** Counts limits in Redis; `null` without Redis. */
  readonly shared: RedisLimiter | null;
  /** Gives what limits do while Redis is away; `null` while it is there, or there is none. */
  readonly away: () => "local" | "allow" | "deny" | null;
}

/** Milliseconds between two sweeps of idle subjects. */
const SWEEP_EVERY = 1000;

/** Opens what counts limits. Counts from before the start go on. */
export function openLimits(scope: { defer(close: () => unknown): void }, ground: LimitsGround, health: SystemHealth): Limits {
  const { clock, storage, link, inForce, every, guarded } = ground;
  const isDegraded = () => health.isDegraded;
  const onFailure = () => inForce.config.redis?.onFailure ?? "local";
  const store = new MemoryStore(inForce.config.limits.maxSubjects);
  const local = new Limiter({ store, clock, isDegraded });
  const counts = new CountPersistence({ store, counts: countRepository(storage, clock), clock });
  counts.restore();
  const shared = link === null ? null : openShared(ground, { link, local, store, counts, isDegraded, onFailure });
  if (shared !== null) scope.defer(() => shared.close());
  const limiter = shared ?? local;
  every(SWEEP_EVERY, () => {
    guarded(() => limiter.sweep());
    guarded(() => counts.prune());
  });
  return { limiter, store, counts, shared, away: () => (link === null || link.isUp ? null : onFailure()) };
}

/** Opens the limiter in Redis. What was counted here while Redis was away goes there when it is back. */
function openShared(
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
