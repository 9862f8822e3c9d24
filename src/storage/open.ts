import { Database, SQLiteError } from "bun:sqlite";
import { chmodSync, existsSync, mkdirSync } from "node:fs";
import { dirname } from "node:path";
import { type BunSQLiteDatabase, drizzle } from "drizzle-orm/bun-sqlite";
import type { MigrationMeta } from "drizzle-orm/migrator";
import { embeddedMigrations } from "./migrations.macro.ts" with { type: "macro" };

/** The open database. */
export interface Storage {
  readonly db: BunSQLiteDatabase;
  /** For what drizzle would be too slow for: reading a million rows. */
  readonly client: Database;
  close(): void;
}

/** The database can't be used; the message says what to do. */
export class StorageError extends Error {}

/**
 * Opens the database and brings it up to date. The folder is made when it is missing, for the owner only. Two processes that start together take turns.
 * Throws `StorageError` for a folder that can't be written, a file that is no database or is damaged, and a database of a newer version.
 */
export function openStorage(path: string): Storage {
  try {
    if (path !== ":memory:") mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    // Switching to WAL and reading drizzle's journal are not safe for two at once, whatever busy_timeout says.
    using lock = path === ":memory:" ? null : new Database(`${path}.lock`);
    lock?.run("PRAGMA busy_timeout = 30000");
    lock?.run("BEGIN EXCLUSIVE");
    const isNew = path !== ":memory:" && !existsSync(path);
    const client = new Database(path, { create: true, strict: true });
    try {
      if (isNew) chmodSync(path, 0o600);
      client.run("PRAGMA busy_timeout = 5000");
      client.run("PRAGMA journal_mode = WAL");
      client.run("PRAGMA synchronous = FULL");
      const db = drizzle(client);
      migrate(db, client, path);
      // Only now: a migration may rebuild a table that others refer to.
      client.run("PRAGMA foreign_keys = ON");
      return { db, client, close: () => close(client) };
    } catch (error) {
      client.close();
      throw error;
    }
  } catch (error) {
    throw explained(error, path);
  }
}

/** Closes the database with all of it in its one file: statements that are kept prepared would leave the rest in the write-ahead log, where a copied file lacks it. */
function close(client: Database): void {
  try {
    client.run("PRAGMA wal_checkpoint(TRUNCATE)");
  } finally {
    client.close();
  }
}

/** Drizzle's own migrator with the embedded migrations: each runs once, in order, and is entered in its journal. */
function migrate(db: BunSQLiteDatabase, client: Database, path: string): void {
  const migrations: MigrationMeta[] = embeddedMigrations();
  const hasJournal = client.query("SELECT 1 FROM sqlite_master WHERE name = '__drizzle_migrations'").get() !== null;
  if (hasJournal) {
    const known = new Set(migrations.map((migration) => migration.hash));
    const applied = client.query<{ hash: string }, []>("SELECT hash FROM __drizzle_migrations").all();
    if (applied.some(({ hash }) => !known.has(hash))) {
      // A damaged file can look like anything.
      if (Object.values(client.query("PRAGMA quick_check(1)").get() as object)[0] !== "ok")
        throw damaged(path, "its pages do not fit together");
      throw new StorageError(`${path} was written by a newer Sluice than this one: run that version, or restore a backup made by this one`);
    }
  }
  // The call that drizzle's `migrate` makes; its own takes a folder, which a compiled program has not.
  const internals = db as unknown as {
    dialect: { migrate(migrations: MigrationMeta[], session: unknown, config: object): void };
    session: unknown;
  };
  internals.dialect.migrate(migrations, internals.session, {});
}

const damaged = (path: string, why: string): StorageError =>
  new StorageError(`${path} is damaged or no SQLite database (${why}): put a backup in its place, or move it away to start empty`);

function explained(error: unknown, path: string): unknown {
  if (error instanceof SQLiteError) {
    if (error.code === "SQLITE_NOTADB" || error.code === "SQLITE_CORRUPT") {
      return damaged(path, error.message);
    }
    if (error.code === "SQLITE_CANTOPEN" || error.code === "SQLITE_READONLY") {
      return new StorageError(
        `${path} can't be opened for writing (${error.message}): check the folder's owner and permissions, or name another with --data`,
      );
    }
    if (error.code === "SQLITE_BUSY")
      return new StorageError(`${path} is locked by another process: stop it, or name another folder with --data`);
  }
  if (
    error instanceof Error &&
    "code" in error &&
    ["EACCES", "EROFS", "ENOTDIR", "ENOENT", "EEXIST", "EPERM"].includes(String(error.code))
  ) {
    return new StorageError(
      `the folder of ${path} can't be made or written (${error.code}): check its owner and permissions, or name another with --data`,
    );
  }
  return error;
}
