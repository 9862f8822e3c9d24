import type { Clock } from "../values/clock.ts";
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
const MAX_STORED = 1_000_000;

/** Carries the counts of long windows over a restart. They are written in batches: a crash loses what changed since the last flush. */
export class CountPersistence {
  /** The error of a look-up that failed since the last flush. */
  private fault: unknown = null;

  constructor(private readonly deps: { readonly store: MemoryStore; readonly counts: CountStore; readonly clock: Clock }) {
    deps.store.readBack = ({ id }, subject) => this.readBack(id, subject);
  }

  restore(): void {
    const { store, counts } = this.deps;
    const offset = this.offset();
    let restored = 0;
    for (const { policy, subject, state } of counts.load(store.maxSubjects)) {
      store.restore(policy, subject, shifted(policy, JSON.parse(state) as object, offset));
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
      return state === null ? null : shifted(policy, JSON.parse(state) as object, this.offset());
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
      const copy = structuredClone(state);
      policy.counting.shift(copy, -offset);
      return {
        policy: policy.id,
        subject,
        state: JSON.stringify(copy),
        expiresAt: Math.ceil(policy.counting.idleAt(copy, policy, policy.normal)),
      };
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

/** Moves the times of a stored state by this many milliseconds. A policy's id names its algorithm (see `compilePolicies`). */
function shifted(policyId: string, state: object, by: number): object {
  const [, , , algorithm] = JSON.parse(policyId) as [string, string, string, AlgorithmName];
  ALGORITHMS[algorithm].shift(state, by);
  return state;
}
