import type { IdentitySettings } from "../identity/settings.ts";
import type { JudgeSettings } from "../judge/answerer.ts";
import type { ProtectedResource } from "../mcp/resource.ts";
import type { Tracer } from "../telemetry/trace.ts";
import type { CidrSet } from "../values/ip.ts";
import type { Redactor } from "../values/redact.ts";
import type { Route } from "./route.ts";
import type { Router } from "./router.ts";

/**
 * Holds the part of the configuration that requests walk through, built as a whole and swapped in one step. A request keeps the one it
 * began with.
 */
export interface Snapshot {
  /** Finds the routes that the main port serves: the users', and Sluice's own. */
  readonly router: Router<Route>;
  /** Finds the routes that the admin API's own listener serves; `null` where it has none. */
  readonly adminRouter: Router<Route> | null;
  /** Finds what the plain port beside the one for https serves; `null` where there is none, or it serves as the other does. */
  readonly plainRouter: Router<Route> | null;
  /** Stands for no route: it takes what no other does, and answers 404. */
  readonly miss: Route;
  /** True when any route has a cache. */
  readonly hasCache: boolean;
  readonly trustedProxies: CidrSet;
  /** The most bytes of a body. */
  readonly maxBodySize: number;
  /** Decides which requests are traced; `null`: none is. */
  readonly tracer: Tracer | null;
  /** Removes from callers' texts what must not be logged. */
  readonly redactor: Redactor;
  readonly identity: IdentitySettings;
  /** What the types of problems begin with (`typesFrom`). */
  readonly problemTypes: string;
  /** The protected resources whose metadata is published, by its path: several may differ by their hosts. */
  readonly resources: ReadonlyMap<string, readonly ProtectedResource[]>;
  /** What requests are judged by that another proxy asks about; `null`: none may ask. */
  readonly judge: JudgeSettings | null;
}
