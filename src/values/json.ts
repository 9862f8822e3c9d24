/** Holds a number as it was written, where JavaScript would write it otherwise: `JSON.rawJSON` makes it. */
export interface RawNumber {
  readonly rawJSON: string;
}

/** TypeScript's library has no JSON.rawJSON yet (ES2026, JSON.parse source text access). */
export const rawJson = JSON as unknown as { rawJSON(text: string): RawNumber; isRawJSON(value: unknown): value is RawNumber };

/** Tells whether a JSON value is an object. */
export const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** Tells whether a media type is JSON, by its name or its suffix (RFC 6839, section 3.1). */
export const isJsonType = (type: string): boolean => type === "application/json" || type.endsWith("+json");

/**
 * Parses a JSON text and keeps each number that JavaScript would write otherwise as it was written (1.50, 9007199254740993, 1e400). Throws
 * `SyntaxError`.
 */
export function parseExactly(text: string): unknown {
  // Looking at each number takes time, and whole numbers of few digits need none.
  if (!/\d[.eE]|\d{16}|-0/.test(text)) return JSON.parse(text);
  return JSON.parse(text, ((_name: string, value: unknown, context: { source?: string }) =>
    typeof value === "number" && context.source !== undefined && String(value) !== context.source
      ? rawJson.rawJSON(context.source)
      : value) as (this: unknown, name: string, value: unknown) => unknown);
}
