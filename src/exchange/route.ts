import type { RouteCache } from "../cache/caching.ts";
import { NameFilter } from "../http/name-filter.ts";
import { matchOf, type OddPath } from "../http/path.ts";
import type { Problem } from "../http/problem.ts";
import type { Reply } from "../http/server.ts";
import { compilePolicies, type Policy } from "../limits/policy.ts";
import { compileCredential, compileUsage, type RouteCredential } from "../pools/credential.ts";
import type { RouteConfig } from "../routes/settings.ts";
import type { RouteMetrics } from "../telemetry/metrics.ts";
import type { UsageRecipe } from "../tokens/meter.ts";
import { RetryBudget, type RetryPolicy } from "../upstreams/retry.ts";
import type { Upstream } from "../upstreams/upstream.ts";
import { parseDuration, parseSize } from "../values/units.ts";
import { type Cors, compileCors } from "./cors.ts";
import type { Endpoint, Exchange } from "./exchange.ts";
import { compileHeaderRules, type HeaderRules } from "./header-rules.ts";
import { depthOf, isMiss, type Miss, prefixOf, type Routable } from "./router.ts";

/** Answers requests in a backend's place, once they are let through. */
export interface OwnService {
  /** Rejects as a forwarded request would, or with a fault of Sluice's own. */
  answer(exchange: Exchange): Promise<Reply | Problem>;
}

/** A route as a request needs it: everything parsed, looked up and joined beforehand. */
export interface Route extends Routable, Endpoint {
  /** What it was compiled from. */
  readonly document: RouteConfig;
  /** The upstream, or `null` when it was deleted under the route. */
  readonly upstream: Upstream | null;
  /** What of Sluice itself answers in the upstream's place, and only at the very path. */
  readonly own: OwnService | null;
  /** How many characters of the path are dropped before it is forwarded. */
  readonly strip: number;
  /** How many segments the path has. */
  readonly depth: number;
  /** Whether an encoded slash may stand in a path below it, as a character of its segment. */
  readonly passesEncodedSlashes: boolean;
  /** Whether empty segments below it are forwarded. */
  readonly keepsSlashes: boolean;
  readonly auth: "required" | "optional" | "none";
  /** Empty: every tier. */
  readonly tiers: readonly string[];
  readonly scopes: readonly string[];
  readonly policies: readonly Policy[];
  readonly cost: number;
  /** Milliseconds for all attempts together until a response begins. */
  readonly timeout: number;
  /** Bytes, and bytes a second; `null`: the server's. */
  readonly maxBodySize: number | null;
  readonly bodyRate: number | null;
  readonly retry: RetryPolicy | null;
  readonly budget: RetryBudget;
  readonly cache: RouteCache | null;
  readonly credential: RouteCredential | null;
  /** Where a response says what it cost; `null`: it is not read. */
  readonly usage: UsageRecipe | null;
  readonly cors: Cors | null;
  readonly requestRules: HeaderRules;
  /** Which fields of a request are forwarded. */
  readonly requestNames: NameFilter;
  readonly responseRules: HeaderRules;
  /** True when the request's rules set Host, in place of the target's. */
  readonly setsHost: boolean;
  /** True when the backend gets the caller's Host in place of the target's. */
  readonly preservesHost: boolean;
}

const BACKENDS_CORS = [
  "access-control-allow-origin",
  "access-control-allow-credentials",
  "access-control-allow-methods",
  "access-control-allow-headers",
  "access-control-expose-headers",
  "access-control-max-age",
];

/** `before`: the route of this name in the configuration before, whose counts go on. `keyHeader`: the field that carries Sluice's keys. */
export function compileRoute(
  config: RouteConfig,
  upstream: Upstream | null,
  metrics: RouteMetrics,
  before?: Route,
  own: OwnService | null = null,
  keyHeader = "x-api-key",
): Route {
  const name = config.name ?? config.path;
  const prefix = matchOf(prefixOf(config.path));
  const requestRules = compileHeaderRules(config.headers.request, config.credential?.drop ?? []);
  const credential = compileCredential(config.credential, config.cost);
  const cache = compileCache(config.cache);
  return {
    name,
    metrics,
    document: config,
    path: config.path,
    hosts: config.hosts.map((host) => host.toLowerCase()),
    methods: config.methods,
    upstream,
    own,
    strip: config.stripPrefix ? prefix.length : 0,
    depth: depthOf(prefix),
    passesEncodedSlashes: config.encodedSlashes === "pass",
    keepsSlashes: config.slashes === "keep",
    auth: config.auth,
    tiers: config.tiers,
    scopes: config.scopes,
    policies: compilePolicies(config.limits, { kind: "route", name }),
    cost: config.cost,
    timeout: parseDuration(config.timeout),
    maxBodySize: config.maxBodySize === null ? null : parseSize(config.maxBodySize),
    bodyRate: config.bodyRate === null ? null : parseSize(config.bodyRate),
    retry: compileRetry(config.retry),
    budget: before?.budget ?? new RetryBudget(),
    cache,
    credential,
    usage: compileUsage(config.usage ?? config.credential?.usage ?? null),
    cors: config.cors === null ? null : compileCors(config.cors, config.methods),
    requestRules,
    requestNames: new NameFilter(
      [keyHeader, ...requestRules.dropped, ...(credential === null ? [] : [credential.field])],
      cache === null ? [] : cache.headers,
    ),
    // With CORS handled here, what the backend says of it would contradict.
    responseRules: compileHeaderRules(config.headers.response, config.cors === null ? [] : BACKENDS_CORS),
    setsHost: Object.keys(config.headers.request.set).some((name) => name.toLowerCase() === "host"),
    preservesHost: config.host === "preserve",
  };
}

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
      };

const compileCache = (config: RouteConfig["cache"]): RouteCache | null =>
  config === null
    ? null
    : {
        ttl: config.ttl === null ? null : parseDuration(config.ttl),
        maxEntrySize: parseSize(config.maxEntrySize),
        isShared: config.shared,
        isPerConsumer: config.perConsumer,
        headers: config.key.headers.map((name) => name.toLowerCase()),
        query: config.key.query === null ? null : [...new Set(config.key.query)],
      };

/**
 * Says why a path can't be taken as one that means the same to every backend; `null` where it can. `found`: the route that takes it, `find` looks another reading up.
 */
export function ambiguityOf(odd: OddPath, found: Route | Miss, find: (path: string) => Route | Miss): string | null {
  if (odd.hasEncodedSlash && (isMiss(found) || !found.passesEncodedSlashes))
    return "The path must not hold an encoded slash on this route.";
  // A backend that decodes before it splits must not serve what another route protects.
  for (const reading of odd.decodedFirst) {
    const other = find(reading);
    if (other !== found && !(isMiss(other) && isMiss(found)))
      return "The path, once decoded, belongs to another route: write it without %2F, %3B, %3F and %23.";
  }
  return null;
}
