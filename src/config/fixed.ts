import type { TSchema } from "@sinclair/typebox";
import type { Fault, Path } from "../schema/faults.ts";
import { mayHoldSecrets } from "../schema/secrets.ts";
import { isObject } from "../values/json.ts";
import { type Config, SECTIONS, settingsOf } from "./schema.ts";
import type { Restart } from "./section.ts";

/** Gives a fault for each change that only a restart can make: where a running gateway listens, keeps its records and meets others. */
export const fixedFaults = (before: Config, next: Config): Fault[] =>
  SECTIONS.flatMap((section) => {
    const [was, is] = [settingsOf(before, section), settingsOf(next, section)];
    const faults = section.fixed?.(was, is) ?? [];
    return section.restart === undefined ? faults : [...changed(section.name, section.schema, section.restart, was, is), ...faults];
  });

function changed(name: string, schema: TSchema, restart: Restart, before: unknown, next: unknown): Fault[] {
  if ("allBut" in restart)
    return Bun.deepEquals(without(restart.allBut, before), without(restart.allBut, next)) ? [] : [needsRestart([name], schema, before)];
  // What is off may be put anywhere.
  if (!isObject(before) || !isObject(next)) return [];
  return restart.fields
    .filter((field) => !Bun.deepEquals(before[field], next[field]))
    .map((field) => needsRestart([name, field], schema.properties?.[field] ?? schema, before[field]));
}

const without = (fields: readonly string[], settings: unknown): unknown =>
  isObject(settings) ? Object.fromEntries(Object.entries(settings).filter(([name]) => !fields.includes(name))) : settings;

const needsRestart = (path: Path, schema: TSchema, before: unknown): Fault => ({
  path,
  message: `can't be changed while the gateway runs: restart it${mayHoldSecrets(schema) ? "" : `, or put ${JSON.stringify(before)} back`}`,
});
