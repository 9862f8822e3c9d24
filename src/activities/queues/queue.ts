import type { Activity } from "../activity.ts";

export type Perhaps<T> = T | Promise<T>;

/** Names what a batch was sent under: the same key and body take effect once within a day. Both are hashes. */
export interface IdempotencyKey {
  /** Of the caller and the key. */
  readonly key: string;
  readonly body: string;
}

/** Describes a batch on its way into the queue. */
export interface Accepted {
  /** The batch's id, with which its activities' ids begin; made of the Idempotency-Key and the body where there is one. */
  readonly batch: string;
  /** The body of the request; of a replay, a list of the one activity. */
  readonly body: string;
  readonly activities: readonly Activity[];
  readonly key: IdempotencyKey | null;
  /** The id of the activity that is replayed, and the sink that is to try it again; `null`: it is for all sinks. */
  readonly replay: { readonly id: string; readonly sink: string } | null;
}

/**
 * Tells what the queue did with a batch. repeated: it is there already, under its key; mismatch: another body is there under its key; tooLarge:
 * it never takes an activity as large as one of these.
 */
export type PutResult = "put" | "repeated" | "mismatch" | "tooLarge";

/** Describes one activity as a sink gets it from the queue. */
export interface Delivered {
  readonly id: string;
  readonly activity: Activity;
  /** Its place in the queue: it grows from one activity of a table to the next. A safe integer. */
  readonly position: number;
  readonly isReplay: boolean;
}

/** Holds activities that were handed out together, to be applied in this order. */
export interface Portion {
  readonly deliveries: readonly Delivered[];
  /** The number of times that it was handed out, this one included, as far as is known. */
  readonly attempts: number;
  /** False when none of it can have been applied before. */
  readonly mayRepeat: boolean;
  /** True when more waits already, though this holds less than was asked for. */
  readonly hasMore?: boolean;
}

export interface Backlog {
  /** `null`: the queue does not count them. */
  readonly batches: number | null;
  readonly activities: number;
  /** The bytes of their bodies; `null`: the queue does not count them. */
  readonly size: number | null;
  /** The time when the oldest of them was accepted, in milliseconds since 1970; `null` when none waits. */
  readonly oldest: number | null;
  /** True while a new sink reads what was accepted before its time, which is not counted here. */
  readonly isCatchingUp?: boolean;
}

/** Says that a portion was lost to another worker before the work was written down. */
export class LeaseLost extends Error {}

/** Says that a queue can't be reached: nothing is put in, and nothing handed out, until it is back. */
export class QueueAway extends Error {}

/** Hands one sink what the queue holds, in order, and remembers how far that sink has come. */
export interface Feed {
  /**
   * Takes the next activities, about `max` at most. None overtakes one that another worker has, or that waits to be tried again. Gives
   * `null` when there are none for now.
   */
  lease(max: number, now: number): Perhaps<Portion | null>;
  /** Notes that a portion is settled. Throws `LeaseLost` when another worker has it now. */
  done(portion: Portion, now: number): Perhaps<void>;
  /** Gives a portion back that could not be applied: it is handed out again from `at` on. */
  retry(portion: Portion, at: number): Perhaps<void>;
  /** Keeps a portion that takes longer than usual to apply: called about once a second meanwhile. Left out: nothing needs to be done. */
  keep?(portion: Portion, now: number): Perhaps<void>;
  /** Gives the time when it is worth asking again; `null`: when something was put in. */
  nextAt(now: number): number | null;
  /** Counts what waits for this sink in the queue. */
  backlog(): Perhaps<Backlog>;
  /** Counts what a new sink has yet to read of what was accepted before its time. Left out: there never is any. */
  history?(): Perhaps<number>;
}

/** Keeps the batches that wait: in a table, in a Redis stream or in a Kafka topic that several instances share. */
export interface ActivityQueue {
  readonly kind: "embedded" | "redis" | "kafka";
  /** Parts the positions of one kind of queue from those of the others: a later kind's are greater. */
  readonly rank: 0 | 1 | 2;
  /** True when `put` is synchronous and may be called within a transaction of the durable connection. */
  readonly isTransactional: boolean;
  /** Puts batches in; they are durable when it is done. Throws `QueueAway`. */
  put(batches: readonly Accepted[], now: number): Perhaps<readonly PutResult[]>;
  /** Gives what a sink follows the queue by. Called once for each sink, with the names in their order. */
  feed(sink: string): Feed;
  close(): Perhaps<void>;
}

/** Gives the bytes that a batch takes in a queue. */
export const sizeOf = ({ body }: { readonly body: string }): number => Buffer.byteLength(body);

/** Gives the id of the activity at a place in a batch. */
export const activityId = (batch: string, index: number): string => `${batch}:${index}`;
