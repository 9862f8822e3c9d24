import { expect, test } from "bun:test";
import { FakeClock } from "../support/clock.ts";
import { serving } from "../support/serving.ts";
import { until } from "../support/until.ts";

const UPSTREAM = "http://127.0.0.1:9";
const HOUR = 3_600_000;
const NOW = Date.parse("2027-03-10T12:00:00Z");
const END = "2027-05-01T00:00:00.000Z";
const DECLARED = "a-key-of-acme-0123456789";
const perMinute = (limit: number, more: object = {}) => ({ algorithm: "sliding-log", limit, window: "1m", ...more });

const config = {
  selfService: {},
  tiers: {
    anonymous: { limits: [] },
    own: { limits: [perMinute(100, { by: "key" })], selfService: { keys: 4, scopes: ["read", "write"], routes: [] } },
    none: { limits: [] },
  },
  routes: [
    { name: "shop", path: "/shop", upstream: UPSTREAM, scopes: ["read"], retry: null },
    { name: "books", path: "/books", upstream: UPSTREAM, retry: null },
  ],
  consumers: [
    { id: "acme", tier: "own", keys: [] },
    { id: "fixed", tier: "own", keys: [{ key: DECLARED, scopes: ["read"] }] },
    { id: "poor", tier: "none", keys: [] },
    { id: "other", tier: "own", keys: [] },
  ],
};

type Gateway = ReturnType<typeof serving>;
// biome-ignore lint/suspicious/noExplicitAny: a test looks into whatever came over the wire.
type Json = any;

const send = async ({ url }: Gateway, method: string, path: string, key: string, body?: object, headers: Record<string, string> = {}) => {
  const sent = { method, headers: { "x-api-key": key, ...headers }, ...(body === undefined ? {} : { body: JSON.stringify(body) }) };
  const answer = await fetch(url + path, sent);
  const text = await answer.text();
  return { status: answer.status, headers: answer.headers, json: (text === "" ? null : JSON.parse(text)) as Json };
};
const KEYS = "/api/v1/me/keys";
const list = async (gateway: Gateway, key: string) => (await send(gateway, "GET", KEYS, key)).json.items as Json[];
const make = (gateway: Gateway, key: string, body?: object, headers = {}) => send(gateway, "POST", KEYS, key, body, headers);
const given = async (gateway: Gateway, body: object): Promise<Json> => (await gateway.admin("POST", "/admin/keys", body)).json();
const look = async (gateway: Gateway, path: string): Promise<Json> => (await gateway.admin("GET", path)).json();

async function using(work: (gateway: Gateway, key: Json) => Promise<void>): Promise<void> {
  const gateway = serving(config, new FakeClock(NOW));
  try {
    await work(gateway, await given(gateway, { consumer: "acme", name: "server", scopes: ["read", "pay"], expiresAt: END }));
    expect(gateway.faults).toEqual([]);
  } finally {
    await gateway.stop();
  }
}

test("a caller makes a key from theirs, sees it in the list, uses it, and revokes it", () =>
  using(async (gateway, key) => {
    const { status, headers, json } = await make(gateway, key.key, { name: "laptop", routes: ["shop"] });
    expect([status, headers.get("cache-control")]).toEqual([201, "no-store"]);
    expect(json).toMatchObject({ name: "laptop", scopes: ["read"], routes: ["shop"], ips: [], expiresAt: END, madeFrom: key.id });
    expect(json.key).toMatch(/^slc_/);
    expect([(await send(gateway, "GET", "/shop", json.key)).status, (await send(gateway, "GET", "/books", json.key)).status]).toEqual([
      502, 403,
    ]);

    const [first, second, ...more] = await list(gateway, key.key);
    expect(more).toEqual([]);
    expect(first).toMatchObject({ id: key.id, name: "server", madeFrom: null, may: { rotate: true, revoke: false, makeFrom: true } });
    expect(second).toMatchObject({ id: json.id, name: "laptop", madeFrom: key.id, may: { rotate: true, revoke: true, makeFrom: false } });
    expect(JSON.stringify([first, second])).not.toMatch(/hash|slc_[0-9A-Za-z]{10}/);
    expect(await look(gateway, `/admin/keys/${json.id}`)).toMatchObject({ madeFrom: key.id, source: "admin", consumer: "acme" });
    // With the lesser key its holder sees the others, and changes none of them.
    expect((await list(gateway, json.key)).map(({ may }) => may)).toEqual([
      { rotate: false, revoke: false, makeFrom: false },
      { rotate: true, revoke: false, makeFrom: false },
    ]);

    const gone = await send(gateway, "DELETE", `${KEYS}/${json.id}`, key.key);
    expect([gone.status, gone.json]).toEqual([204, null]);
    expect((await send(gateway, "GET", "/shop", json.key)).json.code).toBe("keyRevoked");
    expect((await list(gateway, key.key)).map(({ id }) => id)).toEqual([key.id]);
    const rows = (await look(gateway, "/admin/audit?actor=consumer%20acme")).items;
    expect(rows.map(({ action, subject }: Json) => [action, subject])).toEqual([
      ["key.revoke", `key ${json.id}`],
      ["key.create", `key ${json.id}`],
    ]);
    expect(JSON.stringify(rows)).not.toContain(json.key);
  }));

test("a wish for more than the key and the tier allow is refused, field by field", () =>
  using(async (gateway, key) => {
    const bound = await given(gateway, {
      consumer: "acme",
      scopes: ["read"],
      routes: ["shop"],
      ips: ["127.0.0.0/8"],
      models: ["gpt-5*"],
      expiresAt: END,
    });
    const cases: [object, string[]][] = [
      [{ scopes: ["pay", "write"] }, ["scopes[0]", "scopes[1]"]],
      [{ routes: ["shop", "books"] }, ["routes[1]"]],
      [{ ips: ["127.0.0.1", "10.0.0.0/8"] }, ["ips[1]"]],
      [{ models: ["gpt-5-mini", "gpt-*", "claude-4"] }, ["models[1]", "models[2]"]],
      [{ expiresAt: "2027-05-01T00:00:00.001Z" }, ["expiresAt"]],
      [{ expiresAt: "2027-03-10T12:00:00Z" }, ["expiresAt"]],
      [{ expiresAt: "tomorrow" }, ["expiresAt"]],
      [{ limits: [] }, ["limits"]],
      [{ name: "\u001b]0;mine\u0007" }, ["name"]],
      [{ name: "two\nlines" }, ["name"]],
      [{ name: "abc\u202ecba" }, ["name"]],
      [{ from: key.id }, ["from"]],
    ];
    for (const [wish, paths] of cases) {
      const { status, json } = await make(gateway, bound.key, wish);
      expect([wish, status, json.errors?.map(({ path }: Json) => path)]).toEqual([wish, 422, paths]);
    }
    // Empty lists are no way round: none named would mean all.
    const { json } = await make(gateway, bound.key, { scopes: [], routes: [], ips: [], models: [] });
    expect(json).toMatchObject({ scopes: [], routes: ["shop"], ips: ["127.0.0.0/8"], models: ["gpt-5*"], expiresAt: END });
  }));

test("who may make, rotate and revoke which key", () =>
  using(async (gateway, key) => {
    const child = (await make(gateway, key.key)).json;
    const second = await given(gateway, { consumer: "acme" });
    const foreign = await given(gateway, { consumer: "other" });
    const poor = await given(gateway, { consumer: "poor" });
    const at = (id: string, rest = "") => `${KEYS}/${id}${rest}`;
    const cases: [method: string, path: string, key: string, status: number, text: string][] = [
      ["POST", KEYS, child.key, 403, "made by its holder"],
      ["POST", KEYS, poor.key, 403, "your tier make no keys"],
      ["DELETE", at(key.id), second.key, 403, "only they take it back"],
      ["DELETE", at(child.id), child.key, 409, "you would have none"],
      ["DELETE", at(child.id), second.key, 403, "made from it"],
      ["DELETE", at(child.id), foreign.key, 404, "no key"],
      ["DELETE", at("key_0"), key.key, 404, "no key"],
      ["POST", at(key.id, "/rotate"), child.key, 403, "made from it"],
      ["POST", at(key.id, "/rotate"), second.key, 403, "made from it"],
      ["POST", at(child.id, "/rotate"), foreign.key, 404, "no key"],
      ["GET", at(child.id), key.key, 405, "DELETE"],
      ["PUT", KEYS, key.key, 405, "GET, HEAD, POST"],
      ["GET", at("a/b"), key.key, 404, "Nothing is here"],
      ["GET", KEYS, "a-key-that-nobody-has", 401, "not known"],
    ];
    for (const [method, path, shown, status, text] of cases) {
      const answer = await send(gateway, method, path, shown);
      expect([method, path, answer.status, answer.json.detail]).toEqual([method, path, status, expect.stringContaining(text)]);
    }
    const rotated = await send(gateway, "POST", at(child.id, "/rotate"), key.key);
    expect([rotated.status, rotated.json.previousExpiresAt]).toEqual([200, new Date(NOW + HOUR).toISOString()]);
    expect((await send(gateway, "POST", at(child.id, "/rotate"), rotated.json.key)).status).toBe(409);
    for (const secret of [child.key, rotated.json.key]) expect((await list(gateway, secret)).length).toBe(3);
    expect((await send(gateway, "GET", KEYS, DECLARED)).json.items[0].may).toEqual({ rotate: false, revoke: false, makeFrom: true });
    expect((await make(gateway, DECLARED)).status).toBe(201);
  }));

test("the secret before a rotation makes no keys, and changes none, while it is good yet", () =>
  using(async (gateway, key) => {
    const child = (await make(gateway, key.key)).json;
    const rotated = (await send(gateway, "POST", "/api/v1/me/rotate", key.key)).json;
    const attempts: [method: string, path: string][] = [
      ["POST", KEYS],
      ["POST", `${KEYS}/${child.id}/rotate`],
      ["DELETE", `${KEYS}/${child.id}`],
    ];
    const ways: Record<string, string>[] = [{}, { "x-api-key": "", authorization: `Bearer ${key.key}` }];
    for (const headers of ways)
      for (const [method, path] of attempts) {
        const { status, json } = await send(gateway, method, path, key.key, undefined, headers);
        expect([method, path, status, json.detail]).toEqual([method, path, 403, expect.stringContaining("new secret")]);
      }
    expect((await send(gateway, "POST", "/api/v1/me/rotate", key.key)).status).toBe(409);
    expect((await list(gateway, key.key)).map(({ may }) => Object.values(may))).toEqual([
      [false, false, false],
      [false, false, false],
    ]);
    expect((await send(gateway, "GET", "/shop", key.key)).status).toBe(502);
    for (const [method, path] of attempts) expect((await send(gateway, method, path, rotated.key)).status).toBeLessThan(300);
  }));

test("a request that was begun before a rotation, and arrives after it, makes no key and takes none over", () =>
  using(async (gateway, key) => {
    for (const path of [KEYS, "/api/v1/me/rotate"]) {
      const before = (await (await gateway.admin("POST", `/admin/keys/${key.id}/rotate`, {})).json()) as Json;
      gateway.clock.advance(1000);
      const body = Promise.withResolvers<void>();
      const late = fetch(gateway.url + path, {
        method: "POST",
        headers: { "x-api-key": before.key },
        body: (async function* () {
          yield new TextEncoder().encode("{");
          await body.promise;
          yield new TextEncoder().encode("}");
        })(),
      });
      await until(async () => (await look(gateway, `/admin/keys/${key.id}`)).lastUsedAt === new Date(gateway.clock.wall()).toISOString());
      await gateway.admin("POST", `/admin/keys/${key.id}/rotate`, {});
      body.resolve();
      expect([path, (await late).status]).toEqual([path, 403]);
    }
  }));

test("what an operator takes from a key is gone from those made from it at once", () =>
  using(async (gateway, key) => {
    const child = (await make(gateway, key.key)).json;
    const shop = async () => (await send(gateway, "GET", "/shop", child.key)).status;
    expect(await shop()).toBe(502);
    await gateway.admin("PATCH", `/admin/keys/${key.id}`, { scopes: ["pay"] });
    expect(await shop()).toBe(403);
    expect(await look(gateway, `/admin/keys/${child.id}`)).toMatchObject({ scopes: [], status: "active" });
    await gateway.admin("PATCH", `/admin/keys/${key.id}`, { scopes: ["read"], enabled: false });
    expect(await shop()).toBe(401);
    expect(await look(gateway, `/admin/keys/${child.id}`)).toMatchObject({ status: "disabled" });
    await gateway.admin("PATCH", `/admin/keys/${key.id}`, { enabled: true, expiresAt: "2027-03-10T13:00:00Z" });
    expect(await shop()).toBe(502);
    gateway.clock.advance(HOUR);
    expect(await shop()).toBe(401);
    await gateway.admin("PATCH", `/admin/keys/${key.id}`, { expiresAt: null });
    expect(await shop()).toBe(502);
    await gateway.admin("DELETE", `/admin/keys/${key.id}`);
    expect(await shop()).toBe(401);
    expect((await look(gateway, `/admin/keys/${child.id}`)).revokedAt).not.toBeNull();
    expect((await look(gateway, "/admin/audit?action=key.revoke")).items.length).toBe(2);
  }));

test("limits count a key and those made from it as one", () =>
  using(async (gateway, key) => {
    const limited = await given(gateway, { consumer: "acme", scopes: ["read"], limits: [perMinute(3)] });
    const child = (await make(gateway, limited.key)).json;
    const statuses: number[] = [];
    for (const secret of [limited.key, child.key, limited.key, child.key])
      statuses.push((await send(gateway, "GET", "/shop", secret)).status);
    expect(statuses).toEqual([502, 502, 502, 429]);
    const { limits } = (await send(gateway, "GET", "/api/v1/me", child.key)).json;
    expect(limits).toMatchObject([{ scope: `key ${limited.id}`, limit: 3, remaining: 0 }]);
    // So do limits of the tier that count keys.
    const sibling = (await make(gateway, key.key)).json;
    await send(gateway, "GET", "/shop", sibling.key);
    await send(gateway, "GET", "/shop", key.key);
    for (const secret of [key.key, sibling.key])
      expect((await send(gateway, "GET", "/api/v1/me", secret)).json.limits).toMatchObject([{ limit: 100, remaining: 98 }]);
  }));

test("a made key takes no limits of its own: it would write by them what the key has used that it was made from", () =>
  using(async (gateway) => {
    const limited = await given(gateway, { consumer: "acme", scopes: ["read"], limits: [perMinute(3)] });
    const child = (await make(gateway, limited.key)).json;
    const path = `/admin/keys/${child.id}`;
    for (const more of [{ limits: [perMinute(1000)] }, { quota: { limit: 9, period: "day" } }]) {
      const answer = await gateway.admin("PATCH", path, more);
      const { errors } = (await answer.json()) as Json;
      expect([answer.status, errors]).toEqual([422, [{ path: Object.keys(more)[0], message: expect.stringContaining(limited.id) }]]);
    }
    expect((await gateway.admin("PATCH", path, { name: "phone", limits: null, quota: [] })).status).toBe(200);
    const { limits } = await look(gateway, path);
    expect(limits).toEqual([perMinute(3)]);
  }));

test("no more keys are made than the tier allows, and no more than twenty a day", () =>
  using(async (gateway, key) => {
    const ids: string[] = [];
    for (let i = 0; i < 3; i++) ids.push((await make(gateway, key.key)).json.id);
    const full = await make(gateway, key.key);
    expect([full.status, full.json.code, full.json.detail]).toEqual([409, "conflict", expect.stringContaining("fewer than 4")]);
    for (let i = 0; i < 17; i++) {
      await send(gateway, "DELETE", `${KEYS}/${ids.pop()}`, key.key);
      ids.push((await make(gateway, key.key)).json.id);
    }
    await send(gateway, "DELETE", `${KEYS}/${ids.pop()}`, key.key);
    gateway.clock.advance(HOUR);
    const tired = await make(gateway, key.key);
    expect([tired.status, tired.json.code, tired.headers.get("retry-after")]).toEqual([429, "rateLimited", String(23 * 3600)]);
    gateway.clock.advance(23 * HOUR);
    expect((await make(gateway, key.key)).status).toBe(201);
  }));

test("a repetition under its Idempotency-Key makes no other key, and shows the secret again to who shows the same key", () =>
  using(async (gateway, key) => {
    const named = { "idempotency-key": "once" };
    const [first, again] = await Promise.all([make(gateway, key.key, { name: "a" }, named), make(gateway, key.key, { name: "a" }, named)]);
    expect([first.status, again.status, again.json]).toEqual([201, 201, first.json]);
    expect((await make(gateway, key.key, { name: "b" }, named)).status).toBe(422);
    expect((await list(gateway, key.key)).length).toBe(2);
    const second = await given(gateway, { consumer: "acme" });
    expect((await make(gateway, second.key, { name: "a" }, named)).json.id).not.toBe(first.json.id);
    // A rotation whose answer was lost is asked for again by the secret before.
    const rotated = await send(gateway, "POST", "/api/v1/me/rotate", key.key, undefined, named);
    expect(rotated.status).toBe(422);
    const other = { "idempotency-key": "rotate" };
    const lost = await send(gateway, "POST", "/api/v1/me/rotate", key.key, undefined, other);
    const found = await send(gateway, "POST", "/api/v1/me/rotate", key.key, undefined, other);
    expect([found.status, found.json, found.headers.get("idempotent-replayed")]).toEqual([200, lost.json, "true"]);
  }));

test("keys that holders made are not in a dump: put back they would be an operator's", () =>
  using(async (gateway) => {
    await gateway.admin("POST", "/admin/consumers", { id: "made", tier: "own" });
    const origin = await given(gateway, { consumer: "made" });
    expect((await make(gateway, origin.key)).status).toBe(201);
    const { consumers } = await look(gateway, "/admin/state?keys=true");
    expect(consumers.made.keys).toMatchObject([{ start: origin.start, end: origin.end }]);
  }));
