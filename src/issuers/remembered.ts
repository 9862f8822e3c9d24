/** The places that are looked at for one that nobody has asked for lately, before any is given up. */
const MAX_LOOKS = 64;

interface Kept<T> {
  readonly value: T;
  /** Milliseconds since 1970. */
  readonly since: number;
  readonly until: number;
  wasAsked: boolean;
}

/**
 * Keeps what was found out for a while, so many things at most. Where there is no room it gives up what is over or was not asked for since
 * it was looked at last (the second chance of the clock algorithm): asking costs one look-up and moves nothing.
 */
export class Remembered<T> {
  private readonly kept = new Map<string, Kept<T>>();

  constructor(private readonly max: number) {}

  get size(): number {
    return this.kept.size;
  }

  /** Gives what is kept under this name, or `null`. `now` in milliseconds since 1970. */
  get(name: string, now: number): T | null {
    const kept = this.kept.get(name);
    if (kept === undefined) return null;
    // A clock that was set back must not make it last longer.
    if (now >= kept.until || now < kept.since) {
      this.kept.delete(name);
      return null;
    }
    kept.wasAsked = true;
    return kept.value;
  }

  /** Keeps a value until `until` (milliseconds since 1970), if that is not over. */
  put(name: string, value: T, until: number, now: number): void {
    if (until <= now) return;
    this.kept.delete(name);
    if (this.kept.size >= this.max) this.makeRoom(now);
    this.kept.set(name, { value, since: now, until, wasAsked: false });
  }

  /** Forgets all for which `isOver` holds. */
  forget(isOver: (value: T) => boolean): void {
    for (const [name, { value }] of this.kept) if (isOver(value)) this.kept.delete(name);
  }

  /** Takes one away: the first that is over or was not asked for; those that were get behind the others. */
  private makeRoom(now: number): void {
    let looks = 0;
    for (const [name, kept] of this.kept) {
      this.kept.delete(name);
      if (!kept.wasAsked || now >= kept.until || ++looks >= MAX_LOOKS) return;
      kept.wasAsked = false;
      this.kept.set(name, kept);
    }
  }
}
