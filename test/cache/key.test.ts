import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { CacheStore } from "../../src/cache/store.ts";
import { cacheWarning } from "../../src/cache/warning.ts";
import { loadConfig } from "../../src/config/load.ts";
import { flaky } from "../support/flaky.ts";
import { serving } from "../support/serving.ts";

let behind: ReturnType<typeof flaky>;
let gateway: ReturnType<typeof serving>;

beforeAll(() => {
  // Tells what it was asked for: what a page with links in it would be made of.
  behind = flaky(({ path, headers }) => ({
    status: 200,
    headers: { Vary: headers.vary ?? "X-Nothing" },
    body: `${path} of ${headers["x-forwarded-proto"]}://${headers["x-forwarded-host"]} (${headers.forwarded})`,
  }));
  const route = (path: string, cache: object) => ({
    path,
    upstream: behind.url,
    stripPrefix: false,
    auth: "none",
    cache: { ttl: "60s", ...cache },
  });
  gateway = serving({
    server: { host: "127.0.0.1", drainTimeout: "0s", trustedProxies: ["127.0.0.1/32"] },
    tiers: { anonymous: { limits: [] } },
    routes: [route("/c", {}), route("/q", { key: { query: ["a", "b c"] } })],
  });
});
afterAll(async () => {
  await gateway.stop();
  behind[Symbol.dispose]();
  expect(gateway.faults).toEqual([]);
});

const ask = async (path: string, headers: Record<string, string> = {}) => {
  const response = await fetch(gateway.url + path, { headers });
  return { body: await response.text(), isHit: (response.headers.get("cache-status") ?? "").includes("hit") };
};

describe("a cache's key", () => {
  test("holds all values of its parameters, as they were sent", async () => {
    const first = await ask("/q/1?a=1&a=EVIL");
    expect(first.body).toStartWith("/q/1?a=1&a=EVIL of");
    const second = await ask("/q/1?a=1");
    expect([second.isHit, second.body.split(" ")[0]]).toEqual([false, "/q/1?a=1"]);
    // What decodes to the same is not the same for every backend.
    for (const query of ["?a=1%26b%20c=2", "?a=1&b%20c=2", "?a=1&b+c=2", "?a=%31", "?%61=1", "?a", "?a=", ""])
      expect([query, (await ask(`/q/1${query}`)).isHit]).toEqual([query, false]);
    for (const query of ["?a=1", "?z=1&a=1", "?a=1&z=EVIL", "?a=1&A=2"])
      expect([query, (await ask(`/q/1${query}`)).isHit]).toEqual([query, true]);
  });

  test("is all of the query that backends see: no other parameter changes what everybody gets", async () => {
    expect((await ask("/q/2?z=EVIL&b%20c=2&a=2&z=MORE&;a=3")).body.split(" ")[0]).toBe("/q/2?a=2&b%20c=2");
    expect((await ask("/q/2?a=2&b%20c=2")).isHit).toBe(true);
    expect((await ask("/q/3?z=EVIL")).body.split(" ")[0]).toBe("/q/3");
    expect((await ask("/q/3?")).isHit).toBe(true);
    // Without a list of parameters the whole query is in the key, and is forwarded.
    expect((await ask("/c/3?z=1&z=2&a")).body.split(" ")[0]).toBe("/c/3?z=1&z=2&a");
    expect((await ask("/c/3?z=1&z=2")).isHit).toBe(false);
  });

  test("is what a change makes go, whatever else its query holds", async () => {
    for (let i = 0; i < 2; i++) expect((await ask("/q/4?a=1&z=0")).isHit).toBe(i === 1);
    await fetch(`${gateway.url}/q/4?z=1&a=1&z=2`, { method: "PUT" });
    expect((await ask("/q/4?a=1")).isHit).toBe(false);
  });

  test("holds what trusted proxies say of the URI that was asked for", async () => {
    const claims: Record<string, string>[] = [
      { "x-forwarded-host": "evil.example" },
      { "x-forwarded-host": "evil.example, other.example" },
      { "x-forwarded-proto": "https" },
      { forwarded: "for=1.2.3.4;host=evil.example" },
      { forwarded: 'for=1.2.3.4;host="evil.example:80";proto=https' },
      {},
    ];
    for (const claim of claims) expect([claim, (await ask("/c/p", claim)).isHit]).toEqual([claim, false]);
    for (const claim of claims) {
      const { body, isHit } = await ask("/c/p", claim);
      expect([isHit, body.includes("evil.example")]).toEqual([true, JSON.stringify(claim).includes("evil.example")]);
    }
    // Who asked is not what was asked for.
    expect((await ask("/c/p", { forwarded: "for=5.6.7.8;host=evil.example" })).isHit).toBe(true);
  });
});

test("what an interim response says is no part of what is kept", async () => {
  let asked = 0;
  using listener = Bun.listen({
    hostname: "127.0.0.1",
    port: 0,
    socket: {
      data: (socket) => {
        asked++;
        socket.write(
          "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\nCache-Control: no-store\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Final: 1\r\n\r\nok",
        );
      },
    },
  });
  const hinting = serving({
    tiers: { anonymous: { limits: [] } },
    routes: [{ path: "/h", upstream: `http://127.0.0.1:${listener.port}`, auth: "none", cache: { ttl: "60s" } }],
  });
  try {
    for (let i = 0; i < 2; i++) {
      const { status, headers } = await fetch(`${hinting.url}/h/1`);
      expect([status, headers.get("x-final"), headers.get("link"), headers.get("cache-control")]).toEqual([200, "1", null, null]);
    }
    expect(asked).toBe(1);
  } finally {
    await hinting.stop();
    listener.stop(true);
  }
});

describe("the cache's bytes", () => {
  test("count what Vary named, however long it is", async () => {
    const statistics = async () => (await (await gateway.admin("GET", "/admin/cache")).json()) as { size: number };
    const before = await statistics();
    const agent = "x".repeat(14_000);
    for (let i = 0; i < 20; i++) await ask(`/c/vary${i}`, { vary: "User-Agent", "user-agent": `${agent}${i}` });
    const after = await statistics();
    expect(after.size - before.size).toBeGreaterThan(20 * 14_000);
  });

  test("count keys, and a URI's keys go with their responses", () => {
    const store = new CacheStore(1e6);
    const entry = { vary: [], varied: [], status: 200, reason: "", lines: "", head: "", notModifiedHead: "", body: null, length: 0 };
    for (const key of ["a", "b", "c"]) store.put(key, "r", "/", entry as never, "uri");
    store.put("d", "r", "/", entry as never, "another");
    const { size } = store.stats;
    store.put("x".repeat(1000), "r", "/", entry as never);
    expect(store.stats.size - size).toBe(2512);
    expect([store.removeUri("uri"), store.removeUri("uri"), store.removeUri("another"), store.stats.entries]).toEqual([3, 0, 1, 1]);
  });
});

describe("a cache that can't keep anything", () => {
  const route = (more: object) => {
    const loaded = loadConfig(JSON.stringify({ routes: [{ path: "/x", upstream: "http://127.0.0.1:1", ...more }] }), {});
    return "faults" in loaded ? loaded.faults.map(({ path, message }) => `${path.join(".")} ${message}`) : loaded.config.routes[0];
  };
  const warning = (more: object) => cacheWarning(route(more) as Parameters<typeof cacheWarning>[0]);

  test("is told of, with what to write", () => {
    expect(warning({ cache: { ttl: "1m" } })).toStartWith("ttl without perConsumer or shared keeps nothing for callers with a key, unless");
    expect(warning({ cache: {} })).toStartWith("keeps nothing for callers with a key, unless");
    expect(warning({ cache: {}, methods: ["POST"] })).toContain("GET and HEAD");
    expect(warning({ cache: { perConsumer: true }, auth: "none" })).toContain("perConsumer does nothing");
    for (const fine of [
      {},
      { cache: { ttl: "1m", shared: true } },
      { cache: { ttl: "1m", perConsumer: true } },
      { cache: { ttl: "1m" }, auth: "optional" },
      { cache: { ttl: "1m" }, auth: "none" },
    ])
      expect(warning(fine)).toBeNull();
  });

  test("is not one that is shared and each consumer's own", () => {
    expect(route({ cache: { shared: true, perConsumer: true } })).toEqual([
      expect.stringContaining("routes.0.cache.perConsumer and shared"),
    ]);
  });
});
