import type { Clock } from "../../values/clock.ts";
import { parseDuration } from "../../values/units.ts";
import type { Column } from "../activity.ts";
import { BigQueryClient } from "../bigquery/client.ts";
import { type Field, jsonOf, OWN_FIELDS, whyNoColumn } from "../bigquery/columns.ts";
import { type Entry, inParallel } from "../bigquery/entry.ts";
import { MIN_EVERY } from "../bigquery/limits.ts";
import { Load } from "../bigquery/load.ts";
import { Stream } from "../bigquery/stream.ts";
import { type KnownColumn, type KnownTable, Tables } from "../bigquery/tables.ts";
import { GoogleToken } from "../bigquery/token.ts";
import { type ColumnType, fit, type SqlValue, typeText, Unfit } from "../column-type.ts";
import type { BigQuerySinkConfig } from "../destinations.ts";
import { type Delivery, type Outcome, type Refusal, type Run, type Sink, SinkAway } from "./sink.ts";

/** The activities that are loaded together at most: some 20 MB of rows of usual size. */
const MAX_LOADED = 50_000;
/** The requests and jobs that are under way at a time. */
const WIDTH = 4;
/** The activities that are streamed together: as many as those requests hold. A request takes a tenth of a second and more. */
const MAX_STREAMED = 2000;
const LOG = "activity_log";
const LOG_FIELDS: readonly Field[] = [
  { name: "id", type: "STRING" },
  { name: "payload", type: "STRING" },
  { name: "created_at", type: "TIMESTAMP" },
  { name: "is_error", type: "BOOLEAN" },
  { name: "error_message", type: "STRING" },
  { name: "state", type: "STRING" },
];

export interface BigQuerySinkDeps {
  readonly config: BigQuerySinkConfig;
  /** The queue's `rank`. */
  readonly rank: 0 | 1 | 2;
  readonly keepsLog: boolean;
  readonly clock: Clock;
  /** Tells people what does not keep rows from being written: a view that can't be made. */
  readonly onTrouble: (message: string) => void;
  /** Waits for milliseconds, or until the sink is closed. Tests let time fly. */
  readonly sleep?: (milliseconds: number) => Promise<void>;
  /** The host of Google's metadata server; otherwise GCE_METADATA_HOST, as Google's own libraries have it. */
  readonly metadataHost?: string;
}

/** Holds the rows for one table. */
interface Batch {
  readonly table: KnownTable;
  readonly entries: Entry[];
}

/** Describes a table for a delivery. */
interface Prepared {
  /** As it is when inserts have what they need; `null`: there is none. */
  readonly table: KnownTable | null;
  /** The reason why columns could not be made, or why there is no table. */
  readonly fault: string | null;
  /** The columns before the run that is looked at: those that were there, and those of the inserts before. `null`: there was no table. */
  before: Set<string> | null;
}

interface LogRow {
  readonly id: string;
  readonly payload: string;
  readonly at: number;
  readonly error: string | null;
  readonly state: string;
  readonly position: number;
}

/**
 * Writes activities to BigQuery. Nothing is changed there, since streamed rows can't be for a while: each activity is a row with what it does
 * (`_op`), its place (`_seq`) and its id (`_id`), and the view TABLE_current tells the last state. Activities may be there several times; the
 * view counts each once.
 */
export class BigQuerySink implements Sink {
  readonly delivery = "atLeastOnce";
  readonly sharesQueue = false;
  readonly ledger = null;
  readonly portion: { readonly max: number; readonly every: number };
  private readonly client: BigQueryClient;
  private readonly tables: Tables;
  private readonly stream: Stream;
  private readonly load: Load;
  private readonly closing = new AbortController();

  constructor(private readonly deps: BigQuerySinkDeps) {
    const { config, clock, onTrouble } = deps;
    const { project, dataset, endpoint, credentials, every } = config;
    this.portion = every === null ? { max: MAX_STREAMED, every: 0 } : { max: MAX_LOADED, every: Math.max(MIN_EVERY, parseDuration(every)) };
    const metadataHost = deps.metadataHost ?? process.env.GCE_METADATA_HOST ?? "metadata.google.internal";
    const token = new GoogleToken({ credentials, metadataHost, clock });
    const pause = async (milliseconds: number): Promise<void> => {
      await (deps.sleep ?? this.sleep)(milliseconds);
      if (this.closing.signal.aborted) throw new SinkAway("the sink is being closed");
    };
    this.client = new BigQueryClient({ project, dataset, endpoint, token, usesJobs: every !== null, pause });
    this.tables = new Tables({ client: this.client, project, dataset, onTrouble });
    this.stream = new Stream({ client: this.client, tables: this.tables, clock, pause });
    this.load = new Load({ client: this.client, tables: this.tables, stream: this.stream, clock, pause });
  }

  async apply(runs: readonly Run[], delivery: Delivery): Promise<readonly Outcome[]> {
    const outcomes: Outcome[] = runs.flatMap(({ rows }) => rows.map(() => null));
    const before = await this.prepare(runs);
    const batches = new Map<string, Batch>();
    let first = 0;
    for (const run of runs) {
      this.addRun(run, first, before, batches, outcomes, delivery.at);
      first += run.rows.length;
    }
    await this.store([...batches.values()], delivery.mayRepeat);
    if (this.deps.keepsLog) await this.log(runs, outcomes, delivery);
    return outcomes;
  }

  /** Forgets nothing: what is to go after a time is the owner's choice, by the expiration of partitions. */
  prune(): boolean {
    return false;
  }

  close(): void {
    this.closing.abort();
    this.client.close();
  }

  private readonly sleep = async (milliseconds: number): Promise<void> => {
    const { signal } = this.closing;
    if (signal.aborted) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, milliseconds);
    const end = (): void => resolve();
    signal.addEventListener("abort", end);
    await promise;
    signal.removeEventListener("abort", end);
    clearTimeout(timer);
  };

  /** Makes the tables and columns that inserts need. */
  private async prepare(runs: readonly Run[]): Promise<ReadonlyMap<string, Prepared>> {
    const prepared = new Map<string, Prepared>();
    const tasks = [...Map.groupBy(runs, ({ table }) => table.toLowerCase())].map(([key, group]) => async () => {
      prepared.set(key, await this.prepareTable(group));
    });
    await inParallel(tasks, WIDTH);
    return prepared;
  }

  private async prepareTable(runs: readonly Run[]): Promise<Prepared> {
    const { table: name } = runs[0] as Run;
    const found = await this.tables.find(
      name,
      runs.flatMap(({ columns }) => columns.map((column) => column.name)),
    );
    if (typeof found === "string") return { table: null, fault: found, before: null };
    const before = found === null ? null : new Set(found.columns.keys());
    const wanted = new Map<string, Column>();
    for (const run of runs)
      if (run.operation === "insert" && columnFault(run) === null)
        for (const column of run.columns) if (!wanted.has(column.name.toLowerCase())) wanted.set(column.name.toLowerCase(), column);
    if (found === null && wanted.size === 0) return { table: null, fault: null, before };
    // Deletes are rows too, which need Sluice's own columns.
    const table = await this.tables.ensure(name, [...wanted.values()]);
    return typeof table === "string" ? { table: found, fault: table, before } : { table, fault: null, before };
  }

  private addRun(
    run: Run,
    first: number,
    prepared: ReadonlyMap<string, Prepared>,
    batches: Map<string, Batch>,
    outcomes: Outcome[],
    at: number,
  ): void {
    const key = run.table.toLowerCase();
    const state = prepared.get(key) as Prepared;
    const { table } = state;
    const fault = columnFault(run) ?? whyNot(run, state);
    if (fault !== null || table === null) {
      for (let i = 0; i < run.rows.length; i++) outcomes[first + i] = fault ?? `there is no table ${run.table}`;
      return;
    }
    if (run.operation === "insert") {
      state.before ??= new Set();
      for (const { name } of run.columns) state.before.add(name.toLowerCase());
    }
    let batch = batches.get(key);
    if (batch === undefined) {
      batch = { table, entries: [] };
      batches.set(key, batch);
    }
    const write = this.writer(run, table, at);
    for (const [i, row] of run.rows.entries()) {
      const json = write(row);
      const fail = (why: string): void => {
        outcomes[first + i] = why;
      };
      if (json instanceof Unfit) fail(json.why);
      else batch.entries.push({ id: row.id, position: row.position, json, size: Buffer.byteLength(json), fail });
    }
  }

  /** Gives what writes a run's rows as JSON; what can be said once for all of them is. */
  private writer({ operation, columns, table: name }: Run, table: KnownTable, at: number): (row: Run["rows"][number]) => string | Unfit {
    const known = columns.map((column) => table.columns.get(column.name.toLowerCase()) as KnownColumn);
    const kept = columns.map((column, i) => known[i]?.type ?? column.type);
    const isAsGiven = columns.map((column, i) => typeText(column.type) === typeText(kept[i] as ColumnType));
    const names = known.map((column) => `${JSON.stringify(column.name)}:`);
    const named = columns.map((column) => column.name.toLowerCase()).sort();
    const tail = `"_op":"${operation}","_at":"${new Date(at).toISOString()}"${operation === "insert" ? "" : `,"_cols":"${named.join()}"`}`;
    const rank = BigInt(this.deps.rank) << 59n;
    return ({ id, values, position }) => {
      let json = "{";
      for (let i = 0; i < names.length; i++) {
        let value = values[i] as SqlValue;
        const type = kept[i] as ColumnType;
        if (isAsGiven[i] !== true) {
          const fits = fit(typeof value === "bigint" ? String(value) : value, type);
          if (fits instanceof Unfit)
            return new Unfit(`the column ${columns[i]?.name} of ${name} is ${typeText(type)}: the value ${fits.why}`);
          value = fits;
        }
        json += `${names[i]}${jsonOf(value, type)},`;
      }
      return `${json}${tail},"_seq":"${rank | BigInt(position)}","_id":${JSON.stringify(id)}}`;
    };
  }

  private async store(batches: readonly Batch[], mayRepeat: boolean): Promise<void> {
    const tasks = batches.flatMap(({ table, entries }) =>
      this.deps.config.every === null ? this.stream.requests(table, entries) : this.load.jobs(table, entries, mayRepeat),
    );
    await inParallel(tasks, WIDTH);
  }

  /** Writes refused batches into the log. Throws `SinkAway`. */
  async refuse(refusals: readonly Refusal[]): Promise<void> {
    const rows = refusals.map(({ id, body, at, error }) => ({ id, payload: body, at, error, state: "rejected", position: at }));
    await this.writeLog(rows, true);
  }

  private async log(runs: readonly Run[], outcomes: readonly Outcome[], { at, mayRepeat }: Delivery): Promise<void> {
    const rows = runs.flatMap((run) => run.rows);
    const logged = rows.map(({ id, payload, position }, i): LogRow => {
      const error = outcomes[i];
      const told = typeof error === "string" ? error : null;
      return { id, payload: JSON.stringify(payload), at, error: told, state: told === null ? "applied" : "failed", position };
    });
    await this.writeLog(logged, mayRepeat);
  }

  private async writeLog(rows: readonly LogRow[], mayRepeat: boolean): Promise<void> {
    const table = await this.tables.ensure(LOG, [], "created_at", LOG_FIELDS);
    if (typeof table === "string") throw new SinkAway(`the log can't be kept: ${table}`);
    let faults = 0;
    const entries = rows.map(({ id, payload, at, error, state, position }): Entry => {
      const created_at = new Date(at).toISOString();
      const json = JSON.stringify({ id, payload, created_at, is_error: error !== null, error_message: error, state });
      // A row that failed, and was applied when it was replayed, is there twice.
      return { id: `${id} ${state}`, position, json, size: Buffer.byteLength(json), fail: () => void faults++ };
    });
    await this.store([{ table, entries }], mayRepeat);
    if (faults > 0) this.deps.onTrouble(`${faults} rows are not in ${LOG}: BigQuery does not take them`);
  }
}

/** Tells which column of a run can't be kept, and why; `null`: all can. */
function columnFault({ columns }: Run): string | null {
  for (const { name } of columns) {
    const why = whyNoColumn(name);
    if (why !== null) return why;
  }
  return null;
}

/** Tells what a run needs that is not there: an insert after all were made, a delete at its place. `null`: all is there. */
function whyNot({ operation, table: name, columns }: Run, { table, fault, before }: Prepared): string | null {
  if (operation === "delete") {
    if (before === null) return fault ?? `there is no table ${name}`;
    const missing = columns.find((column) => !before.has(column.name.toLowerCase()));
    if (missing !== undefined) return `the table ${name} has no column ${missing.name}`;
  }
  const needed = [...columns, ...OWN_FIELDS];
  return needed.every((column) => table?.columns.has(column.name.toLowerCase())) ? null : fault;
}
