import type { Clock } from "../values/clock.ts";
import { parseActivity } from "./activity.ts";
import type { ActivityDatabase } from "./database.ts";
import { DeadLetters, LettersOfKeeper } from "./dead-letters.ts";
import { Follower, type Record, type RetryPolicy, type SinkState } from "./follower.ts";
import { type Admission, Intake, type IntakePolicy, type Post } from "./intake.ts";
import { IdempotencyKeys, REMEMBERED_FOR } from "./queues/keys.ts";
import { type Accepted, type ActivityQueue, type Backlog, QueueAway } from "./queues/queue.ts";
import type { SharedKeys } from "./queues/shared-keys.ts";
import { type KeptLog, SqliteQueue } from "./queues/sqlite.ts";
import { Rate, type Rates } from "./rate.ts";
import { Refusals } from "./refusals.ts";
import { type Failure, type Ledger, type Sink, SinkAway } from "./sinks/sink.ts";
import { SqliteLedger } from "./sinks/sqlite-ledger.ts";

/** Describes how activities are taken in and worked off. Times in milliseconds. */
export interface ActivityPolicy extends IntakePolicy, RetryPolicy {
  /** The time for which the log, ids and dead letters are kept; `null`: for ever. */
  readonly keepFor: number | null;
}

export interface ActivityStats {
  readonly accepted: number;
  /** What took effect in the first sink. */
  readonly applied: number;
  readonly failed: number;
  /** Batches that were refused as invalid. */
  readonly rejected: number;
  /** What waits for the slowest sink. */
  readonly waiting: number;
  /** `null`: the queue does not count them. */
  readonly waitingBatches: number | null;
  /** The bytes of the batches that wait; `null`: the queue does not count them. */
  readonly waitingSize: number | null;
  /** The time for which the oldest activity has waited, in milliseconds. */
  readonly lag: number;
  /** Activities a second, over the last minute. */
  readonly acceptedRate: number;
  readonly appliedRate: number;
  readonly failedRate: number;
  /** Batches a second, unlike the others. */
  readonly rejectedRate: number;
  /** The reason why nothing is applied to one of the sinks at the moment; `null` when it is. */
  readonly trouble: string | null;
  readonly queue: { readonly kind: ActivityQueue["kind"]; readonly trouble: string | null };
  readonly sinks: readonly SinkState[];
}

/** Lists what failed or was refused. */
export interface Failures {
  readonly items: readonly Failure[];
  /** Why that can't be listed at the moment; `null` when it is. */
  readonly trouble: string | null;
}

export interface NamedSink {
  readonly name: string;
  readonly type: string;
  readonly sink: Sink;
}

export interface EngineDeps {
  readonly database: ActivityDatabase;
  readonly queue: ActivityQueue;
  /** Idempotency-Keys that all instances know, where the queue itself knows none. */
  readonly sharedKeys?: SharedKeys | null;
  readonly sinks: readonly NamedSink[];
  /** The sink that keeps `activity_log`; `null`: none of them can, and it is kept beside the queue. */
  readonly keeper: string | null;
  /** True when that log is in the same file as the queue. */
  readonly isLogLocal: boolean;
  readonly clock: Clock;
  readonly policy: ActivityPolicy;
  readonly onTrouble: (sink: string, message: string, attempts: number) => void;
}

/** Batches that another queue takes over at once. */
const TAKEN_OVER = 100;

/**
 * The milliseconds after which Kafka may hand out again what is older than is kept: a group's place is forgotten after
 * `offsets.retention.minutes`, and records are deleted by whole segments (`segment.ms`), which are seven days each by default.
 */
const HANDED_OUT_AGAIN = 14 * 86_400_000;
const NOTHING: Backlog = { batches: 0, activities: 0, size: 0, oldest: null };

/** Takes batches in, and lets each sink follow them. Runs in one thread. */
export class ActivityEngine {
  policy: ActivityPolicy;
  /** One for each sink, in their order. */
  readonly followers: readonly Follower[];
  /** Why batches can't be put into the queue; `null` when they can. */
  queueTrouble: string | null = null;
  private readonly intake: Intake;
  private readonly rates: Rates;
  private readonly refusals: Refusals;
  private readonly keys: IdempotencyKeys;
  /** True when what another queue had before is in this one. */
  private isTakenOver: boolean;
  private takingOver: Promise<void> | null = null;

  constructor(private readonly deps: EngineDeps) {
    const { database, clock, queue, sinks } = deps;
    this.policy = deps.policy;
    this.isTakenOver = queue.kind === "embedded";
    this.rates = { applied: new Rate(clock), failed: new Rate(clock) };
    this.keys = new IdempotencyKeys(database.durable);
    this.refusals = new Refusals(database.durable, deps.isLogLocal ? null : (this.ledgerOf(deps.keeper) ?? this.refuserOf(deps.keeper)));
    this.followers = sinks.map((each, i) => this.follow(each, i));
    if (queue instanceof SqliteQueue) {
      queue.ledgerOf = (keeper) => this.ledgerOf(keeper === "local" ? null : keeper);
      queue.keep(new Map(sinks.map(({ name }, i) => [name, this.logOf(name, i)])));
    }
    this.intake = new Intake({
      durable: database.durable,
      queue,
      sharedKeys: deps.sharedKeys ?? null,
      clock,
      policy: () => this.policy,
      backlog: () => this.slowest(),
      refuse: (refusals) => this.refusals.write(refusals),
    });
  }

  private follow({ name, type, sink }: NamedSink, place: number): Follower {
    const { queue, clock, onTrouble } = this.deps;
    return new Follower({
      name,
      type,
      sink,
      feed: queue.feed(name),
      record: this.recordOf(name, sink, place),
      clock,
      policy: () => this.policy,
      // The first sink's are the gateway's.
      rates: place === 0 ? this.rates : { applied: new Rate(clock), failed: new Rate(clock) },
      onTrouble: (message, attempts) => onTrouble(name, message, attempts),
    });
  }

  private recordOf(name: string, { ledger, sharesQueue }: Sink, place: number): Record {
    const { durable, quick } = this.deps.database;
    // Part of the transaction that settles them.
    const letters = new DeadLetters(sharesQueue ? quick : durable, name);
    if (ledger !== null) return { kind: "own", letters: new LettersOfKeeper(ledger, letters), earlier: letters };
    if (this.deps.keeper === null && place === 0)
      return { kind: "log", letters: new SqliteLedger(durable), transaction: (work) => durable.transaction(work).immediate() };
    return { kind: "letters", letters };
  }

  private logOf(name: string, place: number): KeptLog | null {
    const { keeper, isLogLocal } = this.deps;
    if (keeper === null ? place > 0 : name !== keeper) return null;
    if (isLogLocal) return "local";
    return this.ledgerOf(keeper) === null ? null : "own";
  }

  /** Gives the log that a sink keeps, or the one beside the queue (`null`). */
  private ledgerOf(keeper: string | null): Ledger | null {
    if (keeper === null) return new SqliteLedger(this.deps.database.quick);
    return this.deps.sinks.find(({ name }) => name === keeper)?.sink.ledger ?? null;
  }

  private refuserOf(keeper: string | null): Pick<Ledger, "refuse"> | null {
    const sink = this.deps.sinks.find(({ name }) => name === keeper)?.sink;
    return sink?.refuse === undefined ? null : { refuse: (refusals) => sink.refuse?.(refusals) };
  }

  /** Takes request bodies in. All of them are durable, or written down as refused, when it is done. Throws `QueueAway`. */
  async take(posts: readonly Post[]): Promise<Admission[]> {
    await this.takeOver();
    return this.intake.take(posts);
  }

  /** Puts what waits in the file into the queue that there is now, before anything that comes later. Throws `QueueAway`. */
  private async takeOver(): Promise<void> {
    if (this.isTakenOver) return;
    // Whoever takes batches in and each sink that looks for work: one of them moves it, and all wait for that.
    this.takingOver ??= this.move().finally(() => {
      this.takingOver = null;
    });
    await this.takingOver;
  }

  private async move(): Promise<void> {
    const { database, queue, clock } = this.deps;
    const old = new SqliteQueue(database.durable, database.quick);
    for (let left = old.leftOver(TAKEN_OVER); left.length > 0; left = old.leftOver(TAKEN_OVER)) {
      const results = await queue.put(left, clock.wall());
      const stuck = left.filter((_, i) => results[i] === "tooLarge");
      old.drop(left.filter((each) => !stuck.includes(each)).map(({ seq }) => seq));
      if (stuck.length > 0)
        throw new QueueAway(
          `the batch ${stuck[0]?.batch} waits in the file and has an activity that is larger than the queue takes: let the queue take more, or set activities.queue back to "embedded" until nothing waits`,
        );
    }
    this.isTakenOver = true;
  }

  /** Applies some of what waits. Gives the milliseconds until there is more to do: 0 at once, infinite when nothing waits. */
  async work(): Promise<number> {
    return Math.min(...(await Promise.all(this.followers.map((follower) => this.workOf(follower)))));
  }

  /** Lets one sink apply some of what waits for it. Gives the milliseconds until there is more to do. */
  async workOf(follower: Follower): Promise<number> {
    if (!this.isTakenOver) await this.takeOver().catch(() => {});
    const wait = await follower.work();
    this.intake.applied();
    return wait;
  }

  /** Hands refused batches to whoever keeps the log. Gives true when there may be more. Throws when it can't take them now. */
  flush(): Promise<boolean> {
    return this.refusals.flush();
  }

  private async slowest(): Promise<Backlog> {
    const backlogs = await Promise.all(this.followers.map((follower) => follower.backlog()));
    return backlogs.reduce<Backlog>((most, each) => (each !== null && each.activities > most.activities ? each : most), NOTHING);
  }

  /** Gives the reason why nothing is applied to one of the sinks at the moment; `null` when it is. */
  get trouble(): string | null {
    const [first] = this.followers.filter(({ fault }) => fault !== null);
    if (first === undefined) return null;
    return this.followers.length === 1 ? first.fault : `${first.name}: ${first.fault}`;
  }

  async stats(): Promise<ActivityStats> {
    const sinks = await Promise.all(this.followers.map((follower) => follower.state()));
    const [first] = sinks as [SinkState];
    const slowest = sinks.reduce((most, each) => ((each.waiting ?? 0) > (most.waiting ?? 0) ? each : most));
    return {
      ...this.intake.counts,
      applied: first.applied,
      failed: first.failed,
      waiting: slowest.waiting ?? 0,
      waitingBatches: slowest.waitingBatches,
      waitingSize: slowest.waitingSize,
      lag: Math.max(...sinks.map(({ lag }) => lag ?? 0)),
      acceptedRate: this.intake.accepted.perSecond,
      appliedRate: this.rates.applied.perSecond,
      failedRate: this.rates.failed.perSecond,
      rejectedRate: this.intake.refused.perSecond,
      trouble: this.trouble,
      queue: { kind: this.deps.queue.kind, trouble: this.queueTrouble },
      sinks,
    };
  }

  /** Gives what failed in a sink (`null`: the one that keeps the log) or was refused, the newest first; `null` when there is no such sink. */
  async failures(sink: string | null, place: string, limit: number): Promise<Failures | null> {
    const follower = sink === null ? this.keeping : this.followers.find(({ name }) => name === sink);
    if (follower === undefined) return null;
    try {
      return { items: await follower.letters.failures(place, limit), trouble: null };
    } catch (error) {
      if (!(error instanceof SinkAway)) throw error;
      return { items: [], trouble: error.message };
    }
  }

  /** Gives the follower of the sink whose log, or dead letters, come first. */
  private get keeping(): Follower | undefined {
    return this.followers.find(({ name }) => name === this.deps.keeper) ?? this.followers[0];
  }

  /** Tries a failed activity again, or all that failed of a batch: in one sink, or wherever (`null`). Gives their number; `null` when there is no such id. */
  async replay(id: string, sink: string | null): Promise<{ replayed: number; states: string[] } | null> {
    const { queue, clock } = this.deps;
    const states = new Set<string>();
    let replayed = 0;
    for (const { name, letters } of this.followers.filter((each) => sink === null || each.name === sink)) {
      const found = await letters.find(id);
      for (const { state } of found) states.add(state);
      const puts = found.flatMap((each): Accepted[] => {
        const activity = parseActivity(each.payload);
        if (each.state !== "failed" || "faults" in activity) return [];
        const body = `{"activities":[${each.payload}]}`;
        return [{ batch: Bun.randomUUIDv7(), body, activities: [activity], key: null, replay: { id: each.id, sink: name } }];
      });
      if (puts.length === 0) continue;
      if (queue.isTransactional) this.deps.database.durable.transaction(() => void queue.put(puts, clock.wall())).immediate();
      else await queue.put(puts, clock.wall());
      await letters.replaying(puts.flatMap(({ replay }) => (replay === null ? [] : [replay.id])));
      replayed += puts.length;
    }
    return states.size === 0 ? null : { replayed, states: [...states] };
  }

  /** Forgets what is older than the policy keeps; a bounded number at a time. Gives true when there may be more. */
  async prune(): Promise<boolean> {
    const now = this.deps.clock.wall();
    const { keepFor } = this.policy;
    const log = keepFor === null ? null : now - keepFor;
    // As long as somebody may send a batch again under its key, or a queue may hand it out again, its ids must be known.
    const again = this.deps.queue.kind === "kafka" ? HANDED_OUT_AGAIN : 0;
    const ids = keepFor === null ? null : now - Math.max(keepFor, REMEMBERED_FOR) - again;
    let hasMore = this.keys.prune(now) > 0;
    if (log !== null && !this.deps.isLogLocal) {
      // The log from before somebody else kept it, and what was refused and could not be handed on.
      const stamp = new Date(log).toISOString();
      hasMore = new SqliteLedger(this.deps.database.quick).prune(stamp) > 0 || this.refusals.prune(log) > 0 || hasMore;
    }
    for (const follower of this.followers) {
      const hadMore = await follower.prune({ log, ids }).catch((error: unknown) => {
        // Its follower says so.
        if (error instanceof SinkAway) return false;
        throw error;
      });
      hasMore ||= hadMore;
    }
    return hasMore;
  }

  async close(): Promise<void> {
    await Promise.all(this.followers.map((follower) => follower.close()));
    await this.deps.queue.close();
  }
}
