import { describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { isAdminUnencrypted } from "../../src/config/admin-settings.ts";
import { loadConfig } from "../../src/config/load.ts";
import { type Running, start } from "../support/process.ts";
import { until } from "../support/until.ts";

const TLS = { cert: "cert.pem", key: "key.pem" };

test.each([
  [{}, true],
  [{ admin: { allowFrom: ["203.0.113.0/24"] } }, true],
  [{ admin: { listen: { host: "0.0.0.0", port: 1 } } }, true],
  [{ server: { tls: { port: 1, redirect: false, ...TLS } } }, true],
  // Reached from this machine, or a private network, alone.
  [{ server: { host: "127.0.0.1" } }, false],
  [{ server: { host: "::1" } }, false],
  [{ admin: { listen: { port: 1 } } }, false],
  [{ admin: { allowFrom: ["10.0.0.0/8", "::1", "unix"] } }, false],
  // With TLS.
  [{ server: { tls: TLS } }, false],
  [{ server: { tls: { port: 1, ...TLS } } }, false],
  [{ server: { tls: { port: 1, redirect: false, ...TLS } }, admin: { listen: { host: "0.0.0.0", port: 2 } } }, false],
])("with %j the admin API is open to whoever reads along: %s", (given, expected) => {
  const loaded = loadConfig(JSON.stringify(given), {});
  if ("faults" in loaded) throw new Error(JSON.stringify(loaded.faults));
  expect(isAdminUnencrypted(loaded.config, loaded.config.server.host)).toBe(expected);
});

describe.each([
  ["alone", {}],
  ["with workers", { workers: 2 }],
])("an admin API that can be reached without TLS, %s", (_, server) => {
  const config = { server, logging: { accessLog: false }, tiers: { anonymous: { limits: [] } } };
  const told = (gateway: Running) => gateway.output().match(/admin API can be reached/g)?.length ?? 0;
  const warnings = async (gateway: Running): Promise<string[]> => {
    const ready = (await (await fetch(`${gateway.url}/ready`)).json()) as { warnings: { code: string }[] };
    return ready.warnings.map(({ code }) => code);
  };

  test("is told of once in the log and at /ready, until it is mended", async () => {
    await using gateway = await start({ config, env: { SLUICE_HOST: "0.0.0.0" } });
    await until(() => told(gateway) > 0);
    expect(await warnings(gateway)).toEqual(["adminUnencrypted"]);
    writeFileSync(join(gateway.folder, "config.json"), JSON.stringify({ ...config, admin: { allowFrom: ["127.0.0.1"] } }));
    await until(async () => (await warnings(gateway)).length === 0);
    expect(told(gateway)).toBe(1);
    writeFileSync(join(gateway.folder, "config.json"), JSON.stringify(config));
    await until(async () => (await warnings(gateway)).length > 0 && told(gateway) > 1);
    await until(() => gateway.output().match(/configuration reloaded/g)?.length === 2);
    expect(told(gateway)).toBe(2);
  });
});
