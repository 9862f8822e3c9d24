/** What the admin API tells of records, as far as these screens read it. */
import type { Unit } from "../format.ts";

/** A limit as it was written; what it allows is a text where it counts dollars. */
export interface Limit {
  readonly name?: string;
  readonly algorithm: string;
  readonly limit: number | string;
  readonly window?: string;
  readonly burst?: number | string;
  readonly degraded?: number | string;
  readonly by?: string | readonly string[];
  readonly cost?: number | "usage" | "usd";
  readonly shadow?: boolean;
}

export interface Quota {
  readonly name?: string;
  readonly limit: number | string;
  readonly period: string;
  readonly cost?: "usage" | "usd";
  readonly timezone?: string;
  readonly anchor?: number;
}

/** Says who manages a record, and since when. */
export interface Managed {
  readonly source: "config" | "admin";
  readonly createdAt: string | null;
  readonly updatedAt: string | null;
}

export interface Consumer extends Managed {
  readonly id: string;
  readonly tier: string;
  readonly name: string | null;
  readonly limits: readonly Limit[] | null;
  readonly quota: readonly Quota[] | null;
  /** `null`: all. */
  readonly models: readonly string[] | null;
  readonly metadata: Readonly<Record<string, unknown>> | null;
  readonly enabled: boolean;
}

export interface Key extends Managed {
  readonly id: string;
  readonly start: string;
  readonly end: string;
  readonly consumer: string;
  readonly name: string | null;
  readonly status: "active" | "disabled" | "expired" | "revoked";
  readonly scopes: readonly string[];
  readonly routes: readonly string[];
  readonly ips: readonly string[];
  /** Empty: all. */
  readonly models: readonly string[];
  readonly limits: readonly Limit[] | null;
  readonly quota: readonly Quota[] | null;
  readonly metadata: Readonly<Record<string, unknown>> | null;
  readonly enabled: boolean;
  readonly expiresAt: string | null;
  readonly lastUsedAt: string | null;
  readonly revokedAt: string | null;
  readonly previousExpiresAt: string | null;
}

export interface TierSettings {
  readonly name: string;
  readonly limits: readonly Limit[];
  readonly quota: Quota | readonly Quota[] | null;
}

export interface Tier extends TierSettings, Managed {}

/** What a route answers by itself. */
export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
}

/** What a route knows of the MCP server behind it; tools are names or patterns. */
export interface McpSettings {
  readonly tools: { readonly include: readonly string[]; readonly exclude: readonly string[] };
  readonly scopes: Readonly<Record<string, readonly string[]>>;
  readonly cost: Readonly<Record<string, number>>;
  readonly resource?: string | null;
}

export interface RouteSettings {
  readonly name: string;
  readonly path: string;
  readonly methods: readonly string[];
  readonly hosts: readonly string[];
  /** `null`: it answers by itself. */
  readonly upstream: string | null;
  readonly respond: Answer | null;
  readonly stripPrefix: boolean;
  readonly auth: "required" | "optional" | "none";
  readonly tiers: readonly string[];
  readonly scopes: readonly string[];
  readonly limits: readonly Limit[];
  readonly cost: number;
  readonly timeout: string;
  readonly cache: { readonly ttl?: string | null } | null;
  readonly credential: { readonly pool: string } | null;
  /** Names of models that callers may use; empty: it looks at none. */
  readonly models: readonly string[];
  readonly mcp: McpSettings | null;
}

export interface Route extends RouteSettings, Managed {}

export interface Target {
  readonly url: string;
  readonly weight?: number;
}

export interface UpstreamSettings {
  readonly name: string;
  readonly targets: readonly Target[];
  readonly protocol: string;
  readonly balance: string;
  readonly connectTimeout: string;
  readonly healthCheck: { readonly path: string; readonly interval: string } | null;
}

export interface Upstream extends UpstreamSettings, Managed {}

export interface Breaker {
  readonly target: string;
  readonly upstream: string;
  readonly state: "closed" | "open" | "half-open";
  readonly held: boolean;
  readonly healthy: boolean;
  readonly failures: number;
  readonly inFlight: number;
  readonly since: string;
  readonly retryAfter: number | null;
}

/** A further budget of a pool's key: of requests or tokens, or of dollars, which it writes as a text. */
export interface Budget {
  readonly of?: string;
  readonly cost?: "usd";
  readonly limit: number | string;
  readonly window: string;
}

export interface PoolKey {
  readonly id: string;
  readonly secret?: string;
  readonly cost?: "usd";
  readonly limit?: number | string;
  readonly window?: string;
  readonly budgets?: readonly Budget[];
}

/** How it stands with a budget: dollars where it is of "usd". */
export interface BudgetState {
  readonly of: string;
  readonly limit: number;
  readonly window: string;
  readonly used: number;
  readonly reset: string | null;
}

export interface PoolKeyState {
  readonly id: string;
  readonly status: "ready" | "resting" | "quarantined";
  readonly until: string | null;
  readonly lastError: { readonly status: number; readonly at: string | null } | null;
  readonly remaining: number;
  /** What remains: tokens, requests, or "usd". */
  readonly unit: string;
  readonly budgets: readonly BudgetState[];
}

export interface PoolSettings {
  readonly name: string;
  readonly strategy: string;
  readonly keys: readonly PoolKey[];
  readonly services: Readonly<Record<string, { readonly cost: number }>>;
  readonly auth: "required" | "none";
}

export interface Pool extends PoolSettings, Managed {
  readonly state: { readonly keys: readonly PoolKeyState[] };
}

export interface Block {
  readonly ip: string;
  readonly reason: string;
  readonly by: string;
  readonly createdAt: string;
  readonly expiresAt: string | null;
}

/** What is left of a limit that is counted for a consumer. */
export interface LimitLeft {
  readonly name: string;
  readonly scope: string;
  readonly algorithm: string;
  readonly subject: string;
  readonly unit: Unit;
  readonly limit: number;
  readonly window: string | null;
  readonly used: number;
  readonly remaining: number;
  readonly reset: string | null;
}

export interface UsageRow {
  readonly time?: string;
  readonly route?: string;
  readonly key?: string;
  /** Empty: callers without a name. */
  readonly consumer?: string;
  /** Empty: its requests named none. */
  readonly model?: string;
  readonly tool?: string;
  readonly requests: number;
  readonly errors: number;
  readonly limited: number;
  readonly tokens: number;
  /** Dollars. */
  readonly cost: number;
}
