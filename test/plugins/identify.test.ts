import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { SignJWT } from "jose";
import { backend } from "../support/backend.ts";
import { servingPlugins } from "../support/plugins.ts";

/** Names whom the header X-User names, as JSON says it, and answers or fails on demand. */
const BY_HEADER = (name: string, header: string) => `
import type { Plugin } from "sluice";
export default {
  name: "${name}",
  async identify(request) {
    const user = request.headers.get("${header}");
    if (user === null) return null;
    if (user === "login") return Response.redirect("https://login.example.com/", 302);
    if (user === "throws") throw new Error("the store is away");
    return JSON.parse(user);
  },
} satisfies Plugin;
`;

const LATER = `
import type { Plugin } from "sluice";
export default {
  name: "later",
  admit(request, context) {
    const { caller } = context;
    if (request.headers.get("X-Tag") !== null) context.tags.tenant = request.headers.get("X-Tag") ?? "";
    if (request.headers.get("X-Tags") !== null) context.tags = JSON.parse(request.headers.get("X-Tags") ?? "");
    if (request.headers.get("X-Cost") !== null) context.cost = Number(request.headers.get("X-Cost"));
    request.headers.set("X-Metadata", JSON.stringify(caller?.metadata ?? null));
    request.headers.set("X-Via", caller?.via ?? "none");
  },
} satisfies Plugin;
`;

const SECRET = "a-secret-of-an-issuer-0123456789-0123456789";
const KEY = "a-declared-key-0123456789";
let gateway: Awaited<ReturnType<typeof servingPlugins>>;
let behind: ReturnType<typeof backend>;

beforeAll(async () => {
  behind = backend();
  const to = { upstream: behind.url, retry: null };
  const window = { algorithm: "fixed-window", window: "1h" };
  gateway = await servingPlugins(
    { "first.ts": BY_HEADER("first", "X-User"), "second.ts": BY_HEADER("second", "X-Other-User"), "later.ts": LATER },
    {
      plugins: [{ file: "first.ts" }, { file: "second.ts" }],
      tiers: {
        anonymous: { limits: [{ ...window, name: "anonymous", limit: 1000 }] },
        gold: { limits: [{ ...window, name: "gold", limit: 500 }] },
        silver: { limits: [{ ...window, name: "silver", limit: 300 }] },
      },
      routes: [
        { path: "/r", ...to, plugins: [{ file: "later.ts" }] },
        { path: "/optional", ...to, auth: "optional" },
        { path: "/open", ...to, auth: "none" },
        { path: "/gold", ...to, tiers: ["gold"] },
        { path: "/scoped", ...to, scopes: ["read"] },
        { path: "/tokens", ...to, auth: "optional", issuers: ["main"] },
        {
          path: "/counted",
          ...{ ...to, auth: "none" },
          limits: [{ ...window, limit: 10, by: "tag:tenant", name: "tenants" }],
          plugins: [{ file: "later.ts" }],
        },
      ],
      issuers: { main: { issuer: "https://id.example.com", secret: SECRET, audience: ["api"], tier: { default: "gold" } } },
      consumers: [
        { id: "acme", tier: "silver", keys: [KEY], limits: [{ ...window, name: "own", limit: 70 }], metadata: { seats: 4 } },
        { id: "main:alice", tier: "silver", keys: [], metadata: { floor: 2 } },
        { id: "closed", tier: "gold", enabled: false, keys: [] },
      ],
    },
  );
});
afterAll(async () => {
  await gateway.stop();
  behind[Symbol.dispose]();
});

const as = (user: unknown, more: Record<string, string> = {}): RequestInit => ({
  headers: { "X-User": typeof user === "string" ? user : JSON.stringify(user), ...more },
});
const ask = (path: string, init: RequestInit = {}) => fetch(gateway.url + path, init);
const seen = async (path: string, init: RequestInit = {}): Promise<Record<string, string>> =>
  ((await (await ask(path, init)).json()) as { headers: Record<string, string> }).headers;

describe("whom a plug-in names", () => {
  test("is the caller, where neither a key nor a token says who calls", async () => {
    const headers = await seen("/r/a", as({ consumer: "auth0|7", tier: "gold", metadata: { plan: "b" } }));
    expect(headers).toMatchObject({
      "x-consumer-id": "auth0|7",
      "x-consumer-tier": "gold",
      "x-via": "plugin",
      "x-metadata": '{"plan":"b"}',
    });
    const keyed = await seen("/r/a", as({ consumer: "other" }, { "X-API-Key": KEY }));
    expect(keyed).toMatchObject({ "x-consumer-id": "acme", "x-via": "key" });
    expect((await ask("/r/a", as({ consumer: "other" }, { "X-API-Key": "wrong-key-0123456789" }))).status).toBe(401);
  });

  test("is shown with what the record of its consumer says besides, as callers with keys and tokens are", async () => {
    const claims = { iss: "https://id.example.com", aud: "api", exp: Date.now() / 1000 + 600 };
    const token = (sub: string) => new SignJWT({ ...claims, sub }).setProtectedHeader({ alg: "HS256" }).sign(Buffer.from(SECRET));
    const metadataOf = async (init: RequestInit) => JSON.parse((await seen("/r/a", init))["x-metadata"] ?? "");
    expect(await metadataOf({ headers: { "X-API-Key": KEY } })).toEqual({ seats: 4 });
    expect(await metadataOf({ headers: { Authorization: `Bearer ${await token("alice")}` } })).toEqual({ floor: 2 });
    expect(await metadataOf({ headers: { Authorization: `Bearer ${await token("bob")}` } })).toEqual({});
    expect(await metadataOf(as({ consumer: "acme" }))).toEqual({ seats: 4 });
    expect(await metadataOf(as({ consumer: "acme", metadata: { plan: "b" } }))).toEqual({ plan: "b" });
  });

  test("has the anonymous tier without a tier and without a record", async () => {
    const answer = await ask("/r/a", as({ consumer: "nobody-special" }));
    expect(answer.headers.get("ratelimit-policy")).toContain('"anonymous";q=1000');
    expect(((await answer.json()) as { headers: object }).headers).toMatchObject({ "x-consumer-tier": "anonymous" });
  });

  test("has the limits and the tier of its record, or the tier that the plug-in says", async () => {
    const own = await ask("/r/a", as({ consumer: "acme" }));
    expect(own.headers.get("ratelimit-policy")).toContain('"own";q=70');
    expect(((await own.json()) as { headers: object }).headers).toMatchObject({ "x-consumer-id": "acme", "x-consumer-tier": "silver" });
    expect(await seen("/r/a", as({ consumer: "acme", tier: "gold" }))).toMatchObject({ "x-consumer-tier": "gold" });
    // Key and session of one consumer are counted together.
    const left = Number((await ask("/r/a", { headers: { "X-API-Key": KEY } })).headers.get("x-ratelimit-remaining"));
    const after = Number((await ask("/r/a", as({ consumer: "acme" }))).headers.get("x-ratelimit-remaining"));
    expect(after).toBe(left - 1);
  });

  test("is held to what a record says now", async () => {
    const limits = [{ algorithm: "fixed-window", window: "1h", name: "made", limit: 3 }];
    expect((await gateway.admin("POST", "/admin/consumers", { id: "made", tier: "gold", limits })).status).toBe(201);
    expect((await ask("/r/a", as({ consumer: "made" }))).headers.get("ratelimit-policy")).toContain('"made";q=3');
    await gateway.admin("PATCH", "/admin/consumers/made", { limits: [{ ...limits[0], limit: 4 }] });
    expect((await ask("/r/a", as({ consumer: "made" }))).headers.get("ratelimit-policy")).toContain('"made";q=4');
    await gateway.admin("PATCH", "/admin/consumers/made", { enabled: false });
    expect((await ask("/r/a", as({ consumer: "made" }))).status).toBe(403);
  });

  test("is refused where the record is disabled, or the route is for others", async () => {
    const closed = await ask("/r/a", as({ consumer: "closed" }));
    expect([closed.status, ((await closed.json()) as { detail: string }).detail]).toEqual([
      403,
      "Your access is disabled: ask whoever runs this.",
    ]);
    expect((await ask("/gold/a", as({ consumer: "x", tier: "silver" }))).status).toBe(403);
    expect((await ask("/gold/a", as({ consumer: "x", tier: "gold" }))).status).toBe(200);
    expect((await ask("/scoped/a", as({ consumer: "x", scopes: ["write"] }))).status).toBe(403);
    expect((await ask("/scoped/a", as({ consumer: "x", scopes: ["write", "read"] }))).status).toBe(200);
  });

  test("is told apart in usage", async () => {
    await ask("/r/a", as({ consumer: "used-by-session", tier: "gold" }));
    const usage = await (await gateway.admin("GET", "/admin/usage?consumer=used-by-session")).text();
    expect(usage).toContain('"requests":1');
  });
});

describe("the plug-ins that say who calls", () => {
  test("are asked one after the other, until one knows", async () => {
    expect(await seen("/r/a", { headers: { "X-Other-User": '{"consumer":"other"}' } })).toMatchObject({ "x-consumer-id": "other" });
    expect(await seen("/r/a", as({ consumer: "one" }, { "X-Other-User": '{"consumer":"other"}' }))).toMatchObject({
      "x-consumer-id": "one",
    });
    expect((await ask("/r/a")).status).toBe(401);
    expect((await ask("/optional/a")).status).toBe(200);
  });

  test("are not asked on a route that looks at no caller, or takes tokens alone", async () => {
    expect(await seen("/open/a", as({ consumer: "one" }))).not.toHaveProperty("x-consumer-id");
    expect(await seen("/tokens/a", as({ consumer: "one" }))).not.toHaveProperty("x-consumer-id");
  });

  test("may answer by themselves", async () => {
    const answer = await ask("/r/a", { ...as("login"), redirect: "manual" });
    expect([answer.status, answer.headers.get("location")]).toEqual([302, "https://login.example.com/"]);
  });

  test.each([
    ["throws", "the store is away"],
    ["7", "identify gave 7 in place of"],
    ["[]", "identify gave a list in place of"],
    ['{"consumer":7}', "identify gave a consumer that can't be one"],
    ['{"consumer":"a b"}', "identify gave a consumer that can't be one"],
    ['{"consumer":"[192.0.2.1]"}', "identify gave a consumer that can't be one"],
    [`{"consumer":"${"a".repeat(129)}"}`, "identify gave a consumer that can't be one"],
    ['{"consumer":"a","tier":"platinum"}', 'identify gave the tier "platinum", which does not exist'],
    ['{"consumer":"a","scopes":"read"}', "identify gave scopes that are no list"],
    ['{"consumer":"a","metadata":[]}', "identify gave metadata that is no object"],
    ['{"consumer":"a","tenant":"b"}', 'identify gave a field "tenant"'],
  ])("%s is a failure of the plug-in: nobody comes in", async (user, why) => {
    const answer = await ask("/optional/a", as(user));
    expect(answer.status).toBe(500);
    expect(await answer.json()).toMatchObject({ code: "pluginFailed" });
    const last = (await gateway.logged()).findLast(({ msg }) => msg === "a plug-in failed");
    expect(last).toMatchObject({ plugin: "first", hook: "identify", error: expect.stringContaining(why) });
  });
});

describe("a plug-in's tags and cost", () => {
  const left = async (tag: string, cost?: string): Promise<string | null> =>
    (await ask("/counted/a", { headers: { "X-Tag": tag, ...(cost === undefined ? {} : { "X-Cost": cost }) } })).headers.get(
      "x-ratelimit-remaining",
    );

  test("decide what limits count, and how much", async () => {
    expect([await left("acme"), await left("acme"), await left("other"), await left("acme", "5"), await left("acme", "0")]).toEqual([
      "9",
      "8",
      "9",
      "3",
      "3",
    ]);
    const denied = await ask("/counted/a", { headers: { "X-Tag": "acme", "X-Cost": "4" } });
    expect(denied.status).toBe(429);
  });

  test.each([
    [{ "X-Cost": "-1" }, "context.cost must be a whole number"],
    [{ "X-Cost": "1.5" }, "context.cost must be a whole number"],
    [{ "X-Tags": '{"tenant":7}' }, "context.tags.tenant must be text"],
    [{ "X-Tags": '{"a b":"c"}' }, "context.tags has a name that no limit can have"],
    [{ "X-Tags": "7" }, "context.tags must be an object of texts"],
    [{ "X-Tags": JSON.stringify(Object.fromEntries(Array.from({ length: 17 }, (_, i) => [`t${i}`, ""]))) }, "has more than 16 tags"],
  ])("%j is a failure", async (headers, why) => {
    expect((await ask("/counted/a", { headers })).status).toBe(500);
    const last = (await gateway.logged()).findLast(({ msg }) => msg === "a plug-in failed");
    expect(last).toMatchObject({ plugin: "later", hook: "admit", error: expect.stringContaining(why) });
  });
});

describe("a request that is only asked about", () => {
  const steps = async (target: string): Promise<unknown[]> =>
    (
      (await (await gateway.admin("POST", "/admin/explain/request", { method: "GET", target, headers: ["X-User: throws"] })).json()) as {
        steps: unknown[];
      }
    ).steps;

  test("calls no plug-in, and tells which would be asked", async () => {
    const told = await steps("/r/a");
    expect(told).toContainEqual({
      step: "identify",
      passed: null,
      detail: "the plug-ins that say who calls would be asked (first, second)",
    });
    expect(told).toContainEqual({ step: "plugin", passed: null, detail: "the plug-in later would be asked (admit)" });
    expect(told.at(-1)).toMatchObject({ step: "target" });
  });
});
