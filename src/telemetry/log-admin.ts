import { Type } from "@sinclair/typebox";
import { Elysia } from "elysia";
import type { Audit } from "../audit/audit.ts";
import { DurationField, durationOf, timeText } from "../http/conventions.ts";
import { invalid, refused } from "../http/refused.ts";
import type { Log, LogState } from "./log.ts";
import { LevelName } from "./settings.ts";

const Sample = Type.Number({
  expects: "a number from 0 to 1",
  minimum: 0,
  maximum: 1,
  description: "The share of requests with a status below 400 that get a line; all others do.",
});
const Count = (of: string) => Type.Integer({ description: `Lines of ${of}.` });
const Logging = Type.Object({
  level: LevelName(),
  format: Type.Union([Type.Literal("json"), Type.Literal("pretty")], { description: "How lines are written: JSON, or for people." }),
  accessLog: Type.Boolean({ description: "A line for each request." }),
  accessLogSample: Sample,
  until: Type.Union([Type.String(), Type.Null()], {
    description: "When what was set here ends by itself; null: when it is taken back, or at a restart.",
  }),
  dropped: Type.Object(
    { requests: Count("requests"), events: Count("everything else") },
    { description: "Lines that found no room since the start, because stdout is read too slowly, or not at all." },
  ),
});

/** Gives the endpoints of the log: its settings now, and the change of those that may be changed while it is written. */
export const logAdmin = (log: Log | null, audit: Audit, droppedInAll: () => Promise<LogState["dropped"]>) => {
  const there = (): Log => {
    if (log === null) throw refused("conflict", "This gateway writes no log.");
    return log;
  };
  const answer = async () => {
    const { until, dropped: _, ...settings } = there().state;
    return { ...settings, until: timeText(until), dropped: await droppedInAll() };
  };
  const change = (work: () => void) => {
    const { settings: before } = there();
    work();
    audit.note({ action: "logging.set", subject: "logging", before, after: there().settings });
    return answer();
  };
  return new Elysia({ prefix: "/logging", tags: ["logging"], normalize: false })
    .get("/", answer, { response: Logging, detail: { summary: "Get the log's settings" } })
    .patch(
      "/",
      ({ body: { ttl, ...settings } }) => {
        if (ttl === undefined && Object.keys(settings).length === 0)
          throw invalid([{ path: [], message: "must name what is to be changed: level, accessLog, accessLogSample, ttl" }]);
        const milliseconds = typeof ttl === "string" ? durationOf(ttl, "ttl") : ttl;
        return change(() => there().set(settings, milliseconds));
      },
      {
        parse: "json",
        body: Type.Object(
          {
            level: Type.Optional(LevelName({ examples: ["debug"] })),
            accessLog: Type.Optional(Type.Boolean({ description: "A line for each request." })),
            accessLogSample: Type.Optional(Sample),
            ttl: Type.Optional(
              Type.Union([DurationField("A duration.", "10m"), Type.Null()], {
                description:
                  "After this the configuration's settings hold again, all of them; null: not by themselves. Left out, an earlier one stays.",
                examples: ["10m"],
              }),
            ),
          },
          { additionalProperties: false, shown: { minProperties: 1 } },
        ),
        response: Logging,
        detail: {
          summary: "Change the log's level while the gateway runs",
          description:
            "Of this instance alone, in all of its processes. It goes before the configuration and SLUICE_LOG_LEVEL, and outlasts a reload.",
        },
      },
    )
    .delete("/", () => change(() => there().reset()), {
      response: Logging,
      detail: { summary: "Go back to the configuration's log settings" },
    });
};
