import { expect } from "bun:test";
import { backend } from "../../support/backend.ts";
import { type Console, consoleTests } from "../../support/console.ts";

const KEY = "a-declared-key-of-acme";
const screenTest = consoleTests(async () => {
  const behind = backend();
  return {
    config: {
      guard: { invalidKeyLimit: 10_000 },
      tiers: { free: { limits: [{ name: "hourly", algorithm: "fixed-window", limit: 2, window: "1h" }] } },
      upstreams: { shop: { targets: [{ url: behind.url }] } },
      routes: [{ name: "shop", path: "/shop", upstream: "shop" }],
      consumers: [
        { id: "acme", tier: "free", keys: [KEY] },
        { id: "shop", tier: "free", keys: ["a-declared-key-of-shop"] },
        { id: "idle", tier: "free", keys: ["a-declared-key-of-idle"] },
      ],
    },
  };
});

const ask = async ({ page }: Console, text: string): Promise<void> => {
  await page.getByLabel("What do you have?").fill(text);
  await page.keyboard.press("Enter");
};
const call = (url: string, key: string, id: string) => fetch(`${url}/shop`, { headers: { "x-api-key": key, "x-request-id": id } });

screenTest("says of a consumer that is used up what, and when it works again", async (console) => {
  const { gateway, open, page, axe } = console;
  await open("/why");
  for (const id of ["one", "two", "three"]) await call(gateway.url, KEY, id);
  await ask(console, "acme");
  await page.getByRole("heading", { name: "The next request is refused: rateLimited" }).waitFor();
  await page.getByText(/The limit hourly \(tier free\) is used up: 2 of 2\. It works again in \d+ min/).waitFor();
  expect(new URL(page.url()).search).toBe("?consumer=acme");
  await page.getByLabel("Route").selectOption("shop");
  expect(new URL(page.url()).search).toBe("?consumer=acme&route=shop");
  expect(await axe()).toEqual([]);

  await gateway.admin("DELETE", "/admin/limits/acme");
  await page.getByRole("heading", { name: "The next request passes" }).waitFor();
});

screenTest("says of a request why it was refused, by its id", { role: "viewer" }, async (console) => {
  const { gateway, open, page } = console;
  for (const id of ["r-1", "r-2", "r-3"]) await call(gateway.url, "a-declared-key-of-shop", id);
  await open("/why");
  await ask(console, "r-3");
  await page.getByRole("heading", { name: "It was refused: 429 rateLimited" }).waitFor();
  await page.getByText("hourly (tier free) was used up: 2 of 2").waitFor();
  await ask(console, "nobody-knows-this");
  await page.getByText("This gateway knows nothing by that name.").waitFor();
  await open("/why?request=gone");
  await page.getByText("No refusal is remembered for this request").waitFor();
});

screenTest("says what a text can be that is several things", async (console) => {
  const { open, page } = console;
  await open("/why");
  await ask(console, "shop");
  await page.getByRole("link", { name: "The route shop" }).waitFor();
  await page.getByRole("link", { name: "The consumer shop" }).click();
  await page.getByText("shop", { exact: true }).first().waitFor();
  expect(new URL(page.url()).search).toBe("?consumer=shop");
});

screenTest("takes a whole key, says what is wrong with it, and writes it nowhere", async (console) => {
  const { gateway, open, page } = console;
  const { id, key } = (await (await gateway.admin("POST", "/admin/keys", { consumer: "idle" })).json()) as { id: string; key: string };
  await open("/why");
  await ask(console, key);
  await page.getByText(id).first().waitFor();
  expect(page.url()).not.toContain(key);
  await gateway.admin("DELETE", `/admin/keys/${id}`);
  await ask(console, key);
  await page.getByRole("heading", { name: "This key is refused: keyRevoked" }).waitFor();
  await ask(console, `${key.slice(0, -1)}_`);
  await page.getByRole("heading", { name: "This key is refused: keyMalformed" }).waitFor();
  expect(await page.evaluate("JSON.stringify([Object.keys(localStorage), Object.keys(sessionStorage)])")).toBe("[[],[]]");
});

screenTest("walks a request step by step", { isPhone: true }, async (console) => {
  const { open, page, axe, isTooWide } = console;
  await open("/why");
  await ask(console, "POST /shop/basket");
  await page.getByLabel("API key").fill("a-declared-key-of-idle");
  await page.getByRole("button", { name: "Walk it" }).click();
  await page.getByText(/It would pass, and be forwarded as POST http/).waitFor();
  expect(await page.getByRole("listitem").filter({ hasText: "Who calls" }).textContent()).toContain("idle");
  expect(await isTooWide()).toBe(false);
  expect(await axe()).toEqual([]);
});
