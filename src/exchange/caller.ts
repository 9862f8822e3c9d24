import type { Policy } from "../limits/policy.ts";
import type { LimitConfig, QuotaConfig } from "../limits/settings.ts";
import type { CidrSet } from "../values/ip.ts";
import type { NamePatterns } from "../values/name-patterns.ts";

/** Describes a consumer as requests need it; all credentials of the consumer share it. */
export interface Consumer {
  readonly id: string;
  readonly tier: string;
  /** Limits and quotas of the consumer's own; `null`: its tier's. */
  readonly limits: readonly LimitConfig[] | null;
  readonly quota: readonly QuotaConfig[] | null;
  /** The models that it may call, whatever its credential; `null`: all. */
  readonly models: NamePatterns | null;
}

/** The ways to know who calls. */
export type Via = "none" | "key" | "token" | "certificate" | "plugin";

/** Describes whoever makes a request, however that is known. There is always one: `ANONYMOUS` where nothing says who calls. */
export interface Caller {
  /** What says who calls: nothing, a key of Sluice's, an issuer's token, a client's certificate, or a plug-in. */
  readonly via: Via;
  readonly consumer: Consumer;
  /** What tells it apart from all other callers: a key's id, or the consumer's where there is no key; "" for nobody. */
  readonly id: string;
  /** The id under which limits count it, where that is not its own: the key from which a consumer made theirs. Left out: its own. */
  readonly countedAs?: string;
  readonly scopes: readonly string[];
  /** The routes that it may use. Empty: all. */
  readonly routes: readonly string[];
  /** The addresses that it may come from; `null`: any. */
  readonly ips: CidrSet | null;
  /** The models that it may call, as far as its consumer may; `null`: all. */
  readonly models: NamePatterns | null;
  /** Limits and quotas of the key; `null`: the consumer's. */
  readonly limits: readonly LimitConfig[] | null;
  readonly quota: readonly QuotaConfig[] | null;
  /** Milliseconds since 1970, or infinite. */
  readonly expiresAt: number;
  /** The policies compiled from its limits, and the version of all limits they were compiled for: whoever asks for them keeps them here. */
  policies: readonly Policy[] | null;
  version: number;
  /** Header lines for the backend, each ended by CRLF; left out: none. */
  readonly lines?: string;
  /** What is known of it besides; left out: what the record of its key or consumer says. */
  readonly metadata?: Readonly<Record<string, unknown>>;
  /** The name of the issuer whose token says who calls; left out: none does. */
  readonly issuer?: string;
}

/** Gives the id under which limits that count keys count a caller. */
export const countedId = ({ id, countedAs }: Pick<Caller, "id" | "countedAs">): string => countedAs ?? id;

/** The caller that is nobody: no key was shown, or none is looked at. */
export const ANONYMOUS: Caller = {
  via: "none",
  consumer: { id: "", tier: "", limits: null, quota: null, models: null },
  id: "",
  scopes: [],
  routes: [],
  ips: null,
  models: null,
  limits: null,
  quota: null,
  expiresAt: Number.POSITIVE_INFINITY,
  policies: null,
  version: 0,
};
