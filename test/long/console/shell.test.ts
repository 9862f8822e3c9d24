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
