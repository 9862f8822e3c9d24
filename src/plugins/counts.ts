import type { Hook } from "./hook.ts";

/** Upper bounds of the time that a hook takes, in seconds. */
export const BOUNDS = [0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

/** The ways in which a hook fails: it throws, takes too long, or gives what means nothing. */
export const FAILURES = ["thrown", "late", "nonsense"] as const;
export type FailureKind = (typeof FAILURES)[number];

/** Counts the calls of one hook. */
export class HookCounts {
  /** Calls by time, each in the first bucket that holds it; the last holds the rest. */
  readonly buckets = new Float64Array(BOUNDS.length + 1);
  readonly failures: Record<FailureKind, number> = { thrown: 0, late: 0, nonsense: 0 };
  calls = 0;
  /** Seconds of all calls. */
  seconds = 0;
  /** The longest that one call kept everything else waiting, in milliseconds: until it gave back control for the first time. */
  longestHold = 0;

  /** Counts a call that has taken `milliseconds`. */
  observe(milliseconds: number): void {
    const seconds = milliseconds / 1000;
    let bucket = 0;
    while (bucket < BOUNDS.length && seconds > (BOUNDS[bucket] as number)) bucket++;
    (this.buckets[bucket] as number)++;
    this.calls++;
    this.seconds += seconds;
  }
}

/** Counts the calls of one plug-in, by hook; it outlives the plug-in's reloads. */
export type PluginCounts = ReadonlyMap<Hook, HookCounts>;
