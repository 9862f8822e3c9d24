import { isHeld } from "./columns.ts";
import { deriveKey, type HashKey, hash, hashed } from "./hash.ts";
import {
  bytesFor,
  COLUMNS,
  COMMITTED,
  EXPIRES,
  FINGERPRINT,
  firstLevelOf,
  HEADER,
  KIND_SHIFT,
  type Kind,
  MAX_STEP,
  NEVER,
  OWNER_SHIFT,
  RECORD,
  SEQ,
  SLOT_WORDS,
  SLOTS,
  STATE,
  STRIPE_COUNT,
  STRIPE_WORDS,
  STRIPES,
  secondsOf,
  slotsIn,
  TOMBSTONE,
  UNOWNED,
  UNSAVED,
  VALUE,
  WINDOW,
} from "./layout.ts";
import { isDead, isFoundDead, recordOf, resolve, type Ticket } from "./members.ts";
import type { Memory } from "./memory.ts";

/** What `lock` says: all is locked; a slot was held for too long by a process that lives; no slot could be had for a new subject. */
export const LOCKED = 0;
export const BUSY = 1;
export const FULL = 2;
export type Locked = typeof LOCKED | typeof BUSY | typeof FULL;

/** Looks at a lock before it naps, and how often it naps before it asks the kernel for the holder. */
const SPINS = 1024;
const NAPS_PER_ASKING = 16;
/** Milliseconds of a nap, and the longest that a lock is waited for: a holder needs microseconds, unless it is stopped or gets no core. */
const NAP = 0.1;
const PATIENCE = 250;
/** How often a step is begun anew because its slots were given to other subjects meanwhile. */
const ATTEMPTS = 64;
/** The share of the slots in use from which on those that expired are looked for before others are begun to be used. */
const MAX_LOAD = 0.6;
/** The number of slots before one that was never used, none of them expired, from which on subjects stand too close together. */
const CROWD = 8;
/** Seconds for which a new subject's slot is left to it before its first commit. */
const GRACE = 2;

const NONE = -1;
/** Nobody wakes a nap: the table's memory can't be waited on. */
const bed = new Int32Array(new SharedArrayBuffer(4));

/**
 * Keeps small states of many subjects, in memory that several processes may share, so that each step over several subjects happens wholly
 * or not at all, whoever is killed when. Nothing here allocates.
 *
 * A step goes so:
 * 1. `begin()`, then `enter(key, subject, kind)` for each subject: gives its position, 0 to 47.
 * 2. If wanted, `peek(position)` reads a state without any lock into `scratch`, to deny at once.
 * 3. `lock(now)` locks all of them, makes those that are new, and so on until `commit` or `abort`, between which nothing may be awaited.
 * 4. `live(position)` says where in `f64` the three doubles of the state stand; `isNew(position)` tells that there is none yet. The new
 *    state is written, all three doubles, to `next(position)`, and said by `change(position, expiresAt, unsaved)`.
 * 5. `commit()` makes all changes count at once. `abort()` leaves all as it was.
 *
 * Times are milliseconds of a clock that all processes read alike (`Clock.now()`). A state stays at least until it expires, as long as there is room;
 * `maxSubjects` have room.
 */
export class Table {
  /** The memory as far as it is in use: to be read anew after `enter` and `lock`, which may find more of it. */
  i32: Int32Array;
  f64: Float64Array;
  /** The id of this worker: the owner of the locks that it takes. */
  readonly worker: number;
  readonly generation: number;
  /** What `peek` read: three doubles for each position, from `3 * position`. */
  readonly scratch = new Float64Array(MAX_STEP * 3);

  /** The slots of the step by position, NONE where a subject has none yet; what identifies their subjects; kind, and page of columns. */
  private readonly slots = new Int32Array(MAX_STEP);
  private readonly hashA = new Int32Array(MAX_STEP);
  private readonly hashB = new Int32Array(MAX_STEP);
  private readonly infos = new Int32Array(MAX_STEP);
  /** The positions in the order of their slots: all lock in one order, so that nobody waits in a circle. */
  private readonly order = new Int32Array(MAX_STEP);
  /** The words of the locked slots without their owner, and which of them were changed (1; 2: unsaved). */
  private readonly words = new Int32Array(MAX_STEP);
  private readonly changed = new Int32Array(MAX_STEP);
  private count = 0;
  private changes = 0;
  /** The chunks that this step has claimed: the memory and the word of each claim. */
  private readonly claimedIn: Int32Array[] = [];
  private readonly claimedAt: number[] = [];
  /** What `look` has found. */
  private best = NONE;
  private soonest = 0;
  private unused = NONE;
  private before = 0;
  /** The lock that was last waited for in vain, and its word: as long as that is the same its holder has not gone on. */
  private stuckAt = NONE;
  private stuckWord = 0;
  private readonly mine: number;
  private readonly record: number;
  private readonly total: number;
  /** The slots of level 0, and the number of levels that this process has seen to be in use. */
  private readonly first: number;
  private levels = 1;
  private readonly seed: HashKey;

  /** Takes the memory of a region, and the ticket with which this process joined it. */
  constructor(
    private readonly memory: Memory,
    { worker, generation }: Ticket,
  ) {
    const { i32, f64 } = memory;
    this.i32 = i32;
    this.f64 = f64;
    this.worker = worker;
    this.generation = generation;
    this.mine = worker << OWNER_SHIFT;
    this.record = recordOf(worker);
    this.total = i32[HEADER.slots] as number;
    this.first = firstLevelOf(this.total);
    this.seed = { a: i32[HEADER.seed] as number, b: i32[HEADER.seed + 1] as number };
    this.widen();
  }

  /** Gives the key under which the subjects of a policy (or anything else with a name of its own) are found. To be kept: it costs a hash. */
  keyOf(name: string): HashKey {
    return deriveKey(this.seed, name);
  }

  /** Begins a step: forgets the one before. */
  begin(): void {
    this.count = 0;
    this.changes = 0;
    if (this.claimedAt.length > 0) this.endClaims();
  }

  /** Adds a subject to the step, and gives its position: that which it has already if it was added before. At most 48 fit. */
  enter(key: HashKey, subject: string, kind: Kind): number {
    hash(key, subject);
    // The first word of a fingerprint is never 0: so are those of free slots and tombstones.
    return this.enterHashed(hashed.a === 0 ? 1 : hashed.a, hashed.b, kind);
  }

  /** Adds a subject to the step by its hash, the first word of which must not be 0. `page`: for columns, which slot of the subject. */
  enterHashed(a: number, b: number, kind: Kind, page = 0): number {
    const { count, hashA, hashB } = this;
    for (let p = 0; p < count; p++) if (hashA[p] === a && hashB[p] === b) return p;
    if (count >= MAX_STEP) throw new RangeError(`A step has at most ${MAX_STEP} subjects.`);
    hashA[count] = a;
    hashB[count] = b;
    this.infos[count] = (kind << KIND_SHIFT) | page;
    this.changed[count] = 0;
    this.slots[count] = this.find(a, b);
    this.count = count + 1;
    return count;
  }

  /**
   * Reads a subject's state without a lock into `scratch`, from `3 * position`. False: it has none, and nothing was counted. What another
   * process commits meanwhile is there wholly or not at all.
   */
  peek(position: number): boolean {
    const slot = this.slots[position] as number;
    if (slot === NONE) return false;
    const { i32, f64, scratch } = this;
    const at = SLOTS + slot * SLOT_WORDS;
    const a = this.hashA[position] as number;
    const b = this.hashB[position] as number;
    for (;;) {
      const word = Atomics.load(i32, at);
      if (i32[at + FINGERPRINT] !== a || i32[at + FINGERPRINT + 1] !== b) return false;
      const from = halfOf(at, word);
      const to = position * 3;
      scratch[to] = f64[from] as number;
      scratch[to + 1] = f64[from + 1] as number;
      scratch[to + 2] = f64[from + 2] as number;
      // The fingerprint is overwritten before a state is; the number says whether a half was.
      if (((Atomics.load(i32, at) ^ word) & SEQ) === 0 && i32[at + FINGERPRINT] === a && i32[at + FINGERPRINT + 1] === b) {
        this.words[position] = word & UNOWNED;
        return !Number.isNaN(scratch[to]);
      }
    }
  }

  /**
   * Locks all subjects of the step, and makes those that are not there. After `LOCKED` either `commit` or `abort` must follow; else
   * nothing is locked. Waits at most 250 ms for a process that lives but does not go on, and
   * not again for one that has not gone on since. `now`: milliseconds of the clock.
   */
  lock(now: number): Locked {
    const { slots, count } = this;
    const second = Math.floor(secondsOf(now));
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      for (let p = 0; p < count; p++) {
        if (slots[p] !== NONE) continue;
        const slot = this.insert(p, second);
        if (slot < 0) return slot === NONE ? FULL : BUSY;
        slots[p] = slot;
      }
      this.sort();
      const locked = this.lockSorted();
      if (locked === count && this.areTheirs()) return LOCKED;
      for (let k = 0; k < Math.min(locked, count); k++) this.unlock(this.order[k] as number);
      if (locked < 0) return BUSY;
      for (let p = 0; p < count; p++) slots[p] = this.find(this.hashA[p] as number, this.hashB[p] as number);
    }
    return BUSY;
  }

  /** Gives the two words of a subject's hash. */
  hashAOf(position: number): number {
    return this.hashA[position] as number;
  }

  hashBOf(position: number): number {
    return this.hashB[position] as number;
  }

  /** Gives the slot of a subject; -1 before it has one. */
  slotOf(position: number): number {
    return this.slots[position] as number;
  }

  /** Gives the index in `f64` of the state that counts. Only while locked. */
  live(position: number): number {
    return halfOf(SLOTS + (this.slots[position] as number) * SLOT_WORDS, this.words[position] as number);
  }

  /** Gives the index in `f64` at which the next state is to be written. Only while locked. */
  next(position: number): number {
    return halfOf(SLOTS + (this.slots[position] as number) * SLOT_WORDS, (this.words[position] as number) + 1);
  }

  /** Tells whether a subject has no state yet. Only while locked. */
  isNew(position: number): boolean {
    return Number.isNaN(this.f64[this.live(position)]);
  }

  /** Tells whether SQLite lacks what the state says. Only while locked. */
  isUnsaved(position: number): boolean {
    return ((this.words[position] as number) & UNSAVED) !== 0;
  }

  /**
   * Says that the next state was written. `expiresAt`: the time of the clock at which it may be forgotten, in milliseconds; infinity for never.
   * `unsaved`: SQLite does not have it yet, so that it goes last.
   */
  change(position: number, expiresAt: number, unsaved: boolean): void {
    if (this.changed[position] === 0) this.changes++;
    this.changed[position] = unsaved ? 2 : 1;
    this.expire(position, expiresAt);
  }

  /** Says when the state may be forgotten, without changing it. Only while locked. */
  expire(position: number, expiresAt: number): void {
    const seconds = Math.max(0, Math.min(NEVER, Math.ceil(secondsOf(expiresAt))));
    const at = SLOTS + (this.slots[position] as number) * SLOT_WORDS + EXPIRES;
    this.i32[at] = ((this.infos[position] as number) & ~NEVER) | seconds;
  }

  /** Makes all changes of the step count, at once, and unlocks. */
  commit(): void {
    const { i32, order, changed, slots, words, count, changes } = this;
    // What is still locked when the step is committed gets rolled forward: therefore what did not change must not be.
    if (changes < count) for (let p = 0; p < count; p++) if (changed[p] === 0) this.unlock(p);
    if (changes > 1) {
      for (let p = 0; p < count; p++)
        if (changed[p] === 2) Atomics.store(i32, SLOTS + (slots[p] as number) * SLOT_WORDS, this.mine | (words[p] as number) | UNSAVED);
      Atomics.store(i32, this.record + RECORD.status, COMMITTED);
    }
    for (let k = 0; k < count; k++) {
      const p = order[k] as number;
      const how = changed[p] as number;
      if (how === 0) continue;
      const word = words[p] as number;
      const unsaved = how === 2 ? UNSAVED : word & UNSAVED;
      Atomics.store(i32, SLOTS + (slots[p] as number) * SLOT_WORDS, unsaved | ((word + 1) & SEQ));
    }
    if (changes > 1) Atomics.store(i32, this.record + RECORD.status, 0);
    if (this.claimedAt.length > 0) this.endClaims();
    this.count = 0;
  }

  /** Leaves all as it was, and unlocks. */
  abort(): void {
    for (let p = 0; p < this.count; p++) this.unlock(p);
    if (this.claimedAt.length > 0) this.endClaims();
    this.count = 0;
  }

  /** Says that a chunk is claimed, by the word at an index, until `commit` or `abort`. For `Chunks`. */
  keepClaim(i32: Int32Array, at: number): void {
    this.claimedIn.push(i32);
    this.claimedAt.push(at);
  }

  private endClaims(): void {
    const { claimedIn, claimedAt } = this;
    for (let k = 0; k < claimedAt.length; k++) Atomics.store(claimedIn[k] as Int32Array, claimedAt[k] as number, 0);
    claimedIn.length = 0;
    claimedAt.length = 0;
  }

  /** Gives the two words of a subject's hash under a key. */
  hashOf(key: HashKey, subject: string): readonly [a: number, b: number] {
    hash(key, subject);
    return [hashed.a === 0 ? 1 : hashed.a, hashed.b];
  }

  /** Tells whether the state that `peek` read is still the one that counts: then what it names in a chunk was read whole. */
  isCurrent(position: number): boolean {
    const { i32 } = this;
    const at = SLOTS + (this.slots[position] as number) * SLOT_WORDS;
    const isSame = ((Atomics.load(i32, at) ^ (this.words[position] as number)) & SEQ) === 0;
    return isSame && i32[at + FINGERPRINT] === this.hashA[position] && i32[at + FINGERPRINT + 1] === this.hashB[position];
  }

  /** Gives what tells a slot's state of now from later ones, for `markSaved`. */
  version(slot: number): number {
    return Atomics.load(this.i32, SLOTS + slot * SLOT_WORDS) & UNOWNED;
  }

  /** Gives what tells the state that `peek` or `lock` found from later ones, for `markSaved`. */
  versionOf(position: number): number {
    return this.words[position] as number;
  }

  /** Says that SQLite has the state which the slot had at that `versionOf` or `version`. False: it has changed since, or is locked just now. */
  markSaved(slot: number, version: number): boolean {
    return Atomics.compareExchange(this.i32, SLOTS + slot * SLOT_WORDS, version, version & ~UNSAVED) === version;
  }

  /** Gives the slot of a subject; -1: it has none. Takes no lock: it may be another's a moment later. */
  find(a: number, b: number): number {
    if (this.i32[HEADER.levels] !== this.levels) this.widen();
    const { i32, levels } = this;
    // Most subjects are in the highest level, which is as large as all others.
    for (let level = levels - 1; level >= 0; level--) {
      const start = this.startOf(level);
      const mask = (start || this.first) - 1;
      for (let i = 0; i < WINDOW; i++) {
        const slot = start + ((a + i) & mask);
        const at = SLOTS + slot * SLOT_WORDS + FINGERPRINT;
        const first = i32[at] as number;
        if (first === a) {
          if (i32[at + 1] === b) return slot;
        } else if (first === 0 && i32[at + 1] === 0) break;
      }
    }
    return NONE;
  }

  /** Gives the first slot of a level, which from level 1 on is also the number of its slots. */
  private startOf(level: number): number {
    return level === 0 ? 0 : this.first << (level - 1);
  }

  /** Views as much of the memory as is in use. */
  private widen(): void {
    const { memory } = this;
    const levels = Atomics.load(this.i32, HEADER.levels);
    memory.widen(bytesFor(slotsIn(levels, this.total)));
    this.i32 = memory.i32;
    this.f64 = memory.f64;
    this.levels = levels;
  }

  /** Gives the number of slots in use, of live subjects that had to go, and of locks that were taken over from the dead. */
  counts(): { readonly subjects: number; readonly evictions: number; readonly takeovers: number } {
    const { i32 } = this;
    const of = (at: number): number => Atomics.load(i32, at) >>> 0;
    return { subjects: of(HEADER.subjects), evictions: of(HEADER.evictions), takeovers: of(HEADER.takeovers) };
  }

  /** Sorts the positions by their slots. */
  private sort(): void {
    const { order, slots, count } = this;
    for (let p = 0; p < count; p++) {
      const slot = slots[p] as number;
      let k = p;
      for (; k > 0 && (slots[order[k - 1] as number] as number) > slot; k--) order[k] = order[k - 1] as number;
      order[k] = p;
    }
  }

  /** Locks the slots in their order, and gives how many; NONE when one could not be had, with none of them locked. */
  private lockSorted(): number {
    const { i32, record, order, slots, count } = this;
    // Whoever recovers a dead worker looks here: before the first lock is taken all of them stand here.
    for (let k = 0; k < count; k++) i32[record + RECORD.slots + k] = slots[order[k] as number] as number;
    i32[record + RECORD.count] = count;
    for (let k = 0; k < count; k++) {
      const p = order[k] as number;
      const slot = slots[p] as number;
      // One of two subjects with the same slot has lost it to the other.
      if (k > 0 && slots[order[k - 1] as number] === slot) return k;
      const word = this.lockWord(SLOTS + slot * SLOT_WORDS);
      if (word === NONE) {
        for (let j = 0; j < k; j++) this.unlock(order[j] as number);
        return NONE;
      }
      this.words[p] = word;
    }
    return count;
  }

  /** Tells whether the locked slots are still those of the step's subjects. */
  private areTheirs(): boolean {
    const { i32, slots, hashA, hashB, count } = this;
    for (let p = 0; p < count; p++) {
      const at = SLOTS + (slots[p] as number) * SLOT_WORDS + FINGERPRINT;
      if (i32[at] !== hashA[p] || i32[at + 1] !== hashB[p]) return false;
    }
    return true;
  }

  private unlock(position: number): void {
    Atomics.store(this.i32, SLOTS + (this.slots[position] as number) * SLOT_WORDS, this.words[position] as number);
  }

  /** Takes the lock at a word of `i32`, and gives the word without owner; NONE: a process that lives held it for too long. */
  lockWord(at: number): number {
    const { i32, mine } = this;
    const word = i32[at] as number;
    if (word >>> OWNER_SHIFT === 0 && Atomics.compareExchange(i32, at, word, mine | word) === word) return word;
    return this.lockHeld(at);
  }

  private lockHeld(at: number): number {
    const { i32, mine } = this;
    let since = 0;
    for (let spins = 1, naps = 0; ; spins++) {
      const word = Atomics.load(i32, at);
      const owner = word >>> OWNER_SHIFT;
      if (owner === 0) {
        if (Atomics.compareExchange(i32, at, word, mine | word) === word) return word;
        continue;
      }
      // Our own can only be left of a step that a throw ended: then nothing of it counts.
      if (owner === this.worker || isDead(i32, owner)) {
        resolve(i32, at, word);
        continue;
      }
      if (at === this.stuckAt && word === this.stuckWord && !isFoundDead(i32, owner)) return NONE;
      if (spins % SPINS !== 0) continue;
      if (since === 0) since = performance.now();
      else if (performance.now() - since > PATIENCE) {
        this.stuckAt = at;
        this.stuckWord = word;
        return NONE;
      }
      Atomics.wait(bed, 0, 0, NAP);
      if (++naps % NAPS_PER_ASKING === 0) isFoundDead(i32, owner);
    }
  }

  /** Makes a slot for a subject of the step, unless another process has just done so. NONE: there is no room; less: a lock was not had. */
  private insert(position: number, second: number): number {
    const { i32, record } = this;
    const a = this.hashA[position] as number;
    const b = this.hashB[position] as number;
    const stripe = a & (STRIPE_COUNT - 1);
    const lock = STRIPES + stripe * STRIPE_WORDS;
    Atomics.store(i32, record + RECORD.insertLock, stripe + 1);
    const word = this.lockWord(lock);
    if (word === NONE) return NONE - 1;
    let slot = this.find(a, b);
    if (slot === NONE) {
      // Another process may take what was chosen: then the next best is.
      for (let tries = 0; tries < WINDOW && slot === NONE; tries++) {
        const victim = this.choose(a, second);
        if (victim === NONE) break;
        if (this.settle(victim, position, second)) slot = victim;
      }
    }
    Atomics.store(this.i32, lock, (word + 1) & SEQ);
    return slot;
  }

  /**
   * Chooses a slot for a new subject: in the highest level while that is not full; else one that has expired or was never finished, in any
   * level; else one that was never used where few others are; else one of a new level; else that which expires soonest. NONE: all must stay.
   */
  private choose(a: number, second: number): number {
    const isFull = Atomics.load(this.i32, HEADER.subjects) >= slotsIn(this.levels, this.total) * MAX_LOAD;
    if (!isFull) {
      this.look(this.levels - 1, a, second);
      if (this.soonest <= second) return this.best;
      if (this.unused !== NONE) return this.unused;
    }
    let best = NONE;
    let soonest = Number.POSITIVE_INFINITY;
    let unused = NONE;
    let isCrowded = true;
    for (let level = this.levels - 1; level >= 0; level--) {
      this.look(level, a, second);
      if (this.soonest <= second) return this.best;
      if (unused === NONE) unused = this.unused;
      // In the highest level, which most are looked for in first.
      if (level === this.levels - 1) isCrowded = this.unused === NONE || this.before >= CROWD;
      if (this.soonest >= soonest) continue;
      best = this.best;
      soonest = this.soonest;
    }
    if (isCrowded && slotsIn(this.levels, this.total) < this.total) {
      // Another process may just have begun it.
      Atomics.compareExchange(this.i32, HEADER.levels, this.levels, this.levels + 1);
      this.widen();
      return this.choose(a, second);
    }
    return unused === NONE ? best : unused;
  }

  /**
   * Looks at a subject's window of a level: into `best` goes the slot that may go first, into `soonest` its rank, into `unused` one that was never
   * used, into `before` the number of those before it. Looks no further when it has found one that has expired.
   */
  private look(level: number, a: number, second: number): void {
    const { i32 } = this;
    const start = this.startOf(level);
    const mask = (start || this.first) - 1;
    this.best = NONE;
    this.soonest = Number.POSITIVE_INFINITY;
    this.unused = NONE;
    for (let i = 0; i < WINDOW; i++) {
      const slot = start + ((a + i) & mask);
      const at = SLOTS + slot * SLOT_WORDS;
      const word = Atomics.load(i32, at);
      if (word >>> OWNER_SHIFT !== 0 && !this.freeDead(at, word)) continue;
      if (i32[at + FINGERPRINT] === 0 && i32[at + FINGERPRINT + 1] === 0) {
        // What was never used ends the search of all: nothing behind it is known of.
        this.unused = slot;
        this.before = i;
        return;
      }
      const rank = i32[at + FINGERPRINT] === 0 ? 0 : this.rank(at, word, second);
      if (rank >= this.soonest || this.isOfStep(slot) || this.mustStay(at)) continue;
      this.best = slot;
      this.soonest = rank;
      if (rank <= second) return;
    }
  }

  /** Ranks a subject by when it may go: those that expired first, those that SQLite lacks last, values after all. */
  private rank(at: number, word: number, second: number): number {
    const { i32 } = this;
    const info = i32[at + EXPIRES] as number;
    const expires = info & NEVER;
    if (expires <= second) return expires;
    const kind = info >>> KIND_SHIFT;
    return kind === VALUE ? expires + 2 * NEVER : (word & UNSAVED) !== 0 ? expires + NEVER : expires;
  }

  private freeDead(at: number, word: number): boolean {
    return isDead(this.i32, word >>> OWNER_SHIFT) && resolve(this.i32, at, word);
  }

  private isOfStep(slot: number): boolean {
    for (let p = 0; p < this.count; p++) if (this.slots[p] === slot) return true;
    return false;
  }

  /** Tells whether a slot has columns of workers that live: those are subtracted from without a lock, so that it must stay. */
  private mustStay(at: number): boolean {
    return (this.i32[at + EXPIRES] as number) >>> KIND_SHIFT === COLUMNS && isHeld(this.i32, at);
  }

  /** Gives a slot to a subject of the step. False: somebody else has taken it meanwhile. */
  private settle(slot: number, position: number, second: number): boolean {
    const { i32, f64, record } = this;
    const at = SLOTS + slot * SLOT_WORDS;
    const word = Atomics.load(i32, at);
    if (word >>> OWNER_SHIFT !== 0) return false;
    const before = i32[at + FINGERPRINT] as number;
    const beforeB = i32[at + FINGERPRINT + 1] as number;
    Atomics.store(i32, record + RECORD.victim, slot + 1);
    if (Atomics.compareExchange(i32, at, word, this.mine | word) !== word) return false;
    if (this.mustStay(at) || i32[at + FINGERPRINT] !== before || i32[at + FINGERPRINT + 1] !== beforeB) {
      Atomics.store(i32, at, word);
      return false;
    }
    const wasLive = before !== 0 && ((i32[at + EXPIRES] as number) & NEVER) > second;
    // The order makes a death harmless between any two: from here the slot is nobody's, until its state is a new one's.
    Atomics.store(i32, at + FINGERPRINT + 1, TOMBSTONE);
    Atomics.store(i32, at + FINGERPRINT, 0);
    const info = this.infos[position] as number;
    const isOfColumns = info >>> KIND_SHIFT === COLUMNS;
    // Columns that nobody holds are worth nothing: they need no expiry, and have the number of their page there.
    i32[at + EXPIRES] = isOfColumns ? info : info | Math.min(NEVER - 1, second + GRACE);
    const half = (at + STATE) >> 1;
    const empty = isOfColumns ? 0 : Number.NaN;
    for (let i = 0; i < 6; i++) f64[half + i] = empty;
    // Not the second first: both 0 would be a slot that was never used, behind which nobody looks.
    Atomics.store(i32, at + FINGERPRINT, this.hashA[position] as number);
    Atomics.store(i32, at + FINGERPRINT + 1, this.hashB[position] as number);
    Atomics.store(i32, at, (word + 2) & SEQ);
    if (before === 0) Atomics.add(i32, HEADER.subjects, 1);
    else if (wasLive) Atomics.add(i32, HEADER.evictions, 1);
    return true;
  }
}

/** Gives the index in doubles of the half that counts by a slot's word. */
const halfOf = (at: number, word: number): number => ((at + STATE) >> 1) + (word & 1) * 3;
