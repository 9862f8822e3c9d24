import type { Clock } from "../values/clock.ts";
import { type Activity, type ActivityFault, type Column, parseBatch } from "./activity.ts";
import { ActivityLog, type Failure } from "./activity-log.ts";
import { typeText } from "./column-type.ts";
import type { ActivityDatabase } from "./database.ts";
import { type Accepted, type ActivityQueue, activityId, type Backlog, LeaseLost, sizeOf, type Waiting } from "./queue.ts";
import type { Outcome, Row, Sink } from "./sink.ts";

/** Describes how activities are worked off. Times in milliseconds. */
export interface ActivityPolicy {
  /** Activities that may wait; beyond it batches are refused. */
  readonly maxBacklog: number;
  /** Bytes that may wait; beyond it batches are refused. */
  readonly maxBacklogSize: number;
  /** Bytes that the database may have; beyond it batches are refused, and refusals leave no row. `null`: no bound. */
  readonly maxSize: number | null;
  /** The attempts at a batch that can't be applied for want of disk, or of a lock. */
  readonly attempts: number;
  readonly baseDelay: number;
  readonly maxDelay: number;
  /** The time for which the log is kept; `null`: for ever. */
  readonly keepFor: number | null;
}

export type Admission =
  | { readonly kind: "accepted"; readonly id: string; readonly accepted: number }
  | { readonly kind: "invalid"; readonly faults: readonly ActivityFault[]; readonly isJson: boolean }
  /** The backlog is full, or the database has the size that it may have. */
  | { readonly kind: "full"; readonly what: "backlog" | "database" };

export interface ActivityStats {
  readonly accepted: number;
  readonly applied: number;
  readonly failed: number;
  /** Batches that were refused as invalid. */
  readonly rejected: number;
  readonly waitingBatches: number;
  readonly waiting: number;
  /** The bytes of the batches that wait. */
  readonly waitingSize: number;
  /** The time for which the oldest activity has waited, in milliseconds. */
  readonly lag: number;
  /** Activities a second, over the last minute. */
  readonly acceptedRate: number;
  readonly appliedRate: number;
  readonly failedRate: number;
  /** Batches a second, unlike the others. */
  readonly rejectedRate: number;
  /** The reason why nothing is applied at the moment; `null` when it is. */
  readonly trouble: string | null;
}

export interface EngineDeps {
  readonly database: ActivityDatabase;
  readonly queue: ActivityQueue;
  readonly sink: Sink;
  readonly clock: Clock;
  readonly policy: ActivityPolicy;
  readonly onTrouble: (message: string, attempts: number) => void;
}

/** Activities that one transaction applies: some milliseconds of work, so that batches that come meanwhile need not wait. */
const SLICE = 1000;
/** The most of a refused body that the log keeps, in characters. */
const MAX_LOGGED = 65_536;
/** The most that is kept of what was parsed on arrival, until it is applied; in characters of its text. */
const MAX_PARSED = 32_000_000;

/** Takes batches in, and applies them: each activity once. Runs in one thread; `take` and `work` are called by turns. */
export class ActivityEngine {
  policy: ActivityPolicy;
  private readonly queue: ActivityQueue;
  private readonly log: ActivityLog;
  private readonly refusals: ActivityLog;
  private waiting = 0;
  private waitingBatches = 0;
  private waitingSize = 0;
  private readonly counts = { accepted: 0, applied: 0, failed: 0, rejected: 0 };
  private readonly accepted: Rate;
  private readonly done: Rate;
  private readonly wrong: Rate;
  private readonly refused: Rate;
  private trouble: string | null = null;
  private pausedUntil = 0;
  /** True while batches are taken one by one, to find the one that can't be applied. */
  private isCareful = false;
  private readonly parsed = new Map<string, { activities: readonly Activity[]; size: number }>();
  private parsedSize = 0;

  constructor(private readonly deps: EngineDeps) {
    const { durable, quick } = deps.database;
    this.policy = deps.policy;
    this.queue = deps.queue;
    this.log = new ActivityLog(quick);
    this.refusals = new ActivityLog(durable);
    this.accepted = new Rate(deps.clock);
    this.done = new Rate(deps.clock);
    this.wrong = new Rate(deps.clock);
    this.refused = new Rate(deps.clock);
  }

  /** Takes request bodies in. All of them are durable, or written down as refused, when it returns: one commit for all (group commit). */
  async take(bodies: readonly string[]): Promise<Admission[]> {
    const now = this.deps.clock.wall();
    const puts: Accepted[] = [];
    const refused: { id: string; body: string; error: string }[] = [];
    const { maxBacklog, maxBacklogSize } = this.policy;
    if (this.waiting < 0 || this.waiting > maxBacklog / 2 || this.waitingSize > maxBacklogSize / 2) await this.recount();
    const isDatabaseFull = this.isDatabaseFull();
    let room = maxBacklog - this.waiting;
    let bytes = maxBacklogSize - this.waitingSize;
    const admissions = bodies.map((body): Admission => {
      const batch = parseBatch(body);
      const id = Bun.randomUUIDv7();
      if ("faults" in batch) {
        if (!isDatabaseFull)
          refused.push({
            id,
            body,
            error: batch.faults.map(({ path, message }) => (path === "" ? message : `${path}: ${message}`)).join("; "),
          });
        return { kind: "invalid", faults: batch.faults, isJson: batch.isJson };
      }
      const { length } = batch.activities;
      if (isDatabaseFull) return { kind: "full", what: "database" };
      const size = sizeOf({ body });
      // What is larger than the whole backlog may be would never get in.
      if ((length > room || size > bytes) && (this.waiting > 0 || puts.length > 0)) return { kind: "full", what: "backlog" };
      room -= length;
      bytes -= size;
      puts.push({ batch: id, body, activities: length });
      // Another instance may be the one that applies it.
      if (this.queue.isTransactional) this.keepParsed(id, batch.activities, body.length);
      return { kind: "accepted", id, accepted: length };
    });
    if (puts.length > 0 || refused.length > 0) {
      const refuse = (): void => {
        for (const { id, body, error } of refused)
          this.refusals.write(id, body.slice(0, MAX_LOGGED), new Date(now).toISOString(), "rejected", error.slice(0, MAX_LOGGED));
      };
      const { durable } = this.deps.database;
      if (this.queue.isTransactional)
        durable
          .transaction(() => {
            void this.queue.put(puts, now);
            refuse();
          })
          .immediate();
      else {
        if (refused.length > 0) durable.transaction(refuse).immediate();
        await this.queue.put(puts, now);
      }
      for (const { body, activities } of puts) {
        this.waitingSize += sizeOf({ body });
        this.counts.accepted += activities;
        this.accepted.add(activities);
        this.waiting += activities;
      }
      this.waitingBatches += puts.length;
      this.counts.rejected += refused.length;
      this.refused.add(refused.length);
    }
    return admissions;
  }

  /** Applies some of what waits. Gives the milliseconds until there is more to do: 0 at once, infinite when nothing waits. */
  async work(): Promise<number> {
    const now = this.deps.clock.wall();
    if (now < this.pausedUntil) return this.pausedUntil - now;
    const leased = await this.queue.lease(this.isCareful ? 1 : SLICE, now);
    if (leased.length === 0) {
      const at = this.queue.nextAt(now);
      if (this.queue.isTransactional) await this.recount();
      return at === null ? Number.POSITIVE_INFINITY : Math.max(1, at - now);
    }
    try {
      await this.apply(leased);
      this.trouble = null;
      this.isCareful = false;
      return 0;
    } catch (error) {
      if (error instanceof LeaseLost) return 0;
      const [only, another] = leased;
      if (only !== undefined && another === undefined) return await this.putOff(only, error);
      // One of them may be to blame: they are tried one by one.
      this.isCareful = true;
      await this.queue.retry(leased, now);
      return 0;
    }
  }

  private async apply(leased: readonly Waiting[]): Promise<void> {
    const runs: { operation: "insert" | "delete"; table: string; columns: readonly Column[]; rows: Row[]; key: string }[] = [];
    const written: { id: string; payload: unknown }[] = [];
    const part = partOf(leased);
    for (const waiting of leased) {
      const { replayOf, attempts, done } = waiting;
      const activities = this.activitiesOf(waiting);
      for (let index = done; index < (part?.end ?? activities.length); index++) {
        const activity = activities[index] as Activity;
        const id = activityId(waiting, index);
        // Handed out before, or replayed: it may have taken effect already.
        if (attempts > 1 || replayOf !== null) {
          const state = this.log.stateOf(id);
          if (state === "applied" || (state === "failed" && replayOf === null)) continue;
        }
        const key = `${activity.operation} ${activity.table} ${activity.columns.map(({ name, type }) => `${name} ${typeText(type)}`).join()}`;
        const last = runs.at(-1);
        const row = { id, values: activity.values };
        if (last?.key === key) last.rows.push(row);
        else runs.push({ operation: activity.operation, table: activity.table, columns: activity.columns, rows: [row], key });
        written.push({ id, payload: activity.payload });
      }
    }
    const confirm = (now: number): void | Promise<void> =>
      part === null ? this.queue.done(leased) : this.queue.advance(part.of, part.end, now);
    let failed = 0;
    const settle = this.deps.database.quick.transaction((outcomes: readonly Outcome[]) => {
      const now = this.deps.clock.wall();
      const at = new Date(now).toISOString();
      failed = 0;
      for (const [i, { id, payload }] of written.entries()) {
        const error = outcomes[i] ?? null;
        if (error !== null) failed++;
        // Another worker has done it meanwhile: what was done here goes back.
        if (!this.queue.isTransactional && this.log.stateOf(id) === "applied") throw new LeaseLost("another worker has the batch");
        this.log.write(id, JSON.stringify(payload), at, error === null ? "applied" : "failed", error);
      }
      if (this.queue.isTransactional) void confirm(now);
    });
    await this.deps.sink.apply(runs, settle);
    if (!this.queue.isTransactional) await confirm(this.deps.clock.wall());
    this.counts.applied += written.length - failed;
    this.counts.failed += failed;
    this.done.add(written.length - failed);
    this.wrong.add(failed);
    if (part === null) this.gone(leased);
    else this.waiting -= part.end - part.of.done;
  }

  private activitiesOf({ batch, body, replayOf }: Waiting): readonly Activity[] {
    const parsed = replayOf === null ? this.parsed.get(batch) : undefined;
    if (parsed !== undefined) return parsed.activities;
    const again = parseBatch(body);
    // It was checked when it was accepted; only a newer version's rules can differ.
    return "faults" in again ? [] : again.activities;
  }

  private keepParsed(batch: string, activities: readonly Activity[], size: number): void {
    if (this.parsedSize + size > MAX_PARSED) return;
    this.parsed.set(batch, { activities, size });
    this.parsedSize += size;
  }

  private gone(batches: readonly Waiting[]): void {
    for (const { batch, body, activities, done } of batches) {
      this.waiting -= activities - done;
      this.waitingSize -= sizeOf({ body });
      const parsed = this.parsed.get(batch);
      if (parsed === undefined) continue;
      this.parsed.delete(batch);
      this.parsedSize -= parsed.size;
    }
    this.waitingBatches -= batches.length;
  }

  /** Counts again: another process on the same database, or another instance, may have taken some. */
  private async recount(): Promise<Backlog> {
    const backlog = await this.queue.backlog();
    this.waiting = backlog.activities;
    this.waitingBatches = backlog.batches;
    this.waitingSize = backlog.size;
    return backlog;
  }

  /** Tells whether the database has the size that it may have. What was deleted in it counts as room. */
  private isDatabaseFull(): boolean {
    const { maxSize } = this.policy;
    if (maxSize === null) return false;
    const { size } = this.deps.database.quick
      .query("SELECT (page_count - freelist_count) * page_size AS size FROM pragma_page_count, pragma_freelist_count, pragma_page_size")
      .get() as { size: number };
    return size >= maxSize;
  }

  /**
   * Puts a batch off that the sink could not apply: it is tried again later, and in the end given up. Gives the milliseconds until then.
   */
  private async putOff(waiting: Waiting, error: unknown): Promise<number> {
    const { attempts, baseDelay, maxDelay } = this.policy;
    const message = error instanceof Error ? error.message : String(error);
    const now = this.deps.clock.wall();
    this.trouble = message;
    this.deps.onTrouble(message, waiting.attempts);
    const delay = Math.min(maxDelay, baseDelay * 2 ** (waiting.attempts - 1));
    this.pausedUntil = now + delay;
    if (waiting.attempts < attempts) {
      await this.queue.retry([waiting], now + delay);
      return delay;
    }
    const at = new Date(now).toISOString();
    const why = `given up after ${waiting.attempts} attempts: ${message}`;
    this.deps.database.quick
      .transaction(() => {
        for (const [index, { payload }] of this.activitiesOf(waiting).entries()) {
          if (index < waiting.done) continue;
          this.log.write(activityId(waiting, index), JSON.stringify(payload), at, "failed", why);
          this.counts.failed++;
        }
        if (this.queue.isTransactional) void this.queue.done([waiting]);
      })
      .immediate();
    if (!this.queue.isTransactional) await this.queue.done([waiting]);
    this.gone([waiting]);
    return delay;
  }

  /** Tells whether what waits is being applied. */
  get isWell(): boolean {
    return this.trouble === null;
  }

  async stats(): Promise<ActivityStats> {
    const { oldest, activities, batches, size } = await this.recount();
    return {
      ...this.counts,
      waiting: activities,
      waitingBatches: batches,
      waitingSize: size,
      lag: oldest === null ? 0 : Math.max(0, this.deps.clock.wall() - oldest),
      acceptedRate: this.accepted.perSecond,
      appliedRate: this.done.perSecond,
      failedRate: this.wrong.perSecond,
      rejectedRate: this.refused.perSecond,
      trouble: this.trouble,
    };
  }

  failures(before: string, limit: number): Failure[] {
    return this.log.failures(before, limit);
  }

  /** Tries a failed activity again, or all that failed of a batch. Gives their number; `null` when there is no such id. */
  async replay(id: string): Promise<{ replayed: number; states: string[] } | null> {
    const { durable } = this.deps.database;
    const found = this.log.find(id);
    if (found.length === 0) return null;
    const failed = found.filter(({ state }) => state === "failed");
    const puts = failed.map(
      (each): Accepted => ({ batch: Bun.randomUUIDv7(), body: `{"activities":[${each.payload}]}`, activities: 1, replayOf: each.id }),
    );
    const now = this.deps.clock.wall();
    if (!this.queue.isTransactional) await this.queue.put(puts, now);
    durable
      .transaction(() => {
        if (this.queue.isTransactional) void this.queue.put(puts, now);
        for (const each of failed) this.refusals.replaying(each.id);
      })
      .immediate();
    this.waiting += puts.length;
    this.waitingBatches += puts.length;
    for (const put of puts) this.waitingSize += sizeOf(put);
    return { replayed: puts.length, states: [...new Set(found.map(({ state }) => state))] };
  }

  /** Forgets what is older than the policy keeps; a bounded number at a time. Gives true when there may be more. */
  prune(): boolean {
    const { keepFor } = this.policy;
    return keepFor !== null && this.log.prune(new Date(this.deps.clock.wall() - keepFor).toISOString()) > 0;
  }
}

/**
 * Gives the next part of a large batch, which is applied in parts so that what comes meanwhile need not wait for all of it. `end`: where
 * that part ends; `null`: all that is leased is applied.
 */
function partOf([of, another]: readonly Waiting[]): { readonly of: Waiting; readonly end: number } | null {
  if (of === undefined || another !== undefined) return null;
  const end = of.done + SLICE;
  return end < of.activities ? { of, end } : null;
}

/** Measures how many come a second, over the last minute. */
class Rate {
  private readonly slots = new Array<number>(60).fill(0);
  private readonly since: number;
  private second: number;

  constructor(private readonly clock: Clock) {
    this.second = Math.floor(clock.now() / 1000);
    this.since = this.second;
  }

  add(count: number): void {
    this.turn();
    const slot = this.second % 60;
    this.slots[slot] = (this.slots[slot] as number) + count;
  }

  get perSecond(): number {
    this.turn();
    const span = Math.min(60, this.second - this.since + 1);
    return Math.round((this.slots.reduce((sum, count) => sum + count, 0) / span) * 100) / 100;
  }

  private turn(): void {
    const now = Math.floor(this.clock.now() / 1000);
    for (let i = Math.max(this.second + 1, now - 59); i <= now; i++) this.slots[i % 60] = 0;
    this.second = Math.max(this.second, now);
  }
}
