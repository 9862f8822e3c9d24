import type { StatsAnswer } from "../stats/admin.ts";

type RouteCounts = StatsAnswer["routes"][number];

export interface Screen {
  readonly columns: number;
  readonly rows: number;
  readonly hasColour: boolean;
}

const RED = "\x1b[31m";
const BOLD = "\x1b[1m";
const PLAIN = "\x1b[0m";

/** Says what calls of a model have cost since the hour began, in dollars. */
export interface ModelCost {
  readonly model: string;
  readonly requests: number;
  readonly tokens: number;
  readonly cost: number;
}

/**
 * Gives the lines of one screen, from two answers one after the other: none longer than it is wide, and no more than it is high. `costs`:
 * what models have cost, where there are prices.
 */
export function screenOf(before: StatsAnswer, now: StatsAnswer, screen: Screen, costs: readonly ModelCost[] = []): string[] {
  const change = changeOf(before, now);
  const head = headOf(now, change, screen);
  const sections = [
    ...[routesOf, consumersOf].map((section) => section(now, change, screen)),
    modelsOf(costs, screen),
    ...[targetsOf, workersOf, pluginsOf, blocksOf, poolsOf].map((section) => section(now, change, screen)),
  ].filter(({ lines }) => lines.length > 0);
  return [...head, ...laidOut(sections, screen.rows - head.length, screen)].slice(0, screen.rows);
}

/** Holds what became of requests between two answers. */
interface Change {
  readonly seconds: number;
  readonly routes: readonly RouteCounts[];
  /** All routes together. */
  readonly all: RouteCounts;
  /** Those who called, the busiest first. */
  readonly consumers: readonly { readonly consumer: string | null; readonly requests: number; readonly limited: number }[];
  readonly cache: StatsAnswer["cache"];
  /** Plug-ins, those that took most time first; `longestHold` is since the start. */
  readonly plugins: StatsAnswer["plugins"];
  /** The processes, with the requests of each since then. */
  readonly workers: StatsAnswer["workers"];
}

function changeOf(before: StatsAnswer, now: StatsAnswer): Change {
  // A gateway that was started anew counts from nothing.
  const isSame = now.uptime >= before.uptime;
  const earlier = new Map(isSame ? before.routes.map((route) => [route.name, route]) : []);
  const routes = now.routes.map((route) => lessThan(route, earlier.get(route.name)));
  // Of the same span as the routes': who was not among them before is counted since it came.
  const told = new Map(isSame ? before.consumers.map((each) => [each.consumer, each]) : []);
  const consumers = now.consumers
    .map((each) => {
      const then = told.get(each.consumer);
      const since = then === undefined || then.total > each.total ? { total: 0, totalLimited: 0 } : then;
      return { consumer: each.consumer, requests: each.total - since.total, limited: each.totalLimited - since.totalLimited };
    })
    .filter(({ requests }) => requests > 0)
    .sort((a, b) => b.requests - a.requests);
  return {
    seconds: Math.max(0.001, isSame ? now.uptime - before.uptime : now.uptime),
    routes,
    all: routes.reduce(sumOf, emptyRoute(now.latencyBounds.length + 1)),
    consumers,
    workers: workersSince(now, isSame ? before.workers : []),
    plugins: pluginsSince(now, isSame ? before.plugins : []),
    cache: isSame ? { hits: now.cache.hits - before.cache.hits, misses: now.cache.misses - before.cache.misses } : now.cache,
  };
}

function workersSince(now: StatsAnswer, before: StatsAnswer["workers"]): StatsAnswer["workers"] {
  // Another process in the place of one counts from nothing.
  const earlier = new Map(before.map(({ pid, requests }) => [pid, requests]));
  return now.workers.map((worker) => ({ ...worker, requests: worker.requests - (earlier.get(worker.pid) ?? 0) }));
}

function pluginsSince(now: StatsAnswer, before: StatsAnswer["plugins"]): StatsAnswer["plugins"] {
  const earlier = new Map(before.map((plugin) => [plugin.plugin, plugin]));
  return now.plugins
    .map((plugin) => {
      const then = earlier.get(plugin.plugin);
      if (then === undefined || then.calls > plugin.calls) return plugin;
      const { calls, seconds, failures } = plugin;
      return { ...plugin, calls: calls - then.calls, seconds: seconds - then.seconds, failures: failures - then.failures };
    })
    .sort((a, b) => b.seconds - a.seconds);
}

/** Gives the lines at the top: the whole gateway's, and what nobody should have to look for. */
function headOf(now: StatsAnswer, { seconds, all, cache }: Change, screen: Screen): string[] {
  const { columns } = screen;
  const fit = (line: string): string => line.slice(0, columns);
  const rate = (count: number): string => rateOf(count, seconds);
  const share = (count: number): string => `${((100 * count) / Math.max(1, all.requests)).toFixed(1)}%`;
  const lookups = cache.hits + cache.misses;
  return [
    styled(
      fit(ends(`sluice ${now.version}  up ${span(now.uptime)}  ${now.status}`, now.at.slice(0, 19).replace("T", " "), columns)),
      now.status === "NORMAL" ? BOLD : RED,
      screen,
    ),
    fit(
      `${rate(all.requests)} req/s over ${figure(seconds)} s  limited ${rate(all.limited)}/s  4xx ${share(all.clientErrors + all.limited)}  5xx ${share(all.serverErrors)}  ${percentiles(all, now.latencyBounds)}`,
    ),
    fit(
      [
        `in flight ${now.inFlight}`,
        `cache ${lookups === 0 ? "-" : `${((100 * cache.hits) / lookups).toFixed(0)}%`} hits`,
        ...(now.redis === null ? [] : [`redis ${now.redis}`]),
        ...(now.activities === null ? [] : [`queue ${now.activities.waiting} waiting, ${now.activities.lag.toFixed(1)} s`]),
        ...(now.blocks.count === 0 ? [] : [`${now.blocks.count} addresses blocked`]),
        ...(now.droppedLines === 0 ? [] : [`${now.droppedLines} lines of the log dropped`]),
      ].join("  "),
    ),
    // A restart would fail with it, or lose what was counted.
    ...(now.faults.length === 0
      ? []
      : [styled(fit(`the configuration is faulty, the one before is in force: ${now.faults[0]}${more(now.faults.length)}`), RED, screen)]),
    ...now.warnings.slice(0, MAX_WARNINGS).map(({ message }) => styled(fit(message), RED, screen)),
  ];
}

interface Section {
  /** Gives the title. `shown`: how many of how many, where that is not all. */
  readonly title: (shown: string) => string;
  readonly lines: readonly string[];
}

type SectionOf = (now: StatsAnswer, change: Change, screen: Screen) => Section;

const routesOf: SectionOf = (now, { seconds, routes }, { columns }) => {
  const rate = (count: number): string => rateOf(count, seconds);
  const called = new Set(now.routes.filter(({ requests }) => requests > 0).map(({ name }) => name));
  const busy = routes.filter(({ name }) => called.has(name)).sort((a, b) => b.requests - a.requests);
  return {
    title: (shown) => row([`ROUTE${shown}`, "REQ/S", "LIM/S", "4XX/S", "5XX/S", "P50", "P95", "P99"], columns),
    lines: busy.map((route) =>
      row(
        [
          route.name === "none" ? "(no route)" : route.name,
          rate(route.requests),
          rate(route.limited),
          rate(route.clientErrors + route.limited),
          rate(route.serverErrors),
          ...quantiles(route, now.latencyBounds),
        ],
        columns,
      ),
    ),
  };
};

const consumersOf: SectionOf = (_, { seconds, consumers }, { columns }) => ({
  title: (shown) => row([`CONSUMER${shown}`, "REQ/S", "LIM/S"], columns),
  lines: consumers.map(({ consumer, requests, limited }) =>
    row([consumer ?? "(no key)", rateOf(requests, seconds), rateOf(limited, seconds)], columns),
  ),
});

const modelsOf = (costs: readonly ModelCost[], { columns }: Screen): Section => ({
  title: (shown) => row([`MODEL, THIS HOUR${shown}`, "CALLS", "TOKENS", "COST"], columns, WORD),
  lines: [...costs]
    .sort((a, b) => b.cost - a.cost || b.requests - a.requests)
    .map(({ model, requests, tokens, cost }) => row([model, String(requests), String(tokens), shortly(cost)], columns, WORD)),
});

/** Writes dollars with four digits; what is less, and more than nothing, does not look like nothing. */
const shortly = (cost: number): string => (cost > 0 && cost < 0.0001 ? "<$0.0001" : `$${cost.toFixed(4)}`);

const targetsOf: SectionOf = (now, _, screen) => {
  const { columns } = screen;
  const troubled = [...now.targets].sort((a, b) => Number(isWell(a)) - Number(isWell(b)) || b.inFlight - a.inFlight);
  // Why one is down stands behind it: no wider than the names need.
  const nameWidth = Math.min(NAME, Math.max(20, ...troubled.map((target) => nameOf(target).length + 1)));
  return {
    title: (shown) => row([`TARGET${shown}`, "BREAKER", "HEALTH", "IN FLIGHT"], columns, WORD, null, nameWidth),
    lines: troubled.map((target) => {
      const cells = [nameOf(target), target.breaker, target.healthy ? "up" : "down", String(target.inFlight)];
      return styled(row(cells, columns, WORD, target.why, nameWidth), isWell(target) ? "" : RED, screen);
    }),
  };
};

const workersOf: SectionOf = (_, { seconds, workers }, { columns }) => ({
  title: (shown) => row([`WORKER${shown}`, "REQ/S", "CONNECTIONS", "MEMORY MB", "RESTARTS"], columns, WORD),
  // One that is alone is the whole gateway, of which the lines above tell.
  lines: (workers.length < 2 ? [] : workers).map(({ worker, requests, connections, memory, restarts }) =>
    row(
      [worker, rateOf(requests, seconds), String(connections), (memory / 1e6).toFixed(0), restarts === null ? "-" : String(restarts)],
      columns,
      WORD,
    ),
  ),
});

/** Milliseconds for which a plug-in may keep everything else waiting without being shown in red. */
const LONG_HOLD = 100;

const pluginsOf: SectionOf = (_, { seconds, plugins }, screen) => {
  const { columns } = screen;
  return {
    title: (shown) => row([`PLUG-IN${shown}`, "CALLS/S", "FAILS/S", "AVG MS", "HELD UP MS"], columns, WORD),
    lines: plugins.map(({ plugin, calls, seconds: taken, failures, longestHold }) => {
      const average = calls === 0 ? "-" : ((1000 * taken) / calls).toFixed(2);
      const cells = [plugin, rateOf(calls, seconds), rateOf(failures, seconds), average, longestHold.toFixed(1)];
      return styled(row(cells, columns, WORD), failures > 0 || longestHold > LONG_HOLD ? RED : "", screen);
    }),
  };
};

const blocksOf: SectionOf = (now, _, { columns }) => ({
  title: (shown) => row([`BLOCKED${shown}`, "BY", "UNTIL"], columns, TIME),
  lines: now.blocks.latest.map(({ cidr, by, expiresAt }) =>
    row([cidr, by, expiresAt === null ? "it is lifted" : expiresAt.slice(0, 19).replace("T", " ")], columns, TIME),
  ),
});

const poolsOf: SectionOf = (now, _, screen) => {
  const { columns } = screen;
  const low = [...now.pools].sort((a, b) => Number(a.status === "ready") - Number(b.status === "ready") || a.remaining - b.remaining);
  return {
    title: (shown) => row([`POOL KEY${shown}`, "STATUS", "LEFT"], columns, WORD),
    lines: low.map(({ pool, key, status, remaining, unit }) =>
      styled(
        row([`${pool} ${key}`, status, unit === "usd" ? `$${remaining.toFixed(2)}` : String(remaining)], columns, WORD),
        status === "ready" ? "" : RED,
        screen,
      ),
    ),
  };
};

/** Gives the lines of sections, each with its title, in `rows` lines: the last sections are left out where there is no room. */
function laidOut(all: readonly Section[], rows: number, screen: Screen): string[] {
  let count = all.length;
  // A title without a line below it says nothing.
  while (count > 1 && rows - 2 * count < count) count--;
  const sections = all.slice(0, count);
  const room = shares(
    sections.map(({ lines }) => lines.length),
    rows - 2 * count,
  );
  return sections.flatMap(({ title, lines }, i) => {
    const shown = lines.slice(0, room[i]);
    return ["", styled(title(shown.length < lines.length ? ` (${shown.length} of ${lines.length})` : ""), BOLD, screen), ...shown];
  });
}

/** Shares `room` lines out, one at a time in turn, to those that want more still. */
function shares(wanted: readonly number[], room: number): number[] {
  const given = wanted.map(() => 0);
  for (let left = room; left > 0; ) {
    const before = left;
    for (const [i, want] of wanted.entries()) {
      if (left === 0 || (given[i] as number) >= want) continue;
      given[i] = (given[i] as number) + 1;
      left--;
    }
    if (left === before) break;
  }
  return given;
}

/** Characters of a cell with a figure, of one with a word, and of one with a time. */
const FIGURE = 8;
const WORD = 12;
const TIME = 21;
/** Characters of a name at most: further away its numbers can't be read beside it. */
const NAME = 60;
const MAX_WARNINGS = 3;

const more = (count: number): string => (count > 1 ? ` (and ${count - 1} more)` : "");

/**
 * Puts cells in a line: the first takes what the others leave, up to `max`; they stand right-aligned, and `note` behind them as far as
 * there is room.
 */
function row([first = "", ...others]: readonly string[], columns: number, cell = FIGURE, note: string | null = null, max = NAME): string {
  const width = Math.max(1, Math.min(max, columns - others.length * cell));
  const name = first.length > width ? `${first.slice(0, width - 1)}~` : first.padEnd(width);
  const line = name + others.map((each) => each.slice(0, cell - 1).padStart(cell)).join("");
  return `${line}${note === null ? "" : `  ${note}`}`.slice(0, columns);
}

const ends = (left: string, right: string, columns: number): string =>
  left.length + right.length < columns ? left.padEnd(columns - right.length) + right : left;

const nameOf = ({ upstream, target }: { readonly upstream: string; readonly target: string }): string =>
  upstream === target ? target : `${upstream} ${target}`;

const isWell = ({ breaker, healthy }: { readonly breaker: string; readonly healthy: boolean }): boolean => breaker === "closed" && healthy;

const styled = (line: string, code: string, { hasColour }: Screen): string => (hasColour ? `${code}${line}${PLAIN}` : line);

const rateOf = (count: number, seconds: number): string => figure(count / seconds);

const figure = (value: number): string => (value >= 1000 ? String(Math.round(value)) : value.toFixed(1));

function span(seconds: number): string {
  const [days, hours, minutes] = [Math.floor(seconds / 86_400), Math.floor(seconds / 3600) % 24, Math.floor(seconds / 60) % 60];
  if (days > 0) return `${days}d ${hours}h`;
  return hours > 0 ? `${hours}h ${minutes}m` : minutes > 0 ? `${minutes}m ${Math.floor(seconds) % 60}s` : `${Math.floor(seconds)}s`;
}

const emptyRoute = (buckets: number): RouteCounts => ({
  name: "",
  requests: 0,
  clientErrors: 0,
  serverErrors: 0,
  limited: 0,
  latency: new Array<number>(buckets).fill(0),
});

const combine = (a: RouteCounts, b: RouteCounts, sign: 1 | -1): RouteCounts => ({
  name: a.name,
  requests: a.requests + sign * b.requests,
  clientErrors: a.clientErrors + sign * b.clientErrors,
  serverErrors: a.serverErrors + sign * b.serverErrors,
  limited: a.limited + sign * b.limited,
  latency: a.latency.map((count, i) => count + sign * (b.latency[i] ?? 0)),
});
const sumOf = (a: RouteCounts, b: RouteCounts): RouteCounts => combine(a, b, 1);
const lessThan = (now: RouteCounts, before: RouteCounts | undefined): RouteCounts =>
  before === undefined ? now : combine(now, before, -1);

/**
 * Gives the latency that a share of the requests did not exceed, in milliseconds: linear within its bucket, as Prometheus'
 * histogram_quantile. `null` without requests.
 */
export function quantile(share: number, buckets: readonly number[], bounds: readonly number[]): number | null {
  const total = buckets.reduce((sum, count) => sum + count, 0);
  if (total === 0) return null;
  const rank = share * total;
  let below = 0;
  for (const [i, count] of buckets.entries()) {
    if (below + count >= rank && count > 0) {
      const low = i === 0 ? 0 : (bounds[i - 1] ?? 0);
      // Beyond the last bound there is no telling.
      const high = bounds[i] ?? low;
      return low + ((high - low) * (rank - below)) / count;
    }
    below += count;
  }
  return bounds.at(-1) ?? null;
}

const quantiles = ({ latency }: RouteCounts, bounds: readonly number[]): string[] =>
  [0.5, 0.95, 0.99].map((share) => {
    const value = quantile(share, latency, bounds);
    return value === null ? "-" : value.toFixed(1);
  });

function percentiles(route: RouteCounts, bounds: readonly number[]): string {
  const [p50, , p99] = quantiles(route, bounds);
  return `p50 ${p50} p99 ${p99} ms`;
}
