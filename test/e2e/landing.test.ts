import { expect, test } from "bun:test";
import { backend } from "../support/backend.ts";
import { ADMIN_TOKEN, freePort, start } from "../support/process.ts";
import { exchange } from "../support/raw.ts";

const HTML = { accept: "text/html" };

test("/ and /docs lead somewhere: a page for browsers, the same as JSON for programs", async () => {
  await using gateway = await start({ config: {} });
  const page = await fetch(`${gateway.url}/`, { headers: HTML });
  expect([page.status, page.headers.get("content-type")]).toEqual([200, "text/html; charset=utf-8"]);
  expect(page.headers.get("content-security-policy")).toContain("frame-ancestors 'none'");
  expect(page.headers.get("x-content-type-options")).toBe("nosniff");
  expect(page.headers.get("vary")).toBe("Accept");
  const html = await page.text();
  const links = [...html.matchAll(/(?:href|src)="([^"]+)"/g)].map(([, address]) => address ?? "");
  expect(links).toEqual(expect.arrayContaining(["/swagger", "/docs"]));
  for (const link of links) {
    expect(link).toStartWith("/");
    expect([link, (await fetch(gateway.url + link)).status]).toEqual([link, 200]);
  }
  expect(html).not.toContain("API-Key");
  const json = (await (await fetch(`${gateway.url}/`)).json()) as { name: string; links: Record<string, string>; demo?: unknown };
  expect(json).toMatchObject({ name: "Sluice", links: { swagger: "/swagger", docs: "/docs" } });
  expect(json.demo).toBeUndefined();
  const docs = await fetch(`${gateway.url}/docs`, { headers: HTML });
  expect([docs.status, docs.headers.get("content-type")]).toEqual([200, "text/html; charset=utf-8"]);
  const index = await docs.text();
  expect(index).toContain('href="/swagger"');
  const pages = [...index.matchAll(/href="(\/docs\/[^"#]+)/g)].map(([, address]) => address ?? "");
  expect(pages.length).toBeGreaterThan(10);
  for (const address of pages) expect([address, (await fetch(gateway.url + address, { headers: HTML })).status]).toEqual([address, 200]);
  const markdown = await fetch(`${gateway.url}/docs`);
  expect([markdown.headers.get("content-type"), await markdown.text()]).toEqual([
    "text/markdown; charset=utf-8",
    expect.stringMatching(/^# /m),
  ]);
  const [some = ""] = pages;
  expect((await fetch(`${gateway.url}${some}.md`, { headers: HTML })).headers.get("content-type")).toBe("text/markdown; charset=utf-8");
  const nowhere = await fetch(`${gateway.url}/docs/nowhere`, { headers: HTML });
  expect([nowhere.status, ((await nowhere.json()) as { code: string }).code]).toEqual([404, "routeNotFound"]);
  for (const path of ["/docs/__proto__", "/docs/constructor", "/docs/..%2f"])
    expect((await fetch(gateway.url + path)).status).toBeGreaterThanOrEqual(400);
  expect(await (await fetch(`${gateway.url}/llms.txt`)).text()).toContain("](/docs/");
  const head = await fetch(`${gateway.url}/`, { method: "HEAD" });
  expect([head.status, await head.text()]).toEqual([200, ""]);
  expect((await fetch(`${gateway.url}/`, { method: "POST" })).status).toBe(404);
});

test("the demo's page shows its keys and requests to try; another configuration's keys are never shown", async () => {
  await using demo = await start();
  const { demo: requests } = (await (await fetch(`${demo.url}/`)).json()) as { demo: { label: string; command: string }[] };
  expect(requests.map(({ label }) => label)).toEqual(["free", "pro", "enterprise", "anonymous", "a pool's key", "a row"]);
  const [first] = requests;
  expect(first?.command).toBe(`curl -i -H 'X-API-Key: demo_free_key_123' ${demo.url}/test`);
  expect(await (await fetch(`${demo.url}/`, { headers: HTML })).text()).toContain("demo_pro_key_789");

  await using own = await start({ config: { demo: true, consumers: [{ id: "acme", tier: "free", keys: ["a-secret-key-0123456789"] }] } });
  for (const headers of [HTML, { accept: "application/json" }])
    expect(await (await fetch(`${own.url}/`, { headers })).text()).not.toContain("a-secret-key");

  // The demo's file, as it lies in the repository, with a consumer that somebody has added.
  const file = (await Bun.file(new URL("../../config.json", import.meta.url)).json()) as { consumers: object[] };
  await using changed = await start({
    config: { ...file, consumers: [...file.consumers, { id: "acme", tier: "free", keys: ["a-secret-key-0123456789"] }] },
  });
  const page = await (await fetch(`${changed.url}/`, { headers: HTML })).text();
  expect(page).toContain("demo_pro_key_789");
  expect(page).not.toContain("a-secret-key");
});

test("what a caller says of the host can't become part of the page", async () => {
  await using demo = await start();
  const answer = await exchange(
    demo.port,
    'GET / HTTP/1.1\r\nHost: "><script>alert(1)</script>\r\nAccept: text/html\r\nConnection: close\r\n\r\n',
  );
  expect(answer).toStartWith("HTTP/1.1 ");
  expect(answer).not.toContain("<script>alert");
});

test("a route with the page's path, or a longer one, goes before it; / of a route goes before the landing page", async () => {
  using behind = backend();
  const route = (path: string) => ({ path, upstream: behind.url, auth: "none", stripPrefix: false });
  const pathsSeen = async (paths: string[], ask: string): Promise<boolean> => {
    await using gateway = await start({ config: { routes: paths.map(route) } });
    const before = behind.seen.length;
    await (await fetch(gateway.url + ask, { headers: HTML })).text();
    return behind.seen.length > before;
  };
  expect(await pathsSeen(["/"], "/")).toBe(true);
  expect(await pathsSeen(["/docs"], "/docs")).toBe(true);
  expect(await pathsSeen(["/docs"], "/")).toBe(false);
  expect(await pathsSeen(["/docs/v2"], "/docs/v2")).toBe(true);
  expect(await pathsSeen(["/docs/v2"], "/docs")).toBe(false);
  expect(await pathsSeen(["/"], "/docs/guides/limits")).toBe(false);
  expect(await pathsSeen(["/docs"], "/docs/guides/limits")).toBe(true);
  expect(await pathsSeen(["/llms.txt"], "/llms.txt")).toBe(true);
});

test("with a listener of its own for the admin API the pages are there, and not on the main port", async () => {
  const adminPort = freePort();
  await using gateway = await start({ config: { admin: { listen: { host: "127.0.0.1", port: adminPort } } } });
  for (const path of ["/", "/docs"]) {
    expect((await fetch(gateway.url + path)).status).toBe(404);
    expect((await fetch(`http://127.0.0.1:${adminPort}${path}`)).status).toBe(200);
  }
});

test("/health, /ready and /metrics say how long they took, are counted, and take no other method", async () => {
  await using gateway = await start({ config: {} });
  const ask = (path: string, method = "GET") => fetch(gateway.url + path, { method, headers: { authorization: `Bearer ${ADMIN_TOKEN}` } });
  const count = async (route: string, status: number): Promise<number> => {
    const text = await (await ask("/metrics")).text();
    return Number(
      new RegExp(`^http_requests_total\\{route="${route}",method="GET",status="${status}"\\} (\\d+)`, "m").exec(text)?.[1] ?? 0,
    );
  };
  const before = { health: await count("health", 200), ready: await count("ready", 200), metrics: await count("metrics", 200) };
  for (const path of ["/health", "/_health", "/ready", "/metrics", "/_metrics"]) {
    const answer = await ask(path);
    expect([path, answer.status]).toEqual([path, 200]);
    expect(Number(answer.headers.get("x-process-time"))).toBeGreaterThanOrEqual(0);
    expect(answer.headers.get("x-process-time")).toMatch(/^\d+(\.\d{1,3})?$/);
    for (const method of ["POST", "PUT", "DELETE"]) {
      const refused = await ask(path, method);
      expect([path, method, refused.status, refused.headers.get("allow")]).toEqual([path, method, 405, "GET, HEAD, OPTIONS"]);
    }
  }
  expect(await count("health", 200)).toBe(before.health + 2);
  expect(await count("ready", 200)).toBe(before.ready + 1);
  expect(await count("metrics", 200)).toBeGreaterThan(before.metrics + 2);
  const text = await (await ask("/metrics")).text();
  expect(text).toContain('http_request_latency_ms_count{route="health"}');
  // Sums for people are of callers' requests.
  expect(((await (await ask("/_metrics")).json()) as { requests_total: number }).requests_total).toBe(0);
  const { routes } = (await (await gateway.admin("GET", "/admin/stats")).json()) as { routes: { name: string }[] };
  expect(routes.map(({ name }) => name)).not.toContain("health");
});
