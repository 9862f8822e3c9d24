import { matchOf } from "../http/path.ts";
import type { Fault } from "../schema/faults.ts";
import { withoutEndSlash } from "./path.ts";
import type { RouteConfig } from "./settings.ts";

/** Tells whether there are requests that both routes would take. */
export function overlap(a: RouteConfig, b: RouteConfig): boolean {
  const common = (left: readonly string[], right: readonly string[]) =>
    left.length === 0 || right.length === 0 ? left.length === right.length : left.some((each) => right.includes(each));
  const methods = a.methods.length === 0 || b.methods.length === 0 || a.methods.some((method) => b.methods.includes(method));
  return withoutEndSlash(matchOf(a.path)) === withoutEndSlash(matchOf(b.path)) && methods && common(a.hosts, b.hosts);
}

/**
 * Gives the faults of routes of one name, and of routes that take the same requests: the later one is the fault. Paths begin with its
 * position.
 */
export function sameRoutes(routes: readonly RouteConfig[]): Fault[] {
  const faults: Fault[] = [];
  for (const [i, route] of routes.entries()) {
    for (const [j, other] of routes.slice(0, i).entries()) {
      if ((route.name ?? route.path) === (other.name ?? other.path)) {
        if (route.name !== undefined || !overlap(route, other))
          faults.push({
            path: [i, route.name === undefined ? "path" : "name"],
            message: `is the name of routes[${j}] already; give it another`,
          });
      }
      if (overlap(route, other))
        faults.push({ path: [i, "path"], message: `routes[${j}] takes this path already, with a host and a method in common` });
    }
  }
  return faults;
}
