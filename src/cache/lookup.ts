import type { Arrival, Exchange } from "../exchange/exchange.ts";
import type { Route } from "../exchange/route.ts";
import type { UpstreamResponse } from "../http/client.ts";
import { type Directives, NO_DIRECTIVES, requestDirectives } from "./directives.ts";
import { keyOf, uriOf, valuesOf } from "./key.ts";
import type { RouteCache } from "./route-cache.ts";
import type { CacheStore, Entry } from "./store.ts";

/** Asks a backend. `conditions`: header lines in place of the caller's own conditions; `null` leaves those. What it holds for the response is registered with the exchange. */
export type Forward = (exchange: Exchange<Arrival>, conditions: string | null) => Promise<UpstreamResponse>;

/** Holds a route with a cache, and how its requests are forwarded. */
export interface CachedRoute {
  readonly route: Route;
  readonly cache: RouteCache;
  readonly forward: Forward;
}

/** Holds a request as the cache sees it, worked out once. */
export interface Lookup {
  readonly exchange: Exchange<Arrival>;
  readonly on: CachedRoute;
  /** Whether it is only for a part of a body. */
  readonly isForPart: boolean;
  /** What its Cache-Control says. */
  readonly directives: Directives;
  /** What all responses for its URI are forgotten by; their keys begin so. */
  readonly uri: string;
  /** What its response is kept under. */
  readonly key: string;
  /** Gives the value of a request's field that Vary names. */
  readonly valueFor: (name: string) => string;
}

/** Works out what a request is looked up by. */
export function lookupOf(exchange: Exchange<Arrival>, on: CachedRoute, isForPart: boolean): Lookup {
  const { fields } = exchange.incoming.head;
  const uri = uriOf(exchange, on.route, on.cache);
  return {
    exchange,
    on,
    isForPart,
    directives: requestDirectives(fields.joined("cache-control"), fields.get("pragma")),
    uri,
    key: keyOf(exchange, on.cache, uri),
    valueFor: valuesOf(exchange),
  };
}

/** Gives the same look-up for nobody who waits. Whoever makes it ends its exchange. */
export function inBackground(lookup: Lookup, now: number): Lookup {
  const exchange = lookup.exchange.detached(now);
  return { ...lookup, exchange, isForPart: false, directives: NO_DIRECTIVES, valueFor: valuesOf(exchange) };
}

/**
 * Says what part the cache has in a request: it answers it by what is kept, and keeps what a backend answers ("whole"); it answers it by a part of what is kept, and if nothing is, the
 * request goes by the cache ("part"); or it has none.
 */
export type Role = "whole" | "part" | "none";

/** Tells the cache's part: only in GET and HEAD without a body, and not on condition that nothing was changed. A HEAD is always for the whole (RFC 9110 §14.2). */
export function roleOf({ incoming: { head, body } }: Exchange<Arrival>): Role {
  const { method, fields } = head;
  if ((method !== "GET" && method !== "HEAD") || body !== null || head.upgrade !== "") return "none";
  if (fields.get("if-match") !== null || fields.get("if-unmodified-since") !== null) return "none";
  return method === "GET" && fields.get("range") !== null ? "part" : "whole";
}

/** Finds what is kept for a request. For a HEAD that is what was kept of a GET, or of a HEAD if that is newer. */
export function findKept(store: CacheStore, { exchange, key, valueFor }: Lookup): Entry | null {
  const found = store.find(key, valueFor);
  if (exchange.incoming.head.method !== "HEAD") return found;
  const head = store.find(headKey(key), valueFor);
  return head === null || (found !== null && found.arrivedAt >= head.arrivedAt) ? found : head;
}

/** Gives what the answer to a HEAD is kept under. */
export const headKey = (key: string): string => `HEAD ${key}`;
