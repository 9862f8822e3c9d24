import { expect } from "bun:test";
import { type Console, consoleTests, json } from "../../support/console.ts";
import { until } from "../../support/until.ts";

const screenTest = consoleTests({
  config: {
    admin: { editFile: true },
    issuers: {
      own: {
        issuer: "https://issuer.example.com",
        audience: ["api"],
        secret: "a secret of thirty-two letters or more",
        algorithms: ["HS256"],
      },
    },
    tiers: { anonymous: { limits: [] } },
    routes: [{ name: "hello", path: "/hello", auth: "none", respond: { status: 200, body: "hello" } }],
  },
});
/** The same, where the file can't be written by the API. */
const closedTest = consoleTests({ config: { tiers: { anonymous: { limits: [] } }, routes: [] } });
const demoTest = consoleTests({});

type Gateway = Console["gateway"];

const fileText = async (gateway: Gateway): Promise<string> =>
  (await json<{ text: string }>(gateway.admin("GET", "/admin/config/file"))).text;
const newest = async (gateway: Gateway): Promise<object | undefined> =>
  (await json<{ items: object[] }>(gateway.admin("GET", "/admin/versions?limit=1"))).items[0];
const saying = (text: string, body: string): string => text.replace(/"body": "[^"]*"/, `"body": "${body}"`);
const answerOf = async (gateway: Gateway): Promise<string> => (await fetch(`${gateway.url}/hello`)).text();

const editor = ({ page }: Console) => page.getByLabel("The configuration file", { exact: true });
const check = ({ page }: Console) => page.getByRole("button", { name: "Check", exact: true });

/** Changes the text in the editor. */
async function edit(console: Console, change: (text: string) => string): Promise<void> {
  await editor(console).fill(change(await editor(console).inputValue()));
}

for (const scheme of ["light", "dark"] as const)
  for (const isPhone of [false, true])
    screenTest(
      `the editor, its faults, the preview and what is in force have nothing that axe-core objects to, ${scheme}${isPhone ? ", on a phone" : ""}`,
      { scheme, isPhone },
      async (console) => {
        const { open, page, axe, isTooWide } = console;
        const looks = async (): Promise<void> => expect([await axe(), await isTooWide()]).toEqual([[], false]);
        await open("/configuration");
        await editor(console).waitFor();
        await looks();
        await edit(console, (text) => text.replace('"respond"', '"respnd"'));
        await check(console).click();
        await page.getByRole("region", { name: "Faults" }).waitFor();
        await looks();
        await edit(console, (text) => saying(text.replace('"respnd"', '"respond"'), `${scheme}${isPhone}`));
        await check(console).click();
        await page.getByLabel("What applying it changes in the file").waitFor();
        await looks();
        await page.getByRole("tab", { name: "In force" }).click();
        await page.getByLabel("The configuration in force").waitFor();
        await looks();
      },
    );

screenTest("a text with faults is refused, and each fault leads to its place", async (console) => {
  const { open, page, gateway } = console;
  await open("/configuration");
  await edit(console, (text) => text.replace('"status": 200', '"status": "fine"'));
  await check(console).click();
  const faults = page.getByRole("region", { name: "Faults" });
  await faults.getByText("routes[0].respond.status").waitFor();
  const place = faults.getByRole("button").first();
  const [, line, column] = /Line (\d+), column (\d+)/.exec((await place.textContent()) ?? "") ?? [];
  const lines = (await editor(console).inputValue()).split("\n");
  expect(lines[Number(line) - 1]).toContain('"fine"');
  await place.click();
  await page.getByText(`Line ${line}, column ${column}`, { exact: true }).last().waitFor();
  const marked = (await page.evaluate("document.activeElement.value.slice(document.activeElement.selectionStart)")) as string;
  expect(marked).toStartWith(lines[Number(line) - 1]?.slice(Number(column) - 1) ?? "?");
  expect(await editor(console).getAttribute("aria-invalid")).toBe("true");
  expect(await page.getByRole("button", { name: "Apply" }).count()).toBe(0);
  expect(await fileText(gateway)).not.toContain("fine");
});

screenTest("a text that is no JSON leads to where it breaks off", async (console) => {
  await console.open("/configuration");
  await editor(console).fill('{\n  "routes": [\n}');
  await check(console).press("Enter");
  await console.page.getByRole("region", { name: "Faults" }).getByText("Line 3").waitFor();
});

screenTest("a change is seen as a difference before it is applied, and takes effect with its note", async (console) => {
  const { open, page, gateway, goTo } = console;
  await open();
  await goTo("Configuration");
  const before = await answerOf(gateway);
  await edit(console, (text) => saying(text, "changed here"));
  await check(console).click();
  const difference = page.getByLabel("What applying it changes in the file");
  expect(await difference.getByRole("deletion").textContent()).toContain(before);
  expect(await difference.getByRole("insertion").textContent()).toContain("changed here");
  expect(await answerOf(gateway)).toBe(before);
  await page.getByLabel("Note").fill("a friendlier hello");
  await page.keyboard.press("Enter");
  await page.getByText("It is in force").waitFor();
  expect(await answerOf(gateway)).toBe("changed here");
  expect(await newest(gateway)).toMatchObject({ source: "console", note: "a friendlier hello", changed: ["file"] });
  expect(await console.focused()).toContain("It is in force");
  await page.getByRole("link", { name: /^version \d+/ }).click();
  await page.getByRole("heading", { level: 1, name: /^Version/ }).waitFor();
  await page.getByText("a friendlier hello").waitFor();
});

screenTest("secrets are masked, and stay what they are", async (console) => {
  const { open, page, gateway } = console;
  await open("/configuration");
  await editor(console).waitFor();
  expect(await page.content()).not.toContain("thirty-two letters");
  expect(await editor(console).inputValue()).not.toContain("thirty-two letters");
  await edit(console, (text) => saying(text, "with a secret"));
  await check(console).click();
  await page.getByRole("button", { name: "Apply" }).click();
  await page.getByText("It is in force").waitFor();
  expect(await Bun.file(`${gateway.folder}/config.json`).text()).toContain("thirty-two letters");
});

for (const choice of ["theirs", "mine"] as const)
  screenTest(`whoever is overtaken sees the other's change, and can keep ${choice}`, async (console) => {
    const { open, page, gateway } = console;
    await open("/configuration");
    await edit(console, (text) => saying(text, "mine"));
    await json(gateway.admin("PUT", "/admin/config/file", { text: saying(await fileText(gateway), `theirs, before ${choice}`) }));
    await check(console).click();
    await page.getByText("Somebody else changed the file since you read it.").waitFor();
    expect(await page.getByLabel("What somebody else changed", { exact: true }).getByRole("insertion").textContent()).toContain("theirs");
    expect(await console.axe()).toEqual([]);
    if (choice === "theirs") {
      await page.getByRole("button", { name: "Take theirs, and lose mine" }).click();
      await until(async () => (await editor(console).inputValue()).includes("theirs, before theirs"));
    } else {
      await page.getByRole("button", { name: "Compare mine with theirs, to overwrite it" }).click();
      const difference = page.getByLabel("What applying it changes in the file");
      expect(await difference.getByRole("deletion").textContent()).toContain("theirs, before mine");
      await page.getByRole("button", { name: "Apply" }).click();
      await page.getByText("It is in force").waitFor();
    }
    expect(await answerOf(gateway)).toBe(choice === "theirs" ? "theirs, before theirs" : "mine");
  });

screenTest("Tab leaves the editor, and what was typed stays while other screens are looked at", async (console) => {
  const { open, page, goTo } = console;
  await open("/configuration");
  await editor(console).focus();
  await page.keyboard.press("Tab");
  expect(await console.focused()).toBe("Check");
  await edit(console, (text) => saying(text, "not yet"));
  await goTo("Audit");
  await page.getByRole("heading", { level: 1, name: "Audit" }).waitFor();
  await goTo("Configuration");
  await until(async () => (await editor(console).inputValue()).includes("not yet"));
  await page.getByRole("button", { name: "Discard my changes" }).click();
  await until(async () => !(await editor(console).inputValue()).includes("not yet"));
});

screenTest("an operator reads the file, and has it read again", { role: "operator" }, async (console) => {
  const { open, page, gateway } = console;
  const path = `${gateway.folder}/config.json`;
  const whole = await Bun.file(path).text();
  await open("/configuration");
  await page.getByText("This takes the role admin").first().waitFor();
  expect(await editor(console).getAttribute("readonly")).not.toBeNull();
  expect(await check(console).count()).toBe(0);
  await Bun.write(path, saying(whole, "from the disk"));
  await page.getByRole("button", { name: "Reload the file" }).click();
  await page.getByText("The file was read again and is in force.").waitFor();
  expect(await answerOf(gateway)).toBe("from the disk");
  await until(async () => (await editor(console).inputValue()).includes("from the disk"));
  await Bun.write(path, whole.replace('"respond"', '"respnd"'));
  await page.getByRole("button", { name: "Reload the file" }).click();
  await page.getByRole("alert").getByText("The configuration before stays in force").waitFor();
  await page.getByRole("region", { name: "Faults" }).getByText("routes[0]").first().waitFor();
  await Bun.write(path, whole);
  await page.getByRole("button", { name: "Reload the file" }).click();
  await page.getByText("The file was read again and is in force.").last().waitFor();
});

screenTest("a viewer sees the file, what is in force, and why nothing can be done", { role: "viewer" }, async (console) => {
  const { open, page } = console;
  await open("/configuration");
  await editor(console).waitFor();
  expect(await page.getByRole("button", { name: "Reload the file" }).getAttribute("title")).toContain("This takes the role operator");
  await page.getByRole("tab", { name: "File" }).press("ArrowRight");
  await page.getByLabel("The configuration in force").getByText('"routes"').waitFor();
  expect(await page.content()).not.toContain("thirty-two letters");
});

closedTest("where the API may not write the file, an admin is told how to allow it", async (console) => {
  await console.open("/configuration");
  await console.page.getByText('"admin": { "editFile": true }').waitFor();
  expect(await editor(console).getAttribute("readonly")).not.toBeNull();
  expect(await check(console).count()).toBe(0);
});

demoTest("the embedded demo says that it has no file", async ({ open, page }) => {
  await open("/configuration");
  await page.getByText("This is the embedded demo, which has no file.").waitFor();
  await page.getByRole("tab", { name: "In force" }).click();
  await page.getByLabel("The configuration in force").waitFor();
});
