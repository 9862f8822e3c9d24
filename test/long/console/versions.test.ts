import { expect } from "bun:test";
import { type Console, consoleTests, json } from "../../support/console.ts";

const screenTest = consoleTests({
  config: {
    admin: { editFile: true },
    tiers: { anonymous: { limits: [] } },
    routes: [{ name: "hello", path: "/hello", auth: "none", respond: { status: 200, body: "hello" } }],
  },
});

type Gateway = Console["gateway"];

const tier = (limit: number) => ({ limits: [{ algorithm: "fixed-window", limit, window: "1m" }] });

const newest = async (gateway: Gateway): Promise<number> =>
  (await json<{ items: { number: number }[] }>(gateway.admin("GET", "/admin/versions?limit=1"))).items[0]?.number ?? 0;

/** Makes a tier with a limit, changes the limit, and gives the versions of both. */
async function changedTier(gateway: Gateway, name: string): Promise<readonly [made: number, changed: number]> {
  await json(gateway.admin("POST", "/admin/tiers", { name, ...tier(5) }));
  const made = await newest(gateway);
  await json(gateway.admin("PATCH", `/admin/tiers/${name}`, tier(7)));
  return [made, await newest(gateway)];
}

const limitOf = async (gateway: Gateway, name: string): Promise<number | undefined> =>
  (await json<{ limits: { limit: number }[] }>(gateway.admin("GET", `/admin/tiers/${name}`))).limits[0]?.limit;

/** Writes another text into the configuration file, by the API. */
async function editFile(gateway: Gateway, edit: (text: string) => string): Promise<void> {
  const { text } = await json<{ text: string }>(gateway.admin("GET", "/admin/config/file"));
  await json(gateway.admin("PUT", "/admin/config/file", { text: edit(text) }));
}

for (const scheme of ["light", "dark"] as const)
  for (const isPhone of [false, true])
    screenTest(
      `versions and one of them have nothing that axe-core objects to, ${scheme}${isPhone ? ", on a phone" : ""}`,
      { scheme, isPhone },
      async ({ open, page, axe, isTooWide, gateway }) => {
        const [made] = await changedTier(gateway, `${scheme}-${isPhone ? "phone" : "desk"}`);
        await editFile(gateway, (text) => text.replace(/"body": "[^"]*"/, `"body": "${scheme}${isPhone}"`));
        await open("/versions");
        await page.getByRole("link", { name: String(made), exact: true }).waitFor();
        expect([await axe(), await isTooWide()]).toEqual([[], false]);
        await open(`/versions/${made}`);
        await page.getByLabel(/^What differs of tier/).waitFor();
        expect([await axe(), await isTooWide()]).toEqual([[], false]);
        await page.getByRole("button", { name: "Restore this version" }).click();
        const dialog = page.getByRole("dialog");
        await dialog.getByRole("button", { name: "Restore" }).click();
        await dialog.getByText("The configuration file was another").waitFor();
        expect([await axe(), await isTooWide()]).toEqual([[], false]);
      },
    );

screenTest("a version is compared with now and with others, each line with its sign", async ({ open, page, gateway, goTo }) => {
  const [made, changed] = await changedTier(gateway, "compared");
  await open();
  await goTo("Versions");
  const row = page.getByRole("row").filter({ has: page.getByRole("link", { name: String(changed), exact: true }) });
  expect(await row.textContent()).toMatch(/in force.*changed tier compared.*API/);
  await page.getByLabel("Search versions").fill("no such thing");
  await page.getByText("No versions match").waitFor();
  await page.getByLabel("Search versions").fill("compared");
  await page.getByRole("link", { name: String(made), exact: true }).click();
  await page.getByRole("heading", { name: `From version ${made} to now` }).waitFor();
  const difference = page.getByLabel("What differs of tier compared");
  expect(await difference.getByRole("deletion").textContent()).toBe("−5");
  expect(await difference.getByRole("insertion").textContent()).toBe("+7");
  await page.getByLabel("Compare with").selectOption(String(made - 1));
  await page.getByRole("heading", { name: `From version ${made - 1} to version ${made}` }).waitFor();
  await page.getByRole("heading", { name: "tier compared created" }).waitFor();
  expect(page.url()).toEndWith(`/versions/${made}?with=${made - 1}`);
});

screenTest("a version is restored with a note, and what that changed is told", async ({ open, page, gateway }) => {
  const [made] = await changedTier(gateway, "back");
  await open(`/versions/${made}`);
  await page.getByRole("button", { name: "Restore this version" }).press("Enter");
  await page.getByLabel("Note").fill("the old limit was right");
  await page.keyboard.press("Enter");
  await page.getByText(`Version ${made} is restored`).waitFor();
  expect(await page.getByRole("status").filter({ hasText: "is restored" }).textContent()).toContain("changed tier back");
  expect(await limitOf(gateway, "back")).toBe(5);
  const version = await json<object>(gateway.admin("GET", `/admin/versions/${await newest(gateway)}`));
  expect(version).toMatchObject({ source: "restore", restored: made, note: "the old limit was right" });
  // Now it is the other way round: nothing differs from what was restored.
  await page.getByText("Nothing differs.").waitFor();
});

screenTest("where the configuration file was another, who restores says what becomes of it", async ({ open, page, gateway }) => {
  const [made] = await changedTier(gateway, "both");
  await editFile(gateway, (text) => text.replace(/"body": "[^"]*"/, '"body": "another hello"'));
  const fileText = async (): Promise<string> => (await json<{ text: string }>(gateway.admin("GET", "/admin/config/file"))).text;
  const restore = async (choice: string): Promise<void> => {
    await open(`/versions/${made}`);
    await page.getByRole("button", { name: "Restore this version" }).click();
    const dialog = page.getByRole("dialog");
    await dialog.getByRole("button", { name: "Restore" }).click();
    const difference = dialog.getByLabel("What restoring would change in the file");
    expect(await difference.getByRole("deletion").textContent()).toContain("another hello");
    await dialog.getByLabel(choice).check();
    await dialog.getByRole("button", { name: "Restore" }).click();
    await page.getByText(`Version ${made} is restored`).waitFor();
  };
  await restore("Leave the file as it is");
  expect(await limitOf(gateway, "both")).toBe(5);
  expect(await fileText()).toContain("another hello");
  await json(gateway.admin("PATCH", "/admin/tiers/both", tier(9)));
  await restore("Write the file as well");
  await page.getByText("The configuration file was written").waitFor();
  expect(await limitOf(gateway, "both")).toBe(5);
  expect(await fileText()).not.toContain("another hello");
});

screenTest("a version that does not hold any more is refused with all that is wrong", async ({ open, page, gateway }) => {
  await json(gateway.admin("POST", "/admin/tiers", { name: "doomed", ...tier(5) }));
  const used = await newest(gateway);
  await json(gateway.admin("DELETE", "/admin/tiers/doomed"));
  await json(gateway.admin("POST", "/admin/tiers", { name: "needed", ...tier(5) }));
  await json(gateway.admin("POST", "/admin/consumers", { id: "needs-it", tier: "needed" }));
  await open(`/versions/${used}`);
  await page.getByRole("button", { name: "Restore this version" }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByRole("button", { name: "Restore" }).click();
  const leave = dialog.getByLabel("Leave the file as it is");
  const alert = dialog.getByText("validationFailed");
  await leave.or(alert).first().waitFor();
  if (await leave.isVisible()) await dialog.getByRole("button", { name: "Restore" }).click();
  await alert.waitFor();
  await dialog
    .getByText(/needs-it/)
    .first()
    .waitFor();
  expect((await gateway.admin("GET", "/admin/tiers/needed")).status).toBe(200);
});

for (const role of ["viewer", "operator"] as const)
  screenTest(`the role ${role} sees why nothing can be restored`, { role }, async ({ open, page, gateway }) => {
    const [made] = await changedTier(gateway, `for-${role}`);
    await open(`/versions/${made}`);
    const button = page.getByRole("button", { name: "Restore this version" });
    await button.click({ force: true });
    expect(await button.getAttribute("title")).toContain("This takes the role admin");
    expect(await page.getByRole("dialog").count()).toBe(0);
    await page.getByLabel(`What differs of tier for-${role}`).waitFor();
  });

screenTest("a version that is not kept says so", async ({ open, page }) => {
  await open("/versions/99999");
  await page.getByText("notFound").waitFor();
});
