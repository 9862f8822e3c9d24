import { hasFreeAnswers, type PriceConfig, type PriceTable } from "../prices/settings.ts";
import { isObject } from "../values/json.ts";
import { matchesName } from "../values/name-patterns.ts";

/** The lists of prices that can be imported. */
export const PRICE_LISTS = ["models.dev", "litellm"] as const;
export type PriceList = (typeof PRICE_LISTS)[number];

/** Says which models are meant. An empty list: all. */
export interface WantedPrices {
  /** Names of models, and patterns with `*`. */
  readonly models: readonly string[];
  readonly providers: readonly string[];
}

/** Holds a table made of a list, and what could not be carried over. */
export interface ImportedPrices {
  readonly table: PriceTable;
  readonly notes: readonly string[];
}

/** Says that a file is no such list. */
export class NoPriceList extends Error {}

/** The models that a note names. */
const MAX_NAMED = 10;

/** Describes a model as a list has it. */
interface Listed {
  readonly name: string;
  readonly provider: string;
  /** `null`: the list has no price that can be carried over. */
  readonly price: PriceConfig | null;
}

/**
 * Makes a table of prices of a list that others keep. Throws `NoPriceList`.
 *
 * @example
 * importPrices("litellm", JSON.parse(text), { models: ["gpt-5*"], providers: ["openai"] }).table;
 */
export function importPrices(list: PriceList, value: unknown, wanted: WantedPrices): ImportedPrices {
  if (!isObject(value)) throw new NoPriceList(`this is no list of ${list}: an object of its models is expected`);
  const all = list === "litellm" ? ofLiteLlm(value) : ofModelsDev(value);
  if (all.length === 0) throw new NoPriceList(`this is no list of ${list}: no model is found in it`);
  const isWanted = ({ name, provider }: Listed): boolean =>
    (wanted.models.length === 0 || wanted.models.some((pattern) => matchesName(pattern, name))) &&
    (wanted.providers.length === 0 || wanted.providers.includes(provider));
  return tableOf(all.filter(isWanted));
}

function tableOf(listed: readonly Listed[]): ImportedPrices {
  const chosen = new Map<string, Listed>();
  const unpriced = new Set<string>();
  const several = new Set<string>();
  for (const model of listed) {
    if (model.price === null) {
      unpriced.add(model.name);
      continue;
    }
    const known = chosen.get(model.name);
    if (known === undefined) chosen.set(model.name, model);
    else {
      if (!Bun.deepEquals(known.price, model.price)) several.add(model.name);
      if (rankOf(model) < rankOf(known)) chosen.set(model.name, model);
    }
  }
  const names = [...chosen.keys()].sort();
  const notes: string[] = [];
  for (const name of [...several].sort())
    notes.push(`${name} has several prices: that of ${chosen.get(name)?.provider} is taken; name another by --provider`);
  const without = [...unpriced].filter((name) => !chosen.has(name)).sort();
  if (without.length > 0) {
    notes.push(`these have no price for tokens, seconds of sound or requests: ${named(without)}`);
  }
  const free = names.filter((name) => hasFreeAnswers(chosen.get(name)?.price as PriceConfig));
  if (free.length > 0) notes.push(`of these the list has no price for the tokens of answers, which cost nothing as it is: ${named(free)}`);
  return { table: Object.fromEntries(names.map((name) => [name, chosen.get(name)?.price as PriceConfig])), notes };
}

/** Writes names for people, not too many. */
const named = (names: readonly string[]): string =>
  names.slice(0, MAX_NAMED).join(", ") + (names.length > MAX_NAMED ? `, and ${names.length - MAX_NAMED} more` : "");

/** Who makes models sells them at the price that others follow, the first of these before the others. */
const MAKERS = ["openai", "anthropic", "google", "mistral", "deepseek", "xai", "cohere", "alibaba", "moonshotai", "zai"];

function rankOf({ provider }: Listed): number {
  const rank = MAKERS.indexOf(provider);
  return rank < 0 ? MAKERS.length : rank;
}

type Json = Readonly<Record<string, unknown>>;

/** Writes a number of dollars as prices are written; nothing where there is none, or more than a table takes. */
function dollars(value: unknown, times = 1): { readonly price?: string } {
  if (typeof value !== "number" || !(value >= 0) || value * times > 999_999) return {};
  const text = (value * times).toFixed(9);
  return { price: text.replace(/\.?0+$/, "") };
}

/** Gives the prices of these kinds, as far as there are any. `from`: the names of kinds, and what they are called in the list. */
function pricesOf(from: Json, names: Readonly<Record<string, string>>, times: number): Record<string, string> {
  const prices: Record<string, string> = {};
  for (const [kind, name] of Object.entries(names)) {
    const { price } = dollars(from[name], times);
    if (price !== undefined) prices[kind] = price;
  }
  return prices;
}

const isWhole = (value: unknown): value is number => typeof value === "number" && Number.isInteger(value) && value >= 1 && value <= 1e8;

/** The kinds as models.dev calls them, in dollars for a million tokens. */
const MODELS_DEV = {
  input: "input",
  output: "output",
  cacheRead: "cache_read",
  cacheWrite: "cache_write",
  reasoning: "reasoning",
  inputAudio: "input_audio",
  outputAudio: "output_audio",
};

/** Reads https://models.dev/api.json: providers with their models. */
function ofModelsDev(value: Json): Listed[] {
  return Object.entries(isObject(value.providers) ? value.providers : value).flatMap(([provider, entry]) => {
    if (!isObject(entry) || !isObject(entry.models)) return [];
    return Object.entries(entry.models).map(([name, model]): Listed => {
      const cost = isObject(model) && isObject(model.cost) ? model.cost : {};
      const prices = pricesOf(cost, MODELS_DEV, 1);
      if (Object.keys(prices).length === 0) return { name, provider, price: null };
      const limit = isObject(model) && isObject(model.limit) ? model.limit.output : undefined;
      return { name, provider, price: priceOf(prices, limit, tiersOf(cost)) };
    });
  });
}

/** Gives models.dev's prices of long requests: its tiers by context, else those of the field that it had before. */
function tiersOf({ tiers, context_over_200k: older }: Json): [context: number, prices: Record<string, string>][] {
  if (!Array.isArray(tiers)) return isObject(older) ? [[200_000, pricesOf(older, MODELS_DEV, 1)]] : [];
  return tiers.flatMap((entry): [number, Record<string, string>][] => {
    const tier = isObject(entry) && isObject(entry.tier) ? entry.tier : {};
    return tier.type === "context" && isWhole(tier.size) ? [[tier.size, pricesOf(entry, MODELS_DEV, 1)]] : [];
  });
}

/** The kinds as LiteLLM calls them, in dollars for a token. */
const LITELLM = {
  input: "input_cost_per_token",
  output: "output_cost_per_token",
  cacheRead: "cache_read_input_token_cost",
  cacheWrite: "cache_creation_input_token_cost",
  cacheWriteHour: "cache_creation_input_token_cost_above_1hr",
  reasoning: "output_cost_per_reasoning_token",
  inputAudio: "input_cost_per_audio_token",
  outputAudio: "output_cost_per_audio_token",
  inputImage: "input_cost_per_image_token",
  outputImage: "output_cost_per_image_token",
};

const ABOVE = /_above_(\d{1,6})k_tokens$/;

/** Reads LiteLLM's model_prices_and_context_window.json: models with what a token costs. */
function ofLiteLlm(value: Json): Listed[] {
  return Object.entries(value).flatMap(([name, model]): Listed[] => {
    if (name === "sample_spec" || !isObject(model) || typeof model.litellm_provider !== "string") return [];
    const provider = model.litellm_provider;
    const perToken = pricesOf(model, LITELLM, 1e6);
    // Where tokens have a price they are what is reported.
    const isBySecond = model.mode === "audio_transcription" && perToken.input === undefined;
    const others = pricesOf(model, { request: "input_cost_per_request", ...(isBySecond ? { second: "input_cost_per_second" } : {}) }, 1);
    const prices: Readonly<Record<string, string>> = { ...perToken, ...others };
    if (Object.keys(prices).length === 0) return [{ name, provider, price: null }];
    const limit = model.mode === "embedding" ? undefined : (model.max_output_tokens ?? model.max_tokens);
    return [{ name, provider, price: priceOf(prices, limit, overOf(model)) }];
  });
}

/** Gives LiteLLM's prices of long requests, by their length. */
function overOf(model: Json): [context: number, prices: Record<string, string>][] {
  const lengths = new Set(Object.keys(model).flatMap((field) => ABOVE.exec(field)?.[1] ?? []));
  return [...lengths].map((length) => {
    const names = Object.entries(LITELLM).map(([kind, name]) => [kind, `${name}_above_${length}k_tokens`] as const);
    return [Number(length) * 1000, pricesOf(model, Object.fromEntries(names), 1e6)];
  });
}

function priceOf(
  prices: Readonly<Record<string, string>>,
  maxOutput: unknown,
  over: readonly (readonly [context: number, prices: Readonly<Record<string, string>>])[],
): PriceConfig {
  const long = [...new Map(over)]
    .filter(([, others]) => Object.keys(others).length > 0)
    .sort(([a], [b]) => a - b)
    .map(([context, others]) => ({ context, ...others }));
  return { ...prices, ...(isWhole(maxOutput) ? { maxOutput } : {}), ...(long.length > 0 ? { over: long } : {}) };
}
