import type { Tracer } from "../telemetry/trace.ts";
import type { CidrSet } from "../values/ip.ts";
import type { Redactor } from "../values/redact.ts";
import type { Route } from "./route.ts";
import type { Router } from "./router.ts";

/** The part of the configuration that requests walk through, built as a whole and swapped in one step. A request keeps the one it began with. */
export interface Snapshot {
  /** What the main port serves: the users' routes, and Sluice's own. */
  readonly router: Router<Route>;
  /** What the admin API's own listener serves; `null` where it has none. */
  readonly adminRouter: Router<Route> | null;
  /** Stands for no route: it takes what no other does, and answers 404. */
  readonly miss: Route;
  /** True when any route has a cache. */
  readonly hasCache: boolean;
  readonly trustedProxies: CidrSet;
  /** Bytes. */
  readonly maxBodySize: number;
  /** `null`: requests are not traced. */
  readonly tracer: Tracer | null;
  /** Knows what must not be logged of what callers send. */
  readonly redactor: Redactor;
  readonly identity: IdentitySettings;
}

/** Where a key may stand in a request. */
export interface IdentitySettings {
  /** The field that carries a key, as configured and in lower case. */
  readonly headerName: string;
  readonly header: string;
  /** Whether `Authorization: Bearer` may carry one. */
  readonly bearer: boolean;
  /** Whether the password of `Authorization: Basic` may be one. */
  readonly basic: boolean;
  /** The query parameter that may carry one, or `null`. */
  readonly query: string | null;
}
