import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Backend, backend } from "../../support/backend.ts";
import { folder, freePort, run } from "../../support/process.ts";
import { isAlive, partOf, partsOf, startAll } from "../../support/processes.ts";
import { until } from "../../support/until.ts";

let behind: Backend;
beforeAll(() => {
  behind = backend();
});
afterAll(() => behind[Symbol.dispose]());

const configOf = (more: object = {}) => ({
  server: { workers: 2 },
  logging: { accessLog: false },
  tiers: { anonymous: { limits: [] } },
  routes: [{ name: "all", path: "/", upstream: behind.url, stripPrefix: false, auth: "optional" }],
  ...more,
});

describe("a gateway of several processes", () => {
  test("stops as any other when the configuration that was in force last stands in for one that conflicts with the database", async () => {
    using home = folder();
    const first = await startAll({ cwd: home.path, config: configOf() });
    expect((await first.admin("POST", "/admin/tiers", { name: "gold", limits: [] })).status).toBe(201);
    expect(await first.stop()).toBe(0);
    const conflicting = configOf({ tiers: { anonymous: { limits: [] }, gold: { limits: [] } } });
    const second = await startAll({ cwd: home.path, config: conflicting, args: ["--last-good"] });
    const parts = partsOf(second.pid);
    expect(await second.stop()).toBe(0);
    expect(second.output()).toContain('"msg":"stopped"');
    expect(parts.filter(({ pid }) => isAlive(pid))).toEqual([]);
  }, 60_000);

  test("goes on when the system lets no process begin, and begins it when the system does", async () => {
    await using gateway = await startAll({ config: configOf() });
    const limit = (files: string): void => {
      const set = Bun.spawnSync(["prlimit", `--pid=${gateway.pid}`, `--nofile=${files}:`]);
      expect(set.stderr.toString()).toBe("");
    };
    limit("3");
    process.kill(partOf(gateway.pid, "1") ?? 0, "SIGKILL");
    await until(() => gateway.output().includes("the system does not let a process"));
    expect((await fetch(`${gateway.url}/status`)).status).toBe(200);
    limit("1024");
    await until(() => gateway.output().includes("another process has taken the place"));
    expect(partsOf(gateway.pid).map(({ name }) => name)).toEqual(["1", "2", "keeper"]);
    expect(await gateway.stop()).toBe(0);
  }, 60_000);

  test("does not wait at its stop for those who follow its events", async () => {
    await using gateway = await startAll({ config: { ...configOf(), server: { workers: 2, drainTimeout: "60s" } } });
    const events = await gateway.admin("GET", "/admin/events");
    expect(events.status).toBe(200);
    const ended = events.text();
    expect(await gateway.stop()).toBe(0);
    // All of it has come, with its end.
    expect(typeof (await ended)).toBe("string");
  }, 40_000);

  test("takes no request before it serves, so that a next one that can't start costs none", async () => {
    using home = folder();
    const options = { cwd: home.path, config: configOf(), port: freePort(), args: ["--reuse-port"] };
    await using first = await startAll(options);
    let isOn = true;
    const bad: string[] = [];
    const load = Array.from({ length: 4 }, async () => {
      while (isOn)
        await fetch(`${first.url}/status`, { headers: { connection: "close" } }).then(
          (answer) => answer.text(),
          (error) => bad.push(String(error)),
        );
    });
    writeFileSync(join(home.path, "broken.json"), JSON.stringify(configOf({ plugins: [{ file: "./missing.ts" }] })));
    const second = await run(
      ["serve", "--config", "broken.json", "--host", "127.0.0.1", "--port", String(first.port), "--reuse-port", "--data", "elsewhere"],
      { cwd: home.path },
    );
    await Bun.sleep(200);
    isOn = false;
    await Promise.all(load);
    expect(second.status).toBe(1);
    expect(bad).toEqual([]);
  }, 60_000);

  test("says in one sentence that it finds no room for its sockets", async () => {
    using home = folder();
    writeFileSync(join(home.path, "config.json"), JSON.stringify(configOf()));
    const outcome = await run(["serve", "--port", String(freePort())], { cwd: home.path, env: { TMPDIR: "/nonexistent" } });
    expect([outcome.status, outcome.stderr]).toEqual([1, expect.stringMatching(/^sluice: .*TMPDIR.*\n$/)]);
  });

  test("refuses what the keeper answers when none comes to serve within ten seconds, and serves on meanwhile", async () => {
    using home = folder();
    writeFileSync(
      join(home.path, "odd.ts"),
      'import { existsSync } from "node:fs";\nif (existsSync("die") && process.argv.at(-1) === "keeper") process.exit(3);\nexport default { name: "odd", request() {} };\n',
    );
    await using gateway = await startAll({ cwd: home.path, config: configOf({ plugins: [{ file: "./odd.ts" }] }) });
    const die = join(home.path, "die");
    writeFileSync(die, "");
    const before = partOf(gateway.pid, "keeper") ?? 0;
    process.kill(before, "SIGKILL");
    await until(() => partOf(gateway.pid, "keeper") !== before);
    const asked = gateway.admin("GET", "/admin/consumers");
    expect((await fetch(`${gateway.url}/status`)).status).toBe(200);
    const answer = await asked;
    expect([answer.status, answer.headers.get("retry-after"), ((await answer.json()) as { type: string }).type]).toEqual([
      503,
      "1",
      expect.stringContaining("keeperUnavailable"),
    ]);
    rmSync(die);
    expect((await fetch(`${gateway.url}/ready`)).status).toBe(200);
  }, 60_000);
});
