import { counter, type Family, gauge, single } from "../values/family.ts";
import type { RedisLimiter } from "./redis/limiter.ts";

/** Counts the subjects of limits. */
export interface Census {
  /** The subjects that have room; in shared memory also those whose room is free for others. */
  readonly subjects: number;
  /** The subjects that had to go though they still counted, since the start of the counts. */
  readonly evictions: number;
  /** The locks that were taken over from processes that had died. */
  readonly takeovers: number;
}

/** Tells Prometheus how many callers are counted. */
export const limitFamilies = (census: () => Census): readonly Family[] => [
  gauge("sluice_limiter_subjects", "Subjects whose limits are counted.", () => single(census().subjects)),
  counter(
    "sluice_limiter_evictions_total",
    "Subjects that had to go for others though they still counted: raise limits.maxSubjects.",
    () => single(census().evictions),
    "keeper",
  ),
  counter(
    "sluice_limiter_takeovers_total",
    "Locks of subjects that were taken over from processes that had died.",
    () => single(census().takeovers),
    "keeper",
  ),
];

/** Tells Prometheus of limits that Redis counts. `limiter`: `null` without Redis. */
export const sharedLimitFamilies = (limiter: RedisLimiter | null): readonly Family[] => [
  counter("sluice_limits_decided_alone_total", "Limit decisions that this instance made without Redis.", () =>
    limiter === null ? [] : single(limiter.counts.alone),
  ),
];
