import { type Static, Type } from "@sinclair/typebox";
import type { Known, Section } from "../config/section.ts";
import { isReserved } from "../exchange/own-paths.ts";
import { ACCESS, accessFaults, accessWarnings } from "../identity/access.ts";
import { limitFaults, moneyFaults } from "../limits/settings.ts";
import { pathFault } from "../routes/path.ts";
import { RouteConfig } from "../routes/settings.ts";
import type { Fault, Path } from "../schema/faults.ts";
import { Duration, Shape, Size } from "../schema/fields.ts";
import { timeFaults } from "../schema/rules.ts";
import { activitiesPathOf, shareFiles } from "../storage/files.ts";
import { parseDuration } from "../values/units.ts";
import { destinationFaults, destinationWarnings, QueueConfig, SinkConfig } from "./destinations.ts";

const { limits, cost } = RouteConfig.properties;

export const ActivitiesConfig = Shape(
  {
    endpoint: Type.String({
      pattern: "^/[A-Za-z0-9._~/-]{1,255}$",
      default: "/api/activities",
      description: "Where batches are posted.",
      expects: 'a path such as "/api/activities"',
    }),
    path: Type.Union([Type.String({ minLength: 1, maxLength: 4096 }), Type.Null()], {
      default: null,
      description: "The file of the database with the tables, the queue and the log; null: activities.db beside the database.",
    }),
    queue: QueueConfig,
    sinks: Type.Array(SinkConfig, {
      default: [{ type: "sqlite", name: null, path: null }],
      minItems: 1,
      maxItems: 16,
      description: "Where activities take effect. Each follows the queue by itself; the first that can keeps activity_log.",
    }),
    ...ACCESS,
    limits,
    cost,
    maxBacklog: Type.Integer({
      minimum: 1,
      maximum: 1e9,
      default: 1_000_000,
      description: "Activities that may wait to be applied; beyond it batches get 503.",
    }),
    maxBacklogSize: Size(
      "Bytes of batches that may wait to be applied, on the disk or in Redis; beyond it batches get 503. By default a million activities of usual size.",
      { default: "256mb" },
    ),
    maxSize: Type.Union([Size("A size."), Type.Null()], {
      default: null,
      description:
        "Bytes that the database with tables, queue and log may have; beyond it batches get 503, and what is refused leaves no row in the log. null: as much as the disk holds. Set it where callers need no key.",
    }),
    attempts: Type.Integer({
      minimum: 1,
      maximum: 100,
      default: 10,
      description:
        "How often an activity is tried that can't be applied (no space, a lock), before it counts as failed. While a sink can't be reached nothing is given up.",
    }),
    baseDelay: Duration("The wait before the second attempt; it doubles with each.", { default: "500ms" }),
    maxDelay: Duration("The longest wait between attempts.", { default: "1m" }),
    keepFor: Type.Union([Duration("A duration."), Type.Null()], {
      default: "30d",
      description: "How long the log of activities, their ids and what failed are kept, ids for a day at least; null: for ever.",
    }),
  },
  "Takes batches of inserts and deletes by POST, and applies them to tables, each once.",
);
export type ActivitiesConfig = Static<typeof ActivitiesConfig>;

/** Gives the faults of these settings. `databasePath`: the file of the gateway's own database. */
function activitiesFaults(activities: ActivitiesConfig, known: Known, databasePath: string): Fault[] {
  const faults = [
    ...limitFaults(activities.limits, ["activities", "limits"]),
    ...moneyFaults(activities.limits, ["activities", "limits"], "activities cost no money"),
  ];
  const say = (path: Path, message: string) => faults.push({ path: ["activities", ...path], message });
  if (shareFiles(activitiesPathOf(activities.path, databasePath), databasePath))
    say(
      activities.path === null ? [] : ["path"],
      "leads to the gateway's own database, where whoever may send activities could make themselves admin: name another file by activities.path",
    );
  const wrong = pathFault(activities.endpoint);
  if (wrong !== null) say(["endpoint"], wrong);
  else if (isReserved(activities.endpoint, { ...known, activities: null })) say(["endpoint"], "is served by another part of Sluice");
  faults.push(...destinationFaults(activities, activitiesPathOf(activities.path, databasePath), databasePath));
  faults.push(...accessFaults(activities, known, ["activities"]));
  for (const field of ["baseDelay", "maxDelay"] as const) faults.push(...timeFaults(activities[field], ["activities", field]));
  if (activities.keepFor !== null && parseDuration(activities.keepFor) < 60_000) say(["keepFor"], "must be at least 1m");
  return faults;
}

const schema = Type.Union([ActivitiesConfig, Type.Null()], {
  default: null,
  description: "Validated ingestion into tables; null: off.",
});

export const activitiesSection: Section<"activities", typeof schema> = {
  name: "activities",
  schema,
  restart: { fields: ["path", "queue", "sinks"] },
  faults: (activities, known, { storage }) => (activities === null ? [] : activitiesFaults(activities, known, storage.path)),
  warnings: (activities, { config }) =>
    activities === null ? [] : [...accessWarnings(config, activities, "activities", ["activities"]), ...destinationWarnings(activities)],
};
