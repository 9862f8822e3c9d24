import { expect } from "bun:test";
import { consoleTests } from "../../support/console.ts";
import { ADMIN_TOKEN } from "../../support/process.ts";

const screenTest = consoleTests({ config: {} });

screenTest(
  "asks for a token, says why one is wrong, and leads to where somebody wanted to go",
  { role: null },
  async ({ open, page, axe }) => {
    await open();
    expect(await axe()).toEqual([]);
    await page.getByLabel("Admin token").fill("no-token-at-all");
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.getByRole("alert").waitFor();
    await page.getByLabel("Admin token").fill(ADMIN_TOKEN);
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { level: 1, name: "Now" }).waitFor();
    expect(await page.title()).toBe("Now · Sluice");
    await page.getByRole("button", { name: "Sign out" }).click();
    await page.getByLabel("Admin token").waitFor();
  },
);

for (const scheme of ["light", "dark"] as const)
  for (const isPhone of [false, true])
    screenTest(
      `has nothing that axe-core objects to, ${scheme}${isPhone ? ", on a phone" : ""}`,
      { scheme, isPhone },
      async ({ open, axe, isTooWide }) => {
        await open();
        expect(await axe()).toEqual([]);
        expect(await isTooWide()).toBe(false);
      },
    );

screenTest("is used by the keyboard alone", async ({ open, page, focused }) => {
  await open("/nowhere");
  await page.keyboard.press("Tab");
  expect(await focused()).toBe("Skip to the content");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { level: 1, name: "Now" }).waitFor();
  // Who goes somewhere reads on from its heading.
  expect(await focused()).toBe("Now");
  await page.goBack();
  await page.getByRole("heading", { level: 1, name: "There is nothing here" }).waitFor();
});

screenTest("says that the gateway does not answer, and goes on when it does", async ({ open, page }) => {
  await open();
  await page.getByText("Nothing to warn about").waitFor();
  await page.context().setOffline(true);
  await page.getByText("The gateway does not answer. What you see is what it said last").waitFor();
  await page.context().setOffline(false);
  await page.getByText("The gateway does not answer.").waitFor({ state: "detached" });
  await page.getByText("Nothing to warn about").waitFor();
});

screenTest("a session that has ended is said to have, and whoever signs in again is where they were", async ({ open, page }) => {
  await open("/why");
  await page.context().clearCookies();
  // What the screen asks for again and again is refused then.
  await page.getByText("Your session has ended.").waitFor();
  await page.getByLabel("Admin token").fill(ADMIN_TOKEN);
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { level: 1, name: "Why" }).waitFor();
});

screenTest("leads back and forward, and from a link that somebody was sent", async ({ open, page, goTo }) => {
  await open("/why?consumer=nobody-of-that-name");
  await page.getByRole("alert").waitFor();
  expect(await page.title()).toBe("Why · Sluice");
  await goTo("Now");
  expect(await page.getByRole("link", { name: "Now", exact: true }).getAttribute("aria-current")).toBe("page");
  await page.goBack();
  await page.getByRole("heading", { level: 1, name: "Why" }).waitFor();
  await page.goForward();
  await page.getByRole("heading", { level: 1, name: "Now" }).waitFor();
});

screenTest("has its links in a menu on a phone, which closes behind whoever goes", { isPhone: true }, async ({ open, page, goTo }) => {
  await open();
  const link = page.getByRole("link", { name: "Why", exact: true });
  expect(await link.isVisible()).toBe(false);
  await goTo("Why");
  await page.getByRole("heading", { level: 1, name: "Why" }).waitFor();
  await link.waitFor({ state: "hidden" });
});
