import { Database } from "bun:sqlite";
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { type Backend, backend } from "../../support/backend.ts";
import { folder, type Running } from "../../support/process.ts";
import { killAndWait, partOf, partsOf, startAll } from "../../support/processes.ts";
import { until } from "../../support/until.ts";

let behind: Backend;
beforeAll(() => {
  behind = backend();
});
afterAll(() => behind[Symbol.dispose]());

const KEY = "a-key-of-acme-0123456789";
const config = () => ({
  server: { workers: 2 },
  logging: { accessLog: false },
  tiers: { anonymous: { limits: [] }, plain: { limits: [] }, tight: { limits: [{ algorithm: "fixed-window", limit: 1, window: "1h" }] } },
  consumers: [
    { id: "acme", tier: "plain", keys: [KEY] },
    { id: "bob", tier: "tight", keys: ["a-key-of-bob-0123456789"] },
  ],
  routes: [
    { name: "all", path: "/", upstream: behind.url, stripPrefix: false },
    { name: "kept", path: "/kept", upstream: behind.url, auth: "none", cache: { ttl: "1h" } },
  ],
});

/** Sends requests, each over a connection of its own, so that all workers get some. */
const send = async (gateway: Running, times: number, path = "/status", key = KEY): Promise<void> => {
  for (let n = 0; n < times; n++)
    await (await fetch(gateway.url + path, { headers: { "x-api-key": key, connection: "close" } })).arrayBuffer();
};

const json = async (gateway: Running, path: string) => (await (await gateway.admin("GET", path)).json()) as Record<string, unknown>;
const metric = async (gateway: Running, name: string): Promise<number> => {
  const text = await (await fetch(`${gateway.url}/metrics`)).text();
  const line = text.split("\n").find((each) => each.startsWith(`${name} `));
  return Number(line?.slice(name.length + 1) ?? Number.NaN);
};
const SERVED = 'http_requests_total{route="all",method="GET",status="200"}';

/** Gives all places where the requests of the route `all` are counted. */
async function counted(gateway: Running) {
  const { routes } = (await json(gateway, "/admin/stats")) as { routes: { name: string; requests: number }[] };
  const { items } = (await json(gateway, "/admin/usage?by=consumer&route=all")) as { items: { consumer: string; requests: number }[] };
  return {
    metrics: await metric(gateway, SERVED),
    latency: await metric(gateway, 'http_request_latency_ms_count{route="all"}'),
    stats: routes.find(({ name }) => name === "all")?.requests,
    usage: items.find(({ consumer }) => consumer === "acme")?.requests,
  };
}
const all = (count: number) => ({ metrics: count, latency: count, stats: count, usage: count });

describe("counts of a gateway of several processes", () => {
  test("are those of all processes, and lose nothing when a worker, the keeper or all are killed", async () => {
    using root = folder();
    const gateway = await startAll({ config: config(), cwd: root.path });
    await send(gateway, 20);
    await until(async () => (await metric(gateway, SERVED)) === 20);
    expect(await counted(gateway)).toEqual(all(20));
    await killAndWait(gateway, "1");
    await killAndWait(gateway, "2");
    expect(await counted(gateway)).toEqual(all(20));
    await send(gateway, 10);
    await until(async () => (await metric(gateway, SERVED)) === 30);
    await killAndWait(gateway, "keeper");
    expect(await counted(gateway)).toEqual(all(30));
    // What the dead have counted is put together, and counts on.
    const cells = join(root.path, "data", "sluice.db-cells");
    const kept = () => readdirSync(cells);
    await until(
      () => kept().some((name) => name.includes(".retired.")) && kept().filter((name) => name.includes(".metrics.")).length === 3,
    );
    expect(await counted(gateway)).toEqual(all(30));
    await killAndWait(gateway, "keeper");
    expect(await counted(gateway)).toEqual(all(30));
    await send(gateway, 5);
    await until(async () => (await metric(gateway, SERVED)) === 35);
    process.kill(gateway.pid, "SIGKILL");
    for (const { pid } of partsOf(gateway.pid)) process.kill(pid, "SIGKILL");
    await gateway.stop("SIGKILL");
    const again = await startAll({ config: config(), cwd: root.path });
    // A start begins metrics anew; usage is for good.
    expect(await counted(again)).toEqual({ metrics: Number.NaN, latency: 0, stats: 0, usage: 35 });
    expect(await again.stop()).toBe(0);
  }, 300_000);

  test("of windows of an hour are in the database while all serve, and outlive the table", async () => {
    using root = folder();
    const gateway = await startAll({ config: config(), cwd: root.path });
    await send(gateway, 2, "/status", "a-key-of-bob-0123456789");
    const path = join(root.path, "data", "sluice.db");
    using database = new Database(path, { readonly: true });
    const stored = database.query<{ n: number }, []>("SELECT count(*) AS n FROM limit_counts WHERE policy LIKE '%tight%'");
    await until(() => stored.get()?.n === 1);
    process.kill(gateway.pid, "SIGKILL");
    for (const { pid } of partsOf(gateway.pid)) process.kill(pid, "SIGKILL");
    await gateway.stop("SIGKILL");
    rmSync(`${path}-counts`);
    const again = await startAll({ config: config(), cwd: root.path });
    expect((await fetch(`${again.url}/status`, { headers: { "x-api-key": "a-key-of-bob-0123456789" } })).status).toBe(429);
    expect(await again.stop()).toBe(0);
  }, 120_000);

  test("are told for each process, with what only it knows: its connections, its cache and what it refused", async () => {
    using root = folder();
    const gateway = await startAll({ config: config(), cwd: root.path });
    await send(gateway, 12, "/kept/status");
    await send(gateway, 12, "/status", "a-key-of-bob-0123456789");
    const limited = 'sluice_limited_requests_total{owner="tier tight",limit="per-hour"}';
    await until(async () => (await metric(gateway, limited)) > 0);
    const stats = (await json(gateway, "/admin/stats")) as {
      workers: { worker: string; pid: number; requests: number; memory: number }[];
      cache: { hits: number; misses: number };
    };
    expect(stats.workers.map(({ worker, pid }) => [worker, pid])).toEqual(
      ["1", "2", "keeper"].map((name) => [name, partOf(gateway.pid, name) ?? 0]),
    );
    expect(stats.workers.every(({ memory }) => memory > 1e6)).toBe(true);
    expect(stats.cache.hits + stats.cache.misses).toBe(12);
    const summary = (await (await fetch(`${gateway.url}/_metrics`)).json()) as Record<string, number>;
    expect(summary).toMatchObject({ cache_hits: stats.cache.hits, cache_misses: stats.cache.misses });
    expect(summary.cache_size).toBe(await metric(gateway, "sluice_cache_entries"));
    const { denials } = (await json(gateway, "/admin/explain?consumer=bob&route=all")) as { denials: { code: string }[] };
    expect(denials.map(({ code }) => code)).toContain("rateLimited");
    expect(await metric(gateway, "process_resident_memory_bytes")).toBeGreaterThan(Math.max(...stats.workers.map(({ memory }) => memory)));
    await gateway.stop();
  }, 120_000);

  test("are followed live, whichever worker serves", async () => {
    using root = folder();
    const gateway = await startAll({ config: config(), cwd: root.path });
    const events = await gateway.admin("GET", "/admin/events?type=request&route=all");
    const reader = (events.body as ReadableStream<Uint8Array>).getReader();
    let text = "";
    const reading = (async () => {
      for (;;) {
        const { value, done } = await reader.read();
        if (done) return;
        text += new TextDecoder().decode(value);
      }
    })();
    const seen = () => text.split("event: request").length - 1;
    // Each worker learns of the reader by itself.
    await until(async () => {
      await send(gateway, 4);
      return seen() >= 8;
    });
    await until(async () => {
      const { workers } = (await json(gateway, "/admin/stats")) as { workers: { requests: number }[] };
      return workers.slice(0, 2).every(({ requests }) => requests > 0);
    });
    await reader.cancel();
    await reading;
    expect(text).toContain('"consumer":"acme"');
    await gateway.stop();
  }, 120_000);
});
