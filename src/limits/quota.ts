import type { Algorithm } from "./algorithm.ts";
import type { Calendar } from "./calendar.ts";
import type { Policy } from "./policy.ts";

export interface Quota {
  /** When the period began that `used` is of, in milliseconds since 1970 by the calendar. */
  start: number;
  used: number;
}

const calendarOf = (policy: Policy): Calendar => {
  if (policy.calendar === null) throw new Error("a quota has a calendar");
  return policy.calendar;
};

/** At most `limit` per calendar period. Here `now` is the time of the calendar, not that of the clock that never runs backwards. */
export const quota: Algorithm<Quota> = {
  open: () => ({ start: 0, used: 0 }),

  peek(state, policy, { limit }, cost, now, into) {
    const { start, end } = calendarOf(policy).at(now);
    const used = state.start === start ? state.used : 0;
    into.used = used;
    into.remaining = Math.max(0, limit - used);
    into.fits = used + cost <= limit;
    into.resetIn = used === 0 ? 0 : end - now;
    into.retryIn = into.fits ? 0 : end - now;
  },

  take(state, policy, _terms, cost, now) {
    const { start } = calendarOf(policy).at(now);
    if (state.start !== start) {
      state.start = start;
      state.used = 0;
    }
    state.used += cost;
  },

  refund(state, policy, _terms, cost, now) {
    if (state.start === calendarOf(policy).at(now).start) state.used = Math.max(0, state.used - cost);
  },

  // Later than exactly, with a few hours for clocks that change.
  idleAt: (state, policy) => (state.start === 0 ? 0 : state.start + policy.window + 4 * 3_600_000),

  // The calendar's time is stored as it is.
  shift() {},
};
