import { afterAll, expect } from "bun:test";
import { backend } from "../../support/backend.ts";
import { ask, consoleTests, said } from "../../support/console.ts";
import { until } from "../../support/until.ts";

const behind = backend();
afterAll(() => behind[Symbol.dispose]());

const screenTest = consoleTests({
  config: {
    tiers: { anonymous: { limits: [] } },
    upstreams: { main: { targets: [{ url: behind.url }], healthCheck: { path: "/", interval: "1s" } } },
    routes: [{ name: "declared", path: "/declared", upstream: "main", auth: "none", cache: { ttl: "60s" } }],
  },
});

screenTest("makes an upstream and a route that serve at once, changes the route and deletes it", async (at) => {
  const { open, page, gateway } = at;
  await open("/routes/upstreams");
  await page.getByRole("link", { name: "New upstream" }).click();
  await page.getByLabel("Name").fill("shop");
  await page.getByRole("group", { name: "target 1" }).getByLabel("URL").fill(behind.url);
  await page.getByLabel("Ask each target whether it is well").check();
  await page.getByRole("button", { name: "Create upstream" }).click();
  await page.getByRole("heading", { level: 1, name: "shop" }).waitFor();
  expect((await ask(at, "GET", "/admin/upstreams/shop")).body).toMatchObject({
    targets: [{ url: behind.url }],
    healthCheck: { path: "/health" },
  });

  await open("/routes?new=route");
  await page.getByLabel("Name").first().fill("shop");
  await page.getByLabel("Path", { exact: true }).fill("shop");
  await page.getByLabel("Upstream", { exact: true }).fill("shop");
  await page.getByLabel("Callers show").selectOption("none");
  await page.getByRole("button", { name: "Create route" }).click();
  await page.locator(".fault").first().waitFor();
  expect(await page.getByLabel("Path", { exact: true }).getAttribute("aria-invalid")).toBe("true");
  await page.getByLabel("Path", { exact: true }).fill("/shop");
  await page.getByRole("button", { name: "Create route" }).click();
  await page.getByRole("heading", { level: 1, name: "shop" }).waitFor();
  expect((await fetch(`${gateway.url}/shop/1`)).status).toBe(200);

  await page.getByLabel("Timeout").fill("7s");
  await page.getByRole("button", { name: "Add a limit" }).click();
  await page.getByRole("button", { name: "Save" }).click();
  await said(at, "The route is saved");
  expect((await ask(at, "GET", "/admin/routes/shop")).body).toMatchObject({
    timeout: "7s",
    limits: [{ algorithm: "sliding-window", limit: 100, window: "1m" }],
  });

  // What a route uses is not deleted by a slip.
  await open("/routes/upstream/shop");
  await page.getByRole("button", { name: "Delete" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Delete" }).click();
  await page.getByRole("dialog").getByText("use it").first().waitFor();
  await page.keyboard.press("Escape");
  await open("/routes/route/shop");
  await page.getByRole("button", { name: "Delete" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Delete" }).click();
  await page.getByRole("heading", { level: 1, name: "Routes and upstreams" }).waitFor();
  expect((await fetch(`${gateway.url}/shop/1`)).status).toBe(404);
});

screenTest("shows routes that answer by themselves, and changes one", async (at) => {
  const { open, page, gateway } = at;
  const made = async (name: string, respond: object) => {
    const body = { name, path: `/${name}`, auth: "none", respond };
    expect((await ask(at, "POST", "/admin/routes", body)).status).toBe(201);
  };
  await made("away", { status: 503 });
  await made("moved", { status: 308, headers: { location: "https://example.com{rest}" } });
  await open("/routes");
  await page.getByRole("row", { name: /away.*answers itself: 503.*open to all/ }).waitFor();
  await page.getByRole("row", { name: /moved.*answers itself: 308 to https:\/\/example\.com\{rest\}/ }).waitFor();
  await page.getByRole("button", { name: "Goes to" }).click();

  await page.getByRole("link", { name: "away" }).click();
  await page.getByText("This route answers by itself").waitFor();
  expect(await page.getByLabel("Upstream").count()).toBe(0);
  await page.getByLabel("Methods").fill("GET");
  await page.getByRole("button", { name: "Save" }).click();
  await said(at, "The route is saved");
  expect((await ask(at, "GET", "/admin/routes/away")).body).toMatchObject({ methods: ["GET"], upstream: null, respond: { status: 503 } });
  expect((await fetch(`${gateway.url}/away`)).status).toBe(503);
});

screenTest("shows how targets are, and opens and closes a breaker by hand, after asking", { role: "operator" }, async (at) => {
  const { open, page, gateway } = at;
  const status = async () => (await fetch(`${gateway.url}/declared/${crypto.randomUUID()}`)).status;
  const byHand = (what: string) => page.getByRole("row", { name: /of main/ }).getByRole("button", { name: `${what}: breaker of` });
  await open("/routes/health");
  await page.getByRole("row", { name: /main.*up.*closed/ }).waitFor();
  await byHand("Open").click();
  const dialog = page.getByRole("dialog");
  await dialog.getByRole("button", { name: "Cancel" }).click();
  expect(await status()).toBe(200);
  await byHand("Open").click();
  await dialog.getByRole("button", { name: "Open" }).click();
  await page.getByText("opened by hand").first().waitFor();
  expect(await status()).toBe(503);
  await byHand("Close").click();
  await dialog.getByRole("button", { name: "Close", exact: true }).last().click();
  await page.getByRole("row", { name: /main.*up.*closed/ }).waitFor();
  expect(await status()).toBe(200);
});

screenTest("purges what is cached of a route", { role: "operator" }, async (at) => {
  const { open, page, gateway } = at;
  const cached = async () => (await fetch(`${gateway.url}/declared/cached`)).headers.get("cache-status") ?? "";
  await ask(at, "DELETE", "/admin/cache");
  await cached();
  await until(async () => (await cached()).includes("hit"));
  await open("/routes/cache");
  await page.getByText("1 response,").waitFor();
  await page.getByRole("combobox", { name: "Route" }).selectOption("declared");
  await page.getByRole("button", { name: "Purge: the cache" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Purge" }).click();
  await said(at, "1 response purged.");
  expect(await cached()).not.toContain("hit");
});

screenTest("tells what would become of a request", { role: "viewer" }, async (at) => {
  const { open, page } = at;
  await open("/routes/test");
  await page.getByLabel("Path or URL").fill("/declared/7");
  await page.getByRole("button", { name: "Walk it" }).click();
  await page.getByText("It would pass, and be forwarded as GET").waitFor();
  await page.getByText("declared takes /declared").waitFor();
  await page.getByLabel("Path or URL").fill("/nowhere");
  await page.getByRole("button", { name: "Walk it" }).click();
  await page.getByText("It would be refused: 404").waitFor();
  // A viewer looks: what changes something says who may.
  await open("/routes/health");
  expect(
    await page
      .getByRole("button", { name: /^Open: breaker/ })
      .first()
      .getAttribute("aria-disabled"),
  ).toBe("true");
  await open("/routes");
  expect(await page.getByRole("link", { name: "New route" }).count()).toBe(0);
});

for (const scheme of ["light", "dark"] as const)
  for (const isPhone of [false, true])
    screenTest(`have nothing that axe-core objects to, ${scheme}${isPhone ? ", on a phone" : ""}`, { scheme, isPhone }, async (at) => {
      const { open, page } = at;
      for (const path of ["", "/upstreams", "/health", "/cache", "/test", "/route/declared", "/upstream/main"]) {
        await open(`/routes${path}`);
        await page.locator("main table, main form, main .note, main .pairs").first().waitFor();
        expect([path, await at.axe(), await at.isTooWide()]).toEqual([path, [], false]);
      }
      await open("/routes?new=route");
      expect([await at.axe(), await at.isTooWide()]).toEqual([[], false]);
    });
