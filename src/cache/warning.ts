import type { RouteConfig } from "../routes/settings.ts";

/** Tells why a route's cache can never keep anything, or not what its ttl promises, in a sentence about its field `cache`; `null` when it can. */
export function cacheWarning({
  cache,
  auth,
  authorize,
  methods,
}: Pick<RouteConfig, "cache" | "auth" | "authorize" | "methods">): string | null {
  if (cache === null) return null;
  if (methods.length > 0 && !methods.includes("GET") && !methods.includes("HEAD"))
    return "keeps nothing: only answers to GET and HEAD are kept, and the route takes neither";
  if ((auth === "required" || authorize !== null) && !cache.shared && !cache.perConsumer)
    return `${cache.ttl === null ? "" : "ttl without perConsumer or shared "}keeps nothing for callers with a key, unless the backend says public, s-maxage or must-revalidate: set "perConsumer": true (one copy for each consumer) or "shared": true (one for all)`;
  if (auth === "none" && authorize === null && cache.perConsumer)
    return 'perConsumer does nothing: with "auth": "none" there are no consumers, and one copy is for all';
  return null;
}
