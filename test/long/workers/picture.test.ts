import { Database } from "bun:sqlite";
import { describe, expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { systemClock } from "../../../src/values/clock.ts";
import { backend } from "../../support/backend.ts";
import { together, until } from "../../support/picture.ts";

const GUARD = { invalidKeyLimit: 6, window: "5m", blockFor: "15m", ipv6Prefix: 64, allow: [] };
const KEY = "imported-key-0123456789";
const behind = (url: string, extra: object = {}) => ({
  upstreams: { u: { targets: [{ url }], ...extra } },
  routes: [{ name: "r", path: "/r", upstream: "u", auth: "none" }],
});

/** A backend that always fails. */
function failing(status = 503) {
  const server = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: () => new Response("", { status }) });
  return { url: `http://127.0.0.1:${server.port}`, [Symbol.dispose]: () => void server.stop(true) };
}

type Process = Awaited<ReturnType<typeof together>>["keeper"];
const statusOf = async ({ admin }: Process): Promise<string> => (await admin("GET", "/admin/health")).json.status;
const breakerOf = async ({ admin }: Process) => (await admin("GET", "/admin/breakers")).json.items[0];
const rowsOf = (path: string, sql: string): unknown[] => {
  using database = new Database(path, { readonly: true });
  return database.query(sql).all();
};

describe("the processes of one gateway", () => {
  test("agree on the system's status, which one of them writes down and whoever comes later learns", async () => {
    await using it = await together({});
    const { keeper, workers, databasePath } = it;
    await keeper.admin("POST", "/admin/health", { status: "DEGRADED", reason: "by hand" });
    for (const worker of workers) await until(async () => (await statusOf(worker)) === "DEGRADED");
    const late = await it.join("worker", "3");
    expect((await late.admin("GET", "/admin/health")).json).toMatchObject({ status: "DEGRADED", by: "env", reason: "by hand", changes: 1 });
    await keeper.die();
    const next = await it.join("keeper", "keeper");
    expect((await next.admin("GET", "/admin/health")).json).toMatchObject({ status: "DEGRADED", by: "env", reason: "by hand" });
    await next.admin("POST", "/admin/health", { status: "DEGRADED", ttl: "1s" });
    for (const each of [...workers, late]) await until(async () => (await statusOf(each)) === "NORMAL");
    const audited = () => rowsOf(databasePath, "SELECT after FROM audit WHERE action = 'health.set'");
    await until(() => audited().length === 3);
    for (const { faults } of it.all) expect(faults).toEqual([]);
  });

  test("agree on breakers, whether failures or a person open them, and show what all of them know", async () => {
    using ill = failing();
    await using it = await together(behind(ill.url, { breaker: { failureThreshold: 3, recoveryTimeout: "10m" } }));
    const { keeper, workers } = it;
    const [first, second] = workers as [Process, Process];
    for (let i = 0; i < 3; i++) await (await fetch(`${first.url}/r`)).text();
    for (const each of [keeper, second]) await until(async () => (await breakerOf(each)).state === "open");
    expect((await breakerOf(keeper)).failures).toBe(3);
    const { circuit_breakers } = (await (await fetch(`${keeper.url}/_metrics`)).json()) as { circuit_breakers: object };
    expect(circuit_breakers).toEqual({ [ill.url]: { state: "open", failures: 3 } });
    expect((await fetch(`${second.url}/r`)).status).toBe(503);
    const late = await it.join("worker", "3");
    expect((await breakerOf(late)).state).toBe("open");
    const target = encodeURIComponent(ill.url);
    await keeper.admin("POST", `/admin/breakers/${target}/close`);
    for (const each of [first, second, late]) await until(async () => (await breakerOf(each)).state === "closed");
    await keeper.admin("POST", `/admin/breakers/${target}/open`);
    for (const each of [first, second, late])
      await until(async () => {
        const { state, held } = await breakerOf(each);
        return state === "open" && held === true;
      });
    // Each change is told by the process that made it, and by no other.
    const told = (each: Process) =>
      each
        .lines()
        .split("\n")
        .filter((line) => line.includes('"circuit breaker"')).length;
    await until(() => told(first) === 1 && told(keeper) === 2);
    expect([told(second), told(late)]).toEqual([0, 0]);
  });

  test("hear of a breaker from a process that came after it had opened and closed", async () => {
    using target = backend();
    await using it = await together(behind(target.url));
    const { keeper, workers } = it;
    const path = `/admin/breakers/${encodeURIComponent(target.url)}`;
    const all = async (state: string): Promise<void> => {
      for (const worker of workers) await until(async () => (await breakerOf(worker)).state === state);
    };
    await keeper.admin("POST", `${path}/open`);
    await keeper.admin("POST", `${path}/close`);
    await all("closed");
    await keeper.die();
    const next = await it.join("keeper", "keeper");
    await next.admin("POST", `${path}/open`);
    await all("open");
  });

  test("check targets once, and keep what was found when the keeper dies", async () => {
    let isWell = true;
    using target = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: () => new Response("", { status: isWell ? 200 : 500 }) });
    const healthCheck = { path: "/up", interval: "100ms", timeout: "1s", unhealthyAfter: 1, healthyAfter: 1 };
    await using it = await together(behind(`http://127.0.0.1:${target.port}`, { healthCheck }));
    const { keeper, workers } = it;
    isWell = false;
    for (const worker of workers) await until(async () => (await breakerOf(worker)).healthy === false);
    await keeper.die();
    isWell = true;
    const late = await it.join("worker", "3");
    expect((await breakerOf(late)).healthy).toBe(false);
    await it.join("keeper", "keeper");
    for (const worker of [...workers, late]) await until(async () => (await breakerOf(worker)).healthy === true);
  });

  test("count wrong keys together, block once, and lift blocks in all", async () => {
    using behindIt = backend();
    const config = { ...behind(behindIt.url), guard: GUARD, consumers: [{ id: "c", tier: "free", keys: [{ key: KEY }] }] };
    await using it = await together({
      ...config,
      tiers: { free: { limits: [] } },
      routes: [{ name: "r", path: "/r", upstream: "u", auth: "required" }],
    });
    const { keeper, workers, databasePath } = it;
    const [first, second] = workers as [Process, Process];
    const ask = async (process: Process, key: string): Promise<number> => {
      const response = await fetch(`${process.url}/r/`, { headers: { "x-api-key": key } });
      await response.text();
      return response.status;
    };
    expect(await ask(first, KEY)).toBe(200);
    for (let i = 0; i < 3; i++)
      expect([await ask(first, `wrong-key-${i}-0123456789`), await ask(second, `wrong-key-${i}-0123456789`)]).toEqual([401, 401]);
    for (const each of [first, second]) await until(async () => (await ask(each, "wrong-key-x-0123456789")) === 429);
    // What was accepted at one passes at the other as well.
    await until(async () => (await ask(second, KEY)) === 200);
    await until(() => rowsOf(databasePath, "SELECT * FROM blocks").length === 1);
    expect(rowsOf(databasePath, "SELECT subject FROM audit WHERE action = 'block.create'")).toEqual([{ subject: "block 127.0.0.1" }]);
    await until(() => rowsOf(databasePath, "SELECT * FROM accepted_keys").length === 1 || keeper.faults.length > 0);
    await keeper.admin("DELETE", "/admin/blocks/127.0.0.1");
    for (const each of [first, second]) await until(async () => (await ask(each, KEY)) === 200 && (await ask(each, "")) === 401);
    await keeper.admin("POST", "/admin/blocks", { ip: "127.0.0.0/8", reason: "by hand" });
    for (const each of [first, second]) await until(async () => (await ask(each, KEY)) === 429);
    for (const { faults } of it.all) expect(faults).toEqual([]);
  }, 60_000);

  test("take over the log's level, and records, at once", async () => {
    using behindIt = backend();
    await using it = await together({ upstreams: { u: { targets: [{ url: behindIt.url }] } } });
    const { keeper, workers } = it;
    await keeper.admin("PATCH", "/admin/logging", { level: "debug", ttl: "10m" });
    const levelOf = async ({ admin }: Process): Promise<string> => (await admin("GET", "/admin/logging")).json.level;
    for (const worker of workers) await until(async () => (await levelOf(worker)) === "debug");
    expect(await levelOf(await it.join("worker", "3"))).toBe("debug");
    await keeper.admin("DELETE", "/admin/logging");
    for (const worker of workers) await until(async () => (await levelOf(worker)) === "info");
    expect((await keeper.admin("POST", "/admin/routes", { name: "new", path: "/new", upstream: "u", auth: "none" })).status).toBe(201);
    for (const worker of workers) await until(async () => (await fetch(`${worker.url}/new`)).status === 200);
  });

  test("count usage by the hour in which requests came, whichever process has served them", async () => {
    using behindIt = backend();
    let ahead = 0;
    await using it = await together(behind(behindIt.url), 2, { now: systemClock.now, wall: () => systemClock.wall() + ahead });
    const { keeper, workers } = it;
    const ask = async (): Promise<void> => {
      for (const worker of workers) await (await fetch(`${worker.url}/r`)).text();
    };
    await ask();
    ahead = 3_600_000;
    const from = new Date(systemClock.wall() + ahead).toISOString().slice(0, 13);
    const hours = async (): Promise<{ time: string; requests: number }[]> =>
      (await keeper.admin("GET", `/admin/usage?per=hour&from=2026-01-01T00:00:00Z&to=2100-01-01T00:00:00Z`)).json.items;
    await until(async () => {
      await ask();
      return ((await hours()).find(({ time }) => time.startsWith(from))?.requests ?? 0) >= 4;
    });
  });

  test("know admin tokens and keys from the moment at which they were made", async () => {
    await using it = await together({ keyVerification: {}, tiers: { free: { limits: [] } }, consumers: [{ id: "acme", tier: "free" }] });
    const { keeper, workers } = it;
    const [worker] = workers as [Process, Process];
    // As if the message that something was changed were still on its way.
    worker.bus.die();
    const { token } = (await keeper.admin("POST", "/admin/tokens", { name: "verifier", role: "operator" })).json;
    const verify = (key: string): Promise<Response> =>
      fetch(`${worker.url}/v1/keys/verify`, {
        method: "POST",
        headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
        body: JSON.stringify({ key }),
      });
    expect((await verify(KEY)).status).toBe(200);
    await keeper.admin("POST", "/admin/keys", { consumer: "acme", key: KEY });
    expect(await (await verify(KEY)).json()).toMatchObject({ valid: true, consumer: "acme" });
  });

  test("forget together what their caches keep, and add up their numbers", async () => {
    let answers = 0;
    using origin = Bun.serve({
      port: 0,
      hostname: "127.0.0.1",
      fetch: () => new Response(`${++answers}`, { headers: { "cache-control": "public, max-age=600" } }),
    });
    const upstreams = { u: { targets: [{ url: `http://127.0.0.1:${origin.port}` }] } };
    await using it = await together({ upstreams, routes: [{ name: "r", path: "/r", upstream: "u", auth: "none", cache: {} }] });
    const { keeper, workers } = it;
    for (const worker of workers) for (let i = 0; i < 2; i++) await (await fetch(`${worker.url}/r/a`)).text();
    expect(answers).toBe(2);
    expect((await keeper.admin("GET", "/admin/cache")).json).toMatchObject({
      entries: 2,
      hits: 2,
      misses: 2,
      maxSize: 2 * 64 * 1024 * 1024,
    });
    expect((await keeper.admin("DELETE", "/admin/cache?route=r")).json).toEqual({ purged: 2 });
    for (const worker of workers) await (await fetch(`${worker.url}/r/a`)).text();
    expect(answers).toBe(4);
  });

  test("warn together, for as long as the one that warns lives", async () => {
    await using it = await together({});
    const { keeper, workers } = it;
    const [first, second] = workers as [Process, Process];
    const codes = async (): Promise<string[]> =>
      (await keeper.admin("GET", "/admin/health")).json.warnings.map(({ code }: { code: string }) => code);
    first.gateway.warnings.raise("nameLookUpFailed", "A backend's name can't be looked up.", "a: gone");
    second.gateway.warnings.raise("nameLookUpFailed", "A backend's name can't be looked up.", "b: gone");
    await until(async () => JSON.stringify((await keeper.admin("GET", "/admin/health")).json.warnings).includes("a: gone; b: gone"));
    first.gateway.warnings.clear("nameLookUpFailed");
    await until(async () => !JSON.stringify((await keeper.admin("GET", "/admin/health")).json.warnings).includes("a: gone"));
    expect(await codes()).toContain("nameLookUpFailed");
    await second.die();
    await until(async () => !(await codes()).includes("nameLookUpFailed"));
  });

  test("tell of a faulty file until it is mended, whichever process comes or dies meanwhile", async () => {
    await using it = await together({});
    const { keeper, file } = it;
    const good = readFileSync(file, "utf8");
    const codes = async ({ admin }: Process): Promise<string[]> =>
      (await admin("GET", "/admin/health")).json.warnings.map(({ code }: { code: string }) => code);
    await keeper.die();
    writeFileSync(file, "{");
    const next = await it.join("keeper", "keeper");
    await until(async () => (await codes(next)).includes("configurationFaulty"));
    await it.join("worker", "3", [{ path: [], message: "is faulty" }]);
    writeFileSync(file, good);
    await until(async () => !(await codes(next)).includes("configurationFaulty"));
  });

  test("decide together whether the system is DEGRADED, by what workers have seen", async () => {
    // Not tried again, and no matter of breakers.
    using ill = failing(500);
    const health = { auto: { errorRate: 0.5, for: "0s", recoverAfter: "1m" } };
    await using it = await together({ ...behind(ill.url, { breaker: null }), health });
    const { keeper, workers } = it;
    await until(async () => {
      await Promise.all(Array.from({ length: 20 }, async (_, i) => (await fetch(`${workers[i % 2]?.url}/r`)).text()));
      return (await statusOf(keeper)) === "DEGRADED";
    });
    for (const worker of workers) await until(async () => (await statusOf(worker)) === "DEGRADED");
    expect((await keeper.admin("GET", "/admin/health")).json).toMatchObject({ by: "auto", changes: 1 });
  });

  test("serve while another process has the database locked: nobody waits for it", async () => {
    using behindIt = backend();
    const config = {
      ...behind(behindIt.url),
      guard: GUARD,
      tiers: { free: { limits: [] } },
      consumers: [{ id: "c", tier: "free", keys: [{ key: KEY }] }],
      pools: { p: { auth: "none", services: { s: { cost: 1 } }, keys: [{ id: "k", limit: 5, window: "1h" }] } },
    };
    await using it = await together({ ...config, routes: [{ name: "r", path: "/r", upstream: "u", auth: "required" }] });
    const { workers, databasePath } = it;
    const [first, second] = workers as [Process, Process];
    // The keeper is in this process as well, and would hold it up: it waits for the database.
    await it.keeper.die();
    using other = new Database(databasePath);
    other.run("BEGIN IMMEDIATE");
    const began = performance.now();
    const ask = async (process: Process, key: string): Promise<number> => {
      const response = await fetch(`${process.url}/r/`, { headers: { "x-api-key": key } });
      await response.text();
      return response.status;
    };
    const lease = async (process: Process): Promise<number> => {
      const response = await fetch(`${process.url}/api/v1/api-key`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ type: "s" }),
      });
      await response.text();
      return response.status;
    };
    expect(await ask(first, KEY)).toBe(200);
    const leases: number[] = [];
    for (let i = 0; i < 3; i++) leases.push(await lease(first), await lease(second));
    expect(leases).toEqual([200, 200, 200, 200, 200, 429]);
    for (let i = 0; i < 3; i++) for (const each of [first, second]) expect(await ask(each, `wrong-key-${i}-0123456789`)).toBe(401);
    for (const each of [first, second]) await until(async () => (await ask(each, "wrong-key-x-0123456789")) === 429);
    expect(other.inTransaction).toBe(true);
    // A write would wait for five seconds.
    expect(performance.now() - began).toBeLessThan(5000);
    other.run("ROLLBACK");
  });
});
