import { createAdmin } from "./admin/app.ts";
import { IdempotentAnswers } from "./admin/idempotency.ts";
import { AdminTokens } from "./admin/tokens.ts";
import { CacheStore } from "./cache/store.ts";
import type { Clock } from "./clock.ts";
import type { Fault } from "./config/faults.ts";
import { CidrSet } from "./config/ip.ts";
import { fillIn } from "./config/load.ts";
import { takeNotYet } from "./config/not-yet.ts";
import { DEMO_UPSTREAMS, type Known, overlap, routeFaults, tierFaults, upstreamFaults } from "./config/rules.ts";
import { type Config, RouteConfig, TierConfig, UpstreamConfig } from "./config/schema.ts";
import { parseSize } from "./config/units.ts";
import { Consumers } from "./consumers/consumers.ts";
import { type DemoBackend, demoUpstreams, startDemoBackend } from "./demo/backend.ts";
import { SystemHealth } from "./health/health.ts";
import { Keys } from "./keys/keys.ts";
import { KeyRegistry } from "./keys/registry.ts";
import { Limiter } from "./limits/limiter.ts";
import { MemoryStore } from "./limits/memory-store.ts";
import { CountPersistence } from "./limits/persistence.ts";
import { compilePolicies, termsOf } from "./limits/policy.ts";
import { countRepository } from "./limits/repository.ts";
import { Caching } from "./proxy/caching.ts";
import { Forwarder } from "./proxy/forwarder.ts";
import type { Generation } from "./proxy/generation.ts";
import { Pipeline } from "./proxy/pipeline.ts";
import { compileRoute, type Route } from "./proxy/route.ts";
import { Router } from "./proxy/router.ts";
import { type Change, ChangeFeed } from "./storage/changes.ts";
import { Documents } from "./storage/documents.ts";
import { openStorage } from "./storage/open.ts";
import { AccessLog } from "./telemetry/access-log.ts";
import type { Logger } from "./telemetry/log.ts";
import { PooledClient } from "./upstreams/client.ts";
import { Upstreams } from "./upstreams/registry.ts";
import type { Upstream } from "./upstreams/upstream.ts";

export interface GatewayOptions {
  readonly config: Config;
  /** The file that `config` was read from; `null` for the embedded demo. */
  readonly file: string | null;
  readonly databasePath: string;
  readonly adminToken: string | undefined;
  readonly clock: Clock;
  /** `null`: nothing is logged. */
  readonly log: Logger | null;
  readonly onFault: (error: unknown, requestId: string) => void;
}

/** The configuration names what the admin API made before. */
export class ConfigConflict extends Error {
  constructor(readonly faults: readonly Fault[]) {
    super("the configuration conflicts with what the admin API made");
  }
}

/** How often things that were changed in memory are written, in milliseconds. A crash loses at most this much of them. */
const FLUSH_COUNTS_EVERY = 1000;
const FLUSH_USED_KEYS_EVERY = 10_000;
/** How far this process may be behind another one on the same database, in milliseconds. */
const FOLLOW_EVERY = 200;

export type GatewayParts = ReturnType<typeof createGatewayParts>;

/**
 * Makes the parts and joins them: the only place that knows all of them. They are ready to serve; listeners are the server's.
 * Throws `StorageError` and `ConfigConflict`.
 */
export function createGatewayParts(options: GatewayOptions) {
  const { config, clock, log, onFault } = options;
  const storage = openStorage(options.databasePath);
  // Before anything is read: a change in between is then seen twice, never missed.
  const feed = new ChangeFeed(storage, (changes) => follow(changes));
  const health = new SystemHealth(clock);
  const demo = config.demo ? startDemoBackend({ limitOf: (tier) => demoLimit(tier) }) : null;

  const known = (): Known => ({
    tiers: tiers.names(),
    upstreams: new Set([...upstreams.names(), ...(demo === null ? [] : DEMO_UPSTREAMS)]),
    hasAdminListener: config.admin.listen !== null,
  });
  const checked = (schema: Parameters<typeof fillIn>[0], kind: string, value: unknown, rules: (filled: unknown) => Fault[]) => {
    const copy = structuredClone(value);
    const notYet = takeNotYet(copy, [kind, kind === "routes" ? 0 : "name"]);
    const { value: filled, faults } = fillIn(schema, copy);
    return { value: filled, faults: [...notYet, ...faults, ...(faults.length === 0 ? rules(filled) : [])] };
  };

  const tiers: Documents<TierConfig> = new Documents<TierConfig>({
    kind: "tier",
    storage,
    clock,
    fill: (value) => fillIn(TierConfig, value).value,
    check: (value) => checked(TierConfig, "tiers", value, (tier) => tierFaults(tier as TierConfig)),
    usedBy: (name) => [
      ...(config.anonymousTier === name ? ["anonymousTier"] : []),
      ...consumers.ofTier(name).map((id) => `consumer ${id}`),
      ...routes
        .all()
        .filter((route) => route.document.tiers.includes(name))
        .map((route) => `route ${route.name}`),
    ],
    onChange: () => registry.invalidate(),
    reserved: new Set(),
  });
  const upstreams: Documents<UpstreamConfig> = new Documents<UpstreamConfig>({
    kind: "upstream",
    storage,
    clock,
    fill: (value) => fillIn(UpstreamConfig, value).value,
    check: (value) => checked(UpstreamConfig, "upstreams", value, (upstream) => upstreamFaults(upstream as UpstreamConfig)),
    usedBy: (name) =>
      routes
        .all()
        .filter((route) => route.document.upstream === name)
        .map((route) => `route ${route.name}`),
    onChange: () => rebuild(),
    reserved: new Set(config.demo ? DEMO_UPSTREAMS : []),
  });
  const routes: Documents<RouteConfig> = new Documents<RouteConfig>({
    kind: "route",
    storage,
    clock,
    fill: (value) => fillIn(RouteConfig, value).value,
    check: (value, name) =>
      checked(RouteConfig, "routes", value, (filled) => {
        const route = filled as RouteConfig;
        const clash = routes.all().find((other) => other.name !== name && overlap(route, other.document));
        const taken =
          clash === undefined
            ? []
            : [
                {
                  path: ["path"],
                  message: `the route ${JSON.stringify(clash.name)} takes this path already, with a host and a method in common`,
                },
              ];
        return [...routeFaults(route, known()), ...taken];
      }),
    usedBy: () => [],
    onChange: () => rebuild(),
    reserved: new Set(),
  });

  const registry = new KeyRegistry(
    // A tier that was deleted under its consumers must not leave them without limits: they are treated like callers without a key.
    (tier) => (tiers.get(tier) ?? tiers.get(config.anonymousTier))?.document.limits ?? [],
    () => config.anonymousTier,
  );
  const consumers = new Consumers({ storage, clock, registry, known });
  const keys = new Keys({ storage, clock, registry });
  const follow = (changes: readonly Change[]): void => {
    for (const { kind, id, was } of changes) {
      if (kind === "consumer") consumers.refresh(id);
      else if (kind === "key") keys.refresh(id, was);
      else ({ tier: tiers, route: routes, upstream: upstreams })[kind].refresh(id);
    }
    const kinds = new Set(changes.map((change) => change.kind));
    if (kinds.has("tier")) registry.invalidate();
    if (kinds.has("route") || kinds.has("upstream")) rebuild();
  };
  const demoLimit = (tier: string): number | null => {
    const [policy] = compilePolicies(tiers.get(tier)?.document.limits ?? [], { kind: "tier", name: tier });
    return policy === undefined ? null : termsOf(policy, health.isDegraded).limit;
  };

  const conflicts = [
    ...tiers.load(Object.entries(config.tiers)).map((name) => conflict(["tiers", name], "tier")),
    ...upstreams.load(Object.entries(config.upstreams)).map((name) => conflict(["upstreams", name], "upstream")),
    ...routes
      .load(config.routes.map((route) => [route.name ?? route.path, route] as const))
      .map((name) => conflict(["routes", config.routes.findIndex((route) => (route.name ?? route.path) === name)], "route")),
    ...consumers
      .load(config.consumers)
      .map((id) => conflict(["consumers", config.consumers.findIndex((consumer) => consumer.id === id)], "consumer")),
    ...keys.load(config.consumers),
  ];
  if (conflicts.length > 0) {
    demo?.stop();
    storage.close();
    throw new ConfigConflict(conflicts);
  }

  const store = new MemoryStore(config.limits.maxSubjects);
  const limiter = new Limiter({ store, clock, isDegraded: () => health.isDegraded });
  const counts = new CountPersistence({ store, counts: countRepository(storage, clock), clock });
  counts.restore();

  const client = new PooledClient(clock);
  const balanced = new Upstreams({
    clock,
    client,
    random: Math.random,
    onBreaker: (upstream, { url }, from, to, cause) =>
      log?.[to === "open" ? "warn" : "info"]({ upstream, target: url, from, to, cause }, "circuit breaker"),
    onHealth: (upstream, { url }, isHealthy, why) =>
      log?.[isHealthy ? "info" : "warn"]({ upstream, target: url, healthy: isHealthy, why }, "health check"),
  });
  const forwarder = new Forwarder({ clock, client, random: Math.random, onRetry: () => {} });
  const kept = new CacheStore(parseSize(config.cache.maxSize));
  const caching = new Caching({ store: kept, forwarder, clock, onFault });
  const pipeline = new Pipeline({
    clock,
    keys: registry,
    limiter,
    forwarder,
    caching,
    accessLog: log !== null && config.logging.accessLog && log.isLevelEnabled("info") ? new AccessLog(log) : null,
    maxBodySize: parseSize(config.server.maxBodySize),
    onFault,
  });

  const trustedProxies = new CidrSet(config.server.trustedProxies);
  const identity = {
    headerName: config.identity.header,
    header: config.identity.header.toLowerCase(),
    bearer: config.identity.bearer,
    query: config.identity.query,
  };
  const compiledRoutes = new Map<string, Route>();
  let generation = build();

  /** Routes and upstreams as requests walk through them. What did not change keeps its state. */
  function build(): Generation {
    const draft = balanced.draft();
    const upstreamOf = (name: string): Upstream | null => {
      if (name.includes("://")) return draft.obtain(name, plainUpstream(name));
      const document = upstreams.get(name)?.document ?? (demo === null ? undefined : demoUpstreams(demo)[name]);
      return document === undefined ? null : draft.obtain(name, document);
    };
    const compiled = routes
      .all()
      .map(({ name, document }) => compileRoute({ ...document, name }, upstreamOf(document.upstream), compiledRoutes.get(name)));
    // Upstreams that no route uses are checked and listed all the same.
    for (const name of upstreams.names()) upstreamOf(name);
    draft.commit();
    compiledRoutes.clear();
    for (const route of compiled) compiledRoutes.set(route.name, route);
    return { router: new Router(compiled), hasCache: compiled.some((route) => route.cache !== null), trustedProxies, identity };
  }
  function rebuild(): void {
    generation = build();
  }

  const { tokens, made } = AdminTokens.open(storage, clock, options.adminToken);
  const databaseWorks = (): boolean => {
    try {
      storage.client.query("SELECT 1").get();
      return true;
    } catch {
      return false;
    }
  };
  const components = (): Record<string, string> => ({ database: databaseWorks() ? "ok" : "failing" });
  const admin = createAdmin({
    tokens,
    answers: new IdempotentAnswers(storage, clock),
    health,
    components,
    consumers,
    keys,
    tiers,
    routes,
    upstreams,
    balanced,
    cache: {
      statistics: () => ({ ...kept.stats, maxSize: kept.maxSize, ...caching.counts }),
      purge: (isMeant) => caching.purge(isMeant),
    },
    limiter,
    registry,
    clock,
    config: { file: options.file, config },
    catchUp: () => feed.poll(),
    onFault,
  });

  const guarded = (work: () => void) => () => {
    try {
      work();
    } catch (error) {
      // A full disk must not end the gateway: it is told, and tried again.
      onFault(error, "");
    }
  };
  const timers = [
    setInterval(
      guarded(() => counts.flush()),
      FLUSH_COUNTS_EVERY,
    ),
    setInterval(
      guarded(() => limiter.sweep()),
      1000,
    ),
    setInterval(
      guarded(() => keys.flushUsed()),
      FLUSH_USED_KEYS_EVERY,
    ),
    setInterval(
      guarded(() => feed.poll()),
      FOLLOW_EVERY,
    ),
    setInterval(
      guarded(() => feed.prune(clock.wall())),
      60_000,
    ),
  ];

  return {
    pipeline,
    generation: (): Generation => generation,
    admin,
    components,
    demo: demo as DemoBackend | null,
    /** Whether an Authorization field shows an admin token. */
    holdsToken: (authorization: string | null): boolean => tokens.isShownIn(authorization),
    /** The admin token when it was made now: shown once. */
    madeToken: made,
    /** Writes what waits and closes everything. */
    stop: (): void => {
      for (const timer of timers) clearInterval(timer);
      balanced.stop();
      client.close();
      guarded(() => counts.flush())();
      guarded(() => keys.flushUsed())();
      storage.close();
      void demo?.stop();
    },
  };
}

const conflict = (path: Fault["path"], what: string): Fault => ({
  path,
  message: `the admin API made a ${what} of this name already: delete that one, or rename this one`,
});

/** A URL in an upstream's place, with every default. */
const plainUpstream = (url: string): UpstreamConfig => fillIn(UpstreamConfig, { targets: [{ url }] }).value as UpstreamConfig;
