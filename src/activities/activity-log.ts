import type { Database } from "bun:sqlite";

/**
 * Names what became of an activity. `rejected`: refused as it came in; `failed`: it can be replayed; `replaying`: it waits to be tried
 * again.
 */
export type LogState = "applied" | "failed" | "rejected" | "replaying";

export interface Failure {
  readonly id: string;
  readonly state: LogState;
  readonly payload: string;
  readonly createdAt: string;
  readonly error: string | null;
}

/** Keeps one row for each activity, and one for each batch that was refused. */
export class ActivityLog {
  constructor(private readonly client: Database) {}

  write(id: string, payload: string, createdAt: string, state: "applied" | "failed" | "rejected", error: string | null): void {
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

  /** Gives what failed or was refused, the newest first: up to `limit` + 1 from before `before` ("" for the newest). */
  failures(before: string, limit: number): Failure[] {
    return this.client
      .query<Failure, [string, number]>(
        "SELECT id, state, payload, created_at AS createdAt, error_message AS error FROM activity_log WHERE is_error = 1 AND (?1 = '' OR id < ?1) ORDER BY id DESC LIMIT ?2",
      )
      .all(before, limit + 1);
  }

  /** Finds the activity of this id, or all of a batch. */
  find(id: string): { id: string; payload: string; state: LogState }[] {
    return this.client
      .query<{ id: string; payload: string; state: LogState }, [string, string, string]>(
        "SELECT id, payload, state FROM activity_log WHERE id = ?1 OR (id > ?2 AND id < ?3) ORDER BY rowid",
      )
      .all(id, `${id}:`, `${id};`);
  }

  replaying(id: string): void {
    this.client.query("UPDATE activity_log SET state = 'replaying' WHERE id = ?1").run(id);
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
