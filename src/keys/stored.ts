import type { Database } from "bun:sqlite";
import type { LimitConfig, QuotaConfig } from "../limits/settings.ts";
import { CidrSet } from "../values/ip.ts";
import { namesOf } from "../values/name-patterns.ts";
import type { DigestIndex } from "./digest-index.ts";
import type { ConsumerEntry, KeyEntry } from "./registry.ts";

/** Says where a key stands: its row, and the hashes by which it is found. */
export interface Place {
  readonly row: number;
  readonly hash: string;
  readonly previousHash: string | null;
}

/** Reads keys and consumers that are kept somewhere, when somebody uses them. All of it may throw what the database throws. */
export interface Stored {
  /** Gives the key whose secret has this hash, now or before its last rotation; `null`: none has. `row`: where it most likely is. */
  key(hash: string, row: number, consumerOf: (id: string) => ConsumerEntry): KeyEntry | null;
  /** Gives the key of this id; `null`: there is none. */
  keyById(id: string, consumerOf: (id: string) => ConsumerEntry): KeyEntry | null;
  /** Gives the hashes of the keys that were made from the one of this id by its holder. */
  madeFrom(id: string): string[];
  /** Gives all keys of a consumer that are not revoked. */
  keysOf(consumer: ConsumerEntry): KeyEntry[];
  consumer(id: string): ConsumerEntry | null;
  /** Gives where the key of this id is; `null`: there is none. */
  placeOf(id: string): Place | null;
  /** Tells whether a hash is that of a key, now or before its last rotation. */
  has(hash: string): boolean;
  /** Tells whether there is a hash whose first 64 bits are those of this one. */
  hasLike(hash: string): boolean;
  /** Enters all hashes. */
  fill(index: DigestIndex): void;
}

/** Stands for a place where nothing is kept. */
export const NOTHING_STORED: Stored = {
  key: () => null,
  keyById: () => null,
  madeFrom: () => [],
  keysOf: () => [],
  consumer: () => null,
  placeOf: () => null,
  has: () => false,
  hasLike: () => false,
  fill: () => {},
};

interface KeyRow {
  readonly id: string;
  readonly consumer: string;
  readonly hash: string;
  readonly previousHash: string | null;
  readonly previousExpiresAt: number | null;
  readonly madeFrom: string | null;
  readonly scopes: string | null;
  readonly routes: string | null;
  readonly ips: string | null;
  readonly models: string | null;
  readonly limits: string | null;
  readonly quota: string | null;
  readonly expiresAt: number | null;
  readonly revokedAt: number | null;
  readonly enabled: number;
  readonly lastUsedAt: number | null;
}

const KEY_BY =
  "SELECT id, consumer, hash, previous_hash AS previousHash, previous_expires_at AS previousExpiresAt, made_from AS madeFrom, scopes, routes, ips, models, limits, quota, expires_at AS expiresAt, revoked_at AS revokedAt, enabled, last_used_at AS lastUsedAt FROM keys WHERE";

interface ConsumerRow {
  readonly tier: string;
  readonly models: string | null;
  readonly enabled: number;
  readonly limits: string | null;
  readonly quota: string | null;
}

/** The keys that are entered into an index at once. */
const PAGE = 10_000;

/** Reads keys and consumers from the database. */
export class StoredRecords implements Stored {
  private readonly keyByRow;
  private readonly keyByHash;
  private readonly consumerById;

  constructor(private readonly database: Database) {
    this.keyByRow = database.query<KeyRow, [number]>(`${KEY_BY} rowid = ?1`);
    this.keyByHash = database.query<KeyRow, [string]>(`${KEY_BY} hash = ?1 OR previous_hash = ?1`);
    this.consumerById = database.query<ConsumerRow, [string]>("SELECT tier, enabled, limits, quota, models FROM consumers WHERE id = ?1");
  }

  key(hash: string, row: number, consumerOf: (id: string) => ConsumerEntry): KeyEntry | null {
    const likely = this.keyByRow.get(row);
    // VACUUM may have given rows other numbers (https://sqlite.org/lang_vacuum.html), and several hashes may begin alike.
    const isIt = likely !== null && (likely.hash === hash || likely.previousHash === hash);
    const found = isIt ? likely : this.keyByHash.get(hash);
    return found === null ? null : entryOf(found, consumerOf(found.consumer));
  }

  keyById(id: string, consumerOf: (id: string) => ConsumerEntry): KeyEntry | null {
    const found = this.database.query<KeyRow, [string]>(`${KEY_BY} id = ?1`).get(id);
    return found === null ? null : entryOf(found, consumerOf(found.consumer));
  }

  madeFrom(id: string): string[] {
    return this.database
      .query<{ hash: string }, [string]>("SELECT hash FROM keys WHERE made_from = ?1")
      .all(id)
      .map(({ hash }) => hash);
  }

  keysOf(consumer: ConsumerEntry): KeyEntry[] {
    const rows = this.database.query<KeyRow, [string]>(`${KEY_BY} consumer = ?1 AND revoked_at IS NULL ORDER BY id`);
    return rows.all(consumer.id).map((row) => entryOf(row, consumer));
  }

  consumer(id: string): ConsumerEntry | null {
    const row = this.consumerById.get(id);
    if (row === null) return null;
    const { tier, enabled, limits, quota, models } = row;
    return {
      ...{ id, tier, enabled: enabled === 1, models: namesOf(listOf<string>(models)) },
      limits: listOf<LimitConfig>(limits),
      quota: listOf<QuotaConfig>(quota),
    };
  }

  placeOf(id: string): Place | null {
    return this.database.query<Place, [string]>("SELECT rowid AS row, hash, previous_hash AS previousHash FROM keys WHERE id = ?1").get(id);
  }

  has(hash: string): boolean {
    return this.database.query("SELECT 1 FROM keys WHERE hash = ?1 OR previous_hash = ?1").get(hash) !== null;
  }

  hasLike(hash: string): boolean {
    const first = hash.slice(0, 16);
    // No digit comes behind f.
    return ["hash", "previous_hash"].some(
      (column) => this.database.query(`SELECT 1 FROM keys WHERE ${column} >= ?1 AND ${column} < ?2`).get(first, `${first}g`) !== null,
    );
  }

  fill(index: DigestIndex): void {
    index.reserve(this.database.query<{ count: number }, []>("SELECT count(*) AS count FROM keys").get()?.count ?? 0);
    for (const column of ["hash", "previous_hash"]) this.fillBy(column, index);
  }

  /** Enters the hashes of a column in its index' order, which is all that is read. */
  private fillBy(column: string, index: DigestIndex): void {
    const page = `SELECT ${column} AS hash, rowid AS row FROM keys WHERE ${column} > ?1 ORDER BY ${column} LIMIT ${PAGE}`;
    // Put together by SQLite, for a million rows as JavaScript's strings are 100 MB of garbage.
    const packed = this.database.query<{ bytes: Uint8Array | null; count: number; last: string | null }, [string]>(
      `SELECT unhex(group_concat(substr(hash, 1, 16) || printf('%08x', row), '')) AS bytes, count(*) AS count, max(hash) AS last FROM (${page})`,
    );
    for (let after = ""; ; ) {
      const read = packed.get(after);
      if (read === null || read.last === null) return;
      const { bytes, count, last } = read;
      if (bytes !== null && bytes.length === count * 12) index.setAll(new DataView(bytes.buffer, bytes.byteOffset, bytes.length));
      // Somebody has written something else by hand: nobody can show it, and the others are keys.
      else for (const { hash, row } of this.database.query<Place, [string]>(page).all(after)) if (DIGEST.test(hash)) index.set(hash, row);
      after = last;
    }
  }
}

const DIGEST = /^[0-9a-f]{64}$/;

const NOTHING: readonly string[] = [];
const textsOf = (json: string | null): readonly string[] => (json === null ? NOTHING : (JSON.parse(json) as string[]));
const listOf = <T>(json: string | null): readonly T[] | null => (json === null ? null : (JSON.parse(json) as T[]));

/** Gives the blocks of addresses that a key is bound to; `null`: none. */
export const cidrsOf = (ips: readonly string[]): CidrSet | null => (ips.length === 0 ? null : new CidrSet(ips));

const entryOf = (row: KeyRow, consumer: ConsumerEntry): KeyEntry => ({
  via: "key",
  id: row.id,
  consumer,
  hash: row.hash,
  previousHash: row.previousHash,
  previousExpiresAt: row.previousExpiresAt ?? 0,
  madeFrom: row.madeFrom,
  scopes: textsOf(row.scopes),
  routes: textsOf(row.routes),
  ips: cidrsOf(textsOf(row.ips)),
  models: namesOf(textsOf(row.models)),
  limits: listOf<LimitConfig>(row.limits),
  quota: listOf<QuotaConfig>(row.quota),
  expiresAt: row.expiresAt ?? Number.POSITIVE_INFINITY,
  off: row.revokedAt !== null ? "revoked" : row.enabled === 0 ? "disabled" : null,
  lastUsedAt: row.lastUsedAt ?? 0,
  policies: null,
  version: 0,
  resolvedAt: -1,
});
