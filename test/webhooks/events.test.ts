// Each type of event, where it comes from, and how often it is told.
import { describe, expect, test } from "bun:test";
import { Value } from "@sinclair/typebox/value";
import { EVENT_NAMES, EVENT_TYPES, type EventName, eventSchema } from "../../src/webhooks/event-types.ts";
import { backend } from "../support/backend.ts";
import { FakeClock } from "../support/clock.ts";
import { modelProvider } from "../support/model-provider.ts";
import { folder } from "../support/process.ts";
import { type Received, receiver, WEBHOOK_SECRET } from "../support/receiver.ts";
import { serving } from "../support/serving.ts";
import { until } from "../support/until.ts";

const DAY = 86_400_000;
const KEY = "a-key-of-the-test-0123";
const everything = (url: string, events: readonly string[] = ["*"]) => [{ name: "all", url, secret: WEBHOOK_SECRET, events }];
const of = (all: readonly Received[], type: EventName) => all.filter(({ body }) => body.type === type).map(({ body }) => body.data);

test("a sample of each type is what its schema says", () => {
  for (const name of EVENT_NAMES) {
    const { sample: data } = EVENT_TYPES[name];
    expect([name, [...Value.Errors(eventSchema(name), { type: name, timestamp: "2026-11-29T12:00:00Z", data })]]).toEqual([name, []]);
  }
});

describe("quotas", () => {
  const config = (hook: string, target: string, events?: readonly string[]) => ({
    webhooks: everything(hook, events),
    upstreams: { users: { targets: [{ url: target }] } },
    routes: [{ path: "/users", upstream: "users", auth: "required" }],
    tiers: { small: { quota: { limit: 10, period: "day" } } },
    consumers: [{ id: "acme", tier: "small", keys: [KEY] }],
  });
  /** A gateway's configuration before a provider of models, with the limits of a tier; a token of the model m costs ten cents. */
  const inMoney = (hook: string, provider: string, tier: object) => ({
    webhooks: everything(hook),
    // So little for a token that what passes of a slow stream before it is left stays next to nothing, however busy the machine is.
    prices: { slow: { input: "0", output: "50" }, m: { input: "0", output: "100000" } },
    pools: { p: { keys: [{ id: "k1", secret: "sk-1", limit: 1e9, window: "1h" }] } },
    routes: [{ path: "/v1", upstream: provider, stripPrefix: false, auth: "required", credential: { pool: "p" } }],
    tiers: { small: { limits: [], ...tier } },
    consumers: [{ id: "acme", tier: "small", keys: [KEY] }],
  });
  const call = (url: string, body: object, signal?: AbortSignal) =>
    fetch(`${url}/v1/chat/completions`, {
      method: "POST",
      headers: { "content-type": "application/json", "x-api-key": KEY },
      body: JSON.stringify({ messages: [{ role: "user", content: "hi" }], ...body }),
      ...(signal === undefined ? {} : { signal }),
    });
  const ask = (url: string) => fetch(`${url}/users`, { headers: { "x-api-key": KEY } }).then(({ status }) => status);

  test("are told at 80 % and when they are used up, once in a period, also over a restart", async () => {
    using home = folder();
    using hook = receiver();
    await using users = backend();
    const clock = new FakeClock(Date.parse("2026-11-29T10:00:00Z"));
    const path = `${home.path}/sluice.db`;
    const one = serving(config(hook.url, users.url), clock, path);
    for (let i = 0; i < 7; i++) expect(await ask(one.url)).toBe(200);
    for (let i = 0; i < 2; i++) await ask(one.url);
    await until(() => hook.all.length === 1);
    expect(hook.types()).toEqual(["quota.80"]);
    expect(of(hook.all, "quota.80")[0]).toMatchObject({
      ...{ quota: "daily", scope: "tier small", subject: "acme", limit: 10, used: 8, resetAt: "2026-11-30T00:00:00.000Z" },
    });
    await one.stop();
    const other = serving(config(hook.url, users.url), clock, path);
    for (let i = 0; i < 4; i++) await ask(other.url);
    await until(() => hook.all.length === 2);
    expect(hook.types()).toEqual(["quota.80", "quota.100"]);
    clock.advance(DAY);
    for (let i = 0; i < 8; i++) await ask(other.url);
    await until(() => hook.all.length === 3);
    expect(hook.types()).toEqual(["quota.80", "quota.100", "quota.80"]);
    expect(Value.Check(eventSchema("quota.80"), hook.all[2]?.body)).toBe(true);
    await other.stop();
  });

  test("in money are told by what calls have cost, not by what is reserved for those under way, and go on after a restart", async () => {
    using home = folder();
    using hook = receiver();
    using provider = modelProvider();
    const clock = new FakeClock(Date.parse("2026-11-29T10:00:00Z"));
    const money = inMoney(hook.url, provider.url, { quota: { limit: "10", period: "day", cost: "usd" } });
    const path = `${home.path}/sluice.db`;
    const one = serving(money, clock, path);
    const used = async (gateway: typeof one): Promise<number> =>
      ((await (await gateway.admin("GET", "/admin/limits/acme")).json()) as { limits: { used: number }[] }).limits[0]?.used ?? 0;
    const leaving = new AbortController();
    // Five calls may cost two dollars each: another finds nothing left, though next to nothing is spent.
    const streams = [];
    for (let i = 0; i < 5; i++) streams.push(await call(one.url, { model: "slow", max_tokens: 40_000, stream: true }, leaving.signal));
    expect([...streams.map(({ status }) => status), (await call(one.url, { model: "m", max_tokens: 10 })).status]).toEqual([
      ...[200, 200, 200, 200, 200],
      429,
    ]);
    leaving.abort();
    let spent = 10;
    await until(async () => {
      spent = await used(one);
      return spent < 2;
    });
    await (await call(one.url, { model: "m", max_tokens: 80 - Math.ceil(spent * 10) })).text();
    expect(await used(one)).toBeLessThan(8);
    await (await call(one.url, { model: "m", max_tokens: 10 })).text();
    await until(() => hook.all.length === 1);
    const before = await used(one);
    expect(of(hook.all, "quota.80")).toMatchObject([
      { quota: "daily", scope: "tier small", subject: "acme", unit: "usd", limit: 10, used: before, resetAt: "2026-11-30T00:00:00.000Z" },
    ]);
    await one.stop();
    const other = serving(money, clock, path);
    expect(await used(other)).toBe(before);
    expect((await call(other.url, { model: "m", max_tokens: 30 })).status).toBe(429);
    await until(() => hook.all.length === 2);
    expect(of(hook.all, "quota.100")).toMatchObject([{ unit: "usd", limit: 10, used: before }]);
    for (const { body } of hook.all)
      expect([body.type, [...Value.Errors(eventSchema(body.type as EventName), body)]]).toEqual([body.type, []]);
    await other.stop();
  });

  test("are told besides limits in money with windows that last, each window once", async () => {
    using hook = receiver();
    using provider = modelProvider();
    const clock = new FakeClock(Date.parse("2026-11-29T10:00:00Z"));
    const limit = { name: "hour", algorithm: "fixed-window", limit: "1", window: "1h", cost: "usd" };
    const others = [
      { ...limit, name: "minute", window: "1m" },
      { ...limit, name: "trial", shadow: true },
      { ...limit, name: "bucket", algorithm: "token-bucket" },
    ];
    const gateway = serving(inMoney(hook.url, provider.url, { limits: [limit, ...others] }), clock);
    for (const tokens of [7, 1, 1, 1, 1]) await (await call(gateway.url, { model: "m", max_tokens: tokens })).text();
    await until(() => hook.all.length === 2);
    expect([hook.types(), of(hook.all, "quota.80")]).toMatchObject([
      ["quota.80", "quota.100"],
      [{ quota: "hour", scope: "tier small", unit: "usd", limit: 1, used: 0.8, resetAt: "2026-11-29T11:00:00.000Z" }],
    ]);
    clock.advance(3_600_000);
    await (await call(gateway.url, { model: "m", max_tokens: 9 })).text();
    await until(() => hook.all.length === 3);
    expect(of(hook.all, "quota.80")[1]).toMatchObject({ quota: "hour", used: 0.9, resetAt: "2026-11-29T12:00:00.000Z" });
    await gateway.stop();
  });

  test("in money whose window slides are told once in each hour of the clock", async () => {
    using hook = receiver();
    using provider = modelProvider();
    const clock = new FakeClock(Date.parse("2026-11-29T10:00:00Z"));
    const limits = [{ name: "sliding", algorithm: "sliding-window", limit: "1", window: "1h", cost: "usd" }];
    const gateway = serving(inMoney(hook.url, provider.url, { limits }), clock);
    for (const tokens of [7, 1, 1, 1, 1]) await (await call(gateway.url, { model: "m", max_tokens: tokens })).text();
    await until(() => hook.all.length === 2);
    expect([hook.types(), of(hook.all, "quota.80")]).toMatchObject([
      ["quota.80", "quota.100"],
      [{ quota: "sliding", unit: "usd", limit: 1, used: 0.8, resetAt: "2026-11-29T11:00:00.000Z" }],
    ]);
    await gateway.stop();
  });

  test("of a pool's key in money are told by what calls have cost, each window once, shorter ones not at all", async () => {
    using hook = receiver();
    using provider = modelProvider();
    const clock = new FakeClock(Date.parse("2026-11-29T10:00:00Z"));
    const budgets = [
      { cost: "usd", limit: "1", window: "1d" },
      { cost: "usd", limit: "1", window: "1m" },
      { of: "requests", limit: 1000, window: "1d" },
    ];
    const config = { ...inMoney(hook.url, provider.url, {}), pools: { p: { keys: [{ id: "k1", secret: "sk-1", budgets }] } } };
    const gateway = serving(config, clock);
    // What is reserved for one that is under way is not spent: with it nine tenths would be.
    const leaving = new AbortController();
    await call(gateway.url, { model: "slow", max_tokens: 10_000, stream: true }, leaving.signal);
    await (await call(gateway.url, { model: "m", max_tokens: 4 })).text();
    leaving.abort();
    clock.advance(60_000);
    await (await call(gateway.url, { model: "m", max_tokens: 4 })).text();
    await until(() => hook.all.length === 1);
    const [told] = of(hook.all, "quota.80");
    expect(told).toMatchObject({ quota: "p", scope: "a key of the pool", subject: "k1", unit: "usd", limit: 1 });
    expect(told).toMatchObject({ resetAt: "2026-11-30T10:00:00.000Z" });
    expect(told?.used).toBeWithin(0.8, 0.89);
    expect(Value.Check(eventSchema("quota.80"), hook.all[0]?.body)).toBe(true);
    await gateway.stop();
  });

  test("are told to those who follow the events as well, each once", async () => {
    await using users = backend();
    const gateway = serving({ ...config("http://127.0.0.1:1", users.url), webhooks: [] });
    const answer = await gateway.admin("GET", "/admin/events?type=quota,health");
    const reader = (answer.body as ReadableStream<Uint8Array>).getReader();
    for (let i = 0; i < 12; i++) await ask(gateway.url);
    // What comes last, so that nothing is still on its way.
    await gateway.admin("POST", "/admin/health", { status: "DEGRADED" });
    let text = "";
    while (!/event: health\ndata: .*\n\n/.test(text)) text += new TextDecoder().decode((await reader.read()).value);
    const data = [...text.matchAll(/^data: (.*)$/gm)].map(([, json]) => JSON.parse(json as string) as object);
    expect(data).toMatchObject([
      { type: "quota", level: 80, quota: "daily", scope: "tier small", subject: "acme", used: 8, limit: 10 },
      { type: "quota", level: 100, used: 10 },
      { type: "health" },
    ]);
    await reader.cancel();
    await gateway.stop();
  });

  test("in money are counted right when those who follow the events come and go while calls are under way", async () => {
    using provider = modelProvider();
    const clock = new FakeClock(Date.parse("2026-11-29T10:00:00Z"));
    const money = inMoney("http://127.0.0.1:1", provider.url, { quota: { limit: "10", period: "day", cost: "usd" } });
    const gateway = serving({ ...money, webhooks: [] }, clock);
    const follow = async () => {
      const body = (await gateway.admin("GET", "/admin/events?type=quota")).body as ReadableStream<Uint8Array>;
      return body.getReader();
    };
    const leaving = new AbortController();
    const first = await follow();
    await call(gateway.url, { model: "slow", max_tokens: 100_000, stream: true }, leaving.signal);
    await first.cancel();
    leaving.abort();
    const used = async (): Promise<number> =>
      ((await (await gateway.admin("GET", "/admin/limits/acme")).json()) as { limits: { used: number }[] }).limits[0]?.used ?? 0;
    await until(async () => (await used()) < 1);
    const second = await follow();
    await (await call(gateway.url, { model: "m", max_tokens: 80 })).text();
    await (await call(gateway.url, { model: "m", max_tokens: 1 })).text();
    let text = "";
    while (!text.includes("quota")) text += new TextDecoder().decode((await second.read()).value);
    expect(text).toContain('"level":80');
    await second.cancel();
    await gateway.stop();
  });

  test("that one request uses up are told as both", async () => {
    using hook = receiver();
    await using users = backend();
    const own = config(hook.url, users.url);
    const gateway = serving({ ...own, routes: [{ ...own.routes[0], cost: 10 }] });
    expect(await ask(gateway.url)).toBe(200);
    await until(() => hook.all.length === 2);
    expect(hook.types()).toEqual(["quota.80", "quota.100"]);
    await gateway.stop();
  });
});

test("a key that expires is told a week before, and again a day before, whether the file or the API made it", async () => {
  using hook = receiver();
  const clock = new FakeClock(Date.now());
  const at = new Date(clock.wall() + 10 * DAY).toISOString();
  const gateway = serving(
    { webhooks: everything(hook.url, ["key.expiring"]), consumers: [{ id: "acme", tier: "free", keys: [{ key: KEY, expiresAt: at }] }] },
    clock,
  );
  const { id } = (await (await gateway.admin("POST", "/admin/keys", { consumer: "acme", expiresAt: at })).json()) as { id: string };
  clock.advance(4 * DAY);
  await until(() => hook.all.length === 2);
  expect(hook.all.map(({ body }) => body.data.within)).toEqual(["7d", "7d"]);
  expect(hook.all.map(({ body }) => body.data.key)).toContain(id);
  clock.advance(5.5 * DAY);
  await until(() => hook.all.length === 4);
  expect(hook.all.slice(2).map(({ body }) => body.data.within)).toEqual(["1d", "1d"]);
  expect(of(hook.all, "key.expiring").every((data) => Value.Check(EVENT_TYPES["key.expiring"].data, data))).toBe(true);
  await gateway.stop();
});

test("breakers, targets, pools, consumers with their keys and refused configurations are told", async () => {
  using hook = receiver();
  const gateway = serving({
    webhooks: everything(hook.url),
    upstreams: {
      users: { targets: [{ url: "http://127.0.0.1:1" }] },
      down: { targets: [{ url: "http://127.0.0.1:2" }], healthCheck: { path: "/", interval: "100ms", timeout: "50ms", unhealthyAfter: 1 } },
    },
    pools: { models: { keys: [{ id: "key_1", limit: 10, window: "60s" }], services: { service_1: { cost: 6 } } } },
    tiers: { free: { limits: [] } },
    consumers: [{ id: "acme", tier: "free", keys: [KEY] }],
  });
  const target = encodeURIComponent("http://127.0.0.1:1");
  await gateway.admin("POST", `/admin/breakers/${target}/open`);
  await gateway.admin("POST", `/admin/breakers/${target}/close`);
  await until(() => hook.types().includes("target.down"));
  for (let i = 0; i < 4; i++)
    await fetch(`${gateway.url}/api/v1/api-key`, {
      method: "POST",
      headers: { "x-api-key": KEY, "content-type": "application/json" },
      body: JSON.stringify({ type: "service_1" }),
    });
  await gateway.admin("POST", "/admin/consumers", { id: "gone", tier: "free" });
  await gateway.admin("POST", "/admin/keys/import", {
    keys: ["one", "two"].map((each) => ({ consumer: "gone", key: `an-imported-key-${each}` })),
  });
  await gateway.admin("DELETE", "/admin/consumers/gone?force=true");
  await gateway.admin("POST", "/admin/config/reload");
  await until(() => hook.types().includes("config.refused"));
  expect(of(hook.all, "breaker.opened")).toMatchObject([{ upstream: "users", target: "http://127.0.0.1:1", cause: "admin" }]);
  expect(of(hook.all, "breaker.closed")).toMatchObject([{ upstream: "users", cause: "admin" }]);
  expect(of(hook.all, "target.down")).toMatchObject([{ upstream: "down", target: "http://127.0.0.1:2" }]);
  expect(of(hook.all, "pool.empty")).toMatchObject([{ pool: "models", user: "service_1", retryIn: 60 }]);
  expect(of(hook.all, "key.created")).toMatchObject([{ key: null, count: 2 }]);
  expect(of(hook.all, "key.revoked")).toMatchObject([{ key: null, count: 2, consumer: "gone" }]);
  expect(of(hook.all, "config.refused")).toMatchObject([{ trigger: "admin" }]);
  for (const { body } of hook.all)
    expect([body.type, [...Value.Errors(eventSchema(body.type as EventName), body)]]).toEqual([body.type, []]);
  expect(gateway.faults).toEqual([]);
  await gateway.stop();
});
