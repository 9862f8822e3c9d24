import { type Static, Type } from "@sinclair/typebox";
import type { Section } from "../config/section.ts";
import type { Fault } from "../schema/faults.ts";
import { Duration, Shape } from "../schema/fields.ts";
import { parseDuration } from "../values/units.ts";

/** Levels of the log, as in pino. */
export const LEVELS = ["trace", "debug", "info", "warn", "error", "fatal", "silent"] as const;
export type Level = (typeof LEVELS)[number];
export const LevelName = (more: object = {}) =>
  Type.Unsafe<Level>(
    Type.Union(
      LEVELS.map((level) => Type.Literal(level)),
      { description: "The least severe lines of the log that are written.", ...more },
    ),
  );

export const LoggingConfig = Shape(
  {
    level: LevelName({ default: "info" }),
    format: Type.Union([Type.Literal("auto"), Type.Literal("json"), Type.Literal("pretty")], {
      default: "auto",
      description:
        "json: one JSON object a line. pretty: a short line for people, in colour on a terminal (unless NO_COLOR is set). auto: pretty on a terminal, json otherwise.",
    }),
    accessLog: Type.Boolean({
      default: true,
      description: "A line for each request: at info, or at error where it was answered with 5xx.",
    }),
    accessLogSample: Type.Number({
      minimum: 0,
      maximum: 1,
      default: 1,
      description: "The share of requests with a status below 400 that get one; all others do.",
      expects: "a number from 0 to 1",
      examples: [0.01],
    }),
  },
  "The log, on stdout.",
  { default: {} },
);
export type LoggingConfig = Static<typeof LoggingConfig>;

export const loggingSection: Section<"logging", typeof LoggingConfig> = { name: "logging", schema: LoggingConfig };

export const OtlpConfig = Shape(
  {
    endpoint: Type.String({
      pattern: "^https?://[^\\s?#@]+$",
      maxLength: 2048,
      description: "The collector: OTLP over HTTP. /v1/traces is added to it where it is not there.",
      expects: 'a URL such as "http://localhost:4318", without user, password and query: secrets go into headers',
      secret: true,
      isUrl: true,
      examples: ["http://localhost:4318"],
    }),
    headers: Type.Record(
      Type.String({ pattern: "^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}$" }),
      Type.String({ pattern: "^[\\t -~\\u0080-\\u00ff]{0,8192}$", expects: "one line of text", secret: true }),
      {
        additionalProperties: false,
        default: {},
        description: 'Header fields for the collector. Take secrets from the environment: "Bearer ${OTLP_TOKEN}".',
      },
    ),
    sample: Type.Number({
      minimum: 0,
      maximum: 1,
      default: 1,
      description: "The share of requests that are traced. Where a caller's traceparent says whether it records, that is followed.",
      expects: "a number from 0 to 1",
      examples: [0.05],
    }),
    serviceName: Type.String({ minLength: 1, maxLength: 256, default: "sluice", description: "service.name of the traces." }),
    timeout: Duration("How long one export may take, its repetitions included.", { default: "10s" }),
  },
  "Traces to a collector by OTLP.",
);
export type OtlpConfig = Static<typeof OtlpConfig>;

export const TelemetryConfig = Shape(
  {
    otlp: Type.Union([OtlpConfig, Type.Null()], { default: null, description: "Exports traces; null: requests are not traced." }),
  },
  "What is told to others.",
  { default: {} },
);

export const telemetrySection: Section<"telemetry", typeof TelemetryConfig> = {
  name: "telemetry",
  schema: TelemetryConfig,
  faults: ({ otlp }) => {
    if (otlp === null) return [];
    const faults: Fault[] = [];
    const say = (field: string, message: string) => faults.push({ path: ["telemetry", "otlp", field], message });
    if (!URL.canParse(otlp.endpoint)) say("endpoint", `is no URL that can be called, got ${JSON.stringify(otlp.endpoint)}`);
    if (parseDuration(otlp.timeout) < 100) say("timeout", "must be at least 100ms");
    return faults;
  },
};
