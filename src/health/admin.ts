import { Type } from "@sinclair/typebox";
import { Elysia } from "elysia";
import type { Audit } from "../audit/audit.ts";
import { DurationField, durationOf, Since, Time, timeText } from "../http/conventions.ts";
import type { HealthState, SystemHealth } from "./health.ts";
import type { Warnings } from "./warnings.ts";

const Status = Type.Union([Type.Literal("NORMAL"), Type.Literal("DEGRADED")], {
  description: "NORMAL, or DEGRADED: then each limit's `degraded` number is in force.",
});

const Answer = Type.Object({
  status: Status,
  since: Since("Since when."),
  by: Type.String({ description: "Who set it: an admin token's name, auto, ttl or start." }),
  reason: Type.Union([Type.String(), Type.Null()], { description: "Why." }),
  until: Time("When it returns to NORMAL by itself."),
  changes: Type.Integer({ description: "Changes between NORMAL and DEGRADED since the start." }),
  components: Type.Record(Type.String(), Type.String(), {
    description: "ok, degraded, away or failing, for each part of the gateway: the database, the upstreams.",
  }),
  warnings: Type.Array(
    Type.Object({
      code: Type.String({ description: "What kind of warning it is.", examples: ["redisAway"] }),
      message: Type.String({ description: "One sentence without names." }),
      detail: Type.Union([Type.String(), Type.Null()], { description: "The names and files that belong to it." }),
      since: Since("Since when."),
    }),
    { description: "What an operator must know though requests are served, the oldest first; as in /ready." },
  ),
});

/** The answer to the endpoint that scripts for other gateways use. */
const INSTEAD = {
  ttl_seconds: 'write "ttl" with a unit instead, such as "300s"',
  updated_by: "leave it out: the name of the admin token says who it was",
};

/** Gives the endpoints of the system's health. `components` gives each component's state now. */
export const healthAdmin = (health: SystemHealth, components: () => Record<string, string>, audit: Audit, warnings: Warnings) => {
  const answer = (state: HealthState) => ({
    ...state,
    since: timeText(state.since) ?? "",
    until: timeText(state.until),
    components: components(),
    warnings: warnings.all().map(({ since, ...warning }) => ({ ...warning, since: timeText(since) ?? "" })),
  });
  return new Elysia({ prefix: "/health", tags: ["health"], normalize: false })
    .get("/", () => answer(health.current()), { response: Answer, detail: { summary: "The system's status and its components" } })
    .post(
      "/",
      ({ body }) =>
        answer(health.set(body.status, audit.actor.name, body.reason ?? null, body.ttl === undefined ? null : durationOf(body.ttl, "ttl"))),
      {
        parse: "json",
        body: Type.Object(
          {
            status: Status,
            reason: Type.Optional(Type.String({ maxLength: 512, description: "Why." })),
            ttl: Type.Optional(DurationField("After this it returns to NORMAL by itself.", "10m")),
          },
          { additionalProperties: false, instead: INSTEAD },
        ),
        response: Answer,
        detail: { summary: "Set the system's status: NORMAL or DEGRADED" },
      },
    );
};
