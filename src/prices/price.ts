import { contextOf, type Figures, NO_FIGURES } from "../tokens/figures.ts";
import type { Prompt } from "../tokens/prompt.ts";
import { MAX_NANO, nanoOf } from "../values/money.ts";
import type { PriceConfig } from "./settings.ts";

/** Tokens that are reserved for an answer where neither the request nor the price says how long it may be. */
const DEFAULT_MAX_OUTPUT = 4096;

const MILLION = 1_000_000;

/** Bytes of a second of sound, as speech is kept in small files (32 kbit/s): how long a file is shows in none that is read here. */
const BYTES_PER_SECOND = 4000;

/** Nano-dollars for a million of each kind; a second and a request for themselves. */
interface Rates {
  readonly tokens: { readonly [Kind in keyof Figures]: number };
  readonly request: number;
}

/** Knows what a model costs. */
export class Price {
  /** The most tokens that the model answers with. */
  readonly maxOutput: number;
  private readonly rates: Rates;
  /** Those of longer requests, the longest first. */
  private readonly over: readonly { readonly context: number; readonly rates: Rates }[];

  constructor(readonly config: PriceConfig) {
    const { maxOutput, over = [], ...kinds } = config;
    this.maxOutput = maxOutput ?? DEFAULT_MAX_OUTPUT;
    this.rates = compileRates(kinds);
    this.over = over
      .map(({ context, ...others }) => ({ context, rates: compileRates({ ...kinds, ...others }) }))
      .sort((a, b) => b.context - a.context);
  }

  /** Gives what one call costs that used this much, in whole nano-dollars, rounded up. */
  cost(figures: Figures): number {
    const { tokens, request } = this.ratesFor(contextOf(figures));
    let whole = request;
    // Parts of a nano-dollar are added up apart: together with the whole they would be more digits than a number holds.
    let rest = 0;
    for (const kind of KINDS) {
      const count = figures[kind];
      if (count === 0) continue;
      const rate = tokens[kind];
      const millions = rate % MILLION;
      whole += count * ((rate - millions) / MILLION);
      rest += count * millions;
    }
    return Math.min(MAX_NANO, Math.ceil(whole) + Math.ceil(rest / MILLION));
  }

  /** Gives what is reserved for a request before it is sent: what it may cost at most, as far as its body tells. */
  reserve(prompt: Prompt): number {
    const { input, output, hasLimit, answers, api, writesCache, length } = prompt;
    const answer = hasLimit ? output : api === "embeddings" ? 0 : this.maxOutput * answers;
    const { tokens } = this.ratesFor(input);
    const ofCache = Math.max(tokens.cacheWrite, tokens.cacheWriteHour);
    const isKept = writesCache && ofCache > tokens.input;
    // Which of them the answer brings is not known: thoughts, sound and pictures may be dearer than text.
    const dearest = OF_ANSWER.reduce((one, other) => (tokens[other] > tokens[one] ? other : one));
    return this.cost({
      ...NO_FIGURES,
      input: isKept ? 0 : input,
      [tokens.cacheWriteHour > tokens.cacheWrite ? "cacheWriteHour" : "cacheWrite"]: isKept ? input : 0,
      [dearest]: answer,
      seconds: api === "audio" && length > 0 ? Math.ceil(length / BYTES_PER_SECOND) : 0,
    });
  }

  /** Gives what a call is reckoned to cost of so many tokens of text. */
  estimate(input: number, output: number): number {
    return this.cost({ ...NO_FIGURES, input, output });
  }

  /** Gives how many tokens of an answer so many nano-dollars pay for; `input`: those of its request. Infinite where they cost nothing. */
  tokensFor(input: number, nano: number): number {
    const { output } = this.ratesFor(input).tokens;
    return output === 0 ? Number.POSITIVE_INFINITY : Math.max(0, Math.floor((nano / output) * MILLION));
  }

  private ratesFor(context: number): Rates {
    for (const long of this.over) if (context > long.context) return long.rates;
    return this.rates;
  }
}

/** The kinds of tokens that an answer may have. */
const OF_ANSWER = ["output", "reasoning", "outputAudio", "outputImage"] as const;

const KINDS = Object.keys(NO_FIGURES) as (keyof Figures)[];

type Kinds = Omit<PriceConfig, "maxOutput" | "over">;

function compileRates(kinds: Kinds): Rates {
  // A model that answers with pictures or sound alone need not say so twice.
  const input = nanoOfPrice(kinds.input ?? kinds.inputAudio ?? kinds.inputImage) ?? 0;
  const output = nanoOfPrice(kinds.output ?? kinds.outputImage ?? kinds.outputAudio) ?? 0;
  const cacheWrite = nanoOfPrice(kinds.cacheWrite) ?? input;
  return {
    tokens: {
      input,
      output,
      cacheWrite,
      cacheRead: nanoOfPrice(kinds.cacheRead) ?? input,
      cacheWriteHour: nanoOfPrice(kinds.cacheWriteHour) ?? cacheWrite,
      reasoning: nanoOfPrice(kinds.reasoning) ?? output,
      inputAudio: nanoOfPrice(kinds.inputAudio) ?? input,
      outputAudio: nanoOfPrice(kinds.outputAudio) ?? output,
      inputImage: nanoOfPrice(kinds.inputImage) ?? input,
      outputImage: nanoOfPrice(kinds.outputImage) ?? output,
      // A price of seconds is one of a single second.
      seconds: (nanoOfPrice(kinds.second) ?? 0) * MILLION,
    },
    request: nanoOfPrice(kinds.request) ?? 0,
  };
}

/** Reads a price as nano-dollars; `null`: it is left out. The schema has seen to its form. */
export const nanoOfPrice = (price: string | number | undefined): number | null =>
  price === undefined ? null : nanoOf(typeof price === "string" ? price : price.toFixed(9));
