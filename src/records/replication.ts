import { type RedisClient, RedisDown, type RedisLink } from "../redis/link.ts";
import type { Storage } from "../storage/open.ts";
import type { Change } from "./changes.ts";
import { KIND_NAMES, KINDS, type Kind } from "./kinds.ts";

type Row = Record<string, string | number | null>;

/** A record as it is passed on. */
interface Version {
  /** Orders all changes: the greater one is the later one. */
  readonly rev: number;
  /** `null`: it was deleted. */
  readonly row: Row | null;
}

/** The lock was held for too long and is another's now. */
class LockLost extends Error {}

/** Another instance has changed something at the same time, and was first. */
export class WriteConflict extends Error {}

export interface ReplicationDeps {
  readonly link: RedisLink;
  readonly storage: Storage;
  /** Takes over what was changed in the database. */
  readonly applyRemoteChanges: (changes: readonly Change[]) => void;
  readonly onFault: (error: unknown) => void;
  readonly onRebuilt: (epoch: string, published: number, taken: number) => void;
}

/** How often it is looked whether others have changed something, in milliseconds. */
const LOOK_EVERY = 100;
/** How long a change may hold the lock, and how long others wait for it. */
const FIRST_LOCK_FOR = 700;
const LOCK_FOR = 5000;
const LOCK_PATIENCE = 6000;
const AT_ONCE = 200;
/** Entries of the stream that are kept: who was away for longer compares all records. */
const MAX_ENTRIES = 100_000;
/** What the count of changes jumps by when Redis is filled anew: changes that were only seen by an instance that is away stay older than new ones. */
const LEAP = 1_000_000;
/** The token that each instance made for itself. */
const OWN_TOKEN = "first";

/** A change is refused where Redis has a later version than the one that it was made on. A change with a version of its own puts back what Redis has lost. */
const PUBLISH = `
if ARGV[1] ~= '' and redis.call('GET', KEYS[4]) ~= ARGV[1] then return redis.error_reply('LOCKLOST') end
if redis.call('GET', KEYS[5]) ~= ARGV[2] then return redis.error_reply('EPOCH') end
local revs = {}
for i = 4, #ARGV, 4 do
  local known = redis.call('HGET', KEYS[1], ARGV[i])
  local current = known and tonumber(string.match(known, '^{"rev":(%d+)')) or 0
  local rev, base = tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2])
  if current > base or (rev > 0 and current >= rev) then
    revs[#revs + 1] = 0
  else
    if rev == 0 then rev = redis.call('INCR', KEYS[3]) end
    local value = string.format('{"rev":%d,"row":%s}', rev, ARGV[i + 3])
    redis.call('HSET', KEYS[1], ARGV[i], value)
    redis.call('XADD', KEYS[2], 'MAXLEN', '~', ${MAX_ENTRIES}, '*', 'f', ARGV[i], 'v', value, 'o', ARGV[3])
    revs[#revs + 1] = rev
  end
end
return revs`;

const RELEASE = `if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0`;

/**
 * A new epoch is begun by the first who finds none, or one of another Redis process: what was started again may have lost its last changes. Its count leaps over all that anybody may have seen.
 */
const BEGIN = `
local epoch = redis.call('GET', KEYS[2])
if not epoch or string.sub(epoch, 1, #ARGV[1]) ~= ARGV[1] then
  epoch = ARGV[1] .. ARGV[2]
  redis.call('SET', KEYS[2], epoch)
  redis.call('SET', KEYS[1], math.max(tonumber(redis.call('GET', KEYS[1]) or '0'), tonumber(ARGV[3])) + ${LEAP})
end
if tonumber(redis.call('GET', KEYS[1]) or '0') < tonumber(ARGV[3]) then redis.call('SET', KEYS[1], ARGV[3]) end
return epoch`;

/** Which epoch it is, the stream's last entry, and before which one others are gone from it. */
const LOOK = `
local epoch = redis.call('GET', KEYS[1]) or ''
if redis.call('EXISTS', KEYS[2]) == 0 then return { epoch, '0-0', '0-0' } end
local info = redis.call('XINFO', 'STREAM', KEYS[2])
local at = {}
for i = 1, #info, 2 do at[info[i]] = info[i + 1] end
local last, gone = at['last-generated-id'], '0-0'
if at['length'] == 0 then gone = last
elseif at['entries-added'] > at['length'] then gone = at['first-entry'][1] end
return { epoch, last, gone }`;

interface Scripts {
  sluicePublish(count: number, ...args: (string | number)[]): Promise<number[]>;
  sluiceRelease(key: string, token: string): Promise<number>;
  sluiceBegin(rev: string, epoch: string, process: string, fresh: string, max: number): Promise<string>;
  sluiceLook(epoch: string, log: string): Promise<[epoch: string, last: string, gone: string]>;
}

/**
 * Records that several instances share. Redis puts changes in one order: whoever writes holds a lock, has taken over everything before, and passes on what it has changed. Each instance's database
 * is a full copy, which it serves from while Redis is away, and from which Redis is filled again when it was emptied. Deleted records are remembered, so that no late copy brings one back.
 */
export class Replication {
  private readonly keys: { all: string; log: string; rev: string; lock: string; epoch: string };
  private readonly origin = Bun.randomUUIDv7();
  private epoch = "";
  private position = "0-0";
  private isJoined = false;
  private readonly timer: Timer;
  /** One thing after the other. */
  private line: Promise<unknown> = Promise.resolve();
  private isBusy = false;
  /** Locks that were asked for when Redis was lost. */
  private readonly orphans = new Set<string>();
  private readonly columns = new Map<string, string[]>();

  constructor(private readonly deps: ReplicationDeps) {
    const { link } = deps;
    const root = `${link.prefix}:{records}`;
    this.keys = { all: `${root}:all`, log: `${root}:log`, rev: `${root}:rev`, lock: `${root}:lock`, epoch: `${root}:epoch` };
    link.client.defineCommand("sluicePublish", { lua: PUBLISH });
    link.client.defineCommand("sluiceRelease", { lua: RELEASE, numberOfKeys: 1 });
    link.client.defineCommand("sluiceBegin", { lua: BEGIN, numberOfKeys: 2 });
    link.client.defineCommand("sluiceLook", { lua: LOOK, numberOfKeys: 2 });
    this.reread();
    this.timer = setInterval(() => {
      if (this.isBusy || !link.isUp) return;
      this.inLine(() => this.look()).catch((error: unknown) => {
        if (!(error instanceof RedisDown)) deps.onFault(error);
      });
    }, LOOK_EVERY);
    this.timer.unref();
  }

  stop(): void {
    clearInterval(this.timer);
  }

  /** Takes over now what others have changed, as far as Redis is there. */
  catchUp(): Promise<void> {
    return this.inLine(() => this.look());
  }

  /**
   * Runs a change of records: after all that others have changed before it, and passed on before the next. Rejects with `RedisDown` while Redis is away, and nothing is changed then;
   * with `WriteConflict` when another was faster.
   */
  write<T>(work: () => Promise<T>): Promise<T> {
    return this.inLine(() =>
      this.locked(async (token) => {
        await this.join();
        await this.takeOver();
        const result = await work();
        try {
          await this.passOn(token);
        } catch (error) {
          if (error instanceof LockLost) {
            await this.giveIn(this.unsaid().changed.map(({ kind, id }) => fieldOf(kind, id)));
            throw new WriteConflict("another instance was faster");
          }
          // It is made, and passed on when Redis is back.
          this.deps.onFault(error);
        }
        return result;
      }),
    );
  }

  private inLine<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.line.then(async () => {
      this.isBusy = true;
      try {
        return await work();
      } finally {
        this.isBusy = false;
      }
    });
    this.line = turn.catch(() => {});
    return turn;
  }

  /** What has to do with many records may take longer than a request may wait. */
  private run<T>(work: (client: RedisClient & Scripts) => Promise<T>): Promise<T> {
    const { link } = this.deps;
    return link.runLong((client) => work(client as RedisClient & Scripts), Math.max(2000, link.patience));
  }

  /** Runs `work` while this instance alone may change records; the token shows that it still may. */
  private async locked<T>(work: (token: string) => Promise<T>): Promise<T> {
    const token = Bun.randomUUIDv7();
    await this.lock(token);
    try {
      return await work(token);
    } finally {
      this.release(token).catch(() => {});
    }
  }

  private release(token: string): Promise<number> {
    return this.run((client) => client.sluiceRelease(this.keys.lock, token));
  }

  private async lock(token: string): Promise<void> {
    const { link } = this.deps;
    const until = link.clock.now() + LOCK_PATIENCE;
    for (;;) {
      try {
        // Short at first: what arrives late, of an instance that has gone, must not lock the others out for long.
        const taken = await this.run((client) => client.set(this.keys.lock, token, "PX", FIRST_LOCK_FOR, "NX"));
        if (taken === "OK" && (await this.run((client) => client.pexpire(this.keys.lock, LOCK_FOR))) === 1) return;
      } catch (error) {
        // It may arrive all the same, and lock everybody out.
        this.orphans.add(token);
        throw error;
      }
      if (link.clock.now() > until) throw new RedisDown("another instance holds the lock for too long");
      await Bun.sleep(5 + Math.random() * 10);
    }
  }

  private async look(): Promise<void> {
    if (!this.deps.link.isUp) return;
    for (const token of this.orphans) {
      await this.release(token);
      this.orphans.delete(token);
    }
    if (!this.isJoined || (await this.isOutOfStep())) {
      this.isJoined = false;
      await this.locked(() => this.join());
    }
    // What this instance decided by itself, such as to refuse an address.
    await this.passOn("");
    await this.takeOver();
  }

  /** Redis was lost and is back: it may be another one, or the same with less in it. */
  doubt(): void {
    this.isJoined = false;
  }

  /** Whether the stream can't tell any more what became of the records: it was begun anew, has lost its end, or no longer has what comes behind our position. */
  private async isOutOfStep(): Promise<boolean> {
    const [epoch, last, gone] = await this.run((client) => client.sluiceLook(this.keys.epoch, this.keys.log));
    // Another process on the same database may be further.
    this.reread();
    return epoch !== this.epoch || compareIds(last, this.position) < 0 || compareIds(gone, this.position) > 0;
  }

  /** Finds out whether the copies belong together, and compares them when they don't. The lock must be held. */
  private async join(): Promise<void> {
    if (this.isJoined && !(await this.isOutOfStep())) return;
    const epoch = await this.begin();
    if (epoch !== this.epoch || (await this.isOutOfStep())) await this.compare(epoch);
    this.isJoined = true;
  }

  /** The epoch that it is; a new one where Redis has lost it. */
  private async begin(): Promise<string> {
    const { client: database } = this.deps.storage;
    const max = database.query<{ rev: number | null }, []>("SELECT max(rev) AS rev FROM replicas").get()?.rev ?? 0;
    const { rev, epoch: key } = this.keys;
    // On a cluster any node may answer: there only what Redis holds tells.
    const server = this.deps.link.isCluster ? "" : await this.run((client) => client.info("server"));
    const run = /^run_id:(\w+)/m.exec(server)?.[1] ?? "cluster";
    return this.run((client) => client.sluiceBegin(rev, key, run, Bun.randomUUIDv7(), max));
  }

  /**
   * Makes the records of this database those that all share, whatever the others have: each gets a version later than any before, and what is not here is deleted everywhere. For a restored backup.
   * `see` is told of what Redis has (`null`: deleted); after it `settle` may still change the database. Rejects with `RedisDown`.
   */
  replaceShared(see: (kind: string, id: string, row: Row | null) => void, settle: () => void): Promise<void> {
    return this.inLine(() =>
      this.locked(async () => {
        this.epoch = await this.begin();
        /** Fields and the versions that Redis has of them. */
        const known = new Map<string, number>();
        let cursor = "0";
        do {
          const [next, pairs] = await this.run((client) => client.hscan(this.keys.all, cursor, "COUNT", 1000));
          for (let i = 0; i < pairs.length; i += 2) {
            const field = pairs[i] as string;
            const { rev, row } = JSON.parse(pairs[i + 1] as string) as Version;
            known.set(field, rev);
            see(...partsOf(field), row);
          }
          cursor = next;
        } while (cursor !== "0");
        settle();
        const fields = new Set([...known.keys(), ...this.fields()]);
        await this.publish(
          [...fields].map((field) => ({ field, rev: 0, base: known.get(field) ?? 0 })),
          "",
        );
        this.deps.storage.client.query("UPDATE changes SET shared = 1 WHERE shared = 0").run();
        const [last] = await this.run((client) => client.xrevrange(this.keys.log, "+", "-", "COUNT", 1));
        this.position = last?.[0] ?? "0-0";
        this.save();
        this.isJoined = true;
      }),
    );
  }

  /** Compares all records, ours with Redis': of each the later version stays, here and there. */
  private async compare(epoch: string): Promise<void> {
    const { storage } = this.deps;
    const [last] = await this.run((client) => client.xrevrange(this.keys.log, "+", "-", "COUNT", 1));
    /** Fields of our records, deleted ones among them, and their versions. */
    const ours = new Map<string, number>();
    for (const { kind, id, rev } of storage.client
      .query<{ kind: string; id: string; rev: number }, []>("SELECT kind, id, rev FROM replicas")
      .all())
      ours.set(fieldOf(kind, id), rev);
    // What was made before there was a Redis.
    for (const field of this.fields()) if (!ours.has(field)) ours.set(field, 0);
    // What was changed here and not passed on goes by the version that it was made on: where Redis has a later one, that stays.
    const unsaid = new Set(this.unsaid().changed.map(({ kind, id }) => fieldOf(kind, id)));
    for (const field of unsaid) if ((ours.get(field) ?? 0) === 0) ours.delete(field);
    let cursor = "0";
    let taken = 0;
    do {
      const [next, pairs] = await this.run((client) => client.hscan(this.keys.all, cursor, "COUNT", 1000));
      const versions: [string, Version][] = [];
      for (let i = 0; i < pairs.length; i += 2) {
        const field = pairs[i] as string;
        const version = JSON.parse(pairs[i + 1] as string) as Version;
        const its = ours.get(field);
        // The same, or an older one than Redis has: nothing to pass on.
        if (its !== undefined && its <= version.rev) ours.delete(field);
        if ((its ?? 0) < version.rev) versions.push([field, version]);
      }
      taken += versions.length;
      this.apply(versions, null);
      cursor = next;
    } while (cursor !== "0");
    this.epoch = epoch;
    const left = [...ours].map(([field, rev]) => ({ field, rev, base: rev }));
    await this.publish(left, "");
    this.position = last?.[0] ?? "0-0";
    this.save();
    await this.passOn("");
    if (left.length > 0 || taken > 0) this.deps.onRebuilt(epoch, left.length, taken);
  }

  /** Passes on what was changed here since the last time. `token`: the lock's, or "" for what needs none. */
  private async passOn(token: string): Promise<void> {
    const { until, changed } = this.unsaid();
    if (changed.length === 0) return;
    await this.publish(
      changed.map(({ kind, id }) => ({ field: fieldOf(kind, id), rev: 0, base: this.revOf(kind, id) })),
      token,
    );
    this.deps.storage.client.query("UPDATE changes SET shared = 1 WHERE seq <= ?1 AND shared = 0").run(until);
  }

  /** `rev`: the version that it has, or 0 for a new one. `base`: the last version that this instance knew of. Where Redis has a later one, that is taken over instead. */
  private async publish(
    records: readonly { readonly field: string; readonly rev: number; readonly base: number }[],
    token: string,
  ): Promise<void> {
    const { all, log, rev, lock, epoch } = this.keys;
    const own = fieldOf("token", OWN_TOKEN);
    const shared = records.filter(({ field }) => field !== own);
    const refused: string[] = [];
    for (let i = 0; i < shared.length; i += AT_ONCE) {
      const some = shared.slice(i, i + AT_ONCE).map((record) => ({ ...record, row: this.read(record.field) }));
      const args = some.flatMap((record) => [record.field, record.rev, record.base, JSON.stringify(record.row)]);
      let revs: number[];
      try {
        revs = await this.run((client) => client.sluicePublish(5, all, log, rev, lock, epoch, token, this.epoch, this.origin, ...args));
      } catch (error) {
        if (error instanceof Error && error.message.startsWith("LOCKLOST")) throw new LockLost("the lock was lost");
        if (error instanceof Error && error.message.startsWith("EPOCH")) {
          this.isJoined = false;
          throw new RedisDown("Redis was emptied");
        }
        throw error;
      }
      this.deps.storage.client
        .transaction(() => {
          for (const [n, { field, row }] of some.entries()) {
            if (revs[n] === 0) refused.push(field);
            else this.remember(field, revs[n] as number, row === null);
          }
        })
        .immediate();
    }
    await this.giveIn(refused);
  }

  /** Takes over what others have changed. */
  private async takeOver(): Promise<void> {
    for (;;) {
      const read = await this.run((client) => client.xread("COUNT", 1000, "STREAMS", this.keys.log, this.position));
      const entries = read?.[0]?.[1] ?? [];
      if (entries.length === 0) return;
      const versions: [string, Version][] = [];
      for (const [, fields] of entries) {
        const [, field = "", , value = "", , origin] = fields;
        if (origin !== this.origin) versions.push([field, JSON.parse(value) as Version]);
      }
      this.apply(versions, entries.at(-1)?.[0] ?? null);
    }
  }

  /** Puts versions into the database, those that are later than what is there, and tells the rest of the gateway. */
  private apply(versions: readonly (readonly [string, Version])[], position: string | null): void {
    const { client } = this.deps.storage;
    const changes: Change[] = [];
    client
      .transaction(() => {
        for (const [field, { rev, row }] of versions) {
          const [kind, id] = partsOf(field);
          if (this.revOf(kind, id) >= rev) continue;
          const change = this.changeOf(field);
          try {
            this.takeIn(kind, id, row);
          } catch (error) {
            // It can't stand beside one of ours, a key of the same hash: the rest is taken over.
            this.deps.onFault(error);
            continue;
          }
          this.remember(field, rev, row === null);
          changes.push(change);
        }
        if (position !== null) {
          // Another process on the same database may be further.
          if (compareIds(position, this.position) > 0) this.position = position;
          this.save();
        }
      })
      .immediate();
    if (changes.length > 0) this.deps.applyRemoteChanges(changes);
  }

  /** Others were faster: these records become what Redis has. */
  private async giveIn(fields: readonly string[]): Promise<void> {
    if (fields.length === 0) return;
    const versions: [string, Version | null][] = [];
    for (const field of fields) {
      const value = await this.run((client) => client.hget(this.keys.all, field));
      versions.push([field, value === null ? null : (JSON.parse(value) as Version)]);
    }
    const changes: Change[] = [];
    this.deps.storage.client
      .transaction(() => {
        for (const [field, version] of versions) {
          const [kind, id] = partsOf(field);
          changes.push(this.changeOf(field));
          this.takeIn(kind, id, version?.row ?? null);
          if (version !== null) this.remember(field, version.rev, version.row === null);
        }
      })
      .immediate();
    this.deps.applyRemoteChanges(changes);
  }

  /** What was changed here and is not passed on yet, up to a place in the list of changes. */
  private unsaid(): { until: number; changed: { kind: Kind; id: string }[] } {
    const { client } = this.deps.storage;
    const until = client.query<{ seq: number | null }, []>("SELECT max(seq) AS seq FROM changes WHERE shared = 0").get()?.seq ?? 0;
    if (until === 0) return { until, changed: [] };
    return {
      until,
      changed: client
        .query<{ kind: Kind; id: string }, [number]>("SELECT DISTINCT kind, id FROM changes WHERE shared = 0 AND seq <= ?1")
        .all(until),
    };
  }

  /** A change of a record that is about to be made; a key is known by what its hash was before. */
  private changeOf(field: string): Change {
    const [kind, id] = partsOf(field);
    const hash = kind === "key" ? this.read(field)?.hash : null;
    return { kind, id, was: typeof hash === "string" ? hash : null };
  }

  private revOf(kind: string, id: string): number {
    return (
      this.deps.storage.client
        .query<{ rev: number }, [string, string]>("SELECT rev FROM replicas WHERE kind = ?1 AND id = ?2")
        .get(kind, id)?.rev ?? 0
    );
  }

  /** Writes what came from others: it is no change of ours, and takes the place of one that was not passed on. */
  private takeIn(kind: Kind, id: string, row: Row | null): void {
    this.put(kind, id, row);
    this.deps.storage.client.query("UPDATE changes SET shared = 1 WHERE kind = ?1 AND id = ?2 AND shared = 0").run(kind, id);
  }

  private put(kind: Kind, id: string, row: Row | null): void {
    const { client } = this.deps.storage;
    const { table, key, isDocument, own, putIn } = KINDS[kind];
    if (row === null) {
      client.query(`DELETE FROM ${table} WHERE ${key} = ?1${isDocument ? " AND kind = ?2" : ""}`).run(...(isDocument ? [id, kind] : [id]));
      return;
    }
    // A newer version's columns are left out; it fills them itself.
    const columns = this.columnsOf(table).filter((column) => Object.hasOwn(row, column) && !own.includes(column));
    const values = columns.map((column) => row[column] as string | number | null);
    const target = isDocument ? `${key}, kind` : key;
    const isReplaced = putIn === "replace";
    client
      .query(
        `INSERT ${isReplaced ? "OR REPLACE " : ""}INTO ${table} (${columns.join(", ")}) VALUES (${columns.map(() => "?").join(", ")})${
          isReplaced ? "" : ` ON CONFLICT (${target}) DO UPDATE SET ${columns.map((column) => `${column} = excluded.${column}`).join(", ")}`
        }`,
      )
      .run(...values);
  }

  private read(field: string): Row | null {
    const [kind, id] = partsOf(field);
    const { table, key, isDocument, own } = KINDS[kind];
    const row = this.deps.storage.client
      .query<Row, string[]>(`SELECT * FROM ${table} WHERE ${key} = ?1${isDocument ? " AND kind = ?2" : ""}`)
      .get(...(isDocument ? [id, kind] : [id]));
    if (row === null) return null;
    for (const column of own) delete row[column];
    return row;
  }

  /** All records that are there. */
  private *fields(): Generator<string> {
    const { client } = this.deps.storage;
    for (const kind of KIND_NAMES) {
      const { table, key, isDocument } = KINDS[kind];
      const rows = client.query<{ id: string }, string[]>(`SELECT ${key} AS id FROM ${table}${isDocument ? " WHERE kind = ?1" : ""}`);
      for (const { id } of rows.all(...(isDocument ? [kind] : []))) yield fieldOf(kind, id);
    }
  }

  private columnsOf(table: string): string[] {
    let columns = this.columns.get(table);
    if (columns === undefined) {
      columns = this.deps.storage.client
        .query<{ name: string }, [string]>("SELECT name FROM pragma_table_info(?1)")
        .all(table)
        .map(({ name }) => name);
      this.columns.set(table, columns);
    }
    return columns;
  }

  private remember(field: string, rev: number, deleted: boolean): void {
    const [kind, id] = partsOf(field);
    this.deps.storage.client
      .query("INSERT OR REPLACE INTO replicas (kind, id, rev, deleted) VALUES (?1, ?2, ?3, ?4)")
      .run(kind, id, rev, deleted ? 1 : 0);
  }

  private reread(): void {
    const row = this.deps.storage.client
      .query<{ epoch: string; position: string }, []>("SELECT epoch, position FROM replication WHERE id = 1")
      .get();
    if (row !== null) ({ epoch: this.epoch, position: this.position } = row);
  }

  private save(): void {
    this.deps.storage.client
      .query("INSERT OR REPLACE INTO replication (id, epoch, position) VALUES (1, ?1, ?2)")
      .run(this.epoch, this.position);
  }
}

const fieldOf = (kind: string, id: string): string => `${kind}\n${id}`;

function partsOf(field: string): [Kind, string] {
  const at = field.indexOf("\n");
  return [field.slice(0, at) as Kind, field.slice(at + 1)];
}

/** Ids of a stream: milliseconds and a count. */
function compareIds(a: string, b: string): number {
  const [aTime = 0, aCount = 0] = a.split("-").map(Number);
  const [bTime = 0, bCount = 0] = b.split("-").map(Number);
  return aTime - bTime || aCount - bCount;
}
