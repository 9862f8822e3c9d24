import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { checkBody } from "../../src/http/json-bounds.ts";
import { type Admin, admin, errorsOf } from "../admin/harness.ts";

const deep = (levels: number): string => `${'{"a":'.repeat(levels)}1${"}".repeat(levels)}`;
const json = (value: unknown): string => JSON.stringify(value);

/** A body for each endpoint that takes one, into which a value is put where anything may stand. */
const BODIES: readonly (readonly [method: string, path: string, body: (value: string) => string])[] = [
  ["POST", "/admin/consumers", (value) => `{"id":"acme","tier":"free","metadata":${value}}`],
  ["PATCH", "/admin/consumers/beta", (value) => `{"metadata":${value}}`],
  ["POST", "/admin/keys", (value) => `{"consumer":"beta","metadata":${value}}`],
  ["POST", "/admin/keys/import", (value) => `{"keys":[{"consumer":"beta","key":"imported-key-0123456","metadata":${value}}]}`],
  ["POST", "/admin/tiers", (value) => `{"name":"gold","limits":${value}}`],
  ["POST", "/admin/routes", (value) => `{"path":"/x","upstream":${value}}`],
  ["POST", "/admin/upstreams", (value) => `{"name":"users","targets":${value}}`],
  ["POST", "/admin/pools", (value) => `{"name":"models","keys":${value}}`],
  ["POST", "/admin/health", (value) => `{"status":"NORMAL","reason":${value}}`],
  ["POST", "/admin/blocks", (value) => `{"ip":"192.0.2.1","reason":${value}}`],
  ["POST", "/admin/tokens", (value) => `{"name":"ci","role":${value}}`],
  ["PATCH", "/admin/logging", (value) => `{"level":${value}}`],
];

const gatewayWithConsumer = async (): Promise<Admin> => {
  const gateway = admin();
  expect((await gateway.post("/admin/consumers", { id: "beta", tier: "free" })).status).toBe(201);
  return gateway;
};

describe("a body", () => {
  test.each(BODIES)("%s %s that is nested too deep is refused before it is parsed", async (method, path, body) => {
    using gateway = await gatewayWithConsumer();
    for (const levels of [65, 20_000, 60_000]) {
      const answer = await gateway.call(path, { method, raw: body(deep(levels)) });
      expect([answer.status, answer.json.code]).toEqual([422, "validationFailed"]);
      expect(answer.json.detail).toContain("must not be nested more than 64 deep");
    }
    expect(gateway.faults).toEqual([]);
  });

  test.each(BODIES)("%s %s with a field __proto__ is refused, also when it is written with escapes", async (method, path, body) => {
    using gateway = await gatewayWithConsumer();
    for (const name of ["__proto__", "\\u005f_proto__", "__pr\\u006fto__"]) {
      const within = await gateway.call(path, { method, raw: body(`{"${name}":{"isAdmin":true}}`) });
      expect([within.status, within.json.code]).toEqual([422, "validationFailed"]);
      expect(within.json.detail).toContain('unknown field "__proto__"');
      const beside = await gateway.call(path, { method, raw: `{"${name}":{"isAdmin":true},${body("{}").slice(1)}` });
      expect(beside.json.errors).toEqual([{ path: "__proto__", message: 'unknown field "__proto__"' }]);
      expect(beside.status).toBe(422);
    }
    expect(({} as { isAdmin?: boolean }).isAdmin).toBeUndefined();
    expect(gateway.faults).toEqual([]);
  });

  test.each(BODIES)("%s %s with a field that every object inherits is refused as unknown", async (method, path, body) => {
    using gateway = await gatewayWithConsumer();
    for (const name of ["constructor", "prototype", "toString", "hasOwnProperty", "valueOf"]) {
      const answer = await gateway.call(path, { method, raw: `{"${name}":1,${body('"x"').slice(1)}` });
      expect([name, answer.status, answer.json.code]).toEqual([name, 422, "validationFailed"]);
    }
    expect(gateway.faults).toEqual([]);
  });

  test("of one record may have a megabyte, an import sixteen", async () => {
    using gateway = admin();
    const large = await gateway.call("/admin/consumers", { method: "POST", raw: json({ id: "x".repeat(1024 * 1024), tier: "free" }) });
    expect([large.status, large.json.code]).toEqual([413, "bodyTooLarge"]);
    const manyBytes = await gateway.call("/admin/consumers", { method: "POST", raw: json({ id: "€".repeat(400_000), tier: "free" }) });
    expect(manyBytes.status).toBe(413);
    const keys = Array.from({ length: 10_000 }, (_, i) => ({ consumer: "beta", key: `imported-key-${String(i).padStart(8, "0")}` }));
    await gateway.post("/admin/consumers", { id: "beta", tier: "free" });
    const imported = await gateway.post("/admin/keys/import", {
      keys: keys.map((key) => ({ ...key, name: "n".repeat(200), scopes: ["read:users", "write:users"] })),
    });
    expect([imported.status, imported.json?.imported]).toEqual([201, 10_000]);
  });

  test("of more values than any record has is refused: twenty thousand, an import a million", async () => {
    using gateway = admin();
    const answer = await gateway.call("/admin/keys/import", { method: "POST", raw: `{"keys":[${"1,".repeat(1_100_000)}1]}` });
    expect([answer.status, answer.json.code]).toEqual([422, "validationFailed"]);
    expect(answer.json.detail).toContain("must not hold more than 1000000 values");
    const tier = await gateway.call("/admin/tiers", { method: "POST", raw: `{"name":"gold","limits":[${"{},".repeat(20_000)}{}]}` });
    expect([tier.status, tier.json.code]).toEqual([422, "validationFailed"]);
    expect(tier.json.detail).toContain("must not hold more than 20000 values");
  });

  test("with many faults names a thousand of them", async () => {
    using gateway = admin();
    const answer = await gateway.call("/admin/keys/import", { method: "POST", raw: `{"keys":[${"1,".repeat(9000)}1]}` });
    expect(answer.status).toBe(422);
    expect(answer.json.errors.length).toBe(1000);
  });
});

describe("metadata", () => {
  test.each([
    ["consumers", (metadata: unknown) => ({ id: "acme", tier: "free", metadata }), "acme", "metadata"],
    ["keys", (metadata: unknown) => ({ consumer: "beta", metadata }), null, "metadata"],
  ] as const)("of %s may be 16 KB large and 32 deep, when made and when changed", async (kind, body, id, at) => {
    using gateway = await gatewayWithConsumer();
    const path = `/admin/${kind}`;
    const nested = (levels: number): unknown => JSON.parse(deep(levels));
    for (const metadata of [{ a: "x".repeat(16_384) }, nested(33)]) {
      const refused = await gateway.post(path, body(metadata));
      expect([refused.status, Object.keys(errorsOf(refused))]).toEqual([422, [at]]);
    }
    const made = await gateway.post(path, body({ a: "x".repeat(16_000) }));
    expect(made.status).toBe(201);
    const one = `${path}/${id ?? made.json.id}`;
    // Two halves that are small enough each.
    expect((await gateway.patch(one, { metadata: { b: "x".repeat(1000) } })).status).toBe(422);
    expect((await gateway.patch(one, { metadata: { a: null, b: nested(31) } })).status).toBe(200);
    expect((await gateway.patch(one, { metadata: { b: nested(33) } })).status).toBe(422);
  });
});

test("what is valid JSON and small passes the look before the parser, whatever it is", () => {
  fc.assert(
    fc.property(fc.json({ maxDepth: 20 }), (text) => {
      if (text.includes("__proto__")) return;
      expect(() => checkBody(text, "/admin/consumers")).not.toThrow();
    }),
  );
});

test("brackets and backslashes within strings are not counted", () => {
  for (const text of [
    '{"a":"[[[[\\"{{{{\\\\"}',
    `"${"[".repeat(1000)}"`,
    `["\\\\", "${"{".repeat(1000)}"]`,
    `{"a":"${"\\".repeat(2000)}"}`,
  ])
    expect(() => checkBody(text, "/admin/consumers")).not.toThrow();
});

test("text that is not JSON is left to the parser", () => {
  for (const text of ["", "{", '"', '"\\', "]]]]", '{"__proto__":']) expect(() => checkBody(text, "/admin/consumers")).not.toThrow();
});
