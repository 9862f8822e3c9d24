import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { createOpenAI } from "@ai-sdk/openai";
import Anthropic from "@anthropic-ai/sdk";
import { generateText, streamText } from "ai";
import OpenAI, { toFile } from "openai";
import { CALLER, LIMITED, modelGateway, spent, spentUntil } from "../support/model-gateway.ts";
import { type ModelProvider, modelProvider } from "../support/model-provider.ts";
import type { Running } from "../support/process.ts";

let upstream: ModelProvider;
let gateway: Running;
beforeAll(async () => {
  upstream = modelProvider();
  gateway = await modelGateway(upstream.url);
});
afterAll(async () => {
  await gateway.stop();
  upstream[Symbol.dispose]();
});

const options = { maxRetries: 0, logLevel: "off" as const };
const openai = (key = CALLER) => new OpenAI({ baseURL: `${gateway.url}/v1`, apiKey: key, ...options });
const straight = () => new OpenAI({ baseURL: `${upstream.url}/v1`, apiKey: "sk-own", ...options });
const anthropic = (key = CALLER) => new Anthropic({ baseURL: `${gateway.url}/anthropic`, apiKey: key, ...options });
const straightAnthropic = () => new Anthropic({ baseURL: upstream.url, apiKey: "sk-own", ...options });

const messages = [{ role: "user" as const, content: "Say something in twelve words, ü included." }];
const chat = { model: "m", messages, max_tokens: 12 };
/** Tokens that the provider reports for `chat`, twelve of them being the answer's. */
const COST = Math.ceil(JSON.stringify(messages).length / 4) + 12;
/** Anthropic's reports what came from a cache besides. */
const CACHED = 23;

async function all<T>(stream: Promise<AsyncIterable<T>>): Promise<T[]> {
  const events: T[] = [];
  for await (const event of await stream) events.push(event);
  return events;
}
/** What some work takes from a pool's keys. */
async function costOf(pool: "openai" | "anthropic", work: () => Promise<unknown>, wanted: number): Promise<number> {
  const before = await spent(gateway, pool);
  await work();
  return (await spentUntil(gateway, pool, (tokens) => tokens - before === wanted)) - before;
}
const plain = (value: unknown): unknown => JSON.parse(JSON.stringify(value));

describe("OpenAI's client for JavaScript", () => {
  const calls: Record<string, (client: OpenAI) => Promise<unknown>> = {
    "chat completions": (it) => it.chat.completions.create(chat),
    "chat completions, streamed": (it) => all(it.chat.completions.create({ ...chat, stream: true })),
    "chat completions, streamed, without usage": (it) =>
      all(it.chat.completions.create({ ...chat, stream: true, stream_options: { include_usage: false } })),
    "chat completions, streamed with the usage": (it) =>
      all(it.chat.completions.create({ ...chat, stream: true, stream_options: { include_usage: true } })),
    "chat completions by the helper": (it) => it.chat.completions.stream(chat).finalChatCompletion(),
    completions: (it) => it.completions.create({ model: "m", prompt: "hello", max_tokens: 3 }),
    "completions, streamed": (it) => all(it.completions.create({ model: "m", prompt: "hello", max_tokens: 3, stream: true })),
    responses: (it) => it.responses.create({ model: "m", input: "hello" }),
    "responses, streamed": (it) => all(it.responses.create({ model: "m", input: "hello", stream: true })),
    "responses by the helper": (it) => it.responses.stream({ model: "m", input: "hello" }).finalResponse(),
    embeddings: (it) => it.embeddings.create({ model: "m", input: "hello", encoding_format: "float" }),
    images: (it) => it.images.generate({ model: "m", prompt: "a picture" }),
    files: async (it) => it.files.create({ file: await toFile(Buffer.alloc(1000), "a.jsonl"), purpose: "batch" }),
    transcriptions: async (it) => it.audio.transcriptions.create({ model: "m", file: await toFile(Buffer.alloc(1000), "a.wav") }),
    models: (it) => all(Promise.resolve(it.models.list())),
  };
  for (const [name, call] of Object.entries(calls))
    test(`gets the same objects through the gateway as without it: ${name}`, async () => {
      expect(plain(await call(openai()))).toEqual(plain(await call(straight())));
    });

  test("streams by the commonest code", async () => {
    let text = "";
    for await (const chunk of await openai().chat.completions.create({ ...chat, stream: true })) {
      // As everybody writes it: an event without choices would throw.
      text += (chunk.choices[0] as (typeof chunk.choices)[0]).delta.content ?? "";
    }
    expect(text).toContain("word11");
    expect(upstream.seen.at(-1)?.body?.stream_options).toEqual({ include_usage: true });
    expect(upstream.seen.at(-1)?.key).toBe("sk-pool-1");
  });

  test("pays exactly what the provider reports, whichever interface and however many at a time", async () => {
    const costs: Record<string, number> = {
      "chat completions": COST,
      "chat completions, streamed": COST,
      "chat completions, streamed, without usage": COST,
      "chat completions, streamed with the usage": COST,
      completions: 2 + 3,
      "completions, streamed": 2 + 3,
      responses: 2 + 12,
      "responses, streamed": 2 + 12,
      embeddings: 2,
      images: 3 + 40,
      transcriptions: 45,
    };
    for (const [name, cost] of Object.entries(costs))
      expect([name, await costOf("openai", () => (calls[name] as (it: OpenAI) => Promise<unknown>)(openai()), cost)]).toEqual([name, cost]);
    const some = ["chat completions", "chat completions, streamed", "responses", "responses, streamed"];
    const work = Array.from({ length: 40 }, (_, i) => some[i % some.length] as string);
    const wanted = work.reduce((sum, name) => sum + (costs[name] as number), 0);
    const spentByAll = await costOf("openai", () => Promise.all(work.map((name) => calls[name]?.(openai()))), wanted);
    expect(spentByAll).toBe(wanted);
  });

  test("uploads for the route's cost, whatever the size", async () => {
    for (const size of [1, 8])
      expect(
        await costOf(
          "openai",
          async () => {
            const file = await toFile(Buffer.alloc(size * 1_000_000), "a.jsonl");
            expect((await openai().files.create({ file, purpose: "batch" })).bytes).toBe(size * 1_000_000);
          },
          1,
        ),
      ).toBe(1);
  });

  test("sends pictures in JSON larger than a megabyte for what they report", async () => {
    const url = `data:image/png;base64,${"A".repeat(4_000_000)}`;
    const body = { ...chat, messages: [{ role: "user" as const, content: [{ type: "image_url" as const, image_url: { url } }] }] };
    const cost = Math.ceil(JSON.stringify(body.messages).replace(url, "").length / 4) + 12;
    expect(
      await costOf(
        "openai",
        () =>
          openai()
            .chat.completions.create({ ...body, stream: true })
            .then((it) => all(Promise.resolve(it))),
        cost,
      ),
    ).toBe(cost);
  });

  test("shows the messages of the gateway's own errors", async () => {
    const fails = async (work: Promise<unknown>) => {
      const it = await work.then(
        () => null,
        (error: unknown) => error as InstanceType<typeof OpenAI.APIError>,
      );
      return [it?.constructor.name, it?.status, it?.message, it?.code, it?.type];
    };
    expect(await fails(openai("a-key-that-nobody-has-0123").chat.completions.create(chat))).toEqual([
      "AuthenticationError",
      401,
      expect.stringMatching(/^401 .{20}/),
      "keyInvalid",
      "authentication_error",
    ]);
    await openai(LIMITED).chat.completions.create(chat);
    expect(await fails(openai(LIMITED).chat.completions.create(chat))).toEqual([
      "RateLimitError",
      429,
      expect.stringMatching(/^429 Too many requests: wait \d+ seconds, then try again\.$/),
      "rateLimited",
      "rate_limit_error",
    ]);
    expect(await fails(openai().chat.completions.create({ ...chat, max_tokens: 2_000_000 }))).toEqual([
      "APIError",
      413,
      expect.stringMatching(/^413 This request takes \d+ tokens, more than any key of the pool holds: make it smaller\.$/),
      "costTooHigh",
      "invalid_request_error",
    ]);
    expect(await fails(openai().chat.completions.create({ ...chat, model: "unknown" }))).toEqual([
      "BadRequestError",
      400,
      "400 bad model given",
      "model_not_found",
      "invalid_request_error",
    ]);
    expect((await fails(openai().chat.completions.create({ ...chat, model: "broken" }))).slice(0, 3)).toEqual([
      "InternalServerError",
      500,
      "500 The server had an error",
    ]);
    upstream.refuse.set("sk-pool-1", { status: 429, headers: { "retry-after": "1" } });
    expect(await fails(openai().chat.completions.create(chat))).toEqual([
      "RateLimitError",
      429,
      "429 All API keys have reached their rate limits. Please try again later.",
      "poolExhausted",
      "rate_limit_error",
    ]);
    upstream.refuse.clear();
    await gateway.admin("POST", "/admin/pools/openai/reset");
  });

  test("is charged for what came of a stream that it gives up", async () => {
    // As the gateway reckons: four bytes of the texts are a token.
    const input = Math.ceil(Buffer.byteLength(`user${messages[0]?.content}`) / 4);
    const before = await spent(gateway, "openai");
    const gone = upstream.cancelled();
    const stream = await openai().chat.completions.create({ ...chat, model: "slow", max_tokens: 2000, stream: true });
    let events = 0;
    for await (const _ of stream) if (++events === 10) break;
    const cost = (await spentUntil(gateway, "openai", (tokens) => tokens - before > 0 && tokens - before < 500)) - before;
    expect(cost).toBeWithin(input + 10, input + 200);
    while (upstream.cancelled() === gone) await Bun.sleep(5);
  });
});

describe("Anthropic's client for JavaScript", () => {
  const ask = { model: "m", max_tokens: 12, messages };
  const calls: Record<string, (client: Anthropic) => Promise<unknown>> = {
    messages: (it) => it.messages.create(ask),
    "messages, streamed": (it) => all(it.messages.create({ ...ask, stream: true })),
    "messages by the helper": (it) => it.messages.stream(ask).finalMessage(),
  };
  for (const [name, call] of Object.entries(calls))
    test(`gets the same objects through the gateway as without it, and pays exactly: ${name}`, async () => {
      const cost = COST + CACHED;
      const work = async () => expect(plain(await call(anthropic()))).toEqual(plain(await call(straightAnthropic())));
      expect(await costOf("anthropic", work, cost)).toBe(cost);
      expect(upstream.seen.find(({ key }) => key === "sk-ant-pool-1")?.body?.stream_options).toBeUndefined();
    });

  test("shows the messages of the gateway's own errors", async () => {
    const error = (await anthropic("a-key-that-nobody-has-0123")
      .messages.create(ask)
      .catch((it: unknown) => it)) as InstanceType<typeof Anthropic.APIError>;
    expect([error.constructor.name, error.status]).toEqual(["AuthenticationError", 401]);
    expect(error.type).toBe("authentication_error");
    expect(error.message).toContain("not known");
    expect(error.error).toMatchObject({ error: { type: "authentication_error", message: expect.any(String), code: "keyInvalid" } });
    const large = (await anthropic()
      .messages.create({ ...ask, max_tokens: 3_000_000, stream: true })
      .catch((it: unknown) => it)) as InstanceType<typeof Anthropic.APIError>;
    expect([large.status, large.message]).toEqual([413, expect.stringContaining("make it smaller")]);
    const bad = (await anthropic()
      .messages.create({ ...ask, model: "unknown" })
      .catch((it: unknown) => it)) as InstanceType<typeof Anthropic.APIError>;
    expect([bad.constructor.name, bad.message]).toEqual(["BadRequestError", expect.stringContaining("bad model given")]);
  });
});

describe("The AI SDK", () => {
  const provider = (base: string, apiKey: string) => createOpenAI({ baseURL: `${base}/v1`, apiKey });

  test("generates and streams by responses, its default, and by chat completions", async () => {
    for (const kind of ["responses", "chat"] as const) {
      const model = (of: ReturnType<typeof provider>) => (kind === "chat" ? of.chat("m") : of("m"));
      const [through, without] = [model(provider(gateway.url, CALLER)), model(provider(upstream.url, "sk-own"))];
      const text = async (it: typeof through) => (await generateText({ model: it, prompt: "hello", maxRetries: 0 })).text;
      expect(await text(through)).toBe(await text(without));
      const streamed = async (it: typeof through) => {
        const result = streamText({ model: it, prompt: "hello", maxRetries: 0, onError: ({ error }) => expect(error).toBeNull() });
        let all = "";
        for await (const part of result.textStream) all += part;
        return all;
      };
      expect([await streamed(through), (await streamed(through)).length > 50]).toEqual([await streamed(without), true]);
    }
  });

  test("shows the messages of the gateway's own errors", async () => {
    const model = provider(gateway.url, "a-key-that-nobody-has-0123")("m");
    const error = await generateText({ model, prompt: "hello", maxRetries: 0 }).catch(
      (it: unknown) => it as Error & { statusCode: number },
    );
    expect(error).toMatchObject({ statusCode: 401, message: expect.stringMatching(/not known/) });
  });
});
