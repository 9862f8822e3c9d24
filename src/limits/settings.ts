import { type Static, Type } from "@sinclair/typebox";
import type { Section } from "../config/section.ts";
import type { Fault, Path } from "../schema/faults.ts";
import { Duration, Shape } from "../schema/fields.ts";
import { DOLLARS, nanoOf } from "../values/money.ts";
import { parseDuration } from "../values/units.ts";
import { ALGORITHMS, algorithmsWith } from "./algorithms/registry.ts";
import { isTimezone } from "./calendar.ts";

const NAMES = algorithmsWith();
/** The algorithms that have no window, as text for people. */
export const WITHOUT_WINDOW = algorithmsWith(({ windowed }) => !windowed).join(" and ");
const ALIGNABLE = algorithmsWith(({ alignable }) => alignable).join(" and ");
const CAPACITIES = NAMES.flatMap((name) => ALGORITHMS[name].capacity ?? []);

const By = Type.String({
  pattern: "^(consumer|key|ip|route|global|model|tool|(header|tag):[!#$%&'*+.^_`|~0-9A-Za-z-]+)$",
  description: "What is counted separately.",
  expects: '"consumer", "key", "ip", "route", "global", "model", "tool", "header:NAME" or "tag:NAME"',
});

/** Gives the schema of a limit's number: of requests or what they use a whole number from `minimum` on, of money an amount in dollars. */
const Amount = (minimum: number, description: string, examples: readonly (number | string)[]) =>
  Type.Union(
    [
      Type.Integer({ minimum, maximum: 1e12 }),
      Type.String({ pattern: DOLLARS, expects: 'an amount in dollars such as "25.00", of at most 999999.999999999' }),
    ],
    { description, examples: [...examples] },
  );

export const LimitConfig = Shape(
  {
    name: Type.Optional(
      Type.String({
        pattern: "^[ -~]{1,64}$",
        description: "How the limit is called in headers and errors. By default after its window: per-minute.",
        expects: "1 to 64 printable ASCII characters",
      }),
    ),
    algorithm: Type.Union(
      NAMES.map((name) => Type.Literal(name)),
      { description: NAMES.map((name) => `${name}: ${ALGORITHMS[name].summary}.`).join(" ") },
    ),
    limit: Amount(1, 'How many per window, or at a time; with "cost": "usd" how many dollars per window, as text.', [100, "25.00"]),
    window: Type.Optional(
      Duration(`The span that is counted; every algorithm but ${WITHOUT_WINDOW} needs one. 1ms to 366d.`, { examples: ["1m"] }),
    ),
    burst: Type.Optional(Amount(1, `${["What is allowed while the system is NORMAL instead of limit", ...CAPACITIES].join("; ")}.`, [150])),
    degraded: Type.Optional(Amount(0, "What is allowed while the system is DEGRADED instead of limit.", [50])),
    align: Type.Optional(
      Type.Literal("clock", { description: `Windows begin at multiples of the window since 1970 (${ALIGNABLE} only).` }),
    ),
    by: Type.Optional(
      Type.Union([By, Type.Array(By, { minItems: 1, maxItems: 6 })], {
        description:
          "Whose requests are counted together: consumer (default with a key), key, ip (default without), route, global, model (that a request names), tool (that it calls by MCP; other requests are not counted), header:NAME, tag:NAME (what a plug-in says), or a list of these.",
        expects: '"consumer", "key", "ip", "route", "global", "model", "tool", "header:NAME", "tag:NAME" or a list of these',
      }),
    ),
    cost: Type.Optional(
      Type.Union([Type.Integer({ minimum: 1, maximum: 1e9 }), Type.Literal("usage"), Type.Literal("usd")], {
        description:
          "What one request costs here, instead of the route's cost. \"usage\": what its response reports (see a route's usage); a request is let through while the route's cost is left. \"usd\": dollars, by the model's price (see prices): what it may cost at most is taken before it is sent, and what it has cost stays.",
        expects: 'a number from 1 to 1000000000, "usage" or "usd"',
        examples: ["usage", "usd"],
      }),
    ),
    shadow: Type.Optional(Type.Boolean({ description: "Counts and reports, but never denies: for trying a limit out." })),
  },
  "One limit.",
);
export type LimitConfig = Static<typeof LimitConfig>;

/** Gives the schema of a list of limits. */
export const Limits = (description: string, more: object = {}) => Type.Array(LimitConfig, { maxItems: 16, description, ...more });

export const QuotaConfig = Shape(
  {
    name: Type.Optional(
      Type.String({
        pattern: "^[ -~]{1,64}$",
        description: "How it is called in headers and errors. By default daily, weekly or monthly.",
        expects: "1 to 64 printable ASCII characters",
      }),
    ),
    limit: Amount(1, 'How many in a period; with "cost": "usd" how many dollars, as text.', [10_000, "25.00"]),
    period: Type.Union([Type.Literal("day"), Type.Literal("week"), Type.Literal("month")], { description: "A period of the calendar." }),
    cost: Type.Optional(
      Type.Union([Type.Literal("usage"), Type.Literal("usd")], {
        description:
          '"usage": counts what responses report (see a route\'s usage), instead of the route\'s cost. "usd": counts dollars, by the price of the model that a request names (see prices).',
        expects: '"usage" or "usd"',
      }),
    ),
    timezone: Type.Optional(
      Type.String({ maxLength: 64, description: "The zone whose calendar it is; UTC by default.", examples: ["Europe/Berlin"] }),
    ),
    anchor: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: 31,
        description: "The day on which a week (1, the default, is Monday) or a month begins; in a shorter month its last day.",
      }),
    ),
  },
  "So many in a period of the calendar; it survives restarts.",
);
export type QuotaConfig = Static<typeof QuotaConfig>;

/** Gives the schema of one quota, several beside each other, or none. */
export const Quotas = (description: string) =>
  Type.Union([QuotaConfig, Type.Array(QuotaConfig, { maxItems: 8 }), Type.Null()], { default: null, description });

/** Gives quotas as a list, whether one, several or none are given. */
export const quotaList = (quota: QuotaConfig | readonly QuotaConfig[] | null | undefined): readonly QuotaConfig[] =>
  quota === null || quota === undefined ? [] : Array.isArray(quota) ? quota : [quota as QuotaConfig];

const YEAR = 366 * 86_400_000;

/** The fields of a limit that hold so many units, or so much money. */
const AMOUNTS = ["limit", "burst", "degraded"] as const;

/** Gives a limit's number as it is counted: dollars, which are text, in nano-dollars. */
export const amountOf = (amount: number | string): number => (typeof amount === "number" ? amount : (nanoOf(amount) ?? 0));

/** Gives the faults of an amount beside the `cost` of its limit or quota: dollars are text, and everything else is a number. */
function amountFaults(cost: LimitConfig["cost"], amount: number | string | undefined, path: Path): Fault[] {
  if (amount === undefined) return [];
  const isText = typeof amount === "string";
  if (cost === "usd" && !isText)
    return [{ path, message: `must be an amount in dollars, in quotes: ${JSON.stringify(amount.toFixed(2))}` }];
  if (cost !== "usd" && isText)
    return [{ path, message: `must be a number without quotes; an amount in dollars needs "cost": "usd" beside it` }];
  if (isText && path.at(-1) !== "degraded" && amountOf(amount) === 0) return [{ path, message: "must be more than 0 dollars" }];
  return [];
}

/** Gives the faults of limits that the schema can't express: how their fields depend on each other. Paths begin with `at`. */
export function limitFaults(limits: readonly LimitConfig[], at: Path): Fault[] {
  return limits.flatMap((limit, i) => {
    const faults: Fault[] = [];
    const say = (field: keyof LimitConfig, message: string) => faults.push({ path: [...at, i, field], message });
    const { algorithm } = limit;
    const { windowed, holds, capacity, alignable, max, notMoney } = ALGORITHMS[algorithm];
    if (!windowed) {
      if (limit.window !== undefined) say("window", `a ${algorithm} limit has no window`);
    } else if (limit.window === undefined) say("window", `is required for ${algorithm}`);
    else if (parseDuration(limit.window) < 1 || parseDuration(limit.window) > YEAR) say("window", "must be from 1ms to 366d");
    for (const field of AMOUNTS) faults.push(...amountFaults(limit.cost, limit[field], [...at, i, field]));
    const most = Math.max(amountOf(limit.limit), amountOf(limit.burst ?? 0));
    if (limit.burst !== undefined && capacity === null && amountOf(limit.burst) < amountOf(limit.limit))
      say("burst", `must be at least the limit, ${limit.limit}`);
    if (limit.cost === "usage" && holds) say("cost", `a ${algorithm} limit counts requests, not what they use`);
    if (limit.cost === "usd" && notMoney !== null) say("cost", `can't be money for ${algorithm}, ${notMoney}`);
    if (limit.align !== undefined && !alignable) say("align", `is for ${ALIGNABLE} only`);
    if (max !== null && limit.cost !== "usd" && most > max.limit)
      say("limit", `must be at most ${max.limit} for ${algorithm}, ${max.because}`);
    return faults;
  });
}

/** Gives the faults of limits in money that stand where nothing costs money. `advice`: what to do about it. Paths begin with `at`. */
export const moneyFaults = (limits: readonly LimitConfig[], at: Path, advice: string): Fault[] =>
  limits.flatMap(({ cost }, i): Fault[] => (cost === "usd" ? [{ path: [...at, i, "cost"], message: `never holds here: ${advice}` }] : []));

/** Gives the faults of a quota that the schema can't express. Paths begin with `at`. */
export function quotaFaults(quota: readonly QuotaConfig[] | QuotaConfig | null | undefined, at: Path): Fault[] {
  return quotaList(quota).flatMap(({ limit, cost, period, timezone = "UTC", anchor = 1 }, i) => {
    const here = Array.isArray(quota) ? [...at, i] : at;
    const faults: Fault[] = amountFaults(cost, limit, [...here, "limit"]);
    if (!isTimezone(timezone))
      faults.push({ path: [...here, "timezone"], message: `must be a zone such as "Europe/Berlin", got ${JSON.stringify(timezone)}` });
    if (period === "week" && anchor > 7) faults.push({ path: [...here, "anchor"], message: "must be a weekday: 1 is Monday, 7 is Sunday" });
    if (period === "day" && anchor !== 1) faults.push({ path: [...here, "anchor"], message: "is for weeks and months" });
    return faults;
  });
}

/** Describes how limits' counts are kept. */
export const LimitsConfig = Shape(
  {
    maxSubjects: Type.Integer({
      minimum: 1,
      maximum: 100_000_000,
      default: 1_000_000,
      description:
        "How many subjects surely have room; beyond it those go first whose windows end first. Without Redis the room, about 110 to 220 bytes for each, is made when the gateway starts: another number counts from the next start on, at which windows of less than an hour begin anew.",
    }),
  },
  "How limits are kept.",
  { default: {} },
);

export const limitsSection: Section<"limits", typeof LimitsConfig> = { name: "limits", schema: LimitsConfig };
