import type { RouteConfig } from "../config/schema.ts";
import { parseDuration } from "../config/units.ts";
import { compilePolicies, type Policy } from "../limits/policy.ts";
import type { Upstream } from "../upstreams/upstream.ts";
import { type Cors, compileCors } from "./cors.ts";
import { compileHeaderRules, type HeaderRules } from "./header-rules.ts";
import { prefixOf, type Routable } from "./router.ts";

/** A route as a request needs it: everything parsed, looked up and joined beforehand. */
export interface Route extends Routable {
  readonly name: string;
  /** The upstream, or `null` when it was deleted under the route. */
  readonly upstream: Upstream | null;
  /** How many characters of the path are dropped before it is forwarded. */
  readonly strip: number;
  readonly auth: "required" | "optional" | "none";
  /** Empty: every tier. */
  readonly tiers: readonly string[];
  readonly scopes: readonly string[];
  readonly policies: readonly Policy[];
  readonly cost: number;
  /** Milliseconds for all of an exchange until its response begins. */
  readonly timeout: number;
  readonly cors: Cors | null;
  readonly requestRules: HeaderRules;
  readonly responseRules: HeaderRules;
  /** True when the request's rules set Host, in place of the target's. */
  readonly setsHost: boolean;
}

const BACKENDS_CORS = [
  "access-control-allow-origin",
  "access-control-allow-credentials",
  "access-control-allow-methods",
  "access-control-allow-headers",
  "access-control-expose-headers",
  "access-control-max-age",
];

export function compileRoute(config: RouteConfig, upstream: Upstream | null): Route {
  const name = config.name ?? config.path;
  return {
    name,
    path: config.path,
    hosts: config.hosts.map((host) => host.toLowerCase()),
    methods: config.methods,
    upstream,
    strip: config.stripPrefix ? prefixOf(config.path).length : 0,
    auth: config.auth,
    tiers: config.tiers,
    scopes: config.scopes,
    policies: compilePolicies(config.limits, { kind: "route", name }),
    cost: config.cost,
    timeout: parseDuration(config.timeout),
    cors: config.cors === null ? null : compileCors(config.cors, config.methods),
    requestRules: compileHeaderRules(config.headers.request),
    // With CORS handled here, what the backend says of it would contradict.
    responseRules: compileHeaderRules(config.headers.response, config.cors === null ? [] : BACKENDS_CORS),
    setsHost: Object.keys(config.headers.request.set).some((name) => name.toLowerCase() === "host"),
  };
}
