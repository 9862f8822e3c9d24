import { type Draft, durationOf, type Part } from "./draft.ts";
import { isGuard } from "./nginx-directives.ts";
import type { Directive } from "./nginx-syntax.ts";

/** Holds the zones that limits are counted in. */
export interface Zones {
  /** How a limit counts: a part of its `by`, and for requests how many in which window. */
  readonly limits: ReadonlyMap<string, Part>;
}

/** Holds what directives of one level, and of those around it, say about a route. */
export interface Settings {
  /** Fields of a route, each as the nearest level that says anything of it has it. */
  readonly route: Part;
  readonly requestSet: Readonly<Record<string, string>>;
  readonly requestRemove: readonly string[];
  readonly responseSet: Readonly<Record<string, string>>;
  readonly responseRemove: readonly string[];
  readonly limits: readonly Part[];
  readonly connectTimeout: string | null;
  readonly isCached: boolean;
  readonly ttl: string | null;
}

export const NO_SETTINGS: Settings = {
  ...{ route: {}, requestSet: {}, requestRemove: [], responseSet: {}, responseRemove: [], limits: [] },
  ...{ connectTimeout: null, isCached: false, ttl: null },
};

/** Fields of a request that Sluice sets by itself, whatever nginx was told to put there. */
const SET_ANYWAY =
  /^(x-forwarded-(for|proto|host|port|server|ssl)|x-real-ip|x-request-id|connection|upgrade|x-scheme|x-original-uri|x-forwarded-scheme)$/i;

/** Reads the directives of one level. What stands at it replaces what stands around it, kind by kind, as in nginx. */
export function settingsAt(directives: readonly Directive[], around: Settings, zones: Zones, draft: Draft): Settings {
  const route = { ...around.route };
  const given = (name: string): readonly Directive[] => directives.filter((directive) => directive.name === name);
  const last = (name: string): Directive | undefined => given(name).at(-1);
  const time = (name: string): string | null => timeOf(last(name)?.words[0]);

  const timeout = time("proxy_read_timeout") ?? time("grpc_read_timeout");
  if (timeout !== null) route.timeout = timeout;
  const size = last("client_max_body_size");
  if (size !== undefined) bodySize(size, route, draft);
  const gzip = last("gzip")?.words[0];
  if (gzip === "on") route.compress = {};
  if (gzip === "off") delete route.compress;
  const access = directives.filter(({ name }) => name === "allow" || name === "deny");
  if (access.length > 0) {
    const ips = ipsOf(access, draft);
    if (ips === null) delete route.ips;
    else route.ips = ips;
  }
  // Whom these kept out should not come in because they are not there.
  if (directives.some(isGuard)) route.auth = "required";
  const next = last("proxy_next_upstream");
  if (next?.words[0] === "off") route.retry = null;
  const tries = Number(last("proxy_next_upstream_tries")?.words[0] ?? 0);
  if (tries > 0) route.retry = { attempts: Math.min(10, tries) };

  const own = [...given("proxy_set_header"), ...given("grpc_set_header")];
  const request = own.length === 0 ? { set: around.requestSet, remove: around.requestRemove } : requestRules(own, route, draft);
  const added = given("add_header");
  const limited = directives.filter(({ name }) => name === "limit_req" || name === "limit_conn");
  const cache = last("proxy_cache")?.words[0];
  const valid = given("proxy_cache_valid").find(({ words }) => words.length === 1 || words.includes("200") || words[0] === "any");
  return {
    route,
    requestSet: request.set,
    requestRemove: request.remove,
    responseSet: added.length === 0 ? around.responseSet : responseRules(added, draft),
    responseRemove: [...around.responseRemove, ...given("proxy_hide_header").flatMap(({ words }) => words.slice(0, 1))],
    limits: limited.length === 0 ? around.limits : limited.flatMap((each) => limitOf(each, zones, draft)),
    connectTimeout: time("proxy_connect_timeout") ?? around.connectTimeout,
    isCached: cache === undefined ? around.isCached : cache !== "off",
    ttl: timeOf(valid?.words.at(-1)) ?? around.ttl,
  };
}

/** Gives the fields of a route that the settings make. `isForwarded`: a backend answers it. */
export function routeFields(settings: Settings, isForwarded: boolean): Part {
  const { timeout, retry, host, compress, maxBodySize, ...rest } = settings.route;
  const request = { ...filled("set", settings.requestSet), ...filled("remove", settings.requestRemove) };
  const response = { ...filled("set", settings.responseSet), ...filled("remove", settings.responseRemove) };
  const forwarding = {
    ...(timeout === undefined ? {} : { timeout }),
    ...(retry === undefined ? {} : { retry }),
    ...(host === undefined ? {} : { host }),
    ...(compress === undefined ? {} : { compress }),
    ...(maxBodySize === undefined ? {} : { maxBodySize }),
    ...(settings.isCached ? { cache: { ttl: settings.ttl } } : {}),
  };
  const headers = { ...(isForwarded ? filled("request", request) : {}), ...filled("response", response) };
  return {
    ...rest,
    ...(isForwarded ? forwarding : {}),
    ...(settings.limits.length === 0 ? {} : { limits: settings.limits }),
    ...filled("headers", headers),
  };
}

const filled = (name: string, value: object): Part => (Object.keys(value).length === 0 ? {} : { [name]: value });

/** Reads a time of nginx, such as 60s, 1m or 60; `null`: it is none, or none at all. */
export function timeOf(text: string | undefined): string | null {
  const units: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 };
  const parts = [...(text ?? "").matchAll(/(\d{1,9})(ms|[smhdw])?/g)];
  if (parts.length === 0 || parts.map(([whole]) => whole).join("") !== text) return null;
  const sum = parts.reduce((total, [, number, unit]) => total + Number(number) * (units[unit ?? "s"] ?? 0), 0);
  return sum === 0 ? null : durationOf(sum);
}

/** Reads a size of nginx, such as 8m; `null`: any size, or none that can be read. */
export function sizeOf(text: string): string | null {
  const [, number, unit] = /^(\d{1,9})([kmg])?$/i.exec(text) ?? [];
  if (number === undefined || Number(number) === 0) return null;
  return unit?.toLowerCase() === "g" ? `${Number(number) * 1024}mb` : `${number}${unit === undefined ? "b" : `${unit.toLowerCase()}b`}`;
}

function bodySize(directive: Directive, route: Part, draft: Draft): void {
  const text = directive.words[0] ?? "";
  const size = sizeOf(text);
  if (size !== null) route.maxBodySize = size;
  else {
    delete route.maxBodySize;
    draft.note(
      directive,
      `client_max_body_size ${text} is left out: every body has a bound here; set maxBodySize to the largest that is meant`,
    );
  }
}

/** An address that is no caller's. */
const NOBODY: readonly string[] = ["192.0.2.0/32"];

/** Tells whether settings keep some callers out. */
export const isGuarded = ({ route }: Settings): boolean => route.ips !== undefined || route.auth !== undefined;

/** Tells whether settings let nobody in. */
export const isForNobody = ({ route }: Settings): boolean => Bun.deepEquals((route.ips as Part | undefined)?.allow, NOBODY);

/** Reads a list in which the first match decides. Where deny beats allow, whatever their order, that lets in at most as many. */
function ipsOf(access: readonly Directive[], draft: Draft): Part | null {
  const isAll = ({ words }: Directive): boolean => words[0] === "all";
  const end = access.findIndex(isAll);
  const before = (end < 0 ? access : access.slice(0, end)).filter(({ words }) => words[0] !== "unix:");
  const named = (kind: string): string[] => [
    ...new Set(before.filter(({ name }) => name === kind).flatMap(({ words }) => words.slice(0, 1))),
  ];
  const isClosed = access[end]?.name === "deny";
  const [allow, deny] = [named("allow"), named("deny")];
  const firstAllow = before.findIndex(({ name }) => name === "allow");
  const exception = before.find(({ name }, i) => name === "deny" && firstAllow >= 0 && i > firstAllow);
  if (exception !== undefined) draft.note(exception, "here deny beats allow, whatever their order: look at the route's ips");
  if (!isClosed) return deny.length === 0 ? null : { deny };
  return { allow: allow.length === 0 ? NOBODY : allow, ...(deny.length === 0 ? {} : { deny }) };
}

function requestRules(directives: readonly Directive[], route: Part, draft: Draft): { set: Record<string, string>; remove: string[] } {
  const set: Record<string, string> = {};
  const remove: string[] = [];
  for (const directive of directives) {
    const [name = "", value = ""] = directive.words;
    const lower = name.toLowerCase();
    if (lower === "host" && /^\$(http_host|host)(:\$server_port)?$/.test(value)) route.host = "preserve";
    else if (lower === "host" && /^\$proxy_host$/.test(value)) route.host = "target";
    else if (SET_ANYWAY.test(name)) {
      if (lower === "x-real-ip") draft.note(directive, "X-Real-IP is left out: backends read the caller's address in X-Forwarded-For");
    } else if (value === "") remove.push(name);
    else if (value.includes("$")) draft.note(directive, `${name} is left out: ${value} is known for each request alone; write a plug-in`);
    else set[name] = value;
  }
  return { set, remove };
}

function responseRules(directives: readonly Directive[], draft: Draft): Record<string, string> {
  const set: Record<string, string> = {};
  for (const directive of directives) {
    const [name = "", value = ""] = directive.words;
    if (value.includes("$")) draft.note(directive, `${name} is left out: ${value} is known for each request alone; write a plug-in`);
    else if (value !== "") set[name] = value;
  }
  return set;
}

/** Reads limit_req_zone or limit_conn_zone: its name, and how limits in it count. */
export function zoneOf({ words, name, ...line }: Directive, draft: Draft): readonly [string, Part] | null {
  const [key = ""] = words;
  const zone = /^zone=([^:]+)/.exec(words.find((word) => word.startsWith("zone=")) ?? "")?.[1];
  if (zone === undefined) return null;
  const header = /^\$http_([a-z0-9_]+)$/.exec(key)?.[1];
  const by = /^\$(binary_)?remote_addr$/.test(key)
    ? "ip"
    : /^\$(server_name|host|http_host)$/.test(key)
      ? "global"
      : header !== undefined
        ? `header:${header.replaceAll("_", "-")}`
        : null;
  if (by === null) draft.note(line, `the zone ${zone} counts by ${key}, which is not known here: its limits count by address`);
  if (name === "limit_conn_zone") return [zone, { algorithm: "concurrency", by: by ?? "ip" }];
  const [, number, unit] = /^rate=(\d+)r\/([sm])$/.exec(words.find((word) => word.startsWith("rate=")) ?? "") ?? [];
  if (number === undefined) return null;
  return [zone, { algorithm: "gcra", limit: Number(number), window: unit === "m" ? "1m" : "1s", by: by ?? "ip" }];
}

function limitOf({ name, words, ...line }: Directive, { limits }: Zones, draft: Draft): Part[] {
  const zone =
    name === "limit_conn" ? (words[0] ?? "") : (/^zone=(.+)$/.exec(words.find((word) => word.startsWith("zone=")) ?? "")?.[1] ?? "");
  const known = limits.get(zone);
  if (known === undefined) {
    draft.note(line, `the limit is left out: there is no zone ${zone} here`);
    return [];
  }
  if (name === "limit_conn") return [{ ...known, limit: Math.max(1, Number(words[1]) || 1) }];
  const burst = Number(/^burst=(\d+)$/.exec(words.find((word) => word.startsWith("burst=")) ?? "")?.[1] ?? 0);
  if (burst > 0 && !words.includes("nodelay")) draft.note(line, "requests within the burst pass at once here: none is delayed");
  return [{ ...known, burst: burst + 1 }];
}
