/** A batch that waits, as it was accepted. */
export interface Waiting {
  /** Its place in the queue. */
  readonly seq: number | string;
  /** The batch's id, with which its activities' ids begin. */
  readonly batch: string;
  /** The body of the request; of a replay, a list of the one activity. */
  readonly body: string;
  readonly activities: number;
  /** How many of them, from the first, have taken effect or failed. */
  readonly done: number;
  /** The id of the activity that is replayed, or `null`. */
  readonly replayOf: string | null;
  /** How often it was handed out, this time included. */
  readonly attempts: number;
}

/** A batch on its way into the queue. */
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
  /** When the oldest of them was accepted, in milliseconds since 1970; `null` when none waits. */
  readonly oldest: number | null;
}

/** A lease was lost to another worker before the work was written down. */
export class LeaseLost extends Error {}

type Perhaps<T> = T | Promise<T>;

/** Where batches wait: a table, or a stream that several instances share. */
export interface ActivityQueue {
  /** Whether `done` and `advance` are part of the transaction in which the activities take effect; otherwise they follow it. */
  readonly isTransactional: boolean;
  /** Puts batches in; they are durable when it is done. */
  put(batches: readonly Accepted[], now: number): Perhaps<void>;
  /** Takes the oldest batches, of about `most` activities together. None overtakes one that another worker has, or that waits to be tried again. */
  lease(max: number, now: number): Perhaps<Waiting[]>;
  /** They took effect, or never will. Throws `LeaseLost` when another worker has one of them now. */
  done(batches: readonly Waiting[]): Perhaps<void>;
  /** The first `done` of a batch are done. Throws `LeaseLost`. */
  advance(batch: Waiting, done: number, now: number): Perhaps<void>;
  /** They could not be applied: they are handed out again from `at` on. */
  retry(batches: readonly Waiting[], at: number): Perhaps<void>;
  /** When it is worth asking again; `null`: when something was put in. */
  nextAt(now: number): number | null;
  backlog(): Perhaps<Backlog>;
}

/** The bytes that a batch takes in a queue. */
export const sizeOf = ({ body }: { readonly body: string }): number => Buffer.byteLength(body);

/** The id of the activity at a place in a batch; a replayed one keeps its own. */
export const activityId = ({ batch, replayOf }: Pick<Waiting, "batch" | "replayOf">, index: number): string =>
  replayOf ?? `${batch}:${index}`;
