import { type Static, Type } from "@sinclair/typebox";
import { and, asc, eq, gt, inArray, isNull, or } from "drizzle-orm";
import type { Audit } from "../audit/audit.ts";
import { type ConsumerConfig, type DeclaredKey, declaredKey } from "../consumers/settings.ts";
import { ADDRESS_SHOWN, checkMatch, durationOf, mergePatch, Source, Time, timeText } from "../http/conventions.ts";
import { metadataFaults } from "../http/json-bounds.ts";
import { changedMeanwhile, invalid, managedByConfig, notFound, refused } from "../http/refused.ts";
import { LimitConfig, limitFaults, type QuotaConfig, Quotas, quotaFaults, quotaList } from "../limits/settings.ts";
import { type Condition, type Listing, type Page, places, type Wanted } from "../records/listing.ts";
import { small } from "../records/search.ts";
import type { Fault } from "../schema/faults.ts";
import { ModelNames, Scope } from "../schema/fields.ts";
import { fillIn } from "../schema/fill-in.ts";
import { type Bus, NoAnswer } from "../shared/bus.ts";
import type { Storage } from "../storage/open.ts";
import { keys } from "../storage/schema.ts";
import type { Clock } from "../values/clock.ts";
import { isCidr } from "../values/ip.ts";
import { declaredHash, HASHED, hashKey, isPlausible, makeKey } from "../values/key-format.ts";
import { namesOf } from "../values/name-patterns.ts";
import { parseTime } from "../values/units.ts";
import type { ConsumerEntry, KeyEntry, KeyRegistry } from "./registry.ts";
import { cidrsOf, type Stored } from "./stored.ts";

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
  models: Type.Optional(ModelNames("The models it may call, as its consumer may; none means all.")),
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
    models: nullable(editable.models),
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
  madeFrom: OrNull(
    "The id of the key from which its holder made it by self-service: it can do no more than that one, is good no longer, and has its limits and quotas, which count both as one. null: you made it.",
  ),
  scopes: Type.Array(Type.String(), { description: "Its scopes." }),
  routes: Type.Array(Type.String(), { description: "Names of the routes it may use; none means all." }),
  ips: Type.Array(Type.String(), { description: "Addresses it may be used from; none means all." }),
  models: Type.Array(Type.String(), { description: "The models it may call, as its consumer may; none means all." }),
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

/** Says which keys a list has. */
export interface KeyFilter {
  readonly consumer?: string | undefined;
  readonly status?: KeyRecord["status"] | undefined;
  readonly source?: KeyRecord["source"] | undefined;
}

/** Behind all times: where keys that never expire stand in an order. */
const NEVER = Number.MAX_SAFE_INTEGER;
const timeOf = (text: string | null, otherwise: number): number => (text === null ? otherwise : Date.parse(text));

const LISTING: Listing<KeyRecord> = {
  table: "keys",
  sorts: {
    id: { sql: "id", of: ({ id }) => id },
    name: { sql: "lower(coalesce(name, ''))", of: ({ name }) => small(name ?? "") },
    consumer: { sql: "consumer", of: ({ consumer }) => consumer },
    createdAt: { sql: "created_at", of: ({ createdAt }) => timeOf(createdAt, 0) },
    updatedAt: { sql: "updated_at", of: ({ updatedAt }) => timeOf(updatedAt, 0) },
    lastUsedAt: { sql: "coalesce(last_used_at, 0)", of: ({ lastUsedAt }) => timeOf(lastUsedAt, 0) },
    expiresAt: { sql: `coalesce(expires_at, ${NEVER})`, of: ({ expiresAt }) => timeOf(expiresAt, NEVER) },
  },
  searched: {
    columns: ["id", "name", "consumer", "start", '"end"'],
    of: ({ id, name, consumer, start, end }) => [id, name, consumer, start, end],
  },
};

/** What a list of keys may be sorted by. */
export const KEY_SORTS = Object.keys(LISTING.sorts);

type Row = typeof keys.$inferSelect;

/** Holds a key as a dump has it: its hash, what is shown of it, and what may be changed of it. */
export interface DumpedKey extends Omit<NewKey, "consumer" | "key" | "hash"> {
  readonly hash: string;
  readonly start: string;
  readonly end: string;
}

/** What operators keep with a record: anything that is JSON. */
export type Metadata = Record<string, unknown>;

/** Holds what is shown of a key's secret. */
interface ShownOfKey {
  readonly start: string;
  readonly end: string;
}

const NOTHING_SHOWN: ShownOfKey = { start: "", end: "" };

/** Says from which key its holder makes another, and looks whether they may. */
export interface OwnKey {
  readonly madeFrom: string;
  readonly check: () => void;
}

export interface KeysDeps {
  readonly storage: Storage;
  readonly clock: Clock;
  readonly audit: Audit;
  readonly registry: KeyRegistry;
  readonly stored: Pick<Stored, "placeOf">;
  /** Takes to the keeper what a worker may not write. */
  readonly bus: Pick<Bus, "role" | "askKeeper" | "answer">;
  readonly onFault: (error: unknown) => void;
}

/** The topic under which workers tell the keeper when keys were used last. */
const KEYS_USED = "keys.used";
/** Milliseconds within which the keeper takes what a worker tells it: meanwhile there may be none. */
const HANDED_OVER_WITHIN = 30_000;
/** The most keys of a consumer that its holders see. */
const MAX_STANDING = 500;
/** The most keys whose last use is remembered while it can't be written. */
const MAX_UNWRITTEN = 100_000;

/** Makes, imports, rotates and revokes keys. The database has their hashes; the registry answers requests. */
export class Keys {
  private declared = new Map<string, Declared>();
  /** When keys were used last, of those for which that could not be written so far. */
  private unwritten = new Map<string, number>();

  constructor(private readonly deps: KeysDeps) {
    if (deps.bus.role !== "worker") deps.bus.answer(KEYS_USED, (used: [id: string, at: number][]) => this.writeUsed(used));
  }

  /** Learns which keys the admin API has made. */
  load(): void {
    this.deps.registry.load();
  }

  /** Gives the faults of declared keys that the admin API made or imported already. */
  clashes(consumers: readonly ConsumerConfig[]): Fault[] {
    return consumers.flatMap((consumer, i) =>
      consumer.keys.flatMap((key, j) => {
        return this.deps.registry.isStored(declaredHash(declaredKey(key).key))
          ? [{ path: ["consumers", i, "keys", j], message: "is a key that the admin API made or imported already" }]
          : [];
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
        const id = declaredIdOf(given);
        const known = before.get(id);
        const isKept = known?.consumer.id === consumer.id && Bun.deepEquals(known.given, given);
        const owner = registry.consumerOrAbsent(consumer.id);
        const entry = isKept ? known : declaredEntry(given, id, owner, hash);
        entry.consumer = owner;
        this.declared.set(id, entry);
        if (!isKept) registry.declare(entry, known);
      }
    }
    for (const [id, entry] of before) if (!this.declared.has(id)) registry.withdraw(entry);
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

  /** Tells whether there is a key of this id, good or not. */
  has(id: string): boolean {
    return this.declared.has(id) || this.deps.storage.db.select({ id: keys.id }).from(keys).where(eq(keys.id, id)).get() !== undefined;
  }

  /** Imports a key by its hash, with what is shown of its secret, from where it was dumped. Throws 409 where it is there already. */
  importDumped(input: NewKey, shown: ShownOfKey): string {
    return this.insert([input], [], { shown })[0]?.row.id ?? "";
  }

  /**
   * Gives a consumer's keys that the API made and that are not revoked, as a dump has them, by their ids. Those that their holders made are
   * left out: put back without the key that they were made from they would be an operator's, with rights of their own.
   */
  dumpOf(consumer: string): (DumpedKey & { readonly id: string })[] {
    const rows = this.deps.storage.db
      .select()
      .from(keys)
      .where(and(eq(keys.consumer, consumer), isNull(keys.revokedAt), isNull(keys.madeFrom)))
      .orderBy(asc(keys.id))
      .all();
    return rows.map((row) => {
      const { id, hash, start, end, name, scopes, routes, ips, models, limits, quota, metadata, enabled } = row;
      const fields = { name, scopes, routes, ips, models, limits, quota, metadata, expiresAt: timeText(row.expiresAt), enabled };
      // The columns hold what the API takes.
      return { id, hash, start, end, ...Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== null)) } as DumpedKey & {
        id: string;
      };
    });
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

  /** Gives the keys of a page, and the cursor of the next one. */
  async page({ consumer, status, source }: KeyFilter, wanted: Omit<Wanted, "conditions" | "isNarrow">): Promise<Page<KeyRecord>> {
    const now = this.deps.clock.wall();
    const conditions: Condition[] = [];
    if (consumer !== undefined) conditions.push({ sql: "consumer = ?", values: [consumer] });
    if (status !== undefined) conditions.push(statusIs(status, now));
    // There are none of the file in the table.
    if (source === "config") conditions.push({ sql: "0", values: [] });
    const declared = this.declaredOf(consumer, now).filter(
      (record) => (status ?? record.status) === record.status && (source ?? record.source) === record.source,
    );
    const { db, client } = this.deps.storage;
    const isNarrow = consumer !== undefined || source === "config";
    const { found, nextCursor } = await places(client, LISTING, { ...wanted, conditions, isNarrow }, declared);
    const ids = found.map(({ id }) => id);
    const rows = db.select().from(keys).where(inArray(keys.id, ids)).all();
    const byId = new Map([...rows.map((row) => this.toRecord(row)), ...declared].map((record) => [record.id, record]));
    // One may have been deleted since.
    return { items: ids.flatMap((id) => byId.get(id) ?? []), nextCursor };
  }

  /** Gives the keys that the file declares and that expire after the one time and until the other, in milliseconds since 1970. */
  declaredExpiring(
    after: number,
    until: number,
  ): { id: string; consumer: string; name: string | null; start: string; end: string; expiresAt: number }[] {
    return [...this.declared.values()].flatMap((entry) => {
      const { expiresAt } = entry;
      if (expiresAt === null || expiresAt <= after || expiresAt > until) return [];
      const { id, consumer, name, start, end } = declaredRecord(entry, after);
      return [{ id, consumer, name, start, end, expiresAt }];
    });
  }

  patch(id: string, patch: Static<typeof KeyPatch>, ifMatch: string | null): { record: KeyRecord; version: number } {
    const before = this.changeable(id);
    checkMatch(ifMatch, before.version);
    const editableNow = {
      name: before.name,
      scopes: before.scopes,
      routes: before.routes,
      ips: before.ips,
      models: before.models,
      limits: before.limits,
      quota: before.quota,
      metadata: before.metadata,
      expiresAt: timeText(before.expiresAt),
      enabled: before.enabled,
    };
    const withoutNulls = Object.fromEntries(Object.entries(editableNow).filter(([, value]) => value !== null));
    const merged = mergePatch(withoutNulls, patch) as Omit<NewKey, "consumer">;
    const faults = [...ruleFaults(merged, []), ...limitsOfMade(merged, before.madeFrom)];
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

  /** Makes a key in its holder's name. `own.check` runs within the transaction: what it throws keeps the key from being made. */
  createOwn(input: NewKey, own: OwnKey): { record: KeyRecord; secret: string } {
    const [made] = this.insert([input], [], { own });
    if (made === undefined || made.secret === null) throw new Error("no key was made");
    return { record: this.toRecord(made.row), secret: made.secret };
  }

  /**
   * Gives the keys of a consumer that are neither revoked nor over, by id, 500 at most. Throws what the database throws.
   */
  standingOf(consumer: string): KeyRecord[] {
    const now = this.deps.clock.wall();
    const rows = this.deps.storage.db
      .select()
      .from(keys)
      .where(and(eq(keys.consumer, consumer), isNull(keys.revokedAt), or(isNull(keys.expiresAt), gt(keys.expiresAt, now))))
      .orderBy(asc(keys.id))
      .limit(MAX_STANDING)
      .all();
    const declared = this.declaredOf(consumer, now);
    return [...rows.map((row) => this.toRecord(row)), ...declared]
      .filter(({ status, expiresAt }) => status !== "revoked" && (expiresAt === null || Date.parse(expiresAt) > now))
      .sort((a, b) => (a.id < b.id ? -1 : 1))
      .slice(0, MAX_STANDING);
  }

  /** Gives when the keys were made that a consumer's holders have made after `from`, the earliest first (milliseconds since 1970). */
  madeBy(consumer: string, from: number): number[] {
    return this.deps.storage.client
      .query<{ at: number }, [string, number]>(
        "SELECT created_at AS at FROM keys WHERE consumer = ?1 AND made_from IS NOT NULL AND created_at > ?2 ORDER BY created_at",
      )
      .all(consumer, from)
      .map(({ at }) => at);
  }

  /** Revokes a key, and those that its holder made from it: they are refused from the next request on, and their records stay. */
  revoke(id: string, ifMatch: string | null): void {
    const before = this.changeable(id);
    checkMatch(ifMatch, before.version);
    if (before.revokedAt !== null) return;
    const made = this.deps.storage.db
      .select()
      .from(keys)
      .where(and(eq(keys.madeFrom, id), isNull(keys.revokedAt)))
      .all();
    const now = this.deps.clock.wall();
    for (const each of [before, ...made])
      this.save(each, { ...each, revokedAt: now, version: each.version + 1, updatedAt: now }, "key.revoke");
  }

  /**
   * Deletes a consumer's keys within the caller's transaction. Gives a function that removes them from the registry, to be called once that
   * is committed.
   */
  removeOf(consumer: string): () => void {
    const rows = this.deps.storage.client
      .query<Pick<Row, "id" | "hash" | "previousHash">, [string]>(
        "DELETE FROM keys WHERE consumer = ?1 RETURNING id, hash, previous_hash AS previousHash",
      )
      .all(consumer);
    return () => {
      for (const { id, hash, previousHash } of rows) this.deps.registry.follow(id, null, [hash, previousHash]);
    };
  }

  /** Gives the entries of a consumer's keys that may be used. */
  entriesOf(consumer: string): KeyEntry[] {
    return this.deps.registry.keysOf(consumer);
  }

  /** Takes over that another process has made, changed or deleted a key. `was`: its hash before that, `null` for a new one. */
  refresh(id: string, was: string | null): void {
    const { registry, stored } = this.deps;
    try {
      registry.follow(id, stored.placeOf(id), [was]);
    } catch (error) {
      // It may be revoked.
      if (was !== null) registry.forget(was);
      throw error;
    }
  }

  /** Writes the times at which keys were used last, or hands them to the keeper; for a timer. What is not taken is tried again. */
  flushUsed(): void {
    const { registry, bus, onFault } = this.deps;
    const used = registry.takeUsed();
    for (const [id, at] of this.unwritten) if (used.size < MAX_UNWRITTEN || used.has(id)) used.set(id, Math.max(at, used.get(id) ?? 0));
    this.unwritten = used;
    if (used.size === 0) return;
    const list = [...used];
    if (bus.role !== "worker") {
      this.writeUsed(list);
      this.unwritten = new Map();
      return;
    }
    this.unwritten = new Map();
    void bus.askKeeper(KEYS_USED, list, HANDED_OVER_WITHIN).catch((error) => {
      for (const [id, at] of list) if (!this.unwritten.has(id)) this.unwritten.set(id, at);
      // A keeper that died is told of elsewhere, and another one comes.
      if (!(error instanceof NoAnswer)) onFault(error);
    });
  }

  /**
   * Writes when keys were used last: ids and milliseconds since 1970. Of two times of a key the later one stays. That of a key that the file
   * declares is kept in memory.
   */
  writeUsed(used: readonly (readonly [id: string, at: number])[]): void {
    const { client } = this.deps.storage;
    const stored = used.filter(([id, at]) => {
      const declared = this.declared.get(id);
      if (declared !== undefined) declared.lastUsedAt = Math.max(declared.lastUsedAt, at);
      return declared === undefined;
    });
    if (stored.length === 0) return;
    const update = client.query("UPDATE keys SET last_used_at = ?1 WHERE id = ?2 AND coalesce(last_used_at, 0) < ?1");
    client
      .transaction(() => {
        for (const [id, at] of stored) update.run(at, id);
      })
      .immediate();
  }

  private insert(
    inputs: readonly NewKey[],
    at: Fault["path"],
    { own = null, shown = NOTHING_SHOWN }: { readonly own?: OwnKey | null; readonly shown?: ShownOfKey } = {},
  ): { row: Row; secret: string | null }[] {
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
      else if (this.deps.registry.isTaken(hash)) {
        if (at.length === 0) throw refused("conflict", "This key exists already.");
        faults.push({ path: [...path, input.hash === undefined ? "key" : "hash"], message: "exists already" });
      }
      seen.add(hash);
      const row: Row = {
        ...EMPTY_ROW,
        id: `key_${Bun.randomUUIDv7("hex").replaceAll("-", "")}`,
        hash,
        start: secret === null ? shown.start : secret.slice(0, 8),
        end: secret === null ? shown.end : secret.slice(-4),
        consumer: input.consumer,
        madeFrom: own?.madeFrom ?? null,
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
    const rows = this.deps.audit.change(audited, () => {
      own?.check();
      return made.map(({ row }) => this.put(row));
    });
    for (const [i, { row }] of made.entries()) this.deps.registry.follow(row.id, { ...row, row: rows[i] as number }, []);
    return made;
  }

  /** Inserts a row, and gives its number. Drizzle would take twice as long for a million of them. */
  private put(row: Row): number {
    const { lastInsertRowid } = this.deps.storage.client.query(INSERT).run(...INSERTED.map(([, of]) => of(row)));
    return Number(lastInsertRowid);
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
    this.deps.registry.follow(row.id, this.deps.stored.placeOf(row.id), [before.hash, before.previousHash]);
  }

  /** Gives the records of the keys that the file declares, of one consumer or of all. Theirs alone are made: there may be many others. */
  private declaredOf(consumer: string | undefined, now: number): KeyRecord[] {
    const entries = [...this.declared.values()];
    return (consumer === undefined ? entries : entries.filter((entry) => entry.consumer.id === consumer)).map((entry) =>
      declaredRecord(entry, now),
    );
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

  private toRecord(row: Row): KeyRecord {
    const record = this.recordOf(row);
    const entry = row.madeFrom === null ? null : this.deps.registry.byId(row.id);
    return entry === null ? record : { ...record, ...narrowedRecord(entry, this.deps.clock.wall()) };
  }

  private recordOf(row: Row): KeyRecord {
    const now = this.deps.clock.wall();
    const lastUsedAt = Math.max(row.lastUsedAt ?? 0, this.deps.registry.lastUseOf(row.hash));
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
      madeFrom: row.madeFrom,
      scopes: row.scopes ?? [],
      routes: row.routes ?? [],
      ips: row.ips ?? [],
      models: row.models ?? [],
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

/** Gives the condition that a key of the table has this status at `now` (milliseconds since 1970). */
function statusIs(status: KeyRecord["status"], now: number): Condition {
  const live = "revoked_at IS NULL";
  const unexpired = "(expires_at IS NULL OR expires_at > ?)";
  switch (status) {
    case "revoked":
      return { sql: "revoked_at IS NOT NULL", values: [] };
    case "expired":
      return { sql: `${live} AND expires_at <= ?`, values: [now] };
    case "disabled":
      return { sql: `${live} AND NOT enabled AND ${unexpired}`, values: [now] };
    case "active":
      return { sql: `${live} AND enabled AND ${unexpired}`, values: [now] };
  }
}

/** Gives what a key that its holder made may do, as far as the one allows from which it was made. `now` in milliseconds since 1970. */
const narrowedRecord = ({ scopes, routes, ips, models, limits, quota, expiresAt, off }: KeyEntry, now: number) => ({
  status: off === "revoked" ? off : now >= expiresAt ? ("expired" as const) : (off ?? ("active" as const)),
  scopes: [...scopes],
  routes: [...routes],
  ips: [...(ips?.list ?? [])],
  models: [...(models?.list ?? [])],
  limits: limits === null ? null : [...limits],
  quota: quota === null ? null : [...quota],
  expiresAt: timeText(expiresAt === Number.POSITIVE_INFINITY ? null : expiresAt),
});

/** Gives a key as the audit log has it: all that is known of it but its hash. */
const auditView = (row: Row) => ({
  consumer: row.consumer,
  ...(row.madeFrom === null ? {} : { madeFrom: row.madeFrom }),
  start: row.start,
  end: row.end,
  name: row.name,
  scopes: row.scopes,
  routes: row.routes,
  ips: row.ips,
  models: row.models,
  limits: row.limits,
  quota: row.quota,
  metadata: row.metadata,
  enabled: row.enabled,
  expiresAt: timeText(row.expiresAt),
  revokedAt: timeText(row.revokedAt),
});

const EMPTY_ROW = {
  madeFrom: null,
  previousHash: null,
  previousExpiresAt: null,
  name: null,
  scopes: null,
  routes: null,
  ips: null,
  models: null,
  limits: null,
  quota: null,
  metadata: null,
  enabled: true,
  expiresAt: null,
  revokedAt: null,
  lastUsedAt: null,
  version: 1,
};

const json = (value: unknown): string | null => (value === null ? null : JSON.stringify(value));

/** The columns of a new key, and what stands in them. */
const INSERTED: readonly (readonly [column: string, of: (row: Row) => string | number | null])[] = [
  ["id", (row) => row.id],
  ["hash", (row) => row.hash],
  ["start", (row) => row.start],
  ['"end"', (row) => row.end],
  ["consumer", (row) => row.consumer],
  ["made_from", (row) => row.madeFrom],
  ["name", (row) => row.name],
  ["scopes", (row) => json(row.scopes)],
  ["routes", (row) => json(row.routes)],
  ["ips", (row) => json(row.ips)],
  ["models", (row) => json(row.models)],
  ["limits", (row) => json(row.limits)],
  ["quota", (row) => json(row.quota)],
  ["metadata", (row) => json(row.metadata)],
  ["enabled", (row) => (row.enabled ? 1 : 0)],
  ["expires_at", (row) => row.expiresAt],
  ["version", (row) => row.version],
  ["created_at", (row) => row.createdAt],
  ["updated_at", (row) => row.updatedAt],
];
const INSERT = `INSERT INTO keys (${INSERTED.map(([column]) => column).join(", ")}) VALUES (${INSERTED.map((_, i) => `?${i + 1}`).join(", ")})`;

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

/** Gives the faults of limits of its own for a key that its holder made: they would count by other numbers what both keys have used. */
const limitsOfMade = ({ limits, quota }: Pick<NewKey, "limits" | "quota">, madeFrom: string | null): Fault[] =>
  madeFrom === null
    ? []
    : Object.entries({ limits, quota })
        .filter(([, given]) => given !== undefined && given !== null && !(Array.isArray(given) && given.length === 0))
        .map(([field]) => ({
          path: [field],
          message: `can't be set: the key's holder made it from ${madeFrom}, and both share the limits and quotas of that one; change those, or leave this out`,
        }));

const columns = (input: Omit<NewKey, "consumer">) => ({
  name: input.name ?? null,
  scopes: orNull(input.scopes),
  routes: orNull(input.routes),
  ips: orNull(input.ips),
  models: orNull(input.models),
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
  via: "key",
  id,
  consumer,
  hash,
  previousHash: null,
  previousExpiresAt: 0,
  madeFrom: null,
  scopes: given.scopes ?? [],
  routes: given.routes ?? [],
  ips: cidrsOf(given.ips ?? []),
  models: namesOf(given.models),
  limits: given.limits ?? null,
  quota: null,
  expiresAt: (given.expiresAt === undefined ? null : parseTime(given.expiresAt)) ?? Number.POSITIVE_INFINITY,
  off: null,
  lastUsedAt: 0,
  policies: null,
  version: 0,
  resolvedAt: -1,
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
    madeFrom: null,
    scopes: [...entry.scopes],
    routes: [...entry.routes],
    ips: [...(given.ips ?? [])],
    models: [...(given.models ?? [])],
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

/** Gives the id of a key that the file declares: the same as long as the key is. */
export const declaredIdOf = ({ key }: Pick<DeclaredKey, "key">): string => `key_${declaredHash(key).slice(0, 16)}`;
