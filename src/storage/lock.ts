import { Database, SQLiteError } from "bun:sqlite";
import { existsSync } from "node:fs";

/** Holds a lock between processes. The operating system takes it back when its holder dies, however that dies. */
export interface Lock {
  close(): void;
  [Symbol.dispose](): void;
}

/**
 * Takes a lock alone, so that nobody else may hold or share it; waits for it up to `patience` milliseconds. `null`: others have it. `path`
 * is an empty file of its own, which is made and stays. Throws `SQLiteError` when the file can't be opened.
 */
export function lockAlone(path: string, patience: number): Lock | null {
  return locked(path, patience, "BEGIN EXCLUSIVE");
}

/** Takes a lock that others may share, but nobody may have alone meanwhile. `null`: somebody has it alone. */
export function lockShared(path: string, patience: number): Lock | null {
  return locked(path, patience, "BEGIN");
}

function locked(path: string, patience: number, begin: "BEGIN" | "BEGIN EXCLUSIVE"): Lock | null {
  const file = new Database(path);
  try {
    file.run(`PRAGMA busy_timeout = ${patience}`);
    // A lock writes nothing, and must not need room for a journal: it is taken on a full disk too.
    file.run("PRAGMA journal_mode = MEMORY");
    file.run(begin);
    // A transaction that only began holds nothing yet; one that has read holds SQLite's SHARED lock (https://sqlite.org/lockingv3.html).
    if (begin === "BEGIN") file.query("SELECT count(*) FROM sqlite_master").get();
    return { close: () => file.close(), [Symbol.dispose]: () => file.close() };
  } catch (error) {
    file.close();
    if (error instanceof SQLiteError && error.code?.startsWith("SQLITE_BUSY")) return null;
    throw error;
  }
}

/** Gives the path of the lock that each gateway shares while it serves from a database. */
export const servingLockOf = (databasePath: string): string => `${databasePath}.serving`;

/** Gives the path of the lock of whoever opens or exchanges a database. */
export const openingLockOf = (databasePath: string): string => `${databasePath}.lock`;

/** Tells whether a gateway serves from a database at this moment. */
export function isServed(databasePath: string): boolean {
  const path = servingLockOf(databasePath);
  if (!existsSync(path)) return false;
  const lock = lockAlone(path, 0);
  lock?.close();
  return lock === null;
}
