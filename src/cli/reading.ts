import { readFileSync } from "node:fs";
import { join } from "node:path";
import demoConfig from "../../config.json";
import { lastGood, storagePathIn } from "../config/last-good.ts";
import { type Loaded, loadConfig } from "../config/load.ts";
import type { Config } from "../config/schema.ts";
import { Secrets } from "../records/sealing.ts";
import { type Fault, formatFault } from "../schema/faults.ts";
import { fileHere } from "./config-file.ts";
import { CannotStart } from "./running.ts";

/** Holds the configuration to start with. */
export interface Read {
  readonly config: Config;
  /** The file's values, without defaults. */
  readonly given: unknown;
  /** The file's path; `null`: the embedded demo. */
  readonly file: string | null;
  readonly text: string;
  /** The faults of the file when `config` is the last good one in its place. */
  readonly fileFaults: readonly Fault[];
}

/** Reads the configuration to start with. `folder`: where the last good one may stand in for a broken file; `null`: it may not. */
export function readConfig(named: string | undefined, folder: string | undefined | null): Read {
  const file = named ?? fileHere();
  let text = "";
  let faults: readonly Fault[];
  try {
    text = file === null ? JSON.stringify(demoConfig) : readFileSync(file, "utf8");
    const loaded: Loaded = loadConfig(text, process.env, file);
    if ("config" in loaded) return { ...loaded, file, text, fileFaults: [] };
    ({ faults } = loaded);
  } catch (error) {
    faults = [{ path: [], message: `can't be read: ${error instanceof Error ? error.message : String(error)}` }];
  }
  if (folder === null) throw new CannotStart(faultList(file ?? "config.json", faults));
  return standIn(file, text, faults, folder);
}

/** Gives the last good configuration in the place of a file with faults. `text`: the file's, as far as it could be read. */
export function standIn(file: string | null, text: string, faults: readonly Fault[], folder: string | undefined): Read {
  const broken = faultList(file ?? "config.json", faults);
  const databasePath = folder === undefined ? (storagePathIn(text) ?? "data/sluice.db") : join(folder, "sluice.db");
  const kept = lastGood(databasePath, new Secrets(process.env.SLUICE_SECRET, process.env.SLUICE_SECRET_OLD));
  const loaded = kept === null ? null : loadConfig(kept.text, process.env);
  if (kept === null || loaded === null)
    throw new CannotStart(`${broken}\n  ${databasePath} holds no configuration that was in force before`);
  if ("faults" in loaded) throw new CannotStart(noneUsable(broken, loaded.faults));
  return { ...loaded, file, text: kept.text, fileFaults: faults };
}

/** Says that neither the file's configuration can be used, which is `broken`, nor the one that was in force last. */
export const noneUsable = (broken: string, faults: readonly Fault[]): string =>
  `${broken}\n  nor can the one that was in force last be used:\n${faultList("kept", faults)}`;

export const faultList = (file: string, faults: readonly Fault[]): string =>
  `the configuration is not valid:\n${faults.map((fault) => `  ${formatFault(file, fault)}`).join("\n")}`;
