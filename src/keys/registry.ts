import { compilePolicies, compileQuotas, type Policy, type Scope } from "../limits/policy.ts";
import type { LimitConfig, QuotaConfig } from "../limits/settings.ts";
import type { CidrSet } from "../values/ip.ts";
import { hashKey, isCutOff, isPlausible } from "../values/key-format.ts";

/** A consumer as requests need it; shared by all its keys. */
export interface ConsumerEntry {
  readonly id: string;
  tier: string;
  enabled: boolean;
  limits: readonly LimitConfig[] | null;
  quota: readonly QuotaConfig[] | null;
}

/** A key as requests need it. */
export interface KeyEntry {
  readonly id: string;
  readonly consumer: ConsumerEntry;
  readonly hash: string;
  /** The secret before the last rotation, and until when it is good (milliseconds since 1970). */
  readonly previousHash: string | null;
  readonly previousExpiresAt: number;
  /** Empty: no scope, any route. */
  readonly scopes: readonly string[];
  readonly routes: readonly string[];
  readonly ips: CidrSet | null;
  readonly limits: readonly LimitConfig[] | null;
  readonly quota: readonly QuotaConfig[] | null;
  /** Milliseconds since 1970, or infinite. */
  readonly expiresAt: number;
  /** Revoked or disabled. */
  readonly isOff: boolean;
  lastUsedAt: number;
  /** From where the guard knows it as good, and when it was told last (milliseconds since 1970). */
  acceptedFrom?: string;
  acceptedAt?: number;
  policies: readonly Policy[] | null;
  /** Of the registry when `policies` were compiled. */
  snapshot: number;
}

/** Who may have limits and quotas of its own. */
type Limited = Pick<ConsumerEntry, "limits" | "quota">;

export type KeyRefusal = "keyMalformed" | "keyInvalid" | "keyExpired" | "keyRevoked";

/** Gives the limits and quotas of a tier; empty for a tier that does not exist. */
export type TierLimits = (tier: string) => { readonly limits: readonly LimitConfig[]; readonly quota: readonly QuotaConfig[] };

/** All keys, by hash: what identifies a caller in constant time, without asking the database. */
export class KeyRegistry {
  private readonly byHash = new Map<string, KeyEntry>();
  private readonly consumers = new Map<string, ConsumerEntry>();
  /** Consumers that keys name and that do not exist. */
  private readonly absent = new Map<string, ConsumerEntry>();
  private readonly used = new Set<KeyEntry>();
  private tierPolicies = new Map<string, readonly Policy[]>();
  private snapshot = 0;

  constructor(
    private readonly limitsOf: TierLimits,
    private readonly anonymousTier: () => string,
  ) {}

  get size(): number {
    return this.byHash.size;
  }

  /** The key of this secret, or why it is refused. `now` in milliseconds since 1970. */
  find(secret: string, now: number): KeyEntry | KeyRefusal {
    if (!isPlausible(secret)) return "keyMalformed";
    const hash = hashKey(secret);
    const entry = this.byHash.get(hash);
    if (entry === undefined) return isCutOff(secret) ? "keyMalformed" : "keyInvalid";
    if (entry.hash !== hash && now >= entry.previousExpiresAt) return "keyInvalid";
    if (entry.isOff || !entry.consumer.enabled) return "keyRevoked";
    if (now >= entry.expiresAt) return "keyExpired";
    return entry;
  }

  /** The key of this secret, good or not; `null` when nobody has it. */
  known(secret: string): KeyEntry | null {
    return this.byHash.get(hashKey(secret)) ?? null;
  }

  /** Notes that a key was used; written in batches. */
  touch(entry: KeyEntry, now: number): void {
    entry.lastUsedAt = now;
    this.used.add(entry);
  }

  /** The keys used since the last call. */
  takeUsed(): KeyEntry[] {
    const used = [...this.used];
    this.used.clear();
    return used;
  }

  /** The limits of a caller: the key's own if it has some, else the consumer's own, else the tier's. */
  policiesFor(entry: KeyEntry): readonly Policy[] {
    if (entry.policies === null || entry.snapshot !== this.snapshot) {
      entry.policies = this.compile(entry);
      entry.snapshot = this.snapshot;
    }
    return entry.policies;
  }

  policiesOfConsumer(consumer: ConsumerEntry): readonly Policy[] {
    return this.choose([[consumer, { kind: "consumer", name: consumer.id }]], consumer.tier);
  }

  /** The limits of callers without a key. */
  anonymousPolicies(): readonly Policy[] {
    return this.policiesOfTier(this.anonymousTier());
  }

  /** A tier or a consumer's limits changed: policies are compiled anew when next needed. */
  invalidate(): void {
    this.snapshot++;
    this.tierPolicies = new Map();
  }

  /** Adds a key, or puts it in the place of the one with its id that `before` is. */
  put(entry: KeyEntry, before?: KeyEntry): void {
    if (before !== undefined) {
      // A use that is not written yet is the new entry's.
      const isUsed = this.used.has(before);
      this.remove(before);
      entry.lastUsedAt = Math.max(entry.lastUsedAt, before.lastUsedAt);
      if (isUsed) this.used.add(entry);
    }
    this.byHash.set(entry.hash, entry);
    if (entry.previousHash !== null) this.byHash.set(entry.previousHash, entry);
  }

  remove(entry: KeyEntry): void {
    this.byHash.delete(entry.hash);
    if (entry.previousHash !== null) this.byHash.delete(entry.previousHash);
    this.used.delete(entry);
  }

  findByHash(hash: string): KeyEntry | undefined {
    return this.byHash.get(hash);
  }

  consumer(id: string): ConsumerEntry | undefined {
    return this.consumers.get(id);
  }

  /** The consumer, or a disabled one in its place until it is made: a key whose consumer is gone is refused. */
  consumerOrAbsent(id: string): ConsumerEntry {
    const known = this.consumers.get(id) ?? this.absent.get(id);
    if (known !== undefined) return known;
    const absent: ConsumerEntry = { id, tier: "", enabled: false, limits: null, quota: null };
    this.absent.set(id, absent);
    return absent;
  }

  putConsumer(entry: ConsumerEntry): void {
    // Keys hold the object itself: it is changed in place.
    const known = this.consumers.get(entry.id) ?? this.absent.get(entry.id);
    this.consumers.set(entry.id, known === undefined ? entry : Object.assign(known, entry));
    this.absent.delete(entry.id);
    this.invalidate();
  }

  removeConsumer(id: string): void {
    const known = this.consumers.get(id);
    if (known === undefined) return;
    // Its keys hold the object: should it come back, they are good again.
    known.enabled = false;
    this.consumers.delete(id);
    this.absent.set(id, known);
  }

  private compile(entry: KeyEntry): readonly Policy[] {
    const { consumer } = entry;
    return this.choose(
      [
        [entry, { kind: "key", name: entry.id }],
        [consumer, { kind: "consumer", name: consumer.id }],
      ],
      consumer.tier,
    );
  }

  /** The limits of the first that has some, else the tier's; and the quotas likewise. */
  private choose(owners: readonly [Limited, Scope][], tier: string): readonly Policy[] {
    const limited = owners.find(([{ limits }]) => limits !== null && limits.length > 0);
    const metered = owners.find(([{ quota }]) => quota !== null && quota.length > 0);
    const tiers = this.policiesOfTier(tier);
    if (limited === undefined && metered === undefined) return tiers;
    return [
      ...(limited === undefined ? tiers.filter(({ calendar }) => calendar === null) : compilePolicies(limited[0].limits ?? [], limited[1])),
      ...(metered === undefined ? tiers.filter(({ calendar }) => calendar !== null) : compileQuotas(metered[0].quota ?? [], metered[1])),
    ];
  }

  /** The tier of callers without a key. */
  get anonymousTierName(): string {
    return this.anonymousTier();
  }

  policiesOfTier(tier: string): readonly Policy[] {
    let policies = this.tierPolicies.get(tier);
    if (policies === undefined) {
      const { limits, quota } = this.limitsOf(tier);
      const scope: Scope = { kind: "tier", name: tier };
      policies = [...compilePolicies(limits, scope), ...compileQuotas(quota, scope)];
      this.tierPolicies.set(tier, policies);
    }
    return policies;
  }
}
