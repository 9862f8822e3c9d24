import type { Warnings } from "../health/warnings.ts";
import { Chunks } from "../shared/chunks.ts";
import { HEADER } from "../shared/layout.ts";
import type { Ticket } from "../shared/members.ts";
import type { Memory } from "../shared/memory.ts";
import { monotonicAhead } from "../shared/monotonic.ts";
import { joinRegion, openRegion, type Region } from "../shared/region.ts";
import { Table } from "../shared/table.ts";
import type { Logger } from "../telemetry/log.ts";
import { alignClock, type Clock, systemClock } from "../values/clock.ts";
import type { Scope } from "./scope.ts";

/** Holds the table in which a gateway counts, and what of it finds no room in its slots. */
export interface SharedTable {
  readonly table: Table;
  readonly chunks: Chunks;
}

/** Says where a process of several finds the table, and as whom it joins it. */
export interface TablePlace {
  readonly path: string;
  readonly ticket: Ticket;
}

/** Gives the path of the table of a database; `null`: it is in memory, as the database is. */
export const tablePathOf = (databasePath: string): string | null => (databasePath === ":memory:" ? null : `${databasePath}-counts`);

/** Milliseconds between two looks for processes of another gateway on the same table that have died, such as one that is handed over from. */
export const BURY_EVERY = 1000;

interface Opening {
  readonly place: TablePlace | null;
  readonly databasePath: string;
  readonly maxSubjects: number;
  readonly clock: Clock;
  readonly warnings: Warnings;
  readonly log: Logger | null;
}

/** Opens the table as one process of several that its supervisor has let in, or as the only one. What was counted before goes on. */
export function openSharedTable(scope: Scope, { place, databasePath, maxSubjects, clock, warnings, log }: Opening): SharedTable {
  const region = place === null ? openRegion(tablePathOf(databasePath), { maxSubjects }) : joinRegion(place.path, place.ticket);
  scope.defer(() => region.close());
  const ticket = place?.ticket ?? region.becomeWorker();
  if (ticket === null) throw new Error(`there is no place for another process in ${region.path}`);
  scope.defer(() => region.declareDead(ticket));
  if (place === null) scope.every(BURY_EVERY, () => region.buryDead());
  if (clock === systemClock) align(region.memory);
  if (region.why !== null)
    warnings.raise(
      "countsInMemory",
      "The table of counts can't be a file: counts of windows under an hour don't survive a crash, and one process serves. Make room for it on a local disk, and restart.",
      region.why,
    );
  tellAnew(region, log);
  const table = new Table(region.memory, ticket);
  return { table, chunks: new Chunks(region, table) };
}

/** Tells that what was counted before could not be gone on with. */
export function tellAnew({ anew, path }: Region, log: Logger | null): void {
  if (anew !== null) log?.warn({ file: path, why: anew }, "the table of counts was made anew, from what the database has");
}

/** Has this process count time as whoever made the table: what was counted before a restart is still of use then. */
export function align({ f64 }: Memory): void {
  const ahead = monotonicAhead();
  if (ahead === null) return;
  const at = HEADER.origin / 2;
  if (!((f64[at] as number) > 0)) f64[at] = systemClock.now() - performance.now() - ahead;
  alignClock(f64[at] as number, ahead);
}
