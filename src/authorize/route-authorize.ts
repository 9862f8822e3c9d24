import { type Origin, originOf } from "../http/client.ts";
import { parseDuration } from "../values/units.ts";
import type { AuthorizeConfig } from "./settings.ts";

/** Holds which service a route asks, and how, ready for requests. */
export interface RouteAuthorize {
  /** What tells its questions from those of other routes, and of other settings: answers of before a change are not kept. */
  readonly scope: string;
  /** Where it is, for people: without the query, which may hold a secret. */
  readonly shownUrl: string;
  readonly origin: Origin;
  /** The beginning of each question: the request line and Host. */
  readonly opening: string;
  /** Lower-case names of the request's fields that it gets. */
  readonly headers: ReadonlySet<string>;
  /** Lower-case names of its answer's fields that the backend gets, and nobody else may set. */
  readonly sets: ReadonlySet<string>;
  /** Milliseconds for all of its answer. */
  readonly timeout: number;
  readonly mayPassOnError: boolean;
  /** Milliseconds for which answers are kept; `null`: none is. */
  readonly cacheFor: number | null;
}

/**
 * Compiles what a route says of whom it asks; `null`: nobody. `hidden`: lower-case names of the fields of which it gets nothing that the
 * caller has sent: those that show Sluice who calls, and those in which Sluice says that itself.
 */
export function compileAuthorize(config: AuthorizeConfig | null, route: string, hidden: readonly string[]): RouteAuthorize | null {
  if (config === null) return null;
  const { protocol, hostname, port, host, pathname, search, origin } = new URL(config.url);
  const isTls = protocol === "https:";
  return {
    scope: JSON.stringify([route, config]),
    shownUrl: origin + pathname,
    origin: originOf(hostname.replace(/^\[|\]$/g, ""), Number(port) || (isTls ? 443 : 80), isTls),
    opening: `GET ${pathname}${search} HTTP/1.1\r\nHost: ${host}\r\n`,
    headers: new Set(config.headers.map((name) => name.toLowerCase()).filter((name) => !hidden.includes(name))),
    sets: new Set(config.upstreamHeaders.map((name) => name.toLowerCase())),
    timeout: parseDuration(config.timeout),
    mayPassOnError: config.onError === "allow",
    cacheFor: config.cacheFor === null ? null : parseDuration(config.cacheFor),
  };
}
