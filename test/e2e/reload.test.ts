import { Database } from "bun:sqlite";
import { describe, expect, test } from "bun:test";
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { backend } from "../support/backend.ts";
import { flaky, underLoad } from "../support/flaky.ts";
import { folder, type Running, run, start } from "../support/process.ts";

const KEY = "a-declared-key-0123456789";
const limit = (limit: number) => ({ limits: [{ name: "all", algorithm: "fixed-window", limit, window: "1h" }] });

const configFor = (url: string, more: object = {}) => ({
  logging: { accessLog: false },
  tiers: { anonymous: { limits: [] }, plain: limit(1_000_000) },
  upstreams: { main: { targets: [{ url }] } },
  routes: [{ name: "main", path: "/", upstream: "main", auth: "optional" }],
  consumers: [{ id: "acme", tier: "plain", keys: [KEY] }],
  ...more,
});

const write = (gateway: Running, config: unknown) =>
  writeFileSync(join(gateway.folder, "config.json"), typeof config === "string" ? config : JSON.stringify(config, null, 2));
const reload = async (gateway: Running) => {
  const answer = await gateway.admin("POST", "/admin/config/reload");
  return {
    status: answer.status,
    body: (await answer.json()) as { errors?: { path: string; message: string; line: number; column: number }[]; detail?: string },
  };
};
/** The log comes by a pipe, a little later than the answers. */
const printed = async (gateway: Running, text: string) => {
  while (!gateway.output().includes(text)) await Bun.sleep(10);
};
const use = (gateway: Running, path = "/", key = KEY) => fetch(gateway.url + path, { headers: { "x-api-key": key } });

describe("a reload", () => {
  test("a hundred of them under load lose no request, no count and no breaker's state", async () => {
    using behind = flaky(() => ({ status: 200, body: "fine" }));
    using other = flaky(() => ({ status: 200 }));
    const versions = [0, 1].map((version) => ({
      ...configFor(behind.url, {
        upstreams: {
          main: { targets: [{ url: behind.url }] },
          [`extra${version}`]: { targets: [{ url: other.url }] },
          held: { targets: [{ url: other.url }] },
        },
        routes: [
          { name: "main", path: "/", upstream: "main", auth: "optional", timeout: `${10 + version}s` },
          { name: "held", path: "/held", upstream: "held", auth: "none", retry: null },
        ],
      }),
      tiers: { anonymous: { limits: [] }, plain: limit(1_000_000 + version) },
    }));
    await using gateway = await start({ config: versions[0] });
    await gateway.admin("POST", `/admin/breakers/${encodeURIComponent(other.url)}/open`);
    let requests = 0;
    const failures: string[] = [];
    const load = underLoad(16, async () => {
      const answer = await use(gateway).catch((error: Error) => error);
      if (answer instanceof Error || answer.status !== 200 || (await answer.text()) !== "fine") failures.push(String(answer));
      requests++;
    });
    for (let i = 1; i <= 100; i++) {
      write(gateway, versions[i % 2]);
      expect((await reload(gateway)).status).toBe(200);
    }
    await load.stop();
    expect(failures).toEqual([]);
    expect(requests).toBeGreaterThan(100);
    const limits = (await (await gateway.admin("GET", "/admin/limits/acme")).json()) as { limits: { used: number }[] };
    expect(limits.limits.map(({ used }) => used)).toEqual([requests]);
    expect((await fetch(`${gateway.url}/held`)).status).toBe(503);
  });

  test("comes by itself when the file changes or is replaced, and by SIGHUP", async () => {
    using behind = backend();
    await using gateway = await start({ config: configFor(behind.url) });
    const withRoute = (path: string) => configFor(behind.url, { routes: [{ name: "it", path, upstream: "main", auth: "none" }] });
    write(gateway, withRoute("/written"));
    await printed(gateway, '"trigger":"file"');
    expect([(await fetch(`${gateway.url}/written`)).status, (await fetch(`${gateway.url}/gone`)).status]).toEqual([200, 404]);

    const aside = join(gateway.folder, "new.json");
    writeFileSync(aside, JSON.stringify(withRoute("/replaced")));
    renameSync(aside, join(gateway.folder, "config.json"));
    while ((await fetch(`${gateway.url}/replaced`)).status !== 200) await Bun.sleep(20);

    process.kill(gateway.pid, "SIGHUP");
    await printed(gateway, '"trigger":"signal"');
  });

  test("with a fault keeps the one before, and says where the fault is", async () => {
    using behind = backend();
    await using gateway = await start({ config: configFor(behind.url) });
    const ready = async () =>
      (await (await fetch(`${gateway.url}/ready`)).json()) as { status: string; configuration: { status: string; faults: unknown[] } };
    expect(await ready()).toMatchObject({ status: "ready", configuration: { status: "ok", faults: [] } });
    write(gateway, '{\n  "routes": [{ "path": "/x", "upstream": "nowhere" }],\n  "prot": 1\n}');
    const { status, body } = await reload(gateway);
    expect([status, body.errors]).toEqual([
      422,
      [
        { path: "routes[0].upstream", message: 'there is no upstream "nowhere"', line: 2, column: 42 },
        { path: "prot", message: 'unknown field "prot"', line: 3, column: 3 },
      ],
    ]);
    expect((await use(gateway)).status).toBe(200);
    expect(await ready()).toMatchObject({ status: "ready", configuration: { status: "faulty", faults: [{ line: 2 }, { line: 3 }] } });
    await printed(gateway, "config.json:3:3 prot: unknown field");
    write(gateway, configFor(behind.url));
    expect((await reload(gateway)).status).toBe(200);
    expect(await ready()).toMatchObject({ configuration: { status: "ok", faults: [] } });
  });

  test("refuses what only a restart can change, and what the admin API made already", async () => {
    using behind = backend();
    await using gateway = await start({ config: configFor(behind.url) });
    const faultsOf = async (config: object) => {
      write(gateway, config);
      return (await reload(gateway)).body.errors?.map(({ path, message }) => `${path}: ${message}`);
    };
    expect(await faultsOf(configFor(behind.url, { server: { port: 9 }, storage: { path: "elsewhere.db" } }))).toEqual([
      "server.port: can't be changed while the gateway runs: restart it, or put 8080 back",
      'storage.path: can\'t be changed while the gateway runs: restart it, or put "data/sluice.db" back',
    ]);
    await gateway.admin("POST", "/admin/routes", { name: "made", path: "/made", upstream: "main" });
    await gateway.admin("POST", "/admin/tiers", { name: "made", limits: [] });
    await gateway.admin("POST", "/admin/consumers", { id: "made", tier: "plain" });
    await gateway.admin("POST", "/admin/keys", { consumer: "made", key: "an-imported-key-0123" });
    expect(
      await faultsOf(
        configFor(behind.url, {
          tiers: { anonymous: { limits: [] }, plain: limit(1), made: {} },
          routes: [{ name: "other", path: "/made", upstream: "main" }],
          consumers: [
            { id: "made", tier: "plain" },
            { id: "thief", tier: "plain", keys: ["an-imported-key-0123"] },
          ],
        }),
      ),
    ).toEqual([
      "tiers.made: the admin API made a tier of this name already: delete that one, or rename this one",
      'routes[0].path: the route "made" takes this path already, with a host and a method in common',
      "consumers[0]: the admin API made a consumer of this name already: delete that one, or rename this one",
      "consumers[1].keys[0]: is a key that the admin API made or imported already",
    ]);
    expect((await use(gateway)).status).toBe(200);
  });

  test("changes consumers, keys, identity and limits; what the admin API made stays", async () => {
    using behind = backend();
    await using gateway = await start({ config: configFor(behind.url) });
    const made = (await (await gateway.admin("POST", "/admin/keys", { consumer: "acme" })).json()) as { key: string };
    expect((await use(gateway, "/", made.key)).status).toBe(200);
    const other = "another-declared-key-0123";
    write(gateway, configFor(behind.url, { consumers: [{ id: "other", tier: "plain", keys: [other] }], identity: { header: "X-Key" } }));
    expect((await reload(gateway)).status).toBe(200);
    const status = async (key: string) => (await fetch(gateway.url, { headers: { "x-key": key } })).status;
    // acme is gone from the file: its keys, declared or made, are no good.
    expect([await status(other), await status(KEY), await status(made.key)]).toEqual([200, 401, 401]);
    write(gateway, configFor(behind.url, { identity: { header: "X-Key" }, tiers: { anonymous: { limits: [] }, plain: limit(2) } }));
    expect((await reload(gateway)).status).toBe(200);
    // The counts go on: one request was made before, another is the last.
    expect([await status(other), await status(KEY), await status(made.key)]).toEqual([401, 200, 429]);
    write(gateway, configFor(behind.url, { logging: { level: "warn" }, server: { maxBodySize: "1kb" } }));
    expect((await reload(gateway)).status).toBe(200);
    expect((await fetch(gateway.url, { method: "POST", body: "x".repeat(2000) })).status).toBe(413);
  });
});

describe("a start with a broken file", () => {
  test("fails with the fault, or serves the configuration that was in force last and takes the mended file by itself", async () => {
    using behind = backend();
    using home = folder();
    {
      await using first = await start({ cwd: home.path, config: configFor(behind.url) });
      expect((await use(first)).status).toBe(200);
    }
    writeFileSync(join(home.path, "config.json"), '{ "routes": 7 }');
    const refused = await run(["serve"], { cwd: home.path });
    expect([refused.status, refused.stderr]).toEqual([1, expect.stringContaining("config.json:1:13 routes: must be")]);
    {
      await using second = await start({ cwd: home.path, args: ["--last-good"] });
      await printed(second, "serving the configuration that was in force last");
      expect((await use(second)).status).toBe(200);
      expect(await (await fetch(`${second.url}/ready`)).json()).toMatchObject({
        configuration: { status: "faulty" },
        warnings: [expect.objectContaining({ code: "configurationFaulty" })],
      });
      write(second, configFor(behind.url, { routes: [{ name: "it", path: "/mended", upstream: "main", auth: "none" }] }));
      await printed(second, "configuration reloaded");
      expect([(await fetch(`${second.url}/mended`)).status, (await use(second, "/gone")).status]).toEqual([200, 404]);
    }
    {
      // A file that is valid by itself, but declares what the admin API has made.
      await using third = await start({ cwd: home.path });
      expect((await third.admin("POST", "/admin/tiers", { name: "made" })).status).toBe(201);
      await third.stop();
      writeFileSync(
        join(home.path, "config.json"),
        JSON.stringify(configFor(behind.url, { tiers: { anonymous: {}, plain: {}, made: {} } })),
      );
      const clash = await run(["serve"], { cwd: home.path });
      expect([clash.status, clash.stderr]).toEqual([
        1,
        expect.stringContaining("tiers.made: the admin API made a tier of this name already"),
      ]);
      await using fourth = await start({ cwd: home.path, args: ["--last-good"] });
      expect((await fetch(`${fourth.url}/mended`)).status).toBe(200);
      expect(await (await fetch(`${fourth.url}/ready`)).json()).toMatchObject({
        configuration: { status: "faulty", faults: [{ path: "tiers.made" }] },
      });
    }
    // The kept text holds no key.
    using database = new Database(join(home.path, "data", "sluice.db"));
    const { text } = database.query<{ text: string }, []>("SELECT text FROM configurations").get() ?? { text: "" };
    expect(text).toContain("/mended");
    expect(text).not.toContain(KEY);
    expect(readFileSync(join(home.path, "data", "sluice.db")).includes(KEY)).toBe(false);
    using empty = folder();
    writeFileSync(join(empty.path, "config.json"), "{");
    const nothing = await run(["serve", "--last-good"], { cwd: empty.path });
    expect([nothing.status, nothing.stderr]).toEqual([1, expect.stringContaining("holds no configuration that was in force before")]);
  });
});
