import { isObject } from "../../../../values/json.ts";

/** Says what became of one field; `null`: it was, or is, not there. */
export interface FieldChange {
  readonly name: string;
  readonly was: string | null;
  readonly is: string | null;
}

const textOf = (value: unknown): string | null =>
  value === null || value === undefined ? null : typeof value === "string" ? value : JSON.stringify(value);

/**
 * Gives the fields in which two records differ, those within objects by their path: `headers.request`. Values that are no records count as
 * one field, `value`.
 */
export function differenceOf(before: unknown, after: unknown): readonly FieldChange[] {
  if (!isObject(before ?? {}) || !isObject(after ?? {})) return changed("value", before, after);
  const [was, is] = [(before ?? {}) as Record<string, unknown>, (after ?? {}) as Record<string, unknown>];
  return [...new Set([...Object.keys(was), ...Object.keys(is)])].flatMap((name) => {
    const [a, b] = [was[name], is[name]];
    if (isObject(a) && isObject(b)) return differenceOf(a, b).map((change) => ({ ...change, name: `${name}.${change.name}` }));
    return changed(name, a, b);
  });
}

function changed(name: string, before: unknown, after: unknown): readonly FieldChange[] {
  const [was, is] = [textOf(before), textOf(after)];
  return was === is ? [] : [{ name, was, is }];
}
