import type { Database } from "bun:sqlite";
import type { Entry, Failure, Letters } from "./sinks/sink.ts";

/** Keeps what failed in a sink that keeps no account of it: a table beside the queue. */
export class DeadLetters implements Letters {
  constructor(
    private readonly client: Database,
    private readonly sink: string,
  ) {}

  /** Writes down what became of activities, all of them or none. `error`: `null` for one that took effect, whose letter goes. */
  settle(settled: readonly { readonly id: string; readonly payload: () => string; readonly error: string | null }[], at: string): void {
    const put = this.client.query(
      "INSERT INTO sluice_dead_letters (sink, id, payload, created_at, error, state) VALUES (?1, ?2, ?3, ?4, ?5, 'failed') ON CONFLICT (sink, id) DO UPDATE SET error = ?5, state = 'failed'",
    );
    this.client
      .transaction(() => {
        for (const { id, payload, error } of settled)
          if (error === null) this.drop([id]);
          else put.run(this.sink, id, payload(), at, error);
      })
      .immediate();
  }

  /** Drops the letters of these ids. */
  drop(ids: readonly string[]): void {
    const drop = this.client.query("DELETE FROM sluice_dead_letters WHERE sink = ?1 AND id = ?2");
    for (const id of ids) drop.run(this.sink, id);
  }

  failures(place: string, limit: number): Failure[] {
    return this.client
      .query<Failure, [string, number, number]>(
        "SELECT id, state, payload, created_at AS createdAt, error, CAST(place AS TEXT) AS place FROM sluice_dead_letters WHERE sink = ?1 AND place < ?2 ORDER BY place DESC LIMIT ?3",
      )
      .all(this.sink, /^\d{1,15}$/.test(place) ? Number(place) : Number.MAX_SAFE_INTEGER, limit);
  }

  find(id: string): Entry[] {
    return this.client
      .query<Entry, [string, string, string, string]>(
        "SELECT id, payload, state FROM sluice_dead_letters WHERE sink = ?1 AND (id = ?2 OR (id > ?3 AND id < ?4)) ORDER BY place",
      )
      .all(this.sink, id, `${id}:`, `${id};`);
  }

  replaying(ids: readonly string[]): void {
    const mark = this.client.query("UPDATE sluice_dead_letters SET state = 'replaying' WHERE sink = ?1 AND id = ?2 AND state = 'failed'");
    for (const id of ids) mark.run(this.sink, id);
  }

  /** Drops a bounded number of letters from before this time. Gives their number. */
  prune(before: string): number {
    return this.client
      .query(
        "DELETE FROM sluice_dead_letters WHERE place IN (SELECT place FROM (SELECT place, created_at, state FROM sluice_dead_letters WHERE sink = ?1 ORDER BY place LIMIT 5000) WHERE created_at < ?2 AND state <> 'replaying')",
      )
      .run(this.sink, before).changes;
  }
}

/** Marks places among the dead letters, behind all that a log has. */
const EARLIER = "~";

/** Lists what failed in a sink that keeps its own log: that, and then the dead letters from before it did. */
export class LettersOfKeeper implements Letters {
  constructor(
    private readonly ledger: Letters,
    private readonly earlier: DeadLetters,
  ) {}

  async failures(place: string, limit: number): Promise<readonly Failure[]> {
    const isEarlier = place.startsWith(EARLIER);
    const own = isEarlier ? [] : await this.ledger.failures(place, limit);
    const earlier = this.earlier.failures(isEarlier ? place.slice(EARLIER.length) : "", limit - own.length);
    return [...own, ...earlier.map((failure) => ({ ...failure, place: EARLIER + failure.place }))];
  }

  async find(id: string): Promise<readonly Entry[]> {
    const own = await this.ledger.find(id);
    return [...own, ...this.earlier.find(id).filter((each) => !own.some((other) => other.id === each.id))];
  }

  async replaying(ids: readonly string[]): Promise<void> {
    await this.ledger.replaying(ids);
    this.earlier.replaying(ids);
  }
}
