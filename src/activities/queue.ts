/** Describes a batch that waits, as it was accepted. */
export interface Waiting {
  /** Its place in the queue. */
  readonly seq: number | string;
  /** The batch's id, with which its activities' ids begin. */
  readonly batch: string;
  /** The body of the request; of a replay, a list of the one activity. */
  readonly body: string;
  readonly activities: number;
  /** The number of its activities, from the first, that have taken effect or failed. */
  readonly done: number;
  /** The id of the activity that is replayed, or `null`. */
  readonly replayOf: string | null;
  /** The number of times that it was handed out, this one included. */
  readonly attempts: number;
}

/** Describes a batch on its way into the queue. */
export interface Accepted {
  readonly batch: string;
  readonly body: string;
  readonly activities: number;
  readonly replayOf?: string;
}

export interface Backlog {
  readonly batches: number;
  readonly activities: number;
  /** The bytes of their bodies. */
  readonly size: number;
  /** The time when the oldest of them was accepted, in milliseconds since 1970; `null` when none waits. */
  readonly oldest: number | null;
}

/** Says that a lease was lost to another worker before the work was written down. */
export class LeaseLost extends Error {}

type Perhaps<T> = T | Promise<T>;

/** Keeps the batches that wait: in a table, or in a stream that several instances share. */
export interface ActivityQueue {
  /** True when `done` and `advance` are part of the transaction in which the activities take effect; otherwise they follow it. */
  readonly isTransactional: boolean;
  /** Puts batches in; they are durable when it is done. */
  put(batches: readonly Accepted[], now: number): Perhaps<void>;
  /**
   * Takes the oldest batches, of about `max` activities together. None overtakes one that another worker has, or that waits to be tried
   * again.
   */
  lease(max: number, now: number): Perhaps<Waiting[]>;
  /** Removes batches that took effect, or never will. Throws `LeaseLost` when another worker has one of them now. */
  done(batches: readonly Waiting[]): Perhaps<void>;
  /** Notes that the first `done` activities of a batch are done. Throws `LeaseLost`. */
  advance(batch: Waiting, done: number, now: number): Perhaps<void>;
  /** Gives batches back that could not be applied: they are handed out again from `at` on. */
  retry(batches: readonly Waiting[], at: number): Perhaps<void>;
  /** Gives the time when it is worth asking again; `null`: when something was put in. */
  nextAt(now: number): number | null;
  backlog(): Perhaps<Backlog>;
}

/** Gives the bytes that a batch takes in a queue. */
export const sizeOf = ({ body }: { readonly body: string }): number => Buffer.byteLength(body);

/** Gives the id of the activity at a place in a batch; a replayed one keeps its own. */
export const activityId = ({ batch, replayOf }: Pick<Waiting, "batch" | "replayOf">, index: number): string =>
  replayOf ?? `${batch}:${index}`;
