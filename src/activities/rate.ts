import type { Clock } from "../values/clock.ts";

/** Measures how many come a second, over the last minute. */
export class Rate {
  private readonly slots = new Array<number>(60).fill(0);
  private readonly since: number;
  private second: number;

  constructor(private readonly clock: Clock) {
    this.second = Math.floor(clock.now() / 1000);
    this.since = this.second;
  }

  add(count: number): void {
    this.turn();
    const slot = this.second % 60;
    this.slots[slot] = (this.slots[slot] as number) + count;
  }

  get perSecond(): number {
    this.turn();
    const span = Math.min(60, this.second - this.since + 1);
    return Math.round((this.slots.reduce((sum, count) => sum + count, 0) / span) * 100) / 100;
  }

  private turn(): void {
    const now = Math.floor(this.clock.now() / 1000);
    for (let i = Math.max(this.second + 1, now - 59); i <= now; i++) this.slots[i % 60] = 0;
    this.second = Math.max(this.second, now);
  }
}

/** Holds the rates at which activities are settled. */
export interface Rates {
  readonly applied: Rate;
  readonly failed: Rate;
}
