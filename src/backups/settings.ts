import { Type } from "@sinclair/typebox";
import type { Section } from "../config/section.ts";
import { Duration, Shape } from "../schema/fields.ts";
import { YEAR } from "../schema/rules.ts";
import { parseDuration } from "../values/units.ts";

const schema = Type.Union(
  [
    Shape(
      {
        every: Duration("How often a copy of the database is made: at the start if the last one is older, then again and again.", {
          default: "1d",
        }),
        keep: Type.Integer({ minimum: 1, maximum: 10_000, default: 7, description: "How many are kept; older ones are deleted." }),
        path: Type.String({
          default: "backups",
          minLength: 1,
          description:
            "The folder for them; a relative one lies in the database's folder, so that it is where the gateway may write. Another disk survives more.",
        }),
      },
      "Scheduled backups.",
    ),
    Type.Null(),
  ],
  {
    default: null,
    description: "Backups of the database that are made by themselves; null: none, since where they are kept is for you to decide.",
  },
);

export const backupSection: Section<"backup", typeof schema> = {
  name: "backup",
  schema,
  faults: (backup) =>
    backup !== null && (parseDuration(backup.every) < 60_000 || parseDuration(backup.every) > YEAR)
      ? [{ path: ["backup", "every"], message: "must be from 1m to 366d" }]
      : [],
};
