import { existsSync } from "node:fs";
import type { Fault } from "../schema/faults.ts";
import { formatFault } from "../schema/faults.ts";

/** The names of configuration files that are looked for in the working directory, the first one first. */
const NAMES = ["config.json", "config.yaml", "config.yml"] as const;

/** Gives the configuration file of the working directory; `null`: there is none. */
export const fileHere = (): string | null => NAMES.find((name) => existsSync(name)) ?? null;

/** Gives the configuration file that is meant: the one that is named, else that of the working directory, else the name that it would have. */
export const meantFile = (named: string | undefined): string => named ?? (process.env.SLUICE_CONFIG || fileHere() || NAMES[0]);

/** Gives a line for each file of the working directory that could be meant, and is passed over for `file`. */
export function passedOver(file: string): string[] {
  const fault: Fault = { path: [], message: `is not read: ${file} comes first; remove one of them, or name the one that is meant` };
  return NAMES.filter((name) => name !== file && existsSync(name)).map((name) => formatFault(name, fault));
}
