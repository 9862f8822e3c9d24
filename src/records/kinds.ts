import type { Role } from "../admin/rights.ts";

/** Describes what everything else needs to know of one kind of record. */
export interface RecordKind {
  /** The table that holds its records. Triggers on it note each change in `changes` (see `drizzle/`). */
  readonly table: string;
  /** The column of a record's id. */
  readonly key: string;
  /** True when the table is the one of all named documents, whose column `kind` says the kind of a row. */
  readonly isDocument: boolean;
  /** Columns that each instance keeps for itself. */
  readonly own: readonly string[];
  /**
   * The way in which a row from another instance is put in. `update`: over the row of its id, so that the trigger on `version` tells the
   * other processes on the same database. `replace`: in the place of that row, since such records are never changed, only made and deleted,
   * and only an insert is noted.
   */
  readonly putIn: "update" | "replace";
  /** The path of its endpoints, below /admin; `null` for records that nobody lists. */
  readonly path: string | null;
  /** The least role that may change them. Every role may look. */
  readonly role: Role;
}

const DOCUMENT = { table: "documents", key: "name", isDocument: true, own: [], putIn: "update", role: "admin" } as const;

/** The rows of the table below. In this order kinds are passed on, and changes of them settle: those that others name come before these. */
const ROWS = {
  tier: { ...DOCUMENT, path: "tiers" },
  pool: { ...DOCUMENT, path: "pools" },
  issuer: { ...DOCUMENT, path: "issuers" },
  upstream: { ...DOCUMENT, path: "upstreams" },
  route: { ...DOCUMENT, path: "routes" },
  webhook: { ...DOCUMENT, path: "webhooks" },
  consumer: { table: "consumers", key: "id", isDocument: false, own: [], putIn: "update", path: "consumers", role: "admin" },
  key: { table: "keys", key: "id", isDocument: false, own: ["last_used_at"], putIn: "update", path: "keys", role: "admin" },
  block: { table: "blocks", key: "cidr", isDocument: false, own: [], putIn: "replace", path: "blocks", role: "operator" },
  version: { table: "versions", key: "slot", isDocument: false, own: [], putIn: "update", path: "versions", role: "admin" },
  token: { table: "admin_tokens", key: "id", isDocument: false, own: ["last_used_at"], putIn: "replace", path: "tokens", role: "admin" },
  session: { table: "sessions", key: "hash", isDocument: false, own: [], putIn: "replace", path: null, role: "admin" },
} as const satisfies Readonly<Record<string, RecordKind>>;

export type Kind = keyof typeof ROWS;

/** Names the paths where the admin API has the records of all kinds, below /admin. */
export type KindPath = NonNullable<(typeof ROWS)[Kind]["path"]>;

/** Names the kinds that the admin API keeps as named documents. */
export type DocumentKind = { [K in Kind]: (typeof ROWS)[K]["isDocument"] extends true ? K : never }[Kind];

/**
 * The kinds of records: whatever is here is stored, followed by other processes on the same database, and shared with other instances
 * through Redis; whoever changes it by the admin API holds the write lock meanwhile. A new kind is a row here, a migration with its
 * triggers, and its follower (see `changes.ts`).
 */
export const KINDS: Readonly<{ [K in Kind]: RecordKind & Pick<(typeof ROWS)[K], "path"> }> = ROWS;

/** The names of all kinds, in their order. A cast, since `Object.keys` forgets what the keys are. */
export const KIND_NAMES: readonly Kind[] = Object.keys(ROWS) as Kind[];

/** The names of the kinds of named documents, whose changes are versions. */
export const DOCUMENT_KINDS: readonly DocumentKind[] = KIND_NAMES.filter((kind): kind is DocumentKind => KINDS[kind].isDocument);

/** Gives a kind with its article, as people read it: "a route", "an upstream". */
export const withArticle = (kind: Kind): string => `${/^[aeiou]/.test(kind) ? "an" : "a"} ${kind}`;
