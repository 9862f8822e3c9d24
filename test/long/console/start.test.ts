import { expect } from "bun:test";
import { backend } from "../../support/backend.ts";
import { consoleTests } from "../../support/console.ts";

const screenTest = consoleTests({ config: {} });

screenTest("leads from nothing to the first request", async ({ gateway, open, page, axe }) => {
  using behind = backend();
  await open();
  await page.getByRole("link", { name: "Set it up in three steps" }).click();
  await page.getByLabel("URL").fill("no url");
  await page.getByRole("button", { name: "Go on" }).click();
  // The fault stands at its field, which has the focus.
  await page.getByRole("alert").waitFor();
  expect(await page.getByLabel("URL").getAttribute("aria-invalid")).toBe("true");
  expect(await axe()).toEqual([]);
  await page.getByLabel("URL").fill(behind.url);
  await page.keyboard.press("Enter");

  await page.getByLabel("Path", { exact: true }).fill("/first");
  await page.getByRole("button", { name: "Go on" }).click();
  await page.getByLabel("Consumer").fill("me");
  await page.getByLabel("Tier").selectOption({ label: "free: 10 a minute, up to 20 at once" });
  await page.getByRole("button", { name: "Make a key" }).click();

  await page.getByText("Copy this key now.").waitFor();
  // The key is gone with a reload: the same consumer gets another one.
  await page.reload();
  await page.getByText("This consumer is there.").waitFor();
  expect(await page.getByLabel("Consumer").inputValue()).toBe("me");
  await page.getByRole("button", { name: "Make another key" }).click();
  await page.getByText("Copy this key now.").waitFor();
  const command = await page.getByText(/^curl -i/).textContent();
  const [, key = "", url = ""] = /X-API-Key: (\S+)" (\S+)$/.exec(command ?? "") ?? [];
  expect(url).toBe(`${gateway.url}/first`);
  await page.getByText("Waiting for the first request…").waitFor();
  expect(await axe()).toEqual([]);
  await page.waitForFunction("document.readyState === 'complete'");
  // It is heard when the stream is open: whoever is too quick calls again.
  const timer = setInterval(() => void fetch(url, { headers: { "x-api-key": key } }), 200);
  try {
    await page.getByText("Here it is. Your gateway works.").waitFor();
  } finally {
    clearInterval(timer);
  }
  await page.getByText(/^The limit .* has \d+ of \d+ left|is used up/).waitFor();
  await page.getByText(/^for i in \$\(seq /).waitFor();
  expect(await axe()).toEqual([]);
  const made = (await (await gateway.admin("GET", "/admin/routes")).json()) as { items: object[] };
  expect(made.items).toMatchObject([{ name: "api", path: "/first", upstream: "backend", auth: "required" }]);
});

screenTest("says who may not", { role: "operator" }, async ({ open, page }) => {
  await open("/start");
  await page.getByText("This takes the role admin.").waitFor();
  expect(await page.getByRole("button", { name: "Go on" }).isDisabled()).toBe(true);
});

screenTest("goes on with a consumer that is there already", async ({ gateway, open, page }) => {
  await gateway.admin("POST", "/admin/consumers", { id: "there", tier: "free" });
  await open("/start?upstream=backend&route=api&path=%2Ffirst&auth=required");
  await page.getByLabel("Consumer").fill("there");
  await page.getByRole("button", { name: "Make a key" }).click();
  await page.getByText("Copy this key now.").waitFor();
  expect(new URL(page.url()).searchParams.get("consumer")).toBe("there");
});
