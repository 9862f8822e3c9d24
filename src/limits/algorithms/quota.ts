import type { Calendar, Period } from "../calendar.ts";
import type { Policy } from "../policy.ts";
import type { Algorithm } from "./algorithm.ts";
import lua from "./quota.lua" with { type: "text" };

export interface Quota {
  /** The beginning of the period in which `used` was counted, in milliseconds since 1970 by the calendar. */
  start: number;
  used: number;
}

const calendarOf = (policy: Policy): Calendar => {
  if (policy.calendar === null) throw new Error("a quota has a calendar");
  return policy.calendar;
};

/**
 * Milliseconds by which a clock may step back over a period's border without the new period being forgotten: the size of a correction of
 * the clock, not of setting it.
 */
const STEP_BACK = 10 * 60_000;

/** Gives the period that counts: that of the calendar, or the one that has begun already when the clock has stepped back a little. */
function periodOf({ start }: Quota, policy: Policy, now: number): Period {
  const calendar = calendarOf(policy);
  return calendar.at(start > now && start - now <= STEP_BACK ? start : now);
}

/**
 * Lets at most `limit` pass per calendar period. Here `now` is the time of the calendar, not that of the clock that never runs backwards.
 */
export const quota: Algorithm<Quota> = {
  summary: "so many in a period of the calendar",
  time: "wall",
  windowed: true,
  unit: null,
  holds: false,
  leaseable: true,
  capacity: null,
  alignable: false,
  ringed: false,
  max: null,
  notMoney: null,
  besides: [],
  lua,

  open: () => ({ start: 0, used: 0 }),

  peek(state, policy, { limit }, cost, now, into) {
    const { start, end } = periodOf(state, policy, now);
    const used = state.start === start ? state.used : 0;
    into.used = used;
    into.remaining = Math.max(0, limit - used);
    into.fits = used + cost <= limit;
    into.resetIn = used === 0 ? 0 : end - now;
    into.retryIn = into.fits ? 0 : end - now;
  },

  take(state, policy, _terms, cost, now) {
    const { start } = periodOf(state, policy, now);
    if (state.start !== start) {
      state.start = start;
      state.used = 0;
    }
    state.used += cost;
  },

  refund(state, policy, _terms, cost, now, at) {
    if (state.start === periodOf(state, policy, now).start && at >= state.start) state.used = Math.max(0, state.used - cost);
  },

  // Later than exactly, with a few hours for clocks that change.
  idleAt: (state, policy) => (state.start === 0 ? 0 : state.start + policy.window + 4 * 3_600_000),

  stored: (state) => ({ ...state }),
  revived: (stored) => stored,

  // The calendar's time is stored as it is.
  shift() {},

  load(numbers, at, state) {
    state.start = numbers[at] as number;
    state.used = numbers[at + 1] as number;
  },

  latest: () => 0,

  save(state, numbers, at) {
    numbers[at] = state.start;
    numbers[at + 1] = state.used;
  },
};
