import { type Family, gauge, type Sample } from "../values/family.ts";
import { type KeyReport, type Pools, shownAmount } from "./pools.ts";

/** Tells Prometheus of each key of each pool. */
export function poolFamilies(pools: Pools): readonly Family[] {
  const eachKey = (value: (key: KeyReport) => number, has: (key: KeyReport) => boolean = () => true): Sample[] =>
    pools.names().flatMap((pool) =>
      pools
        .keysOf(pool)
        .filter(has)
        .map((key) => ({ labels: { pool, key: key.id }, value: value(key) })),
    );
  return [
    gauge(
      "sluice_pool_tokens_remaining",
      "What is left to a pool's key in its tightest window; of keys whose budgets are all in money see sluice_pool_usd_remaining.",
      () =>
        eachKey(
          ({ remaining }) => remaining,
          ({ unit }) => unit !== "usd",
        ),
      "min",
    ),
    gauge(
      "sluice_pool_usd_remaining",
      "The dollars that are left to a pool's key in the tightest window of its budgets in money.",
      () => eachKey(dollarsLeft, ({ budgets }) => budgets.some(({ of }) => of === "usd")),
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

const dollarsLeft = ({ budgets }: KeyReport): number =>
  Math.min(...budgets.map(({ of, limit, used }) => (of === "usd" ? shownAmount(of, Math.max(0, limit - used)) : Number.POSITIVE_INFINITY)));
