import { parseDictionary } from "./targeted.ts";

/** Holds what a Cache-Control field says (RFC 9111 §5.2, RFC 5861). Times in milliseconds; `null` where nothing is said. */
export interface Directives {
  readonly noStore: boolean;
  readonly noCache: boolean;
  readonly isPrivate: boolean;
  readonly isPublic: boolean;
  readonly mustRevalidate: boolean;
  readonly proxyRevalidate: boolean;
  readonly mustUnderstand: boolean;
  readonly onlyIfCached: boolean;
  readonly maxAge: number | null;
  readonly sMaxAge: number | null;
  readonly minFresh: number | null;
  /** Infinite when it is given without a number. */
  readonly maxStale: number | null;
  readonly staleWhileRevalidate: number | null;
  readonly staleIfError: number | null;
}

/** Nothing is said. */
export const NO_DIRECTIVES: Directives = {
  noStore: false,
  noCache: false,
  isPrivate: false,
  isPublic: false,
  mustRevalidate: false,
  proxyRevalidate: false,
  mustUnderstand: false,
  onlyIfCached: false,
  maxAge: null,
  sMaxAge: null,
  minFresh: null,
  maxStale: null,
  staleWhileRevalidate: null,
  staleIfError: null,
};

/** Puts together what is said. `seconds`: of a directive, in milliseconds; `malformed` where they can't be read. */
const said = (has: (name: string) => boolean, seconds: (name: string, malformed: number | null) => number | null): Directives => ({
  noStore: has("no-store"),
  // With field names it would be for these alone; to take it for the whole is allowed (RFC 9111 §5.2.2.4, §5.2.2.7).
  noCache: has("no-cache"),
  isPrivate: has("private"),
  isPublic: has("public"),
  mustRevalidate: has("must-revalidate"),
  proxyRevalidate: has("proxy-revalidate"),
  mustUnderstand: has("must-understand"),
  onlyIfCached: has("only-if-cached"),
  // A lifetime that can't be read is none (RFC 9111 §4.2.1).
  maxAge: seconds("max-age", 0),
  sMaxAge: seconds("s-maxage", 0),
  minFresh: seconds("min-fresh", null),
  maxStale: seconds("max-stale", has("max-stale") ? Number.POSITIVE_INFINITY : null),
  staleWhileRevalidate: seconds("stale-while-revalidate", null),
  staleIfError: seconds("stale-if-error", null),
});

const DIRECTIVE = /\s*([!#$%&'*+\-.^_`|~0-9A-Za-z]+)\s*(?:=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,]*)))?\s*(?:,|$)/gy;
/** RFC 9111 §1.2.2: greater numbers count as this one. In seconds. */
const MAX_SECONDS = 2 ** 31;

const known = new Map<string, Directives>();
const MAX_KNOWN = 512;
/** Longer ones are read each time: in memory they would be a caller's to fill. In characters. */
const LONGEST_KNOWN = 256;

/** Reads all Cache-Control fields of a message, joined by commas. */
export function parseDirectives(value: string | null): Directives {
  if (value === null || value === "") return NO_DIRECTIVES;
  let directives = known.get(value);
  if (directives === undefined) {
    directives = read(value);
    if (value.length > LONGEST_KNOWN) return directives;
    // Few different ones are in use; one that never comes again must not stay for ever.
    if (known.size >= MAX_KNOWN) known.clear();
    known.set(owned(value), directives);
  }
  return directives;
}

/** Copies a text: a part of another one keeps the whole of that in memory. */
export const owned = (text: string): string => Buffer.from(text).toString();

/**
 * Reads CDN-Cache-Control, the field for caches such as this one, by which Cache-Control and Expires say nothing here (RFC 9213 §2.2). Gives `null` when it is missing, empty or
 * malformed: those count then.
 */
export function targetedDirectives(value: string | null): Directives | null {
  const members = value === null ? null : parseDictionary(value);
  if (members === null) return null;
  const has = (name: string): boolean => members.has(name) && members.get(name) !== "?0";
  /** Gives a number of seconds in milliseconds; a value of another type is not used (§2.1). */
  const seconds = (name: string): number | null => {
    const text = members.get(name) ?? "";
    return /^\d+$/.test(text) ? Math.min(Number(text), MAX_SECONDS) * 1000 : null;
  };
  return said(has, seconds);
}

/** Reads what a request says; without Cache-Control, an old client's Pragma counts (RFC 9111 §5.4). */
export function requestDirectives(cacheControl: string | null, pragma: string | null): Directives {
  if (cacheControl === null && pragma !== null && /(^|,)\s*no-cache\s*(,|$)/i.test(pragma)) return { ...NO_DIRECTIVES, noCache: true };
  return parseDirectives(cacheControl);
}

function read(value: string): Directives {
  const directives: Record<string, string | null>[] = [];
  DIRECTIVE.lastIndex = 0;
  while (DIRECTIVE.lastIndex < value.length) {
    const at = DIRECTIVE.lastIndex;
    const parts = DIRECTIVE.exec(value);
    if (parts === null) {
      // What can't be read is skipped to the next comma.
      const comma = value.indexOf(",", at);
      if (comma < 0) break;
      DIRECTIVE.lastIndex = comma + 1;
      continue;
    }
    directives.push({ name: (parts[1] ?? "").toLowerCase(), value: parts[2] ?? parts[3] ?? null });
  }
  const has = (name: string) => directives.some((each) => each.name === name);
  /** Gives the lowest of what is said; `malformed` for what is no number. */
  const seconds = (name: string, malformed: number | null): number | null => {
    let least: number | null = null;
    for (const each of directives) {
      if (each.name !== name) continue;
      const number = /^\d+$/.test(each.value ?? "") ? Math.min(Number(each.value), MAX_SECONDS) * 1000 : malformed;
      if (number !== null && (least === null || number < least)) least = number;
    }
    return least;
  };
  return said(has, seconds);
}
