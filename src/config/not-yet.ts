import type { Fault, Path } from "../schema/faults.ts";
import { SECTIONS } from "./schema.ts";

/**
 * Fields of the configuration that this version does not serve yet, by their place (`*` is any name, `[]` any entry).
 * They are refused, never ignored, unless their value switches the feature off anyway. To make one work: move it to its section's schema.
 */
export const NOT_YET: readonly (readonly string[])[] = SECTIONS.flatMap(({ name, notYet = [] }) =>
  notYet.map((place) => `${name}.${place}`.split(".")),
);

/** Takes the fields that are not served yet out of `value` (which it changes) and gives a fault for each that was meant. */
export function takeNotYet(value: unknown, within: Path = []): Fault[] {
  const faults: Fault[] = [];
  for (const pattern of NOT_YET) {
    if (!within.every((step, i) => stepMatches(pattern[i], step))) continue;
    if (pattern.length > within.length) take(value, pattern.slice(within.length), [], faults);
  }
  return faults;
}

const stepMatches = (part: string | undefined, step: string | number): boolean =>
  part === "*" || part === step || (part === "[]" && typeof step === "number");

function take(here: unknown, pattern: readonly string[], path: Path, faults: Fault[]): void {
  const [part, ...rest] = pattern;
  if (part === undefined || typeof here !== "object" || here === null) return;
  if (part === "[]" || part === "*") {
    if (Array.isArray(here) !== (part === "[]")) return;
    for (const [key, child] of Object.entries(here)) take(child, rest, [...path, part === "[]" ? Number(key) : key], faults);
    return;
  }
  const record = here as Record<string, unknown>;
  if (!Object.hasOwn(record, part)) return;
  if (rest.length > 0) {
    take(record[part], rest, [...path, part], faults);
    return;
  }
  if (!isOff(record[part]))
    faults.push({ path: [...path, part], message: "not yet supported: this version has no such feature", isOfName: true });
  delete record[part];
}

/** Tells whether a value switches its feature off: null, false, nothing in it, or nothing in it that is on. */
function isOff(value: unknown): boolean {
  if (value === null || value === false) return true;
  return typeof value === "object" && Object.values(value).every(isOff);
}
