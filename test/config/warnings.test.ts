import { describe, expect, test } from "bun:test";
import { loadConfig, placed } from "../../src/config/load.ts";
import { configWarnings } from "../../src/config/warnings.ts";
import { serverSection } from "../../src/http/settings.ts";
import { formatFault } from "../../src/schema/faults.ts";
import { documentedConfigs, repositoryConfigs } from "../support/documents.ts";

const NOW = Date.parse("2026-11-21T00:00:00Z");
const LOCAL = { server: { host: "127.0.0.1" } };

function warningsOf(config: object, host?: string): string[] {
  const text = JSON.stringify(config);
  const loaded = loadConfig(text, {});
  if ("faults" in loaded) throw new Error(JSON.stringify(loaded.faults));
  const found = configWarnings(loaded.config, loaded.given, host ?? loaded.config.server.host, NOW);
  return placed(text, found).map((warning) => formatFault("c", warning).replace(/^c:\d+:\d+ /, ""));
}

const KEY = "a-declared-key-0123456789";
const route = (more: object) => ({ path: "/a", upstream: "http://h", ...more });
const consumer = (...keys: unknown[]) => [{ id: "a", tier: "pro", keys }];

describe("a warning tells of", () => {
  test.each([
    [
      "a scope that no declared key has",
      { routes: [route({ scopes: ["users:read"] })], consumers: consumer(KEY) },
      'routes[0].scopes: no declared key has "users:read"',
    ],
    [
      "a scope that only a key for another route has",
      {
        routes: [route({ scopes: ["x"] }), { name: "b", path: "/b", upstream: "http://h" }],
        consumers: consumer({ key: KEY, scopes: ["x"], routes: ["b"] }),
      },
      'routes[0].scopes: no declared key has "x"',
    ],
    [
      "a tier of which no declared consumer is",
      { routes: [route({ tiers: ["enterprise"] })], consumers: consumer(KEY) },
      'routes[0].tiers: no declared consumer is of "enterprise"',
    ],
    ["a tier that is nearly the anonymous one", { tiers: { anonymus: { limits: [] } } }, "tiers.anonymus: nobody is of this tier"],
    [
      "an upstream that no route and no model uses",
      { upstreams: { u: { targets: [{ url: "http://h" }] } } },
      "upstreams.u: no route and no model of this file uses it",
    ],
    ["a route's addresses that keep nobody out", { routes: [route({ ips: {} })] }, "routes[0].ips: names no address"],
    [
      "an address that is let in and denied at once",
      { routes: [route({ ips: { allow: ["192.0.2.7", "10.0.0.0/8"], deny: ["10.0.0.0/8", "::/0"] } })] },
      "routes[0].ips.allow[1]: lets nobody in",
    ],
    [
      "an admin API for which all are too far away, or too near",
      { admin: { listen: { port: 8081 }, allowFrom: ["10.0.0.0/8"] } },
      "admin.allowFrom: lets nobody in: the admin API listens on 127.0.0.1",
    ],
    [
      "callers' money where no route costs any",
      {
        prices: { m: { input: 1, output: 1 } },
        routes: [route({})],
        tiers: { anonymous: { limits: [], quota: { limit: "5", period: "day", cost: "usd" } } },
      },
      "tiers.anonymous.quota.cost: counts money, and no route of this file has calls of models",
    ],
    [
      "a route with models whose list nobody can ask for",
      { routes: [route({ models: ["m"], methods: ["POST"] })] },
      "routes[0].methods: leaves out GET, by which clients ask which models there are",
    ],
    ["a cache on a route without GET", { routes: [route({ methods: ["POST"], cache: {} })] }, "routes[0].cache: keeps nothing"],
    [
      "a cache that keeps nothing for callers with a key",
      { routes: [route({ cache: { ttl: "1m" } })] },
      "routes[0].cache: ttl without perConsumer",
    ],
    [
      "a declared key whose time is over",
      { consumers: consumer({ key: KEY, expiresAt: "2026-11-20T00:00:00Z" }) },
      "consumers[0].keys[0].expiresAt: is over",
    ],
  ])("%s", (_what, config, warning) => {
    const [only, ...more] = warningsOf({ ...LOCAL, ...config });
    expect(only).toStartWith(warning);
    expect(more).toEqual([]);
  });

  test("what strangers reach: the admin API without TLS, the demo, its keys, an open pool, a proxy that is anybody", () => {
    expect(warningsOf({})).toEqual([expect.stringMatching(/^admin: the admin API can be reached on 0\.0\.0\.0 without TLS/)]);
    expect(warningsOf({ admin: { console: "main" } })).toEqual([
      expect.stringMatching(/^admin: /),
      expect.stringMatching(/^admin\.console: has the console on 0\.0\.0\.0 without TLS/),
    ]);
    expect(warningsOf({ admin: { console: "main" } }, "127.0.0.1")).toEqual([]);
    expect(warningsOf({}, "127.0.0.1")).toEqual([]);
    expect(warningsOf({ admin: { listen: { port: 8081 } } })).toEqual([]);
    expect(warningsOf({ admin: { listen: { host: "10.0.0.5", port: 8081 } } })).toEqual([expect.stringMatching(/^admin\.listen: /)]);
    expect(warningsOf({ server: { tls: { cert: "a", key: "b" } } })).toEqual([]);
    // A token that crosses private networks alone is their owner's to judge.
    expect(warningsOf({ admin: { allowFrom: ["10.0.0.0/8", "192.168.1.0/24", "::1", "fd00::/8"] } })).toEqual([]);
    for (const entry of ["203.0.113.9", "8.0.0.0/5", "0.0.0.0/0"])
      expect(warningsOf({ admin: { allowFrom: ["10.0.0.0/8", entry] } })).toEqual([expect.stringMatching(/without TLS/)]);
    expect(warningsOf({ demo: true })).toEqual([]);
    const listen = { admin: { listen: { port: 8081 } } };
    expect(warningsOf({ demo: true, ...listen }, "0.0.0.0")).toEqual([
      expect.stringMatching(/^demo: the demo can be reached on 0\.0\.0\.0/),
    ]);
    expect(warningsOf({ consumers: consumer("demo_pro_key_789"), ...listen })).toEqual([
      "consumers[0].keys[0]: is a key of the demo, which anybody knows who reads the documentation",
    ]);
    expect(warningsOf({ server: { trustedProxies: ["0.0.0.0/0"] }, ...listen })).toEqual([expect.stringMatching(/believes everybody/)]);
    const pools = { p: { auth: "none", keys: [{ id: "k", limit: 1, window: "1m" }] } };
    expect(warningsOf({ pools, ...listen })).toEqual([expect.stringMatching(/^pools\.p\.auth: none hands/)]);
  });
});

describe("nothing is said of", () => {
  test.each([
    [
      "routes whose scopes a declared key has",
      { routes: [route({ scopes: ["x"] })], consumers: consumer(KEY, { key: `${KEY}2`, scopes: ["x", "y"] }) },
    ],
    [
      "an admin API on this machine behind a proxy that names its callers",
      { admin: { allowFrom: ["10.0.0.0/8"] }, server: { host: "127.0.0.1", trustedProxies: ["127.0.0.0/8"] } },
    ],
    ["an admin API for this machine alone", { admin: { allowFrom: ["127.0.0.1"] } }],
    ["routes for consumers whose keys the admin API makes", { routes: [route({ scopes: ["x"] })], consumers: consumer() }],
    ["routes while no consumer is declared", { routes: [route({ scopes: ["x"], tiers: ["enterprise"] })] }],
    ["tiers that somebody is of", { tiers: { anonymous2: { limits: [] } }, consumers: [{ id: "a", tier: "anonymous2" }] }],
    ["an anonymous tier of the file's own", { tiers: { anonymous: { limits: [] }, anonymus: { limits: [] } } }],
    ["a part of what is let in that is denied", { routes: [route({ ips: { allow: ["10.0.0.0/8", "::1"], deny: ["10.1.0.0/16"] } })] }],
    [
      "an upstream that only a virtual model uses",
      {
        upstreams: { u: { targets: [{ url: "http://h" }] } },
        models: { smart: { try: [{ upstream: "u", model: "m" }] } },
        routes: [route({ models: ["smart"] })],
      },
    ],
    ["a cache on a route that takes all methods", { routes: [route({ cache: {}, auth: "none" })] }],
  ])("%s", (_what, config) => {
    expect(warningsOf({ ...LOCAL, ...config })).toEqual([]);
  });
});

/** A value for each variable that a text names. */
const variables = (text: string): Record<string, string> =>
  Object.fromEntries(
    [...text.matchAll(/\$\{([A-Z_0-9]+)\}/g)].map(([, name = ""], i) => [
      name,
      name.startsWith("WEBHOOK")
        ? `whsec_${"A".repeat(43)}=`
        : /KEY|PASSWORD|SECRET|TOKEN/.test(name)
          ? `value-of-a-variable-of-thirty-two-characters-${i}`
          : `http://value-${i}`,
    ]),
  );

describe("a configuration that people are shown", () => {
  test("is valid as it stands, and lets its own consumers in", () => {
    for (const { place, text } of [...repositoryConfigs(), ...documentedConfigs()]) {
      const loaded = loadConfig(text, variables(text));
      // Blocks of some fields refer to what is described elsewhere.
      const faults =
        "faults" in loaded ? loaded.faults.map((fault) => formatFault(place, fault)).filter((line) => !line.includes("there is no")) : [];
      expect(faults).toEqual([]);
      if ("faults" in loaded) continue;
      const lines = configWarnings(loaded.config, loaded.given, "127.0.0.1", NOW).map((warning) => formatFault(place, warning));
      expect(lines.filter((line) => line.includes("no declared"))).toEqual([]);
    }
  });
});

describe("client certificates", () => {
  const TLS = { cert: "cert.pem", key: "key.pem", clientCertificates: { ca: "clients.pem" } };
  test("may bring callers of every tier, of whom no record speaks", () => {
    const config = { routes: [route({ tiers: ["enterprise"] })], consumers: consumer(KEY) };
    expect(warningsOf({ ...config, server: { host: "127.0.0.1", tls: TLS } })).toEqual([]);
  });

  test("that are required on one port are not on the plain one beside it", () => {
    const loaded = loadConfig(JSON.stringify({ server: { tls: TLS } }), {});
    if ("faults" in loaded) throw new Error(JSON.stringify(loaded.faults));
    const { config, given } = loaded;
    const warned = (tls: object, require = true) => {
      const clientCertificates = { ...(config.server.tls as { clientCertificates: object }).clientCertificates, require };
      const server = { ...config.server, tls: { ...config.server.tls, clientCertificates, ...tls } } as typeof config.server;
      return serverSection.warnings?.(server, { config, given, host: "127.0.0.1", now: NOW }).map(({ path }) => path.join("."));
    };
    expect(warned({ port: 8443, redirect: false })).toEqual(["server.tls.redirect"]);
    expect(warned({ port: 8443 })).toEqual([]);
    expect(warned({ redirect: false })).toEqual([]);
    expect(warned({ port: 8443, redirect: false }, false)).toEqual([]);
  });
});
