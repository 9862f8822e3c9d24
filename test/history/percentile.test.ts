import { expect, test } from "bun:test";
import fc from "fast-check";
import { percentile } from "../../src/history/percentile.ts";
import { plus } from "../../src/history/sums.ts";

const BOUNDS = [1, 5, 10, 50, 100];
const SHARES = fc.double({ min: 0.001, max: 1, noNaN: true });
const latencies = fc.array(fc.double({ min: 0, max: 100, noNaN: true }), { minLength: 1, maxLength: 200 });

const bucketOf = (value: number): number => {
  const at = BOUNDS.findIndex((bound) => value <= bound);
  return at < 0 ? BOUNDS.length : at;
};
const bucketed = (values: readonly number[]): number[] => {
  const counts = new Array<number>(BOUNDS.length + 1).fill(0);
  for (const value of values) counts[bucketOf(value)] = (counts[bucketOf(value)] ?? 0) + 1;
  return counts;
};

test("a percentile lies in the bucket of the request that has it", () => {
  fc.assert(
    fc.property(latencies, SHARES, (values, share) => {
      const exact = values.sort((a, b) => a - b)[Math.ceil(share * values.length - 1e-9) - 1] ?? 0;
      const found = percentile(bucketed(values), BOUNDS, share) ?? Number.NaN;
      const bucket = bucketOf(exact);
      expect(found).toBeWithin((BOUNDS[bucket - 1] ?? 0) - 1e-9, (BOUNDS[bucket] ?? 0) + 1e-6);
    }),
  );
});

test("a larger share is never a smaller latency", () => {
  fc.assert(
    fc.property(latencies, SHARES, SHARES, (values, a, b) => {
      const counts = bucketed(values);
      const [low, high] = [percentile(counts, BOUNDS, Math.min(a, b)), percentile(counts, BOUNDS, Math.max(a, b))];
      expect(low ?? 0).toBeLessThanOrEqual((high ?? 0) + 1e-9);
    }),
  );
});

test("the percentile of two spans together lies between those of each", () => {
  fc.assert(
    fc.property(latencies, latencies, SHARES, (first, second, share) => {
      const of = (latency: readonly number[]) => ({ requests: latency.length, clientErrors: 0, errors: 0, limited: 0, latency });
      const both = percentile(plus(of(bucketed(first)), of(bucketed(second))).latency, BOUNDS, share) ?? Number.NaN;
      const each = [first, second].map((values) => percentile(bucketed(values), BOUNDS, share) ?? Number.NaN);
      expect(both).toBeWithin(Math.min(...each) - 1e-6, Math.max(...each) + 1e-6);
    }),
  );
});

test("there is no percentile of nothing, and beyond the last bound the bound itself is given", () => {
  expect(percentile([], BOUNDS, 0.5)).toBeNull();
  expect(percentile([0, 0, 0, 0, 0, 0], BOUNDS, 0.99)).toBeNull();
  expect(percentile([0, 0, 0, 0, 0, 7], BOUNDS, 0.5)).toBe(100);
});
