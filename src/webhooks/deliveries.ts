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

const NONE: ReadonlySet<string> = new Set();

const COLUMNS =
  "seq, id, webhook, type, body, state, tries, created_at AS createdAt, next_at AS nextAt, ended_at AS endedAt, claim, claim_until AS claimUntil, last_at AS lastAt, status, answer, error";

/** Keeps events until they are delivered or given up: what is written here outlives the process. */
export class Deliveries {
  /** The number of events that wait for each webhook. Another process on the same database may change it: `recount` looks. */
  private readonly waitingFor = new Map<string, number>();

  constructor(
    private readonly storage: Storage,
    private readonly maxWaiting = MAX_WAITING,
  ) {
    this.recount();
  }

  /** Writes an event down for a webhook. Gives how many older ones had to go for it. */
  put({ webhook, type, body, createdAt, claim, claimUntil }: NewDelivery): number {
    const { client } = this.storage;
    client
      .query(
        "INSERT INTO webhook_deliveries (id, webhook, type, body, created_at, next_at, claim, claim_until) VALUES (?1, ?2, ?3, ?4, ?5, ?5, ?6, ?7)",
      )
      .run(`msg_${Bun.randomUUIDv7("hex").replaceAll("-", "")}`, webhook, type, body, createdAt, claim, claimUntil);
    const waiting = this.waiting(webhook) + 1;
    const dropped =
      waiting <= this.maxWaiting
        ? 0
        : client
            .query(
              "DELETE FROM webhook_deliveries WHERE seq IN (SELECT seq FROM webhook_deliveries INDEXED BY webhook_deliveries_webhook WHERE webhook = ?1 AND state = 'waiting' ORDER BY seq LIMIT ?2)",
            )
            .run(webhook, waiting - this.maxWaiting).changes;
    this.waitingFor.set(webhook, waiting - dropped);
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
    return this.storage.client.transaction(work).immediate();
  }

  /** Gives the oldest event that was not tried yet and is none of `except`, which are few; `null`: there is none. */
  first(webhook: string, except: ReadonlySet<string> = NONE): Delivery | null {
    const oldest = this.storage.client
      .query<Delivery, [string, number]>(
        `SELECT ${COLUMNS} FROM webhook_deliveries WHERE webhook = ?1 AND state = 'waiting' AND tries = 0 ORDER BY seq LIMIT ?2`,
      )
      .all(webhook, except.size + 1);
    return oldest.find(({ id }) => !except.has(id)) ?? null;
  }

  /** Gives up to `limit` events that are due to be tried again, the most overdue first. */
  due(webhook: string, now: number, limit: number): Delivery[] {
    return this.storage.client
      .query<Delivery, [string, number, number]>(
        `SELECT ${COLUMNS} FROM webhook_deliveries WHERE webhook = ?1 AND state = 'waiting' AND tries > 0 AND next_at <= ?2 ORDER BY next_at LIMIT ?3`,
      )
      .all(webhook, now, limit);
  }

  /** Writes down how a try has ended. `nextAt`: the time of the next one; `null`: there is none. */
  tried({ id, webhook }: Delivery, at: number, { status, answer, error }: Outcome, nextAt: number | null): void {
    const state = error === null ? "delivered" : nextAt === null ? "failed" : "waiting";
    const { changes } = this.storage.client
      .query(
        "UPDATE webhook_deliveries SET state = ?2, tries = tries + 1, last_at = ?3, status = ?4, answer = ?5, error = ?6, next_at = ?7, ended_at = ?8 WHERE id = ?1 AND state = 'waiting'",
      )
      .run(id, state, at, status, answer, error, nextAt, state === "waiting" ? null : at);
    if (state !== "waiting" && changes > 0) this.waitingFor.set(webhook, Math.max(0, this.waiting(webhook) - 1));
  }

  /** Forgets an event, which another instance tells. */
  drop({ id, webhook }: Delivery): void {
    const { changes } = this.storage.client.query("DELETE FROM webhook_deliveries WHERE id = ?1").run(id);
    if (changes > 0) this.waitingFor.set(webhook, Math.max(0, this.waiting(webhook) - 1));
  }

  /** Lets an event be tried anew, as if it had come now. */
  again({ id, webhook, state }: Delivery, now: number): void {
    this.storage.client
      .query("UPDATE webhook_deliveries SET state = 'waiting', tries = 0, next_at = ?2, ended_at = NULL, claim = NULL WHERE id = ?1")
      .run(id, now);
    if (state !== "waiting") this.waitingFor.set(webhook, this.waiting(webhook) + 1);
  }

  find(id: string): Delivery | null {
    return this.storage.client.query<Delivery, [string]>(`SELECT ${COLUMNS} FROM webhook_deliveries WHERE id = ?1`).get(id);
  }

  /** Gives up to `limit` + 1 of a webhook's deliveries, the newest first, before the one with this number. */
  page(webhook: string, state: Delivery["state"] | null, before: number, limit: number): Delivery[] {
    return this.storage.client
      .query<Delivery, [string, number, number, string | null]>(
        `SELECT ${COLUMNS} FROM webhook_deliveries INDEXED BY webhook_deliveries_webhook WHERE webhook = ?1 AND seq < ?2 AND (?4 IS NULL OR state = ?4) ORDER BY seq DESC LIMIT ?3`,
      )
      .all(webhook, before, limit + 1, state);
  }

  /** Gives the number of events that wait for a webhook. */
  waiting(webhook: string): number {
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
        .query<{ at: number }, [string]>(
          "SELECT created_at AS at FROM webhook_deliveries INDEXED BY webhook_deliveries_webhook WHERE webhook = ?1 AND state = 'waiting' ORDER BY seq LIMIT 1",
        )
        .get(webhook)?.at ?? null
    );
  }

  /** Removes what has ended long ago or is more than is kept, what belongs to webhooks that are gone, and old marks. For a timer. */
  prune(webhooks: ReadonlySet<string>, now: number): void {
    const { client } = this.storage;
    const there = client.query<{ webhook: string }, []>("SELECT DISTINCT webhook FROM webhook_deliveries").all();
    for (const { webhook } of there) {
      if (webhooks.has(webhook))
        client
          .query(
            `DELETE FROM webhook_deliveries WHERE seq IN (SELECT seq FROM webhook_deliveries INDEXED BY webhook_deliveries_ended
             WHERE webhook = ?1 AND ended_at IS NOT NULL AND (ended_at < ?2 OR ended_at < (SELECT ended_at FROM webhook_deliveries INDEXED BY webhook_deliveries_ended
             WHERE webhook = ?1 AND ended_at IS NOT NULL ORDER BY ended_at DESC LIMIT 1 OFFSET ?3)) LIMIT ?4)`,
          )
          .run(webhook, now - KEPT_FOR, KEPT_ENDED, PRUNED_AT_ONCE);
      else
        client
          .query("DELETE FROM webhook_deliveries WHERE seq IN (SELECT seq FROM webhook_deliveries WHERE webhook = ?1 LIMIT ?2)")
          .run(webhook, PRUNED_AT_ONCE);
    }
    client.query("DELETE FROM webhook_marks WHERE until < ?1").run(now);
    this.recount();
  }

  /** Forgets all of a webhook that is gone. */
  forget(webhook: string): void {
    this.storage.client.query("DELETE FROM webhook_deliveries WHERE webhook = ?1").run(webhook);
    this.waitingFor.delete(webhook);
  }

  private recount(): void {
    this.waitingFor.clear();
    for (const { webhook, n } of this.storage.client
      .query<{ webhook: string; n: number }, []>(
        "SELECT webhook, count(*) AS n FROM webhook_deliveries WHERE state = 'waiting' GROUP BY webhook",
      )
      .all())
      this.waitingFor.set(webhook, n);
  }
}
