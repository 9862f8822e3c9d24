import { expect } from "bun:test";
import { consoleTests } from "../../support/console.ts";
import { until } from "../../support/until.ts";

const screenTest = consoleTests({
  config: {
    activities: { auth: "none" },
    tiers: { anonymous: { limits: [] } },
    routes: [
      {
        ...{ name: "hello", path: "/hello", auth: "none", respond: { status: 200, body: "hello" } },
        limits: [{ algorithm: "fixed-window", limit: 3, window: "1h" }],
      },
    ],
  },
});

const SCREENS = ["/events", "/audit", "/activities", "/certificates"];

for (const scheme of ["light", "dark"] as const)
  for (const isPhone of [false, true])
    screenTest(
      `screens that only watch have nothing that axe-core objects to, ${scheme}${isPhone ? ", on a phone" : ""}`,
      { scheme, isPhone, role: "viewer" },
      async ({ open, axe, isTooWide }) => {
        for (const screen of SCREENS) {
          await open(screen);
          expect([screen, await axe(), await isTooWide()]).toEqual([screen, [], false]);
        }
      },
    );

screenTest("events come as they happen, can be filtered and stopped, and lead to why", async ({ open, page, gateway, goTo }) => {
  await open();
  await goTo("Events");
  await page.getByText("Live", { exact: true }).waitFor();
  const row = (text: RegExp) => page.getByRole("row").filter({ hasText: text });
  await fetch(`${gateway.url}/hello/one`);
  await row(/200.*GET \/hello\/one/).waitFor();
  for (let i = 0; i < 3; i++) await fetch(`${gateway.url}/hello/more`);
  await row(/route hello: .* refused, 3 of 3 used/)
    .first()
    .waitFor();

  await page.getByLabel("Type").selectOption("Requests");
  await page.getByLabel("Status").fill("429");
  await page.keyboard.press("Enter");
  await until(() => page.url().includes("status=429"));
  await page.getByText("Live", { exact: true }).waitFor();
  await until(async () => {
    await fetch(`${gateway.url}/hello/refused`);
    return row(/429.*GET \/hello\/refused/)
      .first()
      .isVisible();
  });
  expect(await row(/200.*GET/).count()).toBe(0);

  await page.getByRole("button", { name: "Pause" }).click();
  await page.getByText("Paused").waitFor();
  const before = await page.getByRole("row").count();
  await fetch(`${gateway.url}/hello/unseen`);
  await page.getByRole("group").first().click();
  await page.getByRole("link", { name: "Why it was refused" }).first().click();
  await page.getByRole("heading", { name: "It was refused: 429 rateLimited" }).waitFor();
  await page.goBack();
  await page.getByRole("heading", { level: 1, name: "Events" }).waitFor();
  expect(before).toBeGreaterThan(1);
});

screenTest("the audit shows what was changed, by whom, and that nobody has touched it", async ({ open, page, gateway }) => {
  await gateway.admin("POST", "/admin/tiers", { name: "seen", limits: [] });
  await gateway.admin("PATCH", "/admin/tiers/seen", { limits: [{ algorithm: "fixed-window", limit: 7, window: "1m" }] });
  await open("/audit");
  await page.getByLabel("Subject").fill("tier seen");
  await page.keyboard.press("Enter");
  await page.getByText("2 rows").waitFor();
  await page.getByText("tier.update").click();
  await page.getByText(/"limit":7/).waitFor();
  await page.getByRole("button", { name: "Verify all rows" }).click();
  await page.getByText(/rows? compared: all are as they were written/).waitFor();
});

const ACTIVITY = { operation: "delete", table: "missing", oldValue: { colNames: ["a"], colTypes: ["TEXT"], colValues: ["x"] } };

screenTest("an activity that failed is shown with its reason and tried again", async ({ open, page, gateway }) => {
  const send = () => fetch(`${gateway.url}/api/activities`, { method: "POST", body: JSON.stringify({ activities: [ACTIVITY] }) });
  expect((await send()).status).toBe(202);
  await open("/activities");
  await page.getByText("sqlite", { exact: true }).first().waitFor();
  await until(async () => ((await (await gateway.admin("GET", "/admin/activities")).json()) as { items: object[] }).items.length > 0);
  await open("/activities");
  await page.getByRole("button", { name: /^Replay/ }).click();
  await page.getByText("It will be tried again.").waitFor();
  const audited = (await (await gateway.admin("GET", "/admin/audit?action=activities.replay")).json()) as { items: object[] };
  expect(audited.items).toHaveLength(1);
});

screenTest("a viewer sees why nothing can be replayed", { role: "viewer" }, async ({ open, page }) => {
  await open("/activities");
  const button = page.getByRole("button", { name: /^Replay/ });
  await button.waitFor();
  expect(await button.getAttribute("aria-disabled")).toBe("true");
  expect(await button.getAttribute("title")).toContain("This takes the role admin");
});

screenTest("without https the screen of certificates says how to have it", async ({ open, page }) => {
  await open("/certificates");
  await page.getByText("This gateway does not serve https").waitFor();
});
