import { type Draft, durationOf, type Part } from "./draft.ts";
import type { Line, Place } from "./source.ts";

/** Gathers what plug-ins of Kong say about a route. */
export interface Rules {
  /** Fields of the route. */
  readonly route: Part;
  readonly limits: Part[];
}

export const noRules = (): Rules => ({ route: {}, limits: [] });

type Carry = (config: Place, rules: Rules, draft: Draft, at: Line) => void;

/** The windows of rate-limiting, and how Sluice writes them. */
const WINDOWS: Readonly<Record<string, string>> = { second: "1s", minute: "1m", hour: "1h", day: "1d", month: "30d", year: "365d" };

const SUBJECTS: Readonly<Record<string, string>> = { consumer: "consumer", credential: "key", ip: "ip", service: "global", path: "route" };

/** Plug-ins that have a counterpart among a route's fields. */
const CARRIED: Readonly<Record<string, Carry>> = {
  "key-auth": (config, { route }, draft, at) => {
    // Of several that ask, the strictest decides.
    if (config.at("anonymous").isThere) route.auth ??= "optional";
    else route.auth = "required";
    const [header = "apikey", ...more] = config.at("key_names").texts;
    keyIn(header, config, draft, at);
    for (const name of more) draft.note(at, `key_names: keys are looked for in one header; ${name} is not among identity.header`);
  },
  "rate-limiting": (config, { limits }, draft, at) => {
    for (const [field, window] of Object.entries(WINDOWS)) {
      const limit = config.at(field).number;
      if (limit !== null)
        limits.push({ algorithm: "fixed-window", limit: Math.max(1, Math.floor(limit)), window, ...subject(config, draft, at) });
      if (limit !== null && (field === "month" || field === "year"))
        draft.note(config.at(field), `${field} is carried over as a window of ${window}: for a period of the calendar give tiers a quota`);
    }
  },
  "rate-limiting-advanced": (config, { limits }, draft, at) => {
    const windows = config.at("window_size").items;
    for (const [i, each] of config.at("limit").items.entries()) {
      const [limit, seconds] = [each.number, windows[i]?.number ?? null];
      if (limit === null || seconds === null) continue;
      const algorithm = config.at("window_type").text === "fixed" ? "fixed-window" : "sliding-window";
      limits.push({ algorithm, limit: Math.max(1, limit), window: durationOf(seconds * 1000), ...subject(config, draft, at) });
    }
  },
  cors: (config, { route }, draft, at) => {
    const origins = config.at("origins").texts;
    const plain = origins.filter((origin) => /^(\*|null|[a-z][a-z0-9+.-]*:\/\/[^/\s]+)$/.test(origin));
    for (const origin of origins)
      if (!plain.includes(origin))
        draft.note(config.at("origins"), `the origin ${origin} is a pattern: name each origin in the route's cors`);
    if (origins.length > 0 && plain.length === 0) return;
    const age = config.at("max_age").number;
    const credentials = config.at("credentials").flag === true;
    if (credentials && (plain.includes("*") || plain.length === 0))
      draft.note(at, "cors allows every origin with credentials: name the origins in the route's cors, browsers refuse *");
    else
      route.cors = {
        origins: plain.length === 0 ? ["*"] : plain,
        ...(credentials ? { credentials } : {}),
        ...(age === null ? {} : { maxAge: durationOf(age * 1000) }),
      };
  },
  "ip-restriction": (config, { route }) => {
    const [allow, deny] = [
      [...config.at("allow").texts, ...config.at("whitelist").texts],
      [...config.at("deny").texts, ...config.at("blacklist").texts],
    ];
    if (allow.length + deny.length > 0) route.ips = { ...(allow.length > 0 ? { allow } : {}), ...(deny.length > 0 ? { deny } : {}) };
  },
  "request-size-limiting": (config, { route }) => {
    const units: Readonly<Record<string, string>> = { bytes: "b", kilobytes: "kb", megabytes: "mb" };
    route.maxBodySize = `${config.at("allowed_payload_size").number ?? 128}${units[config.at("size_unit").text ?? "megabytes"] ?? "mb"}`;
  },
  "request-transformer": (config, { route }, draft) => transform("request", config, route, draft),
  "response-transformer": (config, { route }, draft) => transform("response", config, route, draft),
  "proxy-cache": (config, { route }, draft, at) => {
    const headers = config.at("vary_headers").texts;
    const query = config.at("vary_query_params");
    route.cache = {
      ttl: durationOf((config.at("cache_ttl").number ?? 300) * 1000),
      ...(headers.length > 0 || query.isThere
        ? { key: { ...(headers.length > 0 ? { headers } : {}), ...(query.isThere ? { query: query.texts } : {}) } }
        : {}),
    };
    if (config.at("strategy").text === "redis") draft.note(at, "proxy-cache keeps answers in memory here, each instance its own");
  },
  "request-termination": (config, { route }, draft, at) => {
    if (config.at("trigger").isThere) {
      draft.note(at, "request-termination with a trigger is left out: what is decided for each request is written as a plug-in");
      return;
    }
    const status = config.at("status_code").number ?? 503;
    const [message, body, type] = [config.at("message").text, config.at("body").text, config.at("content_type").text];
    route.respond = {
      status,
      ...(type === null ? {} : { headers: { "Content-Type": type } }),
      body: body ?? { message: message ?? "Service unavailable" },
    };
  },
  redirect: (config, { route }, draft, at) => {
    const keeps = config.at("keep_incoming_path").flag === true;
    const location = (config.at("location").text ?? "/").replace(/[{}]/g, (brace) => (brace === "{" ? "%7B" : "%7D"));
    const host = /^(?:[a-z][a-z0-9+.-]*:)?\/\/[^/?#]+/i.exec(location)?.[0];
    if (keeps && host === undefined)
      draft.note(
        at,
        `keep_incoming_path is left out: with the place ${location}, which names no host, it leads back to where callers come from`,
      );
    const to = keeps && host !== undefined ? `${host}{path}{query}` : location;
    route.respond = { status: config.at("status_code").number ?? 301, headers: { Location: to } };
  },
};

/** What to do about plug-ins that have no counterpart among a route's fields. */
const INSTEAD: Readonly<Record<string, string>> = {
  jwt: "tokens are taken from issuers: declare yours in issuers, and name it in the route's issuers",
  "openid-connect": "tokens are taken from issuers: declare yours in issuers, and name it in the route's issuers",
  oauth2: "Sluice takes tokens and makes none: declare your provider in issuers",
  "oauth2-introspection": "declare an issuer with introspection",
  "basic-auth": 'a key may stand in a password: "identity": { "basic": true }, and give consumers keys',
  "hmac-auth": "there is no such thing: give these consumers keys, or client certificates",
  "ldap-auth": "there is no such thing: ask a service of yours by the route's authorize",
  "mtls-auth": "set server.tls.clientCertificates",
  acl: "give keys scopes, and name them in the route's scopes; or name tiers in the route's tiers",
  opa: "ask it by the route's authorize",
  session: "there is no such thing: ask a service of yours by the route's authorize",
  prometheus: "there is nothing to do: /metrics is always there",
  "correlation-id": "there is nothing to do: X-Request-ID is always there",
  "file-log": "there is nothing to do: the log has a line for each request (logging.accessLog)",
  "http-log": "read the log (logging), /admin/events, or write a plug-in with the hook ended",
  "tcp-log": "read the log (logging), or write a plug-in with the hook ended",
  "udp-log": "read the log (logging), or write a plug-in with the hook ended",
  syslog: "read the log (logging), or write a plug-in with the hook ended",
  statsd: "scrape /metrics",
  datadog: "scrape /metrics, or set telemetry.otlp",
  zipkin: "set telemetry.otlp",
  opentelemetry: "set telemetry.otlp",
  "bot-detection": "write a plug-in with the hook request",
  "pre-function": "write it anew as a plug-in in TypeScript",
  "post-function": "write it anew as a plug-in in TypeScript",
  "grpc-web": 'there is nothing to do with "protocol": "grpc" on the upstream',
  "ai-proxy": "give the route a credential of a pool",
};

/** Plug-ins that keep nobody out. Without any other one a route asks for a key: nobody knows whom that kept out. */
const OPEN =
  /^(.*-log|loggly|syslog|statsd.*|datadog|prometheus|zipkin|opentelemetry|correlation-id|grpc-(web|gateway)|ai-(proxy|.*-transformer|.*-decorator|.*-template|.*-cache).*|acme|proxy-cache-advanced|graphql-(proxy-cache|rate-limiting)-advanced|(request|response|route|exit)-transformer-advanced|exit-transformer|jq|degraphql|response-ratelimiting|service-protection|upstream-timeout|route-by-header|canary|mocking|tls-metadata-headers|(kafka|confluent)-upstream|aws-lambda|azure-functions|forward-proxy|redis-log)$/;

/** Carries a plug-in over to the rules of those it is for, or notes what to do about it. */
export function carryPlugin(plugin: Place, rules: Rules, draft: Draft): void {
  const name = plugin.at("name").text;
  if (name === null || plugin.at("enabled").flag === false) return;
  const config = plugin.at("config");
  const known = name === "key-auth-enc" ? "key-auth" : name;
  const carry = Object.hasOwn(CARRIED, known) ? CARRIED[known] : undefined;
  const at = plugin.at("name");
  if (carry !== undefined) carry(config, rules, draft, at);
  else {
    // Whom it kept out should not come in because it is not there.
    if (!OPEN.test(name)) rules.route.auth = "required";
    draft.note(
      at,
      `the plug-in ${name} is left out: ${(Object.hasOwn(INSTEAD, name) ? INSTEAD[name] : undefined) ?? "write it anew as a plug-in in TypeScript"}`,
    );
  }
  if (plugin.at("ordering").isThere) draft.note(plugin.at("ordering"), "plug-ins have a fixed order here");
}

/** Says where keys are, which is one place for all routes. */
function keyIn(header: string, config: Place, draft: Draft, at: Line): void {
  const before = draft.identity.header;
  if (before !== undefined && before !== header) {
    draft.note(at, `keys are looked for in ${before} everywhere: ${header} is not among identity.header`);
    return;
  }
  draft.identity.header = header;
  if (config.at("key_in_query").flag !== false) draft.identity.query = header;
  if (config.at("key_in_body").flag === true)
    draft.note(config.at("key_in_body"), "a key in a body is not looked for: let callers send it as a header");
}

function subject(config: Place, draft: Draft, at: Line): Part {
  const by = config.at("limit_by").text ?? config.at("identifier").text ?? "consumer";
  if (by === "consumer") return {};
  const header = config.at("header_name").text;
  if (by === "header" && header !== null) return { by: `header:${header}` };
  const known = Object.hasOwn(SUBJECTS, by) ? SUBJECTS[by] : undefined;
  if (known === undefined) draft.note(at, `limit_by: ${by} is not known here: the limit counts by consumer`);
  return known === undefined ? {} : { by: known };
}

function transform(direction: "request" | "response", config: Place, route: Part, draft: Draft): void {
  const rules = { set: {} as Record<string, string>, remove: [] as string[] };
  for (const kind of ["add", "replace", "append"]) {
    for (const each of config.at(kind, "headers").items) {
      const [, name, value] = /^([^:]+):(.*)$/s.exec(each.text ?? "") ?? [];
      if (name === undefined || value === undefined) continue;
      if (/\$\(/.test(value)) draft.note(each, `${name} is left out: its value is a template; write a plug-in`);
      else rules.set[name.trim()] = value.trim();
      if (kind === "append") draft.note(each, `${name} is set here, in place of what was there`);
    }
  }
  rules.remove.push(...config.at("remove", "headers").texts.filter((name) => !/\$\(/.test(name)));
  for (const [kind, parts] of config.fields)
    for (const [part, value] of parts.fields)
      if ((part !== "headers" || kind === "rename") && value.texts.length > 0)
        draft.note(value, `${kind}.${part} is left out: headers can be set and removed; for the rest write a plug-in`);
  if (config.at("http_method").text !== null) draft.note(config.at("http_method"), "http_method is left out: write a plug-in");
  const headers = { ...((route.headers as Part | undefined) ?? {}) };
  const isEmpty = Object.keys(rules.set).length === 0 && rules.remove.length === 0;
  if (isEmpty) return;
  route.headers = {
    ...headers,
    [direction]: {
      ...(Object.keys(rules.set).length > 0 ? { set: rules.set } : {}),
      ...(rules.remove.length > 0 ? { remove: rules.remove } : {}),
    },
  };
}
