import { Database } from "bun:sqlite";
import { chmodSync, existsSync, mkdirSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { type BunSQLiteDatabase, drizzle } from "drizzle-orm/bun-sqlite";
import type { MigrationMeta } from "drizzle-orm/migrator";
import { damaged, explained, isUnwritable, isWithoutRoom, StorageError, sqliteCode } from "./faults.ts";
import { type Lock, lockAlone, lockShared, openingLockOf, servingLockOf } from "./lock.ts";
import { embeddedMigrations } from "./migrations.macro.ts" with { type: "macro" };

export { StorageError } from "./faults.ts";

/** Gives access to the open database. */
export interface Storage {
  readonly path: string;
  readonly db: BunSQLiteDatabase;
  /** The connection below drizzle, for work that drizzle would be too slow for: reading a million rows. */
  readonly client: Database;
  /** True when there was no room to share the database when it was opened: until `share` has succeeded, no other process can open it. */
  readonly isAlone: boolean;
  /** True where another process writes it: a write throws here. */
  readonly isOnlyRead: boolean;
  /** Tries to share the database again, now that there may be room. Throws `SQLiteError` while there is none. */
  share(): void;
  close(): void;
}

export interface OpenOptions {
  /**
   * True when a gateway serves from it: nobody may exchange the file meanwhile, and on a full disk it is opened all the same, for reading.
   */
  readonly isServed?: boolean;
  /**
   * True where another process writes it, and has opened it before: nothing is ever written here, so that nobody waits for whoever writes
   * (https://sqlite.org/wal.html: readers wait for no writer).
   */
  readonly isOnlyRead?: boolean;
}

/** Milliseconds that a process waits for another one that opens the same database. */
const TURN_WITHIN = 30_000;

/**
 * Opens the database and brings it up to date. The folder is made when it is missing, for the owner only. Two processes that start together
 * take turns. Throws `StorageError` for a folder that can't be written, a file that is no database or is damaged, and a database of a newer
 * version.
 */
export function openStorage(path: string, { isServed = false, isOnlyRead = false }: OpenOptions = {}): Storage {
  if (path === ":memory:") return opened(new Database(path, { strict: true }), path, null, false);
  if (isOnlyRead) return openedToRead(path);
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    const wasOpenedBefore = existsSync(openingLockOf(path));
    // Switching to WAL and reading drizzle's journal are not safe for two at once, whatever busy_timeout says.
    using turn = lockAlone(openingLockOf(path), TURN_WITHIN);
    if (turn === null) throw new StorageError(`${path} is locked by another process: stop it, or name another folder with --data`);
    refuseEmptied(path, wasOpenedBefore);
    const isNew = !existsSync(path);
    const serving = isServed ? shared(path) : null;
    try {
      try {
        return opened(new Database(path, { create: true, strict: true }), path, serving, false, isNew);
      } catch (error) {
        if (isNew || !isServed || !isWithoutRoom(error)) throw error;
        return opened(new Database(path, { create: false, readwrite: true, strict: true }), path, serving, true);
      }
    } catch (error) {
      serving?.close();
      throw error;
    }
  } catch (error) {
    throw explained(error, path);
  }
}

function opened(client: Database, path: string, serving: Lock | null, isAlone: boolean, isNew = false): Storage {
  try {
    if (isNew) chmodSync(path, 0o600);
    client.run("PRAGMA busy_timeout = 5000");
    // The index that processes share of the write-ahead log is a file of 32 KB: without room for it, it is kept in memory, and the database by this process alone (https://sqlite.org/wal.html#noshm).
    if (isAlone) client.run("PRAGMA locking_mode = EXCLUSIVE");
    else client.run("PRAGMA journal_mode = WAL");
    client.run("PRAGMA synchronous = FULL");
    const db = drizzle(client);
    migrate(db, client, path);
    // Only now: a migration may rebuild a table that others refer to.
    client.run("PRAGMA foreign_keys = ON");
    return {
      path,
      db,
      client,
      isOnlyRead: false,
      get isAlone() {
        return isAlone;
      },
      share: () => {
        if (!isAlone) return;
        // An index in memory can only be given up by leaving the mode that needs one.
        client.run("PRAGMA journal_mode = DELETE");
        client.run("PRAGMA locking_mode = NORMAL");
        client.run("PRAGMA journal_mode = WAL");
        isAlone = false;
      },
      close: () => {
        close(client);
        serving?.close();
      },
    };
  } catch (error) {
    client.close();
    throw error;
  }
}

/** Opens the database for reading. Throws `StorageError` where nobody has brought it up to date. */
function openedToRead(path: string): Storage {
  try {
    const serving = shared(path);
    let client: Database | null = null;
    try {
      client = new Database(path, { readwrite: true, create: false, strict: true });
      client.run("PRAGMA busy_timeout = 5000");
      client.run("PRAGMA query_only = ON");
      if (!isUpToDate(client)) throw new StorageError(`${path} is not up to date: the process that writes it must have opened it before`);
      const opened = client;
      return {
        ...{ path, db: drizzle(opened), client: opened, isAlone: false, isOnlyRead: true },
        share: () => {},
        close: () => {
          opened.close();
          serving?.close();
        },
      };
    } catch (error) {
      client?.close();
      serving?.close();
      throw error;
    }
  } catch (error) {
    throw explained(error, path);
  }
}

/** Tells whether all migrations of this version have been made. */
function isUpToDate(client: Database): boolean {
  if (origin(client) !== "known") return false;
  const { count } = client.query<{ count: number }, []>("SELECT count(DISTINCT hash) AS count FROM __drizzle_migrations").get() ?? {
    count: 0,
  };
  return count >= embeddedMigrations().length;
}

/**
 * Marks the database as served by a gateway, by a lock. Where the disk has not even room for an empty file, gives `null`, and the gateway
 * serves without the mark.
 */
function shared(path: string): Lock | null {
  try {
    const lock = lockShared(servingLockOf(path), TURN_WITHIN);
    if (lock === null) throw new StorageError(`${path} is being restored by another process: start again when that is done`);
    return lock;
  } catch (error) {
    if (isUnwritable(error)) return null;
    throw error;
  }
}

/** Throws for a database that was there and is empty now: this is no first start, and to begin anew without a word would lose every key. */
function refuseEmptied(path: string, wasOpenedBefore: boolean): void {
  const sizeOf = (file: string): number => statSync(file, { throwIfNoEntry: false })?.size ?? -1;
  const size = sizeOf(path);
  if (size > 0 || !(size === 0 ? wasOpenedBefore || sizeOf(`${path}-wal`) > 0 : sizeOf(`${path}-wal`) > 0)) return;
  throw new StorageError(
    `${path} ${size === 0 ? "has 0 bytes" : "is gone, but its write-ahead log is there"}, so its records are lost: restore a backup with \`sluice restore FILE\`, or delete ${path}* to start empty`,
  );
}

/**
 * Closes the database with all of it in its one file: statements that are kept prepared would leave the rest in the write-ahead log, where
 * a copied file lacks it.
 */
function close(client: Database): void {
  try {
    client.run("PRAGMA wal_checkpoint(TRUNCATE)");
  } catch (error) {
    // Without room the rest stays in the write-ahead log, and is read from there at the next start.
    if (!isUnwritable(error)) throw error;
  } finally {
    client.close();
  }
}

/** Tells who has written a database: this Sluice or an older one (`known`), a newer one, another program, or nobody yet (`none`). */
export function origin(client: Database): "known" | "newer" | "other" | "none" {
  const hasJournal = client.query("SELECT 1 FROM sqlite_master WHERE name = '__drizzle_migrations'").get() !== null;
  if (!hasJournal) return "none";
  const migrations: MigrationMeta[] = embeddedMigrations();
  const known = new Set(migrations.map((migration) => migration.hash));
  const applied = client.query<{ hash: string }, []>("SELECT hash FROM __drizzle_migrations").all();
  if (applied.length === 0) return "none";
  if (!applied.some(({ hash }) => hash === migrations[0]?.hash)) return "other";
  return applied.every(({ hash }) => known.has(hash)) ? "known" : "newer";
}

/** Runs drizzle's own migrator with the embedded migrations: each runs once, in order, and is entered in its journal. */
function migrate(db: BunSQLiteDatabase, client: Database, path: string): void {
  const migrations: MigrationMeta[] = embeddedMigrations();
  const writer = origin(client);
  if (writer === "newer" || writer === "other") {
    // A damaged file can look like anything.
    if (Object.values(client.query("PRAGMA quick_check(1)").get() as object)[0] !== "ok")
      throw damaged(path, "its pages do not fit together");
    if (writer === "other")
      throw new StorageError(`${path} is another program's database: name another file in storage.path, or another folder with --data`);
    throw new StorageError(`${path} was written by a newer Sluice than this one: run that version, or restore a backup made by this one`);
  }
  // The call that drizzle's `migrate` makes; its own takes a folder, which a compiled program has not.
  const internals = db as unknown as {
    dialect: { migrate(migrations: MigrationMeta[], session: unknown, config: object): void };
    session: unknown;
  };
  try {
    internals.dialect.migrate(migrations, internals.session, {});
  } catch (error) {
    if (sqliteCode(error) !== "SQLITE_FULL") throw error;
    throw new StorageError(
      `${path} was written by an older Sluice and has to be brought up to date, for which the disk has no room: make room on it, or start the version before`,
    );
  }
}
