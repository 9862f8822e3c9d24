import type { Database } from "bun:sqlite";
import type { Ledger, Refusal } from "./sinks/sink.ts";
import { SqliteLedger } from "./sinks/sqlite-ledger.ts";

/** Refused batches that are handed on at once. */
const AT_ONCE = 200;

/** Writes refused batches into the log beside the queue; where somebody else keeps the log, they wait here until it has them. */
export class Refusals {
  private readonly local: SqliteLedger;

  /** `keeper`: who keeps the log elsewhere; `null`: it is in this database. */
  constructor(
    private readonly client: Database,
    private readonly keeper: Pick<Ledger, "refuse"> | null,
  ) {
    this.local = new SqliteLedger(client);
  }

  /** Writes refused batches down: part of the transaction that is open on the connection. */
  write(refusals: readonly Refusal[]): void {
    if (this.keeper === null) {
      this.local.refuse(refusals);
      return;
    }
    const insert = this.client.query("INSERT INTO sluice_refusals (id, body, at, error) VALUES (?1, ?2, ?3, ?4)");
    for (const { id, body, at, error } of refusals) insert.run(id, body, at, error);
  }

  /** Hands some of what waits to whoever keeps the log. Gives true when there may be more. Throws when that can't take it now. */
  async flush(): Promise<boolean> {
    if (this.keeper === null) return false;
    const waiting = this.client
      .query<Refusal & { place: number }, [number]>("SELECT place, id, body, at, error FROM sluice_refusals ORDER BY place LIMIT ?1")
      .all(AT_ONCE);
    const last = waiting.at(-1);
    if (last === undefined) return false;
    await this.keeper.refuse(waiting);
    this.client.query("DELETE FROM sluice_refusals WHERE place <= ?1").run(last.place);
    return waiting.length === AT_ONCE;
  }

  /** Drops a bounded number from before this time (milliseconds since 1970). Gives their number. */
  prune(before: number): number {
    return this.client
      .query("DELETE FROM sluice_refusals WHERE place IN (SELECT place FROM sluice_refusals ORDER BY place LIMIT 5000) AND at < ?1")
      .run(before).changes;
  }
}
