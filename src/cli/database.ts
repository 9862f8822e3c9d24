import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { storagePathIn } from "../config/last-good.ts";
import { meantFile } from "./config-file.ts";

/**
 * Tells where the database is, for commands that work on it without a gateway: as `serve` would find it, also when the configuration is
 * broken.
 */
export function databasePathOf(data: string | undefined, config: string | undefined): string {
  const folder = data ?? (process.env.SLUICE_DATA || undefined);
  if (folder !== undefined) return join(folder, "sluice.db");
  const file = meantFile(config);
  return (existsSync(file) ? storagePathIn(readFileSync(file, "utf8")) : null) ?? "data/sluice.db";
}
