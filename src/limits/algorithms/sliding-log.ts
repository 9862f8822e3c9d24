import type { Algorithm } from "./algorithm.ts";
import lua from "./sliding-log.lua" with { type: "text" };

export interface SlidingLog {
  /** The times and the costs of the requests, the oldest at `head`; both lists are rings of one length. */
  times: number[];
  costs: number[];
  head: number;
  length: number;
  used: number;
}

/**
 * Limits exactly: never more than `limit` in any span of one window (closed at its beginning, open at its end). Remembers each request that
 * counts.
 */
export const slidingLog: Algorithm<SlidingLog> = {
  summary: "exact",
  time: "monotonic",
  windowed: true,
  unit: null,
  holds: false,
  leaseable: false,
  capacity: null,
  alignable: false,
  max: { limit: 100_000, because: "which remembers each request; use sliding-window for more" },
  besides: [":used"],
  lua,

  open: () => ({ times: new Array(8).fill(0), costs: new Array(8).fill(0), head: 0, length: 0, used: 0 }),

  peek(state, policy, { limit }, cost, now, into) {
    // Forgetting what no longer counts changes no answer.
    forget(state, now - policy.window, now);
    into.used = state.used;
    into.remaining = Math.max(0, limit - state.used);
    into.fits = state.used + cost <= limit;
    into.resetIn = state.length === 0 ? 0 : timeAt(state, 0) + policy.window - now;
    into.retryIn = into.fits ? 0 : untilFits(state, policy.window, limit - cost, now);
  },

  take(state, _policy, _terms, cost, now) {
    if (cost === 0) return;
    const last = state.length === 0 ? -1 : slot(state, state.length - 1);
    if (last >= 0 && state.times[last] === now) state.costs[last] = (state.costs[last] as number) + cost;
    else {
      if (state.length === state.times.length) grow(state);
      const next = slot(state, state.length);
      state.times[next] = now;
      state.costs[next] = cost;
      state.length++;
    }
    state.used += cost;
  },

  refund(state, _policy, _terms, cost) {
    let left = Math.min(cost, state.used);
    state.used -= left;
    for (let i = state.length - 1; i >= 0 && left > 0; i--) {
      const at = slot(state, i);
      const part = Math.min(left, state.costs[at] as number);
      state.costs[at] = (state.costs[at] as number) - part;
      left -= part;
    }
  },

  idleAt: (state, policy) => (state.length === 0 ? 0 : timeAt(state, state.length - 1) + policy.window),

  shift(state, by) {
    for (let i = 0; i < state.times.length; i++) state.times[i] = (state.times[i] as number) + by;
  },
};

const slot = (state: SlidingLog, i: number): number => (state.head + i) % state.times.length;
const timeAt = (state: SlidingLog, i: number): number => state.times[slot(state, i)] as number;

/**
 * Drops the requests that came at `until` or before. Times in the future (from a clock that was set back) are set to now, so that they go
 * within a window.
 */
function forget(state: SlidingLog, until: number, now: number): void {
  while (state.length > 0) {
    const time = state.times[state.head] as number;
    if (time > now) {
      for (let i = 0; i < state.length; i++) state.times[slot(state, i)] = Math.min(now, timeAt(state, i));
      return;
    }
    if (time > until) return;
    state.used -= state.costs[state.head] as number;
    state.head = (state.head + 1) % state.times.length;
    state.length--;
  }
}

function untilFits(state: SlidingLog, window: number, room: number, now: number): number {
  if (room < 0) return window;
  let used = state.used;
  for (let i = 0; i < state.length; i++) {
    used -= state.costs[slot(state, i)] as number;
    if (used <= room) return timeAt(state, i) + window - now;
  }
  return window;
}

function grow(state: SlidingLog): void {
  const { length } = state;
  const times = Array.from({ length: length * 2 }, (_, i) => (i < length ? timeAt(state, i) : 0));
  const costs = Array.from({ length: length * 2 }, (_, i) => (i < length ? (state.costs[slot(state, i)] as number) : 0));
  state.times = times;
  state.costs = costs;
  state.head = 0;
}
