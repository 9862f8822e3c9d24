import type { Activities } from "../activities/activities.ts";
import { activityFamilies } from "../activities/metrics.ts";
import { backupFamilies } from "../backups/metrics.ts";
import type { ScheduledBackups } from "../backups/scheduled.ts";
import type { CacheCounts } from "../cache/counts.ts";
import { cacheFamilies } from "../cache/metrics.ts";
import type { CacheStore } from "../cache/store.ts";
import type { LiveConfig } from "../config/live.ts";
import { configFamilies } from "../config/metrics.ts";
import { acmeFamilies } from "../edge/acme/metrics.ts";
import type { AcmeOrders } from "../edge/acme/orders.ts";
import type { Standing, TlsInForce } from "../edge/certificates.ts";
import { certificateFamilies } from "../edge/metrics.ts";
import type { EventHub } from "../events/hub.ts";
import { eventFamilies } from "../events/metrics.ts";
import type { Guard } from "../guard/guard.ts";
import { guardFamilies } from "../guard/metrics.ts";
import type { SystemHealth } from "../health/health.ts";
import { healthFamilies } from "../health/metrics.ts";
import type { Crowd } from "../http/crowd.ts";
import { connectionFamilies } from "../http/metrics.ts";
import type { CertificateCounts, ClientCertificates } from "../identity/client-certificates.ts";
import { clientCertificateFamilies } from "../identity/metrics.ts";
import type { Issuers } from "../issuers/issuers.ts";
import { issuerFamilies } from "../issuers/metrics.ts";
import { type Census, limitFamilies, sharedLimitFamilies } from "../limits/metrics.ts";
import type { RedisLimiter } from "../limits/redis/limiter.ts";
import type { PluginCounts } from "../plugins/counts.ts";
import { pluginFamilies } from "../plugins/metrics.ts";
import { poolFamilies } from "../pools/metrics.ts";
import type { Pools } from "../pools/pools.ts";
import type { RedisLink } from "../redis/link.ts";
import { redisFamilies, redisTroubleFamilies } from "../redis/metrics.ts";
import { storageFamilies } from "../storage/metrics.ts";
import type { Log } from "../telemetry/log.ts";
import { buildFamilies, logFamilies, spanFamilies } from "../telemetry/own-metrics.ts";
import { upstreamFamilies } from "../upstreams/metrics.ts";
import type { Upstreams } from "../upstreams/registry.ts";
import type { Clock } from "../values/clock.ts";
import type { Family } from "../values/family.ts";
import { webhookFamilies } from "../webhooks/metrics.ts";

/** Names the sources that metrics are read from. Those that are made later, or anew, are asked for each time. */
export interface Sources {
  readonly clock: Clock;
  readonly health: SystemHealth;
  readonly upstreams: Upstreams;
  readonly cacheStore: CacheStore;
  readonly cacheCounts: () => Readonly<CacheCounts>;
  readonly census: () => Census;
  readonly guard: Guard;
  readonly pools: Pools;
  readonly issuers: Issuers;
  readonly link: RedisLink | null;
  readonly crowd: Crowd;
  /** The limits that Redis counts; `null` without Redis. */
  readonly shared: RedisLimiter | null;
  readonly live: () => LiveConfig["status"];
  /** Gives the counts of plug-ins, by their names. */
  readonly plugins: () => ReadonlyMap<string, PluginCounts>;
  readonly activities: () => Activities | null;
  readonly backups: ScheduledBackups;
  readonly isStorageReadOnly: () => boolean;
  readonly log: Log | null;
  readonly events: EventHub;
  readonly spanCounts: Readonly<Record<string, number>>;
  /** Gives what this process serves TLS with. */
  readonly tls: () => TlsInForce;
  /** Tells how it stands with each place that certificates come from. */
  readonly certificates: () => readonly Standing[];
  readonly clientCertificates: ClientCertificates;
  /** Gives the counts of clients' certificates in all processes. */
  readonly clientCertificateCounts: () => CertificateCounts;
  /** Orders certificates; `null`: another process does. */
  readonly acme: AcmeOrders | null;
  /** What webhooks are told; `null`: another process tells them. */
  readonly hooks: Parameters<typeof webhookFamilies>[0];
}

/**
 * Gives the metrics that show a state, each room's own, in the order in which a scrape lists them: they cost nothing until somebody asks.
 */
export const families = (sources: Sources): readonly Family[] => [
  ...buildFamilies(),
  ...healthFamilies(sources.health),
  ...upstreamFamilies(sources.upstreams, sources.clock),
  ...cacheFamilies(sources.cacheStore, sources.cacheCounts),
  ...limitFamilies(sources.census),
  ...guardFamilies(sources.guard),
  ...poolFamilies(sources.pools),
  ...issuerFamilies(sources.issuers),
  ...connectionFamilies(sources.crowd),
  ...redisFamilies(sources.link),
  ...storageFamilies(sources.isStorageReadOnly),
  ...backupFamilies(sources.backups),
  ...redisTroubleFamilies(sources.link),
  ...sharedLimitFamilies(sources.shared),
  ...configFamilies(sources.live),
  ...pluginFamilies(sources.plugins),
  ...certificateFamilies(sources.tls, sources.certificates),
  ...clientCertificateFamilies(sources.clientCertificates, sources.clientCertificateCounts),
  ...acmeFamilies(sources.acme),
  ...logFamilies(sources.log),
  ...spanFamilies(sources.spanCounts),
  ...eventFamilies(sources.events),
  ...activityFamilies(sources.activities),
  ...webhookFamilies(sources.hooks),
];
