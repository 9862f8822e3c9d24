/** Describes a span of the calendar, in milliseconds since 1970; the end is not included. */
export interface Period {
  readonly start: number;
  readonly end: number;
}

export type PeriodKind = "day" | "week" | "month";

export interface CalendarRule {
  readonly period: PeriodKind;
  /** An IANA zone such as "Europe/Berlin". */
  readonly timezone: string;
  /** The day on which a week begins (1: Monday, to 7), or a month (1 to 31; in a shorter month its last day). */
  readonly anchor: number;
}

/** Holds a day of the calendar, without a zone. `Date.UTC` of it serves as its number. */
interface Day {
  readonly year: number;
  /** From 1. */
  readonly month: number;
  readonly day: number;
}

const DAY = 86_400_000;

/** Tells whether this is a zone that the system knows. */
export function isTimezone(text: string): boolean {
  try {
    new Intl.DateTimeFormat("en", { timeZone: text });
    return true;
  } catch {
    return false;
  }
}

/**
 * Computes calendar periods in a zone: days of 23 and 25 hours, months of 28 to 31 days. It does so when asked, so that no job has to run
 * for a quota to begin anew.
 */
export class Calendar {
  private readonly format: Intl.DateTimeFormat;
  private current: Period = { start: 0, end: 0 };
  /** The period of the question before: at a period's border both are in use. */
  private other: Period = { start: 0, end: 0 };

  constructor(private readonly rule: CalendarRule) {
    this.format = new Intl.DateTimeFormat("en-US-u-ca-gregory", {
      timeZone: rule.timezone,
      year: "numeric",
      month: "numeric",
      day: "numeric",
    });
  }

  /** Gives the period that holds `now`, in milliseconds since 1970. */
  at(now: number): Period {
    if (isWithin(now, this.current)) return this.current;
    const found = isWithin(now, this.other) ? this.other : this.compute(now);
    this.other = this.current;
    this.current = found;
    return found;
  }

  private compute(now: number): Period {
    const today = this.dayOf(now);
    const found = this.periodOf(today);
    // Where clocks go back from past midnight to before it, a day begins twice (Newfoundland, until 2011): what lies between belongs to one of the days beside it.
    if (now < found.start) return this.periodOf(plusDays(today, -1));
    return now < found.end ? found : this.periodOf(plusDays(today, 1));
  }

  private periodOf(today: Day): Period {
    const { period, anchor } = this.rule;
    switch (period) {
      case "day":
        return this.between(today, plusDays(today, 1));
      case "week": {
        // 1970-01-01 was a Thursday: with Monday as 1, day 4.
        const weekday = ((((numberOf(today) + 3) % 7) + 7) % 7) + 1;
        const first = plusDays(today, -((weekday - anchor + 7) % 7));
        return this.between(first, plusDays(first, 7));
      }
      case "month": {
        const isBefore = today.day < dayInMonth(today.year, today.month, anchor);
        const first = isBefore ? monthFrom(today, -1, anchor) : monthFrom(today, 0, anchor);
        return this.between(first, monthFrom(first, 1, anchor));
      }
    }
  }

  private between(first: Day, last: Day): Period {
    return { start: this.instantOf(first), end: this.instantOf(last) };
  }

  /** Gives the first moment of a day in the zone. Found by halving: where the clocks change at midnight, a day has no 00:00. */
  private instantOf(day: Day): number {
    const wanted = numberOf(day);
    let before = wanted * DAY - 15 * 3_600_000;
    let from = wanted * DAY + 15 * 3_600_000;
    while (from - before > 1) {
      const middle = Math.floor((before + from) / 2);
      if (numberOf(this.dayOf(middle)) < wanted) before = middle;
      else from = middle;
    }
    return from;
  }

  private dayOf(at: number): Day {
    let [year, month, day] = [0, 0, 0];
    for (const { type, value } of this.format.formatToParts(at)) {
      if (type === "year") year = Number(value);
      else if (type === "month") month = Number(value);
      else if (type === "day") day = Number(value);
    }
    return { year, month, day };
  }
}

const isWithin = (now: number, { start, end }: Period): boolean => now >= start && now < end;

/** Gives a day's number, in days since 1970. */
const numberOf = ({ year, month, day }: Day): number => Date.UTC(year, month - 1, day) / DAY;

function plusDays(day: Day, days: number): Day {
  const date = new Date((numberOf(day) + days) * DAY);
  return { year: date.getUTCFullYear(), month: date.getUTCMonth() + 1, day: date.getUTCDate() };
}

/** Gives the anchor's day in the month that lies `months` after this day's. */
function monthFrom({ year, month }: Day, months: number, anchor: number): Day {
  const date = new Date(Date.UTC(year, month - 1 + months, 1));
  const [inYear, inMonth] = [date.getUTCFullYear(), date.getUTCMonth() + 1];
  return { year: inYear, month: inMonth, day: dayInMonth(inYear, inMonth, anchor) };
}

/** Gives a day of a month, or the month's last one where it has fewer. */
const dayInMonth = (year: number, month: number, day: number): number => Math.min(day, new Date(Date.UTC(year, month, 0)).getUTCDate());
