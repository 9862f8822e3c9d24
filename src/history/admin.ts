import { type Static, Type } from "@sinclair/typebox";
import { Elysia } from "elysia";
import { limitOf, Since, TimeParameter, timeOf, timeText } from "../http/conventions.ts";
import { invalid } from "../http/refused.ts";
import { BUCKETS } from "../telemetry/route-metrics.ts";
import type { Clock } from "../values/clock.ts";
import { type History, type HistoryQuestion, type HistorySeries, MAX_POINTS, TooMuch } from "./history.ts";
import { percentile } from "./percentile.ts";
import type { Sums } from "./sums.ts";
import { type By, DIMENSIONS, MAX_CONSUMERS, type Point, STEPS, type Step } from "./table.ts";

const DAY = 86_400_000;
/** The most series that one answer tells apart, and how many where nobody says. */
const MAX_SERIES = 50;
const SERIES = 10;
const STEP_NAMES: readonly string[] = [...Object.keys(STEPS), "auto"];

const OrNull = (description: string) => Type.Union([Type.Number(), Type.Null()], { description });
const Latency = (share: string) => OrNull(`Milliseconds that ${share} of the requests did not exceed; null where latency is not known.`);

const Counted = {
  requests: Type.Integer({ description: "Requests that have ended; by=refusal: those that were refused with this code." }),
  clientErrors: OrNull("Answered with 4xx, other than 429; null by consumer."),
  errors: OrNull("Answered with 5xx; by route, those that their callers left before there was an answer as well. null by refusal."),
  limited: OrNull("Answered with 429; by consumer, those that limits and quotas refused. null by refusal."),
  p50: Latency("half"),
  p95: Latency("95 %"),
  p99: Latency("99 %"),
};
const Item = Type.Object({
  time: Since("When the minute or hour begins."),
  seconds: Type.Number({
    description:
      "How much of it somebody counted: less where the gateway began or ended within it. A minute or hour in which nobody did is missing.",
  }),
  rate: Type.Number({ description: "Requests a second, of these seconds." }),
  ...Counted,
});
const Items = Type.Array(Item, { description: "The minutes or hours in which somebody counted, the oldest first." });
const Total = Type.Object(Counted, { description: "The whole time together." });
const Answer = Type.Object({
  step: Type.Union([Type.Literal("1m"), Type.Literal("1h")], { description: "What one item stands for." }),
  from: Since("When the first of them begins."),
  to: Since("When the last of them ends."),
  by: Type.Union([Type.Literal("route"), Type.Literal("consumer"), Type.Literal("refusal"), Type.Null()], {
    description: "What is told apart; null: nothing.",
  }),
  total: Total,
  items: Items,
  series: Type.Array(
    Type.Object({
      name: Type.Union([Type.String(), Type.Null()], {
        description: "The route, consumer or code. null: callers whom nothing names, or the others.",
      }),
      others: Type.Boolean({ description: "true: all that have no series of their own, together." }),
      total: Total,
      items: Items,
    }),
    { description: "With ?by=: the busiest, and the others last. Empty where one is asked for by its name." },
  ),
});

/** Describes the answer of `GET /admin/history`. */
export type HistoryResponse = Static<typeof Answer>;

const rounded = (value: number): number => Math.round(value * 1000) / 1000;

/** Gives what was counted as the API tells it: null for what is not counted by this dimension. */
function counted(by: By | null, { requests, clientErrors, errors, limited, latency }: Sums) {
  const share = (of: number): number | null => {
    const value = percentile(latency, BUCKETS, of);
    return value === null ? null : rounded(value);
  };
  const isRoute = by === null || by === "route";
  return {
    requests,
    clientErrors: isRoute ? clientErrors : null,
    errors: by === "refusal" ? null : errors,
    limited: by === "refusal" ? null : limited,
    ...{ p50: share(0.5), p95: share(0.95), p99: share(0.99) },
  };
}

const itemOf =
  (by: By | null) =>
  ({ time, covered, sums }: Point) => ({
    time: timeText(time) ?? "",
    seconds: covered / 1000,
    rate: covered > 0 ? rounded((sums.requests * 1000) / covered) : 0,
    ...counted(by, sums),
  });

const seriesOf = (by: By | null, { name, total, items }: HistorySeries) => ({
  name: name === "" ? null : name,
  others: name === null,
  total: counted(by, total),
  items: items.map(itemOf(by)),
});

type Query = { readonly [name in "from" | "to" | "step" | "by" | "name" | "limit"]?: string | undefined };

const fault = (path: string, message: string) => invalid([{ path: [path], message }]);

/** Reads a question. Throws 422 with what is wrong with it. */
function questionOf(query: Query, now: number): HistoryQuestion {
  const { step = "auto", by, name } = query;
  if (!STEP_NAMES.includes(step)) throw fault("step", `must be ${STEP_NAMES.join(", ")}, got ${JSON.stringify(step)}`);
  if (by !== undefined && !DIMENSIONS.includes(by as By))
    throw fault("by", `must be one of ${DIMENSIONS.join(", ")}, got ${JSON.stringify(by)}`);
  if (name !== undefined && by === undefined) throw fault("name", "needs ?by=, which says what it is the name of");
  const limit = limitOf(query, MAX_SERIES, SERIES);
  const to = timeOf(query, "to") ?? now + 1;
  const from = timeOf(query, "from") ?? to - DAY;
  if (from >= to) throw fault("from", "must be before `to`");
  // Checked above.
  return { from, to, step: step as Step | "auto", by: (by as By | undefined) ?? null, name: name ?? null, limit };
}

export interface HistoryAdminDeps {
  readonly history: History;
  readonly clock: Clock;
}

/** Answers with rates, latencies and refusals over time. */
export const historyAdmin = ({ history, clock }: HistoryAdminDeps) =>
  new Elysia({ prefix: "/history", tags: ["history"], normalize: false }).get(
    "/",
    ({ query }) => {
      const question = questionOf(query, clock.wall());
      const { by } = question;
      try {
        const { step, from, to, whole, series } = history.answer(question);
        const { total, items } = seriesOf(by, whole);
        return {
          ...{ step: STEPS[step].text, from: timeText(from) ?? "", to: timeText(to) ?? "", by, total, items },
          series: series.map((each) => seriesOf(by, each)),
        };
      } catch (error) {
        if (!(error instanceof TooMuch)) throw error;
        throw fault(
          "from",
          `makes an answer of ${error.points} items, and there may be ${MAX_POINTS}: ask for a shorter time, for hours (step=hour), for fewer at once (limit), or for one by its name`,
        );
      }
    },
    {
      query: Type.Object({
        from: TimeParameter("From the minute or hour of this time on, RFC 3339; a day before `to` by default."),
        to: TimeParameter("Before this time, RFC 3339; now by default."),
        step: Type.Optional(
          Type.String({
            description: "minute, kept for a day; hour (UTC), kept for 90 days; auto: minute for up to 6 hours of the last day.",
            shown: { enum: STEP_NAMES, default: "auto" },
          }),
        ),
        by: Type.Optional(Type.String({ description: "What is told apart.", shown: { enum: DIMENSIONS } })),
        name: Type.Optional(
          Type.String({
            description: "Only this route, consumer or code, as `by` says; empty with by=consumer: callers whom nothing names.",
          }),
        ),
        limit: Type.Optional(
          Type.String({
            description: `The most series: 1 to ${MAX_SERIES}, ${SERIES} by default. Who calls most in the last 48 hours of the time comes first.`,
            shown: { type: "integer", minimum: 1, maximum: MAX_SERIES },
          }),
        ),
      }),
      response: Answer,
      detail: {
        summary: "Rates, latencies and refusals over time",
        description: `What this instance has counted, all of its processes together, up to now: per minute for a day, per hour for 90 days. Of consumers the ${MAX_CONSUMERS} busiest of each minute and hour are told apart. Percentiles are found by interpolation in the buckets of \`http_request_latency_ms\`. An answer holds ${MAX_POINTS.toLocaleString("en")} items at most.`,
      },
    },
  );
