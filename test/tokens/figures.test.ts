import { describe, expect, test } from "bun:test";
import { type Figures, NO_FIGURES } from "../../src/tokens/figures.ts";
import { AUTO_USAGE, Meter, usageByPaths, withFigures } from "../../src/tokens/meter.ts";

function read(recipe: typeof AUTO_USAGE, texts: readonly string[], isEvents: boolean): Meter {
  const meter = new Meter(withFigures(recipe), isEvents);
  for (const text of texts) meter.feed(Buffer.from(text));
  return meter;
}
const figuresOf = (answer: object): Figures | null => read(AUTO_USAGE, [`${JSON.stringify(answer)}\n`], false).figures;
const ofStream = (events: readonly object[]): Figures | null =>
  read(
    AUTO_USAGE,
    events.map((event) => `data: ${JSON.stringify(event)}\n\n`),
    true,
  ).figures;
const used = (some: Partial<Figures>): Figures => ({ ...NO_FIGURES, ...some });

describe("what an answer reports", () => {
  test("of chat completions is told apart into cached tokens, sound and reasoning", () => {
    const usage = {
      prompt_tokens: 100,
      completion_tokens: 50,
      total_tokens: 150,
      prompt_tokens_details: { cached_tokens: 60, audio_tokens: 10 },
      completion_tokens_details: { reasoning_tokens: 20, audio_tokens: 5, accepted_prediction_tokens: 1, rejected_prediction_tokens: 2 },
    };
    expect(figuresOf({ id: "chatcmpl-1", choices: [], usage })).toEqual(
      used({ input: 30, cacheRead: 60, inputAudio: 10, output: 25, reasoning: 20, outputAudio: 5 }),
    );
  });

  test("of responses stands in the last event of a stream", () => {
    const usage = {
      input_tokens: 40,
      input_tokens_details: { cached_tokens: 8 },
      output_tokens: 9,
      output_tokens_details: { reasoning_tokens: 4 },
      total_tokens: 49,
    };
    const stream = [
      { type: "response.created", response: { usage: null } },
      { type: "response.output_text.delta", delta: "x" },
      { type: "response.completed", response: { usage } },
    ];
    expect(ofStream(stream)).toEqual(used({ input: 32, cacheRead: 8, output: 5, reasoning: 4 }));
  });

  test("of messages counts what was cached beside the input, the longer kept at its own", () => {
    const usage = {
      input_tokens: 10,
      cache_creation_input_tokens: 30,
      cache_read_input_tokens: 500,
      cache_creation: { ephemeral_5m_input_tokens: 10, ephemeral_1h_input_tokens: 20 },
      output_tokens: 7,
    };
    expect(figuresOf({ type: "message", usage })).toEqual(
      used({ input: 10, cacheRead: 500, cacheWrite: 10, cacheWriteHour: 20, output: 7 }),
    );
  });

  test("of a stream of messages begins with the input, and ends with the output", () => {
    const start = { type: "message_start", message: { usage: { input_tokens: 10, cache_read_input_tokens: 4, output_tokens: 1 } } };
    const delta = { type: "content_block_delta", delta: { type: "text_delta", text: "x" } };
    expect(ofStream([start, delta, { type: "message_delta", usage: { output_tokens: 77 } }])).toEqual(
      used({ input: 10, cacheRead: 4, output: 77 }),
    );
    // It broke off: each event counts as a token.
    expect(ofStream([start, delta, delta, delta])).toEqual(used({ input: 10, cacheRead: 4, output: 4 }));
  });

  test("of embeddings is input alone", () => {
    expect(figuresOf({ object: "list", usage: { prompt_tokens: 6, total_tokens: 6 } })).toEqual(used({ input: 6 }));
  });

  test("of images tells pictures apart from text", () => {
    const usage = {
      input_tokens: 50,
      output_tokens: 400,
      total_tokens: 450,
      input_tokens_details: { text_tokens: 10, image_tokens: 40 },
      output_tokens_details: { image_tokens: 390, text_tokens: 10 },
    };
    expect(figuresOf({ created: 1, usage })).toEqual(used({ input: 10, inputImage: 40, output: 10, outputImage: 390 }));
  });

  test("of transcriptions is tokens of sound, or seconds", () => {
    const tokens = {
      type: "tokens",
      input_tokens: 14,
      output_tokens: 31,
      total_tokens: 45,
      input_token_details: { audio_tokens: 12, text_tokens: 2 },
    };
    expect(figuresOf({ text: "hello", usage: tokens })).toEqual(used({ input: 2, inputAudio: 12, output: 31 }));
    expect(figuresOf({ text: "hello", usage: { type: "duration", seconds: 3.5 } })).toEqual(used({ seconds: 3.5 }));
  });

  test("counts reasoning that stands beside the output, as the total tells", () => {
    const usage = { prompt_tokens: 10, completion_tokens: 5, total_tokens: 45, completion_tokens_details: { reasoning_tokens: 30 } };
    expect(figuresOf({ usage })).toEqual(used({ input: 10, output: 5, reasoning: 30 }));
    expect(figuresOf({ usage: { prompt_tokens: 10, completion_tokens: 5, total_tokens: 25 } })).toEqual(used({ input: 10, output: 15 }));
  });

  test("counts Anthropic's fields once where they stand beside prompt_tokens, and other names of the cache", () => {
    const passedOn = {
      prompt_tokens: 110,
      completion_tokens: 1,
      total_tokens: 111,
      prompt_tokens_details: { cached_tokens: 80 },
      cache_read_input_tokens: 80,
      cache_creation_input_tokens: 20,
    };
    expect(figuresOf({ usage: passedOn })).toEqual(used({ input: 10, cacheRead: 80, cacheWrite: 20, output: 1 }));
    const hits = { prompt_tokens: 10, prompt_cache_hit_tokens: 7, prompt_cache_miss_tokens: 3, completion_tokens: 2, total_tokens: 12 };
    expect(figuresOf({ usage: hits })).toEqual(used({ input: 3, cacheRead: 7, output: 2 }));
  });

  test("is believed where it is zero, and is none where nothing is said", () => {
    expect(figuresOf({ usage: { prompt_tokens: 0, completion_tokens: 0, total_tokens: 0 } })).toEqual(NO_FIGURES);
    expect(figuresOf({ choices: [] })).toBeNull();
    expect(figuresOf({ usage: null })).toBeNull();
    expect(ofStream([{ choices: [{ delta: { content: "x" } }], usage: null }])).toBeNull();
  });

  test("holds never less than nothing, whatever the details say", () => {
    const usage = {
      prompt_tokens: 10,
      completion_tokens: 5,
      prompt_tokens_details: { cached_tokens: 999, audio_tokens: 999 },
      completion_tokens_details: { reasoning_tokens: 999 },
    };
    expect(figuresOf({ usage })).toEqual(used({ cacheRead: 10, reasoning: 5 }));
  });

  test("is read beside the route's own path", () => {
    const recipe = usageByPaths([["usage", "total_tokens"]]);
    const meter = read(recipe, ['{"usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7}}\n'], false);
    expect([meter.reported, meter.figures]).toEqual([7, used({ input: 3, output: 4 })]);
    const other = read(usageByPaths([["billed", "units"]]), ['data: {"billed":{"units":5},"usage":{"prompt_tokens":3}}\n\n'], true);
    expect([other.reported, other.figures]).toEqual([5, used({ input: 3 })]);
  });
});
