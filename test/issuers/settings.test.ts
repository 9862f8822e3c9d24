import { describe, expect, test } from "bun:test";
import { loadConfig, placed } from "../../src/config/load.ts";
import { configWarnings } from "../../src/config/warnings.ts";
import { formatFault } from "../../src/schema/faults.ts";

const NOW = Date.parse("2026-11-21T00:00:00Z");
const SECRET = "a-secret-of-at-least-thirty-two-characters";

const plain = (line: string): string => line.replace(/^c:\d+:\d+ /, "");

function faultsOf(config: object): string[] {
  const loaded = loadConfig(JSON.stringify(config), {});
  return "faults" in loaded ? loaded.faults.map((fault) => plain(formatFault("c", fault))) : [];
}

function warningsOf(config: object): string[] {
  const text = JSON.stringify({ server: { host: "127.0.0.1" }, ...config });
  const loaded = loadConfig(text, {});
  if ("faults" in loaded) throw new Error(JSON.stringify(loaded.faults));
  return placed(text, configWarnings(loaded.config, loaded.given, "127.0.0.1", NOW)).map((warning) => plain(formatFault("c", warning)));
}

const main = (more: object) => ({ issuers: { main: { issuer: "https://id.example.com", audience: ["api"], ...more } } });

describe("an issuer", () => {
  test("needs no more than its name and who it is: the rest has defaults", () => {
    const loaded = loadConfig(JSON.stringify({ issuers: { main: { issuer: "https://id.example.com", audience: ["api"] } } }), {});
    if ("faults" in loaded) throw new Error(JSON.stringify(loaded.faults));
    expect(loaded.config.issuers.main).toEqual({
      issuer: "https://id.example.com",
      audience: ["api"],
      jwks: null,
      secret: null,
      clockTolerance: "30s",
      maxAge: null,
      requiredClaims: ["exp"],
      type: null,
      consumer: "sub",
      trustNames: false,
      tier: { claim: null, map: {}, default: "free" },
      scopes: "scope",
      headers: {},
      forward: false,
      introspection: null,
    });
  });

  test("is taken as the documentation shows it", () => {
    const whole = {
      jwks: null,
      algorithms: ["RS256", "ES256", "EdDSA"],
      ...{ clockTolerance: "30s", maxAge: null, requiredClaims: ["exp"], type: null, consumer: "sub", trustNames: false },
      tier: { claim: "plan", map: { gold: "pro" }, default: "free" },
      ...{ scopes: "scope", headers: { "X-User-Email": "email" }, forward: false },
      introspection: { endpoint: "https://id.example.com/introspect", clientId: "sluice", clientSecret: "hush", cacheFor: "30s" },
    };
    expect(faultsOf(main(whole))).toEqual([]);
    expect(warningsOf(main(whole))).toEqual([]);
  });

  test.each([
    ["the algorithm none", { algorithms: ["none"] }, "issuers.main.algorithms[0]: must be one of"],
    ["an algorithm that nobody knows", { algorithms: ["RS1"] }, "issuers.main.algorithms[0]: must be one of"],
    ["HMAC without a secret", { algorithms: ["RS256", "HS256"] }, "issuers.main.algorithms[1]: HS256 needs the secret"],
    [
      "public keys beside a secret",
      { secret: SECRET, algorithms: ["HS256", "RS256"] },
      "issuers.main.algorithms[1]: RS256 can't stand beside",
    ],
    ["a key set beside a secret", { secret: SECRET, jwks: "https://h/jwks" }, "issuers.main.jwks: can't stand beside a secret"],
    ["a short secret", { secret: "short" }, "issuers.main.secret: must have at least 32 characters"],
    ["a tier that is not there, for the rest", { tier: { default: "gratis" } }, 'issuers.main.tier.default: there is no tier "gratis"'],
    [
      "a tier that is not there, for a value",
      { tier: { claim: "plan", map: { gold: "prod" }, default: "free" } },
      'issuers.main.tier.map.gold: there is no tier "prod", did you mean "pro"?',
    ],
    ["a map without a claim", { tier: { map: { gold: "pro" } } }, "issuers.main.tier.claim: name the claim"],
    ["a field that is Sluice's own", { headers: { "X-Consumer-ID": "sub" } }, "issuers.main.headers.X-Consumer-ID: is Sluice's own"],
    [
      "a field that may be read as Sluice's own",
      { headers: { x_consumer_tier: "plan" } },
      "issuers.main.headers.x_consumer_tier: is Sluice's own",
    ],
    ["the same by another character", { headers: { "X.Consumer.ID": "sub" } }, 'issuers.main.headers["X.Consumer.ID"]: is'],
    ["a field of this hop alone", { headers: { Expect: "sub" } }, "issuers.main.headers.Expect: is Sluice's own"],
    ["a count of attempts", { headers: { "X-Retry-Count": "sub" } }, "issuers.main.headers.X-Retry-Count: is Sluice's own"],
    ["the field of the token", { headers: { Authorization: "sub" } }, "issuers.main.headers.Authorization: is Sluice's own"],
    ["one field twice", { headers: { "X-A": "a", "x-a": "b" } }, "issuers.main.headers.x-a: stands here twice"],
    ["a claim that is none", { consumer: "a b" }, "issuers.main.consumer: must be a claim's name"],
    ["a key set that is no web address", { jwks: "ftp://h/jwks" }, "issuers.main.jwks: must begin with https:// or http://"],
    ["credentials in a URL", { jwks: "https://u:p@h/jwks" }, "issuers.main.jwks: must not hold a user"],
    [
      "no URL to find keys by",
      { issuer: "accounts" },
      "issuers.main.issuer: is not a URL, so that its keys can't be found by it: set jwks",
    ],
    ["a tolerance of hours", { clockTolerance: "2h" }, "issuers.main.clockTolerance: must be at most 10m"],
    ["a maxAge of nothing", { maxAge: "0s" }, "issuers.main.maxAge: must be from 1s to 366d"],
    [
      "an introspection without a URL",
      { introspection: { endpoint: "id.example.com", clientId: "a", clientSecret: "b" } },
      "issuers.main.introspection.endpoint: is not a URL",
    ],
    ["no audience", { audience: undefined }, "issuers.main.audience: is required"],
    ["a field that there is not", { audiences: ["a"] }, 'issuers.main.audiences: unknown field "audiences", did you mean "audience"?'],
  ])("may not have %s", (_what, more, fault) => {
    const [only = "", ...others] = faultsOf(main(more));
    expect(only).toStartWith(fault);
    expect(others).toEqual([]);
  });

  test("may be one by a file, by HMAC, or by a name that is no URL with keys elsewhere", () => {
    for (const more of [
      { jwks: "keys/main.json" },
      { secret: SECRET },
      { secret: SECRET, algorithms: ["HS512"] },
      { issuer: "accounts", jwks: "https://h/jwks" },
    ])
      expect(faultsOf(main(more))).toEqual([]);
  });

  test("has a name that callers' names can begin with", () => {
    expect(faultsOf({ issuers: { "a:b": { issuer: "https://h", audience: ["api"] } } })[0]).toContain(
      "is not a name: use 1 to 64 letters, digits and . _ @ -,",
    );
    expect(faultsOf({ issuers: { certificate: { issuer: "https://h", audience: ["api"] } } })[0]).toContain(
      "is taken: callers with client certificates",
    );
  });

  test("is the only one of its `iss`", () => {
    expect(faultsOf({ issuers: { a: { issuer: "https://h", audience: ["api"] }, b: { issuer: "https://h", audience: ["api"] } } })).toEqual(
      ['issuers.b.issuer: is the issuer of "a" already'],
    );
  });

  test.each([
    ["an audience of nobody", { audience: [] }, "issuers.main.audience: is empty"],
    ["keys over http", { jwks: "http://id.example.com/jwks" }, "issuers.main.jwks: is http"],
    ["discovery over http", { issuer: "http://id.example.com" }, "issuers.main.issuer: is http"],
    [
      "introspection over http",
      { introspection: { endpoint: "http://id.example.com", clientId: "a", clientSecret: "b" } },
      "issuers.main.introspection.endpoint: is http",
    ],
    ["names that are trusted", { trustNames: true }, "issuers.main.trustNames: lets this issuer speak for every consumer"],
    ["tokens that never expire", { requiredClaims: [] }, "issuers.main.requiredClaims: is without exp"],
  ])("is warned of: %s", (_what, more, warning) => {
    const [only = "", ...others] = warningsOf(main(more));
    expect(only).toStartWith(warning);
    expect(others).toEqual([]);
  });

  test("is warned of when it has a secret beside issuers with public keys, and not by itself", () => {
    const issuers = { main: { issuer: "a", audience: ["api"], secret: SECRET } };
    expect(warningsOf({ issuers })).toEqual([]);
    expect(warningsOf({ issuers: { ...issuers, other: { issuer: "https://h", audience: ["api"] } } })).toEqual([
      expect.stringContaining("issuers.main.algorithms: takes tokens by a shared secret (HMAC) beside issuers with public keys"),
    ]);
  });

  test("on this machine may have http", () => {
    for (const host of ["127.0.0.1:3000", "localhost:3000", "[::1]:3000"])
      expect(warningsOf(main({ issuer: `http://${host}` }))).toEqual([]);
  });
});

describe("a route", () => {
  const route = (more: object) => ({ ...main({}), routes: [{ path: "/a", upstream: "http://h", ...more }] });

  test("may take tokens of some issuers alone, which there must be", () => {
    expect(faultsOf(route({ issuers: ["main"] }))).toEqual([]);
    expect(faultsOf(route({ issuers: ["mian"] }))).toEqual(['routes[0].issuers[0]: there is no issuer "mian", did you mean "main"?']);
  });

  test("that looks at nobody takes no issuers", () => {
    expect(faultsOf(route({ auth: "none", issuers: ["main"] }))).toEqual([
      'routes[0].auth: issuers need a token: use "required" or "optional"',
    ]);
  });

  test("is not warned of scopes that tokens may bring", () => {
    const consumers = [{ id: "a", tier: "pro", keys: ["a-declared-key-0123456789"] }];
    expect(warningsOf({ ...route({ scopes: ["users:read"] }), consumers })).toEqual([]);
  });
});
