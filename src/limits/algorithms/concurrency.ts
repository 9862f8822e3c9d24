import type { Algorithm } from "./algorithm.ts";
import lua from "./concurrency.lua" with { type: "text" };

export interface Concurrency {
  inFlight: number;
}

/** Milliseconds after which it makes sense to ask again: nobody knows when an exchange ends. */
const ASK_AGAIN_IN = 1000;

/** Lets at most `limit` exchanges pass at a time; each holds its cost until it ends. */
export const concurrency: Algorithm<Concurrency> = {
  summary: "so many at a time",
  time: "monotonic",
  windowed: false,
  unit: "concurrent-requests",
  holds: true,
  leaseable: false,
  capacity: null,
  alignable: false,
  ringed: false,
  max: null,
  notMoney: "which counts requests in flight",
  besides: [],
  lua,

  open: () => ({ inFlight: 0 }),

  peek(state, _policy, { limit }, cost, _now, into) {
    into.used = state.inFlight;
    into.remaining = Math.max(0, limit - state.inFlight);
    into.fits = state.inFlight + cost <= limit;
    into.resetIn = 0;
    into.retryIn = into.fits ? 0 : ASK_AGAIN_IN;
  },

  take(state, _policy, _terms, cost) {
    state.inFlight += cost;
  },

  countHeld(state, held) {
    state.inFlight = held;
  },

  give(state, cost) {
    state.inFlight -= cost;
  },

  idleAt: (state) => (state.inFlight > 0 ? Number.POSITIVE_INFINITY : 0),

  stored: (state) => ({ ...state }),
  revived: (stored) => stored,

  shift: () => {},
};
