import type { Caller, Consumer } from "../exchange/caller.ts";
import type { ConsumerEntry } from "../keys/registry.ts";
import type { Policy } from "../limits/policy.ts";
import type { LimitConfig, QuotaConfig } from "../limits/settings.ts";
import type { NamePatterns } from "../values/name-patterns.ts";
import type { Proven } from "./issuer.ts";

/** Describes the consumer behind a token: its tier is the token's, its limits and quota those of the record with its id, if there is one. */
class TokenConsumer implements Consumer {
  /** The record, which may come and go while the token is good. */
  record: ConsumerEntry | null = null;

  constructor(
    readonly id: string,
    readonly tier: string,
  ) {}

  get limits(): readonly LimitConfig[] | null {
    return this.record?.limits ?? null;
  }

  get quota(): readonly QuotaConfig[] | null {
    return this.record?.quota ?? null;
  }

  get models(): NamePatterns | null {
    return this.record?.models ?? null;
  }
}

/** Describes a caller who has shown a token. Requests with the same token share it. */
export class TokenCaller implements Caller {
  readonly via = "token";
  readonly consumer: TokenConsumer;
  readonly id: string;
  readonly scopes: readonly string[];
  readonly routes: readonly string[] = [];
  readonly ips = null;
  readonly models = null;
  readonly limits = null;
  readonly quota = null;
  readonly expiresAt: number;
  readonly lines: string;
  policies: readonly Policy[] | null = null;
  version = 0;
  /** The address from which the guard knows the token as good, and when it was told that last (milliseconds since 1970). */
  acceptedFrom?: string;
  acceptedAt?: number;

  /** `issuer`: the issuer's name. */
  constructor(
    { bearer, endsAt }: Proven,
    readonly issuer: string,
  ) {
    this.id = bearer.id;
    this.consumer = new TokenConsumer(bearer.id, bearer.tier);
    this.scopes = bearer.scopes;
    this.lines = bearer.lines;
    this.expiresAt = endsAt;
  }
}
