// Answers of the admin API, as far as the console reads them. A test holds these shapes against what the gateway answers.
import type { Unit } from "./format.ts";

/** What became of a route's requests, since the start. */
export interface RouteNumbers {
  readonly name: string;
  readonly requests: number;
  readonly clientErrors: number;
  readonly serverErrors: number;
  readonly limited: number;
  readonly latency: readonly number[];
}

/** `GET /admin/stats`. */
export interface Stats {
  readonly at: string;
  readonly version: string;
  readonly uptime: number;
  readonly status: "NORMAL" | "DEGRADED";
  readonly inFlight: number;
  readonly latencyBounds: readonly number[];
  readonly routes: readonly RouteNumbers[];
  readonly refusals: readonly { readonly code: string; readonly count: number }[];
  readonly consumers: readonly {
    readonly consumer: string | null;
    readonly requests: number;
    readonly limited: number;
    readonly total: number;
    readonly totalLimited: number;
  }[];
  readonly targets: readonly {
    readonly upstream: string;
    readonly target: string;
    readonly breaker: string;
    readonly healthy: boolean;
    readonly inFlight: number;
    readonly why: string | null;
  }[];
  readonly blocks: {
    readonly count: number;
    readonly latest: readonly { readonly cidr: string; readonly by: string; readonly expiresAt: string | null }[];
  };
  readonly faults: readonly string[];
  readonly warnings: readonly { readonly code: string; readonly message: string }[];
  readonly pools: readonly {
    readonly pool: string;
    readonly key: string;
    readonly status: string;
    readonly remaining: number;
    /** What remains: tokens, requests, or "usd". */
    readonly unit: string;
  }[];
  readonly workers: readonly {
    readonly worker: string;
    readonly pid: number;
    readonly since: string;
    readonly connections: number;
    readonly requests: number;
    readonly memory: number;
    readonly restarts: number | null;
  }[];
  readonly cache: { readonly hits: number; readonly misses: number };
  readonly redis: "ok" | "away" | null;
  readonly activities: { readonly waiting: number; readonly lag: number } | null;
}

/** A request that was refused, as `GET /admin/explain/refusals` tells it. */
export interface Refusal {
  readonly at: string;
  readonly requestId: string;
  readonly route: string | null;
  readonly status: number;
  readonly code: string;
  readonly detail: string;
  readonly limits: readonly {
    readonly name: string;
    readonly scope: string;
    readonly unit: Unit;
    readonly limit: number;
    readonly used: number;
    /** What the request might have cost, of limits in dollars. */
    readonly asked?: number | undefined;
    readonly reset: string;
  }[];
  readonly consumer: string | null;
  readonly ip: string | null;
}

/** A limit that applies to a caller. */
export interface AppliedLimit {
  readonly name: string;
  readonly scope: string;
  readonly why: string;
  readonly algorithm: string;
  readonly window: string | null;
  readonly unit: Unit;
  readonly limit: number;
  readonly normal: number;
  readonly degraded: number;
  readonly cost: number;
  readonly shadow: boolean;
  readonly subject: string | null;
  readonly subjectUnknown: string | null;
  readonly used: number | null;
  readonly remaining: number | null;
  readonly reset: string | null;
  readonly denies: boolean | null;
}

/** `GET /admin/explain`. */
export interface Explained {
  readonly consumer: string | null;
  readonly tier: string | null;
  readonly key: string | null;
  readonly token: { readonly issuer: string | null; readonly passed: boolean; readonly why: string | null } | null;
  readonly route: string | null;
  readonly ip: string | null;
  readonly anonymous: boolean;
  readonly system: "NORMAL" | "DEGRADED";
  readonly allowed: boolean | null;
  readonly unknown: readonly string[];
  readonly redisAway: "local" | "allow" | "deny" | null;
  readonly refusal: { readonly code: string; readonly detail: string } | null;
  readonly limits: readonly AppliedLimit[];
  readonly passedOver: readonly { readonly scope: string; readonly names: readonly string[]; readonly why: string }[];
  readonly keysWithOwnLimits: readonly string[];
  readonly denials: readonly Omit<Refusal, "consumer" | "ip">[];
}

/** What a text can be (`POST /admin/explain/find`). */
export interface Match {
  readonly kind: "consumer" | "key" | "address" | "token" | "route" | "request";
  readonly id: string | null;
  readonly consumer: string | null;
  readonly fault: { readonly code: string; readonly detail: string } | null;
  readonly refusal: Refusal | null;
}

/** `POST /admin/explain/request`. */
export interface Walked {
  readonly steps: readonly { readonly step: string; readonly passed: boolean | null; readonly detail: string }[];
  readonly refusal: { readonly status: number; readonly code: string } | null;
  readonly forwarded: string | null;
}

/** A minute or an hour of `GET /admin/history`. */
export interface HistoryItem {
  readonly time: string;
  readonly seconds: number;
  readonly rate: number;
  readonly requests: number;
  readonly clientErrors: number | null;
  readonly errors: number | null;
  readonly limited: number | null;
  readonly p50: number | null;
  readonly p95: number | null;
  readonly p99: number | null;
}

/** `GET /admin/history`. */
export interface History {
  readonly step: "1m" | "1h";
  readonly items: readonly HistoryItem[];
}

/** One of the upstreams that answer for a virtual model. Prices are dollars for a million tokens. */
export interface ModelAttempt {
  readonly upstream: string;
  readonly model: string;
  readonly pool: string | null;
  readonly weight: number;
  readonly fallback: boolean;
  readonly price: { readonly input: number; readonly output: number } | null;
  readonly attempts: number;
  readonly answered: number;
  /** How often it did not answer, by what came of it. */
  readonly failed: Readonly<Record<string, number>>;
  readonly lastFailure: { readonly at: string | null; readonly outcome: string; readonly requestId: string } | null;
}

export interface VirtualModel {
  readonly name: string;
  readonly routes: readonly string[];
  readonly on: readonly string[];
  readonly firstToken: string;
  readonly giveUpAfter: string;
  readonly try: readonly ModelAttempt[];
}

/** `GET /admin/models`. */
export interface ModelList {
  readonly items: readonly VirtualModel[];
}

/** Dollars for a million tokens, as the configuration has them. */
type Dollars = number | string;

/** What some models cost. What is left out costs what its neighbour does. */
export interface ModelPrice {
  readonly pattern: string;
  readonly input?: Dollars;
  readonly output?: Dollars;
  readonly cacheRead?: Dollars;
  readonly cacheWrite?: Dollars;
  readonly reasoning?: Dollars;
  readonly maxOutput?: number;
}

/** `GET /admin/prices`. */
export interface PriceList {
  readonly unpriced: "deny" | "zero";
  /** The file, or "inline"; `null`: there are none. */
  readonly source: string | null;
  readonly items: readonly ModelPrice[];
}
