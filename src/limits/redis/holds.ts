import { type Batches, JUST_NOW } from "./batches.ts";

/**
 * Milliseconds for which Redis keeps what an instance says that it has in flight; and milliseconds after which the instance says it again.
 */
export const HOLD_FOR = 4000;
export const HOLD_AGAIN_EVERY = 1000;

/**
 * Keeps, by key, what this instance has in flight, and repeats it to Redis from time to time: there it expires when the instance has
 * crashed.
 */
export class Holds {
  private readonly held = new Map<string, { count: number; terms: string }>();

  constructor(private readonly batches: Batches) {}

  /** Counts what Redis has granted to a request. */
  take(key: string, count: number, terms: string): void {
    const held = this.held.get(key);
    if (held === undefined) this.held.set(key, { count, terms });
    else held.count += count;
  }

  /** Gives back what a request held, under the terms that it was taken under. */
  giveBack(key: string, count: number): void {
    const held = this.held.get(key);
    if (held === undefined) return;
    held.count -= count;
    if (held.count <= 0) this.held.delete(key);
    // What does not arrive is said again soon, or expires.
    this.batches.tellRefund(key, held.terms, count, JUST_NOW);
  }

  /** Tells Redis again what is in flight, for a timer: the exact number when no call is under way that would change it. */
  renew(): void {
    const operation = this.batches.isIdle ? "hold" : "extend";
    for (const [key, { count, terms }] of this.held) this.batches.tell(operation, key, terms, count);
  }
}
