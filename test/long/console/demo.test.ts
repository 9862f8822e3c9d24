import { expect } from "bun:test";
import { consoleTests } from "../../support/console.ts";

const screenTest = consoleTests({});

screenTest("says that the demo declares what there is, and leads to what is yours", async ({ open, page }) => {
  await open("/limits/tier/free");
  await page.getByText("The embedded demo declares this tier").waitFor();
  expect(await page.getByText("configuration file").count()).toBe(0);
  await page.getByRole("link", { name: "Make a tier of your own" }).click();
  await page.getByRole("heading", { level: 1, name: "New tier" }).waitFor();
});

screenTest("has no link to upstreams of which there is no page", async ({ open, page, axe, isTooWide }) => {
  await open("/routes");
  await page.getByRole("cell", { name: "demo", exact: true }).first().waitFor();
  expect(await page.locator("a[href*='/routes/upstream/']").count()).toBe(0);
  await open("/routes/health");
  await page.getByText("of demo").first().waitFor();
  expect(await page.locator("a[href*='/routes/upstream/']").count()).toBe(0);
  expect([await axe(), await isTooWide()]).toEqual([[], false]);
});

screenTest("shows the tab that is current, and what callers show, on a phone", { isPhone: true }, async ({ open, page }) => {
  await open("/routes/test");
  const strip = page.getByRole("tablist", { name: "Routes and upstreams" });
  const tab = await strip.getByRole("tab", { name: "Test a request" }).boundingBox();
  const box = await strip.boundingBox();
  if (tab === null || box === null) throw new Error("nothing is shown");
  expect(tab.x + tab.width).toBeLessThanOrEqual(box.x + box.width + 1);
  await open("/routes");
  const warning = await page.getByText("none: open to all").first().boundingBox();
  expect((warning?.x ?? 0) + (warning?.width ?? 0)).toBeLessThan(390);
});
