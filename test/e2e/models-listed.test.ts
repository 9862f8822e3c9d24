import { expect, test } from "bun:test";
import { ADMIN_TOKEN, run, start } from "../support/process.ts";

test("the command line lists models with what became of their attempts, prices, and what was spent", async () => {
  const usage = { prompt_tokens: 1000, completion_tokens: 100, total_tokens: 1100 };
  using provider = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: () => Response.json({ choices: [], usage }) });
  await using gateway = await start({
    config: {
      prices: { "gpt-5*": { input: "1.25", output: "10" } },
      upstreams: { here: { targets: [{ url: `http://127.0.0.1:${provider.port}` }] }, away: { targets: [{ url: "http://127.0.0.1:1" }] } },
      models: {
        smart: {
          try: [
            { upstream: "away", model: "qwen", weight: 3 },
            { upstream: "here", model: "gpt-5-mini", fallback: true },
          ],
        },
      },
      routes: [{ name: "llm", path: "/v1", upstream: "here", stripPrefix: false, auth: "none", models: ["smart"] }],
    },
  });
  const answer = await fetch(`${gateway.url}/v1/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ model: "smart", messages: [{ role: "user", content: "Hello" }], max_tokens: 100 }),
  });
  expect(answer.status).toBe(200);
  await answer.text();
  const sluice = async (...args: string[]): Promise<string[][]> => {
    const { stdout, stderr, status } = await run(args, {
      cwd: gateway.folder,
      env: { SLUICE_URL: gateway.url, SLUICE_ADMIN_TOKEN: ADMIN_TOKEN },
    });
    expect([args, status, stderr]).toEqual([args, 0, ""]);
    return stdout
      .trimEnd()
      .split("\n")
      .map((line) => line.split(/ {2,}/));
  };
  expect(await sluice("models")).toEqual([
    ["MODEL", "ROUTES", "UPSTREAM", "AS", "POOL", "WEIGHT", "INPUT", "OUTPUT", "ATTEMPTS", "ANSWERED", "FAILED"],
    ["smart", "llm", "away", "qwen", "3", "no price", "1", "0", "connect: 1"],
    ["smart", "llm", "here", "gpt-5-mini", "fallback", "1.25", "10", "1", "1"],
  ]);
  expect((await sluice("prices", "list", "gpt-5-mini"))[1]).toEqual(["gpt-5*", "1.25", "10"]);
  const other = await run(["prices", "list", "other"], {
    cwd: gateway.folder,
    env: { SLUICE_URL: gateway.url, SLUICE_ADMIN_TOKEN: ADMIN_TOKEN },
  });
  expect([other.status, other.stdout, other.stderr]).toEqual([1, "", 'sluice: no price holds for "other"\n']);
  // 1,000 tokens at 1.25 and 100 at 10 dollars for a million.
  for (;;) {
    const rows = await sluice("usage", "--by", "model");
    if (rows.length < 2) continue;
    expect(rows[1]).toEqual(["gpt-5-mini", "1", "0", "0", "1100", "0.00225"]);
    break;
  }
}, 60_000);
