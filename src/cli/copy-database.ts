import { Database } from "bun:sqlite";
import { closeSync, openSync } from "node:fs";
import { sync } from "../storage/sync.ts";
import type { Command } from "./arguments.ts";

/**
 * The command that `POST /admin/backup` runs in a process of its own: copying takes seconds for a large database, and requests must not
 * wait for it.
 */
export const copyDatabase: Command = {
  name: "copy-database",
  usage: "copy-database FROM TO",
  summary: "Copies a database that is in use (used by the admin API).",
  flags: [],
  positionals: 2,
  isHidden: true,
  run: async ({ positionals: [from = "", to = ""] }) => {
    try {
      // For the owner only, from the first byte on.
      closeSync(openSync(to, "wx", 0o600));
      using database = new Database(from, { readwrite: true, create: false });
      database.run("PRAGMA busy_timeout = 5000");
      database.query("VACUUM INTO ?1").run(to);
      sync(to);
      return 0;
    } catch (error) {
      process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
      return 1;
    }
  },
};
