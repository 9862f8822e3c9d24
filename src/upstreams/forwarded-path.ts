import type { Exchange } from "../exchange/exchange.ts";
import type { Route } from "../exchange/route.ts";
import { below } from "../http/path.ts";
import type { Target } from "./upstream.ts";

/** Gives the path that a target gets. */
export function forwardedPath({ path, odd }: Pick<Exchange, "path" | "odd">, route: Route, target: Target): string {
  // As it was sent, the prefix may be longer than as it is matched.
  const rest = route.strip === 0 ? path : odd === null ? path.slice(route.strip) : below(path, route.depth);
  const base = route.addPrefix === "" ? target.basePath : target.basePath + route.addPrefix;
  return rest === "" ? (base === "" ? "/" : base) : base + rest;
}
