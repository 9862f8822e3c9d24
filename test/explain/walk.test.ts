import { afterAll, beforeAll, expect, test } from "bun:test";
import { type Backend, backend } from "../support/backend.ts";
import { ADMIN_TOKEN, type Running, run, start } from "../support/process.ts";

const KEY = "a-declared-key-0123456789";
let behind: Backend;
let gateway: Running;
beforeAll(async () => {
  behind = backend();
  gateway = await start({
    config: {
      tiers: {
        anonymous: { limits: [] },
        small: { limits: [{ name: "per-hour", algorithm: "fixed-window", limit: 2, window: "1h" }] },
        other: { limits: [] },
      },
      consumers: [{ id: "acme", tier: "small", keys: [KEY] }],
      upstreams: { users: { targets: [{ url: `${behind.url}/base` }] }, held: { targets: [{ url: behind.url }] } },
      routes: [
        { name: "users", path: "/api/users", methods: ["GET"], upstream: "users" },
        { name: "theirs", path: "/theirs", upstream: "users", tiers: ["other"] },
        { name: "held", path: "/held", upstream: "held", auth: "none" },
      ],
    },
  });
});
afterAll(async () => {
  await gateway[Symbol.asyncDispose]();
  behind[Symbol.dispose]();
});

const tested = (...args: string[]) =>
  run(["routes", "test", ...args], { cwd: gateway.folder, env: { SLUICE_URL: gateway.url, SLUICE_ADMIN_TOKEN: ADMIN_TOKEN } });

test("a request's way is printed step by step, and is the way that the request then takes", async () => {
  const through = await tested("GET", "/api/x/../users/7?a=1", "--key", KEY);
  expect([through.status, through.stderr]).toEqual([0, ""]);
  const words = through.stdout.split("\n").map((line) => line.trim().replace(/ +/g, " "));
  expect(words).toEqual([
    "GET /api/x/../users/7?a=1",
    "path /api/users/7 (normalised: that is matched and forwarded)",
    "route users takes /api/users",
    "guard 127.0.0.1 is not blocked",
    expect.stringMatching(/^identify key \S+ of consumer acme, tier small$/),
    "limits per-hour (tier small): 2 of 2 left, a request takes 1",
    `target ${behind.url}/base: breaker closed, up`,
    `it would be sent as GET ${behind.url}/base/7?a=1`,
    "",
  ]);
  // Nothing was charged by looking.
  const isLimited = [];
  for (let i = 0; i < 3; i++) isLimited.push((await fetch(`${gateway.url}/api/users/7`, { headers: { "x-api-key": KEY } })).status === 429);
  expect(isLimited).toEqual([false, false, true]);
});

test("what would refuse it is named with its code, as the gateway does", async () => {
  await gateway.admin("POST", "/admin/blocks", { ip: "203.0.113.9" });
  await gateway.admin("POST", `/admin/breakers/${encodeURIComponent(behind.url)}/open`);
  const cases: [string[], string][] = [
    [["GET", "/api/users/7"], "401 keyMissing"],
    [["GET", "/api/users/7", "--key", "nobody-has-this-key-0"], "401 keyInvalid"],
    [["POST", "/api/users/7"], "405 methodNotAllowed"],
    [["GET", "/nowhere"], "404 routeNotFound"],
    [["GET", "/a%2fb"], "400 badRequest"],
    [["GET", "/theirs", "--key", KEY], "403 forbidden"],
    [["GET", "/held", "--ip", "203.0.113.9"], "429 ipBlocked"],
    [["GET", "/held"], "503 circuitOpen"],
    [["get", "/api/users/7", "--key", KEY], "429 rateLimited"],
  ];
  for (const [args, wanted] of cases) {
    const { status, stdout, stderr } = await tested(...args);
    expect([args, status, stdout, stderr]).toEqual([args, 1, expect.stringContaining(`it would be refused: ${wanted}\n`), ""]);
  }
  expect((await tested("GET")).status).toBe(2);
  const json = JSON.parse((await tested("GET", "/nowhere", "--json")).stdout);
  expect(json).toMatchObject({ refusal: { status: 404, code: "routeNotFound" }, forwarded: null });
  // Ten keys that nobody has would block an address; looking at them does not.
  for (let i = 0; i < 12; i++)
    await gateway.admin("POST", "/admin/explain/request", { method: "GET", target: "/api/users/1", key: `nobody-has-this-${i}` });
  expect((await fetch(`${gateway.url}/api/users/7`, { headers: { "x-api-key": KEY } })).status).toBe(429);
  expect(((await (await gateway.admin("GET", "/admin/blocks")).json()) as { items: unknown[] }).items.length).toBe(1);
});

test("the key need not stand among the arguments: stdin and SLUICE_KEY take it", async () => {
  const env = { SLUICE_URL: gateway.url, SLUICE_ADMIN_TOKEN: ADMIN_TOKEN };
  const args = ["routes", "test", "GET", "/api/users/7"];
  const identified = /identify +key \S+ of consumer acme/;
  const typed = await run([...args, "--key", "-"], { cwd: gateway.folder, env, stdin: `${KEY}\n` });
  expect([typed.stderr, typed.stdout]).toEqual(["", expect.stringMatching(identified)]);
  const set = await run(args, { cwd: gateway.folder, env: { ...env, SLUICE_KEY: KEY } });
  expect([set.stderr, set.stdout]).toEqual(["", expect.stringMatching(identified)]);
  // What is given goes before what is set.
  const both = await run([...args, "--key", "nobody-has-this-key-0"], { cwd: gateway.folder, env: { ...env, SLUICE_KEY: KEY } });
  expect(both.stdout).toContain("401 keyInvalid");
  const none = await run([...args, "--key", "-"], { cwd: gateway.folder, env, stdin: "" });
  expect([none.status, none.stderr]).toEqual([2, expect.stringContaining("--key - reads the key from stdin")]);
});

test("whoever may look may ask, and the key that is shown is in no log", async () => {
  const { token } = (await (await gateway.admin("POST", "/admin/tokens", { name: "watcher", role: "viewer" })).json()) as { token: string };
  const asked = await fetch(`${gateway.url}/admin/explain/request`, {
    method: "POST",
    headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
    body: JSON.stringify({ method: "GET", target: "/api/users/7", key: "planted-key-0123456789" }),
  });
  expect(asked.status).toBe(200);
  expect(gateway.output()).not.toContain("planted-key-0123456789");
});
