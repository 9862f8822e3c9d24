import type { Clock } from "../../src/values/clock.ts";

/** The time at which clocks in tests begin unless a test says otherwise. */
export const START = Date.parse("2026-11-21T00:00:00Z");

/** A clock that stands still until a test moves it. */
export class FakeClock implements Clock {
  constructor(
    public time = START,
    /** Milliseconds that the wall clock is ahead of the monotonic one. */
    public ahead = 0,
  ) {}

  readonly now = (): number => this.time;
  readonly wall = (): number => this.time + this.ahead;

  /** Moves both clocks on. */
  advance(milliseconds: number): void {
    this.time += milliseconds;
  }
}
