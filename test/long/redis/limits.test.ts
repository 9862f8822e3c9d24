import { expect } from "bun:test";
import type { LimitConfig } from "../../../src/limits/settings.ts";
import { authorizer } from "../../support/authorizer.ts";
import { type Backend, backend } from "../../support/backend.ts";
import { inParallel } from "../../support/flaky.ts";
import { folder, type Running, start } from "../../support/process.ts";
import { having } from "../../support/programs.ts";
import { redisServer, slowPath } from "../../support/redis.ts";

const { afterAll, beforeAll, describe, test } = having("redis-server");

const KEY = "a-key-of-a-caller-0123";
let behind: Backend;
beforeAll(() => {
  behind = backend();
});
afterAll(() => behind[Symbol.dispose]());

const fixed = (limit: number): LimitConfig => ({ algorithm: "fixed-window", limit, window: "1h" });
const configFor = (url: string, limits: readonly LimitConfig[], redis: object = {}) => ({
  logging: { accessLog: false },
  guard: null,
  redis: { url, ...redis },
  tiers: { anonymous: { limits: [] }, plain: { limits } },
  consumers: [{ id: "acme", tier: "plain", keys: [KEY] }],
  routes: [{ path: "/", upstream: behind.url, stripPrefix: false }],
});
const ask = async (gateway: { url: string }, path = "/status?code=200", headers: Record<string, string> = {}) => {
  const answer = await fetch(gateway.url + path, { headers: { "x-api-key": KEY, ...headers } });
  const text = await answer.text();
  return { status: answer.status, left: answer.headers.get("x-ratelimit-remaining"), text };
};
const all = <T>(count: number, make: (index: number) => Promise<T>): Promise<T[]> =>
  Promise.all(Array.from({ length: count }, (_, i) => make(i)));
const end = (running: readonly AsyncDisposable[]) => Promise.all(running.map((each) => each[Symbol.asyncDispose]()));
/** Waits until the gateway has written this. */
async function says(gateway: Running, text: string, times = 1): Promise<void> {
  while (gateway.output().split(text).length <= times) await Bun.sleep(5);
}

test("on a route that asks another service, instances grant exactly the limit together, and what it refuses costs nothing", async () => {
  await using redis = await redisServer();
  using asked = authorizer((request) => new Response(null, { status: request.headers.get("cookie") === "in=1" ? 200 : 403 }));
  for (const mode of ["exact", "leased"]) {
    const config = configFor(redis.url, [fixed(40)], { timeout: "2s", mode, prefix: mode });
    const routes = [{ ...config.routes[0], authorize: { url: asked.url } }];
    const instances = await all(2, () => start({ config: { ...config, routes } }));
    try {
      const statuses = async (count: number, cookie: string) =>
        (await all(count, (i) => ask(instances[i % 2] as Running, "/status?code=200", { cookie }))).map(({ status }) => status);
      expect(await statuses(30, "out")).toEqual(Array(30).fill(403));
      const before = asked.seen.length;
      const granted = await statuses(60, "in=1");
      expect(granted.filter((status) => status === 200)).toHaveLength(40);
      expect(granted.filter((status) => status === 429)).toHaveLength(20);
      expect(asked.seen.length - before).toBeGreaterThanOrEqual(40);
      // What limits refuse asks nobody.
      const after = asked.seen.length;
      expect(await statuses(4, "in=1")).toEqual([429, 429, 429, 429]);
      expect(asked.seen.length).toBe(after);
    } finally {
      await end(instances);
    }
  }
});

/** How often it is tried; `SLUICE_TEST_ROUNDS=10` for as often as the promise says. */
const ROUNDS = Number(process.env.SLUICE_TEST_ROUNDS ?? 3);

test("five instances grant exactly the limit together, for every algorithm, each time", async () => {
  await using redis = await redisServer();
  const algorithms = ["fixed-window", "sliding-window", "sliding-log", "token-bucket", "gcra"] as const;
  const routes = algorithms.map((algorithm) => ({
    path: `/${algorithm}`,
    upstream: `${behind.url}/status`,
    auth: "none",
    limits: [{ algorithm, limit: 37, window: "1h", by: "header:X-Round" }],
  }));
  const concurrency = {
    path: "/slow",
    upstream: behind.url,
    auth: "none",
    limits: [{ algorithm: "concurrency", limit: 13, by: "global" }],
  };
  const instances = await all(5, () =>
    start({ config: { ...configFor(redis.url, [], { timeout: "2s" }), routes: [...routes, { ...concurrency, stripPrefix: false }] } }),
  );
  try {
    for (let round = 0; round < ROUNDS; round++) {
      for (const algorithm of algorithms) {
        let granted = 0;
        let denied = 0;
        await inParallel(500, 100, async (i) => {
          const { status } = await ask(instances[i % 5] as Running, `/${algorithm}`, { "x-round": `r${round}` });
          if (status === 200) granted++;
          else if (status === 429) denied++;
        });
        expect([algorithm, granted, denied]).toEqual([algorithm, 37, 463]);
      }
      const statuses = await all(40, (i) => ask(instances[i % 5] as Running, "/slow?ms=300"));
      expect(statuses.filter(({ status }) => status === 200)).toHaveLength(13);
    }
  } finally {
    await end(instances);
  }
});

describe("Redis that", () => {
  const cases = [
    ["local", 2, 200],
    // What Redis was asked before it was given up may be counted when it goes on.
    ["allow", 100, 200],
    ["deny", 2, 503],
  ] as const;

  for (const [onFailure, limit, status] of cases)
    test(`stands still (SIGSTOP), with onFailure ${onFailure}, holds nobody up for longer than three times its timeout, and is used again when it goes on`, async () => {
      await using redis = await redisServer();
      await using gateway = await start({ config: configFor(redis.url, [fixed(limit)], { onFailure, timeout: "100ms" }) });
      expect((await ask(gateway)).left).toBe(String(limit - 1));
      redis.signal("SIGSTOP");
      // All of them come while nobody knows yet.
      const first = await all(20, () => ask(gateway));
      // It still stands: nobody waited for it to go on.
      await says(gateway, "Redis is lost");
      const ready = await fetch(`${gateway.url}/ready`);
      expect([ready.status, ((await ready.json()) as { components: object }).components]).toEqual([
        onFailure === "deny" ? 503 : 200,
        { database: "ok", redis: onFailure === "deny" ? "failing" : "away" },
      ]);
      const warned = async () =>
        ((await (await fetch(`${gateway.url}/ready`)).json()) as { warnings: { code: string }[] }).warnings.map(({ code }) => code);
      expect(await warned()).toEqual(["redisAway"]);
      const counts = (code: number) => first.filter((answer) => answer.status === code).length;
      // One was counted before.
      if (onFailure === "local") expect([counts(200), counts(429)]).toEqual([1, 19]);
      else expect(counts(status)).toBe(20);
      if (onFailure === "deny") expect(JSON.parse((await ask(gateway)).text)).toMatchObject({ code: "limiterUnavailable", retryAfter: 1 });
      redis.signal("SIGCONT");
      await says(gateway, "Redis is there", 2);
      // Nobody was let in meanwhile but by itself, and what was counted here is added there.
      if (onFailure === "allow") expect((await ask(gateway)).status).toBe(200);
      else if (onFailure === "local") expect((await ask(gateway)).status).toBe(429);
      expect(gateway.output().split("Redis is lost").length).toBe(2);
      expect(await warned()).toEqual([]);
    });

  test("is killed and comes back empty is used again without a restart", async () => {
    await using redis = await redisServer();
    await using gateway = await start({ config: configFor(redis.url, [fixed(5)]) });
    for (let i = 0; i < 4; i++) await ask(gateway);
    await redis.kill();
    await says(gateway, "Redis is lost");
    // This instance counts by itself, from what Redis said last.
    const alone = await all(7, () => ask(gateway));
    expect(alone.filter(({ status }) => status === 200)).toHaveLength(1);
    await redis.restart();
    await says(gateway, "Redis is there", 2);
    while ((await redis.client.keys("*:limit:*")).length === 0) await Bun.sleep(5);
    expect((await ask(gateway)).status).toBe(429);
  });

  test("is 200 ms away is not waited for", async () => {
    await using redis = await redisServer();
    using path = slowPath(redis);
    await using gateway = await start({ config: configFor(path.url, [fixed(50)], { timeout: "60ms" }) });
    expect((await ask(gateway)).left).toBe("49");
    path.delay = 200;
    const slow = await all(20, () => ask(gateway));
    expect(slow.every(({ status }) => status === 200)).toBe(true);
    await says(gateway, "Redis is lost");
    // So slow that whoever waits for it never gets an answer.
    path.delay = 3_600_000;
    for (let i = 0; i < 5; i++) expect((await ask(gateway)).status).toBe(200);
    path.delay = 0;
    await says(gateway, "Redis is there", 2);
    await ask(gateway);
    while (Number((await ask(gateway)).left) > 25) await Bun.sleep(5);
  });

  test("answers late once or twice is waited for: short freezes grant nothing beyond the limit, and it does not count as lost", async () => {
    await using redis = await redisServer();
    await using gateway = await start({ config: configFor(redis.url, [fixed(20)], { timeout: "250ms" }) });
    for (let i = 0; i < 15; i++) await ask(gateway);
    for (let freeze = 0; freeze < 5; freeze++) {
      redis.signal("SIGSTOP");
      const asked = all(4, () => ask(gateway));
      // Longer than the timeout, shorter than three of them.
      await Bun.sleep(350);
      redis.signal("SIGCONT");
      const granted = (await asked).filter(({ status }) => status === 200).length;
      expect(granted).toBe(freeze === 0 ? 4 : freeze === 1 ? 1 : 0);
    }
    expect(gateway.output()).not.toContain("Redis is lost");
    expect(await (await fetch(`${gateway.url}/metrics`)).text()).toContain("sluice_limits_decided_alone_total 0");
  });

  for (const algorithm of ["fixed-window", "sliding-window", "sliding-log", "token-bucket", "gcra"] as const)
    test(`is lost does not give a caller who has used up a ${algorithm} the whole of it again`, async () => {
      await using redis = await redisServer();
      const limit = { algorithm, limit: 10, window: "1h" };
      await using gateway = await start({ config: configFor(redis.url, [limit]) });
      for (let i = 0; i < 8; i++) await ask(gateway);
      await redis.kill();
      await says(gateway, "Redis is lost");
      const alone = await all(12, () => ask(gateway));
      expect(alone.filter(({ status }) => status === 200)).toHaveLength(2);
    });

  test("is back after an outage is given what was let through meanwhile, and not again what it had counted itself", async () => {
    await using redis = await redisServer();
    await using gateway = await start({ config: configFor(redis.url, [fixed(50)], { timeout: "100ms" }) });
    for (let i = 0; i < 10; i++) await ask(gateway);
    redis.signal("SIGSTOP");
    await ask(gateway);
    await says(gateway, "Redis is lost");
    for (let i = 0; i < 5; i++) await ask(gateway);
    redis.signal("SIGCONT");
    await says(gateway, "Redis is there", 2);
    // 10 before, 6 alone, and this one; the one that Redis had not answered may count twice, never less.
    let left = "";
    for (let i = 0; i < 400 && !["33", "32"].includes(left); i++) {
      const inspected = await gateway.admin("GET", "/admin/limits/acme");
      left = String(((await inspected.json()) as { limits: { remaining: number }[] }).limits[0]?.remaining);
      if (left === "34" || left === "33") break;
      await Bun.sleep(10);
    }
    expect(["34", "33"]).toContain(left);
  });

  test("is away while the gateway is started again is given what was let through, and not again what it had counted itself", async () => {
    await using redis = await redisServer();
    using home = folder();
    const config = configFor(redis.url, [{ algorithm: "fixed-window", limit: 100, window: "1d" }], { timeout: "100ms" });
    {
      await using first = await start({ config, cwd: home.path });
      for (let i = 0; i < 41; i++) await ask(first);
      await redis.client.save().catch(() => {});
      redis.signal("SIGSTOP");
      await all(2, () => ask(first));
      await says(first, "Redis is lost");
      // The counts of long windows are written down each second.
      await Bun.sleep(1500);
      await first.stop();
    }
    await using second = await start({ config, cwd: home.path });
    await ask(second);
    redis.signal("SIGCONT");
    await says(second, "Redis is there");
    const left = async () =>
      ((await (await second.admin("GET", "/admin/limits/acme")).json()) as { limits: { remaining: number }[] }).limits[0]?.remaining ?? 100;
    while ((await left()) === 59) await Bun.sleep(20);
    await Bun.sleep(300);
    // 44 were let through; the two that Redis was asked for before it was given up may count twice.
    expect(await left()).toBeLessThanOrEqual(56);
    expect(await left()).toBeGreaterThanOrEqual(54);
  });

  test("was away twice, with a restart of the gateway between, is given each count once", async () => {
    await using redis = await redisServer();
    using home = folder();
    const config = configFor(redis.url, [fixed(100)]);
    const outage = async (gateway: Running, times: number): Promise<void> => {
      await redis.kill();
      await says(gateway, "Redis is lost");
      for (let i = 0; i < times; i++) await ask(gateway);
      // The counts of long windows are written down each second.
      await Bun.sleep(1200);
      await redis.restart();
      await says(gateway, "Redis is there", 2);
      while ((await redis.client.keys("*:limit:*")).length === 0) await Bun.sleep(5);
    };
    {
      await using gateway = await start({ config, cwd: home.path });
      await outage(gateway, 10);
      expect((await ask(gateway)).left).toBe("89");
      await gateway.stop();
    }
    await using gateway = await start({ config, cwd: home.path });
    await outage(gateway, 2);
    // The second time Redis came back empty: what was counted in this outage alone.
    expect((await ask(gateway)).left).toBe("97");
  });

  test("was emptied begins counts at 0; one that came back empty is given the counts that instances went on with meanwhile", async () => {
    await using redis = await redisServer();
    const other = { "x-api-key": "a-key-of-another-caller-0123" };
    const config = configFor(redis.url, [fixed(100)]);
    config.consumers.push({ id: "globex", tier: "plain", keys: [other["x-api-key"]] });
    await using gateway = await start({ config });
    for (let i = 0; i < 10; i++) await ask(gateway);
    await redis.client.flushall();
    expect((await ask(gateway)).left).toBe("99");
    for (let i = 0; i < 9; i++) await ask(gateway);
    for (let i = 0; i < 10; i++) await ask(gateway, undefined, other);
    await redis.kill();
    await says(gateway, "Redis is lost");
    for (let i = 0; i < 5; i++) await ask(gateway);
    await redis.restart();
    await says(gateway, "Redis is there", 2);
    while ((await redis.client.keys("*:limit:*")).length === 0) await Bun.sleep(5);
    // 10 before, 5 alone, and this one; of who did not come while Redis was away, nothing.
    expect([(await ask(gateway)).left, (await ask(gateway, undefined, other)).left]).toEqual(["84", "99"]);
  });

  test("answers in time one by one, but not so many, keeps nobody waiting", async () => {
    await using redis = await redisServer();
    using path = slowPath(redis);
    await using gateway = await start({ config: configFor(path.url, [fixed(100_000)], { timeout: "100ms" }) });
    path.delay = 20;
    const answers = [...(await all(300, () => ask(gateway))), ...(await all(300, () => ask(gateway)))];
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(600);
  });

  test("is behind a connection that nothing comes by any more is connected to anew", async () => {
    await using redis = await redisServer();
    using path = slowPath(redis);
    await using gateway = await start({ config: configFor(path.url, [fixed(1000)], { timeout: "100ms" }) });
    await ask(gateway);
    path.mute();
    await ask(gateway);
    await says(gateway, "Redis is lost");
    // New connections work.
    await says(gateway, "Redis is there", 2);
    expect((await ask(gateway)).status).toBe(200);
  });

  test("is not there at the start is no reason not to start", async () => {
    await using redis = await redisServer();
    await redis.kill();
    await using gateway = await start({ config: configFor(redis.url, [fixed(3)]) });
    expect((await ask(gateway)).left).toBe("2");
    await redis.restart();
    await says(gateway, "Redis is there");
    while ((await ask(gateway)).status !== 429) await Bun.sleep(5);
  });
});

test("an instance that dies with requests in flight holds its share of a concurrency limit for seconds only", async () => {
  await using redis = await redisServer();
  const config = configFor(redis.url, [{ algorithm: "concurrency", limit: 3 }], { timeout: "2s" });
  await using one = await start({ config });
  await using two = await start({ config });
  const hanging = all(3, () => ask(one, "/slow?ms=60000").catch(() => null));
  const held = async () => Object.values(await redis.client.hgetall((await redis.client.keys("*:limit:*"))[0] ?? "none"))[0] ?? "";
  while (!(await held()).startsWith("3 ")) await Bun.sleep(5);
  expect((await ask(two)).status).toBe(429);
  await one.stop("SIGKILL");
  await hanging;
  // Never otherwise: what a dead instance held would be lost for the caller.
  while ((await ask(two)).status !== 200) await Bun.sleep(50);
});
