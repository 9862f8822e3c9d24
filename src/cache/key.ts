import type { Arrival, Exchange } from "../exchange/exchange.ts";
import { claimOf } from "../exchange/headers.ts";
import type { Route } from "../exchange/route.ts";
import type { Fields } from "../http/fields.ts";
import { onlyParameters } from "../http/path.ts";
import { normalized } from "./policy.ts";
import type { RouteCache } from "./route-cache.ts";

/** Gives what a response is kept under, beside what Vary names. It begins with the URI. */
export function keyOf(exchange: Exchange<Arrival>, cache: RouteCache, uri: string): string {
  if (!hasSeveral(cache)) return uri;
  // No consumer's id is empty: callers without a key have copies of their own.
  const consumer = cache.isPerConsumer ? exchange.caller.consumer.id + grantedTo(exchange) : "";
  return `${uri}\n\n${consumer}\n${cache.headers.map(valuesOf(exchange)).join("\n")}`;
}

/** Gives what a service that was asked about the request says of its caller: two of whom it says different things are not one. */
function grantedTo({ granted }: Exchange<Arrival>): string {
  if (granted === null) return "";
  let text = "";
  for (let i = 0; i < granted.lower.length; i++) text += `\r${granted.lower[i]}: ${granted.values[i]}`;
  return text;
}

/** Tells whether one URI has several keys: all of them go when it is changed. */
export const hasSeveral = (cache: RouteCache): boolean => cache.isPerConsumer || cache.headers.length > 0;

/** Gives what a key begins with, in lines: none of what is joined holds a line break. `path` and `query`: those that are asked for, or changed. */
export function uriOf(
  exchange: Exchange<Arrival>,
  route: Route,
  cache: RouteCache,
  path: string = exchange.path,
  query: string = exchange.query,
): string {
  const { head } = exchange.incoming;
  // What was everybody's before a reload is not a single caller's after it.
  const scope = cache.isShared ? "shared" : "";
  // What trusted proxies say of the URI that was asked for is passed on, and backends make links of it: behind one that ends TLS, http and https are two URIs.
  const seen = exchange.snapshot.trustedProxies.has(exchange.incoming.ip) ? forwardedUri(head.fields) : "\n";
  const search = cache.query === null ? query : onlyParameters(query, cache.query);
  return `${route.name}\n${scope}\n${seen}\n${head.host.toLowerCase()}${path}${search}`;
}

const FORWARDED = /(?:^|[;,\s])(?:host|proto)\s*=\s*(?:"[^"]*"|[^;,\s]*)/gi;

function forwardedUri(fields: Fields): string {
  const proto = fields.joined("x-forwarded-proto") ?? "";
  const host = fields.joined("x-forwarded-host")?.toLowerCase() ?? "";
  const standard = fields.joined("forwarded");
  return `${proto}\n${host}${standard === null ? "" : `;${standard.match(FORWARDED)?.join(";") ?? ""}`}`;
}

/** Gives a request's field as the backend saw it, for Vary: what Sluice sets counts, not what a caller claims. */
export const valuesOf =
  (exchange: Exchange<Arrival>) =>
  (name: string): string => {
    switch (name) {
      case "x-consumer-id":
        return exchange.caller.consumer.id;
      case "x-consumer-tier":
        return exchange.caller.consumer.tier;
      case "x-request-id":
        return exchange.id;
      case "x-forwarded-for":
        return exchange.ip;
      case "host":
        return exchange.incoming.head.host;
    }
    // No field holds a NUL (the head's parser refuses it): nobody can send what stands for somebody else's key.
    if (exchange.route.authorize?.sets.has(name) === true) return exchange.granted?.joined(name) ?? "";
    if (name === exchange.carriedIn && exchange.caller.via !== "none") return `\0${exchange.caller.id}`;
    if (exchange.route.requestRules.dropped.has(name) === true) return "";
    if (exchange.route.claimFields.has(name)) return claimOf(exchange.caller, name) ?? "";
    const value = exchange.incoming.head.fields.joined(name);
    return value === null ? "" : normalized(name, value);
  };
