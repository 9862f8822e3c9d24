import type { RouteNumbers, Stats } from "../../shapes.ts";

/** Latencies of half, of 95 % and of 99 % of the requests, in milliseconds. */
export interface Latencies {
  readonly p50: number | null;
  readonly p95: number | null;
  readonly p99: number | null;
}

/** Holds what happened a second, between two looks at the gateway's sums. */
export interface Rates extends Latencies {
  /** The end of the time, in milliseconds since 1970. */
  readonly at: number;
  readonly requests: number;
  readonly passed: number;
  /** Refused with 4xx other than 429. */
  readonly refused: number;
  readonly limited: number;
  readonly failed: number;
  readonly inFlight: number;
}

/** Holds the rates of one route. */
export interface RouteRates extends Latencies {
  readonly name: string;
  readonly requests: number;
  readonly limited: number;
  readonly refused: number;
  readonly failed: number;
}

/** Tells whether sums went on from others: not when the gateway has started anew between them. */
export const goesOn = (before: Stats, now: Stats): boolean => now.uptime >= before.uptime && now.at > before.at;

/** Gives what happened a second between two answers. Call it with answers of which one goes on from the other. */
export function ratesOf(before: Stats, now: Stats): Rates {
  const routes = routeRatesOf(before, now);
  const sum = (of: (route: RouteRates) => number): number => routes.reduce((total, route) => total + of(route), 0);
  const requests = sum((route) => route.requests);
  const refused = sum((route) => route.refused);
  const limited = sum((route) => route.limited);
  const failed = sum((route) => route.failed);
  const latency = now.routes.reduce<readonly number[]>((total, route) => added(total, latencyOf(before, route)), []);
  return {
    at: Date.parse(now.at),
    ...{ requests, refused, limited, failed, inFlight: now.inFlight },
    passed: Math.max(0, requests - refused - limited - failed),
    ...latenciesOf(latency, now.latencyBounds),
  };
}

/** Gives the rates of each route, those without a request among them. */
export function routeRatesOf(before: Stats, now: Stats): readonly RouteRates[] {
  const seconds = secondsBetween(before, now);
  return now.routes.map((route) => {
    const old = before.routes.find(({ name }) => name === route.name);
    const since = (field: "requests" | "limited" | "clientErrors" | "serverErrors"): number =>
      Math.max(0, route[field] - (old?.[field] ?? 0)) / seconds;
    return {
      name: route.name,
      requests: since("requests"),
      limited: since("limited"),
      refused: since("clientErrors"),
      failed: since("serverErrors"),
      ...latenciesOf(latencyOf(before, route), now.latencyBounds),
    };
  });
}

/** Gives how often requests were refused a second, by the code, the most frequent first. */
export function refusalRatesOf(
  before: Stats,
  now: Stats,
): readonly { readonly code: string; readonly rate: number; readonly total: number }[] {
  const seconds = secondsBetween(before, now);
  return now.refusals
    .map(({ code, count }) => {
      const old = before.refusals.find((each) => each.code === code)?.count ?? 0;
      return { code, rate: Math.max(0, count - old) / seconds, total: count };
    })
    .sort((a, b) => b.rate - a.rate || b.total - a.total);
}

/** Gives the share of requests that the cache answered, between two answers; `null` where it was not asked. */
export function hitShareOf(before: Stats, now: Stats): number | null {
  const hits = now.cache.hits - before.cache.hits;
  const all = hits + now.cache.misses - before.cache.misses;
  return all > 0 && hits >= 0 ? hits / all : null;
}

const secondsBetween = (before: Stats, now: Stats): number => Math.max(0.001, (Date.parse(now.at) - Date.parse(before.at)) / 1000);

function latencyOf(before: Stats, route: RouteNumbers): readonly number[] {
  const old = before.routes.find(({ name }) => name === route.name);
  return route.latency.map((many, i) => Math.max(0, many - (old?.latency[i] ?? 0)));
}

const added = (a: readonly number[], b: readonly number[]): readonly number[] => b.map((value, i) => value + (a[i] ?? 0));

/** Gives latencies from the number of requests in each bucket, by interpolation within one. */
export const latenciesOf = (buckets: readonly number[], bounds: readonly number[]): Latencies => ({
  p50: percentile(buckets, bounds, 0.5),
  p95: percentile(buckets, bounds, 0.95),
  p99: percentile(buckets, bounds, 0.99),
});

/** Gives the bound that a share of the requests did not exceed; of those beyond the last bucket its bound. `null` without requests. */
function percentile(buckets: readonly number[], bounds: readonly number[], share: number): number | null {
  const all = buckets.reduce((sum, many) => sum + many, 0);
  if (all === 0) return null;
  let before = 0;
  for (const [i, many] of buckets.entries()) {
    const bound = bounds[i];
    if (bound === undefined) break;
    if (many > 0 && before + many >= all * share) {
      const low = bounds[i - 1] ?? 0;
      return low + ((bound - low) * (all * share - before)) / many;
    }
    before += many;
  }
  return bounds.at(-1) ?? null;
}
