import type { TSchema } from "@sinclair/typebox";
import { withDefaults } from "./defaults.ts";
import { type Fault, schemaFaults } from "./faults.ts";

/** Gives a copy of a value with the defaults of its schema filled in, and everything that is wrong with it. */
export function fillIn(schema: TSchema, value: unknown): { value: unknown; faults: Fault[] } {
  const filled = withDefaults(schema, structuredClone(value));
  return { value: filled, faults: schemaFaults(schema, filled) };
}
