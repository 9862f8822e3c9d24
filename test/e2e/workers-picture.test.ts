import { describe, expect, test } from "bun:test";
import { backend } from "../support/backend.ts";
import { until } from "../support/picture.ts";
import type { Running } from "../support/process.ts";
import { partOf, startAll } from "../support/processes.ts";

const TOKEN = "an-admin-token-0123456789";
const configOf = (url: string) => ({
  server: { workers: 2 },
  logging: { accessLog: false },
  guard: { invalidKeyLimit: 20, window: "5m", blockFor: "15m" },
  upstreams: { u: { targets: [{ url }] } },
  routes: [{ name: "r", path: "/r", upstream: "u", auth: "required" }],
  pools: {
    p: {
      auth: "none",
      strategy: "round-robin",
      services: { s: { cost: 1 } },
      keys: [1, 2, 3].map((i) => ({ id: `k${i}`, limit: 100, window: "1h" })),
    },
  },
});

/** Starts a keeper and two workers. */
const startFor = (url: string): Promise<Running> => startAll({ config: configOf(url), env: { SLUICE_ADMIN_TOKEN: TOKEN } });

/** Sends a request over a connection of its own, so that any worker may get it. */
async function ask(url: string, init: RequestInit = {}): Promise<number> {
  const response = await fetch(url, { ...init, headers: { ...(init.headers as Record<string, string>), connection: "close" } });
  await response.text();
  return response.status;
}

const lease = (gateway: Running): Promise<number> =>
  ask(`${gateway.url}/api/v1/api-key`, { method: "POST", headers: { "content-type": "application/json" }, body: '{"type":"s"}' });

/** Does so many pieces of work, 16 at a time. */
async function many(count: number, work: (i: number) => Promise<void>): Promise<void> {
  let next = 0;
  await Promise.all(
    Array.from({ length: 16 }, async () => {
      for (let i = next++; i < count; i = next++) await work(i);
    }),
  );
}

describe("workers of one gateway", () => {
  test("tell those who follow the events once that a quota is used, whichever of them has seen it", async () => {
    await using gateway = await startAll({
      config: {
        server: { workers: 2 },
        logging: { accessLog: false },
        tiers: { small: { quota: { limit: 40, period: "day" } } },
        consumers: [{ id: "acme", tier: "small", keys: ["a-key-for-the-tests-0123456789"] }],
        routes: [{ name: "r", path: "/r", respond: { status: 200 }, auth: "required" }],
      },
      env: { SLUICE_ADMIN_TOKEN: TOKEN },
    });
    const headers = { authorization: `Bearer ${TOKEN}` };
    const leaving = new AbortController();
    const events = await fetch(`${gateway.url}/admin/events?type=quota,health`, { headers, signal: leaving.signal });
    const reader = (events.body as ReadableStream<Uint8Array>).getReader();
    await many(60, async () => {
      await ask(`${gateway.url}/r`, { headers: { "x-api-key": "a-key-for-the-tests-0123456789" } });
    });
    let text = "";
    const shown = async (type: string, count: number) => {
      while ([...text.matchAll(new RegExp(`^event: ${type}\ndata: .*\n\n`, "gm"))].length < count)
        text += new TextDecoder().decode((await reader.read()).value);
    };
    await shown("quota", 2);
    // What comes last, so that nothing is still on its way.
    await fetch(`${gateway.url}/admin/health`, {
      method: "POST",
      headers: { ...headers, "content-type": "application/json" },
      body: JSON.stringify({ status: "DEGRADED" }),
    });
    await shown("health", 1);
    expect([...text.matchAll(/"type":"quota".*"level":(\d+)/g)].map(([, level]) => level)).toEqual(["80", "100"]);
    leaving.abort();
    await gateway.stop();
  });

  test("give exactly a pool's budget, whichever of them is killed meanwhile", async () => {
    using behind = backend();
    await using gateway = await startFor(behind.url);
    let granted = 0;
    let lost = 0;
    let isKilled = false;
    await many(500, async (i) => {
      if (i === 100) {
        process.kill(partOf(gateway.pid, "1") ?? 0, "SIGKILL");
        isKilled = true;
      }
      try {
        if ((await lease(gateway)) === 200) granted++;
      } catch {
        // Its answer was lost with the worker that was killed.
        lost++;
      }
    });
    expect(isKilled).toBe(true);
    expect(granted).toBeLessThanOrEqual(300);
    expect(granted + lost).toBeGreaterThanOrEqual(300);
    expect(await lease(gateway)).toBe(429);
  }, 60_000);

  test("count wrong keys together and block once, and hear at once that the block is lifted", async () => {
    using behind = backend();
    await using gateway = await startFor(behind.url);
    const statuses: number[] = [];
    await many(
      60,
      async (i) => void statuses.push(await ask(`${gateway.url}/r`, { headers: { "x-api-key": `wrong-key-${i}-0123456789` } })),
    );
    // Those that were under way when the last one counted may have been looked up before; on a busy machine that is more than one would think.
    const refused = statuses.filter((status) => status === 401).length;
    expect(refused).toBeGreaterThanOrEqual(20);
    expect(refused).toBeLessThan(60);
    expect(statuses.filter((status) => status === 429).length).toBe(60 - refused);
    const headers = { authorization: `Bearer ${TOKEN}` };
    const audited = async () =>
      ((await (await fetch(`${gateway.url}/admin/audit?action=block.create`, { headers })).json()) as { items: unknown[] }).items;
    await until(async () => (await audited()).length > 0);
    expect(await audited()).toHaveLength(1);
    expect(await ask(`${gateway.url}/admin/blocks/127.0.0.1`, { method: "DELETE", headers })).toBe(204);
    await until(async () => {
      const after = await Promise.all(Array.from({ length: 8 }, () => ask(`${gateway.url}/r`)));
      return after.every((status) => status === 401);
    });
  }, 60_000);

  test("have the status that the keeper was told, also one that comes later, and after the keeper was killed", async () => {
    using behind = backend();
    await using gateway = await startFor(behind.url);
    const headers = { authorization: `Bearer ${TOKEN}`, "content-type": "application/json" };
    const body = JSON.stringify({ status: "DEGRADED", reason: "by hand" });
    expect(await ask(`${gateway.url}/admin/health`, { method: "POST", headers, body })).toBe(200);
    const keeper = partOf(gateway.pid, "keeper") ?? 0;
    process.kill(keeper, "SIGKILL");
    await until(() => ![undefined, keeper].includes(partOf(gateway.pid, "keeper")));
    const shown = async (): Promise<unknown> => {
      const response = await fetch(`${gateway.url}/admin/health`, { headers: { ...headers, connection: "close" } });
      return response.status === 200 ? await response.json() : null;
    };
    await until(async () => (await shown()) !== null);
    expect(await shown()).toMatchObject({ status: "DEGRADED", by: "env", reason: "by hand", changes: 1 });
  }, 60_000);
});
