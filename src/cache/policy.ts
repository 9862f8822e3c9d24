import { parseHttpDate } from "../http/date.ts";
import type { Fields } from "../http/fields.ts";
import { type Directives, parseDirectives } from "./directives.ts";

/** The rules of RFC 9111 for a shared cache, without the world: times are arguments, in milliseconds. */

/** How long a response is good, and what may be done with it afterwards. */
export interface Freshness {
  readonly directives: Directives;
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
  /** The request showed who makes it, and the route does not say that this makes no difference. */
  readonly isAuthorized: boolean;
  /** The request had a Cookie, which may be a session's. */
  readonly hasCookie: boolean;
  readonly freshness: Freshness;
}

/** Whether a response to GET or HEAD may be kept (RFC 9111 §3). */
export function isStorable({ status, fields, request, isAuthorized, hasCookie, freshness }: StorableQuestion): boolean {
  const { directives, lifetime } = freshness;
  if (status < 200 || status === 206 || status === 304) return false;
  if (request.noStore || directives.isPrivate) return false;
  if (directives.mustUnderstand ? !UNDERSTOOD.has(status) : directives.noStore) return false;
  // RFC 9111 §3.5.
  if (isAuthorized && !directives.isPublic && !directives.mustRevalidate && directives.sMaxAge === null) return false;
  // RFC 9111 §7.3 leaves it to the cache: a session's cookie in a stranger's hands is not worth it.
  if (fields.get("set-cookie") !== null) return false;
  if (varyOf(fields) === "*") return false;
  // It has no end.
  if (fields.get("content-type")?.startsWith("text/event-stream") === true) return false;
  const isExplicit = directives.maxAge !== null || directives.sMaxAge !== null || fields.get("expires") !== null;
  if (!isExplicit && !directives.isPublic && (hasCookie || !HEURISTIC.has(status))) return false;
  // One that is never fresh is of use only if it can be asked about, or given while it is stale.
  return lifetime > 0 || hasValidator(fields) || directives.staleWhileRevalidate !== null || directives.staleIfError !== null;
}

/**
 * A response's age and lifetime. `arrivedAt`: when it came, by the calendar (milliseconds since 1970); `delay`: how long it took.
 * `ttl`: the lifetime of responses that state none; `null`: a tenth of the time since they were modified.
 */
export function freshnessOf(status: number, fields: Fields, arrivedAt: number, delay: number, ttl: number | null): Freshness {
  const directives = parseDirectives(fields.joined("cache-control"));
  const date = dateOf(fields, "date") ?? arrivedAt;
  const stated = fields.get("age") ?? "";
  const age = /^\d+$/.test(stated) ? Number(stated) * 1000 : 0;
  const initialAge = Math.max(0, arrivedAt - date, age + delay);
  return { directives, initialAge, lifetime: lifetimeOf(status, fields, directives, date, arrivedAt, ttl) };
}

function lifetimeOf(status: number, fields: Fields, directives: Directives, date: number, arrivedAt: number, ttl: number | null): number {
  if (directives.sMaxAge !== null) return directives.sMaxAge;
  if (directives.maxAge !== null) return directives.maxAge;
  const expires = fields.joined("expires");
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

/** What may be done with a kept response of this age. */
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

/** Whether a kept response may stand in for an error of the backend (RFC 5861 §4). */
export function mayStandIn({ directives, lifetime }: Freshness, age: number, request: Directives): boolean {
  if (isNeverStale(directives) || directives.noCache) return false;
  const span = Math.max(directives.staleIfError ?? -1, request.staleIfError ?? -1);
  return span >= 0 && age - lifetime < span;
}

/** Errors that a kept response may stand in for (RFC 5861 §4). */
export const isError = (status: number): boolean => status === 500 || status === 502 || status === 503 || status === 504;

/** RFC 9111 §4.2.4: these forbid to give a stale one; s-maxage includes proxy-revalidate (§5.2.2.10). */
const isNeverStale = (directives: Directives): boolean =>
  directives.mustRevalidate || directives.proxyRevalidate || directives.sMaxAge !== null;

const hasValidator = (fields: Fields): boolean => fields.get("etag") !== null || fields.get("last-modified") !== null;

/** The names in Vary, in lower case and order; "*" when one of them is that. */
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

/** Whether the caller has this representation already (RFC 9110 §13.1.2, §13.1.3, §13.2.2). */
export function isUnmodified(request: Fields, status: number, etag: string | null, lastModified: string | null): boolean {
  if (status !== 200) return false;
  const tags = request.joined("if-none-match");
  if (tags !== null) {
    if (tags.trim() === "*") return true;
    return etag !== null && tags.split(",").some((tag) => opaque(tag) === opaque(etag));
  }
  const since = request.get("if-modified-since");
  if (since === null || lastModified === null) return false;
  const sinceTime = parseHttpDate(since);
  const modified = parseHttpDate(lastModified);
  return sinceTime !== null && modified !== null && modified <= sinceTime;
}

/** A tag without its weakness: If-None-Match compares weakly (RFC 9110 §8.8.3.2). */
const opaque = (tag: string): string => tag.trim().replace(/^W\//, "");

function dateOf(fields: Fields, name: string): number | null {
  const value = fields.get(name);
  return value === null ? null : parseHttpDate(value);
}
