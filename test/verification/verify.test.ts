import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import fc from "fast-check";
import { loadConfig } from "../../src/config/load.ts";
import { openGateway } from "../../src/gateway/open.ts";
import { ConfigConflict } from "../../src/gateway/reload.ts";
import { openScope } from "../../src/gateway/scope.ts";
import { backend } from "../support/backend.ts";
import { FakeClock } from "../support/clock.ts";
import { folder } from "../support/process.ts";
import { serving } from "../support/serving.ts";

const ASKER = "a-key-that-asks-0123456789";
const KEY = "a-key-of-acme-0123456789";
const UPSTREAM = "http://127.0.0.1:9";
const perMinute = (limit: number, more: object = {}) => ({ algorithm: "sliding-log", limit, window: "1m", ...more });

const config = (more: object = {}) => ({
  keyVerification: {},
  tiers: {
    anonymous: { limits: [] },
    plain: { limits: [] },
    small: { limits: [perMinute(3)], quota: { limit: 5, period: "day" } },
  },
  routes: [
    { name: "shop", path: "/shop", upstream: UPSTREAM },
    { name: "dear", path: "/dear", upstream: UPSTREAM, cost: 2, limits: [perMinute(4)] },
    { name: "inside", path: "/inside", upstream: UPSTREAM, ips: { deny: ["192.0.2.0/24"] } },
    { name: "written", path: "/written", upstream: UPSTREAM, scopes: ["write"], tiers: ["small"] },
  ],
  consumers: [
    { id: "services", tier: "plain", keys: [{ key: ASKER, scopes: ["keys:verify"] }] },
    { id: "acme", tier: "small", metadata: { plan: 7 }, keys: [{ key: KEY, scopes: ["read"] }] },
    { id: "other", tier: "plain", keys: ["a-key-of-another-0123456789"] },
  ],
  ...more,
});

type Gateway = ReturnType<typeof serving>;
// biome-ignore lint/suspicious/noExplicitAny: a test looks into whatever came over the wire.
type Json = any;

const ask = async ({ url }: Pick<Gateway, "url">, body: unknown, headers: Record<string, string> = { "x-api-key": ASKER }) => {
  const answer = await fetch(`${url}/v1/keys/verify`, {
    method: "POST",
    headers,
    body: typeof body === "string" ? body : JSON.stringify(body),
  });
  return { status: answer.status, headers: answer.headers, json: (await answer.json()) as Json };
};
const made = async (gateway: Gateway, body: object): Promise<Json> => (await gateway.admin("POST", "/admin/keys", body)).json();

async function using(work: (gateway: Gateway) => Promise<void>, more: object = {}, clock = new FakeClock(Date.now())): Promise<void> {
  const gateway = serving(config(more), clock);
  try {
    await work(gateway);
    expect(gateway.faults).toEqual([]);
  } finally {
    await gateway.stop();
  }
}

describe("POST /v1/keys/verify", () => {
  test("tells of a good key whose it is, what is kept with it, and what is left of its limits; and charges it", () =>
    using(async (gateway) => {
      const first = await ask(gateway, { key: KEY });
      expect([first.status, first.headers.get("cache-control")]).toEqual([200, "no-store"]);
      const at = expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
      expect(first.json).toEqual({
        valid: true,
        code: null,
        keyId: expect.stringMatching(/^key_/),
        consumer: "acme",
        tier: "small",
        scopes: ["read"],
        metadata: { plan: 7 },
        limits: [
          { name: "per-minute", unit: "requests", limit: 3, remaining: 2, reset: at },
          { name: "daily", unit: "requests", limit: 5, remaining: 4, reset: at },
        ],
      });
      await ask(gateway, { key: KEY, cost: 2 });
      const denied = await ask(gateway, { key: KEY });
      expect([denied.status, denied.json.valid, denied.json.code, denied.json.limits[0].remaining]).toEqual([200, false, "rateLimited", 0]);
      const reset = new Date(denied.json.limits[0].reset).getTime();
      gateway.clock.advance(reset - gateway.clock.wall());
      expect((await ask(gateway, { key: KEY, cost: 2 })).json.valid).toBe(true);
      gateway.clock.advance(60_000);
      const over = await ask(gateway, { key: KEY });
      expect([over.json.valid, over.json.code, over.json.limits[1]]).toEqual([
        false,
        "quotaExceeded",
        { name: "daily", unit: "requests", limit: 5, remaining: 0, reset: at },
      ]);
    }));

  test("says why a key is no good, and counts none of them in the guard", () =>
    using(async (gateway) => {
      const disabled = await made(gateway, { consumer: "acme", enabled: false });
      const revoked = await made(gateway, { consumer: "acme", scopes: ["read"], metadata: { note: "left" } });
      await gateway.admin("DELETE", `/admin/keys/${revoked.id}`);
      const expiring = await made(gateway, { consumer: "acme", expiresAt: new Date(gateway.clock.wall() + 1000).toISOString() });
      await gateway.admin("POST", "/admin/consumers", { id: "gone", tier: "plain" });
      const ofGone = await made(gateway, { consumer: "gone" });
      await gateway.admin("PATCH", "/admin/consumers/gone", { enabled: false });
      gateway.clock.advance(1000);
      const codes: [string, string | null][] = [
        [disabled.key, "disabled"],
        [revoked.key, "revoked"],
        [expiring.key, "expired"],
        [ofGone.key, "disabled"],
        [`${expiring.key.slice(0, -1)}!`, "notFound"],
        ["", "notFound"],
        ["x".repeat(5000), "notFound"],
      ];
      for (const [key, code] of codes) {
        const { status, json } = await ask(gateway, { key });
        expect([key, status, json.valid, json.code, json.limits]).toEqual([key, 200, false, code, []]);
      }
      expect((await ask(gateway, { key: revoked.key })).json).toMatchObject({
        keyId: revoked.id,
        consumer: "acme",
        tier: "small",
        scopes: ["read"],
        metadata: { note: "left" },
      });
      for (let i = 0; i < 30; i++)
        expect((await ask(gateway, { key: `nobody-has-this-key-${i}` })).json).toEqual({
          valid: false,
          code: "notFound",
          keyId: null,
          consumer: null,
          tier: null,
          scopes: [],
          metadata: null,
          limits: [],
        });
      expect(((await (await gateway.admin("GET", "/admin/blocks")).json()) as Json).items).toEqual([]);
    }));

  test("a secret before the last rotation is good as long as its grace", () =>
    using(async (gateway) => {
      const key = await made(gateway, { consumer: "other" });
      const rotated = (await (await gateway.admin("POST", `/admin/keys/${key.id}/rotate`, { gracePeriod: "1m" })).json()) as Json;
      for (const good of [key.key, rotated.key])
        expect((await ask(gateway, { key: good })).json).toMatchObject({ valid: true, keyId: key.id });
      gateway.clock.advance(60_000);
      expect((await ask(gateway, { key: key.key })).json.code).toBe("notFound");
      expect((await ask(gateway, { key: rotated.key })).json.valid).toBe(true);
    }));

  test("of a key that may not be used for what is asked is forbidden, and charges nothing", () =>
    using(async (gateway) => {
      const bound = (await made(gateway, { consumer: "acme", routes: ["shop"], ips: ["10.0.0.0/8"], scopes: ["read", "write"] })).key;
      const cases: [object, string | null][] = [
        [{ key: KEY, scopes: ["read"] }, null],
        [{ key: KEY, scopes: ["read", "write"] }, "forbidden"],
        [{ key: KEY, route: "written" }, "forbidden"],
        [{ key: "a-key-of-another-0123456789", route: "written" }, "forbidden"],
        [{ key: bound, ip: "10.1.2.3", route: "shop", scopes: ["write"] }, null],
        [{ key: bound, ip: "10.1.2.3" }, null],
        [{ key: bound, ip: "10.1.2.3", route: "dear" }, "forbidden"],
        [{ key: bound, ip: "192.0.2.1", route: "shop" }, "forbidden"],
        [{ key: bound, route: "shop" }, "forbidden"],
        [{ key: KEY, route: "inside", ip: "10.1.2.3" }, null],
        [{ key: KEY, route: "inside", ip: "192.0.2.1" }, "forbidden"],
        [{ key: KEY, route: "inside" }, "forbidden"],
      ];
      for (const [question, code] of cases) {
        const { status, json } = await ask(gateway, { cost: 0, ...question });
        expect([question, status, json.valid, json.code]).toEqual([question, 200, code === null, code]);
        if (code !== null) expect((await ask(gateway, question)).json).toMatchObject({ valid: false, code, limits: [] });
      }
      expect((await ask(gateway, { key: KEY, cost: 0 })).json.limits[0].remaining).toBe(3);
    }));

  test("counts the named route's limits and takes its cost, as a forwarded request would", () =>
    using(async (gateway) => {
      const key = "a-key-of-another-0123456789";
      const first = await ask(gateway, { key, route: "dear" });
      expect(first.json.limits).toMatchObject([{ name: "per-minute", limit: 4, remaining: 2 }]);
      expect((await ask(gateway, { key, route: "dear", cost: 1 })).json.limits).toMatchObject([{ remaining: 1 }]);
      const denied = await ask(gateway, { key, route: "dear" });
      expect(denied.json).toMatchObject({ valid: false, code: "rateLimited", limits: [{ remaining: 1 }] });
      // All or nothing: the consumer's own limits were charged for none that the route's denied.
      for (let i = 0; i < 3; i++) expect((await ask(gateway, { key: KEY, route: "dear" })).json.code).toBe(i === 0 ? null : "rateLimited");
      expect((await ask(gateway, { key: KEY, cost: 0, route: "dear" })).json.limits).toMatchObject([
        { name: "per-minute", limit: 3, remaining: 1 },
        { name: "daily", remaining: 3 },
        { name: "route dear: per-minute", limit: 4, remaining: 2 },
      ]);
    }));

  test("with cost 0 looks without charging, and is valid also when nothing is left", () =>
    using(async (gateway) => {
      for (let i = 0; i < 5; i++)
        expect((await ask(gateway, { key: KEY, cost: 0 })).json.limits[0]).toEqual({
          name: "per-minute",
          unit: "requests",
          limit: 3,
          remaining: 3,
          reset: null,
        });
      await ask(gateway, { key: KEY, cost: 3 });
      expect((await ask(gateway, { key: KEY })).json.code).toBe("rateLimited");
      expect((await ask(gateway, { key: KEY, cost: 0 })).json).toMatchObject({
        valid: true,
        code: null,
        limits: [{ remaining: 0 }, { remaining: 2 }],
      });
    }));

  test("leaves out limits that it can't judge: of what is in flight, of fields, and of addresses where none is named", () =>
    using(
      async (gateway) => {
        const names = async (more: object) =>
          (await ask(gateway, { key: KEY, ...more })).json.limits.map(({ name }: { name: string }) => name);
        expect(await names({})).toEqual(["whole"]);
        expect(await names({ ip: "192.0.2.1" })).toEqual(["by-address", "whole"]);
        expect((await ask(gateway, { key: KEY, ip: "192.0.2.1" })).json.code).toBe("rateLimited");
        expect((await ask(gateway, { key: KEY, ip: "192.0.2.2" })).json.valid).toBe(true);
      },
      {
        tiers: {
          anonymous: { limits: [] },
          plain: { limits: [] },
          small: {
            limits: [
              { algorithm: "concurrency", limit: 1 },
              perMinute(1, { name: "by-tenant", by: "header:X-Tenant" }),
              perMinute(1, { name: "by-address", by: ["consumer", "ip"] }),
              perMinute(1, { name: "tried-out", shadow: true }),
              perMinute(10, { name: "whole" }),
            ],
          },
        },
      },
    ));

  test("takes admin tokens of operators, and keys with the scope", () =>
    using(async (gateway) => {
      const token = async (role: string): Promise<string> =>
        ((await (await gateway.admin("POST", "/admin/tokens", { name: role, role })).json()) as Json).token;
      const by = (text: string) => ({ authorization: `Bearer ${text}` });
      const cases: [Record<string, string>, number, string | undefined][] = [
        [{}, 401, "keyMissing"],
        [by("an-admin-token-0123456789"), 200, undefined],
        [by(await token("operator")), 200, undefined],
        [by(await token("viewer")), 403, "forbidden"],
        [by(ASKER), 200, undefined],
        [{ "x-api-key": KEY }, 403, "forbidden"],
        [{ "x-api-key": "a-key-that-nobody-has" }, 401, "keyInvalid"],
      ];
      for (const [headers, status, code] of cases) {
        const { json, ...answer } = await ask(gateway, { key: KEY, cost: 0 }, headers);
        expect([headers, answer.status, answer.status === 200 ? undefined : json.code]).toEqual([headers, status, code]);
        expect(answer.headers.has("www-authenticate")).toBe(status === 401);
      }
      const bound = await made(gateway, { consumer: "other", scopes: ["keys:verify"], routes: ["shop"] });
      expect((await ask(gateway, { key: KEY, cost: 0 }, { "x-api-key": bound.key })).status).toBe(403);
      const free = await made(gateway, { consumer: "other", scopes: ["keys:verify"], routes: ["key-verification"] });
      expect((await ask(gateway, { key: KEY, cost: 0 }, { "x-api-key": free.key })).status).toBe(200);
      // Wrong keys of who asks count, as elsewhere; an admin token passes all the same.
      for (let i = 0; i < 10; i++) await ask(gateway, { key: KEY }, { "x-api-key": `a-key-that-nobody-has-${i}` });
      expect((await ask(gateway, { key: KEY }, { "x-api-key": "a-key-that-nobody-has" })).json.code).toBe("ipBlocked");
      expect((await ask(gateway, { key: KEY, cost: 0 }, by("an-admin-token-0123456789"))).status).toBe(200);
    }));

  test("takes no admin token from where admin.allowFrom takes none, and looks none up", () =>
    using(
      async (gateway) => {
        const by = async (text: string) => {
          const { status, json } = await ask(gateway, { key: KEY, cost: 0 }, { authorization: `Bearer ${text}` });
          return [status, json.code];
        };
        expect(await by("slat_whatever-it-may-be-0123456789")).toEqual([403, "forbidden"]);
        expect(await by("an-admin-token-0123456789")).toEqual([401, "keyInvalid"]);
        expect(await by(ASKER)).toEqual([200, null]);
      },
      { admin: { allowFrom: ["10.0.0.0/8"] } },
    ));

  test("refuses what it does not understand, and quotes no key", () =>
    using(async (gateway) => {
      const cases: [unknown, number, object][] = [
        ["{", 400, { code: "badRequest" }],
        ["", 400, { code: "badRequest" }],
        [{}, 422, { errors: [{ path: "key", message: "is required" }] }],
        [{ key: 7_777_777 }, 422, { errors: [{ path: "key", message: "must be text" }] }],
        [{ key: KEY, costs: 1 }, 422, { errors: [{ path: "costs", message: 'unknown field "costs", did you mean "cost"?' }] }],
        [{ key: KEY, cost: -1 }, 422, { errors: [{ path: "cost", message: "must be at least 0, got -1" }] }],
        [{ key: KEY, cost: 1.5 }, 422, { code: "validationFailed" }],
        [{ key: KEY, scopes: "read" }, 422, { code: "validationFailed" }],
        [{ key: KEY, ip: "here" }, 422, { errors: [{ path: "ip", message: "must be an IPv4 or IPv6 address" }] }],
        [{ key: KEY, route: "shoop" }, 422, { errors: [{ path: "route", message: 'there is no route "shoop", did you mean "shop"?' }] }],
        [JSON.stringify({ key: "x".repeat(70_000) }), 413, { code: "bodyTooLarge" }],
      ];
      for (const [body, status, expected] of cases) {
        const answer = await ask(gateway, body);
        expect([body, answer.status]).toEqual([body, status]);
        expect(answer.json).toMatchObject(expected);
        expect(JSON.stringify(answer.json)).not.toContain(KEY);
      }
      const wrong = await fetch(`${gateway.url}/v1/keys/verify`, { headers: { "x-api-key": ASKER } });
      expect([wrong.status, wrong.headers.get("allow")]).toEqual([405, "POST"]);
      expect((await ask(gateway, { key: KEY, cost: 0 })).json.limits[0].remaining).toBe(3);
    }));

  test("counts as use of the key, in its usage and in what explains a refusal", () =>
    using(async (gateway) => {
      const key = await made(gateway, { consumer: "acme" });
      await ask(gateway, { key: key.key });
      await ask(gateway, { key: key.key, route: "shop" });
      await ask(gateway, { key: key.key, route: "shop", cost: 9 });
      await ask(gateway, { key: key.key, route: "written" });
      await ask(gateway, { key: key.key, cost: 0 });
      const usage = (await (await gateway.admin("GET", "/admin/usage?by=consumer,key,route")).json()) as Json;
      const row = (route: string, requests: number, limited: number) => ({
        consumer: "acme",
        key: key.id,
        route,
        requests,
        errors: 0,
        limited,
        tokens: 0,
        cost: 0,
      });
      expect(usage.items).toEqual([row("key-verification", 1, 0), row("shop", 2, 1), row("written", 1, 0)]);
      expect(((await (await gateway.admin("GET", `/admin/keys/${key.id}`)).json()) as Json).lastUsedAt).not.toBeNull();
      const explained = (await (await gateway.admin("GET", `/admin/explain?consumer=acme&key=${key.id}`)).json()) as Json;
      expect(explained.denials).toMatchObject([
        { route: "written", code: "forbidden" },
        { route: "shop", code: "quotaExceeded", limits: [{ name: "per-minute", scope: "tier small" }, { name: "daily" }] },
      ]);
      const metrics = (await (await gateway.admin("GET", "/metrics")).text()).split("\n");
      expect(metrics).toContain('sluice_limited_requests_total{owner="tier small",limit="per-minute"} 1');
      expect(metrics).toContain('http_requests_total{route="key-verification",method="POST",status="200"} 5');
    }));

  test("tells of metadata that was changed", () =>
    using(async (gateway) => {
      const key = await made(gateway, { consumer: "other", metadata: { plan: 1 } });
      await gateway.admin("POST", "/admin/consumers", { id: "late", tier: "plain", metadata: { since: 1 } });
      const ofLate = await made(gateway, { consumer: "late" });
      const seen = async (text: string) => (await ask(gateway, { key: text })).json.metadata;
      expect([await seen(key.key), await seen(ofLate.key), await seen("a-key-of-another-0123456789")]).toEqual([
        { plan: 1 },
        { since: 1 },
        null,
      ]);
      await gateway.admin("PATCH", `/admin/keys/${key.id}`, { metadata: { plan: 2 } });
      await gateway.admin("PATCH", "/admin/consumers/late", { metadata: { since: 2 } });
      expect([await seen(key.key), await seen(ofLate.key)]).toEqual([{ plan: 2 }, { since: 2 }]);
    }));
});

describe("the path of key verification", () => {
  test("is there only where it is turned on", async () => {
    const gateway = serving(config({ keyVerification: null }));
    expect((await ask(gateway, { key: KEY })).status).toBe(404);
    await gateway.stop();
  });

  test("is a route's as long as it is not turned on, and that route is a fault then", () => {
    const routes = [{ name: "mine", path: "/v1/keys/verify", upstream: UPSTREAM }];
    expect(loadConfig(JSON.stringify(config({ keyVerification: null, routes })), {})).not.toHaveProperty("faults");
    expect(loadConfig(JSON.stringify(config({ routes })), {})).toMatchObject({
      faults: [{ path: ["routes", 0, "path"], message: expect.stringContaining("served by Sluice itself") }],
    });
    const below = [{ name: "mine", path: "/v1/keys", upstream: UPSTREAM }];
    expect(loadConfig(JSON.stringify(config({ routes: below })), {})).not.toHaveProperty("faults");
  });

  test("can't be turned on while the admin API's route has it", async () => {
    using home = folder();
    const path = join(home.path, "sluice.db");
    const before = serving(config({ keyVerification: null }), new FakeClock(Date.now()), path);
    const made = [
      { name: "one", path: "/v1/keys/verify", upstream: UPSTREAM },
      { name: "two", path: "/api/v1/me/", upstream: UPSTREAM },
    ];
    for (const route of made) expect((await before.admin("POST", "/admin/routes", route)).status).toBe(201);
    await before.stop();

    const loaded = loadConfig(JSON.stringify(config({ selfService: {} })), {});
    if ("faults" in loaded) throw new Error(JSON.stringify(loaded.faults));
    const onFault = () => {};
    const scope = openScope(onFault);
    const options = { config: loaded.config, file: "config.json", databasePath: path, adminToken: "an-admin-token-0123456789" };
    const fault = (section: string, message: string) => ({ path: [section], message: expect.stringContaining(message) });
    expect(() => openGateway(scope, { ...options, clock: new FakeClock(Date.now()), log: null, onFault })).toThrow(
      expect.objectContaining({
        constructor: ConfigConflict,
        faults: [
          fault("keyVerification", 'takes /v1/keys/verify from the route "one"'),
          fault("selfService", 'takes /api/v1/me/ from the route "two"'),
        ],
      }),
    );
    await scope.close();
  });

  test("is told by explain, with who may ask", () =>
    using(async (gateway) => {
      const walked = async (key: string) =>
        (await (await gateway.admin("POST", "/admin/explain/request", { method: "POST", target: "/v1/keys/verify", key })).json()) as Json;
      expect(await walked(ASKER)).toMatchObject({
        refusal: null,
        steps: [
          { step: "path" },
          { detail: "Sluice itself answers: it tells whether a key is good" },
          { step: "guard" },
          { step: "identify", passed: true },
          { step: "target", passed: null },
        ],
      });
      expect((await walked(KEY)).refusal).toEqual({ status: 403, code: "forbidden" });
    }));
});

test("verified and forwarded requests together never get more than the limit", async () => {
  using behind = backend();
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.record({ by: fc.constantFrom("verify", "look", "forward"), wait: fc.constantFrom(0, 0, 400, 30_000) }), {
        minLength: 1,
        maxLength: 25,
      }),
      async (steps) => {
        const gateway = serving(config({ routes: [{ name: "shop", path: "/shop", upstream: behind.url, limits: [perMinute(4)] }] }));
        const granted: number[] = [];
        for (const { by, wait } of steps) {
          gateway.clock.advance(wait);
          const isGranted =
            by === "forward"
              ? (await fetch(`${gateway.url}/shop`, { headers: { "x-api-key": KEY } })).status === 200
              : (await ask(gateway, { key: KEY, route: "shop", ...(by === "look" ? { cost: 0 } : {}) })).json.valid;
          if (by === "look") expect(isGranted).toBe(true);
          else if (isGranted) granted.push(gateway.clock.wall());
        }
        for (const at of granted) expect(granted.filter((each) => each > at - 60_000 && each <= at).length).toBeLessThanOrEqual(3);
        // What is asked while there is room is granted.
        const asked = steps.filter(({ by }) => by !== "look").length;
        expect(granted.length).toBeGreaterThanOrEqual(Math.min(3, asked));
        await gateway.stop();
      },
    ),
    { numRuns: 20 },
  );
});
