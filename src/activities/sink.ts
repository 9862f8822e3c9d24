import type { Column } from "./activity.ts";
import type { SqlValue } from "./column-type.ts";

/** Describes one row of an activity. */
export interface Row {
  /** The activity's id: the same when it is delivered again. */
  readonly id: string;
  readonly values: readonly SqlValue[];
}

/** Joins activities that follow each other and do the same to the same columns of the same table. */
export interface Run {
  readonly operation: "insert" | "delete";
  readonly table: string;
  readonly columns: readonly Column[];
  readonly rows: readonly Row[];
}

/** Tells what became of an activity: `null` when it took effect, otherwise what was wrong with it. It is not tried again by itself. */
export type Outcome = string | null;

/**
 * Lets activities take effect: in tables of SQLite, or in a warehouse. Delivery is at least once: an activity that was applied before (by
 * its id) must take no effect again.
 */
export interface Sink {
  /**
   * Applies runs in their order and gives the outcomes of all rows, in the order of the runs and their rows. `settle` writes down that they
   * are done: it must be called with the outcomes when what was applied is durable, or within the transaction that makes it so. Throws when
   * nothing was applied and it may be tried again later.
   */
  apply(runs: readonly Run[], settle: (outcomes: readonly Outcome[]) => void): void | Promise<void>;
}
