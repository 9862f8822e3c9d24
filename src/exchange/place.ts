import { dropOwnCookies } from "../http/own-cookies.ts";
import { parseTarget, type Target, withSlashes } from "../http/path.ts";
import { type Problem, problem } from "../http/problem.ts";
import { corsHead, preflightMethod } from "./cors.ts";
import type { Arrival, Exchange } from "./exchange.ts";
import type { Line } from "./line.ts";
import { neverTaken } from "./own-gates.ts";
import { AUTHZ_PATH } from "./own-paths.ts";
import { ambiguityOf, type Route } from "./route.ts";
import { isMiss, prefixOf, type Router } from "./router.ts";

/** The refusal of a request for whose path there is nobody. */
export const NO_ROUTE = problem("routeNotFound", "No route takes this path; check it, or ask for the list of routes.");

/** Holds a parsed request target, or says why it can't be served. */
export interface Aim extends Target {
  /** The sentence that says why it can't be served; left out: it is well-formed. */
  readonly fault?: string;
}

/**
 * Parses a request target. One that is malformed is cut at its query: an id in a path of the admin API may hold characters that no route's
 * path may.
 */
export function aimOf(target: string): Aim {
  const parsed = parseTarget(target);
  if (typeof parsed !== "string") return parsed;
  const mark = target.indexOf("?");
  const path = mark < 0 ? target : target.slice(0, mark);
  return { path, query: mark < 0 ? "" : target.slice(mark), odd: null, fault: parsed };
}

/**
 * Finds the route that a request is for, and gives the line that it walks there; or says why there is none. `fault`: the sentence that says
 * what is wrong with its target.
 */
export function place(exchange: Exchange<Arrival>, router: Router<Route>, fault?: string): Line | Problem {
  const { head } = exchange.incoming;
  const { method } = head;
  const never = neverTaken(method);
  if (never !== null) return never;
  const own = router.findOwn(method, exchange.path);
  if (exchange.snapshot.judge !== null && leadsOut(exchange, router, own)) return NO_ROUTE;
  if (own !== null && (fault === undefined || own.takesMalformed)) {
    exchange.route = own;
    return own.line;
  }
  if (fault !== undefined) return problem("badRequest", fault);
  const asked = preflightMethod(method, head.fields);
  if (asked !== null) {
    const preflight = preflightAt(exchange, router, asked);
    if (preflight !== null) return preflight;
  }
  const found = router.find(head.host, method, exchange.match);
  if (exchange.odd !== null) {
    const ambiguity = ambiguityOf(exchange.odd, found, (path) => router.find(head.host, method, path));
    if (ambiguity !== null) return problem("badRequest", ambiguity);
  }
  if (isMiss(found)) {
    if (found.allow === null) return NO_ROUTE;
    const allow = found.allow.join(", ");
    return problem("methodNotAllowed", `This route takes ${allow}.`, {}, [["Allow", allow]]);
  }
  // What Sluice itself answers has one path, and nothing below it.
  if (found.own !== null && prefixOf(exchange.match) !== prefixOf(found.path)) return NO_ROUTE;
  enter(exchange, found);
  return found.line;
}

/**
 * Tells whether a path begins below the one where proxies ask and leads out of there: Envoy asks by the path as its caller has sent it, and
 * must not take an answer of Sluice's own, such as a probe's, for a permission. `own`: what takes the path it leads to.
 */
const leadsOut = ({ incoming, snapshot }: Exchange<Arrival>, router: Router<Route>, own: Route | null): boolean =>
  router !== snapshot.judge?.router && incoming.head.target.startsWith(`${AUTHZ_PATH}/`) && own?.own !== "authz";

/**
 * Gives the line of the preflight that a browser sends before a page's request with this method; `null` where the route for that has no
 * CORS.
 */
function preflightAt(exchange: Exchange<Arrival>, router: Router<Route>, method: string): Line | null {
  const { host } = exchange.incoming.head;
  const found = router.find(host, method, exchange.match);
  if (isMiss(found) || found.preflight === null) return null;
  if (exchange.odd !== null && ambiguityOf(exchange.odd, found, (path) => router.find(host, method, path)) !== null) return null;
  exchange.route = found;
  return found.preflight;
}

/** Enters a route: the request is its own from now on, and nobody on its way sees Sluice's own cookies. */
function enter(exchange: Exchange<Arrival>, route: Route): void {
  exchange.route = route;
  const { head } = exchange.incoming;
  if (head.mayHoldOwnCookie) dropOwnCookies(head.fields);
  if (exchange.odd !== null && route.keepsSlashes) exchange.path = withSlashes(exchange.path, exchange.odd.kept, route.depth);
  exchange.routeHead = route.responseRules.lines;
  if (route.cors !== null) exchange.routeHead += corsHead(route.cors, exchange.incoming.head.fields.get("origin"));
}
