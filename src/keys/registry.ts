import { type Caller, type Consumer, countedId } from "../exchange/caller.ts";
import { compilePolicies, compileQuotas, type Policy, type Scope } from "../limits/policy.ts";
import type { LimitConfig, QuotaConfig } from "../limits/settings.ts";
import { Halves } from "../values/halves.ts";
import { hashKey, isCutOff, isPlausible } from "../values/key-format.ts";
import { DigestIndex } from "./digest-index.ts";
import { narrowed } from "./narrowed.ts";
import { NOTHING_STORED, type Place, type Stored } from "./stored.ts";

/** Describes a consumer as its record is. One that is changed is another object. */
export interface ConsumerEntry extends Consumer {
  readonly enabled: boolean;
  /** True for what stands for a consumer that does not exist, though keys name it. */
  readonly isAbsent?: boolean;
}

/** Describes a key as requests need it. It is a caller itself, so that nothing has to be made for a request. */
export interface KeyEntry extends Caller {
  readonly via: "key";
  consumer: ConsumerEntry;
  readonly hash: string;
  /** The hash of the secret before the last rotation, and the time until which it is good (milliseconds since 1970). */
  readonly previousHash: string | null;
  readonly previousExpiresAt: number;
  /** The key of an operator's from which its holder made it; `null`: an operator made it. */
  readonly madeFrom: string | null;
  /** Says why it is no good for now, or for ever; `null`: nobody has turned it off. */
  readonly off: "revoked" | "disabled" | null;
  lastUsedAt: number;
  /** The number of changes of consumers at which its consumer was looked up last. */
  resolvedAt: number;
  /** The address from which the guard knows the key as good, and when it was told that last (milliseconds since 1970). */
  acceptedFrom?: string;
  acceptedAt?: number;
}

/** Holds a key or consumer, which may have limits and quotas of its own. */
type Limited = Pick<Consumer, "limits" | "quota">;

/** Says why a key is refused. `keysUnavailable`: it may be good, but the database can't be read, and nothing is known of it by heart. */
export type KeyRefusal = "keyMalformed" | "keyInvalid" | "keyExpired" | "keyRevoked" | "keysUnavailable";

/** Gives the limits and quotas of a tier; empty for a tier that does not exist. */
export type TierLimits = (tier: string) => { readonly limits: readonly LimitConfig[]; readonly quota: readonly QuotaConfig[] };

/** The keys, and the consumers, that are kept as objects: those that were used last. An object takes 400 bytes or so. */
const MAX_IN_USE = 50_000;

/**
 * Says whose a secret is. It knows of all keys that there are (an index of their hashes), so that an unknown one costs no look into the
 * database; what else there is of a key or a consumer is read when it is first used, and kept for those in use. What the file declares is
 * always in memory.
 */
export class KeyRegistry {
  private readonly index = new DigestIndex();
  /** Keys by their hash; by the one before the last rotation as long as they are there by the other as well. */
  private readonly inUse: Halves<string, KeyEntry>;
  private readonly declared = new Map<string, KeyEntry>();
  private readonly declaredById = new Map<string, KeyEntry>();
  /** Consumers, and what stands for those that do not exist: callers with tokens have ids that no record has. */
  private readonly consumersInUse: Halves<string, ConsumerEntry>;
  private readonly declaredConsumers = new Map<string, ConsumerEntry>();
  private readonly used = new Set<KeyEntry>();
  private tierPolicies = new Map<string, readonly Policy[]>();
  private version = 0;

  /** `onFault`: learns why keys can't be read. `maxInUse`: the most keys that are kept as objects, and the most consumers. */
  constructor(
    private readonly limitsOf: TierLimits,
    private readonly anonymousTier: () => string,
    private readonly stored: Stored = NOTHING_STORED,
    private readonly onFault: (error: unknown) => void = () => {},
    maxInUse = MAX_IN_USE,
  ) {
    this.inUse = new Halves(maxInUse);
    this.consumersInUse = new Halves(maxInUse);
  }

  /** Learns which keys are stored. */
  load(): void {
    this.stored.fill(this.index);
  }

  /** The number of changes of consumers and tiers so far: what was read of them before the last one may not hold any more. */
  get changes(): number {
    return this.version;
  }

  /** The number of hashes of keys. */
  get size(): number {
    return this.declared.size + this.index.size;
  }

  /** Gives the key of this secret, or why it is refused. `now` in milliseconds since 1970. */
  find(secret: string, now: number): KeyEntry | KeyRefusal {
    if (!isPlausible(secret)) return "keyMalformed";
    const hash = hashKey(secret);
    let entry: KeyEntry | null;
    try {
      entry = this.byHash(hash);
    } catch (error) {
      this.onFault(error);
      return "keysUnavailable";
    }
    if (entry === null) return isCutOff(secret) ? "keyMalformed" : "keyInvalid";
    if (entry.hash !== hash && now >= entry.previousExpiresAt) return "keyInvalid";
    if (entry.off !== null || !entry.consumer.enabled) return "keyRevoked";
    if (now >= entry.expiresAt) return "keyExpired";
    return entry;
  }

  /** Gives the key of this secret, good or not; `null` when there is none, or it can't be read. */
  known(secret: string): KeyEntry | null {
    try {
      return this.byHash(hashKey(secret));
    } catch (error) {
      this.onFault(error);
      return null;
    }
  }

  /** Tells whether this is a key's secret, good or not, without reading anything. */
  knows(secret: string): boolean {
    const hash = hashKey(secret);
    return this.declared.has(hash) || this.index.get(hash) !== 0;
  }

  /** Notes that a key was used. The notes are written in batches. */
  touch(entry: KeyEntry, now: number): void {
    entry.lastUsedAt = now;
    this.used.add(entry);
  }

  /** Gives the keys that were used since the last call, by their ids, and when that was (milliseconds since 1970). */
  takeUsed(): Map<string, number> {
    const used = new Map<string, number>();
    // A key may have been read again meanwhile, so that there are two of it.
    for (const { id, lastUsedAt } of this.used) used.set(id, Math.max(lastUsedAt, used.get(id) ?? 0));
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

  /** Makes a key of the file known, in the place of `before`. */
  declare(entry: KeyEntry, before?: KeyEntry): void {
    if (before !== undefined) {
      this.withdraw(before);
      entry.lastUsedAt = Math.max(entry.lastUsedAt, before.lastUsedAt);
    }
    this.declared.set(entry.hash, entry);
    this.declaredById.set(entry.id, entry);
    this.forgetMadeFrom(entry.id);
  }

  /** Forgets a key that the file does not declare any more. */
  withdraw(entry: KeyEntry): void {
    this.declared.delete(entry.hash);
    this.declaredById.delete(entry.id);
    this.used.delete(entry);
    this.forgetMadeFrom(entry.id);
  }

  /**
   * Takes over what became of a stored key. `place`: where it is now; `null`: it was deleted. `before`: the hashes that it had, as far as
   * they are known. If it is in use, it is read again; what was noted of its use stays.
   */
  follow(id: string, place: Place | null, before: readonly (string | null)[]): void {
    const now = place === null ? [] : hashesOf(place);
    if (place !== null) for (const hash of now) this.index.set(hash, place.row);
    const known = new Set([...before.filter((hash) => hash !== null), ...now]);
    let entry: KeyEntry | undefined;
    for (const hash of known) {
      const found = this.inUse.get(hash);
      if (found?.id !== id) continue;
      entry ??= found;
      for (const own of hashesOf(found)) {
        this.inUse.delete(own);
        known.add(own);
      }
    }
    // A new one has had no hash so far, and nothing was made from it.
    if (before.some((hash) => hash !== null)) this.forgetMadeFrom(id);
    try {
      for (const hash of known) {
        if (now.includes(hash)) continue;
        // The hash of a key that is not there any more, or never came to be, may be another key's.
        if (place === null || this.index.isShared(hash)) this.unindex(hash);
        else this.index.delete(hash);
      }
      const next = entry === undefined || place === null ? null : this.read(place.hash);
      if (entry === undefined || next === null) return;
      next.lastUsedAt = Math.max(next.lastUsedAt, entry.lastUsedAt);
      if (this.used.delete(entry)) this.used.add(next);
    } catch (error) {
      // The change itself is made: whoever shows the key next has it read.
      this.onFault(error);
    }
  }

  /** Forgets what is known by heart of the key with this hash: it is read again when it is next used. */
  forget(hash: string): void {
    this.inUse.delete(hash);
  }

  /** Has the keys read again that were made from one which has changed: what they may do goes by that. */
  private forgetMadeFrom(id: string): void {
    if (this.inUse.size === 0) return;
    try {
      for (const hash of this.stored.madeFrom(id)) {
        const entry = this.inUse.get(hash);
        if (entry !== undefined) for (const each of hashesOf(entry)) this.inUse.delete(each);
      }
    } catch (error) {
      // Which ones these are is not known: all are read again.
      this.inUse.clear();
      this.onFault(error);
    }
  }

  /** Gives the key of this id, good or not; `null`: there is none. Throws what the database throws. */
  byId(id: string): KeyEntry | null {
    const declared = this.declaredById.get(id);
    if (declared !== undefined) return declared;
    const found = this.stored.keyById(id, this.consumerFor);
    return found === null ? null : this.narrow(found);
  }

  /** Gives a key with no more rights than the one from which its holder made it has now. */
  private narrow(entry: KeyEntry): KeyEntry {
    const { madeFrom } = entry;
    if (madeFrom === null) return entry;
    return narrowed(entry, this.declaredById.get(madeFrom) ?? this.stored.keyById(madeFrom, this.consumerFor));
  }

  /** Tells whether a stored key has this hash, now or before its last rotation. Throws what the database throws. */
  isStored(hash: string): boolean {
    return this.index.get(hash) !== 0 && this.stored.has(hash);
  }

  /** Tells whether a key has this hash, declared or stored. Throws what the database throws. */
  isTaken(hash: string): boolean {
    return this.declared.has(hash) || this.isStored(hash);
  }

  /** Gives when a stored key was used last, as far as that is noted here (milliseconds since 1970); 0: it is not. */
  lastUseOf(hash: string): number {
    return this.inUse.get(hash)?.lastUsedAt ?? 0;
  }

  /** Gives a consumer's keys that may be used. Throws what the database throws. */
  keysOf(id: string): KeyEntry[] {
    const stored = this.stored.keysOf(this.consumerOrAbsent(id));
    return [...stored.map((entry) => this.narrow(entry)), ...[...this.declared.values()].filter(({ consumer }) => consumer.id === id)];
  }

  /** Tells whether there is a consumer of this id; one that can't be read is none. */
  hasConsumer(id: string): boolean {
    try {
      return this.consumer(id) !== undefined;
    } catch {
      return false;
    }
  }

  /** Gives the consumer of this id; `undefined`: there is none. Throws what the database throws. */
  consumer(id: string): ConsumerEntry | undefined {
    try {
      const found = this.consumerOrAbsent(id);
      return found.isAbsent === true ? undefined : found;
    } catch (error) {
      this.onFault(error);
      throw error;
    }
  }

  /**
   * Gives the consumer; while there is none, a disabled one in its place, so that a key whose consumer is gone is refused. Throws what the
   * database throws.
   */
  consumerOrAbsent(id: string): ConsumerEntry {
    const known = this.declaredConsumers.get(id) ?? this.consumersInUse.get(id);
    if (known !== undefined) return known;
    const read = this.stored.consumer(id) ?? { id, tier: "", enabled: false, limits: null, quota: null, models: null, isAbsent: true };
    this.consumersInUse.set(id, read);
    return read;
  }

  /** Makes a consumer of the file known, in the place of the one before. */
  declareConsumer(entry: ConsumerEntry): void {
    this.declaredConsumers.set(entry.id, entry);
    this.invalidate();
  }

  /** Forgets a consumer that the file does not declare any more. */
  withdrawConsumer(id: string): void {
    this.declaredConsumers.delete(id);
    this.followConsumer(id);
  }

  /** Takes over that a stored consumer was made, changed or deleted: it is read again when it is next used. */
  followConsumer(id: string): void {
    this.consumersInUse.delete(id);
    this.invalidate();
  }

  private byHash(hash: string): KeyEntry | null {
    const entry = this.declared.get(hash) ?? this.inUse.get(hash);
    if (entry === undefined) return this.read(hash);
    // By its hash before the last rotation a key may still be here, though another process has changed it since.
    if (entry.hash !== hash && this.inUse.get(entry.hash) !== entry) return this.read(hash);
    if (entry.resolvedAt !== this.version) this.resolve(entry);
    return entry;
  }

  /** Reads a key that is not in use so far; `null`: there is none of this hash. */
  private read(hash: string): KeyEntry | null {
    const row = this.index.get(hash);
    if (row === 0) return null;
    const found = this.stored.key(hash, row, this.consumerFor);
    if (found === null) {
      // Another process has rotated it twice, and nobody says what it was before.
      this.unindex(hash);
      return null;
    }
    const entry = this.narrow(found);
    entry.resolvedAt = this.version;
    // The one from which it was made may be on its way: of records that instances share each comes by itself.
    if (entry.madeFrom !== null && entry.countedAs === undefined) return entry;
    const known = hash === entry.hash ? undefined : this.inUse.get(entry.hash);
    const kept = known !== undefined && known.previousHash === hash ? known : entry;
    this.inUse.set(entry.hash, kept);
    if (hash !== entry.hash) this.inUse.set(hash, kept);
    if (kept.resolvedAt !== this.version) this.resolve(kept);
    return kept;
  }

  /** Looks a key's consumer up again, after consumers or tiers were changed. */
  private resolve(entry: KeyEntry): void {
    const consumer = this.consumerOrAbsent(entry.consumer.id);
    if (consumer !== entry.consumer) {
      entry.consumer = consumer;
      entry.policies = null;
    }
    entry.resolvedAt = this.version;
  }

  /** Takes a hash out of the index, unless there is another that begins alike. */
  private unindex(hash: string): void {
    if (this.index.get(hash) !== 0 && !this.stored.hasLike(hash)) this.index.delete(hash);
  }

  private readonly consumerFor = (id: string): ConsumerEntry => this.consumerOrAbsent(id);

  private compile(caller: Caller): readonly Policy[] {
    const { consumer } = caller;
    return this.choose(
      [
        [caller, { kind: "key", name: countedId(caller) }],
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

const hashesOf = ({ hash, previousHash }: Pick<Place, "hash" | "previousHash">): string[] =>
  previousHash === null ? [hash] : [hash, previousHash];
