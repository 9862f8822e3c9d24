import { afterAll, expect } from "bun:test";
import { type Console, consoleTests } from "../../support/console.ts";
import { modelProvider } from "../../support/model-provider.ts";

const provider = modelProvider();
afterAll(() => provider[Symbol.dispose]());

const screenTest = consoleTests({
  config: {
    selfService: {},
    prices: { "gpt-5*": { input: "1.25", output: "10" } },
    pools: { models: { keys: [{ id: "one", secret: "a-secret-of-the-provider", limit: 1_000_000, window: "1h" }] } },
    tiers: {
      anonymous: { limits: [] },
      own: {
        limits: [{ algorithm: "sliding-log", limit: 20, window: "1h" }],
        quota: { limit: 1000, period: "month" },
        selfService: { keys: 4, scopes: ["read"], routes: [] },
      },
      priced: { limits: [], quota: { limit: "2.50", period: "month", cost: "usd" }, selfService: { keys: 4 } },
    },
    routes: [
      { name: "shop", path: "/shop", upstream: "http://127.0.0.1:9", retry: null },
      { name: "books", path: "/books", upstream: "http://127.0.0.1:9", retry: null },
      { name: "models", path: "/v1", upstream: provider.url, stripPrefix: false, credential: { pool: "models" } },
    ],
  },
});

/** Makes a consumer with a key that was used, and opens a link to the page. Gives the consumer's id and the key's secret. */
async function letIn({ gateway, page }: Console) {
  const id = `acme-${crypto.randomUUID().slice(0, 8)}`;
  await gateway.admin("POST", "/admin/consumers", { id, tier: "own" });
  const made = await gateway.admin("POST", "/admin/keys", {
    consumer: id,
    name: "server",
    scopes: ["read", "pay"],
    routes: ["shop", "books"],
  });
  const { key } = (await made.json()) as { key: string };
  for (let i = 0; i < 3; i++) await fetch(`${gateway.url}/shop`, { headers: { "x-api-key": key } });
  const { url } = (await (await gateway.admin("POST", `/admin/consumers/${id}/link`, {})).json()) as { url: string };
  await page.goto(url);
  await page.getByRole("heading", { level: 1, name: "Your keys" }).waitFor();
  return { id, key, url };
}

screenTest("shows dollars where limits count them, and makes a key for fewer models", { role: null }, async (tab) => {
  const { gateway, page, axe } = tab;
  await gateway.admin("POST", "/admin/consumers", { id: "payer", tier: "priced" });
  const made = await gateway.admin("POST", "/admin/keys", { consumer: "payer", name: "server", models: ["gpt-5*"] });
  const { key } = (await made.json()) as { key: string };
  const answer = await fetch(`${gateway.url}/v1/chat/completions`, {
    method: "POST",
    headers: { "x-api-key": key, "content-type": "application/json" },
    body: JSON.stringify({ model: "gpt-5", messages: [{ role: "user", content: "Hello" }], max_tokens: 1000 }),
  });
  expect([answer.status, await answer.text()]).toEqual([200, expect.stringContaining("choices")]);
  const { url } = (await (await gateway.admin("POST", "/admin/consumers/payer/link", {})).json()) as { url: string };
  await page.goto(url);
  // What is left is rounded down.
  await page.getByText("$2.48 of $2.50 left").waitFor();
  await page.getByText("1 request this month, 0 of them refused by a limit. They cost $0.01.").waitFor();
  await page.getByText("Numbers").click();
  await page.getByRole("columnheader", { name: "Cost" }).waitFor();
  await page.getByRole("button", { name: "Make another key: from server" }).click();
  const models = page.getByRole("dialog").getByLabel("Models");
  expect(await models.inputValue()).toBe("gpt-5*");
  await models.fill("claude-*");
  await page.getByRole("button", { name: "Make key" }).click();
  await page.getByRole("dialog").locator(".fault").first().waitFor();
  await models.fill("gpt-5-mini");
  expect(await axe()).toEqual([]);
  await page.getByRole("button", { name: "Make key" }).click();
  await page.getByText("Copy this key now.").waitFor();
  await page.getByRole("dialog").getByRole("button", { name: "Close" }).click();
  await page.getByText("gpt-5-mini").waitFor();
});

const statusWith = async ({ gateway }: Console, key: string) =>
  (await fetch(`${gateway.url}/api/v1/me`, { headers: { "x-api-key": key } })).status;

screenTest("shows a consumer their keys, what is left and what they used", { role: null }, async (tab) => {
  const { page } = tab;
  const { id } = await letIn(tab);
  expect(new URL(page.url()).hash).toBe("");
  expect(await page.title()).toBe("Your keys");
  await page.getByText(`You are ${id}, tier own.`).waitFor();
  await page.getByText("17 of 20 left").waitFor();
  await page.getByText("997 of 1,000 left").waitFor();
  await page.getByText("3 requests this month, 0 of them refused by a limit.").waitFor();
  expect(await page.getByRole("navigation").count()).toBe(0);
  await page.reload();
  await page.getByText("17 of 20 left").waitFor();
});

screenTest("makes a key with less, shows its secret once, and revokes it", { role: null }, async (tab) => {
  const { page, axe } = tab;
  await letIn(tab);
  await page.getByRole("button", { name: "Make another key: from server" }).click();
  const dialog = page.getByRole("dialog");
  expect(await axe()).toEqual([]);
  await dialog.getByLabel("Name").fill("laptop");
  await dialog.getByLabel("books").uncheck();
  await dialog.getByLabel("Addresses").fill("nowhere");
  await dialog.getByRole("button", { name: "Make key" }).click();
  await dialog
    .getByText(/must be an address or a block/)
    .first()
    .waitFor();
  await dialog.getByLabel("Addresses").fill("127.0.0.0/8");
  await dialog.getByRole("button", { name: "Make key" }).click();
  await page.getByText("Copy this key now.").waitFor();
  const secret = (await page.getByRole("dialog").locator("code").textContent()) ?? "";
  expect(secret).toMatch(/^slc_/);
  expect(await axe()).toEqual([]);
  await page.getByRole("dialog").getByRole("button", { name: "Close" }).click();
  const card = page.getByRole("listitem").filter({ has: page.getByRole("heading", { name: "laptop" }) });
  expect(await card.textContent()).toContain("made by you");
  expect(await card.textContent()).toContain("shop");
  expect(await statusWith(tab, secret)).toBe(200);
  expect(await page.content()).not.toContain(secret);
  await card.getByRole("button", { name: "Revoke: laptop" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Revoke" }).click();
  await card.waitFor({ state: "detached" });
  expect(await statusWith(tab, secret)).toBe(401);
});

screenTest("rotates a key, whose old secret works on for an hour", { role: null }, async (tab) => {
  const { page } = tab;
  const { key } = await letIn(tab);
  await page.getByRole("button", { name: "Rotate: server" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Rotate" }).click();
  await page.getByText("Copy this key now.").waitFor();
  const secret = (await page.getByRole("dialog").locator("code").textContent()) ?? "";
  expect([await statusWith(tab, secret), await statusWith(tab, key)]).toEqual([200, 200]);
  await page.keyboard.press("Escape");
  await page.getByText("Secret before").waitFor();
  expect(await page.getByRole("button", { name: "Rotate: server" }).count()).toBe(0);
});

screenTest("says whom to ask when the link is used up, and after signing out", { role: null }, async (tab) => {
  const { page, axe } = tab;
  const { url } = await letIn(tab);
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.getByRole("heading", { level: 1, name: "You need a new link" }).waitFor();
  await page.goto(url);
  await page.reload();
  await page.getByRole("heading", { level: 1, name: "You need a new link" }).waitFor();
  await page.getByText(/Ask whoever gave you access/).waitFor();
  expect(await axe()).toEqual([]);
});

for (const scheme of ["light", "dark"] as const)
  for (const isPhone of [false, true])
    screenTest(
      `has nothing that axe-core objects to, ${scheme}${isPhone ? ", on a phone" : ""}`,
      { role: null, scheme, isPhone },
      async (tab) => {
        await letIn(tab);
        await tab.page.getByText("17 of 20 left").waitFor();
        await tab.page.getByText("Numbers").click();
        expect(await tab.axe()).toEqual([]);
        expect(await tab.isTooWide()).toBe(false);
      },
    );
