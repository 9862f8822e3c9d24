import type { Column } from "../activity.ts";
import type { SqlValue } from "../column-type.ts";
import type { Perhaps } from "../queues/queue.ts";

/** Describes one row of an activity. */
export interface Row {
  /** The activity's id: the same when it is delivered again, and when it is replayed. */
  readonly id: string;
  readonly values: readonly SqlValue[];
  /** The activity as it was sent. */
  readonly payload: unknown;
  /** Its place in the queue: activities of one table take effect in this order. A safe integer. */
  readonly position: number;
  /** True when it failed before and somebody wants it tried again. */
  readonly isReplay: boolean;
}

/** Joins activities that follow each other and do the same to the same columns of the same table. */
export interface Run {
  readonly operation: "insert" | "delete";
  readonly table: string;
  readonly columns: readonly Column[];
  readonly rows: readonly Row[];
}

/** Says that an activity was settled before, by its id: it took no effect this time. */
export const REPEATED: unique symbol = Symbol("settled before");

/** Tells what became of an activity: `null` when it took effect, otherwise what was wrong with it. It is not tried again by itself. */
export type Outcome = string | null | typeof REPEATED;

/**
 * Says that a sink can't be reached, or takes nothing for now: whatever it is asked would fail. What was to be applied is kept and tried
 * again until it can be; no activity is given up for this.
 */
export class SinkAway extends Error {}

/** Names what became of an activity in a sink. `rejected`: refused as it came in; `failed`: it can be replayed; `replaying`: it waits to be tried again. */
export type LogState = "applied" | "failed" | "rejected" | "replaying";

export interface Failure {
  readonly id: string;
  readonly state: LogState;
  /** The activity as JSON, or what was sent in its stead. */
  readonly payload: string;
  /** When it was settled (ISO 8601). */
  readonly createdAt: string;
  readonly error: string | null;
  /** Its place in the ledger, for reading on behind it. */
  readonly place: string;
}

export interface Entry {
  readonly id: string;
  readonly payload: string;
  readonly state: LogState;
}

/** Describes a batch that was refused as it came in. */
export interface Refusal {
  readonly id: string;
  readonly body: string;
  /** When it came, in milliseconds since 1970. */
  readonly at: number;
  readonly error: string;
}

/** Lists what failed in one sink. */
export interface Letters {
  /** Gives what failed or was refused, the newest first: up to `limit` from behind `place` ("" for the newest). */
  failures(place: string, limit: number): Perhaps<readonly Failure[]>;
  /** Finds the activity of this id, or all of a batch. */
  find(id: string): Perhaps<readonly Entry[]>;
  /** Notes that activities which failed wait to be tried again. */
  replaying(ids: readonly string[]): Perhaps<void>;
}

/** Tells what became of activities in one sink: its `activity_log`. */
export interface Ledger extends Letters {
  /** Writes refused batches down. A refusal that is there already (by its id) stays as it is. */
  refuse(refusals: readonly Refusal[]): Perhaps<void>;
  /**
   * Gives the activities that were accepted, in the order in which they were settled: up to `limit` from behind `after` ("" for the first),
   * and none behind `upTo`.
   */
  history(after: string, upTo: string, limit: number): Perhaps<readonly (Entry & { readonly place: string })[]>;
  /** Gives the place of the newest entry; "" when there is none. */
  newest(): Perhaps<string>;
  /** Counts the entries that `history` would give. */
  left(after: string, upTo: string): Perhaps<number>;
}

/** Describes one delivery to a sink. */
export interface Delivery {
  /** The time that the log names, in milliseconds since 1970. */
  readonly at: number;
  /** False when no activity of it can have been applied before. A sink that keeps ids may look them up all the same. */
  readonly mayRepeat: boolean;
  /** Why activities are given up: nothing is applied, each is settled as failed for this reason. `null`: they are applied. */
  readonly giveUp: string | null;
  /**
   * Confirms the delivery to the queue. Called with the outcomes within the transaction that makes them durable by a sink that shares the
   * queue's database (`sharesQueue`); by no other.
   */
  settle(outcomes: readonly Outcome[]): void;
}

/**
 * Lets activities take effect: in tables of SQLite or PostgreSQL, in a warehouse, in a topic. Deliveries come in order, one at a time, each
 * at least once.
 */
export interface Sink {
  /** What is promised of an activity. once: its id is written in the transaction in which it takes effect, and looked up before. */
  readonly delivery: "once" | "atLeastOnce";
  /** True when `apply` calls `settle` itself. */
  readonly sharesQueue: boolean;
  /**
   * What became of activities here; `null`: this sink keeps no account of it that can be read. The engine then keeps its dead letters, and
   * asks it to give nothing up.
   */
  readonly ledger: Ledger | null;
  /**
   * How activities are handed to a sink that gathers them: up to `max` together, and no sooner than `every` milliseconds after the last ones,
   * unless those were as many as may be. Left out, or `null`: as they come.
   */
  readonly portion?: { readonly max: number; readonly every: number } | null;
  /**
   * Applies runs in their order and gives the outcomes of all rows, in the order of the runs and their rows, when they are durable. Throws
   * `SinkAway`, or any other error, when nothing was applied that a second delivery would do again, and it may be tried again later.
   */
  apply(runs: readonly Run[], delivery: Delivery): Perhaps<readonly Outcome[]>;
  /** Writes refused batches into the log, where it keeps one that can't be read (`ledger` is `null`). Throws `SinkAway`. */
  refuse?(refusals: readonly Refusal[]): Perhaps<void>;
  /**
   * Forgets a bounded number of log rows from before `log`, and of ids from before `ids` (milliseconds since 1970; `null`: none). Gives
   * true when there may be more.
   */
  prune(before: { readonly log: number | null; readonly ids: number | null }): Perhaps<boolean>;
  close(): Perhaps<void>;
}
