import { expect } from "bun:test";
import { consoleTests } from "../../support/console.ts";

const screenTest = consoleTests({
  config: { selfService: {}, tiers: { anonymous: { limits: [] }, free: { limits: [] } }, consumers: [{ id: "acme", tier: "free" }] },
});

screenTest("makes a link by which a consumer is let in to a page of their own", async ({ open, page, gateway, axe }) => {
  await open("/consumers/acme");
  await page.getByRole("button", { name: "Self-service link" }).click();
  expect(await axe()).toEqual([]);
  await page.getByLabel("It works for").selectOption("30m");
  await page.getByRole("button", { name: "Create link" }).click();
  const link = (await page.locator("dialog pre").textContent()) ?? "";
  expect(link).toStartWith(`${gateway.url}/my#link=`);
  await page.getByRole("button", { name: "I have copied it" }).click();
  expect(await page.content()).not.toContain(link);
});

screenTest("offers no link to who may not make one", { role: "operator" }, async ({ open, page }) => {
  await open("/consumers/acme");
  await page.getByText("acme").first().waitFor();
  expect(await page.getByRole("button", { name: "Self-service link" }).count()).toBe(0);
});
