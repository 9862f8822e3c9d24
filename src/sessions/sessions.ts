import type { Role } from "../admin/rights.ts";
import type { Storage } from "../storage/open.ts";
import type { SessionUse } from "../storage/schema.ts";
import type { Clock } from "../values/clock.ts";
import { hashKey, randomText } from "../values/key-format.ts";

/** Says whose a session is, and what for. */
export interface Session {
  readonly use: SessionUse;
  /** What names the admin token that it was made with (`AdminToken.name` is for people); `null` where it was none. */
  readonly token: string | null;
  /** The name of whoever uses it, for the audit; `null` for a consumer's. */
  readonly actor: string | null;
  /** The role that an issuer gave; `null` where a token says which it is now. */
  readonly role: Role | null;
  /** The values of the issuer's claim that the role comes from; `null` where no issuer gave it. */
  readonly claims: readonly string[] | null;
  /** The consumer, on the page for consumers. */
  readonly consumer: string | null;
  /** Milliseconds since 1970. */
  readonly madeAt: number;
  readonly expiresAt: number;
}

/** Says what a session is to be made for. */
export interface NewSession extends Pick<Session, "use" | "token" | "actor" | "role" | "consumer"> {
  readonly claims?: readonly string[];
  /** Milliseconds that it lasts. */
  readonly ttl: number;
}

export interface SessionsDeps {
  readonly storage: Storage;
  readonly clock: Clock;
  /** Learns that somebody was signed out, who may be reading something at the moment. */
  readonly onEnd?: () => void;
}

/** Sessions, or links, of each use that there may be: the oldest go. Each takes a sign-in, or a link that an operator makes. */
const MAX_SESSIONS = 10_000;

/** Characters of an id, 62 of each: 238 bits, which nobody guesses. */
const ID_LENGTH = 40;
const ID = /^[0-9A-Za-z]{40}$/;

interface Row extends Omit<Session, "claims"> {
  readonly claims: string | null;
}

const COLUMNS = '"use", token, actor, role, claims, consumer, made_at AS madeAt, expires_at AS expiresAt';

/**
 * Keeps sessions of browsers, and links that begin one, in the database: of an id only its hash. They are records, so that other processes
 * and instances know them as well. All processes may find one; the one that writes the database makes and ends them.
 */
export class Sessions {
  constructor(private readonly deps: SessionsDeps) {}

  /** Makes a session or a link. `id` is what the browser shows; it is stored nowhere. `expiresAt` in milliseconds since 1970. */
  make({ use, token, actor, role, consumer, ttl, claims }: NewSession): { id: string; expiresAt: number } {
    const { clock, storage } = this.deps;
    const id = randomText(ID_LENGTH);
    const now = clock.wall();
    const expiresAt = now + ttl;
    storage.client
      .transaction(() => {
        storage.client
          .query(
            'DELETE FROM sessions WHERE hash IN (SELECT hash FROM sessions WHERE "use" = ?1 ORDER BY made_at DESC, hash LIMIT -1 OFFSET ?2)',
          )
          .run(use, MAX_SESSIONS - 1);
        storage.client
          .query(
            'INSERT INTO sessions (hash, "use", token, actor, role, claims, consumer, made_at, expires_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)',
          )
          .run(hashKey(id), use, token, actor, role, claims === undefined ? null : JSON.stringify(claims), consumer, now, expiresAt);
      })
      .immediate();
    return { id, expiresAt };
  }

  /** Finds the session of this id that was made for this use; `null` when there is none any more. */
  find(id: string, use: SessionUse): Session | null {
    if (!ID.test(id)) return null;
    const row = this.deps.storage.client
      .query<Row, [string, string, number]>(`SELECT ${COLUMNS} FROM sessions WHERE hash = ?1 AND "use" = ?2 AND expires_at > ?3`)
      .get(hashKey(id), use, this.deps.clock.wall());
    return row === null ? null : sessionOf(row);
  }

  /**
   * Takes the link of this id: it works once, for whoever is first. `null` when there is none any more. Instances that share records do it
   * while they hold the lock (`Replication.write`), so that it works once among all of them.
   */
  takeLink(id: string, use: "consoleLink" | "myLink"): Session | null {
    if (!ID.test(id)) return null;
    const row = this.deps.storage.client
      .query<Row, [string, string]>(`DELETE FROM sessions WHERE hash = ?1 AND "use" = ?2 RETURNING ${COLUMNS}`)
      .get(hashKey(id), use);
    return row === null || row.expiresAt <= this.deps.clock.wall() ? null : sessionOf(row);
  }

  /** Ends one session. */
  end(id: string): void {
    this.deps.storage.client.query("DELETE FROM sessions WHERE hash = ?1").run(hashKey(id));
    this.deps.onEnd?.();
  }

  /** Ends all sessions and links of a consumer. */
  endOfConsumer(consumer: string): void {
    this.deps.storage.client.query("DELETE FROM sessions WHERE consumer = ?1").run(consumer);
    this.deps.onEnd?.();
  }

  /** Forgets those whose time is over. */
  prune(): void {
    this.deps.storage.client.query("DELETE FROM sessions WHERE expires_at <= ?1").run(this.deps.clock.wall());
  }
}

/** Ends all sessions and links of an admin token, on a database that may be no running gateway's. */
export function endSessionsOfToken({ client }: Storage, token: string): void {
  client.query("DELETE FROM sessions WHERE token = ?1").run(token);
}

// What is stored was written above: a list of texts.
const sessionOf = (row: Row): Session => ({ ...row, claims: row.claims === null ? null : (JSON.parse(row.claims) as string[]) });
