import { expect } from "bun:test";
import { type Backend, backend } from "../../support/backend.ts";
import { consoleTests } from "../../support/console.ts";
import { until } from "../../support/until.ts";

let behind: Backend;
const screenTest = consoleTests(async () => {
  behind = backend();
  return {
    config: {
      tiers: { free: { limits: [{ algorithm: "fixed-window", limit: 3, window: "1h" }] } },
      upstreams: {
        shop: { targets: [{ url: behind.url }] },
        dead: { targets: [{ url: "http://127.0.0.1:1" }], breaker: { failureThreshold: 1 } },
      },
      routes: [
        { name: "shop", path: "/shop", upstream: "shop" },
        { name: "dead", path: "/dead", upstream: "dead", auth: "none" },
      ],
      consumers: [{ id: "acme", tier: "free", keys: ["a-declared-key-of-acme"] }],
    },
  };
});
const call = (url: string, path: string) =>
  fetch(url + path, { headers: { "x-api-key": "a-declared-key-of-acme" } }).then((answer) => answer.status);

screenTest("shows rates, refusals by reason, who calls and who was refused, as they change", async ({ gateway, open, page, axe }) => {
  await open();
  await page.getByText("Nothing to warn about").waitFor();
  // What somebody sees must have been there when it began to look.
  await page.getByRole("img", { name: /^Requests a second/ }).waitFor();
  for (let i = 0; i < 5; i++) await call(gateway.url, "/shop");
  const routes = page.getByRole("region", { name: /^Routes/ });
  await routes.getByRole("cell", { name: "shop", exact: true }).waitFor();
  await page
    .getByRole("region", { name: /^Codes of refusals/ })
    .getByText("rateLimited")
    .waitFor();
  await page
    .getByRole("region", { name: /^The consumers that call most/ })
    .getByText("acme")
    .waitFor();
  await page
    .getByRole("region", { name: /^The last requests/ })
    .getByText("rateLimited")
    .first()
    .waitFor();
  expect(await axe()).toEqual([]);

  await page
    .getByRole("region", { name: /^The last requests/ })
    .getByRole("link", { name: "rateLimited" })
    .first()
    .click();
  await page.getByRole("heading", { name: "It was refused: 429 rateLimited" }).waitFor();
  await page.goBack();
  await page.getByRole("heading", { level: 1, name: "Now" }).waitFor();
});

screenTest("shows a breaker that opens, and a system that is DEGRADED, at once", { role: "viewer" }, async ({ gateway, open, page }) => {
  await open();
  await page.getByText("live", { exact: true }).waitFor();
  await call(gateway.url, "/dead");
  await page.getByText("breaker open").waitFor();
  await page.getByText("closed to open").waitFor();
  await gateway.admin("POST", "/admin/health", { status: "DEGRADED", reason: "a test" });
  await page.getByText("The system is DEGRADED").first().waitFor();
  await gateway.admin("POST", "/admin/health", { status: "NORMAL" });
  await page.getByText("Nothing to warn about").waitFor();
});

screenTest("has the numbers of its charts as tables", async ({ open, page, axe }) => {
  await open();
  await page.getByText("Numbers", { exact: true }).first().click();
  const table = page.getByRole("region", { name: "Requests a second, as numbers" });
  await until(async () => (await table.getByRole("row").count()) > 3);
  expect(await axe()).toEqual([]);
});

screenTest("fits on a phone, in the dark", { isPhone: true, scheme: "dark" }, async ({ open, page, axe, isTooWide }) => {
  await open();
  await page.getByRole("img", { name: /^Latency/ }).waitFor();
  expect(await isTooWide()).toBe(false);
  expect(await axe()).toEqual([]);
});
