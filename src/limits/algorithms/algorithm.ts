import type { AlgorithmName, Policy, Terms } from "../policy.ts";
import { concurrency } from "./concurrency.ts";
import { fixedWindow } from "./fixed-window.ts";
import { quota } from "./quota.ts";
import { slidingLog } from "./sliding-log.ts";
import { slidingWindow } from "./sliding-window.ts";
import { tokenBucket } from "./token-bucket.ts";

/** What an algorithm says of a subject before anything is taken. Written into, so that a decision allocates nothing. */
export interface Reading {
  /** Whether the asked cost fits now. */
  fits: boolean;
  /** Whole units used, and left, before the cost is taken. */
  used: number;
  remaining: number;
  /** Milliseconds until more is left; 0 when all of it is. */
  resetIn: number;
  /** Milliseconds until the asked cost fits if nothing else happens; 0 when it fits, one window when it never will. */
  retryIn: number;
}

/** A subject's state: plain numbers and lists, so that it can be stored. */
export type State = object;

/**
 * One way to limit: pure over (state, policy, cost, now), with `now` in milliseconds. It tells before it takes, so that several limits are
 * checked before any is charged. `terms` are the numbers in force (see `termsOf`).
 */
export interface Algorithm<S extends State> {
  /** The state of a subject that was never seen. */
  open(policy: Policy, now: number, terms: Terms): S;
  /** Tells without changing what later calls say. */
  peek(state: S, policy: Policy, terms: Terms, cost: number, now: number, into: Reading): void;
  /** Takes a cost that fits. */
  take(state: S, policy: Policy, terms: Terms, cost: number, now: number): void;
  /** Gives back a part of what was taken a while ago, as far as that still counts. Not where a request holds what it took. */
  refund?(state: S, policy: Policy, terms: Terms, cost: number, now: number): void;
  /** Goes on from a count that another store told: `used` units, of which more are left in `resetIn` milliseconds. Left out: as if all of them were taken now. */
  seed?(state: S, policy: Policy, used: number, resetIn: number, now: number): void;
  /** Gives back what `take` took, where a request holds it only while it lasts. */
  give?(state: S, cost: number): void;
  /** From when on the state says no more than a new one would: then it may be forgotten. */
  idleAt(state: S, policy: Policy, terms: Terms): number;
  /** Moves the state's times by this many milliseconds: stored states are in wall-clock time. */
  shift(state: S, by: number): void;
}

// The store keeps a policy's states beside its algorithm: what one opened only the same one reads.
export const ALGORITHMS: Readonly<Record<AlgorithmName, Algorithm<State>>> = {
  "fixed-window": fixedWindow,
  "sliding-window": slidingWindow,
  "sliding-log": slidingLog,
  "token-bucket": tokenBucket,
  concurrency,
  quota,
} as unknown as Readonly<Record<AlgorithmName, Algorithm<State>>>;

export const newReading = (): Reading => ({ fits: false, used: 0, remaining: 0, resetIn: 0, retryIn: 0 });
