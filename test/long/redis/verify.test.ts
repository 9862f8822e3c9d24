import { expect } from "bun:test";
import { type Backend, backend } from "../../support/backend.ts";
import { inParallel } from "../../support/flaky.ts";
import { type Running, start } from "../../support/process.ts";
import { having } from "../../support/programs.ts";
import { redisServer } from "../../support/redis.ts";

const { afterAll, beforeAll, test } = having("redis-server");

const KEY = "a-key-of-a-caller-0123";
const ASKER = "a-key-that-asks-0123456789";
let behind: Backend;
beforeAll(() => {
  behind = backend();
});
afterAll(() => behind[Symbol.dispose]());

const configFor = (url: string, onFailure: string) => ({
  logging: { accessLog: false },
  guard: null,
  keyVerification: {},
  selfService: {},
  redis: { url, timeout: "500ms", onFailure },
  tiers: {
    anonymous: { limits: [] },
    plain: { limits: [], selfService: { keys: 5 } },
    tight: { limits: [{ algorithm: "fixed-window", limit: 31, window: "1h" }] },
  },
  consumers: [
    { id: "services", tier: "plain", keys: [{ key: ASKER, scopes: ["keys:verify"] }] },
    { id: "acme", tier: "tight", keys: [KEY] },
  ],
  routes: [{ name: "all", path: "/", upstream: behind.url, stripPrefix: false }],
});
// biome-ignore lint/suspicious/noExplicitAny: a test looks into whatever came over the wire.
type Json = any;

async function send(gateway: Running, path: string, key: string, body?: object): Promise<{ status: number; json: Json }> {
  const answer = await fetch(gateway.url + path, {
    method: body === undefined ? "GET" : "POST",
    headers: { "x-api-key": key },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await answer.text();
  return { status: answer.status, json: text.startsWith("{") ? JSON.parse(text) : null };
}
const verify = (gateway: Running, key: string, more: object = {}) => send(gateway, "/v1/keys/verify", ASKER, { key, ...more });
/** Waits until a request with this key is answered so. */
async function until(gateway: Running, key: string, status: number): Promise<void> {
  while ((await send(gateway, "/status", key)).status !== status) await Bun.sleep(10);
}

test("two instances grant exactly the limit to verified and forwarded requests together, and both say what is left", async () => {
  await using redis = await redisServer();
  await using a = await start({ config: configFor(redis.url, "local") });
  await using b = await start({ config: configFor(redis.url, "local") });
  let granted = 0;
  await inParallel(120, 30, async (i) => {
    const gateway = i % 2 === 0 ? a : b;
    if (i % 3 === 0) {
      const { status } = await send(gateway, "/status", KEY);
      if (status === 200) granted++;
    } else {
      const { status, json } = await verify(gateway, KEY, i % 3 === 1 ? { route: "all" } : {});
      expect([status, json.valid, json.code]).toEqual([200, json.code === null, json.valid ? null : "rateLimited"]);
      if (json.valid) granted++;
    }
  });
  expect(granted).toBe(31);
  for (const gateway of [a, b]) {
    expect((await verify(gateway, KEY, { cost: 0 })).json).toMatchObject({ valid: true, limits: [{ limit: 31, remaining: 0 }] });
    expect((await send(gateway, "/api/v1/me", KEY)).json).toMatchObject({ limits: [{ scope: "tier tight", limit: 31, remaining: 0 }] });
  }
});

test("a secret that a caller has made on one instance is good on all, the old one too; while Redis is away none is made", async () => {
  await using redis = await redisServer();
  await using a = await start({ config: configFor(redis.url, "deny") });
  await using b = await start({ config: configFor(redis.url, "deny") });
  await a.admin("POST", "/admin/consumers", { id: "late", tier: "plain" });
  const { key } = (await (await a.admin("POST", "/admin/keys", { consumer: "late" })).json()) as { key: string };
  await until(b, key, 200);
  const rotated = await send(b, "/api/v1/me/rotate", key, {});
  expect(rotated.status).toBe(200);
  await until(a, rotated.json.key, 200);
  expect((await send(a, "/status", key)).status).toBe(200);
  expect((await send(a, "/api/v1/me/rotate", rotated.json.key, {})).status).toBe(409);

  const { key: other } = (await (await a.admin("POST", "/admin/keys", { consumer: "late" })).json()) as { key: string };
  await redis.kill();
  while ((await verify(a, KEY)).status === 200) await Bun.sleep(10);
  expect(await verify(a, KEY)).toMatchObject({ status: 503, json: { code: "limiterUnavailable" } });
  const refused = await send(a, "/api/v1/me/rotate", other, {});
  expect(refused).toMatchObject({
    status: 503,
    json: { code: "limiterUnavailable", detail: expect.stringContaining("Nothing was changed") },
  });
  expect((await send(a, "/api/v1/me", other)).json.key.previousExpiresAt).toBeNull();
});

test("a key that a caller has made on one instance works on all, as long as the one from which it was made; a link works once among them", async () => {
  await using redis = await redisServer();
  await using a = await start({ config: configFor(redis.url, "deny") });
  await using b = await start({ config: configFor(redis.url, "deny") });
  await a.admin("POST", "/admin/consumers", { id: "late", tier: "plain" });
  const given = (await (await a.admin("POST", "/admin/keys", { consumer: "late" })).json()) as { id: string; key: string };
  await until(b, given.key, 200);
  const made = (await send(b, "/api/v1/me/keys", given.key, { name: "laptop" })).json;
  expect(made.madeFrom).toBe(given.id);
  await until(a, made.key, 200);
  await a.admin("PATCH", `/admin/keys/${given.id}`, { enabled: false });
  await until(b, made.key, 401);
  await a.admin("PATCH", `/admin/keys/${given.id}`, { enabled: true });
  await until(b, made.key, 200);

  const { url } = (await (await a.admin("POST", "/admin/consumers/late/link", {})).json()) as { url: string };
  const link = new URL(url).hash.slice("#link=".length);
  const open = (gateway: Running) => fetch(`${gateway.url}/my/session`, { method: "POST", body: JSON.stringify({ link }) });
  // It may not have come to the other instance yet: then it is not taken there.
  const answers = await Promise.all([open(a), open(b)]);
  const opened = answers.filter(({ status }) => status === 201);
  expect(opened.length).toBe(1);
  const cookie = opened[0]?.headers.get("set-cookie")?.split(";", 1)[0] ?? "";
  const me = (gateway: Running) => fetch(`${gateway.url}/my/api/me`, { headers: { cookie } });
  for (const gateway of [a, b]) while ((await me(gateway)).status !== 200) await Bun.sleep(10);
  await b.admin("DELETE", `/admin/keys/${given.id}`);
  await until(a, made.key, 401);
  await b.admin("DELETE", "/admin/consumers/late?force=true");
  for (const gateway of [a, b]) while ((await me(gateway)).status !== 401) await Bun.sleep(10);
}, 60_000);
