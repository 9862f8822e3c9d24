import type { ConsumerCounts } from "../history/consumer-counts.ts";
import type { History } from "../history/history.ts";
import { openHistory } from "../history/open.ts";
import { type ShadowCount, ShadowCounts } from "../shadow/counts.ts";
import { ShadowTable } from "../shadow/table.ts";
import { isUnwritable } from "../storage/faults.ts";
import type { Usage } from "../usage/usage.ts";
import type { Ground } from "./ground.ts";

/** Milliseconds between two looks whether history is to be written: a minute ends in it so much too late at most. */
const LOOK_EVERY = 1000;
const PRUNE_EVERY = 60_000;
/** Milliseconds between two writes of what limits in shadow have looked at, and between two times that a worker tells the keeper of it: a kill loses so much. */
const WRITE_SHADOW_EVERY = 5000;
const TELL_SHADOW_EVERY = 1000;
const SHADOW = "shadow";

/** Opens history, and has one process write it. `consumers`: what usage notes of what it has written. */
export function keepHistory(
  { storage, clock, metrics, cells, options, scope, once, guarded, bus }: Ground,
  usage: Usage,
  consumers: ConsumerCounts,
): History {
  const run = cells === null ? null : (options.run ?? null);
  const { table, writer, history } = openHistory({ storage, clock, metrics, consumers, run, flushUsage: () => usage.flush() });
  if (bus.role === "worker") return history;
  guarded(() => writer.begin());
  // Usage is flushed before: what stands below is closed first.
  scope.defer(() => guarded(() => writer.write()));
  once(LOOK_EVERY, () => writer.look());
  once(PRUNE_EVERY, () => table.prune(clock.wall()));
  return history;
}

/** Holds what limits in shadow look at: what is counted, what is in the database, and what brings it there. */
export interface Shadow {
  readonly counts: ShadowCounts;
  readonly table: ShadowTable;
  readonly flush: () => void;
}

/** Opens the counts of limits in shadow: workers tell the keeper of theirs, and one process writes them. */
export function keepShadow({ storage, clock, scope, every, once, guarded, bus }: Ground): Shadow {
  const counts = new ShadowCounts();
  const table = new ShadowTable(storage);
  const write = (): void => {
    const all = counts.all();
    if (all.length === 0) return;
    table.add(clock.wall(), all);
    counts.clear();
  };
  const tell = (): void => {
    const all = counts.all();
    if (all.length === 0) return;
    bus.tell(SHADOW, all);
    counts.clear();
  };
  if (bus.role === "worker") {
    every(TELL_SHADOW_EVERY, tell);
    scope.defer(() => guarded(tell));
  } else {
    bus.hear<readonly ShadowCount[]>(SHADOW, (told) => counts.add(told));
    once(WRITE_SHADOW_EVERY, write);
    scope.defer(() => guarded(write));
    once(PRUNE_EVERY, () => table.prune(clock.wall()));
  }
  const flush = (): void => {
    try {
      write();
    } catch (error) {
      // The report can be read from a disk that is full; the last seconds are then missing.
      if (!isUnwritable(error)) throw error;
    }
  };
  return { counts, table, flush };
}
