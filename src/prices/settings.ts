import { type Static, Type } from "@sinclair/typebox";
import type { Section } from "../config/section.ts";
import type { Fault, Path } from "../schema/faults.ts";
import { Shape } from "../schema/fields.ts";
import { DOLLARS } from "../values/money.ts";
import { matchesName, NAME_PATTERN } from "../values/name-patterns.ts";
import { moneyWithoutPrices } from "./money-places.ts";

/** Gives the schema of a price: dollars for a million tokens, unless `description` says otherwise. */
const Dollars = (description: string) =>
  Type.Union([Type.String({ pattern: DOLLARS }), Type.Number({ minimum: 0, maximum: 999_999 })], {
    description,
    expects: 'dollars such as "1.25" or 1.25, with at most nine digits behind the point',
    examples: ["1.25"],
  });

/** The prices of all kinds of usage. What is missing costs what its neighbour costs, as its description says. */
const KINDS = {
  input: Type.Optional(Dollars("A million tokens of the request; left out: what inputAudio or inputImage costs, else nothing.")),
  output: Type.Optional(Dollars("A million tokens of the answer; left out: what outputImage or outputAudio costs, else nothing.")),
  cacheRead: Type.Optional(Dollars("A million tokens of the request that the provider had kept; left out: what input costs.")),
  cacheWrite: Type.Optional(Dollars("A million tokens of the request that the provider keeps; left out: what input costs.")),
  cacheWriteHour: Type.Optional(Dollars("The same for those that are kept for an hour; left out: what cacheWrite costs.")),
  reasoning: Type.Optional(Dollars("A million tokens of reasoning; left out: what output costs.")),
  inputAudio: Type.Optional(Dollars("A million tokens of sound in the request; left out: what input costs.")),
  outputAudio: Type.Optional(Dollars("A million tokens of sound in the answer; left out: what output costs.")),
  inputImage: Type.Optional(Dollars("A million tokens of pictures in the request; left out: what input costs.")),
  outputImage: Type.Optional(Dollars("A million tokens of pictures in the answer; left out: what output costs.")),
  second: Type.Optional(Dollars("A second of sound, where the provider counts seconds; left out: nothing.")),
  request: Type.Optional(Dollars("A request, besides its tokens; left out: nothing.")),
};

export const PriceConfig = Shape(
  {
    ...KINDS,
    maxOutput: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: 1e8,
        description: "The most tokens that the model answers with: reserved for requests that set no bound themselves; left out: 4096.",
        examples: [128000],
      }),
    ),
    over: Type.Optional(
      Type.Array(
        Shape(
          {
            context: Type.Integer({
              minimum: 1,
              maximum: 1e9,
              description: "Tokens of the request beyond which these prices hold for the whole call.",
              examples: [200000],
            }),
            ...KINDS,
          },
          "Prices of long requests; what is left out costs the same as in short ones.",
        ),
        { maxItems: 8, description: "Other prices for long requests." },
      ),
    ),
  },
  "What a model costs.",
);
export type PriceConfig = Static<typeof PriceConfig>;

/** The most models that a table has: whoever has more prices than that lists models that nobody calls. */
const MAX_PRICES = 10_000;

/** A table of prices, inline or in a file of its own. */
export const PriceTable = Type.Record(Type.String({ pattern: NAME_PATTERN }), PriceConfig, {
  additionalProperties: false,
  names: "a model's name of 1 to 256 characters without blanks, or a pattern in which * stands for any characters",
  description: "Prices by the name of a model, or a pattern with *. The exact name comes first, then the longest pattern.",
});
export type PriceTable = Static<typeof PriceTable>;

const schema = Type.Union([Type.String({ minLength: 1, maxLength: 1024, pattern: "^[^\\u0000]*$" }), PriceTable, Type.Null()], {
  default: null,
  description:
    'What models cost, so that limits, quotas and budgets can count money ("cost": "usd"): a table by model, or the path of a JSON file that holds one, relative to the folder of the configuration file. null: nothing has a price.',
  expects: 'a file such as "./models.json", a table such as { "gpt-5*": { "input": "1.25", "output": "10" } }, or null',
  examples: ["./models.json"],
});

export const pricesSection: Section<"prices", typeof schema> = {
  name: "prices",
  schema,
  faults: (prices) => (prices === null || typeof prices === "string" ? [] : priceFaults(prices, ["prices"])),
  warnings: (prices, { config }) =>
    prices === null ? moneyWithoutPrices(config) : typeof prices === "string" ? [] : priceWarnings(prices, ["prices"]),
};

/** Gives the faults of a table of prices that its schema can't express. Paths begin with `at`. */
export function priceFaults(table: PriceTable, at: Path): Fault[] {
  const faults: Fault[] = [];
  if (Object.keys(table).length > MAX_PRICES) faults.push({ path: at, message: `must have at most ${MAX_PRICES} prices` });
  for (const [pattern, price] of Object.entries(table)) {
    const { over = [], maxOutput: _, ...kinds } = price;
    if (Object.keys(kinds).length === 0)
      faults.push({ path: [...at, pattern], message: 'has no price: set "input" and "output", "second" or "request"' });
    for (const [i, { context }] of over.entries())
      if (over.findIndex((other) => other.context === context) < i)
        faults.push({ path: [...at, pattern, "over", i, "context"], message: "stands here twice" });
  }
  return faults;
}

/** Tells whether the tokens of requests have a price, and those of answers none, not even zero. */
export function hasFreeAnswers({ input, inputAudio, inputImage, cacheRead, ...kinds }: PriceConfig): boolean {
  const { output, reasoning, outputAudio, outputImage } = kinds;
  const isPaidByTokens = (input ?? inputAudio ?? inputImage ?? cacheRead) !== undefined;
  return isPaidByTokens && (output ?? reasoning ?? outputAudio ?? outputImage) === undefined;
}

/**
 * Gives what is hardly meant in a table of prices: patterns of which others take all that they match, and answers that cost nothing. Paths
 * begin with `at`.
 */
export function priceWarnings(table: PriceTable, at: Path): Fault[] {
  const patterns = Object.keys(table)
    .filter((name) => name.includes("*"))
    .sort((a, b) => b.length - a.length);
  const covered = patterns.flatMap((pattern, i): Fault[] => {
    const before = patterns.slice(0, i).find((other) => matchesName(other, pattern));
    if (before === undefined) return [];
    return [{ path: [...at, pattern], message: `never holds: ${JSON.stringify(before)} is longer, and matches all that it matches` }];
  });
  const [first, ...others] = Object.keys(table).filter((name) => table[name] !== undefined && hasFreeAnswers(table[name]));
  if (first === undefined) return covered;
  const more = others.length === 0 ? "" : `, and so for ${others.length} more`;
  const message = `says nothing of "output", so that answers cost nothing: if that is meant, say "output": "0"${more}`;
  return [...covered, { path: [...at, first], message }];
}

const unpriced = Type.Union([Type.Literal("deny"), Type.Literal("zero")], {
  default: "deny",
  description:
    "What becomes of requests for a model without a price where a limit, quota or budget in usd applies. deny: 403 modelUnpriced, since nobody could tell what they cost. zero: they count as free, and a metric and the log tell.",
});

export const unpricedSection: Section<"unpriced", typeof unpriced> = { name: "unpriced", schema: unpriced };
