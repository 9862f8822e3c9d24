import type { Database } from "bun:sqlite";
import type { Clock } from "../values/clock.ts";
import { type ActivityFault, type Batch, parseBatch } from "./activity.ts";
import { digest, IdempotencyKeys, idOf } from "./queues/keys.ts";
import { type Accepted, type ActivityQueue, type Backlog, type PutResult, sizeOf } from "./queues/queue.ts";
import type { SharedKeys } from "./queues/shared-keys.ts";
import { Rate } from "./rate.ts";
import type { Refusal } from "./sinks/sink.ts";

/** Says how much may wait. */
export interface IntakePolicy {
  /** Activities that may wait; beyond it batches are refused. */
  readonly maxBacklog: number;
  /** Bytes that may wait; beyond it batches are refused. */
  readonly maxBacklogSize: number;
  /** Bytes that the database may have; beyond it batches are refused, and refusals leave no row. `null`: no bound. */
  readonly maxSize: number | null;
}

/** Holds a request's body, and the caller with the Idempotency-Key that it was sent under. */
export interface Post {
  readonly body: string;
  /** A hash of the caller and the key; `null`: it was sent under none. */
  readonly key: string | null;
}

export type Admission =
  | { readonly kind: "accepted"; readonly id: string; readonly accepted: number }
  | { readonly kind: "invalid"; readonly faults: readonly ActivityFault[]; readonly isJson: boolean }
  /** The backlog is full, or the database has the size that it may have. */
  | { readonly kind: "full"; readonly what: "backlog" | "database" }
  /** Another batch was sent under the Idempotency-Key. */
  | { readonly kind: "mismatch" }
  /** One of the activities is larger than the queue takes. */
  | { readonly kind: "tooLarge" };

export interface IntakeDeps {
  /** The connection whose commits are on the disk when they return. */
  readonly durable: Database;
  readonly queue: ActivityQueue;
  /** Keys that all instances know, where the queue itself knows none; `null`: each knows its own. */
  readonly sharedKeys: SharedKeys | null;
  readonly clock: Clock;
  readonly policy: () => IntakePolicy;
  /** Counts what waits for the slowest sink. */
  readonly backlog: () => Promise<Backlog>;
  /** Writes refused batches down: part of the transaction that is open on the durable connection. */
  readonly refuse: (refusals: readonly Refusal[]) => void;
}

/** The most of a refused body, and of what is said of it, that the log keeps; in characters. */
const MAX_LOGGED = 65_536;
/** The milliseconds after which what waits is counted again though nothing was applied here: another process may have. */
const COUNT_AGAIN_AFTER = 1000;

/** Takes batches into the queue. */
export class Intake {
  readonly counts = { accepted: 0, rejected: 0 };
  readonly accepted: Rate;
  /** Batches a second. */
  readonly refused: Rate;
  private readonly keys: IdempotencyKeys;
  /** What waits, as far as is known: what was counted, and what was put in since. */
  private waiting = { activities: 0, size: 0 };
  /** True when some of that may have been applied since. */
  private isOutdated = true;
  private countedAt = Number.NEGATIVE_INFINITY;

  constructor(private readonly deps: IntakeDeps) {
    this.accepted = new Rate(deps.clock);
    this.refused = new Rate(deps.clock);
    this.keys = new IdempotencyKeys(deps.durable);
  }

  /** Takes note that something was applied: there may be room. */
  applied(): void {
    this.isOutdated = true;
  }

  /**
   * Takes request bodies in. All of them are durable, or written down as refused, when it is done: one commit for all (group commit). Throws
   * `QueueAway`.
   */
  async take(posts: readonly Post[]): Promise<Admission[]> {
    const now = this.deps.clock.wall();
    const sorted = await this.sort(posts, now);
    const { puts, refusals, admissions } = sorted;
    const results = puts.length > 0 || refusals.length > 0 ? await this.write(puts, refusals, now) : [];
    for (const [i, { batch, body, activities }] of puts.entries()) {
      const result = results[i] as PutResult;
      if (result === "mismatch" || result === "tooLarge") {
        admissions.set(batch, { kind: result });
        continue;
      }
      if (result === "repeated") continue;
      this.waiting.activities += activities.length;
      this.waiting.size += sizeOf({ body });
      this.counts.accepted += activities.length;
      this.accepted.add(activities.length);
    }
    this.counts.rejected += refusals.length;
    this.refused.add(refusals.length);
    return sorted.order.map((each) => (typeof each === "string" ? (admissions.get(each) as Admission) : each));
  }

  /** Sorts what was posted into what is put in, what is refused, and what there is no room for. Batches' admissions are found by their ids. */
  private async sort(posts: readonly Post[], now: number) {
    const puts: Accepted[] = [];
    const refusals: Refusal[] = [];
    const admissions = new Map<string, Admission>();
    const batches = posts.map(({ body }) => parseBatch(body));
    const room = await this.room(
      batches.reduce((sum, batch) => sum + ("faults" in batch ? 0 : batch.activities.length), 0),
      posts.reduce((sum, post) => sum + sizeOf(post), 0),
    );
    const order = posts.map((post, i): Admission | string => {
      const batch = batches[i] as Batch;
      if ("faults" in batch) {
        if (!room.isDatabaseFull) refusals.push(refusalOf(post.body, batch.faults, now));
        return { kind: "invalid", faults: batch.faults, isJson: batch.isJson };
      }
      if (room.isDatabaseFull) return { kind: "full", what: "database" };
      const { activities } = batch;
      const key = post.key === null ? null : { key: post.key, body: digest(post.body) };
      const id = key === null ? Bun.randomUUIDv7() : idOf(key);
      // The same batch came twice at once.
      if (admissions.has(id)) return id;
      const size = sizeOf(post);
      // What is larger than the whole backlog may be would never get in.
      if ((activities.length > room.activities || size > room.size) && !room.isEmpty) return { kind: "full", what: "backlog" };
      room.isEmpty = false;
      room.activities -= activities.length;
      room.size -= size;
      puts.push({ batch: id, body: post.body, activities, key, replay: null });
      admissions.set(id, { kind: "accepted", id, accepted: activities.length });
      return id;
    });
    return { puts, refusals, admissions, order };
  }

  /** Gives the room that there is. What waits is counted when it may be half of that, with what comes now. */
  private async room(activities: number, size: number) {
    const { maxBacklog, maxBacklogSize } = this.deps.policy();
    const isMuch = this.waiting.activities + activities > maxBacklog / 2 || this.waiting.size + size > maxBacklogSize / 2;
    if (isMuch && (this.isOutdated || this.deps.clock.now() - this.countedAt > COUNT_AGAIN_AFTER)) await this.recount();
    return {
      activities: maxBacklog - this.waiting.activities,
      size: maxBacklogSize - this.waiting.size,
      isEmpty: this.waiting.activities === 0,
      isDatabaseFull: this.isDatabaseFull(),
    };
  }

  /** Counts what waits for the slowest sink. */
  private async recount(): Promise<void> {
    const { activities, size } = await this.deps.backlog();
    this.waiting = { activities, size: size ?? 0 };
    this.isOutdated = false;
    this.countedAt = this.deps.clock.now();
  }

  private async write(puts: readonly Accepted[], refusals: readonly Refusal[], now: number): Promise<readonly PutResult[]> {
    const { durable, queue, refuse } = this.deps;
    if (queue.isTransactional)
      return durable
        .transaction(() => {
          refuse(refusals);
          return queue.put(puts, now) as PutResult[];
        })
        .immediate();
    const shared = await this.claimShared(puts);
    const claimed = this.claim(puts, shared, refusals, now);
    const sent = puts.filter((_, i) => claimed[i] === "put");
    const results = sent.length === 0 ? [] : await queue.put(sent, now);
    const keyed = sent.flatMap(({ key }, i) => (key !== null && (results[i] === "put" || results[i] === "repeated") ? [key] : []));
    if (keyed.length > 0) {
      durable.transaction(() => this.keys.accepted(keyed)).immediate();
      await this.deps.sharedKeys?.accepted(keyed);
    }
    const given = results.values();
    return claimed.map((result) => (result === "put" ? (given.next().value as PutResult) : result));
  }

  /** Claims keys for all instances, where they share some. Gives what became of each batch. */
  private async claimShared(puts: readonly Accepted[]): Promise<readonly PutResult[]> {
    const { sharedKeys } = this.deps;
    const keys = sharedKeys === null ? [] : puts.flatMap(({ key }) => (key === null ? [] : [key]));
    if (sharedKeys === null || keys.length === 0) return puts.map(() => "put");
    const claimed = (await sharedKeys.claim(keys)).values();
    return puts.map(({ key }) => (key === null ? "put" : (claimed.next().value as PutResult)));
  }

  /**
   * Writes refusals down, and claims keys here before the batches go elsewhere: what is there twice is found by its ids all the same. `shared`:
   * what all instances know of the batches.
   */
  private claim(puts: readonly Accepted[], shared: readonly PutResult[], refusals: readonly Refusal[], now: number): PutResult[] {
    const { durable, refuse } = this.deps;
    if (refusals.length === 0 && puts.every(({ key }) => key === null)) return puts.map(() => "put");
    return durable
      .transaction(() => {
        refuse(refusals);
        return puts.map(({ key }, i): PutResult => {
          const known = shared[i] as PutResult;
          return key === null || known !== "put" ? known : this.keys.claim(key, now, false);
        });
      })
      .immediate();
  }

  /** Tells whether the database has the size that it may have. What was deleted in it counts as room. */
  private isDatabaseFull(): boolean {
    const { maxSize } = this.deps.policy();
    if (maxSize === null) return false;
    const { size } = this.deps.durable
      .query("SELECT (page_count - freelist_count) * page_size AS size FROM pragma_page_count, pragma_freelist_count, pragma_page_size")
      .get() as { size: number };
    return size >= maxSize;
  }
}

const refusalOf = (body: string, faults: readonly ActivityFault[], at: number): Refusal => ({
  id: Bun.randomUUIDv7(),
  body: body.slice(0, MAX_LOGGED),
  at,
  error: faults
    .map(({ path, message }) => (path === "" ? message : `${path}: ${message}`))
    .join("; ")
    .slice(0, MAX_LOGGED),
});
