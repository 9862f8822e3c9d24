import type { Database } from "bun:sqlite";
import { type Activity, activitiesIn, parseActivity } from "../activity.ts";
import type { Ledger } from "../sinks/sink.ts";
import { IdempotencyKeys, isOfKey } from "./keys.ts";
import {
  type Accepted,
  type ActivityQueue,
  activityId,
  type Backlog,
  type Delivered,
  type Feed,
  LeaseLost,
  type Portion,
  type PutResult,
} from "./queue.ts";

/**
 * The milliseconds for which a portion is one worker's: applying takes some milliseconds, who needs longer says so meanwhile, and a worker
 * that died has it no longer than this.
 */
const LEASE = 3000;
/** The places that a batch has for its activities: more than it may hold. */
const PLACES = 16_384;
/** Where positions of what is read from a log begin: before all of the queue's. */
const HISTORY = -(2 ** 50);
/** The bytes of batches after which no further one is handed out together with them: each may have megabytes. */
const MAX_HANDED_OUT = 16_000_000;
/** The characters of batches that another queue takes over at once: it must have them within a moment. */
const MAX_MOVED = 4_000_000;
/** The most that is kept of what was parsed on arrival, until it is applied; in characters of its text. */
const MAX_PARSED = 32_000_000;
/** The most of it that is kept for the other sinks when one has it: they are about to take it, or are away for long. */
const MAX_PARSED_BEHIND = 4_000_000;

/** Names the log that is kept by whoever has this cursor: beside the queue, or by the sink itself. */
export type KeptLog = "local" | "own";

interface Cursor {
  /** The last batch that is settled as a whole. */
  readonly seq: number;
  /** The number of activities of the next batch that are settled. */
  readonly done: number;
  readonly attempts: number;
  readonly availableAt: number;
  /** The sink whose log is read first, and how far; `null`: none is. */
  readonly historyFrom: string | null;
  readonly historyAfter: string;
  readonly historyTo: string | null;
}

interface Batch {
  readonly seq: number;
  readonly batch: string;
  readonly count: number;
  readonly size: number;
  readonly replayOf: string | null;
  readonly sink: string | null;
}

/** Holds a portion with the place up to which the sink has come with it. */
interface Leased extends Portion {
  readonly end:
    | { readonly seq: number; readonly done: number; readonly from: number; readonly batches: number }
    | { readonly historyAfter: string };
}

/**
 * Keeps batches that wait in a table, oldest first, until all sinks have them. Takes two connections. `durable`: the one whose commits are on
 * the disk when they return. `client`: the one in whose transactions activities take effect.
 */
export class SqliteQueue implements ActivityQueue {
  readonly kind = "embedded";
  readonly rank = 0;
  readonly isTransactional = true;
  /** Gives a log that a new sink reads first: the one beside the queue ("local"), or a sink's own. */
  ledgerOf: (keeper: string) => Ledger | null = () => null;
  /** Tells workers on the same database apart. */
  private readonly owner = Bun.randomUUIDv7();
  private readonly keys: IdempotencyKeys;
  private readonly parsed = new Map<number, { readonly batch: string; readonly activities: readonly Activity[]; readonly size: number }>();
  private parsedSize = 0;

  constructor(
    private readonly durable: Database,
    private readonly client: Database,
  ) {
    this.keys = new IdempotencyKeys(durable);
  }

  /** Puts batches in: part of the transaction that is open on the durable connection. */
  put(batches: readonly Accepted[], now: number): PutResult[] {
    const insert = this.durable.query(
      "INSERT INTO sluice_queue (batch, body, activities, replay_of, sink, done, accepted_at, attempts, available_at, owner) VALUES (?1, ?2, ?3, ?4, ?5, 0, ?6, 0, 0, NULL)",
    );
    return batches.map(({ batch, body, activities, key, replay }) => {
      const result = key === null ? "put" : this.keys.claim(key, now, true);
      if (result !== "put") return result;
      const { lastInsertRowid } = insert.run(batch, body, activities.length, replay?.id ?? null, replay?.sink ?? null, now);
      this.keepParsed(Number(lastInsertRowid), batch, activities, body.length);
      return result;
    });
  }

  /**
   * Gives what a sink follows the queue by. One that is new begins where the one that keeps the log is, after what that log has; or after what
   * the log has that the keeper is still reading itself.
   */
  feed(sink: string): SqliteFeed {
    this.client
      .transaction(() => {
        if (this.client.query("SELECT 1 FROM sluice_cursors WHERE sink = ?1").get(sink) !== null) return;
        this.client
          .query(
            "INSERT INTO sluice_cursors (sink, seq, done, history_from) SELECT ?1, coalesce(max(seq), 0), coalesce(max(done), 0), max(keeper) FROM (SELECT seq, done, coalesce(history_from, CASE log WHEN 'own' THEN sink ELSE log END) AS keeper FROM sluice_cursors WHERE log IS NOT NULL LIMIT 1)",
          )
          .run(sink);
      })
      .immediate();
    return new SqliteFeed(sink, this.owner, this.client, this);
  }

  /** Forgets the cursors of all sinks but these, and notes who of them keeps a log. */
  keep(sinks: ReadonlyMap<string, KeptLog | null>): void {
    this.client
      .transaction(() => {
        const names = JSON.stringify([...sinks.keys()]);
        this.client.query("DELETE FROM sluice_cursors WHERE sink NOT IN (SELECT value FROM json_each(?1))").run(names);
        for (const [sink, log] of sinks) this.client.query("UPDATE sluice_cursors SET log = ?2 WHERE sink = ?1").run(sink, log);
        this.trim();
      })
      .immediate();
  }

  /** Drops what all sinks have. Part of the transaction that is open. */
  trim(): void {
    const { first, last } = this.client.query("SELECT min(seq) AS first, max(seq) AS last FROM sluice_cursors").get() as {
      first: number | null;
      last: number;
    };
    if (first === null) return;
    this.client.query("DELETE FROM sluice_queue WHERE seq <= ?1").run(first);
    for (const [seq, { size }] of this.parsed) {
      if (seq > first && (seq > last || this.parsedSize <= MAX_PARSED_BEHIND)) break;
      this.parsed.delete(seq);
      this.parsedSize -= size;
    }
  }

  /** Gives the oldest batches that some sink has not settled yet, for another queue to take over: about 4 megabytes at once. */
  leftOver(limit: number): (Accepted & { readonly seq: number })[] {
    const rows: (Omit<Batch, "size"> & { body: string })[] = [];
    let size = 0;
    const found = this.client
      .query<Omit<Batch, "size"> & { body: string }, [number]>(
        "SELECT seq, batch, body, activities AS count, replay_of AS replayOf, sink FROM sluice_queue ORDER BY seq LIMIT ?1",
      )
      .iterate(limit);
    for (const row of found) {
      rows.push(row);
      size += row.body.length;
      if (size > MAX_MOVED) break;
    }
    return rows.map(({ seq, batch, body, replayOf, sink }) => ({
      seq,
      batch,
      body,
      activities: activitiesIn(body),
      key: null,
      // Before sinks had names there was one.
      replay: replayOf === null ? null : { id: replayOf, sink: sink ?? "sqlite" },
    }));
  }

  /** Drops batches that another queue has taken over. */
  drop(seqs: readonly number[]): void {
    const remove = this.durable.query("DELETE FROM sluice_queue WHERE seq = ?1");
    this.durable.transaction(() => {
      for (const seq of seqs) remove.run(seq);
    })();
  }

  /** Gives the activities of a batch, which may still be there as they were parsed on arrival. */
  activitiesOf({ seq, batch }: Pick<Batch, "seq" | "batch">): readonly Activity[] {
    const parsed = this.parsed.get(seq);
    // What could not be committed left its place to another batch.
    if (parsed?.batch === batch) return parsed.activities;
    const { body } = this.client.query("SELECT body FROM sluice_queue WHERE seq = ?1").get(seq) as { body: string };
    return activitiesIn(body);
  }

  close(): void {}

  private keepParsed(seq: number, batch: string, activities: readonly Activity[], size: number): void {
    this.parsedSize -= this.parsed.get(seq)?.size ?? 0;
    this.parsed.delete(seq);
    if (this.parsedSize + size > MAX_PARSED) return;
    this.parsed.set(seq, { batch, activities, size });
    this.parsedSize += size;
  }
}

/** Follows the queue for one sink, by a row that says how far it has come. Each portion is one worker's for a while. */
export class SqliteFeed implements Feed {
  private availableAt: number | null = null;
  /** The batch that was read last: one of thousands of activities is handed out in parts. */
  private last: { readonly seq: number; readonly activities: readonly Activity[] } | null = null;

  constructor(
    private readonly sink: string,
    private readonly owner: string,
    private readonly client: Database,
    private readonly queue: SqliteQueue,
  ) {}

  lease(max: number, now: number): Leased | null | Promise<Leased | null> {
    const cursor = this.client.transaction(() => this.claim(now)).immediate();
    if (cursor === null) return null;
    return cursor.historyFrom === null ? this.fromQueue(cursor, max) : this.fromHistory(cursor, cursor.historyFrom, max, now);
  }

  /** Takes the cursor for a while, unless another worker has it or what is next waits to be tried again. */
  private claim(now: number): Cursor | null {
    const cursor = this.cursor();
    this.availableAt = null;
    if (cursor === null) return null;
    if (cursor.availableAt > now) {
      this.availableAt = cursor.availableAt;
      return null;
    }
    const isEmpty =
      cursor.historyFrom === null && this.client.query("SELECT 1 FROM sluice_queue WHERE seq > ?1 LIMIT 1").get(cursor.seq) === null;
    if (isEmpty) return null;
    this.client
      .query("UPDATE sluice_cursors SET attempts = attempts + 1, available_at = ?2, owner = ?3 WHERE sink = ?1")
      .run(this.sink, now + LEASE, this.owner);
    return { ...cursor, attempts: cursor.attempts + 1 };
  }

  /** Gives how far the sink has come; `null` when another process, with other sinks, has forgotten it. */
  private cursor(): Cursor | null {
    return this.client
      .query<Cursor, [string]>(
        "SELECT seq, done, attempts, available_at AS availableAt, history_from AS historyFrom, history_after AS historyAfter, history_to AS historyTo FROM sluice_cursors WHERE sink = ?1",
      )
      .get(this.sink);
  }

  private fromQueue({ seq, done, attempts, historyTo }: Cursor, max: number): Leased {
    const batches = this.client
      .query<Batch, [number, number]>(
        "SELECT seq, batch, activities AS count, octet_length(body) AS size, replay_of AS replayOf, sink FROM sluice_queue WHERE seq > ?1 ORDER BY seq LIMIT ?2",
      )
      // One by one: what stands behind a large body is long to find.
      .iterate(seq, max);
    const deliveries: Delivered[] = [];
    let end = { seq, done, from: seq, batches: 0 };
    let size = 0;
    let hasMore = false;
    // A log may have held what came after the cursor's place as well.
    let mayRepeat = attempts > 1 || historyTo !== null;
    for (const batch of batches) {
      const whole = { ...end, seq: batch.seq, done: 0, batches: end.batches + 1 };
      if (batch.sink !== null && batch.sink !== this.sink) {
        end = whole;
        continue;
      }
      const from = end.done;
      const to = Math.min(batch.count, from + max - deliveries.length);
      if (to === from && batch.count > 0) break;
      hasMore = deliveries.length > 0 && size + batch.size > MAX_HANDED_OUT;
      if (hasMore) break;
      size += batch.size;
      mayRepeat ||= isOfKey(batch.batch);
      const activities = this.activitiesOf(batch);
      for (let index = from; index < to; index++) {
        const activity = activities[index];
        // It was checked when it was accepted; only a newer version's rules can differ.
        if (activity === undefined) continue;
        deliveries.push({
          id: batch.replayOf ?? activityId(batch.batch, index),
          activity,
          position: batch.seq * PLACES + index,
          isReplay: batch.replayOf !== null,
        });
      }
      end = to === batch.count ? whole : { ...end, done: to };
      if (to < batch.count) break;
    }
    return { deliveries, attempts, mayRepeat, hasMore, end };
  }

  private activitiesOf(batch: Batch): readonly Activity[] {
    if (this.last?.seq !== batch.seq) this.last = { seq: batch.seq, activities: this.queue.activitiesOf(batch) };
    return this.last.activities;
  }

  private async fromHistory(cursor: Cursor, from: string, max: number, now: number): Promise<Leased | null> {
    const { to, entries } = await this.read(cursor, from, max).catch((error: unknown) => {
      this.free(now);
      throw error;
    });
    if (entries.length === 0) {
      this.client
        .query("UPDATE sluice_cursors SET history_from = NULL, attempts = 0, available_at = 0, owner = NULL WHERE sink = ?1 AND owner = ?2")
        .run(this.sink, this.owner);
      return this.lease(max, now);
    }
    if (cursor.historyTo === null) this.client.query("UPDATE sluice_cursors SET history_to = ?2 WHERE sink = ?1").run(this.sink, to);
    const deliveries = entries.flatMap(({ id, payload, place }): Delivered[] => {
      const activity = parseActivity(payload);
      return "faults" in activity ? [] : [{ id, activity, position: HISTORY + Number(place), isReplay: false }];
    });
    return { deliveries, attempts: cursor.attempts, mayRepeat: true, end: { historyAfter: entries.at(-1)?.place ?? "" } };
  }

  /** Reads on in a log: up to what was the newest when it was begun. */
  private async read({ historyAfter, historyTo }: Cursor, from: string, max: number) {
    const ledger = this.queue.ledgerOf(from);
    const to = historyTo ?? (await ledger?.newest()) ?? "";
    return { to, entries: to === "" || ledger === null ? [] : await ledger.history(historyAfter, to, max) };
  }

  /**
   * Notes how far the sink has come. Belongs within the transaction of what it did, where it is on the same connection: throws `LeaseLost`
   * when another worker has the portion now.
   */
  done(portion: Portion): void {
    const { end } = portion as Leased;
    this.client.transaction(() => {
      const { changes } =
        "historyAfter" in end
          ? this.client
              .query(
                "UPDATE sluice_cursors SET history_after = ?3, attempts = 0, available_at = 0, owner = NULL WHERE sink = ?1 AND owner = ?2",
              )
              .run(this.sink, this.owner, end.historyAfter)
          : this.client
              .query(
                "UPDATE sluice_cursors SET seq = ?3, done = ?4, attempts = 0, available_at = 0, owner = NULL WHERE sink = ?1 AND owner = ?2",
              )
              .run(this.sink, this.owner, end.seq, end.done);
      if (changes !== 1 || !this.isThere(end)) throw new LeaseLost("another worker has the batch");
      if ("seq" in end) this.queue.trim();
    })();
  }

  /** Tells whether what is settled is still there: an older version beside this one removes what it has applied, and knows no cursors. */
  private isThere(end: Leased["end"]): boolean {
    if (!("seq" in end) || end.batches === 0) return true;
    const { batches } = this.client
      .query("SELECT count(*) AS batches FROM sluice_queue WHERE seq > ?1 AND seq <= ?2")
      .get(end.from, end.seq) as { batches: number };
    return batches === end.batches;
  }

  retry(_portion: Portion, at: number): void {
    this.free(at);
  }

  /** Lets go of the cursor: whoever comes first has it from `at` on. */
  private free(at: number): void {
    this.client
      .query("UPDATE sluice_cursors SET available_at = ?3, owner = NULL WHERE sink = ?1 AND owner = ?2")
      .run(this.sink, this.owner, at);
  }

  /** Keeps a portion that takes longer to apply. */
  keep(_portion: Portion, now: number): void {
    this.client.query("UPDATE sluice_cursors SET available_at = ?3 WHERE sink = ?1 AND owner = ?2").run(this.sink, this.owner, now + LEASE);
  }

  nextAt(): number | null {
    return this.availableAt;
  }

  backlog(): Backlog {
    const cursor = this.cursor();
    if (cursor === null) return { batches: 0, activities: 0, size: 0, oldest: null };
    const { seq, done, historyFrom } = cursor;
    const waiting = this.client
      .query(
        "SELECT count(*) AS batches, coalesce(sum(activities), 0) AS activities, coalesce(sum(octet_length(body)), 0) AS size, min(accepted_at) AS oldest FROM sluice_queue WHERE seq > ?1 AND (sink IS NULL OR sink = ?2)",
      )
      .get(seq, this.sink) as { batches: number; activities: number; size: number; oldest: number | null };
    return { ...waiting, activities: waiting.activities - done, isCatchingUp: historyFrom !== null };
  }

  async history(): Promise<number> {
    const cursor = this.cursor();
    const ledger = cursor === null || cursor.historyFrom === null ? null : this.queue.ledgerOf(cursor.historyFrom);
    return cursor === null || ledger === null || cursor.historyTo === null ? 0 : ledger.left(cursor.historyAfter, cursor.historyTo);
  }
}
