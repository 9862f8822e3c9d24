import type { Policy } from "../limits/policy.ts";
import type { LimitConfig, QuotaConfig } from "../limits/settings.ts";
import type { CidrSet } from "../values/ip.ts";

/** A consumer as requests need it; shared by all that shows who it is. */
export interface Consumer {
  readonly id: string;
  readonly tier: string;
  /** Limits and quotas of its own; `null`: its tier's. */
  readonly limits: readonly LimitConfig[] | null;
  readonly quota: readonly QuotaConfig[] | null;
}

/** Whoever makes a request, however that is known. There is always one: `ANONYMOUS` where nothing says who calls. */
export interface Caller {
  /** By what it is known who calls. */
  readonly via: "none" | "key";
  readonly consumer: Consumer;
  /** The id of the key; "" for nobody. */
  readonly id: string;
  readonly scopes: readonly string[];
  /** The routes that it may use. Empty: all. */
  readonly routes: readonly string[];
  /** The addresses that it may come from; `null`: any. */
  readonly ips: CidrSet | null;
  /** Limits and quotas of the key; `null`: the consumer's. */
  readonly limits: readonly LimitConfig[] | null;
  readonly quota: readonly QuotaConfig[] | null;
  /** Milliseconds since 1970, or infinite. */
  readonly expiresAt: number;
  /** What was compiled of its limits, and for which version of all limits: whoever asks for them keeps them here. */
  policies: readonly Policy[] | null;
  version: number;
}

/** Nobody: no key was shown, or none is looked at. */
export const ANONYMOUS: Caller = {
  via: "none",
  consumer: { id: "", tier: "", limits: null, quota: null },
  id: "",
  scopes: [],
  routes: [],
  ips: null,
  limits: null,
  quota: null,
  expiresAt: Number.POSITIVE_INFINITY,
  policies: null,
  version: 0,
};
