/** The callers that are told apart: about a megabyte. When more come, the one that has not come for longest is forgotten. */
const MAX_CALLERS = 10_000;
/** Milliseconds for which a caller counts. */
const SPAN = 60_000;

/** Counts who came within the last minute: up to 10,000 callers, each visit in constant time (amortised). */
export class RecentCallers {
  /** By name, the time of the last visit: the one who has not come for longest first. */
  private readonly visits = new Map<string, number>();

  /** Notes a visit. `now` in milliseconds, by a clock that never goes back. */
  add(name: string, now: number): void {
    this.visits.delete(name);
    this.visits.set(name, now);
    // Each visit is dropped once.
    for (const [oldest, at] of this.visits) {
      if (this.visits.size <= MAX_CALLERS && now - at < SPAN) break;
      this.visits.delete(oldest);
    }
  }

  /** Gives how many came within the last minute. */
  count(now: number): number {
    for (const [oldest, at] of this.visits) {
      if (now - at < SPAN) break;
      this.visits.delete(oldest);
    }
    return this.visits.size;
  }
}
