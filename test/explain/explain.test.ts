import { describe, expect, test } from "bun:test";
import { Denials } from "../../src/explain/denials.ts";
import { problem } from "../../src/http/problem.ts";
import { type Backend, backend } from "../support/backend.ts";
import { serving } from "../support/serving.ts";

const KEYS = { plain: "a-plain-key-0123456789", own: "a-key-of-special-0123", off: "a-disabled-one-0123456" };
const limit = (more: object) => ({ algorithm: "fixed-window", limit: 2, window: "1h", ...more });
const configFor = (behind: Backend) => ({
  guard: { invalidKeyLimit: 1, blockFor: "1h" },
  tiers: {
    anonymous: { limits: [limit({ limit: 5 })] },
    free: { limits: [limit({ burst: 3, degraded: 1 })], quota: { limit: 100, period: "month" } },
  },
  upstreams: {
    main: { targets: [{ url: behind.url }] },
    dead: { targets: [{ url: "http://127.0.0.1:1" }], breaker: { failureThreshold: 1 } },
  },
  activities: {},
  pools: { llm: { keys: [{ id: "k1", secret: "sk-123456789", limit: 1, window: "1h" }], services: { s: { cost: 1 } }, auth: "none" } },
  routes: [
    { name: "all", path: "/", upstream: "main", stripPrefix: false, limits: [limit({ limit: 50, by: "route", name: "busy" })], cost: 2 },
    { name: "open", path: "/open", upstream: "main", stripPrefix: false, auth: "none" },
    { name: "pro", path: "/pro", upstream: "main", tiers: ["pro"] },
    { name: "hosted", path: "/hosted", hosts: ["*.example.com"], upstream: "main", auth: "none" },
    { name: "scoped", path: "/scoped", upstream: "main", scopes: ["read"] },
    { name: "pooled", path: "/pooled", upstream: "main", auth: "none", credential: { pool: "llm" } },
    {
      name: "free",
      path: "/free",
      upstream: "main",
      auth: "none",
      cost: 0,
      limits: [limit({ by: "global", name: "overdrawn", degraded: 0 })],
    },
    {
      name: "keyed",
      path: "/keyed",
      upstream: "main",
      auth: "none",
      limits: [limit({ by: "header:X-API-Key", name: "keyed", window: "2h" })],
    },
    { name: "dead", path: "/dead", upstream: "dead", auth: "none" },
    {
      name: "used",
      path: "/used",
      upstream: "main",
      usage: "usage",
      cost: 5,
      auth: "none",
      limits: [limit({ limit: 8, cost: "usage", by: "global", name: "units" })],
    },
    { name: "tenants", path: "/tenants", upstream: "main", methods: ["POST"], limits: [limit({ by: "header:X-Tenant", name: "tenant" })] },
  ],
  consumers: [
    { id: "acme", tier: "free", keys: [KEYS.plain] },
    { id: "special", tier: "free", keys: [KEYS.own], limits: [limit({ limit: 9, name: "own" })] },
    { id: "many", tier: "free", keys: ["one-of-many-keys-0123", "another-of-many-0123"] },
    { id: "keyless", tier: "free" },
    { id: "gone", tier: "free", keys: [KEYS.off], enabled: false },
  ],
});

function gateway() {
  const behind = backend();
  const it = serving(configFor(behind));
  return {
    ...it,
    call: async (path: string, key?: string, headers: Record<string, string> = {}) =>
      (await fetch(it.url + path, { headers: { ...(key === undefined ? {} : { "x-api-key": key }), ...headers } })).status,
    explain: async (query: string) => {
      const answer = await it.admin("GET", `/admin/explain?${query}`);
      // biome-ignore lint/suspicious/noExplicitAny: a test looks into whatever came over the wire.
      return { status: answer.status, json: (await answer.json()) as any };
    },
    [Symbol.asyncDispose]: async () => {
      await it.stop();
      behind[Symbol.dispose]();
    },
  };
}

describe("GET /admin/explain", () => {
  test("names each limit of a caller, why it is that one, and what is left; and the last refusal with its reason", async () => {
    await using it = gateway();
    expect([await it.call("/a", KEYS.plain), await it.call("/a", KEYS.plain)]).toEqual([200, 429]);
    const { json } = await it.explain("consumer=acme&route=all&ip=127.0.0.1");
    expect(json).toMatchObject({
      consumer: "acme",
      tier: "free",
      route: "all",
      anonymous: false,
      system: "NORMAL",
      allowed: false,
      refusal: null,
      passedOver: [],
    });
    expect(json.limits).toMatchObject([
      {
        name: "per-hour",
        scope: "tier free",
        limit: 3,
        normal: 3,
        degraded: 1,
        cost: 2,
        used: 2,
        remaining: 1,
        subject: "acme",
        denies: true,
      },
      { name: "monthly", scope: "tier free", limit: 100, used: 2, denies: false, window: null },
      { name: "busy", scope: "route all", limit: 50, used: 2, subject: "all", denies: false },
    ]);
    expect(json.limits[0].why).toBe("the tier's: neither the key nor the consumer has limits of its own");
    expect(json.limits[2].why).toBe("the route's own, which come besides the caller's");
    expect(json.denials).toMatchObject([
      { code: "rateLimited", status: 429, route: "all", limits: [{ name: "per-hour", scope: "tier free", limit: 3, used: 2 }] },
    ]);
    expect(json.denials[0].requestId).toMatch(/^[0-9a-f-]{36}$/);
    // Asking costs nothing.
    expect((await it.explain("consumer=acme&route=all")).json.limits[0].used).toBe(2);
  });

  test("says which limits stand in place of others", async () => {
    await using it = gateway();
    const { json } = await it.explain("consumer=special");
    expect(json.limits.map(({ name, scope, why }: Record<string, string>) => [name, scope, why])).toEqual([
      ["own", "consumer special", "the consumer has limits of its own, and the key has none"],
      ["monthly", "tier free", "the tier's: neither the key nor the consumer has quotas of its own"],
    ]);
    expect(json.passedOver).toEqual([{ scope: "tier free", names: ["per-hour"], why: "the consumer has limits of its own" }]);
  });

  test("shows the numbers of a DEGRADED system", async () => {
    await using it = gateway();
    await fetch(`${it.url}/admin/health`, {
      method: "POST",
      headers: { authorization: "Bearer an-admin-token-0123456789", "content-type": "application/json" },
      body: '{"status":"DEGRADED"}',
    });
    const { json } = await it.explain("consumer=acme&route=all");
    expect([json.system, json.limits[0].limit, json.limits[0].denies, json.allowed]).toEqual(["DEGRADED", 1, true, false]);
  });

  test("knows a caller without a key by address, and a route that takes no keys", async () => {
    await using it = gateway();
    expect(await it.call("/open")).toBe(200);
    const anonymous = (await it.explain("ip=127.0.0.1&route=open")).json;
    expect(anonymous).toMatchObject({ consumer: null, tier: "anonymous", anonymous: true, allowed: true });
    expect(anonymous.limits[0]).toMatchObject({
      subject: "[127.0.0.1]",
      used: 1,
      limit: 5,
      why: "the route takes no keys: everybody counts as a caller without one",
    });
    expect((await it.explain("consumer=acme&ip=127.0.0.1&route=open")).json).toMatchObject({
      anonymous: true,
      key: null,
      limits: [{ subject: "[127.0.0.1]" }],
    });
    const closed = (await it.explain("ip=127.0.0.1&route=all")).json;
    expect([closed.refusal.code, closed.allowed]).toEqual(["keyMissing", false]);
  });

  test("says why a request would be refused before any limit", async () => {
    await using it = gateway();
    expect((await it.explain("consumer=acme&route=pro")).json.refusal).toEqual({
      code: "forbidden",
      detail: "This route is for pro; your tier is free.",
    });
    expect((await it.explain("consumer=gone&route=all")).json.refusal.code).toBe("keyRevoked");
    expect(await it.call("/a", "nobody-has-this-key-0123")).toBe(401);
    const blocked = (await it.explain("consumer=acme&ip=127.0.0.1")).json;
    expect(blocked.refusal.code).toBe("ipBlocked");
    expect(blocked.refusal.detail).toContain("Keys that Sluice made pass all the same");
    expect(blocked.denials[0]).toMatchObject({ code: "keyInvalid", status: 401, limits: [] });
    expect(await it.call("/a", KEYS.plain)).toBe(429);
    expect((await it.explain("ip=127.0.0.1")).json.denials.map(({ code }: { code: string }) => code)).toEqual(["ipBlocked", "keyInvalid"]);
  });

  test("remembers whose a key was that is not good any more", async () => {
    await using it = gateway();
    expect(await it.call("/a", KEYS.off)).toBe(401);
    expect((await it.explain("consumer=gone")).json.denials).toMatchObject([{ code: "keyRevoked", route: "all" }]);
  });

  test("knows what a limit of usage needs before it lets a request through", async () => {
    await using it = gateway();
    expect(await it.call("/used/status")).toBe(200);
    const { json } = await it.explain("route=used&ip=127.0.0.1");
    expect(json.limits.at(-1)).toMatchObject({ name: "units", cost: 5, usage: true, used: 5, remaining: 3, denies: true });
    expect([json.allowed, await it.call("/used/status")]).toEqual([false, 429]);
  });

  test("looks at the backend, and at all of a consumer's keys", async () => {
    await using it = gateway();
    expect(await it.call("/dead")).toBe(502);
    expect((await it.explain("route=dead&ip=127.0.0.1")).json.refusal.code).toBe("circuitOpen");
    expect((await it.explain("consumer=many&route=scoped")).json.refusal).toMatchObject({
      code: "forbidden",
      detail: expect.stringContaining("read"),
    });
    expect((await it.explain("consumer=keyless&route=all")).json.refusal).toEqual({
      code: "keyMissing",
      detail: "The consumer has no key.",
    });
  });

  test("knows an exhausted pool, and what is overdrawn", async () => {
    await using it = gateway();
    expect((await it.explain("route=pooled&ip=127.0.0.1")).json.allowed).toBe(true);
    expect((await fetch(`${it.url}/api/v1/api-key`, { method: "POST", body: '{"type":"s"}' })).status).toBe(200);
    expect((await it.explain("route=pooled&ip=127.0.0.1")).json.refusal.code).toBe("poolExhausted");
    expect((await it.explain("route=free&ip=127.0.0.1")).json.allowed).toBe(true);
  });

  test("counts a header that may be a key under its hash", async () => {
    await using it = gateway();
    await it.call("/keyed/status", KEYS.plain);
    const { json } = await it.explain(`route=keyed&ip=127.0.0.1&header=X-API-Key:${KEYS.plain}`);
    expect(json.limits.at(-1)).toMatchObject({ name: "keyed", used: 1, subject: expect.stringMatching(/^#[0-9a-f]{32}$/) });
  });

  test("finds a route by name, path, host and URL, also those of Sluice itself", async () => {
    await using it = gateway();
    const found = [];
    for (const route of [
      "hosted",
      "/hosted/x",
      "http://shop.example.com/hosted",
      "http://shop.example.org/hosted",
      "/tenants",
      "activities",
      "/api/activities",
    ])
      found.push((await it.explain(`route=${route}`)).json.route);
    expect(found).toEqual(["hosted", "all", "hosted", "all", "tenants", "activities", "activities"]);
  });

  test("says what it can't know, and takes a path for a route's name", async () => {
    await using it = gateway();
    const { json } = await it.explain("consumer=acme&route=/tenants/x");
    expect([json.route, json.allowed, json.unknown]).toEqual([
      "tenants",
      null,
      ["tenant: it is counted by the field X-Tenant: give its value"],
    ]);
    const told = (await it.explain("consumer=acme&route=tenants&header=X-Tenant:%20blue&header=X-Other:1")).json;
    expect([told.allowed, told.unknown, told.limits.at(-1).subject]).toEqual([true, [], "blue"]);
    expect((await it.explain("consumer=acme&header=nonsense")).status).toBe(422);
    expect(json.limits.at(-1)).toMatchObject({
      name: "tenant",
      subject: null,
      used: null,
      denies: null,
      subjectUnknown: "it is counted by the field X-Tenant: give its value",
    });
    expect((await it.explain("route=open")).json.limits[0].subjectUnknown).toBe("it is counted by address: name one");
  });

  test("refuses what there is none of", async () => {
    await using it = gateway();
    const refusals = [];
    for (const query of ["", "consumer=nobody", "route=nowhere", "ip=x", "key=key_none", "consumer=acme&key=key_none"])
      refusals.push((await it.explain(query)).status);
    expect(refusals).toEqual([422, 404, 404, 422, 404, 404]);
  });
});

test("denials are remembered for so many callers, and the last of each", () => {
  const denials = new Denials();
  const denial = (at: number) => ({ at, requestId: String(at), route: null, refusal: problem("keyMissing", "x") });
  for (let caller = 0; caller < 10_001; caller++) denials.note(`c${caller}`, denial(caller));
  expect(denials.of("c0")).toEqual([]);
  for (let at = 0; at < 7; at++) denials.note("c1", denial(at));
  expect(denials.of("c1").map(({ at }) => at)).toEqual([6, 5, 4, 3, 2]);
  denials.note("new", denial(1));
  // Put behind the others by its last one.
  expect([denials.of("c1").length, denials.of("c2").length]).toEqual([5, 0]);
});
