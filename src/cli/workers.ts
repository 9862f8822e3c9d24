import { mkdirSync } from "node:fs";
import { availableParallelism } from "node:os";
import { dirname } from "node:path";
import { tablePathOf } from "../gateway/shared-table.ts";
import { openRegion, type Region } from "../shared/region.ts";
import { explained } from "../storage/faults.ts";

/** Gives the number of processes that serve. Several need a system that lets them share a port and memory, and a database that they can all open. */
export function workersOf(setting: number | "auto", databasePath: string): number {
  if (process.platform !== "linux" || databasePath === ":memory:") return 1;
  return setting === "auto" ? availableParallelism() : setting;
}

/** Opens the table in which the workers of a database count; `null` where it can't be one that they share. Throws `StorageError`. */
export function regionFor(databasePath: string, maxSubjects: number): Region | null {
  try {
    mkdirSync(dirname(databasePath), { recursive: true, mode: 0o700 });
  } catch (error) {
    throw explained(error, databasePath);
  }
  const region = openRegion(tablePathOf(databasePath), { maxSubjects });
  if (region.path !== null) return region;
  region.close();
  return null;
}
