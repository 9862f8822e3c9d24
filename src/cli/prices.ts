import { readFileSync } from "node:fs";
import { print } from "../telemetry/stdout.ts";
import { type Command, type Input, UsageError } from "./arguments.ts";
import { dollars } from "./models.ts";
import { askAll, listedByItself, REMOTE_FLAGS, RemoteFault, remotely, table } from "./remote.ts";

/** The most bytes of a list that is imported: those that are known have a thirtieth of that. */
const MAX_BYTES = 128_000_000;

export const prices: Command = {
  name: "prices",
  usage: "prices [list [MODEL]] | import models.dev|litellm FILE [--models A,B] [--provider A,B]",
  summary:
    'Lists the prices of a running gateway, or imports a public list of prices. Lists, in dollars for a million tokens, all of them, or the one that holds for a model. Import makes a table of a list that others keep, for "prices" in the configuration, and prints it: api.json of https://models.dev, or model_prices_and_context_window.json of LiteLLM. Fetch the list yourself; FILE may be - for stdin. What is not carried over is told on stderr. Exit status 1 when the file is no such list, or no model of it is meant.',
  flags: [
    ...REMOTE_FLAGS,
    { name: "models", value: "A,B", help: "to import: only these models, as in gpt-5*,claude-*" },
    { name: "provider", value: "A,B", help: "to import: only those of these providers, as in openai,anthropic" },
  ],
  actions: ["list", "import"],
  positionals: 3,
  run: async (input) => {
    const [action, named, more] = listedByItself(input).positionals;
    if (action !== "list") return await importList(input);
    const [importing] = ["models", "provider"].filter((name) => input.flags[name] !== undefined);
    if (importing !== undefined) throw new UsageError(`--${importing} is for prices import; the price of one model: prices list MODEL`);
    if (more !== undefined) throw new UsageError(`unexpected argument ${JSON.stringify(more)}`);
    return await remotely(() => listPrices(input, named));
  },
};

/** Prints the table of prices that is made of a list. Gives the exit status. Throws `UsageError`. */
async function importList({ positionals: [action, list, file], flags }: Input): Promise<number> {
  // Nobody else needs the importers.
  const { importPrices, NoPriceList, PRICE_LISTS } = await import("../imports/prices.ts");
  const known = PRICE_LISTS.find((name) => name === list);
  if (action !== "import" || known === undefined)
    throw new UsageError(`say what is done: prices list, or prices import ${PRICE_LISTS.join("|")} FILE`);
  if (file === undefined) throw new UsageError(`a file is needed: sluice prices import ${known} FILE`);
  if (/^https?:\/\//.test(file)) throw new UsageError(`a file is needed, not an address: curl -o list.json ${file}`);
  const fail = (message: string): number => {
    process.stderr.write(`sluice: ${file}: ${message}\n`);
    return 1;
  };
  try {
    const bytes = readFileSync(file === "-" ? 0 : file);
    if (bytes.length > MAX_BYTES) return fail(`has more than ${MAX_BYTES} bytes`);
    const wanted = { models: listOf(flags.models), providers: listOf(flags.provider) };
    const { table, notes } = importPrices(known, JSON.parse(bytes.toString("utf8")), wanted);
    if (Object.keys(table).length === 0) return fail("has no price of such a model: look at --models and --provider");
    for (const note of notes) process.stderr.write(`sluice: ${note}\n`);
    print(`${JSON.stringify(table, null, 2)}\n`);
    return 0;
  } catch (error) {
    if (error instanceof NoPriceList) return fail(error.message);
    if (error instanceof SyntaxError) return fail(`is not JSON: ${error.message}`);
    if (error instanceof Error && "syscall" in error) return fail(`can't be read: ${error.message}`);
    throw error;
  }
}

const COLUMNS = ["pattern", "input", "output", "cacheRead", "cacheWrite", "reasoning", "request", "maxOutput"];

/** Lists prices: all of them, or the one that holds for a model. */
async function listPrices(input: Input, model: string | undefined): Promise<void> {
  const rows = await askAll(input, `/admin/prices?${new URLSearchParams(model === undefined ? {} : { model })}`);
  if (model !== undefined && rows.length === 0 && input.flags.json !== true)
    throw new RemoteFault(`no price holds for ${JSON.stringify(model)}`);
  table(input, input.flags.json === true ? rows : rows.map(inDollars), COLUMNS);
}

/** Gives a row with the dollars as people write them: a price may be a text or a number. */
const inDollars = ({ pattern, maxOutput, ...prices }: Readonly<Record<string, unknown>>): Record<string, unknown> => ({
  ...{ pattern, maxOutput },
  ...Object.fromEntries(Object.entries(prices).map(([name, price]) => [name, dollars(price)])),
});

const listOf = (text: string | true | undefined): string[] =>
  typeof text !== "string"
    ? []
    : text
        .split(",")
        .map((each) => each.trim())
        .filter((each) => each !== "");
