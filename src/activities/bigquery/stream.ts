import type { Clock } from "../../values/clock.ts";
import { SinkAway } from "../sinks/sink.ts";
import { type BigQueryClient, type ErrorProto, Refused } from "./client.ts";
import { type Entry, parts } from "./entry.ts";
import type { KnownTable, Tables } from "./tables.ts";

/** What Google advises for one request (https://docs.cloud.google.com/bigquery/quotas#streaming_inserts), and half of what it takes. */
const MAX_ROWS = 500;
const MAX_BYTES = 5_000_000;
/** The pauses while BigQuery learns of a table or a column that was just made, in milliseconds. After them the sink is away for a while. */
const SETTLING = [1000, 2000, 4000, 8000, 15_000, 30_000];
/** The time after which a column that BigQuery says it has, and does not take, is a fault of the row, in milliseconds. */
const MAX_SETTLING = 15 * 60_000;
/** Reasons that may be gone when the row is sent again. */
const PASSING = /^(stopped|timeout|backendError|internalError|rateLimitExceeded|quotaExceeded)$/;

export interface StreamDeps {
  readonly client: BigQueryClient;
  readonly tables: Tables;
  readonly clock: Clock;
  readonly pause: (milliseconds: number) => Promise<void>;
}

/** Streams rows into tables (tabledata.insertAll). Rows are stored when it is done. */
export class Stream {
  /** Since when a column that is there is not taken, by the names of table and column. */
  private readonly unsettled = new Map<string, number>();

  constructor(private readonly deps: StreamDeps) {}

  /** Gives the requests that store these rows; they can be sent in any order. */
  requests(table: KnownTable, entries: readonly Entry[]): (() => Promise<void>)[] {
    const fit: Entry[] = [];
    for (const entry of entries) {
      if (entry.size > MAX_BYTES) entry.fail(`the row has ${entry.size} bytes, BigQuery takes ${MAX_BYTES}`);
      else fit.push(entry);
    }
    return parts(fit, MAX_ROWS, MAX_BYTES).map((part) => () => this.send(table, part));
  }

  private async send(table: KnownTable, rows: readonly Entry[]): Promise<void> {
    let left = rows;
    const awaited = new Set<string>();
    for (let pauses = 0; left.length > 0; ) {
      let trouble: string;
      try {
        const errors = await this.deps.client.insertAll(table.name, bodyOf(left));
        if (errors.size === 0) break;
        const again = await this.sort(table, left, errors, awaited);
        left = again.rows;
        // Without trouble they were stopped for the sake of those that failed.
        if (again.trouble === null) continue;
        trouble = again.trouble;
      } catch (error) {
        if (!(error instanceof Refused)) throw error;
        if (error.status === 404) trouble = await this.missing(table);
        else if (left.length > 1) return await this.halve(table, left);
        else return left[0]?.fail(`BigQuery does not take the row: ${error.message}`);
      }
      const pause = SETTLING[pauses++];
      if (pause === undefined) throw new SinkAway(trouble);
      await this.deps.pause(pause);
    }
    for (const column of awaited) this.unsettled.delete(column);
  }

  /** Sends a request that was refused as a whole in two: it is too large, or one row is to blame. */
  private async halve(table: KnownTable, rows: readonly Entry[]): Promise<void> {
    const middle = Math.ceil(rows.length / 2);
    await this.send(table, rows.slice(0, middle));
    await this.send(table, rows.slice(middle));
  }

  /** Fails rows that will never be taken. Gives those that are to be sent again, and what keeps them from being taken now. */
  private async sort(
    table: KnownTable,
    rows: readonly Entry[],
    errors: ReadonlyMap<number, readonly ErrorProto[]>,
    awaited: Set<string>,
  ): Promise<{ readonly rows: readonly Entry[]; readonly trouble: string | null }> {
    const again: Entry[] = [];
    let trouble: string | null = null;
    const young = await this.young(table, errors);
    for (const [i, entry] of rows.entries()) {
      const list = errors.get(i) ?? [];
      const wrong = list.find(({ reason = "" }) => reason !== "stopped");
      if (wrong === undefined) again.push(entry);
      else if (PASSING.test(wrong.reason ?? "")) {
        again.push(entry);
        trouble = `BigQuery does not take rows of ${table.name} for now: ${wrong.message || wrong.reason}`;
      } else if (young.has(fieldIn(wrong) ?? "")) {
        again.push(entry);
        awaited.add(`${table.name}.${fieldIn(wrong)}`);
        trouble = `BigQuery does not know the column ${fieldIn(wrong)} of ${table.name} everywhere yet`;
      } else entry.fail(`BigQuery does not take the row: ${wrong.message || wrong.reason}`);
    }
    if (again.length === rows.length) trouble ??= `BigQuery does not take rows of ${table.name}, and does not say why`;
    return { rows: again, trouble };
  }

  /** Gives the columns that are said not to be there, and were made a short while ago. Throws when one is gone. */
  private async young(table: KnownTable, errors: ReadonlyMap<number, readonly ErrorProto[]>): Promise<ReadonlySet<string>> {
    const young = new Set([...errors.values()].flat().map((error) => fieldIn(error) ?? ""));
    young.delete("");
    const now = this.deps.clock.now();
    for (const name of young) {
      const key = `${table.name}.${name}`;
      const since = this.unsettled.get(key);
      if (since === undefined) {
        await this.check(table, name);
        this.unsettled.set(key, now);
      } else if (now - since >= MAX_SETTLING) {
        young.delete(name);
        this.unsettled.delete(key);
      }
    }
    return young;
  }

  /** Throws when a column has been dropped since it was seen last. */
  private async check(table: KnownTable, column: string): Promise<void> {
    this.deps.tables.forget(table.name);
    const now = await this.deps.tables.find(table.name, []);
    const isThere = now !== null && typeof now !== "string" && now.columns.has(column.toLowerCase());
    if (!isThere) throw new SinkAway(`${column} was dropped while rows for it were on their way: it is made again`);
  }

  /** Gives what is the matter with a table that was there, and is said not to be. */
  private async missing(table: KnownTable): Promise<string> {
    this.deps.tables.forget(table.name);
    const now = await this.deps.tables.find(table.name, []);
    if (now === null) throw new SinkAway(`the table ${table.name} was dropped while rows for it were on their way: it is made again`);
    return `BigQuery does not know the table ${table.name} everywhere yet`;
  }
}

const bodyOf = (rows: readonly Entry[]): string =>
  `{"rows":[${rows.map(({ id, json }) => `{"insertId":${JSON.stringify(id)},"json":${json}}`).join(",")}]}`;

/** Gives the column that is said not to be there; `null` when something else is wrong. */
const fieldIn = ({ message = "" }: ErrorProto): string | null => /no such field:\s*([^\s]+?)\.?$/i.exec(message)?.[1] ?? null;
