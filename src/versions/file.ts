import {
  closeSync,
  fchmodSync,
  fchownSync,
  fsyncSync,
  openSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import { refused } from "../http/refused.ts";

/** Puts back what `replaceFile` has replaced. */
export type PutBack = () => void;

/**
 * Writes a text into a file in one step, and keeps what was there beside it as FILE.before. A link stays a link: what it leads to is replaced.
 * Gives what undoes it. Throws `Refused` where the file can't be written; then it is as before.
 */
export function replaceFile(file: string, text: string): PutBack {
  try {
    const real = realpathSync(file);
    const before = readFileSync(real);
    const rights = statSync(real);
    put(`${real}.before`, before, rights);
    put(real, text, rights);
    return () => put(real, before, rights);
  } catch (error) {
    throw refused(
      "conflict",
      `${file} can't be written (${error instanceof Error ? error.message : String(error)}): give the gateway's user the right to, or change the file where it comes from.`,
    );
  }
}

/** Says who may do what with a file. */
type Rights = Readonly<Record<"mode" | "uid" | "gid", number>>;

/** Gives a file these rights, which the process' umask would narrow. Its owner stays where only root could change that. */
function give(file: number, { mode, uid, gid }: Rights): void {
  try {
    fchownSync(file, uid, gid);
  } catch {
    // It is this process' user then, who may write it.
  }
  // Behind the owner: a change of that takes some rights away.
  fchmodSync(file, mode & 0o7777);
}

/** Writes a file anew under another name, and moves it to its own when all of it is on the disk. */
function put(path: string, content: string | Uint8Array, rights: Rights): void {
  // A name of its own: what a crash has left behind is in nobody's way.
  const part = join(dirname(path), `.${basename(path)}.${Bun.randomUUIDv7()}.part`);
  try {
    // For nobody else until it has the rights that it is to have.
    const to = openSync(part, "wx", 0o600);
    try {
      give(to, rights);
      const bytes = typeof content === "string" ? Buffer.from(content) : content;
      for (let at = 0; at < bytes.length; ) at += writeSync(to, bytes, at);
      fsyncSync(to);
    } finally {
      closeSync(to);
    }
    renameSync(part, path);
  } catch (error) {
    rmSync(part, { force: true });
    // A file that is mounted by itself can't be replaced, only written: https://man7.org/linux/man-pages/man2/rename.2.html (EBUSY).
    if ((error as { code?: string }).code !== "EBUSY") throw error;
    writeFileSync(path, content);
  }
}
