import { Type } from "@sinclair/typebox";
import { Elysia } from "elysia";
import { Page, PageQuery, pageOf, TimeParameter, timeOf, timeText } from "../http/conventions.ts";
import { invalid } from "../http/refused.ts";
import { orderOf } from "../records/listing.ts";
import type { Clock } from "../values/clock.ts";
import { dollarsOf, NANO } from "../values/money.ts";
import { MAX_CALLED, MAX_NAMED } from "./intake.ts";
import { COLUMNS, DIMENSIONS, type Dimension, type Usage, type UsageRow } from "./usage.ts";

const DAY = 86_400_000;
/** The most rows of a CSV file: a spreadsheet takes no more. */
const MAX_LINES = 1_000_000;

const Counted = {
  requests: Type.Integer({ description: "Requests that have ended." }),
  errors: Type.Integer({ description: "Answered with 5xx." }),
  limited: Type.Integer({ description: "Refused with 429 by a limit or quota." }),
  tokens: Type.Integer({ description: "Units that responses reported." }),
  cost: Type.Number({ description: "Dollars that calls of models have cost, by the prices of the configuration." }),
};

const Row = Type.Object({
  time: Type.Optional(Type.String({ description: "The beginning of the hour or day, with ?per=." })),
  consumer: Type.Optional(
    Type.String({
      description: "With ?by=consumer; empty for callers whom nothing names; others of NAME: further callers with tokens of this issuer.",
    }),
  ),
  key: Type.Optional(Type.String({ description: "With ?by=key; empty for callers without a key." })),
  route: Type.Optional(Type.String({ description: "With ?by=route." })),
  model: Type.Optional(
    Type.String({
      description:
        "With ?by=model: the model that answered, as its upstream calls it, or that the caller named where none was asked; empty for requests that named none; other: further names that the configuration does not have.",
    }),
  ),
  tool: Type.Optional(Type.String({ description: "With ?by=tool: the tool that was called; empty for none; other: as of models." })),
  ...Counted,
});

const toJson = ({ time, cost, ...row }: UsageRow) => ({
  ...(time === undefined ? {} : { time: timeText(time) ?? "" }),
  ...row,
  cost: cost / NANO,
});

const cell = (value: unknown): string => {
  const text = String(value);
  // A cell that begins like a formula would be one in a spreadsheet.
  const safe = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
};

/** Writes rows as CSV (RFC 4180). */
function csv(rows: readonly UsageRow[], columns: readonly string[]): string {
  const lines = rows.map((row) => {
    // Numbers would be written as 1e-7.
    const values = { ...toJson(row), cost: dollarsOf(row.cost) } as Record<string, unknown>;
    return columns.map((column) => cell(values[column])).join(",");
  });
  return `${[columns.join(","), ...lines].join("\r\n")}\r\n`;
}

export const usageAdmin = (usage: Usage, clock: Clock) =>
  new Elysia({ prefix: "/usage", tags: ["usage"], normalize: false }).get(
    "/",
    ({ query, set }) => {
      const to = timeOf(query, "to") ?? clock.wall() + 1;
      const by = (query.by ?? "").split(",").filter((name) => name !== "");
      const unknown = by.find((name) => !DIMENSIONS.includes(name as Dimension));
      if (unknown !== undefined)
        throw invalid([{ path: ["by"], message: `must be of ${DIMENSIONS.join(", ")}, got ${JSON.stringify(unknown)}` }]);
      const { per: span, format } = query;
      const per: "hour" | "day" | null = span === "hour" || span === "day" ? span : null;
      if (per === null && span !== undefined) throw invalid([{ path: ["per"], message: 'must be "hour" or "day"' }]);
      if (format !== undefined && format !== "csv" && format !== "json")
        throw invalid([{ path: ["format"], message: 'must be "json" or "csv"' }]);
      const { limit, after } = pageOf(query);
      const offset = after === "" ? 0 : Number(after);
      if (!Number.isSafeInteger(offset)) throw invalid([{ path: ["cursor"], message: "is not a cursor that a list gave" }]);
      const { consumer, key, route, model, tool, sort } = query;
      const order = sort === undefined ? undefined : orderOf(sort, COLUMNS);
      const of = { consumer, key, route, model, tool };
      const question = { of, from: timeOf(query, "from") ?? to - DAY, to, by: [...new Set(by)] as Dimension[], per, order };
      if (format === "csv") {
        set.headers["content-type"] = "text/csv; charset=utf-8";
        const columns = [...(per === null ? [] : ["time"]), ...question.by, ...Object.keys(Counted)];
        return csv(usage.sums({ ...question, limit: MAX_LINES, offset: 0 }), columns);
      }
      const rows = usage.sums({ ...question, limit: limit + 1, offset });
      const nextCursor = rows.length > limit ? Buffer.from(String(offset + limit)).toString("base64url") : null;
      return { items: rows.slice(0, limit).map(toJson), nextCursor };
    },
    {
      query: Type.Object({
        consumer: Type.Optional(Type.String({ description: "Only this consumer's." })),
        key: Type.Optional(Type.String({ description: "Only this key's, by its id." })),
        route: Type.Optional(Type.String({ description: "Only this route's." })),
        model: Type.Optional(Type.String({ description: "Only calls of this model." })),
        tool: Type.Optional(Type.String({ description: "Only calls of this tool." })),
        from: TimeParameter("From the hour of this time on, RFC 3339; a day before `to` by default."),
        to: TimeParameter("Before this time, RFC 3339; now by default."),
        by: Type.Optional(
          Type.String({
            description: `What is told apart: ${DIMENSIONS.join(", ")}, or several with commas.`,
            examples: ["consumer,model"],
            shown: { pattern: `^(${DIMENSIONS.join("|")})(,(${DIMENSIONS.join("|")}))*$` },
          }),
        ),
        per: Type.Optional(
          Type.String({
            description: "hour or day (UTC): a row for each. Left out: one for the whole time.",
            shown: { enum: ["hour", "day"] },
          }),
        ),
        sort: Type.Optional(
          Type.String({
            description: "What to sort by; with `-` before it the most comes first. Left out: by time and by what is told apart.",
            examples: ["-cost"],
            shown: { enum: COLUMNS.flatMap((name) => [name, `-${name}`]) },
          }),
        ),
        format: Type.Optional(Type.String({ description: "csv for a table instead of JSON.", shown: { enum: ["json", "csv"] } })),
        ...PageQuery.properties,
      }),
      detail: {
        summary: "What consumers have used",
        description: `Counted by the hour; within a second of what has happened. Of callers that tokens or plug-ins name, ${MAX_NAMED.toLocaleString("en")} ids without a record are told apart in an hour, besides all that have one. Further ones are counted together: as \`others of NAME\` for each issuer, and as \`others by plug-ins\`. Of models and tools that the configuration does not name, ${MAX_CALLED.toLocaleString("en")} each are told apart in an hour.`,
        responses: {
          200: {
            description: "OK",
            content: {
              "application/json": {
                schema: Page(Row) as object,
              },
              "text/csv": {
                schema: { type: "string" },
                example: "consumer,requests,errors,limited,tokens,cost\r\nacme,10,0,1,5120,0.0384\r\n",
              },
            },
          },
        },
      },
    },
  );
