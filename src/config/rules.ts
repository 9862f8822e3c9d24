import { HAND_OUT_PATH, matchOf } from "../http/path.ts";
import { limitFaults, quotaFaults } from "../limits/settings.ts";
import { type Fault, orNearest, type Path } from "../schema/faults.ts";
import { activitiesPathOf, shareFiles } from "../storage/files.ts";
import { isAllowEntry } from "../upstreams/allow.ts";
import { isCidr } from "../values/ip.ts";
import { declaredHash, isPlausible } from "../values/key-format.ts";
import { parseDuration, parseSize, parseTime } from "../values/units.ts";
import {
  type Config,
  type ConsumerConfig,
  declaredKey,
  type PoolConfig,
  type RouteConfig,
  type TierConfig,
  type UpstreamConfig,
} from "./schema.ts";

/** What a schema can't say of the values in a configuration: how they hang together. All functions give faults with paths below `at`. */

/** Names that routes and consumers may refer to. */
export interface Known {
  readonly tiers: ReadonlySet<string>;
  readonly upstreams: ReadonlySet<string>;
  readonly pools: ReadonlySet<string>;
  /** Where activities are posted; `null` while they are off. */
  readonly activities: string | null;
  /** True when the admin API has a listener of its own, so that its paths are free on the main port. */
  readonly hasAdminListener: boolean;
}

/** What the demo backend is offered as. */
export const DEMO_UPSTREAMS = ["demo", "demo-downstream"] as const;

const DAY = 86_400_000;
const YEAR = 366 * DAY;

export const tierFaults = (tier: TierConfig, at: Path = []): Fault[] => [
  ...limitFaults(tier.limits, [...at, "limits"]),
  ...quotaFaults(tier.quota, [...at, "quota"]),
];

export function upstreamFaults(upstream: UpstreamConfig, at: Path = []): Fault[] {
  const faults: Fault[] = upstream.targets.flatMap((target, i) => {
    const message = urlFault(target.url);
    return message === null ? [] : [{ path: [...at, "targets", i, "url"], message }];
  });
  faults.push(...timeFaults(upstream.connectTimeout, [...at, "connectTimeout"]));
  if (parseDuration(upstream.slowStart) > DAY) faults.push({ path: [...at, "slowStart"], message: "must be at most 24h" });
  for (const part of ["breaker", "healthCheck"] as const) {
    const times = part === "breaker" ? (["recoveryTimeout", "window"] as const) : (["interval", "timeout"] as const);
    for (const field of times) {
      const duration = (upstream[part] as Record<string, string | null> | null)?.[field];
      if (duration !== undefined && duration !== null) faults.push(...timeFaults(duration, [...at, part, field]));
    }
  }
  const urls = upstream.targets.map(({ url }) => url);
  for (const [i, url] of urls.entries())
    if (urls.indexOf(url) < i)
      faults.push({ path: [...at, "targets", i, "url"], message: "stands here twice: give the first one more weight" });
  return faults;
}

export function poolFaults(pool: PoolConfig, at: Path = []): Fault[] {
  const faults: Fault[] = [];
  const say = (path: Path, message: string) => faults.push({ path: [...at, ...path], message });
  for (const [i, { id, limit, window, budgets = [] }] of pool.keys.entries()) {
    if (pool.keys.findIndex((key) => key.id === id) < i) say(["keys", i, "id"], "stands here twice");
    if ((limit === undefined) !== (window === undefined))
      say(["keys", i, limit === undefined ? "limit" : "window"], "limit and window go together");
    if (limit === undefined && window === undefined && budgets.length === 0)
      say(["keys", i, "limit"], "a key needs a budget: limit and window, or budgets");
    if (window !== undefined) windowFault(window, ["keys", i, "window"], say);
    for (const [j, budget] of budgets.entries()) windowFault(budget.window, ["keys", i, "budgets", j, "window"], say);
  }
  return faults;
}

function windowFault(window: string, path: Path, say: (path: Path, message: string) => unknown): void {
  if (parseDuration(window) < 1 || parseDuration(window) > YEAR) say(path, "must be from 1ms to 366d");
}

export function routeFaults(route: RouteConfig, known: Known, at: Path = []): Fault[] {
  const faults = limitFaults(route.limits, [...at, "limits"]);
  const say = (path: Path, message: string) => faults.push({ path: [...at, ...path], message });
  const path = pathFault(route.path);
  if (path !== null) say(["path"], path);
  else if (isOwn(route.path, known)) say(["path"], "is served by Sluice itself, so that this route would never be reached");
  if (route.upstream.includes("://")) {
    const message = urlFault(route.upstream);
    if (message !== null) say(["upstream"], message);
  } else if (!known.upstreams.has(route.upstream)) say(["upstream"], noUpstream(route.upstream, known.upstreams));
  for (const [i, tier] of route.tiers.entries())
    if (!known.tiers.has(tier)) say(["tiers", i], `there is no tier ${JSON.stringify(tier)}${orNearest(tier, known.tiers)}`);
  if (route.auth === "none" && (route.tiers.length > 0 || route.scopes.length > 0))
    say(["auth"], 'tiers and scopes need a key: use "required" or "optional"');
  faults.push(...timeFaults(route.timeout, [...at, "timeout"]));
  if (route.cache !== null && route.cache.ttl !== null && parseDuration(route.cache.ttl) > YEAR)
    say(["cache", "ttl"], "must be at most 366d");
  if (route.cache?.shared && route.cache.perConsumer)
    say(["cache", "perConsumer"], "and shared contradict each other: one copy for each consumer, or one for all");
  if (route.retry !== null) {
    for (const field of ["baseDelay", "maxDelay"] as const)
      if (parseDuration(route.retry[field]) > DAY) say(["retry", field], "must be at most 24h");
    if (route.retry.attemptTimeout !== null) faults.push(...timeFaults(route.retry.attemptTimeout, [...at, "retry", "attemptTimeout"]));
  }
  if (route.credential !== null) {
    const { pool, header, value } = route.credential;
    if (!known.pools.has(pool)) say(["credential", "pool"], `there is no pool ${JSON.stringify(pool)}${orNearest(pool, known.pools)}`);
    if (isSluices(header, "request") || header.toLowerCase() === "host") say(["credential", "header"], "is Sluice's own to set");
    if (value !== undefined && value.split("{key}").length !== 2) say(["credential", "value"], 'must hold "{key}" once');
  }
  if (route.cors?.credentials && route.cors.origins.includes("*"))
    say(["cors", "origins"], 'with credentials name the origins: browsers refuse "*"');
  for (const direction of ["request", "response"] as const) {
    const { set, remove } = route.headers[direction];
    for (const name of Object.keys(set)) if (isSluices(name, direction)) say(["headers", direction, "set", name], "is Sluice's own to set");
    for (const [i, name] of remove.entries()) if (isSluices(name, direction)) say(["headers", direction, "remove", i], "is Sluice's own");
  }
  return faults;
}

/** Whether a route's path is the one where keys of pools are handed out. */
export const isHandOut = (path: string): boolean => trimmed(matchOf(path)) === HAND_OUT_PATH;

/** Paths that never come to the routes. */
function isOwn(written: string, known: Known): boolean {
  // However it is written: routes are matched by what it means.
  const path = matchOf(written);
  if (known.pools.size > 0 && isHandOut(written)) return true;
  if (/^\/(_?health|ready|_?metrics)\/?$/.test(path)) return true;
  if (known.activities !== null && trimmed(path) === trimmed(matchOf(known.activities))) return true;
  return !known.hasAdminListener && /^\/(admin|swagger)(\/|$)/.test(path);
}

/** Fields that frame a message, belong to one hop, or say who calls: rules can't touch them. A request's Host may be set. */
function isSluices(name: string, direction: "request" | "response"): boolean {
  // Some backends read _ as -.
  const lower = name.toLowerCase().replaceAll("_", "-");
  if (direction === "request" && /^x-(forwarded-(for|proto|host)|consumer-(id|tier)|request-id)$/.test(lower)) return true;
  return /^(connection|content-length|transfer-encoding|keep-alive|upgrade|te|trailer|proxy-connection|x-request-id|x-process-time)$/.test(
    lower,
  );
}

export function consumerFaults(consumer: Pick<ConsumerConfig, "tier" | "limits" | "quota">, known: Known, at: Path = []): Fault[] {
  const faults = [...limitFaults(consumer.limits ?? [], [...at, "limits"]), ...quotaFaults(consumer.quota, [...at, "quota"])];
  if (!known.tiers.has(consumer.tier))
    faults.push({
      path: [...at, "tier"],
      message: `there is no tier ${JSON.stringify(consumer.tier)}${orNearest(consumer.tier, known.tiers)}`,
    });
  return faults;
}

/** All that is wrong with a configuration whose fields are each of the right kind. `also`: names that may be referred to besides those in it. */
export function crossFaults(config: Config, also: Partial<Pick<Known, "tiers" | "upstreams" | "pools">> = {}): Fault[] {
  const known: Known = {
    tiers: new Set([...Object.keys(config.tiers), ...(also.tiers ?? [])]),
    upstreams: new Set([...Object.keys(config.upstreams), ...(config.demo ? DEMO_UPSTREAMS : []), ...(also.upstreams ?? [])]),
    pools: new Set([...Object.keys(config.pools), ...(also.pools ?? [])]),
    activities: config.activities?.endpoint ?? null,
    hasAdminListener: config.admin.listen !== null,
  };
  const faults: Fault[] = [...serverFaults(config)];
  if (!known.tiers.has(config.anonymousTier))
    faults.push({
      path: ["anonymousTier"],
      message: `there is no tier ${JSON.stringify(config.anonymousTier)}${orNearest(config.anonymousTier, known.tiers)}`,
    });
  for (const [name, tier] of Object.entries(config.tiers)) faults.push(...tierFaults(tier, ["tiers", name]));
  for (const [name, upstream] of Object.entries(config.upstreams)) faults.push(...upstreamFaults(upstream, ["upstreams", name]));
  for (const name of config.demo ? DEMO_UPSTREAMS : [])
    if (Object.hasOwn(config.upstreams, name))
      faults.push({ path: ["upstreams", name], message: 'with "demo": true this name is taken by the demo backend' });
  for (const [name, pool] of Object.entries(config.pools)) faults.push(...poolFaults(pool, ["pools", name]));
  for (const [i, route] of config.routes.entries()) faults.push(...routeFaults(route, known, ["routes", i]));
  for (const [i, name] of config.ready.upstreams.entries())
    if (!known.upstreams.has(name))
      faults.push({ path: ["ready", "upstreams", i], message: `there is no upstream ${JSON.stringify(name)} in this file` });
  faults.push(...sameRoutes(config.routes).map((fault) => ({ ...fault, path: ["routes", ...fault.path] })));
  faults.push(...activitiesFaults(config, known));
  faults.push(...keyFaults(config));
  const { otlp } = config.telemetry;
  if (otlp !== null && !URL.canParse(otlp.endpoint))
    faults.push({ path: ["telemetry", "otlp", "endpoint"], message: `is no URL that can be called, got ${JSON.stringify(otlp.endpoint)}` });
  if (otlp !== null && parseDuration(otlp.timeout) < 100)
    faults.push({ path: ["telemetry", "otlp", "timeout"], message: "must be at least 100ms" });
  const ids = new Map<string, number>();
  for (const [i, consumer] of config.consumers.entries()) {
    faults.push(...consumerFaults(consumer, known, ["consumers", i]));
    if (ids.has(consumer.id))
      faults.push({ path: ["consumers", i, "id"], message: `is the id of consumers[${ids.get(consumer.id)}] already` });
    ids.set(consumer.id, i);
  }
  return faults;
}

function activitiesFaults({ activities, storage }: Config, known: Known): Fault[] {
  if (activities === null) return [];
  const faults = limitFaults(activities.limits, ["activities", "limits"]);
  const say = (path: Path, message: string) => faults.push({ path: ["activities", ...path], message });
  const { endpoint, auth, tiers, scopes } = activities;
  if (shareFiles(activitiesPathOf(activities.path, storage.path), storage.path))
    say(
      activities.path === null ? [] : ["path"],
      "leads to the gateway's own database, where whoever may send activities could make themselves admin: name another file by activities.path",
    );
  const wrong = pathFault(endpoint);
  if (wrong !== null) say(["endpoint"], wrong);
  else if (isOwn(endpoint, { ...known, activities: null })) say(["endpoint"], "is served by another part of Sluice");
  for (const [i, tier] of tiers.entries())
    if (!known.tiers.has(tier)) say(["tiers", i], `there is no tier ${JSON.stringify(tier)}${orNearest(tier, known.tiers)}`);
  if (auth === "none" && (tiers.length > 0 || scopes.length > 0))
    say(["auth"], 'tiers and scopes need a key: use "required" or "optional"');
  for (const field of ["baseDelay", "maxDelay"] as const) faults.push(...timeFaults(activities[field], ["activities", field]));
  if (activities.keepFor !== null && parseDuration(activities.keepFor) < 60_000) say(["keepFor"], "must be at least 1m");
  return faults;
}

const trimmed = (path: string): string => path.replace(/\/$/, "");

function serverFaults({ server, admin, guard, audit, usage, health, backup }: Config): Fault[] {
  const faults: Fault[] = server.trustedProxies.flatMap((entry, i) =>
    isCidr(entry)
      ? []
      : [
          {
            path: ["server", "trustedProxies", i],
            message: `must be an address or a block such as "10.0.0.0/8", got ${JSON.stringify(entry)}`,
          },
        ],
  );
  for (const [i, entry] of (guard?.allow ?? []).entries())
    if (!isCidr(entry))
      faults.push({
        path: ["guard", "allow", i],
        message: `must be an address or a block such as "10.0.0.0/8", got ${JSON.stringify(entry)}`,
      });
  for (const field of ["window", "blockFor"] as const)
    if (guard !== null && (parseDuration(guard[field]) < 1000 || parseDuration(guard[field]) > YEAR))
      faults.push({ path: ["guard", field], message: "must be from 1s to 366d" });
  if (parseDuration(usage.keepFor) < DAY) faults.push({ path: ["usage", "keepFor"], message: "must be at least 1d" });
  if (backup !== null && (parseDuration(backup.every) < 60_000 || parseDuration(backup.every) > YEAR))
    faults.push({ path: ["backup", "every"], message: "must be from 1m to 366d" });
  const { auto } = health;
  if (auto !== null && auto.eventLoopLag === null && auto.errorRate === null && auto.latency === null)
    faults.push({ path: ["health", "auto"], message: "needs at least one of eventLoopLag, errorRate and latency" });
  if (audit.keepFor !== null && parseDuration(audit.keepFor) < DAY)
    faults.push({ path: ["audit", "keepFor"], message: "must be at least 1d: the record is for questions that come later" });
  for (const [i, entry] of (admin.upstreamAllow ?? []).entries())
    if (!isAllowEntry(entry))
      faults.push({
        path: ["admin", "upstreamAllow", i],
        message: `must be a host, "*.example.com" or a block of addresses, got ${JSON.stringify(entry)}`,
      });
  const headers = parseSize(server.maxHeaderSize);
  if (headers < 1024 || headers > 1024 ** 2) faults.push({ path: ["server", "maxHeaderSize"], message: "must be from 1kb to 1mb" });
  return faults;
}

/** Routes of one name, and routes that take the same requests: the later one is the fault. Paths begin with its position. */
export function sameRoutes(routes: readonly RouteConfig[]): Fault[] {
  const faults: Fault[] = [];
  for (const [i, route] of routes.entries()) {
    for (const [j, other] of routes.slice(0, i).entries()) {
      if ((route.name ?? route.path) === (other.name ?? other.path)) {
        if (route.name !== undefined || !overlap(route, other))
          faults.push({
            path: [i, route.name === undefined ? "path" : "name"],
            message: `is the name of routes[${j}] already; give it another`,
          });
      }
      if (overlap(route, other))
        faults.push({ path: [i, "path"], message: `routes[${j}] takes this path already, with a host and a method in common` });
    }
  }
  return faults;
}

export function overlap(a: RouteConfig, b: RouteConfig): boolean {
  const common = (left: readonly string[], right: readonly string[]) =>
    left.length === 0 || right.length === 0 ? left.length === right.length : left.some((each) => right.includes(each));
  const methods = a.methods.length === 0 || b.methods.length === 0 || a.methods.some((method) => b.methods.includes(method));
  return trimmed(matchOf(a.path)) === trimmed(matchOf(b.path)) && methods && common(a.hosts, b.hosts);
}

/** Names that a key may be bound to besides the routes': what Sluice itself serves. */
const OWN_ROUTES = ["activities", "api-key"] as const;

/** What is wrong with declared keys. A key in two places would make it uncertain who calls. The key itself is not shown. */
function keyFaults({ consumers, routes }: Config): Fault[] {
  const faults: Fault[] = [];
  const seen = new Map<string, string>();
  const names = new Set([...routes.map((route) => route.name ?? route.path), ...OWN_ROUTES]);
  for (const [i, consumer] of consumers.entries()) {
    for (const [j, given] of consumer.keys.entries()) {
      const { key, routes: allowed = [], ips = [], expiresAt, limits = [] } = declaredKey(given);
      const at = ["consumers", i, "keys", j];
      const say = (path: Path, message: string) => faults.push({ path: [...at, ...path], message });
      const place = typeof given === "string" ? [] : ["key"];
      if (key.startsWith("sha256:") && !/^sha256:[0-9a-f]{64}$/.test(key))
        say(place, "a hash has 64 hexadecimal digits in small letters behind sha256:");
      else if (!isPlausible(key)) say(place, "reads like a key that Sluice made, but its checksum is wrong: it is mistyped or cut off");
      // A key and its hash are one key.
      const hash = declaredHash(key);
      const before = seen.get(hash);
      if (before !== undefined) say(place, `is the same key as ${before}`);
      else seen.set(hash, `consumers[${i}].keys[${j}]`);
      for (const [k, name] of allowed.entries())
        if (!names.has(name)) say(["routes", k], `there is no route ${JSON.stringify(name)}${orNearest(name, names)}`);
      for (const [k, ip] of ips.entries())
        if (!isCidr(ip)) say(["ips", k], `must be an address or a block such as "10.0.0.0/8", got ${JSON.stringify(ip)}`);
      if (expiresAt !== undefined && parseTime(expiresAt) === null)
        say(["expiresAt"], `must be an RFC 3339 time such as "2027-01-31T00:00:00Z", got ${JSON.stringify(expiresAt)}`);
      faults.push(...limitFaults(limits, [...at, "limits"]));
    }
  }
  return faults;
}

function timeFaults(duration: string, path: Path): Fault[] {
  const milliseconds = parseDuration(duration);
  return milliseconds < 1 || milliseconds > DAY ? [{ path, message: "must be from 1ms to 24h" }] : [];
}

function pathFault(path: string): string | null {
  if (!path.startsWith("/")) return 'must begin with "/"';
  if (!/^[\x21-\x7e]+$/.test(path)) return "must be printable ASCII without spaces; encode other characters with %";
  if (/[?#]/.test(path)) return 'must not hold "?" or "#": a route takes a path';
  if (/%(?:2f|5c|00)|\\/i.test(path)) return "must not hold an encoded slash, a backslash or a NUL";
  const pattern = /[*{}]|\/:/.exec(path);
  if (pattern !== null) {
    const prefix = trimmed(path.slice(0, pattern.index)) || "/";
    return `a path is a prefix: write ${JSON.stringify(prefix)}, which takes all paths below it as well`;
  }
  if (path.includes(";")) return 'must not hold ";": routes are matched without the parameters of a path';
  if (path.includes("//")) return 'must not hold "//"';
  if (/\/\.{1,2}(?:\/|$)/.test(path)) return 'must not hold "." or ".." segments';
  return null;
}

/** An upstream that is no name: near to one, or an address without a scheme. */
function noUpstream(upstream: string, known: ReadonlySet<string>): string {
  const hint = orNearest(upstream, known);
  const url =
    hint === "" && ADDRESS.test(upstream) ? `; a URL begins with http:// or https://: write ${JSON.stringify(`http://${upstream}`)}` : "";
  return `there is no upstream ${JSON.stringify(upstream)}${hint}${url}`;
}

/** A host with a port or a dot in it, with or without a path: what people write who leave the scheme out. */
const ADDRESS =
  /^(?:[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*:\d{1,5}|\[[0-9a-fA-F:.]+\](?::\d{1,5})?|[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)+|localhost)(?:\/\S*)?$/;

function urlFault(text: string): string | null {
  if (ADDRESS.test(text)) return `must be a URL, which begins with http:// or https://: write ${JSON.stringify(`http://${text}`)}`;
  const url = URL.parse(text);
  if (url === null || (url.protocol !== "http:" && url.protocol !== "https:")) return 'must be a URL such as "http://users-1:8001"';
  if (url.username !== "" || url.password !== "") return "must not hold a user name or password";
  if (text.includes("?") || text.includes("#")) return 'must not hold "?" or "#"';
  return null;
}
