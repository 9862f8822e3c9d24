import { describe, expect, test } from "bun:test";
import Ajv from "ajv/dist/2020";
import fc from "fast-check";
import demo from "../../config.json";
import { jsonSchema } from "../../src/config/json-schema.ts";
import { loadConfig } from "../../src/config/load.ts";
import { documentedConfigs, parsed, repositoryConfigs } from "../support/documents.ts";

const validate = new Ajv({ strict: true, allErrors: true, allowUnionTypes: true }).compile(jsonSchema());
const errors = (value: unknown): string[] =>
  validate(value) ? [] : (validate.errors ?? []).map(({ instancePath, message }) => `${instancePath} ${message}`);

describe("the schema that sluice prints", () => {
  test("takes every configuration of the repository and of its documents", () => {
    const examples = [...repositoryConfigs(), ...documentedConfigs()];
    expect(examples.length).toBeGreaterThan(4);
    for (const { place, text } of examples) expect([place, errors(parsed(text))]).toEqual([place, []]);
  });

  test("wants no field that has a default, and takes variables in the place of any text", () => {
    for (const config of [
      {},
      { $schema: "./schema.json", routes: [{ path: "/a", upstream: "http://h" }] },
      { upstreams: { u: { targets: [{ url: "http://h" }], healthCheck: {}, breaker: {}, balance: "${BALANCE}" } } },
      { logging: { level: "${LEVEL}" }, server: { maxBodySize: "${SIZE}", tls: { cert: "a", key: "b" } } },
      { routes: [{ path: "${PREFIX}/a", upstream: "${BACKEND}", auth: "${AUTH}", timeout: "${TIMEOUT}", methods: ["${M}"] }] },
      { consumers: [{ id: "${ID}", tier: "pro", keys: ["${A}", { key: "${B}", scopes: ["users:read"] }] }] },
      { issuers: { main: { issuer: "https://id.example.com", audience: ["api"], secret: "${SECRET}" } } },
      { redis: { url: "${REDIS}" }, telemetry: { otlp: { endpoint: "http://${COLLECTOR}:4318" } } },
      { tiers: { t: { quota: { limit: 1, period: "day" }, limits: [{ algorithm: "concurrency", limit: 1, by: ["ip", "header:X-A"] }] } } },
      { plugins: [], server: { tls: null }, routes: [{ path: "/", upstream: "http://h", plugins: [] }] },
    ])
      expect([config, errors(config)]).toEqual([config, []]);
  });

  test.each([
    { rutes: [] },
    { server: { port: "8080" } },
    { server: { host: "" } },
    { routes: [{ upstream: "http://127.0.0.1:1" }] },
    { routes: [{ path: "/a", upstream: "http://h", auth: "maybe" }] },
    { routes: [{ path: "/a", upstream: "http://h", timeout: "1 minute" }] },
    { upstreams: { "a b": { targets: [{ url: "http://h" }] } } },
    { upstreams: { u: { targets: [] } } },
    { consumers: [{ id: "a", tier: "pro", keys: ["short"] }] },
    { consumers: [{ id: "a", tier: "pro", keys: [{ scopes: ["a"] }] }] },
    { tiers: { t: { limits: { algorithm: "fixed-window", limit: 1 } } } },
    { issuers: { main: { issuer: "https://id.example.com", audience: ["api"], secret: "a-secret-that-is-too-short" } } },
    { plugins: ["./a.ts"] },
    { consumers: {} },
  ])("refuses %j", (config) => {
    expect(errors(config)).not.toEqual([]);
    expect(loadConfig(JSON.stringify(config), {})).toHaveProperty("faults");
  });

  test("shows choices as enum, and no words of our own", () => {
    const text = JSON.stringify(jsonSchema());
    for (const word of ['"const"', '"expects"', '"secret":true', '"isUrl"', '"secretNames"', '"required":[]'])
      expect([word, text.includes(word)]).toEqual([word, false]);
    expect(text.includes('"enum":["required","optional","none"]')).toBe(true);
  });

  test("takes whatever the loader takes", () => {
    const base = JSON.stringify({
      ...demo,
      server: { port: 1, tls: null },
      upstreams: { u: { targets: [{ url: "http://h" }], healthCheck: { path: "/up" }, hashOn: "ip" } },
      redis: { url: "redis://h" },
      consumers: [{ id: "a", tier: "pro", keys: [{ key: "a-declared-key-0123456789", scopes: ["a"] }, "another-key-0123456789"] }],
    });
    const places = (value: unknown, path: (string | number)[] = []): (string | number)[][] =>
      typeof value === "object" && value !== null
        ? [path, ...Object.entries(value).flatMap(([key, child]) => places(child, [...path, Array.isArray(value) ? Number(key) : key]))]
        : [path];
    const junk = fc.constantFrom<unknown>(null, undefined, 0, 1, 7.5, -1, "", "x", "1m", "10mb", "/x", "http://h:1", true, false, [], {}, [
      "a",
    ]);
    let taken = 0;
    fc.assert(
      fc.property(fc.constantFrom(...places(JSON.parse(base)).filter((path) => path.length > 0)), junk, (path, value) => {
        const config = JSON.parse(base);
        let here = config;
        for (const step of path.slice(0, -1)) here = here[step];
        here[path.at(-1) as string] = value;
        const text = JSON.stringify(config);
        if ("faults" in loadConfig(text, {})) return;
        taken++;
        expect([text, errors(JSON.parse(text))]).toEqual([text, []]);
      }),
      { numRuns: 400 },
    );
    expect(taken).toBeGreaterThan(20);
  });
});
