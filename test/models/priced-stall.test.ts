import { expect, test } from "bun:test";
import { fakeModel } from "../support/fake-model.ts";
import { CALLER } from "../support/model-gateway.ts";
import { start } from "../support/process.ts";

test("an answer in one piece that is held for its price, and stalls, is given up when the time for all attempts is over", async () => {
  using fine = await fakeModel();
  using stalled = Bun.serve({
    port: 0,
    // More than is held to see whether the answer is any good, and less than is held to tell what it cost.
    fetch: () =>
      new Response(
        new ReadableStream({
          pull: async (controller) => {
            controller.enqueue(Buffer.from(`{"choices":[],"text":"${"x".repeat(200_000)}`));
            await new Promise(() => {});
          },
        }),
        { headers: { "content-type": "application/json" } },
      ),
    idleTimeout: 0,
  });
  const first = { upstream: stalled.url.origin, model: "model-1" };
  await using gateway = await start({
    config: {
      tiers: { plain: { limits: [] } },
      consumers: [{ id: "acme", tier: "plain", keys: [CALLER] }],
      prices: { "model-*": { input: "1", output: "1" } },
      models: {
        alone: { try: [first, { upstream: fine.url, model: "model-2", fallback: true }], firstToken: "500ms", giveUpAfter: "500ms" },
        strict: { try: [first], on: ["429"], firstToken: "500ms", giveUpAfter: "500ms" },
      },
      routes: [{ name: "llm", path: "/", upstream: fine.url, stripPrefix: false, models: ["*"], timeout: "1h" }],
    },
  });
  for (const [model, status, code] of [
    ["alone", 502, "noModelAnswered"],
    ["strict", 504, "upstreamTimeout"],
  ]) {
    const answer = await fetch(`${gateway.url}/v1/chat/completions`, {
      method: "POST",
      headers: { authorization: `Bearer ${CALLER}`, "content-type": "application/json" },
      body: JSON.stringify({ model, max_tokens: 10, messages: [] }),
    });
    expect([answer.status, ((await answer.json()) as { code: string }).code]).toEqual([status as number, code as string]);
  }
});
