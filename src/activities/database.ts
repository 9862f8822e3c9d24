import { Database } from "bun:sqlite";
import { chmodSync, existsSync, mkdirSync } from "node:fs";
import { dirname } from "node:path";

/**
 * The tables beside those that activities make: the queue and the log. Names that begin with sluice_ and activity_log are refused to
 * activities. To change the tables, append to the list; each entry runs once, in order.
 */
const MIGRATIONS = [
  `CREATE TABLE sluice_queue (
     seq INTEGER PRIMARY KEY AUTOINCREMENT, batch TEXT NOT NULL, body TEXT NOT NULL, activities INTEGER NOT NULL, replay_of TEXT,
     done INTEGER NOT NULL, accepted_at INTEGER NOT NULL, attempts INTEGER NOT NULL, available_at INTEGER NOT NULL, owner TEXT);
   CREATE TABLE activity_log (
     id TEXT PRIMARY KEY, payload TEXT NOT NULL, created_at TEXT NOT NULL, is_error INTEGER NOT NULL, error_message TEXT, state TEXT NOT NULL);
   CREATE INDEX activity_log_failed ON activity_log (id) WHERE is_error = 1;`,
  // Each sink has a cursor of its own. There was one, whose place was the first row; its index did not follow the order of writing.
  `CREATE TABLE sluice_cursors (
     sink TEXT PRIMARY KEY, seq INTEGER NOT NULL, done INTEGER NOT NULL, attempts INTEGER NOT NULL DEFAULT 0,
     available_at INTEGER NOT NULL DEFAULT 0, owner TEXT, log TEXT, history_from TEXT, history_after TEXT NOT NULL DEFAULT '', history_to TEXT)
     WITHOUT ROWID;
   INSERT INTO sluice_cursors (sink, seq, done, log)
     SELECT 'sqlite', coalesce((SELECT min(seq) - 1 FROM sluice_queue), (SELECT seq FROM sqlite_sequence WHERE name = 'sluice_queue'), 0),
       coalesce((SELECT done FROM sluice_queue ORDER BY seq LIMIT 1), 0), 'local'
     WHERE EXISTS (SELECT 1 FROM activity_log) OR EXISTS (SELECT 1 FROM sluice_queue);
   ALTER TABLE sluice_queue ADD COLUMN sink TEXT;
   DROP INDEX activity_log_failed;
   CREATE INDEX activity_log_errors ON activity_log (is_error) WHERE is_error = 1;
   CREATE TABLE sluice_keys (key TEXT PRIMARY KEY, body TEXT NOT NULL, is_accepted INTEGER NOT NULL, at INTEGER NOT NULL) WITHOUT ROWID;
   CREATE INDEX sluice_keys_at ON sluice_keys (at);
   CREATE TABLE sluice_ids (id TEXT PRIMARY KEY, error TEXT, at INTEGER NOT NULL) WITHOUT ROWID;
   CREATE INDEX sluice_ids_at ON sluice_ids (at);
   CREATE TABLE sluice_dead_letters (
     place INTEGER PRIMARY KEY AUTOINCREMENT, sink TEXT NOT NULL, id TEXT NOT NULL, payload TEXT NOT NULL, created_at TEXT NOT NULL,
     error TEXT NOT NULL, state TEXT NOT NULL, UNIQUE (sink, id));
   CREATE TABLE sluice_refusals (place INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL, body TEXT NOT NULL, at INTEGER NOT NULL, error TEXT NOT NULL);`,
];

/** Holds a connection for each durability: both to one file, used by one thread. */
export interface ActivityDatabase {
  /** The connection whose commits are on the disk when they return. */
  readonly durable: Database;
  /** The connection whose commits may be lost with the machine's power, as a whole and in order: for work that is done again then. */
  readonly quick: Database;
  /**
   * Closes both. Gives true when all of the database is in the one file: false while another process has it open, whose last one moves the
   * rest there.
   */
  close(): boolean;
}

/** Opens the activities' database and brings it up to date; makes its folder when it is missing. Throws for a file that can't be used. */
export function openActivities(path: string): ActivityDatabase {
  if (path === ":memory:") {
    const only = prepared(new Database(path, { strict: true }), "OFF");
    return {
      durable: only,
      quick: only,
      close: () => {
        only.close();
        return true;
      },
    };
  }
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const isNew = !existsSync(path);
  if (!isNew) refuseOwn(path);
  // Two processes that start together take turns.
  using lock = new Database(`${path}.lock`);
  lock.run("PRAGMA busy_timeout = 30000");
  lock.run("BEGIN EXCLUSIVE");
  const durable = prepared(new Database(path, { create: true, strict: true }), "FULL");
  if (isNew) chmodSync(path, 0o600);
  let quick: Database;
  try {
    quick = prepared(new Database(path, { strict: true, readwrite: true }), "NORMAL");
  } catch (error) {
    durable.close();
    throw error;
  }
  return {
    durable,
    quick,
    close: () => {
      // Finalises the statements that were prepared: one that is left holds what it has read, and with it the write-ahead log.
      quick.close(true);
      // That it could not is said by a row, not by an error.
      const { busy } = durable.query("PRAGMA wal_checkpoint(TRUNCATE)").get() as { busy: number };
      durable.close(true);
      return busy === 0;
    },
  };
}

/** Refuses a database that holds a gateway's records, whichever way it was reached. Writes nothing to it. */
function refuseOwn(path: string): void {
  using database = new Database(path, { readwrite: true, create: false });
  database.run("PRAGMA busy_timeout = 5000");
  const { tables } = database
    .query("SELECT count(*) AS tables FROM sqlite_schema WHERE type = 'table' AND name IN ('__drizzle_migrations', 'admin_tokens')")
    .get() as { tables: number };
  if (tables === 2) throw new Error("it holds a gateway's own records, which activities may not be kept beside");
}

function prepared(client: Database, synchronous: "FULL" | "NORMAL" | "OFF"): Database {
  try {
    return set(client, synchronous);
  } catch (error) {
    // It is tried again where there was no room: nothing may be left open.
    client.close();
    throw error;
  }
}

function set(client: Database, synchronous: "FULL" | "NORMAL" | "OFF"): Database {
  client.run("PRAGMA busy_timeout = 5000");
  client.run("PRAGMA journal_mode = WAL");
  client.run(`PRAGMA synchronous = ${synchronous}`);
  client
    .transaction(() => {
      const { user_version: version } = client.query("PRAGMA user_version").get() as { user_version: number };
      if (version > MIGRATIONS.length) throw new Error("the activities' database was written by a newer Sluice than this one");
      if (version === MIGRATIONS.length) return;
      for (const text of MIGRATIONS.slice(version)) client.run(text);
      client.run(`PRAGMA user_version = ${MIGRATIONS.length}`);
    })
    .immediate();
  return client;
}
