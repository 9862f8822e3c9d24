import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { bearerOf, claimAt } from "../../src/issuers/claims.ts";
import { type Claims, readToken } from "../../src/issuers/token.ts";
import { issuerConfig } from "../support/token-issuer.ts";

const rules = (more: object = {}) => issuerConfig({ issuer: "https://id.example.com", ...more });

const part = (json: string): string => Buffer.from(json).toString("base64url");
/** The claims of a token as they are written in it. */
const claimsOf = (json: string): Claims => readToken(`${part('{"alg":"ES256"}')}.${part(json)}.AA`)?.claims ?? {};

function bearer(claims: Claims, more: object = {}) {
  const found = bearerOf(claims, "main", rules(more));
  if (typeof found === "string") throw new Error(found);
  return found;
}

describe("a claim", () => {
  test("is found by its name, in which dots lead inwards", () => {
    expect(claimAt({ sub: "a" }, "sub")).toBe("a");
    expect(claimAt({ realm: { roles: { first: "a" } } }, "realm.roles.first")).toBe("a");
    expect(claimAt({ realm: "text" }, "realm.roles")).toBeUndefined();
    expect(claimAt({ realm: ["a"] }, "realm.0")).toBeUndefined();
  });

  test("whose name holds dots comes first", () => {
    expect(claimAt({ "https://example.com/plan": "gold" }, "https://example.com/plan")).toBe("gold");
    expect(claimAt({ "a.b": 1, a: { b: 2 } }, "a.b")).toBe(1);
  });

  test("is never one that all objects have", () => {
    for (const path of ["constructor", "__proto__", "a.constructor", "toString.name"]) expect(claimAt({ a: {} }, path)).toBeUndefined();
  });
});

describe("a caller", () => {
  test("is called ISSUER:VALUE, or by the value alone where names are trusted", () => {
    expect(bearer({ sub: "alice" }).id).toBe("main:alice");
    expect(bearer({ sub: "alice" }, { trustNames: true }).id).toBe("alice");
    expect(bearer({ account: { id: "acme" } }, { consumer: "account.id" }).id).toBe("main:acme");
    expect(bearer({ sub: "auth0|5f7c8ec7c33c6c004bbafe82" }).id).toBe("main:auth0|5f7c8ec7c33c6c004bbafe82");
  });

  test("may be called by a number, every digit of it", () => {
    expect(bearer({ sub: 17 }).id).toBe("main:17");
    expect(bearer(claimsOf('{"sub":9007199254740993}')).id).toBe("main:9007199254740993");
  });

  test.each([
    ["no claim", {}],
    ["null", { sub: null }],
    ["nothing", { sub: "" }],
    ["true", { sub: true }],
    ["a list", { sub: ["alice"] }],
    ["an object", { sub: { a: 1 } }],
    ["a space", { sub: "a b" }],
    ["a line break", { sub: "a\r\nX-Admin: 1" }],
    ["a quote", { sub: 'a"b' }],
    ["another alphabet", { sub: "алиса" }],
    ["129 characters", { sub: "a".repeat(129) }],
  ])("is nobody by %s", (_what, claims) => {
    expect(typeof bearerOf(claims, "main", rules())).toBe("string");
  });

  test("can't pass for an address or a list of subjects where names are trusted", () => {
    for (const sub of ["[192.0.2.7]", '["a"]', ":alice", "|a"])
      expect(typeof bearerOf({ sub }, "main", rules({ trustNames: true }))).toBe("string");
  });

  test("is of a tier only by the map: anything else gives the default", () => {
    const tier = { claim: "plan", map: { gold: "pro", "2": "enterprise" }, default: "free" };
    const tierOf = (plan: unknown) => bearer({ sub: "a", plan }, { tier }).tier;
    expect(["gold", 2, "2"].map(tierOf)).toEqual(["pro", "enterprise", "enterprise"]);
    for (const plan of ["pro", "enterprise", "GOLD", "constructor", ["gold"], { gold: 1 }, null, undefined, true])
      expect(tierOf(plan)).toBe("free");
    expect(bearer({ sub: "a", plan: "gold" }).tier).toBe("free");
  });

  test("has the scopes of a text by spaces, or of a list", () => {
    const scopesOf = (scope: unknown) => bearer({ sub: "a", scope }).scopes;
    expect(scopesOf("users:read users:write")).toEqual(["users:read", "users:write"]);
    expect(scopesOf(["users:read", "users:write"])).toEqual(["users:read", "users:write"]);
    expect(scopesOf("")).toEqual([]);
    for (const scope of [7, { a: 1 }, null, undefined, [7, null, "a b", 'a"b']]) expect(scopesOf(scope)).toEqual([]);
    expect(scopesOf(Array.from({ length: 1000 }, (_, i) => `s${i}`))).toHaveLength(256);
    expect(bearer({ sub: "a", scp: ["x"], scope: "y" }, { scopes: "scp" }).scopes).toEqual(["x"]);
    expect(bearer({ sub: "a", scope: "y" }, { scopes: null }).scopes).toEqual([]);
  });

  test("brings fields for the backend: text, numbers, true and false of at most 1 KB", () => {
    const lineOf = (email: unknown) => bearer({ sub: "a", email }, { headers: { "X-User-Email": "email" } }).lines;
    expect(lineOf("alice@example.com")).toBe("X-User-Email: alice@example.com\r\n");
    expect([7, 1.5, true, false].map(lineOf)).toEqual([7, 1.5, true, false].map((value) => `X-User-Email: ${value}\r\n`));
    expect(lineOf("a".repeat(1024))).toHaveLength("X-User-Email: \r\n".length + 1024);
    for (const email of [
      "a".repeat(1025),
      "é".repeat(513),
      null,
      undefined,
      ["a"],
      { a: 1 },
      "a\nb",
      "a\r\nX-Admin: 1",
      "a\u0000",
      "a\u0085b",
      "a\u2028b",
    ])
      expect(lineOf(email)).toBe("");
  });

  test("brings text of other alphabets in UTF-8", () => {
    const { lines } = bearer({ sub: "a", name: "Zoë" }, { headers: { "X-Name": "name" } });
    expect(Buffer.from(lines, "latin1").toString()).toBe("X-Name: Zoë\r\n");
  });

  test("never brings a second line in one field, whatever the claim", () => {
    fc.assert(
      fc.property(fc.anything(), (email) => {
        const { lines } = bearer({ sub: "a", email }, { headers: { "X-User-Email": "email" } });
        expect(lines === "" || /^X-User-Email: [^\r\n]*\r\n$/.test(lines)).toBe(true);
      }),
    );
  });
});
