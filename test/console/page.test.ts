import { afterAll, beforeAll, expect, test } from "bun:test";
import { brotliDecompressSync } from "node:zlib";
import { buildPage, QUICK } from "../../src/console/build.ts";
import { PAGES } from "../../src/console/pages.ts";
import { serving } from "../support/serving.ts";

let gateway: ReturnType<typeof serving>;
beforeAll(() => {
  gateway = serving({ upstreams: { a: { targets: [{ url: "http://127.0.0.1:9" }] } }, routes: [{ path: "/a", upstream: "a" }] });
});
afterAll(() => gateway.stop());

/** Bytes that a page may have, not compressed. */
const MAX_SIZE = 250_000;

test("a page is there for every path below its own, and kept by nobody", async () => {
  for (const path of ["/console", "/console/", "/console/consumers/a%2Fb"]) {
    const answer = await fetch(gateway.url + path);
    expect([path, answer.status, answer.headers.get("content-type")]).toEqual([path, 200, "text/html; charset=utf-8"]);
    expect(answer.headers.get("cache-control")).toBe("no-store");
    const policy = answer.headers.get("content-security-policy") ?? "";
    expect(policy).toContain("default-src 'none'");
    expect(policy).toContain("frame-ancestors 'none'");
    expect(policy).not.toContain("unsafe");
    expect(answer.headers.get("cross-origin-opener-policy")).toBe("same-origin");
    expect(answer.headers.get("x-content-type-options")).toBe("nosniff");
  }
  expect((await fetch(`${gateway.url}/consolex`)).status).toBe(404);
  expect((await fetch(`${gateway.url}/console`, { method: "POST" })).status).toBe(404);
});

test("its files are sent once, in the coding that the browser takes", async () => {
  const url = `${gateway.url}/console/app.css`;
  const ask = (headers: Record<string, string>) => fetch(url, { headers, decompress: false });
  const plain = await (await ask({ "accept-encoding": "identity" })).bytes();
  for (const [takes, coding] of [
    ["gzip, deflate, br", "br"],
    ["gzip", "gzip"],
    ["br;q=0, gzip", "gzip"],
  ] as const) {
    const answer = await ask({ "accept-encoding": takes });
    expect([takes, answer.headers.get("content-encoding")]).toEqual([takes, coding]);
    expect(answer.headers.get("vary")).toBe("Accept-Encoding");
    expect(await (await fetch(url, { headers: { "accept-encoding": takes } })).bytes()).toEqual(plain);
  }
  const etag = (await ask({})).headers.get("etag") ?? "";
  const again = await ask({ "if-none-match": etag });
  expect([again.status, (await again.bytes()).length]).toEqual([304, 0]);
  expect((await fetch(`${gateway.url}/console/app.js.map`)).status).toBe(404);
});

test("it yields to a route that is meant by its path", async () => {
  const other = serving({
    upstreams: { a: { targets: [{ url: "http://127.0.0.1:9" }] } },
    routes: [{ path: "/console", upstream: "a", auth: "required" }],
  });
  expect((await fetch(`${other.url}/console`)).status).toBe(401);
  await other.stop();
});

test("each page is small", async () => {
  for (const page of PAGES) {
    const { script, style } = await buildPage(page, QUICK);
    const sizes = [script, style].map((file) => brotliDecompressSync(file).length);
    expect(sizes.reduce((sum, size) => sum + size)).toBeLessThan(MAX_SIZE);
  }
});
