import type { Policy, Terms } from "../policy.ts";

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

/** What others need to know of an algorithm: they ask for it, never for a name. */
export interface Traits {
  /** Says in the configuration's schema how it counts, behind its name and without a full stop. */
  readonly summary: string;
  /** The clock that its `now` is of: one that never runs backwards, or that of the calendar. */
  readonly time: "monotonic" | "wall";
  /** True when it counts over a window: a limit must have one, and answers say how long it lasts. */
  readonly windowed: boolean;
  /** The unit of its numbers in RateLimit-Policy (`qu`), where it isn't requests. */
  readonly unit: string | null;
  /** True when an instance may take a part beforehand and use it later: never for what must be exact. Its Lua then has `validFor`. */
  readonly leaseable: boolean;
  /** Where `burst` is a capacity, what the schema says of that; `null` where it takes the place of `limit` and so can't be less. */
  readonly capacity: string | null;
  /** True when its windows can begin at multiples of their length (`align`). */
  readonly alignable: boolean;
  /** The largest limit that it can count, and why; `null`: any. */
  readonly max: { readonly limit: number; readonly because: string } | null;
  /** What it keeps in Redis besides a subject's key: ends of further keys that begin with it. */
  readonly besides: readonly string[];
  /**
   * The same algorithm in Lua, for the script in `../redis/limits.lua`, which says what it may use: the body of a function that gives a table with
   * `load`, `peek`, `take`, `refund` and `save`, and `hold` or `validFor` where the traits ask for it.
   */
  readonly lua: string;
}

interface Deciding<S extends State> extends Traits {
  /** Gives the numbers in force while NORMAL and while DEGRADED, of a configured limit with this window. Left out: `usualTerms`. */
  readonly terms?: (config: Numbers, window: number) => { readonly normal: Terms; readonly reduced: Terms };
  /** Makes the state of a subject that was never seen. */
  open(policy: Policy, now: number, terms: Terms): S;
  /** Tells without changing what later calls say. */
  peek(state: S, policy: Policy, terms: Terms, cost: number, now: number, into: Reading): void;
  /** Takes a cost that fits. */
  take(state: S, policy: Policy, terms: Terms, cost: number, now: number): void;
  /** Goes on from a count that another store told: `used` units, of which more are left in `resetIn` milliseconds. Left out: as if all of them were taken now. */
  seed?(state: S, policy: Policy, used: number, resetIn: number, now: number): void;
  /** Says from when on the state says no more than a new one would, so that it may be forgotten: never (infinity) while something is held. */
  idleAt(state: S, policy: Policy, terms: Terms): number;
  /** Moves the state's times by this many milliseconds: stored states are in wall-clock time. */
  shift(state: S, by: number): void;
}

/** Counts what was taken, whether or not the request has ended. */
interface Counting<S extends State> extends Deciding<S> {
  readonly holds: false;
  /** Gives back a part of what was taken a while ago, as far as that still counts. */
  refund(state: S, policy: Policy, terms: Terms, cost: number, now: number): void;
}

/** Lets a request hold what it took until it ends. */
interface Holding<S extends State> extends Deciding<S> {
  readonly holds: true;
  /** Gives back what `take` took. */
  give(state: S, cost: number): void;
}

/**
 * One way to limit: pure over (state, policy, cost, now), with `now` in milliseconds. It tells before it takes, so that several limits are
 * checked before any is charged. `terms` are the numbers in force (see `termsOf`).
 */
export type Algorithm<S extends State> = Counting<S> | Holding<S>;

/** The numbers that a limit is configured with. */
export interface Numbers {
  readonly limit: number;
  readonly burst?: number;
  readonly degraded?: number;
}

/** Gives the terms of nearly every algorithm: `burst` (or `limit`) while NORMAL, `degraded` (or `limit`) while DEGRADED. */
export function usualTerms({ limit, burst = limit, degraded = limit }: Numbers, window: number): { normal: Terms; reduced: Terms } {
  return { normal: { limit: burst, perMs: limit / window }, reduced: { limit: degraded, perMs: degraded / window } };
}

export const newReading = (): Reading => ({ fits: false, used: 0, remaining: 0, resetIn: 0, retryIn: 0 });
