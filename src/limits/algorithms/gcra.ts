import type { Policy, Terms } from "../policy.ts";
import type { Algorithm } from "./algorithm.ts";
import lua from "./gcra.lua" with { type: "text" };

export interface Gcra {
  /** When the next cell is due if they come evenly: the theoretical arrival time. */
  next: number;
  /** When that was said. */
  at: number;
}

/** Evenly spaced: one per `window / limit`, `burst` of them at once. Source: ITU-T I.371, the virtual scheduling algorithm. */
export const gcra: Algorithm<Gcra> = {
  summary: "evenly spaced",
  time: "monotonic",
  windowed: true,
  unit: null,
  holds: false,
  leaseable: true,
  capacity: "for gcra, how many may come at once",
  alignable: false,
  ringed: false,
  max: null,
  notMoney: "which spaces requests evenly; use token-bucket",
  besides: [],
  lua,

  open: (_policy, now) => ({ next: now, at: now }),

  peek(state, policy, terms, cost, now, into) {
    const { limit } = terms;
    const cells = backlog(state, terms, now);
    const used = Math.max(0, Math.ceil(cells - PRECISION));
    into.used = used;
    into.remaining = Math.max(0, limit - used);
    into.fits = used + cost <= limit;
    into.resetIn = used === 0 ? 0 : timeFor(cells - used + 1, policy, terms);
    into.retryIn = into.fits ? 0 : cost > limit ? policy.window : timeFor(cells + cost - limit, policy, terms);
  },

  take(state, _policy, terms, cost, now) {
    if (terms.perMs > 0) state.next = Math.max(state.next, now) + cost / terms.perMs;
    if (now > state.at) state.at = now;
  },

  refund(state, _policy, terms, cost) {
    if (terms.perMs > 0) state.next -= cost / terms.perMs;
  },

  idleAt: (state) => state.next,

  stored: (state) => ({ ...state }),
  revived: (stored) => stored,

  shift(stored, by) {
    stored.next += by;
    stored.at += by;
  },

  load(numbers, at, state) {
    state.next = numbers[at] as number;
    state.at = numbers[at + 1] as number;
  },

  latest: (state) => state.at,

  save(state, numbers, at) {
    numbers[at] = state.next;
    numbers[at + 1] = state.at;
  },
};

const PRECISION = 1e-6;

function backlog(state: Gcra, terms: Terms, now: number): number {
  // A time in the future comes from a clock that was set back.
  if (state.at > now) {
    state.next -= state.at - now;
    state.at = now;
  }
  return Math.max(0, state.next - now) * terms.perMs;
}

function timeFor(cells: number, policy: Policy, terms: Terms): number {
  return terms.perMs === 0 ? policy.window : Math.max(0, Math.ceil((cells - PRECISION) / terms.perMs));
}
