import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { mergePatch } from "../../src/http/conventions.ts";
import { parseTime } from "../../src/values/units.ts";
import { type Admin, admin, errorsOf } from "../admin/harness.ts";

const CONFIG = {
  upstreams: { declared: { targets: [{ url: "http://127.0.0.1:1" }] } },
  routes: [{ name: "declared", path: "/declared", upstream: "declared" }],
  issuers: { declared: { issuer: "https://declared.example.com", audience: ["api"] } },
  pools: { declared: { keys: [{ id: "one", limit: 1, window: "1m" }] } },
  consumers: [{ id: "declared", tier: "free", keys: ["declared_key_0123456789"] }],
};

/** One record of each kind: how to make it, what to change. */
const KINDS = [
  { path: "/admin/consumers", make: { id: "acme", tier: "pro" }, id: "acme", change: { name: "Acme" }, declared: "declared" },
  {
    path: "/admin/tiers",
    make: { name: "gold", limits: [] },
    id: "gold",
    change: { limits: [{ algorithm: "concurrency", limit: 3 }] },
    declared: "free",
  },
  {
    path: "/admin/upstreams",
    make: { name: "users", targets: [{ url: "http://127.0.0.1:2" }] },
    id: "users",
    change: { connectTimeout: "1s" },
    declared: "declared",
  },
  {
    path: "/admin/routes",
    make: { name: "users", path: "/api/users", upstream: "declared" },
    id: "users",
    change: { cost: 3 },
    declared: "declared",
  },
  {
    path: "/admin/pools",
    make: { name: "models", keys: [{ id: "one", limit: 1000, window: "1m" }], services: { chat: { cost: 10 } } },
    id: "models",
    change: { strategy: "round-robin" },
    declared: "declared",
  },
  {
    path: "/admin/issuers",
    make: { name: "main", issuer: "https://id.example.com", audience: ["api"] },
    id: "main",
    change: { audience: ["api", "web"] },
    declared: "declared",
  },
] as const;

describe.each(KINDS.map((kind) => [kind.path, kind] as const))("%s", (path, kind) => {
  test("makes, shows, changes and deletes a record", async () => {
    using gateway = admin({ config: CONFIG });
    const made = await gateway.post(path, kind.make);
    expect(made.status).toBe(201);
    expect(made.headers.get("location")).toBe(`${path}/${kind.id}`);
    expect(made.json).toMatchObject({ ...kind.make, source: "admin", createdAt: "2026-11-21T00:00:00.000Z" });
    const shown = await gateway.get(`${path}/${kind.id}`);
    // An issuer's state is what is so now: it may have been asked meanwhile.
    expect({ ...shown.json, state: null }).toEqual({ ...made.json, state: null });
    expect(shown.headers.get("etag")).toBe(made.headers.get("etag"));
    gateway.clock.advance(1000);
    const changed = await gateway.patch(`${path}/${kind.id}`, kind.change);
    expect(changed.status).toBe(200);
    expect(changed.json).toMatchObject({ ...kind.make, ...kind.change, updatedAt: "2026-11-21T00:00:01.000Z" });
    expect(changed.headers.get("etag")).not.toBe(made.headers.get("etag"));
    const removed = await gateway.remove(`${path}/${kind.id}`);
    expect([removed.status, removed.text]).toEqual([204, ""]);
    const gone = await gateway.get(`${path}/${kind.id}`);
    expect([gone.status, gone.json.code]).toEqual([404, "notFound"]);
    expect((await gateway.patch(`${path}/${kind.id}`, kind.change)).status).toBe(404);
    expect((await gateway.remove(`${path}/${kind.id}`)).status).toBe(404);
  });

  test("a change of a record that changed since it was read is refused", async () => {
    using gateway = admin({ config: CONFIG });
    const tag = (await gateway.post(path, kind.make)).headers.get("etag") ?? "";
    expect((await gateway.patch(`${path}/${kind.id}`, kind.change, { "if-match": tag })).status).toBe(200);
    const late = await gateway.patch(`${path}/${kind.id}`, kind.change, { "if-match": tag });
    expect([late.status, late.json.code]).toEqual([412, "preconditionFailed"]);
    expect((await gateway.remove(`${path}/${kind.id}`, { "if-match": tag })).status).toBe(412);
    expect((await gateway.patch(`${path}/${kind.id}`, kind.change, { "if-match": "*" })).status).toBe(200);
  });

  test("a second record of one name is a conflict", async () => {
    using gateway = admin({ config: CONFIG });
    await gateway.post(path, kind.make);
    const again = await gateway.post(path, kind.make);
    expect([again.status, again.json.code]).toEqual([409, "conflict"]);
    expect(again.json.detail).toMatch(/^There is (a [^aeiou]|an [aeiou])/);
  });

  test("what config.json declares is shown, and changed only there", async () => {
    using gateway = admin({ config: CONFIG });
    const target = `${path}/${kind.declared}`;
    expect((await gateway.get(target)).json.source).toBe("config");
    for (const answer of [
      await gateway.patch(target, kind.change),
      await gateway.remove(target),
      await gateway.remove(`${target}?force=true`),
    ]) {
      expect([answer.status, answer.json.code]).toEqual([409, "conflict"]);
      expect(answer.json.detail).toContain("managed by config.json");
    }
  });

  test("an unknown field is refused with the name that was meant", async () => {
    using gateway = admin({ config: CONFIG });
    const [name = ""] = Object.keys(kind.make).slice(-1);
    const misspelt = `${name.slice(0, -1)}${name.at(-1)}s`;
    const answer = await gateway.post(path, { ...kind.make, [misspelt]: 1 });
    expect(answer.status).toBe(422);
    expect(Object.values(errorsOf(answer)).join()).toContain(`did you mean "${name}"`);
  });

  test("malformed JSON is 400", async () => {
    using gateway = admin({ config: CONFIG });
    for (const raw of ["{", "", "nonsense", '{"a":1,}', "\u0000"]) {
      const answer = await gateway.call(path, { method: "POST", raw });
      expect([raw, answer.status, answer.json.code]).toEqual([raw, 400, "badRequest"]);
    }
  });

  test("a body that is no object is 422", async () => {
    using gateway = admin({ config: CONFIG });
    for (const body of [null, 1, "text", [], true]) expect((await gateway.post(path, body)).status).toBe(422);
  });

  test("survives a body of any kind without a fault of its own", async () => {
    using gateway = admin({ config: CONFIG });
    await gateway.post(path, kind.make);
    const field = fc.constantFrom(
      "id",
      "name",
      "tier",
      "limits",
      "metadata",
      "enabled",
      "targets",
      "path",
      "upstream",
      "tiers",
      "methods",
      "hosts",
      "scopes",
      "timeout",
      "connectTimeout",
      "balance",
      "__proto__",
      "constructor",
    );
    const limit = fc.record(
      {
        algorithm: fc.constantFrom("fixed-window", "token-bucket", "gcra", "concurrency", "x"),
        limit: fc.oneof(fc.integer(), fc.double(), fc.string()),
        window: fc.constantFrom("1m", "0s", "999999999d", "", "x"),
      },
      { requiredKeys: [] },
    );
    const value = fc.oneof(
      { weight: 3, arbitrary: fc.jsonValue({ maxDepth: 3 }) },
      { weight: 1, arbitrary: fc.array(limit) },
      { weight: 1, arbitrary: fc.string({ unit: "binary" }) },
    );
    const body = fc.oneof(
      fc.dictionary(field, value),
      fc.dictionary(field, value).map((changes) => ({ ...kind.make, ...changes })),
    );
    await fc.assert(
      fc.asyncProperty(body, fc.constantFrom("POST", "PATCH"), async (it, method) => {
        const answer = await gateway.call(method === "POST" ? path : `${path}/${kind.id}`, { method, body: it });
        expect(answer.status).toBeLessThan(500);
      }),
      { numRuns: 100 },
    );
    expect(gateway.faults).toEqual([]);
    expect((await gateway.get(path)).status).toBe(200);
  });

  test("refuses an object that no text can be made of", async () => {
    using gateway = admin({ config: CONFIG });
    for (const hostile of [{ toString: 0 }, { toString: null, valueOf: 1 }]) {
      for (const field of Object.keys(kind.make)) {
        const { status, json } = await gateway.post(path, { ...kind.make, [field]: hostile });
        expect([field, status, json.code]).toEqual([field, 422, "validationFailed"]);
      }
    }
    expect(gateway.faults).toEqual([]);
  });

  test("refuses a name that could not stand in a header or a path", async () => {
    using gateway = admin({ config: CONFIG });
    const field = "id" in kind.make ? "id" : "name";
    for (const name of ["a b", "x\r\nEvil: 1", "", "-a", "é", "a".repeat(129), 5, null]) {
      const answer = await gateway.post(path, { ...kind.make, [field]: name });
      expect([name, answer.status]).toEqual([name, 422]);
    }
  });
});

describe("a list", () => {
  const fill = async (gateway: Admin, many: number) => {
    for (let i = 0; i < many; i++) await gateway.post("/admin/consumers", { id: `c${String(i).padStart(3, "0")}`, tier: "free" });
  };

  test("comes in pages that together hold every record once, in order, declared ones among them", async () => {
    using gateway = admin({ config: { consumers: [{ id: "c003x", tier: "free" }] } });
    await fill(gateway, 12);
    const seen: string[] = [];
    let cursor = "";
    let pages = 0;
    do {
      const page = await gateway.get(`/admin/consumers?limit=5${cursor === "" ? "" : `&cursor=${cursor}`}`);
      expect(page.status).toBe(200);
      seen.push(...page.json.items.map((item: { id: string }) => item.id));
      cursor = page.json.nextCursor ?? "";
      pages++;
    } while (cursor !== "");
    expect(pages).toBe(3);
    expect(seen).toHaveLength(13);
    expect(seen).toEqual([...new Set(seen)].sort());
  });

  test("has 50 items a page unless asked otherwise, and says when there are no more", async () => {
    using gateway = admin();
    await fill(gateway, 51);
    const first = await gateway.get("/admin/consumers");
    expect(first.json.items).toHaveLength(50);
    const last = await gateway.get(`/admin/consumers?cursor=${first.json.nextCursor}`);
    expect(last.json.items).toHaveLength(1);
    expect(last.json.nextCursor).toBeNull();
  });

  test.each(["limit=0", "limit=501", "limit=-1", "limit=abc", "limit=1.5", "limit=", "cursor=", "cursor=%25%25", "cursor=%C3%A9"])(
    "refuses ?%s",
    async (query) => {
      using gateway = admin();
      for (const path of ["consumers", "keys", "tiers", "routes", "upstreams"]) {
        const answer = await gateway.get(`/admin/${path}?${query}`);
        expect([path, answer.status, answer.json.code]).toEqual([path, 422, "validationFailed"]);
        expect(Object.keys(errorsOf(answer))).toEqual([query.split("=")[0] ?? ""]);
      }
    },
  );
});

describe("validation", () => {
  test("tells all faults at once, each with its path", async () => {
    using gateway = admin();
    const answer = await gateway.post("/admin/consumers", {
      id: "a b",
      tier: 5,
      limits: [{ algorithm: "fixed-window", limit: 0, window: "1 minute" }],
      enabled: "yes",
    });
    expect(answer.status).toBe(422);
    expect(Object.keys(errorsOf(answer)).sort()).toEqual(["enabled", "id", "limits[0].limit", "limits[0].window", "tier"]);
  });

  test("a consumer's tier and a route's upstream and tiers must exist", async () => {
    using gateway = admin();
    expect(errorsOf(await gateway.post("/admin/consumers", { id: "a", tier: "gold" }))).toEqual({ tier: 'there is no tier "gold"' });
    expect(errorsOf(await gateway.post("/admin/routes", { path: "/a", upstream: "u", tiers: ["gold"] }))).toEqual({
      upstream: 'there is no upstream "u"',
      "tiers[0]": 'there is no tier "gold"',
    });
  });

  test("two routes can't take the same requests", async () => {
    using gateway = admin({ config: CONFIG });
    const answer = await gateway.post("/admin/routes", { name: "twin", path: "/declared/", upstream: "declared" });
    expect([answer.status, Object.keys(errorsOf(answer))]).toEqual([422, ["path"]]);
  });

  test("a refused change changes nothing", async () => {
    using gateway = admin();
    await gateway.post("/admin/tiers", { name: "gold", limits: [{ algorithm: "concurrency", limit: 3 }] });
    const before = await gateway.get("/admin/tiers/gold");
    expect((await gateway.patch("/admin/tiers/gold", { limits: [{ algorithm: "concurrency" }] })).status).toBe(422);
    const after = await gateway.get("/admin/tiers/gold");
    expect([after.json, after.headers.get("etag")]).toEqual([before.json, before.headers.get("etag")]);
  });
});

describe("deleting what others refer to", () => {
  test("a tier with consumers, an upstream with routes, a consumer with keys: a conflict unless forced", async () => {
    using gateway = admin();
    await gateway.post("/admin/tiers", { name: "gold", limits: [] });
    await gateway.post("/admin/consumers", { id: "acme", tier: "gold" });
    await gateway.post("/admin/upstreams", { name: "users", targets: [{ url: "http://127.0.0.1:2" }] });
    await gateway.post("/admin/routes", { name: "users", path: "/users", upstream: "users" });
    const key = await gateway.post("/admin/keys", { consumer: "acme" });
    for (const path of ["/admin/tiers/gold", "/admin/upstreams/users", "/admin/consumers/acme"]) {
      expect([path, (await gateway.remove(path)).status]).toEqual([path, 409]);
      expect((await gateway.remove(`${path}?force=false`)).status).toBe(409);
      expect((await gateway.remove(`${path}?force=true`)).status).toBe(204);
    }
    expect((await gateway.get(`/admin/keys/${key.json.id}`)).status).toBe(404);
    expect((await gateway.get("/admin/routes/users")).status).toBe(200);
  });
});

describe("a merge patch (RFC 7396)", () => {
  // The examples of the RFC's appendix A.
  test.each([
    [{ a: "b" }, { a: "c" }, { a: "c" }],
    [{ a: "b" }, { b: "c" }, { a: "b", b: "c" }],
    [{ a: "b" }, { a: null }, {}],
    [{ a: "b", b: "c" }, { a: null }, { b: "c" }],
    [{ a: ["b"] }, { a: "c" }, { a: "c" }],
    [{ a: "c" }, { a: ["b"] }, { a: ["b"] }],
    [{ a: { b: "c" } }, { a: { b: "d", c: null } }, { a: { b: "d" } }],
    [{ a: [{ b: "c" }] }, { a: [1] }, { a: [1] }],
    [
      ["a", "b"],
      ["c", "d"],
      ["c", "d"],
    ],
    [{ a: "b" }, ["c"], ["c"]],
    [{ a: "foo" }, null, null],
    [{ a: "foo" }, "bar", "bar"],
    [{ e: null }, { a: 1 }, { e: null, a: 1 }],
    [[1, 2], { a: "b", c: null }, { a: "b" }],
    [{}, { a: { bb: { ccc: null } } }, { a: { bb: {} } }],
  ] as unknown[][])("of %j by %j is %j", (target, patch, expected) => {
    expect(mergePatch(target, patch)).toEqual(expected);
  });

  test("changes neither the target nor any prototype", () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.jsonValue(), (target, patch) => {
        const before = structuredClone(target);
        mergePatch(target, patch);
        expect(target).toEqual(before);
      }),
    );
    const merged = mergePatch({}, JSON.parse('{"__proto__":{"polluted":1},"a":{"__proto__":{"polluted":1}}}')) as {
      polluted?: unknown;
      a: { polluted?: unknown };
    };
    expect([merged.polluted, merged.a.polluted, ({} as { polluted?: unknown }).polluted]).toEqual([undefined, undefined, undefined]);
  });
});

describe("a time", () => {
  test.each([
    ["2027-01-31T00:00:00Z", Date.UTC(2027, 0, 31)],
    ["2027-01-31T02:00:00.5+02:00", Date.UTC(2027, 0, 31, 0, 0, 0, 500)],
    ["2028-02-29t00:00:00z", Date.UTC(2028, 1, 29)],
    ["2027-02-29T00:00:00Z", null],
    ["2027-02-30T00:00:00Z", null],
    ["2027-04-31T00:00:00Z", null],
    ["2027-13-01T00:00:00Z", null],
    ["2027-01-01T25:00:00Z", null],
    ["2027-01-01", null],
    ["2027-01-01T00:00:00", null],
    ["tomorrow", null],
  ] as const)("%s", (text, time) => {
    expect(parseTime(text)).toBe(time as never);
  });
});
