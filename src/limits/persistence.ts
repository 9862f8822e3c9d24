import type { Clock } from "../values/clock.ts";
import type { State } from "./algorithms/algorithm.ts";
import { ALGORITHMS, type AlgorithmName } from "./algorithms/registry.ts";
import type { Entry, MemoryStore } from "./memory/store.ts";

/** Describes a count that survives a restart. */
export interface SavedCount {
  readonly policy: string;
  readonly subject: string;
  /** JSON; times in it are milliseconds of the wall clock. */
  readonly state: string;
  /** The time from which on it may be forgotten, in milliseconds of the wall clock. */
  readonly expiresAt: number;
}

/** Stores counts. */
export interface CountStore {
  /** Gives the counts that are not over, at most `max` of them. */
  load(max: number): Iterable<SavedCount>;
  /** Gives the saved state of one subject; `null` when there is none. */
  find(policy: string, subject: string): string | null;
  save(changed: readonly SavedCount[]): void;
  remove(policy: string, subject: string): void;
  /**
   * Removes some of the counts that are over; and beyond `max` some that end first, of the policy that has the most. Called once a second,
   * it keeps up.
   */
  prune(max: number): void;
}

/** The most counts that are stored, where memory is not given room for more: about 150 MB. */
export const MAX_STORED = 1_000_000;

/** Carries the counts of long windows over a restart. They are written in batches: a crash loses what changed since the last flush. */
export class CountPersistence {
  /** The error of a look-up that failed since the last flush. */
  private fault: unknown = null;

  constructor(private readonly deps: { readonly store: MemoryStore; readonly counts: CountStore; readonly clock: Clock }) {
    deps.store.readBack = ({ id }, subject) => this.readBack(id, subject);
  }

  /** Gives the number of counts that wait to be written. */
  get waiting(): number {
    return this.deps.store.waiting;
  }

  restore(): void {
    const { store, counts } = this.deps;
    const offset = this.offset();
    let restored = 0;
    for (const { policy, subject, state } of counts.load(store.maxSubjects)) {
      store.restore(policy, subject, revived(policy, state, offset));
      restored++;
    }
    if (restored >= store.maxSubjects) store.expectMore();
  }

  /** Removes some of the stored counts that are over or too many; for a timer of a second. */
  prune(): void {
    this.deps.counts.prune(Math.max(this.deps.store.maxSubjects, MAX_STORED));
  }

  private readBack(policy: string, subject: string): object | null {
    try {
      const state = this.deps.counts.find(policy, subject);
      return state === null ? null : revived(policy, state, this.offset());
    } catch (error) {
      // The request goes on as a newcomer's; the next flush tells.
      this.fault = error;
      return null;
    }
  }

  flush(): void {
    const offset = this.offset();
    const dirty = this.deps.store.takeDirty();
    const changed = dirty.map(({ policy, subject, state }) => {
      const { counting } = policy;
      const stored = counting.stored(state);
      const expiresAt = Math.ceil(counting.idleAt(state, policy, policy.normal) - (counting.time === "monotonic" ? offset : 0));
      counting.shift(stored, -offset);
      return { policy: policy.id, subject, state: JSON.stringify(stored), expiresAt };
    });
    const { fault } = this;
    this.fault = null;
    try {
      if (changed.length > 0) this.deps.counts.save(changed);
      this.deps.store.wasSaved();
    } catch (error) {
      // They are tried again with the next flush.
      for (const entry of dirty) this.deps.store.markDirty(entry);
      throw error;
    }
    if (fault !== null) throw fault;
  }

  /** Removes the stored counts of these entries, which are counted elsewhere now. */
  forget(entries: readonly Entry[]): void {
    for (const { policy, subject } of entries) this.deps.counts.remove(policy.id, subject);
  }

  /** Gives the whole milliseconds by which the monotonic clock is ahead of the wall clock. */
  private offset(): number {
    return Math.round(this.deps.clock.now() - this.deps.clock.wall());
  }
}

/** Gives the algorithm of a policy's id (see `compilePolicies`). */
export function algorithmOf(policyId: string): (typeof ALGORITHMS)[AlgorithmName] {
  const [, , , algorithm] = JSON.parse(policyId) as [string, string, string, AlgorithmName];
  return ALGORITHMS[algorithm];
}

/** Makes a state of its stored form, with its times moved by this many milliseconds. */
export function revived(policyId: string, text: string, by: number): State {
  const algorithm = algorithmOf(policyId);
  const stored = JSON.parse(text) as object;
  algorithm.shift(stored, by);
  return algorithm.revived(stored);
}
