import { compileAuthorize } from "../authorize/route-authorize.ts";
import { compileCache } from "../cache/route-cache.ts";
import { compileCompress } from "../compression/route-compress.ts";
import { GONE } from "../exchange/answer.ts";
import { compileCors } from "../exchange/cors.ts";
import { compileHeaderRules } from "../exchange/header-rules.ts";
import type { Line } from "../exchange/line.ts";
import { compileRespond } from "../exchange/respond.ts";
import type { Route } from "../exchange/route.ts";
import { depthOf, prefixOf } from "../exchange/router.ts";
import { compileWebSocket, unmeasurable } from "../exchange/websocket.ts";
import { compileIps } from "../guard/ips.ts";
import { NameFilter } from "../http/name-filter.ts";
import { matchOf } from "../http/path.ts";
import { compilePolicies } from "../limits/policy.ts";
import { compileMcp } from "../mcp/route-mcp.ts";
import { compileCredential, compileUsage } from "../pools/credential.ts";
import type { RouteConfig } from "../routes/settings.ts";
import type { RouteMetrics } from "../telemetry/route-metrics.ts";
import { withFigures } from "../tokens/meter.ts";
import { RetryBudget, type RetryPolicy } from "../upstreams/retry.ts";
import type { GrpcOutcome, Upstream } from "../upstreams/upstream.ts";
import { namesOf } from "../values/name-patterns.ts";
import { parseDuration, parseSize } from "../values/units.ts";

/** The backend's CORS fields, which are dropped where CORS is handled here: they would contradict. */
const BACKENDS_CORS = [
  "access-control-allow-origin",
  "access-control-allow-credentials",
  "access-control-allow-methods",
  "access-control-allow-headers",
  "access-control-expose-headers",
  "access-control-max-age",
];

/** Holds what a route is compiled with. */
export interface RouteMaterial {
  /** The upstream; `null`: Sluice answers itself, or the upstream is gone. */
  readonly upstream: Upstream | null;
  readonly metrics: RouteMetrics;
  /** The route of this name in the configuration before, whose counts go on. */
  readonly before?: Route | undefined;
  /** The lower-case names of the fields that show Sluice who calls, and are not the backend's business. */
  readonly credentialFields: readonly string[];
  /** The lower-case names of the fields in which the backend is told claims of the route's callers. */
  readonly claimFields?: readonly string[];
  /** The issuers whose tokens the route takes, as they call themselves. */
  readonly issuers?: readonly string[];
  /** The part of Sluice itself that answers. */
  readonly own?: Route["own"];
  readonly takesMalformed?: boolean;
  /** The virtual models that its callers may name; left out: none. */
  readonly virtualModels?: Route["virtualModels"];
  /** True when models have prices, so that each kind of their usage matters. */
  readonly isPriced?: boolean;
}

const NO_MODELS: Route["virtualModels"] = new Map();

/** A line that nobody walks yet: the route's own is put together when the rest of it is known. */
const UNSET: Line = { gates: [], answer: () => GONE, ended: () => {} };

/** Compiles all of a route but its line: everything is parsed, looked up and joined here, once. */
export function compileRoute(config: RouteConfig, material: RouteMaterial): Route {
  const name = config.name ?? config.path;
  const prefix = matchOf(prefixOf(config.path));
  const requestRules = compileHeaderRules(config.headers.request, config.credential?.drop ?? []);
  // With CORS handled here, what the backend says of it would contradict.
  const responseRules = compileHeaderRules(config.headers.response, config.cors === null ? [] : BACKENDS_CORS);
  const depth = depthOf(prefix);
  const credential = compileCredential(config.credential, config.cost);
  const usage = compileUsage(config.usage ?? ofModels(config));
  const cache = compileCache(config.cache);
  const websocket = compileWebSocket(config.websocket);
  const claimFields = new Set(material.claimFields);
  const authorize = compileAuthorize(config.authorize, name, [...material.credentialFields, ...claimFields]);
  /** The fields that somebody sets or removes on the way to the backend. */
  const ruled = [
    ...requestRules.dropped,
    ...(credential === null ? [] : [credential.field]),
    ...(authorize === null ? [] : authorize.sets),
  ];
  return {
    name,
    metrics: material.metrics,
    line: UNSET,
    preflight: null,
    own: material.own ?? null,
    takesMalformed: material.takesMalformed === true,
    document: config,
    path: config.path,
    hosts: config.hosts.map((host) => host.toLowerCase()),
    methods: config.methods,
    upstream: material.upstream,
    respond: config.respond === null ? null : compileRespond(config.respond, responseRules.dropped, depth),
    strip: config.stripPrefix ? prefix.length : 0,
    addPrefix: prefixOf(config.addPrefix ?? ""),
    depth,
    passesEncodedSlashes: config.encodedSlashes === "pass",
    keepsSlashes: config.slashes === "keep",
    ips: compileIps(config.ips),
    auth: config.auth,
    issuers: config.issuers,
    tiers: config.tiers,
    scopes: config.scopes,
    policies: compilePolicies(config.limits, { kind: "route", name }),
    cost: config.cost,
    timeout: parseDuration(config.timeout),
    maxBodySize: config.maxBodySize === null ? null : parseSize(config.maxBodySize),
    bodyRate: config.bodyRate === null ? null : parseSize(config.bodyRate),
    websocket,
    retry: compileRetry(config.retry),
    budget: material.before?.budget ?? new RetryBudget(),
    authorize,
    cache,
    compress: compileCompress(config.compress),
    credential,
    usage: material.isPriced === true && usage !== null ? withFigures(usage) : usage,
    models: namesOf(config.models),
    virtualModels: material.virtualModels ?? NO_MODELS,
    mcp: compileMcp(config.mcp, { name, scopes: config.scopes, issuers: config.auth === "none" ? [] : (material.issuers ?? []) }),
    cors: config.cors === null ? null : compileCors(config.cors, config.methods, material.upstream?.isGrpc === true),
    requestRules,
    claimFields,
    overruledClaims: ruled.some((field) => claimFields.has(field)) ? new Set(ruled) : null,
    requestNames: new NameFilter(
      [...material.credentialFields, ...claimFields, ...ruled, ...unmeasurable(websocket)],
      [...(cache === null ? [] : cache.headers), ...(authorize === null ? [] : authorize.headers)],
    ),
    responseRules,
    setsHost: Object.keys(config.headers.request.set).some((name) => name.toLowerCase() === "host"),
    preservesHost: config.host === "preserve",
  };
}

/** Gives where usage is read when a route does not say so itself: as its credential says, else wherever models are called. */
const ofModels = ({ credential, models }: RouteConfig): string | readonly string[] | null =>
  credential === null ? (models.length > 0 ? "auto" : null) : credential.usage;

const compileRetry = (config: RouteConfig["retry"]): RetryPolicy | null =>
  config === null
    ? null
    : {
        attempts: config.attempts,
        baseDelay: parseDuration(config.baseDelay),
        maxDelay: parseDuration(config.maxDelay),
        factor: config.factor,
        jitter: config.jitter,
        attemptTimeout: config.attemptTimeout === null ? null : parseDuration(config.attemptTimeout),
        on: new Set(config.on as GrpcOutcome[]),
      };
