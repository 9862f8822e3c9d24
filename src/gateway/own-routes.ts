import { GONE } from "../exchange/answer.ts";
import type { Gate, Line } from "../exchange/line.ts";
import { anyMethod, onlyAdmins, onlyGet, onlyPost, onlyReading, READING } from "../exchange/own-gates.ts";
import { OWN_PATHS, type OwnName, type Wanted } from "../exchange/own-paths.ts";
import type { Route } from "../exchange/route.ts";
import type { Own } from "../exchange/router.ts";
import { onlyAskers } from "../judge/gate.ts";
import { RouteConfig } from "../routes/settings.ts";
import { fillIn } from "../schema/fill-in.ts";
import type { RouteMetrics } from "../telemetry/route-metrics.ts";
import { compileRoute } from "./routes.ts";

/** Makes the first gate of each own path, by the methods that it takes, or by who may come. */
const METHOD_GATES: Readonly<Record<OwnName, (says: string) => Gate>> = {
  "acme-challenge": onlyReading,
  "resource-metadata": anyMethod,
  health: onlyReading,
  ready: onlyReading,
  metrics: onlyReading,
  // It yields to routes, and never sees another method: that is a route's, or nobody's.
  docs: onlyReading,
  console: onlyReading,
  admin: onlyAdmins,
  "api-key": onlyPost,
  authz: onlyAskers,
  "key-verification": onlyPost,
  me: onlyGet,
  "me-rotate": onlyPost,
  "me-keys": anyMethod,
  "my-api": anyMethod,
  my: onlyReading,
};

/** What yields to routes by its method as well: another than these is a route's, or nobody's. */
const PAGES: ReadonlySet<OwnName> = new Set(["docs", "console", "my"]);

export interface OwnRoutesDeps {
  readonly metricsOf: (name: OwnName) => RouteMetrics;
  /** The line of requests that are sent to https, and their counts. */
  readonly redirect: { readonly line: Line; readonly metrics: RouteMetrics };
  /** Gives the line of an own path on the plain port beside the one for https, by the one that it has elsewhere; `null`: it is not there. */
  readonly plainLineOf: (name: OwnName, line: Line) => Line | null;
  /** Gives the way of an own path's requests; `first` comes before its other gates. */
  readonly lineOf: (name: OwnName, first: Gate) => Line;
}

/** Compiles the routes of Sluice's own paths, once: no configuration changes them. */
export class OwnRoutes {
  private readonly table: readonly (Own<Route> & {
    readonly name: OwnName;
    readonly on: string;
    readonly yields: boolean;
    readonly isWanted: (wanted: Wanted) => boolean;
  })[];
  /** Those of the plain port; the one that sends callers to https comes last, and takes everything. */
  private readonly plain: readonly (Own<Route> & { readonly on: string })[];

  constructor({ metricsOf, lineOf, redirect, plainLineOf }: OwnRoutesDeps) {
    this.table = OWN_PATHS.flatMap(({ name, paths, takesBelow, on, yields, isWanted = () => true, says }) =>
      paths.map((path) => {
        const route = ownRoute(name, path, metricsOf(name), PAGES.has(name) ? READING : []);
        route.line = lineOf(name, METHOD_GATES[name](says));
        return { name, path, takesBelow, on, yields, isWanted, route };
      }),
    );
    const onPlain = this.table.flatMap(({ name, route: elsewhere, ...row }) => {
      const line = plainLineOf(name, elsewhere.line);
      if (line === null) return [];
      const route = ownRoute(name, row.path, metricsOf(name));
      route.line = line;
      return [{ ...row, route }];
    });
    const toHttps = routeOf("redirect", redirect.metrics, redirect.line);
    this.plain = [...onPlain, { path: "", takesBelow: true, on: "every", route: toHttps }];
  }

  /** Gives the routes of the plain port beside the one for https. */
  onPlainPort(isAdminElsewhere: boolean): Own<Route>[] {
    return this.plain.filter(({ on }) => on !== "admin" || !isAdminElsewhere);
  }

  /**
   * Gives the routes of the main port. `isFree` tells whether no route stands in the way of a path that yields; `resources`: the paths at
   * which metadata of protected resources is published.
   */
  onMain(isAdminElsewhere: boolean, wanted: Wanted, isFree: (path: string) => boolean, resources: Iterable<string>): Own<Route>[] {
    return this.table.flatMap((own) => {
      const { name, on, path, yields, isWanted } = own;
      if ((on === "admin" && isAdminElsewhere) || !isWanted(wanted)) return [];
      if (name === "resource-metadata") return Array.from(resources, (path) => ({ ...own, path, takesBelow: false }));
      return !yields || isFree(path) ? [own] : [];
    });
  }

  /**
   * Gives the routes of the admin API's own listener, where no other route is served: a path without a route there is for the admin API to
   * refuse.
   */
  onAdminListener(): Own<Route>[] {
    const own: Own<Route>[] = this.table.filter(({ on }) => on !== "main");
    const admin = own.find(({ route }) => route.own === "admin");
    return admin === undefined ? own : [...own, { route: admin.route, path: "", takesBelow: true }];
  }
}

/** Makes the route that stands for none, where no route takes a request. */
export const missOf = (metrics: RouteMetrics, ended: Line["ended"]): Route =>
  routeOf("none", metrics, { gates: [], answer: () => GONE, ended });

/** Makes a route that stands for no path. */
function routeOf(name: string, metrics: RouteMetrics, line: Line): Route {
  const { value } = fillIn(RouteConfig, { name, path: "/", upstream: name });
  const route = compileRoute(value as RouteConfig, { upstream: null, metrics, credentialFields: [] });
  route.line = line;
  return route;
}

/** What takes targets that no route's path may have: ids in paths of the admin API, and the paths that Envoy asks about. */
const TAKES_MALFORMED: readonly OwnName[] = ["admin", "authz"];

/** Makes a route that no file declares. */
function ownRoute(own: OwnName, path: string, metrics: RouteMetrics, methods: readonly string[] = []): Route {
  const { value } = fillIn(RouteConfig, { name: own, path, methods, upstream: own });
  return compileRoute(value as RouteConfig, {
    upstream: null,
    metrics,
    credentialFields: [],
    own,
    takesMalformed: TAKES_MALFORMED.includes(own),
  });
}
