import { afterAll, expect } from "bun:test";
import { ask, type Console, consoleTests, said } from "../../support/console.ts";
import { modelProvider } from "../../support/model-provider.ts";

/** A provider that refuses each call, and one that answers. */
const [refusing, answering] = [modelProvider(), modelProvider()];
refusing.refuse.set("a-secret-of-the-first", { status: 429 });

/** A server of tools, which answers every call. */
const tools = Bun.serve({
  port: 0,
  hostname: "127.0.0.1",
  fetch: async (request) => {
    const { id = null } = (await request.json()) as { readonly id?: number };
    return Response.json({ jsonrpc: "2.0", id, result: { content: [{ type: "text", text: "Done." }] } });
  },
});
afterAll(async () => {
  refusing[Symbol.dispose]();
  answering[Symbol.dispose]();
  await tools.stop(true);
});

const KEY = "a-key-of-acme-0123456789";
const budget = { limit: 1_000_000, window: "1h" };

const screenTest = consoleTests({
  env: { SLUICE_SECRET: "a-secret-for-tests-0123456789abcdef" },
  config: {
    prices: { "gpt-5*": { input: "1.25", output: "10" }, "gpt-5-mini*": { input: "0.25", output: "2", cacheRead: "0.025" } },
    tiers: {
      anonymous: { limits: [] },
      team: {
        limits: [{ name: "a-day", algorithm: "fixed-window", limit: "5.00", window: "1d", cost: "usd" }],
        quota: { limit: "50.00", period: "month", cost: "usd" },
      },
    },
    pools: {
      first: { keys: [{ id: "one", secret: "a-secret-of-the-first", ...budget }] },
      second: { keys: [{ id: "two", secret: "a-secret-of-the-second", ...budget }] },
    },
    upstreams: { first: { targets: [{ url: refusing.url }] }, second: { targets: [{ url: answering.url }] } },
    models: {
      smart: {
        try: [
          { upstream: "first", model: "gpt-5", pool: "first" },
          { upstream: "second", model: "gpt-5-mini", pool: "second", fallback: true },
        ],
      },
    },
    routes: [
      { name: "chat", path: "/v1", upstream: "first", stripPrefix: false, models: ["smart"] },
      {
        ...{ name: "documents", path: "/documents/mcp", upstream: `http://127.0.0.1:${tools.port}` },
        mcp: { tools: { exclude: ["*_delete"] }, cost: { search: 5 } },
      },
    ],
    consumers: [{ id: "acme", tier: "team", keys: [KEY] }],
  },
});

const post = ({ gateway }: Console, path: string, body: object, more: Record<string, string> = {}) =>
  fetch(`${gateway.url}${path}`, {
    method: "POST",
    headers: { "x-api-key": KEY, "content-type": "application/json", accept: "application/json, text/event-stream", ...more },
    body: JSON.stringify(body),
  });

const chat = async (at: Console): Promise<void> => {
  const answer = await post(at, "/v1/chat/completions", { model: "smart", messages: [{ role: "user", content: "Hello" }], max_tokens: 50 });
  expect([answer.status, await answer.text()]).toEqual([200, expect.stringContaining("choices")]);
};

const callTool = async (at: Console, name: string): Promise<number> => {
  const answer = await post(at, "/documents/mcp", { jsonrpc: "2.0", id: 1, method: "tools/call", params: { name, arguments: {} } });
  await answer.text();
  return answer.status;
};

screenTest("shows who answers for a virtual model, and why others did not", async (at) => {
  const { open, page } = at;
  await chat(at);
  await open("/models");
  await page.getByRole("row", { name: /gpt-5 at first, key of first first, 100% \$1\.25 in, \$10\.00 out .* 429: / }).waitFor();
  await page.getByRole("row", { name: /gpt-5-mini at second, key of second fallback \$0\.25 in, \$2\.00 out .* never/ }).waitFor();
  await page.getByRole("link", { name: "chat", exact: true }).click();
  await page.getByRole("heading", { level: 1, name: "chat" }).waitFor();
});

screenTest("tells the price and the failures on a phone as well", async (at) => {
  const { open, page } = at;
  await chat(at);
  await page.setViewportSize({ width: 390, height: 800 });
  await open("/models");
  const row = page.getByRole("row", { name: /gpt-5 at first/ });
  await row.getByText("$1.25 in, $10.00 out for a million tokens").waitFor();
  const failures = row.getByRole("cell", { name: /429: / });
  await failures.waitFor();
  // The table does not make the page wider.
  expect(await page.locator("html").evaluate(({ scrollWidth }) => scrollWidth)).toBeLessThanOrEqual(390);
});

screenTest("tells what models cost and for whom, and so does the consumer's page", async (at) => {
  const { open, page } = at;
  await chat(at);
  await open("/models/costs");
  await page.getByRole("row", { name: /^gpt-5-mini.*\$0\.\d+$/ }).waitFor();
  await page.getByRole("region", { name: "Who spent it" }).getByRole("link", { name: "acme" }).click();
  await page.getByRole("heading", { level: 1, name: "acme" }).waitFor();
  await page.getByRole("row", { name: /a-day.*\$0\.\d+ of \$5\.00/ }).waitFor();
  await page.getByRole("row", { name: /monthly.*\$0\.\d+ of \$50\.00/ }).waitFor();
  await page
    .getByRole("region", { name: "Usage by model" })
    .getByRole("row", { name: /\$0\.\d+$/ })
    .waitFor();
  const dollars = page.locator("figure", { hasText: "Dollars an hour" });
  await dollars.waitFor();
  // The numbers beside the grid are whole, however small the amounts are.
  const outside = await dollars
    .locator("g.grid text")
    .evaluateAll(
      (texts) =>
        texts.filter((text) => text.getBoundingClientRect().left < (text.closest("svg")?.getBoundingClientRect().left ?? 0)).length,
    );
  expect(outside).toBe(0);
});

screenTest("lists prices, and says which one a model has", { role: "viewer" }, async ({ open, page }) => {
  await open("/models/prices");
  await page.getByRole("row", { name: /^gpt-5\* \$1\.25 \$10\.00 as input as input as output/ }).waitFor();
  await page.getByLabel("Model", { exact: true }).fill("gpt-5-mini-2026");
  await page.getByRole("button", { name: "Find it" }).click();
  const found = page.getByRole("region", { name: "The price of gpt-5-mini-2026" });
  await found.getByRole("row", { name: /^gpt-5-mini\* \$0\.25 \$2\.00 \$0\.025/ }).waitFor();
  await page.getByLabel("Model", { exact: true }).fill("claude");
  await page.getByRole("button", { name: "Find it" }).click();
  await page.getByText("claude has no price.").waitFor();
});

screenTest("shows the tools of MCP servers, how often each is called, and by whom", async (at) => {
  const { open, page } = at;
  expect(await callTool(at, "search")).toBe(200);
  await open("/models/tools");
  await page.getByText("*_delete").waitFor();
  await page.getByText("search: 5").waitFor();
  await page
    .getByRole("region", { name: "Tools of documents" })
    .getByRole("row", { name: /^search \d+ / })
    .waitFor();
  await open("/consumers/acme");
  await page
    .getByRole("region", { name: "Usage by tool" })
    .getByRole("row", { name: /^search \d+ / })
    .waitFor();
});

screenTest("makes a route with models, and one to an MCP server, by the form", async (at) => {
  const { open, page } = at;
  await open("/routes?new=route");
  await page.getByLabel("Name").first().fill("files");
  await page.getByLabel("Path", { exact: true }).fill("/files/mcp");
  await page.getByLabel("Upstream", { exact: true }).fill("second");
  await page.getByLabel("The upstream is an MCP server").check();
  await page.getByLabel("Only these tools").fill("get_*, list_*");
  await page.getByLabel("Not these tools").fill("*_delete");
  await page.getByRole("button", { name: "Add scopes for a tool" }).click();
  const scopes = page.getByRole("group", { name: "scopes 1" });
  await scopes.getByLabel("Tools").fill("write_*");
  await scopes.getByLabel("Scopes", { exact: true }).fill("mcp:write");
  await page.getByRole("button", { name: "Add a cost for a tool" }).click();
  await page.getByRole("group", { name: "cost 1" }).getByLabel("Tools").fill("get_all");
  await page.getByRole("group", { name: "cost 1" }).getByLabel("Costs").fill("7");
  expect(await at.axe()).toEqual([]);
  await page.getByRole("button", { name: "Create route" }).click();
  await page.getByRole("heading", { level: 1, name: "files" }).waitFor();
  expect((await ask(at, "GET", "/admin/routes/files")).body).toMatchObject({
    mcp: {
      tools: { include: ["get_*", "list_*"], exclude: ["*_delete"] },
      scopes: { "write_*": ["mcp:write"] },
      cost: { get_all: 7 },
      resource: null,
    },
  });
  await page.getByLabel("The upstream is an MCP server").uncheck();
  await page.getByLabel("Models that callers may name").fill("smart, gpt-5-mini*");
  await page.getByRole("button", { name: "Save" }).click();
  await said(at, "The route is saved");
  expect((await ask(at, "GET", "/admin/routes/files")).body).toMatchObject({ mcp: null, models: ["smart", "gpt-5-mini*"] });
  await ask(at, "DELETE", "/admin/routes/files");
});

screenTest("tells by the way of a request what a model may cost, and which tool may not be called", async ({ open, page }) => {
  await open("/why?method=POST&target=/v1/chat/completions");
  await page.getByLabel("API key").fill(KEY);
  await page.getByLabel("Model that it names").fill("smart");
  await page.getByRole("button", { name: "Walk it" }).click();
  await page
    .getByRole("listitem")
    .filter({ hasText: "Model passes" })
    .getByText(/smart: .* reserves/)
    .waitFor();
  await page.getByText("It would pass").waitFor();
  await page.getByLabel("Model that it names").fill("gpt-5-pro");
  await page.getByRole("button", { name: "Walk it" }).click();
  await page.getByText("It would be refused: 403 modelUnknown.").waitFor();
  await page.getByLabel("Model that it names").fill("");
  await page.getByLabel("Path or URL").fill("/documents/mcp");
  await page.getByLabel("Tool that it calls").fill("all_delete");
  await page.getByRole("button", { name: "Walk it" }).click();
  await page.getByRole("listitem").filter({ hasText: "Tool stops" }).waitFor();
});

screenTest("tells what is left to a caller of a model in dollars", async (at) => {
  const { open, page } = at;
  await chat(at);
  await open("/why?consumer=acme&route=chat");
  await page.getByText("one that may cost more than is left is refused").waitFor();
  await page.getByRole("row", { name: /a-day.*\$0\.\d+ of \$5\.00 .* by its model/ }).waitFor();
  await page.getByLabel("Model", { exact: true }).fill("smart");
  await page.keyboard.press("Enter");
  await page.waitForURL(/model=smart/);
});

for (const scheme of ["light", "dark"] as const)
  for (const isPhone of [false, true])
    screenTest(`have nothing that axe-core objects to, ${scheme}${isPhone ? ", on a phone" : ""}`, { scheme, isPhone }, async (at) => {
      const { open, page } = at;
      await chat(at);
      await callTool(at, "search");
      for (const path of ["", "/costs", "/prices", "/tools"]) {
        await open(`/models${path}`);
        await page.locator("main table").first().waitFor();
        expect([path, await at.axe(), await at.isTooWide()]).toEqual([path, [], false]);
      }
    });
