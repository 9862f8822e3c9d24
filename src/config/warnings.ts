import type { Fault } from "../schema/faults.ts";
import { type Config, SECTIONS, settingsOf } from "./schema.ts";

/**
 * Gives what is hardly meant in a valid configuration. `given`: what the file says, without defaults; `host`: where the main port listens,
 * if not where the configuration says; `now`: milliseconds since 1970.
 */
export const configWarnings = (config: Config, given: unknown, host: string, now: number): Fault[] =>
  SECTIONS.flatMap((section) => section.warnings?.(settingsOf(config, section), { config, given, host, now }) ?? []);
