import type { AdminTokens } from "../admin/tokens.ts";
import type { CacheStatistics, Purge } from "../cache/admin.ts";
import type { Caching } from "../cache/answerer.ts";
import type { CacheStore } from "../cache/store.ts";
import type { Guard } from "../guard/guard.ts";
import { LOOK_EVERY, type Observed, TELL_EVERY } from "../health/auto.ts";
import type { SystemHealth } from "../health/health.ts";
import type { Warning } from "../health/warnings.ts";
import { RedisSignals } from "../redis/signals.ts";
import { ofAll } from "../shared/of-all.ts";
import { BusSignals, type Present, type SignalsHearer } from "../shared/signals.ts";
import { type PluginNumbers, pluginNumbers } from "../stats/admin.ts";
import type { LogHand, LogState } from "../telemetry/log.ts";
import { type CountsInAll, countsHere, together } from "../upstreams/in-all.ts";
import type { Upstreams } from "../upstreams/registry.ts";
import type { Troubles } from "../upstreams/troubles.ts";
import type { Ground } from "./ground.ts";
import type { AutoSlot } from "./services.ts";

/** What processes tell and ask each other. */
const OBSERVED = "health.observed";
const WARNINGS = "health.warnings";
const LOGGING = "logging";
const RECORDS = "records";
/** What the keeper asks before it answers a change: an answer says that the process has taken over all that was changed until then. */
export const SETTLED = "settled";
/** Milliseconds that an answer waits for a process that does not say so: one that hangs must not hold it up. */
export const SETTLED_WITHIN = 250;
const USED = "tokens.used";
const COUNTS = "upstreams.counts";
const PURGE = "cache.purge";
const CACHE = "cache.statistics";
const DROPPED = "logging.dropped";
const PLUGINS = "plugins.numbers";

/** Milliseconds between two tellings of a process' warnings, and for how long they hold without another: one that has died tells nothing more. */
const WARN_EVERY = 1000;
const WARNED_FOR = 3000;
/** Milliseconds by which the end of a status with a time may be told too late. */
const LOOK_AT_STATUS_EVERY = 200;
/** Milliseconds between two handings over of what a worker has accepted. */
const HAND_OVER_EVERY = 200;
/** Milliseconds that a start waits for the log's settings of the others. */
const LOOK_WITHIN = 1000;

export interface PictureServices {
  readonly guard: Guard;
  readonly tokens: AdminTokens;
  readonly health: SystemHealth;
  readonly auto: AutoSlot;
  readonly upstreams: Upstreams;
  readonly troubles: Troubles;
  readonly cacheStore: CacheStore;
  readonly caching: Caching;
}

/** Makes one picture of all processes of the gateway: what one decides holds in all, and what is shown speaks for all. */
export interface Picture {
  /** Takes over what the others know; before requests are served. */
  look(): Promise<void>;
  /** Takes over what was said of upstreams before they were known here; after they have changed. */
  settle(): void;
  readonly targets: CountsInAll;
  /** Forgets what the caches of all processes keep, and gives how many responses that were. */
  readonly purge: (what: Purge) => Promise<number>;
  /** Gives the numbers of all caches together. */
  readonly cache: () => Promise<CacheStatistics>;
  /** Gives the lines of the log that found no room, in all processes. */
  readonly dropped: () => Promise<LogState["dropped"]>;
  readonly plugins: () => Promise<readonly PluginNumbers[]>;
}

/** Joins this process with the others. */
export function openPicture(ground: Ground, services: PictureServices): Picture {
  const signals = openSignals(ground, services);
  const lookAtLog = shareLog(ground);
  shareWarnings(ground);
  shareObservations(ground, services);
  shareRecords(ground);
  const { bus, every, once } = ground;
  const { guard, health, tokens } = services;
  once(LOOK_AT_STATUS_EVERY, () => void health.current());
  if (bus.role === "worker")
    every(HAND_OVER_EVERY, () => {
      guard.flush();
      const used = tokens.takeUsed();
      if (used.length > 0) bus.tell(USED, used);
    });
  else bus.hear<[string, number][]>(USED, (used) => tokens.usedThere(used));
  return {
    look: async () => void (await Promise.all([signals.look(), guard.look(), lookAtLog()])),
    settle: () => signals.settle(),
    ...views(ground, services),
  };
}

/** Joins the signals: by the bus among the processes, and by Redis, through the keeper, among machines. */
function openSignals({ bus, link, scope, tell, emit, occurrences }: Ground, { health, upstreams }: PictureServices) {
  const hearerOf = (origin: "process" | "instance"): SignalsHearer => ({
    onHealth: (signal) => health.follow(signal, origin),
    onBreaker: ({ upstream, url, ...said }) =>
      upstreams.named(upstream)?.followBreaker(url, said, origin === "process" ? "process" : "shared") ?? "unknown",
    onTarget: (signal) => {
      const { upstream, isHealthy, why } = signal;
      const found = upstreams.named(upstream)?.followCheck(signal) ?? null;
      if (found === null) return "unknown";
      if (found.isChange) emit({ type: "target", upstream, target: found.target, isHealthy, why, origin });
      return "followed";
    },
  });
  const local = new BusSignals({ bus, hearer: hearerOf("process"), present: () => present(health, upstreams), onFault: tell });
  const fromRedis = hearerOf("instance");
  const redis =
    link === null || bus.role === "worker"
      ? null
      : new RedisSignals({
          link,
          hearer: {
            ...fromRedis,
            onBreaker: (signal) => {
              const heard = fromRedis.onBreaker(signal);
              if (heard === "followed") local.sayBreaker(signal);
              return heard;
            },
          },
          onFault: tell,
        });
  scope.defer(() => redis?.close());
  occurrences.subscribe({
    health: ({ after, origin }) => {
      if (origin !== "process") local.sayHealth(after);
      if (origin !== "instance") redis?.sayHealth(after);
    },
    breaker: ({ upstream, target: { url, state }, to, cause }) => {
      if (cause === "shared" || to === "half-open") return;
      const isByHand = cause === "admin";
      const { failedProbes, since } = state.breaker;
      const signal = { upstream, url, state: to, isHeld: isByHand && to === "open", isByHand, failedProbes, since };
      if (cause !== "process") local.sayBreaker(signal);
      redis?.sayBreaker(signal);
    },
    checked: ({ upstream, target: { url, state }, began, why }) => {
      const { isHealthy, hasPassed } = state;
      local.sayTarget({ upstream, url, isHealthy, hasPassed, began, why });
    },
  });
  return {
    look: async (): Promise<void> => void (await Promise.all([local.look(), redis?.look()])),
    settle: () => local.settle(),
  };
}

/** Gives all that there is to say of the system's status, of breakers that are not closed, and of targets that are checked. */
function present(health: SystemHealth, upstreams: Upstreams): Present {
  const state = health.current();
  const all = upstreams
    .all()
    .flatMap(({ name, targets, healthCheck }) => targets.map((target) => ({ upstream: name, target, healthCheck })));
  return {
    health: state.by === "start" ? null : state,
    breakers: all
      .filter(({ target }) => target.state.breaker.state !== "closed")
      .map(({ upstream, target: { url, state } }) => {
        const { isHeld, failedProbes, since } = state.breaker;
        return { upstream, url, state: "open", isHeld, isByHand: isHeld, failedProbes, since };
      }),
    targets: all
      .filter(({ healthCheck, target }) => healthCheck !== null && (target.state.hasPassed || !target.state.isHealthy))
      .map(({ upstream, target: { url, state } }) => {
        const { isHealthy, hasPassed } = state;
        return { upstream, url, isHealthy, hasPassed, began: null, why: isHealthy ? "answers again" : "found down before" };
      }),
  };
}

/** Shares the log's settings that a person has made. Gives the function that asks for those of the others. */
function shareLog({ bus, options: { log } }: Ground): () => Promise<void> {
  if (log === null) return async () => {};
  log.onHand = (hand) => bus.tell(LOGGING, hand);
  bus.hear<LogHand>(LOGGING, (hand) => log.follow(hand));
  bus.answer(LOGGING, () => log.hand);
  return async () => {
    const [hand] = await bus.askAll<LogHand>(LOGGING, null, LOOK_WITHIN);
    if (hand !== undefined) log.follow(hand);
  };
}

/** Lets the keeper's warnings be those of the workers as well. */
function shareWarnings({ bus, warnings, every }: Ground): void {
  if (bus.role === "worker") {
    const tell = (): void => bus.tell(WARNINGS, warnings.own());
    warnings.onOwn = tell;
    every(WARN_EVERY, tell);
  } else bus.hear<readonly Warning[]>(WARNINGS, (all, from) => warnings.hear(from, all, WARNED_FOR));
}

/** Lets one process decide by itself whether the system is DEGRADED, from what all have seen. */
function shareObservations({ bus, every }: Ground, { auto }: PictureServices): void {
  if (bus.role === "worker")
    every(TELL_EVERY, () => {
      const seen = auto.current?.take(TELL_EVERY);
      if (seen !== undefined) bus.tell(OBSERVED, seen);
    });
  else {
    every(LOOK_EVERY, () => auto.current?.look());
    bus.hear<Observed>(OBSERVED, (seen) => auto.current?.add(seen));
  }
}

/** Tells the others at once that records were changed: each reads them from the database, where it would look for them a little later anyway. */
function shareRecords({ bus, occurrences }: Ground): void {
  if (bus.role === "worker") return;
  let isTold = false;
  const nudge = (): void => {
    if (isTold) return;
    isTold = true;
    // When the transaction is over, and once for all that was changed in this turn.
    setImmediate(() => {
      isTold = false;
      bus.tell(RECORDS, null);
    });
  };
  occurrences.subscribe({ change: nudge, records: nudge });
}

/** Calls `poll` whenever another process says that it has changed records. */
export function onRecords({ bus }: Ground, poll: () => void): void {
  bus.hear(RECORDS, poll);
  // What was told before is heard before: with the records all is taken over.
  bus.answer(SETTLED, poll);
}

/** Gives what speaks for all processes. */
function views(
  { bus, options, plugins }: Ground,
  { upstreams, troubles, cacheStore, caching }: PictureServices,
): Omit<Picture, "look" | "settle"> {
  const counts = ofAll(bus, COUNTS, () => countsHere(upstreams, troubles));
  const purge = ofAll(bus, PURGE, ({ route, prefix }: Purge) =>
    caching.purge((itsRoute, path) => (route ?? itsRoute) === itsRoute && path.startsWith(prefix ?? "/")),
  );
  // Nothing is ever kept in the keeper, which serves no backend.
  const maxSize = (): number => (bus.role === "keeper" ? 0 : cacheStore.maxSize);
  const cache = ofAll(bus, CACHE, (): CacheStatistics => ({ ...cacheStore.stats, maxSize: maxSize(), ...caching.counts }));
  const dropped = ofAll(bus, DROPPED, () => options.log?.state.dropped ?? { requests: 0, events: 0 });
  const numbers = ofAll(bus, PLUGINS, () => pluginNumbers(plugins.allCounts));
  return {
    targets: async () => together(await counts(null)),
    purge: async (what) => (await purge(what)).reduce((sum, each) => sum + each, 0),
    cache: async () => (await cache(null)).reduce(added),
    dropped: async () => (await dropped(null)).reduce(added),
    plugins: async () => {
      const sums = new Map<string, PluginNumbers>();
      for (const each of (await numbers(null)).flat()) {
        const known = sums.get(each.plugin);
        if (known === undefined) sums.set(each.plugin, each);
        else sums.set(each.plugin, { ...added(known, each), longestHold: Math.max(known.longestHold, each.longestHold) });
      }
      return [...sums.values()];
    },
  };
}

/** Adds the numbers of two answers, field by field; what is no number stays as in the first. */
function added<T extends object>(a: T, b: T): T {
  const both = b as Readonly<Record<string, unknown>>;
  return Object.fromEntries(
    Object.entries(a).map(([name, value]) => [name, typeof value === "number" ? value + Number(both[name] ?? 0) : value]),
  ) as T;
}
