import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { folder, freePort, type Running } from "../../support/process.ts";
import { partsOf, startAll } from "../../support/processes.ts";

/** The workers, the requests and the connections of each case; and what is allowed of them. */
const WORKERS = 4;
const REQUESTS = 20_000;
const CONNECTIONS = 64;
const LIMIT = 5000;

let behind: ReturnType<typeof Bun.serve>;
/** The requests that have reached the backend: each of them was granted. */
let arrived = 0;
beforeAll(() => {
  behind = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    fetch: () => {
      arrived++;
      return new Response("ok");
    },
  });
});
afterAll(() => behind.stop(true));

/** Limits of which nothing comes back while a test runs. */
const LIMITS = {
  "fixed-window": { algorithm: "fixed-window", limit: LIMIT, window: "1d" },
  "sliding-window": { algorithm: "sliding-window", limit: LIMIT, window: "1d" },
  "sliding-log": { algorithm: "sliding-log", limit: LIMIT, window: "1d" },
  "token-bucket": { algorithm: "token-bucket", limit: 1, burst: LIMIT, window: "30d" },
  gcra: { algorithm: "gcra", limit: 1, burst: LIMIT, window: "30d" },
  minute: { algorithm: "fixed-window", limit: LIMIT, window: "30m" },
} as const;
const CASES = [...Object.keys(LIMITS), "quota", "pool"];
const ROUNDS = Number(process.env.SLUICE_TEST_ROUNDS ?? 2);
const keyOf = (name: string, round: number): string => `a-key-of-${name}-${round}-0123456789`;

const config = (rounds: number) => ({
  server: { workers: WORKERS },
  logging: { accessLog: false },
  guard: null,
  limits: { maxSubjects: 10_000 },
  tiers: { anonymous: { limits: [] }, plain: { limits: [] } },
  pools: Object.fromEntries(
    Array.from({ length: rounds }, (_, i) => [
      `keys-${i}`,
      {
        keys: ["a", "b"].map((id) => ({ id, secret: `secret-${id}`, limit: LIMIT / 2, window: "1d" })),
        services: { unit: { cost: 1 } },
      },
    ]),
  ),
  consumers: [
    ...Object.entries(LIMITS).flatMap(([name, limit]) =>
      Array.from({ length: rounds }, (_, i) => ({ id: `${name}-${i}`, tier: "plain", limits: [limit], keys: [keyOf(name, i)] })),
    ),
    ...Array.from({ length: rounds }, (_, i) => ({
      id: `quota-${i}`,
      tier: "plain",
      quota: { limit: LIMIT, period: "month" },
      keys: [keyOf("quota", i)],
    })),
    ...Array.from({ length: rounds }, (_, i) => ({ id: `pool-${i}`, tier: "plain", keys: [keyOf("pool", i)] })),
  ],
  routes: [
    { name: "all", path: "/", upstream: `http://127.0.0.1:${behind.port}` },
    ...Array.from({ length: rounds }, (_, i) => ({
      name: `pool-${i}`,
      path: `/pool-${i}`,
      upstream: `http://127.0.0.1:${behind.port}`,
      retry: { attempts: 1 },
      credential: { pool: `keys-${i}`, header: "X-Secret", value: "{key}", cost: 1, usage: null },
    })),
  ],
});

/** Sends all requests over so many connections. Gives how often each status came; "broken" for a connection that broke. */
async function flood(gateway: Running, key: string, path: string): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  let left = REQUESTS;
  const note = (status: string): void => {
    counts[status] = (counts[status] ?? 0) + 1;
  };
  await Promise.all(
    Array.from({ length: CONNECTIONS }, async () => {
      while (left-- > 0) {
        try {
          const answer = await fetch(gateway.url + path, { headers: { "x-api-key": key } });
          await answer.arrayBuffer();
          note(String(answer.status));
        } catch {
          note("broken");
        }
      }
    }),
  );
  return counts;
}

const pathOf = (name: string, round: number): string => (name === "pool" ? `/pool-${round}` : "/");
/** Gives what of a caller's one limit is used, as the gateway itself says. */
async function usedOf(gateway: Running, name: string, round: number): Promise<number> {
  if (name === "pool") {
    const { state } = (await (await gateway.admin("GET", `/admin/pools/keys-${round}`)).json()) as {
      state: { keys: { remaining: number }[] };
    };
    return state.keys.reduce((sum, { remaining }) => sum + (LIMIT / 2 - remaining), 0);
  }
  const { limits } = (await (await gateway.admin("GET", `/admin/limits/${name}-${round}`)).json()) as { limits: { used: number }[] };
  return limits[0]?.used ?? -1;
}

/** Kills one of the gateway's processes every 300 ms, whichever it is, until `stop` is called. */
function killing(gateway: Running) {
  let kills = 0;
  const timer = setInterval(() => {
    const parts = partsOf(gateway.pid).filter(({ name }) => name !== "keeper");
    const part = parts[Math.floor(Math.random() * parts.length)];
    if (part === undefined) return;
    process.kill(part.pid, "SIGKILL");
    kills++;
  }, 300);
  return {
    stop: (): number => {
      clearInterval(timer);
      return kills;
    },
  };
}

describe(`${WORKERS} workers`, () => {
  test("grant together exactly what one would, by each algorithm, a quota and a pool's budget", async () => {
    await using gateway = await startAll({ config: config(ROUNDS) });
    for (let round = 0; round < ROUNDS; round++)
      for (const name of CASES) {
        const counts = await flood(gateway, keyOf(name, round), pathOf(name, round));
        expect([name, counts]).toEqual([name, { "200": LIMIT, "429": REQUESTS - LIMIT }]);
        expect([name, await usedOf(gateway, name, round)]).toEqual([name, LIMIT]);
      }
    const metrics = await (await fetch(`${gateway.url}/metrics`)).text();
    const sum = (route: string, status: string): number =>
      Number(new RegExp(`http_requests_total\\{route="${route}",method="GET",status="${status}"\\} (\\d+)`).exec(metrics)?.[1]);
    expect(sum("all", "200")).toBe(LIMIT * ROUNDS * (CASES.length - 1));
    expect(sum("all", "429")).toBe((REQUESTS - LIMIT) * ROUNDS * (CASES.length - 1));
  });

  test("never grant more while they are killed one after the other, and lose not one count", async () => {
    await using gateway = await startAll({ config: config(1) });
    for (const name of CASES) {
      const killer = killing(gateway);
      arrived = 0;
      const counts = await flood(gateway, keyOf(name, 0), pathOf(name, 0));
      const kills = killer.stop();
      expect(counts["200"] ?? 0).toBeLessThanOrEqual(LIMIT);
      expect([name, arrived <= LIMIT]).toEqual([name, true]);
      expect(Object.keys(counts).filter((status) => !["200", "429", "broken", "502"].includes(status))).toEqual([]);
      expect([name, kills > 0, await usedOf(gateway, name, 0)]).toEqual([name, true, LIMIT]);
    }
  });

  test("lose not one count of what they let through, when there is plenty left", async () => {
    const names = Object.keys(LIMITS);
    const plenty = names.map((name) => {
      const limit = LIMITS[name as keyof typeof LIMITS];
      const most = limit.algorithm === "sliding-log" ? 100_000 : 1_000_000;
      return {
        id: `${name}-9`,
        tier: "plain",
        limits: [{ ...limit, ...("burst" in limit ? { burst: most } : { limit: most }) }],
        keys: [keyOf(name, 9)],
      };
    });
    await using gateway = await startAll({ config: { ...config(1), consumers: plenty } });
    for (const name of names) {
      const killer = killing(gateway);
      arrived = 0;
      await flood(gateway, keyOf(name, 9), "/");
      const kills = killer.stop();
      const used = await usedOf(gateway, name, 9);
      // Who was killed after it had counted has forwarded nothing: at most what each connection had under way.
      expect([name, kills > 0, used >= arrived, used <= arrived + kills * CONNECTIONS]).toEqual([name, true, true, true]);
    }
  });

  test("go on where they were when all are killed at once, with a minute's window and what was in flight", async () => {
    using home = folder();
    const slow = Bun.serve({
      port: 0,
      hostname: "127.0.0.1",
      idleTimeout: 0,
      fetch: () => Bun.sleep(60_000).then(() => new Response("late")),
    });
    const key = "a-key-of-both-0123456789";
    const options = {
      cwd: home.path,
      port: freePort(),
      config: {
        ...config(0),
        pools: {},
        consumers: [
          {
            id: "both",
            tier: "plain",
            limits: [
              { algorithm: "sliding-window", limit: 100, window: "1m" },
              { algorithm: "concurrency", limit: 5 },
            ],
            keys: [key],
          },
        ],
        routes: [
          { name: "all", path: "/", upstream: `http://127.0.0.1:${behind.port}` },
          { name: "slow", path: "/slow", upstream: `http://127.0.0.1:${slow.port}` },
        ],
      },
    };
    const first = await startAll(options);
    try {
      // POST: what breaks off is not sent again.
      const ask = (gateway: Running, path = "/") =>
        fetch(gateway.url + path, { method: "POST", headers: { "x-api-key": key, connection: "close" } });
      const inFlight = async (): Promise<number> =>
        ((await (await first.admin("GET", "/admin/limits/both")).json()) as { limits: { name: string; used: number }[] }).limits.find(
          ({ name }) => name === "concurrency",
        )?.used ?? -1;
      for (let i = 0; i < 20; i++) expect((await ask(first)).status).toBe(200);
      const held = Array.from({ length: 5 }, () => ask(first, "/slow").catch(() => null));
      while ((await inFlight()) < 5) await Bun.sleep(20);
      expect((await ask(first)).status).toBe(429);
      const parts = partsOf(first.pid);
      process.kill(first.pid, "SIGKILL");
      for (const { pid } of parts) process.kill(pid, "SIGKILL");
      await Promise.all(held);
      await using second = await startAll(options);
      const { limits } = (await (await second.admin("GET", "/admin/limits/both")).json()) as { limits: { name: string; used: number }[] };
      // Nothing of the minute is forgotten, and nothing is in flight any more.
      expect(limits.find(({ name }) => name === "per-minute")?.used).toBeGreaterThanOrEqual(25);
      expect(limits.find(({ name }) => name === "concurrency")?.used).toBe(0);
      expect((await ask(second)).status).toBe(200);
    } finally {
      await first[Symbol.asyncDispose]();
      slow.stop(true);
    }
  });

  test("free what a killed one held of a limit of concurrency, within a second", async () => {
    const slow = Bun.serve({
      port: 0,
      hostname: "127.0.0.1",
      idleTimeout: 0,
      fetch: () => Bun.sleep(60_000).then(() => new Response("late")),
    });
    const key = "a-key-of-holder-0123456789";
    await using gateway = await startAll({
      config: {
        ...config(0),
        pools: {},
        consumers: [{ id: "holder", tier: "plain", limits: [{ algorithm: "concurrency", limit: 10 }], keys: [key] }],
        routes: [{ name: "slow", path: "/", upstream: `http://127.0.0.1:${slow.port}` }],
      },
    });
    const inFlight = async (): Promise<number> =>
      ((await (await gateway.admin("GET", "/admin/limits/holder")).json()) as { limits: { used: number }[] }).limits[0]?.used ?? -1;
    const held = Array.from({ length: 10 }, () =>
      fetch(gateway.url, { method: "POST", headers: { "x-api-key": key, connection: "close" } }).catch(() => null),
    );
    while ((await inFlight()) < 10) await Bun.sleep(10);
    for (const { pid, name } of partsOf(gateway.pid)) if (name !== "keeper") process.kill(pid, "SIGKILL");
    const since = performance.now();
    while ((await inFlight().catch(() => -1)) !== 0 && performance.now() - since < 20_000) await Bun.sleep(10);
    expect(await inFlight()).toBe(0);
    await Promise.all(held);
    slow.stop(true);
  });
});
