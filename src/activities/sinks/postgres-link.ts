import { SQL } from "bun";
import type { PostgresSinkConfig } from "../destinations.ts";
import { SinkAway } from "./sink.ts";

/** Gives the text as a quoted name. */
export const quoted = (name: string): string => `"${name.replaceAll('"', '""')}"`;

/** The longest time for which the server works at one statement, or waits for a lock, and for which we wait for an answer; in milliseconds. */
const STATEMENT = 60_000;
const LOCK = 20_000;
const ANSWER = STATEMENT + 10_000;
/** The longest time that a connection takes to be made, in seconds. */
const CONNECT = 10;

/** Sets the bounds of a transaction. LOCAL: behind PgBouncer the session is not ours. */
export const BOUNDS = `SET LOCAL statement_timeout = ${STATEMENT}; SET LOCAL lock_timeout = ${LOCK}; SET LOCAL idle_in_transaction_session_timeout = ${STATEMENT}`;

/** Tells our advisory locks from those of others: of whoever makes tables, and of whoever writes to the log. */
export const LOCKS = { tables: 1_936_485_475, log: 1_936_485_476 } as const;

/** Says that the connection is gone: whether the statement took effect is not known. */
export class Lost extends Error {}
/** Says that the server does not answer in time. */
class Silent extends Error {}

/** Holds what PostgreSQL answered to a statement. */
export type Answer = readonly Readonly<Record<string, unknown>>[] & { readonly command?: string; readonly count?: number };

/** Gives the SQLSTATE of an error; "" where it is none of the server's. */
export const stateOf = (error: unknown): string =>
  error instanceof SQL.PostgresError && typeof error.errno === "string" ? error.errno : "";

/** Gives what the server says of an error, with its detail. */
export function saidBy(error: unknown): string {
  if (!(error instanceof SQL.PostgresError)) return error instanceof Error ? error.message : String(error);
  const text = error.detail ? `${error.message} (${error.detail})` : error.message;
  return text.length > 2000 ? `${text.slice(0, 1999)}…` : text;
}

/** Gives a text as PostgreSQL keeps it: without the character NUL, and with whole characters alone. */
export const keepable = (text: string): string => text.replaceAll("\0", "\ufffd").toWellFormed();

/** The states in which the same thing may work at once: a deadlock, a change of the schema beneath the statement. */
const AGAIN = /^(40001|40P01|XX000)$/;
/** The states that are no activity's fault: connection, sign-in, no such database, resources, shutdown, locks, read-only, the disk. */
const AWAY = /^(08...|28...|3D000|53...|57P..|55P03|25006|58...|F0...|XX00[12])$/;

/** The states with which the server ends a session: the next one may be well. */
const ENDED = /^(57P0[125]|25P03)$/;

/** Tells whose fault an error of the server is. time: it took too long; none: it is no error of the server's. */
export function kindOf(error: unknown): "again" | "away" | "time" | "statement" | "none" {
  const state = stateOf(error);
  if (state === "") return "none";
  if (AGAIN.test(state)) return "again";
  if (state === "57014") return "time";
  return AWAY.test(state) ? "away" : "statement";
}

/** Asks for one transaction's worth of statements by one connection. */
export interface Session {
  ask(text: string, values?: readonly string[]): Promise<Answer>;
  /** Runs statements without values, parted by semicolons. */
  run(text: string): Promise<Answer>;
  /** Gives the connection back. */
  release(): void;
}

/**
 * Makes connections when they are first needed, and bounds each wait. Statements are not prepared: those that Bun prepares stay on the
 * server as long as the connection, and PgBouncer hands each transaction another one.
 */
export class PostgresLink {
  private sql: SQL | null = null;
  private readonly url: URL;

  constructor(private readonly config: Pick<PostgresSinkConfig, "url" | "ca">) {
    this.url = new URL(config.url);
  }

  /** Names the server for people; never the password. */
  get name(): string {
    const { hostname, port, pathname, username } = this.url;
    return `PostgreSQL at ${hostname}:${port || 5432} (database ${decodeURIComponent(pathname.slice(1)) || "of the user's name"}, user ${decodeURIComponent(username) || "by default"})`;
  }

  /** Takes a connection for itself. Throws `Lost`, `SinkAway`. */
  async session(): Promise<Session> {
    const sql = await this.open();
    const connection = await this.within(sql, sql.reserve(), (CONNECT + 5) * 1000);
    return {
      ask: (text, values) => this.within(sql, connection.unsafe(text, values === undefined ? [] : [...values]) as Promise<Answer>),
      run: (text) => this.within(sql, connection.unsafe(text).simple() as Promise<Answer>),
      release: () => {
        if (this.sql === sql) connection.release();
      },
    };
  }

  /** Asks one statement by itself. Throws `SinkAway`, or the server's error. */
  async ask(text: string, values: readonly string[]): Promise<Answer> {
    for (let left = 1; ; left--) {
      try {
        const sql = await this.open();
        return await this.within(sql, sql.unsafe(text, [...values]) as Promise<Answer>);
      } catch (error) {
        // A connection that was idle may have been closed on the way.
        if (error instanceof Lost && left > 0) continue;
        throw this.explained(error);
      }
    }
  }

  /** Gives an error as a `SinkAway` that says what to do, where no activity is at fault. */
  explained(error: unknown): unknown {
    if (error instanceof SinkAway) return error;
    if (error instanceof Lost || error instanceof Silent) return new SinkAway(`${this.name} ${error.message}`);
    const kind = kindOf(error);
    if (kind === "time") return new Error(`${this.name} took longer than ${STATEMENT / 1000} s: ${saidBy(error)}`);
    if (kind === "statement" || kind === "none") return error;
    return new SinkAway(`${this.name}: ${saidBy(error)}${hint(stateOf(error))}`);
  }

  /** Drops all connections: the next statement makes new ones. */
  drop(): void {
    const { sql } = this;
    this.sql = null;
    // What is still asked by it fails, and whoever asked is told; a failing close has nobody to tell.
    sql?.close({ timeout: 0 }).catch(() => {});
  }

  async close(): Promise<void> {
    const { sql } = this;
    this.sql = null;
    await sql?.close({ timeout: 0 }).catch(() => {});
  }

  private async open(): Promise<SQL> {
    if (this.sql !== null) return this.sql;
    const tls = await this.tls();
    // Another call may have been quicker.
    this.sql ??= new SQL(this.config.url, {
      max: 2,
      prepare: false,
      idleTimeout: 0,
      maxLifetime: 0,
      connectionTimeout: CONNECT,
      connection: { application_name: "sluice" },
      ...(tls === null ? {} : { tls }),
    });
    return this.sql;
  }

  /** Gives how certificates are verified; `null`: as the URL's sslmode says, which verifies none. */
  private async tls(): Promise<{ rejectUnauthorized: true; ca?: string; serverName?: string } | null> {
    const { ca } = this.config;
    const mode = this.url.searchParams.get("sslmode");
    if (ca === null && mode !== "verify-full" && mode !== "verify-ca") return null;
    if (ca === null) return { rejectUnauthorized: true };
    try {
      return { rejectUnauthorized: true, ca: await Bun.file(ca).text() };
    } catch (error) {
      throw new SinkAway(
        `the file with the certificates for ${this.name} can't be read: ${error instanceof Error ? error.message : error}`,
      );
    }
  }

  /** Waits for an answer, a bounded time. Throws `Lost` when the connection is gone, `Silent` when the time is over. */
  private async within<T>(sql: SQL, answer: Promise<T>, bound = ANSWER): Promise<T> {
    let timer: Timer | undefined;
    const silence = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Silent(`did not answer for ${bound / 1000} s`)), bound);
    });
    try {
      return await Promise.race([answer, silence]);
    } catch (error) {
      if (error instanceof Silent) {
        answer.then(undefined, () => {});
        if (this.sql === sql) this.drop();
        throw error;
      }
      if (stateOf(error) === "" || ENDED.test(stateOf(error))) {
        if (this.sql === sql) this.drop();
        throw new Lost(`can't be reached: ${said(error)}`);
      }
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }
}

const said = (error: unknown): string => (error instanceof Error ? error.message : String(error));

function hint(state: string): string {
  if (state.startsWith("28")) return ". Check the user and the password in `url`, and pg_hba.conf on the server";
  if (state === "3D000") return ". Make the database, or name another one in `url`";
  if (state === "53300") return ". Sluice takes two connections: raise max_connections, or close others";
  if (state === "53100") return ". Make room on the server's disk";
  if (state === "55P03") return ". Another session holds a table locked";
  if (state === "25006") return ". It is read-only: name the primary in `url`, not a standby";
  return "";
}
