import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import demo from "../../config.json";
import { formatFault, formatPath } from "../../src/config/faults.ts";
import { loadConfig } from "../../src/config/load.ts";
import type { Config } from "../../src/config/schema.ts";

function valid(text: string, env: Record<string, string> = {}): Config {
  const loaded = loadConfig(text, env);
  if ("faults" in loaded) throw new Error(loaded.faults.map((fault) => formatFault("config.json", fault)).join("\n"));
  return loaded.config;
}

/** What `sluice check` would print. */
function faultsOf(text: string, env: Record<string, string> = {}): string[] {
  const loaded = loadConfig(text, env);
  return "faults" in loaded ? loaded.faults.map((fault) => formatFault("c", fault)) : [];
}

const faultOf = (config: object): string => faultsOf(JSON.stringify(config))[0] ?? "none";
const route = (more: object) => ({ routes: [{ path: "/a", upstream: "http://127.0.0.1:1", ...more }] });
const limit = (more: object) => route({ limits: [{ algorithm: "fixed-window", limit: 10, window: "1m", ...more }] });

describe("a configuration", () => {
  test("may be empty: every field has its default", () => {
    expect(valid("{}")).toMatchObject({
      server: {
        host: "0.0.0.0",
        port: 8080,
        trustedProxies: [],
        maxBodySize: "10mb",
        maxHeaderSize: "16kb",
        bodyRate: "1kb",
        maxConnections: "auto",
        maxConnectionsPerAddress: "auto",
        drainTimeout: "10s",
        tls: null,
      },
      admin: { listen: null, upstreamAllow: null },
      storage: { path: "data/sluice.db" },
      logging: { level: "info", format: "json", accessLog: true },
      identity: { header: "X-API-Key", bearer: true, basic: false, query: null },
      limits: { maxSubjects: 1_000_000 },
      cache: { maxSize: "64mb" },
      anonymousTier: "anonymous",
      upstreams: {},
      routes: [],
      consumers: [],
      demo: false,
    });
    expect(Object.keys(valid("{}").tiers)).toEqual(["anonymous", "free", "pro", "enterprise"]);
    expect(valid(JSON.stringify(route({}))).routes[0]).toEqual({
      path: "/a",
      upstream: "http://127.0.0.1:1",
      methods: [],
      hosts: [],
      stripPrefix: true,
      host: "target",
      encodedSlashes: "refuse",
      slashes: "merge",
      auth: "required",
      tiers: [],
      scopes: [],
      limits: [],
      cost: 1,
      timeout: "30s",
      maxBodySize: null,
      bodyRate: null,
      cache: null,
      retry: { attempts: 3, baseDelay: "1s", maxDelay: "30s", factor: 2, jitter: true, attemptTimeout: null },
      credential: null,
      usage: null,
      cors: null,
      headers: { request: { set: {}, remove: [] }, response: { set: {}, remove: [] } },
    });
    expect(valid('{ "upstreams": { "u": { "targets": [{ "url": "http://h" }] } } }').upstreams.u).toEqual({
      targets: [{ url: "http://h", weight: 1 }],
      balance: "round-robin",
      hashOn: "key",
      connectTimeout: "5s",
      slowStart: "0s",
      breaker: {
        failureThreshold: 5,
        recoveryTimeout: "60s",
        successThreshold: 3,
        failureRatio: null,
        window: "10s",
        minimumRequests: 20,
      },
      healthCheck: null,
    });
  });

  test("of the demo is valid", () => {
    expect(valid(JSON.stringify(demo)).consumers.map((consumer) => consumer.tier)).toEqual(["free", "pro", "enterprise"]);
  });

  test("may have comments and trailing commas, and takes values from the environment", () => {
    const config = valid(
      '{ // the key of Acme\n "consumers": [{ "id": "acme", "tier": "pro", "keys": ["${ACME_KEY}"], "name": "costs $${5}" },], }',
      { ACME_KEY: "an-acme-key-0123456789" },
    );
    expect(config.consumers[0]).toMatchObject({ keys: ["an-acme-key-0123456789"], name: "costs ${5}" });
  });

  test("with faults gets all of them, each with its place and what to do", () => {
    const text = `{
  "server": { "prot": 8080, "port": "8080" },
  "routes": [
    { "path": "api", "upstream": "usrs" },
    { "upstream": "users", "limits": [{ "algorithm": "sliding", "limit": 5, "window": "1 minute" }] }
  ],
  "admin": { "listen": { "host": "h" } },
  "consumers": [{ "id": "a", "tier": "pro", "keys": ["\${NOT_SET}"] }]
}`;
    expect(faultsOf(text)).toEqual([
      'c:2:15 server.prot: unknown field "prot", did you mean "port"?',
      'c:2:37 server.port: must be a whole number, got "8080"',
      "c:5:5 routes[1].path: is required",
      'c:5:54 routes[1].limits[0].algorithm: must be one of "fixed-window", "sliding-window", "sliding-log", "token-bucket", "concurrency", got "sliding"',
      'c:5:87 routes[1].limits[0].window: must be a duration such as "250ms", "30s", "5m", "1h" or "30d", got "1 minute"',
      "c:7:24 admin.listen.port: is required",
      "c:8:54 consumers[0].keys[0]: the environment variable NOT_SET is not set",
      "c:8:54 consumers[0].keys[0]: must be a key of 16 to 512 printable ASCII characters without spaces",
    ]);
  });

  test.each([
    ["", "c:1:1 the file is empty"],
    ["{", "c:1:2 a } is missing"],
    ['{\n  "a": \n}', "c:3:1 a value is expected here"],
    ["{ a: 1 }", "c:1:3 this is not JSON: text needs double quotes"],
    ['{ "demo": true } x', "c:1:18 this is not JSON: text needs double quotes"],
    ['{ "demo": true, "demo": false }', "c:1:17 demo: stands here twice"],
    ['{ "__proto__": {} }', 'c:1:3 ["__proto__"]: is not a name that can be used here'],
    ["[]", "c:1:1 must be an object, got a list"],
    ['{ "storage": { "path": "${" } }', "c:1:24 storage.path: a variable is written ${NAME}; write $${ for the characters themselves"],
  ])("%p is told: %s", (text, fault) => {
    expect(faultsOf(text)[0]?.replace(/^c:1:3 __proto__/, 'c:1:3 ["__proto__"]')).toBe(fault);
  });

  test.each([
    [route({ path: "api" }), 'must begin with "/"'],
    [route({ path: "/a//b" }), 'must not hold "//"'],
    [route({ path: "/a/../b" }), "segments"],
    [route({ path: "/w/*" }), 'a path is a prefix: write "/w"'],
    [route({ path: "/*" }), 'a path is a prefix: write "/"'],
    [route({ path: "/api/users/:id" }), 'a path is a prefix: write "/api/users"'],
    [route({ path: "/api/orders/{id}/items" }), 'a path is a prefix: write "/api/orders"'],
    [route({ path: "/a;v=1" }), "without the parameters"],
    [
      { ...route({ path: "/api/v1/api%2Dkey/" }), pools: { p: { keys: [{ id: "a", limit: 1, window: "1s" }] } } },
      "is served by Sluice itself",
    ],
    [{ ...route({ path: "/%61ctivities" }), activities: { endpoint: "/activities" } }, "is served by Sluice itself"],
    [
      {
        routes: [
          { path: "/A", upstream: "http://h" },
          { path: "/%41", upstream: "http://h" },
        ],
      },
      "takes this path already",
    ],
    [route({ headers: { request: { set: { X_Consumer_ID: "root" } } } }), "is Sluice's own to set"],
    [route({ encodedSlashes: "allow" }), 'must be one of "refuse", "pass"'],
    [route({ path: "/a%2Fb" }), "encoded slash"],
    [route({ path: "/a?b" }), '"?"'],
    [route({ path: "/a b" }), "printable ASCII"],
    [route({ upstream: "nowhere" }), 'there is no upstream "nowhere"'],
    [route({ upstream: "ftp://h" }), "must be a URL"],
    [route({ upstream: "http://user:secret@h" }), "must not hold a user name"],
    [route({ methods: ["get"] }), "a method in capitals"],
    [route({ hosts: ["a b"] }), "a host name"],
    [route({ tiers: ["gold"] }), 'there is no tier "gold"'],
    [route({ auth: "none", scopes: ["x"] }), "need a key"],
    [route({ auth: "maybe" }), 'must be one of "required", "optional", "none"'],
    [route({ timeout: "25h" }), "must be from 1ms to 24h"],
    [route({ cost: -1 }), "must be at least 0"],
    [route({ cors: { origins: ["*"], credentials: true } }), "name the origins"],
    [route({ cors: { origins: [] } }), "at least 1 entry"],
    [route({ cors: { origins: ["app.example.com"] } }), "an origin such as"],
    [route({ headers: { request: { set: { "X-Consumer-ID": "root" } } } }), "is Sluice's own to set"],
    [route({ headers: { response: { remove: ["Content-Length"] } } }), "is Sluice's own"],
    [route({ headers: { response: { set: { "X-A": "b\r\nc: d" } } } }), "in one line"],
    [route({ headers: { response: { set: { "X A": "b" } } } }), "is not a name"],
    [
      {
        routes: [
          { path: "/a", upstream: "http://h" },
          { path: "/a/", upstream: "http://h", name: "b" },
        ],
      },
      "takes this path already",
    ],
    [
      {
        routes: [
          { path: "/a", upstream: "http://h", name: "n" },
          { path: "/b", upstream: "http://h", name: "n" },
        ],
      },
      "is the name of routes[0] already",
    ],
    [limit({ limit: 0 }), "must be at least 1"],
    [limit({ limit: 1.5 }), "must be a whole number"],
    [limit({ burst: 5 }), "must be at least the limit"],
    [limit({ window: undefined }), "is required for fixed-window"],
    [limit({ window: "367d" }), "must be from 1ms to 366d"],
    [limit({ algorithm: "concurrency" }), "has no window"],
    [limit({ algorithm: "sliding-log", limit: 1_000_000 }), "at most 100000 for sliding-log"],
    [limit({ algorithm: "token-bucket", align: "clock" }), "is for fixed-window only"],
    [limit({ by: "tenant" }), '"header:NAME"'],
    [limit({ by: [] }), "at least 1 entry"],
    [{ server: { trustedProxies: ["10.0.0.0/33"] } }, "must be an address or a block"],
    [{ server: { port: 70_000 } }, "must be at most 65535"],
    [{ server: { maxHeaderSize: "10b" } }, "from 1kb to 1mb"],
    [{ server: { maxBodySize: "10 MB" } }, 'a size such as "64kb"'],
    [{ server: { tls: { cert: "a" } } }, "is required"],
    [{ anonymousTier: "nobody" }, 'there is no tier "nobody"'],
    [{ tiers: { "a b": {} } }, "is not a name"],
    [{ upstreams: { u: { targets: [] } } }, "at least 1 entry"],
    [{ upstreams: { u: { targets: [{ url: "h:80" }] } } }, "must be a URL"],
    [{ upstreams: { u: { targets: [{ url: "http://h", weight: 0 }] } } }, "must be at least 1"],
    [{ demo: true, upstreams: { demo: { targets: [{ url: "http://h" }] } } }, "taken by the demo backend"],
    [{ consumers: [{ id: "a", tier: "none" }] }, 'there is no tier "none"'],
    [
      {
        consumers: [
          { id: "a", tier: "pro" },
          { id: "a", tier: "pro" },
        ],
      },
      "is the id of consumers[0] already",
    ],
    [
      { consumers: [{ id: "a", tier: "pro", keys: ["one-key-for-two-0123", "one-key-for-two-0123"] }] },
      "is the same key as consumers[0].keys[0]",
    ],
  ])("%j: %s", (config, message) => {
    expect(faultOf(config)).toContain(message);
  });

  test("is refused where a list lacks its brackets, whatever its default is", () => {
    const limit = { algorithm: "fixed-window", limit: 1, window: "1m" };
    const cases: [string, object][] = [
      ["tiers.anonymous.limits", { tiers: { anonymous: { limits: limit } } }],
      ["routes", { routes: { path: "/", upstream: "http://h" } }],
      ["routes[0].limits", route({ limits: limit })],
      ["routes[0].methods", route({ methods: {} })],
      ["server.trustedProxies", { server: { trustedProxies: {} } }],
      ["routes[0].cache.key.headers", route({ cache: { key: { headers: {} } } })],
    ];
    for (const [path, config] of cases) {
      const [fault] = faultsOf(JSON.stringify(config));
      expect(fault).toContain(` ${path}: must be a list, got an object`);
    }
  });

  test("is refused where it asks for what this version has not, and only there", () => {
    const upstream = { targets: [{ url: "http://h" }] };
    const asked: [string, object][] = [
      ["plugins", { plugins: ["./a.ts"] }],
      ["server.tls.http3", { server: { tls: { cert: "a", key: "b", http3: true } } }],
    ];
    for (const [path, config] of asked)
      expect(faultsOf(JSON.stringify(config))).toEqual([
        expect.stringMatching(new RegExp(` ${path.replace(/[[\].]/g, "\\$&")}: not yet supported`)),
      ]);
    const off = {
      redis: null,
      health: { auto: null },
      pools: {},
      activities: null,
      plugins: [],
      upstreams: { u: { ...upstream, breaker: null, healthCheck: null } },
      ...route({
        retry: null,
        cache: null,
        cors: null,
        credential: null,
        headers: { request: { set: {}, remove: [] }, response: { set: {}, remove: [] } },
      }),
    };
    expect(faultsOf(JSON.stringify(off))).toEqual([]);
  });

  test("that is malformed in any of hundreds of ways is told so with a place, and never throws or shows a key", () => {
    const junk = fc.oneof(
      fc.constant(null),
      fc.integer(),
      fc.double(),
      fc.string({ maxLength: 20 }),
      fc.boolean(),
      fc.constant([]),
      fc.constant({}),
      fc.constant([[]]),
      fc.constant({ x: { y: [1] } }),
    );
    const base = JSON.stringify({ ...demo, server: { port: 1, tls: null }, upstreams: { u: { targets: [{ url: "http://h" }] } } });
    const places = (value: unknown, path: (string | number)[] = []): (string | number)[][] =>
      typeof value === "object" && value !== null
        ? [path, ...Object.entries(value).flatMap(([key, child]) => places(child, [...path, Array.isArray(value) ? Number(key) : key]))]
        : [path];
    const all = places(JSON.parse(base));
    let malformed = 0;
    fc.assert(
      fc.property(fc.constantFrom(...all), junk, fc.boolean(), (path, value, asNew) => {
        const config = JSON.parse(base);
        let here = config;
        for (const step of path.slice(0, -1)) here = here[step];
        const last = path.at(-1);
        if (last === undefined) return;
        here[asNew && typeof last === "string" ? `${last}X` : last] = value;
        const loaded = loadConfig(JSON.stringify(config, null, 1), {});
        if (!("faults" in loaded)) return;
        malformed++;
        expect(loaded.faults.length).toBeGreaterThan(0);
        for (const fault of loaded.faults) {
          expect(fault.line).toBeGreaterThan(0);
          expect(fault.column).toBeGreaterThan(0);
          expect(`${formatPath(fault.path)}${fault.message}`).not.toContain("demo_free_key_123");
        }
      }),
      { numRuns: 1000 },
    );
    expect(malformed).toBeGreaterThan(200);
  });

  test("cut off anywhere, or with a character changed, never throws", () => {
    const text = JSON.stringify(demo, null, 2);
    fc.assert(
      fc.property(
        fc.nat(text.length - 1),
        fc.constantFrom("", "{", "}", "]", '"', ",", "\0", "$", "${", "x", "9"),
        fc.boolean(),
        (at, character, cut) => {
          const loaded = loadConfig(cut ? text.slice(0, at) : text.slice(0, at) + character + text.slice(at + 1), {});
          if (cut) expect("faults" in loaded).toBe(true);
        },
      ),
    );
  });
});
