import { ActivitiesDoor } from "../activities/door.ts";
import { Attempts } from "../admin/attempts.ts";
import { Holders } from "../admin/holders.ts";
import { IssuerSignIn } from "../admin/issuer-sign-in.ts";
import { SignIn, type SignInDeps } from "../admin/sign-in.ts";
import { AdminTokens } from "../admin/tokens.ts";
import { Authorize } from "../authorize/gate.ts";
import { Caching } from "../cache/answerer.ts";
import { CACHE_COUNTS, CACHE_REQUESTS } from "../cache/counts.ts";
import { CacheStore } from "../cache/store.ts";
import { type DemoBackend, startDemoBackend } from "../demo/backend.ts";
import type { AcmeOrders } from "../edge/acme/orders.ts";
import { ACTIVITIES_WORKER } from "../entry-points.ts";
import { Denials } from "../explain/denials.ts";
import { Guard } from "../guard/guard.ts";
import { SharedStrikes } from "../guard/shared-strikes.ts";
import { MemoryStrikes } from "../guard/strikes.ts";
import { MemoryTries, SharedTries } from "../guard/tries.ts";
import { AutoHealth, compileAuto } from "../health/auto.ts";
import { watchCrowd } from "../health/crowded.ts";
import { type HealthState, type Origin, SystemHealth } from "../health/health.ts";
import { ConsumerCounts } from "../history/consumer-counts.ts";
import type { History } from "../history/history.ts";
import { PooledClient, type UpstreamClient, UpstreamFailure } from "../http/client.ts";
import { Clients } from "../http/clients.ts";
import { timeText } from "../http/conventions.ts";
import { Http2Client } from "../http/upstream-h2/client.ts";
import { CLIENT_CERTIFICATE_OUTCOMES, CLIENT_CERTIFICATES, ClientCertificates } from "../identity/client-certificates.ts";
import { CodeFlow } from "../issuers/code-flow.ts";
import { Issuers } from "../issuers/issuers.ts";
import { IssuerConfig } from "../issuers/settings.ts";
import { type Limits, openLimits } from "../limits/open.ts";
import { compilePolicies, termsOf } from "../limits/policy.ts";
import { LastFailures } from "../models/last-failures.ts";
import { VirtualModels } from "../models/virtual-models.ts";
import { Recorder } from "../observers/recorder.ts";
import { Pools } from "../pools/pools.ts";
import { PoolConfig } from "../pools/settings.ts";
import { type Change, follow } from "../records/changes.ts";
import { Replication } from "../records/replication.ts";
import { Secrets } from "../records/sealing.ts";
import { secretsIn } from "../schema/secrets.ts";
import { Sessions } from "../sessions/sessions.ts";
import { Tracing } from "../telemetry/tracing.ts";
import { Forwarder } from "../upstreams/forwarder.ts";
import type { OnChecked } from "../upstreams/health-check.ts";
import { Upstreams } from "../upstreams/registry.ts";
import { Troubles } from "../upstreams/troubles.ts";
import { ERRORS, LIMITED, REQUESTS } from "../usage/book.ts";
import { CalledNames } from "../usage/called-names.ts";
import { Usage } from "../usage/usage.ts";
import { parseSize } from "../values/units.ts";
import { Journal } from "../versions/journal.ts";
import type { Versions } from "../versions/versions.ts";
import { openAcme } from "./acme.ts";
import { type Certificates, openCertificates } from "./certificates.ts";
import { type Everyone, openEveryone } from "./everyone.ts";
import type { Ground } from "./ground.ts";
import { keepHistory, keepShadow, type Shadow } from "./history.ts";
import { onRecords, openPicture, type Picture } from "./picture.ts";
import { Records } from "./records.ts";
import { declare } from "./reload.ts";
import { openVersions } from "./versions.ts";
import { type Hooks, openWebhooks } from "./webhooks.ts";

/** Milliseconds between two writes of things that were changed in memory. A crash loses at most this much of them. */
const FLUSH_COUNTS_EVERY = 1000;
const FLUSH_USED_KEYS_EVERY = 10_000;
const WATCH_CROWD_EVERY = 1000;
/** Milliseconds between two looks whether keys of issuers are due, or their file has changed. */
const LOOK_AT_ISSUERS_EVERY = 1000;
/** Milliseconds between two looks whether revocation lists are old. */
const LOOK_AT_LISTS_EVERY = 10_000;
/** Milliseconds that a stop waits for the collector of traces. */
const SPANS_WITHIN = 2000;

/** Holds the capabilities. Each is opened in the order in which one needs another, and closed in the reverse. */
export interface Services {
  readonly guard: Guard;
  readonly health: SystemHealth;
  readonly auto: AutoSlot;
  readonly pools: Pools;
  readonly issuers: Issuers;
  /** Tells who calls by the certificates of clients. */
  readonly clientCertificates: ClientCertificates;
  readonly records: Records;
  readonly tokens: AdminTokens;
  /** Keeps what was changed. */
  readonly journal: Journal;
  /** Tells and restores what the rules were. */
  readonly versions: Versions;
  /** Sessions of browsers. */
  readonly sessions: Sessions;
  /** Knows who may use the admin API. */
  readonly holders: Holders;
  readonly signIn: SignIn;
  readonly issuerSignIn: IssuerSignIn;
  /** The admin token when it was made now; it is shown once. */
  readonly firstToken: string | null;
  readonly demo: DemoBackend | null;
  readonly limits: Limits;
  /** Shares records through Redis; `null`: this instance is alone. */
  readonly replication: Replication | null;
  readonly client: UpstreamClient;
  /** Joins what this process knows with what the others of the gateway know. */
  readonly picture: Picture;
  readonly upstreams: Upstreams;
  readonly troubles: Troubles;
  readonly forwarder: Forwarder;
  readonly virtualModels: VirtualModels;
  readonly modelFailures: LastFailures;
  /** Asks the services that decide whether requests may pass. */
  readonly authorize: Authorize;
  readonly cacheStore: CacheStore;
  readonly caching: Caching;
  readonly tracing: Tracing;
  readonly denials: Denials;
  /** Asks all processes of the gateway for what each knows by itself. */
  readonly everyone: Everyone;
  readonly usage: Usage;
  /** The models and tools that the configuration names. */
  readonly called: CalledNames;
  readonly history: History;
  /** What limits in shadow look at. */
  readonly shadow: Shadow;
  readonly recorder: Recorder;
  readonly activities: ActivitiesDoor;
  /** Tells webhooks what happens. */
  readonly hooks: Hooks;
  /** What https is served with. */
  readonly certificates: Certificates;
  /** Orders certificates; `null`: another process does. */
  readonly acme: AcmeOrders | null;
  /** Takes over changes in the database that other processes, or other instances, have made. */
  readonly applyRemoteChanges: (changes: readonly Change[]) => void;
}

/** Watches whether the system should be DEGRADED, by the rules in force. */
export class AutoSlot {
  current: AutoHealth | null = null;

  constructor(
    private readonly ground: Ground,
    private readonly health: SystemHealth,
  ) {
    this.configure();
  }

  configure(): void {
    const settings = this.ground.inForce.config.health.auto;
    this.current = settings === null ? null : new AutoHealth(compileAuto(settings), this.health, this.ground.clock);
  }
}

/**
 * Opens the services on their ground. Throws the error that keeps one from being opened; whoever opened the scope closes what stands in it
 * by then.
 */
export function openServices(ground: Ground): Services {
  const who = openCallers(ground);
  declare(ground, who);
  const limits = openLimits(ground.scope, ground, who.health);
  const consumers = new ConsumerCounts();
  const called = new CalledNames();
  const usage = new Usage({
    ...{ storage: ground.storage, clock: ground.clock, writer: ground.cells, isLeft: ground.bus.role === "worker" },
    hasRecord: (id) => who.records.registry.hasConsumer(id),
    isConfigured: (kind, name) => called.has(kind, name),
    onWritten: (id, more) => consumers.note(id, more[REQUESTS] ?? 0, more[ERRORS] ?? 0, more[LIMITED] ?? 0),
  });
  // What is closed can be dropped by whoever has written it.
  ground.scope.defer(() => usage.close());
  const history = keepHistory(ground, usage, consumers);
  const shadow = keepShadow(ground);
  flushRegularly(ground, who, limits, usage);
  const shared = openSharing(ground, who);
  const signing = openSigning(ground, who, shared.replication);
  const backends = openBackends(ground, who.pools);
  const picture = openPicture(ground, { ...who, ...backends });
  onRecords(ground, () => ground.guarded(() => ground.feed.poll(shared.applyRemoteChanges)));
  const demo = openDemo(ground, who.records, who.health);
  const tracing = openTracing(ground);
  const denials = new Denials();
  const { clock, metrics, events, log, options } = ground;
  const recorder = new Recorder({
    ...{ clock, metrics, events, denials, tracing, log, accessLog: () => options.log?.accessLog ?? null },
    labelOf: (model) => called.labelOf(model),
  });
  const activities = openActivities(ground);
  const versions = openVersions(ground, { ...who, ...shared });
  const everyone = openEveryone(ground, { ...backends, denials });
  const acme = openAcme(ground, who.secrets);
  const certificates = openCertificates(ground, acme);
  const hooks = openWebhooks(ground, { ...who, ...shared, activities });
  const own = { denials, everyone, recorder, activities, acme, certificates, versions, hooks };
  return { ...who, ...signing, limits, usage, called, history, shadow, ...shared, ...backends, picture, demo, tracing, ...own };
}

/** Opens everything that says who calls, and whether they may: the guard, the system's status, all records and the pools. */
function openCallers(ground: Ground) {
  const { clock, storage, audit, link, emit, tell, guarded, inForce, occurrences, options, events, redactor, every, scope, bus, live } =
    ground;
  const shared = ground.table?.table ?? null;
  const strikes = shared === null ? new MemoryStrikes() : new SharedStrikes(shared);
  const tries = shared === null ? new MemoryTries() : new SharedTries(shared);
  const guard = new Guard({ storage, clock, audit, emit, onFault: tell, bus, strikes, tries });
  guard.configure(inForce.config.guard);
  const health = new SystemHealth(clock, (before, after, by) => {
    // Each worker sees by itself that a status' time is over: the keeper tells of it.
    const origin: Origin = bus.role === "worker" ? "process" : by;
    const write = () =>
      origin !== "process" && audit.note({ action: "health.set", subject: "health", before: auditView(before), after: auditView(after) });
    // What time or the signals decide happens in any case, and within a request.
    if (after.by === "ttl" || after.by === "auto") guarded(write);
    else write();
    emit({ type: "health", before, after, origin });
  });
  const auto = new AutoSlot(ground, health);
  every(WATCH_CROWD_EVERY, watchCrowd(ground.crowd, ground.warnings, clock));
  const isWriter = bus.role !== "worker";
  const pools = new Pools({ storage, clock, link, table: ground.table, isWriter, onFault: tell, emit });
  const secrets = new Secrets(options.secret, options.oldSecret);
  const journal = new Journal({ storage, clock, audit, secrets, fileText: () => live.text });
  const sessions = new Sessions({ storage, clock, onEnd: () => events.recheck() });
  const records = new Records({
    ...{ storage, clock, audit, secrets, bus, onFault: tell, writeDown: journal.writeDown },
    config: () => inForce.config,
    endSessions: (consumer) => sessions.endOfConsumer(consumer),
    onRoutes: () => emit({ type: "records", of: "routes" }),
    onPools: () => emit({ type: "records", of: "pools" }),
    onIssuers: () => emit({ type: "records", of: "issuers" }),
    onWebhooks: () => emit({ type: "records", of: "webhooks" }),
  });
  const reconfigurePools = (): void => {
    const all = records.pools.all();
    redactor.learn(
      "pools",
      all.flatMap(({ document }) => secretsIn(PoolConfig, document)),
    );
    pools.configure(all.map(({ name, document }) => [name, document] as const));
  };
  const issuers = new Issuers({ clock, emit, keys: records.registry, refuses: (name, url) => records.refusesToAsk(name, url) });
  scope.defer(() => issuers.close());
  every(LOOK_AT_ISSUERS_EVERY, () => issuers.look());
  const reconfigureIssuers = (): void => {
    redactor.learn(
      "issuers",
      records.issuers.all().flatMap(({ document }) => secretsIn(IssuerConfig, document)),
    );
    issuers.configure(records.issuersInForce());
  };
  occurrences.subscribe({
    records: ({ of }) => {
      if (of === "pools" || of === "all") reconfigurePools();
      if (of === "issuers" || of === "all") reconfigureIssuers();
    },
  });
  const clientCertificates = openClientCertificates(ground, records);
  const { tokens, made: firstToken } = AdminTokens.open(
    { storage, clock, audit, onLoad: () => events.recheck(), mayMake: isWriter },
    options.adminToken,
  );
  return { guard, health, auto, pools, issuers, clientCertificates, records, tokens, sessions, firstToken, secrets, journal };
}

/** Opens what judges clients' certificates, and warns of revocation lists that are old. */
function openClientCertificates({ clock, metrics, emit, bus, every }: Ground, { registry }: Records): ClientCertificates {
  const counts = metrics.tally(CLIENT_CERTIFICATES, "outcome", CLIENT_CERTIFICATE_OUTCOMES);
  const certificates = new ClientCertificates({
    ...{ clock, counts, keys: registry },
    onOutdated: (why) => emit({ type: "revocationLists", why }),
  });
  // The keeper speaks for all.
  if (bus.role !== "worker") every(LOOK_AT_LISTS_EVERY, () => certificates.look());
  return certificates;
}

/** Opens the sharing of records between several processes and instances. */
function openSharing(ground: Ground, { records, guard, tokens }: ReturnType<typeof openCallers>) {
  const { link, storage, scope, tell, emit, occurrences, bus, events } = ground;
  const followers = {
    ...records.followers,
    block: { settle: () => guard.load() },
    token: { settle: () => tokens.load() },
    // Sessions are read from the database each time; but whoever reads events by one that has ended is to leave.
    session: { settle: () => events.recheck() },
    // Versions are read from the database whenever somebody asks.
    version: {},
  };
  const applyRemoteChanges = (changes: readonly Change[]): void => follow(changes, followers, tell);
  // The keeper takes over what other machines change: workers read it from the database, as all that the keeper changes.
  if (link === null || bus.role === "worker") return { applyRemoteChanges, replication: null };
  const replication = new Replication({
    link,
    storage,
    applyRemoteChanges,
    onFault: tell,
    onRebuilt: (epoch, published, taken) => emit({ type: "recordsCompared", epoch, published, taken }),
  });
  scope.defer(() => replication.close());
  occurrences.subscribe({
    redis: ({ isUp }) => {
      if (!isUp) replication.doubt();
    },
  });
  return { applyRemoteChanges, replication };
}

/** Opens what signs people in to the console, and knows them again. */
function openSigning(
  { audit, clock, inForce, log, options }: Ground,
  { tokens, sessions, guard, issuers }: ReturnType<typeof openCallers>,
  replication: Replication | null,
) {
  const write: SignInDeps["write"] = replication === null ? null : (work) => replication.write(work);
  const signIn = new SignIn({ tokens, sessions, guard, audit, write });
  const issuerSignIn = new IssuerSignIn({
    ...{ signIn, clock, guard, flow: new CodeFlow(() => clock.now()) },
    attempts: new Attempts({ clock, secrets: () => [options.secret ?? "", inForce.config.admin.clientSecret ?? ""] }),
    settings: () => inForce.config.admin,
    issuerOf: (name) => issuers.get(name),
    onTrouble: (issuer, why, untold) =>
      log?.warn({ issuer, why, ...(untold > 0 ? { untold } : {}) }, "somebody could not be signed in by an issuer"),
  });
  const holders = new Holders({ tokens, sessions, guard, issuedRole: (session) => issuerSignIn.roleOf(session) });
  return { signIn, issuerSignIn, holders };
}

/** Opens the backends, and what stands before them. */
function openBackends({ clock, scope, emit, occurrences, inForce, metrics, tell, options, bus }: Ground, pools: Pools) {
  const http1 = new PooledClient(clock, {
    onUnasked: (target) => emit({ type: "unasked", target }),
    onLookUp: (target, address, error) => emit({ type: "lookUp", target, address, error }),
    onShortage: (isShort) => emit({ type: "shortage", isShort }),
  });
  const client = new Clients(http1, new Http2Client(clock, http1, tell));
  scope.defer(() => client.close());
  const onChecked: OnChecked = ({ name }, target, began, why) => emit({ type: "checked", upstream: name, target, began, why });
  const isChecking = bus.role !== "worker";
  const upstreams = new Upstreams({ clock, client, random: Math.random, emit, onChecked: isChecking ? onChecked : null });
  scope.defer(() => upstreams.close());
  const troubles = new Troubles();
  occurrences.subscribe({
    breaker: ({ upstream, target, to }) => {
      if (to === "closed") troubles.over(upstream, target.url);
    },
    target: ({ upstream, target, isHealthy, why }) => {
      if (isHealthy) troubles.over(upstream, target.url);
      else troubles.failed(upstream, target.url, `health check: ${why}`);
    },
    attemptFailed: ({ upstream, target, why }) =>
      troubles.failed(upstream, target.url, why instanceof UpstreamFailure ? why.message : `answered ${why}`),
  });
  const forwarder = new Forwarder({
    ...{ clock, client, pools, random: Math.random, onFault: tell },
    onFailed: (requestId, upstream, target, attempt, why) => emit({ type: "attemptFailed", requestId, upstream, target, attempt, why }),
  });
  const modelFailures = new LastFailures();
  occurrences.subscribe({ modelAttempt: (result) => modelFailures.note(result, clock.wall()) });
  const virtualModels = new VirtualModels({
    ...{ clock, forwarder, random: Math.random },
    onResult: (result) => emit({ type: "modelAttempt", ...result }),
  });
  const authorize = new Authorize({ clock, client, metrics, emit });
  const cacheStore = new CacheStore(parseSize(inForce.config.cache.maxSize));
  const counts = metrics.tally(CACHE_REQUESTS, "result", CACHE_COUNTS);
  const caching = new Caching({ store: cacheStore, clock, onFault: options.onFault, counts });
  return { client, upstreams, troubles, forwarder, virtualModels, modelFailures, authorize, cacheStore, caching };
}

function openDemo({ inForce, scope, bus, options: { demoPort } }: Ground, { tiers }: Records, health: SystemHealth): DemoBackend | null {
  if (!inForce.config.demo) return null;
  // The keeper has it: that it was told to fail holds for all.
  if (bus.role === "worker") return { url: `http://127.0.0.1:${demoPort ?? 0}`, close: async () => {} };
  const limitOf = (tier: string): number | null => {
    const [policy] = compilePolicies(tiers.get(tier)?.document.limits ?? [], { kind: "tier", name: tier });
    return policy === undefined ? null : termsOf(policy, health.isDegraded).limit;
  };
  const demo = startDemoBackend({ limitOf }, demoPort);
  scope.defer(() => demo.close());
  return demo;
}

function openTracing({ instance, emit, tell, scope, inForce }: Ground): Tracing {
  const tracing = new Tracing({
    ...{ instance, random: Math.random, onFault: tell },
    onChange: (endpoint, isUp, why) => emit({ type: "collector", endpoint, isUp, why }),
  });
  scope.defer(() => tracing.close(SPANS_WITHIN));
  tracing.configure(inForce.config.telemetry.otlp);
  return tracing;
}

function openActivities({ options: { databasePath }, inForce, clock, emit, log, scope, bus }: Ground): ActivitiesDoor {
  const { redis } = inForce.config;
  const activities = new ActivitiesDoor({ databasePath, worker: ACTIVITIES_WORKER, redis, config: () => inForce.config, clock, emit });
  scope.defer(async () => {
    if (await activities.close()) return;
    log?.info("what activities wrote last is in the file that ends in -wal, for another process has the database open: copy both together");
  });
  // A worker passes batches on to the keeper.
  if (bus.role !== "worker") activities.configure();
  return activities;
}

/** Writes regularly what is changed in memory, and once more at the end. One write that fails holds up no other. */
function flushRegularly(ground: Ground, { pools, records, tokens, guard }: ReturnType<typeof openCallers>, limits: Limits, usage: Usage) {
  const { scope, every, guarded, log, writability, bus } = ground;
  const isWriter = bus.role !== "worker";
  const flush = (): void => {
    // A worker has the keeper write its counts; of usage it writes nothing, but begins another hour; of pools it settles what is not yet.
    for (const each of [limits.counts, usage, pools]) guarded(() => each.flush());
  };
  const flushUsed = (): void => {
    for (const work of [() => records.keys.flushUsed(), () => isWriter && tokens.flushUsed(), () => guard.flush()]) guarded(work);
  };
  scope.defer(() => {
    flush();
    const lost = { counts: limits.counts.waiting, requestsOfUsage: usage.waiting, pools: pools.waiting };
    if (Object.values(lost).some((count) => count > 0))
      log?.error(
        { ...lost, why: writability.state?.detail ?? null },
        "stopped without storing these: they could not be written and are lost",
      );
    flushUsed();
  });
  every(FLUSH_COUNTS_EVERY, () => {
    flush();
    writability.look();
  });
  every(FLUSH_USED_KEYS_EVERY, () => {
    flushUsed();
    guard.sweep();
  });
}

const auditView = ({ status, by, reason, until }: HealthState) => ({ status, by, reason, until: timeText(until) });
