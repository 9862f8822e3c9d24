import { describe, expect, test } from "bun:test";
import { SystemHealth } from "../../src/health/health.ts";
import { admin, errorsOf } from "../admin/harness.ts";
import { FakeClock } from "../support/clock.ts";

describe("the system's status", () => {
  test("is NORMAL at the start", async () => {
    using gateway = admin();
    expect((await gateway.get("/admin/health")).json).toEqual({
      status: "NORMAL",
      since: "2026-11-21T00:00:00.000Z",
      by: "start",
      changes: 0,
      reason: null,
      until: null,
      components: { database: "ok", upstreams: "ok" },
      warnings: [],
    });
  });

  test("is told with the warnings of /ready", async () => {
    using gateway = admin();
    gateway.warnings.raise("redisAway", "Redis is away.", "redis://redis:6379");
    expect((await gateway.get("/admin/health")).json.warnings).toEqual([
      { code: "redisAway", message: "Redis is away.", detail: "redis://redis:6379", since: "2026-11-21T00:00:00.000Z" },
    ]);
  });

  test("says what to write in the place of the fields that scripts for other gateways send", async () => {
    using gateway = admin();
    const answer = await gateway.post("/admin/health", { status: "DEGRADED", ttl_seconds: 300, updated_by: "ops" });
    expect(answer.status).toBe(422);
    expect(errorsOf(answer)).toEqual({
      ttl_seconds: 'unknown field "ttl_seconds": write "ttl" with a unit instead, such as "300s"',
      updated_by: 'unknown field "updated_by": leave it out: the name of the admin token says who it was',
    });
  });

  test("is set with a reason, and returns to NORMAL by itself after its ttl", async () => {
    using gateway = admin();
    const set = await gateway.post("/admin/health", { status: "DEGRADED", reason: "the database is slow", ttl: "10m" });
    expect(set.json).toMatchObject({ status: "DEGRADED", by: "env", reason: "the database is slow", until: "2026-11-21T00:10:00.000Z" });
    gateway.clock.advance(600_000 - 1);
    expect((await gateway.get("/admin/health")).json).toEqual(set.json);
    gateway.clock.advance(1);
    expect((await gateway.get("/admin/health")).json).toMatchObject({
      status: "NORMAL",
      since: "2026-11-21T00:10:00.000Z",
      by: "ttl",
      reason: null,
      until: null,
    });
  });

  test("stays without a ttl until it is set back", async () => {
    using gateway = admin();
    await gateway.post("/admin/health", { status: "DEGRADED" });
    gateway.clock.advance(365 * 86_400_000);
    expect((await gateway.get("/admin/health")).json).toMatchObject({ status: "DEGRADED", until: null });
    expect((await gateway.post("/admin/health", { status: "NORMAL" })).json.status).toBe("NORMAL");
  });

  test.each([
    [{}, "status"],
    [{ status: "BROKEN" }, "status"],
    [{ status: "DEGRADED", ttl: "soon" }, "ttl"],
    [{ status: "DEGRADED", ttl: "999999999d" }, "ttl"],
    [{ status: "DEGRADED", ttl: 5 }, "ttl"],
    [{ status: "DEGRADED", reason: "x".repeat(513) }, "reason"],
    [{ status: "DEGRADED", until: "x" }, "until"],
  ] as [object, string][])("%j is refused for its %s and changes nothing", async (body, path) => {
    using gateway = admin();
    const answer = await gateway.post("/admin/health", body);
    expect([answer.status, Object.keys(errorsOf(answer))]).toEqual([422, [path]]);
    expect((await gateway.get("/admin/health")).json.status).toBe("NORMAL");
  });

  test("is known to the limits at the moment it changes", () => {
    const clock = new FakeClock();
    const health = new SystemHealth(clock);
    expect(health.isDegraded).toBe(false);
    health.set("DEGRADED", "admin", null, 1000);
    expect(health.isDegraded).toBe(true);
    clock.advance(1000);
    expect(health.isDegraded).toBe(false);
  });
});
