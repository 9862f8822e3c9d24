import { expect, test } from "bun:test";
import { chromium } from "playwright-core";
import { start } from "../support/process.ts";
import { having, programAt } from "../support/programs.ts";

const { test: withBrowser } = having("chromium");

interface Operation {
  readonly summary?: string;
  readonly requestBody?: unknown;
}

test("every endpoint of the document has a summary, and those that take a body describe it", async () => {
  await using gateway = await start();
  const document = (await (await fetch(`${gateway.url}/swagger/json`)).json()) as { paths: Record<string, Record<string, Operation>> };
  const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ name: `${method} ${path}`, method, operation })),
  );
  expect(operations.length).toBeGreaterThan(30);
  for (const { name, method, operation } of operations) {
    expect([name, operation.summary]).toEqual([name, expect.stringMatching(/./)]);
    const isPlainAct = /\/(open|close|reload|replay|reset|backup\/)$/.test(name);
    if ((method === "post" || method === "patch") && !isPlainAct) expect([name, operation.requestBody]).toEqual([name, expect.anything()]);
  }
});

test("Swagger UI's page names no file of another host", async () => {
  await using gateway = await start();
  const page = await (await fetch(`${gateway.url}/swagger`)).text();
  const addresses = [...page.matchAll(/(?:src|href)="([^"]+)"/g)].map((match) => match[1] ?? "");
  for (const address of addresses) expect(address).toStartWith("/");
  for (const address of addresses) expect((await fetch(gateway.url + address)).status).toBe(200);
});

withBrowser("Swagger UI shows the endpoints without any request to another host", async () => {
  await using gateway = await start();
  const browser = await chromium.launch({
    executablePath: programAt("chromium") ?? "",
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
  try {
    const tab = await browser.newPage();
    const elsewhere: string[] = [];
    tab.on("request", (request) => {
      if (!request.url().startsWith(gateway.url) && !request.url().startsWith("data:")) elsewhere.push(request.url());
    });
    await tab.goto(`${gateway.url}/swagger`);
    await tab.waitForSelector(".opblock");
    expect(await tab.locator(".opblock").count()).toBeGreaterThan(30);
    expect(elsewhere).toEqual([]);
  } finally {
    await browser.close();
  }
});
