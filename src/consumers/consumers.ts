import { type Static, Type } from "@sinclair/typebox";
import { and, asc, eq, gt, inArray } from "drizzle-orm";
import type { Audit } from "../audit/audit.ts";
import type { Known } from "../config/section.ts";
import { checkMatch, mergePatch } from "../http/conventions.ts";
import { metadataFaults } from "../http/json-bounds.ts";
import { changedMeanwhile, invalid, managedByConfig, notFound, refused } from "../http/refused.ts";
import type { KeyRegistry } from "../keys/registry.ts";
import { type LimitConfig, type QuotaConfig, quotaFaults, quotaList } from "../limits/settings.ts";
import { type Condition, type Listing, type Page, places, type Wanted } from "../records/listing.ts";
import { small } from "../records/search.ts";
import { ModelNames } from "../schema/fields.ts";
import { fillIn } from "../schema/fill-in.ts";
import type { Storage } from "../storage/open.ts";
import { consumers, keys } from "../storage/schema.ts";
import type { Clock } from "../values/clock.ts";
import { namesOf } from "../values/name-patterns.ts";
import { ConsumerConfig, consumerFaults, StoredConsumerId } from "./settings.ts";

const { tier, name, limits, quota, models, metadata, enabled } = ConsumerConfig.properties;

/** Describes the body that makes a consumer. */
export const NewConsumer = Type.Object(
  { id: StoredConsumerId, tier, name, limits, quota: Type.Optional(quota), models, metadata, enabled: Type.Optional(enabled) },
  { additionalProperties: false, description: "A consumer to make." },
);
export type NewConsumer = Static<typeof NewConsumer>;

/** Describes a merge patch of a consumer (RFC 7396): a given field is changed, null removes one. */
export const ConsumerPatch = Type.Object(
  {
    tier: Type.Optional(tier),
    name: Type.Optional(Type.Union([Type.String({ maxLength: 256 }), Type.Null()], { description: "A name for people." })),
    limits: Type.Optional(
      Type.Union([Type.Array(Type.Unknown()), Type.Null()], {
        description: "Limits of this consumer, instead of its tier's; null for the tier's.",
      }),
    ),
    quota: Type.Optional(
      Type.Union([Type.Object({}, { additionalProperties: true }), Type.Array(Type.Unknown()), Type.Null()], {
        description: "A quota of this consumer, or a list of them, instead of its tier's; null for the tier's.",
      }),
    ),
    models: Type.Optional(
      Type.Union([ModelNames("The models it may call."), Type.Null()], {
        description: "The models it may call with any of its keys and tokens; none and null mean all.",
      }),
    ),
    metadata: Type.Optional(
      Type.Union([Type.Record(Type.String(), Type.Unknown()), Type.Null()], { description: "Anything you want to keep with it." }),
    ),
    enabled: Type.Optional(Type.Boolean({ description: "Whether its keys are good." })),
  },
  { additionalProperties: false, description: "What to change (RFC 7396)." },
);

export interface Consumer {
  readonly id: string;
  readonly tier: string;
  readonly name: string | null;
  readonly limits: readonly LimitConfig[] | null;
  readonly quota: readonly QuotaConfig[] | null;
  /** `null`: all. */
  readonly models: readonly string[] | null;
  readonly metadata: Record<string, unknown> | null;
  readonly enabled: boolean;
  readonly source: "config" | "admin";
  readonly version: number;
  /** Milliseconds since 1970; `null` for a declared one. */
  readonly createdAt: number | null;
  readonly updatedAt: number | null;
}

/** Says which consumers a list has. */
export interface ConsumerFilter {
  readonly tier?: string | undefined;
  readonly enabled?: boolean | undefined;
  readonly source?: Consumer["source"] | undefined;
}

const LISTING: Listing<Consumer> = {
  table: "consumers",
  sorts: {
    id: { sql: "id", of: ({ id }) => id },
    name: { sql: "lower(coalesce(name, ''))", of: ({ name }) => small(name ?? "") },
    tier: { sql: "tier", of: ({ tier }) => tier },
    createdAt: { sql: "created_at", of: ({ createdAt }) => createdAt ?? 0 },
    updatedAt: { sql: "updated_at", of: ({ updatedAt }) => updatedAt ?? 0 },
  },
  searched: { columns: ["id", "name"], of: ({ id, name }) => [id, name] },
};

/** What a list of consumers may be sorted by. */
export const CONSUMER_SORTS = Object.keys(LISTING.sorts);

export interface ConsumersDeps {
  readonly storage: Storage;
  readonly clock: Clock;
  readonly audit: Audit;
  readonly registry: KeyRegistry;
  readonly known: () => Known;
  /** Ends what lets a consumer in to the page for consumers, within the caller's transaction. */
  readonly endSessions: (consumer: string) => void;
}

/** Keeps those who may call: declared in the file, or made by the admin API and kept in the database. */
export class Consumers {
  private declared = new Map<string, Consumer>();

  constructor(private readonly deps: ConsumersDeps) {}

  /** Tells whether the admin API made a consumer of this id. */
  isFromApi(id: string): boolean {
    return !this.declared.has(id) && this.deps.registry.consumer(id) !== undefined;
  }

  /** Replaces the consumers that the file declared before by those that it declares now. */
  declare(declared: readonly ConsumerConfig[]): void {
    const before = this.declared;
    this.declared = new Map(
      declared.map((config) => [
        config.id,
        {
          id: config.id,
          tier: config.tier,
          name: config.name ?? null,
          limits: config.limits ?? null,
          quota: orNull(config.quota),
          models: someOrNull(config.models),
          metadata: config.metadata ?? null,
          enabled: config.enabled,
          source: "config",
          version: 1,
          createdAt: null,
          updatedAt: null,
        },
      ]),
    );
    const { registry } = this.deps;
    for (const id of before.keys()) if (!this.declared.has(id)) registry.withdrawConsumer(id);
    for (const { id, tier, enabled, limits, quota, models } of this.declared.values())
      registry.declareConsumer({ id, tier, enabled, limits, quota, models: namesOf(models) });
  }

  get(id: string): Consumer {
    const found = this.declared.get(id) ?? this.stored(id);
    if (found === undefined) throw notFound("consumer", id);
    return found;
  }

  /** Gives what is kept with a consumer; `null` where nothing is, or there is no such consumer. */
  metadataOf(id: string): Record<string, unknown> | null {
    return (this.declared.get(id) ?? this.stored(id))?.metadata ?? null;
  }

  /** Gives the consumers of a page, and the cursor of the next one. */
  async page({ tier, enabled, source }: ConsumerFilter, wanted: Omit<Wanted, "conditions" | "isNarrow">): Promise<Page<Consumer>> {
    const conditions: Condition[] = [];
    if (tier !== undefined) conditions.push({ sql: "tier = ?", values: [tier] });
    if (enabled !== undefined) conditions.push({ sql: "enabled = ?", values: [enabled ? 1 : 0] });
    // There are none of the file in the table.
    if (source === "config") conditions.push({ sql: "0", values: [] });
    const declared = [...this.declared.values()].filter(
      (consumer) =>
        (tier ?? consumer.tier) === consumer.tier &&
        (enabled ?? consumer.enabled) === consumer.enabled &&
        (source ?? consumer.source) === consumer.source,
    );
    const { db, client } = this.deps.storage;
    const { found, nextCursor } = await places(client, LISTING, { ...wanted, conditions, isNarrow: source === "config" }, declared);
    const rows = db
      .select()
      .from(consumers)
      .where(
        inArray(
          consumers.id,
          found.map(({ id }) => id),
        ),
      )
      .all();
    const byId = new Map(rows.map((row) => [row.id, fromRow(row)]));
    // One may have been deleted since.
    return { items: found.flatMap(({ id }) => this.declared.get(id) ?? byId.get(id) ?? []), nextCursor };
  }

  /** Gives up to `limit` consumers that the API made and whose ids come after `after`, by id. */
  storedAfter(after: string, limit: number): Consumer[] {
    return this.deps.storage.db
      .select()
      .from(consumers)
      .where(gt(consumers.id, after))
      .orderBy(asc(consumers.id))
      .limit(limit)
      .all()
      .map(fromRow);
  }

  create(input: NewConsumer): Consumer {
    if (this.deps.registry.consumer(input.id) !== undefined)
      throw refused("conflict", `There is a consumer ${JSON.stringify(input.id)} already: change it, or choose another id.`);
    const now = this.deps.clock.wall();
    const consumer = this.checked({
      ...input,
      name: input.name ?? null,
      limits: input.limits ?? null,
      quota: orNull(filledQuota(input.quota)),
      models: someOrNull(input.models),
      metadata: input.metadata ?? null,
      enabled: input.enabled ?? true,
      source: "admin",
      version: 1,
      createdAt: now,
      updatedAt: now,
    });
    this.deps.audit.change({ action: "consumer.create", subject: `consumer ${input.id}`, after: auditView(consumer) }, () =>
      this.deps.storage.db.insert(consumers).values(toRow(consumer)).run(),
    );
    this.deps.registry.followConsumer(consumer.id);
    return consumer;
  }

  patch(id: string, patch: Static<typeof ConsumerPatch>, ifMatch: string | null): Consumer {
    const before = this.changeable(id);
    checkMatch(ifMatch, before.version);
    const merged = mergePatch(
      {
        tier: before.tier,
        name: before.name,
        limits: before.limits,
        quota: before.quota,
        models: before.models,
        metadata: before.metadata,
        enabled: before.enabled,
      },
      patch,
    ) as Partial<Consumer>;
    const consumer = this.checked({
      ...before,
      ...merged,
      name: merged.name ?? null,
      limits: merged.limits ?? null,
      quota: orNull(filledQuota(merged.quota)),
      models: someOrNull(merged.models),
      metadata: merged.metadata ?? null,
      version: before.version + 1,
      updatedAt: this.deps.clock.wall(),
    });
    this.deps.audit.change(
      { action: "consumer.update", subject: `consumer ${id}`, before: auditView(before), after: auditView(consumer) },
      () => {
        const changed = this.deps.storage.db
          .update(consumers)
          .set(toRow(consumer))
          .where(and(eq(consumers.id, id), eq(consumers.version, before.version)))
          .returning({ id: consumers.id })
          .all();
        if (changed.length === 0) throw changedMeanwhile();
        if (!consumer.enabled) this.deps.endSessions(id);
      },
    );
    this.deps.registry.followConsumer(id);
    return consumer;
  }

  /**
   * Deletes a consumer; with `force` its keys as well. `removeKeys` deletes them within the transaction, and gives a function to be called
   * after it.
   */
  remove(id: string, force: boolean, ifMatch: string | null, removeKeys: (consumer: string) => () => void): void {
    const before = this.changeable(id);
    checkMatch(ifMatch, before.version);
    const owned = this.deps.storage.db.select({ id: keys.id }).from(keys).where(eq(keys.consumer, id)).all();
    if (owned.length > 0 && !force) throw refused("conflict", "This consumer has keys: delete it with them by ?force=true, or disable it.");
    const audited = {
      action: "consumer.delete",
      subject: `consumer ${id}`,
      before: { ...auditView(before), keys: owned.map((key) => key.id) },
    };
    const afterwards = this.deps.audit.change(audited, () => {
      this.deps.storage.db.delete(consumers).where(eq(consumers.id, id)).run();
      this.deps.endSessions(id);
      return removeKeys(id);
    });
    afterwards();
    this.deps.registry.followConsumer(id);
  }

  /** Takes over that another process has made, changed or deleted a consumer. */
  refresh(id: string): void {
    this.deps.registry.followConsumer(id);
  }

  /** Gives ids of consumers of this tier: only the first few. */
  ofTier(tier: string): string[] {
    const rows = this.deps.storage.db.select({ id: consumers.id }).from(consumers).where(eq(consumers.tier, tier)).limit(6).all();
    return [
      ...rows.map((row) => row.id),
      ...[...this.declared.values()].filter((consumer) => consumer.tier === tier).map((consumer) => consumer.id),
    ];
  }

  private stored(id: string): Consumer | undefined {
    const row = this.deps.storage.db.select().from(consumers).where(eq(consumers.id, id)).get();
    return row === undefined ? undefined : fromRow(row);
  }

  private changeable(id: string): Consumer {
    if (this.declared.has(id)) throw managedByConfig("consumer", id);
    return this.get(id);
  }

  private checked(consumer: Consumer): Consumer {
    const { faults } = fillIn(ConsumerConfig.properties.limits, consumer.limits ?? []);
    const all = [...faults.map((fault) => ({ ...fault, path: ["limits", ...fault.path] })), ...metadataFaults(consumer.metadata)];
    if (all.length === 0)
      all.push(
        ...consumerFaults(
          { tier: consumer.tier, limits: [...(consumer.limits ?? [])], quota: [...(consumer.quota ?? [])] },
          this.deps.known(),
        ).map((fault) => ({
          ...fault,
          path: [...fault.path],
        })),
      );
    if (all.length > 0) throw invalid(all);
    return consumer;
  }
}

/** Gives a consumer as the audit log has it. */
const auditView = ({ tier, name, limits, quota, models, metadata, enabled }: Consumer) => ({
  ...{ tier, name, limits, quota, models, metadata, enabled },
});

/** Gives quotas with their defaults filled in, and checked. Throws 422. */
export function filledQuota(given: unknown): QuotaConfig[] {
  const { value, faults } = fillIn(ConsumerConfig.properties.quota, given ?? null);
  const all = faults.length > 0 ? faults : quotaFaults(value as QuotaConfig, []);
  if (all.length > 0) throw invalid(all.map((fault) => ({ ...fault, path: ["quota", ...fault.path] })));
  return [...quotaList(value as QuotaConfig)];
}

const orNull = (quota: QuotaConfig | readonly QuotaConfig[] | null): readonly QuotaConfig[] | null => {
  const list = quotaList(quota);
  return list.length === 0 ? null : list;
};

const someOrNull = (list: readonly string[] | null | undefined): readonly string[] | null =>
  list === null || list === undefined || list.length === 0 ? null : list;

const fromRow = (row: typeof consumers.$inferSelect): Consumer => ({
  ...row,
  limits: row.limits as LimitConfig[] | null,
  quota: row.quota as QuotaConfig[] | null,
  source: "admin",
});

const toRow = (consumer: Consumer): typeof consumers.$inferInsert => ({
  id: consumer.id,
  tier: consumer.tier,
  name: consumer.name,
  limits: consumer.limits === null ? null : [...consumer.limits],
  quota: consumer.quota,
  models: consumer.models === null ? null : [...consumer.models],
  metadata: consumer.metadata,
  enabled: consumer.enabled,
  version: consumer.version,
  createdAt: consumer.createdAt ?? 0,
  updatedAt: consumer.updatedAt ?? 0,
});
