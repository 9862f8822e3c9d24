import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import fc from "fast-check";
import { type Admin, admin, errorsOf } from "../admin/harness.ts";
import { folder } from "../support/process.ts";

const upstream = (port: number) => ({ targets: [{ url: `http://127.0.0.1:${port}` }] });

interface Head {
  readonly number: number;
  readonly actor: string;
  readonly source: string;
  readonly note: string | null;
  readonly created: readonly string[];
  readonly changed: readonly string[];
  readonly deleted: readonly string[];
}

const versionsOf = async (gateway: Admin): Promise<Head[]> => (await gateway.get("/admin/versions?limit=500")).json.items;

/** All that the API made, as it answers for it, but for the times. */
async function inForce(gateway: Admin): Promise<string> {
  const kinds = await Promise.all(["tiers", "upstreams", "pools", "routes"].map((kind) => gateway.get(`/admin/${kind}?limit=500`)));
  return JSON.stringify(
    kinds.map(({ json }) =>
      json.items
        .filter(({ source }: { source: string }) => source === "admin")
        .map(({ createdAt, updatedAt, state, ...item }: Record<string, unknown>) => item),
    ),
  );
}

describe("versions", () => {
  test("are the changes of what rules requests, with who, when and why, the newest first", async () => {
    using gateway = admin();
    await gateway.post("/admin/tiers", { name: "gold", limits: [] }, { "x-sluice-note": "f%C3%BCr morgen" });
    await gateway.patch("/admin/tiers/gold", { limits: [{ algorithm: "fixed-window", limit: 5, window: "1m" }] });
    // These are no rules, or no change.
    await gateway.post("/admin/consumers", { id: "acme", tier: "gold" });
    await gateway.patch("/admin/tiers/gold", {});
    await gateway.post("/admin/tiers", { name: "no such field", limit: 5 });
    await gateway.remove("/admin/tiers/gold?force=true");
    const [last, ...others] = await versionsOf(gateway);
    expect(last).toMatchObject({ number: 4, actor: "env", source: "api", note: null, deleted: ["tier gold"] });
    expect(others.map(({ number, source, note, created, changed }) => [number, source, note, ...created, ...changed])).toEqual([
      [3, "api", null, "tier gold"],
      [2, "api", "für morgen", "tier gold"],
      [1, "file", "What was there when versions began."],
    ]);
    const page = (await gateway.get("/admin/versions?limit=1")).json;
    expect((await gateway.get(`/admin/versions?limit=1&cursor=${page.nextCursor}`)).json.items[0].number).toBe(3);
  });

  test("show what was in force, and how it differs, without secrets", async () => {
    using gateway = admin({ secret: "a-secret-for-tests" });
    const pool = { name: "models", keys: [{ id: "k1", secret: "first-secret", limit: 10, window: "60s" }], services: {} };
    await gateway.post("/admin/pools", pool);
    await gateway.patch("/admin/pools/models", { keys: [{ id: "k1", secret: "other-secret", limit: 20, window: "60s" }] });
    const { json, text } = await gateway.get("/admin/versions/2/diff?to=3");
    expect(json.documents).toEqual([
      {
        ...{ kind: "pool", name: "models", change: "changed" },
        fields: [
          { path: "keys[0].secret", before: "***", after: "***" },
          { path: "keys[0].limit", before: 10, after: 20 },
        ],
      },
    ]);
    const whole = await gateway.get("/admin/versions/2");
    expect(whole.json.documents.pools.models.keys[0]).toMatchObject({ secret: "***", limit: 10 });
    expect(text + whole.text).not.toMatch(/-secret|sealed/);
    expect((await gateway.get("/admin/versions/3/diff")).json).toMatchObject({ to: null, documents: [] });
    for (const none of ["9", "0", "x", "-1"]) expect((await gateway.get(`/admin/versions/${none}`)).status).toBe(404);
  });

  test("begin with what was there before the first change", async () => {
    using gateway = admin();
    await gateway.post("/admin/tiers", { name: "gold", limits: [] });
    expect((await gateway.post("/admin/versions/1/restore", {})).json).toMatchObject({ deleted: ["tier gold"] });
    expect((await gateway.get("/admin/tiers/gold")).status).toBe(404);
  });

  test("are the last hundred", async () => {
    using gateway = admin();
    await gateway.post("/admin/tiers", { name: "gold", limits: [] });
    for (let limit = 1; limit <= 105; limit++)
      await gateway.patch("/admin/tiers/gold", { limits: [{ algorithm: "fixed-window", limit, window: "1m" }] });
    const all = await versionsOf(gateway);
    expect([all.length, all[0]?.number, all.at(-1)?.number]).toEqual([100, 107, 8]);
    expect((await gateway.post("/admin/versions/8/restore", {})).status).toBe(200);
    expect((await gateway.get("/admin/tiers/gold")).json.limits[0].limit).toBe(6);
  });
});

describe("a restore", () => {
  test("is a version of its own, and is undone like any other", async () => {
    using gateway = admin();
    await gateway.post("/admin/upstreams", { name: "users", ...upstream(8001) });
    await gateway.post("/admin/routes", { name: "users", path: "/users", upstream: "users" });
    const before = await inForce(gateway);
    await gateway.remove("/admin/routes/users");
    await gateway.remove("/admin/upstreams/users");
    const done = (await gateway.post("/admin/versions/3/restore", { note: "back" })).json;
    expect(done).toEqual({ number: 6, file: false, created: ["upstream users", "route users"], changed: [], deleted: [] });
    expect(await inForce(gateway)).toBe(before);
    expect((await versionsOf(gateway))[0]).toMatchObject({ source: "restore", note: "back", restored: 3 } as object);
    expect((await gateway.post("/admin/versions/5/restore", {})).json.deleted).toEqual(["upstream users", "route users"]);
    expect((await gateway.get("/admin/audit?action=version.restore")).json.items).toHaveLength(2);
    // What is in force already is no change.
    expect((await gateway.post("/admin/versions/5/restore", {})).json).toMatchObject({ number: 7, created: [], deleted: [] });
  });

  test("tells all that does not hold any more, and changes nothing", async () => {
    using gateway = admin({ config: { tiers: { anonymous: { limits: [] } } } });
    await gateway.post("/admin/tiers", { name: "gold", limits: [] });
    await gateway.post("/admin/tiers", { name: "silver", limits: [] });
    await gateway.post("/admin/consumers", { id: "acme", tier: "gold" });
    await gateway.post("/admin/consumers", { id: "beta", tier: "silver" });
    const refused = await gateway.post("/admin/versions/1/restore", {});
    expect([refused.status, Object.keys(errorsOf(refused))]).toEqual([422, ["tiers.gold", "tiers.silver"]]);
    expect(errorsOf(refused)["tiers.gold"]).toContain("consumer acme");
    expect((await versionsOf(gateway))[0]?.number).toBe(3);
    expect((await gateway.get("/admin/tiers/gold")).status).toBe(200);
    expect((await gateway.post("/admin/versions/1/restore", { files: true })).status).toBe(422);
  });

  test("seals under the secret of now what was sealed under the one before", async () => {
    using home = folder();
    const path = join(home.path, "sluice.db");
    const keys = (secret: string) => ({ keys: [{ id: "k1", secret, limit: 10, window: "60s" }] });
    {
      using gateway = admin({ path, secret: "the-secret-before" });
      await gateway.post("/admin/pools", { name: "models", ...keys("first-secret"), services: {} });
      await gateway.patch("/admin/pools/models", keys("other-secret"));
    }
    {
      using gateway = admin({ path, secret: "the-secret-of-now", oldSecret: "the-secret-before" });
      expect((await gateway.post("/admin/versions/2/restore", {})).json.changed).toEqual(["pool models"]);
      expect((await gateway.post("/admin/versions/2/restore", {})).json.changed).toEqual([]);
    }
    using gateway = admin({ path, secret: "the-secret-of-now" });
    expect((await gateway.get("/admin/pools/models")).status).toBe(200);
    expect((await gateway.get("/admin/versions/4")).json.documents.pools.models.keys[0]).toMatchObject({ secret: "***" });
    expect(gateway.faults).toEqual([]);
  });

  test("gives what a version was, byte for byte, after any changes", async () => {
    const name = fc.constantFrom("a", "b", "c");
    const change = fc.oneof(
      fc.record({
        kind: fc.constant("tiers"),
        name,
        value: fc.integer({ min: 1, max: 9 }).map((limit) => ({ limits: [{ algorithm: "fixed-window", limit, window: "1m" }] })),
      }),
      fc.record({ kind: fc.constant("upstreams"), name, value: fc.integer({ min: 8001, max: 8009 }).map(upstream) }),
      fc.record({
        kind: fc.constant("routes"),
        name,
        value: fc.record({ path: name.map((path) => `/${path}`), upstream: name, timeout: fc.constantFrom("1s", "2s") }),
      }),
      fc.record({
        kind: fc.constant("pools"),
        name,
        value: fc
          .integer({ min: 1, max: 9 })
          .map((limit) => ({ keys: [{ id: "k", secret: `secret-${limit}`, limit, window: "60s" }], services: {} })),
      }),
    );
    const deed = fc.oneof(
      { weight: 5, arbitrary: change },
      {
        weight: 2,
        arbitrary: fc.record({ kind: fc.constantFrom("tiers", "upstreams", "routes", "pools"), name, value: fc.constant(null) }),
      },
      { weight: 2, arbitrary: fc.nat() },
    );
    await fc.assert(
      fc.asyncProperty(fc.array(deed, { minLength: 5, maxLength: 25 }), async (deeds) => {
        using gateway = admin({ secret: "a-secret-for-tests" });
        const was = new Map<number, string>([[1, await inForce(gateway)]]);
        for (const each of deeds) {
          if (typeof each === "number") {
            const number = (each % was.size) + 1;
            const restored = await gateway.post(`/admin/versions/${number}/restore`, {});
            expect([restored.status, restored.text]).toEqual([200, expect.any(String)]);
            expect(await inForce(gateway)).toBe(was.get(number) ?? "");
          } else if (each.value === null) await gateway.remove(`/admin/${each.kind}/${each.name}`);
          else {
            const made = await gateway.post(`/admin/${each.kind}`, { name: each.name, ...each.value });
            if (made.status === 409) await gateway.patch(`/admin/${each.kind}/${each.name}`, each.value);
          }
          const [last] = await versionsOf(gateway);
          const now = await inForce(gateway);
          if (last !== undefined && !was.has(last.number)) was.set(last.number, now);
        }
        expect(gateway.faults).toEqual([]);
      }),
      { numRuns: Number(process.env.SLUICE_RUNS ?? 8) },
    );
  });
});

describe("a dump", () => {
  test("applied where it came from changes nothing, and elsewhere makes the same", async () => {
    using one = admin({ secret: "a-secret-for-tests" });
    await one.post("/admin/tiers", { name: "gold", limits: [] });
    await one.post("/admin/pools", {
      name: "models",
      keys: [{ id: "k1", secret: "first-secret", limit: 10, window: "60s" }],
      services: {},
    });
    await one.post("/admin/consumers", { id: "acme", tier: "gold", models: ["gpt-*"], metadata: { seat: 7 } });
    const { start, end } = (await one.post("/admin/keys", { consumer: "acme", name: "main", scopes: ["read"], models: ["gpt-5*"] })).json;
    const state = (await one.get("/admin/state?keys=true")).json;
    expect(JSON.stringify(state)).not.toContain("first-secret");
    expect(state.consumers.acme.keys).toEqual([
      { hash: expect.stringMatching(/^[0-9a-f]{64}$/), start, end, name: "main", scopes: ["read"], models: ["gpt-5*"] },
    ]);
    const apply = (gateway: Admin, body: object, query = "") => gateway.call(`/admin/state${query}`, { method: "PUT", body });
    expect((await apply(one, { state, prune: true })).json).toMatchObject({ created: [], changed: [], deleted: [] });

    using other = admin({ secret: "another-secret-for-tests" });
    const lacking = await apply(other, { state });
    expect([lacking.status, errorsOf(lacking)]).toEqual([
      422,
      { "pools.models.keys[0].secret": expect.stringContaining('"pools.models.k1"') },
    ]);
    expect((await other.get("/admin/tiers/gold")).status).toBe(404);
    state.pools.models.keys[0].secret = "first-secret";
    const expected = { created: ["tier gold", "pool models", "consumer acme", `key ${start}…${end} of acme`], changed: [], deleted: [] };
    expect((await apply(other, { state }, "?dryRun=true")).json).toMatchObject(expected);
    expect((await other.get("/admin/consumers/acme")).status).toBe(404);
    expect((await apply(other, { state, note: "from git" })).json).toMatchObject(expected);
    expect((await other.get("/admin/keys?consumer=acme")).json.items[0]).toMatchObject({
      start,
      end,
      scopes: ["read"],
      models: ["gpt-5*"],
    });
    expect((await other.get("/admin/consumers/acme")).json.models).toEqual(["gpt-*"]);
    expect((await versionsOf(other))[0]).toMatchObject({ note: "from git", created: ["tier gold", "pool models"] });
    // A tier may go in the step in which its consumers leave it.
    const next = { tiers: { silver: { limits: [] } }, consumers: { acme: { tier: "silver" } } };
    expect((await apply(other, { state: next, prune: true })).json).toMatchObject({
      created: ["tier silver"],
      changed: ["consumer acme"],
      deleted: ["tier gold"],
    });
    expect((await other.get("/admin/pools/models")).status).toBe(200);
  });

  test("deletes more than ten records only where somebody means it", async () => {
    using gateway = admin();
    for (let i = 0; i < 11; i++) await gateway.post("/admin/tiers", { name: `tier-${i}`, limits: [] });
    const apply = (body: object) => gateway.call("/admin/state", { method: "PUT", body });
    expect((await apply({ state: { tiers: {} } })).json.deleted).toEqual([]);
    expect((await apply({ state: { tiers: {} }, prune: true })).status).toBe(409);
    expect((await apply({ state: { tiers: {} }, prune: true, yes: true })).json.deleted).toHaveLength(11);
    const wrong = await apply({ state: { tires: {}, tiers: { gold: { limit: 5 } }, consumers: { acme: { tier: "none" } } } });
    expect(Object.keys(errorsOf(wrong))).toContain("tires");
  });

  test("is refused with names that no record may have: they stand in header fields", async () => {
    using gateway = admin({ secret: "a-secret-for-tests" });
    const route = { path: "/this", upstream: "http://127.0.0.1:8001" };
    const apply = (state: object) => gateway.call("/admin/state", { method: "PUT", body: { state } });
    for (const [kind, name, document] of [
      ["tiers", "x\r\nSet-Cookie: a=b", { limits: [] }],
      ["tiers", "", { limits: [] }],
      ["tiers", "a/b", { limits: [] }],
      ["upstreams", "x".repeat(129), upstream(8001)],
      [
        "issuers",
        "certificate",
        { issuer: "https://id.example.com", secret: "a-secret-of-at-least-32-characters", audience: ["a"], tier: { default: "anonymous" } },
      ],
      ["routes", "x\r\ny", route],
      ["routes", "other", { ...route, name: "this" }],
      ["consumers", "x\r\ny", { tier: "anonymous" }],
      ["consumers", "", { tier: "anonymous" }],
    ] as const) {
      const { status, json } = await apply({ [kind]: { [name]: document } });
      expect([kind, name, status, json.errors.map(({ path }: { path: string }) => path.startsWith(kind))]).toEqual([
        kind,
        name,
        422,
        [true],
      ]);
    }
    // A route goes by its path as well, also when it has moved since.
    await gateway.post("/admin/routes", route);
    await gateway.patch("/admin/routes/%2Fthis", { path: "/that" });
    const { state } = { state: (await gateway.get("/admin/state")).json };
    await gateway.remove("/admin/routes/%2Fthis");
    expect((await apply(state)).json.created).toEqual(["route /this"]);
  });

  test("is refused with more webhooks than there may be, by one fault", async () => {
    using gateway = admin({ secret: "a-secret-for-tests", config: { admin: { upstreamAllow: ["127.0.0.1"] } } });
    const hook = { url: "https://127.0.0.1/hook", secret: `whsec_${btoa("x".repeat(32))}`, events: ["*"] };
    const hooks = (count: number) => Object.fromEntries(Array.from({ length: count }, (_, i) => [`hook-${i}`, hook]));
    const apply = (count: number) => gateway.call("/admin/state", { method: "PUT", body: { state: { webhooks: hooks(count) } } });
    const refused = await apply(65);
    expect([refused.status, refused.json.errors.length, Object.keys(errorsOf(refused))]).toEqual([422, 1, ["webhooks"]]);
    expect((await apply(64)).json.created).toHaveLength(64);
  });
});
