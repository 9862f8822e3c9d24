import { Database } from "bun:sqlite";
import { expect } from "bun:test";
import { join } from "node:path";
import { type Backend, backend } from "../../support/backend.ts";
import { underLoad } from "../../support/flaky.ts";
import { folder, type Running, start } from "../../support/process.ts";
import { having } from "../../support/programs.ts";
import { type RedisServer, redisServer } from "../../support/redis.ts";

const { afterAll, beforeAll, test } = having("redis-server");

let behind: Backend;
let redis: RedisServer;
beforeAll(async () => {
  behind = backend();
  redis = await redisServer();
});
afterAll(async () => {
  behind[Symbol.dispose]();
  await redis[Symbol.asyncDispose]();
});

const configFor = (prefix: string) => ({
  logging: { accessLog: false },
  guard: null,
  redis: { url: redis.url, prefix, timeout: "500ms" },
  tiers: { anonymous: { limits: [] }, plain: { limits: [] } },
  routes: [{ name: "all", path: "/", upstream: behind.url, stripPrefix: false }],
});
const options = (prefix: string, more: object = {}) => ({
  config: configFor(prefix),
  env: { SLUICE_SECRET: "a-secret-that-all-share" },
  ...more,
});
const json = async (answer: Response) => (await answer.json()) as Record<string, unknown>;
const use = async (gateway: Running, key: string, path = "/status") =>
  (await fetch(gateway.url + path, { headers: { "x-api-key": key } })).status;
/** Waits until it is so. On a calm machine that is well below a second; a busy one is given time. */
async function soon<T>(look: () => Promise<T>, wanted: T, patience = 60_000): Promise<void> {
  const until = performance.now() + patience;
  let found = await look();
  while (!Bun.deepEquals(found, wanted) && performance.now() < until) {
    await Bun.sleep(10);
    found = await look();
  }
  expect(found as unknown).toEqual(wanted);
}
const status = async (gateway: Running, path: string) => (await gateway.admin("GET", path)).status;
/** How many rows an instance has of a table. */
function count(gateway: Running, table: string): number {
  using database = new Database(join(gateway.folder, "data/sluice.db"), { readonly: true });
  return database.query<{ rows: number }, []>(`SELECT count(*) AS rows FROM ${table}`).get()?.rows ?? 0;
}
/** What an instance has of a table, without what is its own. */
function rows(gateway: Running, table: string, order: string): unknown[] {
  using database = new Database(join(gateway.folder, "data/sluice.db"), { readonly: true });
  return (database.query(`SELECT * FROM ${table} ORDER BY ${order}`).all() as Record<string, unknown>[]).map(
    ({ last_used_at: _, ...row }) => row,
  );
}

test("what is made, changed and deleted on one instance is so on all within a second", async () => {
  await using a = await start(options("all"));
  await using b = await start(options("all"));
  const made = (path: string, body: object) => a.admin("POST", `/admin/${path}`, body);
  expect((await made("consumers", { id: "acme", tier: "plain" })).status).toBe(201);
  const { key, id } = (await json(await made("keys", { consumer: "acme" }))) as { key: string; id: string };
  await soon(() => use(b, key), 200);
  await made("tiers", { name: "tight", limits: [{ algorithm: "fixed-window", limit: 1, window: "1h" }] });
  await made("upstreams", { name: "other", targets: [{ url: behind.url }] });
  await made("routes", { name: "new", path: "/new", upstream: "other", auth: "none", stripPrefix: true });
  await made("pools", {
    name: "mine",
    auth: "none",
    keys: [{ id: "k", secret: "sk-real", limit: 5, window: "1h" }],
    services: { s: { cost: 1 } },
  });
  await made("issuers", {
    name: "main",
    issuer: "https://id.example.com",
    audience: [],
    secret: "s".repeat(32),
    tier: { default: "tight" },
  });
  await made("blocks", { ip: "192.0.2.7", reason: "test" });
  const token = (await json(await made("tokens", { name: "viewer", role: "viewer" }))) as { token: string };
  await soon(async () => (await fetch(`${b.url}/new/status`)).status, 200);
  await soon(async () => (await fetch(`${b.url}/admin/tiers/tight`, { headers: { authorization: `Bearer ${token.token}` } })).status, 200);
  await soon(async () => ((await json(await b.admin("GET", "/admin/blocks"))).items as unknown[]).length, 1);
  const handedOut = await fetch(`${b.url}/api/v1/api-key`, { method: "POST", body: '{"type":"s","pool":"mine"}' });
  expect(await handedOut.json()).toEqual({ api_key: "sk-real" });
  expect(await json(await b.admin("GET", "/admin/issuers/main"))).toMatchObject({ secret: "***", tier: { default: "tight" } });
  // And from the other side.
  await b.admin("PATCH", "/admin/consumers/acme", { tier: "tight" });
  await soon(async () => (await json(await a.admin("GET", "/admin/consumers/acme"))).tier, "tight");
  expect([await use(a, key), await use(b, key), await use(a, key)]).toEqual([200, 429, 429]);
  await b.admin("DELETE", "/admin/routes/new");
  await b.admin("DELETE", "/admin/blocks/192.0.2.7");
  await soon(() => status(a, "/admin/routes/new"), 404);
  await soon(async () => (await json(await a.admin("GET", "/admin/blocks"))).items, []);
  expect((await b.admin("DELETE", `/admin/keys/${id}?force=true`)).status).toBe(204);
  await soon(() => use(a, key), 401);
  for (const [table, order] of [
    ["consumers", "id"],
    ["keys", "id"],
    ["documents", "kind, name"],
    ["admin_tokens", "id"],
    ["blocks", "cidr"],
  ] as const)
    expect([table, rows(a, table, order)]).toEqual([table, rows(b, table, order)]);
  // A pool's secret lies in Redis as it lies in the database.
  const kept = (await redis.client.hgetall("all:{records}:all")) as Record<string, string>;
  expect(Object.keys(kept)).toContain("pool\nmine");
  expect(JSON.stringify(kept)).not.toContain("sk-real");
});

test("a key that is revoked on one is refused by all within a second, while a thousand requests a second run", async () => {
  const instances = await Promise.all([1, 2, 3].map(() => start(options("revoke"))));
  const [a] = instances as [Running, ...Running[]];
  try {
    await a.admin("POST", "/admin/consumers", { id: "acme", tier: "plain" });
    const { key: other } = await json(await a.admin("POST", "/admin/keys", { consumer: "acme" }));
    const { key, id } = await json(await a.admin("POST", "/admin/keys", { consumer: "acme" }));
    await Promise.all(instances.map((each) => soon(() => use(each, String(key)), 200)));
    let failed = 0;
    let n = 0;
    const load = underLoad(8, async () => {
      if ((await use(instances[n++ % 3] as Running, String(other))) !== 200) failed++;
    });
    const before = n;
    await a.admin("PATCH", `/admin/keys/${id}`, { enabled: false });
    await Promise.all(instances.map((each) => soon(() => use(each, String(key)), 401)));
    await Bun.sleep(200);
    await load.stop();
    expect([failed, n > before]).toEqual([0, true]);
  } finally {
    await Promise.all(instances.map((each) => each[Symbol.asyncDispose]()));
  }
});

test("thousands of keys that are made on one are on the other, with equal rows, and on one that comes later", async () => {
  await using a = await start(options("many"));
  await using b = await start(options("many"));
  await a.admin("POST", "/admin/consumers", { id: "acme", tier: "plain" });
  const keys = Array.from({ length: 3000 }, (_, i) => ({ consumer: "acme", key: `an-imported-key-${i}-0123456789`, name: `key ${i}` }));
  expect((await a.admin("POST", "/admin/keys/import", { keys })).status).toBeLessThan(300);
  await soon(async () => count(b, "keys"), 3000);
  expect(rows(b, "keys", "id")).toEqual(rows(a, "keys", "id"));
  expect(await use(b, "an-imported-key-2999-0123456789")).toBe(200);
  await using late = await start(options("many"));
  await soon(() => use(late, "an-imported-key-1500-0123456789"), 200);
  await soon(async () => count(late, "keys"), 3000);
  expect(rows(late, "keys", "id")).toEqual(rows(a, "keys", "id"));
});

test("an import holds its lock from each portion on, so that no slow machine loses it half-way", async () => {
  await using a = await start(options("portions"));
  await a.admin("POST", "/admin/consumers", { id: "acme", tier: "plain" });
  const watcher = redis.client.duplicate();
  try {
    await redis.client.config("SET", "notify-keyspace-events", "Kgx");
    let extended = 0;
    watcher.on("message", (_channel, event) => {
      if (event === "expire") extended++;
    });
    await watcher.subscribe("__keyspace@0__:portions:{records}:lock");
    const keys = Array.from({ length: 1000 }, (_, i) => ({ consumer: "acme", key: `a-portioned-key-${i}-0123456789` }));
    expect((await a.admin("POST", "/admin/keys/import", { keys })).status).toBeLessThan(300);
    // Once when it is taken, and with each of five portions.
    await soon(async () => extended >= 6, true);
  } finally {
    watcher.disconnect();
    await redis.client.config("SET", "notify-keyspace-events", "");
  }
});

test("changes of the same record at the same time are all made, or refused, none is lost", async () => {
  await using a = await start(options("conflict"));
  await using b = await start(options("conflict"));
  const both = [a, b];
  const twice = await Promise.all(both.map((each) => each.admin("POST", "/admin/consumers", { id: "acme", tier: "plain" })));
  expect(twice.map((answer) => answer.status).sort()).toEqual([201, 409]);
  const changes = Array.from({ length: 30 }, (_, i) =>
    (both[i % 2] as Running).admin("PATCH", "/admin/consumers/acme", { metadata: { [`field${i}`]: i } }),
  );
  expect((await Promise.all(changes)).map((answer) => answer.status)).toEqual(Array.from({ length: 30 }, () => 200));
  await Promise.all(
    both.map((each) =>
      soon(async () => Object.keys((await json(await each.admin("GET", "/admin/consumers/acme"))).metadata as object).length, 30),
    ),
  );
  // The same request to both makes one key.
  const once = await Promise.all(
    both.map((each) => each.admin("POST", "/admin/keys", { consumer: "acme" }, { "idempotency-key": "once" })),
  );
  const keys = await Promise.all(once.map(async (answer) => (await json(answer)).key));
  expect([keys[0] === keys[1], once.filter((answer) => answer.headers.get("idempotent-replayed") === "true").length]).toEqual([true, 1]);
  const etag = (await a.admin("GET", "/admin/consumers/acme")).headers.get("etag") ?? "";
  const raced = await Promise.all(
    both.map((each, i) => each.admin("PATCH", "/admin/consumers/acme", { name: `by ${i}` }, { "if-match": etag })),
  );
  expect(raced.map((answer) => answer.status).sort()).toEqual([200, 412]);
});

test("while Redis is away nothing is changed, requests are served, and afterwards it goes on; a restarted instance catches up", async () => {
  await using server = await redisServer();
  const config = { ...configFor("away"), redis: { url: server.url, timeout: "200ms" } };
  using home = folder();
  await using a = await start({ config });
  let key = "";
  {
    await using b = await start({ config, cwd: home.path });
    await a.admin("POST", "/admin/consumers", { id: "acme", tier: "plain" });
    key = String((await json(await a.admin("POST", "/admin/keys", { consumer: "acme" }))).key);
    await soon(() => use(b, key), 200);
    server.signal("SIGSTOP");
    const refused = await a.admin("POST", "/admin/consumers", { id: "other", tier: "plain" });
    expect([refused.status, (await json(refused)).code, refused.headers.get("retry-after")]).toEqual([503, "limiterUnavailable", "1"]);
    expect((await b.admin("PATCH", "/admin/consumers/acme", { name: "x" })).status).toBe(503);
    expect([await use(a, key), await use(b, key), await status(a, "/admin/consumers/other")]).toEqual([200, 200, 404]);
    await b.stop();
    server.signal("SIGCONT");
    await soon(async () => (await a.admin("POST", "/admin/consumers", { id: "third", tier: "plain" })).status === 503, false);
  }
  expect(await status(a, "/admin/consumers/third")).toBe(200);
  await using b = await start({ config, cwd: home.path });
  await soon(() => status(b, "/admin/consumers/third"), 200);
  expect(await use(b, key)).toBe(200);
});

test("Redis that was emptied is filled again from the instances' copies, and nothing that was revoked or deleted comes back", async () => {
  await using server = await redisServer();
  const config = { ...configFor("flush"), redis: { url: server.url, timeout: "200ms" } };
  await using a = await start({ config });
  await using b = await start({ config });
  await a.admin("POST", "/admin/consumers", { id: "acme", tier: "plain" });
  await a.admin("POST", "/admin/consumers", { id: "gone", tier: "plain" });
  const make = async () => (await json(await a.admin("POST", "/admin/keys", { consumer: "acme" }))) as { id: string; key: string };
  const [kept, revoked] = [await make(), await make()];
  await soon(() => use(b, revoked.key), 200);
  // B sees nothing of what happens now: not the revocation, not the deletion, not that Redis is emptied.
  process.kill(b.pid, "SIGSTOP");
  await a.admin("PATCH", `/admin/keys/${revoked.id}`, { enabled: false });
  await a.admin("DELETE", "/admin/consumers/gone");
  await server.client.flushall();
  await soon(async () => (await server.client.hlen("sluice:{records}:all")) + (await server.client.hlen("flush:{records}:all")) > 0, true);
  process.kill(b.pid, "SIGCONT");
  await soon(() => use(b, revoked.key), 401);
  await soon(() => status(b, "/admin/consumers/gone"), 404);
  expect([await use(a, revoked.key), await status(a, "/admin/consumers/gone"), await use(a, kept.key), await use(b, kept.key)]).toEqual([
    401, 404, 200, 200,
  ]);
  // The other way round: who is behind fills it first.
  process.kill(a.pid, "SIGSTOP");
  await server.client.flushall();
  await soon(async () => (await server.client.hlen("sluice:{records}:all")) > 0, true);
  await b.admin("PATCH", "/admin/consumers/acme", { name: "after" });
  process.kill(a.pid, "SIGCONT");
  await soon(async () => (await json(await a.admin("GET", "/admin/consumers/acme"))).name, "after");
  await using c = await start({ config });
  await soon(() => use(c, kept.key), 200);
  expect([await use(c, revoked.key), await status(c, "/admin/consumers/gone")]).toEqual([401, 404]);
});

test("five instances hand out exactly what a pool holds, and use its keys together", async () => {
  const pool = {
    auth: "none",
    keys: [
      { id: "k1", limit: 1000, window: "1h" },
      { id: "k2", limit: 3000, window: "1h" },
    ],
    services: { s: { cost: 7 } },
  };
  const config = { ...configFor("pools"), pools: { default: pool } };
  const instances = await Promise.all([1, 2, 3, 4, 5].map(() => start({ config })));
  try {
    const granted: Record<string, number> = {};
    let n = 0;
    await Promise.all(
      Array.from({ length: 50 }, async () => {
        while (n < 2000) {
          const answer = await fetch(`${(instances[n++ % 5] as Running).url}/api/v1/api-key`, { method: "POST", body: '{"type":"s"}' });
          const { api_key: key = "none" } = (await answer.json()) as { api_key?: string };
          granted[key] = (granted[key] ?? 0) + 1;
        }
      }),
    );
    expect(granted).toEqual({ k1: 142, k2: 428, none: expect.any(Number) });
    for (const each of instances) {
      const { state } = (await json(await each.admin("GET", "/admin/pools/default"))) as { state: { keys: { remaining: number }[] } };
      expect(state.keys.map(({ remaining }) => remaining)).toEqual([6, 4]);
    }
  } finally {
    await Promise.all(instances.map((each) => each[Symbol.asyncDispose]()));
  }
});

test("the system's status and breakers are the same on all", async () => {
  const config = {
    ...configFor("signals"),
    upstreams: { weak: { targets: [{ url: "http://127.0.0.1:1" }], breaker: { failureThreshold: 2 } } },
  };
  config.routes = [{ name: "all", path: "/", upstream: "weak", stripPrefix: false, auth: "none", retry: null } as never];
  await using a = await start({ config });
  await using b = await start({ config });
  const health = async (gateway: Running) => ((await json(await gateway.admin("GET", "/admin/health"))) as { status: string }).status;
  const breaker = async (gateway: Running) =>
    ((await json(await gateway.admin("GET", "/admin/breakers"))) as { items: { state: string; held: boolean }[] }).items[0];
  await a.admin("POST", "/admin/health", { status: "DEGRADED", reason: "test", ttl: "1h" });
  await soon(() => health(b), "DEGRADED");
  await using late = await start({ config });
  await soon(() => health(late), "DEGRADED");
  // Also when Redis was emptied.
  await redis.client.del("signals:signals");
  await soon(async () => (await redis.client.hlen("signals:signals")) > 0, true);
  await b.admin("POST", "/admin/health", { status: "NORMAL" });
  await soon(() => health(a), "NORMAL");
  for (let i = 0; i < 2; i++) await fetch(a.url);
  await soon(async () => (await breaker(b))?.state, "open");
  // Cut off, or the first probe after a second.
  expect((await fetch(b.url)).status).toBeOneOf([503, 502]);
  const target = encodeURIComponent("http://127.0.0.1:1");
  await b.admin("POST", `/admin/breakers/${target}/close`);
  await soon(async () => (await breaker(a))?.state, "closed");
  await b.admin("POST", `/admin/breakers/${target}/open`);
  await soon(async () => (await breaker(a))?.held, true);
  await a.admin("POST", `/admin/breakers/${target}/close`);
  await soon(async () => (await breaker(b))?.state, "closed");
});

test("a key that was deleted comes back by nobody: not by two processes on one folder, an older offline change, a trimmed stream, or a Redis that lost its end", async () => {
  await using server = await redisServer();
  const config = { ...configFor("safe"), redis: { url: server.url, timeout: "300ms" } };
  using shared = folder();
  using home = folder();
  await using a = await start({ config });
  await using p1 = await start({ config, cwd: shared.path });
  await using p2 = await start({ config, cwd: shared.path });
  await a.admin("POST", "/admin/consumers", { id: "acme", tier: "plain" });
  const make = async () => (await json(await a.admin("POST", "/admin/keys", { consumer: "acme" }))) as { id: string; key: string };
  // Two processes on one folder take over the same changes.
  const gone: string[] = [];
  for (let i = 0; i < 15; i++) {
    const { id, key } = await make();
    await Bun.sleep((i * 37) % 150);
    expect((await a.admin("DELETE", `/admin/keys/${id}`)).status).toBe(204);
    gone.push(key);
  }
  await Bun.sleep(500);
  for (const key of gone) expect([await use(a, key), await use(p1, key), await use(p2, key)]).toEqual([401, 401, 401]);

  // A change that was made without Redis, on what others have deleted meanwhile.
  const kept = await make();
  const old = await make();
  {
    await using c = await start({ config, cwd: home.path });
    await soon(() => use(c, old.key), 200);
    await c.stop();
  }
  {
    await using c = await start({ config: { ...config, redis: null }, cwd: home.path });
    expect((await c.admin("PATCH", `/admin/keys/${old.id}`, { name: "renamed" })).status).toBe(200);
    await c.stop();
  }
  await a.admin("DELETE", `/admin/keys/${old.id}`);
  {
    await using c = await start({ config, cwd: home.path });
    await soon(() => use(c, old.key), 401, 3000);
    expect([await use(a, old.key), await use(c, kept.key)]).toEqual([401, 200]);

    // What it has not seen is trimmed from the stream.
    const trimmed = await make();
    await soon(() => use(c, trimmed.key), 200);
    process.kill(c.pid, "SIGSTOP");
    await a.admin("DELETE", `/admin/keys/${trimmed.id}`);
    await server.client.xtrim("sluice:{records}:log", "MAXLEN", 0);
    await make();
    process.kill(c.pid, "SIGCONT");
    await soon(() => use(c, trimmed.key), 401, 3000);

    // Redis loses its end, and somebody changes something before the others have noticed.
    const lost = await make();
    await soon(() => use(c, lost.key), 200);
    const dump = await server.client.dumpBuffer("sluice:{records}:all");
    const log = await server.client.dumpBuffer("sluice:{records}:log");
    const rest = await server.client.mget("sluice:{records}:rev", "sluice:{records}:epoch");
    process.kill(c.pid, "SIGSTOP");
    await a.admin("DELETE", `/admin/keys/${lost.id}`);
    await server.restart();
    await server.client.restore("sluice:{records}:all", 0, dump);
    await server.client.restore("sluice:{records}:log", 0, log);
    await server.client.mset("sluice:{records}:rev", rest[0] ?? "", "sluice:{records}:epoch", rest[1] ?? "");
    process.kill(c.pid, "SIGCONT");
    await soon(() => use(c, lost.key), 401, 5000);
    for (const each of [a, p1, p2]) await soon(() => use(each, lost.key), 401, 5000);
    expect([await use(c, kept.key), await use(c, lost.key)]).toEqual([200, 401]);
  }
});
