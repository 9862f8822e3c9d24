import type { RouteConfig } from "../routes/settings.ts";
import { parseDuration, parseSize } from "../values/units.ts";

/** Holds what a route's cache is set to, ready for requests. */
export interface RouteCache {
  /** Milliseconds that a response is fresh which says nothing of it; `null`: by when it was modified. */
  readonly ttl: number | null;
  /** Bytes. */
  readonly maxEntrySize: number;
  /** Callers with a key get each other's responses. */
  readonly isShared: boolean;
  /** Each consumer gets its own responses again; callers without a key have one copy together. */
  readonly isPerConsumer: boolean;
  /** Lower-case names of fields that tell responses apart beside Vary. */
  readonly headers: readonly string[];
  /** Names of the query's parameters that tell responses apart, and that alone are forwarded where the cache takes part; `null`: the whole query. */
  readonly query: readonly string[] | null;
}

/** Compiles what a route says of its cache; `null`: it has none. */
export const compileCache = (config: RouteConfig["cache"]): RouteCache | null =>
  config === null
    ? null
    : {
        ttl: config.ttl === null ? null : parseDuration(config.ttl),
        maxEntrySize: parseSize(config.maxEntrySize),
        isShared: config.shared,
        isPerConsumer: config.perConsumer,
        headers: config.key.headers.map((name) => name.toLowerCase()),
        query: config.key.query === null ? null : [...new Set(config.key.query)],
      };
