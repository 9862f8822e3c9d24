import { isObject } from "../../../values/json.ts";

type Json = Readonly<Record<string, unknown>>;

/**
 * Gives the merge patch (RFC 7396) that makes `after` of `before`: what is gone is null, lists are sent whole. Null stands for "not set" in
 * the admin API, so that a null that was there before and is still there is left out.
 *
 * @example
 * patchBetween({ a: 1, b: 2 }, { a: 1, c: 3 }); // { b: null, c: 3 }
 */
export function patchBetween(before: Json, after: Json): Record<string, unknown> {
  const patch: Record<string, unknown> = {};
  for (const name of new Set([...Object.keys(before), ...Object.keys(after)])) {
    const [was, is] = [before[name], after[name]];
    if (JSON.stringify(was) === JSON.stringify(is)) continue;
    if (is === undefined || is === null) patch[name] = null;
    else patch[name] = isObject(was) && isObject(is) ? patchBetween(was, is) : is;
  }
  return patch;
}

/** Gives the fields of an object that are not among these. */
export const without = (value: object, names: readonly string[]): Record<string, unknown> =>
  Object.fromEntries(Object.entries(value).filter(([name]) => !names.includes(name)));

/** Gives the fields that have a value: neither undefined nor null, nor an empty text or list. */
export const filled = (value: Json): Record<string, unknown> =>
  Object.fromEntries(
    Object.entries(value).filter(
      ([, each]) => each !== undefined && each !== null && each !== "" && !(Array.isArray(each) && each.length === 0),
    ),
  );

/** Reads words that are written with commas, spaces or line breaks between them. */
export const wordsOf = (text: string): string[] => text.split(/[\s,]+/).filter(Boolean);
