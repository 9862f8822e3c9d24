import { describe, expect, test } from "bun:test";
import { loadConfig } from "../../src/config/load.ts";
import { FakeClock } from "../support/clock.ts";
import { serving } from "../support/serving.ts";

const KEY = "a-key-of-acme-0123456789";
const UPSTREAM = "http://127.0.0.1:9";
const HOUR = 3_600_000;
const NOW = Date.parse("2027-03-10T12:00:00Z");
const perMinute = (limit: number, more: object = {}) => ({ algorithm: "sliding-log", limit, window: "1m", ...more });

const config = (more: object = {}) => ({
  selfService: {},
  tiers: {
    anonymous: { limits: [] },
    plain: {
      limits: [perMinute(3), { algorithm: "concurrency", limit: 5 }, perMinute(1, { name: "tried-out", shadow: true })],
      quota: { limit: 50, period: "month" },
    },
    fixed: { limits: [], selfService: { rotate: false } },
  },
  routes: [
    { name: "shop", path: "/shop", upstream: UPSTREAM, limits: [perMinute(2, { name: "dear" })], retry: null },
    { name: "other", path: "/other", upstream: UPSTREAM, scopes: ["never"], limits: [perMinute(2)] },
    { name: "open", path: "/open", upstream: UPSTREAM, auth: "none", limits: [perMinute(2)] },
  ],
  consumers: [{ id: "acme", tier: "plain", keys: [{ key: KEY, expiresAt: "2030-01-01T00:00:00Z" }] }],
  ...more,
});

type Gateway = ReturnType<typeof serving>;
// biome-ignore lint/suspicious/noExplicitAny: a test looks into whatever came over the wire.
type Json = any;

const call = async (
  { url }: Gateway,
  path: string,
  key: string | null,
  { method = "GET", body }: { method?: string; body?: string } = {},
) => {
  const answer = await fetch(url + path, {
    method,
    headers: key === null ? {} : { "x-api-key": key },
    ...(body === undefined ? {} : { body }),
  });
  const text = await answer.text();
  return { status: answer.status, headers: answer.headers, json: (text === "" ? null : JSON.parse(text)) as Json };
};
const me = (gateway: Gateway, key: string | null = KEY) => call(gateway, "/api/v1/me", key);
const rotate = (gateway: Gateway, key: string | null, body?: string) =>
  call(gateway, "/api/v1/me/rotate", key, { method: "POST", ...(body === undefined ? {} : { body }) });
const made = async (gateway: Gateway, body: object): Promise<Json> => (await gateway.admin("POST", "/admin/keys", body)).json();
const look = async (gateway: Gateway, path: string): Promise<Json> => (await gateway.admin("GET", path)).json();

async function using(work: (gateway: Gateway) => Promise<void>, began = NOW): Promise<void> {
  const gateway = serving(config(), new FakeClock(began));
  try {
    await work(gateway);
    expect(gateway.faults).toEqual([]);
  } finally {
    await gateway.stop();
  }
}

describe("GET /api/v1/me", () => {
  test("tells the caller who it is, what is left of each limit and quota, what it used this month, and of its key; and takes nothing", () =>
    using(
      async (gateway) => {
        // Days before, of another month among them, stand in the database.
        for (const [daysAgo, times] of [
          [15, 1],
          [9, 2],
          [1, 1],
          [0, 2],
        ] as const) {
          gateway.clock.time = NOW - daysAgo * 24 * HOUR;
          await look(gateway, "/admin/usage");
          for (let i = 0; i < times; i++) await call(gateway, "/shop", KEY);
          await look(gateway, "/admin/usage");
        }
        for (let i = 0; i < 4; i++) await me(gateway);
        const { status, headers, json } = await me(gateway);
        expect([status, headers.get("cache-control"), headers.get("x-ratelimit-limit")]).toEqual([200, "no-store", null]);
        const at = "2027-03-10T12:01:00.000Z";
        const day = (time: string, requests: number) => ({ time, requests, errors: requests, limited: 0, tokens: 0, cost: 0 });
        expect(json).toEqual({
          consumer: "acme",
          tier: "plain",
          key: {
            id: expect.stringMatching(/^key_/),
            name: null,
            start: "a-key-of",
            end: "6789",
            scopes: [],
            routes: [],
            models: [],
            expiresAt: "2030-01-01T00:00:00.000Z",
            previousExpiresAt: null,
          },
          limits: [
            { name: "per-minute", scope: "tier plain", unit: "requests", limit: 3, remaining: 1, reset: at },
            { name: "concurrency", scope: "tier plain", unit: "requests", limit: 5, remaining: 5, reset: null },
            { name: "dear", scope: "route shop", unit: "requests", limit: 2, remaining: 0, reset: at },
          ],
          quotas: [{ name: "monthly", scope: "tier plain", unit: "requests", limit: 50, remaining: 45, reset: "2027-04-01T00:00:00.000Z" }],
          usage: [day("2027-03-01T00:00:00.000Z", 2), day("2027-03-09T00:00:00.000Z", 1), day("2027-03-10T00:00:00.000Z", 2)],
        });
      },
      NOW - 15 * 24 * HOUR,
    ));

  test("is for every good key, whatever it is bound to but addresses; not for callers without one", () =>
    using(async (gateway) => {
      const bound = await made(gateway, { consumer: "acme", routes: ["shop"], name: "laptop", scopes: ["a"] });
      const { id, start } = bound;
      expect((await me(gateway, bound.key)).json.key).toMatchObject({ id, start, name: "laptop", routes: ["shop"], scopes: ["a"] });
      const elsewhere = await made(gateway, { consumer: "acme", ips: ["192.0.2.0/24"] });
      const cases: [string | null, number, string][] = [
        [elsewhere.key, 403, "forbidden"],
        [null, 401, "keyMissing"],
        ["a-key-that-nobody-has", 401, "keyInvalid"],
      ];
      for (const [key, status, code] of cases) {
        const answer = await me(gateway, key);
        expect([answer.status, answer.json.code]).toEqual([status, code]);
      }
      const wrong = await call(gateway, "/api/v1/me", KEY, { method: "DELETE" });
      expect([wrong.status, wrong.headers.get("allow")]).toEqual([405, "GET, HEAD"]);
      expect((await call(gateway, "/api/v1/me/else", KEY)).status).toBe(404);
      for (let i = 0; i < 10; i++) await me(gateway, `a-key-that-nobody-has-${i}`);
      expect((await me(gateway, "a-key-that-nobody-has")).json.code).toBe("ipBlocked");
    }));

  test("adds up usage anew after ten seconds, not for each who asks", () =>
    using(async (gateway) => {
      const requests = async () => (await me(gateway)).json.usage.map((day: Json) => day.requests);
      await call(gateway, "/shop", KEY);
      expect(await requests()).toEqual([1]);
      await call(gateway, "/shop", KEY);
      expect(await requests()).toEqual([1]);
      gateway.clock.advance(10_000);
      expect(await requests()).toEqual([2]);
      gateway.clock.time = Date.parse("2027-04-01T00:00:00Z");
      expect(await requests()).toEqual([]);
    }));

  test("is there only where it is turned on, and a route at its path is a fault then", async () => {
    const routes = ["/api/v1/me", "/api/v1/me/rotate"].map((path) => ({ path, upstream: UPSTREAM }));
    expect(loadConfig(JSON.stringify(config({ routes })), {})).toMatchObject({
      faults: [{ path: ["routes", 0, "path"] }, { path: ["routes", 1, "path"] }],
    });
    expect(loadConfig(JSON.stringify(config({ routes, selfService: null })), {})).not.toHaveProperty("faults");
    const gateway = serving(config({ selfService: null }));
    expect([(await me(gateway)).status, (await rotate(gateway, KEY)).status]).toEqual([404, 404]);
    await gateway.stop();
  });
});

describe("POST /api/v1/me/rotate", () => {
  test("gives the key a new secret and nothing else, and keeps the old one for an hour", () =>
    using(async (gateway) => {
      const given = { consumer: "acme", scopes: ["a"], routes: ["shop"], expiresAt: "2030-01-01T00:00:00Z", name: "laptop" };
      const key = await made(gateway, given);
      const before = await look(gateway, `/admin/keys/${key.id}`);
      const { status, headers, json } = await rotate(gateway, key.key);
      expect([status, headers.get("cache-control")]).toEqual([200, "no-store"]);
      expect(json).toEqual({
        id: key.id,
        key: expect.stringMatching(/^slc_/),
        start: json.key.slice(0, 8),
        end: json.key.slice(-4),
        expiresAt: "2030-01-01T00:00:00.000Z",
        previousExpiresAt: "2027-03-10T13:00:00.000Z",
      });
      const after = await look(gateway, `/admin/keys/${key.id}`);
      const { start, end, updatedAt, lastUsedAt, previousExpiresAt } = after;
      expect(after).toEqual({ ...before, start, end, updatedAt, lastUsedAt, previousExpiresAt });
      expect((await me(gateway, json.key)).json.key).toMatchObject({ id: key.id, start, end, previousExpiresAt });
      gateway.clock.advance(HOUR - 1);
      expect((await me(gateway, key.key)).status).toBe(200);
      gateway.clock.advance(1);
      expect([(await me(gateway, key.key)).status, (await me(gateway, json.key)).status]).toEqual([401, 200]);
    }));

  test("keeps the old secret no longer than the key is good", () =>
    using(async (gateway) => {
      const expiresAt = new Date(NOW + 60_000).toISOString();
      const key = await made(gateway, { consumer: "acme", expiresAt });
      expect((await rotate(gateway, key.key)).json).toMatchObject({ expiresAt, previousExpiresAt: expiresAt });
    }));

  test("is done once while an old secret is good, so that nobody who found that takes the key over", () =>
    using(async (gateway) => {
      const key = await made(gateway, { consumer: "acme" });
      const first = (await rotate(gateway, key.key)).json;
      for (const secret of [key.key, first.key]) {
        const again = await rotate(gateway, secret);
        expect([again.status, again.json.code, again.json.detail]).toEqual([
          409,
          "conflict",
          expect.stringContaining("2027-03-10T13:00:00.000Z"),
        ]);
      }
      gateway.clock.advance(HOUR);
      const second = await rotate(gateway, first.key);
      expect([second.status, (await me(gateway, second.json.key)).status]).toEqual([200, 200]);
      const both = await made(gateway, { consumer: "acme" });
      const statuses = (await Promise.all([rotate(gateway, both.key), rotate(gateway, both.key)])).map(({ status }) => status);
      expect(statuses.sort()).toEqual([200, 409]);
    }));

  test("is written in the audit in the consumer's name, without a secret, and followers of events hear of it", () =>
    using(async (gateway) => {
      const key = await made(gateway, { consumer: "acme" });
      const stop = new AbortController();
      const events = await fetch(`${gateway.url}/admin/events?type=change`, {
        headers: { authorization: "Bearer an-admin-token-0123456789" },
        signal: stop.signal,
      });
      const { json } = await rotate(gateway, key.key);
      let heard = "";
      for await (const chunk of events.body ?? []) {
        heard += new TextDecoder().decode(chunk);
        if (heard.includes("key.rotate")) break;
      }
      stop.abort();
      expect(heard).toContain('"actor":"consumer acme"');
      const [row] = (await look(gateway, "/admin/audit?action=key.rotate")).items;
      expect(row).toMatchObject({ actor: "consumer acme", ip: "127.0.0.1", subject: `key ${key.id}` });
      for (const text of [JSON.stringify(row), heard]) for (const secret of [key.key, json.key]) expect(text).not.toContain(secret);
      expect((await look(gateway, "/admin/audit/verify")).valid).toBe(true);
    }));

  test("is not for keys of the file, and of tiers that do not allow it; takes no body but an empty one", () =>
    using(async (gateway) => {
      await gateway.admin("POST", "/admin/consumers", { id: "stuck", tier: "fixed" });
      const fixed = await made(gateway, { consumer: "stuck" });
      const key = await made(gateway, { consumer: "acme" });
      const cases: [string, string | undefined, number, object][] = [
        [KEY, undefined, 409, { code: "conflict", detail: expect.stringContaining("ask whoever runs the API") }],
        [fixed.key, undefined, 403, { code: "forbidden" }],
        [key.key, '{"gracePeriod":"24h"}', 422, { errors: [{ path: "gracePeriod", message: expect.stringContaining("unknown field") }] }],
        [key.key, "{", 400, { code: "badRequest" }],
        [key.key, " ".repeat(5000), 413, { code: "bodyTooLarge" }],
      ];
      for (const [secret, body, status, expected] of cases) {
        const answer = await rotate(gateway, secret, body);
        expect([body, answer.status]).toEqual([body, status]);
        expect(answer.json).toMatchObject(expected);
      }
      expect((await rotate(gateway, null)).status).toBe(401);
      expect((await look(gateway, "/admin/audit?action=key.rotate")).items).toEqual([]);
      expect((await rotate(gateway, key.key, "{}")).status).toBe(200);
      await gateway.admin("PATCH", "/admin/consumers/stuck", { tier: "plain" });
      expect((await rotate(gateway, fixed.key)).status).toBe(200);
    }));
});

test("explain tells what answers there", () =>
  using(async (gateway) => {
    const walked = async (method: string, target: string) =>
      (await (await gateway.admin("POST", "/admin/explain/request", { method, target, key: KEY })).json()) as Json;
    expect((await walked("GET", "/api/v1/me")).steps.at(-1)).toEqual({
      step: "target",
      passed: true,
      detail: "the answer is where the caller stands",
    });
    expect((await walked("POST", "/api/v1/me/rotate")).steps.at(-1)).toMatchObject({ step: "target", passed: null });
    expect((await walked("GET", "/api/v1/me/rotate")).refusal).toEqual({ status: 405, code: "methodNotAllowed" });
  }));
