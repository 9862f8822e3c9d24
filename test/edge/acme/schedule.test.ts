import { expect, test } from "bun:test";
import fc from "fast-check";
import {
  fractionOf,
  nextAfterRestart,
  nextWhenAsked,
  pauseAfter,
  renewalAt,
  retryAfter,
  untilNextWord,
} from "../../../src/edge/acme/schedule.ts";

const DAY = 86_400_000;
const NOW = Date.parse("2026-11-21T00:00:00Z");

const fraction = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
const life = fc
  .tuple(fc.integer({ min: 0, max: 1e13 }), fc.integer({ min: 60_000, max: 4e11 }))
  .map(([beginsAt, length]) => ({ beginsAt, endsAt: beginsAt + length }));

test("a renewal comes when a third of the life is left or a little earlier, whatever the life", () => {
  fc.assert(
    fc.property(life, fraction, ({ beginsAt, endsAt }, at) => {
      const left = (endsAt - renewalAt({ beginsAt, endsAt }, null, at)) / (endsAt - beginsAt);
      expect(left).toBeGreaterThanOrEqual(1 / 3 - 1e-9);
      expect(left).toBeLessThan(1 / 3 + 1 / 50);
    }),
  );
});

test("the authority's window is kept to, but for one that would leave too little", () => {
  fc.assert(
    fc.property(life, fraction, fc.integer({ min: 0, max: 2e13 }), fc.integer({ min: 1, max: 1e10 }), (its, at, start, length) => {
      const when = renewalAt(its, { start, end: start + length }, at);
      expect(when).toBeLessThanOrEqual(start + length);
      expect(when).toBeLessThanOrEqual(its.endsAt - (its.endsAt - its.beginsAt) / 10);
      if (when < start) expect(when).toBe(Math.floor(its.endsAt - (its.endsAt - its.beginsAt) / 10));
    }),
  );
});

test("the same certificate has the same time after each restart, and others have others", () => {
  const all = Array.from({ length: 1000 }, (_, i) => fractionOf(`certificate ${i}`));
  expect(all).toEqual(Array.from({ length: 1000 }, (_, i) => fractionOf(`certificate ${i}`)));
  expect(new Set(all).size).toBe(1000);
  expect(Math.min(...all)).toBeGreaterThanOrEqual(0);
  expect(Math.max(...all)).toBeLessThan(1);
  const mean = all.reduce((sum, each) => sum + each, 0) / all.length;
  expect(mean).toBeGreaterThan(0.45);
  expect(mean).toBeLessThan(0.55);
});

test("pauses grow up to a day, and are never shorter than the authority asks, unless that is more than a day", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 10_000 }), fraction, fc.option(fc.integer({ min: 0, max: 1e10 })), (failures, random, asked) => {
      const pause = pauseAfter(failures, random, asked);
      expect(pause).toBeGreaterThanOrEqual(60_000);
      expect(pause).toBeLessThanOrEqual(DAY);
      if (asked !== null && asked <= DAY) expect(pause).toBeGreaterThanOrEqual(asked);
      expect(pauseAfter(failures + 1, random, asked)).toBeGreaterThanOrEqual(pause);
    }),
  );
});

test("no more than five tries fail in the first hour, which is what Let's Encrypt bears", () => {
  let at = 0;
  let tries = 1;
  for (; at < 3_600_000; tries++) at += pauseAfter(tries, 0, null);
  expect(tries - 1).toBe(5);
});

test("a restart, and who asks, have it tried sooner, but not at once again and again", () => {
  expect(nextAfterRestart(NOW + DAY, NOW)).toBe(NOW + 15 * 60_000);
  expect(nextAfterRestart(NOW + 1000, NOW)).toBe(NOW + 1000);
  expect(nextWhenAsked(NOW + DAY, NOW)).toBe(NOW + 60_000);
});

test("the authority is asked about renewals at most once a minute and at least once a day", () => {
  expect(untilNextWord(0)).toBe(60_000);
  expect(untilNextWord(1e12)).toBe(DAY);
  expect(untilNextWord(null)).toBe(6 * 3_600_000);
});

test("Retry-After is seconds or a date", () => {
  expect(retryAfter("120", NOW)).toBe(120_000);
  expect(retryAfter("Sat, 21 Nov 2026 00:01:00 GMT", NOW)).toBe(60_000);
  expect(retryAfter("Sat, 21 Nov 2020 00:01:00 GMT", NOW)).toBe(0);
  for (const none of [null, "soon", "-1", ""]) expect(retryAfter(none, NOW)).toBeNull();
});
