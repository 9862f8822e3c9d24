import { Halves } from "../values/halves.ts";

/** Counts the unknown keys and tokens that addresses show. */
export interface Strikes {
  /**
   * Counts one of an address at `now`, in milliseconds. Gives true when that makes `limit` of them within less than `window` milliseconds;
   * counting then begins anew.
   */
  count(subject: string, limit: number, window: number, now: number): boolean;
  /** Forgets those whose last one was before `old`. */
  forget(old: number): void;
  /** The number of addresses that are remembered here. */
  readonly size: number;
}

/** The most addresses with bad keys that are remembered: an attacker with a million of them must not fill memory. */
const MAX_SUSPECTS = 100_000;

/** Counts in the memory of this process. */
export class MemoryStrikes implements Strikes {
  /** The monotonic times at which each address has shown its last bad keys. */
  private readonly suspects = new Halves<string, number[]>(MAX_SUSPECTS);

  count(subject: string, limit: number, window: number, now: number): boolean {
    const times = this.timesOf(subject);
    if (!isLast(times, limit, window, now)) return false;
    this.suspects.delete(subject);
    return true;
  }

  forget(old: number): void {
    this.suspects.forget((times) => (times.at(-1) ?? 0) < old);
  }

  get size(): number {
    return this.suspects.size;
  }

  private timesOf(subject: string): number[] {
    const known = this.suspects.get(subject);
    if (known !== undefined) return known;
    const times: number[] = [];
    this.suspects.set(subject, times);
    return times;
  }
}

/** Adds `now` to the times of an address' last strikes. Gives true when it is the last one of `limit` within less than `window`. */
export function isLast(times: number[], limit: number, window: number, now: number): boolean {
  times.push(now);
  // A limit that is lower than it was leaves too many.
  while (times.length > limit) times.shift();
  if (times.length < limit) return false;
  // Only the last so many are remembered: the first of them says whether all lie within the window.
  const first = times.shift() as number;
  return now - first < window;
}
