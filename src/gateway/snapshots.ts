import type { ActivitiesConfig } from "../activities/settings.ts";
import type { Config } from "../config/schema.ts";
import type { Answerer } from "../exchange/line.ts";
import type { Route } from "../exchange/route.ts";
import { Router } from "../exchange/router.ts";
import type { Snapshot } from "../exchange/snapshot.ts";
import { freePages, pageOf } from "../pages/landing.ts";
import type { Documents } from "../records/documents.ts";
import { RouteConfig } from "../routes/settings.ts";
import { fillIn } from "../schema/fill-in.ts";
import type { RouteMetrics } from "../telemetry/metrics.ts";
import type { Tracer } from "../telemetry/trace.ts";
import type { Upstreams } from "../upstreams/registry.ts";
import { UpstreamConfig } from "../upstreams/settings.ts";
import type { Upstream } from "../upstreams/upstream.ts";
import { CidrSet } from "../values/ip.ts";
import type { Redactor } from "../values/redact.ts";
import { parseSize } from "../values/units.ts";
import { type LineServices, lineOf, preflightOf } from "./lines.ts";
import type { OwnRoutes } from "./own-routes.ts";
import { compileRoute } from "./routes.ts";

export interface SnapshotsDeps {
  /** The configuration in force. */
  readonly config: () => Config;
  readonly routes: Documents<RouteConfig>;
  readonly upstreamDocuments: Documents<UpstreamConfig>;
  /** The demo's own upstreams, by name. */
  readonly demoUpstreams: Readonly<Record<string, UpstreamConfig>>;
  readonly upstreams: Upstreams;
  readonly metricsOf: (route: string) => RouteMetrics;
  readonly tracer: () => Tracer | null;
  readonly redactor: Redactor;
  readonly use: LineServices;
  readonly ownRoutes: OwnRoutes;
  /** Keys of pools are handed out. */
  readonly handsOut: () => boolean;
  /** Takes activities in; `null` while there are none. */
  readonly activities: () => Answerer | null;
  /** Stands for no route. */
  readonly miss: Route;
  /** A snapshot is in force; `changed`: routes whose responses are of no use any more. */
  readonly onBuilt: (routes: readonly Route[], changed: ReadonlySet<string>) => void;
}

/** Builds what requests walk through, and keeps the one in force. What did not change keeps its state. */
export class Snapshots {
  private byName = new Map<string, Route>();
  private activitiesRoutes: readonly Route[] = [];
  private inForce: Snapshot;

  constructor(private readonly deps: SnapshotsDeps) {
    this.inForce = this.build();
  }

  get current(): Snapshot {
    return this.inForce;
  }

  /** The users' routes. */
  get routes(): readonly Route[] {
    return [...this.byName.values()];
  }

  /** All routes that callers can be meant for: the users', and the activities'. */
  get all(): readonly Route[] {
    return [...this.byName.values(), ...this.activitiesRoutes];
  }

  /** Puts what is configured now in force, in one step. */
  rebuild(): void {
    this.inForce = this.build();
  }

  private build(): Snapshot {
    const { ownRoutes, handsOut, tracer, redactor, miss, onBuilt } = this.deps;
    const { identity, server, admin } = this.deps.config();
    const before = this.byName;
    const compiled = this.compileAll(before);
    this.byName = new Map(compiled.map((route) => [route.name, route]));
    this.activitiesRoutes = this.compileActivities();
    const served = [...compiled, ...this.activitiesRoutes];
    const free = freePages(served);
    const isAdminElsewhere = admin.listen !== null;
    onBuilt(compiled, changedBetween(before, this.byName));
    return {
      router: new Router(
        served,
        ownRoutes.onMain(isAdminElsewhere, handsOut(), (path) => free.has(pageOf(path) ?? "")),
      ),
      adminRouter: isAdminElsewhere ? new Router<Route>([], ownRoutes.onAdminListener()) : null,
      miss,
      hasCache: compiled.some((route) => route.cache !== null),
      trustedProxies: new CidrSet(server.trustedProxies),
      maxBodySize: parseSize(server.maxBodySize),
      tracer: tracer(),
      redactor,
      identity: {
        headerName: identity.header,
        header: identity.header.toLowerCase(),
        bearer: identity.bearer,
        basic: identity.basic,
        query: identity.query,
      },
    };
  }

  private compileAll(before: ReadonlyMap<string, Route>): Route[] {
    const { routes, upstreams, upstreamDocuments, demoUpstreams, metricsOf, use, config } = this.deps;
    const keyHeader = config().identity.header.toLowerCase();
    const draft = upstreams.draft();
    const upstreamOf = (name: string): Upstream | null => {
      if (name.includes("://")) return draft.obtain(name, plainUpstream(name));
      const document = upstreamDocuments.get(name)?.document ?? demoUpstreams[name];
      return document === undefined ? null : draft.obtain(name, document);
    };
    const compiled = routes.all().map(({ name, document }) => {
      const route = compileRoute(
        { ...document, name },
        { upstream: upstreamOf(document.upstream), metrics: metricsOf(name), before: before.get(name), keyHeader },
      );
      route.line = lineOf(route, use);
      route.preflight = preflightOf(route, use);
      return route;
    });
    // Upstreams that no route uses are checked and listed all the same.
    for (const name of upstreamDocuments.names()) upstreamOf(name);
    draft.commit();
    return compiled;
  }

  private compileActivities(): Route[] {
    const settings = this.deps.config().activities;
    const answer = this.deps.activities();
    if (settings === null || answer === null) return [];
    const route = compileRoute(activitiesDocument(settings), {
      upstream: null,
      metrics: this.deps.metricsOf("activities"),
      keyHeader: "",
      own: "activities",
    });
    route.line = lineOf(route, this.deps.use, answer);
    return [route];
  }
}

/** The activities' endpoint as a route. */
function activitiesDocument({ endpoint, auth, tiers, scopes, limits, cost }: ActivitiesConfig): RouteConfig {
  const rules = { auth, tiers, scopes, limits, cost };
  return fillIn(RouteConfig, { name: "activities", path: endpoint, methods: ["POST"], upstream: "activities", ...rules })
    .value as RouteConfig;
}

/** A URL in an upstream's place, with every default. */
const plainUpstream = (url: string): UpstreamConfig => fillIn(UpstreamConfig, { targets: [{ url }] }).value as UpstreamConfig;

/** Names the routes with a cache that serve something else now, or nothing: what was kept of them is of no use. */
function changedBetween(before: ReadonlyMap<string, Route>, now: ReadonlyMap<string, Route>): ReadonlySet<string> {
  const changed = new Set<string>();
  for (const [name, route] of before) {
    if (route.cache === null) continue;
    const next = now.get(name);
    if (next === undefined || next.upstream !== route.upstream || !Bun.deepEquals(next.document, route.document)) changed.add(name);
  }
  return changed;
}
