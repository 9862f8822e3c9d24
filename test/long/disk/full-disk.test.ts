import { expect } from "bun:test";
import { join } from "node:path";
import { backend } from "../../support/backend.ts";
import { disk } from "../../support/disk.ts";
import { folder, type Running, run, start } from "../../support/process.ts";
import { having } from "../../support/programs.ts";

const { test } = having("mount");

/** Few subjects: the table of counts has room beside the database then. */
const config = (url: string) => ({
  limits: { maxSubjects: 1000 },
  tiers: { anonymous: { limits: [{ algorithm: "fixed-window", limit: 100_000, window: "1h" }] }, plain: { limits: [] } },
  routes: [
    { name: "all", path: "/", upstream: url },
    { name: "open", path: "/open", upstream: url, auth: "none" },
  ],
});

/** A record of 100 kB. */
const LARGE = { name: "late", targets: Array.from({ length: 50 }, (_, i) => ({ url: `http://127.0.0.1:1/${i}${"x".repeat(2000)}` })) };

const ready = async (gateway: Running) =>
  (await (await fetch(`${gateway.url}/ready`)).json()) as {
    status: string;
    components: Record<string, string>;
    warnings: { code: string; detail?: string }[];
  };
const codes = async (gateway: Running) => (await ready(gateway)).warnings.map(({ code }) => code);
const gauge = async (gateway: Running) =>
  /^sluice_storage_read_only (\d)$/m.exec(await (await fetch(`${gateway.url}/metrics`)).text())?.[1] ?? null;
const until = async (isSo: () => Promise<boolean>, what: string) => {
  for (let i = 0; i < 300; i++) {
    if (await isSo()) return;
    await Bun.sleep(100);
  }
  throw new Error(`never: ${what}`);
};
const linesOf = (gateway: Running, text: string) =>
  gateway
    .output()
    .split("\n")
    .filter((line) => line.includes(text));

test("while the disk is full requests are served, changes are refused with what to do, everybody is told once, and it recovers by itself", async () => {
  using full = disk(4);
  using home = folder();
  using behind = backend();
  const gateway = await start({ cwd: home.path, config: config(behind.url), args: ["--data", join(full.path, "data")] });
  await gateway.admin("POST", "/admin/consumers", { id: "acme", tier: "plain" });
  const { key, id } = (await (await gateway.admin("POST", "/admin/keys", { consumer: "acme" })).json()) as { key: string; id: string };
  expect([await codes(gateway), await gauge(gateway)]).toEqual([[], "0"]);
  full.fill();
  // Nothing but the counts of requests is written: that is enough to know.
  await fetch(`${gateway.url}/open`);
  await until(async () => {
    await fetch(`${gateway.url}/open`);
    return (await codes(gateway)).includes("storageReadOnly");
  }, "the warning");
  const told = await ready(gateway);
  expect([told.status, told.components.database]).toEqual(["ready", "degraded"]);
  expect(told.warnings[0]?.detail).toContain("sluice.db");
  expect(await gauge(gateway)).toBe("1");
  expect(await (await gateway.admin("GET", "/admin/health")).json()).toMatchObject({ components: { database: "degraded" } });
  // Big enough to find no place that is left in the write-ahead log.
  const refused = await gateway.admin("POST", "/admin/upstreams", LARGE);
  expect([refused.status, Number(refused.headers.get("retry-after")) > 0, await refused.json()]).toEqual([
    503,
    true,
    expect.objectContaining({ code: "storageReadOnly", detail: expect.stringContaining("Make room") }),
  ]);
  expect((await gateway.admin("GET", "/admin/upstreams/late")).status).toBe(404);
  const copied = await run(["backup", join(home.path, "copy.db"), "--url", gateway.url, "--token", "test-admin-token-0123456789"], {
    cwd: home.path,
  });
  expect([copied.status, copied.stderr]).toEqual([1, expect.stringContaining("could not be copied")]);
  for (let i = 0; i < 50; i++) expect((await fetch(gateway.url, { headers: { "x-api-key": key } })).status).toBe(200);
  expect((await gateway.admin("GET", "/admin/usage")).status).toBe(200);
  await Bun.sleep(3000);
  expect([linesOf(gateway, "storageReadOnly").length, linesOf(gateway, "a fault of the gateway").length]).toEqual([1, 0]);
  full.free();
  await until(async () => (await codes(gateway)).length === 0, "the warning's end");
  expect([(await ready(gateway)).components.database, await gauge(gateway)]).toEqual(["ok", "0"]);
  expect((await gateway.admin("DELETE", `/admin/keys/${id}`)).status).toBe(204);
  expect(await (await gateway.admin("GET", "/admin/audit/verify")).json()).toMatchObject({ valid: true });

  full.fill();
  const before = linesOf(gateway, "storageReadOnly").length;
  for (let i = 0; i < 20; i++) await fetch(`${gateway.url}/open`);
  await until(async () => {
    await fetch(`${gateway.url}/open`);
    return linesOf(gateway, "storageReadOnly").length > before;
  }, "the second warning");
  await fetch(`${gateway.url}/open`);
  // A clean stop says what it could not write.
  expect(await gateway.stop()).toBe(0);
  expect(linesOf(gateway, "could not be written and are lost")[0]).toContain('"counts":1');
});

for (const how of ["SIGTERM", "SIGKILL"] as const)
  test(`a gateway that ended by ${how} starts on a full disk with all that was stored, refuses changes, and shares the database again when there is room`, async () => {
    using full = disk(4);
    using home = folder();
    using behind = backend();
    const args = ["--data", join(full.path, "data")];
    let key = "";
    {
      const first = await start({ cwd: home.path, config: config(behind.url), args });
      await first.admin("POST", "/admin/consumers", { id: "acme", tier: "plain" });
      ({ key } = (await (await first.admin("POST", "/admin/keys", { consumer: "acme" })).json()) as { key: string });
      full.fill();
      await first.stop(how);
      full.fill();
    }
    await using again = await start({ cwd: home.path, args });
    expect((await fetch(again.url, { headers: { "x-api-key": key } })).status).toBe(200);
    await until(async () => (await codes(again)).includes("storageReadOnly"), "the warning");
    const change = await again.admin("POST", "/admin/upstreams", LARGE);
    expect([change.status, ((await change.json()) as { code: string }).code]).toEqual([503, "storageReadOnly"]);
    full.free();
    await until(async () => (await codes(again)).length === 0, "the warning's end");
    expect((await again.admin("POST", "/admin/consumers", { id: "later", tier: "plain" })).status).toBe(201);
    // Another process may open it again: one that takes over, or one that makes a backup.
    const copied = await run(["backup", join(home.path, "copy.db"), "--url", again.url, "--token", "test-admin-token-0123456789"], {
      cwd: home.path,
    });
    expect([copied.status, copied.stderr]).toEqual([0, ""]);
    expect(await again.stop()).toBe(0);
  });

test("with activities a gateway starts on a full disk as well: batches are refused until there is room, and what was accepted before is applied", async () => {
  using full = disk(4);
  using home = folder();
  const args = ["--data", join(full.path, "data")];
  const batch = { activities: [{ operation: "insert", table: "visits", colNames: ["page"], colTypes: ["TEXT"], colValues: ["/"] }] };
  const post = (gateway: Running) =>
    fetch(`${gateway.url}/api/activities`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(batch),
    });
  const first = await start({ cwd: home.path, config: { activities: { auth: "none" } }, args });
  expect((await post(first)).status).toBe(202);
  full.fill();
  await first.stop("SIGKILL");
  full.fill();
  await using again = await start({ cwd: home.path, args });
  // What the start has tidied up may leave room for one more.
  let refused = await post(again);
  for (let i = 0; i < 5 && refused.status === 202; i++) {
    full.fill();
    refused = await post(again);
  }
  expect([refused.status, ((await refused.json()) as { code: string }).code]).toEqual([503, "queueUnavailable"]);
  for (let i = 0; i < 3; i++) await post(again);
  expect(linesOf(again, "activities can't be applied for now").length).toBeLessThanOrEqual(3);
  full.free();
  await until(async () => (await post(again)).status === 202, "a batch that is taken");
  await until(async () => (await (await again.admin("GET", "/admin/activities")).text()).includes('"applied":'), "an answer");
  expect(((await ready(again)).components.queue ?? "") === "ok").toBe(true);
});

test("a first start on a full disk says so in one sentence", async () => {
  using full = disk(1);
  using home = folder();
  full.fill();
  const { status, stderr } = await run(["serve", "--port", "0", "--data", join(full.path, "data")], { cwd: home.path });
  expect([status, stderr]).toEqual([1, expect.stringMatching(/^sluice: .*(full|no room).*\n$/)]);
});
