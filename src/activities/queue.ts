/** A batch that waits, as it was accepted. */
export interface Waiting {
  /** Its place in the queue. */
  readonly seq: number;
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
  /** When the oldest of them was accepted, in milliseconds since 1970; `null` when none waits. */
  readonly oldest: number | null;
}

/** The id of the activity at a place in a batch. */
export const activityId = (batch: string, index: number): string => `${batch}:${index}`;
