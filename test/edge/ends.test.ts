import { expect, test } from "bun:test";
import { endsSoon } from "../../src/edge/ends.ts";

const DAY = 86_400_000;

test("a certificate is spoken of two weeks before its end, and a short-lived one in the last sixth of its life", () => {
  const soonAfter = (life: number): number => {
    for (let day = 0; ; day += 0.5) if (endsSoon({ beginsAt: 0, endsAt: life * DAY }, day * DAY)) return day;
  };
  expect([365, 90, 47, 6].map(soonAfter)).toEqual([351.5, 76.5, 39.5, 5.5]);
});

test("one that has ended is spoken of, also one whose times make no sense", () => {
  expect(endsSoon({ beginsAt: 0, endsAt: DAY }, 2 * DAY)).toBe(true);
  expect(endsSoon({ beginsAt: 2 * DAY, endsAt: DAY }, 3 * DAY)).toBe(true);
});
