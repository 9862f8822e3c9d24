import { type Static, Type } from "@sinclair/typebox";
import { isObject } from "../values/json.ts";
import { DURATION_PATTERN, parseDuration, parseTime } from "../values/units.ts";
import { invalid, refused } from "./refused.ts";

/** The common parts of the admin API's lists and records. */

/**
 * The query of a list. It arrives as text and the handlers read it, which say more of a fault than a schema can: `shown` is what the API
 * document says of it.
 */
export const PageQuery = Type.Object({
  limit: Type.Optional(
    Type.String({ description: "Most items to give: 1 to 500, 50 by default.", shown: { type: "integer", minimum: 1, maximum: 500 } }),
  ),
  cursor: Type.Optional(
    Type.String({
      description: "Where the page begins: `nextCursor` of the page before. Leave it out for the first page.",
      shown: { minLength: 1 },
    }),
  ),
});

/** Gives the schema of a time in a query. */
export const TimeParameter = (description: string) => Type.Optional(Type.String({ description, shown: { format: "date-time" } }));

/** Gives the schema of the query `?force=true`. */
export const Force = (effect: string) =>
  Type.Object({ force: Type.Optional(Type.String({ description: `true: ${effect}.`, shown: { type: "boolean" } })) });

/** Gives the schema of a text in an answer, or null. */
export const TextOrNull = (description: string) => Type.Union([Type.String(), Type.Null()], { description });

/** Gives the schema of a time in an answer, or null. */
export const Time = (description: string) =>
  Type.Union([Type.String(), Type.Null()], { description, shown: { anyOf: [{ type: "string", format: "date-time" }, { type: "null" }] } });

/** Gives the schema of a time in an answer that is always there. */
export const Since = (description: string) => Type.String({ description, shown: { format: "date-time" } });

export const Source = Type.Union([Type.Literal("config"), Type.Literal("admin")], {
  description: "Who manages it: config.json, or this API.",
});

/** The form of a duration of at most ten years: every text of this form is accepted. */
const SHORT = "^([0-9]{1,9}ms|[0-9]{1,8}s|[0-9]{1,6}m|[0-9]{1,4}h|([0-9]{1,3}|[12][0-9]{3}|3[0-5][0-9]{2})d)$";

/** Gives the schema of a duration of at most ten years in a body. `example` also stands in the message of a fault. */
export const DurationField = (description: string, example: string) =>
  Type.String({
    pattern: DURATION_PATTERN,
    expects: `a duration such as "${example}"`,
    description,
    examples: [example],
    shown: { pattern: SHORT },
  });

/** The form of addresses in a body: an address, or a block of them. */
export const ADDRESS_SHOWN = {
  anyOf: [
    { type: "string", format: "ipv4" },
    { type: "string", format: "ipv6" },
    {
      type: "string",
      pattern: "^((25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])\\.){3}(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])/(3[0-2]|[12]?[0-9])$",
    },
    { type: "string", pattern: "^([0-9A-Fa-f]{1,4}:){1,6}:/(12[0-8]|1[01][0-9]|[1-9]?[0-9])$" },
  ],
} as const;

export interface PageRequest {
  readonly limit: number;
  /** Items behind this id; "" for the first page. */
  readonly after: string;
}

export const Page = <T extends Parameters<typeof Type.Array>[0]>(item: T) =>
  Type.Object({
    items: Type.Array(item, { description: "The items of this page." }),
    nextCursor: Type.Union([Type.String(), Type.Null()], { description: "For ?cursor= of the next page; null on the last one." }),
  });

/** Describes an answer of JSON. */
export const jsonOf = (schema: object, description = "OK") => ({ description, content: { "application/json": { schema } } });

/** Reads `?limit=` and `?cursor=`. Throws 422 for values that make no page. */
export function pageOf(query: Static<typeof PageQuery>): PageRequest {
  return { limit: limitOf(query), after: query.cursor === undefined ? "" : readCursor(query.cursor) };
}

/** Reads `?limit=`; `otherwise`: where nobody says. Throws 422 for anything but 1 to `most`. */
export function limitOf(query: { readonly limit?: string | undefined }, most = 500, otherwise = 50): number {
  const limit = query.limit === undefined ? otherwise : Number(query.limit);
  if (!Number.isInteger(limit) || limit < 1 || limit > most)
    throw invalid([{ path: ["limit"], message: `must be a whole number from 1 to ${most}` }]);
  return limit;
}

/** Reads a time in a query as milliseconds since 1970; nothing where nobody says. Throws 422 for what is no RFC 3339 time. */
export function timeOf(query: { readonly [name in "from" | "to"]?: string | undefined }, field: "from" | "to"): number | undefined {
  const text = query[field];
  if (text === undefined) return undefined;
  const at = parseTime(text);
  if (at === null) throw invalid([{ path: [field], message: 'must be an RFC 3339 time such as "2026-11-21T00:00:00Z"' }]);
  return at;
}

/** Gives a page of items that are sorted by `idOf`; `items` may hold one more than `limit`, which says that there is a next page. */
export function pageFrom<T>(items: readonly T[], limit: number, idOf: (item: T) => string): { items: T[]; nextCursor: string | null } {
  const page = items.slice(0, limit);
  const last = page.at(-1);
  return { items: page, nextCursor: items.length > limit && last !== undefined ? cursorOf(idOf(last)) : null };
}

/** Writes the place of a page's last item as a cursor. */
export const cursorOf = (place: string): string => Buffer.from(place).toString("base64url");

/** Reads the place that a cursor holds. Throws 422 for what no list gave. */
export function readCursor(cursor: string): string {
  const id = Buffer.from(cursor, "base64url").toString();
  if (cursor === "" || cursorOf(id) !== cursor) throw invalid([{ path: ["cursor"], message: "is not a cursor that a list gave" }]);
  return id;
}

/** Gives a record's ETag from its version. */
export const etagOf = (version: number | string): string => `"${version}"`;

/** Throws 412 when the caller has read another version than this one (RFC 9110 §13.1.1). */
export function checkMatch(ifMatch: string | null | undefined, version: number | string): void {
  if (ifMatch === null || ifMatch === undefined || ifMatch.trim() === "*") return;
  const tags = ifMatch.split(",").map((tag) => tag.trim().replace(/^W\//, ""));
  if (!tags.includes(etagOf(version)))
    throw refused("preconditionFailed", "The record has changed since you read it: read it again and repeat your change.");
}

/**
 * Applies a merge patch (RFC 7396): null removes, objects are merged, everything else replaces.
 *
 * @example
 * mergePatch({ tier: "gold", note: "" }, { note: null }); // { tier: "gold" }
 */
export function mergePatch(target: unknown, patch: unknown): unknown {
  if (!isObject(patch)) return patch;
  const merged: Record<string, unknown> = isObject(target) ? { ...target } : {};
  for (const [name, value] of Object.entries(patch)) {
    // JSON may hold a field of this name; to assign it would give the record another prototype.
    if (name === "__proto__") continue;
    if (value === null) delete merged[name];
    else merged[name] = mergePatch(Object.hasOwn(merged, name) ? merged[name] : undefined, value);
  }
  return merged;
}

export const timeText = (milliseconds: number | null | undefined): string | null =>
  milliseconds === null || milliseconds === undefined || !Number.isFinite(milliseconds) ? null : new Date(milliseconds).toISOString();

/** The longest duration: beyond some 270,000 years from now there are no dates, and nobody means more than ten years. */
const LONGEST = 3660 * 86_400_000;

/** Gives the milliseconds of a duration of at most ten years. Throws 422 for anything else. */
export function durationOf(text: string, field: string): number {
  let milliseconds: number;
  try {
    milliseconds = parseDuration(text);
  } catch (error) {
    throw invalid([{ path: [field], message: error instanceof Error ? error.message : "must be a duration" }]);
  }
  if (milliseconds > LONGEST) throw invalid([{ path: [field], message: `must be at most 3660d, got ${JSON.stringify(text)}` }]);
  return milliseconds;
}
