import { expect, test } from "bun:test";
import { FakeClock } from "../support/clock.ts";
import { exchange } from "../support/raw.ts";
import { serving } from "../support/serving.ts";

const UPSTREAM = "http://127.0.0.1:9";
const HOUR = 3_600_000;
const NOW = Date.parse("2027-03-10T12:00:00Z");

const config = (more: object = {}) => ({
  selfService: {},
  tiers: {
    anonymous: { limits: [] },
    own: {
      limits: [{ algorithm: "sliding-log", limit: 9, window: "1m" }],
      quota: { limit: 50, period: "month" },
      selfService: { keys: 5, scopes: ["read"] },
    },
  },
  routes: [{ name: "shop", path: "/shop", upstream: UPSTREAM, retry: null }],
  consumers: [{ id: "declared", tier: "own", keys: [] }],
  ...more,
});

type Gateway = ReturnType<typeof serving>;
// biome-ignore lint/suspicious/noExplicitAny: a test looks into whatever came over the wire.
type Json = any;

/** A browser at the page for consumers: it keeps its cookie, and sends what a page's own script sends. */
const browser = (gateway: Gateway, more: Record<string, string> = {}) => {
  let cookie = "";
  return {
    get cookie() {
      return cookie;
    },
    async send(method: string, path: string, body?: object, changed: Record<string, string | null> = {}) {
      const wanted: Record<string, string | null> = { origin: gateway.url, "x-sluice-console": "1", cookie, ...more, ...changed };
      const headers = Object.entries(wanted).filter((field): field is [string, string] => field[1] !== null && field[1] !== "");
      const answer = await fetch(gateway.url + path, { method, headers, ...(body === undefined ? {} : { body: JSON.stringify(body) }) });
      const set = answer.headers.get("set-cookie");
      if (set !== null) cookie = set.split(";", 1)[0] ?? "";
      const text = await answer.text();
      const isJson = answer.headers.get("content-type")?.includes("json") === true;
      return { status: answer.status, headers: answer.headers, set, text, json: (isJson ? JSON.parse(text) : null) as Json };
    },
  };
};

const admin = async (gateway: Gateway, method: string, path: string, body?: object) => {
  const answer = await gateway.admin(method, path, body);
  const text = await answer.text();
  return { status: answer.status, json: (text === "" ? null : JSON.parse(text)) as Json };
};
const linkFor = async (gateway: Gateway, id: string, body: object = {}): Promise<string> => {
  const { json } = await admin(gateway, "POST", `/admin/consumers/${id}/link`, body);
  return new URL(json.url).hash.replace("#link=", "");
};

async function using(work: (gateway: Gateway, key: Json) => Promise<void>, more: object = {}): Promise<void> {
  const gateway = serving(config(more), new FakeClock(NOW));
  try {
    await admin(gateway, "POST", "/admin/consumers", { id: "acme", tier: "own" });
    await work(gateway, (await admin(gateway, "POST", "/admin/keys", { consumer: "acme", name: "server", scopes: ["read", "pay"] })).json);
    expect(gateway.faults).toEqual([]);
  } finally {
    await gateway.stop();
  }
}

test("a link lets a consumer in, who sees and changes their keys by a cookie for /my alone", () =>
  using(async (gateway, key) => {
    await fetch(`${gateway.url}/shop`, { headers: { "x-api-key": key.key } });
    const made = await admin(gateway, "POST", "/admin/consumers/acme/link", { ttl: "1h" });
    expect([made.status, made.json]).toEqual([
      201,
      { url: expect.stringContaining(`${gateway.url}/my#link=`), expiresAt: new Date(NOW + HOUR).toISOString() },
    ]);
    const tab = browser(gateway);
    const link = new URL(made.json.url).hash.slice("#link=".length);
    const { status, set, json } = await tab.send("POST", "/my/session", { link });
    expect([status, json]).toEqual([201, { consumer: "acme", expiresAt: new Date(NOW + 12 * HOUR).toISOString() }]);
    expect(set).toMatch(/^sluice_my=[0-9A-Za-z]{40}; HttpOnly; SameSite=Strict; Path=\/my; Max-Age=43200$/);

    const me = (await tab.send("GET", "/my/api/me")).json;
    expect(me).toMatchObject({
      ...{ consumer: "acme", tier: "own", key: null, until: new Date(NOW + 12 * HOUR).toISOString() },
      limits: [{ name: "per-minute", limit: 9, remaining: 8 }],
      quotas: [{ name: "monthly", limit: 50, remaining: 49 }],
      usage: [{ requests: 1 }],
    });
    const child = await tab.send("POST", "/my/api/me/keys", { name: "laptop" });
    expect([child.status, child.json]).toEqual([201, expect.objectContaining({ madeFrom: key.id, scopes: ["read"] })]);
    const { items, allowed } = (await tab.send("GET", "/my/api/me/keys")).json;
    expect(items.map(({ id, may }: Json) => [id, may])).toEqual([
      [key.id, { rotate: true, revoke: false, makeFrom: true }],
      [child.json.id, { rotate: true, revoke: true, makeFrom: false }],
    ]);
    expect(allowed).toEqual({ rotate: true, keys: 5, scopes: ["read"], routes: [] });
    const rotated = await tab.send("POST", `/my/api/me/keys/${key.id}/rotate`);
    expect([rotated.status, rotated.json.id]).toEqual([200, key.id]);
    expect((await tab.send("DELETE", `/my/api/me/keys/${child.json.id}`)).status).toBe(204);
    const rows = (await admin(gateway, "GET", "/admin/audit?actor=consumer%20acme")).json.items;
    expect(rows.map(({ action }: Json) => action)).toEqual(["key.revoke", "key.rotate", "key.create", "session.begin"]);
    expect(JSON.stringify((await admin(gateway, "GET", "/admin/audit")).json)).not.toMatch(new RegExp(`${link}|${tab.cookie.slice(10)}`));

    const out = await tab.send("DELETE", "/my/session");
    expect([out.status, out.set]).toEqual([204, "sluice_my=; HttpOnly; SameSite=Strict; Path=/my; Max-Age=0"]);
    expect((await tab.send("GET", "/my/api/me")).status).toBe(401);
  }));

test("a link works once, not after its time, and for no other use; a wrong one counts in the guard", () =>
  using(async (gateway) => {
    const tab = browser(gateway);
    const first = await linkFor(gateway, "acme");
    expect((await tab.send("POST", "/my/session", { link: first })).status).toBe(201);
    const second = await linkFor(gateway, "acme", { ttl: "10m" });
    gateway.clock.advance(10 * 60_000);
    for (const link of [first, second, "x"]) {
      const { status, json } = await browser(gateway).send("POST", "/my/session", { link });
      expect([status, json.code, json.detail]).toEqual([401, "keyInvalid", expect.stringContaining("works once")]);
    }
    expect((await tab.send("POST", "/my/session", {})).status).toBe(422);
    for (let i = 0; i < 10; i++) await browser(gateway).send("POST", "/my/session", { link: `guess-${i}` });
    expect((await browser(gateway).send("POST", "/my/session", { link: "x" })).json.code).toBe("ipBlocked");
    // Who is let in already goes on.
    expect((await tab.send("GET", "/my/api/me")).status).toBe(200);
    expect((await tab.send("GET", "/my/api/me", undefined, { cookie: "" })).json.code).toBe("ipBlocked");
    gateway.clock.advance(12 * HOUR);
    expect((await tab.send("GET", "/my/api/me")).json.code).toBe("keyMissing");
  }));

test("the cookie is of use to the page alone: no other origin changes anything by it, and it is no key and no admin token", () =>
  using(async (gateway, key) => {
    const tab = browser(gateway);
    await tab.send("POST", "/my/session", { link: await linkFor(gateway, "acme") });
    const rotate = (changed: Record<string, string | null>) => tab.send("POST", `/my/api/me/keys/${key.id}/rotate`, undefined, changed);
    const foreign: Record<string, string | null>[] = [{ origin: "http://evil.example" }, { origin: null }, { origin: "null" }];
    for (const changed of [...foreign, { "x-sluice-console": null }])
      expect([changed, (await rotate(changed)).status]).toEqual([changed, 403]);
    const link = await linkFor(gateway, "acme");
    expect((await browser(gateway).send("POST", "/my/session", { link }, { origin: "http://evil.example" })).status).toBe(403);
    expect((await browser(gateway).send("POST", "/my/session", { link })).status).toBe(201);
    for (const path of ["/api/v1/me", "/api/v1/me/keys", "/admin/consumers", "/shop"])
      expect([path, (await tab.send("GET", path)).status]).toEqual([path, 401]);
    expect((await rotate({})).status).toBe(200);
    const wrong: [string, string, number][] = [
      ["GET", "/my/api", 404],
      ["GET", "/my/api/me/else", 404],
      ["POST", "/my/api/me", 405],
      ["GET", "/my/session", 405],
    ];
    for (const [method, path, status] of wrong) expect([path, (await tab.send(method, path)).status]).toEqual([path, status]);
  }));

test("the cookie is known in whichever Cookie field it stands", () =>
  using(async (gateway) => {
    const tab = browser(gateway);
    await tab.send("POST", "/my/session", { link: await linkFor(gateway, "acme") });
    for (const fields of [`Cookie: a=1\r\nCookie: ${tab.cookie}`, `Cookie: ${tab.cookie}\r\nCookie: a=1`])
      expect(
        await exchange(gateway.port, `GET /my/api/me HTTP/1.1\r\nHost: localhost\r\n${fields}\r\nConnection: close\r\n\r\n`),
      ).toStartWith("HTTP/1.1 200");
  }));

test("whoever is let in is out when the consumer is disabled or deleted, also if there is one of its name again", () =>
  using(async (gateway) => {
    const isIn = async (tab: ReturnType<typeof browser>) => (await tab.send("GET", "/my/api/me")).status;
    const enter = async () => {
      const tab = browser(gateway);
      await tab.send("POST", "/my/session", { link: await linkFor(gateway, "acme") });
      return tab;
    };
    const first = await enter();
    const link = await linkFor(gateway, "acme");
    expect(await isIn(first)).toBe(200);
    await admin(gateway, "PATCH", "/admin/consumers/acme", { enabled: false });
    expect(await isIn(first)).toBe(401);
    expect((await admin(gateway, "POST", "/admin/consumers/acme/link", {})).status).toBe(409);
    await admin(gateway, "PATCH", "/admin/consumers/acme", { enabled: true });
    expect(await isIn(first)).toBe(401);
    expect((await browser(gateway).send("POST", "/my/session", { link })).status).toBe(401);
    const second = await enter();
    await admin(gateway, "DELETE", "/admin/consumers/acme?force=true");
    await admin(gateway, "POST", "/admin/consumers", { id: "acme", tier: "own" });
    expect(await isIn(second)).toBe(401);
  }));

test("so are they when `sluice apply` disables or deletes it, and nobody is out by a trial", () =>
  using(async (gateway) => {
    const apply = (consumers: object, query = "") =>
      admin(gateway, "PUT", `/admin/state${query}`, { state: { consumers }, prune: true, yes: true });
    const enter = async () => {
      const tab = browser(gateway);
      await tab.send("POST", "/my/session", { link: await linkFor(gateway, "acme") });
      return async () => (await tab.send("GET", "/my/api/me")).status;
    };
    const good = { acme: { tier: "own" } };
    const first = await enter();
    const link = await linkFor(gateway, "acme");
    expect((await apply({ acme: { tier: "own", enabled: false } }, "?dryRun=true")).status).toBe(200);
    expect(await first()).toBe(200);
    await apply({ acme: { tier: "own", enabled: false } });
    await apply(good);
    expect([await first(), (await browser(gateway).send("POST", "/my/session", { link })).status]).toEqual([401, 401]);
    const second = await enter();
    await apply({});
    await apply(good);
    expect(await second()).toBe(401);
  }));

test("what a link has let in ends with the admin token that made it, also by the console", () =>
  using(async (gateway) => {
    const token = (await admin(gateway, "POST", "/admin/tokens", { name: "leaver", role: "admin" })).json;
    const body = JSON.stringify({ token: token.token });
    const json = { "content-type": "application/json" };
    const signedIn = await fetch(`${gateway.url}/admin/session`, { method: "POST", headers: json, body });
    const cookie = signedIn.headers.get("set-cookie")?.split(";", 1)[0] ?? "";
    const tabs: ReturnType<typeof browser>[] = [];
    const byToken: Record<string, string> = { authorization: `Bearer ${token.token}` };
    for (const shown of [byToken, { cookie, origin: gateway.url, "x-sluice-console": "1" }]) {
      const made = await fetch(`${gateway.url}/admin/consumers/acme/link`, { method: "POST", headers: { ...json, ...shown }, body: "{}" });
      const { url } = (await made.json()) as Json;
      const tab = browser(gateway);
      await tab.send("POST", "/my/session", { link: new URL(url).hash.slice("#link=".length) });
      tabs.push(tab);
    }
    for (const tab of tabs) expect((await tab.send("GET", "/my/api/me")).status).toBe(200);
    await admin(gateway, "DELETE", `/admin/tokens/${token.id}`);
    for (const tab of tabs) expect((await tab.send("GET", "/my/api/me")).status).toBe(401);
  }));

test("a link is refused that would lead nowhere, and says where it leads", async () => {
  await using(async (gateway) => {
    expect((await admin(gateway, "POST", "/admin/consumers/nobody/link", {})).status).toBe(404);
    for (const ttl of ["8d", "1ms", "soon"]) expect((await admin(gateway, "POST", "/admin/consumers/acme/link", { ttl })).status).toBe(422);
    expect((await admin(gateway, "POST", "/admin/consumers/declared/link", {})).status).toBe(201);
    const { json } = await admin(gateway, "POST", "/admin/tokens", { name: "op", role: "operator" });
    const asOperator = await fetch(`${gateway.url}/admin/consumers/acme/link`, {
      method: "POST",
      headers: { authorization: `Bearer ${json.token}`, "content-type": "application/json" },
      body: "{}",
    });
    expect(asOperator.status).toBe(403);
  });
  await using(
    async (gateway) => {
      const { json } = await admin(gateway, "POST", "/admin/consumers/acme/link", {});
      expect(json.url).toStartWith("https://api.example.com/my#link=");
    },
    { selfService: { url: "https://api.example.com" } },
  );
  for (const more of [{ selfService: null }, { routes: [{ name: "mine", path: "/my/shop", upstream: UPSTREAM }] }])
    await using(async (gateway) => expect((await admin(gateway, "POST", "/admin/consumers/acme/link", {})).status).toBe(409), more);
});

test("the page is there where self-service is on, and yields to routes", async () => {
  const look = async (gateway: Gateway, path: string) => {
    const { status, headers, text } = await browser(gateway).send("GET", path);
    return { status, isPage: text.includes('<div id="app">'), policy: headers.get("content-security-policy") ?? "" };
  };
  const theirs = (path: string) => ({ routes: [{ name: "theirs", path, upstream: UPSTREAM, auth: "none", retry: null }] });
  await using(async (gateway) => {
    expect(await look(gateway, "/my")).toMatchObject({ status: 200, isPage: true, policy: expect.stringContaining("default-src 'none'") });
    expect((await look(gateway, "/my")).policy).not.toContain("unsafe");
    expect((await look(gateway, "/mystery")).status).toBe(502);
  }, theirs("/"));
  await using(async (gateway) => expect(await look(gateway, "/my")).toMatchObject({ status: 404 }), { selfService: null });
  await using(async (gateway) => {
    for (const path of ["/my", "/my/api/me", "/my/session"]) expect([path, (await look(gateway, path)).status]).toEqual([path, 502]);
  }, theirs("/my"));
});
