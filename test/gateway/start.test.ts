import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readdirSync, readlinkSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { loadConfig } from "../../src/config/load.ts";
import type { Config } from "../../src/config/schema.ts";
import { listen } from "../../src/gateway/listeners.ts";
import { openGateway } from "../../src/gateway/open.ts";
import { ConfigConflict } from "../../src/gateway/reload.ts";
import { openScope } from "../../src/gateway/scope.ts";
import { FakeClock } from "../support/clock.ts";
import { folder, run } from "../support/process.ts";
import { type RedisServer, redisServer } from "../support/redis.ts";

let redis: RedisServer;
beforeAll(async () => {
  redis = await redisServer();
});
afterAll(() => redis[Symbol.asyncDispose]());

function configOf(more: object): Config {
  const loaded = loadConfig(JSON.stringify({ server: { host: "127.0.0.1", drainTimeout: "0s" }, redis: { url: redis.url }, ...more }), {});
  if ("faults" in loaded) throw new Error(JSON.stringify(loaded.faults));
  return loaded.config;
}

/** A gateway on its own database, in a scope of its own. */
function opened(config: Config, path: string) {
  const faults: unknown[] = [];
  const onFault = (error: unknown) => void faults.push(error);
  const scope = openScope(onFault);
  const options = { config, file: "config.json", databasePath: path, adminToken: "an-admin-token-0123456789", log: null };
  const open = () => openGateway(scope, { ...options, clock: new FakeClock(Date.now()), onFault });
  return { scope, faults, onFault, open };
}

/** Links to Redis that are open, but for the test's own. */
async function links(): Promise<number> {
  const list = (await redis.client.client("LIST")) as string;
  return list.trim().split("\n").length - 1;
}

/** Files of a folder that this process has open. SQLite keeps a database's until the last prepared statement is collected. */
function openFiles(path: string): string[] {
  Bun.gc(true);
  return readdirSync("/proc/self/fd").flatMap((name) => {
    try {
      const target = readlinkSync(`/proc/self/fd/${name}`);
      return target.startsWith(path) ? [target] : [];
    } catch {
      return [];
    }
  });
}

async function settled(what: () => Promise<number>, wanted: number): Promise<void> {
  for (let i = 0; i < 200 && (await what()) !== wanted; i++) await Bun.sleep(10);
  expect(await what()).toBe(wanted);
}

describe("a start that fails half-way leaves nothing open, with Redis set", () => {
  test("where the configuration declares what the admin API made", async () => {
    using home = folder();
    const path = join(home.path, "sluice.db");
    const first = opened(configOf({}), path);
    const gateway = first.open();
    await gateway.ready;
    const made = await gateway.admin(
      new Request("http://localhost/admin/tiers", {
        method: "POST",
        headers: { authorization: "Bearer an-admin-token-0123456789", "content-type": "application/json" },
        body: JSON.stringify({ name: "gold", limits: [] }),
      }),
      "request-1",
    );
    expect(made.status).toBe(201);
    await first.scope.close();
    await settled(links, 0);
    expect(openFiles(home.path)).toEqual([]);

    const second = opened(configOf({ tiers: { anonymous: { limits: [] }, gold: { limits: [] } } }), path);
    expect(second.open).toThrow(ConfigConflict);
    await second.scope.close();
    await settled(links, 0);
    expect(openFiles(home.path)).toEqual([]);
    expect([...first.faults, ...second.faults]).toEqual([]);
  });

  test("where a port is taken, and the other listener's is free again", async () => {
    using home = folder();
    const taken = createServer().listen(0, "127.0.0.1");
    await new Promise((resolve) => taken.once("listening", resolve));
    const { port } = taken.address() as { port: number };
    const config = configOf({ admin: { listen: { host: "127.0.0.1", port } } });
    const { scope, open, onFault, faults } = opened(config, join(home.path, "sluice.db"));
    const gateway = open();
    await gateway.ready;
    expect(() => listen(scope, { config, host: "127.0.0.1", port: 0, gateway, onFault })).toThrow(
      expect.objectContaining({ code: "EADDRINUSE" }),
    );
    await scope.close();
    taken.close();
    await settled(links, 0);
    expect(openFiles(home.path)).toEqual([]);
    expect(faults).toEqual([]);
  });
});

describe("a start that fails half-way says one clear sentence", () => {
  test("of a conflict, and of one for which there is nothing to stand in", async () => {
    using home = folder();
    const env = { SLUICE_ADMIN_TOKEN: "an-admin-token-0123456789" };
    const write = (config: object) => writeFileSync(join(home.path, "config.json"), JSON.stringify(config));
    const base = { server: { host: "127.0.0.1", port: 0 }, redis: { url: redis.url, prefix: "start" }, storage: { path: "sluice.db" } };
    // What the admin API would have made: a tier of its own in the database.
    const made = opened(configOf({ redis: null }), join(home.path, "sluice.db"));
    const gateway = made.open();
    await gateway.admin(
      new Request("http://localhost/admin/tiers", {
        method: "POST",
        headers: { authorization: "Bearer an-admin-token-0123456789", "content-type": "application/json" },
        body: JSON.stringify({ name: "gold", limits: [] }),
      }),
      "request-1",
    );
    await made.scope.close();
    write({ ...base, tiers: { anonymous: { limits: [] }, gold: { limits: [] } } });
    const { status, stderr } = await run(["serve"], { cwd: home.path, env });
    expect([status, stderr]).toEqual([
      1,
      expect.stringMatching(
        /^sluice: the configuration is not valid:\n {2}config\.json:1:\d+ tiers\.gold: the admin API made a tier of this name already: delete that one, or rename this one\n$/,
      ),
    ]);
    const instead = await run(["serve", "--last-good"], { cwd: home.path, env });
    expect([instead.status, instead.stderr]).toEqual([
      1,
      expect.stringMatching(/sluice\.db holds no configuration that was in force before\n$/),
    ]);
    await settled(links, 0);
  });
});
