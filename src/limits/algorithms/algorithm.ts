import type { Policy, Terms } from "../policy.ts";

/** Holds what an algorithm says of a subject before anything is taken. It is written into, so that a decision allocates nothing. */
export interface Reading {
  /** True when the asked cost fits now. */
  fits: boolean;
  /** Whole units used, and left, before the cost is taken. */
  used: number;
  remaining: number;
  /** Milliseconds until more is left; 0 when all of it is left. */
  resetIn: number;
  /** Milliseconds until the asked cost fits if nothing else happens; 0 when it fits, one window when it never will. */
  retryIn: number;
}

/** Holds what an algorithm keeps of one subject: plain numbers and lists, so that it can be stored. */
export type State = object;

/** Says what others need to know of an algorithm: they ask for a trait, never for a name. */
export interface Traits {
  /** The algorithm's way of counting in the words of the configuration's schema: follows its name, without a full stop. */
  readonly summary: string;
  /** The clock that its `now` comes from: the one that never runs backwards, or that of the calendar. */
  readonly time: "monotonic" | "wall";
  /** True when it counts over a window: then a limit must have one, and answers say how long it lasts. */
  readonly windowed: boolean;
  /** The unit of its numbers in RateLimit-Policy (`qu`), where it isn't requests. */
  readonly unit: string | null;
  /**
   * True when an instance may take a part of a limit beforehand and use it later, so never for an algorithm that must be exact. Its Lua
   * then has `validFor`.
   */
  readonly leaseable: boolean;
  /** The schema's words on `burst` where that is a capacity; `null` where `burst` takes the place of `limit` and so can't be less. */
  readonly capacity: string | null;
  /** True when its windows can be aligned to multiples of their length (`align`). */
  readonly alignable: boolean;
  /** True when it remembers requests in a ring (see `SlidingLog`), for which a slot of the shared table has no room. */
  readonly ringed: boolean;
  /** The largest limit that it can count, and the reason; `null` for no bound. */
  readonly max: { readonly limit: number; readonly because: string } | null;
  /** The reason why it can't count money, which ends a sentence about it; `null`: it can. */
  readonly notMoney: string | null;
  /** The endings of further keys that it keeps in Redis; each follows the subject's key. */
  readonly besides: readonly string[];
  /**
   * The same algorithm in Lua, for the script in `../redis/limits.lua`, which says what it may use: the body of a function that gives a
   * table with `load`, `peek`, `take`, `refund` and `save`, and `hold` or `validFor` where the traits ask for it.
   */
  readonly lua: string;
}

interface Deciding<S extends State, Stored extends object> extends Traits {
  /**
   * Gives the numbers in force while NORMAL and while DEGRADED, for a limit configured with these numbers and this window. Left out:
   * `usualTerms`.
   */
  readonly terms?: (config: Numbers, window: number) => { readonly normal: Terms; readonly reduced: Terms };
  /** Makes the state of a subject that is new. */
  open(policy: Policy, now: number, terms: Terms): S;
  /** Writes into `into` where the subject stands. The state may change, but never what later calls say. */
  peek(state: S, policy: Policy, terms: Terms, cost: number, now: number, into: Reading): void;
  /** Takes a cost that fits. */
  take(state: S, policy: Policy, terms: Terms, cost: number, now: number): void;
  /**
   * Continues a count that another store told: `used` units, of which more are left in `resetIn` milliseconds. Left out: all of them count
   * as taken now.
   */
  seed?(state: S, policy: Policy, used: number, resetIn: number, now: number): void;
  /**
   * Gives the time from which on the state says no more than a new one would, so that it may be forgotten: infinity while something is
   * held.
   */
  idleAt(state: S, policy: Policy, terms: Terms): number;
  /** Gives a copy of the state that JSON can hold. */
  stored(state: S): Stored;
  /** Makes a state of what `stored` gave, in this version or an earlier one. */
  revived(stored: Stored): S;
  /** Moves the times of a stored state by this many milliseconds: they are in wall-clock time. */
  shift(stored: Stored, by: number): void;
}

/** Counts what was taken, whether or not the request has ended. */
interface Counting<S extends State, Stored extends object> extends Deciding<S, Stored> {
  readonly holds: false;
  /**
   * Gives back a part of what was taken at the time `at`, as far as it still counts: what was taken in a window that is over makes no room in
   * the one after it.
   */
  refund(state: S, policy: Policy, terms: Terms, cost: number, now: number, at: number): void;
  /** Writes into `state` what `save` wrote into the three numbers from `at` on. */
  load(numbers: Float64Array, at: number, state: S): void;
  /** Gives the latest time in a state: a process whose clock is a little behind counts by it. 0 where the time is the calendar's. */
  latest(state: S): number;
  /** Writes the state into the three numbers from `at` on: a slot of the shared table has no room for more. */
  save(state: S, numbers: Float64Array, at: number): void;
}

/** Lets a request hold what it took until it ends. */
interface Holding<S extends State, Stored extends object> extends Deciding<S, Stored> {
  readonly holds: true;
  /** Makes the state say that so much is held. */
  countHeld(state: S, held: number): void;
  /** Gives back what `take` took. */
  give(state: S, cost: number): void;
}

/**
 * Describes one way to limit: pure over (state, policy, cost, now), with `now` in milliseconds. It tells before it takes, so that several
 * limits are checked before any is charged. `terms` are the numbers in force (see `termsOf`).
 */
export type Algorithm<S extends State, Stored extends object = S> = Counting<S, Stored> | Holding<S, Stored>;

/** Holds the numbers that a limit is configured with. */
export interface Numbers {
  readonly limit: number;
  readonly burst?: number;
  readonly degraded?: number;
}

/** Gives the terms of most algorithms: `burst` (or `limit`) while NORMAL, `degraded` (or `limit`) while DEGRADED. */
export function usualTerms({ limit, burst = limit, degraded = limit }: Numbers, window: number): { normal: Terms; reduced: Terms } {
  const normal = { limit: burst, perMs: limit / window };
  // One where they are alike, which is seen at once.
  return { normal, reduced: burst === limit && degraded === limit ? normal : { limit: degraded, perMs: degraded / window } };
}

export const newReading = (): Reading => ({ fits: false, used: 0, remaining: 0, resetIn: 0, retryIn: 0 });
