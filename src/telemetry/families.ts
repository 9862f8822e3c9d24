import type { Activities } from "../activities/activities.ts";
import type { ActivityStats } from "../activities/engine.ts";
import type { ScheduledBackups } from "../backups/scheduled.ts";
import type { CacheCounts } from "../cache/caching.ts";
import type { CacheStore } from "../cache/store.ts";
import type { LiveConfig } from "../config/live.ts";
import type { EventHub } from "../events/hub.ts";
import type { Guard } from "../guard/guard.ts";
import type { SystemHealth } from "../health/health.ts";
import type { Crowd, Excess } from "../http/crowd.ts";
import { descriptors } from "../http/descriptors.ts";
import type { MemoryStore } from "../limits/memory/store.ts";
import type { RedisLimiter } from "../limits/redis/limiter.ts";
import type { KeyReport, Pools } from "../pools/pools.ts";
import type { RedisLink } from "../redis/link.ts";
import { letsThrough } from "../upstreams/breaker.ts";
import type { Upstreams } from "../upstreams/registry.ts";
import type { TargetState, Upstream } from "../upstreams/upstream.ts";
import type { Clock } from "../values/clock.ts";
import { VERSION } from "../version.ts";
import type { Log } from "./log.ts";
import type { Family, Sample } from "./metrics.ts";

/** What metrics are read from. What is made later, or anew, is asked for. */
export interface Sources {
  readonly clock: Clock;
  readonly health: SystemHealth;
  readonly balanced: Upstreams;
  readonly kept: CacheStore;
  readonly cacheCounts: Readonly<CacheCounts>;
  readonly store: MemoryStore;
  readonly guard: Guard;
  readonly pools: Pools;
  readonly link: RedisLink | null;
  readonly crowd: Crowd;
  /** Limits that Redis counts; `null` without Redis. */
  readonly shared: RedisLimiter | null;
  readonly live: () => LiveConfig["status"];
  readonly activities: () => Activities | null;
  readonly backups: ScheduledBackups;
  readonly isStorageReadOnly: () => boolean;
  readonly log: Log | null;
  readonly events: EventHub;
  readonly spanCounts: Readonly<Record<string, number>>;
  /** Milliseconds since 1970; `null` without TLS. */
  readonly certificateExpiresAt: () => number | null;
}

/** The metrics that show a state: they cost nothing until somebody asks. */
export function families(sources: Sources): Family[] {
  const { clock, health, balanced, kept, cacheCounts, store, guard, pools, link, crowd, live } = sources;
  const eachTarget = (value: (state: TargetState, upstream: Upstream) => number): Sample[] =>
    balanced
      .all()
      .flatMap((upstream) =>
        upstream.targets.map(({ url, state }) => ({ labels: { upstream: upstream.name, target: url }, value: value(state, upstream) })),
      );
  const eachKey = (value: (key: KeyReport) => number): Sample[] =>
    pools.names().flatMap((pool) => pools.keysOf(pool).map((key) => ({ labels: { pool, key: key.id }, value: value(key) })));
  /** One scrape reads several metrics of one answer. */
  let asked: Promise<ActivityStats | null> | null = null;
  const ofActivities = async (read: (stats: ActivityStats) => Sample[]): Promise<Sample[]> => {
    asked ??= Promise.resolve(sources.activities()?.stats() ?? null)
      .catch(() => null)
      .finally(() => {
        asked = null;
      });
    const stats = await asked;
    return stats === null ? [] : read(stats);
  };

  return [
    gauge("sluice_build_info", "The version that runs.", () => [{ labels: { version: VERSION }, value: 1 }]),
    gauge("sluice_system_degraded", "1 while the system is DEGRADED.", () => single(health.isDegraded ? 1 : 0)),
    gauge("circuit_breaker_state", "0 closed, 1 half-open (the next request is a probe), 2 open.", () =>
      eachTarget(({ breaker }, { breakerPolicy }) => {
        if (breaker.state === "closed") return 0;
        // One whose time is over lets the next request through, whenever that comes.
        return breaker.state === "open" && !letsThrough(breaker, breakerPolicy, clock.now()) ? 2 : 1;
      }),
    ),
    gauge("sluice_target_healthy", "What health checks say of a target.", () => eachTarget(({ isHealthy }) => (isHealthy ? 1 : 0))),
    gauge("sluice_target_in_flight", "Requests under way to a target.", () => eachTarget(({ inFlight }) => inFlight)),
    gauge("sluice_cache_bytes", "Bytes of kept responses.", () => single(kept.stats.size)),
    gauge("sluice_cache_entries", "Kept responses.", () => single(kept.stats.entries)),
    counter("sluice_cache_requests_total", "What the cache had to do with requests.", () =>
      (["hits", "misses", "stale", "revalidated", "collapsed", "bypassed"] as const).map((result) => ({
        labels: { result },
        value: cacheCounts[result],
      })),
    ),
    gauge("sluice_limiter_subjects", "Subjects whose limits are counted in this process.", () => single(store.size)),
    gauge("sluice_blocks_active", "Addresses and blocks that are refused.", () => single(guard.all().length)),
    gauge("sluice_pool_tokens_remaining", "What is left to a pool's key in its tightest window.", () =>
      eachKey(({ remaining }) => remaining),
    ),
    gauge("sluice_pool_key_usable", "0 while a pool's key rests or is in quarantine.", () =>
      eachKey(({ status }) => (status === "ready" ? 1 : 0)),
    ),
    gauge("sluice_connections_open", "Connections of clients.", () => single(crowd.open)),
    gauge("sluice_connections_limit", "How many connections clients may have open.", () => single(crowd.limits.maxConnections)),
    counter(
      "sluice_connections_refused_total",
      "New connections that were closed since there were too many: of all, or of one address.",
      () => byExcess(crowd.refused),
    ),
    counter("sluice_connections_closed_early_total", "Idle connections that were closed to make room for others.", () =>
      byExcess(crowd.closedEarly),
    ),
    gauge("sluice_sockets_open", "Connections of clients and to backends, out of process_max_fds.", () => single(descriptors.sockets)),
    gauge("sluice_redis_up", "1 while Redis is used.", () => (link === null ? [] : single(link.isUp ? 1 : 0))),
    gauge("sluice_storage_read_only", "1 while the database can't be written: the disk is full or failing, or the file is damaged.", () =>
      single(sources.isStorageReadOnly() ? 1 : 0),
    ),
    gauge("sluice_backup_age_seconds", "How old the newest scheduled backup is.", () => {
      const { age } = sources.backups;
      return age === null ? [] : single(age / 1000);
    }),
    gauge("sluice_backup_failed", "1 while the last scheduled backup could not be made.", () => {
      const { hasFailed } = sources.backups;
      return hasFailed === null ? [] : single(hasFailed ? 1 : 0);
    }),
    counter("sluice_backups_total", "Scheduled backups of this process by what became of them.", () =>
      sources.backups.hasFailed === null
        ? []
        : Object.entries(sources.backups.counts).map(([result, value]) => ({ labels: { result }, value })),
    ),
    counter("sluice_redis_late_total", "Answers of Redis that took longer than its timeout.", () =>
      link === null ? [] : single(link.counts.late),
    ),
    counter("sluice_redis_lost_total", "Times that Redis was given up.", () => (link === null ? [] : single(link.counts.lost))),
    counter("sluice_limits_decided_alone_total", "Limit decisions that this instance made without Redis.", () =>
      sources.shared === null ? [] : single(sources.shared.counts.alone),
    ),
    gauge("sluice_config_loaded_timestamp_seconds", "When the configuration in force was read.", () => single(live().loadedAt / 1000)),
    gauge("sluice_config_faulty", "1 while the file has faults and the one before is in force.", () =>
      single(live().faults.length > 0 ? 1 : 0),
    ),
    gauge("sluice_tls_certificate_expiry_timestamp_seconds", "When the listeners' certificate is no longer valid.", () => {
      const at = sources.certificateExpiresAt();
      return at === null ? [] : single(at / 1000);
    }),
    counter(
      "sluice_log_lines_dropped_total",
      "Lines of the log that found no room because stdout is read too slowly, or not at all.",
      () => (sources.log === null ? [] : Object.entries(sources.log.state.dropped).map(([of, value]) => ({ labels: { of }, value }))),
    ),
    counter("sluice_spans_total", "Spans of traces by what became of them.", () =>
      Object.entries(sources.spanCounts).map(([result, value]) => ({ labels: { result }, value })),
    ),
    gauge("sluice_event_readers", "Readers of the admin API's events.", () => single(sources.events.readers)),
    counter("sluice_event_readers_dropped_total", "Readers of events that were dropped because they read too slowly.", () =>
      single(sources.events.dropped),
    ),
    gauge("sluice_activities_waiting", "Activities that wait to be applied.", () => ofActivities(({ waiting }) => single(waiting))),
    gauge("sluice_activities_waiting_bytes", "Bytes of the batches of activities that wait to be applied.", () =>
      ofActivities(({ waitingSize }) => single(waitingSize)),
    ),
    gauge("sluice_activities_lag_seconds", "How long the oldest of them waits.", () => ofActivities(({ lag }) => single(lag / 1000))),
    counter("sluice_activities_total", "Activities by what became of them.", () =>
      ofActivities((stats) =>
        (["accepted", "applied", "failed", "rejected"] as const).map((result) => ({ labels: { result }, value: stats[result] })),
      ),
    ),
  ];
}

const byExcess = (counts: Readonly<Record<Excess, number>>): Sample[] =>
  Object.entries(counts).map(([of, value]) => ({ labels: { of }, value }));
const single = (value: number): Sample[] => [{ labels: {}, value }];
const gauge = (name: string, help: string, read: Family["read"]): Family => ({ name, help, type: "gauge", read });
const counter = (name: string, help: string, read: Family["read"]): Family => ({ name, help, type: "counter", read });
