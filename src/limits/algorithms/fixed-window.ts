import type { Policy } from "../policy.ts";
import type { Algorithm } from "./algorithm.ts";
import lua from "./fixed-window.lua" with { type: "text" };

export interface FixedWindow {
  /** The time at which the window opened. */
  start: number;
  used: number;
}

/**
 * Lets at most `limit` pass per window. The window opens with the first request, or at multiples of its length since 1970 when aligned.
 * Around a window's border up to 2 × `limit` may pass within the length of one window.
 */
export const fixedWindow: Algorithm<FixedWindow> = {
  summary: "so many per window, which opens with the first request",
  time: "monotonic",
  windowed: true,
  unit: null,
  holds: false,
  leaseable: true,
  capacity: null,
  alignable: true,
  ringed: false,
  max: null,
  notMoney: null,
  besides: [],
  lua,

  open: (policy, now) => ({ start: beginningAt(policy, now), used: 0 }),

  peek(state, policy, { limit }, cost, now, into) {
    const left = timeLeft(state, policy.window, now);
    const used = left > 0 ? state.used : 0;
    into.used = used;
    into.remaining = Math.max(0, limit - used);
    into.fits = used + cost <= limit;
    into.resetIn = used === 0 ? 0 : left;
    into.retryIn = into.fits ? 0 : cost > limit ? policy.window : left;
  },

  take(state, policy, _terms, cost, now) {
    // A window in which nothing was let through has not opened yet.
    if (state.used === 0 || timeLeft(state, policy.window, now) <= 0) {
      state.start = beginningAt(policy, now);
      state.used = 0;
    }
    state.used += cost;
  },

  refund(state, policy, _terms, cost, now, at) {
    if (timeLeft(state, policy.window, now) > 0 && at >= state.start) state.used = Math.max(0, state.used - cost);
  },

  seed(state, policy, used, resetIn, now) {
    state.start = now + resetIn - policy.window;
    state.used = used;
  },

  idleAt: (state, policy) => state.start + policy.window,

  stored: (state) => ({ ...state }),
  revived: (stored) => stored,

  shift(stored, by) {
    stored.start += by;
  },

  load(numbers, at, state) {
    state.start = numbers[at] as number;
    state.used = numbers[at + 1] as number;
  },

  latest: (state) => state.start,

  save(state, numbers, at) {
    numbers[at] = state.start;
    numbers[at + 1] = state.used;
  },
};

/** Gives the beginning of a window that opens now. */
const beginningAt = ({ aligned, ahead, window }: Policy, now: number): number => (aligned ? now - ((now + ahead) % window) : now);

/**
 * Gives the milliseconds left of the open window. A start in the future comes from a clock that was set back: the window then begins now.
 */
function timeLeft(state: FixedWindow, window: number, now: number): number {
  if (state.start > now) state.start = now;
  return state.start + window - now;
}
