import type { Clock } from "../values/clock.ts";
import type { ConsumerCounts } from "./consumer-counts.ts";
import { highest, isNothing, NO_TRAFFIC, only, type Sums, sumOf, type Traffic, trafficFrom, trafficSince, trafficText } from "./sums.ts";
import { beginOf, type HistoryTable, KINDS, MAX_CONSUMERS, MAX_ROUTES, type Row } from "./table.ts";

/** Milliseconds between two writes while there are requests: what a killed process may lose. */
const WRITE_EVERY = 10_000;

export interface HistoryWriterDeps {
  readonly table: HistoryTable;
  readonly clock: Clock;
  /** Gives what all processes have counted since the start of the gateway. */
  readonly traffic: () => Traffic;
  /** What consumers have used since it was last written. */
  readonly consumers: ConsumerCounts;
  /** Names this start of the gateway where its counts outlive the process; `null`: they begin at 0 with the process. */
  readonly run: string | null;
  /** Gives what another start had counted in all, of which no process lives; `null` where that is not known (any more), `"lives"` while one does. */
  readonly trafficOf: (run: string) => Traffic | null | "lives";
}

/**
 * Writes history: what was counted since the last write belongs to the minute in which that one was. Counts that go on after a kill are told from those that were
 * written by a mark, which is written in the same transaction.
 */
export class HistoryWriter {
  private written: Traffic = NO_TRAFFIC;
  private minute: number;
  private coveredFrom: number;
  private writtenAt: number;

  constructor(private readonly deps: HistoryWriterDeps) {
    const { clock } = deps;
    this.minute = beginOf(clock.wall(), "minute");
    this.coveredFrom = clock.now();
    this.writtenAt = clock.now();
  }

  /** Takes over what starts before have left: what they had counted and not written, and rows that are too many. */
  begin(): void {
    const { table, run, trafficOf } = this.deps;
    const marks = table.marks();
    const own = marks.find((mark) => mark.run === run);
    // First: whatever is wrong with the others, what is written is not written again.
    if (own !== undefined) this.written = trafficFrom(own.sums);
    for (const mark of marks) {
      if (mark === own) continue;
      const left = trafficOf(mark.run);
      if (left === "lives") continue;
      // It was counted soon after the last write.
      const rows = left === null ? [] : rowsOf(trafficSince(left, trafficFrom(mark.sums)));
      table.add(mark.at, 0, rows, () => table.unmark(mark.run));
    }
    for (const step of ["minute", "hour"] as const) {
      const last = table.last(step);
      if (last !== null) table.trim(step, last, last < this.minute);
    }
  }

  /** Writes when it is time to; for a timer of a second or so. */
  look(): void {
    const { clock } = this.deps;
    if (beginOf(clock.wall(), "minute") !== this.minute || clock.now() - this.writtenAt >= WRITE_EVERY) this.write();
  }

  /** Writes what was counted since the last write. Throws `SQLiteError` when the database can't be written; then the next one writes it. */
  write(): void {
    const { table, clock, consumers, run } = this.deps;
    const [now, wall] = [clock.now(), clock.wall()];
    const minute = beginOf(wall, "minute");
    const isOver = minute !== this.minute;
    const traffic = this.deps.traffic();
    const more = trafficSince(traffic, this.written);
    const rows = [...rowsOf(more), ...rowsOfConsumers(consumers)];
    this.writtenAt = now;
    // While nothing happens, a minute is one write.
    if (rows.length === 0 && !isOver) return;
    const next = highest(this.written, traffic);
    const all = rows.some(({ kind }) => kind === KINDS.route.all) ? rows : [...rows, { kind: KINDS.route.all, name: "", sums: only(0) }];
    table.add(this.minute, now - this.coveredFrom, all, () => {
      if (run !== null) table.mark(run, this.minute, trafficText(next));
    });
    consumers.clear();
    this.written = next;
    this.coveredFrom = now;
    if (isOver) this.turn(minute);
  }

  /** Goes on with another minute. */
  private turn(minute: number): void {
    const before = this.minute;
    this.minute = minute;
    this.deps.table.trim("minute", before, true);
    this.deps.table.trim("hour", before, beginOf(before, "hour") !== beginOf(minute, "hour"));
  }
}

/** Makes the rows of what was counted by route and by code: the busiest each with its own, and all together. */
function rowsOf({ routes, refusals }: Traffic): Row[] {
  const all = sumOf([...routes.values()]);
  const busiest = [...routes].sort(([, a], [, b]) => b.requests - a.requests).slice(0, MAX_ROUTES);
  const refused = [...refusals.values()].reduce((sum, count) => sum + count, 0);
  return [
    ...(isNothing(all) ? [] : [{ kind: KINDS.route.all, name: "", sums: all }]),
    ...busiest.map(([name, sums]) => ({ kind: KINDS.route.each, name, sums })),
    ...(refused === 0 ? [] : [{ kind: KINDS.refusal.all, name: "", sums: only(refused) }]),
    ...[...refusals].map(([name, count]) => ({ kind: KINDS.refusal.each, name, sums: only(count) })),
  ];
}

function rowsOfConsumers(consumers: ConsumerCounts): Row[] {
  if (isNothing(consumers.all)) return [];
  const each = (name: string, sums: Sums): Row => ({ kind: KINDS.consumer.each, name, sums });
  return [
    { kind: KINDS.consumer.all, name: "", sums: consumers.all },
    ...consumers.busiest(MAX_CONSUMERS).map(([name, sums]) => each(name, sums)),
  ];
}
