import type { Config } from "../config/schema.ts";
import type { Fault, Path } from "../schema/faults.ts";
import { isObject } from "../values/json.ts";

/** The fields below which amounts of money may stand. */
const PLACES = ["limits", "quota", "keys", "budgets"] as const;

/** Gives a warning for each limit, quota and budget that counts money while nothing has a price: it refuses all, or nothing. */
export function moneyWithoutPrices({ tiers, consumers, routes, pools, unpriced }: Config): Fault[] {
  const places = [
    ...placesOfCallers({ tiers, consumers }),
    ...Object.entries(pools).flatMap(([name, pool]) => placesIn(pool, ["pools", name])),
    ...routes.flatMap((route, i) => placesIn(route, ["routes", i])),
  ];
  const effect = unpriced === "deny" ? "calls of models are refused" : "it limits nobody";
  return places.map((path) => ({ path, message: `counts money, and nothing has a price, so that ${effect}: set "prices"` }));
}

/** Gives the places of the limits and quotas of callers that count money. */
export const placesOfCallers = ({ tiers, consumers }: Pick<Config, "tiers" | "consumers">): Path[] => [
  ...Object.entries(tiers).flatMap(([name, tier]) => placesIn(tier, ["tiers", name])),
  ...consumers.flatMap((consumer, i) => placesIn(consumer, ["consumers", i])),
];

function placesIn(value: unknown, at: Path): Path[] {
  if (Array.isArray(value)) return value.flatMap((each, i) => placesIn(each, [...at, i]));
  if (!isObject(value)) return [];
  return [
    ...(value.cost === "usd" && "limit" in value ? [[...at, "cost"]] : []),
    ...PLACES.flatMap((name) => placesIn(value[name], [...at, name])),
  ];
}
