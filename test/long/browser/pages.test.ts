import { expect } from "bun:test";
import { launch } from "../../support/browser.ts";
import { ADMIN_TOKEN, start } from "../../support/process.ts";
import { having } from "../../support/programs.ts";

const { test } = having("chromium");

test("Swagger UI shows the endpoints without any request to another host", async () => {
  await using gateway = await start();
  const browser = await launch();
  try {
    const tab = await browser.newPage();
    const elsewhere: string[] = [];
    const complaints: string[] = [];
    tab.on("request", (request) => {
      if (!request.url().startsWith(gateway.url) && !request.url().startsWith("data:")) elsewhere.push(request.url());
    });
    tab.on("console", (message) => void (message.type() === "error" && complaints.push(message.text())));
    tab.on("pageerror", (error) => void complaints.push(String(error)));
    await tab.addInitScript(() => {
      const page = globalThis as unknown as {
        violations: string[];
        addEventListener(name: string, listener: (event: never) => void): void;
      };
      page.violations = [];
      page.addEventListener(
        "securitypolicyviolation",
        ({ violatedDirective, blockedURI }: { violatedDirective: string; blockedURI: string }) =>
          page.violations.push(`${violatedDirective} ${blockedURI}`),
      );
    });
    await tab.goto(`${gateway.url}/swagger`);
    await tab.waitForSelector(".opblock");
    expect(await tab.locator(".opblock").count()).toBeGreaterThan(30);
    expect(await tab.locator(".opblock-tag").allTextContents()).toEqual(expect.arrayContaining([expect.stringContaining("consumers")]));
    // What most people look for is open, the rest is not.
    expect(await tab.locator("#operations-tag-consumers").getAttribute("data-is-open")).toBe("true");
    expect(await tab.locator("#operations-tag-backup").getAttribute("data-is-open")).toBe("false");

    // The token goes into the first box, and what is prefilled is accepted.
    await tab.click("button.authorize");
    const box = tab.locator(".auth-container").first();
    expect(await box.textContent()).toContain("adminToken");
    await box.locator("input").fill(ADMIN_TOKEN);
    await box.locator("button.authorize").click();
    await tab.click(".btn-done");
    for (const id of ["createTier", "createConsumer", "createKey", "importKeys", "createUpstream", "createRoute", "createPool"]) {
      const operation = tab.locator(`.opblock[id$="-${id}"]`);
      await operation.locator(".opblock-summary-control").click();
      await operation.locator(".try-out__btn").click();
      await operation.locator("button.execute").click();
      const status = operation.locator(".live-responses-table .response-col_status").first();
      await status.waitFor();
      await tab.waitForFunction(
        (at) =>
          /\d{3}/.test(
            (globalThis as unknown as { document: { querySelector(at: string): { textContent: string } | null } }).document.querySelector(
              at,
            )?.textContent ?? "",
          ),
        `.opblock[id$="-${id}"] .live-responses-table tbody .response-col_status`,
      );
      const said = await operation.locator(".live-responses-table tbody .response-col_status").first().textContent();
      expect([id, said?.trim().slice(0, 3), await operation.locator(".live-responses-table tbody").first().textContent()]).toEqual([
        id,
        "201",
        expect.anything(),
      ]);
    }

    expect(elsewhere).toEqual([]);
    expect(complaints).toEqual([]);
    expect(await tab.evaluate("violations")).toEqual([]);
    // Whatever a backend's page could read of this origin holds no token.
    expect(
      await tab.evaluate("JSON.stringify({ ...localStorage }) + JSON.stringify({ ...sessionStorage }) + document.cookie"),
    ).not.toContain(ADMIN_TOKEN);
  } finally {
    await browser.close();
  }
});

test("the landing page meets its own policy in a browser", async () => {
  await using gateway = await start();
  const browser = await launch();
  try {
    const tab = await browser.newPage();
    const complaints: string[] = [];
    const elsewhere: string[] = [];
    tab.on("console", (message) => void (message.type() === "error" && complaints.push(message.text())));
    tab.on("request", (request) => {
      if (!request.url().startsWith(gateway.url)) elsewhere.push(request.url());
    });
    for (const path of ["/", "/docs"]) {
      await tab.goto(gateway.url + path);
      expect(await tab.locator("h1").textContent()).not.toBe("");
    }
    await tab.goto(gateway.url);
    await tab.click('a[href="/swagger"]');
    await tab.waitForSelector(".opblock");
    expect([complaints, elsewhere]).toEqual([[], []]);
  } finally {
    await browser.close();
  }
});
