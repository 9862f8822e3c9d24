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
}

/** Says where a key may stand in a request. */
export interface IdentitySettings {
  /** The field that carries a key, as configured and in lower case. */
  readonly headerName: string;
  readonly header: string;
  /** True when `Authorization: Bearer` may carry one. */
  readonly bearer: boolean;
  /** True when the password of `Authorization: Basic` may be one. */
  readonly basic: boolean;
  /** The query parameter that may carry one, or `null`. */
  readonly query: string | null;
}
