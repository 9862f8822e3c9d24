import { Activities, checkUsable, compileActivities } from "../activities/activities.ts";
import { type AdminDeps, createAdmin, tokenOf } from "../admin/app.ts";
import { IdempotentAnswers } from "../admin/idempotency.ts";
import { adminResources, type ResourceDeps } from "../admin/resources.ts";
import { AdminTokens } from "../admin/tokens.ts";
import { Audit } from "../audit/audit.ts";
import { ScheduledBackups } from "../backups/scheduled.ts";
import { Caching } from "../cache/caching.ts";
import { CacheStore } from "../cache/store.ts";
import { keepLastGood } from "../config/last-good.ts";
import { faultLines, fixedFaults, LiveConfig } from "../config/live.ts";
import { type Environment, fillIn } from "../config/load.ts";
import { type ActivitiesConfig, Config, RouteConfig, UpstreamConfig } from "../config/schema.ts";
import { type DemoBackend, demoUpstreams, startDemoBackend } from "../demo/backend.ts";
import { ACTIVITIES_WORKER } from "../entry-points.ts";
import { EventHub } from "../events/hub.ts";
import { namedRoute } from "../exchange/named-route.ts";
import { Pipeline } from "../exchange/pipeline.ts";
import { compileRoute, type Route } from "../exchange/route.ts";
import { Router } from "../exchange/router.ts";
import type { Snapshot } from "../exchange/snapshot.ts";
import { Denials } from "../explain/denials.ts";
import { Explain } from "../explain/explain.ts";
import { Walk } from "../explain/walk.ts";
import { Guard } from "../guard/guard.ts";
import { AutoHealth, compileAuto, LOOK_EVERY } from "../health/auto.ts";
import { watchCrowd } from "../health/crowded.ts";
import { type HealthState, SystemHealth } from "../health/health.ts";
import { Warnings } from "../health/warnings.ts";
import { PooledClient } from "../http/client.ts";
import { timeText } from "../http/conventions.ts";
import { Crowd, crowdLimits } from "../http/crowd.ts";
import { HAND_OUT_PATH } from "../http/path.ts";
import type { Problem } from "../http/problem.ts";
import { mayUse } from "../identity/identify.ts";
import { Limiter, type LimitService } from "../limits/limiter.ts";
import { type Entry, MemoryStore } from "../limits/memory/store.ts";
import { CountPersistence } from "../limits/persistence.ts";
import { compilePolicies, termsOf } from "../limits/policy.ts";
import { RedisLimiter } from "../limits/redis/limiter.ts";
import { countRepository } from "../limits/repository.ts";
import { freePages } from "../pages/landing.ts";
import { HAND_OUT_NAME, HandOut } from "../pools/hand-out.ts";
import { Pools } from "../pools/pools.ts";
import { Secrets } from "../pools/secrets.ts";
import { type Change, ChangeFeed, follow } from "../records/changes.ts";
import { Replication } from "../records/replication.ts";
import { RedisDown, RedisLink } from "../redis/link.ts";
import { Signals } from "../redis/signals.ts";
import type { Fault } from "../schema/faults.ts";
import { secretsIn } from "../schema/secrets.ts";
import { activitiesPathOf, shareFiles } from "../storage/files.ts";
import { openStorage } from "../storage/open.ts";
import { Writability } from "../storage/writability.ts";
import { families } from "../telemetry/families.ts";
import type { Log } from "../telemetry/log.ts";
import { Metrics, type OwnEndpoint } from "../telemetry/metrics.ts";
import { Recorder } from "../telemetry/recorder.ts";
import { Tracing } from "../telemetry/tracing.ts";
import type { BreakerState } from "../upstreams/breaker.ts";
import { Forwarder } from "../upstreams/forwarder.ts";
import { Upstreams } from "../upstreams/registry.ts";
import { Troubles } from "../upstreams/troubles.ts";
import type { Upstream } from "../upstreams/upstream.ts";
import { Usage } from "../usage/usage.ts";
import type { Clock } from "../values/clock.ts";
import { CidrSet } from "../values/ip.ts";
import { Redactor } from "../values/redact.ts";
import { parseDuration, parseSize } from "../values/units.ts";
import { Records } from "./records.ts";

export interface GatewayOptions {
  readonly config: Config;
  /** The file that `config` was read from; `null` for the embedded demo. */
  readonly file: string | null;
  /** The file's text, to be kept as the last good one. */
  readonly text?: string;
  /** What is wrong with the file, when `config` is the last good one in its place. */
  readonly fileFaults?: readonly Fault[];
  /** For `${NAME}` when the file is read again. */
  readonly env?: Environment;
  /** Another configuration comes into force: what stands outside, such as the log's level, follows it. */
  readonly onConfig?: (config: Config) => void;
  /** Where the main port listens; by default where the configuration says. */
  readonly host?: string;
  readonly databasePath: string;
  readonly adminToken: string | undefined;
  /** SLUICE_SECRET, under which stored credentials are encrypted, and the one before it. */
  readonly secret?: string | undefined;
  readonly oldSecret?: string | undefined;
  readonly clock: Clock;
  /** `null`: nothing is logged. */
  readonly log: Log | null;
  /** Learns what must never be logged. */
  readonly redactor?: Redactor;
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
const LOOK_FOR_BACKUPS_EVERY = 5000;
const BREAKER_CHANGES: readonly (readonly [from: BreakerState, to: BreakerState])[] = [
  ["closed", "open"],
  ["open", "half-open"],
  ["half-open", "closed"],
  ["half-open", "open"],
  ["open", "closed"],
];
const WATCH_CROWD_EVERY = 1000;
/** How long a stop waits for the collector of traces, in milliseconds. */
const SPANS_WITHIN = 2000;
/** How far this process may be behind another one on the same database, in milliseconds. */
const FOLLOW_EVERY = 200;

/** The activities' file may not be the gateway's own, wherever --data or a link has put that. */
function storageClash({ activities }: Config, databasePath: string): Fault[] {
  if (activities === null || !shareFiles(activitiesPathOf(activities.path, databasePath), databasePath)) return [];
  const path = ["activities", ...(activities.path === null ? [] : ["path"])];
  return [{ path, message: `leads to the gateway's own database (${databasePath}): name another file by activities.path` }];
}

export type GatewayParts = ReturnType<typeof createGatewayParts>;

/**
 * Makes the parts and joins them: the only place that knows all of them. They are ready to serve; listeners are the server's.
 * Throws `StorageError` and `ConfigConflict`.
 */
export function createGatewayParts(options: GatewayOptions) {
  const { clock, onFault } = options;
  const log = options.log?.logger ?? null;
  const redactor = options.redactor ?? new Redactor();
  let { config } = options;
  /** For what belongs to no request. */
  const onOwnFault = (error: unknown): void => {
    // While nothing can be written that is said once, not with each thing that should have been.
    if (!writability.failed(error)) onFault(error, "");
  };
  const guarded = (work: () => void) => () => {
    try {
      work();
    } catch (error) {
      // It must not end the gateway: it is told, and tried again.
      onOwnFault(error);
    }
  };
  const warnings = new Warnings(
    () => clock.wall(),
    ({ code, message, detail }, isRaised) => {
      if (isRaised) log?.warn({ code, detail }, message);
      else log?.info({ code }, "this warning is over");
    },
  );
  const crowd = new Crowd(crowdLimits(config.server), (ip) => snapshot.trustedProxies.has(ip));
  const storage = openStorage(options.databasePath, { isServed: true });
  const writability = new Writability({
    storage,
    clock,
    onChange: (state) => {
      if (state?.isDamaged !== true) warnings.clear("storageDamaged");
      if (state === null) warnings.clear("storageReadOnly");
      else if (state.isDamaged)
        warnings.raise(
          "storageDamaged",
          "The database is damaged: stop the gateway and restore a backup (sluice restore FILE).",
          state.detail,
        );
      else
        warnings.raise(
          "storageReadOnly",
          "Changes can't be stored: the disk is full, or can't be written. Requests are served; admin changes are refused until there is room again.",
          state.detail,
        );
    },
  });
  const backups = new ScheduledBackups({
    databasePath: options.databasePath,
    clock,
    policy: () =>
      config.backup === null || options.databasePath === ":memory:"
        ? null
        : { ...config.backup, every: parseDuration(config.backup.every) },
    onDone: (file, bytes) => {
      log?.info({ file, bytes }, "backup made");
      guarded(() => audit.note({ action: "backup.create", subject: "database", after: { file, bytes } }))();
    },
    onTrouble: (why) => {
      if (why === null) warnings.clear("backupFailed");
      else warnings.raise("backupFailed", "The last scheduled backup could not be made.", why);
    },
  });
  let certificateExpiresAt: number | null = null;
  /** Tells this process from others. */
  const instance = Bun.randomUUIDv7();
  /** What another process, or another instance, has changed in the database. */
  const applyRemoteChanges = (changes: readonly Change[]): void =>
    follow(changes, { ...records.followers, block: { settle: () => guard.load() }, token: { settle: () => tokens.load() } }, onOwnFault);
  // Before anything is read: a change in between is then seen twice, never missed.
  const feed = new ChangeFeed(storage, applyRemoteChanges);
  const events = new EventHub({ now: () => clock.wall(), random: Math.random });
  const audit = new Audit({
    storage,
    clock,
    onDone: ({ action, subject }, { name: actor, requestId }) =>
      events.publish("change", {}, () => ({ action, subject, actor, requestId })),
  });
  const guard = new Guard({
    storage,
    clock,
    audit,
    onBlock: ({ cidr, reason, by, expiresAt }) => {
      metrics.blocked.add({ by: by === "guard" ? "guard" : "admin" });
      log?.warn({ ip: cidr, reason, by, until: timeText(expiresAt) }, "address blocked");
    },
    onProxy: (peer) =>
      warnings.raise(
        "untrustedProxy",
        "Requests come through a proxy that server.trustedProxies does not name: all its callers count as one address, for limits and blocks.",
        `requests come through ${peer}, which server.trustedProxies does not name`,
      ),
    onFault: onOwnFault,
  });
  guard.configure(config.guard);
  /** The status is another instance's: it is not said again. */
  let isFollowing = false;
  const health = new SystemHealth(clock, (before, after) => {
    const write = () =>
      audit.note({ action: "health.set", subject: "health", before: healthAuditView(before), after: healthAuditView(after) });
    // What time or the signals decide happens in any case, and within a request.
    if (after.by === "ttl" || after.by === "auto") guarded(write)();
    else write();
    if (!isFollowing) signals?.sayHealth(after);
    log?.[after.status === "DEGRADED" ? "warn" : "info"](
      { from: before.status, to: after.status, by: after.by, reason: after.reason },
      "system health",
    );
    events.publish("health", {}, () => ({ from: before.status, to: after.status, by: after.by, reason: after.reason }));
  });
  const demo = config.demo ? startDemoBackend({ limitOf: (tier) => demoLimit(tier) }) : null;

  const secrets = new Secrets(options.secret, options.oldSecret);
  const warnOfRedis = (isUp: boolean, why: string | null): void => {
    if (isUp) warnings.clear("redisAway");
    else warnings.raise("redisAway", "Redis is away: limits are as redis.onFailure says, and records can't be changed.", why, true);
  };
  const link =
    config.redis === null
      ? null
      : new RedisLink({
          config: config.redis,
          clock,
          onChange: (isUp, why) => {
            if (isUp) log?.info("Redis is there");
            else log?.error({ why, onFailure: config.redis?.onFailure }, "Redis is lost: this instance goes on by itself");
            warnOfRedis(isUp, why);
            events.publish("redis", {}, () => ({ up: isUp, why: isUp ? null : why }));
            if (isUp) rejoin();
            else replication?.doubt();
          },
        });
  void link?.tried.then(() => {
    if (link.isUp) return;
    log?.error({ why: link.trouble, onFailure: config.redis?.onFailure }, "Redis is not there: this instance begins by itself");
    warnOfRedis(false, link.trouble);
  });
  const pools = new Pools({
    storage,
    clock,
    link,
    onFault: onOwnFault,
    onLease: (pool, user, kind, lease) => {
      const who = kind === "handedOut" ? { pool, service: user } : { pool, route: user };
      if (!lease.granted) {
        // What no key ever holds is for the caller to change.
        if (Number.isFinite(lease.retryIn))
          log?.error({ ...who, retryIn: Math.ceil(lease.retryIn) }, "All API keys have reached their rate limits.");
        else log?.warn(who, "a request costs more than any key of the pool holds");
      } else if (log !== null) {
        const { id } = lease.grant.key;
        // A route's requests have lines of their own.
        const level = kind === "handedOut" ? "info" : "debug";
        if (log.isLevelEnabled(level)) log[level]({ ...who, key: id }, `API Key: ${id} - Remaining Tokens: ${lease.remaining}`);
      }
    },
    onStanding: (pool, key, change, status, until) => {
      events.publish("pool", {}, () => ({ pool, key, change, status }));
      log?.[change === "back" ? "info" : "warn"](
        { pool, key, status, ...(change === "back" ? {} : { until: timeText(clock.wall() + (until - clock.now())) }) },
        change === "rests"
          ? "the upstream limits a key: it rests"
          : change === "quarantined"
            ? "the upstream refuses a key"
            : "the upstream takes a key again",
      );
    },
  });
  const reconfigurePools = (): void => {
    const all = records.pools.all();
    redactor.learn(
      "pools",
      all.flatMap(({ document }) => document.keys.flatMap(({ secret }) => (secret === undefined ? [] : [secret]))),
    );
    pools.configure(all.map(({ name, document }) => [name, document] as const));
  };
  const records = new Records({
    storage,
    clock,
    audit,
    config: () => config,
    onRoutes: () => rebuild(),
    onPools: () => reconfigurePools(),
    secrets,
  });
  const { tiers, upstreams, routes, consumers, keys, registry } = records;
  const clashes = [...records.clashes(config), ...storageClash(config, options.databasePath)];
  if (clashes.length > 0) {
    demo?.stop();
    storage.close();
    throw new ConfigConflict(clashes);
  }
  records.declare(config);
  reconfigurePools();
  const demoLimit = (tier: string): number | null => {
    const [policy] = compilePolicies(tiers.get(tier)?.document.limits ?? [], { kind: "tier", name: tier });
    return policy === undefined ? null : termsOf(policy, health.isDegraded).limit;
  };

  const store = new MemoryStore(config.limits.maxSubjects);
  const local = new Limiter({ store, clock, isDegraded: () => health.isDegraded });
  const shared =
    link === null
      ? null
      : new RedisLimiter({
          link,
          local,
          clock,
          isDegraded: () => health.isDegraded,
          mode: config.redis?.mode ?? "exact",
          onFailure: () => config.redis?.onFailure ?? "local",
          instance,
          onFault: onOwnFault,
          onOwing: () => rejoin(),
        });
  const limiter: LimitService = shared ?? local;
  const replication =
    link === null
      ? null
      : new Replication({
          link,
          storage,
          applyRemoteChanges,
          onFault: onOwnFault,
          onRebuilt: (epoch, published, taken) => log?.info({ epoch, published, taken }, "records compared with Redis"),
        });
  /** What was counted here while Redis was away goes there. */
  const rejoin = (): void => {
    if (shared === null) return;
    const forget = (entry: Entry): void => {
      store.forget(entry);
      if (entry.policy.durable) forgotten.push(entry);
    };
    const forgotten: Entry[] = [];
    shared
      .giveBack(store.all(), forget)
      .catch((error: unknown) => {
        // Lost again: what is left is given back the next time.
        if (!(error instanceof RedisDown)) onOwnFault(error);
      })
      .finally(() => guarded(() => counts.forget(forgotten))());
  };
  const counts = new CountPersistence({ store, counts: countRepository(storage, clock), clock });
  counts.restore();

  /** Names of backends that can't be looked up, with what to say of them. */
  const doubted = new Map<string, string>();
  const client = new PooledClient(clock, {
    onUnasked: (target) =>
      log?.warn({ target }, "a backend sent bytes that nobody asked for: its connections are looked at before they are used again"),
    onLookUp: (target, address, error) => {
      if (error === null) doubted.delete(target);
      else doubted.set(target, `${target}: ${error}; ${address} is used`);
      if (doubted.size === 0) warnings.clear("nameLookUpFailed");
      else {
        const message = "A backend's name can't be looked up: its last address is used.";
        warnings.raise("nameLookUpFailed", message, [...doubted.values()].join(", "));
        // The first is in the log as a warning.
        if (error !== null && doubted.size > 1) log?.warn({ detail: doubted.get(target) }, message);
      }
    },
    onShortage: (isShort) => {
      if (isShort) warnings.raise("outOfDescriptors", "Requests were refused for want of file descriptors: raise the limit of open files.");
      else warnings.clear("outOfDescriptors");
    },
  });
  const troubles = new Troubles();
  const balanced = new Upstreams({
    clock,
    client,
    random: Math.random,
    onBreaker: (upstream, { url, state }, from, to, cause) => {
      if (to === "closed") troubles.over(upstream, url);
      log?.[to === "open" ? "warn" : "info"]({ upstream, target: url, from, to, cause }, "circuit breaker");
      // A person who takes over an open one changes no state.
      if (from !== to) metrics.breakerChanges.add({ target: url, from, to });
      events.publish("breaker", {}, () => ({ upstream, target: url, from, to, cause }));
      if (cause !== "shared" && to !== "half-open")
        signals?.sayBreaker({
          upstream,
          url,
          state: to,
          isHeld: cause === "admin" && to === "open",
          isByHand: cause === "admin",
          failedProbes: state.breaker.failedProbes,
        });
    },
    onHealth: (upstream, { url }, isHealthy, why) => {
      if (isHealthy) troubles.over(upstream, url);
      else troubles.failed(upstream, url, `health check: ${why}`);
      log?.[isHealthy ? "info" : "warn"]({ upstream, target: url, healthy: isHealthy, why }, "health check");
      events.publish("target", {}, () => ({ upstream, target: url, healthy: isHealthy, why }));
    },
  });
  const signals =
    link === null
      ? null
      : new Signals({
          link,
          onHealth: (status, by, reason, ttl) => {
            isFollowing = true;
            try {
              health.set(status, by, reason, ttl);
            } finally {
              isFollowing = false;
            }
          },
          onBreaker: ({ upstream, url, age, ...said }) => {
            const known = balanced.all().find((each) => each.name === upstream);
            const isFollowed = known?.followBreaker(url, { ...said, since: clock.now() - age }) ?? true;
            // What a person has opened stays so, here and for instances that come later.
            if (!isFollowed) signals?.sayBreaker({ upstream, url, state: "open", isHeld: true, isByHand: true, failedProbes: 0 });
          },
          onFault: onOwnFault,
        });
  const forwarder = new Forwarder({
    clock,
    client,
    pools,
    random: Math.random,
    onFault: onOwnFault,
    onFailed: (requestId, upstream, { url }, attempt, why) => {
      troubles.failed(upstream, url, typeof why === "number" ? `answered ${why}` : why.message);
      if (log?.isLevelEnabled("debug") !== true) return;
      const what = typeof why === "number" ? { status: why } : { kind: why.kind, error: why.message };
      log.debug({ requestId, upstream, target: url, attempt, ...what }, "attempt failed");
    },
  });
  const kept = new CacheStore(parseSize(config.cache.maxSize));
  const caching = new Caching({ store: kept, forwarder, clock, onFault });
  const tracing = new Tracing({
    instance,
    random: Math.random,
    onChange: (endpoint, isUp, why) =>
      isUp
        ? log?.info("the collector takes traces again")
        : log?.warn({ endpoint, why }, "the collector takes no traces: they are dropped"),
    onFault: onOwnFault,
  });
  tracing.configure(config.telemetry.otlp);
  const denials = new Denials();
  const metrics = new Metrics(
    families({
      clock,
      health,
      balanced,
      kept,
      cacheCounts: caching.counts,
      store,
      guard,
      pools,
      link,
      crowd,
      shared,
      live: () => live.status,
      activities: () => activities,
      backups,
      isStorageReadOnly: () => writability.state !== null,
      log: options.log,
      events,
      spanCounts: tracing.counts,
      certificateExpiresAt: () => certificateExpiresAt,
    }),
  );
  const recorder = new Recorder({ clock, metrics, events, denials, tracing, log });
  const handOut = new HandOut({
    pools,
    keys: registry,
    guard,
    clock,
    recorder,
    endpoint: { name: HAND_OUT_NAME, path: HAND_OUT_PATH, metrics: metrics.of(HAND_OUT_NAME) },
    onFault,
  });
  const pipeline = new Pipeline({
    clock,
    keys: registry,
    guard,
    limiter,
    forwarder,
    caching,
    recorder,
    onFault,
  });

  const usage = new Usage({ storage, clock });
  let auto = autoOf(config);
  function autoOf({ health: { auto: settings } }: Config): AutoHealth | null {
    return settings === null ? null : new AutoHealth(compileAuto(settings), health, clock);
  }
  let activities: Activities | null = null;
  const activitiesPath = ({ path }: ActivitiesConfig): string => activitiesPathOf(path, options.databasePath);
  /** Starts what takes activities in, or puts other rules in force. Off, what waits is applied all the same. */
  const putActivities = (): void => {
    const settings = config.activities;
    if (settings === null) return;
    const policy = compileActivities(settings);
    if (activities !== null) activities.configure(policy);
    else
      activities = new Activities({
        path: activitiesPath(settings),
        databasePath: options.databasePath,
        redis: config.redis,
        worker: ACTIVITIES_WORKER,
        policy,
        maxBodySize: () => parseSize(config.server.maxBodySize),
        onTrouble: (message, attempts) => log?.error({ attempts, error: message }, "activities can't be applied for now: they are kept"),
        onFull: (isFull) =>
          isFull
            ? warnings.raise(
                "activitiesFull",
                "The activities' database has the size that it may have: no more are taken.",
                "Raise activities.maxSize, or make room: delete rows, or let activities.keepFor be shorter.",
              )
            : warnings.clear("activitiesFull"),
      });
  };
  const stopActivities = async (): Promise<void> => {
    if (activities === null || (await activities.stop())) return;
    log?.info("what activities wrote last is in the file that ends in -wal, for another process has the database open: copy both together");
  };
  putActivities();
  const activitiesRoute = (): Route[] => {
    const settings = config.activities;
    if (settings === null || activities === null) return [];
    const { endpoint, auth, tiers, scopes, limits, cost } = settings;
    const document = fillIn(RouteConfig, {
      name: "activities",
      path: endpoint,
      methods: ["POST"],
      upstream: "activities",
      auth,
      tiers,
      scopes,
      limits,
      cost,
    });
    return [compileRoute(document.value as RouteConfig, null, metrics.of("activities"), undefined, activities)];
  };
  const compiledRoutes = new Map<string, Route>();
  /** Those that Sluice itself answers. */
  let ownRoutes: readonly Route[] = [];
  const learnSecrets = (): void => redactor.learn("config", secretsIn(Config, config));
  learnSecrets();
  let snapshot = build();
  if (options.log !== null)
    options.log.onChange = () => {
      snapshot = { ...snapshot, accessLog: options.log?.accessLog ?? null };
    };

  /** Routes and upstreams as requests walk through them. What did not change keeps its state. */
  function build(): Snapshot {
    const draft = balanced.draft();
    const upstreamOf = (name: string): Upstream | null => {
      if (name.includes("://")) return draft.obtain(name, plainUpstream(name));
      const document = upstreams.get(name)?.document ?? (demo === null ? undefined : demoUpstreams(demo)[name]);
      return document === undefined ? null : draft.obtain(name, document);
    };
    const compiled = routes
      .all()
      .map(({ name, document }) =>
        compileRoute(
          { ...document, name },
          upstreamOf(document.upstream),
          metrics.of(name),
          compiledRoutes.get(name),
          null,
          config.identity.header.toLowerCase(),
        ),
      );
    // Upstreams that no route uses are checked and listed all the same.
    for (const name of upstreams.names()) upstreamOf(name);
    draft.commit();
    const before = new Map(compiledRoutes);
    compiledRoutes.clear();
    for (const route of compiled) compiledRoutes.set(route.name, route);
    forgetChanged(before);
    ownRoutes = activitiesRoute();
    beginCounts();
    const { identity, server } = config;
    return {
      router: new Router([...compiled, ...ownRoutes]),
      pages: freePages([...compiled, ...ownRoutes]),
      hasCache: compiled.some((route) => route.cache !== null),
      trustedProxies: new CidrSet(server.trustedProxies),
      maxBodySize: parseSize(server.maxBodySize),
      auto,
      usage,
      unrouted: metrics.of("none"),
      accessLog: options.log?.accessLog ?? null,
      tracer: tracing.tracer,
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
  /** Counts that nothing has raised yet are told as 0: a counter that begins at 1 shows Prometheus no increase. */
  function beginCounts(): void {
    for (const { targets } of balanced.all())
      for (const { url } of targets) for (const [from, to] of BREAKER_CHANGES) metrics.breakerChanges.of({ target: url, from, to });
    for (const tier of tiers.names()) {
      metrics.expectRefusals(tier);
      recorder.expect(registry.policiesOfTier(tier));
    }
    for (const { policies } of compiledRoutes.values()) recorder.expect(policies);
  }
  /** What was kept of a route that serves something else now is of no use. */
  function forgetChanged(before: ReadonlyMap<string, Route>): void {
    const changed = new Set<string>();
    for (const [name, route] of before) {
      if (route.cache === null) continue;
      const now = compiledRoutes.get(name);
      if (now === undefined || now.upstream !== route.upstream || !Bun.deepEquals(now.document, route.document)) changed.add(name);
    }
    if (changed.size > 0) caching.purge((route) => changed.has(route));
  }
  function rebuild(): void {
    snapshot = build();
  }

  const { tokens, made } = AdminTokens.open({ storage, clock, audit, onLoad: () => events.recheck() }, options.adminToken);
  /** The upstreams without which the gateway is not ready, and whether they are. */
  const required = (): Record<string, string> =>
    Object.fromEntries(
      config.ready.upstreams.map((name) => [name, balanced.all().find((each) => each.name === name)?.isReady === true ? "ok" : "failing"]),
    );
  const components = (): Record<string, string> => ({
    // Keys and limits are in memory: a database that can't be written, or is damaged, is no reason to serve no longer.
    database: writability.state === null ? "ok" : "degraded",
    // Requests are served all the same.
    ...(config.activities === null ? {} : { queue: activities?.fault === null ? "ok" : "degraded" }),
    ...(link === null ? {} : { redis: link.isUp ? "ok" : config.redis?.onFailure === "deny" ? "failing" : "away" }),
    ...(config.ready.upstreams.length === 0 ? {} : { upstreams: Object.values(required()).includes("failing") ? "failing" : "ok" }),
  });
  /** Backends that are down are no reason to take the gateway out of service: these are for people. */
  const allComponents = (): Record<string, string> => {
    const states = balanced.all();
    const isDown = states.some((upstream) => !upstream.hasTarget);
    const isHurt = states.some(({ targets }) => targets.some(({ state }) => !state.isHealthy || state.breaker.state !== "closed"));
    return { ...components(), upstreams: isDown ? "failing" : isHurt ? "degraded" : "ok" };
  };
  /** Puts another configuration in force in one step, or gives the faults with which it can't be. */
  const apply = (next: Config, text: string): readonly Fault[] => {
    const faults = [...fixedFaults(config, next), ...records.clashes(next), ...storageClash(next, options.databasePath)];
    if (faults.length === 0 && activities === null && next.activities !== null) {
      try {
        checkUsable(activitiesPath(next.activities), options.databasePath);
      } catch (error) {
        faults.push({
          path: ["activities", ...(next.activities.path === null ? [] : ["path"])],
          message: error instanceof Error ? error.message : String(error),
        });
      }
    }
    if (faults.length > 0) return faults;
    const before = config;
    config = next;
    records.declare(next);
    reconfigurePools();
    store.maxSubjects = next.limits.maxSubjects;
    if (!Bun.deepEquals(before.server.trustedProxies, next.server.trustedProxies)) warnings.clear("untrustedProxy");
    guard.configure(next.guard);
    if (!Bun.deepEquals(before.health, next.health)) auto = autoOf(next);
    putActivities();
    tracing.configure(next.telemetry.otlp);
    learnSecrets();
    kept.resize(parseSize(next.cache.maxSize));
    options.onConfig?.(next);
    rebuild();
    guarded(() => keepLastGood(storage, text, clock.wall()))();
    return [];
  };
  function warnOfFile(faults: readonly Fault[]): void {
    if (faults.length === 0) warnings.clear("configurationFaulty");
    else
      warnings.raise(
        "configurationFaulty",
        "The configuration file has faults: the one before it is in force, and a restart would fail. sluice check names the faults.",
        faultLines(options.file, faults).join("; "),
        true,
      );
  }
  const live = new LiveConfig({
    file: options.file,
    env: options.env ?? {},
    clock,
    faults: options.fileFaults ?? [],
    apply,
    host: options.host ?? config.server.host,
    onWarnings: (found) => {
      for (const line of faultLines(options.file, found)) log?.warn(`configuration: ${line}`);
    },
    onLoad: (trigger, faults) => {
      guarded(() =>
        audit.note({ action: "config.reload", subject: "config", after: { trigger, faults: faultLines(options.file, faults) } }),
      )();
      metrics.reloads.add({ trigger, result: faults.length === 0 ? "ok" : "faulty" });
      warnOfFile(faults);
      if (faults.length === 0) log?.info({ trigger, file: options.file }, "configuration reloaded");
      else log?.error({ trigger, faults: faultLines(options.file, faults) }, "configuration not reloaded: the one before stays in force");
    },
  });
  warnOfFile(options.fileFaults ?? []);
  live.start();
  const { text } = options;
  if (text !== undefined && options.file !== null && live.status.faults.length === 0)
    guarded(() => keepLastGood(storage, text, clock.wall()))();

  /** A time of the clock that never runs backwards, for people. */
  const wallText = (at: number | null): string | null => timeText(at === null ? null : clock.wall() + (at - clock.now()));
  const explain = new Explain({
    clock,
    guard,
    registry,
    limiter,
    denials,
    mayUse,
    // Of a key only its beginning is kept: one that was imported in nearly that form is taken for one.
    isOfMadeForm: ({ id }) => keys.get(id).record.start.startsWith("slc_"),
    poolHolds: (pool) => pools.keysOf(pool).some(({ status, remaining }) => status !== "resting" && remaining > 0),
    away: () => (link === null || link.isUp ? null : (config.redis?.onFailure ?? "local")),
  });
  const adminDeps: AdminDeps & ResourceDeps = {
    tokens,
    guard,
    audit,
    usage,
    databasePath: options.databasePath,
    answers: new IdempotentAnswers(storage, clock, link),
    health,
    components: allComponents,
    warnings,
    consumers,
    keys,
    tiers,
    routes,
    upstreams,
    balanced,
    activities: () => (config.activities === null ? null : activities),
    pools,
    poolDocuments: records.pools,
    poolState: (name) => ({
      keys: pools.keysOf(name).map(({ budgets, until, lastError, ...key }) => ({
        ...key,
        until: wallText(until),
        lastError: lastError === null ? null : { ...lastError, at: wallText(lastError.at) },
        budgets: budgets.map(({ resetAt, window, ...budget }) => ({
          ...budget,
          window: `${window / 1000}s`,
          reset: wallText(resetAt),
        })),
      })),
    }),
    routePolicies: () => [...compiledRoutes.values()].flatMap((route) => route.policies),
    cache: {
      statistics: () => ({ ...kept.stats, maxSize: kept.maxSize, ...caching.counts }),
      purge: (isMeant) => caching.purge(isMeant),
    },
    limiter,
    registry,
    clock,
    config: { live, config: () => config },
    events,
    log: options.log,
    explain: {
      explain,
      registry,
      keys,
      walk: new Walk({
        clock,
        explain,
        guard,
        registry,
        snapshot: () => snapshot,
        handOut: () => (pools.isEmpty ? null : handOut),
        isAdminElsewhere: options.config.admin.listen !== null,
      }),
      routeOf: (text) => namedRoute(text, [...compiledRoutes.values(), ...ownRoutes], snapshot.router),
      health,
      clock,
    },
    stats: {
      clock,
      startedAt: clock.now(),
      health,
      metrics,
      usage,
      balanced,
      pools,
      cacheCounts: caching.counts,
      isRedisUp: () => link?.isUp ?? null,
      activities: () => activities?.stats() ?? null,
      log: () => options.log?.state ?? null,
      guard,
      warnings,
      troubleOf: (upstream, url) => troubles.of(upstream, url),
      faults: () => faultLines(options.file, live.status.faults),
    },
    catchUp: guarded(() => feed.poll()),
    unwritable: (error) => (writability.failed(error) ? writability.state : null),
    write: replication === null ? null : (work) => replication.write(work),
    onFault,
  };
  const admin = createAdmin(adminDeps, adminResources(adminDeps));

  const flushes = [() => counts.flush(), () => usage.flush(), () => pools.flush()].map(guarded);
  /** One that can't be written holds up no other. */
  const flush = (): void => {
    for (const each of flushes) each();
  };
  const timers = [
    setInterval(() => {
      flush();
      guarded(() => writability.look())();
    }, FLUSH_COUNTS_EVERY),
    setInterval(
      guarded(() => auto?.look()),
      LOOK_EVERY,
    ),
    setInterval(
      guarded(() => {
        limiter.sweep();
        counts.prune();
        options.log?.look();
      }),
      1000,
    ),
    setInterval(
      guarded(() => {
        keys.flushUsed();
        tokens.flushUsed();
        guard.flush();
        guard.sweep();
      }),
      FLUSH_USED_KEYS_EVERY,
    ),
    setInterval(() => void backups.look(), LOOK_FOR_BACKUPS_EVERY),
    setInterval(watchCrowd(crowd, warnings, clock), WATCH_CROWD_EVERY),
    setInterval(
      guarded(() => feed.poll()),
      FOLLOW_EVERY,
    ),
    setInterval(
      guarded(() => {
        feed.prune(clock.wall(), replication !== null);
        usage.prune(clock.wall() - parseDuration(config.usage.keepFor));
        if (config.audit.keepFor !== null) audit.prune(clock.wall() - parseDuration(config.audit.keepFor));
      }),
      60_000,
    ),
  ];

  return {
    /** Resolves when it is known whether Redis is there; at once without one. */
    ready:
      replication === null
        ? Promise.resolve()
        : (link?.tried ?? Promise.resolve())
            .then(() => Promise.all([replication.catchUp(), signals?.look()]))
            .then(
              () => {},
              () => {},
            ),
    pipeline,
    warnings,
    /** The clients' connections, on all listeners together. */
    crowd,
    snapshot: (): Snapshot => snapshot,
    /** Hands out keys of pools; `null` while there are none. */
    handOut: (): HandOut | null => (pools.isEmpty ? null : handOut),
    admin,
    components,
    /** Where requests to an endpoint of Sluice's own are counted. */
    countsOf: (endpoint: OwnEndpoint) => metrics.ofOwn(endpoint),
    required,
    /** The text that Prometheus scrapes; `accept`: the field of its request. */
    metrics: (accept: string | null) => metrics.text(accept),
    /** The listeners' certificate, for whoever watches when it expires. Milliseconds since 1970. */
    certificateExpires: (at: number): void => {
      certificateExpiresAt = at;
    },
    recorder,
    /** Ends what would go on for ever, so that a stop need not wait for it. */
    endStreams: (): void => events.close(),
    /** For people without Prometheus. */
    summary: () => {
      const sums = { total: 0, refused: 0, failed: 0, limited: 0 };
      for (const { requests, clientErrors, serverErrors, limited } of metrics.byRoute()) {
        sums.total += requests;
        sums.refused += clientErrors;
        sums.failed += serverErrors;
        sums.limited += limited;
      }
      const breakers: Record<string, { state: string; failures: number }> = {};
      for (const { targets } of balanced.all())
        for (const { url, state } of targets) breakers[url] = { state: state.breaker.state, failures: state.breaker.failures };
      return {
        requests_total: sums.total,
        requests_success: sums.total - sums.refused - sums.failed - sums.limited,
        requests_failed: sums.failed,
        requests_rate_limited: sums.limited,
        cache_hits: caching.counts.hits,
        cache_misses: caching.counts.misses,
        cache_size: kept.stats.entries,
        circuit_breakers: breakers,
      };
    },
    demo: demo as DemoBackend | null,
    live,
    config: (): Config => config,
    /** Whether an Authorization field shows an admin token. */
    holdsToken: (authorization: string | null): boolean => tokens.isShownIn(authorization),
    /** Why a request that takes an admin token is refused; `null` when its Authorization field shows one. Wrong ones count in the guard. */
    tokenRefusal: (authorization: string | null, ip: string): Problem | null => {
      const found = tokenOf({ tokens, guard }, authorization, ip);
      return "code" in found ? found : null;
    },
    /** The admin token when it was made now: shown once. */
    madeToken: made,
    /** Writes what waits and closes everything. */
    stop: async (): Promise<void> => {
      for (const timer of timers) clearInterval(timer);
      backups.stop();
      events.close();
      crowd.close();
      live.stop();
      balanced.stop();
      client.close();
      replication?.stop();
      signals?.stop();
      shared?.close();
      link?.close();
      flush();
      const lost = { counts: store.waiting, requestsOfUsage: usage.waiting, pools: pools.waiting };
      if (Object.values(lost).some((count) => count > 0))
        log?.error(
          { ...lost, why: writability.state?.detail ?? null },
          "stopped without storing these: they could not be written and are lost",
        );
      guarded(() => {
        keys.flushUsed();
        tokens.flushUsed();
        guard.flush();
      })();
      storage.close();
      await Promise.all([demo?.stop(), stopActivities(), tracing.close(SPANS_WITHIN)]);
    },
  };
}

const healthAuditView = ({ status, by, reason, until }: HealthState) => ({ status, by, reason, until: timeText(until) });

/** A URL in an upstream's place, with every default. */
const plainUpstream = (url: string): UpstreamConfig => fillIn(UpstreamConfig, { targets: [{ url }] }).value as UpstreamConfig;
