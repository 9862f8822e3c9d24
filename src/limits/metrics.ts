import { counter, type Family, gauge, single } from "../values/family.ts";
import type { MemoryStore } from "./memory/store.ts";
import type { RedisLimiter } from "./redis/limiter.ts";

/** Tells Prometheus how many callers are counted. */
export const limitFamilies = (store: MemoryStore): readonly Family[] => [
  gauge("sluice_limiter_subjects", "Subjects whose limits are counted in this process.", () => single(store.size)),
];

/** Tells Prometheus of limits that Redis counts. `limiter`: `null` without Redis. */
export const sharedLimitFamilies = (limiter: RedisLimiter | null): readonly Family[] => [
  counter("sluice_limits_decided_alone_total", "Limit decisions that this instance made without Redis.", () =>
    limiter === null ? [] : single(limiter.counts.alone),
  ),
];
