import { expect, test } from "bun:test";
import fc from "fast-check";
import { HeavyHitters } from "../../src/usage/heavy-hitters.ts";

test("a steady caller's rate is what it is, and fades when it stops", () => {
  const hitters = new HeavyHitters();
  let now = 1_000_000;
  for (let i = 0; i < 60; i++) {
    now += 1000;
    hitters.add("acme", 100, 40, now);
  }
  const [acme] = hitters.top(1, now);
  expect(acme?.requests).toBeWithin(99, 106);
  expect(acme?.limited).toBeWithin(39, 43);
  expect(hitters.top(1, now + 60_000)[0]?.requests ?? 0).toBeLessThan(1);
  expect(hitters.top(1, now + 600_000)).toEqual([]);
});

test("whoever calls much is named, however many others call", () => {
  fc.assert(
    fc.property(fc.integer({ min: 300, max: 3000 }), fc.integer(), (others, seed) => {
      const hitters = new HeavyHitters();
      for (let second = 0; second < 5; second++) {
        const crowd = Array.from({ length: others }, (_, i) => [`${seed}-${second}-${i}`, 1] as const);
        for (const [name, requests] of [...crowd, ["heavy", others] as const, ["second", others / 2] as const])
          hitters.add(name, requests, 0, 1_000_000 + second * 1000);
      }
      expect(hitters.top(2, 1_005_000).map(({ name }) => name)).toEqual(["heavy", "second"]);
    }),
    { numRuns: 20 },
  );
});
