import { type Static, Type } from "@sinclair/typebox";
import { Elysia } from "elysia";
import type { Config } from "../config/schema.ts";
import type { Route } from "../exchange/route.ts";
import { Time, timeText } from "../http/conventions.ts";
import { nanoOfPrice, type Price } from "../prices/price.ts";
import type { Sample } from "../values/family.ts";
import { dollarsOf } from "../values/money.ts";
import { type AttemptName, keyOf, type LastFailure } from "./last-failures.ts";

const Attempt = Type.Object(
  {
    upstream: Type.String({ description: "Who is asked." }),
    model: Type.String({ description: "What the upstream calls the model." }),
    pool: Type.Union([Type.String(), Type.Null()], { description: "The pool whose keys it is asked with." }),
    weight: Type.Integer({ description: "How often it is asked first, beside the others." }),
    fallback: Type.Boolean({ description: "Whether it is asked only after all others have failed." }),
    price: Type.Union(
      [
        Type.Object({
          input: Type.Number({ description: "A million tokens of the request." }),
          output: Type.Number({ description: "A million tokens of the answer." }),
          unit: Type.Literal("usd", { description: "Dollars." }),
        }),
        Type.Null(),
      ],
      { description: "What it costs, in dollars; null: it has no price." },
    ),
    attempts: Type.Integer({ description: "How often it was asked." }),
    answered: Type.Integer({ description: "How often it had an answer." }),
    failed: Type.Record(Type.String(), Type.Integer(), {
      description: "How often it had none, by what it came to: a status, timeout, connect, budget; broken: the answer broke off later.",
      examples: [{ "429": 3, timeout: 1 }],
    }),
    lastFailure: Type.Union(
      [
        Type.Object({
          at: Time("When it was."),
          outcome: Type.String({ description: "What it came to.", examples: ["429"] }),
          requestId: Type.String({ description: "The request's id, by which the log has it." }),
        }),
        Type.Null(),
      ],
      { description: "The last time that it had no answer; null: none since the start." },
    ),
  },
  { description: "One of those who may answer." },
);

const Model = Type.Object({
  name: Type.String({ description: "What callers name.", examples: ["smart"] }),
  routes: Type.Array(Type.String(), { description: "The routes on which they may." }),
  on: Type.Array(Type.String(), { description: "The outcomes after which the next one is asked." }),
  firstToken: Type.String({ description: "How long each may take until there is something to read.", examples: ["15s"] }),
  giveUpAfter: Type.String({ description: "How long all together may take to that.", examples: ["30s"] }),
  try: Type.Array(Attempt, { description: "Who may answer, as they are listed." }),
});

const Answer = Type.Object({ items: Type.Array(Model, { description: "In the order of the configuration." }) });

/** Describes the answer of `GET /admin/models`. */
export type ModelsAnswer = Static<typeof Answer>;

export interface ModelsAdminDeps {
  /** Gives the virtual models of the configuration in force. */
  readonly models: () => Config["models"];
  readonly routes: () => readonly Pick<Route, "name" | "virtualModels">[];
  /** Gives a model's price; `null`: it has none. */
  readonly priceOf: (model: string) => Price | null;
  /** Gives the counts of attempts in all processes. */
  readonly counted: () => readonly Sample[];
  /** Gives how attempts have failed last, in all processes. */
  readonly failures: () => Promise<readonly (AttemptName & LastFailure)[]>;
}

/** Gives the endpoint of virtual models. */
export const modelsAdmin = (deps: ModelsAdminDeps) =>
  new Elysia({ prefix: "/models", tags: ["models"], normalize: false }).get("/", () => shown(deps), {
    response: Answer,
    detail: {
      summary: "List virtual models",
      description: "With what became of their attempts since the start, in all processes of this gateway.",
    },
  });

async function shown({ models, routes, priceOf, counted, failures }: ModelsAdminDeps) {
  const counts = countsOf(counted());
  const last = new Map<string, LastFailure>();
  for (const failure of await failures()) {
    const key = keyOf(failure);
    if ((last.get(key)?.at ?? 0) <= failure.at) last.set(key, failure);
  }
  const items = Object.entries(models()).map(([name, { on, firstToken, giveUpAfter, try: attempts }]) => ({
    name,
    routes: routes().flatMap((route) => (route.virtualModels.has(name) ? [route.name] : [])),
    ...{ on, firstToken, giveUpAfter },
    try: attempts.map(({ upstream, model, pool = null, weight, fallback }, i) => {
      const key = keyOf({ model: name, place: i + 1, upstream, used: model });
      const { answered = 0, broken = 0, left = 0, ...failed } = counts.get(key) ?? {};
      const made = Object.values(failed).reduce((sum, each) => sum + each, answered + left);
      const failure = last.get(key);
      return {
        ...{ upstream, model, pool, weight, fallback, price: shownPrice(priceOf(model)), attempts: made, answered },
        failed: broken === 0 ? failed : { ...failed, broken },
        lastFailure: failure === undefined ? null : { at: timeText(failure.at), outcome: failure.outcome, requestId: failure.requestId },
      };
    }),
  }));
  return { items };
}

/** Gives how often each attempt came to what; what it never came to is left out. */
function countsOf(samples: readonly Sample[]): ReadonlyMap<string, Readonly<Record<string, number>>> {
  const counts = new Map<string, Record<string, number>>();
  for (const { labels, value } of samples) {
    const { model = "", place = "", upstream = "", used = "", outcome = "" } = labels as Readonly<Record<string, string>>;
    const key = keyOf({ model, place: Number(place), upstream, used });
    const of = counts.get(key) ?? {};
    if (value > 0) of[outcome] = value;
    counts.set(key, of);
  }
  return counts;
}

const shownPrice = (price: Price | null) =>
  price === null
    ? null
    : {
        input: Number(dollarsOf(nanoOfPrice(price.config.input) ?? 0)),
        output: Number(dollarsOf(nanoOfPrice(price.config.output) ?? 0)),
        unit: "usd" as const,
      };
