import { writeSync } from "node:fs";

/**
 * Writes all of `text` to stdout before it returns. A pipe takes 64 KB at a time, and a process that ends does not wait
 * for what `process.stdout` still holds. A reader that has gone is no fault of ours.
 */
export function print(text: string): void {
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length; ) {
    try {
      at += writeSync(1, bytes, at);
    } catch (error) {
      if (!(error instanceof Error && "code" in error && error.code === "EAGAIN")) return;
      Bun.sleepSync(1);
    }
  }
}
