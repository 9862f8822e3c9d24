import type { Policy } from "../policy.ts";
import type { Algorithm } from "./algorithm.ts";
import lua from "./sliding-window.lua" with { type: "text" };

export interface SlidingWindow {
  /** The time at which the current window began. */
  start: number;
  current: number;
  previous: number;
}

/**
 * Keeps two counters: what was used in the current window, and what was used in the one before, weighted by how much of it a window that
 * ends now still covers. The first window opens with the subject's first request; later ones follow without a gap; after two idle ones it
 * begins anew.
 *
 * Bound: at most `limit` in each window of that grid, so at most 2 × `limit` in any span of one window; for a steady caller the error is a
 * few percent (the method of Cloudflare's "How we built rate limiting capable of scaling to millions of domains", 2017). Where it must be
 * exact, use sliding-log.
 */
export const slidingWindow: Algorithm<SlidingWindow> = {
  summary: "two counters weighted by overlap",
  time: "monotonic",
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

  open: (_policy, now) => ({ start: now, current: 0, previous: 0 }),

  peek(state, policy, { limit }, cost, now, into) {
    const { window } = policy;
    const passed = windowsPassed(state, window, now);
    const current = passed === 0 ? state.current : 0;
    const previous = passed === 0 ? state.previous : passed === 1 ? state.current : 0;
    const start = passed > 1 ? now : state.start + passed * window;
    const elapsed = now - start;
    const carried = weighted(previous, elapsed, window);
    const used = carried + current;
    into.used = used;
    into.remaining = Math.max(0, limit - used);
    into.fits = used + cost <= limit;
    into.resetIn = used === 0 ? 0 : untilFewer(previous, carried, current, elapsed, window);
    into.retryIn = into.fits ? 0 : untilFits(previous, current, limit - cost, elapsed, window);
  },

  take(state, policy, _terms, cost, now) {
    const passed = windowsPassed(state, policy.window, now);
    if (passed > 0) {
      state.previous = passed === 1 ? state.current : 0;
      state.current = 0;
      state.start = passed === 1 ? state.start + policy.window : now;
    }
    // A denied request opens no window.
    if (state.current === 0 && state.previous === 0) state.start = now;
    state.current += cost;
  },

  refund(state, policy, _terms, cost, now, at) {
    const { window } = policy;
    const passed = windowsPassed(state, window, now);
    // What was taken before the window turned is in the other counter.
    if (at >= state.start) {
      if (passed <= 1) state.current = Math.max(0, state.current - cost);
    } else if (at >= state.start - window && passed === 0) state.previous = Math.max(0, state.previous - cost);
  },

  idleAt: (state, policy: Policy) => state.start + 2 * policy.window,

  stored: (state) => ({ ...state }),
  revived: (stored) => stored,

  shift(stored, by) {
    stored.start += by;
  },

  load(numbers, at, state) {
    state.start = numbers[at] as number;
    state.current = numbers[at + 1] as number;
    state.previous = numbers[at + 2] as number;
  },

  latest: (state) => state.start,

  save(state, numbers, at) {
    numbers[at] = state.start;
    numbers[at + 1] = state.current;
    numbers[at + 2] = state.previous;
  },
};

/**
 * Gives 0 while the current window lasts, 1 during the one after it, 2 or more later. A start in the future comes from a clock that was set
 * back: the window then begins now.
 */
function windowsPassed(state: SlidingWindow, window: number, now: number): number {
  if (state.start > now) state.start = now;
  return Math.floor((now - state.start) / window);
}

/**
 * Gives the whole units of the previous window that still count. Time is in whole milliseconds: the one that has begun counts as passed, so
 * the first unit fades as the window turns.
 */
const weighted = (previous: number, elapsed: number, window: number): number => Math.floor((previous * (window - 1 - elapsed)) / window);

/** Gives the milliseconds until the units carried over become fewer, or the current window becomes the previous one. */
function untilFewer(previous: number, carried: number, current: number, elapsed: number, window: number): number {
  if (carried === 0) return current === 0 ? 0 : window - elapsed + settle(current, current - 1, window);
  return Math.min(settle(previous, carried - 1, window), window) - elapsed;
}

/** Gives the milliseconds until the weight of the previous and the current window is at most `room`. */
function untilFits(previous: number, current: number, room: number, elapsed: number, window: number): number {
  if (room < 0) return window;
  if (current <= room) return settle(previous, room - current, window) - elapsed;
  // Not before the next window, in which today's current count is the one that fades.
  return window - elapsed + settle(current, room, window);
}

/** Gives the first whole millisecond of a window at which `weighted(previous, …)` is at most `room`. */
function settle(previous: number, room: number, window: number): number {
  if (previous <= room) return 0;
  let at = Math.max(0, Math.floor(window - 1 - (window * (room + 1)) / previous));
  while (weighted(previous, at, window) > room) at++;
  return at;
}
