import { afterAll, expect } from "bun:test";
import { backend } from "../../support/backend.ts";
import { type Console, consoleTests } from "../../support/console.ts";

const behind = backend();
afterAll(() => behind[Symbol.dispose]());

const trial = { name: "trial", algorithm: "fixed-window", limit: 3, window: "1h", shadow: true } as const;
const screenTest = consoleTests({
  config: {
    tiers: { anonymous: { limits: [] }, filed: { limits: [trial] } },
    consumers: [{ id: "declared", tier: "filed", keys: ["declared-key-0123456789"] }],
    routes: [{ name: "shop", path: "/shop", upstream: behind.url }],
  },
});

const use = async ({ gateway }: Console, key: string) => (await fetch(`${gateway.url}/shop/1`, { headers: { "x-api-key": key } })).status;

screenTest("shows what a limit in shadow would have refused, and puts it in force after asking", async (at) => {
  const { open, page, gateway } = at;
  await gateway.admin("POST", "/admin/tiers", { name: "gold", limits: [trial] });
  await gateway.admin("POST", "/admin/consumers", { id: "acme", tier: "gold" });
  const { key } = (await (await gateway.admin("POST", "/admin/keys", { consumer: "acme" })).json()) as { key: string };
  for (let i = 0; i < 5; i++) expect(await use(at, key)).toBe(200);
  for (let i = 0; i < 4; i++) expect(await use(at, "declared-key-0123456789")).toBe(200);
  await open("/limits/shadow");
  await page.getByText("It would have refused 2 of 5 requests (40%) in the last 24 hours").waitFor();
  await page.getByRole("row", { name: "acme 2 5 2 5" }).waitFor();
  await page.getByText("To put it in force, take its “shadow” away in the configuration file.").waitFor();
  expect([await at.axe(), await at.isTooWide()]).toEqual([[], false]);
  await page.getByRole("button", { name: "Put in force: trial of tier gold" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Put in force" }).click();
  await page.getByRole("status").getByText("trial of tier gold is in force.").waitFor();
  expect(await use(at, key)).toBe(429);
});

screenTest("says to a viewer that it takes an admin", { role: "viewer", scheme: "dark", isPhone: true }, async (at) => {
  const { open, page, gateway } = at;
  await gateway.admin("POST", "/admin/tiers", { name: "another", limits: [trial] });
  await open("/limits/shadow");
  const arm = page.getByRole("button", { name: "Put in force: trial of tier another" });
  await arm.waitFor();
  expect(await arm.getAttribute("aria-disabled")).toBe("true");
  expect([await at.axe(), await at.isTooWide()]).toEqual([[], false]);
});
