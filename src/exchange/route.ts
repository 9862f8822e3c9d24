import type { RouteCache } from "../cache/caching.ts";
import type { NameFilter } from "../http/name-filter.ts";
import type { OddPath } from "../http/path.ts";
import type { Policy } from "../limits/policy.ts";
import type { RouteCredential } from "../pools/credential.ts";
import type { RouteConfig } from "../routes/settings.ts";
import type { RouteMetrics } from "../telemetry/metrics.ts";
import type { UsageRecipe } from "../tokens/meter.ts";
import type { RetryBudget, RetryPolicy } from "../upstreams/retry.ts";
import type { Upstream } from "../upstreams/upstream.ts";
import type { Cors } from "./cors.ts";
import type { HeaderRules } from "./header-rules.ts";
import type { Line } from "./line.ts";
import type { OwnName } from "./own-paths.ts";
import { isMiss, type Miss, type Routable } from "./router.ts";

/** A route as a request needs it: everything parsed, looked up and joined beforehand. */
export interface Route extends Routable {
  readonly name: string;
  /** What is counted of its requests. */
  readonly metrics: RouteMetrics;
  /** The way of its requests. Put together last, once, when the route is compiled. */
  line: Line;
  /** The way of what browsers ask beforehand; `null` without CORS. */
  preflight: Line | null;
  /** What of Sluice itself answers in an upstream's place; `null`: a backend does. */
  readonly own: OwnName | "activities" | null;
  /** It takes request targets that no route's path may have. */
  readonly takesMalformed: boolean;
  /** What it was compiled from. */
  readonly document: RouteConfig;
  /** The upstream, or `null` when it was deleted under the route. */
  readonly upstream: Upstream | null;
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
