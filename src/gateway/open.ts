import { Activities, checkUsable, compileActivities } from "../activities/activities.ts";
import type { ActivitiesConfig } from "../activities/settings.ts";
import { adminAnswerer } from "../admin/answerer.ts";
import { type AdminDeps, createAdmin, tokenOf } from "../admin/app.ts";
import { IdempotentAnswers } from "../admin/idempotency.ts";
import { adminResources, type ResourceDeps } from "../admin/resources.ts";
import { AdminTokens } from "../admin/tokens.ts";
import { Audit } from "../audit/audit.ts";
import { ScheduledBackups } from "../backups/scheduled.ts";
import { Caching } from "../cache/caching.ts";
import { CacheStore } from "../cache/store.ts";
import { fixedFaults } from "../config/fixed.ts";
import { keepLastGood } from "../config/last-good.ts";
import { faultLines, LiveConfig, wireFaults } from "../config/live.ts";
import type { Environment } from "../config/load.ts";
import { Config } from "../config/schema.ts";
import { type DemoBackend, demoUpstreams, startDemoBackend } from "../demo/backend.ts";
import { ACTIVITIES_WORKER } from "../entry-points.ts";
import { EventHub } from "../events/hub.ts";
import { Dispatcher } from "../exchange/dispatcher.ts";
import type { Answerer, Gate, Line } from "../exchange/line.ts";
import { namedRoute } from "../exchange/named-route.ts";
import type { OwnName } from "../exchange/own-paths.ts";
import type { Route } from "../exchange/route.ts";
import { Denials } from "../explain/denials.ts";
import { Explain } from "../explain/explain.ts";
import { Walk } from "../explain/walk.ts";
import { guardGate } from "../guard/gate.ts";
import { Guard } from "../guard/guard.ts";
import { AutoHealth, compileAuto, LOOK_EVERY } from "../health/auto.ts";
import { watchCrowd } from "../health/crowded.ts";
import { type HealthState, SystemHealth } from "../health/health.ts";
import { aliveAnswerer, readyAnswerer } from "../health/probes.ts";
import { Warnings } from "../health/warnings.ts";
import { PooledClient } from "../http/client.ts";
import { timeText } from "../http/conventions.ts";
import { Crowd, crowdLimits } from "../http/crowd.ts";
import type { Problem } from "../http/problem.ts";
import { ApiKeyFinder } from "../identity/api-key.ts";
import { Identity, mayUse } from "../identity/gate.ts";
import { LimitsGate } from "../limits/gate.ts";
import { Limiter, type LimitService } from "../limits/limiter.ts";
import { type Entry, MemoryStore } from "../limits/memory/store.ts";
import { CountPersistence } from "../limits/persistence.ts";
import { compilePolicies, termsOf } from "../limits/policy.ts";
import { RedisLimiter } from "../limits/redis/limiter.ts";
import { countRepository } from "../limits/repository.ts";
import { pageAnswerer } from "../pages/answerer.ts";
import { HandOut } from "../pools/hand-out.ts";
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
import { metricsAnswerer } from "../telemetry/endpoint.ts";
import type { Log } from "../telemetry/log.ts";
import { Metrics } from "../telemetry/metrics.ts";
import { type Malformed, Recorder } from "../telemetry/recorder.ts";
import { Tracing } from "../telemetry/tracing.ts";
import type { BreakerState } from "../upstreams/breaker.ts";
import { Forwarder } from "../upstreams/forwarder.ts";
import { Upstreams } from "../upstreams/registry.ts";
import { Troubles } from "../upstreams/troubles.ts";
import { Usage } from "../usage/usage.ts";
import type { Clock } from "../values/clock.ts";
import { Redactor } from "../values/redact.ts";
import { parseDuration, parseSize } from "../values/units.ts";
import { failureOf } from "./failure.ts";
import { families } from "./families.ts";
import { type LineServices, ownLineOf } from "./lines.ts";
import { missOf, OwnRoutes } from "./own-routes.ts";
import { Records } from "./records.ts";
import { Snapshots } from "./snapshots.ts";

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
  const crowd = new Crowd(crowdLimits(config.server), (ip) => snapshots.current.trustedProxies.has(ip));
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
    onRoutes: () => snapshots.rebuild(),
    onPools: () => {
      reconfigurePools();
      snapshots.rebuild();
    },
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
  const recorder = new Recorder({ clock, metrics, events, denials, tracing, log, accessLog: () => options.log?.accessLog ?? null });
  const handOut = new HandOut({ pools });
  const identity = new Identity({ finders: [new ApiKeyFinder(registry, guard)], guard, clock });
  const limits = new LimitsGate({
    limiter,
    keys: registry,
    clock,
    away: () => (link === null || link.isUp ? null : (config.redis?.onFailure ?? "local")),
    onDenied: (exchange, readings) => recorder.denied(exchange, readings),
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
  const learnSecrets = (): void => redactor.learn("config", secretsIn(Config, config));
  learnSecrets();
  const { tokens, made } = AdminTokens.open({ storage, clock, audit, onLoad: () => events.recheck() }, options.adminToken);
  const tokenRefusal = (authorization: string | null, ip: string): Problem | null => {
    const found = tokenOf({ tokens, guard }, authorization, ip);
    return "code" in found ? found : null;
  };
  const use: LineServices = { guard, identity, limits, caching, forwarder, usage, recorder, auto: () => auto };
  let isDraining = false;
  const ready = readyAnswerer({
    components: () => components(),
    required: () => required(),
    warnings,
    isDraining: () => isDraining,
    configuration: () => ({ loadedAt: live.status.loadedAt, faults: wireFaults(live.status.faults) }),
    tokenRefusal,
  });
  const answerers: Readonly<Record<Exclude<OwnName, "api-key" | "admin">, Answerer>> = {
    health: aliveAnswerer(),
    ready,
    metrics: metricsAnswerer({ text: (accept) => metrics.text(accept), summary: () => summary(), tokenRefusal, onFault }),
    docs: pageAnswerer(() => config),
  };
  const administer = adminAnswerer({
    handle: (request, requestId, ip) => admin(request, requestId, ip),
    holdsToken: (authorization) => tokens.isShownIn(authorization),
    onFault,
  });
  const ownLine = (name: OwnName, first: Gate): Line => {
    switch (name) {
      case "api-key":
        return {
          gates: [first, guardGate(guard), identity.gateFor(handOut.entrance)],
          answer: (exchange) => handOut.answer(exchange),
          ended: (exchange, elapsed) => recorder.note(exchange, elapsed),
        };
      case "admin":
        return {
          gates: [first],
          answer: administer,
          ended: (exchange, elapsed) => recorder.administered(exchange, elapsed),
        };
      default:
        return ownLineOf([first], answerers[name]);
    }
  };
  const miss = missOf(metrics.of("none"), (exchange, elapsed) => recorder.note(exchange, elapsed));
  const snapshots = new Snapshots({
    config: () => config,
    routes,
    upstreamDocuments: upstreams,
    demoUpstreams: demo === null ? {} : demoUpstreams(demo),
    upstreams: balanced,
    metricsOf: (route) => metrics.of(route),
    tracer: () => tracing.tracer,
    redactor,
    use,
    ownRoutes: new OwnRoutes({
      metricsOf: (name) => (name === "api-key" || name === "admin" ? metrics.of(name) : metrics.ofOwn(name)),
      lineOf: ownLine,
    }),
    handsOut: () => !pools.isEmpty,
    activities: () => {
      const taking = activities;
      return taking === null
        ? null
        : (exchange) => {
            exchange.trace?.enter("activities", clock.now());
            return taking.answer(exchange);
          };
    },
    miss,
    onBuilt: (compiled, changed) => {
      if (changed.size > 0) caching.purge((route) => changed.has(route));
      beginCounts(compiled);
    },
  });
  const dispatcher = new Dispatcher({ clock, snapshot: () => snapshots.current, failureOf, onFault });

  /** Counts that nothing has raised yet are told as 0: a counter that begins at 1 shows Prometheus no increase. */
  function beginCounts(compiled: readonly Route[]): void {
    for (const { targets } of balanced.all())
      for (const { url } of targets) for (const [from, to] of BREAKER_CHANGES) metrics.breakerChanges.of({ target: url, from, to });
    for (const tier of tiers.names()) {
      metrics.expectRefusals(tier);
      recorder.expect(registry.policiesOfTier(tier));
    }
    for (const { policies } of compiled) recorder.expect(policies);
  }
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
    snapshots.rebuild();
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
    routePolicies: () => snapshots.routes.flatMap((route) => route.policies),
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
      walk: new Walk({ clock, explain, snapshot: () => snapshots.current }),
      routeOf: (text) => namedRoute(text, snapshots.all, snapshots.current.router),
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

  /** For people without Prometheus. */
  const summary = () => {
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
  };
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
    dispatcher,
    warnings,
    /** The clients' connections, on all listeners together. */
    crowd,
    admin,
    /** Gives the text that Prometheus scrapes; `accept`: the field of its request. */
    metrics: (accept: string | null) => metrics.text(accept),
    /** The listeners' certificate, for whoever watches when it expires. Milliseconds since 1970. */
    certificateExpires: (at: number): void => {
      certificateExpiresAt = at;
    },
    /** Writes down a request that could not be read. */
    malformed: (request: Malformed): void => recorder.malformed(request, snapshots.current),
    /** From here on the gateway is not ready, and what would go on for ever ends, so that a stop need not wait for it. */
    drain: (): void => {
      isDraining = true;
      events.close();
    },
    demo: demo as DemoBackend | null,
    live,
    config: (): Config => config,
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
