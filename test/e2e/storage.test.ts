import { expect } from "bun:test";
import { folder, type Running, run, start } from "../support/process.ts";
import { having, programAt } from "../support/programs.ts";

const { test } = having("prlimit");
const { test: asAnother } = having("setpriv");

// test/long/disk does this with a disk that is full.

const config = { tiers: { anonymous: { limits: [] }, plain: { limits: [] } } };

const warnings = async (gateway: Running) =>
  ((await (await fetch(`${gateway.url}/ready`)).json()) as { warnings: { code: string }[] }).warnings.map(({ code }) => code);

/** Bounds the size of files that the process may write; each write beyond fails. */
const bound = (pid: number, bytes: number | "unlimited") => {
  expect(Bun.spawnSync(["prlimit", `--pid=${pid}`, `--fsize=${bytes}:unlimited`]).exitCode).toBe(0);
};

test("a database that can't be written is told at /ready, in metrics and to whoever changes something, and not in the log again and again", async () => {
  await using gateway = await start({ config });
  expect((await gateway.admin("POST", "/admin/consumers", { id: "acme", tier: "plain" })).status).toBe(201);
  expect(await warnings(gateway)).toEqual([]);
  bound(gateway.pid, 4096);
  const refused = await gateway.admin("POST", "/admin/consumers", { id: "late", tier: "plain" });
  expect([refused.status, refused.headers.get("retry-after"), await refused.json()]).toEqual([
    503,
    "10",
    expect.objectContaining({ code: "storageReadOnly", retryAfter: 10, detail: expect.stringContaining("Make room") }),
  ]);
  const again = await gateway.admin("POST", "/admin/consumers", { id: "late", tier: "plain" }, { "idempotency-key": "one" });
  expect(again.status).toBe(503);
  const told = await fetch(`${gateway.url}/ready`);
  expect([told.status, await told.json()]).toEqual([
    200,
    expect.objectContaining({
      status: "ready",
      components: expect.objectContaining({ database: "degraded" }),
      warnings: [expect.objectContaining({ code: "storageReadOnly", detail: expect.stringContaining("sluice.db") })],
    }),
  ]);
  expect(await (await fetch(`${gateway.url}/metrics`)).text()).toContain("sluice_storage_read_only 1\n");
  expect((await gateway.admin("GET", "/admin/consumers/late")).status).toBe(404);
  bound(gateway.pid, "unlimited");
  expect((await gateway.admin("POST", "/admin/consumers", { id: "late", tier: "plain" })).status).toBe(201);
  while ((await warnings(gateway)).length > 0) await Bun.sleep(50);
  expect(await (await gateway.admin("GET", "/admin/health")).json()).toMatchObject({ components: { database: "ok" } });
  expect(await gateway.stop()).toBe(0);
  const lines = gateway.output().split("\n");
  expect(lines.filter((line) => line.includes("storageReadOnly")).length).toBe(2);
  expect(lines.filter((line) => line.includes("a fault of the gateway"))).toEqual([]);
});

asAnother("a folder that can't be written, of a database that can be read, is told in one sentence", async () => {
  const setpriv = programAt("setpriv") ?? "";
  using home = folder();
  const through = [setpriv, "--reuid=65534", "--clear-groups"];
  // Somebody else may not be allowed to run what lies in a home folder: then the project has to lie elsewhere for this.
  expect((await run(["--version"], { cwd: "/", through })).status).toBe(0);
  {
    await using first = await start({ cwd: home.path, config });
    await first.stop();
  }
  Bun.spawnSync(["chmod", "-R", "a+rX", home.path]);
  const { status, stderr } = await run(["serve", "--port", "0"], { cwd: home.path, through });
  expect([status, stderr]).toEqual([1, expect.stringMatching(/^sluice: .*can't be opened for writing.*permissions.*\n$/)]);
});
