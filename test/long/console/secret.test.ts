import { expect } from "bun:test";
import { consoleTests } from "../../support/console.ts";
import { ADMIN_TOKEN, type Running } from "../../support/process.ts";

const screenTest = consoleTests({ config: { admin: { mcp: true }, consumers: [{ id: "acme", tier: "free" }], tiers: { free: {} } } });

/** Has an assistant make a key, and gives the address at which a person sees it. */
async function seeAtOf(gateway: Running): Promise<string> {
  const answer = await fetch(`${gateway.url}/admin/mcp`, {
    method: "POST",
    headers: { authorization: `Bearer ${ADMIN_TOKEN}`, "content-type": "application/json" },
    body: JSON.stringify({
      jsonrpc: "2.0",
      id: 1,
      method: "tools/call",
      params: { name: "createKey", arguments: { body: { consumer: "acme" } } },
    }),
  });
  const { result } = (await answer.json()) as { result: { content: [{ text: string }] } };
  return (JSON.parse(result.content[0].text) as { seeAt: string }).seeAt;
}

screenTest("a key that an assistant had made is shown once, and never again", async ({ gateway, page, axe, isTooWide }) => {
  const address = await seeAtOf(gateway);
  await page.goto(address);
  await page.getByRole("button", { name: "Show it" }).click();
  await page.getByText("Copy this key now.").waitFor();
  expect(await page.locator(".secret code").textContent()).toMatch(/^slc_/);
  expect([await axe(), await isTooWide()]).toEqual([[], false]);
  await page.goto(address);
  await page.getByRole("button", { name: "Show it" }).click();
  await page.getByText("There is no such secret any more").waitFor();
});

screenTest(
  "whoever may not make keys is told so",
  { role: "viewer", scheme: "dark", isPhone: true },
  async ({ gateway, page, axe, isTooWide }) => {
    await page.goto(await seeAtOf(gateway));
    await page.getByRole("heading", { level: 1, name: "A secret for you" }).waitFor();
    expect(await page.getByRole("button", { name: "Show it" }).count()).toBe(0);
    expect([await axe(), await isTooWide()]).toEqual([[], false]);
  },
);
