import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { CellFile, CellFolder } from "./cell-folder.ts";
import { Cells, drop } from "./cells.ts";

/** Holds what processes that are dead had counted, all together. */
interface Retired {
  readonly number: number;
  /** The files of which the counts are in here: they are removed next, and count no more if that was not done yet. */
  readonly absorbed: readonly string[];
  readonly sums: readonly (readonly [key: string, counts: readonly number[]])[];
}

interface Source {
  readonly cells: Cells;
  readonly counts: Map<string, Float64Array>;
  /** The bytes that `counts` are from. */
  read: number;
}

const NONE: Retired = { number: 0, absorbed: [], sums: [] };

/** Sums what all processes of one start of the gateway count in the files of a folder, and what those counted that are dead. */
export class CellSums {
  private readonly sources = new Map<string, Source>();
  private retired: Retired = NONE;

  constructor(
    private readonly folder: CellFolder,
    private readonly run: string,
  ) {}

  /** Gives the sums by key. */
  read(): Map<string, Float64Array> {
    const { absorbed, sums } = this.lookForRetired();
    const all = new Map<string, Float64Array>();
    for (const [key, counts] of sums) all.set(key, Float64Array.from(counts));
    const there = this.files().filter(({ file }) => !absorbed.includes(file));
    for (const file of there) {
      const source = this.sourceOf(file);
      if (source !== null) for (const [key, counts] of source.counts) addTo(all, key, counts);
    }
    const names = new Set(there.map(({ file }) => file));
    for (const name of this.sources.keys()) if (!names.has(name)) this.sources.delete(name);
    return all;
  }

  /**
   * Puts the counts of dead processes together, so that files do not become more with each death. Another file is written with all of it, and
   * with the names of those that are in it: it counts in their place from the moment at which it has its name. What other starts have left goes.
   */
  absorb(): void {
    this.forgetOtherRuns();
    const before = this.lookForRetired();
    for (const file of before.absorbed) drop(join(this.folder.path, file));
    for (let number = before.number - 1; number > 0 && drop(this.pathOf(number)); number--);
    this.folder.sweep();
    const dead = this.files().filter(({ process }) => this.folder.isDead(process));
    if (dead.length === 0) return;
    const all = new Map<string, Float64Array>();
    for (const [key, counts] of before.sums) all.set(key, Float64Array.from(counts));
    for (const file of dead) for (const [key, counts] of this.sourceOf(file)?.counts ?? []) addTo(all, key, counts);
    const absorbed = dead.map(({ file }) => file);
    const next: Retired = { number: before.number + 1, absorbed, sums: [...all].map(([key, counts]) => [key, [...counts]]) };
    const path = this.pathOf(next.number);
    const unfinished = `${path}.new`;
    drop(unfinished);
    writeFileSync(unfinished, JSON.stringify(next), { mode: 0o600, flag: "wx" });
    renameSync(unfinished, path);
    this.retired = next;
    for (const file of absorbed) drop(join(this.folder.path, file));
    drop(this.pathOf(before.number));
  }

  private files(): CellFile[] {
    return this.folder.files("metrics").filter(({ run }) => run === this.run);
  }

  private sourceOf({ file, path }: CellFile): Source | null {
    let source = this.sources.get(file);
    if (source === undefined) {
      const cells = Cells.open(path);
      if (!(cells instanceof Cells)) return null;
      source = { cells, counts: new Map(), read: 0 };
      this.sources.set(file, source);
    }
    const { used } = source.cells;
    if (used !== source.read) for (const { key, cells } of source.cells.since(source.read)) source.counts.set(key, cells);
    source.read = used;
    return source;
  }

  /** Looks for the last file of what dead processes had counted; the one before it may be there still. */
  private lookForRetired(): Retired {
    const number = Math.max(0, ...this.folder.retired(this.run));
    if (number > this.retired.number) this.retired = JSON.parse(readFileSync(this.pathOf(number), "utf8")) as Retired;
    return this.retired;
  }

  /** Removes what starts of the gateway have left of which nobody lives. */
  private forgetOtherRuns(): void {
    for (const { run, path, process } of this.folder.files("metrics")) if (run !== this.run && this.folder.isDead(process)) drop(path);
    for (const run of this.folder.deadRuns())
      if (run !== this.run) for (const number of this.folder.retired(run)) drop(this.pathOf(number, run));
  }

  private pathOf(number: number, run: string = this.run): string {
    return join(this.folder.path, `${run}.retired.${number}`);
  }
}

function addTo(all: Map<string, Float64Array>, key: string, counts: Float64Array): void {
  const sum = all.get(key);
  if (sum === undefined) all.set(key, counts.slice());
  else for (let i = 0; i < sum.length; i++) sum[i] = (sum[i] ?? 0) + (counts[i] ?? 0);
}
