import type { Settled } from "./postgres.ts";
import { keepable, LOCKS, type PostgresLink, type Session } from "./postgres-link.ts";
import type { Entry, Failure, Ledger, Refusal } from "./sink.ts";

/** Keeps `activity_log`: a row for each activity, and one for each batch that was refused. `seq` is the order in which they were settled. */
export class PostgresLedger implements Ledger {
  constructor(
    private readonly link: PostgresLink,
    private readonly table: string,
    private readonly lockKey: string,
    private readonly prepare: () => Promise<void>,
  ) {}

  /** Writes down what a transaction has settled; the last that it does. */
  async write(session: Session, settled: readonly Settled[], at: number): Promise<void> {
    if (settled.length === 0) return;
    const columns = [
      settled.map(({ row }) => row.id),
      settled.map(({ row }) => JSON.stringify(row.payload)),
      settled.map(({ error }) => (error === null ? null : keepable(error))),
    ];
    await session.ask(
      `${this.insertion("$4::text::timestamptz", "error IS NOT NULL", "CASE WHEN error IS NULL THEN 'applied' ELSE 'failed' END")} DO UPDATE SET is_error = excluded.is_error, error_message = excluded.error_message, state = excluded.state`,
      [...columns.map((column) => JSON.stringify(column)), new Date(at).toISOString()],
    );
  }

  async failures(place: string, limit: number): Promise<readonly Failure[]> {
    const rows = await this.ask<Omit<Failure, "createdAt"> & { readonly at: number }>(
      `SELECT id, state, payload, (extract(epoch FROM created_at) * 1000)::float8 AS at, error_message AS error, seq::text AS place FROM ${this.table} WHERE is_error AND ($1::text = '' OR seq < nullif($1::text, '')::bigint) ORDER BY seq DESC LIMIT $2::text::bigint`,
      [place, String(limit)],
    );
    return rows.map(({ at, ...rest }) => ({
      ...rest,
      createdAt: new Date(at).toISOString(),
    }));
  }

  async find(id: string): Promise<readonly Entry[]> {
    // Between the batch's own id with a colon, and with what follows the colon. In bytes: the column has the order "C".
    return this.ask<Entry>(
      `SELECT id, payload, state FROM ${this.table} WHERE id = $1::text OR (id > $1::text || ':' AND id < $1::text || ';') ORDER BY seq`,
      [id],
    );
  }

  async replaying(ids: readonly string[]): Promise<void> {
    await this.ask(
      `UPDATE ${this.table} SET state = 'replaying' WHERE state = 'failed' AND id IN (SELECT json_array_elements_text($1::text::json))`,
      [JSON.stringify(ids)],
    );
  }

  async refuse(refusals: readonly Refusal[]): Promise<void> {
    if (refusals.length === 0) return;
    const columns = [
      refusals.map(({ id }) => id),
      refusals.map(({ body }) => keepable(body)),
      refusals.map(({ error }) => keepable(error)),
      refusals.map(({ at }) => new Date(at).toISOString()),
    ];
    await this.ask(
      `${this.insertion("at::timestamptz", "true", "'rejected'", "json_array_elements_text($4::text::json)")} DO NOTHING`,
      columns.map((column) => JSON.stringify(column)),
    );
  }

  async history(after: string, upTo: string, limit: number): Promise<readonly (Entry & { readonly place: string })[]> {
    return this.ask<Entry & { readonly place: string }>(
      `SELECT id, payload, state, seq::text AS place FROM ${this.table} WHERE state <> 'rejected' AND seq > coalesce(nullif($1::text, ''), '0')::bigint AND seq <= coalesce(nullif($2::text, ''), '0')::bigint ORDER BY seq LIMIT $3::text::bigint`,
      [after, upTo, String(limit)],
    );
  }

  async newest(): Promise<string> {
    const [row] = await this.ask<{ place: string | null }>(`SELECT max(seq)::text AS place FROM ${this.table}`, []);
    return row?.place ?? "";
  }

  async left(after: string, upTo: string): Promise<number> {
    const [row] = await this.ask<{ left: number }>(
      `SELECT count(*)::int AS left FROM ${this.table} WHERE state <> 'rejected' AND seq > coalesce(nullif($1::text, ''), '0')::bigint AND seq <= coalesce(nullif($2::text, ''), '0')::bigint`,
      [after, upTo],
    );
    return row?.left ?? 0;
  }

  private async ask<T>(text: string, values: readonly string[]): Promise<readonly T[]> {
    await this.prepare();
    // The statement's text says what rows it gives.
    return (await this.link.ask(text, values)) as unknown as readonly T[];
  }

  /**
   * Gives the beginning of a statement that adds rows: $1 ids, $2 payloads, $3 errors. Whoever adds holds a lock until it is committed, so
   * that numbers are seen in their order and nobody who reads on from the newest misses one.
   */
  private insertion(at: string, isError: string, state: string, more = ""): string {
    return `WITH turn AS MATERIALIZED (SELECT pg_advisory_xact_lock(${LOCKS.log}, ${this.lockKey}))
      INSERT INTO ${this.table} (id, payload, created_at, is_error, error_message, state)
      SELECT id, payload, ${at}, ${isError}, error, ${state}
      FROM turn, ROWS FROM (json_array_elements_text($1::text::json), json_array_elements_text($2::text::json), json_array_elements_text($3::text::json)${more === "" ? "" : `, ${more}`}) AS x (id, payload, error${more === "" ? "" : ", at"})
      ON CONFLICT (id)`;
  }
}
