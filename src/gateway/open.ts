import type { LiveConfig } from "../config/live.ts";
import type { Config } from "../config/schema.ts";
import type { AcmeOrders } from "../edge/acme/orders.ts";
import type { ClientAuthorities } from "../edge/certificates.ts";
import type { PlainPort } from "../edge/plain-port.ts";
import type { Dispatcher } from "../exchange/dispatcher.ts";
import type { Warnings } from "../health/warnings.ts";
import type { ClientCertificateRules } from "../http/client-certificate.ts";
import type { Crowd } from "../http/crowd.ts";
import type { CutOffCause } from "../http/h2/frame-watch.ts";
import { CLIENT_CERTIFICATE_OUTCOMES, CLIENT_CERTIFICATES } from "../identity/client-certificates.ts";
import type { Malformed } from "../observers/recorder.ts";
import type { PreparedPlugins } from "../plugins/plugins.ts";
import type { StagedDocument } from "../records/staged.ts";
import { faultLines } from "../schema/faults.ts";
import { parseDuration } from "../values/units.ts";
import type { AdminApi } from "./admin.ts";
import type { Certificates } from "./certificates.ts";
import { cacheCountsOf, countTogether } from "./everyone.ts";
import { warnOfExposure } from "./exposure.ts";
import { families } from "./families.ts";
import { type GatewayOptions, type Ground, openGround } from "./ground.ts";
import { faultsOf, keepGood, reload, swap } from "./reload.ts";
import type { Scope } from "./scope.ts";
import { openServices, type Services } from "./services.ts";
import { isConsoleIn, openSurfaces, type Surfaces } from "./surfaces.ts";
import { ReloadFollower, shareBackendFiles, tellInForce } from "./together.ts";
import { noteVersions } from "./versions.ts";

/** Controls the gateway, ready to serve; `listen` opens its listeners. */
export interface Gateway {
  /** Resolves when it is known whether Redis is there, and a worker has in force what all have; at once for a process that is alone. */
  readonly ready: Promise<void>;
  /** Takes over what the others have said before this process could hear them; once, when it can. Resolves when that is done. */
  readonly lookAgain: () => Promise<void>;
  readonly dispatcher: Dispatcher;
  readonly warnings: Warnings;
  /** The clients' connections, on all listeners together. */
  readonly crowd: Crowd;
  readonly admin: AdminApi;
  readonly live: LiveConfig;
  /** The number of workers that share connections. */
  readonly workers: number;
  /** The URL of the demo's backend; `null` without the demo. */
  readonly demoUrl: string | null;
  /** The admin token when it was made now; it is shown once. */
  readonly firstToken: string | null;
  /** Makes the secret of a link that signs in to the console, to be shown now; `null` where an admin token was ever used, or there is no console. */
  firstRunLink(): string | null;
  /** Orders certificates; `null`: another process does. */
  readonly acme: AcmeOrders | null;
  /** Gives the configuration in force. */
  config(): Config;
  /** Gives the text that Prometheus scrapes; `accept`: the field of its request. */
  metrics(accept: string | null): Promise<{ readonly type: string; readonly body: string }>;
  /** What https is served with. */
  readonly certificates: Certificates;
  /** What the plain port beside the one for https does. */
  readonly plainPort: PlainPort;
  /** Learns of a balancer whose connections come without a PROXY line, or with it again. */
  readonly onProxyLine: (peer: string, isMissing: boolean) => void;
  /** Puts other authorities of clients' certificates in force; `null`: clients are asked for none. Throws `AuthoritiesFault`. */
  useAuthorities(clients: ClientAuthorities | null): void;
  /** How listeners judge clients' certificates. */
  readonly clientRules: ClientCertificateRules;
  /** Writes down a request that could not be read. */
  malformed(request: Malformed): void;
  /** Tells of a connection that was cut off. */
  cutOff(cause: CutOffCause, ip: string): void;
  /** Makes the gateway not ready from here on, and ends what would go on for ever, so that a stop need not wait for it. */
  drain(): void;
}

/** Milliseconds that this process may be behind another one on the same database. */
const FOLLOW_EVERY = 200;
const LOOK_FOR_BACKUPS_EVERY = 5000;
const LOOK_AT_LOG_EVERY = 1000;
const PRUNE_EVERY = 60_000;

/**
 * Opens the gateway in `scope`, from the ground up; whoever made the scope closes it, also after a throw, and nothing is left open then.
 * Throws `StorageError`, `SecretFault` and `ConfigConflict`.
 *
 * @example
 * const scope = openScope(report);
 * const gateway = openGateway(scope, options);
 * listen(scope, { gateway, config, host, port, onFault });
 * await scope.close();
 */
export function openGateway(scope: Scope, options: GatewayOptions): Gateway {
  const ground = openGround(scope, options);
  const services = openServices(ground);
  const surfaces = openSurfaces(ground, services);
  const { metrics, warnings, crowd, live, events, inForce } = ground;
  const { certificates } = services;
  metrics.show(families(sourcesOf(ground, services)));
  countTogether(ground);
  warnOfExposure(ground);
  follow(ground, services);
  const follower = ground.bus.role === "worker" ? followReloads(ground, services) : null;
  const inStep = follower === null ? watchConfiguration(ground, services) : follower.catchUp();
  const shared = shareBackendFiles(ground, services);
  return {
    ...{
      ready: Promise.all([whenReady(services, ground), inStep, shared, certificates.tried, certificates.look()]).then(() => {}),
      warnings,
      crowd,
      live,
      workers: options.workers ?? 1,
    },
    lookAgain: async () => void (await Promise.all([follower?.catchUp(), services.picture.look(), certificates.look()])),
    dispatcher: surfaces.dispatcher,
    admin: surfaces.admin,
    demoUrl: services.demo?.url ?? null,
    firstToken: services.firstToken,
    firstRunLink: () => firstRunLink(ground, services, surfaces),
    acme: services.acme,
    config: () => inForce.config,
    metrics: (accept) => metrics.text(accept),
    certificates,
    plainPort: ground.plainPort,
    onProxyLine: (peer, isMissing) => ground.emit({ type: "proxyLine", peer, isMissing }),
    useAuthorities: (clients) => services.clientCertificates.use(clients),
    clientRules: services.clientCertificates,
    malformed: (request) => services.recorder.malformed(request, surfaces.snapshots.current),
    cutOff: (cause, ip) => ground.emit({ type: "cutOff", cause, ip }),
    drain: () => {
      surfaces.drain();
      events.close();
    },
  };
}

/** Makes the link, unless nothing can be written: then somebody has a token, or will see why there is none. */
function firstRunLink({ inForce, guarded }: Ground, { signIn }: Services, { snapshots: { current } }: Surfaces): string | null {
  let link: string | null = null;
  // Where a route has the path the link would lead to its backend, whose page can read the secret.
  const isServed = isConsoleIn(current);
  if (inForce.config.admin.console !== "off" && isServed)
    guarded(() => {
      link = signIn.firstRunLink();
    });
  return link;
}

/** Follows the changes of other processes on the same database, and forgets what is old. */
function follow(
  { every, once, guarded, feed, clock, inForce, audit, backups, options }: Ground,
  { applyRemoteChanges, usage, replication, sessions }: Services,
): void {
  every(FOLLOW_EVERY, () => feed.poll(applyRemoteChanges));
  once(PRUNE_EVERY, () => {
    const { config } = inForce;
    const { keepFor } = config.audit;
    guarded(() => sessions.prune());
    guarded(() => feed.prune(clock.wall(), replication !== null));
    guarded(() => usage.prune(clock.wall() - parseDuration(config.usage.keepFor)));
    if (keepFor !== null) guarded(() => audit.prune(clock.wall() - parseDuration(keepFor)));
  });
  once(LOOK_FOR_BACKUPS_EVERY, () => void backups.look());
  every(LOOK_AT_LOG_EVERY, () => options.log?.look());
}

/** Follows in a worker what the keeper puts in force. */
function followReloads(ground: Ground, services: Services): ReloadFollower {
  const own = {
    faultsOf: (next: Config, documents: readonly StagedDocument[]) => faultsOf(next, documents, ground, services),
    takeOverRecords: () => void ground.feed.poll(services.applyRemoteChanges),
    swap: (next: Config, plugins: PreparedPlugins, documents: readonly StagedDocument[]) =>
      swap(next, plugins, documents, ground, services),
  };
  return new ReloadFollower(ground, own, (why) => ground.options.onApart?.(why));
}

/** Follows the configuration's file, and writes down the results of its reloads. */
async function watchConfiguration(ground: Ground, services: Services): Promise<void> {
  const { occurrences, audit, guarded, live, options, scope } = ground;
  const { file, text } = options;
  occurrences.subscribe({
    reload: ({ trigger, faults }) =>
      guarded(() => audit.note({ action: "config.reload", subject: "config", after: { trigger, faults: faultLines(file, faults) } })),
  });
  let inForce = text ?? "";
  tellInForce(ground, () => inForce);
  live.start(async (next, nextText, isStopping, along) => {
    const faults = await reload({ next, text: nextText, isStopping, along }, ground, services);
    if (faults.length > 0 || along?.commit === null) return faults;
    inForce = nextText;
    options.onInForce?.(nextText);
    return faults;
  });
  noteVersions(ground, services);
  scope.defer(() => live.close());
  if (text !== undefined && file !== null && live.status.faults.length === 0) keepGood(text, ground);
}

/** Waits until it is known whether Redis is there, its records are taken over, and what the other processes and instances say. */
async function whenReady({ replication, picture }: Services, { link }: Ground): Promise<void> {
  try {
    await link?.tried;
    await Promise.all([replication?.catchUp(), picture.look()]);
  } catch {
    // Redis is away: it is caught up with when it is back.
  }
}

const sourcesOf = (ground: Ground, services: Services): Parameters<typeof families>[0] => {
  const { clock, link, crowd, live, backups, metrics, writability, events, plugins, options } = ground;
  const { health, upstreams, cacheStore, limits, guard, pools, issuers, activities, tracing, certificates, clientCertificates, acme } =
    services;
  return {
    ...{ clock, health, upstreams, cacheStore, guard, pools, issuers, clientCertificates, link, crowd, backups, events, acme },
    tls: () => certificates.held.current,
    certificates: () => certificates.standings(),
    cacheCounts: () => cacheCountsOf(metrics),
    clientCertificateCounts: () => metrics.totals(CLIENT_CERTIFICATES, "outcome", CLIENT_CERTIFICATE_OUTCOMES),
    census: limits.census,
    shared: limits.shared,
    live: () => live.status,
    plugins: () => plugins.allCounts,
    activities: () => activities.current,
    isStorageReadOnly: () => writability.state !== null,
    log: options.log,
    spanCounts: tracing.counts,
    hooks: ground.bus.role === "worker" ? null : services.hooks,
  };
};
