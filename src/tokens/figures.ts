/**
 * Counts what a model's answer reports, each token once and under the kind whose price it has: `input` are the tokens of the request that
 * are of no other kind, and so on. All are whole and not negative, but for `seconds`.
 */
export interface Figures {
  readonly input: number;
  readonly cacheRead: number;
  readonly cacheWrite: number;
  readonly cacheWriteHour: number;
  readonly inputAudio: number;
  readonly inputImage: number;
  readonly output: number;
  readonly reasoning: number;
  readonly outputAudio: number;
  readonly outputImage: number;
  /** Seconds of sound, where the provider counts those. */
  readonly seconds: number;
}

export const NO_FIGURES: Figures = {
  input: 0,
  cacheRead: 0,
  cacheWrite: 0,
  cacheWriteHour: 0,
  inputAudio: 0,
  inputImage: 0,
  output: 0,
  reasoning: 0,
  outputAudio: 0,
  outputImage: 0,
  seconds: 0,
};

/** Gives the tokens of the request in all: those by which providers tell long ones. */
export const contextOf = ({ input, cacheRead, cacheWrite, cacheWriteHour, inputAudio, inputImage }: OfRequest): number =>
  input + cacheRead + cacheWrite + cacheWriteHour + inputAudio + inputImage;

/** Names fields of the usage, from the outside in; each may stand in three places (`inAll`). */
type Fields = readonly (readonly string[])[];

/** Gives the paths of fields where OpenAI's and Anthropic's interfaces have the usage: at the top, in a stream's last event, and in its first one. */
const inAll = (fields: Fields): readonly (readonly string[])[] =>
  fields.flatMap((field) => [
    ["usage", ...field],
    ["response", "usage", ...field],
    ["message", "usage", ...field],
  ]);

const IN_REQUEST = ["prompt_tokens_details", "input_tokens_details", "input_token_details"];
const IN_ANSWER = ["completion_tokens_details", "output_tokens_details", "output_token_details"];

const ofRequest = (name: string): Fields => IN_REQUEST.map((details) => [details, name]);
const ofAnswer = (name: string): Fields => IN_ANSWER.map((details) => [details, name]);

enum At {
  Total = 0,
  Input = 1,
  Prompt = 2,
  Output = 3,
  /** The output that a stream of messages states before there is any. */
  FirstOutput = 4,
  Completion = 5,
  CacheRead = 6,
  CacheWrite = 7,
  CacheWriteHour = 8,
  Cached = 9,
  CachedNow = 10,
  AudioIn = 11,
  ImageIn = 12,
  Reasoning = 13,
  AudioOut = 14,
  ImageOut = 15,
  Seconds = 16,
}

/** The places from which `figuresOf` reads, in the order of `At`. */
export const FIGURE_PLACES: readonly (readonly (readonly string[])[])[] = [
  inAll([["total_tokens"]]),
  inAll([["input_tokens"]]),
  inAll([["prompt_tokens"]]),
  inAll([["output_tokens"]]).slice(0, 2),
  inAll([["output_tokens"]]).slice(2),
  inAll([["completion_tokens"]]),
  inAll([["cache_read_input_tokens"]]),
  inAll([["cache_creation_input_tokens"]]),
  inAll([["cache_creation", "ephemeral_1h_input_tokens"]]),
  inAll([...ofRequest("cached_tokens"), ["prompt_cache_hit_tokens"]]),
  inAll(ofRequest("cache_write_tokens")),
  inAll(ofRequest("audio_tokens")),
  inAll(ofRequest("image_tokens")),
  inAll(ofAnswer("reasoning_tokens")),
  inAll(ofAnswer("audio_tokens")),
  inAll(ofAnswer("image_tokens")),
  inAll([["seconds"]]),
];

type Values = readonly (number | null)[];

/**
 * Gives what was reported, from the values by place and the tokens that have passed, as they are estimated; `null`: nothing that tells the request's
 * tokens from the answer's.
 *
 * OpenAI's `prompt_tokens` and `input_tokens` count what was cached as well, Anthropic's `input_tokens` do not; who passes Anthropic's
 * fields on beside `prompt_tokens` counts it there. Some count reasoning beside `completion_tokens`: then the total is more than the two.
 */
export function figuresOf(values: Values, passed: number): Figures | null {
  const first = values[At.FirstOutput] ?? null;
  const answer = values[At.Output] ?? values[At.Completion] ?? (first === null ? null : Math.max(first, passed));
  const request = values[At.Input] ?? values[At.Prompt] ?? null;
  if (request === null && answer === null && values[At.Seconds] == null) return null;
  const input = requestOf(whole(request), values);
  const output = answerOf(whole(answer), contextOf(input), values);
  return {
    input: input.input,
    cacheRead: input.cacheRead,
    cacheWrite: input.cacheWrite,
    cacheWriteHour: input.cacheWriteHour,
    inputAudio: input.inputAudio,
    inputImage: input.inputImage,
    output: output.output,
    reasoning: output.reasoning,
    outputAudio: output.outputAudio,
    outputImage: output.outputImage,
    seconds: Math.max(0, values[At.Seconds] ?? 0),
  };
}

const whole = (value: number | null | undefined): number => Math.max(0, Math.ceil(value ?? 0));

type OfRequest = Pick<Figures, "input" | "cacheRead" | "cacheWrite" | "cacheWriteHour" | "inputAudio" | "inputImage">;
type OfAnswer = Pick<Figures, "output" | "reasoning" | "outputAudio" | "outputImage">;

function requestOf(stated: number, values: Values): OfRequest {
  const isBeside = values[At.Input] != null;
  const written = whole(values[At.CacheWrite]);
  const hour = Math.min(written, whole(values[At.CacheWriteHour]));
  const read = whole(values[At.CacheRead]);
  let left = stated;
  const part = (count: number): number => {
    const taken = Math.min(left, count);
    left -= taken;
    return taken;
  };
  const cacheRead = isBeside ? read + part(whole(values[At.Cached])) : part(Math.max(read, whole(values[At.Cached])));
  const cacheWriteHour = isBeside ? hour : part(hour);
  const cacheWrite = isBeside
    ? written - hour + part(whole(values[At.CachedNow]))
    : part(Math.max(written - hour, whole(values[At.CachedNow])));
  const inputAudio = part(whole(values[At.AudioIn]));
  const inputImage = part(whole(values[At.ImageIn]));
  return { input: left, cacheRead, cacheWrite, cacheWriteHour, inputAudio, inputImage };
}

function answerOf(stated: number, context: number, values: Values): OfAnswer {
  const thought = whole(values[At.Reasoning]);
  // What the total has more than the two.
  const besides = values[At.Total] == null ? 0 : Math.max(0, whole(values[At.Total]) - context - stated);
  let left = stated;
  const part = (count: number): number => {
    const taken = Math.min(left, count);
    left -= taken;
    return taken;
  };
  const reasoning = besides > 0 ? Math.min(besides, thought) : part(thought);
  const outputAudio = part(whole(values[At.AudioOut]));
  const outputImage = part(whole(values[At.ImageOut]));
  return { output: left + Math.max(0, besides - thought), reasoning, outputAudio, outputImage };
}
