import { expect, test } from "bun:test";
import { makeKey } from "../../src/values/key-format.ts";
import { backend } from "../support/backend.ts";
import { exchange } from "../support/raw.ts";
import { serving } from "../support/serving.ts";

const KEY = "a-declared-key-0123456789";
const OTHER = "another-declared-key-0123456789";
const LATE = "a-late-declared-key-0123456789";

interface Asked {
  readonly method?: string;
  readonly target?: string;
  readonly key?: string;
  readonly headers?: readonly string[];
}

/** A gateway, and a question to it that is asked twice: what would become of a request, and then the request itself. */
function asked(more: object = {}) {
  const behind = backend();
  const gateway = serving({
    tiers: { anonymous: { limits: [] }, plain: { limits: [] } },
    identity: { query: "api_key" },
    consumers: [{ id: "acme", tier: "plain", keys: [KEY, OTHER, LATE] }],
    upstreams: { users: { targets: [{ url: behind.url }] } },
    routes: [
      { name: "users", path: "/users", upstream: "users" },
      { name: "optional", path: "/optional", upstream: "users", auth: "optional" },
      { name: "open", path: "/open", upstream: "users", auth: "none" },
    ],
    ...more,
  });
  const walk = async ({ method = "GET", target = "/users", key, headers = [] }: Asked) => {
    const answer = await gateway.admin("POST", "/admin/explain/request", {
      method,
      target,
      headers,
      ...(key === undefined ? {} : { key }),
    });
    return (await answer.json()) as {
      steps: { step: string; detail: string }[];
      refusal: { status: number; code: string } | null;
      forwarded: string | null;
    };
  };
  const send = async ({ method = "GET", target = "/users", key, headers = [] }: Asked) => {
    const lines = [`Host: localhost`, "Connection: close", ...headers, ...(key === undefined ? [] : [`X-API-Key: ${key}`])];
    const text = await exchange(gateway.port, `${method} ${target} HTTP/1.1\r\n${lines.join("\r\n")}\r\n\r\n`);
    const status = Number(text.slice(9, 12));
    return status < 400 ? null : { status, code: /"code":"(\w+)"/.exec(text)?.[1] };
  };
  const both = async (question: Asked) => [(await walk(question)).refusal, await send(question)];
  const stop = async () => {
    await gateway.stop();
    behind[Symbol.dispose]();
  };
  return { gateway, behind, walk, send, both, stop };
}

const BLOCKED = { status: 429, code: "ipBlocked" };

test("during a block of the guard's what is told of a request is what becomes of it", async () => {
  const it = asked();
  const make = async (more: object) => {
    const made = await it.gateway.admin("POST", "/admin/keys", { consumer: "acme", ...more });
    return (await made.json()) as { key: string; id: string };
  };
  const good = await make({});
  const revoked = await make({});
  const expired = await make({ expiresAt: new Date(it.gateway.clock.wall() + 60_000).toISOString() });
  await it.gateway.admin("DELETE", `/admin/keys/${revoked.id}`);
  it.gateway.clock.time += 61_000;
  expect(await it.send({ key: KEY })).toBeNull();
  const unknown = makeKey();
  expect(await it.both({ key: expired.key })).toEqual([
    { status: 401, code: "keyExpired" },
    { status: 401, code: "keyExpired" },
  ]);
  for (let i = 0; i < 10; i++) await it.send({ key: `nobody-has-this-key-${i}` });
  const cases: [Asked, typeof BLOCKED | null][] = [
    [{ key: good.key }, null],
    [{ key: KEY }, null],
    [{ key: OTHER }, BLOCKED],
    [{ key: unknown }, BLOCKED],
    [{ key: expired.key }, BLOCKED],
    [{ key: revoked.key }, BLOCKED],
    [{}, BLOCKED],
    [{ target: "/optional" }, BLOCKED],
    [{ target: "/open", key: KEY }, BLOCKED],
    [{ target: `/users?api_key=${good.key}` }, null],
    [{ headers: [`Authorization: Bearer ${good.key}`] }, null],
    [{ target: "/open", headers: ["X-Forwarded-For: 203.0.113.9"] }, null],
    [{ target: "/optional", headers: ["X-Forwarded-For: 203.0.113.9"] }, null],
    [{ key: unknown, headers: ["X-Forwarded-For: 203.0.113.9"] }, BLOCKED],
    [{ key: LATE, headers: ["X-Forwarded-For: 203.0.113.9"] }, null],
  ];
  for (const [question, wanted] of cases) expect([question, ...(await it.both(question))]).toEqual([question, wanted, wanted]);
  const step = (await it.walk({ key: good.key })).steps.find(({ step }) => step === "guard");
  expect(step?.detail).toBe("127.0.0.1 is blocked by the guard, which lets this key pass");
  // The same of a key that is named instead of shown.
  const explained = async (id: string) => {
    const answer = await it.gateway.admin("GET", `/admin/explain?key=${id}&route=users&ip=127.0.0.1`);
    return (await answer.json()) as { allowed: boolean; refusal: { code: string } | null };
  };
  expect(await explained(good.id)).toMatchObject({ allowed: true, refusal: null });
  await it.gateway.admin("POST", "/admin/blocks", { ip: "127.0.0.1" });
  for (const question of [{ key: good.key }, { key: KEY }, { target: "/open", headers: ["X-Forwarded-For: 203.0.113.9"] }])
    expect([question, ...(await it.both(question))]).toEqual([question, BLOCKED, BLOCKED]);
  expect(await explained(good.id)).toMatchObject({ allowed: false, refusal: { code: "ipBlocked" } });
  await it.stop();
});

test("what Sluice itself answers is no route's, and is told so, with the methods that it takes", async () => {
  const it = asked({
    pools: { default: { keys: [{ id: "one", limit: 10, window: "60s" }], services: { small: { cost: 1 } } } },
  });
  const wrong = { status: 405, code: "methodNotAllowed" };
  const own: [Asked, object | null][] = [
    [{ target: "/health" }, null],
    [{ target: "/_health", method: "HEAD" }, null],
    [{ target: "/ready" }, null],
    [{ target: "/metrics" }, null],
    [{ target: "/" }, null],
    [{ target: "/docs" }, null],
    [{ target: "/health", method: "POST" }, wrong],
    [{ target: "/metrics", method: "DELETE" }, wrong],
    [{ target: "/admin/keys", method: "PROPFIND" }, wrong],
    [{ target: "/users", method: "TRACE", key: KEY }, wrong],
    [{ target: "/nowhere", method: "CONNECT" }, wrong],
    [{ target: "/health", method: "TRACE" }, wrong],
    [{ target: "/api/v1/api-key" }, wrong],
    [
      { target: "/api/v1/api-key", method: "POST" },
      { status: 401, code: "keyMissing" },
    ],
    [
      { target: "/nowhere", key: KEY },
      { status: 404, code: "routeNotFound" },
    ],
    [
      { target: "/docs", method: "POST" },
      { status: 404, code: "routeNotFound" },
    ],
  ];
  for (const [question, wanted] of own) expect([question, ...(await it.both(question))]).toEqual([question, wanted, wanted]);
  for (const target of ["/admin/keys", "/admin/keys/a%2fb%5cc"]) {
    const { steps, refusal, forwarded } = await it.walk({ target });
    expect([steps.at(-1)?.detail, refusal, forwarded]).toEqual(["the admin API answers, to who shows an admin token", null, null]);
  }
  expect((await it.walk({ target: "/api/v1/api-key", method: "POST", key: KEY })).steps.map(({ step }) => step)).toEqual([
    "path",
    "route",
    "guard",
    "identify",
    "target",
  ]);
  await it.stop();
});

test("a browser's preflight reaches no backend", async () => {
  const it = asked({
    routes: [{ name: "pages", path: "/pages", upstream: "users", cors: { origins: ["https://app.example"] } }],
  });
  const headers = ["Origin: https://app.example", "Access-Control-Request-Method: GET"];
  const question = { method: "OPTIONS", target: "/pages", headers };
  expect(await it.both(question)).toEqual([null, null]);
  const { steps, forwarded } = await it.walk(question);
  expect([steps.map(({ step }) => step), forwarded]).toEqual([["path", "route", "target"], null]);
  expect(it.behind.seen.length).toBe(0);
  await it.stop();
});

test("a route's addresses refuse before the guard looks, and both ways to ask say so", async () => {
  const it = asked({
    server: { host: "127.0.0.1", drainTimeout: "0s", trustedProxies: ["127.0.0.1"] },
    routes: [
      { name: "office", path: "/office", upstream: "users", ips: { allow: ["10.0.0.0/8", "2001:db8::/32"], deny: ["10.6.6.6"] } },
      { name: "most", path: "/most", upstream: "users", auth: "none", ips: { deny: ["10.6.6.6"] } },
    ],
  });
  await it.gateway.admin("POST", "/admin/blocks", { ip: "10.6.6.6" });
  await it.gateway.admin("POST", "/admin/blocks", { ip: "10.7.7.7" });
  const FORBIDDEN = { status: 403, code: "forbidden" };
  const explained = async (query: string) => {
    const answer = await it.gateway.admin("GET", `/admin/explain?${query}`);
    return (await answer.json()) as { allowed: boolean | null; refusal: { code: string; detail: string } | null; unknown: string[] };
  };
  for (const [route, ip, wanted, told] of [
    ["office", "10.1.2.3", null, "the route takes requests from 10.1.2.3"],
    ["office", "::ffff:10.1.2.3", null, "the route takes requests from 10.1.2.3"],
    ["office", "2001:db8::7", null, "the route takes requests from 2001:db8::7"],
    ["office", "10.6.6.6", FORBIDDEN, "10.6.6.6 is among the addresses that the route's ips.deny names"],
    ["office", "203.0.113.9", FORBIDDEN, "203.0.113.9 is not among the addresses that the route's ips.allow names"],
    ["office", "10.7.7.7", BLOCKED, "the route takes requests from 10.7.7.7"],
    ["most", "203.0.113.9", null, "the route takes requests from 203.0.113.9"],
    ["most", "10.6.6.6", FORBIDDEN, "10.6.6.6 is among the addresses that the route's ips.deny names"],
  ] as const) {
    const question = { target: `/${route}`, key: KEY, headers: [`X-Forwarded-For: ${ip}`] };
    expect([route, ip, ...(await it.both(question))]).toEqual([route, ip, wanted, wanted]);
    expect((await it.walk(question)).steps.find(({ step }) => step === "ips")?.detail).toBe(told);
    const { refusal } = await explained(`consumer=acme&route=${route}&ip=${ip}`);
    expect([route, ip, refusal?.code]).toEqual([route, ip, wanted?.code]);
    if (wanted === FORBIDDEN) expect(refusal?.detail).toBe("This route may not be used from your address.");
  }
  const unknown = await explained("consumer=acme&route=office");
  expect([unknown.allowed, unknown.refusal]).toEqual([null, null]);
  expect(unknown.unknown).toContain("the address: the route takes requests from some alone");
  await it.stop();
});

test("a key in the query is used as requests use it, and is neither forwarded nor told", async () => {
  const it = asked();
  const question = { target: `/users/7?a=1&api_key=${KEY}&b=2` };
  expect(await it.both(question)).toEqual([null, null]);
  const found = await it.walk(question);
  expect(found.forwarded).toBe(`GET ${it.behind.url}/7?a=1&b=2`);
  expect(JSON.stringify(found)).not.toContain(KEY);
  expect((await it.walk({ target: `/open?api_key=${KEY}` })).forwarded).toBe(`GET ${it.behind.url}/`);
  expect(await it.both({ target: "/users?api_key=nobody-has-this-key-0" })).toEqual([
    { status: 401, code: "keyInvalid" },
    { status: 401, code: "keyInvalid" },
  ]);
  await it.stop();
});
