import { type AdminDeps, type AdminHandler, createAdmin } from "../admin/app.ts";
import { IdempotentAnswers } from "../admin/idempotency.ts";
import { McpServer } from "../admin/mcp/server.ts";
import { UnseenSecrets } from "../admin/mcp/unseen.ts";
import { adminResources, type ResourceDeps } from "../admin/resources.ts";
import { Visits } from "../admin/visits.ts";
import { placeIn } from "../config/place.ts";
import { namedRoute } from "../exchange/named-route.ts";
import { Explain } from "../explain/explain.ts";
import { Walk } from "../explain/walk.ts";
import { timeText } from "../http/conventions.ts";
import { mayUse } from "../identity/gate.ts";
import { issuerState } from "../issuers/admin.ts";
import { type Pools, shownAmount } from "../pools/pools.ts";
import { faultLines, type Path } from "../schema/faults.ts";
import type { Links } from "../selfservice/links.ts";
import { ShadowLimits } from "../shadow/limits.ts";
import type { Bus } from "../shared/bus.ts";
import { MODEL_ATTEMPTS } from "../telemetry/metrics.ts";
import type { Clock } from "../values/clock.ts";
import { State } from "../versions/state.ts";
import type { Components } from "./components.ts";
import { cacheCountsOf } from "./everyone.ts";
import type { Ground } from "./ground.ts";
import { SETTLED, SETTLED_WITHIN } from "./picture.ts";
import type { Services } from "./services.ts";
import type { Snapshots } from "./snapshots.ts";

/** Answers requests to the admin API. */
export type AdminApi = AdminHandler;

/** Opens the admin API over all services. */
export function openAdmin(ground: Ground, services: Services, components: Components, snapshots: Snapshots, links: Links): AdminApi {
  const { clock, storage, link, audit, writability, feed, guarded, options, inForce, live, events, metrics, warnings } = ground;
  const { guard, records, usage, health, tokens, pools, issuers, upstreams, limits, picture, activities, replication } = services;
  const { certificates, clientCertificates, versions, holders, signIn, sessions } = services;
  const visits = new Visits();
  const { consumers, keys, tiers, routes, registry } = records;
  const unseen = new UnseenSecrets(() => clock.wall());
  const tools = new McpServer({ isOn: () => inForce.config.admin.mcp, unseen });
  const deps: AdminDeps & ResourceDeps = {
    ...{
      tokens,
      holders,
      visits,
      guard,
      audit,
      usage,
      health,
      warnings,
      consumers,
      keys,
      tiers,
      routes,
      upstreams,
      pools,
      registry,
      clock,
      events,
      versions,
    },
    admits: (ip) => inForce.admitsAdmin(ip),
    tools,
    mcp: { server: tools, unseen },
    selfService: {
      ...{ links, visits },
      markOf: ({ token, shown }) => token?.mark ?? sessions.find(shown, "console")?.token ?? null,
      url: () => inForce.config.selfService?.url ?? null,
      isElsewhere: () => inForce.config.admin.listen !== null,
    },
    session: { visits, signIn, issuer: services.issuerSignIn, isFirstRun: () => !tokens.wasEverUsed },
    problemTypes: () => snapshots.current.problemTypes,
    databasePath: options.databasePath,
    answers: new IdempotentAnswers(storage, clock, link),
    components: () => components.all(),
    upstreamDocuments: records.upstreams,
    activities: () => activities.wanted,
    poolDocuments: records.pools,
    issuerDocuments: records.issuers,
    hooks: { ...services.hooks, documents: records.webhooks },
    issuerState: (name) => issuerState(issuers.get(name), clock),
    poolState: (name) => poolState(pools, name, clock),
    routePolicies: () => snapshots.routes.flatMap((route) => route.policies),
    models: {
      models: () => inForce.config.models,
      routes: () => snapshots.routes,
      priceOf: (model) => ground.prices.current?.of(model) ?? null,
      counted: () => metrics.counted(MODEL_ATTEMPTS),
      failures: services.everyone.modelFailures,
    },
    prices: { book: ground.prices, config: () => ground.inForce.config },
    cache: { statistics: picture.cache, purge: picture.purge },
    inAll: picture.targets,
    droppedInAll: picture.dropped,
    certificates: () => certificates.standings(),
    limiter: limits.limiter,
    state: new State({
      ...{ versions, consumers, keys, documents: records.documents },
      asIf: (staged, work) => records.asIf(staged, null, work),
      together: (work) => audit.together(work),
    }),
    callerOf: (id) => issuers.callerOf(id) ?? clientCertificates.callerOf(id),
    config: { live, config: () => inForce.config },
    log: options.log,
    explain: explanations(ground, services, snapshots),
    stats: statistics(ground, services),
    history: services.history,
    shadow: shadowReport(ground, services),
    catchUp: () => guarded(() => feed.poll(services.applyRemoteChanges)),
    unwritable: (error) => (writability.failed(error) ? writability.state : null),
    write: replication === null ? null : (work) => replication.write(work),
    onFault: options.onFault,
  };
  return settledBefore(createAdmin(deps, adminResources(deps)), ground.bus);
}

/**
 * Has the keeper answer a change, and whoever wants to follow the events, only when all workers have taken it over: what was made works at once, whichever
 * worker is asked next.
 */
function settledBefore(handle: AdminApi, bus: Bus): AdminApi {
  if (bus.role !== "keeper") return handle;
  return async (request, requestId, ip, browser) => {
    const answer = await handle(request, requestId, ip, browser);
    const isStream = answer.headers.get("content-type") === "text/event-stream";
    if (isStream || (request.method !== "GET" && request.method !== "HEAD")) await bus.askAll(SETTLED, null, SETTLED_WITHIN);
    return answer;
  };
}

function explanations({ clock, prices }: Ground, services: Services, snapshots: Snapshots): ResourceDeps["explain"] {
  const { guard, records, limits, everyone, pools, health, issuers, clientCertificates } = services;
  const { keys, registry } = records;
  const explain = new Explain({
    ...{ clock, guard, registry, limiter: limits.limiter, denials: everyone.denials, mayUse, away: limits.away },
    // Of a key only its beginning is kept: one that was imported in nearly that form is taken for one.
    isOfMadeForm: ({ id }) => keys.get(id).record.start.startsWith("slc_"),
    isPriced: (model) => {
      const known = prices.current ?? prices.none;
      return known.isFreeOtherwise || known.of(model) !== null;
    },
    poolHolds: (pool) =>
      pools.keysOf(pool).some(({ status, budgets }) => status !== "resting" && budgets.every(({ used, limit }) => used < limit)),
  });
  return {
    ...{ explain, registry, keys, health, clock, issuers, certificates: clientCertificates },
    walk: new Walk({ clock, explain, snapshot: () => snapshots.current }),
    routeOf: (text) => namedRoute(text, snapshots.all, snapshots.current.router),
    latest: everyone.latestDenials,
    refusalOf: everyone.denialOf,
  };
}

function shadowReport({ clock, inForce, options }: Ground, { shadow, records }: Services): ResourceDeps["shadow"] {
  const { tiers, routes, consumers, keys } = records;
  const { table, flush } = shadow;
  const placeOf = (path: Path) => placeIn(options.file, path);
  return { limits: new ShadowLimits({ tiers, routes, consumers, keys, config: () => inForce.config, placeOf }), table, flush, clock };
}

function statistics({ clock, metrics, warnings, link, live, options }: Ground, services: Services): ResourceDeps["stats"] {
  const { health, usage, upstreams, pools, activities, guard, picture, everyone } = services;
  return {
    ...{ clock, health, metrics, usage, upstreams, pools, guard, warnings },
    plugins: picture.plugins,
    inAll: picture.targets,
    dropped: picture.dropped,
    startedAt: clock.now(),
    cacheCounts: () => cacheCountsOf(metrics),
    processes: () => everyone.processes(),
    restarts: async () => (await options.restarts?.()) ?? {},
    isRedisUp: () => link?.isUp ?? null,
    activities: () => activities.current?.stats() ?? null,
    faults: () => faultLines(options.file, live.status.faults),
  };
}

/** Gives what is left to each key of a pool, with times for people. */
function poolState(pools: Pools, name: string, clock: Clock) {
  const wallText = (at: number | null): string | null => timeText(at === null ? null : clock.wall() + (at - clock.now()));
  return {
    keys: pools.keysOf(name).map(({ budgets, until, lastError, ...key }) => ({
      ...key,
      remaining: shownAmount(key.unit, key.remaining),
      until: wallText(until),
      lastError: lastError === null ? null : { ...lastError, at: wallText(lastError.at) },
      budgets: budgets.map(({ of, limit, used, resetAt, window }) => ({
        of,
        limit: shownAmount(of, limit),
        window: `${window / 1000}s`,
        used: shownAmount(of, used),
        reset: wallText(resetAt),
      })),
    })),
  };
}
