import { type Static, Type } from "@sinclair/typebox";
import type { Section } from "../config/section.ts";
import { GRPC_STATUSES } from "../grpc/status.ts";
import { type Fault, orNearest, type Path } from "../schema/faults.ts";
import { Duration, filledIn, IDENTIFIER, Shape } from "../schema/fields.ts";
import { DAY, timeFaults } from "../schema/rules.ts";
import { parseDuration } from "../values/units.ts";
import { OwnTlsConfig, ownTlsFaults } from "./own-tls.ts";
import { isAddress, unixFault } from "./unix-target.ts";

/** The statuses of gRPC that a configuration may name as failures: all but OK. */
const GRPC_FAILURES = `grpc:(?:${GRPC_STATUSES.slice(1).join("|")})`;

export const TargetConfig = Shape(
  {
    url: Type.String({
      description:
        "Where it is: http or https, with a base path if need be, or a Unix socket such as unix:/run/app.sock, with its base path behind another colon (unix:/run/app.sock:/v1).",
      examples: ["http://users-1:8001"],
      maxLength: 2048,
    }),
    weight: Type.Integer({ minimum: 1, maximum: 1000, default: 1, description: "Its share of the requests beside the others'." }),
  },
  "One backend address.",
);

export const BreakerConfig = Shape(
  {
    failureThreshold: Type.Integer({
      minimum: 1,
      maximum: 1e6,
      default: 5,
      description: "Failures in a row that open it; which outcomes are failures, failures says.",
    }),
    recoveryTimeout: Type.Union([Duration("A fixed time."), Type.Null()], {
      default: null,
      description:
        "How long it stays open before one request is let through as a probe. null: 1 s, doubled with each failed probe up to 60 s, so that a short outage stays short. A passing health check ends it at once, and where no target of the upstream is left, the one open longest gets a probe each second.",
      expects: 'a duration such as "60s", or null',
    }),
    successThreshold: Type.Integer({ minimum: 1, maximum: 1000, default: 3, description: "Successful probes in a row that close it." }),
    failureRatio: Type.Union([Type.Number({ exclusiveMinimum: 0, maximum: 1 }), Type.Null()], {
      default: null,
      description: "The share of failed requests within the window that opens it as well; null: only failures in a row count.",
      expects: "a number above 0 up to 1, or null",
    }),
    window: Duration("The span over which failureRatio is taken.", { default: "10s" }),
    minimumRequests: Type.Integer({
      minimum: 1,
      maximum: 1e6,
      default: 20,
      description: "Requests within the window below which failureRatio says nothing.",
    }),
    failures: Type.Array(
      Type.String({
        pattern: `^(connect|timeout|reset|[45][0-9][0-9]|[45]xx|${GRPC_FAILURES})$`,
        expects: '"connect", "timeout", "reset", a status such as "503", "5xx", or a status of gRPC such as "grpc:UNAVAILABLE"',
      }),
      {
        minItems: 1,
        maxItems: 64,
        default: ["connect", "timeout", "reset", "502", "503", "504", "grpc:UNAVAILABLE"],
        description:
          'Which outcomes count as failures: no connection, no answer in time, a connection that broke or did not speak HTTP, and statuses, those of gRPC calls as grpc:NAME. By default what says that the backend is ill; 500 and 501, which one request can cause by itself, count only where they are named ("500", "5xx").',
      },
    ),
  },
  "A circuit breaker for each target.",
);

export const HealthCheckConfig = Shape(
  {
    path: Type.String({
      pattern: "^/[!-~]*$",
      maxLength: 1024,
      default: "/health",
      description: "What is asked for, below the target's URL. Any status from 200 to 399 is good.",
      expects: 'a path such as "/health"',
    }),
    interval: Duration("How often.", { default: "5s" }),
    timeout: Duration("How long an answer may take.", { default: "1s" }),
    unhealthyAfter: Type.Integer({
      minimum: 1,
      maximum: 100,
      default: 3,
      description: "Bad answers in a row that take the target out of use.",
    }),
    healthyAfter: Type.Integer({ minimum: 1, maximum: 100, default: 2, description: "Good answers in a row that bring it back." }),
    service: Type.String({
      maxLength: 256,
      pattern: "^[A-Za-z0-9_.]*$",
      default: "",
      description:
        'The service that a target with "protocol": "grpc" is asked about by grpc.health.v1, in the path\'s place; "": the whole server.',
      examples: ["shop.v1.Orders"],
      expects: 'a service\'s full name such as "shop.v1.Orders", or ""',
    }),
  },
  "Asks each target whether it is well.",
);

export const UpstreamConfig = Shape(
  {
    targets: Type.Array(TargetConfig, { minItems: 1, maxItems: 256, description: "The backend's addresses." }),
    tls: Type.Union([OwnTlsConfig, Type.Null()], {
      default: null,
      description:
        "How https targets are checked, and what this gateway shows them, health checks included; null: by the system's authorities and the name in the URL, without a certificate.",
    }),
    protocol: Type.Union([Type.Literal("http/1.1"), Type.Literal("h2"), Type.Literal("h2c"), Type.Literal("grpc")], {
      default: "http/1.1",
      description:
        "What the targets speak. h2: HTTP/2 over TLS. h2c: HTTP/2 without TLS, begun without asking. grpc: gRPC, over TLS where a target is https; browsers' gRPC-Web is translated. WebSockets go by HTTP/1.1 in any case.",
    }),
    balance: Type.Union([Type.Literal("round-robin"), Type.Literal("least-requests"), Type.Literal("consistent-hash")], {
      default: "round-robin",
      description:
        "How a target is chosen. round-robin: each in turn, by weight. least-requests: the one with the fewest under way. consistent-hash: the same one for the same caller.",
    }),
    hashOn: Type.Union(
      [Type.String({ pattern: "^(key|ip|header:[!#$%&'*+.^_`|~0-9A-Za-z-]+)$", expects: '"key", "ip" or "header:NAME"' }), Type.Null()],
      {
        default: null,
        description:
          "What consistent-hash tells callers apart by: their key (their address without one), their address, or a header; null: their key.",
        expects: '"key", "ip", "header:NAME" or null',
      },
    ),
    connectTimeout: Duration("How long a connection may take to be made.", { default: "5s" }),
    slowStart: Type.Union([Duration("A duration."), Type.Null()], {
      default: null,
      description: "Over how long a target that comes back grows to its full share; null: it has it at once.",
      expects: 'a duration such as "30s", or null',
    }),
    breaker: Type.Union([BreakerConfig, Type.Null()], {
      default: {},
      description: "Cuts off a target that fails, and lets it come back; null: never.",
    }),
    healthCheck: Type.Union([HealthCheckConfig, Type.Null()], {
      default: null,
      description: "Active health checks; null: none, the breaker alone notices failures.",
    }),
  },
  "One or more targets that serve a route.",
);
export type UpstreamConfig = Static<typeof UpstreamConfig>;

export const RetryConfig = Shape(
  {
    attempts: Type.Integer({
      minimum: 1,
      maximum: 10,
      default: 3,
      description: "How often a request is sent at most, the first time included.",
    }),
    baseDelay: Duration("The longest wait before the second attempt.", { default: "1s" }),
    maxDelay: Duration("The longest wait before any attempt, also when the backend asks for more by Retry-After.", { default: "30s" }),
    factor: Type.Number({ minimum: 1, maximum: 10, default: 2, description: "What the wait grows by with each attempt." }),
    jitter: Type.Boolean({ default: true, description: "Waits a random part of the time, so that callers don't come back all at once." }),
    attemptTimeout: Type.Union([Duration("A duration."), Type.Null()], {
      default: null,
      description: "How long one attempt may take until its response begins; null: as long as the route's timeout leaves.",
    }),
    on: Type.Array(Type.String({ pattern: `^${GRPC_FAILURES}$`, expects: 'a status of gRPC such as "grpc:UNAVAILABLE"' }), {
      maxItems: 16,
      default: [],
      description:
        'The statuses with which a gRPC call is sent again, such as "grpc:UNAVAILABLE": name them where calls may be repeated. Without a name here a call is sent again only where the backend has not looked at it.',
      examples: [["grpc:UNAVAILABLE"]],
    }),
  },
  "How a failed request is sent again: idempotent methods, requests with an Idempotency-Key, and connections that were never made.",
);
export type RetryConfig = Static<typeof RetryConfig>;

/** A host with a port or a dot in it, with or without a path: the form of an address whose scheme was left out. */
const ADDRESS =
  /^(?:[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*:\d{1,5}|\[[0-9a-fA-F:.]+\](?::\d{1,5})?|[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)+|localhost)(?:\/\S*)?$/;

/** Tells what is wrong with the URL of a service that is asked by HTTP; `null` when nothing is. It may have a query. */
export function addressFault(text: string): string | null {
  if (ADDRESS.test(text)) return `must be a URL, which begins with http:// or https://: write ${JSON.stringify(`http://${text}`)}`;
  const url = URL.parse(text);
  if (url === null || (url.protocol !== "http:" && url.protocol !== "https:")) return 'must be a URL such as "http://users-1:8001"';
  return url.username !== "" || url.password !== "" ? "must not hold a user name or password" : null;
}

/** The path of a Unix socket without what says that it is one, or as nginx writes it. */
const BARE_SOCKET = /^(?:https?:\/\/unix:)?(\/[^/].*)$/;

/** Tells what is wrong with what is meant for a Unix socket; `null` where nothing is, or something else is meant. */
function socketFault(text: string): string | null {
  if (text.startsWith("unix:")) return unixFault(text);
  const [, socket] = BARE_SOCKET.exec(text) ?? [];
  return socket === undefined ? null : `must be a URL, or a Unix socket: write ${JSON.stringify(`unix:${socket.replace(/:$/, "")}`)}`;
}

function urlFault(text: string): string | null {
  const socket = socketFault(text);
  if (socket !== null || text.startsWith("unix:")) return socket;
  return addressFault(text) ?? (text.includes("?") || text.includes("#") ? 'must not hold "?" or "#"' : null);
}

/** Tells what is wrong with an upstream that is no name: it is close to one, or is an address without a scheme. */
function noUpstream(upstream: string, known: ReadonlySet<string>): string {
  const hint = orNearest(upstream, known);
  const url =
    hint === "" && ADDRESS.test(upstream) ? `; a URL begins with http:// or https://: write ${JSON.stringify(`http://${upstream}`)}` : "";
  return `there is no upstream ${JSON.stringify(upstream)}${hint}${url}`;
}

/** Gives the faults of what an upstream's targets speak. */
function protocolFaults({ protocol, targets, healthCheck }: UpstreamConfig, at: Path): Fault[] {
  const faults: Fault[] = targets.flatMap(({ url }, i) => {
    const path = [...at, "targets", i, "url"];
    if (protocol === "h2" && url.startsWith("http:"))
      return [{ path, message: 'must begin with https://, since "protocol": "h2" is HTTP/2 over TLS: without TLS it is "h2c"' }];
    if (protocol === "h2c" && url.startsWith("https:"))
      return [{ path, message: 'must begin with http://, since "protocol": "h2c" is HTTP/2 without TLS: with TLS it is "h2"' }];
    return [];
  });
  if (healthCheck !== null && healthCheck.service !== "" && protocol !== "grpc")
    faults.push({ path: [...at, "healthCheck", "service"], message: 'is for "protocol": "grpc" alone: others are asked by path' });
  return faults;
}

/** Gives the faults of an upstream that the schema can't express. Paths begin with `at`. */
export function upstreamFaults(upstream: UpstreamConfig, at: Path = []): Fault[] {
  const faults: Fault[] = upstream.targets.flatMap((target, i) => {
    const message = urlFault(target.url);
    return message === null ? [] : [{ path: [...at, "targets", i, "url"], message }];
  });
  if (upstream.tls !== null) {
    faults.push(...ownTlsFaults(upstream.tls, [...at, "tls"]));
    if (!upstream.targets.some(({ url }) => url.startsWith("https:")))
      faults.push({ path: [...at, "tls"], message: "is for https targets, and this upstream has none" });
  }
  faults.push(...protocolFaults(upstream, at), ...timeFaults(upstream.connectTimeout, [...at, "connectTimeout"]));
  if (upstream.slowStart !== null && parseDuration(upstream.slowStart) > DAY)
    faults.push({ path: [...at, "slowStart"], message: "must be at most 24h" });
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

/** Gives the faults of a route's retries that the schema can't express. Paths begin with `at`. */
export function retryFaults(retry: RetryConfig, at: Path): Fault[] {
  const faults: Fault[] = [];
  for (const field of ["baseDelay", "maxDelay"] as const)
    if (parseDuration(retry[field]) > DAY) faults.push({ path: [...at, field], message: "must be at most 24h" });
  if (retry.attemptTimeout !== null) faults.push(...timeFaults(retry.attemptTimeout, [...at, "attemptTimeout"]));
  return faults;
}

/** Tells what is wrong with a route's upstream, which is a name, a URL or a Unix socket; `null` when nothing is. */
export const upstreamNameFault = (upstream: string, known: ReadonlySet<string>): string | null =>
  isAddress(upstream) ? urlFault(upstream) : known.has(upstream) ? null : (socketFault(upstream) ?? noUpstream(upstream, known));

const schema = Type.Record(Type.String({ pattern: IDENTIFIER }), filledIn(UpstreamConfig), {
  additionalProperties: false,
  default: {},
  description: "Backends by name.",
});

export const upstreamsSection: Section<"upstreams", typeof schema> = {
  name: "upstreams",
  schema,
  faults: (upstreams) => Object.entries(upstreams).flatMap(([name, upstream]) => upstreamFaults(upstream, ["upstreams", name])),
  warnings: (upstreams, { config }) => {
    const ofModels = Object.values(config.models).flatMap((model) => model.try.map(({ upstream }) => upstream));
    const used = new Set([...config.routes.map(({ upstream }) => upstream), ...ofModels]);
    return Object.keys(upstreams)
      .filter((name) => !used.has(name))
      .map((name) => ({ path: ["upstreams", name], isOfName: true, message: "no route and no model of this file uses it" }));
  },
};
