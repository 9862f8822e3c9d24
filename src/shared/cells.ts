import { closeSync, fchmodSync, openSync, readFileSync, statSync, unlinkSync, writeSync } from "node:fs";

/** Describes some cells that were added under one key: numbers that one process writes, and others may read at the same time. */
export interface Entry {
  readonly key: string;
  readonly cells: Float64Array;
}

/**
 * The layout of a block, in words of 32 bits: what it is, its version, the bytes in use, 1 once its writer adds no more to any cell, then 16
 * bytes that tell the machine's start. Entries follow, each at a multiple of 8: the key's length in bytes, the number of cells, the key, the
 * cells.
 */
const MAGIC = 0x4c_43_4c_53;
const LAYOUT = 2;
/** Those that can be read: in the first, counters of usage have a count less, which whoever counts them reads off their length. */
const READABLE: readonly unknown[] = [1, LAYOUT];
const [IS, VERSION, USED, CLOSED] = [0, 1, 2, 3] as const;
const BOOT_AT = 16;
const HEADER = 64;
const ENTRY_HEADER = 8;

const padded = (bytes: number): number => (bytes + 7) & ~7;

/**
 * Holds counts by key, in memory that may be a file's: an entry is added once and never moves. Its writer may be killed between any two
 * writes: an entry is there with the one store that says so, and each cell is one store.
 */
export class Cells {
  private readonly words: Int32Array;
  private readonly buffer: Buffer;

  private constructor(private readonly bytes: Uint8Array) {
    this.words = new Int32Array(bytes.buffer, bytes.byteOffset, HEADER / 4);
    this.buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** Makes cells in private memory. `size` in bytes. */
  static private(size: number): Cells {
    return Cells.begun(new Uint8Array(size));
  }

  /**
   * Makes a file of cells, which nobody else may have; `null` where there is no room for it. It is written full of zeros before it is
   * mapped: a hole in it would end the process on a full disk.
   */
  static create(path: string, size: number): Cells | null {
    let file: number | null = null;
    try {
      file = openSync(path, "wx", 0o600);
      fchmodSync(file, 0o600);
      for (let left = size; left > 0; ) left -= writeSync(file, new Uint8Array(left));
      return Cells.begun(Bun.mmap(path));
    } catch {
      if (file !== null) drop(path);
      return null;
    } finally {
      if (file !== null) closeSync(file);
    }
  }

  /**
   * Opens what another process counts. `"unready"`: its writer has not got so far. `"foreign"`: of another layout, or from before the machine
   * started, after which pages of a file are as old as each of them likes.
   */
  static open(path: string): Cells | "unready" | "foreign" {
    if ((statSync(path, { throwIfNoEntry: false })?.size ?? 0) < HEADER) return "unready";
    const cells = new Cells(Bun.mmap(path));
    const is = Atomics.load(cells.words, IS);
    if (is === 0) return "unready";
    if (is !== MAGIC || !READABLE.includes(cells.words[VERSION]) || cells.used > cells.bytes.byteLength) return "foreign";
    return cells.buffer.subarray(BOOT_AT, BOOT_AT + BOOT.length).equals(BOOT) ? cells : "foreign";
  }

  private static begun(bytes: Uint8Array): Cells {
    const cells = new Cells(bytes);
    const { words, buffer } = cells;
    words[VERSION] = LAYOUT;
    words[USED] = HEADER;
    BOOT.copy(buffer, BOOT_AT);
    // Last: from here on it is one.
    Atomics.store(words, IS, MAGIC);
    return cells;
  }

  /** Tells whether its writer adds no more to any cell. */
  get isClosed(): boolean {
    return Atomics.load(this.words, CLOSED) === 1;
  }

  get size(): number {
    return this.bytes.byteLength;
  }

  /** Gives the number of bytes in use: how far `since` can read. */
  get used(): number {
    return Atomics.load(this.words, USED);
  }

  /** Says that no cell is added to from here on. */
  close(): void {
    Atomics.store(this.words, CLOSED, 1);
  }

  /** Adds `count` cells under a key, all 0; `null` when there is no room. A key that is added twice is there twice. */
  add(key: string, count: number): Float64Array | null {
    const { used, buffer } = this;
    const length = Buffer.byteLength(key);
    const at = used + ENTRY_HEADER + padded(length);
    const end = at + 8 * count;
    if (end > this.size) return null;
    buffer.writeInt32LE(length, used);
    buffer.writeInt32LE(count, used + 4);
    buffer.write(key, used + ENTRY_HEADER);
    // Last: what a killed writer had begun before is nothing.
    Atomics.store(this.words, USED, end);
    return new Float64Array(this.bytes.buffer, this.bytes.byteOffset + at, count);
  }

  /**
   * Gives the entries between these bytes, in the order in which they were added. Whoever goes on later from where it has stopped says itself how far it
   * read: `used` may have grown since it was asked for.
   */
  *since(from: number, to: number = this.used): Generator<Entry> {
    const { buffer } = this;
    for (let at = Math.max(from, HEADER); at < to; ) {
      const length = buffer.readInt32LE(at);
      const count = buffer.readInt32LE(at + 4);
      const first = at + ENTRY_HEADER + padded(length);
      const key = buffer.toString("utf8", at + ENTRY_HEADER, at + ENTRY_HEADER + length);
      yield { key, cells: new Float64Array(this.bytes.buffer, this.bytes.byteOffset + first, count) };
      at = first + 8 * count;
    }
  }
}

/** Removes a file; false when it is not there. */
export function drop(path: string): boolean {
  try {
    unlinkSync(path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    return false;
  }
}

/** Tells one start of the machine from another, by 16 bytes; the same where the system doesn't say. */
const BOOT: Buffer = bootId();

function bootId(): Buffer {
  try {
    return Buffer.from(readFileSync("/proc/sys/kernel/random/boot_id", "latin1").trim().replaceAll("-", ""), "hex").subarray(0, 16);
  } catch {
    return Buffer.alloc(16);
  }
}
