import { expect, test } from "bun:test";
import { modelProvider } from "../support/model-provider.ts";
import { start } from "../support/process.ts";

const PRICES = { m: { input: "1", output: "2", cacheRead: "0.5", cacheWrite: "4" } };

test("an answer tells what it cost", async () => {
  using provider = modelProvider();
  await using gateway = await start({
    config: {
      prices: PRICES,
      pools: { openai: { keys: [{ id: "k1", secret: "sk-1", limit: 1e6, window: "1h" }] } },
      routes: [{ name: "openai", path: "/v1", upstream: provider.url, stripPrefix: false, auth: "none", credential: { pool: "openai" } }],
    },
  });
  const answer = await fetch(`${gateway.url}/v1/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ model: "m", max_tokens: 5, messages: [{ role: "user", content: "hi" }] }),
  });
  const { usage } = (await answer.json()) as { usage: { prompt_tokens: number; completion_tokens: number } };
  expect(answer.headers.get("x-cost")).toBe(String((usage.prompt_tokens * 1 + usage.completion_tokens * 2) / 1e6));
});
