import type { HashKey } from "../shared/hash.ts";
import { PLAIN } from "../shared/layout.ts";
import { LOCKED, type Table } from "../shared/table.ts";

/** Counts the wrong keys that are looked up during a block, by the caller that a proxy names; all of them together under `null`. */
export interface Tries {
  /** Counts one for each of these. `until`: the time at which the block is over; times in milliseconds of the clock. */
  add(block: string, whos: readonly (string | null)[], now: number, until: number): void;
  of(block: string, who: string | null): number;
  /** Forgets those of all blocks but these. */
  keepOnly(blocks: ReadonlySet<string>): void;
}

/** Counts in the memory of this process. */
export class MemoryTries implements Tries {
  private readonly blocks = new Map<string, Map<string | null, number>>();

  add(block: string, whos: readonly (string | null)[]): void {
    const tries = this.blocks.get(block) ?? new Map<string | null, number>();
    this.blocks.set(block, tries);
    for (const who of whos) tries.set(who, (tries.get(who) ?? 0) + 1);
  }

  of(block: string, who: string | null): number {
    return this.blocks.get(block)?.get(who) ?? 0;
  }

  keepOnly(blocks: ReadonlySet<string>): void {
    for (const block of this.blocks.keys()) if (!blocks.has(block)) this.blocks.delete(block);
  }
}

/** Counts for all processes of a gateway together, in the table that they share. */
export class SharedTries implements Tries {
  private readonly key: HashKey;
  /** Counts where the table has no room, or a slot is not to be had. */
  private readonly own = new MemoryTries();

  constructor(private readonly table: Table) {
    this.key = table.keyOf("guard.tries");
  }

  add(block: string, whos: readonly (string | null)[], now: number, until: number): void {
    const { table } = this;
    table.begin();
    const positions = whos.map((who) => table.enter(this.key, subjectOf(block, who), PLAIN));
    if (table.lock(now) !== LOCKED) {
      this.own.add(block, whos);
      return;
    }
    for (const position of positions) {
      const before = table.isNew(position) ? 0 : (table.f64[table.live(position)] as number);
      const next = table.next(position);
      table.f64[next] = before + 1;
      table.f64[next + 1] = 0;
      table.f64[next + 2] = 0;
      table.change(position, until, false);
    }
    table.commit();
  }

  of(block: string, who: string | null): number {
    const { table } = this;
    table.begin();
    const position = table.enter(this.key, subjectOf(block, who), PLAIN);
    return (table.peek(position) ? (table.scratch[position * 3] as number) : 0) + this.own.of(block, who);
  }

  keepOnly(blocks: ReadonlySet<string>): void {
    this.own.keepOnly(blocks);
  }
}

const subjectOf = (block: string, who: string | null): string => (who === null ? block : `${block}\n${who}`);
