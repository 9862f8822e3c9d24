import {
  CHUNK_HEADER,
  CHUNKS_PER_SLAB,
  EXPIRES,
  FINGERPRINT,
  HEADER,
  KIND_SHIFT,
  LOG,
  MAX_SLABS,
  MIN_CHUNK,
  NEVER,
  OWNER_SHIFT,
  RECORD,
  REST,
  SEQ,
  SLAB_BYTES,
  SLOT_WORDS,
  SLOTS,
  STATE,
  secondsOf,
} from "./layout.ts";
import { aliveWord, isDead, recordOf, resolve } from "./members.ts";
import type { Memory } from "./memory.ts";
import type { Region } from "./region.ts";
import type { Table } from "./table.ts";

/** The number of chunks that one `claim` looks at: a request waits for it. */
const LOOKS = 512;
/** The share of the slabs that is left to values: a log does without a chunk, a value can't be changed then. */
const FOR_VALUES = 1 / 8;
/** Words of a chunk: its claim, `worker (8 bits) | generation (16) | 1`, and the slot and the fingerprint of its subject. */
const CLAIM = 0;
const SLOT = 1;
const OWNER = 2;

/** Gives the number of the chunk that a state's third double names; 0: none. */
export const chunkOf = (third: number): number => Math.floor(third / REST);
/** Gives what else that double says, 0 to 2^34 - 1. */
export const restOf = (third: number): number => third % REST;
/** Makes a state's third double. */
export const thirdOf = (chunk: number, rest: number): number => chunk * REST + rest;

/**
 * Finds room for what a slot can't hold. While the step is locked, `claim` a chunk, write into it (`memoryOf`, `offsetOf`, `sizeOf`), and name
 * it in the third double of the next state (`thirdOf`): it is then the subject's until a later state names another one. What the live state
 * says to be in a chunk must never be overwritten: append behind it, or claim another.
 */
export class Chunks {
  private readonly claimWord: number;
  /** Where each size class goes on looking: a place in the list of its chunks. */
  private readonly cursors = new Int32Array(32);

  /** Takes the region that the table is in, and the most slabs of 4 MiB, 64 at most. */
  constructor(
    private readonly region: Region,
    private readonly table: Table,
    private readonly maxSlabs: number = MAX_SLABS,
  ) {
    this.claimWord = (table.worker << OWNER_SHIFT) | ((table.generation & 0xffff) << 8) | 1;
  }

  private get i32(): Int32Array {
    return this.table.i32;
  }

  /**
   * Claims a chunk for so many bytes for a subject of the locked step, until `commit` or `abort`. 0: there is none, as there is no room on
   * the disk or all slabs are in use; what the caller wants to keep must then fit into what it has. `now`: milliseconds of the clock.
   * `isValue`: it may have the last slabs as well.
   */
  claim(position: number, bytes: number, now: number, isValue = false): number {
    const size = bytes + CHUNK_HEADER;
    if (size > SLAB_BYTES) return 0;
    const sizeClass = Math.max(0, Math.ceil(Math.log2(size / MIN_CHUNK)));
    return this.find(sizeClass, position, now) || (this.add(sizeClass, isValue) ? this.find(sizeClass, position, now) : 0);
  }

  /** Gives the memory that a chunk is in; `null`: it can't be had, since the file is gone. */
  memoryOf(chunk: number): Memory | null {
    return this.region.slab(Math.floor(chunk / CHUNKS_PER_SLAB));
  }

  /** Gives the byte at which the content of a chunk begins, a multiple of 8. */
  offsetOf(chunk: number): number {
    return (chunk % CHUNKS_PER_SLAB) * MIN_CHUNK + CHUNK_HEADER;
  }

  /** Gives the bytes that a chunk has for its content. */
  sizeOf(chunk: number): number {
    return (MIN_CHUNK << (this.i32[HEADER.classes + Math.floor(chunk / CHUNKS_PER_SLAB)] as number)) - CHUNK_HEADER;
  }

  /** Gives the number of slabs. */
  get slabs(): number {
    return Atomics.load(this.i32, HEADER.slabs);
  }

  private find(sizeClass: number, position: number, now: number): number {
    const { i32, cursors, slabs } = this;
    const step = 1 << sizeClass;
    const perSlab = CHUNKS_PER_SLAB >> sizeClass;
    let total = 0;
    for (let k = 0; k < slabs; k++) if (i32[HEADER.classes + k] === sizeClass) total += perSlab;
    const second = Math.floor(secondsOf(now));
    for (let looks = 0; looks < Math.min(total, LOOKS); looks++) {
      const place = (cursors[sizeClass] as number) % total;
      cursors[sizeClass] = (place + 1) % total;
      const chunk = this.slabOf(sizeClass, Math.floor(place / perSlab)) * CHUNKS_PER_SLAB + (place % perSlab) * step;
      // 0 says that a state names none.
      if (chunk !== 0 && this.take(chunk, position, second)) return chunk;
    }
    return 0;
  }

  /** Gives the index of the slab that is the n-th of a size class. */
  private slabOf(sizeClass: number, n: number): number {
    let left = n;
    for (let k = 0; ; k++) if (this.i32[HEADER.classes + k] === sizeClass && left-- === 0) return k;
  }

  private take(chunk: number, position: number, second: number): boolean {
    const memory = this.memoryOf(chunk);
    if (memory === null) return false;
    const { i32 } = memory;
    const at = (this.offsetOf(chunk) - CHUNK_HEADER) >> 2;
    const claim = Atomics.load(i32, at + CLAIM);
    if (claim !== 0 && this.isClaimGood(claim)) return false;
    if (this.isInUse(i32, at, chunk, second)) return false;
    if (Atomics.compareExchange(i32, at + CLAIM, claim, this.claimWord) !== claim) return false;
    // Another process may have claimed it, put it into use and ended its claim meanwhile.
    if (this.isInUse(i32, at, chunk, second)) {
      Atomics.store(i32, at + CLAIM, 0);
      return false;
    }
    const { table } = this;
    i32[at + SLOT] = table.slotOf(position);
    i32[at + OWNER] = table.hashAOf(position);
    i32[at + OWNER + 1] = table.hashBOf(position);
    table.keepClaim(i32, at + CLAIM);
    return true;
  }

  private isClaimGood(claim: number): boolean {
    return this.i32[recordOf(claim >>> OWNER_SHIFT) + RECORD.state] === aliveWord((claim >>> 8) & 0xffff);
  }

  /** Tells whether the state that counts of a chunk's subject names it. A state that has expired is made to name none. */
  private isInUse(chunkWords: Int32Array, header: number, chunk: number, second: number): boolean {
    const { i32 } = this;
    const { f64 } = this.table;
    const a = chunkWords[header + OWNER] as number;
    if (a === 0) return false;
    const at = SLOTS + (chunkWords[header + SLOT] as number) * SLOT_WORDS;
    // Of a level that another process has just begun.
    if (at >= i32.length) return true;
    for (;;) {
      const word = Atomics.load(i32, at);
      const owner = word >>> OWNER_SHIFT;
      if (owner !== 0 && isDead(i32, owner)) {
        resolve(i32, at, word);
        continue;
      }
      if (i32[at + FINGERPRINT] !== a || i32[at + FINGERPRINT + 1] !== chunkWords[header + OWNER + 1]) return false;
      const info = i32[at + EXPIRES] as number;
      const half = (at + STATE) >> 1;
      const named = chunkOf(f64[half + (word & 1) * 3 + 2] as number);
      if (((Atomics.load(i32, at) ^ word) & SEQ) !== 0) continue;
      if (named !== chunk) return false;
      if (owner !== 0 || info >>> KIND_SHIFT !== LOG || (info & NEVER) > second) return true;
      return !this.forget(at, word, half);
    }
  }

  /** Makes the state of an expired log a new one's. False: somebody else has the slot. */
  private forget(at: number, word: number, half: number): boolean {
    const { i32, table } = this;
    // Whoever recovers this worker, should it die here, finds the slot by its record. No new subject is being made meanwhile.
    Atomics.store(i32, recordOf(table.worker) + RECORD.victim, (at - SLOTS) / SLOT_WORDS + 1);
    if (Atomics.compareExchange(i32, at, word, (table.worker << OWNER_SHIFT) | word) !== word) return false;
    table.f64.fill(Number.NaN, half + ((word + 1) & 1) * 3, half + ((word + 1) & 1) * 3 + 3);
    Atomics.store(i32, at, (word + 1) & SEQ);
    return true;
  }

  /** Adds a slab of chunks of a size, or finds that another process has just done so. */
  private add(sizeClass: number, isValue: boolean): boolean {
    const { i32, table } = this;
    const before = this.slabs;
    const max = Math.min(this.maxSlabs, MAX_SLABS);
    const bound = isValue ? max : max - Math.floor(max * FOR_VALUES);
    if (before >= bound) return false;
    const word = table.lockWord(HEADER.slabLock);
    if (word < 0) return false;
    const index = this.slabs;
    let isDone = false;
    for (let k = before; k < index; k++) isDone ||= i32[HEADER.classes + k] === sizeClass;
    // Another process may have added one of another size meanwhile.
    if (!isDone && index < bound && this.region.addSlab(index)) {
      i32[HEADER.classes + index] = sizeClass;
      Atomics.store(i32, HEADER.slabs, index + 1);
      isDone = true;
    }
    Atomics.store(i32, HEADER.slabLock, (word + 1) & SEQ);
    return isDone;
  }
}
