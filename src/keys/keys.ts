import { type Static, Type } from "@sinclair/typebox";
import { and, asc, eq, gt, isNotNull, isNull, lte, type SQL, sql } from "drizzle-orm";
import type { Audit } from "../audit/audit.ts";
import { type ConsumerConfig, type DeclaredKey, declaredKey } from "../consumers/settings.ts";
import { ADDRESS_SHOWN, checkMatch, durationOf, mergePatch, Source, Time, timeText } from "../http/conventions.ts";
import { metadataFaults } from "../http/json-bounds.ts";
import { changedMeanwhile, invalid, managedByConfig, notFound, refused } from "../http/refused.ts";
import { LimitConfig, limitFaults, type QuotaConfig, Quotas, quotaFaults, quotaList } from "../limits/settings.ts";
import type { Fault } from "../schema/faults.ts";
import { Scope } from "../schema/fields.ts";
import { fillIn } from "../schema/fill-in.ts";
import type { Storage } from "../storage/open.ts";
import { keys } from "../storage/schema.ts";
import type { Clock } from "../values/clock.ts";
import { CidrSet, isCidr } from "../values/ip.ts";
import { declaredHash, HASHED, hashKey, isPlausible, makeKey } from "../values/key-format.ts";
import { parseTime } from "../values/units.ts";
import type { ConsumerEntry, KeyEntry, KeyRegistry } from "./registry.ts";

const Moment = (description: string) =>
  Type.String({ description: `${description} RFC 3339.`, examples: ["2027-01-31T00:00:00Z"], shown: { format: "date-time" } });

const editable = {
  name: Type.Optional(Type.String({ maxLength: 256, description: "A name for people." })),
  scopes: Type.Optional(Type.Array(Scope, { maxItems: 64, description: "Scopes that routes may ask for." })),
  routes: Type.Optional(
    Type.Array(Type.String({ maxLength: 1024 }), { maxItems: 256, description: "Names of the routes it may use; none means all." }),
  ),
  ips: Type.Optional(
    Type.Array(Type.String({ maxLength: 64, shown: { ...ADDRESS_SHOWN, maxLength: undefined } }), {
      maxItems: 256,
      description: "Addresses and blocks (CIDR) it may be used from; none means all.",
    }),
  ),
  limits: Type.Optional(
    Type.Array(LimitConfig, { maxItems: 16, description: "Limits of this key, instead of its consumer's and tier's." }),
  ),
  quota: Type.Optional(Quotas("A quota of this key, or a list of them, instead of its consumer's and tier's.")),
  metadata: Type.Optional(
    Type.Record(Type.String({ maxLength: 128 }), Type.Unknown(), { description: "Anything you want to keep with the key." }),
  ),
  expiresAt: Type.Optional(Moment("From when on it is refused.")),
  enabled: Type.Optional(Type.Boolean({ description: "Whether it is good; true by default." })),
};

export const NewKey = Type.Object(
  {
    consumer: Type.String({ description: "The consumer it identifies.", examples: ["acme"] }),
    key: Type.Optional(
      Type.String({
        pattern: "^[!-~]{16,512}$",
        description: "A key to import instead of creating one.",
        expects: "16 to 512 printable ASCII characters without spaces",
        secret: true,
      }),
    ),
    hash: Type.Optional(
      Type.String({
        pattern: "^[0-9A-Fa-f]{64}$",
        description: "The SHA-256 of a key to import, in hexadecimal.",
        expects: "a SHA-256 of 64 hexadecimal digits",
        secret: true,
      }),
    ),
    ...editable,
  },
  { additionalProperties: false, description: "A key to create or import." },
);
export type NewKey = Static<typeof NewKey>;

const nullable = <T extends Parameters<typeof Type.Optional>[0]>(schema: T) => Type.Optional(Type.Union([schema, Type.Null()]));

export const KeyPatch = Type.Object(
  {
    name: nullable(editable.name),
    scopes: nullable(editable.scopes),
    routes: nullable(editable.routes),
    ips: nullable(editable.ips),
    limits: nullable(editable.limits),
    quota: editable.quota,
    metadata: nullable(Type.Record(Type.String(), Type.Unknown(), { description: "Anything you want to keep with the key." })),
    expiresAt: nullable(editable.expiresAt),
    enabled: editable.enabled,
  },
  { additionalProperties: false, description: "What to change (RFC 7396): null removes." },
);

export const KeyImport = Type.Object(
  { keys: Type.Array(NewKey, { minItems: 1, maxItems: 10_000, description: "Keys to import: all of them or none." }) },
  { additionalProperties: false },
);

export const KeyStatus = Type.Union([Type.Literal("active"), Type.Literal("disabled"), Type.Literal("expired"), Type.Literal("revoked")], {
  description: "Whether it is good. disabled: by hand, or its consumer is.",
});

const OrNull = (description: string) => Type.Union([Type.String(), Type.Null()], { description });

/** Describes a key as the API shows it: all but the secret. */
export const KeyRecord = Type.Object({
  id: Type.String({ description: "The key's id.", examples: ["key_0199f3a81c3b7c3e9d5e1f2a3b4c5d6e"] }),
  start: Type.String({ description: "Its first 8 characters; empty for one imported by hash.", examples: ["slc_9fK2"] }),
  end: Type.String({ description: "Its last 4 characters.", examples: ["x7Qa"] }),
  consumer: Type.String({ description: "Whose it is." }),
  name: OrNull("A name for people."),
  status: KeyStatus,
  source: Source,
  scopes: Type.Array(Type.String(), { description: "Its scopes." }),
  routes: Type.Array(Type.String(), { description: "Names of the routes it may use; none means all." }),
  ips: Type.Array(Type.String(), { description: "Addresses it may be used from; none means all." }),
  limits: Type.Union([Type.Array(Type.Unknown()), Type.Null()], {
    description: "Limits of its own, instead of its consumer's and tier's.",
  }),
  quota: Type.Union([Type.Array(Type.Unknown()), Type.Null()], { description: "Quotas of its own, instead of its consumer's and tier's." }),
  metadata: Type.Union([Type.Record(Type.String(), Type.Unknown()), Type.Null()], { description: "What you keep with it." }),
  enabled: Type.Boolean({ description: "false: it was turned off by hand." }),
  expiresAt: Time("From when on it is refused."),
  createdAt: Time("When it was created; null for what config.json declares."),
  updatedAt: Time("When it was last changed."),
  lastUsedAt: Time("When it was used last, within a minute."),
  revokedAt: Time("When it was revoked."),
  previousExpiresAt: Time("Until when the secret before the last rotation is good."),
});
export type KeyRecord = Static<typeof KeyRecord>;

type Row = typeof keys.$inferSelect;

/** What operators keep with a record: anything that is JSON. */
export type Metadata = Record<string, unknown>;

export interface KeysDeps {
  readonly storage: Storage;
  readonly clock: Clock;
  readonly audit: Audit;
  readonly registry: KeyRegistry;
}

/** Makes, imports, rotates and revokes keys. The database has their hashes; the registry answers requests. */
export class Keys {
  private declared = new Map<string, Declared>();

  constructor(private readonly deps: KeysDeps) {}

  /** Reads into the registry all keys that the admin API made. Consumers must be loaded. */
  load(): void {
    const { registry, storage } = this.deps;
    // Drizzle's objects for a million rows would cost seconds.
    const rows = storage.client
      .query(
        "SELECT id, consumer, hash, previous_hash, previous_expires_at, scopes, routes, ips, limits, expires_at, revoked_at, enabled, last_used_at, quota FROM keys",
      )
      .values() as [
      string,
      string,
      string,
      string | null,
      number | null,
      string | null,
      string | null,
      string | null,
      string | null,
      number | null,
      number | null,
      number,
      number | null,
      string | null,
    ][];
    for (const row of rows) {
      const entry: KeyEntry = {
        via: "key",
        id: row[0],
        consumer: registry.consumerOrAbsent(row[1]),
        hash: row[2],
        previousHash: row[3],
        previousExpiresAt: row[4] ?? 0,
        scopes: listOf(row[5]),
        routes: listOf(row[6]),
        ips: cidrsOf(listOf(row[7])),
        limits: row[8] === null ? null : (JSON.parse(row[8]) as LimitConfig[]),
        quota: row[13] === null ? null : (JSON.parse(row[13]) as QuotaConfig[]),
        expiresAt: row[9] ?? Number.POSITIVE_INFINITY,
        off: row[10] !== null ? "revoked" : row[11] === 0 ? "disabled" : null,
        lastUsedAt: row[12] ?? 0,
        policies: null,
        version: 0,
      };
      registry.put(entry);
    }
  }

  /** Gives the faults of declared keys that the admin API made or imported already. */
  clashes(consumers: readonly ConsumerConfig[]): Fault[] {
    return consumers.flatMap((consumer, i) =>
      consumer.keys.flatMap((key, j) => {
        const known = this.deps.registry.findByHash(declaredHash(declaredKey(key).key));
        return known === undefined || this.declared.has(known.id)
          ? []
          : [{ path: ["consumers", i, "keys", j], message: "is a key that the admin API made or imported already" }];
      }),
    );
  }

  /** Replaces the keys that the file declared before by those that it declares now. A key that did not change stays, with its last use. */
  declare(consumers: readonly ConsumerConfig[]): void {
    const { registry } = this.deps;
    const before = this.declared;
    this.declared = new Map();
    for (const consumer of consumers) {
      for (const key of consumer.keys) {
        const given = declaredKey(key);
        const hash = declaredHash(given.key);
        const id = `key_${hash.slice(0, 16)}`;
        const known = before.get(id);
        const isKept = known?.consumer.id === consumer.id && Bun.deepEquals(known.given, given);
        const entry = isKept ? known : declaredEntry(given, id, registry.consumerOrAbsent(consumer.id), hash);
        this.declared.set(id, entry);
        if (!isKept) registry.put(entry, known);
      }
    }
    for (const [id, entry] of before) if (!this.declared.has(id)) registry.remove(entry);
  }

  /** Makes or imports one key. The answer has the secret when it was made or given here; nothing else ever has it. */
  create(input: NewKey): { record: KeyRecord; secret: string | null; version: number } {
    const [made] = this.insert([input], []);
    if (made === undefined) throw new Error("no key was made");
    return { record: this.toRecord(made.row), secret: made.secret, version: made.row.version };
  }

  /** Imports up to 10,000 keys: all or none. Gives their ids in order. */
  import(inputs: readonly NewKey[]): string[] {
    return this.insert(inputs, ["keys"]).map(({ row }) => row.id);
  }

  get(id: string): { record: KeyRecord; version: number } {
    const declared = this.declared.get(id);
    if (declared !== undefined) return { record: declaredRecord(declared, this.deps.clock.wall()), version: 1 };
    const row = this.row(id);
    return { record: this.toRecord(row), version: row.version };
  }

  /** Gives what is kept with a key; `null` where nothing is, as with all that the file declares. */
  metadataOf(id: string): Metadata | null {
    if (this.declared.has(id)) return null;
    const row = this.deps.storage.client.query<{ metadata: string | null }, [string]>("SELECT metadata FROM keys WHERE id = ?1").get(id);
    return row === null || row.metadata === null ? null : (JSON.parse(row.metadata) as Metadata);
  }

  /** Gives up to `limit` + 1 keys that come after the id `after`, by id. */
  page(after: string, limit: number, filter: { consumer?: string | undefined; status?: KeyRecord["status"] | undefined }): KeyRecord[] {
    const now = this.deps.clock.wall();
    const conditions: SQL[] = [gt(keys.id, after)];
    if (filter.consumer !== undefined) conditions.push(eq(keys.consumer, filter.consumer));
    if (filter.status !== undefined) conditions.push(...this.statusIs(filter.status));
    const rows = this.deps.storage.db
      .select()
      .from(keys)
      .where(and(...conditions))
      .orderBy(asc(keys.id))
      .limit(limit + 1)
      .all();
    const declared = [...this.declared.values()]
      .map((entry) => declaredRecord(entry, now))
      .filter(
        (record) =>
          record.id > after &&
          (filter.consumer ?? record.consumer) === record.consumer &&
          (filter.status ?? record.status) === record.status,
      );
    return [...rows.map((row) => this.toRecord(row)), ...declared].sort((a, b) => (a.id < b.id ? -1 : 1)).slice(0, limit + 1);
  }

  patch(id: string, patch: Static<typeof KeyPatch>, ifMatch: string | null): { record: KeyRecord; version: number } {
    const before = this.changeable(id);
    checkMatch(ifMatch, before.version);
    const editableNow = {
      name: before.name,
      scopes: before.scopes,
      routes: before.routes,
      ips: before.ips,
      limits: before.limits,
      quota: before.quota,
      metadata: before.metadata,
      expiresAt: timeText(before.expiresAt),
      enabled: before.enabled,
    };
    const withoutNulls = Object.fromEntries(Object.entries(editableNow).filter(([, value]) => value !== null));
    const merged = mergePatch(withoutNulls, patch) as Omit<NewKey, "consumer">;
    const faults = ruleFaults(merged, []);
    if (faults.length > 0) throw invalid(faults);
    const row = { ...before, ...columns(merged), version: before.version + 1, updatedAt: this.deps.clock.wall() };
    this.save(before, row, "key.update");
    return { record: this.toRecord(row), version: row.version };
  }

  /** Gives the key a new secret. The old one stays good for `gracePeriod`, but never past the key's expiry. */
  rotate(id: string, gracePeriod: string | undefined): { record: KeyRecord; secret: string; version: number } {
    const before = this.changeable(id);
    if (before.revokedAt !== null) throw refused("conflict", "A revoked key can't be rotated: make a new one.");
    const now = this.deps.clock.wall();
    const grace = gracePeriod === undefined ? 0 : durationOf(gracePeriod, "gracePeriod");
    const secret = makeKey();
    const row: Row = {
      ...before,
      hash: hashKey(secret),
      start: secret.slice(0, 8),
      end: secret.slice(-4),
      previousHash: grace > 0 ? before.hash : null,
      previousExpiresAt: grace > 0 ? Math.min(now + grace, before.expiresAt ?? Number.MAX_SAFE_INTEGER) : null,
      version: before.version + 1,
      updatedAt: now,
    };
    this.save(before, row, "key.rotate");
    return { record: this.toRecord(row), secret, version: row.version };
  }

  /**
   * Gives a key a new secret in its holder's name. The old one stays good for `grace` milliseconds, and meanwhile there is no other
   * rotation: whoever has found the old secret can't take the key over by it, and nobody keeps the database busy. Throws 409 for a key that
   * the file declares, that is no good, or that was rotated too lately.
   */
  rotateOwn(id: string, grace: number): { record: KeyRecord; secret: string } {
    if (this.declared.has(id))
      throw refused(
        "conflict",
        "This key stands in the gateway's configuration and is changed there: ask whoever runs the API for another.",
      );
    const { previousExpiresAt } = this.row(id);
    if (previousExpiresAt !== null && previousExpiresAt > this.deps.clock.wall())
      throw refused(
        "conflict",
        `This key was rotated lately: the secret before is good until ${timeText(previousExpiresAt)}, and a new one can be made after that.`,
      );
    const { record, secret } = this.rotate(id, `${grace}ms`);
    return { record, secret };
  }

  /** Revokes a key: it is refused from the next request on, and its record stays. */
  revoke(id: string, ifMatch: string | null): void {
    const before = this.changeable(id);
    checkMatch(ifMatch, before.version);
    if (before.revokedAt !== null) return;
    const now = this.deps.clock.wall();
    this.save(before, { ...before, revokedAt: now, version: before.version + 1, updatedAt: now }, "key.revoke");
  }

  /**
   * Deletes a consumer's keys within the caller's transaction. Gives a function that removes them from the registry, to be called once that
   * is committed.
   */
  removeOf(consumer: string): () => void {
    const rows = this.deps.storage.db.delete(keys).where(eq(keys.consumer, consumer)).returning({ hash: keys.hash }).all();
    return () => {
      for (const { hash } of rows) {
        const entry = this.deps.registry.findByHash(hash);
        if (entry !== undefined) this.deps.registry.remove(entry);
      }
    };
  }

  /** Gives the entries of a consumer's keys that may be used. */
  entriesOf(consumer: string): KeyEntry[] {
    const rows = this.deps.storage.db
      .select({ hash: keys.hash })
      .from(keys)
      .where(and(eq(keys.consumer, consumer), isNull(keys.revokedAt)))
      .all();
    const stored = rows.flatMap(({ hash }) => this.deps.registry.findByHash(hash) ?? []);
    return [...stored, ...[...this.declared.values()].filter((entry) => entry.consumer.id === consumer)];
  }

  /**
   * Reads one key from the database again, after another process has made, changed or deleted it. `was`: its hash before that, `null` for a
   * new one.
   */
  refresh(id: string, was: string | null): void {
    const { registry, storage } = this.deps;
    const row = storage.db.select().from(keys).where(eq(keys.id, id)).get();
    const before = (was === null ? undefined : registry.findByHash(was)) ?? (row === undefined ? undefined : registry.findByHash(row.hash));
    if (row !== undefined) registry.put(this.toEntry(row), before);
    else if (before !== undefined && before.id === id) registry.remove(before);
  }

  /** Writes the times at which keys were used last; for a timer. */
  flushUsed(): void {
    const used = this.deps.registry.takeUsed().filter((entry) => !this.declared.has(entry.id));
    if (used.length === 0) return;
    const update = this.deps.storage.client.query("UPDATE keys SET last_used_at = ?1 WHERE id = ?2");
    this.deps.storage.client
      .transaction(() => {
        for (const entry of used) update.run(entry.lastUsedAt, entry.id);
      })
      .immediate();
  }

  private insert(inputs: readonly NewKey[], at: Fault["path"]): { row: Row; secret: string | null }[] {
    const now = this.deps.clock.wall();
    const faults: Fault[] = [];
    const seen = new Set<string>();
    const made = inputs.map((input, i) => {
      const path = at.length === 0 ? [] : [...at, i];
      if (this.deps.registry.consumer(input.consumer) === undefined)
        faults.push({ path: [...path, "consumer"], message: `there is no consumer ${JSON.stringify(input.consumer)}` });
      if (input.key !== undefined && input.hash !== undefined) faults.push({ path: [...path, "hash"], message: "give either key or hash" });
      // A secret that is made here is shown in the answer, and an import's answer shows none.
      if (at.length > 0 && input.key === undefined && input.hash === undefined)
        faults.push({ path: [...path, "key"], message: "is required: give a key or its hash" });
      // It would be refused at every request.
      if (input.key !== undefined && !isPlausible(input.key))
        faults.push({
          path: [...path, "key"],
          message: "reads like a key that Sluice made, but its checksum is wrong: it is mistyped or cut off",
        });
      faults.push(...ruleFaults(input, path));
      const secret = input.hash === undefined ? (input.key ?? makeKey()) : null;
      const hash = secret === null ? (input.hash ?? "").toLowerCase() : hashKey(secret);
      if (seen.has(hash)) faults.push({ path: [...path, input.hash === undefined ? "key" : "hash"], message: "stands here twice" });
      else if (this.deps.registry.findByHash(hash) !== undefined) {
        if (at.length === 0) throw refused("conflict", "This key exists already.");
        faults.push({ path: [...path, input.hash === undefined ? "key" : "hash"], message: "exists already" });
      }
      seen.add(hash);
      const row: Row = {
        ...EMPTY_ROW,
        id: `key_${Bun.randomUUIDv7("hex").replaceAll("-", "")}`,
        hash,
        start: secret === null ? "" : secret.slice(0, 8),
        end: secret === null ? "" : secret.slice(-4),
        consumer: input.consumer,
        ...(faults.length === 0 ? columns(input) : {}),
        createdAt: now,
        updatedAt: now,
      };
      return { row, secret };
    });
    if (faults.length > 0) throw invalid(faults.slice(0, 100));
    const [only] = made;
    const audited =
      at.length === 0 && only !== undefined
        ? { action: "key.create", subject: `key ${only.row.id}`, after: auditView(only.row) }
        : { action: "key.import", subject: `${made.length} keys`, after: { keys: made.map(({ row }) => row.id) } };
    this.deps.audit.change(audited, () => {
      // 100 rows a statement: few enough for SQLite's bound on parameters.
      for (let i = 0; i < made.length; i += 100)
        this.deps.storage.db
          .insert(keys)
          .values(made.slice(i, i + 100).map(({ row }) => row))
          .run();
    });
    for (const { row } of made) this.deps.registry.put(this.toEntry(row));
    return made;
  }

  private save(before: Row, row: Row, action: string): void {
    this.deps.audit.change({ action, subject: `key ${row.id}`, before: auditView(before), after: auditView(row) }, () => {
      const changed = this.deps.storage.db
        .update(keys)
        .set(row)
        .where(and(eq(keys.id, row.id), eq(keys.version, before.version)))
        .returning({ id: keys.id })
        .all();
      if (changed.length === 0) throw changedMeanwhile();
    });
    this.deps.registry.put(this.toEntry(row), this.deps.registry.findByHash(before.hash));
  }

  private changeable(id: string): Row {
    if (this.declared.has(id)) throw managedByConfig("key", id);
    return this.row(id);
  }

  private row(id: string): Row {
    const row = this.deps.storage.db.select().from(keys).where(eq(keys.id, id)).get();
    if (row === undefined) throw notFound("key", id);
    return row;
  }

  private statusIs(status: KeyRecord["status"]): SQL[] {
    const now = this.deps.clock.wall();
    const live = isNull(keys.revokedAt);
    const unexpired = sql`(${keys.expiresAt} IS NULL OR ${keys.expiresAt} > ${now})`;
    switch (status) {
      case "revoked":
        return [isNotNull(keys.revokedAt)];
      case "expired":
        return [live, lte(keys.expiresAt, now)];
      case "disabled":
        return [live, eq(keys.enabled, false), unexpired];
      case "active":
        return [live, eq(keys.enabled, true), unexpired];
    }
  }

  private toEntry(row: Row): KeyEntry {
    return {
      ...newEntry(row.id, this.deps.registry.consumerOrAbsent(row.consumer), row.hash),
      previousHash: row.previousHash,
      previousExpiresAt: row.previousExpiresAt ?? 0,
      scopes: row.scopes ?? [],
      routes: row.routes ?? [],
      ips: cidrsOf(row.ips ?? []),
      limits: row.limits as LimitConfig[] | null,
      quota: row.quota as QuotaConfig[] | null,
      expiresAt: row.expiresAt ?? Number.POSITIVE_INFINITY,
      off: row.revokedAt !== null ? "revoked" : row.enabled ? null : "disabled",
      lastUsedAt: row.lastUsedAt ?? 0,
    };
  }

  private toRecord(row: Row): KeyRecord {
    const now = this.deps.clock.wall();
    const lastUsedAt = Math.max(row.lastUsedAt ?? 0, this.deps.registry.findByHash(row.hash)?.lastUsedAt ?? 0);
    return {
      id: row.id,
      start: row.start,
      end: row.end,
      consumer: row.consumer,
      name: row.name,
      status:
        row.revokedAt !== null
          ? "revoked"
          : row.expiresAt !== null && row.expiresAt <= now
            ? "expired"
            : row.enabled
              ? "active"
              : "disabled",
      source: "admin",
      scopes: row.scopes ?? [],
      routes: row.routes ?? [],
      ips: row.ips ?? [],
      limits: row.limits,
      quota: row.quota as unknown[] | null,
      metadata: row.metadata,
      enabled: row.enabled,
      expiresAt: timeText(row.expiresAt),
      createdAt: timeText(row.createdAt),
      updatedAt: timeText(row.updatedAt),
      lastUsedAt: lastUsedAt === 0 ? null : timeText(lastUsedAt),
      revokedAt: timeText(row.revokedAt),
      previousExpiresAt: row.previousExpiresAt !== null && row.previousExpiresAt > now ? timeText(row.previousExpiresAt) : null,
    };
  }
}

/** Gives a key as the audit log has it: all that is known of it but its hash. */
const auditView = (row: Row) => ({
  consumer: row.consumer,
  start: row.start,
  end: row.end,
  name: row.name,
  scopes: row.scopes,
  routes: row.routes,
  ips: row.ips,
  limits: row.limits,
  quota: row.quota,
  metadata: row.metadata,
  enabled: row.enabled,
  expiresAt: timeText(row.expiresAt),
  revokedAt: timeText(row.revokedAt),
});

const EMPTY_ROW = {
  previousHash: null,
  previousExpiresAt: null,
  name: null,
  scopes: null,
  routes: null,
  ips: null,
  limits: null,
  quota: null,
  metadata: null,
  enabled: true,
  expiresAt: null,
  revokedAt: null,
  lastUsedAt: null,
  version: 1,
};

const NOTHING: readonly string[] = [];
const listOf = (json: string | null): readonly string[] => (json === null ? NOTHING : (JSON.parse(json) as string[]));
const cidrsOf = (ips: readonly string[]): CidrSet | null => (ips.length === 0 ? null : new CidrSet(ips));

const newEntry = (id: string, consumer: ConsumerEntry, hash: string): KeyEntry => ({
  via: "key",
  id,
  consumer,
  hash,
  previousHash: null,
  previousExpiresAt: 0,
  scopes: NOTHING,
  routes: NOTHING,
  ips: null,
  limits: null,
  quota: null,
  expiresAt: Number.POSITIVE_INFINITY,
  off: null,
  lastUsedAt: 0,
  policies: null,
  version: 0,
});

/** Gives the faults of a key that a schema can't express. */
function ruleFaults(input: Omit<NewKey, "consumer">, at: Fault["path"]): Fault[] {
  const faults: Fault[] = [
    ...limitFaults(input.limits ?? [], [...at, "limits"]),
    ...fillIn(editable.quota, input.quota ?? null).faults.map((fault) => ({ ...fault, path: [...at, "quota", ...fault.path] })),
  ];
  if (faults.length === 0) faults.push(...quotaFaults(filled(input.quota), [...at, "quota"]));
  for (const [i, ip] of (input.ips ?? []).entries())
    if (!isCidr(ip))
      faults.push({ path: [...at, "ips", i], message: `must be an address or a block such as "10.0.0.0/8", got ${JSON.stringify(ip)}` });
  if (input.expiresAt !== undefined && parseTime(input.expiresAt) === null)
    faults.push({ path: [...at, "expiresAt"], message: 'must be an RFC 3339 time such as "2027-01-31T00:00:00Z"' });
  faults.push(...metadataFaults(input.metadata, at));
  return faults;
}

const columns = (input: Omit<NewKey, "consumer">) => ({
  name: input.name ?? null,
  scopes: orNull(input.scopes),
  routes: orNull(input.routes),
  ips: orNull(input.ips),
  limits: orNull(input.limits),
  quota: orNull([...quotaList(filled(input.quota))]),
  metadata: input.metadata ?? null,
  enabled: input.enabled ?? true,
  expiresAt: input.expiresAt === undefined ? null : parseTime(input.expiresAt),
});

/** Gives a quota with its defaults filled in. */
const filled = (quota: NewKey["quota"]): QuotaConfig | QuotaConfig[] | null =>
  fillIn(editable.quota, quota ?? null).value as QuotaConfig | QuotaConfig[] | null;

const orNull = <T>(list: T[] | undefined): T[] | null => (list === undefined || list.length === 0 ? null : list);

/** Holds a key that the file declares. */
interface Declared extends KeyEntry {
  readonly given: DeclaredKey;
}

const declaredEntry = (given: DeclaredKey, id: string, consumer: ConsumerEntry, hash: string): Declared => ({
  ...newEntry(id, consumer, hash),
  scopes: given.scopes ?? NOTHING,
  routes: given.routes ?? NOTHING,
  ips: cidrsOf(given.ips ?? NOTHING),
  limits: given.limits ?? null,
  expiresAt: (given.expiresAt === undefined ? null : parseTime(given.expiresAt)) ?? Number.POSITIVE_INFINITY,
  given,
});

/** Gives a declared key as the API shows it. `now` in milliseconds since 1970. */
function declaredRecord(entry: Declared, now: number): KeyRecord {
  const { given } = entry;
  const isHashed = HASHED.test(given.key);
  return {
    id: entry.id,
    start: isHashed ? "" : given.key.slice(0, 8),
    end: isHashed ? "" : given.key.slice(-4),
    consumer: entry.consumer.id,
    name: given.name ?? null,
    status: now >= entry.expiresAt ? "expired" : entry.consumer.enabled ? "active" : "disabled",
    source: "config",
    scopes: [...entry.scopes],
    routes: [...entry.routes],
    ips: [...(given.ips ?? [])],
    limits: given.limits ?? null,
    quota: null,
    metadata: null,
    enabled: true,
    expiresAt: timeText(entry.expiresAt),
    createdAt: null,
    updatedAt: null,
    lastUsedAt: entry.lastUsedAt === 0 ? null : timeText(entry.lastUsedAt),
    revokedAt: null,
    previousExpiresAt: null,
  };
}
