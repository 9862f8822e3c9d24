import { type Activity, parseBatch } from "../../src/activities/activity.ts";
import { runsOf as joined } from "../../src/activities/follower.ts";
import type { Delivery, Run } from "../../src/activities/sinks/sink.ts";

type Values = Readonly<Record<string, readonly [type: string, value: unknown]>>;

const row = (values: Values) => ({
  colNames: Object.keys(values),
  colTypes: Object.values(values).map(([type]) => type),
  colValues: Object.values(values).map(([, value]) => value),
});
/** Gives an activity as it is sent. `values`: by column, the type and the value. */
export const insert = (table: string, values: Values) => ({ operation: "insert", table, ...row(values) });
export const remove = (table: string, values: Values) => ({ operation: "delete", table, oldValue: row(values) });
export const int = (value: unknown) => ["INTEGER", value] as const;
export const text = (value: unknown) => ["TEXT", value] as const;

/** Gives the activities of a body as the endpoint takes them. Throws when it would refuse them. */
export function parsed(activities: readonly object[]): readonly Activity[] {
  const batch = parseBatch(JSON.stringify({ activities }));
  if ("faults" in batch) throw new Error(batch.faults.map(({ path, message }) => `${path}: ${message}`).join("; "));
  return batch.activities;
}

/** Joins activities as they come to a sink. `idOf`: the id of the activity at a place. */
export const runsOf = (activities: readonly Activity[], idOf: (index: number) => string, isReplay = false): Run[] =>
  joined(activities.map((activity, position) => ({ id: idOf(position), activity, position, isReplay })));

/** Describes a delivery to a sink that does not share the queue's database. */
export const delivered = (at: number = Date.UTC(2026, 0, 1)): Delivery => ({
  at,
  mayRepeat: true,
  giveUp: null,
  settle: () => {
    throw new Error("this sink shares no database with the queue");
  },
});
