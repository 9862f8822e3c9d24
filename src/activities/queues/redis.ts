import { type RedisClient, RedisDown, type RedisLink } from "../../redis/link.ts";
import { type Activity, activitiesIn } from "../activity.ts";
import { REMEMBERED_FOR } from "./keys.ts";
import {
  type Accepted,
  type ActivityQueue,
  activityId,
  type Backlog,
  type Delivered,
  type Feed,
  LeaseLost,
  type Portion,
  type PutResult,
} from "./queue.ts";

/** The time for which one instance is the one that applies for a sink, without saying so again. In milliseconds. */
const ACTIVE_FOR = 3000;
/** Batches that are read at once while it is not known how large they are: each may have megabytes. */
const AT_ONCE = 8;
const MAX_AT_ONCE = 500;
/** No more is read while batches of so many characters were read and are not settled. */
const MAX_HELD = 16_000_000;
/** The time after which a sink that no instance has any more holds nothing back. In milliseconds. */
const FORGOTTEN_AFTER = 3_600_000;

/**
 * ARGV[1]: until when anybody waits, by Redis' clock; what arrives later was refused already. Each entry holds how many activities (p) and
 * bytes (q) were put in before it, so that what waits is a difference.
 */
const PUT = `
local time = redis.call('TIME')
if tonumber(ARGV[1]) > 0 and time[1] * 1000 + math.floor(time[2] / 1000) > tonumber(ARGV[1]) then return redis.error_reply('LATE') end
local results = {}
local at = 3
for i = 2, #ARGV, 8 do
  local result = 'put'
  if ARGV[i + 6] ~= '' then
    at = at + 1
    local known = redis.call('GET', KEYS[at])
    if known then result = known == ARGV[i + 7] and 'repeated' or 'mismatch'
    else redis.call('SET', KEYS[at], ARGV[i + 7], 'PX', ${REMEMBERED_FOR}) end
  end
  if result == 'put' then
    local n = tonumber(ARGV[i + 2])
    local size = #ARGV[i + 1]
    local before = redis.call('INCRBY', KEYS[2], n) - n
    local bytes = redis.call('INCRBY', KEYS[3], size) - size
    redis.call('XADD', KEYS[1], '*', 'i', ARGV[i], 'b', ARGV[i + 1], 'n', n, 'r', ARGV[i + 3], 's', ARGV[i + 4], 't', ARGV[i + 5], 'p', string.format('%d', before), 'q', string.format('%d', bytes))
  end
  results[#results + 1] = result
end
return results`;

/** Makes this instance the one that applies for a sink, or keeps it so. Gives its standing (0: another is; 2: it is newly), the time, and the cursor. */
const LEAD = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for i = 4, #ARGV do
  redis.call('HSETNX', KEYS[2], ARGV[i], '0-0')
  redis.call('HSET', KEYS[3], ARGV[i], string.format('%d', now))
end
local leader = redis.call('GET', KEYS[1])
local standing = 2
if leader == ARGV[1] then standing = 1 elseif leader then return { 0, now, '' } end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return { standing, now, redis.call('HGET', KEYS[2], ARGV[3]) }`;

/** Moves a sink's cursor and drops what all sinks have. Gives 0 when another instance applies by now. */
const DONE = `
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[3], ARGV[2], ARGV[3])
local time = redis.call('TIME')
local before = time[1] * 1000 + math.floor(time[2] / 1000) - ${FORGOTTEN_AFTER}
local least, leastAt, leastNo
local cursors = redis.call('HGETALL', KEYS[3])
for i = 1, #cursors, 2 do
  if tonumber(redis.call('HGET', KEYS[4], cursors[i]) or '0') < before then
    redis.call('HDEL', KEYS[3], cursors[i])
    redis.call('HDEL', KEYS[4], cursors[i])
  else
    local at, no = string.match(cursors[i + 1], '(%d+)-(%d+)')
    at, no = tonumber(at), tonumber(no)
    if not least or at < leastAt or (at == leastAt and no < leastNo) then least, leastAt, leastNo = true, at, no end
  end
end
if least then redis.call('XTRIM', KEYS[1], 'MINID', string.format('%d-%d', leastAt, leastNo + 1)) end
return 1`;

type Entry = [id: string, fields: string[]];

interface Scripts {
  sluiceActivitiesPut(keys: number, ...args: (string | number)[]): Promise<PutResult[]>;
  sluiceActivitiesLead(
    leader: string,
    cursors: string,
    seen: string,
    ...args: (string | number)[]
  ): Promise<[standing: number, now: number, cursor: string]>;
  sluiceActivitiesDone(stream: string, leader: string, cursors: string, seen: string, ...args: string[]): Promise<number>;
}

/** Holds a batch that was read. */
interface Held {
  readonly entry: string;
  readonly batch: string;
  readonly activities: readonly Activity[];
  readonly replayOf: string | null;
  /** The activities that were put in before it. */
  readonly before: number;
}

interface Leased extends Portion {
  /** The last batch that is settled as a whole with it; `null`: it ends within the first. */
  readonly entry: string | null;
  /** The batches of it that are settled as a whole, and the activities of the next one that are. */
  readonly whole: number;
  readonly done: number;
}

/**
 * Keeps batches that wait in a Redis stream which several instances share, until all sinks have them. For each sink one instance at a time
 * applies, so that no batch overtakes another; when it is gone, another goes on from where the sink's cursor is. What was applied and not
 * confirmed is delivered again, and known by the ids of its activities.
 */
export class RedisQueue implements ActivityQueue {
  readonly kind = "redis";
  readonly rank = 1;
  readonly isTransactional = false;
  readonly owner = Bun.randomUUIDv7();
  readonly keys: {
    readonly stream: string;
    readonly position: string;
    readonly bytes: string;
    readonly cursors: string;
    readonly seen: string;
  };
  /** The sinks that follow, in their order. */
  readonly sinks: string[] = [];
  /** The milliseconds that Redis' clock is ahead of ours; `null` while they are not known. */
  ahead: number | null = null;
  private readonly root: string;

  constructor(readonly link: RedisLink) {
    this.root = `${link.prefix}:{activities}`;
    const { root } = this;
    this.keys = {
      stream: `${root}:stream`,
      position: `${root}:position`,
      bytes: `${root}:bytes`,
      cursors: `${root}:cursors`,
      seen: `${root}:seen`,
    };
    link.client.defineCommand("sluiceActivitiesPut", { lua: PUT });
    link.client.defineCommand("sluiceActivitiesLead", { lua: LEAD, numberOfKeys: 3 });
    link.client.defineCommand("sluiceActivitiesDone", { lua: DONE, numberOfKeys: 4 });
  }

  run<T>(work: (client: RedisClient & Scripts) => Promise<T>): Promise<T> {
    return this.link.runLong((client) => work(client as RedisClient & Scripts), this.patience);
  }

  /** Gives the milliseconds that a command may take. A batch is more work than a limit: it may take somewhat longer. */
  private get patience(): number {
    return Math.max(250, this.link.patience);
  }

  async put(batches: readonly Accepted[], now: number): Promise<PutResult[]> {
    if (batches.length === 0) return [];
    const until = this.ahead === null ? 0 : Math.ceil(this.link.clock.now() + this.ahead + this.patience);
    const { stream, position, bytes } = this.keys;
    const remembered = batches.flatMap(({ key }) => (key === null ? [] : [`${this.root}:key:${key.key}`]));
    const args = batches.flatMap(({ batch, body, activities, key, replay }) => [
      batch,
      body,
      activities.length,
      replay?.id ?? "",
      replay?.sink ?? "",
      now,
      key?.key ?? "",
      key?.body ?? "",
    ]);
    return this.run((client) => client.sluiceActivitiesPut(3 + remembered.length, stream, position, bytes, ...remembered, until, ...args));
  }

  feed(sink: string): RedisFeed {
    this.sinks.push(sink);
    // The first sink's has the name that it had when there was one alone: an older instance beside this one does not apply as well.
    return new RedisFeed(sink, this.sinks.length === 1 ? `${this.root}:leader` : `${this.root}:leader:${sink}`, this);
  }

  close(): void {}
}

/** Follows the stream for one sink. */
class RedisFeed implements Feed {
  /** Batches that were read and are not settled, in order. */
  private held: Held[] = [];
  /** The activities of the first of them that are settled. */
  private settled = 0;
  /** The last entry that was read. */
  private last = "0-0";
  /** The last entry that is settled. */
  private cursor = "0-0";
  private attempts = 0;

  constructor(
    private readonly sink: string,
    private readonly leader: string,
    private readonly queue: RedisQueue,
  ) {}

  async lease(max: number): Promise<Leased | null> {
    try {
      if (!(await this.lead())) return null;
      if (this.held.length === 0) await this.read(max);
    } catch (error) {
      if (error instanceof RedisDown) return null;
      throw error;
    }
    return this.held.length === 0 ? null : this.portion(max);
  }

  /** Tells whether this instance is the one that applies. */
  private async lead(): Promise<boolean> {
    const { cursors, seen } = this.queue.keys;
    const [standing, now, cursor] = await this.queue.run((client) =>
      client.sluiceActivitiesLead(this.leader, cursors, seen, this.queue.owner, ACTIVE_FOR, this.sink, ...this.queue.sinks),
    );
    this.queue.ahead = now - this.queue.link.clock.now();
    if (standing !== 1) {
      this.held = [];
      this.settled = 0;
      this.attempts = 0;
      this.cursor = cursor;
      this.last = cursor;
    }
    return standing !== 0;
  }

  /** Reads batches of about `max` activities, and of a bounded size. */
  private async read(max: number): Promise<void> {
    let activities = 0;
    let size = 0;
    let count = AT_ONCE;
    for (let isMore = true; isMore && activities < max && size < MAX_HELD; ) {
      const entries = (await this.queue.run((client) =>
        client.xrange(this.queue.keys.stream, `(${this.last}`, "+", "COUNT", count),
      )) as Entry[];
      isMore = entries.length === count;
      this.last = entries.at(-1)?.[0] ?? this.last;
      for (const [entry, fields] of entries) {
        const held = heldOf(entry, fields, this.sink);
        this.held.push(held);
        activities += held.activities.length;
        size += fields.reduce((sum, field) => sum + field.length, 0);
      }
      // Small ones are read by the hundred.
      count = Math.max(AT_ONCE, Math.min(MAX_AT_ONCE, Math.floor((AT_ONCE * MAX_HELD) / 8 / Math.max(1, size))));
    }
  }

  private portion(max: number): Leased {
    const deliveries: Delivered[] = [];
    let done = this.settled;
    let whole = 0;
    for (const { batch, activities, replayOf, before } of this.held) {
      const to = Math.min(activities.length, done + max - deliveries.length);
      if (to === done && activities.length > 0) break;
      for (let index = done; index < to; index++)
        deliveries.push({
          id: replayOf ?? activityId(batch, index),
          activity: activities[index] as Activity,
          position: before + index,
          isReplay: replayOf !== null,
        });
      done = to;
      if (to < activities.length) break;
      whole++;
      done = 0;
    }
    // Whoever applied before may have applied it without confirming it.
    return { deliveries, attempts: ++this.attempts, mayRepeat: true, entry: this.held[whole - 1]?.entry ?? null, whole, done };
  }

  async done(portion: Portion): Promise<void> {
    const { entry, whole, done } = portion as Leased;
    if (entry !== null) {
      const { stream, cursors, seen } = this.queue.keys;
      const isMine = await this.queue.run((client) =>
        client.sluiceActivitiesDone(stream, this.leader, cursors, seen, this.queue.owner, this.sink, entry),
      );
      if (isMine === 0) throw new LeaseLost("another instance applies");
      this.cursor = entry;
    }
    this.held = this.held.slice(whole);
    this.settled = done;
    this.attempts = 0;
  }

  /** Keeps batches with this instance, which waits before it takes them again. */
  retry(): void {}

  async keep(): Promise<void> {
    await this.queue.run((client) => client.eval(KEEP, 1, this.leader, this.queue.owner, ACTIVE_FOR));
  }

  /** Gives a time shortly after `now`: others may put something in, or die. */
  nextAt(now: number): number {
    return now + 200;
  }

  async backlog(): Promise<Backlog> {
    const { stream, position, bytes, cursors } = this.queue.keys;
    const { run } = this.queue;
    const cursor = (await run.call(this.queue, (client) => client.hget(cursors, this.sink))) ?? "0-0";
    const [[total, size], [first], batches] = (await Promise.all([
      run.call(this.queue, (client) => client.mget(position, bytes)),
      run.call(this.queue, (client) => client.xrange(stream, `(${cursor}`, "+", "COUNT", 1)),
      run.call(this.queue, (client) => client.xlen(stream)),
    ])) as [(string | null)[], Entry[], number];
    if (first === undefined) return { batches: 0, activities: 0, size: 0, oldest: null };
    const { n = "0", p, q } = fieldsOf(first[1]);
    return {
      // What other sinks wait for is in the stream as well.
      batches: this.queue.sinks.length === 1 ? batches : null,
      activities: p === undefined ? Number(n) : Math.max(0, Number(total ?? 0) - Number(p) - (cursor === this.cursor ? this.settled : 0)),
      size: q === undefined ? 0 : Math.max(0, Number(size ?? 0) - Number(q)),
      oldest: Number(first[0].split("-")[0]),
    };
  }
}

const KEEP = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end return 0";

function fieldsOf(fields: readonly string[]): Record<string, string> {
  const found: Record<string, string> = {};
  for (let i = 0; i + 1 < fields.length; i += 2) found[fields[i] as string] = fields[i + 1] as string;
  return found;
}

/** Reads an entry. One that is for another sink holds nothing. */
function heldOf(entry: string, fields: readonly string[], sink: string): Held {
  const { i: batch = "", b: body = "", r: replayOf = "", s: target = "", p = "0" } = fieldsOf(fields);
  return {
    entry,
    batch,
    activities: target !== "" && target !== sink ? [] : activitiesIn(body),
    replayOf: replayOf === "" ? null : replayOf,
    before: Number(p),
  };
}
