import type { ActivitiesConfig } from "../activities/settings.ts";
import { demoUpstreams } from "../demo/backend.ts";
import { redirects } from "../edge/settings.ts";
import { ANONYMOUS } from "../exchange/caller.ts";
import type { Answerer, Line } from "../exchange/line.ts";
import { wantedOf } from "../exchange/own-paths.ts";
import { isModelRoute, type Route } from "../exchange/route.ts";
import { Router } from "../exchange/router.ts";
import type { Snapshot } from "../exchange/snapshot.ts";
import type { Incoming } from "../http/incoming.ts";
import { problem, typesFrom } from "../http/problem.ts";
import { CLOSE_CODES } from "../http/websocket/bounds.ts";
import { compileIdentity } from "../identity/settings.ts";
import { publishedResources } from "../mcp/metadata.ts";
import { CALL_OUTCOMES } from "../mcp/route-mcp.ts";
import { freePages, pageOf } from "../pages/landing.ts";
import { RouteConfig } from "../routes/settings.ts";
import { fillIn } from "../schema/fill-in.ts";
import type { BreakerState } from "../upstreams/breaker.ts";
import { UpstreamConfig } from "../upstreams/settings.ts";
import { isAddress } from "../upstreams/unix-target.ts";
import type { Upstream } from "../upstreams/upstream.ts";
import { OTHER } from "../values/called-name.ts";
import { CidrSet } from "../values/ip.ts";
import { parseSize } from "../values/units.ts";
import type { Ground } from "./ground.ts";
import { type LineServices, lineOf, preflightOf } from "./lines.ts";
import type { OwnRoutes } from "./own-routes.ts";
import { relayOf } from "./relay.ts";
import { compileRoute } from "./routes.ts";
import type { Services } from "./services.ts";
import { compileVirtualModels } from "./virtual-models.ts";

export interface SnapshotsDeps {
  readonly ground: Pick<Ground, "inForce" | "prices" | "metrics" | "redactor" | "bus" | "clock" | "options">;
  readonly services: Services;
  readonly use: LineServices;
  /** The route that stands for none. */
  readonly miss: Route;
}

/** The changes of a breaker that are counted. */
const BREAKER_CHANGES: readonly (readonly [from: BreakerState, to: BreakerState])[] = [
  ["closed", "open"],
  ["open", "half-open"],
  ["half-open", "closed"],
  ["half-open", "open"],
  ["open", "closed"],
];

/** Builds the routes that requests walk through, and keeps those in force. What did not change keeps its state. */
export class Snapshots {
  private byName = new Map<string, Route>();
  private activitiesRoutes: readonly Route[] = [];
  private own: OwnRoutes | null = null;
  private inForce: Snapshot | null = null;

  constructor(private readonly deps: SnapshotsDeps) {}

  /** The snapshot in force. Throws before `serve`. */
  get current(): Snapshot {
    if (this.inForce === null) throw new Error("nothing is served yet");
    return this.inForce;
  }

  /** The users' routes. */
  get routes(): readonly Route[] {
    return [...this.byName.values()];
  }

  /** All routes that callers can mean: the users', and the activities'. */
  get all(): readonly Route[] {
    return [...this.byName.values(), ...this.activitiesRoutes];
  }

  /** Gives the route of this name that callers can mean; `null`: there is none. */
  named(name: string): Route | null {
    return this.byName.get(name) ?? this.activitiesRoutes.find((route) => route.name === name) ?? null;
  }

  /** Begins to serve, with Sluice's own routes beside the users'. */
  serve(own: OwnRoutes): void {
    this.own = own;
    this.inForce = this.build(own);
  }

  /** Puts the present configuration in force, in one step. */
  rebuild(): void {
    if (this.own !== null) this.inForce = this.build(this.own);
  }

  private build(own: OwnRoutes): Snapshot {
    const { miss, services, ground, use } = this.deps;
    const { server, admin, problemBase } = ground.inForce.config;
    const identity = compileIdentity(ground.inForce.config.identity);
    const before = this.byName;
    const compiled = this.compileAll(before, use.identity.fields(identity));
    this.byName = new Map(compiled.map((route) => [route.name, route]));
    this.activitiesRoutes = this.compileActivities();
    this.forgetChanged(before);
    this.nameCalled(compiled);
    this.beginCounts(compiled);
    const served = [...compiled, ...this.activitiesRoutes];
    const free = freePages(served);
    const isAdminElsewhere = admin.listen !== null;
    const resources = publishedResources(served);
    const wanted = wantedOf(ground.inForce.config, !services.pools.isEmpty);
    return {
      router: new Router(
        served,
        own.onMain(isAdminElsewhere, wanted, (path) => free.has(pageOf(path) ?? ""), resources.keys()),
      ),
      plainRouter: redirects(server.tls) ? new Router<Route>([], own.onPlainPort(isAdminElsewhere)) : null,
      adminRouter: isAdminElsewhere ? new Router<Route>([], own.onAdminListener()) : null,
      miss,
      hasCache: compiled.some((route) => route.cache !== null),
      trustedProxies: ground.inForce.trustedProxies,
      maxBodySize: parseSize(server.maxBodySize),
      tracer: services.tracing.tracer,
      redactor: ground.redactor,
      identity,
      problemTypes: typesFrom(problemBase),
      resources,
      judge: this.judgeOf(compiled),
    };
  }

  /** Compiles what requests are judged by that another proxy asks about; `null` where none may ask. */
  private judgeOf(compiled: readonly Route[]): Snapshot["judge"] {
    const { authz } = this.deps.ground.inForce.config;
    if (authz === null) return null;
    return { allowFrom: new CidrSet(authz.allowFrom), denyAs: authz.denyAs, router: new Router(compiled) };
  }

  private compileAll(before: ReadonlyMap<string, Route>, credentialFields: readonly string[]): Route[] {
    const { use, ground } = this.deps;
    const { records, upstreams, demo, issuers } = this.deps.services;
    const demos = demo === null ? {} : demoUpstreams(demo);
    const draft = upstreams.draft();
    const upstreamOf = (name: string | null): Upstream | null => {
      if (name === null) return null;
      if (isAddress(name)) return draft.obtain(name, plainUpstream(name));
      const document = records.upstreams.get(name)?.document ?? demos[name];
      return document === undefined ? null : draft.obtain(name, document);
    };
    const compiled = records.routes.all().map(({ name, document }) => {
      const config = { ...document, name };
      const material = {
        upstream: upstreamOf(document.upstream),
        metrics: ground.metrics.of(name),
        before: before.get(name),
        credentialFields,
        isPriced: ground.prices.current !== null,
        claimFields: document.auth === "none" ? [] : issuers.claimFields(document.issuers),
        issuers: issuers.namesOf(document.issuers),
      };
      const virtualModels = compileVirtualModels(config, ground.inForce.config.models, material, upstreamOf);
      const route = compileRoute(config, { ...material, virtualModels });
      route.line = lineOf(route, use);
      route.preflight = preflightOf(route, use);
      return route;
    });
    // Upstreams that no route uses are checked and listed all the same.
    for (const name of records.upstreams.names()) upstreamOf(name);
    draft.commit();
    return compiled;
  }

  /** Drops cached answers of routes that serve something else now, or nothing. */
  private forgetChanged(before: ReadonlyMap<string, Route>): void {
    const changed = new Set<string>();
    for (const [name, route] of before) {
      if (route.cache === null) continue;
      const next = this.byName.get(name);
      if (next === undefined || next.upstream !== route.upstream || !Bun.deepEquals(next.document, route.document)) changed.add(name);
    }
    if (changed.size > 0) this.deps.services.caching.purge((route) => changed.has(route));
  }

  /** Tells usage and metrics which models and tools are told apart by their names. */
  private nameCalled(compiled: readonly Route[]): void {
    const { inForce, prices } = this.deps.ground;
    const virtual = Object.entries(inForce.config.models).flatMap(([name, { try: attempts }]) => [
      name,
      ...attempts.map(({ model }) => model),
    ]);
    const allowed = compiled.flatMap(({ document }) => document.models);
    const tools = compiled.flatMap(({ mcp }) => mcp?.names ?? []);
    const { current } = prices;
    const priced = Object.keys(current?.table ?? {});
    this.deps.services.called.enter([...virtual, ...allowed, ...priced], tools, (model) => current?.patternOf(model) ?? null);
  }

  /** Tells counts that nothing has raised yet as 0: a counter that begins at 1 shows Prometheus no increase. */
  private beginCounts(compiled: readonly Route[]): void {
    const { metrics, prices } = this.deps.ground;
    const { upstreams, records, recorder } = this.deps.services;
    for (const { targets } of upstreams.all())
      for (const { url } of targets) for (const [from, to] of BREAKER_CHANGES) metrics.breakerChanges.of({ target: url, from, to });
    for (const tier of records.tiers.names()) {
      metrics.expectRefusals(tier);
      recorder.expect(records.registry.policiesOfTier(tier));
    }
    for (const { name, policies, websocket } of compiled) {
      recorder.expect(policies);
      if (websocket !== null) for (const code of CLOSE_CODES) metrics.closedWebSockets.of({ route: name, code: String(code) });
    }
    if (prices.current !== null) for (const route of compiled) if (isModelRoute(route)) metrics.unpriced.of({ route: route.name });
    for (const { name, mcp } of compiled)
      for (const tool of mcp === null ? [] : [...mcp.names, OTHER])
        for (const outcome of CALL_OUTCOMES) metrics.toolCalls.of({ route: name, tool, outcome });
    for (const { virtualModels } of compiled)
      for (const { name, attempts } of virtualModels.values())
        for (const { place, upstreamName, model } of attempts)
          for (const outcome of ["answered", "timeout"])
            metrics.modelAttempts.of({ model: name, place: String(place), upstream: upstreamName, used: model, outcome });
    for (const { name, upstream } of compiled) if (upstream?.isGrpc === true) metrics.expectCalls(name);
  }

  private compileActivities(): Route[] {
    const { use, ground, services } = this.deps;
    const settings = ground.inForce.config.activities;
    const { role } = ground.bus;
    const answerer = relayOf(ground, services, true) ?? services.activities.answerer;
    if (settings === null || answerer === null) return [];
    const route = compileRoute(activitiesDocument(settings), {
      upstream: null,
      metrics: ground.metrics.of("activities"),
      credentialFields: [],
      own: "activities",
    });
    // What reaches the keeper a worker has let pass, and writes down.
    route.line = role === "keeper" ? admittedLine(answerer) : lineOf(route, use, answerer);
    return [route];
  }
}

/** Makes the line of requests that a worker has let pass and passes on: with the caller that it names. */
const admittedLine = (answer: Answerer): Line => ({
  gates: [
    (exchange) => {
      const { relay } = exchange.incoming as Partial<Incoming>;
      if (relay?.caller === undefined) return problem("forbidden", "Activities are taken by the workers.");
      const { via, id, consumer, tier } = relay.caller;
      exchange.caller = { ...ANONYMOUS, via, id, consumer: { ...ANONYMOUS.consumer, id: consumer, tier } };
      return null;
    },
  ],
  answer,
  ended: () => {},
});

/** Makes a route of the activities' endpoint. */
function activitiesDocument({ endpoint, auth, issuers, tiers, scopes, limits, cost }: ActivitiesConfig): RouteConfig {
  const rules = { auth, issuers, tiers, scopes, limits, cost };
  return fillIn(RouteConfig, { name: "activities", path: endpoint, methods: ["POST"], upstream: "activities", ...rules })
    .value as RouteConfig;
}

/** Makes an upstream, with every default, of a URL. */
const plainUpstream = (url: string): UpstreamConfig => fillIn(UpstreamConfig, { targets: [{ url }] }).value as UpstreamConfig;
