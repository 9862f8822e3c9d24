import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { limiting, limitOf, traces } from "../../support/limits.ts";

const WINDOW = 1000;

describe("gcra", () => {
  test("lets one through each window / limit, and says to the millisecond when the next one is due", () => {
    const it = limiting(limitOf("gcra", 10, "1s", { burst: 1 }));
    expect(it.admit().allowed).toBe(true);
    for (let i = 0; i < 5; i++) {
      it.clock.time += 40;
      expect(it.admit()).toMatchObject({ allowed: false, readings: [{ limit: 1, used: 1, remaining: 0, retryIn: 60, resetIn: 60 }] });
      it.clock.time += 60;
      expect(it.admit().allowed).toBe(true);
    }
  });

  test("lets `burst` through at once after a pause, and then spaces them out", () => {
    const it = limiting(limitOf("gcra", 60, "1m", { burst: 3 }));
    const verdicts = () => Array.from({ length: 4 }, () => it.admit().allowed);
    expect(verdicts()).toEqual([true, true, true, false]);
    it.clock.time += 1000;
    expect(verdicts()).toEqual([true, false, false, false]);
    it.clock.time += 60_000;
    expect(verdicts()).toEqual([true, true, true, false]);
  });

  test("is the virtual scheduling algorithm of ITU-T I.371, cell by cell", () => {
    fc.assert(
      fc.property(fc.constantFrom(1, 2, 4, 5, 10, 20), fc.integer({ min: 1, max: 12 }), traces, (limit, burst, trace) => {
        const it = limiting(limitOf("gcra", limit, "1s", { burst }));
        // The increment and the tolerance are whole milliseconds here, so that nothing is rounded.
        const increment = WINDOW / limit;
        const tolerance = (burst - 1) * increment;
        let due = it.clock.time;
        for (const { wait } of trace) {
          it.clock.time += wait;
          const conforms = it.clock.time >= due - tolerance;
          expect(it.admit().allowed).toBe(conforms);
          if (conforms) due = Math.max(due, it.clock.time) + increment;
        }
      }),
    );
  });

  test("grants what a token bucket of the same rate and size grants, whatever requests cost", () => {
    fc.assert(
      fc.property(fc.constantFrom(1, 2, 4, 5, 10, 20), fc.integer({ min: 1, max: 20 }), traces, (limit, burst, trace) => {
        const [gcra, bucket] = [
          limiting(limitOf("gcra", limit, "1s", { burst })),
          limiting(limitOf("token-bucket", limit, "1s", { burst })),
        ];
        for (const { wait, cost } of trace) {
          gcra.clock.time += wait;
          bucket.clock.time += wait;
          expect(gcra.admit(cost).allowed).toBe(bucket.admit(cost).allowed);
        }
      }),
    );
  });

  test("in DEGRADED has `degraded` for its rate and for what may come at once", () => {
    const it = limiting(limitOf("gcra", 60, "1m", { burst: 100, degraded: 6 }));
    it.state.isDegraded = true;
    for (let i = 0; i < 6; i++) expect(it.admit().allowed).toBe(true);
    expect(it.admit()).toMatchObject({ allowed: false, readings: [{ limit: 6, retryIn: 10_000 }] });
  });
});
