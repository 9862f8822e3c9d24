import type { Batches } from "./batches.ts";

/** How long what an instance has in flight holds without being said again, and how often it is, in milliseconds. */
export const HOLD_FOR = 4000;
export const HOLD_AGAIN_EVERY = 1000;

/** What this instance has in flight, by key: it is said again from time to time, so that it outlives no crash. */
export class Holds {
  private readonly held = new Map<string, { count: number; terms: string }>();

  constructor(private readonly batches: Batches) {}

  /** Counts what Redis has given to a request. */
  take(key: string, count: number, terms: string): void {
    const held = this.held.get(key);
    if (held === undefined) this.held.set(key, { count, terms });
    else held.count += count;
  }

  /** Gives back what a request held, under the terms it was taken under. */
  giveBack(key: string, count: number): void {
    const held = this.held.get(key);
    if (held === undefined) return;
    held.count -= count;
    if (held.count <= 0) this.held.delete(key);
    // What does not arrive is said again soon, or expires.
    this.batches.tell("refund", key, held.terms, count);
  }

  /** Says again what is in flight, for a timer: exactly, when nothing is on its way that would change it. */
  renew(): void {
    const deed = this.batches.isIdle ? "hold" : "extend";
    for (const [key, { count, terms }] of this.held) this.batches.tell(deed, key, terms, count);
  }
}
