import type { Storage } from "../storage/open.ts";
import { HISTORY_BUCKETS } from "../storage/schema.ts";
import type { Sums } from "./sums.ts";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** The steps of history: milliseconds of each, how long its rows are kept, and its number in the table. */
export const STEPS = {
  minute: { number: 0, length: MINUTE, keptFor: DAY, text: "1m" },
  hour: { number: 1, length: HOUR, keptFor: 90 * DAY, text: "1h" },
} as const;
export type Step = keyof typeof STEPS;

/** What is told apart, and the numbers of its rows in the table: those of each, and those of all together. */
export const KINDS = {
  route: { each: 1, all: 0 },
  consumer: { each: 3, all: 2 },
  refusal: { each: 4, all: 5 },
} as const;
export type By = keyof typeof KINDS;
/** The dimensions that history can be told apart by. */
export const DIMENSIONS = Object.keys(KINDS) as By[];

/** The most routes and consumers of a minute or an hour that have rows of their own: the busiest. */
export const MAX_ROUTES = 1000;
export const MAX_CONSUMERS = 200;
/** The most consumers of an hour that goes on: who is seldom among the busiest of a write may be among those of the hour. */
const MAX_CONSUMERS_MEANWHILE = 1000;

/** The hours at the end of a time by which the busiest are found. */
const RANKED_BY = 48;

/** Describes a row: one route, consumer or code of refusals in one minute and its hour. */
export interface Row {
  readonly kind: number;
  readonly name: string;
  readonly sums: Sums;
}

/** Is what was counted within one step. */
export interface Point {
  /** Milliseconds since 1970 at which the step begins. */
  readonly time: number;
  /** Milliseconds of it in which somebody counted. */
  readonly covered: number;
  readonly sums: Sums;
}

const BUCKETS = Array.from({ length: HISTORY_BUCKETS }, (_, i) => `latency_${i}`);
const COUNTS = ["requests", "client_errors", "errors", "limited", ...BUCKETS];

/** Gives the time at which the step begins that holds a time. */
export const beginOf = (time: number, step: Step): number =>
  time - (((time % STEPS[step].length) + STEPS[step].length) % STEPS[step].length);

/** Keeps history in the database: rows that are added to as long as their minute and their hour go on. */
export class HistoryTable {
  constructor(private readonly storage: Storage) {}

  /**
   * Adds rows to a minute and to its hour, all of them or none. `covered`: milliseconds in which somebody counted. `beside`: is done in the
   * same transaction. Throws `SQLiteError` when the database can't be written.
   */
  add(time: number, covered: number, rows: readonly Row[], beside: () => void = () => {}): void {
    const columns = ["step", "time", "kind", "name", "covered", ...COUNTS];
    const add = this.storage.client.query(
      `INSERT INTO history (${columns.join(", ")}) VALUES (${columns.map(() => "?").join(", ")}) ON CONFLICT DO UPDATE SET ${["covered", ...COUNTS].map((column) => `${column} = ${column} + excluded.${column}`).join(", ")}`,
    );
    this.storage.client
      .transaction(() => {
        for (const step of ["minute", "hour"] as const) {
          const begin = beginOf(time, step);
          for (const { kind, name, sums } of rows) {
            const { requests, clientErrors, errors, limited, latency } = sums;
            const during = kind === KINDS.route.all ? Math.round(covered) : 0;
            const buckets = BUCKETS.map((_, i) => latency[i] ?? 0);
            add.run(STEPS[step].number, begin, kind, name, during, requests, clientErrors, errors, limited, ...buckets);
          }
        }
        beside();
      })
      .immediate();
  }

  /** Gives the points of one name, the oldest first; those of a step in which nothing was counted of it are missing, and a step in which nobody counted has none of all routes together. `covered` is told of the latter alone. `from` begins a step. */
  points(step: Step, kind: number, name: string, from: number, to: number): Point[] {
    const rows = this.storage.client
      .query<unknown, (number | string)[]>(
        // A look for each step, since rows lie in the order of time: thousands of other names may stand between two of them.
        `WITH RECURSIVE steps(at) AS (SELECT ?1 WHERE ?1 < ?2 UNION ALL SELECT at + ?3 FROM steps WHERE at + ?3 < ?2) SELECT time, covered, ${COUNTS.join(", ")} FROM steps CROSS JOIN history ON step = ?4 AND time = at AND kind = ?5 AND name = ?6`,
      )
      .values(from, to, STEPS[step].length, STEPS[step].number, kind, name) as number[][];
    return rows.map(([time = 0, covered = 0, requests = 0, clientErrors = 0, errors = 0, limited = 0, ...latency]) => ({
      ...{ time, covered },
      sums: { requests, clientErrors, errors, limited, latency },
    }));
  }

  /** Lists the names with most requests, the busiest first: of the hours that end the time, of which there are 48 at most. */
  busiest(kind: number, from: number, to: number, count: number): string[] {
    const hours = beginOf(Math.max(from, to - RANKED_BY * HOUR), "hour");
    return this.storage.client
      .query<{ name: string }, number[]>(
        "SELECT name FROM history WHERE step = 1 AND time >= ?1 AND time < ?2 AND kind = ?3 GROUP BY name ORDER BY sum(requests) DESC, name LIMIT ?4",
      )
      .all(hours, to, kind, count)
      .map(({ name }) => name);
  }

  /** Keeps rows of their own for the busiest of a step alone. `isOver`: nothing is added to it any more. */
  trim(step: Step, time: number, isOver: boolean): void {
    const bounds = [
      [KINDS.route.each, MAX_ROUTES],
      [KINDS.consumer.each, isOver ? MAX_CONSUMERS : MAX_CONSUMERS_MEANWHILE],
    ] as const;
    const of = [STEPS[step].number, beginOf(time, step)] as const;
    for (const [kind, max] of bounds)
      this.storage.client
        .query(
          "DELETE FROM history WHERE step = ?1 AND time = ?2 AND kind = ?3 AND name IN (SELECT name FROM history WHERE step = ?1 AND time = ?2 AND kind = ?3 ORDER BY requests DESC, name LIMIT -1 OFFSET ?4)",
        )
        .run(...of, kind, max);
  }

  /** Gives the time at which the last step with rows begins; `null` when there is none. */
  last(step: Step): number | null {
    return (
      this.storage.client
        .query<{ time: number | null }, [number]>("SELECT max(time) AS time FROM history WHERE step = ?1")
        .get(STEPS[step].number)?.time ?? null
    );
  }

  /** Drops the rows that are kept no longer. `now` in milliseconds since 1970. */
  prune(now: number): void {
    for (const { number, keptFor } of Object.values(STEPS))
      this.storage.client.query("DELETE FROM history WHERE step = ?1 AND time < ?2").run(number, now - keptFor);
  }

  /** Gives what a start of the gateway had counted when it was last added to rows, and when that was; `null` where nothing is known. */
  marks(): { readonly run: string; readonly at: number; readonly sums: string }[] {
    return this.storage.client.query<{ run: string; at: number; sums: string }, []>("SELECT run, at, sums FROM history_marks").all();
  }

  mark(run: string, at: number, sums: string): void {
    this.storage.client
      .query("INSERT INTO history_marks (run, at, sums) VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET at = ?2, sums = ?3")
      .run(run, at, sums);
  }

  unmark(run: string): void {
    this.storage.client.query("DELETE FROM history_marks WHERE run = ?1").run(run);
  }
}
