import { formatPath, type Path } from "../schema/faults.ts";
import { isObject } from "../values/json.ts";

/** Says what one field of a document was and is. A field that is not there is `null`. */
export interface FieldChange {
  readonly path: string;
  readonly before: unknown;
  readonly after: unknown;
}

/** Holds a value, and the same as others may see it. */
export interface Seen {
  readonly value: unknown;
  readonly shown: unknown;
}

/**
 * Gives the fields in which two documents differ, each at its deepest place, as others may see them: that a secret is another one shows, what
 * it is does not.
 *
 * @example
 * fieldChanges({ value: { a: 1 }, shown: { a: 1 } }, { value: { a: 2 }, shown: { a: 2 } }); // [{ path: "a", before: 1, after: 2 }]
 */
export function fieldChanges(before: Seen, after: Seen, path: Path = []): FieldChange[] {
  if (Bun.deepEquals(before.value, after.value)) return [];
  if (isObject(before.value) && isObject(after.value)) {
    const names = new Set([...Object.keys(before.value), ...Object.keys(after.value)]);
    return [...names].flatMap((name) => fieldChanges(within(before, name), within(after, name), [...path, name]));
  }
  if (Array.isArray(before.value) && Array.isArray(after.value) && before.value.length === after.value.length)
    return before.value.flatMap((_, i) => fieldChanges(within(before, i), within(after, i), [...path, i]));
  return [{ path: formatPath(path), before: before.shown ?? null, after: after.shown ?? null }];
}

/** Gives what stands at a step of both; what is shown has the same shape. */
const within = ({ value, shown }: Seen, step: string | number): Seen => ({ value: at(value, step), shown: at(shown, step) });

const at = (value: unknown, step: string | number): unknown =>
  (isObject(value) || Array.isArray(value)) && Object.hasOwn(value, step) ? (value as Record<string | number, unknown>)[step] : undefined;
