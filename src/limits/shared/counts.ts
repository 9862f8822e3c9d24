import type { Bus } from "../../shared/bus.ts";
import { type HashKey, hash, hashed } from "../../shared/hash.ts";
import { EXPIRES, LOG, NEVER, PLAIN, SLOT_WORDS, SLOTS, STATE, secondsOf, WORD } from "../../shared/layout.ts";
import { LOCKED, type Table } from "../../shared/table.ts";
import type { Clock } from "../../values/clock.ts";
import type { State } from "../algorithms/algorithm.ts";
import { algorithmOf, type CountStore, MAX_STORED, revived, type SavedCount } from "../persistence.ts";
import type { Policy } from "../policy.ts";
import type { DurableCounts } from "./limiter.ts";
import type { Logs } from "./logs.ts";

export interface SharedCountsDeps {
  readonly table: Table;
  readonly logs: Logs;
  readonly counts: CountStore;
  readonly clock: Clock;
  readonly bus: Bus;
  /** The subjects for which the table was made. */
  readonly maxSubjects: number;
}

/** The subjects of one policy's id whose counts have changed. */
type Names = readonly [policy: string, subjects: readonly string[]];

/** What workers ask the keeper: to write the counts of these. */
const SAVE = "limits.save";
/** The most subjects that one question names, and the milliseconds for which its answer is waited for. */
const MAX_NAMED = 5000;
const ANSWER_WITHIN = 5000;
/** How often a state is read again that changes while it is read. */
const ATTEMPTS = 16;
/** The time for which a count is stored whose end isn't known, in milliseconds: longer than the longest window. */
const LONGEST = 800 * 86_400_000;

/**
 * Carries the counts of long windows over the end of the table: a power loss, another layout. The process that counted remembers the names
 * of what it changed; the keeper writes what the table says of them. Until then the table keeps them before others.
 */
export class SharedCounts implements DurableCounts {
  private names = new Map<string, Set<string>>();
  private readonly keys = new Map<string, HashKey>();
  private readonly states = new Map<string, State>();
  /** True once the table is known to have all that is stored, unless something was evicted since. */
  private isComplete = false;
  private asking: Promise<void> | null = null;
  /** The error of a look-up that failed since the last flush. */
  private fault: unknown = null;

  constructor(private readonly deps: SharedCountsDeps) {
    if (deps.bus.role === "worker") return;
    deps.bus.answer(SAVE, (names: readonly Names[]) => {
      this.write(names);
      return true;
    });
  }

  find(policy: Policy, subject: string): State | null {
    if (this.hasAll()) return null;
    try {
      const text = this.deps.counts.find(policy.id, subject);
      return text === null ? null : revived(policy.id, text, this.offset());
    } catch (error) {
      // The request goes on as a newcomer's; the next flush tells.
      this.fault = error;
      return null;
    }
  }

  changed({ id }: Policy, subject: string): void {
    const subjects = this.names.get(id);
    if (subjects === undefined) this.names.set(id, new Set([subject]));
    // While nothing can be written, no more are remembered than have room in the table: its slots say themselves that they are not written.
    else if (subjects.size < this.deps.maxSubjects) subjects.add(subject);
  }

  /** Gives the number of counts that wait to be written. */
  get waiting(): number {
    let sum = 0;
    for (const subjects of this.names.values()) sum += subjects.size;
    return sum;
  }

  /**
   * Puts what is stored into a table that was made anew. What a table has that is still there is newer; what it has lost since is looked up when it is
   * asked for, and does not drive out what counts now. Not for workers.
   */
  restore(): void {
    const { table, counts, maxSubjects } = this.deps;
    if (this.mark() > 0) return;
    const offset = this.offset();
    let restored = 0;
    let isAll = true;
    for (const count of counts.load(maxSubjects)) {
      restored++;
      const state = revived(count.policy, count.state, offset);
      if (!this.put(this.keyOf(count.policy), count.subject, count.policy, state, count.expiresAt + offset)) isAll = false;
    }
    this.step(this.keyOf(MARK), "", PLAIN);
    if (table.lock(this.deps.clock.now()) !== LOCKED) return;
    table.f64.fill(isAll && restored < maxSubjects ? ALL : SOME, table.next(0), table.next(0) + 3);
    table.change(0, Number.POSITIVE_INFINITY, true);
    table.commit();
  }

  /** Removes some of the stored counts that are over or too many; for a timer of a second. Not for workers. */
  prune(): void {
    this.deps.counts.prune(Math.max(this.deps.maxSubjects, MAX_STORED));
  }

  /** Writes what has changed, or has the keeper do it. */
  flush(): void {
    const names = this.take();
    const { fault } = this;
    this.fault = null;
    if (this.deps.bus.role === "worker") this.ask(names);
    else
      try {
        this.write(names);
      } catch (error) {
        // They are tried again with the next flush.
        this.putBack(names);
        throw error;
      }
    if (fault !== null) throw fault;
  }

  /** Writes what has changed, and waits until it is written. */
  async close(): Promise<void> {
    await this.asking;
    this.flush();
    await this.asking;
  }

  private take(): Names[] {
    const names: Names[] = [];
    for (const [policy, subjects] of this.names) names.push([policy, [...subjects]]);
    if (names.length > 0) this.names = new Map();
    return names;
  }

  private putBack(names: readonly Names[]): void {
    for (const [policy, subjects] of names) {
      const known = this.names.get(policy);
      if (known === undefined) this.names.set(policy, new Set(subjects));
      else for (const subject of subjects) if (known.size < this.deps.maxSubjects) known.add(subject);
    }
  }

  /** Asks the keeper to write; what it does not say to have written is asked for again. One question at a time. */
  private ask(names: readonly Names[]): void {
    if (names.length === 0) return;
    if (this.asking !== null) {
      this.putBack(names);
      return;
    }
    this.asking = this.askAll(names).finally(() => {
      this.asking = null;
    });
  }

  private async askAll(names: readonly Names[]): Promise<void> {
    for (const [policy, subjects] of names)
      for (let i = 0; i < subjects.length; i += MAX_NAMED) {
        const some: Names = [policy, subjects.slice(i, i + MAX_NAMED)];
        try {
          await this.deps.bus.askKeeper(SAVE, [some], ANSWER_WITHIN);
        } catch {
          // The keeper is being replaced, or can't write, which it tells itself.
          this.putBack([some]);
        }
      }
  }

  private write(names: readonly Names[]): void {
    const { table, counts } = this.deps;
    const rows: SavedCount[] = [];
    const slots: number[] = [];
    const versions: number[] = [];
    for (const [policy, subjects] of names)
      for (const subject of subjects) {
        const row = this.read(policy, subject);
        if (row === null) continue;
        rows.push(row.count);
        slots.push(row.slot);
        versions.push(row.version);
      }
    if (rows.length === 0) return;
    counts.save(rows);
    // What has changed meanwhile was remembered anew by whoever changed it.
    for (const [i, slot] of slots.entries()) table.markSaved(slot, versions[i] as number);
  }

  /** Reads what the table says of a subject; `null`: nothing. */
  private read(policy: string, subject: string): { readonly count: SavedCount; readonly slot: number; readonly version: number } | null {
    const { table, logs } = this.deps;
    const counting = algorithmOf(policy);
    if (counting.holds) return null;
    const state = this.stateOf(policy);
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      this.step(this.keyOf(policy), subject, counting.ringed ? LOG : PLAIN);
      if (!table.peek(0)) return null;
      const slot = table.slotOf(0);
      const version = table.versionOf(0);
      counting.load(table.scratch, 0, state);
      if (counting.ringed && !logs.find(state)) continue;
      const stored = counting.stored(state);
      const expires = (table.i32[SLOTS + slot * SLOT_WORDS + EXPIRES] as number) & NEVER;
      // What was read besides the slot may have changed meanwhile.
      if (!table.isCurrent(0)) continue;
      const offset = this.offset();
      counting.shift(stored, -offset);
      const wall = this.deps.clock.wall();
      const left = (expires - secondsOf(this.deps.clock.now())) * 1000;
      const expiresAt = Math.ceil(wall + (expires === NEVER ? LONGEST : left));
      return { count: { policy, subject, state: JSON.stringify(stored), expiresAt }, slot, version };
    }
    // It changes all the time: it is remembered already by whoever changes it.
    return null;
  }

  /** Puts a state into the table, unless the table has one. False: there is no room for it, or a process stands in the way. */
  private put(key: HashKey, subject: string, policy: string, state: State, expiresAt: number): boolean {
    const { table, logs, clock } = this.deps;
    const counting = algorithmOf(policy);
    if (counting.holds) return true;
    this.step(key, subject, counting.ringed ? LOG : PLAIN);
    if (table.peek(0)) return true;
    if (table.lock(clock.now()) !== LOCKED) return false;
    if (!table.isNew(0)) {
      table.abort();
      return true;
    }
    if (counting.ringed) logs.save(state, 0, clock.now());
    counting.save(state, table.f64, table.next(0));
    table.change(0, expiresAt, false);
    table.commit();
    return true;
  }

  private step(key: HashKey, subject: string, kind: typeof PLAIN | typeof LOG): void {
    this.deps.table.begin();
    this.deps.table.enter(key, subject, kind);
  }

  /** Tells whether the table has all that is stored. */
  private hasAll(): boolean {
    const { table } = this.deps;
    if (table.counts().evictions > 0) return false;
    if (!this.isComplete) this.isComplete = this.mark() === ALL;
    return this.isComplete;
  }

  /** Tells what of what is stored was put into the table, when it was made; not a number above 0 before. */
  private mark(): number {
    const { table } = this.deps;
    // This is asked within a step, which may not be begun anew.
    hash(this.keyOf(MARK), "");
    const slot = table.find(hashed.a || 1, hashed.b);
    if (slot < 0) return 0;
    const half = ((SLOTS + slot * SLOT_WORDS + STATE) >> 1) + ((table.i32[SLOTS + slot * SLOT_WORDS + WORD] as number) & 1) * 3;
    return table.f64[half] as number;
  }

  private keyOf(policy: string): HashKey {
    let key = this.keys.get(policy);
    if (key === undefined) {
      key = this.deps.table.keyOf(policy);
      this.keys.set(policy, key);
    }
    return key;
  }

  private stateOf(policy: string): State {
    let state = this.states.get(policy);
    if (state === undefined) {
      state = {};
      this.states.set(policy, state);
    }
    return state;
  }

  /** Gives the whole milliseconds by which the monotonic clock is ahead of the wall clock. */
  private offset(): number {
    const { clock } = this.deps;
    return Math.round(clock.now() - clock.wall());
  }
}

/** What the slot MARK says: all that is stored was put into the table, or only some of it. */
const ALL = 1;
const SOME = 2;
/** The name of the slot that says how much of what is stored was put into the table: no policy has it. */
const MARK = "limits: all that is stored is here";
