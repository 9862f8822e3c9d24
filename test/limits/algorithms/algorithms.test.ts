import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { newReading } from "../../../src/limits/algorithms/algorithm.ts";
import { ALGORITHMS } from "../../../src/limits/algorithms/registry.ts";
import { compilePolicies } from "../../../src/limits/policy.ts";
import type { LimitConfig } from "../../../src/limits/settings.ts";
import { limiting, limitOf, traces, WINDOWED } from "../../support/limits.ts";

const WINDOW = 1000;
type Trace = readonly { wait: number; cost: number }[];

/** What a limit let through: when, and at what cost. */
function granted(config: LimitConfig, trace: Trace): { at: number; cost: number }[] {
  const it = limiting(config);
  const grants: { at: number; cost: number }[] = [];
  for (const { wait, cost } of trace) {
    it.clock.time += wait;
    if (it.admit(cost).allowed) grants.push({ at: it.clock.time, cost });
  }
  return grants;
}

/** The most that was let through in any span of one window, closed at its beginning and open at its end. */
function mostInAnySpan(grants: { at: number; cost: number }[]): number {
  return Math.max(
    0,
    ...grants.map(({ at }) => grants.filter((other) => other.at >= at && other.at < at + WINDOW).reduce((sum, { cost }) => sum + cost, 0)),
  );
}

const limits = fc.integer({ min: 1, max: 12 });

describe("what is let through", () => {
  test("sliding-log: never more than the limit in any span of one window", () => {
    fc.assert(
      fc.property(limits, traces, (limit, trace) =>
        expect(mostInAnySpan(granted(limitOf("sliding-log", limit), trace))).toBeLessThanOrEqual(limit),
      ),
    );
  });

  test("fixed-window: never more than the limit in each window, which opens with the first request", () => {
    fc.assert(
      fc.property(limits, traces, (limit, trace) => {
        let start = Number.NEGATIVE_INFINITY;
        let used = 0;
        for (const { at, cost } of granted(limitOf("fixed-window", limit), trace)) {
          if (at >= start + WINDOW) [start, used] = [at, 0];
          used += cost;
          expect(used).toBeLessThanOrEqual(limit);
        }
      }),
    );
  });

  test("fixed-window aligned to the clock: never more than the limit between two multiples of the window", () => {
    fc.assert(
      fc.property(limits, traces, (limit, trace) => {
        const used = new Map<number, number>();
        for (const { at, cost } of granted(limitOf("fixed-window", limit, "1s", { align: "clock" }), trace)) {
          const window = Math.floor(at / WINDOW);
          used.set(window, (used.get(window) ?? 0) + cost);
          expect(used.get(window)).toBeLessThanOrEqual(limit);
        }
      }),
    );
  });

  test("sliding-window: never more than the limit in a window of its grid, and at most twice as much in any span", () => {
    fc.assert(
      fc.property(limits, traces, (limit, trace) => {
        const grants = granted(limitOf("sliding-window", limit), trace);
        expect(mostInAnySpan(grants)).toBeLessThanOrEqual(2 * limit);
        const first = grants[0]?.at ?? 0;
        expect(grants.filter(({ at }) => at < first + WINDOW).reduce((sum, { cost }) => sum + cost, 0)).toBeLessThanOrEqual(limit);
      }),
    );
  });

  test("token-bucket: never more than what it holds and what came since", () => {
    fc.assert(
      fc.property(limits, fc.integer({ min: 1, max: 20 }), traces, (limit, burst, trace) => {
        const grants = granted(limitOf("token-bucket", limit, "1s", { burst }), trace);
        for (const [i, first] of grants.entries()) {
          let sum = 0;
          for (const { at, cost } of grants.slice(i)) {
            sum += cost;
            expect(sum).toBeLessThanOrEqual(burst + (limit * (at - first.at)) / WINDOW + 1e-3);
          }
        }
      }),
    );
  });

  test("concurrency: never more than the limit at a time, whatever the order in which exchanges end", () => {
    fc.assert(
      fc.property(limits, fc.array(fc.oneof(fc.constant("begin"), fc.nat(20)), { maxLength: 100 }), (limit, steps) => {
        const it = limiting({ algorithm: "concurrency", limit });
        const open: ReturnType<typeof it.admit>[] = [];
        for (const step of steps) {
          if (step === "begin") {
            const verdict = it.admit();
            expect(verdict.allowed).toBe(open.length < limit);
            if (verdict.allowed) open.push(verdict);
          } else if (open.length > 0) {
            const [verdict] = open.splice(Number(step) % open.length, 1);
            // Ending twice must not free another's place.
            if (verdict) [it.limiter.release(verdict), it.limiter.release(verdict)];
          }
          expect(it.inspect()[0]?.used).toBe(open.length);
        }
      }),
    );
  });

  test("everything that the limit allows is let through when nobody has used it", () => {
    for (const algorithm of WINDOWED) {
      const it = limiting(limitOf(algorithm, 20));
      const verdicts = Array.from({ length: 21 }, () => it.admit().allowed);
      expect(verdicts).toEqual([...Array<boolean>(20).fill(true), false]);
    }
  });
});

describe.each(WINDOWED.map((algorithm) => [algorithm]))("%s", (algorithm) => {
  const config = fc
    .record({ limit: limits, burst: fc.option(fc.integer({ min: 12, max: 20 })) })
    .map(({ limit, burst }) => limitOf(algorithm, limit, "1s", burst === null ? {} : { burst }));

  /** A limiter after a trace. */
  const after = (it: LimitConfig, trace: Trace, refused: number[] = []) => {
    const made = limiting(it);
    for (const { wait, cost } of trace) {
      made.clock.time += wait;
      for (const each of refused) if (!made.inspect().every((reading) => reading.remaining >= each)) made.admit(each);
      made.admit(cost);
    }
    return made;
  };

  test("a denied request changes nothing, now or later", () => {
    fc.assert(
      fc.property(config, traces, fc.nat(2000), (it, trace, wait) => {
        const left = after(it, trace);
        const right = after(it, trace, [100]);
        expect(right.inspect()).toEqual(left.inspect());
        left.clock.time += wait;
        right.clock.time += wait;
        expect(right.inspect()).toEqual(left.inspect());
      }),
    );
  });

  test("what remains can be taken, and not one more", () => {
    fc.assert(
      fc.property(config, traces, (it, trace) => {
        const { remaining = 0 } = after(it, trace).inspect()[0] ?? {};
        expect(after(it, trace).admit(remaining + 1).allowed).toBe(false);
        if (remaining > 0) expect(after(it, trace).admit(remaining).allowed).toBe(true);
      }),
    );
  });

  test("a denied request fits exactly when it was told to come back, not a millisecond earlier", () => {
    fc.assert(
      fc.property(config, traces, fc.integer({ min: 1, max: 12 }), (it, trace, cost) => {
        const probe = after(it, trace);
        const verdict = probe.admit(cost);
        const reading = verdict.readings[0];
        if (verdict.allowed || reading === undefined || cost > reading.limit) return;
        const at = (wait: number) => {
          const made = after(it, trace);
          made.clock.time += wait;
          return made.admit(cost).allowed;
        };
        expect(at(reading.retryIn)).toBe(true);
        expect(at(reading.retryIn - 1)).toBe(false);
      }),
    );
  });

  test("more is left exactly when it says so, and within one window", () => {
    fc.assert(
      fc.property(config, traces, (it, trace) => {
        const made = after(it, trace);
        const { remaining = 0, resetIn = 0, limit = 0 } = made.inspect()[0] ?? {};
        if (remaining === limit) {
          expect(resetIn === 0 || ALGORITHMS[algorithm].capacity !== null).toBe(true);
          return;
        }
        expect(resetIn).toBeGreaterThan(0);
        expect(resetIn).toBeLessThanOrEqual(WINDOW);
        made.clock.time += resetIn - 1;
        expect(made.inspect()[0]?.remaining).toBeLessThanOrEqual(remaining);
        made.clock.time += 1;
        expect(made.inspect()[0]?.remaining).toBeGreaterThan(remaining);
      }),
    );
  });

  test("a clock that was set back by years blocks nobody for longer than a window", () => {
    const it = limiting(limitOf(algorithm, 3));
    for (let i = 0; i < 3; i++) it.admit();
    it.clock.time -= 1e11;
    it.admit();
    it.clock.time += 2 * WINDOW;
    expect(it.admit().allowed).toBe(true);
  });

  test("a cost above the limit never fits and is told so", () => {
    const it = limiting(limitOf(algorithm, 3));
    const verdict = it.admit(4);
    expect(verdict.allowed).toBe(false);
    expect(verdict.readings[0]).toMatchObject({ retryIn: WINDOW, remaining: 3 });
  });
});

test("a sliding log that an earlier version stored goes on, whatever its ring and however many of its requests were given back", () => {
  const policies = compilePolicies([limitOf("sliding-log", 10)], { kind: "tier", name: "t" });
  const stored = { times: [30, 40, 0, 10, 20], costs: [0, 2, 9, 1, 3], head: 3, length: 4, used: 6 };
  const state = ALGORITHMS["sliding-log"].revived(stored);
  const reading = newReading();
  const usedAt = (now: number) => {
    for (const policy of policies) policy.counting.peek(state, policy, policy.normal, 0, now, reading);
    return [reading.used, reading.resetIn];
  };
  expect([40, 1010, 1020, 1039, 1040].map(usedAt)).toEqual([
    [6, 970],
    [5, 10],
    [2, 20],
    [2, 1],
    [0, 0],
  ]);
});

test("a sliding log says that nothing is used once all of it was given back", () => {
  const it = limiting(limitOf("sliding-log", 10, "1s", { cost: "usage" }));
  const verdict = it.admit(3);
  it.limiter.settle(verdict, 0);
  expect(it.inspect()[0]).toMatchObject({ used: 0, resetIn: 0 });
});
