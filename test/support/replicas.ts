import type { Redis } from "ioredis";
import type { Change } from "../../src/records/changes.ts";
import { Replication, WriteConflict } from "../../src/records/replication.ts";
import { type RedisClient, RedisDown, type RedisLink } from "../../src/redis/link.ts";
import { openStorage, type Storage } from "../../src/storage/open.ts";
import { systemClock } from "../../src/values/clock.ts";

/**
 * Instances that share records through one Redis, in one process, for a test that lets anything fail between any two steps. The database of each is real, and so is Redis; what is made up is the
 * link between them, which fails when it is told to, and Redis' past: `Cluster` can take it back to what it was.
 */

/** What goes wrong in an operation, `at` its n-th step: a call to Redis, or something that is written to the database. */
export interface Fault {
  readonly at: number;
  readonly what: FaultKind;
  /** What happens meanwhile, for a pause. The lock has run out then, unless it is kept. */
  readonly meanwhile?: (world: World) => Promise<void>;
  readonly keepsLock?: boolean;
}

/**
 * `before`: the link is lost before the call is made; `after`: after it was carried out, its answer is lost; `late`: it is given up, and carried out some steps later. `die`: the process ends before
 * the step, `answered`: after it. `pause`: others go on meanwhile.
 */
export const FAULTS = ["before", "after", "late", "die", "answered", "pause"] as const;
export type FaultKind = (typeof FAULTS)[number];

/** Ends what a process that has died was doing in its database. */
class Died extends Error {}

const never = new Promise<never>(() => {});

/** Kinds of records that differ in how they are kept, and two records of each. A table's row holds the number of the change that it comes from. */
export const RECORDS = ["consumer c1", "consumer c2", "tier t1", "key k1", "block 10.0.0.1", "block 10.0.0.2", "token t1"] as const;
export type RecordName = (typeof RECORDS)[number];

const TABLES = {
  consumer: { table: "consumers", where: "id = ?1", value: "CAST(name AS INTEGER)" },
  tier: { table: "documents", where: "kind = 'tier' AND name = ?1", value: "document ->> 'value'" },
  key: { table: "keys", where: "id = ?1", value: "CAST(name AS INTEGER)" },
  block: { table: "blocks", where: "cidr = ?1", value: "CAST(reason AS INTEGER)" },
  token: { table: "admin_tokens", where: "id = ?1", value: "CAST(name AS INTEGER)" },
} as const;

const PUTS = {
  consumer:
    "INSERT INTO consumers (id, tier, name, enabled, version, created_at, updated_at) VALUES (?1, 't', ?2, 1, 1, 0, 0) ON CONFLICT (id) DO UPDATE SET name = ?2, version = version + 1",
  tier: "INSERT INTO documents (kind, name, document, version, created_at, updated_at) VALUES ('tier', ?1, json_object('value', ?2), 1, 0, 0) ON CONFLICT (kind, name) DO UPDATE SET document = json_object('value', ?2), version = version + 1",
  key: `INSERT INTO keys (id, hash, start, "end", consumer, name, enabled, version, created_at, updated_at) VALUES (?1, 'hash ' || ?2, '', '', 'c', ?2, 1, 1, 0, 0) ON CONFLICT (id) DO UPDATE SET hash = 'hash ' || ?2, name = ?2, version = version + 1`,
  block: "INSERT OR REPLACE INTO blocks (cidr, reason, by, created_at) VALUES (?1, ?2, 'guard', 0)",
  token: "INSERT OR REPLACE INTO admin_tokens (id, name, hash, created_at) VALUES (?1, ?2, 'hash ' || ?2, 0)",
} as const;

const split = (record: RecordName): [keyof typeof TABLES, string] => {
  const [kind, id] = record.split(" ");
  return [kind as keyof typeof TABLES, id as string];
};

/** One change that somebody has made, as the model remembers it. Times count the model's own steps. */
export interface Made {
  /** What the record holds afterwards, different for each change; `null`: nothing, it was deleted. */
  readonly value: number | null;
  readonly record: RecordName;
  readonly by: number;
  readonly begun: number;
  /** The number of the change that it was made on; `null` where there was no record. */
  on: number | null;
  /** The version that it was made on. */
  base: number;
  /** When it was in the instance's database. */
  stored: number | null;
  /** When it was acknowledged and passed on, and with which version; else it is passed on when Redis is back, unless another was first. */
  passedOn: number | null;
  rev: number;
  /** It was refused: the caller knows that it is not so. */
  isRefused: boolean;
  /** The instance had passed something of the record on, as far as it could know, and waits for the answer: what comes on top may lose against it. */
  isOnUncertain: boolean;
}

/** Gives a call as it is sent now, to be carried out later. */
function callOf(work: (client: RedisClient) => Promise<unknown>, client: RedisClient): () => Promise<unknown> {
  let call: () => Promise<unknown> = async () => {};
  const recorder = new Proxy(client, {
    get:
      (target, name) =>
      (...args: unknown[]) => {
        const method = Reflect.get(target, name) as (...args: unknown[]) => Promise<unknown>;
        call = () => method(...args);
        return never;
      },
  });
  void work(recorder);
  return () => call();
}

/** One instance: its database stays, what runs on it can be made anew. */
class Instance {
  readonly storage: Storage = openStorage(":memory:");
  replication: Replication;
  isUp = true;
  private isDead = false;
  private steps = 0;
  private fault: Fault | null = null;
  private died = Promise.withResolvers<"died">();
  /** What the gateway holds in memory: it has only what it was told of. */
  readonly view = new Map<RecordName, number | null>();
  /** Faults that were told of since the operation began. */
  readonly told: unknown[] = [];
  /** Calls to Redis that have no answer yet. */
  private readonly pending = new Set<Promise<void>>();
  /** Records of which something may have been passed on without this instance knowing. */
  readonly uncertain = new Map<RecordName, number>();

  constructor(
    private readonly world: World,
    readonly index: number,
  ) {
    // Each has made it for itself, and it is shared with nobody.
    this.storage.client.run("INSERT INTO admin_tokens (id, name, hash, created_at) VALUES ('first', ?1, ?1, 0)", [`of ${index}`]);
    this.replication = this.start();
  }

  /** Starts on the database that there is: with nothing but what is in it. */
  start(): Replication {
    // The process before is gone, and all that it had begun.
    this.isDead = false;
    this.pending.clear();
    this.died = Promise.withResolvers();
    const life = { isDead: false };
    this.life.isDead = true;
    this.life = life;
    for (const record of RECORDS) this.view.set(record, this.valueOf(record));
    this.replication = new Replication({
      link: this.linkOf(life),
      storage: this.storageOf(life),
      applyRemoteChanges: (changes) => this.takeNote(changes),
      onFault: (error) => {
        if (!life.isDead) this.told.push(error);
      },
      onRebuilt: () => {},
    });
    // It looks when the test says so.
    this.replication.close();
    return this.replication;
  }
  private life = { isDead: false };

  private takeNote(changes: readonly Change[]): void {
    for (const { kind, id } of changes) {
      const record = `${kind} ${id}` as RecordName;
      if (RECORDS.includes(record)) this.view.set(record, this.valueOf(record));
    }
  }

  valueOf(record: RecordName): number | null {
    const [kind, id] = split(record);
    const { table, where, value } = TABLES[kind];
    return (
      this.storage.client.query<{ value: number }, [string]>(`SELECT ${value} AS value FROM ${table} WHERE ${where}`).get(id)?.value ?? null
    );
  }

  revOf(record: RecordName): number {
    return (
      this.storage.client.query<{ rev: number }, string[]>("SELECT rev FROM replicas WHERE kind = ?1 AND id = ?2").get(...split(record))
        ?.rev ?? 0
    );
  }

  put(record: RecordName, value: number | null): void {
    const [kind, id] = split(record);
    const { table, where } = TABLES[kind];
    if (value === null) this.storage.client.query(`DELETE FROM ${table} WHERE ${where}`).run(id);
    else this.storage.client.query<unknown, [string, string | number]>(PUTS[kind]).run(id, kind === "tier" ? value : String(value));
    this.view.set(record, value);
  }

  /** Does something, with a fault in it. Gives what became of it. */
  async during<T>(work: () => Promise<T>, fault: Fault | null): Promise<{ value: T } | { error: unknown } | "died"> {
    // What happens during a pause of this very instance waits in line behind it.
    this.fault = fault;
    this.steps = 0;
    this.told.length = 0;
    const died = this.died.promise;
    const result = await Promise.race([
      work().then(
        (value) => ({ value }),
        (error: unknown) => (error instanceof Died ? ("died" as const) : { error }),
      ),
      died,
    ]);
    // What nobody waits for, such as that a lock is given back.
    while (this.pending.size > 0 && !this.isDead) await Promise.race([Promise.all(this.pending), died]);
    this.pending.clear();
    this.fault = null;
    if (this.isDead || result === "died") {
      await this.world.expireLock();
      this.start();
      return "died";
    }
    return result;
  }

  lose(): void {
    this.isUp = false;
    // As the gateway does when the link says that Redis is lost.
    this.replication.doubt();
  }

  private die(): void {
    this.doubtRecords();
    this.isDead = true;
    this.life.isDead = true;
    this.died.resolve("died");
  }

  /** Something that may fail; `null`: nothing is to happen here. */
  private next(): Fault | null {
    const { fault } = this;
    if (fault === null || this.steps++ < fault.at) return null;
    this.fault = null;
    return fault;
  }

  /** A step of a caller's work, which neither Redis nor the database has part in. */
  async step(): Promise<void> {
    const fault = this.next();
    if (fault?.what === "pause") await this.pause(fault);
    else if (fault?.what === "die" || fault?.what === "answered") {
      this.die();
      await never;
    }
  }

  private async pause(fault: Fault): Promise<void> {
    if (fault.keepsLock !== true) await this.world.expireLock();
    await fault.meanwhile?.(this.world);
  }

  private linkOf(life: { isDead: boolean }): RedisLink {
    const { world } = this;
    const self = this;
    // What replication uses of a link, and no more.
    const link: Pick<RedisLink, "client" | "prefix" | "isUp" | "isCluster" | "patience" | "clock" | "runLong"> = {
      client: world.redis,
      prefix: world.prefix,
      get isUp() {
        return self.isUp;
      },
      isCluster: world.isCluster,
      patience: 1000,
      clock: systemClock,
      runLong: <T>(work: (client: RedisClient) => Promise<T>): Promise<T> => {
        if (life.isDead) return never;
        const answer = call(work);
        const isOver = answer.then(
          () => {},
          () => {},
        );
        self.pending.add(isOver);
        void isOver.then(() => self.pending.delete(isOver));
        return answer;
      },
    };
    async function call<T>(work: (client: RedisClient) => Promise<T>): Promise<T> {
      if (!self.isUp) throw new RedisDown("Redis is away");
      await world.pass();
      const fault = self.next();
      const run = () => work(world.client);
      switch (fault?.what) {
        case undefined:
          return self.answer(life, await run());
        case "before":
          self.lose();
          throw new RedisDown("lost before the call");
        case "after":
          await run().catch(() => {});
          self.doubtRecords();
          self.lose();
          throw new RedisDown("lost after the call");
        case "late":
          world.later(callOf(work, world.client));
          self.doubtRecords();
          self.lose();
          throw new RedisDown("lost, and the call arrives later");
        case "die":
          self.die();
          return never;
        case "answered":
          await run().catch(() => {});
          self.die();
          return never;
        case "pause":
          await self.pause(fault);
          if (!self.isUp) throw new RedisDown("lost meanwhile");
          return self.answer(life, await run());
      }
    }
    return link as RedisLink;
  }

  private answer<T>(life: { isDead: boolean }, value: T): T | Promise<never> {
    return life.isDead ? never : value;
  }

  /** What was on its way may have arrived. */
  private doubtRecords(): void {
    for (const record of this.unshared()) this.uncertain.set(record, this.world.now);
  }

  unshared(): RecordName[] {
    return this.storage.client
      .query<{ kind: string; id: string }, []>("SELECT DISTINCT kind, id FROM changes WHERE shared = 0")
      .all()
      .map(({ kind, id }) => `${kind} ${id}` as RecordName);
  }

  /** The database, in which a process can end before anything that is written. */
  private storageOf(life: { isDead: boolean }): Storage {
    const { client } = this.storage;
    let isInside = false;
    const write = (): void => {
      if (life.isDead) throw new Died();
      if (isInside || this.fault?.what !== "die" || this.next() === null) return;
      this.die();
      throw new Died();
    };
    const proxy = new Proxy(client, {
      get: (target, name) => {
        if (name === "query")
          return (sql: string) => {
            if (sql.startsWith("SELECT")) {
              if (life.isDead) throw new Died();
            } else write();
            return target.query(sql);
          };
        if (name === "transaction")
          return (work: () => void) => ({
            immediate: () => {
              write();
              isInside = true;
              try {
                target.transaction(work).immediate();
              } finally {
                isInside = false;
              }
            },
          });
        throw new Error(`the test's database has no ${String(name)}`);
      },
    });
    return { ...this.storage, client: proxy };
  }

  close(): void {
    this.life.isDead = true;
    this.storage.close();
  }
}

/** What a Redis held. */
interface Snapshot {
  readonly dumps: readonly (Buffer | null)[];
  readonly at: number;
}

export class World {
  readonly instances: Instance[];
  readonly prefix = Bun.randomUUIDv7();
  readonly made: Made[] = [];
  /** Redis, as which process it is known now. */
  readonly client: RedisClient;
  private runs = 0;
  private count = 0;
  /** When Redis lost something: from then on, who has not heard of a change may change the record without it. */
  private losses: number[] = [];
  private readonly snapshots: Snapshot[] = [];
  private late: { call: () => Promise<unknown>; after: number }[] = [];
  readonly counts = { writes: 0, passedOn: 0, refused: 0, faults: 0 };

  constructor(
    readonly redis: Redis,
    instances: number,
    /** After how many steps what is late arrives. */
    private readonly lateBy: number,
    /** No process of Redis can be named. */
    readonly isCluster = false,
  ) {
    this.client = new Proxy(redis, {
      get: (target, name) => {
        if (name === "info") return async () => `run_id:run${this.runs}x\r\n`;
        const value = Reflect.get(target, name) as unknown;
        return typeof value === "function" ? value.bind(target) : value;
      },
    });
    this.instances = Array.from({ length: instances }, (_, index) => new Instance(this, index));
  }

  private get keys(): string[] {
    return ["all", "log", "rev", "epoch", "lock"].map((name) => `${this.prefix}:{records}:${name}`);
  }

  get now(): number {
    return this.count;
  }

  at(index: number): Instance {
    return this.instances[index % this.instances.length] as Instance;
  }

  /** What is late, and its time has come, arrives. */
  async pass(isOver = false): Promise<void> {
    if (this.late.length === 0) return;
    const due = this.late.filter((each) => isOver || each.after-- <= 0);
    this.late = this.late.filter((each) => !due.includes(each));
    for (const { call } of due) {
      const key = this.keys[4] as string;
      const held = await this.redis.get(key);
      await call().catch(() => {});
      // A lock that arrives late is a short one: its time is over at once.
      if (held === null) await this.redis.del(key);
    }
  }

  later(call: () => Promise<unknown>): void {
    this.late.push({ call, after: this.lateBy });
  }

  async expireLock(): Promise<void> {
    await this.redis.del(this.keys[4] as string);
  }

  /** A record that is there from before there was a Redis; what was changed for it is forgotten. */
  old(index: number, record: RecordName): void {
    const instance = this.at(index);
    if (instance.valueOf(record) !== null) return;
    const made = this.begin(instance, record, false);
    this.make(instance, made);
    instance.storage.client.run("DELETE FROM changes");
  }

  private begin(instance: Instance, record: RecordName, isDeletion: boolean): Made {
    const made: Made = {
      value: isDeletion ? null : ++this.count,
      record,
      by: instance.index,
      begun: ++this.count,
      on: null,
      base: 0,
      stored: null,
      passedOn: null,
      rev: 0,
      isRefused: false,
      isOnUncertain: false,
    };
    return made;
  }

  /** Gives whether there was something to change. */
  private make(instance: Instance, made: Made): boolean {
    made.on = instance.valueOf(made.record);
    if (made.on === null && made.value === null) return false;
    made.base = instance.revOf(made.record);
    made.isOnUncertain = instance.uncertain.has(made.record);
    instance.put(made.record, made.value);
    made.stored = ++this.count;
    this.made.push(made);
    return true;
  }

  /** What an instance decides by itself. */
  local(index: number, record: RecordName, isDeletion: boolean): void {
    const instance = this.at(index);
    this.make(instance, this.begin(instance, record, isDeletion));
  }

  async write(index: number, record: RecordName, isDeletion: boolean, fault: Fault | null): Promise<void> {
    const instance = this.at(index);
    const made = this.begin(instance, record, isDeletion);
    this.counts.writes++;
    const result = await instance.during(
      () =>
        instance.replication.write(async () => {
          await instance.step();
          const isMade = this.make(instance, made);
          if (isMade) this.checkOrder(made);
          await instance.step();
          return isMade;
        }),
      fault,
    );
    await this.pass();
    await this.afterwards(instance, result);
    if (result === "died" || made.stored === null) return;
    if ("error" in result) {
      made.isRefused = true;
      this.counts.refused++;
      if (result.error instanceof RedisDown) throw new Error(`${record} ${made.value} was refused for want of Redis, and was made`);
      if (!(result.error instanceof WriteConflict)) throw result.error;
      if (made.value !== null && instance.valueOf(record) === made.value)
        throw new Error(`${record} ${made.value} was refused for a conflict, and is there`);
      return;
    }
    if (instance.valueOf(record) !== made.value)
      throw new Error(`${record} ${made.value} was acknowledged, and is not there: ${instance.valueOf(record)}`);
    if (instance.told.length > 0) return;
    made.rev = instance.revOf(record);
    made.passedOn = ++this.count;
    this.counts.passedOn++;
  }

  async catchUp(index: number, fault: Fault | null): Promise<void> {
    const instance = this.at(index);
    const result = await instance.during(() => instance.replication.catchUp(), fault);
    await this.pass();
    await this.afterwards(instance, result);
    if (instance.isUp && result !== "died" && "value" in result) this.makeCertain(instance);
  }

  /** It has seen what became of what it had passed on, unless Redis has lost that. */
  private makeCertain({ uncertain }: Instance): void {
    for (const [record, since] of uncertain) if (!this.losses.some((loss) => loss >= since)) uncertain.delete(record);
  }

  private async afterwards(instance: Instance, result: { value: unknown } | { error: unknown } | "died"): Promise<void> {
    // A lock whose release did not arrive runs out.
    await this.expireLock();
    if (result === "died" || "value" in result) return;
    if (!(result.error instanceof RedisDown || result.error instanceof WriteConflict)) throw result.error;
    if (instance.isUp && result.error instanceof RedisDown && !/emptied/.test(result.error.message)) throw result.error;
  }

  /** A change that others have acknowledged and passed on is seen by the next, as long as Redis has lost nothing. */
  private checkOrder(made: Made): void {
    const last = this.lastPassedOn(made.record, made.begun);
    if (last === undefined || this.losses.some((loss) => loss > last.begun)) return;
    if (made.base < last.rev)
      throw new Error(`${made.record} ${made.value} was made on version ${made.base}, after ${last.rev} was acknowledged`);
  }

  private lastPassedOn(record: RecordName, before = Number.POSITIVE_INFINITY): Made | undefined {
    return this.made.findLast((each) => each.record === record && each.passedOn !== null && each.passedOn < before);
  }

  cut(index: number): void {
    this.at(index).lose();
  }

  mend(index: number): void {
    this.at(index).isUp = true;
  }

  restart(index: number): void {
    this.at(index).start();
  }

  /** Redis counts milliseconds, and nobody makes a thousand changes a second. */
  private async lost(): Promise<void> {
    this.losses.push(++this.count);
    await Bun.sleep(2 + this.made.length);
  }

  /** All is gone at once, and nobody is told. */
  async empty(): Promise<void> {
    await this.lost();
    await this.redis.del(...this.keys);
  }

  async snapshot(): Promise<void> {
    this.snapshots.push({ dumps: await Promise.all(this.keys.slice(0, 4).map((key) => this.redis.dumpBuffer(key))), at: ++this.count });
  }

  /** Another process takes Redis' place, with what was there at the n-th snapshot from the end, or with nothing. */
  async startRedisAgain(back: number): Promise<void> {
    this.runs++;
    for (const instance of this.instances) if (instance.isUp) instance.lose();
    await this.lost();
    await this.redis.del(...this.keys);
    // A node of a cluster that has lost its end is not noticed: see docs/adr/0006-records-replicated-to-each-instance.md.
    const snapshot = this.isCluster ? undefined : this.snapshots.at(-1 - back);
    for (const [i, dump] of (snapshot?.dumps ?? []).entries()) if (dump !== null) await this.redis.restore(this.keys[i] as string, 0, dump);
  }

  async trim(): Promise<void> {
    await this.redis.xtrim(this.keys[1] as string, "MAXLEN", 0);
  }

  /** What this instance has becomes what all have, as after a restored backup. */
  async replaceShared(index: number): Promise<void> {
    const instance = this.at(index);
    if (!instance.isUp) return;
    instance.start();
    const result = await instance.during(
      () =>
        instance.replication.replaceShared(
          () => {},
          () => {},
        ),
      null,
    );
    await this.afterwards(instance, result);
    for (const record of RECORDS) {
      const made = this.begin(instance, record, true);
      const rev = instance.revOf(record);
      if (rev === 0) continue;
      this.made.push({ ...made, value: instance.valueOf(record), stored: made.begun, passedOn: ++this.count, rev, base: rev });
    }
  }

  /** Everybody is well, and has looked. */
  async settle(): Promise<void> {
    await this.pass(true);
    for (let round = 0; round < 4; round++)
      for (const instance of this.instances) {
        instance.isUp = true;
        await this.expireLock();
        const result = await instance.during(() => instance.replication.catchUp(), null);
        if (round === 3 && (result === "died" || "error" in result)) throw new Error("it can't catch up", { cause: result });
      }
  }

  /** Finds out whether what was promised is so. Throws when it is not. */
  async check(): Promise<void> {
    const [first, ...others] = this.instances as [Instance, ...Instance[]];
    const all = await this.redis.hgetall(this.keys[0] as string);
    for (const record of RECORDS) {
      const value = first.valueOf(record);
      const rev = first.revOf(record);
      for (const instance of this.instances)
        if (instance.view.get(record) !== instance.valueOf(record))
          throw new Error(
            `${record} is ${instance.valueOf(record)} in database ${instance.index}, and nobody was told but of ${instance.view.get(record)}`,
          );
      for (const other of others)
        if (other.valueOf(record) !== value || other.revOf(record) !== rev)
          throw new Error(`${record} is ${value} (${rev}) here and ${other.valueOf(record)} (${other.revOf(record)}) there`);
      const kept = all[split(record).join("\n")];
      const shared = kept === undefined ? null : (JSON.parse(kept) as { rev: number; row: unknown });
      if ((shared?.rev ?? 0) !== rev || ((shared?.row ?? null) === null) !== (value === null))
        throw new Error(`${record} is ${value} (${rev}) in databases and ${kept} in Redis`);
      this.explain(record, value);
    }
    if (Object.hasOwn(all, "token\nfirst")) throw new Error("an instance's own token is shared");
    for (const { storage, index } of this.instances)
      if (storage.client.query<{ name: string }, []>("SELECT name FROM admin_tokens WHERE id = 'first'").get()?.name !== `of ${index}`)
        throw new Error(`the own token of ${index} is gone`);
    for (const instance of this.instances)
      if (instance.unshared().length > 0) throw new Error(`${instance.unshared()} of ${instance.index} are not passed on`);
  }

  /** Throws for a value that no order of the changes can end with. */
  private explain(record: RecordName, value: number | null): void {
    const story = () =>
      JSON.stringify(
        this.made.filter((each) => each.record === record),
        null,
        1,
      ) + JSON.stringify(this.losses);
    const changes = this.made.filter((each) => each.record === record && !each.isRefused);
    const last = this.lastPassedOn(record);
    if (last !== undefined && last.value === value) return;
    // What Redis lost while a change was being passed on may be that change, though its maker was told afterwards that it is passed on.
    const isHeardOf = (change: Made): boolean =>
      last === undefined || change.base >= last.rev || this.losses.some((loss) => loss > last.begun && loss < change.begun);
    const able = changes.filter((each) => each.value === value && isHeardOf(each));
    if (value === null && last === undefined && changes.length === 0) return;
    if (able.length === 0) throw new Error(`${record} is ${value}, which is not what was acknowledged last, nor later\n${story()}`);
    if (value === null) return;
    const over = changes.find((each) => each.on === value && !each.isOnUncertain && each.begun > (able.at(-1)?.begun ?? 0));
    if (over !== undefined) throw new Error(`${record} is ${value} again, which ${over.value} took the place of\n${story()}`);
  }

  async close(): Promise<void> {
    await this.redis.del(...this.keys);
    for (const instance of this.instances) instance.close();
  }
}
