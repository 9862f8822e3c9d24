import { Type } from "@sinclair/typebox";
import type { Section } from "../config/section.ts";
import type { Fault } from "../schema/faults.ts";
import { Duration, Shape } from "../schema/fields.ts";

export const HealthConfig = Shape(
  {
    auto: Type.Union(
      [
        Shape(
          {
            eventLoopLag: Type.Union([Duration("A duration."), Type.Null()], {
              default: null,
              description: "DEGRADED when the gateway itself is that late; null: not looked at.",
            }),
            errorRate: Type.Union([Type.Number({ exclusiveMinimum: 0, maximum: 1 }), Type.Null()], {
              default: null,
              description: "DEGRADED when this share of forwarded requests fails (5xx, or no answer); null: not looked at.",
              expects: "a number above 0 up to 1, or null",
            }),
            latency: Type.Union([Duration("A duration."), Type.Null()], {
              default: null,
              description: "DEGRADED when forwarded requests take that long on average; null: not looked at.",
            }),
            for: Duration("How long a signal must be over its bound.", { default: "5s" }),
            recoverAfter: Duration("How long all must be below theirs before it is NORMAL again.", { default: "30s" }),
          },
          "When the system becomes DEGRADED by itself, and NORMAL again.",
        ),
        Type.Null(),
      ],
      { default: null, description: "Changes the system's status by itself; null: only people do." },
    ),
  },
  "The system's status.",
  { default: {} },
);

export const healthSection: Section<"health", typeof HealthConfig> = {
  name: "health",
  schema: HealthConfig,
  faults: ({ auto }) =>
    auto !== null && auto.eventLoopLag === null && auto.errorRate === null && auto.latency === null
      ? [{ path: ["health", "auto"], message: "needs at least one of eventLoopLag, errorRate and latency" }]
      : [],
};

export const ReadyConfig = Shape(
  {
    upstreams: Type.Array(Type.String({ maxLength: 128 }), {
      maxItems: 256,
      default: [],
      description:
        "Upstreams without which /ready answers 503, so that a load balancer takes this instance out of service. By default none: an instance whose backends are down still answers for itself.",
      examples: [["users"]],
    }),
  },
  "When the gateway is ready for traffic.",
  { default: {} },
);

export const readySection: Section<"ready", typeof ReadyConfig> = {
  name: "ready",
  schema: ReadyConfig,
  faults: ({ upstreams }, known) =>
    upstreams.flatMap((name, i): Fault[] =>
      known.upstreams.has(name)
        ? []
        : [{ path: ["ready", "upstreams", i], message: `there is no upstream ${JSON.stringify(name)} in this file` }],
    ),
};
