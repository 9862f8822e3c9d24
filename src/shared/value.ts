import type { Chunks } from "./chunks.ts";
import { chunkOf, restOf, thirdOf } from "./chunks.ts";
import type { HashKey } from "./hash.ts";
import { VALUE } from "./layout.ts";
import { LOCKED, type Table } from "./table.ts";

/** Says how a value is written as text, and what it is before anybody has changed it. */
export interface ValueCodec<T> {
  readonly initial: () => T;
  readonly encode: (value: T) => string;
  readonly decode: (text: string) => T;
}

/** The most bytes of a value's text. */
const MAX_BYTES = 1024 * 1024;
/** How often a value is read again that changes while it is read. */
const ATTEMPTS = 1000;

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/**
 * Keeps a value that several processes change together, such as a pool's state: as a text of at most 1 MB. Each sees whole values alone.
 * What it decoded is kept until another process changes it.
 */
export class SharedValue<T> {
  /** The number of the change that `cached` is of. */
  private cachedAt = Number.NaN;
  private cached: T;
  private readonly hash: readonly [a: number, b: number];

  constructor(
    private readonly table: Table,
    private readonly chunks: Chunks,
    key: HashKey,
    private readonly name: string,
    private readonly codec: ValueCodec<T>,
  ) {
    this.hash = table.hashOf(key, name);
    this.cached = codec.initial();
  }

  /** Gives the value, without a lock. It must not be changed in place. Not between `begin` and `commit` of a step. */
  read(): T {
    const { table } = this;
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      table.begin();
      const position = table.enterHashed(this.hash[0], this.hash[1], VALUE);
      if (!table.peek(position)) return this.initial();
      const { scratch } = table;
      const [number, third] = [scratch[0] as number, scratch[2] as number];
      if (number === this.cachedAt) return this.cached;
      const text = this.textOf(third);
      if (table.isCurrent(position)) return this.keep(number, this.codec.decode(text));
    }
    throw new Error(`The shared value ${this.name} changes faster than it can be read.`);
  }

  /**
   * Changes the value: `work` gives another one, or the same for no change, and is called while no other process can change it, so it must not
   * wait. False: nothing was changed, as a process that does not go on has the value locked, or there is no room. Throws what `work`
   * throws, and `RangeError` for a text above 1 MB. `now`: milliseconds of the clock. Not between `begin` and `commit` of a step.
   */
  change(now: number, work: (value: T) => T): boolean {
    const { table, chunks } = this;
    table.begin();
    const position = table.enterHashed(this.hash[0], this.hash[1], VALUE);
    if (table.lock(now) !== LOCKED) return false;
    let isCommitted = false;
    try {
      const before = this.live(position);
      const after = work(before);
      if (after === before) return true;
      const bytes = encoder.encode(this.codec.encode(after));
      if (bytes.length > MAX_BYTES)
        throw new RangeError(`The shared value ${this.name} has ${bytes.length} bytes, more than ${MAX_BYTES}.`);
      const chunk = chunks.claim(position, bytes.length, now, true);
      const memory = chunk === 0 ? null : chunks.memoryOf(chunk);
      if (memory === null) return false;
      memory.bytes.set(bytes, chunks.offsetOf(chunk));
      const { f64 } = table;
      const next = table.next(position);
      // Begun anywhere: a number that was seen before a value went is none of those after.
      const number = table.isNew(position) ? Math.floor(Math.random() * 2 ** 51) : (f64[table.live(position)] as number) + 1;
      f64[next] = number;
      f64[next + 1] = 0;
      f64[next + 2] = thirdOf(chunk, bytes.length);
      table.change(position, Number.POSITIVE_INFINITY, false);
      table.commit();
      isCommitted = true;
      this.keep(number, after);
      return true;
    } finally {
      if (!isCommitted) table.abort();
    }
  }

  /** Forgets what was decoded, for a `work` that has changed the value in place and whose change did not come to be. */
  forget(): void {
    this.cachedAt = Number.NaN;
  }

  private live(position: number): T {
    const { table } = this;
    if (table.isNew(position)) return this.initial();
    const at = table.live(position);
    const number = table.f64[at] as number;
    if (number === this.cachedAt) return this.cached;
    return this.keep(number, this.codec.decode(this.textOf(table.f64[at + 2] as number)));
  }

  private initial(): T {
    return this.keep(Number.NaN, this.codec.initial());
  }

  private keep(number: number, value: T): T {
    this.cachedAt = number;
    this.cached = value;
    return value;
  }

  private textOf(third: number): string {
    const chunk = chunkOf(third);
    const memory = this.chunks.memoryOf(chunk);
    if (memory === null) throw new Error(`A file of the shared table that has the value ${this.name} is gone.`);
    const at = this.chunks.offsetOf(chunk);
    // A copy: the decoder must not see it change. A length that was read while it changed may be any.
    return decoder.decode(memory.bytes.slice(at, at + Math.min(restOf(third), MAX_BYTES)));
  }
}
