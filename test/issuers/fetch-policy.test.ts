import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { FetchPolicy } from "../../src/issuers/fetch-policy.ts";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

describe("a key set", () => {
  test("is kept 10 minutes, then fetched again while it serves, and serves 24 hours at most", () => {
    const policy = new FetchPolicy();
    expect(policy.standing(0)).toBe("none");
    policy.went(1000, false);
    const after = (age: number) => policy.standing(1000 + age);
    expect([0, 10 * MINUTE - 1].map(after)).toEqual(["fresh", "fresh"]);
    expect([10 * MINUTE, 10 * MINUTE + 29_999].map(after)).toEqual(["due", "due"]);
    expect([10 * MINUTE + 30_000, 24 * HOUR - 1].map(after)).toEqual(["overdue", "overdue"]);
    expect(after(24 * HOUR)).toBe("lapsed");
  });

  test("is fetched two times at once, then once each 5 s", () => {
    const policy = new FetchPolicy();
    expect([0, 0, 0, 4999, 5000, 5001, 9999, 10_000].map((now) => policy.take(now))).toEqual([
      ...[true, true, false, false, true, false, false, true],
    ]);
  });

  test("is fetched for nothing where that brings what it was made for", () => {
    const policy = new FetchPolicy();
    for (let rotation = 0; rotation < 100; rotation++) {
      expect(policy.take(rotation)).toBe(true);
      policy.went(rotation, true);
    }
  });

  test("is fetched eight times within 30 s at most, whenever somebody asks", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: HOUR }), fc.array(fc.integer({ min: 0, max: 29_999 }), { maxLength: 200 }), (start, asked) => {
        const policy = new FetchPolicy();
        const taken = asked.sort((a, b) => a - b).filter((at) => policy.take(start + at));
        expect(taken.length).toBeLessThanOrEqual(8);
      }),
    );
  });

  test("can be fetched within 5 s of any moment", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: HOUR }), { minLength: 1, maxLength: 200 }), (asked) => {
        const policy = new FetchPolicy();
        for (const at of asked.sort((a, b) => a - b)) policy.take(at);
        expect(policy.take((asked.at(-1) as number) + 5000)).toBe(true);
      }),
    );
  });
});
