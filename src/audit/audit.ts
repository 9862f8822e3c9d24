import { AsyncLocalStorage } from "node:async_hooks";
import type { Storage } from "../storage/open.ts";
import type { Emit } from "../telemetry/occurrences.ts";
import type { Clock } from "../values/clock.ts";

/** Says who does something. */
export interface Actor {
  /** The admin token's name, or `system`. */
  readonly name: string;
  readonly ip: string;
  readonly requestId: string;
  /** Why it is done, in the actor's own words; left out: nobody has said. */
  readonly note?: string | null;
  /** True where it is done in the console. */
  readonly isInConsole?: boolean;
}

/** Says what is done. Records must hold no secret. */
export interface AuditedChange {
  /** A word such as `key.rotate`. */
  readonly action: string;
  /** A text such as `key key_0199…`. */
  readonly subject: string;
  readonly before?: unknown;
  readonly after?: unknown;
}

/** Holds one row, as the API shows it. */
export interface AuditRow {
  readonly seq: number;
  readonly id: string;
  /** Milliseconds since 1970. */
  readonly at: number;
  readonly actor: string;
  readonly ip: string;
  readonly action: string;
  readonly subject: string;
  /** The record before and after, as JSON. */
  readonly before: string | null;
  readonly after: string | null;
  readonly requestId: string;
  readonly hash: string;
}

export interface AuditFilter {
  readonly actor?: string | undefined;
  readonly action?: string | undefined;
  readonly subject?: string | undefined;
  /** Milliseconds since 1970; the first is included, the second is not. */
  readonly from?: number | undefined;
  readonly to?: number | undefined;
}

/** Says what a look through the whole chain found. */
export interface Verification {
  readonly rows: number;
  /** The first row that is not as it was written; `null` when all are. */
  readonly broken: { readonly seq: number; readonly id: string | null; readonly why: string } | null;
}

const SYSTEM: Actor = { name: "system", ip: "", requestId: "" };
const COLUMNS = "seq, id, at, actor, ip, action, subject, before, after, request_id AS requestId, hash";

interface Chain {
  readonly firstSeq: number;
  readonly anchor: string;
  readonly lastSeq: number;
  readonly lastHash: string;
}

export interface AuditDeps {
  readonly storage: Storage;
  readonly clock: Clock;
  /** Tells of a change once it is written down; left out: nobody is told. */
  readonly emit?: Emit;
}

/**
 * Keeps the record of what was done to the gateway: append-only, each row's hash over the row and the hash before it (SHA-256), so that a
 * row that is changed, taken out or put in is found. A change and its row are one transaction.
 */
export class Audit {
  private readonly actors = new AsyncLocalStorage<Actor>();
  /** Writes what belongs to a change besides its row, in the same transaction: all of it holds, or none. */
  alongside: (change: AuditedChange, actor: Actor) => void = () => {};

  /** What is told of once a transaction of several changes is over; `null`: there is none. */
  private untold: (() => void)[] | null = null;

  constructor(private readonly deps: AuditDeps) {}

  /** Runs `work` in this actor's name. */
  as<T>(actor: Actor, work: () => T): T {
    return this.actors.run(actor, work);
  }

  /** Runs `work` in the gateway's own name, whoever's request has led to it. */
  asSystem<T>(work: () => T): T {
    return this.actors.run(SYSTEM, work);
  }

  get actor(): Actor {
    return this.actors.getStore() ?? SYSTEM;
  }

  /** Runs a change and writes its row, both or neither. */
  change<T>(change: AuditedChange, work: () => T): T {
    const result = this.deps.storage.client
      .transaction(() => {
        const done = work();
        this.append(change);
        this.alongside(change, this.actor);
        return done;
      })
      .immediate();
    const { actor } = this;
    const tell = (): void => this.deps.emit?.({ type: "change", change, actor });
    if (this.untold === null) tell();
    else this.untold.push(tell);
    return result;
  }

  /** Runs several changes in one transaction: all of them or none. Nobody is told of one before it is over. */
  together<T>(work: () => T): T {
    if (this.untold !== null) return work();
    const untold: (() => void)[] = [];
    this.untold = untold;
    let result: T;
    try {
      result = this.deps.storage.client.transaction(work).immediate();
    } finally {
      this.untold = null;
    }
    for (const tell of untold) tell();
    return result;
  }

  /** Writes the row of something that changes nothing in the database. */
  note(change: AuditedChange): void {
    this.change(change, () => {});
  }

  /** Gives up to `limit` + 1 rows, the newest first, before row `before`. */
  page(filter: AuditFilter, before: number, limit: number): AuditRow[] {
    const { where, values } = conditions(filter);
    return this.deps.storage.client
      .query<AuditRow, (string | number)[]>(`SELECT ${COLUMNS} FROM audit WHERE seq < ?${where} ORDER BY seq DESC LIMIT ?`)
      .all(before, ...values, limit + 1);
  }

  /** Gives all rows that match, the oldest first, a thousand at a time. */
  *pages(filter: AuditFilter): Generator<AuditRow[]> {
    const { where, values } = conditions(filter);
    const query = this.deps.storage.client.query<AuditRow, (string | number)[]>(
      `SELECT ${COLUMNS} FROM audit WHERE seq > ?${where} ORDER BY seq LIMIT 1000`,
    );
    for (let after = 0; ; ) {
      const rows = query.all(after, ...values);
      if (rows.length === 0) return;
      yield rows;
      after = rows.at(-1)?.seq ?? after;
    }
  }

  /** Reads the whole chain and compares each row with its hash. */
  verify(): Verification {
    // In one transaction: rows that come meanwhile are not missed at the end.
    return this.deps.storage.client.transaction(() => {
      const chain = this.chain();
      if (chain === null) {
        const stray = this.deps.storage.client.query<{ seq: number; id: string }, []>("SELECT seq, id FROM audit ORDER BY seq").get();
        return { rows: 0, broken: stray === null ? null : { ...stray, why: "the chain's beginning is gone" } };
      }
      let expected = chain.firstSeq;
      let hash = chain.anchor;
      for (const page of this.pages({})) {
        for (const row of page) {
          const rows = expected - chain.firstSeq;
          if (row.seq !== expected) return { rows, broken: { seq: expected, id: null, why: "the row is gone" } };
          if (hashOf(hash, row) !== row.hash)
            return { rows, broken: { seq: row.seq, id: row.id, why: "the row is not what was written, or one before it was exchanged" } };
          hash = row.hash;
          expected++;
        }
      }
      const rows = expected - chain.firstSeq;
      if (expected !== chain.lastSeq + 1) return { rows, broken: { seq: expected, id: null, why: "rows at the end are gone" } };
      if (hash !== chain.lastHash)
        return { rows, broken: { seq: chain.lastSeq, id: null, why: "the chain's end is not what was written" } };
      return { rows, broken: null };
    })();
  }

  /** Drops rows older than `before` (milliseconds since 1970). The rest can still be verified: the chain then begins after them. */
  prune(before: number): number {
    const { client } = this.deps.storage;
    return client
      .transaction(() => {
        const chain = this.chain();
        const last = client
          .query<{ seq: number; hash: string }, [number]>("SELECT seq, hash FROM audit WHERE at < ?1 ORDER BY seq DESC LIMIT 1")
          .get(before);
        if (chain === null || last === null) return 0;
        client.query("DELETE FROM audit WHERE seq <= ?1").run(last.seq);
        client.query("UPDATE audit_chain SET first_seq = ?1, anchor = ?2 WHERE id = 1").run(last.seq + 1, last.hash);
        return last.seq - chain.firstSeq + 1;
      })
      .immediate();
  }

  private append({ action, subject, before, after }: AuditedChange): void {
    const { client } = this.deps.storage;
    const { actor } = this;
    const chain = this.chain();
    const seq = (chain?.lastSeq ?? 0) + 1;
    const row = {
      seq,
      id: Bun.randomUUIDv7(),
      at: this.deps.clock.wall(),
      actor: actor.name,
      ip: actor.ip,
      action,
      subject,
      before: before === undefined || before === null ? null : JSON.stringify(before),
      after: after === undefined || after === null ? null : JSON.stringify(after),
      requestId: actor.requestId,
    };
    const hash = hashOf(chain?.lastHash ?? "", row);
    client
      .query(
        "INSERT INTO audit (seq, id, at, actor, ip, action, subject, before, after, request_id, hash) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
      )
      .run(seq, row.id, row.at, row.actor, row.ip, action, subject, row.before, row.after, row.requestId, hash);
    if (chain === null)
      client.query("INSERT INTO audit_chain (id, first_seq, anchor, last_seq, last_hash) VALUES (1, 1, '', ?1, ?2)").run(seq, hash);
    else client.query("UPDATE audit_chain SET last_seq = ?1, last_hash = ?2 WHERE id = 1").run(seq, hash);
  }

  private chain(): Chain | null {
    return this.deps.storage.client
      .query<Chain, []>("SELECT first_seq AS firstSeq, anchor, last_seq AS lastSeq, last_hash AS lastHash FROM audit_chain WHERE id = 1")
      .get();
  }
}

/** Gives a row's hash. It is made over a list, so that no text can be moved from one column to the next without another hash. */
const hashOf = (previous: string, row: Omit<AuditRow, "hash">): string =>
  new Bun.CryptoHasher("sha256")
    .update(
      JSON.stringify([previous, row.seq, row.id, row.at, row.actor, row.ip, row.action, row.subject, row.before, row.after, row.requestId]),
    )
    .digest("hex");

function conditions({ actor, action, subject, from, to }: AuditFilter): { where: string; values: (string | number)[] } {
  const parts: [string, string | number | undefined][] = [
    [" AND actor = ?", actor],
    [" AND action = ?", action],
    [" AND subject = ?", subject],
    [" AND at >= ?", from],
    [" AND at < ?", to],
  ];
  const given = parts.filter((part): part is [string, string | number] => part[1] !== undefined);
  return { where: given.map(([text]) => text).join(""), values: given.map(([, value]) => value) };
}
