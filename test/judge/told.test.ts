import { expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { run, start } from "../support/process.ts";

const KEY = "a-declared-key-0123456789";
const config = (more: object = {}) => ({
  authz: {},
  logging: { format: "json" },
  tiers: { anonymous: { limits: [] }, plain: { limits: [] } },
  consumers: [{ id: "acme", tier: "plain", keys: [KEY] }],
  routes: [{ name: "api", path: "/api", upstream: "http://127.0.0.1:1" }],
  ...more,
});

test("the log has one line for each request that was asked about, and names that request", async () => {
  await using gateway = await start({ config: config() });
  const ask = (headers: Record<string, string>) => fetch(`${gateway.url}/authz`, { headers: { "X-API-Key": KEY, ...headers } });
  const described = { "X-Forwarded-Uri": "//api/%75sers?secret=1", "X-Forwarded-For": "203.0.113.7" };
  expect((await ask({ ...described, "X-Forwarded-Method": "POST", "X-Request-ID": "first" })).status).toBe(200);
  expect((await ask({ ...described, "X-Request-ID": "second" })).status).toBe(403);
  await gateway.stop();
  const lines = gateway
    .output()
    .split("\n")
    .filter((line) => line.includes('"msg":"request"'))
    .map((line) => JSON.parse(line));
  expect(lines).toMatchObject([
    { requestId: "first", method: "POST", path: "/api/users", status: 200, route: "api", consumer: "acme", ip: "203.0.113.7" },
    // A question that describes no request is the proxy's own.
    { requestId: "second", method: "GET", path: "/authz", status: 403, route: "authz", code: "badRequest", ip: "127.0.0.1" },
  ]);
});

test("a reload takes the warning of an unknown address away, and what it changes holds at once", async () => {
  await using gateway = await start({ config: config() });
  const ask = () =>
    fetch(`${gateway.url}/authz`, { headers: { "X-API-Key": KEY, "X-Forwarded-Method": "GET", "X-Forwarded-Uri": "/api" } });
  const warnings = async () => {
    const { warnings } = (await (await fetch(`${gateway.url}/ready`)).json()) as { warnings: { code: string }[] };
    return warnings.map(({ code }) => code);
  };
  const reload = async (authz: object | null) => {
    writeFileSync(join(gateway.folder, "config.json"), JSON.stringify(config({ authz })));
    expect((await gateway.admin("POST", "/admin/config/reload")).status).toBe(200);
  };
  expect((await ask()).status).toBe(200);
  expect(await warnings()).toEqual(["addressUnknown"]);
  await reload({ denyAs: 403 });
  expect(await warnings()).toEqual([]);
  expect((await ask()).status).toBe(200);
  expect(await warnings()).toEqual(["addressUnknown"]);
  await reload(null);
  expect([(await ask()).status, await warnings()]).toEqual([404, []]);
});

test("sluice check warns of limits that nobody holds or settles for requests that are only asked about", async () => {
  await using gateway = await start({ config: config() });
  const check = async (authz: object | null) => {
    const held = { algorithm: "concurrency", limit: 2 };
    const spent = { algorithm: "fixed-window", limit: "5", window: "1d", cost: "usd" };
    const money = { limit: "5", period: "week", cost: "usd" };
    const settled = { algorithm: "fixed-window", limit: 2, window: "1h", cost: "usage" };
    const tiers = {
      anonymous: { limits: [] },
      plain: { limits: [held, spent], quota: [{ limit: 5, period: "day", cost: "usage" }, money] },
    };
    const routes = [{ name: "api", path: "/api", upstream: "http://127.0.0.1:1", usage: "usage.total", limits: [settled] }];
    const consumers = [{ id: "acme", tier: "plain", keys: [{ key: KEY, limits: [held] }] }];
    writeFileSync(join(gateway.folder, "other.json"), JSON.stringify(config({ authz, tiers, routes, consumers })));
    const { stdout, status } = await run(["check", "other.json"], { cwd: gateway.folder });
    expect(status).toBe(0);
    return stdout
      .split("\n")
      .flatMap((line) => (line.includes("/authz") ? [line.replace(/^\S+ (\S+): warning: (\S+ \S+ \S+).*$/, "$1 $2")] : []));
  };
  expect(await check({})).toEqual([
    "tiers.plain.limits[0].algorithm is not held",
    "tiers.plain.limits[1].cost does not hold",
    "tiers.plain.quota[0].cost is not settled",
    "tiers.plain.quota[1].cost does not hold",
    "consumers[0].keys[0].limits[0].algorithm is not held",
    "routes[0].limits[0].cost is not settled",
  ]);
  expect(await check(null)).toEqual([]);
});
