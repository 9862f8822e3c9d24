import { type AdminDeps, createAdmin } from "../admin/app.ts";
import { IdempotentAnswers } from "../admin/idempotency.ts";
import { adminResources, type ResourceDeps } from "../admin/resources.ts";
import { namedRoute } from "../exchange/named-route.ts";
import { Explain } from "../explain/explain.ts";
import { Walk } from "../explain/walk.ts";
import { timeText } from "../http/conventions.ts";
import { mayUse } from "../identity/gate.ts";
import { issuerState } from "../issuers/admin.ts";
import type { Pools } from "../pools/pools.ts";
import { faultLines } from "../schema/faults.ts";
import type { Clock } from "../values/clock.ts";
import type { Components } from "./components.ts";
import type { Ground } from "./ground.ts";
import type { Services } from "./services.ts";
import type { Snapshots } from "./snapshots.ts";

/** Answers requests to the admin API. */
export type AdminApi = (request: Request, requestId: string, ip?: string) => Promise<Response>;

/** Opens the admin API over all services. */
export function openAdmin(ground: Ground, services: Services, components: Components, snapshots: Snapshots): AdminApi {
  const { clock, storage, link, audit, writability, feed, guarded, options, inForce, live, events, warnings } = ground;
  const { guard, records, usage, health, tokens, pools, issuers, upstreams, limits, cacheStore, caching, activities, replication } =
    services;
  const { consumers, keys, tiers, routes, registry } = records;
  const deps: AdminDeps & ResourceDeps = {
    ...{ tokens, guard, audit, usage, health, warnings, consumers, keys, tiers, routes, upstreams, pools, registry, clock, events },
    admits: (ip) => inForce.admitsAdmin(ip),
    problemTypes: () => snapshots.current.problemTypes,
    databasePath: options.databasePath,
    answers: new IdempotentAnswers(storage, clock, link),
    components: () => components.all(),
    upstreamDocuments: records.upstreams,
    activities: () => activities.wanted,
    poolDocuments: records.pools,
    issuerDocuments: records.issuers,
    issuerState: (name) => issuerState(issuers.get(name), clock),
    poolState: (name) => poolState(pools, name, clock),
    routePolicies: () => snapshots.routes.flatMap((route) => route.policies),
    cache: {
      statistics: () => ({ ...cacheStore.stats, maxSize: cacheStore.maxSize, ...caching.counts }),
      purge: (isMeant) => caching.purge(isMeant),
    },
    limiter: limits.limiter,
    callerOf: (id) => issuers.callerOf(id),
    config: { live, config: () => inForce.config },
    log: options.log,
    explain: explanations(ground, services, snapshots),
    stats: statistics(ground, services),
    catchUp: () => guarded(() => feed.poll(services.applyRemoteChanges)),
    unwritable: (error) => (writability.failed(error) ? writability.state : null),
    write: replication === null ? null : (work) => replication.write(work),
    onFault: options.onFault,
  };
  return createAdmin(deps, adminResources(deps));
}

function explanations({ clock }: Ground, services: Services, snapshots: Snapshots): ResourceDeps["explain"] {
  const { guard, records, limits, denials, pools, health, issuers } = services;
  const { keys, registry } = records;
  const explain = new Explain({
    ...{ clock, guard, registry, limiter: limits.limiter, denials, mayUse, away: limits.away },
    // Of a key only its beginning is kept: one that was imported in nearly that form is taken for one.
    isOfMadeForm: ({ id }) => keys.get(id).record.start.startsWith("slc_"),
    poolHolds: (pool) => pools.keysOf(pool).some(({ status, remaining }) => status !== "resting" && remaining > 0),
  });
  return {
    ...{ explain, registry, keys, health, clock, issuers },
    walk: new Walk({ clock, explain, snapshot: () => snapshots.current }),
    routeOf: (text) => namedRoute(text, snapshots.all, snapshots.current.router),
  };
}

function statistics({ clock, metrics, warnings, link, live, plugins, options }: Ground, services: Services): ResourceDeps["stats"] {
  const { health, usage, upstreams, pools, caching, activities, guard, troubles } = services;
  return {
    ...{ clock, health, metrics, usage, upstreams, pools, guard, warnings },
    plugins: () => plugins.allCounts,
    startedAt: clock.now(),
    cacheCounts: caching.counts,
    isRedisUp: () => link?.isUp ?? null,
    activities: () => activities.current?.stats() ?? null,
    log: () => options.log?.state ?? null,
    troubleOf: (upstream, url) => troubles.of(upstream, url),
    faults: () => faultLines(options.file, live.status.faults),
  };
}

/** Gives what is left to each key of a pool, with times for people. */
function poolState(pools: Pools, name: string, clock: Clock) {
  const wallText = (at: number | null): string | null => timeText(at === null ? null : clock.wall() + (at - clock.now()));
  return {
    keys: pools.keysOf(name).map(({ budgets, until, lastError, ...key }) => ({
      ...key,
      until: wallText(until),
      lastError: lastError === null ? null : { ...lastError, at: wallText(lastError.at) },
      budgets: budgets.map(({ resetAt, window, ...budget }) => ({ ...budget, window: `${window / 1000}s`, reset: wallText(resetAt) })),
    })),
  };
}
