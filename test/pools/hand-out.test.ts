import { describe, expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { FakeClock } from "../support/clock.ts";
import { inParallel } from "../support/flaky.ts";
import { folder, type Running, start } from "../support/process.ts";
import { serving } from "../support/serving.ts";

const DEMO = {
  strategy: "in-order",
  keys: [
    { id: "api_key_1", limit: 1000, window: "60s" },
    { id: "api_key_2", limit: 3000, window: "60s" },
  ],
  services: { service_1: { cost: 300 }, service_2: { cost: 100 }, service_3: { cost: 500 } },
  auth: "none",
};
const KEY = "a-key-for-the-pools-0123";
const configFor = (pools: object) => ({
  logging: { level: "info", accessLog: false },
  tiers: { anonymous: { limits: [] }, plain: { limits: [] } },
  consumers: [{ id: "acme", tier: "plain", keys: [KEY] }],
  pools,
});
const ask = async (url: string, body: unknown, headers: Record<string, string> = {}) => {
  const answer = await fetch(`${url}/api/v1/api-key`, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: typeof body === "string" ? body : JSON.stringify(body),
  });
  return { status: answer.status, body: (await answer.json()) as Record<string, unknown>, retryAfter: answer.headers.get("retry-after") };
};

describe("POST /api/v1/api-key", () => {
  test("of the demo hands out the first key that holds the cost, logs each grant, and says when none is left", async () => {
    await using gateway = await start();
    const grant = async (type: string) => (await ask(gateway.url, { type })).body.api_key;
    expect([await grant("service_1"), await grant("service_3"), await grant("service_1")]).toEqual(["api_key_1", "api_key_1", "api_key_2"]);
    expect((await ask(gateway.url, { type: "service_2", pool: "default" })).body).toEqual({ api_key: "api_key_1" });
    for (let i = 0; i < 5; i++) expect(await grant("service_3")).toBe("api_key_2");
    const denied = await ask(gateway.url, { type: "service_1" });
    expect(denied).toMatchObject({
      status: 429,
      body: { code: "poolExhausted", detail: "All API keys have reached their rate limits. Please try again later.", status: 429 },
    });
    expect(Number(denied.retryAfter)).toBeWithin(50, 61);
    while (!gateway.output().includes("All API keys have reached")) await Bun.sleep(5);
    for (const text of [
      "API Key: api_key_1 - Remaining Tokens: 700",
      "API Key: api_key_1 - Remaining Tokens: 200",
      "API Key: api_key_2 - Remaining Tokens: 2700",
      "API Key: api_key_2 - Remaining Tokens: 200",
    ])
      expect(gateway.output()).toContain(`"msg":"${text}"`);
    expect(gateway.output()).toMatch(/"level":"error".*"msg":"All API keys have reached their rate limits\."/);
    const pool = (await (await gateway.admin("GET", "/admin/pools/default")).json()) as object;
    expect(pool).toMatchObject({
      source: "config",
      state: {
        keys: [
          { id: "api_key_1", remaining: 100, budgets: [{ of: "tokens", limit: 1000, used: 900, window: "60s" }] },
          { id: "api_key_2", remaining: 200 },
        ],
      },
    });
  });

  test("refuses what it does not know, with what it knows", async () => {
    await using gateway = await start({ config: configFor({ default: DEMO, other: { ...DEMO, auth: "required" } }) });
    const cases: [unknown, number, object][] = [
      [
        { type: "service_9" },
        422,
        { errors: [{ path: "type", message: 'there is no service "service_9": it must be one of service_1, service_2, service_3' }] },
      ],
      [{}, 422, { errors: [{ path: "type", message: "is required" }] }],
      [{ type: 7 }, 422, { code: "validationFailed" }],
      [{ type: "service_1", pool: "othr" }, 422, { errors: [{ path: "pool", message: 'there is no pool "othr", did you mean "other"?' }] }],
      [{ type: "service_1", poll: "x" }, 422, { errors: [{ path: "poll", message: 'unknown field "poll", did you mean "pool"?' }] }],
      ["{", 400, { code: "badRequest" }],
      ["", 400, { code: "badRequest" }],
    ];
    for (const [body, status, expected] of cases) {
      const answer = await ask(gateway.url, body);
      expect([body, answer.status]).toEqual([body, status]);
      expect(answer.body).toMatchObject(expected);
    }
    expect((await ask(gateway.url, "x".repeat(100_000))).status).toBe(413);
    const wrong = await fetch(`${gateway.url}/api/v1/api-key`);
    expect([wrong.status, wrong.headers.get("allow")]).toEqual([405, "POST"]);
  });

  test("asks who calls where the pool wants to know, and counts bad keys", async () => {
    await using gateway = await start({ config: configFor({ only: { ...DEMO, auth: "required" } }) });
    const type = "service_1";
    expect((await ask(gateway.url, { type })).status).toBe(401);
    expect((await ask(gateway.url, { type }, { "x-api-key": KEY })).body).toEqual({ api_key: "api_key_1" });
    await gateway.admin("POST", "/admin/consumers", { id: "other", tier: "plain" });
    const bound = (await (await gateway.admin("POST", "/admin/keys", { consumer: "other", routes: ["shop"] })).json()) as { key: string };
    expect((await ask(gateway.url, { type }, { "x-api-key": bound.key })).status).toBe(403);
    for (let i = 0; i < 10; i++) await ask(gateway.url, { type }, { "x-api-key": `a-bad-key-${i}-0123456789` });
    expect((await ask(gateway.url, { type }, { "x-api-key": "a-bad-key-x-0123456789" })).body.code).toBe("ipBlocked");
    // It was good from here before.
    expect((await ask(gateway.url, { type }, { "x-api-key": KEY })).body.code).not.toBe("ipBlocked");
  });

  test("answers what no key could ever hold with 413, says when a key is there again in whole milliseconds, and has its headers once", async () => {
    const pool = { ...DEMO, services: { ...DEMO.services, huge: { cost: 3001 } } };
    await using gateway = await start({ config: configFor({ default: pool }) });
    const asked = (type: string) =>
      fetch(`${gateway.url}/api/v1/api-key`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ type }),
      });
    const never = await asked("huge");
    expect([never.status, never.headers.get("retry-after"), await never.json()]).toEqual([
      413,
      null,
      expect.objectContaining({ code: "costTooHigh", detail: expect.stringContaining("3001 tokens, more than any key of the pool holds") }),
    ]);
    let answer = await asked("service_3");
    for (const status of [200, 200, 200, 200, 200, 200, 200, 429]) {
      expect([status, answer.headers.get("cache-control"), Number(answer.headers.get("x-process-time")) > 0]).toEqual([
        status,
        "no-store",
        true,
      ]);
      await answer.arrayBuffer();
      answer = await asked("service_3");
    }
    expect(answer.status).toBe(429);
    while (!gateway.output().includes('"retryIn"')) await Bun.sleep(5);
    expect(gateway.output()).toMatch(/"retryIn":\d+[,}]/);
    expect(gateway.output()).toContain("costs more than any key of the pool holds");
  });

  test("never overspends by a token, with thousands at once", async () => {
    const gateway = serving(
      {
        ...configFor({
          default: {
            ...DEMO,
            keys: [
              { id: "a", limit: 100_000, window: "1h" },
              { id: "b", limit: 33_333, window: "1h" },
            ],
          },
        }),
        logging: { level: "silent" },
      },
      new FakeClock(Date.now()),
    );
    let spent = 0;
    let denied = 0;
    const costs = { service_1: 300, service_2: 100, service_3: 500 };
    const names = Object.keys(costs) as (keyof typeof costs)[];
    await inParallel(3000, 128, async (i) => {
      const type = names[i % 3] as (typeof names)[0];
      const { status } = await ask(gateway.url, { type });
      if (status === 200) spent += costs[type];
      else denied++;
    });
    expect(denied).toBeGreaterThan(1000);
    // The second one's rest is less than the cheapest service.
    expect(spent).toBe(133_300);
    await gateway.stop();
  });
});

describe("a pool made by the admin API", () => {
  const SECRET = { SLUICE_SECRET: "a secret of some length" };
  const pool = {
    name: "made",
    keys: [{ id: "k1", secret: "planted-credential-0123", limit: 1000, window: "1h" }],
    services: { s: { cost: 400 } },
    auth: "none",
  };

  test("keeps its credentials encrypted, shows none, works over a restart with what was spent, and with a new SLUICE_SECRET", async () => {
    using home = folder();
    const grant = async (gateway: Running) => await ask(gateway.url, { type: "s" });
    {
      await using gateway = await start({ cwd: home.path, config: configFor({}), env: SECRET });
      // Without pools the path is like any other.
      expect((await grant(gateway)).status).toBe(404);
      const made = await gateway.admin("POST", "/admin/pools", pool);
      expect([made.status, await made.json()]).toMatchObject([201, { keys: [{ id: "k1", secret: "***" }], source: "admin" }]);
      expect((await grant(gateway)).body).toEqual({ api_key: "planted-credential-0123" });
      for (const path of ["/admin/pools", "/admin/pools/made", "/admin/audit", "/admin/config"])
        expect([path, (await (await gateway.admin("GET", path)).text()).includes("planted-credential")]).toEqual([path, false]);
      expect(await gateway.stop()).toBe(0);
    }
    for (const name of readdirSync(join(home.path, "data")))
      expect(readFileSync(join(home.path, "data", name)).includes("planted-credential")).toBe(false);
    {
      await using gateway = await start({
        cwd: home.path,
        env: { SLUICE_SECRET: "another secret", SLUICE_SECRET_OLD: SECRET.SLUICE_SECRET },
      });
      expect((await grant(gateway)).body).toEqual({ api_key: "planted-credential-0123" });
      expect((await grant(gateway)).status).toBe(429);
      // A change stores it under the new secret.
      expect((await gateway.admin("PATCH", "/admin/pools/made", { services: { s: { cost: 100 } } })).status).toBe(200);
      expect((await grant(gateway)).status).toBe(200);
      expect(await gateway.stop()).toBe(0);
    }
    await using gateway = await start({ cwd: home.path, env: { SLUICE_SECRET: "another secret" } });
    expect((await grant(gateway)).body).toEqual({ api_key: "planted-credential-0123" });
    expect((await gateway.admin("DELETE", "/admin/pools/made")).status).toBe(204);
    expect((await grant(gateway)).status).toBe(404);
  });

  test("with credentials is refused without SLUICE_SECRET, and so is one with a mistake", async () => {
    await using gateway = await start({ config: configFor({ taken: DEMO }) });
    const faults = async (body: object) => {
      const answer = await gateway.admin("POST", "/admin/pools", body);
      return [
        answer.status,
        ((await answer.json()) as { errors?: { path: string; message: string }[] }).errors?.map(
          ({ path, message }) => `${path}: ${message}`,
        ),
      ];
    };
    expect(await faults(pool)).toEqual([
      422,
      ["keys[0].secret: can't be stored: start the gateway with SLUICE_SECRET, under which secrets are encrypted"],
    ]);
    expect(await faults({ name: "x", keys: [{ id: "a" }] })).toEqual([
      422,
      ["keys[0].limit: a key needs a budget: limit and window, or budgets"],
    ]);
    expect(await faults({ name: "x", keys: [{ id: "a", limit: 1 }] })).toEqual([422, ["keys[0].window: limit and window go together"]]);
    expect(await faults({ name: "x", keys: [] })).toEqual([422, ["keys: must have at least 1 entry"]]);
    expect((await faults({ ...DEMO, name: "taken" }))[0]).toBe(409);
  });
});
