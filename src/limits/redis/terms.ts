import type { Clock } from "../../values/clock.ts";
import { type Policy, type Terms, termsOf } from "../policy.ts";
import { HOLD_FOR } from "./holds.ts";

/** Gives the terms of policies as the script reads them: JSON, made once for the numbers in force. */
export class TermTexts {
  private readonly texts = new WeakMap<Terms, string>();
  private readonly ofCalendars = new WeakMap<Policy, { until: number; text: string }>();

  constructor(private readonly clock: Clock) {}

  of(policy: Policy, isDegraded: boolean): string {
    if (policy.calendar !== null) return this.ofCalendar(policy, policy.calendar);
    const terms = termsOf(policy, isDegraded);
    let text = this.texts.get(terms);
    if (text === undefined) {
      const { algorithm, counting, window, aligned, shadow, normal, reduced } = policy;
      text = JSON.stringify({
        algorithm,
        window: counting.holds ? HOLD_FOR : window,
        limit: terms.limit,
        perMs: Number.isFinite(terms.perMs) ? terms.perMs : 0,
        full: Math.max(normal.limit, reduced.limit),
        aligned,
        shadow,
      });
      this.texts.set(terms, text);
    }
    return text;
  }

  /** Gives the terms of a quota with the period before, this one and the next: Redis' clock decides which of them it is. */
  private ofCalendar(policy: Policy, calendar: NonNullable<Policy["calendar"]>): string {
    const now = Math.floor(this.clock.wall());
    const known = this.ofCalendars.get(policy);
    if (known !== undefined && now < known.until) return known.text;
    const next = calendar.at(calendar.at(now).end);
    const before = calendar.at(calendar.at(now).start - 1);
    const { start, end } = calendar.at(now);
    const text = JSON.stringify({
      algorithm: policy.algorithm,
      window: policy.window,
      limit: policy.normal.limit,
      shadow: policy.shadow,
      periods: [before.start, start, end, next.end],
    });
    this.ofCalendars.set(policy, { until: end, text });
    return text;
  }
}
