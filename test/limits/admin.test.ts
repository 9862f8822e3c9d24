import { describe, expect, test } from "bun:test";
import { admin } from "../admin/harness.ts";

const limit = (more: object) => ({ algorithm: "fixed-window", limit: 10, window: "1m", ...more });

describe("what a consumer has used", () => {
  test("is told for each limit of its tier, in full while nothing is used", async () => {
    using gateway = admin();
    await gateway.post("/admin/consumers", { id: "acme", tier: "free" });
    const answer = await gateway.get("/admin/limits/acme");
    expect(answer.status).toBe(200);
    expect(answer.json).toEqual({
      consumer: "acme",
      limits: [
        {
          name: "per-minute",
          scope: "tier free",
          algorithm: "sliding-window",
          subject: "acme",
          unit: "requests",
          limit: 20,
          window: "60s",
          used: 0,
          remaining: 20,
          reset: null,
        },
      ],
    });
  });

  test("shows the number that is in force", async () => {
    using gateway = admin();
    await gateway.post("/admin/consumers", { id: "acme", tier: "free" });
    await gateway.post("/admin/health", { status: "DEGRADED" });
    expect((await gateway.get("/admin/limits/acme")).json.limits[0]).toMatchObject({ limit: 2, remaining: 2 });
  });

  test("names the consumer's own limits, and each key's", async () => {
    using gateway = admin();
    await gateway.post("/admin/consumers", {
      id: "acme",
      tier: "free",
      limits: [limit({ name: "own" }), limit({ name: "each-key", by: "key" })],
    });
    const first = (await gateway.post("/admin/keys", { consumer: "acme" })).json.id;
    const second = (await gateway.post("/admin/keys", { consumer: "acme", limits: [limit({ name: "key's" })] })).json.id;
    const { limits } = (await gateway.get("/admin/limits/acme")).json;
    const seen = limits.map((each: { name: string; subject: string; scope: string }) => [each.name, each.subject, each.scope]).sort();
    expect(seen).toEqual(
      [
        ["own", "acme", "consumer acme"],
        ["each-key", first, "consumer acme"],
        ["key's", "acme", `key ${second}`],
      ].sort(),
    );
  });

  test("names the routes' limits that count consumers or keys", async () => {
    using gateway = admin();
    await gateway.post("/admin/consumers", { id: "acme", tier: "free", limits: [limit({ name: "own" })] });
    await gateway.post("/admin/routes", {
      name: "shop",
      path: "/shop",
      upstream: "http://127.0.0.1:1",
      limits: [limit({ name: "on-shop" }), limit({ name: "all", by: "global" }), limit({ name: "place", by: "ip" })],
    });
    const { limits } = (await gateway.get("/admin/limits/acme")).json;
    expect(limits.map((each: { name: string; scope: string }) => `${each.scope}: ${each.name}`)).toEqual([
      "consumer acme: own",
      "route shop: on-shop",
    ]);
  });

  test("is told in dollars where it counts money, which the API takes as text", async () => {
    using gateway = admin();
    await gateway.post("/admin/consumers", {
      id: "acme",
      tier: "free",
      limits: [limit({ name: "own", limit: "0.000000001", burst: "12.5", cost: "usd" })],
      quota: { limit: "999999.999999999", period: "month", cost: "usd" },
    });
    const { limits } = (await gateway.get("/admin/limits/acme")).json;
    expect(limits).toMatchObject([
      { name: "own", unit: "usd", limit: 12.5, used: 0, remaining: 12.5 },
      { name: "monthly", unit: "usd", limit: 999999.999999999, remaining: 999999.999999999 },
    ]);
    const wrong = await gateway.post("/admin/keys", {
      consumer: "acme",
      limits: [limit({ cost: "usd" })],
      quota: { limit: "1", period: "day" },
    });
    expect([wrong.status, wrong.json.errors]).toEqual([
      422,
      [{ path: "limits[0].limit", message: 'must be an amount in dollars, in quotes: "10.00"' }],
    ]);
    const quota = await gateway.post("/admin/keys", { consumer: "acme", quota: { limit: "1", period: "day" } });
    expect(quota.json.errors).toMatchObject([{ path: "quota.limit", message: expect.stringContaining('needs "cost": "usd"') }]);
  });

  test("of nobody is 404, to see and to reset", async () => {
    using gateway = admin();
    expect((await gateway.get("/admin/limits/nobody")).status).toBe(404);
    expect((await gateway.remove("/admin/limits/nobody")).status).toBe(404);
  });
});
