import { describe, expect, test } from "bun:test";
import { type Admin, admin, errorsOf } from "../admin/harness.ts";

const SHA256 = (text: string): string => new Bun.CryptoHasher("sha256").update(text).digest("hex");

async function gatewayWithConsumer(): Promise<Admin> {
  const gateway = admin({ config: { consumers: [{ id: "declared", tier: "free", keys: ["declared_key_0123456789"] }] } });
  await gateway.post("/admin/consumers", { id: "acme", tier: "pro" });
  return gateway;
}

describe("a key", () => {
  test("is shown once, when it is made", async () => {
    using gateway = await gatewayWithConsumer();
    const made = await gateway.post("/admin/keys", {
      consumer: "acme",
      name: "ci",
      scopes: ["read"],
      expiresAt: "2027-01-31T00:00:00+01:00",
      metadata: { team: "a" },
    });
    expect(made.status).toBe(201);
    expect(made.json.key).toMatch(/^slc_[0-9A-Za-z]{38}$/);
    expect(made.json).toMatchObject({
      start: made.json.key.slice(0, 8),
      end: made.json.key.slice(-4),
      consumer: "acme",
      status: "active",
      source: "admin",
      scopes: ["read"],
      expiresAt: "2027-01-30T23:00:00.000Z",
      metadata: { team: "a" },
    });
    expect(made.headers.get("location")).toBe(`/admin/keys/${made.json.id}`);
    const shown = await gateway.get(`/admin/keys/${made.json.id}`);
    const { key, ...rest } = made.json;
    expect(shown.json).toEqual(rest);
    expect((await gateway.get("/admin/keys")).text).not.toContain(key);
  });

  test("may be imported by its text or by its SHA-256, but not twice", async () => {
    using gateway = await gatewayWithConsumer();
    const text = "imported-key-0123456789";
    expect((await gateway.post("/admin/keys", { consumer: "acme", key: text })).json.key).toBe(text);
    const byHash = await gateway.post("/admin/keys", { consumer: "acme", hash: SHA256("another-key-0123456789").toUpperCase() });
    expect([byHash.status, byHash.json.key]).toEqual([201, undefined]);
    for (const body of [{ key: text }, { hash: SHA256(text) }, { key: "another-key-0123456789" }, { key: "declared_key_0123456789" }]) {
      const answer = await gateway.post("/admin/keys", { consumer: "acme", ...body });
      expect([body, answer.status]).toEqual([body, 409]);
      expect(answer.text).not.toContain(text);
    }
  });

  test.each([
    [{ consumer: "nobody" }, "consumer"],
    [{}, "consumer"],
    [{ consumer: "acme", key: "too-short" }, "key"],
    [{ consumer: "acme", key: "with a space in it 123" }, "key"],
    [{ consumer: "acme", key: "k".repeat(513) }, "key"],
    [{ consumer: "acme", key: `slc_${"a".repeat(38)}` }, "key"],
    [{ consumer: "acme", hash: "abc" }, "hash"],
    [{ consumer: "acme", key: "imported-key-0123456789", hash: SHA256("x") }, "hash"],
    [{ consumer: "acme", ips: ["10.0.0.0/33"] }, "ips[0]"],
    [{ consumer: "acme", models: ["gpt-5", "gpt 5"] }, "models[1]"],
    [{ consumer: "acme", expiresAt: "tomorrow" }, "expiresAt"],
    [{ consumer: "acme", expiresAt: "2027-02-30T00:00:00Z" }, "expiresAt"],
    [{ consumer: "acme", limits: [{ algorithm: "fixed-window", limit: 1 }] }, "limits[0].window"],
    [{ consumer: "acme", scopes: ["a b"] }, "scopes[0]"],
    [{ consumer: "acme", scope: ["a"] }, "scope"],
  ] as [object, string][])("%j is refused for its %s", async (body, path) => {
    using gateway = await gatewayWithConsumer();
    const answer = await gateway.post("/admin/keys", body);
    expect(answer.status).toBe(422);
    expect(Object.keys(errorsOf(answer))).toContain(path);
    expect(answer.text).not.toContain("imported-key");
  });

  test("is changed by a merge patch that keeps its secret", async () => {
    using gateway = await gatewayWithConsumer();
    const { id, start, end } = (
      await gateway.post("/admin/keys", { consumer: "acme", name: "ci", ips: ["10.0.0.0/8"], metadata: { a: 1, b: 2 } })
    ).json;
    const changed = await gateway.patch(`/admin/keys/${id}`, { ips: null, metadata: { a: null, c: 3 }, enabled: false });
    expect(changed.json).toMatchObject({ start, end, name: "ci", ips: [], metadata: { b: 2, c: 3 }, enabled: false, status: "disabled" });
    expect((await gateway.patch(`/admin/keys/${id}`, { consumer: "declared" })).status).toBe(422);
    expect((await gateway.patch(`/admin/keys/${id}`, { key: "another-key-0123456789" })).status).toBe(422);
  });

  test("rotated keeps its id and gets a new secret, shown once", async () => {
    using gateway = await gatewayWithConsumer();
    const made = (await gateway.post("/admin/keys", { consumer: "acme", name: "ci" })).json;
    const rotated = await gateway.post(`/admin/keys/${made.id}/rotate`, { gracePeriod: "1h" });
    expect(rotated.status).toBe(200);
    expect(rotated.json).toMatchObject({ id: made.id, name: "ci", previousExpiresAt: "2026-11-21T01:00:00.000Z" });
    expect(rotated.json.key).toMatch(/^slc_/);
    expect(rotated.json.key).not.toBe(made.key);
    gateway.clock.advance(3_600_000);
    expect((await gateway.get(`/admin/keys/${made.id}`)).json.previousExpiresAt).toBeNull();
  });

  test("is bound to models, stays so when it is rotated, and is free again by null", async () => {
    using gateway = await gatewayWithConsumer();
    const models = ["smart", "gpt-5*"];
    const { id, ...made } = (await gateway.post("/admin/keys", { consumer: "acme", models })).json;
    expect(made.models).toEqual(models);
    expect((await gateway.post(`/admin/keys/${id}/rotate`, {})).json.models).toEqual(models);
    expect((await gateway.get(`/admin/keys/${id}`)).json.models).toEqual(models);
    expect((await gateway.patch(`/admin/keys/${id}`, { models: null })).json.models).toEqual([]);
    expect((await gateway.patch("/admin/consumers/acme", { models })).json.models).toEqual(models);
    expect((await gateway.patch("/admin/consumers/acme", { models: [] })).json.models).toBeNull();
  });

  test("is rotated without a body as well", async () => {
    using gateway = await gatewayWithConsumer();
    const made = (await gateway.post("/admin/keys", { consumer: "acme" })).json;
    for (const call of [{ method: "POST" }, { method: "POST", raw: "{}" }]) {
      const answer = await gateway.call(`/admin/keys/${made.id}/rotate`, call);
      expect([answer.status, answer.json.previousExpiresAt]).toEqual([200, null]);
    }
  });

  test.each(["999999999d", "3661d", "-1s", "1 hour", ""])(
    "is not rotated with a grace period of %j, and its secret stays",
    async (gracePeriod) => {
      using gateway = await gatewayWithConsumer();
      const made = (await gateway.post("/admin/keys", { consumer: "acme" })).json;
      const answer = await gateway.post(`/admin/keys/${made.id}/rotate`, { gracePeriod });
      expect([answer.status, Object.keys(errorsOf(answer))]).toEqual([422, ["gracePeriod"]]);
      expect((await gateway.get(`/admin/keys/${made.id}`)).json.end).toBe(made.end);
      expect((await gateway.get("/admin/keys")).status).toBe(200);
    },
  );

  test("revoked stays visible and can't be rotated", async () => {
    using gateway = await gatewayWithConsumer();
    const { id } = (await gateway.post("/admin/keys", { consumer: "acme" })).json;
    expect((await gateway.remove(`/admin/keys/${id}`)).status).toBe(204);
    expect((await gateway.get(`/admin/keys/${id}`)).json).toMatchObject({ status: "revoked", revokedAt: "2026-11-21T00:00:00.000Z" });
    expect((await gateway.post(`/admin/keys/${id}/rotate`, {})).status).toBe(409);
    expect((await gateway.remove(`/admin/keys/${id}`)).status).toBe(204);
  });

  test("that config.json declares is listed without its text and changed only there", async () => {
    using gateway = await gatewayWithConsumer();
    const { items } = (await gateway.get("/admin/keys?consumer=declared")).json;
    expect(items).toHaveLength(1);
    const [{ id }] = items;
    expect(id).toBe(`key_${SHA256("declared_key_0123456789").slice(0, 16)}`);
    expect((await gateway.get(`/admin/keys/${id}`)).json.source).toBe("config");
    for (const answer of [
      await gateway.patch(`/admin/keys/${id}`, { name: "x" }),
      await gateway.remove(`/admin/keys/${id}`),
      await gateway.post(`/admin/keys/${id}/rotate`, {}),
    ]) {
      expect([answer.status, answer.json.detail]).toEqual([409, expect.stringContaining("managed by config.json")]);
    }
    expect((await gateway.get("/admin/config")).text).not.toContain("declared_key");
  });
});

describe("the list of keys", () => {
  test("is filtered by consumer and status", async () => {
    using gateway = await gatewayWithConsumer();
    const make = async (body: object) => (await gateway.post("/admin/keys", { consumer: "acme", ...body })).json.id as string;
    const active = await make({});
    const disabled = await make({ enabled: false });
    const expired = await make({ expiresAt: "2026-11-21T00:00:01Z" });
    const revoked = await make({});
    await gateway.remove(`/admin/keys/${revoked}`);
    gateway.clock.advance(1000);
    const ids = async (query: string) =>
      (await gateway.get(`/admin/keys?consumer=acme&${query}`)).json.items.map((key: { id: string }) => key.id);
    expect(await ids("status=active")).toEqual([active]);
    expect(await ids("status=disabled")).toEqual([disabled]);
    expect(await ids("status=expired")).toEqual([expired]);
    expect(await ids("status=revoked")).toEqual([revoked]);
    expect(await ids("")).toEqual([active, disabled, expired, revoked].sort());
    expect((await gateway.get("/admin/keys?status=gone")).status).toBe(422);
  });

  test("holds keys in the order they were made", async () => {
    using gateway = await gatewayWithConsumer();
    const made: string[] = [];
    for (let i = 0; i < 20; i++) made.push((await gateway.post("/admin/keys", { consumer: "acme" })).json.id);
    expect((await gateway.get("/admin/keys?consumer=acme")).json.items.map((key: { id: string }) => key.id)).toEqual(made);
  });
});

describe("an import of many keys", () => {
  test("takes all of them and shows none", async () => {
    using gateway = await gatewayWithConsumer();
    const keys = Array.from({ length: 1000 }, (_, i) => ({
      consumer: "acme",
      ...(i % 2 === 0 ? { key: `imported-key-${String(i).padStart(6, "0")}` } : { hash: SHA256(`key ${i}`) }),
    }));
    const answer = await gateway.post("/admin/keys/import", { keys });
    expect([answer.status, answer.json.imported, new Set(answer.json.ids).size]).toEqual([201, 1000, 1000]);
    expect(answer.text).not.toContain("imported-key");
  });

  test("takes none when one is wrong, and says which", async () => {
    using gateway = await gatewayWithConsumer();
    await gateway.post("/admin/keys", { consumer: "acme", key: "imported-key-known" });
    const answer = await gateway.post("/admin/keys/import", {
      keys: [
        { consumer: "acme", key: "imported-key-first" },
        { consumer: "nobody", key: "imported-key-second" },
        { consumer: "acme", key: "imported-key-first" },
        { consumer: "acme", hash: SHA256("imported-key-known") },
        { consumer: "acme", key: "imported-key-fifth", ips: ["x"] },
      ],
    });
    expect(answer.status).toBe(422);
    expect(Object.keys(errorsOf(answer)).sort()).toEqual(["keys[1].consumer", "keys[2].key", "keys[3].hash", "keys[4].ips[0]"]);
    expect(answer.text).not.toContain("imported-key");
    expect((await gateway.get("/admin/keys?consumer=acme")).json.items).toHaveLength(1);
  });

  test("needs a key or a hash for each", async () => {
    using gateway = await gatewayWithConsumer();
    const answer = await gateway.post("/admin/keys/import", { keys: [{ consumer: "acme" }] });
    expect([answer.status, Object.keys(errorsOf(answer))]).toEqual([422, ["keys[0].key"]]);
  });

  test("takes at most 10,000 at a time", async () => {
    using gateway = await gatewayWithConsumer();
    const keys = Array.from({ length: 10_001 }, (_, i) => ({ consumer: "acme", key: `imported-key-${String(i).padStart(6, "0")}` }));
    expect((await gateway.post("/admin/keys/import", { keys })).status).toBe(422);
    expect((await gateway.post("/admin/keys/import", { keys: [] })).status).toBe(422);
    expect((await gateway.post("/admin/keys/import", { keys: keys.slice(1) })).json.imported).toBe(10_000);
  });
});

test("a key is made with its secret also after others were looked at", async () => {
  using gateway = await gatewayWithConsumer();
  await gateway.get("/admin/keys/none");
  await gateway.get("/admin/keys");
  const made = await gateway.post("/admin/keys", { consumer: "acme" });
  expect([made.status, made.json.key]).toEqual([201, expect.stringMatching(/^slc_/)]);
});
