import type { Database, Statement } from "bun:sqlite";
import type { Column } from "../activity.ts";
import { type ColumnType, fit, parseType, type SqlValue, typeText, Unfit } from "../column-type.ts";
import { type Delivery, type Outcome, REPEATED, type Row, type Run, type Sink } from "./sink.ts";
import { SqliteLedger } from "./sqlite-ledger.ts";

/**
 * Gives the words that declare a column. The types that SQLite takes for numbers would be rounded: a decimal is text, by a name that holds
 * "TEXT" (https://www.sqlite.org/datatype3.html §3.1).
 */
const declared = (type: ColumnType): string =>
  type.kind === "DECIMAL" ? `DECIMAL_TEXT(${type.precision},${type.scale})` : type.kind === "FLOAT" ? "DOUBLE" : typeText(type);

const typeOf = (declaration: string): ColumnType => parseType(declaration.replace("DECIMAL_TEXT", "DECIMAL")) ?? { kind: "TEXT" };

/** The rows from which on a table gets an index for deletes, which look rows up by the columns they name. */
const INDEX_FROM = 2000;
const MAX_INDEXES = 4;
const MAX_INDEXED_COLUMNS = 3;
const MAX_STATEMENTS = 500;
/** The most tables that are made: each makes the next one slower to make. */
const MAX_TABLES = 10_000;

interface Table {
  /** Types by names in small letters. */
  readonly columns: Map<string, ColumnType>;
  /** Columns of our own indexes, joined by commas. */
  readonly indexes: Set<string>;
  /** The approximate number of rows. */
  rows: number;
}

interface Ready {
  readonly table: Table;
  readonly statement: Statement;
  /** The types of the table's columns, where values must be converted to them; `null`: they are as they were given. */
  readonly types: readonly (ColumnType | undefined)[] | null;
  readonly change: 1 | -1;
}

/** Says that what an activity names is there, but is no table. */
class NoTable extends Error {
  readonly code = "SQLITE_ERROR";
}

export interface SqliteSinkOptions {
  /** True when the queue is in the same file, and settled on the same connection. */
  readonly sharesQueue: boolean;
  readonly keepsLog: boolean;
}

/**
 * Writes activities to tables of an SQLite database. A missing table is made by the first row for it, a missing column by the first row
 * with it. Takes the database's activities once: where the queue is in the same file by settling both in one transaction, otherwise by their
 * ids.
 */
export class SqliteSink implements Sink {
  readonly delivery = "once";
  readonly sharesQueue: boolean;
  readonly ledger: SqliteLedger | null;
  /** False where the log alone tells what is settled. */
  private readonly usesIds: boolean;
  private readonly log: SqliteLedger;
  private readonly tables = new Map<string, Table | null>();
  private readonly statements = new Map<string, Statement>();
  private schemaVersion = -1;

  constructor(
    private readonly client: Database,
    options: SqliteSinkOptions,
    private readonly onClose: () => void = () => {},
  ) {
    this.sharesQueue = options.sharesQueue;
    this.log = new SqliteLedger(client);
    this.ledger = options.keepsLog ? this.log : null;
    this.usesIds = !options.sharesQueue || !options.keepsLog;
  }

  apply(runs: readonly Run[], delivery: Delivery): Outcome[] {
    const outcomes: Outcome[] = [];
    try {
      this.client
        .transaction(() => {
          this.followSchema();
          for (const run of runs) this.applyRun(run, delivery, outcomes);
          if (this.sharesQueue) delivery.settle(outcomes);
        })
        .immediate();
    } catch (error) {
      // What was made in the transaction is gone again.
      this.forget();
      throw error;
    }
    return outcomes;
  }

  prune({ log, ids }: { readonly log: number | null; readonly ids: number | null }): boolean {
    const rows = log === null ? 0 : (this.ledger?.prune(new Date(log).toISOString()) ?? 0);
    const forgotten =
      ids === null
        ? 0
        : this.client.query("DELETE FROM sluice_ids WHERE id IN (SELECT id FROM sluice_ids WHERE at < ?1 ORDER BY at LIMIT 5000)").run(ids)
            .changes;
    return rows + forgotten > 0;
  }

  close(): void {
    this.onClose();
  }

  /** Gives what became of an activity before; `undefined` when nothing did, or when it is to be tried again. */
  private settledAs({ id, isReplay }: Row, mayRepeat: boolean): Outcome | undefined {
    // With the queue in the same transaction only what is handed out a second time can be.
    if (this.sharesQueue && !mayRepeat && !isReplay) return undefined;
    const known = this.usesIds
      ? this.client.query<{ error: string | null }, [string]>("SELECT error FROM sluice_ids WHERE id = ?1").get(id)
      : null;
    if (known !== null) {
      if (known.error === null) return REPEATED;
      if (isReplay) return undefined;
      // Whoever keeps the dead letters may not have heard of it.
      return this.ledger === null ? known.error : REPEATED;
    }
    // What the queue in this file settled has no other id than the log's.
    const state = this.log.stateOf(id);
    return state === "applied" || (state === "failed" && !isReplay) ? REPEATED : undefined;
  }

  /** Writes down that an activity is settled. */
  private note({ id, payload }: Row, error: string | null, at: number): void {
    if (this.usesIds)
      this.client
        .query("INSERT INTO sluice_ids (id, error, at) VALUES (?1, ?2, ?3) ON CONFLICT (id) DO UPDATE SET error = ?2")
        .run(id, error, at);
    this.ledger?.write(id, JSON.stringify(payload), new Date(at).toISOString(), error);
  }

  /** Forgets what is known of the tables when another process, or a person, may have changed them. */
  private followSchema(): void {
    const version = this.versionNow();
    if (version !== this.schemaVersion) this.forget();
    this.schemaVersion = version;
  }

  private versionNow(): number {
    return (this.client.query("PRAGMA schema_version").get() as { schema_version: number }).schema_version;
  }

  private forget(): void {
    this.tables.clear();
    this.statements.clear();
    this.schemaVersion = -1;
  }

  private applyRun(run: Run, delivery: Delivery, outcomes: Outcome[]): void {
    let ready: Ready | string | null = delivery.giveUp;
    for (const row of run.rows) {
      // The same activity may come twice in one delivery.
      const before = this.settledAs(row, delivery.mayRepeat);
      if (before !== undefined) {
        outcomes.push(before);
        continue;
      }
      ready ??= this.readyFor(run);
      const error = typeof ready === "string" ? ready : this.applyRow(row, run.columns, ready);
      this.note(row, error, delivery.at);
      outcomes.push(error);
    }
    if (run.operation === "delete" && ready !== null && typeof ready !== "string") this.indexFor(run, ready.table);
  }

  /** Applies one row. Gives what is wrong with it, or `null`. */
  private applyRow({ values }: Row, columns: readonly Column[], { table, statement, types, change }: Ready): string | null {
    const fitted = types === null ? values : converted(values, columns, types);
    if (typeof fitted === "string") return fitted;
    // bun:sqlite's types leave out what it takes: whole numbers of 64 bits are bigints.
    const { changes } = statement.run(...(fitted as (string | number | null)[]));
    table.rows += change * changes;
    return null;
  }

  /** Gives the table and the statement for a run's rows, or the reason why there can be none. */
  private readyFor(run: Run): Ready | string {
    try {
      const table = run.operation === "insert" ? this.makeRoom(run) : this.findRoom(run);
      if (typeof table === "string") return table;
      // Values are kept as the table's column says, so that what was inserted is found again by whatever type it is named with.
      const types = run.columns.map(({ name }) => table.columns.get(name.toLowerCase()));
      const isAsGiven = run.columns.every(({ type }, i) => isSame(type, types[i]));
      return { table, statement: this.statementFor(run), types: isAsGiven ? null : types, change: run.operation === "insert" ? 1 : -1 };
    } catch (error) {
      // Too many columns, a name that is something else: that stays so. A full disk or a lock is no fault of the activity.
      if (error instanceof Error && "code" in error && error.code === "SQLITE_ERROR")
        return `the table ${run.table} can't be changed: ${error.message}`;
      throw error;
    }
  }

  private statementFor({ operation, table, columns }: Run): Statement {
    const names = columns.map(({ name }) => `"${name}"`);
    const text =
      operation === "insert"
        ? `INSERT INTO "${table}" (${names.join(", ")}) VALUES (${names.map(() => "?").join(", ")})`
        : `DELETE FROM "${table}" WHERE ${names.map((name) => `${name} IS ?`).join(" AND ")}`;
    let statement = this.statements.get(text);
    if (statement === undefined) {
      if (this.statements.size >= MAX_STATEMENTS) this.statements.clear();
      statement = this.client.prepare(text);
      this.statements.set(text, statement);
    }
    return statement;
  }

  /** Gives the table with all columns of an insert, made where they are missing; or the reason why that can't be. */
  private makeRoom(run: Run): Table | string {
    const table = this.tableOf(run.table);
    if (table === null) {
      const { tables } = this.client.query("SELECT count(*) AS tables FROM sqlite_schema WHERE type = 'table'").get() as { tables: number };
      if (tables >= MAX_TABLES) return `there are ${MAX_TABLES} tables already: no more are made`;
      const columns = run.columns.map(({ name, type }) => `"${name}" ${declared(type)}`);
      this.client.run(`CREATE TABLE "${run.table}" (${columns.join(", ")})`);
      this.changed(run.table);
      return this.tableOf(run.table) ?? "the table could not be made";
    }
    const missing = run.columns.filter(({ name }) => !table.columns.has(name.toLowerCase()));
    for (const { name, type } of missing) {
      this.client.run(`ALTER TABLE "${run.table}" ADD COLUMN "${name}" ${declared(type)}`);
      table.columns.set(name.toLowerCase(), type);
    }
    if (missing.length > 0) this.changed(null);
    return table;
  }

  /** Gives the table with all columns of a delete, or what of it is missing. */
  private findRoom(run: Run): Table | string {
    const table = this.tableOf(run.table);
    if (table === null) return `there is no table ${run.table}`;
    const missing = run.columns.find(({ name }) => !table.columns.has(name.toLowerCase()));
    return missing === undefined ? table : `the table ${run.table} has no column ${missing.name}`;
  }

  private indexFor(run: Run, table: Table): void {
    if (table.rows < INDEX_FROM || table.indexes.size >= MAX_INDEXES) return;
    const columns = run.columns.slice(0, MAX_INDEXED_COLUMNS).map(({ name }) => name.toLowerCase());
    const key = columns.join();
    // One whose columns are all named serves, if it has as many: one of fewer columns may find most of the table.
    if (
      [...table.indexes].some(
        (index) => index.split(",").length >= columns.length && index.split(",").every((name) => columns.includes(name)),
      )
    )
      return;
    // A digest: names joined by _ can be joined in several ways.
    const name = `sluice_${new Bun.CryptoHasher("sha1").update(`${run.table.toLowerCase()} ${key}`).digest("hex").slice(0, 20)}`;
    this.client.run(`CREATE INDEX IF NOT EXISTS "${name}" ON "${run.table}" (${columns.map((column) => `"${column}"`).join(", ")})`);
    table.indexes.add(key);
    this.changed(null);
  }

  /** Keeps what is known of tables, apart from `table`, after a change of the schema by ourselves. */
  private changed(table: string | null): void {
    if (table !== null) this.tables.delete(table.toLowerCase());
    this.schemaVersion = this.versionNow();
  }

  private tableOf(name: string): Table | null {
    const key = name.toLowerCase();
    let table = this.tables.get(key);
    if (table === undefined) {
      table = this.read(name);
      this.tables.set(key, table);
    }
    return table;
  }

  private read(name: string): Table | null {
    // Tables alone: SQLite has functions that look like tables, and no row ever stays in them.
    const found = this.client
      .query<{ type: string; sql: string | null }, [string]>(
        "SELECT type, sql FROM sqlite_schema WHERE name = ?1 COLLATE NOCASE AND type IN ('table', 'view')",
      )
      .get(name);
    if (found === null) return null;
    if (found.type !== "table" || /^CREATE VIRTUAL/i.test(found.sql ?? ""))
      throw new NoTable(`${name} is no table that rows can be kept in`);
    const rows = this.client.query<{ name: string; type: string }, [string]>("SELECT name, type FROM pragma_table_info(?1)").all(name);
    const indexes = this.client
      .query<{ columns: string }, [string]>(
        "SELECT group_concat(lower(i.name), ',') AS columns FROM pragma_index_list(?1) AS l, pragma_index_info(l.name) AS i GROUP BY l.name",
      )
      .all(name);
    const { rows: count } = this.client.query(`SELECT max(rowid) AS rows FROM "${name}"`).get() as { rows: number | null };
    return {
      columns: new Map(rows.map((row) => [row.name.toLowerCase(), typeOf(row.type)])),
      indexes: new Set(indexes.map(({ columns }) => columns)),
      rows: count ?? 0,
    };
  }
}

function converted(
  values: readonly SqlValue[],
  columns: readonly Column[],
  types: readonly (ColumnType | undefined)[],
): SqlValue[] | string {
  const result: SqlValue[] = [];
  for (const [i, value] of values.entries()) {
    const type = types[i];
    const { name, type: given } = columns[i] as Column;
    if (type === undefined || isSame(given, type)) {
      result.push(value);
      continue;
    }
    const fits = fit(typeof value === "bigint" ? String(value) : value, type);
    if (fits instanceof Unfit) return `the column ${name} is ${typeText(type)}: the value ${fits.why}`;
    result.push(fits);
  }
  return result;
}

const isSame = (a: ColumnType, b: ColumnType | undefined): boolean => b !== undefined && typeText(a) === typeText(b);
