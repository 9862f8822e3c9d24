import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { Calendar, type CalendarRule, isTimezone } from "../../src/limits/calendar.ts";
import { Limiter } from "../../src/limits/limiter.ts";
import { MemoryStore } from "../../src/limits/memory/store.ts";
import { compileQuotas } from "../../src/limits/policy.ts";
import { FakeClock } from "../support/clock.ts";

const HOUR = 3_600_000;
const periodOf = (rule: Partial<CalendarRule>, at: string): string[] => {
  const { start, end } = new Calendar({ period: "day", timezone: "UTC", anchor: 1, ...rule }).at(Date.parse(at));
  return [new Date(start).toISOString(), new Date(end).toISOString()];
};

describe("a calendar period", () => {
  test.each([
    ["a day in UTC", { period: "day" }, "2026-11-21T13:00:00Z", "2026-11-21T00:00:00Z", "2026-11-22T00:00:00Z"],
    [
      "a day east of UTC",
      { period: "day", timezone: "Asia/Tokyo" },
      "2026-11-21T16:00:00Z",
      "2026-11-21T15:00:00Z",
      "2026-11-22T15:00:00Z",
    ],
    [
      "a day of 23 hours",
      { period: "day", timezone: "Europe/Berlin" },
      "2026-03-29T12:00:00Z",
      "2026-03-28T23:00:00Z",
      "2026-03-29T22:00:00Z",
    ],
    [
      "a day of 25 hours",
      { period: "day", timezone: "Europe/Berlin" },
      "2026-10-25T12:00:00Z",
      "2026-10-24T22:00:00Z",
      "2026-10-25T23:00:00Z",
    ],
    [
      "a day without midnight",
      { period: "day", timezone: "Africa/Cairo" },
      "2026-04-24T12:00:00Z",
      "2026-04-23T22:00:00Z",
      "2026-04-24T21:00:00Z",
    ],
    [
      "a day with half an hour's offset",
      { period: "day", timezone: "Asia/Kolkata" },
      "2026-11-21T18:29:59Z",
      "2026-11-20T18:30:00Z",
      "2026-11-21T18:30:00Z",
    ],
    [
      "a day that begins twice, clocks going back at a minute past midnight",
      { period: "day", timezone: "America/St_Johns" },
      "2006-10-29T02:30:30Z",
      "2006-10-28T02:30:00Z",
      "2006-10-29T03:30:00Z",
    ],
    ["a week from Monday", { period: "week" }, "2026-11-21T13:00:00Z", "2026-11-16T00:00:00Z", "2026-11-23T00:00:00Z"],
    ["a week from Sunday", { period: "week", anchor: 7 }, "2026-11-21T13:00:00Z", "2026-11-15T00:00:00Z", "2026-11-22T00:00:00Z"],
    ["a week on its first day", { period: "week", anchor: 6 }, "2026-11-21T00:00:00Z", "2026-11-21T00:00:00Z", "2026-11-28T00:00:00Z"],
    ["a month", { period: "month" }, "2026-11-21T13:00:00Z", "2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z"],
    [
      "a month from the 15th, before it",
      { period: "month", anchor: 15 },
      "2026-11-14T13:00:00Z",
      "2026-10-15T00:00:00Z",
      "2026-11-15T00:00:00Z",
    ],
    [
      "a month from the 31st in February",
      { period: "month", anchor: 31 },
      "2026-02-28T12:00:00Z",
      "2026-02-28T00:00:00Z",
      "2026-03-31T00:00:00Z",
    ],
    [
      "a month from the 31st in a leap year",
      { period: "month", anchor: 31 },
      "2028-02-28T12:00:00Z",
      "2028-01-31T00:00:00Z",
      "2028-02-29T00:00:00Z",
    ],
    [
      "a month from the 30th over the year's end",
      { period: "month", anchor: 30 },
      "2027-01-01T00:00:00Z",
      "2026-12-30T00:00:00Z",
      "2027-01-30T00:00:00Z",
    ],
    [
      "a month over a change of clocks",
      { period: "month", timezone: "America/New_York" },
      "2026-11-21T00:00:00Z",
      "2026-11-01T04:00:00Z",
      "2026-12-01T05:00:00Z",
    ],
  ] as [string, Partial<CalendarRule>, string, string, string][])("%s", (_what, rule, at, start, end) => {
    expect(periodOf(rule, at)).toEqual([new Date(start).toISOString(), new Date(end).toISOString()]);
  });

  test("holds its moment, begins on its day, and follows the one before without a gap, in any zone at any time", () => {
    // Each with moments at which its clocks change: at night, at midnight, at a minute past it, by half an hour; or with none.
    const zones: readonly (readonly [timezone: string, ...changes: string[]])[] = [
      ["UTC"],
      ["Europe/Berlin", "2026-03-29T01:00:00Z", "2026-10-25T01:00:00Z"],
      ["America/New_York", "2026-03-08T07:00:00Z", "2026-11-01T06:00:00Z"],
      ["America/St_Johns", "2006-04-02T03:31:00Z", "2006-10-29T02:31:00Z"],
      ["Australia/Lord_Howe", "2026-04-04T15:00:00Z", "2026-10-03T15:30:00Z"],
      ["Africa/Cairo", "2026-04-23T22:00:00Z", "2026-10-29T21:00:00Z"],
      ["Asia/Kathmandu"],
      ["Pacific/Kiritimati"],
      ["America/Santiago", "2026-04-05T03:00:00Z", "2026-09-06T04:00:00Z"],
      ["Asia/Beirut", "2026-03-28T22:00:00Z", "2026-10-24T21:00:00Z"],
    ];
    const anywhen = fc.integer({ min: Date.parse("2000-01-01"), max: Date.parse("2035-01-01") });
    // Most of what can go wrong does within a day of a change of clocks, or at the minute itself.
    const aroundOf = (change: string) =>
      fc.oneof(fc.integer({ min: -36 * HOUR, max: 36 * HOUR }), fc.integer({ min: -2, max: 2 })).map((away) => Date.parse(change) + away);
    const moment = fc
      .constantFrom(...zones)
      .chain(([timezone, ...changes]) => fc.tuple(fc.constant(timezone), fc.oneof(anywhen, ...changes.map(aroundOf))));
    const locals = new Map<string, Intl.DateTimeFormat>();
    // To make one costs more than all the rest.
    const localOf = (timeZone: string): Intl.DateTimeFormat => {
      const local = locals.get(timeZone) ?? new Intl.DateTimeFormat("en-US", { timeZone, weekday: "short", day: "numeric" });
      locals.set(timeZone, local);
      return local;
    };
    const period = fc.constantFrom("day" as const, "week" as const, "month" as const);
    fc.assert(
      fc.property(period, fc.integer({ min: 1, max: 31 }), moment, (kind, day, [timezone, at]) => {
        const anchor = kind === "week" ? ((day - 1) % 7) + 1 : day;
        const calendar = new Calendar({ period: kind, timezone, anchor });
        const { start, end } = calendar.at(at);
        expect(start <= at && at < end).toBe(true);
        expect(calendar.at(end).start).toBe(end);
        expect(calendar.at(start - 1).end).toBe(start);
        // What it remembers of periods before is not mixed up.
        expect(calendar.at(at)).toEqual({ start, end });
        const hours = (end - start) / HOUR;
        if (kind === "day") expect(hours).toBeWithin(22.9, 25.1);
        if (kind === "week") expect(hours).toBeWithin(166.9, 169.1);
        if (kind === "month") expect(hours).toBeWithin(27 * 24, 35 * 24);
        const local = localOf(timezone);
        const parts = Object.fromEntries(local.formatToParts(start).map(({ type, value }) => [type, value]));
        if (kind === "week") expect(["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"].indexOf(parts.weekday ?? "") + 1).toBe(anchor);
        if (kind === "month" && anchor <= 28) expect(Number(parts.day)).toBe(anchor);
      }),
      { numRuns: 200 },
    );
  });

  test("knows zones by their names", () => {
    expect([isTimezone("Europe/Berlin"), isTimezone("UTC"), isTimezone("Mars/Olympus")]).toEqual([true, true, false]);
  });
});

describe("a daily quota", () => {
  const MINUTE = 60_000;
  const setUp = () => {
    const policies = compileQuotas([{ limit: 5, period: "day" }], { kind: "tier", name: "t" });
    const clock = new FakeClock(Date.parse("2026-03-01T23:59:59Z"));
    const limiter = new Limiter({ store: new MemoryStore(), clock, isDegraded: () => false });
    const granted = () => Array.from({ length: 20 }).filter(() => limiter.admit(policies, ["s"], 1).allowed).length;
    return { clock, granted, left: () => limiter.inspect(policies, ["s"])[0]?.remaining };
  };

  test("is not begun anew by a clock that steps back over midnight and forth again", () => {
    const it = setUp();
    const counts: number[] = [];
    for (const step of [0, 2000, -2000, 2000, -9 * MINUTE, 9 * MINUTE]) {
      it.clock.time += step;
      counts.push(it.granted());
    }
    expect(counts).toEqual([5, 5, 0, 0, 0, 0]);
    it.clock.time += 24 * HOUR;
    expect(it.granted()).toBe(5);
  });

  test("follows a clock that was set right by more than that", () => {
    const it = setUp();
    it.clock.time += 24 * HOUR;
    expect(it.granted()).toBe(5);
    it.clock.time -= 25 * HOUR;
    expect(it.left()).toBe(5);
  });
});
