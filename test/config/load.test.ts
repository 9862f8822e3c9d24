import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import demo from "../../config.json";
import { loadConfig } from "../../src/config/load.ts";
import type { Config } from "../../src/config/schema.ts";
import { formatFault, formatPath } from "../../src/schema/faults.ts";

function valid(text: string, env: Record<string, string> = {}): Config {
  const loaded = loadConfig(text, env);
  if ("faults" in loaded) throw new Error(loaded.faults.map((fault) => formatFault("config.json", fault)).join("\n"));
  return loaded.config;
}

/** What `sluice check` would print. */
function faultsOf(text: string, env: Record<string, string> = {}): string[] {
  const loaded = loadConfig(text, env, "config.json");
  return "faults" in loaded ? loaded.faults.map((fault) => formatFault("c", fault)) : [];
}

const faultOf = (config: object): string => faultsOf(JSON.stringify(config))[0] ?? "none";
const route = (more: object) => ({ routes: [{ path: "/a", upstream: "http://127.0.0.1:1", ...more }] });
const declared = (more: object) => ({ consumers: [{ id: "a", tier: "pro", keys: [{ key: "a-declared-key-0123456789", ...more }] }] });
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
      admin: { listen: null, allowFrom: [], upstreamAllow: null },
      storage: { path: "data/sluice.db" },
      logging: { level: "info", format: "auto", accessLog: true },
      identity: { header: "X-API-Key", bearer: true, basic: false, query: null },
      limits: { maxSubjects: 1_000_000 },
      cache: { maxSize: "64mb" },
      anonymousTier: "anonymous",
      problemBase: null,
      upstreams: {},
      routes: [],
      plugins: [],
      consumers: [],
      demo: false,
    });
    expect(Object.keys(valid("{}").tiers)).toEqual(["anonymous", "free", "pro", "enterprise"]);
    expect(valid(JSON.stringify(route({}))).routes[0]).toEqual({
      path: "/a",
      upstream: "http://127.0.0.1:1",
      methods: [],
      hosts: [],
      respond: null,
      mcp: null,
      stripPrefix: true,
      addPrefix: null,
      host: "target",
      encodedSlashes: "refuse",
      slashes: "merge",
      ips: null,
      auth: "required",
      issuers: [],
      tiers: [],
      scopes: [],
      authorize: null,
      limits: [],
      cost: 1,
      timeout: "30s",
      maxBodySize: null,
      bodyRate: null,
      cache: null,
      compress: null,
      websocket: null,
      retry: { attempts: 3, baseDelay: "1s", maxDelay: "30s", factor: 2, jitter: true, attemptTimeout: null, on: [] },
      credential: null,
      usage: null,
      models: [],
      cors: null,
      headers: { request: { set: {}, remove: [] }, response: { set: {}, remove: [] } },
      plugins: [],
    });
    expect(valid('{ "upstreams": { "u": { "targets": [{ "url": "http://h" }] } } }').upstreams.u).toEqual({
      targets: [{ url: "http://h", weight: 1 }],
      tls: null,
      protocol: "http/1.1",
      balance: "round-robin",
      hashOn: null,
      connectTimeout: "5s",
      slowStart: null,
      breaker: {
        failureThreshold: 5,
        recoveryTimeout: null,
        successThreshold: 3,
        failureRatio: null,
        window: "10s",
        minimumRequests: 20,
        failures: ["connect", "timeout", "reset", "502", "503", "504", "grpc:UNAVAILABLE"],
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
      'c:4:15 routes[0].path: must begin with "/"',
      'c:4:34 routes[0].upstream: there is no upstream "usrs"',
      "c:5:5 routes[1].path: is required",
      'c:5:54 routes[1].limits[0].algorithm: must be one of "fixed-window", "sliding-window", "sliding-log", "token-bucket", "gcra", "concurrency", got "sliding"',
      'c:5:87 routes[1].limits[0].window: must be a duration such as "250ms", "30s", "5m", "1h" or "30d", got "1 minute"',
      "c:7:24 admin.listen.port: is required",
      "c:8:54 consumers[0].keys[0]: the environment variable NOT_SET is not set",
    ]);
  });

  test("with a field of the wrong kind is looked through to its end", () => {
    const text = `{
  "upsteams": { "users": { "targets": [{ "url": "http://h" }] } },
  "tiers": { "gold": { "limits": "many" } },
  "routes": [
    { "upstream": "users" },
    { "path": "/b", "upstream": "users", "tiers": ["gold", "goldd"], "timeout": 5 },
    { "path": "/c", "upstream": "orders" },
    { "path": "/c", "upstream": "http://h" }
  ],
  "consumers": [{ "id": "a", "tier": "silver" }, { "id": 7, "tier": "gold" }, { "id": "a", "tier": "gold" }]
}`;
    expect(faultsOf(text)).toEqual([
      'c:2:3 upsteams: unknown field "upsteams", did you mean "upstreams"?',
      'c:3:34 tiers.gold.limits: must be a list, got "many"',
      "c:5:5 routes[0].path: is required",
      'c:6:60 routes[1].tiers[1]: there is no tier "goldd", did you mean "gold"?',
      'c:6:81 routes[1].timeout: must be a duration such as "250ms", "30s", "5m", "1h" or "30d", got 5',
      'c:7:33 routes[2].upstream: there is no upstream "orders"',
      "c:8:15 routes[3].path: routes[2] takes this path already, with a host and a method in common",
      'c:10:38 consumers[0].tier: there is no tier "silver"',
      "c:10:58 consumers[1].id: must be 1 to 128 letters, digits and . _ @ : -, beginning with a letter or digit, got 7",
      "c:10:87 consumers[2].id: is the id of consumers[0] already",
    ]);
  });

  test("of other lists is not said to lack what stands in a list that can't be read", () => {
    const text = '{ "upstreams": [], "routes": [{ "path": "/a", "upstream": "users" }] }';
    expect(faultsOf(text)).toEqual(["c:1:16 upstreams: must be an object, got a list"]);
  });

  test.each([
    [{ services: {} }, 'did you mean "upstreams"?'],
    [{ listen: 8080 }, 'did you mean "server"?'],
    [{ rateLimit: 5 }, "limits belong to a tier, a consumer, a key or a route"],
    [{ jwt: {} }, 'did you mean "issuers"?'],
    [{ middlewares: [] }, "are fields of the route here"],
    [{ port: 8080 }, 'unknown field "port", did you mean server.port?'],
    [route({ rate_limit: 5 }), 'did you mean "limits"?'],
    [route({ cache: { maxAge: "1m" } }), 'did you mean "ttl"?'],
    [route({ strip_path: true }), 'did you mean "stripPrefix"?'],
    [route({ ip_restriction: {} }), 'did you mean "ips"?'],
    [route({ ips: { denylist: [] } }), 'did you mean "deny"?'],
    [route({ backend: "x" }), 'did you mean "upstream"?'],
    [{ upstreams: { u: { servers: [{ url: "http://h" }] } } }, 'did you mean "targets"?'],
    [{ constructor: {}, hasOwnProperty: 1, routes: [{ toString: 1 }] }, 'unknown field "constructor"'],
    [{ server: { trusted_proxies: [] } }, 'did you mean "trustedProxies"?'],
  ])("in other gateways' words names Sluice's: %j", (config, message) => {
    expect(faultsOf(JSON.stringify(config)).join("\n")).toContain(message);
  });

  test("in another format is told which", () => {
    expect(faultsOf("server:\n  port: 8080\n")).toEqual([
      "c:1:1 this is YAML, and the file is read as JSON: let its name end in .yaml, as in config.yaml",
    ]);
    expect(faultsOf("---\n# x\nroutes: []\n")[0]).toContain("this is YAML");
    expect(faultsOf("# x\n[server]\nport = 8080\n")[0]).toContain("this is TOML");
    expect(faultsOf('{ "a": 1')[0]).not.toContain("YAML");
  });

  test("says where Redis is in one of three ways", () => {
    const is = (redis: object) => faultsOf(JSON.stringify({ redis }));
    const [fault, ...more] = is({});
    expect([fault, more]).toEqual([expect.stringContaining('redis.url: is required, unless "sentinel" or "cluster"'), []]);
    for (const redis of [{ url: "redis://h" }, { sentinel: { name: "m", nodes: ["h"] } }, { cluster: ["h:7000"] }])
      expect(is(redis)).toEqual([]);
  });

  test("with a fault that came by the environment is told the variable", () => {
    expect(faultsOf("{}", { SLUICE_REDIS_URL: "localhost:6379" })).toEqual([
      'c:1:1 redis.url: the environment variable SLUICE_REDIS_URL must be a URL such as "redis://127.0.0.1:6379"',
    ]);
    expect(
      faultsOf(JSON.stringify({ ...route({ upstream: "${BACKEND}" }), consumers: [{ id: "a", tier: "pro", keys: ["${ACME_KEY}"] }] })),
    ).toEqual([
      "c:1:36 routes[0].upstream: the environment variable BACKEND is not set",
      "c:1:95 consumers[0].keys[0]: the environment variable ACME_KEY is not set",
    ]);
  });

  test("of the demo listens on this machine alone, unless it says otherwise", () => {
    expect(valid('{ "demo": true }').server.host).toBe("127.0.0.1");
    expect(valid('{ "demo": true, "server": { "port": 1 } }').server).toMatchObject({ host: "127.0.0.1", port: 1 });
    expect(valid('{ "demo": true, "server": { "host": "0.0.0.0" } }').server.host).toBe("0.0.0.0");
    expect(valid('{ "demo": false }').server.host).toBe("0.0.0.0");
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
    [
      route({ ips: { allow: ["10.0.0.0/8", "10.0.0.0/33"] } }),
      'routes[0].ips.allow[1]: must be an address or a block such as "10.0.0.0/8"',
    ],
    [route({ ips: { deny: ["localhost"] } }), "routes[0].ips.deny[0]: must be an address or a block"],
    [route({ ips: ["10.0.0.0/8"] }), "routes[0].ips: must be an object"],
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
    [route({ retry: { factor: "2" } }), "must be a number, got"],
    [limit({ burst: 5 }), "must be at least the limit"],
    [limit({ window: undefined }), "is required for fixed-window"],
    [limit({ window: "367d" }), "must be from 1ms to 366d"],
    [limit({ algorithm: "concurrency" }), "has no window"],
    [limit({ algorithm: "sliding-log", limit: 1_000_000 }), "at most 100000 for sliding-log"],
    [limit({ algorithm: "token-bucket", align: "clock" }), "is for fixed-window only"],
    [limit({ by: "tenant" }), '"header:NAME"'],
    [limit({ by: [] }), "at least 1 entry"],
    [{ server: { trustedProxies: ["10.0.0.0/33"] } }, "must be an address or a block"],
    [
      { admin: { allowFrom: ["::1", "office"] } },
      'admin.allowFrom[1]: must be an address or a block such as "10.0.0.0/8", or "unix", got "office"',
    ],
    [{ problemBase: "errors.example.com" }, 'problemBase: must be a URL such as "https://errors.example.com", or null'],
    [{ problemBase: "ftp://example.com" }, "problemBase: must be a URL such as"],
    [{ problemBase: "https://exa mple.com" }, "problemBase: must be a URL such as"],
    [{ problemBase: "https://[::/" }, "problemBase: must be a URL such as"],
    [{ problemBase: "https://user:secret@example.com" }, "problemBase: must hold no user name"],
    [{ server: { port: 70_000 } }, "must be at most 65535"],
    [{ server: { maxHeaderSize: "10b" } }, "from 1kb to 1mb"],
    [{ server: { maxBodySize: "10 MB" } }, 'a size such as "64kb"'],
    [{ server: { tls: { cert: "a" } } }, "is required"],
    [{ anonymousTier: "nobody" }, 'there is no tier "nobody"'],
    [{ ready: { upstreams: ["nobody"] } }, 'there is no upstream "nobody"'],
    [{ upstreams: { u: { targets: [{ url: "http://h" }], breaker: { failures: ["6xx"] } } } }, 'a status such as "503"'],
    [{ upstreams: { u: { targets: [{ url: "http://h" }], breaker: { recoveryTimeout: "soon" } } } }, "or null"],
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
    [declared({ routes: ["test"] }), 'keys[0].routes[0]: there is no route "test"'],
    [{ ...route({ name: "users" }), ...declared({ routes: ["user"] }) }, 'there is no route "user", did you mean "users"?'],
    [declared({ ips: ["10.0.0.0/33"] }), "keys[0].ips[0]: must be an address or a block"],
    [declared({ expiresAt: "tomorrow" }), "keys[0].expiresAt: must be an RFC 3339 time"],
    [declared({ scope: ["a"] }), 'unknown field "scope", did you mean "scopes"?'],
    [declared({ key: "short" }), "keys[0].key: must be a key of 16 to 512"],
    [declared({ key: "sha256:12345678901234567890" }), "keys[0].key: a hash has 64 hexadecimal digits"],
    [declared({ key: `slc_${"a".repeat(38)}` }), "keys[0].key: reads like a key that Sluice made, but its checksum is wrong"],
    [declared({ limits: [{ algorithm: "fixed-window", limit: 1 }] }), "keys[0].limits[0].window: is required"],
    [{ consumers: [{ id: "a", tier: "Pro" }] }, 'there is no tier "Pro", did you mean "pro"?'],
    [
      { upstreams: { users: { targets: [{ url: "http://h" }] } }, ...route({ upstream: "user" }) },
      'there is no upstream "user", did you mean "users"?',
    ],
    [route({ upstream: "127.0.0.1:8101" }), 'a URL begins with http:// or https://: write "http://127.0.0.1:8101"'],
    [{ upstreams: { u: { targets: [{ url: "users.internal/api" }] } } }, 'write "http://users.internal/api"'],
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
    const asked: [string, object][] = [["server.tls.http3", { server: { tls: { cert: "a", key: "b", http3: true } } }]];
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
      { numRuns: 250 },
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
          const loaded = loadConfig(cut ? text.slice(0, at) : text.slice(0, at) + character + text.slice(at + 1), {}, "config.json");
          if (cut) expect("faults" in loaded).toBe(true);
        },
      ),
    );
  });
});
