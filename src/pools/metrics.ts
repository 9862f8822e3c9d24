import { type Family, gauge, type Sample } from "../values/family.ts";
import type { KeyReport, Pools } from "./pools.ts";

/** Tells Prometheus of each key of each pool. */
export function poolFamilies(pools: Pools): readonly Family[] {
  const eachKey = (value: (key: KeyReport) => number): Sample[] =>
    pools.names().flatMap((pool) => pools.keysOf(pool).map((key) => ({ labels: { pool, key: key.id }, value: value(key) })));
  return [
    gauge(
      "sluice_pool_tokens_remaining",
      "What is left to a pool's key in its tightest window.",
      () => eachKey(({ remaining }) => remaining),
      "min",
    ),
    gauge(
      "sluice_pool_key_usable",
      "0 while a pool's key rests or is in quarantine.",
      () => eachKey(({ status }) => (status === "ready" ? 1 : 0)),
      "min",
    ),
  ];
}
