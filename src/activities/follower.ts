import type { Clock } from "../values/clock.ts";
import { typeText } from "./column-type.ts";
import type { DeadLetters } from "./dead-letters.ts";
import { type Backlog, type Delivered, type Feed, LeaseLost, type Perhaps, type Portion } from "./queues/queue.ts";
import type { Rates } from "./rate.ts";
import { type Delivery, type Letters, type Outcome, REPEATED, type Row, type Run, type Sink, SinkAway } from "./sinks/sink.ts";
import type { SqliteLedger } from "./sinks/sqlite-ledger.ts";

/** Says how often, and how soon, what a sink can't take is tried again. Times in milliseconds. */
export interface RetryPolicy {
  /** The attempts at an activity that can't be applied though its sink can be reached. */
  readonly attempts: number;
  readonly baseDelay: number;
  readonly maxDelay: number;
}

/** Says where what became of activities is written for a sink that does not write it itself. */
export type Record =
  /** `earlier`: the dead letters from before it did. */
  | { readonly kind: "own"; readonly letters: Letters; readonly earlier: DeadLetters }
  | { readonly kind: "log"; readonly letters: SqliteLedger; readonly transaction: (work: () => void) => void }
  | { readonly kind: "letters"; readonly letters: DeadLetters };

export interface FollowerDeps {
  readonly name: string;
  readonly type: string;
  readonly sink: Sink;
  readonly feed: Feed;
  readonly record: Record;
  readonly clock: Clock;
  readonly policy: () => RetryPolicy;
  readonly rates: Rates;
  readonly onTrouble: (message: string, attempts: number) => void;
}

export interface SinkState {
  readonly name: string;
  readonly type: string;
  readonly delivery: "once" | "atLeastOnce";
  /** catchingUp: it reads what was accepted before it was there. away: nothing can be applied to it at the moment. */
  readonly state: "following" | "catchingUp" | "away";
  /** Since the start. */
  readonly applied: number;
  readonly failed: number;
  /** `null`: it is not known yet, since the queue could not be asked. */
  readonly waiting: number | null;
  readonly waitingBatches: number | null;
  readonly waitingSize: number | null;
  /** The time for which the oldest activity has waited, in milliseconds; `null` as above. */
  readonly lag: number | null;
  /** The last reason why something could not be applied, and when that was (milliseconds since 1970); `null`: there was none since the start. */
  readonly lastError: { readonly at: number; readonly message: string } | null;
}

/** What a delivery holds at most: some milliseconds of work, so that batches that come meanwhile need not wait. */
const USUAL = { max: 1000, every: 0 };
/** Milliseconds between two times that a portion is kept while it is applied. */
const KEEP_EVERY = 1000;

/** Lets one sink follow the queue, in order: what it can't take for now is tried again, and what it never will is written down. */
export class Follower {
  readonly name: string;
  readonly letters: Letters;
  private readonly counts = { applied: 0, failed: 0 };
  private trouble: string | null = null;
  private lastError: { at: number; message: string } | null = null;
  private counted: Backlog | null = null;
  /** What is yet to be read of a log, as it was counted last. */
  private history = 0;
  private pausedUntil = 0;
  /** The time before which no further delivery is wanted. */
  private nextAt = 0;
  /** The times in a row that the sink could not be reached, and that it could not apply the activity whose turn it is. */
  private readonly attempts = { away: 0, refused: 0 };
  /** Activities that are taken one by one, to find the one that can't be applied. */
  private careful = 0;

  constructor(private readonly deps: FollowerDeps) {
    this.name = deps.name;
    this.letters = deps.record.letters;
  }

  /** Gives the reason why nothing is applied at the moment; `null` when it is. */
  get fault(): string | null {
    return this.trouble;
  }

  /** Applies some of what waits. Gives the milliseconds until there is more to do: 0 at once, infinite when nothing waits. */
  async work(): Promise<number> {
    const { clock, feed } = this.deps;
    const now = clock.wall();
    if (now < this.pausedUntil) return this.pausedUntil - now;
    const { max, every } = this.deps.sink.portion ?? USUAL;
    if (this.careful === 0 && now < this.nextAt) return this.nextAt - now;
    let portion: Portion | null;
    try {
      portion = await feed.lease(this.careful > 0 ? 1 : max, now);
    } catch (error) {
      // Whoever keeps the log that is read first is away.
      if (error instanceof SinkAway) return this.pause(error.message, ++this.attempts.away);
      throw error;
    }
    if (portion === null) {
      // What was given up last is no reason why others could not be applied.
      if (this.attempts.away + this.attempts.refused === 0) this.trouble = null;
      const at = feed.nextAt(now);
      return at === null ? Number.POSITIVE_INFINITY : Math.max(1, at - now);
    }
    try {
      await this.apply(portion, null);
      const { length } = portion.deliveries;
      this.careful = Math.max(0, this.careful - length);
      // Whoever has as much as can be handed over at once is behind.
      this.nextAt = length < max && portion.hasMore !== true ? now + every : now;
      return 0;
    } catch (error) {
      if (error instanceof LeaseLost) return 0;
      return await this.putOff(portion, error);
    }
  }

  private async apply(portion: Portion, giveUp: string | null): Promise<void> {
    const { clock, feed, sink } = this.deps;
    const at = clock.wall();
    const { deliveries, mayRepeat } = portion;
    if (deliveries.length === 0) {
      await feed.done(portion, at);
      return;
    }
    const settle = (outcomes: readonly Outcome[]): void => {
      this.write(deliveries, outcomes, at);
      void feed.done(portion, clock.wall());
    };
    const delivery: Delivery = { at, mayRepeat, giveUp, settle };
    const outcomes =
      giveUp !== null && sink.ledger === null
        ? deliveries.map(() => giveUp)
        : await this.keeping(portion, sink.apply(runsOf(deliveries), delivery));
    if (!sink.sharesQueue || (giveUp !== null && sink.ledger === null)) {
      this.write(deliveries, outcomes, at);
      await feed.done(portion, clock.wall());
    }
    this.attempts.away = 0;
    this.attempts.refused = 0;
    this.trouble = null;
    this.count(outcomes);
  }

  /** Waits for what is applied, and tells the queue meanwhile that it still is. */
  private async keeping<T>(portion: Portion, work: Perhaps<T>): Promise<T> {
    const { feed, clock } = this.deps;
    if (!(work instanceof Promise) || feed.keep === undefined) return work;
    // Who can't say so loses the portion to another worker at worst, and finds out when it is done.
    const keep = async () => feed.keep?.(portion, clock.wall());
    const timer = setInterval(() => void keep().catch(() => {}), KEEP_EVERY);
    try {
      return await work;
    } finally {
      clearInterval(timer);
    }
  }

  private write(deliveries: readonly Delivered[], outcomes: readonly Outcome[], at: number): void {
    const { record } = this.deps;
    if (record.kind === "own") {
      // What became of a replay is in the sink's log now.
      const replays = deliveries.flatMap(({ id, isReplay }) => (isReplay ? [id] : []));
      if (replays.length > 0) record.earlier.drop(replays);
      return;
    }
    const settled = deliveries.flatMap(({ id, activity, isReplay }, i) => {
      const outcome = outcomes[i] ?? null;
      if (outcome === REPEATED && !isReplay) return [];
      // A replay that is repeated took effect before that could be written down here.
      return [{ id, payload: () => JSON.stringify(activity.payload), error: outcome === REPEATED ? null : outcome, isReplay }];
    });
    const stamp = new Date(at).toISOString();
    if (record.kind === "log")
      record.transaction(() => {
        for (const { id, payload, error } of settled) record.letters.write(id, payload(), stamp, error);
      });
    else {
      const told = settled.filter(({ error, isReplay }) => error !== null || isReplay);
      if (told.length > 0) record.letters.settle(told, stamp);
    }
  }

  private count(outcomes: readonly Outcome[]): void {
    let applied = 0;
    let failed = 0;
    for (const outcome of outcomes)
      if (outcome === null) applied++;
      else if (outcome !== REPEATED) failed++;
    this.counts.applied += applied;
    this.counts.failed += failed;
    this.deps.rates.applied.add(applied);
    this.deps.rates.failed.add(failed);
  }

  /** Gives a portion back that the sink could not apply. Gives the milliseconds until it is tried again. */
  private async putOff(portion: Portion, error: unknown): Promise<number> {
    const { clock, feed, policy } = this.deps;
    const now = clock.wall();
    const message = error instanceof Error ? error.message : String(error);
    const isAway = error instanceof SinkAway;
    const { length } = portion.deliveries;
    if (!isAway && length > 1) {
      // One of them may be to blame: they are tried one by one.
      this.careful = length;
      await feed.retry(portion, now);
      return 0;
    }
    const attempt = isAway ? ++this.attempts.away : ++this.attempts.refused;
    const delay = this.pause(message, attempt);
    if (!isAway && attempt >= policy().attempts) {
      await this.apply(portion, `given up after ${attempt} attempts: ${message}`);
      this.trouble = message;
    } else await feed.retry(portion, now + delay);
    return delay;
  }

  /** Notes why nothing can be applied. Gives the milliseconds until it is tried again. */
  private pause(message: string, attempt: number): number {
    const { clock, policy, onTrouble } = this.deps;
    const now = clock.wall();
    this.trouble = message;
    this.lastError = { at: now, message };
    onTrouble(message, attempt);
    const { baseDelay, maxDelay } = policy();
    const delay = Math.min(maxDelay, baseDelay * 2 ** Math.min(30, attempt - 1));
    this.pausedUntil = now + delay;
    return delay;
  }

  async state(): Promise<SinkState> {
    const { name, type, sink, clock } = this.deps;
    const backlog = await this.backlog();
    if (backlog?.isCatchingUp === true) await this.countHistory();
    return {
      name,
      type,
      delivery: sink.delivery,
      state: this.trouble !== null ? "away" : backlog?.isCatchingUp === true ? "catchingUp" : "following",
      ...this.counts,
      waiting: backlog === null ? null : backlog.activities + (backlog.isCatchingUp === true ? this.history : 0),
      waitingBatches: backlog?.batches ?? null,
      waitingSize: backlog?.size ?? null,
      lag: backlog === null ? null : backlog.oldest === null ? 0 : Math.max(0, clock.wall() - backlog.oldest),
      lastError: this.lastError,
    };
  }

  /** Counts what is yet to be read of a log; while that can't be asked it is what was counted last. */
  private async countHistory(): Promise<void> {
    try {
      this.history = (await this.deps.feed.history?.()) ?? 0;
    } catch {
      // Whoever reads it says why it is away.
    }
  }

  /** Counts what waits in the queue; while the queue can't be reached it is what was counted last. `null`: nothing was yet. */
  async backlog(): Promise<Backlog | null> {
    try {
      this.counted = await this.deps.feed.backlog();
    } catch {
      // Whoever asked the queue for more says why it is away.
    }
    return this.counted;
  }

  /** Forgets what is older than is kept; a bounded number at a time. Gives true when there may be more. */
  async prune(before: { readonly log: number | null; readonly ids: number | null }): Promise<boolean> {
    const { sink, record } = this.deps;
    const hadMore = await sink.prune(before);
    if (before.log === null) return hadMore;
    const letters = record.kind === "own" ? record.earlier : record.letters;
    return letters.prune(new Date(before.log).toISOString()) > 0 || hadMore;
  }

  async close(): Promise<void> {
    await this.deps.sink.close();
  }
}

/** Joins activities that follow each other and do the same to the same columns of the same table. */
export function runsOf(deliveries: readonly Delivered[]): Run[] {
  const runs: (Run & { readonly rows: Row[]; readonly key: string })[] = [];
  for (const { id, activity, position, isReplay } of deliveries) {
    const { operation, table, columns, values, payload } = activity;
    const key = `${operation} ${table} ${columns.map(({ name, type }) => `${name} ${typeText(type)}`).join()}`;
    const row = { id, values, payload, position, isReplay };
    const last = runs.at(-1);
    if (last?.key === key) last.rows.push(row);
    else runs.push({ operation, table, columns, rows: [row], key });
  }
  return runs;
}
