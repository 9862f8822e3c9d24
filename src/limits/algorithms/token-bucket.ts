import type { Policy, Terms } from "../policy.ts";
import type { Algorithm } from "./algorithm.ts";
import lua from "./token-bucket.lua" with { type: "text" };

export interface TokenBucket {
  /** The tokens at the time `at`; a fraction while it refills. */
  tokens: number;
  at: number;
}

/**
 * Refills `limit` tokens per window and holds `burst`; starts full. While DEGRADED both are `degraded`.
 * Source: RFC 2697 §3 with one rate and one bucket, refilled continuously.
 */
export const tokenBucket: Algorithm<TokenBucket> = {
  summary: "refills evenly",
  time: "monotonic",
  windowed: true,
  unit: null,
  holds: false,
  leaseable: true,
  capacity: "for a token bucket, how much it holds",
  alignable: false,
  ringed: false,
  max: null,
  notMoney: null,
  besides: [],
  lua,

  // Full whatever the status is: what is in force caps it when it is read.
  open: ({ normal, reduced }, now) => ({ tokens: Math.max(normal.limit, reduced.limit), at: now }),

  peek(state, policy, terms, cost, now, into) {
    const { limit } = terms;
    const tokens = refilled(state, terms, now);
    // Below zero when a response cost more than was left.
    const whole = Math.floor(tokens + PRECISION);
    into.used = Math.max(0, limit - whole);
    into.remaining = Math.max(0, whole);
    into.fits = cost <= whole;
    into.resetIn = whole >= limit ? 0 : timeFor(Math.max(0, whole) + 1 - tokens, policy, terms);
    into.retryIn = into.fits ? 0 : cost > limit ? policy.window : timeFor(cost - tokens, policy, terms);
  },

  take(state, _policy, terms, cost, now) {
    state.tokens = refilled(state, terms, now) - cost;
    if (now > state.at) state.at = now;
  },

  refund(state, _policy, terms, cost) {
    state.tokens = Math.min(terms.limit, state.tokens + cost);
  },

  idleAt: (state, policy, terms) => state.at + timeFor(terms.limit - state.tokens, policy, terms),

  stored: (state) => ({ ...state }),
  revived: (stored) => stored,

  shift(stored, by) {
    stored.at += by;
  },

  load(numbers, at, state) {
    state.tokens = numbers[at] as number;
    state.at = numbers[at + 1] as number;
  },

  latest: (state) => state.at,

  save(state, numbers, at) {
    numbers[at] = state.tokens;
    numbers[at + 1] = state.at;
  },
};

/** The greatest amount by which sums of fractions fall short of the whole token that they should make. */
const PRECISION = 1e-6;

function refilled(state: TokenBucket, terms: Terms, now: number): number {
  // A time in the future comes from a clock that was set back.
  if (state.at > now) state.at = now;
  return Math.min(terms.limit, state.tokens + (now - state.at) * terms.perMs);
}

/** Gives the whole milliseconds until this many tokens have come; a window when none ever come. */
function timeFor(tokens: number, policy: Policy, terms: Terms): number {
  return terms.perMs === 0 ? policy.window : Math.max(0, Math.ceil((tokens - PRECISION) / terms.perMs));
}
