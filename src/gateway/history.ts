import type { ConsumerCounts } from "../history/consumer-counts.ts";
import type { History } from "../history/history.ts";
import { openHistory } from "../history/open.ts";
import type { Usage } from "../usage/usage.ts";
import type { Ground } from "./ground.ts";

/** Milliseconds between two looks whether history is to be written: a minute ends in it so much too late at most. */
const LOOK_EVERY = 1000;
const PRUNE_EVERY = 60_000;

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
