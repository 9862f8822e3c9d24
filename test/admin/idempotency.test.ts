import { describe, expect, test } from "bun:test";
import { folder } from "../support/process.ts";
import { type Admin, admin } from "./harness.ts";

const again = { "idempotency-key": "order-1" };
const consumers = async (gateway: Admin): Promise<number> => (await gateway.get("/admin/consumers")).json.items.length;

async function withConsumer(gateway: Admin): Promise<Admin> {
  await gateway.post("/admin/consumers", { id: "acme", tier: "free" });
  return gateway;
}

describe("a POST with an Idempotency-Key", () => {
  test("gives the same answer again, the key's secret included, and makes one key", async () => {
    using gateway = admin();
    await withConsumer(gateway);
    const first = await gateway.post("/admin/keys", { consumer: "acme" }, again);
    const second = await gateway.post("/admin/keys", { consumer: "acme" }, again);
    expect([second.status, second.json]).toEqual([201, first.json]);
    for (const name of ["location", "etag", "content-type"]) expect(second.headers.get(name)).toBe(first.headers.get(name));
    expect((await gateway.get("/admin/keys")).json.items).toHaveLength(1);
  });

  test("gives the same answer to requests that come at the same time", async () => {
    using gateway = admin();
    await withConsumer(gateway);
    const answers = await Promise.all(Array.from({ length: 8 }, () => gateway.post("/admin/keys", { consumer: "acme" }, again)));
    expect(new Set(answers.map((answer) => answer.text)).size).toBe(1);
    expect((await gateway.get("/admin/keys")).json.items).toHaveLength(1);
  });

  test("with another body, or at another path, is 422 and does nothing", async () => {
    using gateway = admin();
    await gateway.post("/admin/consumers", { id: "acme", tier: "free" }, again);
    const other = await gateway.post("/admin/consumers", { id: "other", tier: "free" }, again);
    expect([other.status, other.json.code]).toEqual([422, "validationFailed"]);
    expect((await gateway.post("/admin/tiers", { id: "acme", tier: "free" }, again)).status).toBe(422);
    expect(await consumers(gateway)).toBe(1);
  });

  test("that was refused may be corrected under the same Idempotency-Key", async () => {
    using gateway = admin();
    expect((await gateway.post("/admin/consumers", { id: "acme", tier: "gold" }, again)).status).toBe(422);
    expect((await gateway.post("/admin/consumers", { id: "acme", tier: "free" }, again)).status).toBe(201);
  });

  test("is remembered for 24 hours", async () => {
    using gateway = admin();
    await withConsumer(gateway);
    const first = await gateway.post("/admin/keys", { consumer: "acme" }, again);
    gateway.clock.advance(24 * 3_600_000 - 1000);
    expect((await gateway.post("/admin/keys", { consumer: "acme" }, again)).json.id).toBe(first.json.id);
    gateway.clock.advance(2000);
    expect((await gateway.post("/admin/keys", { consumer: "acme" }, again)).json.id).not.toBe(first.json.id);
  });

  test("is remembered over a restart, and no secret of it is in the database", async () => {
    using data = folder();
    const path = `${data.path}/sluice.db`;
    let first = "";
    {
      using gateway = await withConsumer(admin({ path }));
      first = (await gateway.post("/admin/keys", { consumer: "acme" }, again)).text;
    }
    const secret = JSON.parse(first).key as string;
    const stored = Buffer.from(await Bun.file(path).bytes());
    expect(stored.includes(secret)).toBe(false);
    expect(stored.includes(Buffer.from(secret).toString("base64").slice(0, 24))).toBe(false);
    expect(stored.includes("order-1")).toBe(false);
    using gateway = admin({ path });
    expect((await gateway.post("/admin/keys", { consumer: "acme" }, again)).text).toBe(first);
  });

  test("must name it by 1 to 255 characters", async () => {
    using gateway = admin();
    for (const key of ["", "k".repeat(256)]) {
      const answer = await gateway.post("/admin/consumers", { id: "acme", tier: "free" }, { "idempotency-key": key });
      expect([answer.status, answer.json.code]).toEqual([400, "badRequest"]);
    }
    expect((await gateway.post("/admin/consumers", { id: "acme", tier: "free" }, { "idempotency-key": "k".repeat(255) })).status).toBe(201);
  });
});
