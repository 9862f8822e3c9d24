import { SQLiteError } from "bun:sqlite";

/** Says that the database can't be used; the message says what to do. */
export class StorageError extends Error {}

/** Gives SQLite's code of an error, such as `SQLITE_FULL` or `SQLITE_IOERR_WRITE`; `null` when the error is not SQLite's. */
export function sqliteCode(error: unknown): string | null {
  const cause = error instanceof Error && !(error instanceof SQLiteError) && error.cause !== undefined ? error.cause : error;
  return cause instanceof SQLiteError ? (cause.code ?? null) : null;
}

/**
 * Tells whether a code is one of these or a variant: variants begin like their code, as in `SQLITE_READONLY_DIRECTORY`
 * (https://sqlite.org/rescode.html#extrc).
 */
const isOneOf = (code: string | null, codes: readonly string[]): boolean =>
  code !== null && codes.some((each) => code === each || code.startsWith(`${each}_`));

/** Tells whether nothing could be written: no room, no right, or a disk that fails. The data that was there can most likely be read. */
export const isUnwritable = (error: unknown): boolean =>
  isOneOf(sqliteCode(error), ["SQLITE_FULL", "SQLITE_IOERR", "SQLITE_READONLY", "SQLITE_CANTOPEN"]);

/** Tells whether there may be too little room. A failing disk looks the same. */
export const isWithoutRoom = (error: unknown): boolean => isOneOf(sqliteCode(error), ["SQLITE_FULL", "SQLITE_IOERR"]);

/** Tells whether the file is not as SQLite has written it. */
export const isDamage = (error: unknown): boolean => isOneOf(sqliteCode(error), ["SQLITE_CORRUPT", "SQLITE_NOTADB"]);

export const damaged = (path: string, why: string): StorageError =>
  new StorageError(
    `${path} is damaged or no SQLite database (${why}): restore a backup with \`sluice restore FILE\`, or move it away to start empty`,
  );

/** Explains an error of the database, or of its folder, in one sentence that says what to do; gives any other error as it is. */
export function explained(error: unknown, path: string): unknown {
  const message = error instanceof Error ? error.message : String(error);
  const code = sqliteCode(error);
  if (isDamage(error)) return damaged(path, message);
  if (isWithoutRoom(error))
    return new StorageError(
      `${path} can't be written (${message}, ${code}): the disk is full or failing; make room on it, or name a folder on another disk with --data`,
    );
  if (isUnwritable(error))
    return new StorageError(
      `${path} can't be opened for writing (${message}): check the folder's owner and permissions, or name another with --data`,
    );
  if (isOneOf(code, ["SQLITE_BUSY", "SQLITE_LOCKED"]))
    return new StorageError(`${path} is locked by another process: stop it, or name another folder with --data`);
  const fileCode = error instanceof Error && "code" in error ? String(error.code) : "";
  if (fileCode === "ENOSPC" || fileCode === "EDQUOT")
    return new StorageError(`there is no room on the disk of ${path} (${fileCode}): make room on it, or name another folder with --data`);
  if (["EACCES", "EROFS", "ENOTDIR", "ENOENT", "EEXIST", "EPERM"].includes(fileCode))
    return new StorageError(
      `the folder of ${path} can't be made or written (${fileCode}): check its owner and permissions, or name another with --data`,
    );
  return error;
}
