import type { Database } from "bun:sqlite";
import type { Entry, Failure, Ledger, LogState, Refusal } from "./sink.ts";

/** Keeps one row for each activity, and one for each batch that was refused: the table `activity_log`. */
export class SqliteLedger implements Ledger {
  constructor(private readonly client: Database) {}

  /** Writes down what became of an activity. Part of the transaction that is open on the connection. */
  write(
    id: string,
    payload: string,
    createdAt: string,
    error: string | null,
    state: LogState = error === null ? "applied" : "failed",
  ): void {
    this.client
      .query(
        "INSERT INTO activity_log (id, payload, created_at, is_error, error_message, state) VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (id) DO UPDATE SET is_error = ?4, error_message = ?5, state = ?6",
      )
      .run(id, payload, createdAt, error === null ? 0 : 1, error, state);
  }

  /** Gives what became of an activity; `null` while nothing has. */
  stateOf(id: string): LogState | null {
    return this.client.query<{ state: LogState }, [string]>("SELECT state FROM activity_log WHERE id = ?1").get(id)?.state ?? null;
  }

  refuse(refusals: readonly Refusal[]): void {
    const insert = this.client.query(
      "INSERT INTO activity_log (id, payload, created_at, is_error, error_message, state) VALUES (?1, ?2, ?3, 1, ?4, 'rejected') ON CONFLICT (id) DO NOTHING",
    );
    for (const { id, body, at, error } of refusals) insert.run(id, body, new Date(at).toISOString(), error);
  }

  failures(place: string, limit: number): Failure[] {
    return this.client
      .query<Failure, [number, number]>(
        "SELECT id, state, payload, created_at AS createdAt, error_message AS error, CAST(rowid AS TEXT) AS place FROM activity_log WHERE is_error = 1 AND rowid < ?1 ORDER BY rowid DESC LIMIT ?2",
      )
      .all(placeOf(place) ?? Number.MAX_SAFE_INTEGER, limit);
  }

  find(id: string): Entry[] {
    return this.client
      .query<Entry, [string, string, string]>(
        "SELECT id, payload, state FROM activity_log WHERE id = ?1 OR (id > ?2 AND id < ?3) ORDER BY rowid",
      )
      .all(id, `${id}:`, `${id};`);
  }

  replaying(ids: readonly string[]): void {
    const mark = this.client.query("UPDATE activity_log SET state = 'replaying' WHERE id = ?1 AND state = 'failed'");
    for (const id of ids) mark.run(id);
  }

  history(after: string, upTo: string, limit: number): (Entry & { readonly place: string })[] {
    return this.client
      .query<Entry & { place: string }, [number, number, number]>(
        "SELECT id, payload, state, CAST(rowid AS TEXT) AS place FROM activity_log WHERE rowid > ?1 AND rowid <= ?2 AND state <> 'rejected' ORDER BY rowid LIMIT ?3",
      )
      .all(placeOf(after) ?? 0, placeOf(upTo) ?? 0, limit);
  }

  newest(): string {
    const { place } = this.client.query("SELECT CAST(max(rowid) AS TEXT) AS place FROM activity_log").get() as { place: string | null };
    return place ?? "";
  }

  left(after: string, upTo: string): number {
    const { left } = this.client
      .query("SELECT count(*) AS left FROM activity_log WHERE rowid > ?1 AND rowid <= ?2 AND state <> 'rejected'")
      .get(placeOf(after) ?? 0, placeOf(upTo) ?? 0) as { left: number };
    return left;
  }

  /** Drops a bounded number of rows from before this time. Gives their number. */
  prune(before: string): number {
    return this.client
      .query(
        "DELETE FROM activity_log WHERE rowid IN (SELECT id FROM (SELECT rowid AS id, created_at, state FROM activity_log ORDER BY rowid LIMIT 5000) WHERE created_at < ?1 AND state <> 'replaying')",
      )
      .run(before).changes;
  }
}

/** Gives the row that a place names; `null` for the first or the newest, and for what is no place. */
const placeOf = (place: string): number | null => (/^\d{1,15}$/.test(place) ? Number(place) : null);
