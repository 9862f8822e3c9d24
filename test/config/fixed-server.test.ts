import { expect, test } from "bun:test";
import { fixedFaults } from "../../src/config/fixed.ts";
import { loadConfig } from "../../src/config/load.ts";
import type { Config } from "../../src/config/schema.ts";
import { configWarnings } from "../../src/config/warnings.ts";

function configOf(server: object): Config {
  const loaded = loadConfig(JSON.stringify({ server }), {});
  if ("faults" in loaded) throw new Error(JSON.stringify(loaded.faults));
  return loaded.config;
}

const TLS = { tls: { cert: "c", key: "k" } };

test.each([
  [{ proxyProtocol: ["10.0.0.1"] }, { proxyProtocol: [] }, []],
  [{ ...TLS, proxyProtocol: ["10.0.0.1"] }, { ...TLS, proxyProtocol: ["10.0.0.2", "unix"] }, []],
  // TLS begins otherwise where a line may come before it.
  [{ ...TLS, proxyProtocol: ["10.0.0.1"] }, { ...TLS, proxyProtocol: [] }, ["server.proxyProtocol"]],
  [TLS, { ...TLS, proxyProtocol: ["10.0.0.1"] }, ["server.proxyProtocol"]],
  [{ unix: "a" }, { unix: "b" }, ["server.unix"]],
])("%j can become %j without a restart but for %j", (before, next, fields) => {
  expect(fixedFaults(configOf(before), configOf(next)).map(({ path }) => path.join("."))).toEqual(fields);
});

test.each([
  [{ proxyProtocol: ["unix"] }, "server.proxyProtocol.0"],
  [{ trustedProxies: ["10.0.0.1", "unix"] }, "server.trustedProxies.1"],
  [{ proxyProtocol: ["0.0.0.0/0"] }, "server.proxyProtocol.0"],
])("%j is told of", (server, place) => {
  const warnings = configWarnings(configOf(server), { server }, "0.0.0.0", 0);
  expect(warnings.map(({ path }) => path.join("."))).toContain(place);
});

test.each([
  [{ port: 8443, tls: { port: 8443, cert: "c", key: "k" } }, "is server.port as well"],
  [{ unix: `/run/${"x".repeat(100)}` }, "at most 96 bytes"],
  [{ unix: "unix:/run/s.sock" }, 'is the path alone: write "/run/s.sock"'],
  [{ unix: { path: "unix:s.sock" } }, 'write "s.sock"'],
  [{ tls: {} }, 'a certificate and its key, or "acme" to have one ordered'],
  [{ unix: { path: "s", mode: "0999" } }, 'rights such as "0660"'],
  [{ proxyProtocol: ["balancer"] }, 'or "unix"'],
])("%j is a fault", (server, message) => {
  const loaded = loadConfig(JSON.stringify({ server }), {});
  expect("faults" in loaded ? loaded.faults.map((fault) => fault.message).join() : "").toContain(message);
});
