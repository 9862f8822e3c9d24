import { isUnwritable } from "../storage/faults.ts";
import type { Clock } from "../values/clock.ts";
import { NOTHING, type Sums, since, sumOf } from "./sums.ts";
import { type By, beginOf, type HistoryTable, KINDS, type Point, STEPS, type Step } from "./table.ts";
import type { HistoryWriter } from "./writer.ts";

/** The most rows that one question reads: some milliseconds, and an answer that a chart can show. */
export const MAX_POINTS = 5000;
/** The longest time that is told by the minute where nobody says how: beyond it a chart has more minutes than pixels. */
const MINUTES_UP_TO = 6 * 3_600_000;

/** Asks for history. Times in milliseconds since 1970; the first is included, the second is not. */
export interface HistoryQuestion {
  readonly from: number;
  readonly to: number;
  readonly step: Step | "auto";
  /** What is told apart; `null`: nothing. */
  readonly by: By | null;
  /** The one that is asked for; `null`: the busiest. */
  readonly name: string | null;
  /** The most that are told apart. */
  readonly limit: number;
}

/** Is the history of one route, consumer or code, or of all others. */
export interface HistorySeries {
  /** `null`: all others together. */
  readonly name: string | null;
  readonly total: Sums;
  readonly items: readonly Point[];
}

export interface HistoryAnswer {
  readonly step: Step;
  readonly from: number;
  readonly to: number;
  /** All together, or the one that was asked for. */
  readonly whole: HistorySeries;
  /** The busiest, and all others together. */
  readonly series: readonly HistorySeries[];
}

/** Says that a question asks for more than one answer holds. */
export class TooMuch extends Error {
  constructor(readonly points: number) {
    super(`asks for ${points} numbers of steps`);
  }
}

export interface HistoryDeps {
  readonly table: HistoryTable;
  readonly writer: HistoryWriter;
  readonly clock: Clock;
  /** Has what consumers have used up to now be known to the writer. */
  readonly flushUsage: () => void;
}

/** Answers questions about what became of requests. */
export class History {
  constructor(private readonly deps: HistoryDeps) {}

  /** Answers a question, with all that has happened up to now. Throws `TooMuch`. */
  answer({ from: wanted, to: until, step: how, by, name, limit }: HistoryQuestion): HistoryAnswer {
    const { table, clock } = this.deps;
    const step = how === "auto" ? this.stepFor(wanted, until) : how;
    const { length, keptFor } = STEPS[step];
    // Nothing older is there, and nothing of what is to come.
    const first = Math.max(beginOf(wanted, step), beginOf(clock.wall() - keptFor, step));
    const to = Math.max(first, Math.min(endOf(until, step), endOf(clock.wall() + 1, step)));
    const count = by === null || name !== null ? 0 : limit;
    const points = ((to - first) / length) * (count + 2);
    if (points > MAX_POINTS) throw new TooMuch(points);
    this.catchUp();
    const all = table.points(step, KINDS.route.all, "", first, to);
    if (by === null) return { step, from: first, to, whole: seriesOf(null, all), series: [] };
    const read = (kind: number, of: string): Point[] => filled(all, table.points(step, kind, of, first, to));
    const kinds = KINDS[by];
    if (name !== null) return { step, from: first, to, whole: seriesOf(name, read(kinds.each, name)), series: [] };
    const whole = seriesOf(null, by === "route" ? all : read(kinds.all, ""));
    const names = table.busiest(kinds.each, first, to, count);
    const series = names.map((each) => seriesOf(each, read(kinds.each, each))).filter(({ total }) => total.requests > 0);
    const others = seriesOf(null, othersOf(whole.items, series));
    return { step, from: first, to, whole, series: others.total.requests > 0 ? [...series, others] : series };
  }

  private stepFor(from: number, to: number): Step {
    return to - from <= MINUTES_UP_TO && from >= this.deps.clock.wall() - STEPS.minute.keptFor ? "minute" : "hour";
  }

  private catchUp(): void {
    try {
      this.deps.flushUsage();
      this.deps.writer.write();
    } catch (error) {
      // History can be read from a disk that is full; the last seconds are then missing.
      if (!isUnwritable(error)) throw error;
    }
  }
}

const endOf = (time: number, step: Step): number => beginOf(time + STEPS[step].length - 1, step);

const seriesOf = (name: string | null, items: readonly Point[]): HistorySeries => ({
  name,
  total: sumOf(items.map(({ sums }) => sums)),
  items,
});

/** Gives an item for each step in which somebody counted, also where nothing of this happened; and none for a gap. */
function filled(all: readonly Point[], points: readonly Point[]): Point[] {
  const byTime = new Map(points.map(({ time, sums }) => [time, sums]));
  return all.map(({ time, covered }) => ({ time, covered, sums: byTime.get(time) ?? NOTHING }));
}

/** Gives what of the whole is in no series. */
function othersOf(whole: readonly Point[], series: readonly HistorySeries[]): Point[] {
  return whole.map((item, i) => ({
    ...item,
    sums: series.reduce((left, { items }) => since(left, items[i]?.sums ?? NOTHING), item.sums),
  }));
}
