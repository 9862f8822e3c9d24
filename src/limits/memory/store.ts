import type { State } from "../algorithms/algorithm.ts";
import type { Policy, Terms } from "../policy.ts";

/** Holds one subject's state under one policy, in a list from the most to the least recently used. */
export interface Entry {
  readonly policy: Policy;
  readonly subject: string;
  readonly state: State;
  newer: Entry | null;
  older: Entry | null;
  isKept: boolean;
  /** True when it changed since it was last saved; only for durable policies' entries. */
  isDirty: boolean;
}

/** The number of entries that one sweep looks at: it must not hold up requests. */
const SWEEP = 20_000;
/** The number of entries without room in memory that may wait to be saved in any case, however small `maxSubjects` is. */
const LEAST_UNSAVED = 10_000;

/**
 * Keeps the counts of limits in memory, within a bound. Over the bound the least recently used subject goes first; one that has been idle
 * for so long that a new one would say the same goes at the next sweep. Exchanges in flight are never forgotten, and the counts of durable
 * policies are read back when their subject comes again: newcomers, however many, reset nobody's quota.
 */
export class MemoryStore {
  private readonly tables = new Map<string, Map<string, Entry>>();
  private newest: Entry | null = null;
  private oldest: Entry | null = null;
  private hand: Entry | null = null;
  private count = 0;
  private dirty: Entry[] = [];
  /** States from before a restart, by policy and subject, until their subject comes again. */
  private readonly saved = new Map<string, Map<string, State>>();
  /** Durable entries that were evicted before they were saved, by policy and subject. */
  private readonly unsaved = new Map<string, Map<string, Entry>>();
  private unsavedCount = 0;
  /**
   * Gives the saved state of a subject that was evicted; `null` when there is none. Only asked once a durable entry was evicted, or not all
   * were restored.
   */
  readBack: ((policy: Policy, subject: string) => State | null) | null = null;
  private hasForgotten = false;
  /** The number of subjects that had to go for others. */
  evictions = 0;

  /** Takes the bound, `maxSubjects`, which may be changed later; a lower one takes effect as new subjects come. */
  constructor(public maxSubjects: number = 1_000_000) {}

  get size(): number {
    return this.count;
  }

  /** Gives the entry of a subject, or `undefined` when it was never seen or is forgotten. Does not count as use. */
  find(policy: Policy, subject: string): Entry | undefined {
    return this.tables.get(policy.id)?.get(subject) ?? this.revive(policy, subject);
  }

  /** Gives the entry of a subject, and makes it when there is none; it is then the most recently used. */
  open(policy: Policy, subject: string, terms: Terms, now: number): Entry {
    const found = this.find(policy, subject);
    if (found !== undefined) {
      this.touch(found);
      return found;
    }
    return this.add(policy, subject, policy.counting.open(policy, now, terms));
  }

  markDirty(entry: Entry): void {
    if (!entry.policy.durable || entry.isDirty) return;
    entry.isDirty = true;
    this.dirty.push(entry);
  }

  /** Gives the number of durable entries that wait to be written. */
  get waiting(): number {
    return this.dirty.length;
  }

  /** Gives the durable entries that changed since the last call. */
  takeDirty(): Entry[] {
    // Those that were forgotten meanwhile are not.
    const dirty = this.dirty.filter((entry) => entry.isDirty);
    this.dirty = [];
    for (const entry of dirty) entry.isDirty = false;
    return dirty;
  }

  /** Drops the evicted entries that waited to be saved: all that `takeDirty` gave is saved now. */
  wasSaved(): void {
    this.unsaved.clear();
    this.unsavedCount = 0;
  }

  /** Learns that not all that is saved was restored: the rest is read when its subject comes. */
  expectMore(): void {
    this.hasForgotten = true;
  }

  /** Keeps a state from before a restart until its subject comes again. */
  restore(policyId: string, subject: string, state: State): void {
    let states = this.saved.get(policyId);
    if (states === undefined) {
      states = new Map();
      this.saved.set(policyId, states);
    }
    states.set(subject, state);
  }

  /** Sets a subject's count back to that of a new one. Exchanges in flight stay. */
  reset(policy: Policy, subject: string, terms: Terms, now: number): void {
    // What is saved outlives what memory had no room for.
    const entry = policy.durable ? this.open(policy, subject, terms, now) : this.find(policy, subject);
    if (entry === undefined || policy.counting.holds) return;
    Object.assign(entry.state, policy.counting.open(policy, now, terms));
    this.markDirty(entry);
  }

  /** Lists all entries but those in flight. */
  all(): Entry[] {
    const entries: Entry[] = [];
    for (let entry = this.oldest; entry !== null; entry = entry.newer) if (!isHeld(entry)) entries.push(entry);
    return entries;
  }

  /** Forgets an entry, since its count is kept elsewhere. */
  forget(entry: Entry): void {
    entry.isDirty = false;
    this.saved.get(entry.policy.id)?.delete(entry.subject);
    this.remove(entry);
  }

  /** Drops entries that are idle whatever the system's status is, a bounded number at a time, going on where the last sweep ended. */
  sweep(now: number): void {
    let entry = this.hand ?? this.oldest;
    for (let i = 0; i < SWEEP && entry !== null; i++) {
      const { newer } = entry;
      if (!entry.isDirty && isIdle(entry, now)) this.remove(entry);
      entry = newer;
    }
    this.hand = entry;
  }

  private revive(policy: Policy, subject: string): Entry | undefined {
    if (!policy.durable) return undefined;
    const states = this.saved.get(policy.id);
    const state = states?.get(subject);
    if (states !== undefined && state !== undefined) {
      states.delete(subject);
      return this.add(policy, subject, state);
    }
    if (!this.hasForgotten) return undefined;
    const gone = this.unsaved.get(policy.id);
    const waiting = gone?.get(subject);
    if (gone !== undefined && waiting !== undefined) {
      gone.delete(subject);
      this.unsavedCount--;
      // What waits to be saved is the state: it is one with that of the entry that takes its place.
      const entry = this.add(policy, subject, waiting.state);
      waiting.isDirty = false;
      this.markDirty(entry);
      return entry;
    }
    const saved = this.readBack?.(policy, subject) ?? null;
    return saved === null ? undefined : this.add(policy, subject, saved);
  }

  private add(policy: Policy, subject: string, state: State): Entry {
    if (this.count >= this.maxSubjects) this.evict();
    // After the bound was lowered: two go for each that comes.
    if (this.count >= this.maxSubjects) this.evict();
    let table = this.tables.get(policy.id);
    if (table === undefined) {
      table = new Map();
      this.tables.set(policy.id, table);
    }
    const entry: Entry = { policy, subject, state, newer: null, older: this.newest, isKept: true, isDirty: false };
    table.set(subject, entry);
    if (this.newest !== null) this.newest.newer = entry;
    this.newest = entry;
    this.oldest ??= entry;
    this.count++;
    return entry;
  }

  /** Makes room: removes the least recently used entry that nothing in flight holds. */
  private evict(): void {
    let entry = this.oldest;
    while (entry !== null && isHeld(entry)) entry = entry.newer;
    if (entry === null) return;
    if (entry.policy.durable && this.readBack !== null) this.keepUnsaved(entry);
    this.evictions++;
    this.remove(entry);
  }

  /** Keeps a durable entry that is evicted until it is saved. */
  private keepUnsaved(entry: Entry): void {
    this.hasForgotten = true;
    if (!entry.isDirty) return;
    // Nothing can be saved for long: then what is the oldest anyway is lost, but not memory.
    if (this.unsavedCount >= Math.max(this.maxSubjects, LEAST_UNSAVED)) {
      entry.isDirty = false;
      return;
    }
    let gone = this.unsaved.get(entry.policy.id);
    if (gone === undefined) {
      gone = new Map();
      this.unsaved.set(entry.policy.id, gone);
    }
    gone.set(entry.subject, entry);
    this.unsavedCount++;
  }

  private remove(entry: Entry): void {
    if (!entry.isKept) return;
    entry.isKept = false;
    if (this.hand === entry) this.hand = entry.newer;
    this.unlink(entry);
    const table = this.tables.get(entry.policy.id);
    table?.delete(entry.subject);
    if (table?.size === 0) this.tables.delete(entry.policy.id);
    this.count--;
  }

  private touch(entry: Entry): void {
    if (entry === this.newest) return;
    if (this.hand === entry) this.hand = entry.newer;
    this.unlink(entry);
    entry.newer = null;
    entry.older = this.newest;
    if (this.newest !== null) this.newest.newer = entry;
    this.newest = entry;
    this.oldest ??= entry;
  }

  private unlink(entry: Entry): void {
    if (entry.older === null) this.oldest = entry.newer;
    else entry.older.newer = entry.newer;
    if (entry.newer === null) this.newest = entry.older;
    else entry.newer.older = entry.older;
  }
}

function isIdle({ policy, state }: Entry, now: number): boolean {
  const { counting, normal, reduced } = policy;
  return counting.idleAt(state, policy, normal) <= now && counting.idleAt(state, policy, reduced) <= now;
}

const isHeld = ({ policy, state }: Entry): boolean =>
  policy.counting.holds && policy.counting.idleAt(state, policy, policy.normal) === Number.POSITIVE_INFINITY;
