/** Says how much may come at once, and how much each second after that. */
export interface Allowance {
  readonly burst: number;
  readonly perSecond: number;
}

/** Counts what somebody may do a number of times: a bucket that is full at first, and fills again by the second. */
export class Budget {
  private spent = 0;
  private since = 0;

  constructor(private readonly allowance: Allowance) {}

  /** Takes one. False when none is left. `second`: the clock, coarse, which must not go back. */
  take(second: number): boolean {
    if (second > this.since) {
      this.spent = Math.max(0, this.spent - (second - this.since) * this.allowance.perSecond);
      this.since = second;
    }
    if (this.spent >= this.allowance.burst) return false;
    this.spent++;
    return true;
  }

  /** Gives some back. */
  credit(count: number): void {
    this.spent = Math.max(0, this.spent - count);
  }
}
