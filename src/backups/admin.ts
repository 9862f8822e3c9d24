import { closeSync, openSync, readSync, rmSync, statSync } from "node:fs";
import { Elysia } from "elysia";
import type { Audit } from "../audit/audit.ts";
import { refused } from "../http/refused.ts";

const CHUNK = 262_144;

/** Gives the command that started this program: the binary, or Bun with the source. */
const self = (): string[] => (Bun.main.includes("$bunfs") || Bun.main.includes("~BUN") ? [process.execPath] : [process.execPath, Bun.main]);

/**
 * Copies a database that is in use to a new file, in a process of its own: requests must not wait for it. Rejects with the reason when that
 * can't be done, and leaves nothing behind.
 */
export async function copyInto(
  databasePath: string,
  file: string,
  { signal, program = self() }: { readonly signal?: AbortSignal; readonly program?: readonly string[] | undefined } = {},
): Promise<void> {
  const child = Bun.spawn([...program, "copy-database", databasePath, file], {
    stdout: "ignore",
    stderr: "pipe",
    ...(signal === undefined ? {} : { signal, killSignal: "SIGKILL" }),
  });
  const [status, said] = await Promise.all([child.exited, new Response(child.stderr).text()]);
  if (status === 0) return;
  rmSync(file, { force: true });
  throw new Error(said.trim().slice(0, 300) || `the copy ended with ${status}`);
}

/** Gives a consistent copy of the database as a stream, which removes the copy when it has been read or given up. */
export async function copyOf(databasePath: string): Promise<{ stream: ReadableStream<Uint8Array>; size: number }> {
  const copy = `${databasePath}.copy-${Bun.randomUUIDv7()}`;
  try {
    await copyInto(databasePath, copy);
  } catch (error) {
    throw refused(
      "storageReadOnly",
      `The database could not be copied beside itself: ${(error as Error).message}. Make room on its disk, then try again.`,
      [["Retry-After", "10"]],
    );
  }
  const { size } = statSync(copy);
  const file = openSync(copy, "r");
  // Open it stays readable; whatever happens now, nothing is left behind.
  rmSync(copy, { force: true });
  const stream = new ReadableStream<Uint8Array>({
    type: "bytes",
    pull: (controller) => {
      const chunk = new Uint8Array(CHUNK);
      const length = readSync(file, chunk);
      if (length > 0) controller.enqueue(chunk.subarray(0, length));
      else {
        closeSync(file);
        controller.close();
      }
    },
    cancel: () => closeSync(file),
  });
  return { stream, size };
}

export const backupAdmin = (databasePath: string, audit: Audit) =>
  new Elysia({ prefix: "/backup", tags: ["backup"], normalize: false }).post(
    "/",
    async () => {
      const { stream, size } = await copyOf(databasePath);
      audit.note({ action: "backup.create", subject: "database", after: { bytes: size } });
      return new Response(stream, {
        headers: { "content-type": "application/vnd.sqlite3", "content-disposition": 'attachment; filename="sluice.db"' },
      });
    },
    {
      detail: {
        summary: "Create a backup: a copy of the database",
        description:
          "Consistent, made while the gateway serves. It holds hashes of keys and no key; what else it holds is worth protecting. To restore it, stop the gateway and run `sluice restore FILE`. The tables of activities (activities.db) are not in it.",
        responses: {
          200: { description: "A SQLite file.", content: { "application/vnd.sqlite3": { schema: { type: "string", format: "binary" } } } },
        },
      },
    },
  );
