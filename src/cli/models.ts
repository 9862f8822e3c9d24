import { print } from "../telemetry/stdout.ts";
import { dollarsOf, NANO } from "../values/money.ts";
import type { Command } from "./arguments.ts";
import { act, ask, listedByItself, REMOTE_FLAGS, table } from "./remote.ts";

/** What the admin API tells of a virtual model, as far as it is shown. */
interface VirtualModel {
  readonly name: string;
  readonly routes: readonly string[];
  readonly try: readonly {
    readonly upstream: string;
    readonly model: string;
    readonly pool: string | null;
    readonly weight: number;
    readonly fallback: boolean;
    readonly price: { readonly input: number; readonly output: number } | null;
    readonly attempts: number;
    readonly answered: number;
    readonly failed: Readonly<Record<string, number>>;
  }[];
}

const ATTEMPTS = ["model", "routes", "upstream", "as", "pool", "weight", "input", "output", "attempts", "answered", "failed"];

export const models: Command = {
  name: "models",
  usage: "models [list]",
  summary:
    "Lists the virtual models of a running gateway: who is asked for each, at what price in dollars for a million tokens, and what became of it since the start.",
  flags: REMOTE_FLAGS,
  actions: ["list"],
  positionals: 1,
  run: (input) =>
    act(listedByItself(input), "models list", {
      list: async () => {
        const { items } = await ask<{ readonly items: readonly VirtualModel[] }>(input, "GET", "/admin/models");
        if (input.flags.json === true) print(`${JSON.stringify(items)}\n`);
        else table(input, items.flatMap(attemptsOf), ATTEMPTS);
      },
    }),
};

const attemptsOf = ({ name, routes, try: attempts }: VirtualModel): Record<string, unknown>[] =>
  attempts.map(({ upstream, model, pool, weight, fallback, price, attempts, answered, failed }) => ({
    ...{ model: name, routes, upstream, as: model, pool, weight: fallback ? "fallback" : weight },
    ...{ input: price === null ? "no price" : dollars(price.input), output: price === null ? "" : dollars(price.output) },
    ...{ attempts, answered },
    failed: Object.entries(failed).map(([why, count]) => `${why}: ${count}`),
  }));

/** Writes dollars that came as a number, never as 1e-7. */
export const dollars = (amount: unknown): unknown => (typeof amount === "number" ? dollarsOf(Math.round(amount * NANO)) : amount);
