import { type Static, Type } from "@sinclair/typebox";
import { Elysia } from "elysia";
import { Page, PageQuery, pageFrom, pageOf } from "../http/conventions.ts";
import type { PriceBook } from "./book.ts";
import { PriceConfig } from "./settings.ts";

/** Gives the admin API what it must know of prices. */
export interface PricesView {
  readonly book: PriceBook;
  /** Gives what the configuration in force says of prices. */
  readonly config: () => { readonly prices: unknown; readonly unpriced: "deny" | "zero" };
}

const PriceRecord = Type.Composite(
  [Type.Object({ pattern: Type.String({ description: "The model's name, or a pattern with * for any characters." }) }), PriceConfig],
  { additionalProperties: false, description: "What a model costs." },
);

const PriceList = Type.Composite([
  Type.Object({
    unpriced: Type.Union([Type.Literal("deny"), Type.Literal("zero")], {
      description: "What becomes of requests for a model without a price where money is counted.",
    }),
    source: Type.Union([Type.String(), Type.Null()], {
      description: 'The file that prices are read from, "inline" where they stand in the configuration; null: there are none.',
    }),
  }),
  Page(PriceRecord),
]);

/** Describes the answer of `GET /admin/prices`. */
export type PricesAnswer = Static<typeof PriceList>;

export const pricesAdmin = ({ book, config }: PricesView) =>
  new Elysia({ prefix: "/prices", tags: ["prices"], normalize: false }).get(
    "/",
    ({ query: { model, ...query } }) => {
      const { limit, after } = pageOf(query);
      const { current } = book;
      const { prices, unpriced } = config();
      const wanted = model === undefined ? null : (current?.patternOf(model) ?? "");
      const items = Object.entries(current?.table ?? {})
        .filter(([pattern]) => (wanted === null ? pattern > after : pattern === wanted))
        .sort(([a], [b]) => (a < b ? -1 : 1))
        .slice(0, limit + 1)
        .map(([pattern, price]) => ({ pattern, ...price }));
      const source = current === null ? null : typeof prices === "string" ? prices : "inline";
      return { unpriced, source, ...pageFrom(items, limit, ({ pattern }) => pattern) };
    },
    {
      query: Type.Composite([
        PageQuery,
        Type.Object({
          model: Type.Optional(Type.String({ description: "Only the price that holds for this model.", examples: ["gpt-5"] })),
        }),
      ]),
      response: PriceList,
      detail: {
        summary: "List prices of models",
        description:
          "Dollars for a million tokens, by the model's name or a pattern: the exact name comes first, then the longest pattern.",
      },
    },
  );
