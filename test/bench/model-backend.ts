// A provider of chat completions that does nothing but answer: `bun model-backend.ts PORT`. A field X-Events asks for a stream of so many events.
const chunk = (more: object) =>
  `data: ${JSON.stringify({ id: "chatcmpl-123", object: "chat.completion.chunk", created: 1_760_000_000, model: "gpt-5", system_fingerprint: null, ...more })}\n\n`;
const EVENT = new TextEncoder().encode(
  chunk({
    choices: [{ index: 0, delta: { content: " word" }, logprobs: null, finish_reason: null }],
    usage: null,
    obfuscation: "aB3dE5gH",
  }),
);
const usage = {
  prompt_tokens: 100,
  completion_tokens: 60,
  total_tokens: 160,
  prompt_tokens_details: { cached_tokens: 0, audio_tokens: 0 },
  completion_tokens_details: { reasoning_tokens: 0, audio_tokens: 0 },
};
const END = new TextEncoder().encode(`${chunk({ choices: [], usage })}data: [DONE]\n\n`);
const message = { role: "assistant", content: "The quick brown fox jumps over the lazy dog. ".repeat(6), refusal: null };
const WHOLE = JSON.stringify({
  id: "chatcmpl-123",
  object: "chat.completion",
  created: 1_760_000_000,
  model: "gpt-5",
  choices: [{ index: 0, message, logprobs: null, finish_reason: "stop" }],
  usage,
});

/** Sends so many events, each in a piece of its own and a few at a time. */
async function* events(count: number): AsyncGenerator<Uint8Array> {
  for (let i = 0; i < count; i++) {
    yield EVENT;
    if (i % 4 === 3) await new Promise<void>((resolve) => setImmediate(resolve));
  }
  yield END;
}

Bun.serve({
  hostname: "127.0.0.1",
  port: Number(process.argv[2]),
  idleTimeout: 0,
  fetch: async (request) => {
    await request.arrayBuffer();
    const count = request.headers.get("x-events");
    if (count === null) return new Response(WHOLE, { headers: { "content-type": "application/json" } });
    return new Response(events(Number(count)), { headers: { "content-type": "text/event-stream" } });
  },
});
