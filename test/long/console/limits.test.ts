import { expect } from "bun:test";
import { ask, consoleTests, said } from "../../support/console.ts";

const screenTest = consoleTests({
  config: {
    tiers: { anonymous: { limits: [] }, free: { limits: [{ algorithm: "fixed-window", limit: 10, window: "1m" }] } },
    consumers: [{ id: "declared", tier: "free" }],
  },
});

screenTest("makes a tier with limits and quotas, shows who has it, changes it and deletes it", async (at) => {
  const { open, page } = at;
  await open("/limits");
  await page.getByRole("row", { name: /free file 10 a minute none/ }).waitFor();
  await page.getByRole("link", { name: "New tier" }).click();
  await page.getByLabel("Name").first().fill("gold");
  const limit = page.getByRole("group", { name: "limit 1" });
  await limit.getByLabel("Window").fill("soon");
  await page.getByRole("button", { name: "Create tier" }).click();
  await limit.locator(".fault").waitFor();
  expect(await limit.getByLabel("Window").getAttribute("aria-invalid")).toBe("true");
  await limit.getByLabel("Window").fill("1h");
  await limit.getByLabel("Limit", { exact: true }).fill("500");
  await limit.getByLabel("Shadow").check();
  await page.getByRole("button", { name: "Add a quota" }).click();
  await page.getByRole("group", { name: "quota 1" }).getByLabel("In each").selectOption("month");
  await page.getByRole("button", { name: "Create tier" }).click();
  await page.getByRole("heading", { level: 1, name: "gold" }).waitFor();
  expect((await ask(at, "GET", "/admin/tiers/gold")).body).toMatchObject({
    limits: [{ algorithm: "sliding-window", limit: 500, window: "1h", shadow: true }],
    quota: [{ limit: 10_000, period: "month" }],
  });

  await page.getByText("No consumer has this tier.").waitFor();
  await ask(at, "POST", "/admin/consumers", { id: "acme", tier: "gold" });
  await open("/limits/tier/gold");
  await page.getByRole("link", { name: "acme" }).waitFor();
  await page.getByRole("button", { name: "Remove quota 1" }).click();
  await page.getByRole("button", { name: "Save" }).click();
  await said(at, "The tier is saved");
  expect((await ask(at, "GET", "/admin/tiers/gold")).body.quota).toBeNull();

  await page.getByRole("button", { name: "Delete" }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByRole("button", { name: "Delete" }).click();
  await dialog.getByText("acme use").waitFor();
  await dialog.getByRole("checkbox").check();
  await dialog.getByRole("button", { name: "Delete" }).click();
  await page.getByRole("heading", { level: 1, name: "Limits and tiers" }).waitFor();
  expect((await ask(at, "GET", "/admin/tiers/gold")).status).toBe(404);
});

screenTest("makes limits and quotas in dollars, and of what answers report", async (at) => {
  const { open, page } = at;
  await open("/limits?new=tier");
  await page.getByLabel("Name").first().fill("team");
  const limit = page.getByRole("group", { name: "limit 1" });
  await limit.getByLabel("Algorithm").selectOption("token-bucket");
  await limit.getByLabel("Burst").fill("150");
  await limit.getByLabel("Counts", { exact: true }).selectOption("usd");
  // What was a number becomes an amount.
  expect(await limit.getByLabel("Limit in dollars").inputValue()).toBe("100");
  expect(await limit.getByLabel("Burst in dollars").inputValue()).toBe("150");
  await limit.getByLabel("Limit in dollars").fill("$5");
  await limit.getByLabel("Window").fill("1d");
  await page.getByRole("button", { name: "Create tier" }).click();
  await limit.locator(".fault").waitFor();
  expect(await limit.getByLabel("Limit in dollars").getAttribute("aria-invalid")).toBe("true");
  await limit.getByLabel("Limit in dollars").fill("5.00");
  await limit.getByLabel("Burst in dollars").fill("7.50");
  await limit.getByLabel("Counted by").fill("consumer, model");
  await page.getByRole("button", { name: "Add a quota" }).click();
  const quota = page.getByRole("group", { name: "quota 1" });
  await quota.getByLabel("Counts", { exact: true }).selectOption("usd");
  await quota.getByLabel("Limit in dollars").fill("100.00");
  await quota.getByLabel("In each").selectOption("month");
  await page.getByRole("button", { name: "Add a quota" }).click();
  await page.getByRole("group", { name: "quota 2" }).getByLabel("Counts", { exact: true }).selectOption("usage");
  expect(await at.axe()).toEqual([]);
  await page.getByRole("button", { name: "Create tier" }).click();
  await page.getByRole("heading", { level: 1, name: "team" }).waitFor();
  expect((await ask(at, "GET", "/admin/tiers/team")).body).toMatchObject({
    limits: [{ algorithm: "token-bucket", cost: "usd", limit: "5.00", burst: "7.50", window: "1d", by: ["consumer", "model"] }],
    quota: [
      { cost: "usd", limit: "100.00", period: "month" },
      { cost: "usage", limit: 10_000, period: "day" },
    ],
  });
  await open("/limits");
  await page.getByRole("row", { name: /team \$5\.00 a day, up to \$7\.50 at once by consumer and model \$100\.00 a month/ }).waitFor();
});

screenTest("blocks an address and unblocks it, after asking", { role: "operator" }, async (at) => {
  const { open, page } = at;
  await open("/limits/blocks");
  await page.getByText("No address is blocked.").waitFor();
  await page.getByLabel("Address or block").fill("nowhere");
  await page.getByRole("button", { name: "Block", exact: true }).click();
  await page.locator(".fault").waitFor();
  await page.getByLabel("Address or block").fill("203.0.113.0/24");
  await page.getByLabel("For how long").fill("1h");
  await page.getByLabel("Why").fill("scrapes prices");
  await page.getByRole("button", { name: "Block", exact: true }).click();
  await page.getByRole("row", { name: /203\.0\.113\.0\/24 scrapes prices/ }).waitFor();
  expect((await ask(at, "GET", "/admin/blocks")).body.items).toMatchObject([{ ip: "203.0.113.0/24", reason: "scrapes prices" }]);
  await page.getByRole("button", { name: "Unblock: 203.0.113.0/24" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Unblock" }).click();
  await said(at, "203.0.113.0/24 may send requests again.");
  expect((await ask(at, "GET", "/admin/blocks")).body.items).toEqual([]);
});

screenTest("lets a viewer look", { role: "viewer" }, async (at) => {
  const { open, page } = at;
  await ask(at, "POST", "/admin/blocks", { ip: "198.51.100.7", reason: "a test", ttl: "1h" });
  await open("/limits/blocks");
  expect(await page.getByRole("button", { name: "Unblock: 198.51.100.7" }).getAttribute("aria-disabled")).toBe("true");
  expect(await page.getByRole("button", { name: "Block", exact: true }).count()).toBe(0);
  await open("/limits/tier/free");
  await page.getByText("The configuration file declares this tier").waitFor();
});

for (const scheme of ["light", "dark"] as const)
  for (const isPhone of [false, true])
    screenTest(`have nothing that axe-core objects to, ${scheme}${isPhone ? ", on a phone" : ""}`, { scheme, isPhone }, async (at) => {
      const { open, page } = at;
      await ask(at, "POST", "/admin/tiers", { name: "looked-at", limits: [{ algorithm: "gcra", limit: 5, window: "1s" }] });
      for (const path of ["", "/blocks", "/tier/free", "/tier/looked-at"]) {
        await open(`/limits${path}`);
        await page.locator("main table, main .empty").first().waitFor();
        expect([path, await at.axe(), await at.isTooWide()]).toEqual([path, [], false]);
      }
    });
