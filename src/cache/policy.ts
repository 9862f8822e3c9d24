import { parseHttpDate } from "../http/date.ts";
import type { Fields } from "../http/fields.ts";
import { type Directives, owned, parseDirectives, targetedDirectives } from "./directives.ts";

/** The rules of RFC 9111 for a shared cache, without the world: times are arguments, in milliseconds. */

/** How long a response is good, and what may be done with it afterwards. */
export interface Freshness {
  readonly directives: Directives;
  /** Whether the response says itself how long it is fresh. */
  readonly isStated: boolean;
  /** The age it had when it arrived (RFC 9111 §4.2.3). */
  readonly initialAge: number;
  /** The age up to which it is fresh. */
  readonly lifetime: number;
}

/** Statuses that may be kept without the response saying so (RFC 9110 §15.1), but for 206, which this cache does not join. */
const HEURISTIC = new Set([200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501]);
/** Statuses whose rules for caches are followed here: all that RFC 9110 defines, but for 206 and 304. */
const UNDERSTOOD = new Set([
  ...HEURISTIC,
  ...[201, 202, 205, 302, 303, 307, 400, 401, 402, 403, 406, 407, 408, 409, 411, 412, 413, 415, 416, 417, 421, 422, 426],
  ...[500, 502, 503, 504, 505],
]);
/** The share of a response's age at its origin for which it is taken to be fresh when nothing is said (RFC 9111 §4.2.2). */
const HEURISTIC_SHARE = 0.1;
const HEURISTIC_MOST = 86_400_000;

export interface StorableQuestion {
  readonly status: number;
  readonly fields: Fields;
  readonly request: Directives;
  /** By what the request showed who makes it; `null` when it did not, or the route says that this makes no difference. */
  readonly identity: "key" | "authorization" | null;
  /** The request had a Cookie, which may be a session's. */
  readonly hasCookie: boolean;
  readonly freshness: Freshness;
}

/** Says why a response was not kept, as Cache-Status says it (`detail`, RFC 9211 §2.7). */
export type NotStored =
  | "request-no-store"
  | "status"
  | "partial"
  | "private"
  | "no-store"
  /** It was for a caller with a key, and does not say that others may have it. */
  | "needs-shared-or-per-consumer"
  /** The same, for a caller with an Authorization field that is not Sluice's. */
  | "authorization"
  | "set-cookie"
  | "vary-any"
  | "event-stream"
  /** The caller sent a cookie, and the response says nothing of how long it is fresh. */
  | "cookie"
  /** Nothing says for how long it is fresh. */
  | "no-lifetime"
  | "too-large";

/** Tells why a response to GET or HEAD may not be kept, or `null` when it may (RFC 9111 §3). */
export function whyNotStored({ status, fields, request, identity, hasCookie, freshness }: StorableQuestion): NotStored | null {
  const { directives, lifetime, isStated } = freshness;
  if (status === 206) return "partial";
  if (status < 200 || status === 304) return "status";
  if (request.noStore) return "request-no-store";
  if (directives.isPrivate) return "private";
  if (directives.mustUnderstand ? !UNDERSTOOD.has(status) : directives.noStore) return directives.mustUnderstand ? "status" : "no-store";
  // RFC 9111 §3.5.
  if (identity !== null && !directives.isPublic && !directives.mustRevalidate && directives.sMaxAge === null)
    return identity === "key" ? "needs-shared-or-per-consumer" : "authorization";
  // RFC 9111 §7.3 leaves it to the cache: a session's cookie in a stranger's hands is not worth it.
  if (fields.get("set-cookie") !== null) return "set-cookie";
  if (varyOf(fields) === "*") return "vary-any";
  // It has no end.
  if (fields.get("content-type")?.startsWith("text/event-stream") === true) return "event-stream";
  if (!isStated && !directives.isPublic) {
    if (!HEURISTIC.has(status)) return "status";
    if (hasCookie) return "cookie";
  }
  // One that is never fresh is of use only if it can be asked about, or given while it is stale.
  return lifetime > 0 || hasValidator(fields) || directives.staleWhileRevalidate !== null || directives.staleIfError !== null
    ? null
    : "no-lifetime";
}

/**
 * Works out a response's age and lifetime. `arrivedAt`: when it came, by the calendar (milliseconds since 1970); `delay`: how long it took.
 * `ttl`: the lifetime of responses that state none; `null`: a tenth of the time since they were modified.
 */
export function freshnessOf(status: number, fields: Fields, arrivedAt: number, delay: number, ttl: number | null): Freshness {
  const targeted = targetedDirectives(fields.joined("cdn-cache-control"));
  const directives = targeted ?? parseDirectives(fields.joined("cache-control"));
  const expires = targeted === null ? fields.joined("expires") : null;
  const date = dateOf(fields, "date") ?? arrivedAt;
  const initialAge = Math.max(0, arrivedAt - date, ageOf(fields) + delay);
  const isStated = directives.maxAge !== null || directives.sMaxAge !== null || expires !== null;
  return { directives, isStated, initialAge, lifetime: lifetimeOf(status, fields, directives, expires, date, arrivedAt, ttl) };
}

/** Reads the age that a response came with: of a list its first member (RFC 9111 §5.1). */
function ageOf(fields: Fields): number {
  const [first = ""] = (fields.get("age") ?? "").split(",", 1);
  return /^\s*\d+\s*$/.test(first) ? Number(first) * 1000 : 0;
}

function lifetimeOf(
  status: number,
  fields: Fields,
  directives: Directives,
  expires: string | null,
  date: number,
  arrivedAt: number,
  ttl: number | null,
): number {
  if (directives.sMaxAge !== null) return directives.sMaxAge;
  if (directives.maxAge !== null) return directives.maxAge;
  if (expires !== null) return Math.max(0, (parseHttpDate(expires) ?? 0) - date);
  if (!HEURISTIC.has(status) && !directives.isPublic) return 0;
  if (ttl !== null) return ttl;
  const modified = dateOf(fields, "last-modified");
  return modified === null ? 0 : Math.min(HEURISTIC_MOST, Math.max(0, Math.min(date, arrivedAt) - modified) * HEURISTIC_SHARE);
}

export type Use =
  /** It may be given as it is. */
  | "fresh"
  /** It is stale, and may be given because the request takes stale ones. */
  | "stale"
  /** It is stale, and may be given while a new one is fetched. */
  | "stale-while-revalidate"
  /** The backend has to be asked: because the request says so, or because it is stale. */
  | "asked-for"
  | "expired";

/** Decides what may be done with a kept response of this age. */
export function useOf({ directives, lifetime }: Freshness, age: number, request: Directives): Use {
  if (request.noCache || request.maxAge === 0) return "asked-for";
  if (directives.noCache) return "expired";
  if (request.maxAge !== null && age > request.maxAge) return "asked-for";
  if (request.minFresh !== null && lifetime - age < request.minFresh) return "asked-for";
  if (age < lifetime) return "fresh";
  if (isNeverStale(directives)) return "expired";
  const staleFor = age - lifetime;
  if (request.maxStale !== null && staleFor <= request.maxStale) return "stale";
  if (directives.staleWhileRevalidate !== null && staleFor < directives.staleWhileRevalidate) return "stale-while-revalidate";
  return "expired";
}

/** Tells whether a kept response may stand in for an error of the backend (RFC 5861 §4). */
export function mayStandIn({ directives, lifetime }: Freshness, age: number, request: Directives): boolean {
  if (isNeverStale(directives) || directives.noCache) return false;
  const span = Math.max(directives.staleIfError ?? -1, request.staleIfError ?? -1);
  return span >= 0 && age - lifetime < span;
}

/** Errors that a kept response may stand in for (RFC 5861 §4). */
export const isError = (status: number): boolean => status === 500 || status === 502 || status === 503 || status === 504;

/** Tells whether a stale answer is forbidden (RFC 9111 §4.2.4); s-maxage includes proxy-revalidate (§5.2.2.10). */
const isNeverStale = (directives: Directives): boolean =>
  directives.mustRevalidate || directives.proxyRevalidate || directives.sMaxAge !== null;

const hasValidator = (fields: Fields): boolean => fields.get("etag") !== null || fields.get("last-modified") !== null;

/** Gives the names in Vary, in lower case and order; "*" when one of them is that. */
export function varyOf(fields: Fields): readonly string[] | "*" {
  const vary = fields.joined("vary");
  if (vary === null) return NOTHING;
  const names = [
    ...new Set(
      vary
        .split(",")
        .map((name) => name.trim().toLowerCase())
        .filter((name) => name !== ""),
    ),
  ].sort();
  return names.includes("*") ? "*" : names;
}
const NOTHING: readonly string[] = [];

/** Holds the fields of a response that tell its versions apart. */
export interface Validators {
  readonly etag: string | null;
  readonly lastModified: string | null;
  readonly date: string | null;
}

/** Tells whether the caller has this representation already (RFC 9110 §13.1.2, §13.1.3, §13.2.2). One without Last-Modified goes by its Date (RFC 9111 §4.3.2). */
export function isUnmodified(request: Fields, status: number, { etag, lastModified, date }: Validators): boolean {
  if (status !== 200) return false;
  const tags = request.joined("if-none-match");
  if (tags !== null) {
    if (tags.trim() === "*") return true;
    return etag !== null && tags.split(",").some((tag) => opaque(tag) === opaque(etag));
  }
  const since = request.get("if-modified-since");
  if (since === null) return false;
  const sinceTime = parseHttpDate(since);
  const modified = parseHttpDate(lastModified ?? date ?? "");
  return sinceTime !== null && modified !== null && modified <= sinceTime;
}

/** Gives a tag without its weakness: If-None-Match compares weakly (RFC 9110 §8.8.3.2). */
const opaque = (tag: string): string => tag.trim().replace(/^W\//, "");

function dateOf(fields: Fields, name: string): number | null {
  const value = fields.get(name);
  return value === null ? null : parseHttpDate(value);
}

/** What callers accept, as it was sent and as it is compared: few different ones are in use. */
const accepted = new Map<string, string>();
const MAX_ACCEPTED = 1024;
/** Longer ones are compared as they are. In characters. */
const LONGEST_ACCEPTED = 256;

/** Writes a request field's values that mean the same in the same way, as far as that is known (RFC 9111 §4.1). */
export function normalized(name: string, value: string): string {
  const isList = name === "accept-language" || name === "accept-encoding";
  if (!isList || value.length > LONGEST_ACCEPTED) return value.trim().replace(/\s+/g, " ").replace(/ ?, ?/g, ",");
  let text = accepted.get(value);
  if (text === undefined) {
    // Neither has an order or letter case: what is wanted more says so by its weight (RFC 9110 §12.5.3, §12.5.4).
    const wanted = value.toLowerCase().replace(/\s+/g, "").split(",");
    const weighed = wanted.flatMap((each) =>
      each === "" ? [] : [each.replace(/;q=1(?:\.0{0,3})?$/, "").replace(/(;q=0\.\d{0,2}?)0{1,3}$/, "$1")],
    );
    text = [...new Set(weighed)].sort().join(",");
    if (accepted.size >= MAX_ACCEPTED) accepted.clear();
    accepted.set(owned(value), text);
  }
  return text;
}

/** Holds a part of a body: from its first byte up to, not including, `end`. */
export interface Part {
  readonly start: number;
  readonly end: number;
}

/**
 * Reads what a request's Range asks of a body of `length` bytes (RFC 9110 §14.2): a part, `"unsatisfiable"`, or `null` for the whole: several parts, other units and what can't be read are
 * answered so, and what If-Range says is another version (§13.1.5).
 */
export function partOf(request: Fields, length: number, validators: Validators): Part | "unsatisfiable" | null {
  const found = /^\s*bytes\s*=\s*(\d*)\s*-\s*(\d*)\s*$/i.exec(request.joined("range") ?? "");
  if (found === null || length === 0) return null;
  const condition = request.get("if-range");
  if (condition !== null && !isSameVersion(condition.trim(), validators)) return null;
  const [, first = "", last = ""] = found;
  if (first === "") {
    if (last === "") return null;
    const wanted = Number(last);
    return wanted === 0 ? "unsatisfiable" : { start: Math.max(0, length - wanted), end: length };
  }
  const start = Number(first);
  const end = last === "" ? length : Math.min(length, Number(last) + 1);
  if (last !== "" && Number(last) < start) return null;
  return start >= length ? "unsatisfiable" : { start, end };
}

/** Compares strongly: by an ETag that is not weak, or by a Last-Modified that was a second ago when the response was made (RFC 9110 §8.8.2.2). */
function isSameVersion(condition: string, { etag, lastModified, date }: Validators): boolean {
  if (condition.startsWith('"') || condition.startsWith("W/")) return condition.startsWith('"') && condition === etag?.trim();
  if (lastModified === null || date === null) return false;
  const [wanted, modified, made] = [condition, lastModified, date].map(parseHttpDate);
  return wanted != null && modified != null && made != null && wanted === modified && made - modified >= 1000;
}
