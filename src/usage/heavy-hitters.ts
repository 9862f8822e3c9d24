/** Describes one of those who call most. Requests a second, over about the last ten seconds. */
export interface HeavyHitter {
  readonly name: string;
  readonly requests: number;
  readonly limited: number;
  /** All requests since the name has been followed, so that two looks give exact numbers between them. */
  readonly total: number;
  readonly totalLimited: number;
}

interface Entry {
  readonly name: string;
  requests: number;
  limited: number;
  total: number;
  totalLimited: number;
}

/** The number of names that are followed: more than anybody is shown, so that those that are shown are nearly exact. */
export const MAX_HITTERS = 256;
/** Milliseconds after which a request still counts by a third. */
const MEMORY = 10_000;

/**
 * Finds who calls most at the moment, in bounded memory: Space-Saving (Metwally, Agrawal, El Abbadi 2005) over counts that fade. A new name
 * takes the place, and the count, of the smallest one; so a count is too high by that at most.
 */
export class HeavyHitters {
  private readonly entries = new Map<string, Entry>();
  private at = 0;

  /** Adds this many requests of a name. `now` in milliseconds. */
  add(name: string, requests: number, limited: number, now: number): void {
    this.fade(now);
    const entry = this.entries.get(name) ?? this.enter(name);
    entry.requests += requests;
    entry.limited += limited;
    entry.total += requests;
    entry.totalLimited += limited;
  }

  /** Lists the heaviest first, at most `count` of them. `now` in milliseconds. */
  top(count: number, now: number): HeavyHitter[] {
    this.fade(now);
    return [...this.entries.values()]
      .sort((a, b) => b.requests - a.requests)
      .slice(0, count)
      .map(({ name, requests, limited, total, totalLimited }) => ({
        name,
        requests: perSecond(requests),
        limited: perSecond(limited),
        total,
        totalLimited,
      }));
  }

  private enter(name: string): Entry {
    const entry: Entry = { name, requests: 0, limited: 0, total: 0, totalLimited: 0 };
    if (this.entries.size >= MAX_HITTERS) {
      const least = [...this.entries.values()].reduce((a, b) => (b.requests < a.requests ? b : a));
      this.entries.delete(least.name);
      entry.requests = least.requests;
    }
    this.entries.set(name, entry);
    return entry;
  }

  private fade(now: number): void {
    if (now === this.at) return;
    const share = Math.exp(-Math.max(0, now - this.at) / MEMORY);
    this.at = now;
    for (const entry of this.entries.values()) {
      entry.requests *= share;
      entry.limited *= share;
      if (entry.requests < 0.01) this.entries.delete(entry.name);
    }
  }
}

/** Gives the requests a second of a faded sum: with a steady rate the sum is that rate times the memory. */
const perSecond = (sum: number): number => Math.round((sum * 10_000) / MEMORY) / 10;
