import { Database } from "bun:sqlite";
import {
  chmodSync,
  chownSync,
  copyFileSync,
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import type { TSchema } from "@sinclair/typebox";
import { Audit } from "../audit/audit.ts";
import { IssuerConfig } from "../issuers/settings.ts";
import { PoolConfig } from "../pools/settings.ts";
import type { DocumentKind, KindPath } from "../records/kinds.ts";
import { SecretFault, type Secrets } from "../records/sealing.ts";
import { CellFolder } from "../shared/cell-folder.ts";
import { explained, isDamage, StorageError, sqliteCode } from "../storage/faults.ts";
import { lockAlone, openingLockOf, servingLockOf } from "../storage/lock.ts";
import { openStorage, origin, type Storage } from "../storage/open.ts";
import { sync } from "../storage/sync.ts";
import type { Clock } from "../values/clock.ts";
import { WebhookConfig } from "../webhooks/settings.ts";
import { noRevocations, type Revocations, revokedSince, type Settled, settle } from "./revocations.ts";

export interface RestoreOptions {
  /** The path of the backup. */
  readonly file: string;
  /** The place where the gateway's database is, or will be. */
  readonly databasePath: string;
  /** True: what was revoked or disabled after the backup becomes valid again. */
  readonly isAsItWas: boolean;
  readonly secrets: Secrets;
  readonly clock: Clock;
  /**
   * Makes the records of a database those that all instances share; `null`: this one is alone. `found` learns what was revoked and disabled
   * by what they share now, and `settle` is called once that is known, before anything is passed on.
   */
  readonly share: ((storage: Storage, found: Revocations, settle: () => void) => Promise<void>) | null;
}

export interface Restored extends Settled {
  readonly database: string;
  /** The place of the database that was there before; `null`: there was none. */
  readonly before: string | null;
  /** The time of the last change that the backup holds, RFC 3339; `null`: it holds none. */
  readonly asOf: string | null;
  /** The number of records that it holds, by kind. */
  readonly holds: Readonly<Record<KindPath, number>>;
  /** Records whose secrets can't be read under this SLUICE_SECRET, as in "pool llm". */
  readonly sealed: readonly string[];
  /** The reason why it could not be known what was revoked or disabled after the backup; `null`: it was known. */
  readonly unknown: string | null;
}

/** Milliseconds that a gateway which starts or stops at this moment has to come to an end with it. */
const TURN_WITHIN = 2000;

/**
 * Puts a backup in the place of the database that no gateway uses. The backup itself stays as it is, and so does the database before, under
 * another name. Throws `StorageError` while a gateway uses it, and for a file that is damaged, not Sluice's or of a newer version; nothing
 * was changed then.
 */
export async function restore(options: RestoreOptions): Promise<Restored> {
  const { file, databasePath } = options;
  if (!existsSync(file) || !statSync(file).isFile()) throw new StorageError(`there is no file ${file}: name a backup`);
  if (existsSync(databasePath) && realpathSync(file) === realpathSync(databasePath))
    throw new StorageError(`${file} is the gateway's database itself: name a backup of it`);
  try {
    mkdirSync(dirname(databasePath), { recursive: true, mode: 0o700 });
    using opening = lockAlone(openingLockOf(databasePath), TURN_WITHIN);
    using serving = opening === null ? null : lockAlone(servingLockOf(databasePath), 0);
    if (serving === null || isOpenElsewhere(databasePath))
      throw new StorageError(
        `a gateway, or another program, uses ${databasePath}: stop it first, so that nothing is written to what is put aside`,
      );
    return await exchange(options);
  } catch (error) {
    throw explained(error, databasePath);
  }
}

async function exchange(options: RestoreOptions): Promise<Restored> {
  const { file, databasePath, isAsItWas, clock, share } = options;
  const copy = `${databasePath}.restoring-${Bun.randomUUIDv7()}`;
  const { uid, gid } = statSync(existsSync(databasePath) ? databasePath : dirname(databasePath));
  try {
    copyFileSync(file, copy);
    // A copy of a database that was not stopped may come with what is not in its one file yet.
    if (existsSync(`${file}-wal`)) copyFileSync(`${file}-wal`, `${copy}-wal`);
    chmodSync(copy, 0o600);
    check(copy, file);
    const storage = openStorage(copy);
    let restored: Restored;
    try {
      const found = noRevocations();
      const unknown = compare(storage, databasePath, found);
      const audit = new Audit({ storage, clock });
      const { asOf } = storage.client.query<{ asOf: number | null }, []>("SELECT max(at) AS asOf FROM audit").get() ?? { asOf: null };
      let settled: Settled = { keys: [], rotated: [], disabledKeys: [], disabledConsumers: [], tokens: [], isFirstTokenKept: false };
      const decide = (): void => {
        audit.change({ action: "database.restore", subject: "database", after: { file: basename(file), asOf: textOf(asOf) } }, () => {
          settled = settle(storage, found, isAsItWas, clock.wall());
        });
      };
      if (share === null) decide();
      else await share(storage, found, decide);
      restored = {
        database: databasePath,
        before: null,
        asOf: textOf(asOf),
        holds: holdings(storage),
        ...settled,
        sealed: sealed(storage, options.secrets),
        unknown,
      };
    } finally {
      storage.close();
    }
    sync(copy);
    if (process.getuid?.() === 0)
      for (const each of [copy, openingLockOf(databasePath), servingLockOf(databasePath)]) chownSync(each, uid, gid);
    const before = putAside(databasePath, clock.wall());
    // In one step: there is no moment without a database.
    renameSync(copy, databasePath);
    for (const rest of ["-wal", "-shm"]) rmSync(databasePath + rest, { force: true });
    // Which of the counts in there are in this database nobody can tell.
    rmSync(new CellFolder(databasePath).path, { recursive: true, force: true });
    sync(dirname(databasePath));
    return { ...restored, before };
  } finally {
    const [folder, name] = [dirname(copy), basename(copy)];
    for (const each of readdirSync(folder)) if (each.startsWith(name)) rmSync(join(folder, each), { force: true });
  }
}

/** Tells whether a program has the database open that does not say so: an older gateway, or a shell of SQLite's. */
function isOpenElsewhere(databasePath: string): boolean {
  if (!existsSync(databasePath)) return false;
  try {
    using database = new Database(databasePath, { readwrite: true, create: false });
    database.run("PRAGMA locking_mode = EXCLUSIVE");
    database.run("BEGIN EXCLUSIVE");
    database.run("ROLLBACK");
    return false;
  } catch (error) {
    // What is damaged can't be asked, and may be replaced.
    return sqliteCode(error)?.startsWith("SQLITE_BUSY") === true;
  }
}

/** Checks that a file is a whole backup of this Sluice or an older one. Throws `StorageError`. */
function check(copy: string, file: string): void {
  try {
    using database = new Database(copy, { readwrite: true, create: false });
    const writer = origin(database);
    if (writer === "newer") throw new StorageError(`${file} was written by a newer Sluice than this one: restore it with that version`);
    const [problem] = database.query<{ integrity_check: string }, []>("PRAGMA integrity_check(1)").all();
    if (problem?.integrity_check !== "ok")
      throw new StorageError(`${file} is damaged (${problem?.integrity_check}): restore another backup`);
    if (writer !== "known") throw new StorageError(`${file} is no backup of Sluice's: its tables are not there`);
  } catch (error) {
    if (!isDamage(error)) throw error;
    throw new StorageError(`${file} is damaged or no SQLite database (${(error as Error).message}): restore another backup`);
  }
}

/**
 * Looks in the database that is there for what was revoked or disabled after the backup. Gives the reason why that can't be known; `null`
 * when it can.
 */
function compare(backup: Storage, databasePath: string, found: Revocations): string | null {
  if (!existsSync(databasePath)) return "there was no database";
  try {
    using now = new Database(databasePath, { readwrite: true, create: false });
    if (origin(now) === "none") return "the database before was empty";
    revokedSince(backup, now, found);
    // All of it into the one file, which is put aside.
    now.run("PRAGMA wal_checkpoint(TRUNCATE)");
    return null;
  } catch (error) {
    if (sqliteCode(error) === null) throw error;
    return `the database before can't be read (${(error as Error).message})`;
  }
}

/** Gives the database that is there another name, with all that belongs to it. `at` in milliseconds since 1970. */
function putAside(databasePath: string, at: number): string | null {
  if (!existsSync(databasePath)) {
    for (const rest of ["-wal", "-shm"]) rmSync(databasePath + rest, { force: true });
    return null;
  }
  const stem = `${databasePath}.before-${new Date(at).toISOString().slice(0, 19).replaceAll(":", "-")}Z`;
  let aside = stem;
  for (let n = 2; existsSync(aside); n++) aside = `${stem}-${n}`;
  // What a crash has left belongs to it: under the new name SQLite finds it again.
  if (existsSync(`${databasePath}-wal`)) renameSync(`${databasePath}-wal`, `${aside}-wal`);
  try {
    linkSync(databasePath, aside);
  } catch {
    // A file system without links.
    renameSync(databasePath, aside);
  }
  return aside;
}

function holdings({ client }: Storage): Restored["holds"] {
  const count = (sql: string): number => client.query<{ n: number }, []>(`SELECT count(*) AS n FROM ${sql}`).get()?.n ?? 0;
  const documents = (kind: string): number => count(`documents WHERE kind = '${kind}'`);
  return {
    consumers: count("consumers"),
    keys: count("keys"),
    tiers: documents("tier"),
    routes: documents("route"),
    upstreams: documents("upstream"),
    pools: documents("pool"),
    issuers: documents("issuer"),
    webhooks: documents("webhook"),
    blocks: count("blocks"),
    versions: count("versions"),
    tokens: count("admin_tokens"),
  };
}

/** The kinds of documents with secrets. */
const WITH_SECRETS = { pool: PoolConfig, issuer: IssuerConfig, webhook: WebhookConfig } satisfies Partial<Record<DocumentKind, TSchema>>;

function sealed({ client }: Storage, secrets: Secrets): string[] {
  const documents = client.query<{ name: string; document: string }, [string]>(
    "SELECT name, document FROM documents WHERE kind = ?1 ORDER BY name",
  );
  return Object.entries(WITH_SECRETS).flatMap(([kind, schema]) =>
    documents
      .all(kind)
      .filter(({ document }) => {
        try {
          secrets.openIn(schema, JSON.parse(document));
          return false;
        } catch (error) {
          if (error instanceof SecretFault) return true;
          throw error;
        }
      })
      .map(({ name }) => `${kind} ${name}`),
  );
}

const textOf = (at: number | null): string | null => (at === null ? null : new Date(at).toISOString());
