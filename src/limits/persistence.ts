import type { Clock } from "../clock.ts";
import { algorithmOf, type Entry, type MemoryStore } from "./memory-store.ts";

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
  load(): Iterable<SavedCount>;
  save(changed: readonly SavedCount[]): void;
  remove(policy: string, subject: string): void;
}

/** Carries the counts of long windows over a restart. Written in batches: what changed since the last flush is what a crash loses. */
export class CountPersistence {
  constructor(private readonly parts: { readonly store: MemoryStore; readonly counts: CountStore; readonly clock: Clock }) {}

  restore(): void {
    const offset = this.offset();
    for (const { policy, subject, state } of this.parts.counts.load()) {
      const parsed = JSON.parse(state) as object;
      this.parts.store.restore(policy, subject, shifted(policy, parsed, offset));
    }
  }

  flush(): void {
    const offset = this.offset();
    const dirty = this.parts.store.takeDirty();
    const changed = dirty.map(({ policy, subject, state }) => {
      const copy = structuredClone(state);
      algorithmOf(policy).shift(copy, -offset);
      return {
        policy: policy.id,
        subject,
        state: JSON.stringify(copy),
        expiresAt: Math.ceil(algorithmOf(policy).idleAt(copy, policy, policy.normal)),
      };
    });
    if (changed.length === 0) return;
    try {
      this.parts.counts.save(changed);
    } catch (error) {
      // They are tried again with the next flush.
      for (const entry of dirty) this.parts.store.markDirty(entry);
      throw error;
    }
  }

  /** These are counted elsewhere now. */
  forget(entries: readonly Entry[]): void {
    for (const { policy, subject } of entries) this.parts.counts.remove(policy.id, subject);
  }

  /** What the monotonic clock is ahead of the wall clock, in whole milliseconds. */
  private offset(): number {
    return Math.round(this.parts.clock.now() - this.parts.clock.wall());
  }
}

/** A policy's id names its algorithm (see `compilePolicies`). */
function shifted(policyId: string, state: object, by: number): object {
  const [, , , algorithm] = JSON.parse(policyId) as [string, string, string, "fixed-window"];
  algorithmOf({ algorithm } as Parameters<typeof algorithmOf>[0]).shift(state, by);
  return state;
}
