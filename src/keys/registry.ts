import type { Caller, Consumer } from "../exchange/caller.ts";
import { compilePolicies, compileQuotas, type Policy, type Scope } from "../limits/policy.ts";
import type { LimitConfig, QuotaConfig } from "../limits/settings.ts";
import { hashKey, isCutOff, isPlausible } from "../values/key-format.ts";

/** Describes a consumer as it is kept: its keys hold this very object, which changes with the record. */
export interface ConsumerEntry extends Consumer {
  tier: string;
  enabled: boolean;
  limits: readonly LimitConfig[] | null;
  quota: readonly QuotaConfig[] | null;
}

/** Describes a key as requests need it. It is a caller itself, so that nothing has to be made for a request. */
export interface KeyEntry extends Caller {
  readonly via: "key";
  readonly consumer: ConsumerEntry;
  readonly hash: string;
  /** The hash of the secret before the last rotation, and the time until which it is good (milliseconds since 1970). */
  readonly previousHash: string | null;
  readonly previousExpiresAt: number;
  /** Says why it is no good for now, or for ever; `null`: nobody has turned it off. */
  readonly off: "revoked" | "disabled" | null;
  lastUsedAt: number;
  /** The address from which the guard knows the key as good, and when it was told that last (milliseconds since 1970). */
  acceptedFrom?: string;
  acceptedAt?: number;
}

/** Holds a key or consumer, which may have limits and quotas of its own. */
type Limited = Pick<Consumer, "limits" | "quota">;

export type KeyRefusal = "keyMalformed" | "keyInvalid" | "keyExpired" | "keyRevoked";

/** Gives the limits and quotas of a tier; empty for a tier that does not exist. */
export type TierLimits = (tier: string) => { readonly limits: readonly LimitConfig[]; readonly quota: readonly QuotaConfig[] };

/** Keeps all keys by their hashes: it identifies a caller in constant time, without asking the database. */
export class KeyRegistry {
  private readonly byHash = new Map<string, KeyEntry>();
  private readonly consumers = new Map<string, ConsumerEntry>();
  /** Consumers that do not exist, though keys name them. */
  private readonly absent = new Map<string, ConsumerEntry>();
  private readonly used = new Set<KeyEntry>();
  private tierPolicies = new Map<string, readonly Policy[]>();
  private version = 0;

  constructor(
    private readonly limitsOf: TierLimits,
    private readonly anonymousTier: () => string,
  ) {}

  /** The number of changes of consumers and tiers so far: what was read of them before the last one may not hold any more. */
  get changes(): number {
    return this.version;
  }

  get size(): number {
    return this.byHash.size;
  }

  /** Gives the key of this secret, or why it is refused. `now` in milliseconds since 1970. */
  find(secret: string, now: number): KeyEntry | KeyRefusal {
    if (!isPlausible(secret)) return "keyMalformed";
    const hash = hashKey(secret);
    const entry = this.byHash.get(hash);
    if (entry === undefined) return isCutOff(secret) ? "keyMalformed" : "keyInvalid";
    if (entry.hash !== hash && now >= entry.previousExpiresAt) return "keyInvalid";
    if (entry.off !== null || !entry.consumer.enabled) return "keyRevoked";
    if (now >= entry.expiresAt) return "keyExpired";
    return entry;
  }

  /** Gives the key of this secret, good or not; `null` when there is none. */
  known(secret: string): KeyEntry | null {
    return this.byHash.get(hashKey(secret)) ?? null;
  }

  /** Notes that a key was used. The notes are written in batches. */
  touch(entry: KeyEntry, now: number): void {
    entry.lastUsedAt = now;
    this.used.add(entry);
  }

  /** Gives the keys that were used since the last call. */
  takeUsed(): KeyEntry[] {
    const used = [...this.used];
    this.used.clear();
    return used;
  }

  /**
   * Gives the limits of a caller: the key's own if it has some, else the consumer's own, else the tier's; for an anonymous caller those of
   * the anonymous tier.
   */
  policiesFor(caller: Caller): readonly Policy[] {
    if (caller.via === "none") return this.anonymousPolicies();
    if (caller.policies === null || caller.version !== this.version) {
      caller.policies = this.compile(caller);
      caller.version = this.version;
    }
    return caller.policies;
  }

  policiesOfConsumer(consumer: Consumer): readonly Policy[] {
    return this.choose([[consumer, { kind: "consumer", name: consumer.id }]], consumer.tier);
  }

  /** Gives the limits of callers without a key. */
  anonymousPolicies(): readonly Policy[] {
    return this.policiesOfTier(this.anonymousTier());
  }

  /** Forgets compiled policies after a change of a tier's or a consumer's limits: they are compiled anew when next needed. */
  invalidate(): void {
    this.version++;
    this.tierPolicies = new Map();
  }

  /** Adds a key; `before` is the key with the same id whose place it takes. */
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

  /** Gives the consumer; while there is none, a disabled one in its place, so that a key whose consumer is gone is refused. */
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
    this.invalidate();
  }

  private compile(caller: Caller): readonly Policy[] {
    const { consumer } = caller;
    return this.choose(
      [
        [caller, { kind: "key", name: caller.id }],
        [consumer, { kind: "consumer", name: consumer.id }],
      ],
      consumer.tier,
    );
  }

  /** Gives the limits of the first owner that has some, else the tier's; and the quotas likewise. */
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

  /** Gives the name of the tier of callers without a key. */
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
