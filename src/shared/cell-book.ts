import type { CellWriter } from "./cell-folder.ts";
import { Cells } from "./cells.ts";

/** Bytes of a file of cells. */
const FILE_SIZE = 256 * 1024;
/** Bytes of the first block of private memory, and of the largest. */
const FIRST_SIZE = 8 * 1024;
const MAX_SIZE = 256 * 1024;

/** Gives this process cells by key, which go on for as long as it lives. What it counts in them outlives it where they lie in files. */
export class CellBook {
  /** All cells by their keys, in the order in which they were made. */
  readonly all = new Map<string, Float64Array>();
  /** Those in private memory for want of room for a file: nobody else can read them. */
  readonly homeless = new Map<string, Float64Array>();
  private block: Cells | null = null;
  private isPrivate = true;

  /** `writer`: makes files; `null`: everything is counted in private memory, and nobody else wants to read it. */
  constructor(private readonly writer: CellWriter | null) {}

  /** Gives the cells of a key, 0 at first. */
  of(key: string, count: number): Float64Array {
    const known = this.all.get(key);
    if (known !== undefined) return known;
    const cells = this.block?.add(key, count) ?? this.another(key, count);
    this.all.set(key, cells);
    if (this.isPrivate && this.writer !== null) this.homeless.set(key, cells);
    return cells;
  }

  private another(key: string, count: number): Float64Array {
    const file = this.writer?.create("metrics", FILE_SIZE) ?? null;
    this.isPrivate = file === null;
    const wanted = 2 * (this.block?.size ?? FIRST_SIZE / 2);
    // A key may be as long as a configuration likes.
    this.block = file?.cells ?? Cells.private(Math.max(Math.min(wanted, MAX_SIZE), 4 * (key.length + 8 * count + 64)));
    const cells = this.block.add(key, count);
    if (cells !== null) return cells;
    this.isPrivate = true;
    this.block = Cells.private(4 * (key.length + 8 * count + 64));
    return this.block.add(key, count) ?? new Float64Array(count);
  }
}
