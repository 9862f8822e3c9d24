import { describe, expect, test } from "bun:test";
import { fixedFaults } from "../../src/config/fixed.ts";
import { loadConfig } from "../../src/config/load.ts";
import { Config, SECTIONS } from "../../src/config/schema.ts";
import { formatPath } from "../../src/schema/faults.ts";

const config = (given: object): Config => {
  const loaded = loadConfig(JSON.stringify(given), {});
  if ("faults" in loaded) throw new Error(JSON.stringify(loaded.faults));
  return loaded.config;
};

const REDIS = { url: "redis://:hush@127.0.0.1:6379" };

test("each field of the configuration is one section", () => {
  expect(Object.keys(Config.properties)).toEqual(["$schema", ...SECTIONS.map(({ name }) => name)]);
});

describe("a reload", () => {
  test.each([
    ["server.host", {}, { server: { host: "127.0.0.1" } }],
    ["server.port", {}, { server: { port: 1 } }],
    ["server.tls", {}, { server: { tls: { cert: "a", key: "b" } } }],
    ["admin.listen", {}, { admin: { listen: { port: 1 } } }],
    ["storage.path", {}, { storage: { path: "other.db" } }],
    ["redis", {}, { redis: REDIS }],
    ["redis", { redis: REDIS }, {}],
    ["redis", { redis: REDIS }, { redis: { ...REDIS, prefix: "other" } }],
    ["activities.path", { activities: { path: "a.db" } }, { activities: { path: "b.db" } }],
    ["demo", { server: { host: "127.0.0.1" } }, { server: { host: "127.0.0.1" }, demo: true }],
  ])("can't change %s: that needs a restart", (path, before, next) => {
    expect(fixedFaults(config(before), config(next)).map((fault) => formatPath(fault.path))).toEqual([path]);
  });

  test.each([
    [
      {},
      { server: { drainTimeout: "1s" }, admin: { allowFrom: ["10.0.0.0/8"], upstreamAllow: ["a.example"] }, limits: { maxSubjects: 5 } },
    ],
    [{ redis: REDIS }, { redis: { ...REDIS, onFailure: "deny" } }],
    [{}, { activities: { path: "a.db" } }],
    [{ activities: { path: "a.db" } }, {}],
  ])("changes anything else, and what was off may be put anywhere: %j, then %j", (before, next) => {
    expect(fixedFaults(config(before), config(next))).toEqual([]);
  });

  test("says what to put back, unless it may hold a secret", () => {
    const [port] = fixedFaults(config({ server: { port: 7 } }), config({ server: { port: 8 } }));
    expect(port?.message).toBe("can't be changed while the gateway runs: restart it, or put 7 back");
    const [redis] = fixedFaults(config({ redis: REDIS }), config({}));
    expect(redis?.message).toBe("can't be changed while the gateway runs: restart it");
  });
});
