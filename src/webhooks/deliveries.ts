import type { Storage } from "../storage/open.ts";

/** Holds one event on its way to one webhook. Times are milliseconds since 1970. */
export interface Delivery {
  readonly seq: number;
  /** The field `webhook-id`. */
  readonly id: string;
  readonly webhook: string;
  readonly type: string;
  /** The body, byte for byte. */
  readonly body: string;
  readonly state: "waiting" | "delivered" | "failed";
  readonly tries: number;
  readonly createdAt: number;
  readonly nextAt: number | null;
  readonly endedAt: number | null;
  readonly claim: string | null;
  readonly claimUntil: number | null;
  readonly lastAt: number | null;
  readonly status: number | null;
  readonly answer: string | null;
  readonly error: string | null;
}

/** Says what a receiver has answered, or why it gave no answer. */
export interface Outcome {
  readonly status: number | null;
  /** The first 4 KB of its body. */
  readonly answer: string | null;
  /** Why the event counts as not delivered; `null`: it is delivered. */
  readonly error: string | null;
}

/** What is to be written down for one webhook. */
export type NewDelivery = Pick<Delivery, "webhook" | "type" | "body" | "createdAt" | "claim" | "claimUntil">;

/** The most events that wait for one webhook: some 100 MB. */
export const MAX_WAITING = 100_000;
/** The deliveries that are kept of each webhook after they have ended, and for how long, in milliseconds. */
const KEPT_ENDED = 1000;
const KEPT_FOR = 7 * 86_400_000;
/** The rows that one pruning removes at most of each webhook: it must not hold up requests. */
const PRUNED_AT_ONCE = 5000;
/** The same for what a webhook has left that is gone: there is no hurry. */
const SWEPT_AT_ONCE = 500;

/** Makes the id of an event on its way to one webhook. */
export const makeId = (): string => `msg_${Bun.randomUUIDv7("hex").replaceAll("-", "")}`;

const NONE: ReadonlySet<string> = new Set();

const COLUMNS =
  "seq, id, webhook, type, body, state, tries, created_at AS createdAt, next_at AS nextAt, ended_at AS endedAt, claim, claim_until AS claimUntil, last_at AS lastAt, status, answer, error";

/** Keeps events until they are delivered or given up: what is written here outlives the process. */
export class Deliveries {
  /** The number of events that wait for each webhook. Another process on the same database may change it: `recount` looks. */
  private readonly waitingFor = new Map<string, number>();
  /** Those whose number was changed in a transaction that may have been rolled back since, with the last row put there; `null`: count. */
  private readonly uncertain = new Map<string, string | null>();
  /** The last deliveries of webhooks that are gone: up to there nothing counts, though a webhook has the name again. */
  private readonly forgotten = new Map<string, number>();

  constructor(
    private readonly storage: Storage,
    private readonly maxWaiting = MAX_WAITING,
  ) {
    for (const { webhook, seq } of storage.client
      .query<{ webhook: string; seq: number }, []>("SELECT webhook, seq FROM webhook_forgotten")
      .all())
      this.forgotten.set(webhook, seq);
    for (const webhook of this.names()) this.recount(webhook);
  }

  /** Writes an event down for a webhook. Gives how many older ones had to go for it. */
  put({ webhook, type, body, createdAt, claim, claimUntil }: NewDelivery): number {
    const { client } = this.storage;
    const id = makeId();
    const waiting = this.waiting(webhook) + 1;
    client
      .query(
        "INSERT INTO webhook_deliveries (id, webhook, type, body, created_at, next_at, claim, claim_until) VALUES (?1, ?2, ?3, ?4, ?5, ?5, ?6, ?7)",
      )
      .run(id, webhook, type, body, createdAt, claim, claimUntil);
    const dropped =
      waiting <= this.maxWaiting
        ? 0
        : client
            .query(
              "DELETE FROM webhook_deliveries WHERE seq IN (SELECT seq FROM webhook_deliveries INDEXED BY webhook_deliveries_state WHERE webhook = ?1 AND state = 'waiting' AND seq > ?3 ORDER BY seq LIMIT ?2)",
            )
            .run(webhook, waiting - this.maxWaiting, this.since(webhook)).changes;
    this.count(webhook, waiting - dropped, id);
    return dropped;
  }

  /** Remembers until a time that something was told; false: it is remembered already. `now`: what was remembered until then is forgotten. */
  mark(name: string, until: number, now: number): boolean {
    const { changes } = this.storage.client
      .query("INSERT INTO webhook_marks (name, until) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET until = ?2 WHERE until <= ?3")
      .run(name, until, now);
    return changes > 0;
  }

  /** Runs some work as one transaction. */
  atOnce<T>(work: () => T): T {
    const { client } = this.storage;
    if (client.inTransaction) return client.transaction(work)();
    this.settle();
    const result = client.transaction(work).immediate();
    this.uncertain.clear();
    return result;
  }

  /** Gives the oldest event that was not tried yet and is none of `except`, which are few; `null`: there is none. */
  first(webhook: string, except: ReadonlySet<string> = NONE): Delivery | null {
    const oldest = this.storage.client
      .query<Delivery, [string, number, number]>(
        `SELECT ${COLUMNS} FROM webhook_deliveries WHERE webhook = ?1 AND state = 'waiting' AND tries = 0 AND seq > ?3 ORDER BY seq LIMIT ?2`,
      )
      .all(webhook, except.size + 1, this.since(webhook));
    return oldest.find(({ id }) => !except.has(id)) ?? null;
  }

  /** Gives up to `limit` events that are due to be tried again, the most overdue first. */
  due(webhook: string, now: number, limit: number): Delivery[] {
    return this.storage.client
      .query<Delivery, [string, number, number, number]>(
        `SELECT ${COLUMNS} FROM webhook_deliveries WHERE webhook = ?1 AND state = 'waiting' AND tries > 0 AND next_at <= ?2 AND seq > ?4 ORDER BY next_at LIMIT ?3`,
      )
      .all(webhook, now, limit, this.since(webhook));
  }

  /** Writes down how a try has ended. `nextAt`: the time of the next one; `null`: there is none. */
  tried({ id, webhook, seq }: Delivery, at: number, { status, answer, error }: Outcome, nextAt: number | null): void {
    const state = error === null ? "delivered" : nextAt === null ? "failed" : "waiting";
    const waiting = this.waiting(webhook);
    const { changes } = this.storage.client
      .query(
        "UPDATE webhook_deliveries SET state = ?2, tries = tries + 1, last_at = ?3, status = ?4, answer = ?5, error = ?6, next_at = ?7, ended_at = ?8 WHERE id = ?1 AND state = 'waiting'",
      )
      .run(id, state, at, status, answer, error, nextAt, state === "waiting" ? null : at);
    if (state !== "waiting" && changes > 0 && seq > this.since(webhook)) this.count(webhook, waiting - 1);
  }

  /** Forgets an event, which another instance tells. */
  drop({ id, webhook, seq }: Delivery): void {
    const waiting = this.waiting(webhook);
    const { changes } = this.storage.client.query("DELETE FROM webhook_deliveries WHERE id = ?1").run(id);
    if (changes > 0 && seq > this.since(webhook)) this.count(webhook, waiting - 1);
  }

  /** Lets an event be tried anew, as if it had come now. */
  again({ id, webhook, state }: Delivery, now: number): void {
    const waiting = this.waiting(webhook);
    this.storage.client
      .query("UPDATE webhook_deliveries SET state = 'waiting', tries = 0, next_at = ?2, ended_at = NULL, claim = NULL WHERE id = ?1")
      .run(id, now);
    if (state !== "waiting") this.count(webhook, waiting + 1);
  }

  find(id: string): Delivery | null {
    const found = this.storage.client.query<Delivery, [string]>(`SELECT ${COLUMNS} FROM webhook_deliveries WHERE id = ?1`).get(id);
    return found !== null && found.seq > this.since(found.webhook) ? found : null;
  }

  /** Gives up to `limit` + 1 of a webhook's deliveries, the newest first, before the one with this number. */
  page(webhook: string, state: Delivery["state"] | null, before: number, limit: number): Delivery[] {
    const { client } = this.storage;
    const since = this.since(webhook);
    return state === null
      ? client
          .query<Delivery, [string, number, number, number]>(
            `SELECT ${COLUMNS} FROM webhook_deliveries INDEXED BY webhook_deliveries_webhook WHERE webhook = ?1 AND seq < ?2 AND seq > ?4 ORDER BY seq DESC LIMIT ?3`,
          )
          .all(webhook, before, limit + 1, since)
      : client
          .query<Delivery, [string, number, number, number, string]>(
            `SELECT ${COLUMNS} FROM webhook_deliveries INDEXED BY webhook_deliveries_state WHERE webhook = ?1 AND state = ?5 AND seq < ?2 AND seq > ?4 ORDER BY seq DESC LIMIT ?3`,
          )
          .all(webhook, before, limit + 1, since, state);
  }

  /** Gives the number of events that wait for a webhook. */
  waiting(webhook: string): number {
    this.settle();
    return this.waitingFor.get(webhook) ?? 0;
  }

  /** Tells whether so many events wait for a webhook that the next one drives out the oldest. */
  isFull(webhook: string): boolean {
    return this.waiting(webhook) >= this.maxWaiting;
  }

  /** Gives the time of the oldest event that waits for a webhook; `null`: none does. */
  oldest(webhook: string): number | null {
    return (
      this.storage.client
        .query<{ at: number }, [string, number]>(
          "SELECT created_at AS at FROM webhook_deliveries INDEXED BY webhook_deliveries_state WHERE webhook = ?1 AND state = 'waiting' AND seq > ?2 ORDER BY seq LIMIT 1",
        )
        .get(webhook, this.since(webhook))?.at ?? null
    );
  }

  /** Removes what has ended long ago or is more than is kept, and old marks, and forgets webhooks that are gone. For a timer. */
  prune(webhooks: ReadonlySet<string>, now: number): void {
    const { client } = this.storage;
    const there = this.names();
    for (const webhook of there) {
      if (webhooks.has(webhook))
        client
          .query(
            `DELETE FROM webhook_deliveries WHERE seq IN (SELECT seq FROM webhook_deliveries INDEXED BY webhook_deliveries_ended
             WHERE webhook = ?1 AND ended_at IS NOT NULL AND (ended_at < ?2 OR ended_at < (SELECT ended_at FROM webhook_deliveries INDEXED BY webhook_deliveries_ended
             WHERE webhook = ?1 AND ended_at IS NOT NULL ORDER BY ended_at DESC LIMIT 1 OFFSET ?3)) LIMIT ?4)`,
          )
          .run(webhook, now - KEPT_FOR, KEPT_ENDED, PRUNED_AT_ONCE);
      else this.forget(webhook);
    }
    // One of them each time: to count 100,000 takes some milliseconds.
    const [next] = this.waitingFor.keys();
    if (next !== undefined) this.recount(next);
    for (const webhook of there) if (webhooks.has(webhook) && !this.waitingFor.has(webhook)) this.recount(webhook);
    client.query("DELETE FROM webhook_marks WHERE until < ?1").run(now);
  }

  /** Forgets all of a webhook that is gone, at once; what it has left is removed by `sweep`. */
  forget(webhook: string): void {
    const { client } = this.storage;
    const last = client
      .query<{ seq: number | null }, [string]>(
        "SELECT max(seq) AS seq FROM webhook_deliveries INDEXED BY webhook_deliveries_webhook WHERE webhook = ?1",
      )
      .get(webhook)?.seq;
    this.waitingFor.delete(webhook);
    if (last === null || last === undefined || last <= this.since(webhook)) return;
    this.forgotten.set(webhook, last);
    client
      .query("INSERT INTO webhook_forgotten (webhook, seq) VALUES (?1, ?2) ON CONFLICT (webhook) DO UPDATE SET seq = ?2")
      .run(webhook, last);
  }

  /** Removes some of what webhooks that are gone have left. For a timer. */
  sweep(): void {
    for (const [webhook, last] of this.forgotten) {
      const { client } = this.storage;
      const { changes } = client
        .query(
          "DELETE FROM webhook_deliveries WHERE seq IN (SELECT seq FROM webhook_deliveries INDEXED BY webhook_deliveries_webhook WHERE webhook = ?1 AND seq <= ?2 ORDER BY seq LIMIT ?3)",
        )
        .run(webhook, last, SWEPT_AT_ONCE);
      if (changes > 0) return;
      client.query("DELETE FROM webhook_forgotten WHERE webhook = ?1").run(webhook);
      this.forgotten.delete(webhook);
    }
  }

  /** Gives the number of the last delivery that belonged to another webhook of this name; 0: there was none. */
  private since(webhook: string): number {
    return this.forgotten.get(webhook) ?? 0;
  }

  /** Gives the webhooks that have deliveries: one look in the index for each, since there may be 100,000 of one. */
  private names(): string[] {
    return this.storage.client
      .query<{ webhook: string }, []>(
        `WITH RECURSIVE names (webhook) AS (SELECT min(webhook) FROM webhook_deliveries
         UNION ALL SELECT (SELECT min(webhook) FROM webhook_deliveries WHERE webhook > names.webhook) FROM names WHERE names.webhook IS NOT NULL)
         SELECT webhook FROM names WHERE webhook IS NOT NULL`,
      )
      .all()
      .map(({ webhook }) => webhook);
  }

  /** Takes over how many wait. `id`: of the row that was put for it. */
  private count(webhook: string, waiting: number, id: string | null = null): void {
    this.waitingFor.set(webhook, Math.max(0, waiting));
    if (!this.storage.client.inTransaction) return;
    this.uncertain.set(webhook, this.uncertain.get(webhook) === null ? null : id);
  }

  /** Counts anew what a transaction has changed that was rolled back. */
  private settle(): void {
    const { client } = this.storage;
    if (this.uncertain.size === 0 || client.inTransaction) return;
    const isThere = client.query<{ seq: number }, [string]>("SELECT seq FROM webhook_deliveries WHERE id = ?1");
    for (const [webhook, id] of this.uncertain) if (id === null || isThere.get(id) === null) this.recount(webhook);
    this.uncertain.clear();
  }

  private recount(webhook: string): void {
    const n = this.storage.client
      .query<{ n: number }, [string, number]>(
        "SELECT count(*) AS n FROM webhook_deliveries INDEXED BY webhook_deliveries_state WHERE webhook = ?1 AND state = 'waiting' AND seq > ?2",
      )
      .get(webhook, this.since(webhook))?.n;
    // At the end of the map: `prune` takes them in turn.
    this.waitingFor.delete(webhook);
    this.waitingFor.set(webhook, n ?? 0);
  }
}
