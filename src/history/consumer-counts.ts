import { only, plus, type Sums } from "./sums.ts";

/** The most consumers that are told apart between two writes. Whoever calls much comes early. */
const MAX_FOLLOWED = 20_000;

/** Holds what consumers have used since it was last emptied, in bounded memory: who finds no room is counted in `all` alone. */
export class ConsumerCounts {
  private readonly byName = new Map<string, Sums>();
  private sum: Sums = only(0);

  /** Adds what a consumer has used more; "" for callers whom nothing names. */
  note(consumer: string, requests: number, errors: number, limited: number): void {
    const more = { ...only(requests), errors, limited };
    this.sum = plus(this.sum, more);
    const before = this.byName.get(consumer);
    if (before !== undefined) this.byName.set(consumer, plus(before, more));
    else if (this.byName.size < MAX_FOLLOWED) this.byName.set(consumer, more);
  }

  /** What all have used together. */
  get all(): Sums {
    return this.sum;
  }

  /** Lists those who have called most, the busiest first. */
  busiest(count: number): [consumer: string, sums: Sums][] {
    const all = [...this.byName];
    return (all.length <= count ? all : all.sort(([, a], [, b]) => b.requests - a.requests)).slice(0, count);
  }

  /** Forgets everything: it is written down. */
  clear(): void {
    this.byName.clear();
    this.sum = only(0);
  }
}
