import { type RedisClient, RedisDown, type RedisLink } from "../redis/link.ts";
import type { Storage } from "../storage/open.ts";
import begin from "./begin.lua" with { type: "text" };
import type { Change } from "./changes.ts";
import look from "./look.lua" with { type: "text" };
import publish from "./publish.lua" with { type: "text" };
import { fieldOf, partsOf, Replicas } from "./replicas.ts";
import { type Row, Rows } from "./rows.ts";

/** Holds a record as it is passed on. */
interface Version {
  /** Orders all changes: the greater one is the later one. */
  readonly rev: number;
  /** `null`: it was deleted. */
  readonly row: Row | null;
}

/** Says that the lock was held for too long and is another's now, or another has changed a record without it. */
class LockLost extends Error {}

/** Says that another instance has changed something at the same time, and was first. */
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
/** How long a change may hold the lock, from its beginning and from each portion that is passed on, and how long others wait for it. */
const FIRST_LOCK_FOR = 700;
const LOCK_FOR = 5000;
const LOCK_PATIENCE = 6000;
const AT_ONCE = 200;
/** The token that each instance made for itself. */
const OWN_TOKEN = "first";

const RELEASE = `if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0`;

interface Scripts {
  sluicePublish(count: number, ...args: (string | number)[]): Promise<number[]>;
  sluiceRelease(key: string, token: string): Promise<number>;
  sluiceBegin(rev: string, epoch: string, process: string, fresh: string, max: number): Promise<string>;
  sluiceLook(epoch: string, log: string): Promise<[epoch: string, last: string, gone: string]>;
}

/**
 * Shares records between several instances. Redis puts changes in one order: whoever writes holds a lock, has taken over everything before, and passes on what it has changed. Each instance's database
 * is a full copy, which it serves from while Redis is away, and from which Redis is filled again when it was emptied. Deleted records are remembered, so that no late copy brings one back.
 * Its states are drawn in docs/adr/0006-records-replicated-to-each-instance.md; the model in test/support/replicas.ts says what must hold.
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
  /** Says what is known of versions here. */
  private readonly book: Replicas;
  private readonly rows: Rows;

  constructor(private readonly deps: ReplicationDeps) {
    const { link } = deps;
    this.book = new Replicas(deps.storage.client);
    this.rows = new Rows(deps.storage.client);
    const root = `${link.prefix}:{records}`;
    this.keys = { all: `${root}:all`, log: `${root}:log`, rev: `${root}:rev`, lock: `${root}:lock`, epoch: `${root}:epoch` };
    link.client.defineCommand("sluicePublish", { lua: publish });
    link.client.defineCommand("sluiceRelease", { lua: RELEASE, numberOfKeys: 1 });
    link.client.defineCommand("sluiceBegin", { lua: begin, numberOfKeys: 2 });
    link.client.defineCommand("sluiceLook", { lua: look, numberOfKeys: 2 });
    this.reread();
    this.timer = setInterval(() => {
      if (this.isBusy || !link.isUp) return;
      this.inLine(() => this.look()).catch((error: unknown) => {
        if (!(error instanceof RedisDown)) deps.onFault(error);
      });
    }, LOOK_EVERY);
    this.timer.unref();
  }

  close(): void {
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
        // What came before goes before: it is not to be undone with what comes now.
        await this.passOn("");
        const result = await work();
        try {
          await this.passOn(token);
        } catch (error) {
          if (await this.isUndone(error)) throw new WriteConflict("another instance was faster");
        }
        return result;
      }),
    );
  }

  /** Undoes a change that could not be passed on because another was faster. Tells whether it did: else the change is made, and passed on when Redis is back. */
  private async isUndone(why: unknown): Promise<boolean> {
    try {
      if (!(why instanceof LockLost)) throw why;
      await this.giveIn(this.book.unshared().changed.map(({ kind, id }) => fieldOf(kind, id)));
      return true;
    } catch (error) {
      this.deps.onFault(error);
      return false;
    }
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

  /** Asks Redis. What has to do with many records may take longer than a request may wait. */
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
    await this.takeOver();
    // What this instance decided by itself, such as to refuse an address.
    await this.passOn("");
  }

  /** Notes that Redis was lost: when it is back it may be another one, or the same with less in it. */
  doubt(): void {
    this.isJoined = false;
  }

  /** Tells whether the stream can't say any more what became of the records: it was begun anew, has lost its end, or no longer has what comes behind our position. */
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

  /** Gives the epoch that it is, and begins one where Redis has lost it. */
  private async begin(): Promise<string> {
    const { rev, epoch: key } = this.keys;
    // On a cluster any node may answer: there only what Redis holds tells.
    const server = this.deps.link.isCluster ? "" : await this.run((client) => client.info("server"));
    const run = /^run_id:(\w+)/m.exec(server)?.[1] ?? "cluster";
    return this.run((client) => client.sluiceBegin(rev, key, run, Bun.randomUUIDv7(), Math.ceil(this.book.last())));
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
        // Also what was deleted here, and Redis has lost: others may have it.
        const fields = new Set([...known.keys(), ...this.book.versions().keys(), ...this.rows.fields()]);
        await this.publish(
          [...fields].map((field) => ({ field, rev: 0, base: known.get(field) ?? 0 })),
          "",
        );
        this.book.markAllShared();
        const [last] = await this.run((client) => client.xrevrange(this.keys.log, "+", "-", "COUNT", 1));
        this.position = last?.[0] ?? "0-0";
        this.book.keepPlace(this.epoch, this.position);
        this.isJoined = true;
      }),
    );
  }

  /** Compares all records, ours with Redis': of each the later version stays, here and there. */
  private async compare(epoch: string): Promise<void> {
    const [last] = await this.run((client) => client.xrevrange(this.keys.log, "+", "-", "COUNT", 1));
    /** Fields of our records, deleted ones among them, and their versions. */
    const ours = this.book.versions();
    // What was made before there was a Redis.
    for (const field of this.rows.fields()) if (!ours.has(field)) ours.set(field, 0);
    // What was changed here and not passed on goes by the version that it was made on: where anybody has a later one, that stays.
    const { until, changed } = this.book.unshared();
    const unsaid = new Set(changed.map(({ kind, id }) => fieldOf(kind, id)));
    for (const field of unsaid) if (!ours.has(field)) ours.set(field, 0);
    let cursor = "0";
    let taken = 0;
    do {
      const [next, pairs] = await this.run((client) => client.hscan(this.keys.all, cursor, "COUNT", 1000));
      const versions: [string, Version][] = [];
      for (let i = 0; i < pairs.length; i += 2) {
        const field = pairs[i] as string;
        const version = JSON.parse(pairs[i + 1] as string) as Version;
        const its = ours.get(field);
        if (its === version.rev && unsaid.has(field) && this.isHere(field, version.row)) {
          this.book.markShared(field, until);
          unsaid.delete(field);
        }
        // The same, or an older one than Redis has: nothing to pass on.
        if (its !== undefined && (its < version.rev || (its === version.rev && !unsaid.has(field)))) ours.delete(field);
        if ((its ?? 0) < version.rev) versions.push([field, version]);
      }
      taken += versions.length;
      this.apply(versions, null);
      cursor = next;
    } while (cursor !== "0");
    this.epoch = epoch;
    const left = [...ours].map(([field, rev]) => ({ field, rev: rev === 0 || unsaid.has(field) ? between(rev) : rev, base: rev }));
    await this.publish(left, "");
    this.position = last?.[0] ?? "0-0";
    this.book.keepPlace(this.epoch, this.position);
    if (left.length > 0 || taken > 0) this.deps.onRebuilt(epoch, left.length, taken);
  }

  /** Passes on what was changed here since the last time. `token`: the lock's, or "" for what needs none. */
  private async passOn(token: string): Promise<void> {
    const { until, changed } = this.book.unshared();
    if (changed.length === 0) return;
    await this.publish(
      changed.map(({ kind, id }) => ({ field: fieldOf(kind, id), rev: 0, base: this.book.revOf(fieldOf(kind, id)) })),
      token,
    );
    this.book.markAllShared(until);
  }

  /**
   * Passes records on. `rev`: the version that it has, or 0 for a new one. `base`: the last version that this instance knew of. Where Redis has a later one, that is taken over instead; with the
   * lock's token it rejects with `LockLost`, and nothing of those that went together is passed on.
   */
  private async publish(
    records: readonly { readonly field: string; readonly rev: number; readonly base: number }[],
    token: string,
  ): Promise<void> {
    const { all, log, rev: count, lock, epoch } = this.keys;
    const own = fieldOf("token", OWN_TOKEN);
    const shared = records.filter(({ field }) => field !== own);
    const refused: string[] = [];
    for (let i = 0; i < shared.length; i += AT_ONCE) {
      const until = this.book.lastChange();
      const some = shared.slice(i, i + AT_ONCE).map((record) => ({ ...record, row: this.rows.read(record.field) }));
      const args = some.flatMap((record) => [record.field, record.rev, record.base, JSON.stringify(record.row)]);
      // A version that is chosen here is written down before anybody can know of it: should the answer be lost, what is changed next is made on it.
      const chosen = some.filter((record) => record.rev !== 0 && record.rev !== record.base);
      if (chosen.length > 0)
        this.deps.storage.client
          .transaction(() => {
            for (const { field, rev, row } of chosen) this.book.remember(field, rev, row === null);
          })
          .immediate();
      let revs: number[];
      try {
        revs = await this.run((client) =>
          client.sluicePublish(5, all, log, count, lock, epoch, token, this.epoch, this.origin, LOCK_FOR, ...args),
        );
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
          for (const [n, { field, rev, row }] of some.entries()) {
            const given = revs[n] as number;
            if (given === 0) {
              refused.push(field);
              continue;
            }
            // An answer of Redis has whole numbers alone.
            this.book.remember(field, rev === 0 ? given : rev, row === null);
            this.book.markShared(field, until);
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
      const versions: [string, Version, boolean][] = entries.map(([, fields]) => {
        const [, field = "", , value = "", , origin] = fields;
        return [field, JSON.parse(value) as Version, origin === this.origin];
      });
      this.apply(versions, entries.at(-1)?.[0] ?? null);
    }
  }

  /** Puts versions into the database, those that are later than what is there, and tells the rest of the gateway. */
  private apply(versions: readonly (readonly [field: string, version: Version, isOurs?: boolean])[], position: string | null): void {
    const { client } = this.deps.storage;
    const changes: Change[] = [];
    client
      .transaction(() => {
        for (const [field, { rev, row }, isOurs] of versions) {
          const its = this.book.revOf(field);
          if (its > rev) continue;
          if (isOurs || its === rev) {
            // It was passed on, and the answer was lost: what is here is that, or was made on top of it.
            if (its !== rev) this.book.remember(field, rev, row === null);
            if (this.book.isUnshared(field) && this.isHere(field, row)) this.book.markShared(field);
            continue;
          }
          const change = this.changeOf(field);
          try {
            this.takeIn(field, row);
          } catch (error) {
            // It can't stand beside one of ours, a key of the same hash: the rest is taken over.
            this.deps.onFault(error);
            continue;
          }
          this.book.remember(field, rev, row === null);
          changes.push(change);
        }
        if (position !== null) {
          // Another process on the same database may be further.
          if (compareIds(position, this.position) > 0) this.position = position;
          this.book.keepPlace(this.epoch, this.position);
        }
      })
      .immediate();
    if (changes.length > 0) this.deps.applyRemoteChanges(changes);
  }

  /** Makes these records what Redis has: others were faster. Rejects with `RedisDown` when Redis has lost one. */
  private async giveIn(fields: readonly string[]): Promise<void> {
    if (fields.length === 0) return;
    const versions: [string, Version | null][] = [];
    for (const field of fields) {
      const value = await this.run((client) => client.hget(this.keys.all, field));
      // Redis had it and has lost it: what it was is not known, and what is here may be all that there is.
      if (value === null && this.book.revOf(field) > 0) throw new RedisDown("Redis was emptied");
      versions.push([field, value === null ? null : (JSON.parse(value) as Version)]);
    }
    const changes: Change[] = [];
    this.deps.storage.client
      .transaction(() => {
        for (const [field, version] of versions) {
          changes.push(this.changeOf(field));
          this.takeIn(field, version?.row ?? null);
          if (version !== null) this.book.remember(field, version.rev, version.row === null);
        }
      })
      .immediate();
    this.deps.applyRemoteChanges(changes);
  }

  /** Tells whether a record is here as Redis has it: passed on once more, it would take the place of what others have made of it. */
  private isHere(field: string, row: Row | null): boolean {
    return Bun.deepEquals(this.rows.read(field), row);
  }

  /** Gives what is told of a record that is about to be changed; a key is known by what its hash was before. */
  private changeOf(field: string): Change {
    const [kind, id] = partsOf(field);
    const hash = kind === "key" ? this.rows.read(field)?.hash : null;
    return { kind, id, was: typeof hash === "string" ? hash : null };
  }

  /** Writes what came from others: it is no change of ours, and takes the place of one that was not passed on. */
  private takeIn(field: string, row: Row | null): void {
    this.rows.put(field, row);
    this.book.markShared(field);
  }

  private reread(): void {
    ({ epoch: this.epoch, position: this.position } = this.book.place());
  }
}

/**
 * Gives a version for a change that was made on `base` and not passed on before Redis was lost: behind `base`, and before all that anybody may have made of it meanwhile, which has at least the next
 * whole number. Two that do so at the same time must not get the same one: between two whole numbers a double has room for 262,000 in 2026 and for
 * 16,000 in 2040, and between 0 and 1 for all that is ever wanted.
 */
function between(base: number): number {
  const next = Math.floor(base) + 1;
  const version = base + (next - base) * Math.random();
  return version > base && version < next ? version : base;
}

/** Ids of a stream: milliseconds and a count. */
function compareIds(a: string, b: string): number {
  const [aTime = 0, aCount = 0] = a.split("-").map(Number);
  const [bTime = 0, bCount = 0] = b.split("-").map(Number);
  return aTime - bTime || aCount - bCount;
}
