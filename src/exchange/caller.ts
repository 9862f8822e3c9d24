import type { Policy } from "../limits/policy.ts";
import type { LimitConfig, QuotaConfig } from "../limits/settings.ts";
import type { CidrSet } from "../values/ip.ts";

/** Describes a consumer as requests need it; all credentials of the consumer share it. */
export interface Consumer {
  readonly id: string;
  readonly tier: string;
  /** Limits and quotas of the consumer's own; `null`: its tier's. */
  readonly limits: readonly LimitConfig[] | null;
  readonly quota: readonly QuotaConfig[] | null;
}

/** Describes whoever makes a request, however that is known. There is always one: `ANONYMOUS` where nothing says who calls. */
export interface Caller {
  /** The kind of credential that says who calls. */
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
  /** The policies compiled from its limits, and the version of all limits they were compiled for: whoever asks for them keeps them here. */
  policies: readonly Policy[] | null;
  version: number;
}

/** The caller that is nobody: no key was shown, or none is looked at. */
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
