import type { RouteAuthorize } from "../authorize/route-authorize.ts";
import type { RouteCache } from "../cache/route-cache.ts";
import type { RouteCompress } from "../compression/route-compress.ts";
import type { RouteIps } from "../guard/ips.ts";
import type { NameFilter } from "../http/name-filter.ts";
import type { OddPath } from "../http/path.ts";
import type { MessagePolicy } from "../http/websocket/bounds.ts";
import type { Policy } from "../limits/policy.ts";
import type { RouteMcp } from "../mcp/route-mcp.ts";
import type { VirtualModel } from "../models/virtual-model.ts";
import type { RouteCredential } from "../pools/credential.ts";
import type { RouteConfig } from "../routes/settings.ts";
import type { RouteMetrics } from "../telemetry/route-metrics.ts";
import type { UsageRecipe } from "../tokens/meter.ts";
import type { RetryBudget, RetryPolicy } from "../upstreams/retry.ts";
import type { Upstream } from "../upstreams/upstream.ts";
import type { NamePatterns } from "../values/name-patterns.ts";
import type { Cors } from "./cors.ts";
import type { HeaderRules } from "./header-rules.ts";
import type { Line } from "./line.ts";
import type { OwnName } from "./own-paths.ts";
import type { FixedAnswer } from "./respond.ts";
import { isMiss, type Miss, type Routable } from "./router.ts";

/** Describes a route as a request needs it: everything parsed, looked up and joined beforehand. */
export interface Route extends Routable {
  readonly name: string;
  /** Counts the route's requests. */
  readonly metrics: RouteMetrics;
  /** The way of its requests. Put together last, once, when the route is compiled. */
  line: Line;
  /** The way of browsers' preflights; `null` without CORS. */
  preflight: Line | null;
  /** The part of Sluice itself that answers in an upstream's place; `null`: a backend does. */
  readonly own: OwnName | "activities" | null;
  /** True when it takes request targets that no route's path may have. */
  readonly takesMalformed: boolean;
  /** The configuration that it was compiled from. */
  readonly document: RouteConfig;
  /** The upstream; `null`: the route answers by itself, or its upstream was deleted under it. */
  readonly upstream: Upstream | null;
  /** The answer in an upstream's place; `null`: a backend answers. */
  readonly respond: FixedAnswer | null;
  /** The number of characters of the path that are dropped before it is forwarded. */
  readonly strip: number;
  /** What is put before the path that is forwarded; "": nothing. */
  readonly addPrefix: string;
  /** The number of segments of the path. */
  readonly depth: number;
  /** True when an encoded slash may stand in a path below it, as a character of its segment. */
  readonly passesEncodedSlashes: boolean;
  /** True when empty segments below it are forwarded. */
  readonly keepsSlashes: boolean;
  /** The addresses that it takes requests from; `null`: all. */
  readonly ips: RouteIps | null;
  readonly auth: "required" | "optional" | "none";
  /** The issuers whose tokens alone are taken. Empty: keys, and tokens of every issuer. */
  readonly issuers: readonly string[];
  /** The tiers that may use it. Empty: every tier. */
  readonly tiers: readonly string[];
  readonly scopes: readonly string[];
  readonly policies: readonly Policy[];
  readonly cost: number;
  /** Milliseconds for all attempts together until a response begins. */
  readonly timeout: number;
  /** The most bytes of a body, and its least bytes a second; `null`: the server's. */
  readonly maxBodySize: number | null;
  readonly bodyRate: number | null;
  /** What callers may send over WebSockets; `null`: anything. */
  readonly websocket: MessagePolicy | null;
  readonly retry: RetryPolicy | null;
  readonly budget: RetryBudget;
  /** The service that is asked whether requests may pass; `null`: nobody is asked. */
  readonly authorize: RouteAuthorize | null;
  readonly cache: RouteCache | null;
  /** How answers are compressed; `null`: they are not. */
  readonly compress: RouteCompress | null;
  readonly credential: RouteCredential | null;
  /** The place where a response says how much it cost; `null`: it is not read. */
  readonly usage: UsageRecipe | null;
  /** The models that callers may name; `null`: any, and none is looked for. */
  readonly models: NamePatterns | null;
  /** Those of them that are virtual, by their names. */
  readonly virtualModels: ReadonlyMap<string, VirtualModel>;
  /** The tools of the server that answers; `null`: it is none of the Model Context Protocol. */
  readonly mcp: RouteMcp | null;
  readonly cors: Cors | null;
  readonly requestRules: HeaderRules;
  /** The lower-case names of the fields in which backends are told claims of callers, and which callers can't send. */
  readonly claimFields: ReadonlySet<string>;
  /** Those of them in which the route's own rules, its credential or its service have the say, so that no claim goes there; `null`: none. */
  readonly overruledClaims: ReadonlySet<string> | null;
  /** Tells which fields of a request are forwarded. */
  readonly requestNames: NameFilter;
  readonly responseRules: HeaderRules;
  /** True when the request's rules set Host, in place of the target's. */
  readonly setsHost: boolean;
  /** True when the backend gets the caller's Host in place of the target's. */
  readonly preservesHost: boolean;
}

/** Tells whether a route's requests are calls of models, which may cost money. What goes by MCP calls tools, also with a key of a pool's. */
export const isModelRoute = ({
  credential,
  usage,
  models,
  mcp,
}: Readonly<Record<"credential" | "usage" | "models" | "mcp", object | string | null>>): boolean =>
  mcp === null && (credential !== null || usage !== null || models !== null);

/**
 * Says why a path can't be taken as one that means the same to every backend; `null` where it can. `found`: the route that takes the path;
 * `find` looks another reading up.
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
