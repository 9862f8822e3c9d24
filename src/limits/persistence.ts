import type { Clock } from "../values/clock.ts";
import { ALGORITHMS, type AlgorithmName } from "./algorithms/registry.ts";
import type { Entry, MemoryStore } from "./memory/store.ts";

/** A count that survives a restart. */
export interface SavedCount {
  readonly policy: string;
  readonly subject: string;
  /** JSON; times in it are milliseconds of the wall clock. */
  readonly state: string;
  /** Milliseconds of the wall clock from when on it may be forgotten. */
  readonly expiresAt: number;
}

/** Where counts are kept. */
export interface CountStore {
  /** Those that are not over, `most` of them. */
  load(max: number): Iterable<SavedCount>;
  /** The state of one, as it was saved; `null` when it was not. */
  find(policy: string, subject: string): string | null;
  save(changed: readonly SavedCount[]): void;
  remove(policy: string, subject: string): void;
  /** Removes some of those that are over; and beyond `most` some that end first, of the policy that has the most. Called once a second, it keeps up. */
  prune(max: number): void;
}

/** Counts that are stored at most, where memory is not given room for more: about 150 MB. */
const MAX_STORED = 1_000_000;

/** Carries the counts of long windows over a restart. Written in batches: what changed since the last flush is what a crash loses. */
export class CountPersistence {
  /** A look-up that failed since the last flush. */
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

  /** Removes some of what is over, and of what is too much; for a timer of a second. */
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

  /** These are counted elsewhere now. */
  forget(entries: readonly Entry[]): void {
    for (const { policy, subject } of entries) this.deps.counts.remove(policy.id, subject);
  }

  /** What the monotonic clock is ahead of the wall clock, in whole milliseconds. */
  private offset(): number {
    return Math.round(this.deps.clock.now() - this.deps.clock.wall());
  }
}

/** A policy's id names its algorithm (see `compilePolicies`). */
function shifted(policyId: string, state: object, by: number): object {
  const [, , , algorithm] = JSON.parse(policyId) as [string, string, string, AlgorithmName];
  ALGORITHMS[algorithm].shift(state, by);
  return state;
}
