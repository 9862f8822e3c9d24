import { type RedisClient, RedisDown, type RedisLink } from "../redis/link.ts";
import type { Accepted, ActivityQueue, Backlog, Waiting } from "./queue.ts";

const GROUP = "sluice";
/** How long one instance is the one that applies, without saying so again. In milliseconds. */
const ACTIVE_FOR = 3000;
const AT_ONCE = 256;

const PUT = `
local sum = 0
for i = 1, #ARGV, 5 do
  redis.call('XADD', KEYS[1], '*', 'i', ARGV[i], 'b', ARGV[i + 1], 'n', ARGV[i + 2], 'r', ARGV[i + 3], 't', ARGV[i + 4])
  sum = sum + tonumber(ARGV[i + 2])
end
return redis.call('INCRBY', KEYS[2], sum)`;

const DONE = `
for i = 2, #ARGV do
  redis.call('XACK', KEYS[1], '${GROUP}', ARGV[i])
  redis.call('XDEL', KEYS[1], ARGV[i])
end
if redis.call('XLEN', KEYS[1]) == 0 then return redis.call('SET', KEYS[2], 0) end
return redis.call('DECRBY', KEYS[2], ARGV[1])`;

/** Becomes the one that applies, or stays it; what another has left behind goes to the new one. */
const LEAD = `
local leader = redis.call('GET', KEYS[2])
if leader == ARGV[1] then redis.call('PEXPIRE', KEYS[2], ARGV[2]) return 1 end
if leader then return 0 end
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
redis.pcall('XGROUP', 'CREATE', KEYS[1], '${GROUP}', '0', 'MKSTREAM')
local cursor = '0-0'
repeat
  local claimed = redis.call('XAUTOCLAIM', KEYS[1], '${GROUP}', ARGV[1], 0, cursor, 'COUNT', 1000, 'JUSTID')
  cursor = claimed[1]
until cursor == '0-0'
return 1`;

interface Scripts {
  sluicePut(stream: string, count: string, ...args: (string | number)[]): Promise<number>;
  sluiceDone(stream: string, count: string, sum: number, ...ids: string[]): Promise<unknown>;
  sluiceLead(stream: string, leader: string, owner: string, time: number): Promise<number>;
}

/**
 * Batches that wait in a Redis stream which several instances share. One of them at a time applies, so that no batch overtakes another; when it is gone, another claims what it had
 * begun. What was applied and not confirmed is delivered again, and known by the ids of its activities.
 */
export class RedisQueue implements ActivityQueue {
  readonly isTransactional = false;
  private readonly owner = Bun.randomUUIDv7();
  private readonly keys: { stream: string; count: string; leader: string };
  /** How often each was handed out here, and how much of it is done. */
  private readonly begun = new Map<string, { attempts: number; done: number }>();

  constructor(private readonly link: RedisLink) {
    const root = `${link.prefix}:{activities}`;
    this.keys = { stream: `${root}:stream`, count: `${root}:count`, leader: `${root}:leader` };
    link.client.defineCommand("sluicePut", { lua: PUT, numberOfKeys: 2 });
    link.client.defineCommand("sluiceDone", { lua: DONE, numberOfKeys: 2 });
    link.client.defineCommand("sluiceLead", { lua: LEAD, numberOfKeys: 2 });
  }

  private run<T>(work: (client: RedisClient & Scripts) => Promise<T>): Promise<T> {
    return this.link.run((client) => work(client as RedisClient & Scripts), Math.max(1000, this.link.timeout));
  }

  async put(batches: readonly Accepted[], now: number): Promise<void> {
    if (batches.length === 0) return;
    const args = batches.flatMap(({ batch, body, activities, replayOf }) => [batch, body, activities, replayOf ?? "", now]);
    await this.run((client) => client.sluicePut(this.keys.stream, this.keys.count, ...args));
  }

  async lease(most: number): Promise<Waiting[]> {
    const { stream, leader } = this.keys;
    try {
      if ((await this.run((client) => client.sluiceLead(stream, leader, this.owner, ACTIVE_FOR))) !== 1) {
        this.begun.clear();
        return [];
      }
      // First what was begun: by this instance, or by one that is gone.
      const begun = await this.read("0");
      const found = begun.length > 0 ? begun : await this.read(">");
      const taken: Waiting[] = [];
      let activities = 0;
      for (const waiting of found) {
        const left = waiting.activities - waiting.done;
        if (taken.length > 0 && activities + left > most) break;
        activities += left;
        this.begun.set(waiting.seq as string, { attempts: waiting.attempts, done: waiting.done });
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

  private async read(from: "0" | ">"): Promise<Waiting[]> {
    const reply = (await this.run((client) =>
      client.xreadgroup("GROUP", GROUP, this.owner, "COUNT", AT_ONCE, "STREAMS", this.keys.stream, from),
    )) as [string, [string, string[] | null][]][] | null;
    const waiting: Waiting[] = [];
    for (const [seq, fields] of reply?.[0]?.[1] ?? []) {
      if (fields === null) continue;
      const [, batch = "", , body = "", , activities = "0", , replayOf = ""] = fields;
      const known = this.begun.get(seq);
      // What was handed out before may have taken effect: one more than the first time.
      const attempts = (known?.attempts ?? (from === "0" ? 1 : 0)) + 1;
      waiting.push({
        seq,
        batch,
        body,
        activities: Number(activities),
        replayOf: replayOf === "" ? null : replayOf,
        attempts,
        done: known?.done ?? 0,
      });
    }
    return waiting;
  }

  async done(batches: readonly Waiting[]): Promise<void> {
    if (batches.length === 0) return;
    const sum = batches.reduce((total, { activities }) => total + activities, 0);
    const ids = batches.map(({ seq }) => String(seq));
    await this.run((client) => client.sluiceDone(this.keys.stream, this.keys.count, sum, ...ids));
    for (const id of ids) this.begun.delete(id);
  }

  advance({ seq }: Waiting, done: number): void {
    this.begun.set(String(seq), { attempts: 1, done });
  }

  // They stay with this instance, which waits before it reads them again.
  retry(): void {}

  /** Others may put something in, or die. */
  nextAt(now: number): number {
    return now + 200;
  }

  async backlog(): Promise<Backlog> {
    const [batches, count, [first]] = await Promise.all([
      this.run((client) => client.xlen(this.keys.stream)),
      this.run((client) => client.get(this.keys.count)),
      this.run((client) => client.xrange(this.keys.stream, "-", "+", "COUNT", 1)),
    ]);
    return { batches, activities: Math.max(0, Number(count ?? 0)), oldest: first === undefined ? null : Number(first[0].split("-")[0]) };
  }
}
