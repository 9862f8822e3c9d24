import { expect, test } from "bun:test";
import fc from "fast-check";
import { RecentCallers } from "../../src/activities/callers.ts";

test("whoever came within the last minute counts once, however often they came", () => {
  const visit = fc.record({ name: fc.constantFrom("a", "b", "c", "d", "e"), wait: fc.integer({ min: 0, max: 40_000 }) });
  fc.assert(
    fc.property(fc.array(visit, { maxLength: 40 }), (visits) => {
      const callers = new RecentCallers();
      const last = new Map<string, number>();
      let now = 0;
      for (const { name, wait } of visits) {
        now += wait;
        callers.add(name, now);
        last.set(name, now);
        expect(callers.count(now)).toBe([...last.values()].filter((at) => now - at < 60_000).length);
      }
      expect(callers.count(now + 60_000)).toBe(0);
    }),
  );
});

test("ten thousand callers are told apart, and more take no more memory: those who have not come for longest are forgotten", () => {
  const callers = new RecentCallers();
  for (let i = 0; i < 30_000; i++) callers.add(`caller ${i}`, i / 1000);
  expect(callers.count(30)).toBe(10_000);
  for (let i = 20_000; i < 30_000; i++) callers.add(`caller ${i}`, 60);
  expect(callers.count(60_031)).toBe(10_000);
});
