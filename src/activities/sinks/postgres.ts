import type { PostgresSinkConfig } from "../destinations.ts";
import { type Group, Grouping, type Pending, statementsFor } from "./postgres-groups.ts";
import { PostgresLedger } from "./postgres-ledger.ts";
import { BOUNDS, keepable, kindOf, LOCKS, Lost, PostgresLink, quoted, type Session, saidBy, stateOf } from "./postgres-link.ts";
import { converterFor, isSameColumns, NeedsAlone, PostgresTables, type Table, type TableColumn } from "./postgres-tables.ts";
import { type Delivery, type Outcome, REPEATED, type Row, type Run, type Sink, SinkAway } from "./sink.ts";

/** The attempts at a transaction that are made at once: after a deadlock, or when a connection was closed while it was idle. */
const ATTEMPTS = 5;
const MAX_LOST = 1;
const PRUNED = 5000;

/** Says that the transaction is to be done again: what it found has changed meanwhile. */
class Again extends Error {}

/** Describes a transaction whose end is not known. */
interface Unsure {
  readonly ids: readonly string[];
  readonly outcomes: readonly Outcome[];
}

/**
 * Writes activities to tables of a schema of PostgreSQL. A missing table is made by the first row for it, a missing column by the first row
 * with it. Each id is written down in the transaction in which its activity takes effect. Connects when it is first used.
 */
export class PostgresSink implements Sink {
  readonly delivery = "once";
  readonly sharesQueue = false;
  readonly ledger: PostgresLedger | null;
  private readonly link: PostgresLink;
  private readonly tables: PostgresTables;
  private readonly schema: string;
  private readonly lockKey: string;
  private isReady = false;

  /** `keepsLog`: `activity_log` is kept here. */
  constructor(
    config: Pick<PostgresSinkConfig, "url" | "schema" | "ca">,
    private readonly options: { readonly keepsLog: boolean },
  ) {
    // Names have no case.
    this.schema = config.schema.toLowerCase();
    this.link = new PostgresLink(config);
    this.tables = new PostgresTables(this.schema);
    this.lockKey = `hashtext('${this.schema}')`;
    this.ledger = options.keepsLog
      ? new PostgresLedger(this.link, this.tables.at("activity_log"), this.lockKey, () => this.prepare())
      : null;
  }

  async apply(runs: readonly Run[], delivery: Delivery): Promise<readonly Outcome[]> {
    const outcomes: Outcome[] = [];
    for (const part of withoutDoubles(runs)) outcomes.push(...(await this.applied(part, delivery)));
    return outcomes;
  }

  async prune(before: { readonly log: number | null; readonly ids: number | null }): Promise<boolean> {
    await this.prepare();
    let hasMore = false;
    const forget = async (text: string, time: number | null): Promise<void> => {
      if (time === null) return;
      const [row] = await this.link.ask(`WITH gone AS (${text} RETURNING 1) SELECT count(*)::int AS gone FROM gone`, [
        new Date(time).toISOString(),
      ]);
      if ((row as { gone: number }).gone > 0) hasMore = true;
    };
    const ids = this.tables.at("sluice_ids");
    await forget(
      `DELETE FROM ${ids} WHERE id IN (SELECT id FROM ${ids} WHERE at < $1::text::timestamptz ORDER BY at LIMIT ${PRUNED})`,
      before.ids,
    );
    const log = this.tables.at("activity_log");
    // The oldest alone are looked at: they were settled in about the order in which they came.
    if (this.options.keepsLog)
      await forget(
        `DELETE FROM ${log} WHERE seq IN (SELECT seq FROM (SELECT seq, created_at, state FROM ${log} ORDER BY seq LIMIT ${PRUNED}) AS oldest WHERE created_at < $1::text::timestamptz AND state <> 'replaying')`,
        before.log,
      );
    return hasMore;
  }

  close(): Promise<void> {
    return this.link.close();
  }

  /** Makes the schema and Sluice's own tables where they are missing. Throws `SinkAway`. */
  private async prepare(): Promise<void> {
    if (this.isReady) return;
    await this.retried(async () => {
      await this.within(true, (session) => this.makeOwn(session));
    });
    this.isReady = true;
  }

  private async makeOwn(session: Session): Promise<void> {
    if (/^(pg_|information_schema$)/.test(this.schema))
      throw new SinkAway(`the schema ${this.schema} is PostgreSQL's own: name another one in \`schema\``);
    try {
      const [there] = await session.ask(
        "SELECT to_regnamespace($1::text) IS NOT NULL AS schema, to_regclass($2::text) IS NOT NULL AS ids, to_regclass($3::text) IS NOT NULL AS log",
        [quoted(this.schema), this.tables.at("sluice_ids"), this.tables.at("activity_log")],
      );
      const { schema, ids, log } = there as { schema: boolean; ids: boolean; log: boolean };
      if (!schema) await session.run(`CREATE SCHEMA ${quoted(this.schema)}`);
      if (!ids)
        await session.run(
          `CREATE TABLE ${this.tables.at("sluice_ids")} (id text COLLATE "C" PRIMARY KEY, is_error boolean NOT NULL, at timestamptz NOT NULL, error_message text); CREATE INDEX sluice_ids_at ON ${this.tables.at("sluice_ids")} (at)`,
        );
      if (!log && this.options.keepsLog)
        await session.run(
          `CREATE TABLE ${this.tables.at("activity_log")} (seq bigserial PRIMARY KEY, id text COLLATE "C" NOT NULL UNIQUE, payload text NOT NULL, created_at timestamptz NOT NULL, is_error boolean NOT NULL, error_message text, state text NOT NULL); CREATE INDEX activity_log_failed ON ${this.tables.at("activity_log")} (seq) WHERE is_error`,
        );
    } catch (error) {
      if (kindOf(error) !== "statement" || error instanceof SinkAway) throw error;
      throw new SinkAway(
        `${this.link.name}: Sluice's own tables can't be made in the schema ${this.schema}: ${saidBy(error)}. Grant the user CREATE on the schema (and on the database, for a schema that is missing)`,
      );
    }
  }

  private async applied(runs: readonly Run[], delivery: Delivery): Promise<readonly Outcome[]> {
    let isAlone = false;
    let unsure: Unsure | null = null;
    let mayHaveChanged = true;
    return this.retried(async () => {
      await this.prepare();
      for (;;) {
        try {
          return await this.within(isAlone, async (session, committing) => {
            const work = new Work(session, this.tables, runs, { isAlone, isSecond: !mayHaveChanged, saysAgain: !this.options.keepsLog });
            const before = await this.own(work.claim(delivery.at), !mayHaveChanged);
            // The transaction whose end was not known has done it.
            if (unsure?.ids.some((id) => before.has(id))) return unsure.outcomes;
            if (delivery.giveUp === null) await work.run();
            else work.giveUp(delivery.giveUp);
            await this.own(work.settle(), !mayHaveChanged);
            await this.own(this.ledger?.write(session, work.settled(), delivery.at), !mayHaveChanged);
            committing(() => {
              unsure = { ids: work.ids, outcomes: work.outcomes };
            });
            return work.outcomes;
          });
        } catch (error) {
          if (error instanceof NeedsAlone) isAlone = true;
          else if (error instanceof Again && mayHaveChanged) {
            mayHaveChanged = false;
            this.isReady = false;
            await this.prepare();
          } else throw error;
        }
      }
    });
  }

  /** Waits for what concerns Sluice's own tables: if these can't be written to, no activity is at fault. */
  private async own<T>(work: Promise<T> | undefined, isSecond: boolean): Promise<T> {
    try {
      return (await work) as T;
    } catch (error) {
      if (kindOf(error) !== "statement") throw error;
      if (!isSecond) throw new Again();
      throw new SinkAway(`${this.link.name}: Sluice's own tables in the schema ${this.schema} can't be written to: ${saidBy(error)}`);
    }
  }

  /** Does work again at once where that may help, and says what to do where no activity is at fault. */
  private async retried<T>(work: () => Promise<T>): Promise<T> {
    let lost = 0;
    for (let attempt = 1; ; attempt++) {
      try {
        return await work();
      } catch (error) {
        if (error instanceof Lost && lost++ < MAX_LOST) continue;
        const isAgain = kindOf(error) === "again";
        if (isAgain && attempt < ATTEMPTS) continue;
        if (isAgain) throw new SinkAway(`${this.link.name}: ${saidBy(error)}, ${ATTEMPTS} times`);
        throw this.link.explained(error);
      }
    }
  }

  /**
   * Does work in a transaction. `isAlone`: while no other instance writes to this schema. The work gives what is to be done right before the
   * transaction is committed.
   */
  private async within<T>(isAlone: boolean, work: (session: Session, committing: (note: () => void) => void) => Promise<T>): Promise<T> {
    const session = await this.link.session();
    try {
      await session.run(
        // What the sink says is applied is on the disk, also where the database is set to be quicker.
        `BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; ${BOUNDS}; SET CONSTRAINTS ALL IMMEDIATE; SELECT set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') = 'off'; SELECT pg_advisory_xact_lock${isAlone ? "" : "_shared"}(${LOCKS.tables}, ${this.lockKey})`,
      );
      const notes: (() => void)[] = [];
      const result = await work(session, (note) => void notes.push(note));
      for (const note of notes) note();
      const { command } = await session.run("COMMIT");
      if (command !== "COMMIT") throw new Error(`${this.link.name} undid the transaction`);
      session.release();
      return result;
    } catch (error) {
      // A connection that can't even undo is of no use.
      if (
        error instanceof Lost ||
        (await session.run("ROLLBACK").then(
          () => false,
          () => true,
        ))
      )
        this.link.drop();
      else session.release();
      throw error;
    }
  }
}

/** Parts runs so that no id stands twice in a part: a replay may follow what it repeats. */
function withoutDoubles(runs: readonly Run[]): (readonly Run[])[] {
  const ids = new Set<string>();
  const parts: Run[][] = [[]];
  for (const run of runs) {
    let rows: Row[] = [];
    const cut = (): void => {
      if (rows.length > 0) parts.at(-1)?.push({ ...run, rows });
      rows = [];
    };
    for (const row of run.rows) {
      if (ids.has(row.id)) {
        cut();
        parts.push([]);
        ids.clear();
      }
      ids.add(row.id);
      rows.push(row);
    }
    if (rows.length === run.rows.length) parts.at(-1)?.push(run);
    else cut();
  }
  return parts.filter((part) => part.length > 0);
}

/** Describes an activity that was settled, for the log. */
export interface Settled {
  readonly row: Row;
  readonly error: string | null;
}

/** Holds what was found for a run. */
interface Ready {
  /** The table as it is known since; `undefined` when there is none. */
  readonly table: Table | undefined;
  readonly given: Run["columns"];
  /** Why none of its rows can take effect. */
  readonly fault: string | null;
  readonly columns: readonly TableColumn[];
  readonly shape: string;
  readonly convert: ReturnType<typeof converterFor>;
}

/** Applies runs within one transaction. */
class Work {
  readonly outcomes: Outcome[];
  /** The ids that this transaction settles. */
  ids: string[] = [];
  private readonly rows: readonly Row[];
  private readonly ownTable: string;
  /** By places of rows: whether this transaction settles them. */
  private fresh: boolean[] = [];

  constructor(
    private readonly session: Session,
    private readonly tables: PostgresTables,
    private readonly runs: readonly Run[],
    private readonly how: {
      readonly isAlone: boolean;
      /** True when it was tried before, and the tables were changed by others. */
      readonly isSecond: boolean;
      /** True when what has failed before is said again: who asks may not have heard of it, and nobody else has written it down. */
      readonly saysAgain: boolean;
    },
  ) {
    this.ownTable = tables.at("sluice_ids");
    this.rows = runs.flatMap((run) => run.rows);
    this.outcomes = new Array<Outcome>(this.rows.length).fill(REPEATED);
  }

  /** Writes the ids down. Gives those that were settled before, but for failed ones that are replayed. Other instances wait. */
  async claim(at: number): Promise<ReadonlySet<string>> {
    // In one order, in which all instances wait for each other.
    const ids = this.rows.map(({ id }) => id).sort();
    const list = JSON.stringify(ids);
    const { count } = await this.session.ask(
      `INSERT INTO ${this.ownTable} (id, is_error, at) SELECT id, false, $2::text::timestamptz FROM json_array_elements_text($1::text::json) AS given (id) ON CONFLICT (id) DO NOTHING`,
      [list, new Date(at).toISOString()],
    );
    const before = new Map<string, string | null>();
    if (count !== ids.length) {
      // What this transaction has not written was there. A statement of its own: it sees what another instance has committed meanwhile.
      const found = (await this.session.ask(
        `SELECT id, is_error, error_message FROM ${this.ownTable} WHERE id IN (SELECT json_array_elements_text($1::text::json)) AND xmin <> pg_current_xact_id()::xid ORDER BY id FOR UPDATE`,
        [list],
      )) as unknown as readonly { id: string; is_error: boolean; error_message: string | null }[];
      // One was forgotten in this very moment.
      if (found.length !== ids.length - (count ?? 0)) throw new Again();
      for (const { id, is_error, error_message } of found) before.set(id, is_error ? (error_message ?? "it failed before") : null);
    }
    for (const [slot, row] of this.rows.entries()) {
      const error = before.get(row.id);
      if (error === undefined || (row.isReplay && error !== null)) {
        before.delete(row.id);
        this.ids.push(row.id);
        this.outcomes[slot] = null;
      } else if (error !== null && this.how.saysAgain) this.outcomes[slot] = error;
    }
    this.fresh = this.rows.map(({ id }) => !before.has(id));
    return new Set(before.keys());
  }

  /** Settles the rows that are fresh as failed. */
  giveUp(why: string): void {
    for (const [slot, isFresh] of this.fresh.entries()) if (isFresh) this.outcomes[slot] = why;
  }

  /** Makes what is missing, and lets the rows that are fresh take effect. */
  async run(): Promise<void> {
    if (this.ids.length === 0) return;
    const grouping = await this.planned();
    const { groups } = grouping;
    if (groups.length === 0) return;
    await this.session.run("SAVEPOINT sluice_rows");
    try {
      for (const group of groups) await this.execute(group, group.rows);
    } catch (error) {
      this.refuseOthers(error);
      await this.session.run("ROLLBACK TO SAVEPOINT sluice_rows");
      for (const group of groups) await this.parted(group, group.rows);
    }
    for (const { operation, table, rows } of groups) this.tables.grew(table, operation === "insert" ? rows.length : 0);
  }

  private async planned(): Promise<Grouping> {
    const grouping = new Grouping();
    const known = await this.tables.read(this.session, [...new Set(this.runs.map(({ table }) => table.toLowerCase()))]);
    // Runs of several tables take turns: what was found for the one before, of the same table, mostly holds.
    const found = new Map<string, Ready>();
    let slot = 0;
    for (const run of this.runs) {
      const first = slot;
      slot += run.rows.length;
      if (!run.rows.some((_, i) => this.fresh[first + i])) continue;
      const name = run.table.toLowerCase();
      const key = `${run.operation} ${name}`;
      let ready = found.get(key);
      if (ready === undefined || ready.table !== known.get(name) || !isSameColumns(ready.given, run.columns)) {
        ready = await this.readyFor(run, name, known);
        found.set(key, ready);
      }
      const { table, fault, columns, shape, convert } = ready;
      for (const [i, row] of run.rows.entries()) {
        if (!this.fresh[first + i]) continue;
        const values = fault ?? convert(row.values);
        if (typeof values === "string") this.outcomes[first + i] = values;
        else grouping.add(run.operation, table as Table, columns, shape, { slot: first + i, values });
      }
    }
    return grouping;
  }

  private async readyFor(run: Run, name: string, known: Map<string, Table>): Promise<Ready> {
    const { operation, columns: given } = run;
    const room =
      operation === "insert"
        ? await this.tables.makeRoom(this.session, name, given, known, this.how.isAlone)
        : this.tables.findRoom(name, given, known);
    if (typeof room === "string") return { table: known.get(name), given, fault: room, columns: [], shape: "", convert: () => room };
    const columns = given.map((column) => room.columns.get(column.name.toLowerCase()) as TableColumn);
    if (operation === "delete") await this.tables.indexFor(this.session, room, columns, known, this.how.isAlone);
    const shape = columns.map((column) => column.name).join();
    return { table: known.get(name), given, fault: null, columns, shape, convert: converterFor(given, columns) };
  }

  private async execute(group: Group, rows: readonly Pending[]): Promise<void> {
    for (const { text, values } of statementsFor(group, rows, this.tables.at(group.table.name))) await this.session.ask(text, values);
  }

  /** Applies rows in parts, so that those alone fail that PostgreSQL does not take. */
  private async parted(group: Group, rows: readonly Pending[]): Promise<void> {
    await this.session.run("SAVEPOINT sluice_part");
    try {
      await this.execute(group, rows);
      await this.session.run("RELEASE SAVEPOINT sluice_part");
    } catch (error) {
      this.refuseOthers(error);
      await this.session.run("ROLLBACK TO SAVEPOINT sluice_part; RELEASE SAVEPOINT sluice_part");
      if (rows.length > 1 && !isOfStatement(error)) {
        const half = rows.length >> 1;
        await this.parted(group, rows.slice(0, half));
        await this.parted(group, rows.slice(half));
        return;
      }
      const why = `the table ${group.table.name} does not take it: ${saidBy(error)}`;
      for (const { slot } of rows) this.outcomes[slot] = why;
    }
  }

  /** Throws what is no row's fault. */
  private refuseOthers(error: unknown): void {
    if (error instanceof Lost || kindOf(error) !== "statement") throw error;
    // Somebody may have changed the table since it was read.
    if (!this.how.isSecond && /^42(P01|703|804)$/.test(stateOf(error))) throw new Again();
  }

  /** Writes down what has failed. */
  async settle(): Promise<void> {
    const settled = this.settled();
    const failed = settled.filter(({ error }) => error !== null);
    if (failed.length > 0)
      await this.session.ask(
        `UPDATE ${this.ownTable} AS t SET is_error = true, error_message = f.error FROM ROWS FROM (json_array_elements_text($1::text::json), json_array_elements_text($2::text::json)) AS f (id, error) WHERE t.id = f.id`,
        [JSON.stringify(failed.map(({ row }) => row.id)), JSON.stringify(failed.map(({ error }) => keepable(error ?? "")))],
      );
    const mended = settled.filter(({ row, error }) => row.isReplay && error === null);
    if (mended.length > 0)
      await this.session.ask(
        `UPDATE ${this.ownTable} SET is_error = false, error_message = NULL WHERE is_error AND id IN (SELECT json_array_elements_text($1::text::json))`,
        [JSON.stringify(mended.map(({ row }) => row.id))],
      );
  }

  /** Gives what this transaction has settled. */
  settled(): Settled[] {
    return this.rows.flatMap((row, i): Settled[] => {
      const outcome = this.outcomes[i] as Outcome;
      return this.fresh[i] && outcome !== REPEATED ? [{ row, error: outcome }] : [];
    });
  }
}

/** Tells whether a statement is wrong with whatever rows. 42501 is also said of single rows, by policies. */
const isOfStatement = (error: unknown): boolean => stateOf(error).startsWith("42") && stateOf(error) !== "42501";
