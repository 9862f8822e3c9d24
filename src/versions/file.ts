import {
  closeSync,
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
    const { mode } = statSync(real);
    put(`${real}.before`, before, mode);
    put(real, text, mode);
    return () => put(real, before, mode);
  } catch (error) {
    throw refused(
      "conflict",
      `${file} can't be written (${error instanceof Error ? error.message : String(error)}): give the gateway's user the right to, or change the file where it comes from.`,
    );
  }
}

/** Writes a file anew under another name, and moves it to its own when all of it is on the disk. */
function put(path: string, content: string | Uint8Array, mode: number): void {
  const part = join(dirname(path), `.${basename(path)}.${process.pid}.part`);
  try {
    const to = openSync(part, "wx", mode);
    try {
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
