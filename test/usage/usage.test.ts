import { describe, expect, test } from "bun:test";
import { ANONYMOUS, type Caller } from "../../src/exchange/caller.ts";
import { AutoHealth, compileAuto, type Signals } from "../../src/health/auto.ts";
import { SystemHealth } from "../../src/health/health.ts";
import { openStorage } from "../../src/storage/open.ts";
import { MAX_NAMED } from "../../src/usage/intake.ts";
import { Usage } from "../../src/usage/usage.ts";
import { backend } from "../support/backend.ts";
import { FakeClock } from "../support/clock.ts";
import { flaky } from "../support/flaky.ts";
import { folder, start } from "../support/process.ts";
import { serving } from "../support/serving.ts";

const KEY = "a-key-with-a-quota-0123";

const configFor = (url: string, tier: object, more: object = {}) => ({
  logging: { accessLog: false },
  tiers: { anonymous: { limits: [] }, metered: tier },
  consumers: [{ id: "acme", tier: "metered", keys: [KEY] }],
  routes: [{ name: "all", path: "/", upstream: url, auth: "optional" }],
  ...more,
});
const use = (url: string, key: string | null = KEY) => fetch(url, { headers: key === null ? {} : { "x-api-key": key } });

describe("a quota", () => {
  test("holds for its period of the calendar, beside other quotas and limits, and is told in the headers", async () => {
    using behind = backend();
    const clock = new FakeClock(Date.parse("2026-11-21T22:59:00Z"));
    const gateway = serving(
      configFor(behind.url, {
        limits: [{ algorithm: "fixed-window", limit: 100, window: "1m" }],
        quota: [
          { limit: 3, period: "day", timezone: "Europe/Berlin" },
          { limit: 5, period: "month" },
        ],
      }),
      clock,
    );
    const first = await use(gateway.url);
    expect(first.headers.get("ratelimit-policy")).toBe('"per-minute";q=100;w=60, "daily";q=3;w=86400, "monthly";q=5;w=2678400');
    // In Berlin the day ends at 23:00 UTC.
    expect(first.headers.get("ratelimit")).toBe('"per-minute";r=99;t=60, "daily";r=2;t=60, "monthly";r=4;t=781260');
    expect([(await use(gateway.url)).status, (await use(gateway.url)).status]).toEqual([200, 200]);
    const denied = await use(gateway.url);
    expect([denied.status, denied.headers.get("retry-after"), await denied.json()]).toEqual([
      429,
      "60",
      expect.objectContaining({
        code: "quotaExceeded",
        violatedPolicies: [
          { name: "daily", scope: "tier metered", unit: "requests", limit: 3, used: 3, reset: "2026-11-21T23:00:00.000Z" },
        ],
      }),
    ]);
    clock.time += 60_000;
    expect([(await use(gateway.url)).status, (await use(gateway.url)).status, (await use(gateway.url)).status]).toEqual([200, 200, 429]);
    clock.time = Date.parse("2026-12-01T00:00:00Z");
    expect((await use(gateway.url)).status).toBe(200);
    const { limits } = (await (await gateway.admin("GET", "/admin/limits/acme")).json()) as {
      limits: { name: string; used: number; reset: string }[];
    };
    expect(limits).toMatchObject([
      { name: "per-minute" },
      { name: "daily", used: 1, reset: "2026-12-01T23:00:00.000Z" },
      { name: "monthly", used: 1, reset: "2027-01-01T00:00:00.000Z" },
    ]);
    await gateway.stop();
  });

  test("of a key comes before its consumer's, and that before the tier's; a denied request takes from none", async () => {
    using behind = backend();
    await using gateway = await start({ config: configFor(behind.url, { quota: { limit: 1, period: "day" } }) });
    const make = async (path: string, body: object) => (await (await gateway.admin("POST", path, body)).json()) as { key: string };
    await make("/admin/consumers", { id: "own", tier: "metered", quota: { limit: 2, period: "week" } });
    const ofConsumer = (await make("/admin/keys", { consumer: "own" })).key;
    const ofKey = (await make("/admin/keys", { consumer: "own", quota: [{ limit: 3, period: "month", name: "mine" }] })).key;
    const allowed = async (key: string) => {
      for (let n = 0; ; n++) if ((await use(gateway.url, key)).status === 429) return n;
    };
    expect([await allowed(KEY), await allowed(ofConsumer), await allowed(ofKey)]).toEqual([1, 2, 3]);
    for (const quota of [
      { limit: 0, period: "day" },
      { limit: 1, period: "year" },
      { limit: 1, period: "day", timezone: "Mars/Olympus" },
      { limit: 1, period: "week", anchor: 8 },
    ]) {
      const refused = await gateway.admin("POST", "/admin/consumers", { id: "bad", tier: "metered", quota });
      expect([quota, refused.status]).toEqual([quota, 422]);
    }
  });

  test("and usage are exact after a restart, and within a second's worth after kill -9", async () => {
    using behind = backend();
    using home = folder();
    const config = configFor(behind.url, { quota: { limit: 100, period: "month" } });
    const used = async (gateway: Awaited<ReturnType<typeof start>>) => {
      const { limits } = (await (await gateway.admin("GET", "/admin/limits/acme")).json()) as { limits: { used: number }[] };
      const { items } = (await (await gateway.admin("GET", "/admin/usage?consumer=acme")).json()) as { items: { requests: number }[] };
      return [limits[0]?.used, items[0]?.requests];
    };
    {
      await using first = await start({ cwd: home.path, config });
      for (let i = 0; i < 7; i++) await use(first.url);
      expect(await first.stop()).toBe(0);
    }
    {
      await using second = await start({ cwd: home.path });
      expect(await used(second)).toEqual([7, 7]);
      for (let i = 0; i < 3; i++) await use(second.url);
      await Bun.sleep(1200);
      for (let i = 0; i < 2; i++) await use(second.url);
      await second.stop("SIGKILL");
    }
    await using third = await start({ cwd: home.path });
    for (const count of await used(third)) expect(count).toBeWithin(10, 13);
  });
});

describe("usage", () => {
  test("is told by consumer, key, route, hour and day, as JSON and as CSV", async () => {
    using behind = flaky(({ path }) => ({ status: path === "/bad" ? 500 : 200 }));
    const clock = new FakeClock(Date.parse("2026-11-21T10:30:00Z"));
    const gateway = serving(
      configFor(
        behind.url,
        { limits: [{ algorithm: "fixed-window", limit: 4, window: "1m" }] },
        {
          routes: [
            { name: "one", path: "/one", upstream: behind.url, auth: "optional" },
            { name: "two", path: "/", upstream: behind.url, auth: "optional", stripPrefix: false },
          ],
        },
      ),
      clock,
    );
    for (let i = 0; i < 3; i++) await use(`${gateway.url}/one`);
    for (let i = 0; i < 2; i++) await use(`${gateway.url}/bad`);
    await use(`${gateway.url}/one`, null);
    const ask = async (query: string) =>
      ((await (await gateway.admin("GET", `/admin/usage${query}`)).json()) as { items: unknown[] }).items;
    // What is counted goes to the hour of the last flush, which is never more than a second old.
    await ask("");
    clock.time += 3_600_000;
    await ask("");
    await use(`${gateway.url}/one`);
    await use(`${gateway.url}/one`, "a-key-that-nobody-has-0123");
    expect(await ask("")).toEqual([{ requests: 8, errors: 1, limited: 1, tokens: 0, cost: 0 }]);
    expect(await ask("?by=consumer")).toEqual([
      { consumer: "", requests: 2, errors: 0, limited: 0, tokens: 0, cost: 0 },
      { consumer: "acme", requests: 6, errors: 1, limited: 1, tokens: 0, cost: 0 },
    ]);
    expect(await ask("?by=route&consumer=acme")).toEqual([
      { route: "one", requests: 4, errors: 0, limited: 0, tokens: 0, cost: 0 },
      { route: "two", requests: 2, errors: 1, limited: 1, tokens: 0, cost: 0 },
    ]);
    expect(await ask("?per=hour&route=one")).toEqual([
      { time: "2026-11-21T10:00:00.000Z", requests: 4, errors: 0, limited: 0, tokens: 0, cost: 0 },
      { time: "2026-11-21T11:00:00.000Z", requests: 2, errors: 0, limited: 0, tokens: 0, cost: 0 },
    ]);
    expect(await ask("?per=day")).toMatchObject([{ time: "2026-11-21T00:00:00.000Z", requests: 8 }]);
    expect(await ask("?from=2026-11-21T11:00:00Z&by=consumer")).toMatchObject([
      { consumer: "", requests: 1 },
      { consumer: "acme", requests: 1 },
    ]);
    const csv = await (await gateway.admin("GET", "/admin/usage?by=consumer,route&format=csv")).text();
    expect(csv.split("\r\n")).toEqual([
      "consumer,route,requests,errors,limited,tokens,cost",
      ",one,2,0,0,0,0",
      "acme,one,4,0,0,0,0",
      "acme,two,2,1,1,0,0",
      "",
    ]);
    expect(await ask("?by=consumer,route&sort=-requests&limit=2")).toMatchObject([
      { consumer: "acme", route: "one", requests: 4 },
      { consumer: "", route: "one", requests: 2 },
    ]);
    expect(await ask("?by=route&sort=errors")).toMatchObject([{ route: "one" }, { route: "two" }]);
    for (const query of ["?sort=colour", "?by=colour", "?per=minute", "?from=now", "?format=xml", "?limit=0"])
      expect([query, (await gateway.admin("GET", `/admin/usage${query}`)).status]).toEqual([query, 422]);
    await gateway.stop();
  });
});

describe("usage of callers whom tokens or plug-ins name", () => {
  const HOUR = 3_600_000;
  const caller = (id: string, issuer?: string): Caller => ({
    ...ANONYMOUS,
    ...{ via: issuer === undefined ? "plugin" : "token", consumer: { ...ANONYMOUS.consumer, id }, id },
    ...(issuer === undefined ? {} : { issuer }),
  });

  test("tells 10,000 ids apart in an hour besides those with a record, and counts all further ones of an issuer as one", () => {
    const storage = openStorage(":memory:");
    const clock = new FakeClock(Date.parse("2026-11-21T10:00:00Z"));
    const open = () => new Usage({ storage, clock, hasRecord: (id) => id.endsWith(":known") });
    let usage = open();
    const note = (id: string, issuer?: string) => usage.note("all", caller(id, issuer), 200, false, 0, 0, "", "");
    const counted = (from = 0) => {
      const rows = usage.sums({ of: {}, from, to: Number.MAX_SAFE_INTEGER, by: ["consumer"], per: null, limit: 100_000, offset: 0 });
      return new Map(rows.map(({ consumer, requests }) => [consumer, requests]));
    };
    for (let n = 0; n < MAX_NAMED; n++) {
      note(`main:${n}`, "main");
      note("main:known", "main");
    }
    expect(counted().size).toBe(MAX_NAMED + 1);
    for (let n = 0; n < 500; n++) note(`main:late-${n}`, "main");
    note("late", "trusting");
    note("tenant");
    note("main:7", "main");
    // Also of those with a record that call late, and of keys, each is told apart.
    note("trusting:known", "trusting");
    usage.note("all", { ...caller("late"), via: "key", id: "key_1" }, 200, false, 0, 0, "", "");
    const others = [
      ["others of main", 500],
      ["others of trusting", 1],
      ["others by plug-ins", 1],
    ] as const;
    const told = counted();
    for (const [name, requests] of [...others, ["main:7", 2], ["main:known", MAX_NAMED], ["trusting:known", 1], ["late", 1]] as const)
      expect([name, told.get(name)]).toEqual([name, requests]);
    expect(told.size).toBe(MAX_NAMED + 2 + others.length + 1);
    // A restart within the hour opens no room for more.
    usage = open();
    note("main:later", "main");
    note("main:7", "main");
    expect([counted().get("others of main"), counted().get("main:7"), counted().size]).toEqual([501, 3, told.size]);
    clock.time += HOUR;
    usage.flush();
    note("main:later", "main");
    expect([...counted(clock.time)]).toEqual([["main:later", 1]]);
    storage.close();
  });
});

test("while DEGRADED the free tier is held to its floor and the others keep what they were promised; after the ttl all is as before, with the counts carried over", async () => {
  using behind = backend();
  const clock = new FakeClock(Date.parse("2026-11-21T10:30:00Z"));
  const window = { algorithm: "fixed-window", window: "1m" };
  const tiers = {
    anonymous: { limits: [] },
    free: { limits: [{ ...window, limit: 10, burst: 20, degraded: 2 }] },
    pro: { limits: [{ ...window, limit: 100, burst: 150, degraded: 100 }] },
    enterprise: { limits: [{ ...window, limit: 1000 }] },
  };
  const names = ["free", "pro", "enterprise"];
  const keyOf = (tier: string) => `the-key-of-${tier}-0123`;
  const gateway = serving(
    {
      tiers,
      consumers: names.map((tier) => ({ id: tier, tier, keys: [keyOf(tier)] })),
      routes: [{ name: "all", path: "/", upstream: behind.url }],
    },
    clock,
  );
  /** How many requests of each tier pass until one is denied. */
  const passed = () =>
    Promise.all(
      names.map(async (tier) => {
        for (let n = 0; ; n++) if ((await use(gateway.url, keyOf(tier))).status === 429) return n;
      }),
    );
  const answer = await fetch(`${gateway.url}/admin/health`, {
    method: "POST",
    headers: { authorization: "Bearer an-admin-token-0123456789", "content-type": "application/json" },
    body: JSON.stringify({ status: "DEGRADED", ttl: "30s" }),
  });
  expect(answer.status).toBe(200);
  expect(await passed()).toEqual([2, 100, 1000]);
  clock.time += 30_000;
  expect(await passed()).toEqual([18, 50, 0]);
  clock.time += 30_000;
  expect(await passed()).toEqual([20, 150, 1000]);
  await gateway.stop();
});

describe("the system's status by itself", () => {
  const POLICY = compileAuto({ eventLoopLag: "100ms", errorRate: 0.5, latency: "2s", for: "5s", recoverAfter: "30s" });
  const calm: Signals = { eventLoopLag: 1, errorRate: 0, latency: 10 };
  const judging = () => {
    const clock = new FakeClock();
    const told: string[] = [];
    const health = new SystemHealth(clock, (_before, { status, by, reason }) => told.push(`${status} ${by} ${reason}`));
    const auto = new AutoHealth(POLICY, health, clock);
    const pass = (seconds: number, signals: Signals) => {
      for (let i = 0; i < seconds * 2; i++) {
        clock.time += 500;
        auto.judge(signals, clock.now());
      }
    };
    return { health, told, pass };
  };

  test.each([
    [{ ...calm, eventLoopLag: 150 }, "eventLoopLag 150 ms is at least 100 ms for 5 s"],
    [{ ...calm, errorRate: 0.75 }, "errorRate 0.75 is at least 0.5 for 5 s"],
    [{ ...calm, latency: 2500 }, "latency 2500 ms is at least 2000 ms for 5 s"],
  ])("becomes DEGRADED when %j lasts, says why, and recovers later than it fell", (signals, why) => {
    const { told, pass } = judging();
    pass(4.5, signals);
    pass(1, calm);
    pass(5, signals);
    expect(told).toEqual([]);
    pass(1, signals);
    expect(told).toEqual([`DEGRADED auto ${why}`]);
    pass(29, calm);
    pass(1, signals);
    pass(30, calm);
    expect(told.length).toBe(1);
    pass(1, calm);
    expect(told[1]).toBe("NORMAL auto all signals below their bounds for 30 s");
  });

  test("does not end what a person has begun", () => {
    const { health, told, pass } = judging();
    health.set("DEGRADED", "ops", "a test", null);
    pass(100, calm);
    expect(told).toEqual(["DEGRADED ops a test"]);
  });

  test("sheds the free tier's load when the backend fails, and writes down why", async () => {
    using behind = flaky(() => ({ status: 500 }));
    await using gateway = await start({
      config: configFor(
        behind.url,
        { limits: [{ algorithm: "fixed-window", limit: 1_000_000, degraded: 2, window: "1h" }] },
        { health: { auto: { errorRate: 0.5, for: "500ms", recoverAfter: "1h" } } },
      ),
    });
    const until = Date.now() + 4000;
    let status = 0;
    while (status !== 429 && Date.now() < until) {
      ({ status } = await use(gateway.url));
      await Bun.sleep(5);
    }
    expect(status).toBe(429);
    expect(await (await gateway.admin("GET", "/admin/health")).json()).toMatchObject({
      status: "DEGRADED",
      by: "auto",
      reason: expect.stringContaining("errorRate"),
    });
    const { items } = (await (await gateway.admin("GET", "/admin/audit?action=health.set")).json()) as { items: unknown[] };
    expect(items).toMatchObject([{ actor: "system", after: { status: "DEGRADED", by: "auto" } }]);
  });
});
