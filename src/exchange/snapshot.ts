import type { AutoHealth } from "../health/auto.ts";
import type { AccessLog } from "../telemetry/access-log.ts";
import type { RouteMetrics } from "../telemetry/metrics.ts";
import type { Tracer } from "../telemetry/trace.ts";
import type { Usage } from "../usage/usage.ts";
import type { CidrSet } from "../values/ip.ts";
import type { Redactor } from "../values/redact.ts";
import type { Route } from "./route.ts";
import type { Router } from "./router.ts";

/** The part of the configuration that requests walk through, built as a whole and swapped in one step. A request keeps the one it began with. */
export interface Snapshot {
  readonly router: Router<Route>;
  /** Paths where Sluice shows a page of its own, since no route is meant by them. */
  readonly pages: ReadonlySet<string>;
  /** True when any route has a cache. */
  readonly hasCache: boolean;
  readonly trustedProxies: CidrSet;
  /** Bytes. */
  readonly maxBodySize: number;
  /** `null`: requests are not logged. */
  readonly accessLog: AccessLog | null;
  /** `null`: requests are not traced. */
  readonly tracer: Tracer | null;
  /** Knows what must not be logged of what callers send. */
  readonly redactor: Redactor;
  /** `null`: the system's status does not change by itself. */
  readonly auto: AutoHealth | null;
  readonly usage: Usage | null;
  /** What is counted of requests that no route takes. */
  readonly unrouted: RouteMetrics;
  readonly identity: {
    /** The field that carries a key, as configured and in lower case. */
    readonly headerName: string;
    readonly header: string;
    /** Whether `Authorization: Bearer` may carry one. */
    readonly bearer: boolean;
    /** Whether the password of `Authorization: Basic` may be one. */
    readonly basic: boolean;
    /** The query parameter that may carry one, or `null`. */
    readonly query: string | null;
  };
}
