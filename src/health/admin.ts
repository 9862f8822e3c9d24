import { Type } from "@sinclair/typebox";
import { Elysia } from "elysia";
import { durationOf, timeText } from "../admin/manners.ts";
import type { Audit } from "../audit/audit.ts";
import { DURATION_PATTERN } from "../config/units.ts";
import type { HealthState, SystemHealth } from "./health.ts";

const Status = Type.Union([Type.Literal("NORMAL"), Type.Literal("DEGRADED")], {
  description: "NORMAL, or DEGRADED: then each limit's `degraded` number is in force.",
});

const Answer = Type.Object({
  status: Status,
  since: Type.String({ description: "Since when, RFC 3339." }),
  by: Type.String({ description: "Who set it: an admin token's name, auto, ttl or start." }),
  reason: Type.Union([Type.String(), Type.Null()]),
  until: Type.Union([Type.String(), Type.Null()], { description: "When it returns to NORMAL by itself." }),
  changes: Type.Integer({ description: "Changes between NORMAL and DEGRADED since the start." }),
  components: Type.Record(Type.String(), Type.String(), {
    description: "ok, degraded or failing, for each part of the gateway: the database, the upstreams.",
  }),
});

/** `components` gives each part's state now. */
export const healthAdmin = (health: SystemHealth, components: () => Record<string, string>, audit: Audit) => {
  const answer = (state: HealthState) => ({
    ...state,
    since: timeText(state.since) ?? "",
    until: timeText(state.until),
    components: components(),
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
            ttl: Type.Optional(
              Type.String({
                pattern: DURATION_PATTERN,
                expects: 'a duration such as "10m"',
                description: "After this it returns to NORMAL by itself.",
                examples: ["10m"],
              }),
            ),
          },
          { additionalProperties: false },
        ),
        response: Answer,
        detail: { summary: "Set the system's status" },
      },
    );
};
