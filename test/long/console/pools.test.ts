import { afterAll, expect } from "bun:test";
import { ask, consoleTests } from "../../support/console.ts";

/** A service that limits one key and refuses another. */
const behind = Bun.serve({
  port: 0,
  hostname: "127.0.0.1",
  fetch: (request) => {
    const key = request.headers.get("authorization");
    if (key === "Bearer limited-secret-0123") return new Response("slow down", { status: 429, headers: { "retry-after": "600" } });
    if (key === "Bearer refused-secret-0123") return new Response("who?", { status: 401 });
    return Response.json({ key });
  },
});
afterAll(() => void behind.stop(true));

const screenTest = consoleTests({
  env: { SLUICE_SECRET: "a-secret-for-tests-0123456789abcdef" },
  config: {
    tiers: { anonymous: { limits: [] } },
    pools: {
      models: {
        keys: [
          { id: "limited", secret: "limited-secret-0123", limit: 1000, window: "1h" },
          { id: "good", secret: "good-secret-0123456", limit: 1000, window: "1h" },
        ],
        services: { chat: { cost: 300 } },
        auth: "none",
      },
    },
    routes: [
      {
        name: "models",
        path: "/models",
        upstream: `http://127.0.0.1:${behind.port}`,
        auth: "none",
        cost: 50,
        credential: { pool: "models", cost: "route", usage: null },
      },
    ],
  },
});

screenTest("shows what each key has left, why one rests, and uses it again when told so", async (at) => {
  const { open, page, gateway } = at;
  expect((await fetch(`${gateway.url}/models/a`)).status).toBe(200);
  await open("/pools");
  await page.getByRole("row", { name: /good ready 50 of 1,000 tokens in 1 h.* 950/ }).waitFor();
  await page.getByRole("row", { name: /limited resting.*the upstream answered 429.*returns in/ }).waitFor();
  expect(await page.content()).not.toContain("secret-0123");
  await page.getByRole("button", { name: "Use again: key limited of models" }).click();
  await page.getByRole("status").getByText("limited is used again.").waitFor();
  expect((await ask(at, "GET", "/admin/pools/models")).body.state.keys[0]).toMatchObject({ id: "limited", status: "ready" });
});

screenTest("makes a pool whose secrets can be written and never read, and changes it", async (at) => {
  const { open, page } = at;
  await open("/pools");
  await page.getByRole("link", { name: "New pool" }).click();
  await page.getByLabel("Name").first().fill("spare");
  const first = page.getByRole("group", { name: "key 1" });
  await first.getByLabel("Id").fill("first");
  await first.getByLabel("Secret").fill("a-written-secret-01");
  await page.getByRole("button", { name: "Add a service" }).click();
  await page.getByRole("button", { name: "Create pool" }).click();
  await page.getByRole("heading", { level: 1, name: "spare" }).waitFor();
  await page.getByRole("row", { name: /first ready 0 of 1,000/ }).waitFor();
  expect(await page.content()).not.toContain("a-written-secret-01");
  expect((await ask(at, "GET", "/admin/pools/spare")).body).toMatchObject({
    keys: [{ id: "first", secret: "***", limit: 1000, window: "1m" }],
    services: { service_1: { cost: 100 } },
  });

  // A secret that is left alone is kept.
  expect(await first.getByLabel("Secret").inputValue()).toBe("");
  await first.getByLabel("Tokens").fill("2000");
  await page.getByRole("button", { name: "Add a key" }).click();
  await page.getByRole("group", { name: "key 2" }).getByLabel("Id").fill("first");
  await page.getByRole("button", { name: "Save" }).click();
  await page.getByRole("group", { name: "key 2" }).locator(".fault").waitFor();
  await page.getByRole("group", { name: "key 2" }).getByLabel("Id").fill("second");
  await page.getByRole("button", { name: "Save" }).click();
  await page.getByRole("row", { name: /second ready 0 of 1,000/ }).waitFor();
  expect((await ask(at, "GET", "/admin/pools/spare")).body.keys).toMatchObject([
    { id: "first", secret: "***", limit: 2000 },
    { id: "second", limit: 1000 },
  ]);
  await page.getByRole("button", { name: "Delete" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Delete" }).click();
  await page.getByRole("heading", { level: 1, name: "Pools" }).waitFor();
  expect((await ask(at, "GET", "/admin/pools/spare")).status).toBe(404);
});

screenTest("has budgets in dollars, beside those of tokens and requests", async (at) => {
  const { open, page } = at;
  await open("/pools?new=pool");
  await page.getByLabel("Name").first().fill("in-dollars");
  const first = page.getByRole("group", { name: "key 1", exact: true });
  await first.getByLabel("Id").fill("first");
  await first.getByLabel("Budget of").selectOption("usd");
  expect(await first.getByLabel("Budget in dollars").inputValue()).toBe("1000");
  await first.getByLabel("Budget in dollars").fill("25,00");
  await first.getByLabel("In each").fill("30d");
  await page.getByRole("button", { name: "Create pool" }).click();
  await first.locator(".fault").waitFor();
  expect(await first.getByLabel("Budget in dollars").getAttribute("aria-invalid")).toBe("true");
  await first.getByLabel("Budget in dollars").fill("25.00");
  await page.getByRole("button", { name: "Add a budget to key 1" }).click();
  await page.getByRole("button", { name: "Add a budget to key 1" }).click();
  const second = page.getByRole("group", { name: "budget 2 of key 1" });
  await second.getByLabel("Budget of").selectOption("usd");
  await second.getByLabel("Budget in dollars").fill("0.5");
  await second.getByLabel("In each").fill("1d");
  expect(await at.axe()).toEqual([]);
  await page.getByRole("button", { name: "Create pool" }).click();
  await page.getByRole("heading", { level: 1, name: "in-dollars" }).waitFor();
  expect((await ask(at, "GET", "/admin/pools/in-dollars")).body.keys).toMatchObject([
    {
      ...{ id: "first", cost: "usd", limit: "25.00", window: "30d" },
      budgets: [
        { of: "requests", limit: 500, window: "1m" },
        { cost: "usd", limit: "0.5", window: "1d" },
      ],
    },
  ]);
  const row = page.getByRole("row", { name: /first ready/ });
  for (const text of ["$0.00 of $25.00", "$0.00 of $0.50", "0 of 500"]) await row.getByText(text).waitFor();
  await row.getByRole("cell", { name: "$0.50", exact: true }).waitFor();

  await page.getByRole("button", { name: "Remove budget 2 of key 1" }).click();
  await page.getByRole("button", { name: "Save" }).click();
  await row.getByRole("cell", { name: "$25.00", exact: true }).waitFor();
  expect((await ask(at, "GET", "/admin/pools/in-dollars")).body.keys).toMatchObject([{ budgets: [{ of: "requests" }] }]);
});

for (const role of ["viewer", "operator"] as const)
  screenTest(`lets a ${role} look`, { role }, async (at) => {
    const { open, page, gateway } = at;
    await fetch(`${gateway.url}/models/b`);
    await open("/pools");
    const again = page.getByRole("button", { name: "Use again: key limited of models" });
    await again.waitFor();
    expect(await again.getAttribute("aria-disabled")).toBe("true");
    expect(await page.getByRole("link", { name: "New pool" }).count()).toBe(0);
    await page.getByRole("link", { name: "Open pool models" }).click();
    await page.getByText("The configuration file declares this pool").waitFor();
  });

for (const scheme of ["light", "dark"] as const)
  for (const isPhone of [false, true])
    screenTest(`have nothing that axe-core objects to, ${scheme}${isPhone ? ", on a phone" : ""}`, { scheme, isPhone }, async (at) => {
      const { open, page, gateway } = at;
      await fetch(`${gateway.url}/models/c`);
      for (const path of ["", "/models", "?new=pool"]) {
        await open(`/pools${path}`);
        await page.locator("main table, main form").first().waitFor();
        expect([path, await at.axe(), await at.isTooWide()]).toEqual([path, [], false]);
      }
    });
