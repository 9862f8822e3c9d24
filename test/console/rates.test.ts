import { expect, test } from "bun:test";
import { goesOn, latenciesOf, ratesOf, refusalRatesOf, routeRatesOf } from "../../src/console/page/screens/now/rates.ts";
import type { Stats } from "../../src/console/page/shapes.ts";

const BOUNDS = [1, 10, 100];
const stats = (second: number, requests: number, limited: number, latency: number[], code = limited): Stats => ({
  at: new Date(1_800_000_000_000 + second * 1000).toISOString(),
  version: "0.1.0",
  uptime: 100 + second,
  status: "NORMAL",
  inFlight: 2,
  latencyBounds: BOUNDS,
  routes: [{ name: "shop", requests, limited, clientErrors: 0, serverErrors: 1, latency }],
  refusals: code === 0 ? [] : [{ code: "rateLimited", count: code }],
  consumers: [],
  targets: [],
  blocks: { count: 0, latest: [] },
  faults: [],
  warnings: [],
  pools: [],
  workers: [],
  cache: { hits: 0, misses: 0 },
  redis: null,
  activities: null,
});

test("rates are what was counted between two looks, a second", () => {
  const before = stats(0, 100, 10, [100, 0, 0, 0]);
  const now = stats(2, 140, 20, [120, 20, 0, 0]);
  expect(ratesOf(before, now)).toMatchObject({
    requests: 20,
    limited: 5,
    failed: 0,
    refused: 0,
    passed: 15,
    inFlight: 2,
    at: Date.parse(now.at),
  });
  expect(refusalRatesOf(before, now)).toEqual([{ code: "rateLimited", rate: 5, total: 20 }]);
  // Half of the 40 requests lie in the first bucket.
  expect(ratesOf(before, now).p50).toBe(1);
});

test("a route that is new counts from 0, and sums never run backwards", () => {
  const before = { ...stats(0, 0, 0, [0, 0, 0, 0]), routes: [] };
  expect(routeRatesOf(before, stats(1, 7, 0, [7, 0, 0, 0]))).toMatchObject([{ name: "shop", requests: 7 }]);
  expect(ratesOf(stats(0, 100, 0, [0, 0, 0, 0]), stats(1, 40, 0, [0, 0, 0, 0])).requests).toBe(0);
});

test("a start of the gateway between two looks is noticed", () => {
  expect(goesOn(stats(0, 1, 0, []), stats(1, 1, 0, []))).toBe(true);
  expect(goesOn({ ...stats(0, 1, 0, []), uptime: 500 }, stats(1, 1, 0, []))).toBe(false);
  expect(goesOn(stats(1, 1, 0, []), stats(1, 1, 0, []))).toBe(false);
});

test("latencies lie within their buckets; beyond the last one there is only its bound", () => {
  expect(latenciesOf([0, 0, 0, 0], BOUNDS)).toEqual({ p50: null, p95: null, p99: null });
  const { p50, p95, p99 } = latenciesOf([50, 40, 10, 0], BOUNDS);
  expect([p50, p95, p99]).toEqual([1, 55, 91]);
  expect(latenciesOf([0, 0, 0, 5], BOUNDS).p99).toBe(100);
});
