import type { HashKey } from "../shared/hash.ts";
import { PLAIN } from "../shared/layout.ts";
import { LOCKED, type Table } from "../shared/table.ts";
import { Halves } from "../values/halves.ts";
import { MemoryStrikes, type Strikes } from "./strikes.ts";

/** The number of times that one slot has room for. */
const PER_SLOT = 3;
/** How often it is begun anew because another process has counted meanwhile. */
const ATTEMPTS = 64;
/** The most addresses of which is remembered that this process has counted them. */
const MAX_SUSPECTS = 100_000;

/**
 * Counts for all processes of a gateway together, in the table that they share. The last times of an address stand in a ring, three in a
 * slot; a slot of its own says how many there were. Each count is one step over two slots, so that exactly one process sees the last one.
 */
export class SharedStrikes implements Strikes {
  private readonly heads: HashKey;
  private readonly rings: HashKey;
  private readonly counted = new Halves<string, number>(MAX_SUSPECTS);
  /** Counts where the table has no room, or a slot is not to be had. */
  private readonly own = new MemoryStrikes();

  constructor(private readonly table: Table) {
    this.heads = table.keyOf("guard.strikes");
    this.rings = table.keyOf("guard.strikes.times");
  }

  count(subject: string, limit: number, window: number, now: number): boolean {
    this.counted.set(subject, now);
    const size = limit - 1;
    if (size === 0) return true;
    const { table } = this;
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      table.begin();
      const head = table.enter(this.heads, subject, PLAIN);
      const seen = table.peek(head) ? countIn(table.scratch, head * 3, limit) : 0;
      const place = seen % size;
      const ring = table.enter(this.rings, `${Math.floor(place / PER_SLOT)} ${subject}`, PLAIN);
      if (table.lock(now) !== LOCKED) return this.own.count(subject, limit, window, now);
      const before = table.isNew(head) ? 0 : countIn(table.f64, table.live(head), limit);
      // Another process has counted since: another slot may be the one.
      if (before !== seen) {
        table.abort();
        continue;
      }
      return this.enter({ head, ring, before, size, at: place % PER_SLOT }, { limit, window, now });
    }
    return this.own.count(subject, limit, window, now);
  }

  forget(old: number): void {
    this.counted.forget((at) => at < old);
    this.own.forget(old);
  }

  /** The number of addresses that this process has counted. */
  get size(): number {
    return this.counted.size;
  }

  /** Writes the time into its place in the locked step, in the place of the one so many before it, which tells whether all lie within the window. */
  private enter(
    { head, ring, before, size, at }: Record<"head" | "ring" | "before" | "size" | "at", number>,
    { limit, window, now }: Record<"limit" | "window" | "now", number>,
  ): boolean {
    const { table } = this;
    const { f64 } = table;
    const live = table.isNew(ring) ? -1 : table.live(ring);
    const first = before < size || live < 0 ? 0 : (f64[live + at] as number);
    const isLast = first > 0 && now - first < window;
    const next = table.next(ring);
    for (let i = 0; i < PER_SLOT; i++) f64[next + i] = i === at ? now : live < 0 ? 0 : (f64[live + i] as number);
    table.change(ring, now + window, false);
    const head3 = table.next(head);
    // After the last one counting begins anew: what the ring still has is older than that.
    f64[head3] = isLast ? 0 : before + 1;
    f64[head3 + 1] = limit;
    f64[head3 + 2] = 0;
    table.change(head, now + window, false);
    table.commit();
    return isLast;
  }
}

/** Gives the number of times in the ring; none when it was made for another limit. */
const countIn = (f64: Float64Array, at: number, limit: number): number => (f64[at + 1] === limit ? (f64[at] as number) : 0);
