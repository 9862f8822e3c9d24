import { type Sink, through } from "../http/body.ts";
import type { UpstreamResponse } from "../http/client.ts";
import { isJsonType } from "../values/json.ts";
import { EventNumbers } from "./events.ts";
import { FIGURE_PLACES, type Figures, figuresOf } from "./figures.ts";
import { NumbersAt, Places } from "./number-at.ts";
import { PassedText } from "./passed-text.ts";
import { BYTES_PER_TOKEN, type ModelApi, type Prompt } from "./prompt.ts";
import { unaskedUsage, without, withoutUsage } from "./stream-usage.ts";

/** Names the places where a response says what it cost: names of fields from the outside in. The values of several paths are added up. */
export type UsagePaths = readonly (readonly string[])[];

/** Says how the usage is read from a response: by paths, or from the places where language models' interfaces have it. */
export interface UsageRecipe {
  readonly places: Places;
  /** The places that `sum` takes, without those of others. */
  readonly own: readonly UsagePaths[];
  /** Gives the usage, from the values by place and the tokens that have passed, as they are estimated; `null` when no value was found. */
  readonly sum: (values: readonly (number | null)[], passed: number) => number | null;
  /** The field that each of its paths goes through, in quotes: JSON without it says nothing of the usage. `null`: there is none. */
  readonly marker: Buffer | null;
  /** True when it reads what OpenAI sends when a stream is asked for its usage. */
  readonly isOpenAi: boolean;
  /** The number of the first of the places from which each kind is read; -1: kinds are not read. */
  readonly figuresFrom: number;
}

const USAGE = Buffer.from('"usage"');

const whole = (value: number): number => Math.max(0, Math.ceil(value));

/** The places that tell the event that brings nothing but the usage; they stand behind a recipe's own. */
const OF_SIEVE: readonly UsagePaths[] = [[["choices"]], [["usage"]]];

const withSieve = (own: readonly UsagePaths[]): Places => new Places([...own, ...OF_SIEVE]);

export function usageByPaths(paths: UsagePaths): UsageRecipe {
  const distinct = [...new Map(paths.map((path) => [JSON.stringify(path), path])).values()];
  return {
    own: distinct.map((path) => [path]),
    places: withSieve(distinct.map((path) => [path])),
    sum: (values) => {
      let sum: number | null = null;
      for (let i = 0; i < distinct.length; i++) {
        const value = values[i];
        if (value != null) sum = (sum ?? 0) + whole(value);
      }
      return sum;
    },
    marker: distinct.length === 1 ? Buffer.from(JSON.stringify(distinct[0]?.at(-1))) : null,
    isOpenAi: distinct.length === 1 && distinct[0]?.join(".") === "usage.total_tokens",
    figuresFrom: -1,
  };
}

/** Gives the recipe that reads each kind of usage as well, for what has a price. */
export const withFigures = (recipe: UsageRecipe): UsageRecipe => ({
  ...recipe,
  places: withSieve([...recipe.own, ...FIGURE_PLACES]),
  // Kinds stand in the usage, whatever the recipe's own paths go through.
  marker: recipe.marker?.equals(USAGE) === true ? USAGE : null,
  figuresFrom: recipe.own.length,
});

/**
 * Gives the paths of a field of the usage where OpenAI's and Anthropic's interfaces have it: at the top, in a stream's last event
 * (responses), and in a stream's first one (messages).
 */
const inAll = (field: string): UsagePaths => [
  ["usage", field],
  ["response", "usage", field],
  ["message", "usage", field],
];

enum Figure {
  Total = 0,
  Input = 1,
  Output = 2,
  /** The output that a stream of messages states before there is any. */
  FirstOutput = 3,
  CacheCreation = 4,
  CacheRead = 5,
  Prompt = 6,
  Completion = 7,
}

const USAGE_PLACES: readonly UsagePaths[] = [
  inAll("total_tokens"),
  inAll("input_tokens"),
  inAll("output_tokens").slice(0, 2),
  inAll("output_tokens").slice(2),
  inAll("cache_creation_input_tokens"),
  inAll("cache_read_input_tokens"),
  inAll("prompt_tokens"),
  inAll("completion_tokens"),
];

/**
 * Reads the usage of chat completions, responses, messages and embeddings, streamed or not: the total where there is one; otherwise input
 * and output with what was written to and read from a cache, which Anthropic does not count as input. A stream of messages that breaks off
 * has said nothing of its output: what has passed of it is estimated then.
 */
export const AUTO_USAGE: UsageRecipe = {
  own: USAGE_PLACES,
  places: withSieve(USAGE_PLACES),
  sum: (values, passed) => {
    const total = values[Figure.Total];
    if (total != null) return whole(total);
    const input = values[Figure.Input] ?? values[Figure.Prompt] ?? null;
    const first = values[Figure.FirstOutput] ?? null;
    const output = values[Figure.Output] ?? values[Figure.Completion] ?? (first === null ? null : Math.max(first, passed));
    if (input === null && output === null) return null;
    return whole(input ?? 0) + whole(output ?? 0) + whole(values[Figure.CacheCreation] ?? 0) + whole(values[Figure.CacheRead] ?? 0);
  },
  marker: USAGE,
  isOpenAi: true,
  figuresFrom: -1,
};

/** Reads from a passing response what it cost. */
export class Meter {
  private readonly numbers: NumbersAt;
  private readonly text: PassedText | null;
  private readonly stream: EventNumbers | null;
  private sink: Sink | null = null;
  private fits = true;
  /** True when something has come since `told` was made of what had. */
  private hasFed = false;
  private told: Figures | null = null;

  /**
   * Takes `isSieved`: true when the caller did not ask for the usage of this stream, and does not get to see it. `api`: the interface whose
   * stream it is.
   */
  constructor(
    private readonly recipe: UsageRecipe,
    isEvents: boolean,
    readonly isSieved: boolean = false,
    api: ModelApi = "other",
  ) {
    this.numbers = new NumbersAt(recipe.places);
    this.text = isEvents ? new PassedText(api) : null;
    this.stream = isEvents ? this.streamOf(recipe) : null;
  }

  private streamOf({ places, marker }: UsageRecipe): EventNumbers {
    const { numbers, isSieved } = this;
    const choices = places.size - OF_SIEVE.length;
    const glance = isSieved ? withoutUsage(numbers, choices + 1) : marker === null ? () => false : without(marker);
    const sieve = isSieved ? unaskedUsage(numbers, choices, choices + 1) : null;
    return new EventNumbers(numbers, glance, sieve, (bytes) => this.write(bytes), this.text);
  }

  /** Reads a piece of the response, which goes to the caller as it is. */
  feed(bytes: Uint8Array): void {
    this.hasFed = true;
    if (this.stream !== null) this.stream.feed(bytes);
    else this.numbers.feed(bytes, 0, bytes.length);
  }

  /** Reads a piece, and writes the part of it that is for the caller. Gives false when the sink takes no more for now. */
  sieve(bytes: Uint8Array, sink: Sink): boolean {
    this.sink = sink;
    this.fits = true;
    this.feed(bytes);
    return this.fits;
  }

  /** Ends the stream: writes what was held back of it. */
  endSieve(sink: Sink): void {
    this.sink = sink;
    this.stream?.end();
  }

  private write(bytes: Uint8Array): void {
    // What counts is whether the sink takes more now.
    this.fits = this.sink?.write(bytes) ?? true;
  }

  /** Gives the usage that the response reported so far, zero included; `null` when it reported none. */
  get reported(): number | null {
    return this.recipe.sum(this.numbers.values, this.passed ?? 0);
  }

  /** Gives what the response has reported so far, each kind for itself; `null` when it reported nothing, or its kinds are not read. */
  get figures(): Figures | null {
    const { figuresFrom } = this.recipe;
    if (figuresFrom < 0) return null;
    if (this.hasFed) this.told = figuresOf(this.numbers.values.slice(figuresFrom), this.passed ?? 0);
    this.hasFed = false;
    return this.told;
  }

  /** Gives the number of events that have passed; 0 when the response is no stream of them. */
  get events(): number {
    return this.stream?.events ?? 0;
  }

  /**
   * Gives an estimate of the tokens of a streamed answer that have passed; `null` when the response is no stream of events. Some models send
   * a token in each event, others many: at least one counts for each, and one for every four bytes of their text.
   */
  get passed(): number | null {
    const { stream, text } = this;
    return stream === null ? null : Math.max(stream.events, Math.ceil((text?.bytes ?? 0) / BYTES_PER_TOKEN));
  }
}

/**
 * Makes the meter for a response; gives `null` when nothing can be read from it: it is neither JSON nor events, or it is compressed.
 * `prompt`: the request, where it was read; whether only we asked for the usage, not the caller, stands there.
 */
export function meterOf(response: UpstreamResponse, recipe: UsageRecipe, prompt: Prompt | null): Meter | null {
  const type = response.fields.mediaType;
  const isEvents = type === "text/event-stream";
  if (!isEvents && !isJsonType(type)) return null;
  const coding = response.fields.get("content-encoding");
  return coding === null || coding === "identity"
    ? new Meter(recipe, isEvents, prompt?.asksForUsage === true && isEvents, prompt?.api)
    : null;
}

/** Gives the response with a body that the meter reads as it passes. */
export function metered(response: UpstreamResponse, meter: Meter): UpstreamResponse {
  const { body } = response;
  if (body === null) return response;
  if (!meter.isSieved) {
    if (body instanceof Uint8Array) {
      meter.feed(body);
      return response;
    }
    return {
      ...response,
      body: through(body, (bytes, sink) => {
        // The bytes go on first, and as they are.
        const fits = sink.write(bytes);
        meter.feed(bytes);
        return fits;
      }),
    };
  }
  if (body instanceof Uint8Array) {
    const pieces: Uint8Array[] = [];
    const sink: Sink = { write: (bytes) => pieces.push(bytes) > 0, end: () => {}, fail: () => {} };
    meter.sieve(body, sink);
    meter.endSieve(sink);
    const passed = pieces.length === 1 ? (pieces[0] as Uint8Array) : Buffer.concat(pieces);
    return { ...response, body: passed, length: passed.length };
  }
  return {
    ...response,
    // How long it will be is known at its end.
    length: -1,
    body: {
      length: -1,
      resume: () => body.resume(),
      cancel: () => body.cancel(),
      start: (sink) =>
        body.start({
          write: (bytes) => meter.sieve(bytes, sink),
          end: (trailers) => {
            meter.endSieve(sink);
            sink.end(trailers);
          },
          fail: (reason) => {
            meter.endSieve(sink);
            sink.fail(reason);
          },
        }),
    },
  };
}
