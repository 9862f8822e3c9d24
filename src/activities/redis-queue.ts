import { type RedisClient, RedisDown, type RedisLink } from "../redis/link.ts";
import { type Accepted, type ActivityQueue, type Backlog, sizeOf, type Waiting } from "./queue.ts";

const GROUP = "sluice";
/** The time for which one instance is the one that applies, without saying so again. In milliseconds. */
const ACTIVE_FOR = 3000;
/** Batches that are read at once: each may have megabytes. */
const AT_ONCE = 8;

/** ARGV[1]: until when anybody waits, by Redis' clock; what arrives later was refused already. */
const PUT = `
local time = redis.call('TIME')
if tonumber(ARGV[1]) > 0 and time[1] * 1000 + math.floor(time[2] / 1000) > tonumber(ARGV[1]) then return redis.error_reply('LATE') end
local sum = 0
local size = 0
for i = 2, #ARGV, 5 do
  redis.call('XADD', KEYS[1], '*', 'i', ARGV[i], 'b', ARGV[i + 1], 'n', ARGV[i + 2], 'r', ARGV[i + 3], 't', ARGV[i + 4])
  sum = sum + tonumber(ARGV[i + 2])
  size = size + #ARGV[i + 1]
end
redis.call('INCRBY', KEYS[3], size)
return redis.call('INCRBY', KEYS[2], sum)`;

const DONE = `
for i = 3, #ARGV do
  redis.call('XACK', KEYS[1], '${GROUP}', ARGV[i])
  redis.call('XDEL', KEYS[1], ARGV[i])
end
if redis.call('XLEN', KEYS[1]) == 0 then
  redis.call('SET', KEYS[3], 0)
  return redis.call('SET', KEYS[2], 0)
end
redis.call('DECRBY', KEYS[3], ARGV[2])
return redis.call('DECRBY', KEYS[2], ARGV[1])`;

/** Makes this instance the one that applies, or keeps it so; what another has left behind goes to the new one. */
const LEAD = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local leader = redis.call('GET', KEYS[2])
if leader == ARGV[1] then redis.call('PEXPIRE', KEYS[2], ARGV[2]) return { 1, now } end
if leader then return { 0, now } end
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
redis.pcall('XGROUP', 'CREATE', KEYS[1], '${GROUP}', '0', 'MKSTREAM')
local cursor = '0-0'
repeat
  local claimed = redis.call('XAUTOCLAIM', KEYS[1], '${GROUP}', ARGV[1], 0, cursor, 'COUNT', 1000, 'JUSTID')
  cursor = claimed[1]
until cursor == '0-0'
return { 2, now }`;

interface Scripts {
  sluicePut(stream: string, count: string, size: string, ...args: (string | number)[]): Promise<number>;
  sluiceDone(stream: string, count: string, size: string, activities: number, bytes: number, ...ids: string[]): Promise<unknown>;
  sluiceLead(stream: string, leader: string, owner: string, time: number): Promise<[standing: number, now: number]>;
}

/**
 * Keeps batches that wait in a Redis stream which several instances share. One of them at a time applies, so that no batch overtakes
 * another; when it is gone, another claims what it had begun. What was applied and not confirmed is delivered again, and known by the ids
 * of its activities.
 */
export class RedisQueue implements ActivityQueue {
  readonly isTransactional = false;
  private readonly owner = Bun.randomUUIDv7();
  private readonly keys: { stream: string; count: string; size: string; leader: string };
  /** Batches that were read and are not done, in order. */
  private held: Waiting[] = [];
  /** The place from which to read on in what was begun before this instance led; `null`: all of that is read. */
  private begunFrom: string | null = null;
  /** The milliseconds that Redis' clock is ahead of ours; `null` while they are not known. */
  private ahead: number | null = null;

  constructor(private readonly link: RedisLink) {
    const root = `${link.prefix}:{activities}`;
    this.keys = { stream: `${root}:stream`, count: `${root}:count`, size: `${root}:size`, leader: `${root}:leader` };
    link.client.defineCommand("sluicePut", { lua: PUT, numberOfKeys: 3 });
    link.client.defineCommand("sluiceDone", { lua: DONE, numberOfKeys: 3 });
    link.client.defineCommand("sluiceLead", { lua: LEAD, numberOfKeys: 2 });
  }

  private run<T>(work: (client: RedisClient & Scripts) => Promise<T>): Promise<T> {
    return this.link.runLong((client) => work(client as RedisClient & Scripts), this.patience);
  }

  /** Gives the milliseconds that a command may take. A batch is more work than a limit: it may take somewhat longer. */
  private get patience(): number {
    return Math.max(250, this.link.patience);
  }

  async put(batches: readonly Accepted[], now: number): Promise<void> {
    if (batches.length === 0) return;
    const until = this.ahead === null ? 0 : Math.ceil(this.link.clock.now() + this.ahead + this.patience);
    const args = batches.flatMap(({ batch, body, activities, replayOf }) => [batch, body, activities, replayOf ?? "", now]);
    await this.run((client) => client.sluicePut(this.keys.stream, this.keys.count, this.keys.size, until, ...args));
  }

  async lease(max: number): Promise<Waiting[]> {
    const { stream, leader } = this.keys;
    try {
      const [standing, now] = await this.run((client) => client.sluiceLead(stream, leader, this.owner, ACTIVE_FOR));
      this.ahead = now - this.link.clock.now();
      if (standing === 0) {
        this.held = [];
        return [];
      }
      if (standing === 2) {
        // What another had begun, and what this one had before it was replaced, comes first.
        this.held = [];
        this.begunFrom = "0";
      }
      if (this.held.length === 0) await this.read();
      const taken: Waiting[] = [];
      let activities = 0;
      for (const waiting of this.held) {
        const left = waiting.activities - waiting.done;
        if (taken.length > 0 && activities + left > max) break;
        activities += left;
        taken.push(waiting);
      }
      return taken;
    } catch (error) {
      if (error instanceof RedisDown) return [];
      if (error instanceof Error && error.message.startsWith("NOGROUP")) {
        // Redis was emptied: there is nothing to do, and nobody leads.
        await this.run((client) => client.del(leader)).catch(() => {});
        return [];
      }
      throw error;
    }
  }

  private async read(): Promise<void> {
    while (this.begunFrom !== null && this.held.length === 0) {
      const begun = await this.entries(this.begunFrom);
      this.begunFrom = begun.at(-1)?.[0] ?? null;
      // It may have taken effect: by its attempts the engine knows to look.
      this.held = begun.flatMap(([seq, fields]) => (fields === null ? [] : [waitingOf(seq, fields, 2)]));
    }
    if (this.held.length === 0)
      this.held = (await this.entries(">")).flatMap(([seq, fields]) => (fields === null ? [] : [waitingOf(seq, fields, 1)]));
  }

  private async entries(from: string): Promise<[string, string[] | null][]> {
    const reply = (await this.run((client) =>
      client.xreadgroup("GROUP", GROUP, this.owner, "COUNT", AT_ONCE, "STREAMS", this.keys.stream, from),
    )) as [string, [string, string[] | null][]][] | null;
    return reply?.[0]?.[1] ?? [];
  }

  async done(batches: readonly Waiting[]): Promise<void> {
    if (batches.length === 0) return;
    const sum = batches.reduce((total, { activities }) => total + activities, 0);
    const bytes = batches.reduce((total, batch) => total + sizeOf(batch), 0);
    const ids = batches.map(({ seq }) => String(seq));
    await this.run((client) => client.sluiceDone(this.keys.stream, this.keys.count, this.keys.size, sum, bytes, ...ids));
    this.held = this.held.filter(({ seq }) => !ids.includes(String(seq)));
  }

  advance({ seq }: Waiting, done: number): void {
    this.held = this.held.map((waiting) => (waiting.seq === seq ? { ...waiting, done } : waiting));
  }

  /** Keeps batches with this instance, which waits before it takes them again. */
  retry(batches: readonly Waiting[]): void {
    const again = new Set(batches.map(({ seq }) => seq));
    this.held = this.held.map((waiting) => (again.has(waiting.seq) ? { ...waiting, attempts: waiting.attempts + 1 } : waiting));
  }

  /** Gives a time shortly after `now`: others may put something in, or die. */
  nextAt(now: number): number {
    return now + 200;
  }

  async backlog(): Promise<Backlog> {
    const [batches, [count, size], [first]] = await Promise.all([
      this.run((client) => client.xlen(this.keys.stream)),
      this.run((client) => client.mget(this.keys.count, this.keys.size)),
      this.run((client) => client.xrange(this.keys.stream, "-", "+", "COUNT", 1)),
    ]);
    // An older instance beside this one counts no bytes: with nothing in the stream there are none.
    const bytes = batches === 0 ? 0 : Math.max(0, Number(size ?? 0));
    return {
      batches,
      activities: Math.max(0, Number(count ?? 0)),
      size: bytes,
      oldest: first === undefined ? null : Number(first[0].split("-")[0]),
    };
  }
}

function waitingOf(seq: string, fields: readonly string[], attempts: number): Waiting {
  const [, batch = "", , body = "", , activities = "0", , replayOf = ""] = fields;
  return { seq, batch, body, activities: Number(activities), replayOf: replayOf === "" ? null : replayOf, attempts, done: 0 };
}
