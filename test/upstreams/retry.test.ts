import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { retryAfterOf } from "../../src/http/retry-after.ts";
import { delayBefore, mayBeRepeated, outcomeOf, RetryBudget, type RetryPolicy, retryDelay } from "../../src/upstreams/retry.ts";

const POLICY: RetryPolicy = {
  attempts: 3,
  baseDelay: 1000,
  maxDelay: 30_000,
  factor: 2,
  jitter: false,
  attemptTimeout: null,
  on: new Set(),
};
const NOW = Date.parse("2026-11-21T00:00:00Z");

describe("the wait before a retry", () => {
  test("grows by the factor up to its bound", () => {
    expect([1, 2, 3, 5, 6, 50].map((attempt) => retryDelay(POLICY, attempt, null, Math.random))).toEqual([
      1000, 2000, 4000, 16_000, 30_000, 30_000,
    ]);
  });

  test("is, with jitter, anything between nothing and that", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 20 }), fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), (attempt, random) => {
        const max = retryDelay(POLICY, attempt, null, () => 0);
        const delay = retryDelay({ ...POLICY, jitter: true }, attempt, null, () => random);
        expect(delay).toBeGreaterThanOrEqual(0);
        expect(delay).toBe(max * random);
      }),
    );
  });

  test("is what the backend asks for, up to the bound", () => {
    expect(retryDelay(POLICY, 1, 5000, Math.random)).toBe(5000);
    expect(retryDelay(POLICY, 1, 90_000, Math.random)).toBe(30_000);
    expect(retryAfterOf("120", NOW)).toBe(120_000);
    expect(retryAfterOf("Sat, 21 Nov 2026 00:00:09 GMT", NOW)).toBe(9000);
    expect(retryAfterOf("Fri, 20 Nov 2026 00:00:00 GMT", NOW)).toBe(0);
    expect(retryAfterOf("soon", NOW)).toBeNull();
    expect(retryAfterOf(null, NOW)).toBeNull();
  });
});

describe("a request", () => {
  const failures = ["timeout", "reset", "protocol"] as const;
  const others = ["request", "aborted", "descriptors"] as const;

  test("may be sent again where that changes nothing twice, and may help", () => {
    for (const method of ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"])
      for (const why of [502, 503, 504, ...failures])
        expect([method, why, mayBeRepeated({ why, method, hasKey: false, isRepeatable: true })]).toEqual([method, why, true]);
    for (const why of [200, 404, 429, 500, 501, ...others])
      expect([why, mayBeRepeated({ why, method: "GET", hasKey: true, isRepeatable: true })]).toEqual([why, false]);
  });

  test("that changes something may be sent again when its sender says so, and never when its body is gone", () => {
    for (const method of ["POST", "PATCH", "BREW"])
      for (const why of [503, ...failures]) {
        expect(mayBeRepeated({ why, method, hasKey: false, isRepeatable: true })).toBe(false);
        expect(mayBeRepeated({ why, method, hasKey: true, isRepeatable: true })).toBe(true);
        expect(mayBeRepeated({ why, method, hasKey: true, isRepeatable: false })).toBe(false);
      }
  });

  test("that reached nobody may always be sent again, and the first time soon", () => {
    expect(mayBeRepeated({ why: "connect", method: "POST", hasKey: false, isRepeatable: false })).toBe(true);
    expect([1, 2].map((attempt) => delayBefore(POLICY, attempt, "connect", null, () => 0.5))).toEqual([50, 2000]);
    expect(delayBefore(POLICY, 1, "reset", null, () => 0.5)).toBe(1000);
  });

  test("tells of a target only what the target did", () => {
    expect([...failures, "connect" as const].map(outcomeOf)).toEqual(["timeout", "reset", "reset", "connect"]);
    expect(others.map(outcomeOf)).toEqual([null, null, null]);
  });
});

test("a budget never lets more than a fifth of the requests be repeated, after its allowance", () => {
  fc.assert(
    fc.property(fc.array(fc.boolean(), { maxLength: 3000 }), (events) => {
      const budget = new RetryBudget();
      let requests = 0;
      let retries = 0;
      for (const isRequest of events) {
        if (isRequest) {
          requests++;
          budget.earn();
        } else if (budget.spend()) retries++;
        expect(retries).toBeLessThanOrEqual(10 + 0.2 * requests + 1e-6);
      }
    }),
  );
  const idle = new RetryBudget();
  for (let i = 0; i < 100_000; i++) idle.earn();
  let burst = 0;
  while (idle.spend()) burst++;
  expect(burst).toBe(100);
});
