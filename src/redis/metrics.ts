import { counter, type Family, gauge, single } from "../values/family.ts";
import type { RedisLink } from "./link.ts";

/** Gives the metric of whether Redis is used. `link`: `null` without Redis. */
export const redisFamilies = (link: RedisLink | null): readonly Family[] => [
  gauge("sluice_redis_up", "1 while Redis is used.", () => (link === null ? [] : single(link.isUp ? 1 : 0)), "min"),
];

/** Gives the metrics of how often Redis was late or given up. `link`: `null` without Redis. */
export const redisTroubleFamilies = (link: RedisLink | null): readonly Family[] => [
  counter("sluice_redis_late_total", "Answers of Redis that took longer than its timeout.", () =>
    link === null ? [] : single(link.counts.late),
  ),
  counter("sluice_redis_lost_total", "Times that Redis was given up.", () => (link === null ? [] : single(link.counts.lost))),
];
