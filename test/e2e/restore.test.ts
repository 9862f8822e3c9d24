import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { backend } from "../support/backend.ts";
import { ADMIN_TOKEN, folder, type Outcome, type Running, run, start } from "../support/process.ts";
import { redisServer } from "../support/redis.ts";

const config = (url: string, more: object = {}) => ({
  tiers: { anonymous: { limits: [] }, plain: { limits: [] } },
  routes: [{ name: "all", path: "/", upstream: url, stripPrefix: false }],
  guard: null,
  ...more,
});

interface Key {
  readonly id: string;
  readonly key: string;
}

const consumer = async (gateway: Running, id: string) =>
  expect((await gateway.admin("POST", "/admin/consumers", { id, tier: "plain" })).status).toBe(201);
const makeKey = async (gateway: Running, of: string, name: string): Promise<Key> =>
  (await (await gateway.admin("POST", "/admin/keys", { consumer: of, name })).json()) as Key;
const use = async (gateway: Running, key: string) => (await fetch(`${gateway.url}/status`, { headers: { "x-api-key": key } })).status;
const backup = (gateway: Running, file: string, ...args: string[]) =>
  run(["backup", file, "--url", gateway.url, "--token", ADMIN_TOKEN, ...args], { cwd: gateway.folder });
const ids = async (gateway: Running) =>
  ((await (await gateway.admin("GET", "/admin/consumers")).json()) as { items: { id: string }[] }).items.map(({ id }) => id).sort();
const filesIn = (path: string) => readdirSync(join(path, "data")).filter((name) => name.startsWith("sluice.db"));
const fine = (outcome: Outcome): string => {
  expect([outcome.status, outcome.stderr]).toEqual([0, ""]);
  return outcome.stdout;
};

test("after a crash the restored backup is what is served, and the database before is kept whole beside it", async () => {
  using home = folder();
  using behind = backend();
  const first = await start({ cwd: home.path, config: config(behind.url) });
  await consumer(first, "acme");
  const kept = await makeKey(first, "acme", "kept");
  fine(await backup(first, "copy.db"));
  for (let i = 0; i < 20; i++) await consumer(first, `later-${i}`);
  await first.stop("SIGKILL");
  // What the crash leaves would be played over whatever takes the place of the one file.
  expect(statSync(join(home.path, "data/sluice.db-wal")).size).toBeGreaterThan(0);

  const said = fine(await run(["restore", "copy.db"], { cwd: home.path }));
  expect(said).toContain("consumers 1, keys 1");
  expect(filesIn(home.path).filter((name) => /-(wal|shm)$/.test(name))).toEqual([]);
  const aside = filesIn(home.path).find((name) => /^sluice\.db\.before-\d{4}-\d\d-\d\dT\d\d-\d\d-\d\dZ$/.test(name)) ?? "";
  expect(said).toContain(aside);
  {
    using before = new Database(join(home.path, "data", aside));
    expect(before.query("SELECT count(*) AS n FROM consumers").get()).toEqual({ n: 21 });
  }
  expect([statSync(join(home.path, "data/sluice.db")).mode & 0o777, existsSync(join(home.path, "copy.db"))]).toEqual([0o600, true]);
  {
    await using again = await start({ cwd: home.path });
    expect([await ids(again), await use(again, kept.key)]).toEqual([["acme"], 200]);
    expect(await (await again.admin("GET", "/admin/audit/verify")).json()).toMatchObject({ valid: true });
    expect(await (await again.admin("GET", "/admin/audit?action=database.restore")).json()).toMatchObject({
      items: [{ subject: "database", after: { file: "copy.db" } }],
    });
  }
});

test("is refused while a gateway uses the data folder, also the second of two, and nothing is changed then", async () => {
  using home = folder();
  const first = await start({ cwd: home.path, config: { tiers: { anonymous: { limits: [] } } }, args: ["--reuse-port"] });
  fine(await backup(first, "copy.db"));
  // Whoever asks the port may still be answered by the first one.
  const second = await start({ cwd: home.path, args: ["--reuse-port"], port: first.port, isReady: "listening" });
  await first.stop();
  // The second one may not answer for a moment, but it uses the database.
  const refused = await run(["restore", "copy.db"], { cwd: home.path });
  expect([refused.status, refused.stderr]).toEqual([1, expect.stringContaining("stop it first")]);
  expect(filesIn(home.path).filter((name) => name.includes("before") || name.includes("restoring"))).toEqual([]);
  await second.stop();
  fine(await run(["restore", "copy.db"], { cwd: home.path }));
  // So does a program that is no gateway.
  using shell = new Database(join(home.path, "data/sluice.db"));
  shell.query("SELECT count(*) FROM consumers").get();
  expect((await run(["restore", "copy.db"], { cwd: home.path })).stderr).toContain("stop it first");
});

test("keys and tokens that were revoked, rotated or deleted after the backup stay so, are named, and come back with --as-it-was", async () => {
  using home = folder();
  using behind = backend();
  const first = await start({ cwd: home.path, config: config(behind.url) });
  await consumer(first, "acme");
  await consumer(first, "gone");
  const [kept, revoked, rotated, deleted] = [
    await makeKey(first, "acme", "kept"),
    await makeKey(first, "acme", "leaked"),
    await makeKey(first, "acme", "turned"),
    await makeKey(first, "gone", "orphan"),
  ];
  const token = (await (await first.admin("POST", "/admin/tokens", { name: "ci", role: "viewer" })).json()) as {
    id: string;
    token: string;
  };
  fine(await backup(first, "copy.db"));
  await first.admin("DELETE", `/admin/keys/${revoked.id}`);
  const { key: turned } = (await (await first.admin("POST", `/admin/keys/${rotated.id}/rotate`, {})).json()) as Key;
  await first.admin("DELETE", "/admin/consumers/gone?force=true");
  await first.admin("DELETE", `/admin/tokens/${token.id}`);
  await first.stop("SIGKILL");
  const status = async (gateway: Running) => [
    ...(await Promise.all([kept.key, revoked.key, rotated.key, turned, deleted.key].map((key) => use(gateway, key)))),
    (await fetch(`${gateway.url}/admin/keys`, { headers: { authorization: `Bearer ${token.token}` } })).status,
  ];

  const said = fine(await run(["restore", "copy.db"], { cwd: home.path }));
  for (const id of [revoked.id, rotated.id, deleted.id, token.id]) expect([id, said.includes(id)]).toEqual([id, true]);
  expect(said).not.toContain(kept.id);
  {
    await using again = await start({ cwd: home.path });
    expect([await ids(again), await status(again)]).toEqual([
      ["acme", "gone"],
      [200, 401, 401, 200, 401, 401],
    ]);
    await again.stop();
  }
  const found = JSON.parse(fine(await run(["restore", "copy.db", "--as-it-was", "--json"], { cwd: home.path })));
  expect(found).toMatchObject({ keys: expect.any(Array), holds: { consumers: 2, keys: 4 }, unknown: null });
  await using was = await start({ cwd: home.path });
  expect(await status(was)).toEqual([200, 200, 200, 401, 200, 200]);
});

test("keys and consumers that were disabled after the backup stay so, are named, and come back with --as-it-was", async () => {
  using home = folder();
  using behind = backend();
  const first = await start({ cwd: home.path, config: config(behind.url) });
  for (const id of ["acme", "stopped", "paused"]) await consumer(first, id);
  const [kept, disabled, resumed, both, of, ofPaused] = [
    await makeKey(first, "acme", "kept"),
    await makeKey(first, "acme", "suspect"),
    await makeKey(first, "acme", "resumed"),
    await makeKey(first, "acme", "turned and suspect"),
    await makeKey(first, "stopped", "of a stopped one"),
    await makeKey(first, "paused", "of a paused one"),
  ];
  const enable = async (path: string, enabled: boolean) =>
    expect((await first.admin("PATCH", `/admin/${path}`, { enabled })).status).toBe(200);
  // What was good again when the backup was made, and what was off already, is as it was then.
  await enable(`keys/${kept.id}`, false);
  await enable(`keys/${kept.id}`, true);
  fine(await backup(first, "copy.db"));
  await enable(`keys/${disabled.id}`, false);
  await enable(`keys/${resumed.id}`, false);
  await enable(`keys/${resumed.id}`, true);
  const { key: turned } = (await (await first.admin("POST", `/admin/keys/${both.id}/rotate`, {})).json()) as Key;
  await enable(`keys/${both.id}`, false);
  await enable("consumers/stopped", false);
  await enable("consumers/paused", false);
  await enable("consumers/paused", true);
  fine(await backup(first, "later.db"));
  await first.stop("SIGKILL");
  const keys = [kept.key, disabled.key, resumed.key, both.key, turned, of.key, ofPaused.key];
  const status = async (gateway: Running) => Promise.all(keys.map((key) => use(gateway, key)));

  const said = fine(await run(["restore", "copy.db"], { cwd: home.path }));
  expect(said).toContain(`key ${disabled.id} "suspect" of acme: disabled\n`);
  expect(said).toContain(`key ${both.id} "turned and suspect" of acme: disabled\n`);
  expect(said).toContain("consumer stopped: disabled\n");
  for (const id of [kept.id, resumed.id, of.id, "paused"]) expect([id, said.includes(id)]).toEqual([id, false]);
  {
    await using again = await start({ cwd: home.path });
    expect(await status(again)).toEqual([200, 401, 200, 401, 401, 401, 200]);
    // What is named can be made good again.
    expect((await again.admin("PATCH", `/admin/keys/${disabled.id}`, { enabled: true })).status).toBe(200);
    expect((await again.admin("PATCH", "/admin/consumers/stopped", { enabled: true })).status).toBe(200);
    expect(await status(again)).toEqual([200, 200, 200, 401, 401, 200, 200]);
    await again.stop();
  }
  const was = JSON.parse(fine(await run(["restore", "copy.db", "--as-it-was", "--json"], { cwd: home.path })));
  expect(was).toMatchObject({ disabledKeys: [{ id: both.id, consumer: "acme" }], disabledConsumers: [] });
  {
    await using again = await start({ cwd: home.path });
    expect(await status(again)).toEqual([200, 200, 200, 200, 401, 200, 200]);
  }
  // An older backup's database says nothing of what came after it.
  const later = JSON.parse(fine(await run(["restore", "later.db", "--json"], { cwd: home.path })));
  expect(later).toMatchObject({ keys: [], disabledKeys: [], disabledConsumers: [] });
});

test("a file that is no whole backup of this version or an older one is refused, and nothing is changed", async () => {
  using home = folder();
  const gateway = await start({ cwd: home.path, config: { tiers: { anonymous: { limits: [] } } } });
  fine(await backup(gateway, "copy.db"));
  await gateway.stop();
  const before = readFileSync(join(home.path, "data/sluice.db"));
  const made = (name: string, change: (path: string) => void) => {
    writeFileSync(join(home.path, name), readFileSync(join(home.path, "copy.db")));
    change(join(home.path, name));
    return name;
  };
  const sql = (statement: string) => (path: string) => {
    using database = new Database(path);
    database.run(statement);
  };
  const cases: [string, RegExp][] = [
    ["none.db", /there is no file/],
    ["data/sluice.db", /database itself/],
    [made("text.db", (path) => writeFileSync(path, "no database".repeat(1000))), /damaged or no SQLite/],
    [made("empty.db", (path) => writeFileSync(path, "")), /no backup of Sluice's/],
    [made("cut.db", (path) => truncateSync(path, 20_000)), /damaged/],
    [made("other.db", sql("DELETE FROM __drizzle_migrations")), /no backup of Sluice's/],
    [made("newer.db", sql("INSERT INTO __drizzle_migrations (hash, created_at) VALUES ('later', 9999999999999)")), /newer Sluice/],
  ];
  for (const [name, message] of cases) {
    const { status, stderr } = await run(["restore", name], { cwd: home.path });
    expect([name, status, stderr]).toEqual([name, 1, expect.stringMatching(message)]);
    expect(stderr.split("\n").length).toBe(2);
  }
  expect(readFileSync(join(home.path, "data/sluice.db")).equals(before)).toBe(true);
  expect(filesIn(home.path).filter((name) => !/^sluice\.db(-counts)?(\.lock|\.serving|\.used)?$/.test(name))).toEqual([]);
  expect((await run(["restore"], { cwd: home.path })).status).toBe(2);
  const mistyped = await run(["restore", "copy.db", "--config", "confg.json"], { cwd: home.path });
  expect([mistyped.status, mistyped.stderr]).toEqual([1, "sluice: there is no configuration file confg.json\n"]);
});

test("a damaged database gives way to a backup, and what can't be known is said", async () => {
  using home = folder();
  const gateway = await start({ cwd: home.path, config: { tiers: { anonymous: { limits: [] } } } });
  fine(await backup(gateway, "copy.db"));
  await gateway.stop();
  truncateSync(join(home.path, "data/sluice.db"), 20_000);
  expect(fine(await run(["restore", "copy.db"], { cwd: home.path }))).toContain("can't be told: the database before can't be read");
  // An emptied one as well.
  writeFileSync(join(home.path, "data/sluice.db"), "");
  expect((await run(["serve", "--port", "0"], { cwd: home.path })).stderr).toContain("sluice restore FILE");
  fine(await run(["restore", "copy.db"], { cwd: home.path }));
  await using again = await start({ cwd: home.path });
  expect((await fetch(`${again.url}/ready`)).status).toBe(200);
});

test("on a new machine it makes the folder, and says which pools and issuers have no secrets without the SLUICE_SECRET of the backup", async () => {
  using home = folder();
  using there = folder();
  const gateway = await start({
    cwd: home.path,
    config: { tiers: { anonymous: { limits: [] } } },
    env: { SLUICE_SECRET: "the-secret-of-then" },
  });
  const pool = { name: "llm", keys: [{ id: "one", secret: "sk-of-a-provider", limit: 10, window: "1m" }] };
  expect((await gateway.admin("POST", "/admin/pools", pool)).status).toBe(201);
  const issuer = {
    issuer: "https://id.example.com",
    audience: [],
    secret: "what-signs-the-tokens-of-the-issuer",
    tier: { default: "anonymous" },
  };
  expect((await gateway.admin("POST", "/admin/issuers", { ...issuer, name: "signing" })).status).toBe(201);
  expect((await gateway.admin("POST", "/admin/issuers", { ...issuer, name: "open", issuer: "https://b", secret: null })).status).toBe(201);
  fine(await backup(gateway, "copy.db"));
  await gateway.stop();
  const args = ["restore", join(home.path, "copy.db"), "--data", "new/place"];
  expect(fine(await run(args, { cwd: there.path, env: { SLUICE_SECRET: "another-secret" } }))).toContain(
    "the secrets of these can't be read: pool llm, issuer signing. Start",
  );
  const said = fine(await run(args, { cwd: there.path, env: { SLUICE_SECRET: "the-secret-of-then" } }));
  expect(said).not.toContain("can't be read");
  expect(statSync(join(there.path, "new/place")).mode & 0o777).toBe(0o700);
});

test("with Redis it wants --replace-shared, and the backup's records are then those of all instances", async () => {
  await using redis = await redisServer();
  using home = folder();
  using behind = backend();
  const shared = config(behind.url, { redis: { url: redis.url, prefix: "restored", timeout: "500ms" } });
  const env = { SLUICE_SECRET: "a-secret-that-all-share" };
  const first = await start({ cwd: home.path, config: shared, env });
  await using other = await start({ config: shared, env });
  await consumer(first, "acme");
  const [kept, revoked] = [await makeKey(first, "acme", "kept"), await makeKey(first, "acme", "leaked")];
  const disabled = await makeKey(first, "acme", "suspect");
  fine(await backup(first, "copy.db"));
  await consumer(first, "later");
  await first.admin("PATCH", "/admin/consumers/acme", { name: "changed" });
  const token = (await (await first.admin("POST", "/admin/tokens", { name: "ci", role: "viewer" })).json()) as { id: string };
  await first.stop("SIGKILL");
  // While this instance is away: only Redis tells of it.
  expect((await other.admin("DELETE", `/admin/keys/${revoked.id}`)).status).toBe(204);
  expect((await other.admin("PATCH", `/admin/keys/${disabled.id}`, { enabled: false })).status).toBe(200);

  const refused = await run(["restore", "copy.db"], { cwd: home.path, env });
  expect([refused.status, refused.stderr]).toEqual([1, expect.stringContaining("--replace-shared")]);
  const said = fine(await run(["restore", "copy.db", "--replace-shared"], { cwd: home.path, env }));
  expect(said).toContain(revoked.id);
  expect(said).toContain(`${disabled.id} "suspect" of acme: disabled`);
  const state = async (gateway: Running) => [
    await ids(gateway),
    ((await (await gateway.admin("GET", "/admin/consumers/acme")).json()) as { name: unknown }).name,
    await use(gateway, kept.key),
    await use(gateway, revoked.key),
    await use(gateway, disabled.key),
    ((await (await gateway.admin("GET", "/admin/tokens")).json()) as { items: { id: string }[] }).items.some(({ id }) => id === token.id),
  ];
  const wanted = [["acme"], null, 200, 401, 401, false];
  for (let i = 0; i < 100 && !Bun.deepEquals(await state(other), wanted); i++) await Bun.sleep(50);
  expect(await state(other)).toEqual(wanted);
  await using again = await start({ cwd: home.path, env });
  await Bun.sleep(500);
  expect(await state(again)).toEqual(wanted);
  // And they go on as one.
  await consumer(again, "anew");
  for (let i = 0; i < 100 && (await ids(other)).length < 2; i++) await Bun.sleep(50);
  expect(await ids(other)).toEqual(["acme", "anew"]);

  await again.stop();
  const before = readFileSync(join(home.path, "data/sluice.db"));
  await redis.kill();
  const away = await run(["restore", "copy.db", "--replace-shared"], { cwd: home.path, env });
  expect([away.status, away.stderr]).toEqual([1, expect.stringContaining("Redis can't be asked")]);
  expect(readFileSync(join(home.path, "data/sluice.db")).equals(before)).toBe(true);
});

test("a backup is for its owner only, and takes no other file's place without --force", async () => {
  using home = folder();
  mkdirSync(join(home.path, "there"));
  await using gateway = await start({ cwd: home.path, config: { tiers: { anonymous: { limits: [] } } } });
  fine(await backup(gateway, "there/copy.db"));
  expect(statSync(join(home.path, "there/copy.db")).mode & 0o777).toBe(0o600);
  writeFileSync(join(home.path, "there/copy.db"), "something else");
  const refused = await backup(gateway, "there/copy.db");
  expect([refused.status, refused.stderr]).toEqual([1, "sluice: there/copy.db exists: --force overwrites it\n"]);
  expect(readFileSync(join(home.path, "there/copy.db"), "utf8")).toBe("something else");
  fine(await backup(gateway, "there/copy.db", "--force"));
  expect(readFileSync(join(home.path, "there/copy.db")).subarray(0, 15).toString()).toBe("SQLite format 3");
  expect(readdirSync(join(home.path, "there"))).toEqual(["copy.db"]);
});

test("a lost admin token is replaced where there is a database, and it says which, and whether a gateway uses it", async () => {
  using empty = folder();
  const refused = await run(["admin", "reset-token"], { cwd: empty.path });
  expect([refused.status, refused.stdout, refused.stderr]).toEqual([1, "", expect.stringContaining("there is no database data/sluice.db")]);
  expect(readdirSync(empty.path)).toEqual([]);
  using home = folder();
  const gateway = await start({ cwd: home.path, config: { tiers: { anonymous: { limits: [] } } }, env: { SLUICE_ADMIN_TOKEN: "" } });
  const used = await run(["admin", "reset-token"], { cwd: home.path });
  expect([used.status, used.stdout, used.stderr]).toEqual([
    0,
    expect.stringMatching(/^slat_[0-9A-Za-z]{40}\n$/),
    expect.stringMatching(/data\/sluice\.db, which a gateway uses/),
  ]);
  await gateway.stop();
  expect((await run(["admin", "reset-token"], { cwd: home.path })).stderr).toContain("which no gateway uses");
});
