import type { Database } from "bun:sqlite";
import { type Accepted, type ActivityQueue, type Backlog, LeaseLost, type Waiting } from "./queue.ts";

/**
 * The milliseconds for which a batch is one worker's: applying takes some milliseconds, and a worker that died has it no longer than this.
 */
const LEASE = 3000;

/**
 * Keeps batches that wait in a table, oldest first. They are handed out under a lease, and are gone in the transaction in which they took
 * effect.
 */
export class SqliteQueue implements ActivityQueue {
  readonly isTransactional = true;
  /** Tells workers on the same database apart. */
  private readonly owner = Bun.randomUUIDv7();

  /**
   * Takes two connections. `durable`: the one whose commits are on the disk when they return. `client`: the one in whose transactions
   * activities take effect.
   */
  constructor(
    private readonly durable: Database,
    private readonly client: Database,
  ) {}

  put(batches: readonly Accepted[], now: number): void {
    const insert = this.durable.query(
      "INSERT INTO sluice_queue (batch, body, activities, replay_of, done, accepted_at, attempts, available_at, owner) VALUES (?1, ?2, ?3, ?4, 0, ?5, 0, 0, NULL)",
    );
    for (const { batch, body, activities, replayOf } of batches) insert.run(batch, body, activities, replayOf ?? null, now);
  }

  /**
   * Takes the oldest batches, of about `max` activities together. None overtakes one that another worker has, or that waits to be tried
   * again.
   */
  lease(max: number, now: number): Waiting[] {
    return this.client.transaction(() => this.take(max, now)).immediate();
  }

  private take(max: number, now: number): Waiting[] {
    const found = this.client
      .query<Waiting & { isTaken: number }, [number]>(
        "SELECT seq, batch, body, replay_of AS replayOf, attempts + 1 AS attempts, activities, done, available_at > ?1 AS isTaken FROM sluice_queue ORDER BY seq LIMIT 256",
      )
      .all(now);
    const mark = this.client.query("UPDATE sluice_queue SET attempts = attempts + 1, available_at = ?2, owner = ?3 WHERE seq = ?1");
    const taken: Waiting[] = [];
    let activities = 0;
    for (const row of found) {
      const left = row.activities - row.done;
      if (row.isTaken === 1 || (taken.length > 0 && activities + left > max)) break;
      activities += left;
      mark.run(row.seq, now + LEASE, this.owner);
      taken.push(row);
    }
    return taken;
  }

  /**
   * Removes batches that took effect, or never will. Belongs within the transaction of what they did: throws `LeaseLost` when another
   * worker has one of them now.
   */
  done(batches: readonly Waiting[]): void {
    const remove = this.client.query("DELETE FROM sluice_queue WHERE seq = ?1 AND owner = ?2");
    for (const { seq } of batches) if (remove.run(seq, this.owner).changes !== 1) throw new LeaseLost("another worker has the batch");
  }

  /** Notes that the first `done` activities of a batch are done; the rest stays the same worker's. Throws `LeaseLost`. */
  advance({ seq }: Waiting, done: number, now: number): void {
    const { changes } = this.client
      .query("UPDATE sluice_queue SET done = ?2, attempts = 0, available_at = ?3, owner = NULL WHERE seq = ?1 AND owner = ?4")
      .run(seq, done, now, this.owner);
    if (changes !== 1) throw new LeaseLost("another worker has the batch");
  }

  /** Gives batches back that could not be applied: they are handed out again from `at` on. */
  retry(batches: readonly Waiting[], at: number): void {
    const put = this.client.query("UPDATE sluice_queue SET available_at = ?2, owner = NULL WHERE seq = ?1 AND owner = ?3");
    this.client.transaction(() => {
      for (const { seq } of batches) put.run(seq, at, this.owner);
    })();
  }

  /** Gives the time when the oldest batch can be handed out; `null` when none waits. */
  nextAt(): number | null {
    return (
      (this.client.query("SELECT available_at AS at FROM sluice_queue ORDER BY seq LIMIT 1").get() as { at: number } | null)?.at ?? null
    );
  }

  backlog(): Backlog {
    return this.client
      .query(
        "SELECT count(*) AS batches, coalesce(sum(activities - done), 0) AS activities, coalesce(sum(octet_length(body)), 0) AS size, min(accepted_at) AS oldest FROM sluice_queue",
      )
      .get() as Backlog;
  }
}
