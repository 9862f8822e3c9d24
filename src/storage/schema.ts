import { sql } from "drizzle-orm";
import { index, integer, primaryKey, sqliteTable, text } from "drizzle-orm/sqlite-core";
import type { Role } from "../admin/rights.ts";
import type { DocumentKind, Kind } from "../records/kinds.ts";

/**
 * The uses of sessions: the console's and the page for consumers, each with the links that begin one.
 */
export type SessionUse = "console" | "my" | "consoleLink" | "myLink";

/** The tables of the database. Times are milliseconds since 1970; JSON columns hold values as the API takes and gives them. */

export const adminTokens = sqliteTable("admin_tokens", {
  id: text().primaryKey(),
  name: text().notNull(),
  hash: text().notNull().unique(),
  role: text().$type<Role>().notNull().default("admin"),
  createdAt: integer("created_at").notNull(),
  lastUsedAt: integer("last_used_at"),
});

/** The first use of any admin token: one row, or none while nobody has used one. */
export const adminUse = sqliteTable("admin_use", { id: integer().primaryKey(), at: integer().notNull() });

/** Sessions of browsers, and links that begin one. */
export const sessions = sqliteTable(
  "sessions",
  {
    /** SHA-256 of the id that the browser shows, in hexadecimal. */
    hash: text().primaryKey(),
    use: text().$type<SessionUse>().notNull(),
    /** What names the admin token that it was made with. */
    token: text(),
    actor: text(),
    /** The role that an issuer gave. */
    role: text().$type<Role>(),
    /** The values of the issuer's claim that the role comes from. */
    claims: text({ mode: "json" }).$type<string[]>(),
    consumer: text(),
    madeAt: integer("made_at").notNull(),
    expiresAt: integer("expires_at").notNull(),
  },
  (table) => [index("sessions_made").on(table.madeAt)],
);

/** The audit's rows: who did what. Each row's hash covers the row and the hash before it. Times are milliseconds since 1970. */
export const audit = sqliteTable(
  "audit",
  {
    seq: integer().primaryKey(),
    id: text().notNull(),
    at: integer().notNull(),
    actor: text().notNull(),
    ip: text().notNull(),
    action: text().notNull(),
    subject: text().notNull(),
    before: text(),
    after: text(),
    requestId: text("request_id").notNull(),
    hash: text().notNull(),
  },
  (table) => [index("audit_at").on(table.at), index("audit_subject").on(table.subject, table.seq)],
);

/** The beginning and the end of the audit's chain, in one row. Rows that were dropped for their age are before the beginning. */
export const auditChain = sqliteTable("audit_chain", {
  id: integer().primaryKey(),
  firstSeq: integer("first_seq").notNull(),
  /** The hash before the first row. */
  anchor: text().notNull(),
  lastSeq: integer("last_seq").notNull(),
  lastHash: text("last_hash").notNull(),
});

/** Addresses that are refused. */
export const blocks = sqliteTable("blocks", {
  /** An address or an address block, in the one way that Sluice writes it. */
  cidr: text().primaryKey(),
  reason: text().notNull(),
  by: text().notNull(),
  createdAt: integer("created_at").notNull(),
  /** `null`: until it is lifted. */
  expiresAt: integer("expires_at"),
});

/** The addresses from which keys were accepted: these keys pass a block that the guard makes. */
export const acceptedKeys = sqliteTable(
  "accepted_keys",
  {
    /** SHA-256 of the address and the key's hash. */
    pair: text().primaryKey(),
    /** The time when the pair was accepted last. */
    at: integer().notNull(),
  },
  (table) => [index("accepted_keys_at").on(table.at)],
);

export const consumers = sqliteTable("consumers", {
  id: text().primaryKey(),
  tier: text().notNull(),
  name: text(),
  limits: text({ mode: "json" }).$type<unknown[]>(),
  quota: text({ mode: "json" }).$type<unknown>(),
  models: text({ mode: "json" }).$type<string[]>(),
  metadata: text({ mode: "json" }).$type<Record<string, unknown>>(),
  enabled: integer({ mode: "boolean" }).notNull(),
  version: integer().notNull(),
  createdAt: integer("created_at").notNull(),
  updatedAt: integer("updated_at").notNull(),
});

export const keys = sqliteTable(
  "keys",
  {
    id: text().primaryKey(),
    /** SHA-256 in hexadecimal. */
    hash: text().notNull().unique(),
    /** The secret before the last rotation, good until `previous_expires_at`. */
    previousHash: text("previous_hash").unique(),
    previousExpiresAt: integer("previous_expires_at"),
    /** The key of an operator's from which its holder made it; `null`: an operator made it. */
    madeFrom: text("made_from"),
    start: text().notNull(),
    end: text().notNull(),
    consumer: text().notNull(),
    name: text(),
    scopes: text({ mode: "json" }).$type<string[]>(),
    routes: text({ mode: "json" }).$type<string[]>(),
    ips: text({ mode: "json" }).$type<string[]>(),
    models: text({ mode: "json" }).$type<string[]>(),
    limits: text({ mode: "json" }).$type<unknown[]>(),
    quota: text({ mode: "json" }).$type<unknown>(),
    metadata: text({ mode: "json" }).$type<Record<string, unknown>>(),
    enabled: integer({ mode: "boolean" }).notNull(),
    expiresAt: integer("expires_at"),
    revokedAt: integer("revoked_at"),
    lastUsedAt: integer("last_used_at"),
    version: integer().notNull(),
    createdAt: integer("created_at").notNull(),
    updatedAt: integer("updated_at").notNull(),
  },
  (table) => [
    index("keys_consumer").on(table.consumer, table.id),
    // Most keys never expire, and those that do are looked for again and again.
    index("keys_expires").on(table.expiresAt).where(sql`expires_at IS NOT NULL AND revoked_at IS NULL`),
    index("keys_made_from").on(table.madeFrom).where(sql`made_from IS NOT NULL`),
  ],
);

/** Tiers, routes, upstreams, pools, issuers and webhooks that the admin API made: one table, since they are named documents alike. */
export const documents = sqliteTable(
  "documents",
  {
    kind: text().$type<DocumentKind>().notNull(),
    name: text().notNull(),
    document: text({ mode: "json" }).$type<Record<string, unknown>>().notNull(),
    version: integer().notNull(),
    createdAt: integer("created_at").notNull(),
    updatedAt: integer("updated_at").notNull(),
  },
  (table) => [primaryKey({ columns: [table.kind, table.name] })],
);

export const limitCounts = sqliteTable(
  "limit_counts",
  {
    policy: text().notNull(),
    subject: text().notNull(),
    state: text().notNull(),
    expiresAt: integer("expires_at").notNull(),
  },
  (table) => [primaryKey({ columns: [table.policy, table.subject] }), index("limit_counts_expires").on(table.expiresAt)],
);

/** Answers to requests with an Idempotency-Key. Encrypted under a key that only the caller has: they may hold an API key. */
export const idempotentAnswers = sqliteTable(
  "idempotent_answers",
  {
    id: text().primaryKey(),
    request: text().notNull(),
    answer: text().notNull(),
    createdAt: integer("created_at").notNull(),
  },
  (table) => [index("idempotent_answers_created").on(table.createdAt)],
);

/**
 * The changes of records, in order; triggers write them and they are kept for a few minutes. Another process on the same database follows
 * them.
 */
export const changes = sqliteTable(
  "changes",
  {
    seq: integer().primaryKey({ autoIncrement: true }),
    kind: text().$type<Kind>().notNull(),
    id: text().notNull(),
    /** A key's hash before the change. */
    was: text(),
    at: integer().notNull(),
    /** True when other instances know of the change: it was passed on, or came from them. */
    shared: integer({ mode: "boolean" }).notNull().default(false),
  },
  // Without it each record of an import looks at all others that were taken over.
  (table) => [index("changes_unshared").on(table.kind, table.id).where(sql`shared = 0`)],
);

/**
 * The version that this instance has of each record that several share through Redis; also of those that were deleted, so that they stay
 * deleted.
 */
export const replicas = sqliteTable(
  "replicas",
  { kind: text().notNull(), id: text().notNull(), rev: integer().notNull(), deleted: integer({ mode: "boolean" }).notNull() },
  (table) => [primaryKey({ columns: [table.kind, table.id] })],
);

/** The progress of this instance with the records that it shares: one row. */
export const replication = sqliteTable("replication", {
  id: integer().primaryKey(),
  /** The filling of Redis that it follows: another one after Redis was emptied. */
  epoch: text().notNull(),
  /** The last entry of the stream that was taken over. */
  position: text().notNull(),
});

/** The text of the last configuration that came into force: one row. */
export const configurations = sqliteTable("configurations", {
  id: integer().primaryKey(),
  text: text().notNull(),
  at: integer().notNull(),
});

/**
 * The requests that were counted, by the hour (milliseconds since 1970 at its beginning). Empty texts: callers without a key, and requests
 * that called no model or no tool. `cost`: nano-dollars. A version that knows nothing of the defaults' columns may count on.
 */
export const usage = sqliteTable(
  "usage",
  {
    hour: integer().notNull(),
    consumer: text().notNull(),
    key: text().notNull(),
    route: text().notNull(),
    model: text().notNull().default(""),
    tool: text().notNull().default(""),
    requests: integer().notNull(),
    errors: integer().notNull(),
    limited: integer().notNull(),
    tokens: integer().notNull(),
    cost: integer().notNull().default(0),
  },
  (table) => [
    primaryKey({ columns: [table.hour, table.consumer, table.key, table.route, table.model, table.tool] }),
    index("usage_consumer").on(table.consumer, table.hour),
  ],
);

/** The files that processes count usage in, and how often something of each was written: which of its marks hold depends on it. */
export const usageFiles = sqliteTable("usage_files", { file: text().primaryKey(), sequence: integer().notNull() });

/** The use of each key of a pool in its windows, and whether the upstream accepts the key: JSON, one row a key. */
export const poolSpent = sqliteTable(
  "pool_spent",
  { pool: text().notNull(), key: text().notNull(), spent: text().notNull(), standing: text() },
  (table) => [primaryKey({ columns: [table.pool, table.key] })],
);

/** The buckets of latency that history counts requests in, in columns `latency_0` and on: those of `http_request_latency_ms`. */
export const HISTORY_BUCKETS = 15;

/**
 * What became of requests, by the minute and by the hour. A row is added to as long as its minute or hour goes on. The migration makes it WITHOUT ROWID: it
 * is its own index, in the order of time.
 */
export const history = sqliteTable(
  "history",
  {
    /** 0: a minute, 1: an hour. */
    step: integer().notNull(),
    /** Milliseconds since 1970 at which it begins. */
    time: integer().notNull(),
    /** What is counted, as `src/history/table.ts` numbers it. */
    kind: integer().notNull(),
    /** The route, the consumer or the code of refusals; empty for callers whom nothing names, and where all are counted together. */
    name: text().notNull(),
    /** Milliseconds of it in which somebody counted; only where all routes are counted together. */
    covered: integer().notNull(),
    requests: integer().notNull(),
    clientErrors: integer("client_errors").notNull(),
    errors: integer().notNull(),
    limited: integer().notNull(),
    ...Object.fromEntries(Array.from({ length: HISTORY_BUCKETS }, (_, i) => [`latency${i}`, integer(`latency_${i}`).notNull()])),
  },
  (table) => [primaryKey({ columns: [table.step, table.time, table.kind, table.name] })],
);

/** What each start of the gateway had counted, all processes together, when it was last added to history: JSON. */
export const historyMarks = sqliteTable("history_marks", {
  run: text().primaryKey(),
  at: integer().notNull(),
  sums: text().notNull(),
});

/** What limits in shadow looked at and would have refused, by the hour. WITHOUT ROWID, as `history`. */
export const shadowHours = sqliteTable(
  "shadow_hours",
  {
    /** Milliseconds since 1970 at which it begins. */
    hour: integer().notNull(),
    /** Whose limit it is, as in "tier free", and its name. */
    owner: text().notNull(),
    limitName: text("limit_name").notNull(),
    /** 1: all consumers together. */
    whole: integer().notNull(),
    /** Empty for callers whom nothing names. */
    consumer: text().notNull(),
    requests: integer().notNull(),
    refused: integer().notNull(),
  },
  (table) => [primaryKey({ columns: [table.hour, table.owner, table.limitName, table.whole, table.consumer] })],
);

/**
 * The last versions of what rules requests, each with what it changed. The slot is the number modulo 100, so that as many are kept and as many
 * ids are shared. `documents` and the texts of the file are as `versions/journal.ts` writes them.
 */
export const versions = sqliteTable(
  "versions",
  {
    slot: text().primaryKey(),
    number: integer().notNull(),
    at: integer().notNull(),
    actor: text().notNull(),
    source: text().$type<"api" | "file" | "console" | "restore">().notNull(),
    note: text(),
    /** The names of what it created, changed and deleted: JSON. */
    summary: text().notNull(),
    documents: text().notNull(),
    fileBefore: text("file_before"),
    fileAfter: text("file_after"),
    /** The version that it restored. */
    restored: integer(),
    /** The number once more: the trigger that tells others goes by a change of it. */
    version: integer().notNull(),
  },
  (table) => [index("versions_number").on(table.number)],
);

/** Events on their way to webhooks, and what became of the last of them. */
export const webhookDeliveries = sqliteTable(
  "webhook_deliveries",
  {
    seq: integer().primaryKey({ autoIncrement: true }),
    /** The field webhook-id, the same at each try. */
    id: text().notNull().unique(),
    webhook: text().notNull(),
    type: text().notNull(),
    /** The body, byte for byte as it is signed. */
    body: text().notNull(),
    state: text().$type<"waiting" | "delivered" | "failed">().notNull().default("waiting"),
    tries: integer().notNull().default(0),
    createdAt: integer("created_at").notNull(),
    /** The time of the next try; `null`: it has ended. */
    nextAt: integer("next_at"),
    endedAt: integer("ended_at"),
    /** The name that other instances have for the same event, and until when it tells them; `null`: it is of this instance alone. */
    claim: text(),
    claimUntil: integer("claim_until"),
    /** The receiver's last answer, or why there was none. */
    lastAt: integer("last_at"),
    status: integer(),
    answer: text(),
    error: text(),
  },
  (table) => [
    index("webhook_deliveries_webhook").on(table.webhook, table.seq),
    // Those in one state, and how many wait, without a look at the others.
    index("webhook_deliveries_state").on(table.webhook, table.state, table.seq),
    index("webhook_deliveries_first").on(table.webhook, table.seq).where(sql`state = 'waiting' AND tries = 0`),
    index("webhook_deliveries_next").on(table.webhook, table.nextAt).where(sql`state = 'waiting' AND tries > 0`),
    index("webhook_deliveries_ended").on(table.webhook, table.endedAt).where(sql`ended_at IS NOT NULL`),
  ],
);

/** What webhooks were told that is to be told once, and until when that is remembered. */
export const webhookMarks = sqliteTable("webhook_marks", { name: text().primaryKey(), until: integer().notNull() });

/** Webhooks that are gone, each with its last delivery: what there is up to it goes bit by bit, and is nothing of one made anew under the name. */
export const webhookForgotten = sqliteTable("webhook_forgotten", { webhook: text().primaryKey(), seq: integer().notNull() });
