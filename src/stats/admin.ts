import { type Static, Type } from "@sinclair/typebox";
import { Elysia } from "elysia";
import type { ActivityStats } from "../activities/engine.ts";
import type { CacheCounts } from "../cache/counts.ts";
import type { Guard } from "../guard/guard.ts";
import type { SystemHealth } from "../health/health.ts";
import type { Warnings } from "../health/warnings.ts";
import { timeText } from "../http/conventions.ts";
import type { PluginCounts } from "../plugins/counts.ts";
import { type Pools, shownAmount } from "../pools/pools.ts";
import type { LogState } from "../telemetry/log.ts";
import type { Metrics } from "../telemetry/metrics.ts";
import { BUCKETS } from "../telemetry/route-metrics.ts";
import type { CountsInAll } from "../upstreams/in-all.ts";
import type { Upstreams } from "../upstreams/registry.ts";
import { MAX_HITTERS } from "../usage/heavy-hitters.ts";
import type { Usage } from "../usage/usage.ts";
import type { Clock } from "../values/clock.ts";
import { VERSION } from "../version.ts";
import type { ProcessNumbers } from "./processes.ts";

export interface StatsDeps {
  readonly clock: Clock;
  readonly startedAt: number;
  readonly health: SystemHealth;
  readonly metrics: Metrics;
  readonly usage: Usage;
  readonly upstreams: Upstreams;
  readonly pools: Pools;
  /** Gives the numbers of plug-ins, of all processes together. */
  readonly plugins: () => Promise<readonly PluginNumbers[]>;
  /** Gives the counts of the caches of all processes. */
  readonly cacheCounts: () => Readonly<CacheCounts>;
  /** Gives the numbers of each process. */
  readonly processes: () => Promise<readonly ProcessNumbers[]>;
  /** Tells how often processes were started anew, by their names; a name is missing where nobody counts. */
  readonly restarts: () => Promise<Readonly<Record<string, number>>>;
  /** Tells whether Redis is there; `null`: limits are counted by this instance alone. */
  readonly isRedisUp: () => boolean | null;
  /** Asks for the numbers of activities; `null`: they are off. */
  readonly activities: () => Promise<ActivityStats> | null;
  readonly guard: Guard;
  readonly warnings: Warnings;
  /** Gives what all processes know of targets. */
  readonly inAll: CountsInAll;
  /** Gives the lines of the log that found no room, in all processes. */
  readonly dropped: () => Promise<LogState["dropped"]>;
  /** Gives the faults of the configuration file, one line each. */
  readonly faults: () => readonly string[];
}

/** The most blocks that are listed. */
const MAX_BLOCKS = 20;

/** The most consumers that are listed: all that are followed, so that one that is missing from an answer is new in the next. */
const MAX_CONSUMERS = MAX_HITTERS;

const Counts = {
  requests: Type.Integer({ description: "Requests that have ended since the start." }),
  clientErrors: Type.Integer({ description: "Answered with 4xx, other than 429." }),
  serverErrors: Type.Integer({ description: "Answered with 5xx, or left by the caller before there was an answer." }),
  limited: Type.Integer({ description: "Answered with 429." }),
};
const Route = Type.Object({
  name: Type.String({ description: "The route; `none` stands for requests that no route takes." }),
  ...Counts,
  latency: Type.Array(Type.Integer(), {
    description: "Requests by latency: so many in each bucket of latencyBounds, and beyond the last.",
  }),
});
const Stats = Type.Object({
  at: Type.String({ description: "Now, RFC 3339." }),
  version: Type.String({ description: "Of Sluice." }),
  uptime: Type.Number({ description: "Seconds." }),
  status: Type.Union([Type.Literal("NORMAL"), Type.Literal("DEGRADED")], { description: "The system's status." }),
  inFlight: Type.Integer({ description: "Requests under way to targets." }),
  latencyBounds: Type.Array(Type.Number(), { description: "Upper bounds of the buckets, in milliseconds." }),
  routes: Type.Array(Route, { description: "What became of each route's requests." }),
  refusals: Type.Array(
    Type.Object({
      code: Type.String({ description: "Why, as in the answer.", examples: ["rateLimited"] }),
      count: Type.Integer({ description: "How often, since the start." }),
    }),
    { description: "Requests that Sluice itself refused, by the code of its answer, the most frequent first." },
  ),
  consumers: Type.Array(
    Type.Object({
      consumer: Type.Union([Type.String(), Type.Null()], { description: "null: callers without a key." }),
      requests: Type.Number({ description: "Requests a second, over about the last ten seconds." }),
      limited: Type.Number({ description: "Those of them that a limit refused, a second." }),
      total: Type.Integer({ description: "All its requests since it is followed: two answers, one after the other, give an exact rate." }),
      totalLimited: Type.Integer({ description: "Those of them that a limit refused." }),
    }),
    { description: `Those who call most, ${MAX_CONSUMERS} at most.` },
  ),
  targets: Type.Array(
    Type.Object({
      upstream: Type.String({ description: "The upstream it belongs to." }),
      target: Type.String({ description: "Its URL." }),
      breaker: Type.String({ description: "closed, open or half-open." }),
      healthy: Type.Boolean({ description: "What health checks say; true without any." }),
      inFlight: Type.Integer({ description: "Requests under way." }),
      why: Type.Union([Type.String(), Type.Null()], { description: "What went wrong with it last; null while it is well." }),
    }),
    { description: "All targets of all upstreams." },
  ),
  blocks: Type.Object(
    {
      count: Type.Integer({ description: "How many there are." }),
      latest: Type.Array(
        Type.Object({
          cidr: Type.String({ description: "The address or network." }),
          by: Type.String({ description: "Who blocked it: guard, or an admin token's name." }),
          expiresAt: Type.Union([Type.String(), Type.Null()], { description: "Until when; null: until somebody lifts it." }),
        }),
        {
          description: `Those that were made last, ${MAX_BLOCKS} at most.`,
        },
      ),
    },
    { description: "Addresses that are refused." },
  ),
  faults: Type.Array(Type.String(), { description: "What is wrong with the configuration file: the one before it is in force." }),
  warnings: Type.Array(
    Type.Object({
      code: Type.String({ description: "What kind of warning it is." }),
      message: Type.String({ description: "What you should know." }),
    }),
    { description: "As /ready lists them." },
  ),
  pools: Type.Array(
    Type.Object({
      pool: Type.String({ description: "The pool." }),
      key: Type.String({ description: "The key's id." }),
      status: Type.String({ description: "ready, resting or quarantined." }),
      remaining: Type.Number({ description: "What is left in its tightest window." }),
      unit: Type.String({ description: "What remaining counts: tokens, usd (dollars) or requests." }),
    }),
    { description: "All keys of all pools." },
  ),
  plugins: Type.Array(
    Type.Object({
      plugin: Type.String({ description: "The plug-in." }),
      calls: Type.Integer({ description: "How often its hooks were called." }),
      seconds: Type.Number({ description: "What all of these took together, the waiting of async ones included." }),
      failures: Type.Integer({ description: "How often one threw, took too long, or gave what means nothing." }),
      longestHold: Type.Number({ description: "The longest that one call kept everything else waiting, in milliseconds." }),
    }),
    { description: "All plug-ins, since the start." },
  ),
  workers: Type.Array(
    Type.Object({
      worker: Type.String({ description: "Its number, or `keeper`: the one that writes the database and answers the admin API." }),
      pid: Type.Integer({ description: "Its id in the operating system." }),
      since: Type.String({ description: "When it began, RFC 3339." }),
      connections: Type.Integer({ description: "Connections of clients that are open." }),
      requests: Type.Integer({ description: "Requests that have ended since it began." }),
      memory: Type.Integer({ description: "Bytes of main memory that it takes." }),
      restarts: Type.Union([Type.Integer(), Type.Null()], {
        description: "How often another took its place since the start; null where nobody counts.",
      }),
    }),
    { description: "The processes of the gateway that answered at once." },
  ),
  cache: Type.Object(
    { hits: Type.Integer({ description: "Answered from it." }), misses: Type.Integer({ description: "Not in it." }) },
    { description: "The response cache, since the start." },
  ),
  redis: Type.Union([Type.Literal("ok"), Type.Literal("away"), Type.Null()], { description: "null: there is none." }),
  activities: Type.Union(
    [
      Type.Object({
        waiting: Type.Integer({ description: "How many wait to be applied." }),
        lag: Type.Number({ description: "Seconds that the oldest waits." }),
      }),
      Type.Null(),
    ],
    { description: "null: there are none." },
  ),
  droppedLines: Type.Integer({ description: "Lines of the log that found no room." }),
});

/** Describes the answer of `GET /admin/stats`. */
export type StatsAnswer = Static<typeof Stats>;

export type PluginNumbers = StatsAnswer["plugins"][number];

/** Gives the numbers of plug-ins from their counts, by their names. */
export const pluginNumbers = (all: ReadonlyMap<string, PluginCounts>): readonly PluginNumbers[] =>
  [...all].map(([plugin, counts]) => {
    const sums = { calls: 0, seconds: 0, failures: 0, longestHold: 0 };
    for (const { calls, seconds, failures, longestHold } of counts.values()) {
      sums.calls += calls;
      sums.seconds += seconds;
      sums.failures += failures.thrown + failures.late + failures.nonsense;
      sums.longestHold = Math.max(sums.longestHold, longestHold);
    }
    return { plugin, ...sums };
  });

/** The metric that counts refusals. */
const REFUSALS = "sluice_refused_requests_total";

/** Gives how often requests were refused, by the code of the answer. */
function refusalsOf(metrics: Metrics): StatsAnswer["refusals"] {
  const counts = new Map<string, number>();
  for (const { labels, value } of metrics.counted(REFUSALS))
    if (value > 0) counts.set(String(labels.code), (counts.get(String(labels.code)) ?? 0) + value);
  return [...counts].map(([code, count]) => ({ code, count })).sort((a, b) => b.count - a.count);
}

/** Answers with numbers for a terminal, or a script: what `sluice top` shows. */
export const statsAdmin = (deps: StatsDeps) =>
  new Elysia({ prefix: "/stats", tags: ["stats"], normalize: false }).get(
    "/",
    async () => {
      const { clock, health, metrics, usage, upstreams, pools } = deps;
      // All at once: one process that hangs is waited for once.
      const [countsOf, processes, restarts, plugins, dropped, activities] = await Promise.all([
        deps.inAll(),
        deps.processes(),
        deps.restarts(),
        deps.plugins(),
        deps.dropped(),
        deps.activities()?.catch(() => null),
      ]);
      const { hits, misses } = deps.cacheCounts();
      const targets = upstreams.all().flatMap(({ name, targets: each }) =>
        each.map((target) => {
          const { isHealthy } = target.state;
          const { state, inFlight, trouble } = countsOf(name, target);
          const why = isHealthy && state === "closed" ? null : trouble;
          return { upstream: name, target: target.url, breaker: state, healthy: isHealthy, inFlight, why };
        }),
      );
      const blocks = deps.guard.all().sort((a, b) => b.createdAt - a.createdAt);
      const isRedisUp = deps.isRedisUp();
      return {
        at: timeText(clock.wall()) ?? "",
        version: VERSION,
        uptime: Math.round(clock.now() - deps.startedAt) / 1000,
        status: health.current().status,
        inFlight: targets.reduce((sum, { inFlight }) => sum + inFlight, 0),
        latencyBounds: [...BUCKETS],
        routes: metrics.byRoute(),
        refusals: refusalsOf(metrics),
        consumers: usage.heaviest(MAX_CONSUMERS),
        targets,
        pools: pools
          .names()
          .flatMap((pool) =>
            pools
              .keysOf(pool)
              .map(({ id, status, remaining, unit }) => ({ pool, key: id, status, remaining: shownAmount(unit, remaining), unit })),
          ),
        blocks: {
          count: blocks.length,
          latest: blocks.slice(0, MAX_BLOCKS).map(({ cidr, by, expiresAt }) => ({ cidr, by, expiresAt: timeText(expiresAt) })),
        },
        faults: [...deps.faults()],
        warnings: deps.warnings.all().map(({ code, message }) => ({ code, message })),
        plugins: [...plugins],
        workers: processes.map(({ worker, pid, since, connections, requests, memory }) => ({
          ...{ worker, pid, since: timeText(since) ?? "", connections, requests, memory },
          restarts: restarts[worker] ?? null,
        })),
        cache: { hits, misses },
        redis: isRedisUp === null ? null : isRedisUp ? ("ok" as const) : ("away" as const),
        activities: activities ? { waiting: activities.waiting, lag: activities.lag / 1000 } : null,
        droppedLines: dropped.requests + dropped.events,
      };
    },
    {
      response: Stats,
      detail: {
        summary: "Numbers of this instance, all of its processes together, for a terminal",
        description: "Counts go on from the start: two answers, one after the other, give rates. `sluice top` shows them.",
      },
    },
  );
