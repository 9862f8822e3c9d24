import { statSync } from "node:fs";
import { dirname, join, resolve } from "node:path";

/** Gives the file of the activities' database: the one that is named, or activities.db beside the gateway's own database. */
export const activitiesPathOf = (named: string | null, databasePath: string): string =>
  named ?? (databasePath === ":memory:" ? ":memory:" : join(dirname(databasePath), "activities.db"));

/** Tells whether two databases would share a file, the files that SQLite and Sluice keep beside each included. */
export const shareFiles = (path: string, other: string): boolean =>
  filesOf(path).some((file) => filesOf(other).some((its) => isSameFile(file, its)));

const filesOf = (path: string): readonly string[] =>
  path === ":memory:"
    ? []
    : ["", "-wal", "-shm", "-journal", ".lock", ".serving", "-counts", "-counts.lock", "-counts.used"].map((end) => path + end);

/**
 * Tells whether two paths lead to the same file, by device and inode, whatever links are on the way; by name while one of them is not
 * there.
 */
function isSameFile(one: string, other: string): boolean {
  if (resolve(one) === resolve(other)) return true;
  const [a, b] = [one, other].map(statOf);
  return a != null && b != null && a.dev === b.dev && a.ino === b.ino;
}

function statOf(path: string): { readonly dev: bigint; readonly ino: bigint } | null {
  try {
    return statSync(path, { bigint: true });
  } catch {
    // It is not there, or can't be reached: whoever opens it will say why.
    return null;
  }
}
