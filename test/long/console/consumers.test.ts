import { afterAll, expect } from "bun:test";
import { backend } from "../../support/backend.ts";
import { ask, type Console, consoleTests, said } from "../../support/console.ts";
import { until } from "../../support/until.ts";

const behind = backend();
afterAll(() => behind[Symbol.dispose]());

const screenTest = consoleTests({
  config: {
    tiers: {
      anonymous: { limits: [] },
      free: { limits: [{ algorithm: "fixed-window", limit: 100, window: "1h" }] },
      pro: { limits: [{ algorithm: "fixed-window", limit: 1000, window: "1h" }] },
    },
    consumers: [{ id: "declared", name: "From the file", tier: "free", keys: ["declared-key-0123456789"] }],
    routes: [{ name: "shop", path: "/shop", upstream: behind.url }],
  },
});

let made = 0;
async function newConsumer(at: Console, more: object = {}): Promise<string> {
  const id = `customer-${++made}`;
  expect((await ask(at, "POST", "/admin/consumers", { id, tier: "free", ...more })).status).toBe(201);
  return id;
}

const use = async ({ gateway }: Console, key: string) => (await fetch(`${gateway.url}/shop/1`, { headers: { "x-api-key": key } })).status;

screenTest("creates a consumer by the keyboard alone, and a key whose secret is shown once and works", async (at) => {
  const { open, page } = at;
  await open("/consumers");
  await page.getByRole("button", { name: "New consumer" }).focus();
  await page.keyboard.press("Enter");
  await page.getByRole("dialog").getByRole("option", { name: "free" }).waitFor({ state: "attached" });
  await page.getByLabel("Id").focus();
  await page.keyboard.type("acme");
  await page.keyboard.press("Tab");
  await page.keyboard.type("Acme Inc.");
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { level: 1, name: "Acme Inc." }).waitFor();
  expect((await ask(at, "GET", "/admin/consumers/acme")).body).toMatchObject({ name: "Acme Inc.", source: "admin" });

  await page.getByRole("button", { name: "New key" }).click();
  await page.getByLabel("Name").first().fill("production");
  await page.getByLabel("Scopes").fill("read, write");
  await page.getByLabel("Only from these addresses").fill("127.0.0.0/8 ::1");
  await page.getByRole("dialog").getByLabel("Only these models").fill("gpt-5-mini, claude-*");
  await page.getByLabel("Expires").fill("2030-01-31T12:00");
  await page.getByRole("button", { name: "Create key" }).click();
  await page.getByText("Copy this key now.").waitFor();
  const secret = (await page.locator(".secret code").textContent()) ?? "";
  expect(secret).toMatch(/^slc_/);
  await page.getByRole("dialog").getByText(`curl -H "X-API-Key: ${secret}" ${at.gateway.url}/shop`).waitFor();
  expect(await use(at, secret)).toBe(200);
  await page.getByRole("button", { name: "I have copied it" }).click();
  await page.getByRole("cell", { name: "production" }).waitFor();
  expect(await page.content()).not.toContain(secret);
  const [key] = (await ask(at, "GET", "/admin/keys?consumer=acme")).body.items;
  expect(key).toMatchObject({ name: "production", scopes: ["read", "write"], ips: ["127.0.0.0/8", "::1"], status: "active" });
  expect(key).toMatchObject({ models: ["gpt-5-mini", "claude-*"] });
  expect(String(key?.expiresAt)).toMatch(/^2030-01-31/);
});

screenTest("says at its field what is wrong with a consumer", async (at) => {
  const { open, page } = at;
  await open("/consumers");
  await page.getByRole("button", { name: "New consumer" }).click();
  await page.getByLabel("Id").fill("no good");
  await page.getByRole("button", { name: "Create consumer" }).click();
  await page.locator(".fault").first().waitFor();
  expect(await page.getByLabel("Id").getAttribute("aria-invalid")).toBe("true");
  await page.keyboard.press("Escape");
  await page.getByRole("dialog").waitFor({ state: "detached" });
});

screenTest("searches, sorts and filters at the gateway, page by page", async (at) => {
  const { open, page } = at;
  for (let i = 0; i < 130; i++)
    await ask(at, "POST", "/admin/consumers", { id: `many-${i}`, name: `Company ${999 - i}`, tier: i === 7 ? "pro" : "free" });
  await open("/consumers");
  await page.getByRole("button", { name: "Load more" }).click();
  await page.getByRole("link", { name: "many-99", exact: true }).waitFor();
  // The last one by name is on no page that was loaded.
  await page.getByRole("searchbox", { name: "Search consumers" }).fill("COMPANY 9");
  await page.getByRole("link", { name: "customer-", exact: false }).waitFor({ state: "detached" });
  await page.getByRole("button", { name: "Name" }).click();
  const first = page.locator("tbody tr").first();
  await first.getByText("Company 900").waitFor();
  await page.getByRole("button", { name: "Name" }).click();
  await first.getByText("Company 999").waitFor();
  await page.getByRole("combobox", { name: "Tier" }).selectOption("pro");
  await first.getByText("Company 992").waitFor();
  expect(await page.locator("tbody tr").count()).toBe(1);
  await page.getByRole("searchbox", { name: "Search consumers" }).fill("nobody at all");
  await page.getByText("No consumers match").waitFor();
});

screenTest("rotates a key with a time of grace, disables and enables it, and asks before it revokes it", async (at) => {
  const { open, page } = at;
  const id = await newConsumer(at);
  const key = (await ask(at, "POST", "/admin/keys", { consumer: id, name: "a key" })).body;
  await open(`/consumers/${id}`);
  await page.getByRole("link", { name: String(key.start) }).click();
  await page.getByRole("heading", { level: 1, name: "a key" }).waitFor();
  await page.getByRole("button", { name: "Rotate" }).click();
  await page.getByLabel("The secret before ends").selectOption("1h");
  await page.getByRole("dialog").getByRole("button", { name: "Rotate" }).click();
  await page.getByText("Copy this key now.").waitFor();
  const secret = (await page.locator(".secret code").textContent()) ?? "";
  expect([await use(at, key.key), await use(at, secret)]).toEqual([200, 200]);
  await page.getByRole("button", { name: "I have copied it" }).click();
  await page.getByText("good until").waitFor();

  await page.getByRole("button", { name: "Disable" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Disable" }).click();
  await said(at, "The key is disabled.");
  expect(await use(at, secret)).toBe(401);
  await page.getByRole("button", { name: "Enable" }).click();
  await said(at, "The key is enabled.");
  expect(await use(at, secret)).toBe(200);

  await page.getByRole("button", { name: "Revoke" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Cancel" }).click();
  expect(await use(at, secret)).toBe(200);
  await page.getByRole("button", { name: "Revoke" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Revoke" }).click();
  await said(at, "The key is revoked.");
  expect(await use(at, secret)).toBe(401);
  await page.getByRole("button", { name: "Rotate" }).waitFor({ state: "detached" });
});

screenTest("tells who edits that somebody else was quicker, and lets them choose", async (at) => {
  const { open, page } = at;
  const id = await newConsumer(at, { name: "before" });
  await open(`/consumers/${id}`);
  await page.getByLabel("Name").fill("mine");
  await ask(at, "PATCH", `/admin/consumers/${id}`, { name: "theirs", tier: "pro" });
  await page.getByRole("button", { name: "Save" }).click();
  await page.getByText("Somebody else changed this since you read it.").waitFor();
  expect((await ask(at, "GET", `/admin/consumers/${id}`)).body.name).toBe("theirs");
  expect(await at.axe()).toEqual([]);
  await page.getByRole("button", { name: "Save yours over it" }).click();
  await page.getByRole("heading", { level: 1, name: "mine" }).waitFor();
  expect((await ask(at, "GET", `/admin/consumers/${id}`)).body).toMatchObject({ name: "mine", tier: "pro" });
});

screenTest("edits limits, quotas and metadata by the form, and everything as JSON with faults at their lines", async (at) => {
  const { open, page } = at;
  const id = await newConsumer(at, { metadata: { old: true } });
  await open(`/consumers/${id}`);
  await page.getByLabel("Limits of its own").check();
  await page.getByRole("button", { name: "Add a limit" }).click();
  await page.getByRole("group", { name: "limit 1" }).getByLabel("Limit", { exact: true }).fill("7");
  await page.getByLabel("Quotas of its own").check();
  await page.getByRole("button", { name: "Add a quota" }).click();
  await page.getByLabel("Only these models").fill("smart");
  await page.getByLabel("Metadata").fill('{ "crm": 17 }');
  const again = page.waitForResponse((answer) => answer.request().method() === "GET" && answer.url().endsWith(`/admin/consumers/${id}`));
  await page.getByRole("button", { name: "Save" }).click();
  await said(at, "The consumer is saved");
  await again;
  expect((await ask(at, "GET", `/admin/consumers/${id}`)).body).toMatchObject({
    limits: [{ algorithm: "sliding-window", limit: 7, window: "1m" }],
    quota: [{ limit: 10_000, period: "day" }],
    models: ["smart"],
    metadata: { crm: 17 },
  });

  await page.getByRole("tab", { name: "JSON" }).click();
  const json = page.getByLabel("All settings of the consumer");
  await json.fill('{\n  "tier": "free",\n  "limits": [\n    { "algorithm": "sliding-window", "limit": 7 }\n  ]\n}');
  await page.getByRole("button", { name: "Save" }).click();
  await page.getByRole("button", { name: "Line 4" }).click();
  expect(await page.getByRole("alert").first().textContent()).toContain("window");
  await json.fill('{\n  "tier": free\n}');
  await page.getByRole("button", { name: "Save" }).click();
  await page.getByRole("button", { name: "Line 2" }).waitFor();
  await json.fill('{ "tier": "pro" }');
  await page.getByRole("button", { name: "Save" }).click();
  await until(async () => (await ask(at, "GET", `/admin/consumers/${id}`)).body.tier === "pro");
  expect((await ask(at, "GET", `/admin/consumers/${id}`)).body).toMatchObject({ limits: null, quota: null, metadata: null });
});

screenTest("shows what is left and what was used, and an operator resets it", { role: "operator" }, async (at) => {
  const { open, page } = at;
  const id = await newConsumer(at);
  const { key } = (await ask(at, "POST", "/admin/keys", { consumer: id })).body;
  for (let i = 0; i < 3; i++) await use(at, key);
  await open(`/consumers/${id}`);
  await page.getByRole("row", { name: /per-hour.*3 of 100.*97/ }).waitFor();
  await page.getByText("3 requests in the last 24 hours, 0 limited, 0 failed").waitFor();
  await page.getByRole("row", { name: /^shop 3 0 0$/ }).waitFor();
  await page.getByRole("combobox", { name: "Over how long" }).selectOption("month");
  await page.getByText("3 requests in the last 30 days").waitFor();
  await page.getByRole("button", { name: "Reset" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Reset" }).click();
  await page.getByRole("row", { name: /per-hour.*0 of 100.*100/ }).waitFor();
  // What takes an admin says so, and does nothing.
  const disable = page.getByRole("button", { name: "Disable" });
  expect(await disable.getAttribute("aria-disabled")).toBe("true");
  expect(await disable.getAttribute("title")).toContain("admin");
  expect(await page.getByRole("button", { name: "New key" }).count()).toBe(0);
  expect(await page.getByRole("button", { name: "Save" }).isDisabled()).toBe(true);
});

screenTest("deletes a consumer with its keys only when told so", async (at) => {
  const { open, page } = at;
  const id = await newConsumer(at);
  await ask(at, "POST", "/admin/keys", { consumer: id });
  await open(`/consumers/${id}`);
  await page.getByRole("button", { name: "Delete" }).click();
  const dialog = page.getByRole("dialog");
  expect(await dialog.getByRole("button", { name: "Delete" }).isDisabled()).toBe(true);
  await dialog.getByRole("textbox").fill(id);
  await dialog.getByRole("button", { name: "Delete" }).click();
  await dialog.getByText("This consumer has keys").waitFor();
  await dialog.getByLabel("Delete its keys as well").check();
  await dialog.getByRole("button", { name: "Delete" }).click();
  await page.getByRole("heading", { level: 1, name: "Consumers and keys" }).waitFor();
  expect((await ask(at, "GET", `/admin/consumers/${id}`)).status).toBe(404);
});

screenTest("shows what the file declares, and says that it is changed there", { role: "viewer" }, async ({ open, page }) => {
  await open("/consumers/declared");
  await page.getByText("The configuration file declares this consumer").waitFor();
  for (const name of ["Save", "Delete", "Disable", "New key"]) expect(await page.getByRole("button", { name }).count()).toBe(0);
});

for (const scheme of ["light", "dark"] as const)
  for (const isPhone of [false, true])
    screenTest(`have nothing that axe-core objects to, ${scheme}${isPhone ? ", on a phone" : ""}`, { scheme, isPhone }, async (at) => {
      const { open, page } = at;
      const id = await newConsumer(at);
      const key = (await ask(at, "POST", "/admin/keys", { consumer: id, name: "looked at" })).body;
      await use(at, key.key);
      for (const path of ["/consumers", "/consumers?tab=keys", `/consumers/${id}`, `/consumers/${id}/${key.id}`, "/consumers/declared"]) {
        await open(path);
        await page.locator("main table, main .note").first().waitFor();
        expect([path, await at.axe(), await at.isTooWide()]).toEqual([path, [], false]);
      }
    });
