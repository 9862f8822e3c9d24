import { Database } from "bun:sqlite";
import { describe, expect, test } from "bun:test";
import { copyFileSync, existsSync, linkSync, mkdirSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ADMIN_TOKEN, folder, type Running, run, start } from "../support/process.ts";
import { having } from "../support/programs.ts";
import { redisServer } from "../support/redis.ts";

const KEY = "a-key-for-activities-0123";
const CONFIG = {
  logging: { accessLog: false },
  tiers: { anonymous: { limits: [] }, plain: { limits: [] } },
  consumers: [{ id: "acme", tier: "plain", keys: [KEY] }],
  activities: {},
};
const insert = (table: string, id: unknown, more: object = {}) => ({
  operation: "insert",
  table,
  colNames: ["id"],
  colTypes: ["INTEGER"],
  colValues: [id],
  ...more,
});
const post = async (
  gateway: { url: string },
  activities: unknown,
  headers: Record<string, string> = { "x-api-key": KEY },
  path = "/api/activities",
) => {
  const answer = await fetch(gateway.url + path, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: typeof activities === "string" ? activities : JSON.stringify({ activities }),
  });
  return { status: answer.status, headers: answer.headers, body: (await answer.json()) as Record<string, unknown> };
};
interface State {
  readonly backlog: { activities: number; batches: number; lag: number };
  readonly applied: number;
  readonly failed: number;
  readonly items: { id: string; state: string; error: string; payload: unknown }[];
  readonly nextCursor: string | null;
}
const state = async (gateway: Running, query = ""): Promise<State> =>
  (await (await gateway.admin("GET", `/admin/activities${query}`)).json()) as State;
/** The state when nothing waits any more. */
async function settled(gateway: Running): Promise<State> {
  for (;;) {
    const now = await state(gateway);
    if (now.backlog.activities === 0) return now;
    await Bun.sleep(10);
  }
}
const tables = (gateway: { folder: string }) => new Database(join(gateway.folder, "data/activities.db"), { readonly: true });

test("a sink that is away is told at /ready, and what it is called to nobody from outside", async () => {
  const sinks = [{ type: "postgres", name: "ledger", url: "postgres://127.0.0.1:1/ledger" }];
  await using gateway = await start({ config: { ...CONFIG, activities: { sinks } } });
  expect((await post(gateway, [insert("t", 1)])).status).toBe(202);
  const ready = async (headers = {}) => (await (await fetch(`${gateway.url}/ready`, { headers })).json()) as { warnings: object[] };
  while ((await ready()).warnings.length === 0) await Bun.sleep(10);
  expect(await ready()).toMatchObject({
    status: "ready",
    components: { queue: "ok", "sink ledger": "away" },
    warnings: [{ code: "sinkAway", detail: expect.stringContaining("ledger: ") }],
  });
  const outside = await ready({ host: "api.example.com" });
  expect(outside).toMatchObject({ components: { queue: "ok", sinks: "away" }, warnings: [{ code: "sinkAway" }] });
  expect(JSON.stringify(outside)).not.toContain("ledger");
});

describe("POST /api/activities", () => {
  test("takes a batch when it is durable, applies it, and tells what became of it", async () => {
    await using gateway = await start({ config: CONFIG });
    const taken = await post(gateway, [
      insert("t", 1),
      insert("t", 2),
      { operation: "delete", table: "nowhere", old_value: insert("t", 1) },
    ]);
    // What of an insert does not belong into old_value is told.
    expect([taken.status, taken.body.code]).toEqual([422, "validationFailed"]);
    const { colNames, colTypes, colValues } = insert("t", 1);
    const gone = { operation: "delete", table: "nowhere", old_value: { col_names: colNames, col_types: colTypes, col_values: colValues } };
    const again = await post(gateway, [insert("t", 1), insert("t", 2), gone]);
    expect([again.status, again.body]).toEqual([202, { message: "ok", id: expect.any(String), accepted: 3 }]);
    const after = await settled(gateway);
    expect(after).toMatchObject({
      applied: 2,
      failed: 1,
      rates: { accepted: expect.any(Number), applied: expect.any(Number), failed: expect.any(Number), rejected: expect.any(Number) },
      items: [
        { id: `${again.body.id}:2`, state: "failed", error: "there is no table nowhere", payload: gone },
        { state: "rejected", error: expect.stringContaining("activities[2].old_value.operation") },
      ],
      nextCursor: null,
    });
    {
      using database = tables(gateway);
      expect(database.query("SELECT id FROM t").all()).toEqual([{ id: 1 }, { id: 2 }]);
      expect(database.query("SELECT is_error FROM activity_log ORDER BY created_at, id").all()).toHaveLength(4);
    }
    const page = await state(gateway, "?limit=1");
    expect([page.items.length, (await state(gateway, `?limit=1&cursor=${page.nextCursor}`)).items[0]?.state]).toEqual([1, "rejected"]);

    await post(gateway, [insert("nowhere", 1)]);
    const replay = await gateway.admin("POST", `/admin/activities/${again.body.id}%3A2/replay`);
    expect([replay.status, await replay.json()]).toEqual([202, { replayed: 1 }]);
    expect((await settled(gateway)).items).toHaveLength(1);
    {
      using database = tables(gateway);
      expect(database.query("SELECT id FROM nowhere").all()).toEqual([]);
    }
    expect((await gateway.admin("POST", `/admin/activities/${again.body.id}:2/replay`)).status).toBe(409);
    expect((await gateway.admin("POST", "/admin/activities/nobody/replay")).status).toBe(404);
    const audit = (await (await gateway.admin("GET", "/admin/audit")).json()) as { items: { action: string }[] };
    expect(audit.items.map(({ action }) => action)).toContain("activities.replay");
    expect((await (await gateway.admin("GET", "/admin/health")).json()) as object).toMatchObject({ components: { queue: "ok" } });
  });

  test("asks who calls, keeps to limits, methods and sizes, and says what is wrong", async () => {
    await using gateway = await start({
      config: {
        ...CONFIG,
        server: { maxBodySize: "2kb" },
        activities: {
          endpoint: "/ingest",
          path: "elsewhere/rows.db",
          limits: [{ algorithm: "fixed-window", limit: 3, window: "1h" }],
          maxBacklog: 5,
        },
      },
    });
    const ingest = (activities: unknown, headers?: Record<string, string>) => post(gateway, activities, headers, "/ingest");
    expect((await ingest([insert("t", 1)], {})).body.code).toBe("keyMissing");
    const taken = await ingest([insert("t", 1)]);
    expect([taken.status, taken.headers.get("x-ratelimit-remaining"), taken.headers.get("x-request-id")?.length]).toEqual([202, "2", 36]);
    expect((await ingest("{")).body).toMatchObject({ status: 400, code: "badRequest" });
    expect((await ingest([insert("t", "x".repeat(3000))])).body).toMatchObject({ status: 413, code: "bodyTooLarge" });
    expect((await ingest([{ ...insert("t", 1), table: "activity_log" }])).body).toMatchObject({ status: 422 });
    expect((await ingest([insert("t", 1)])).status).toBe(429);
    expect((await fetch(`${gateway.url}/ingest`)).headers.get("allow")).toBe("POST");
    expect((await post(gateway, [])).status).toBe(404);
    expect(existsSync(join(gateway.folder, "elsewhere/rows.db"))).toBe(true);
    expect((await gateway.admin("POST", "/admin/routes", { path: "/ingest", upstream: "http://127.0.0.1:1" })).status).toBe(422);
  });

  test("fills no more of the disk than it may, however many anonymous callers there are", async () => {
    const config = { ...CONFIG, activities: { auth: "none", maxSize: "20mb", maxBacklogSize: "10mb" } };
    await using gateway = await start({ config });
    const large = insert("t", 1, { colNames: ["text"], colTypes: ["TEXT"], colValues: ["x".repeat(9_000_000)] });
    const statuses: number[] = [];
    for (let i = 0; i < 10; i++) {
      const { status, body, headers } = await post(gateway, [large], {});
      statuses.push(status);
      if (status === 503) expect([body.code, Number(headers.get("retry-after")) > 0]).toEqual(["backlogFull", true]);
      await settled(gateway);
    }
    expect([statuses[0], statuses.at(-1)]).toEqual([202, 503]);
    const ready = (await (await gateway.admin("GET", "/ready")).json()) as { warnings: { code: string }[] };
    expect(ready.warnings.map(({ code }) => code)).toContain("activitiesFull");
    const used = ["", "-wal"].reduce((sum, end) => sum + statSync(join(gateway.folder, `data/activities.db${end}`)).size, 0);
    expect(used).toBeLessThan(100_000_000);
    writeFileSync(join(gateway.folder, "config.json"), JSON.stringify({ ...config, activities: { auth: "none", maxSize: "1gb" } }));
    expect((await gateway.admin("POST", "/admin/config/reload")).status).toBe(200);
    expect((await post(gateway, [insert("u", 1)], {})).status).toBe(202);
    expect(((await (await gateway.admin("GET", "/ready")).json()) as typeof ready).warnings).toEqual([]);
  });

  test("is switched on and off by a reload", async () => {
    await using gateway = await start({ config: { ...CONFIG, activities: null } });
    expect((await post(gateway, [insert("t", 1)])).status).toBe(404);
    expect((await gateway.admin("GET", "/admin/activities")).status).toBe(404);
    const reload = async (activities: object | null) => {
      writeFileSync(join(gateway.folder, "config.json"), JSON.stringify({ ...CONFIG, activities }));
      return (await gateway.admin("POST", "/admin/config/reload")).status;
    };
    writeFileSync(join(gateway.folder, "a-file"), "");
    expect(await reload({ path: "a-file/x.db" })).toBe(422);
    expect(await reload({})).toBe(200);
    expect((await post(gateway, [insert("t", 1)])).status).toBe(202);
    expect(await reload({ path: "other.db" })).toBe(422);
    expect(await reload(null)).toBe(200);
    expect((await post(gateway, [insert("t", 1)])).status).toBe(404);
  });

  test("does not start where its tables can't be", async () => {
    using home = folder();
    writeFileSync(join(home.path, "a-file"), "");
    writeFileSync(join(home.path, "config.json"), JSON.stringify({ ...CONFIG, activities: { path: "a-file/x.db" } }));
    const outcome = await run(["serve", "--port", "0"], { cwd: home.path, env: { SLUICE_ADMIN_TOKEN: ADMIN_TOKEN } });
    expect([outcome.status, outcome.stderr]).toEqual([1, expect.stringContaining("activities.path")]);
  });

  test("leaves all of it in the one file after a clean stop", async () => {
    await using gateway = await start({ config: CONFIG });
    for (let batch = 0; batch < 50; batch++)
      await post(
        gateway,
        Array.from({ length: 10 }, (_, i) =>
          i === 9 ? { ...insert("t", batch), colNames: [`c${batch % 30}`] } : insert("t", batch * 10 + i),
        ),
      );
    // Deletes and failures have statements of their own.
    const { colNames, colTypes, colValues } = insert("t", 1);
    await post(gateway, [
      { operation: "delete", table: "t", oldValue: { colNames, colTypes, colValues } },
      { operation: "delete", table: "nowhere", oldValue: { colNames, colTypes, colValues } },
    ]);
    await post(gateway, "{");
    await settled(gateway);
    await gateway.admin("POST", "/admin/activities/nobody/replay");
    expect(await gateway.stop()).toBe(0);
    const copy = join(gateway.folder, "copy.db");
    copyFileSync(join(gateway.folder, "data/activities.db"), copy);
    using database = new Database(copy, { readonly: true });
    expect(database.query("SELECT (SELECT count(*) FROM t) AS rows, (SELECT count(*) FROM activity_log) AS log").get()).toEqual({
      rows: 499,
      log: 503,
    });
    expect(existsSync(join(gateway.folder, "data/activities.db-wal"))).toBe(false);
  });

  test("stores what looks like SQL, or refuses it: fifty attempts change nothing else", async () => {
    await using gateway = await start({ config: CONFIG });
    await post(gateway, [insert("accounts", 1)]);
    const texts = [
      "'; DROP TABLE accounts; --",
      '"; DROP TABLE accounts; --',
      "1; DELETE FROM accounts",
      "' OR '1'='1",
      "' OR 1=1 --",
      "') ; UPDATE accounts SET id = 9; --",
      "accounts; ATTACH DATABASE 'x' AS y",
      "\\'; DROP TABLE accounts; --",
      "%27%3B DROP TABLE accounts",
      "\u0000'; DROP TABLE accounts",
      "`; DROP TABLE accounts; `",
      "[accounts]; DROP TABLE accounts",
      "NULL); DROP TABLE accounts; --",
      "UNION SELECT sql FROM sqlite_master",
      "x' || (SELECT id FROM accounts) || '",
      "?1",
      ":id",
      "$id; PRAGMA writable_schema = 1",
      "/* */ DROP TABLE accounts",
      "ⅼ'; DROP TABLE accounts; --",
    ];
    let stored = 0;
    let refused = 0;
    const names = texts.slice(0, 15);
    const attempts = [
      // In values: kept as they are.
      ...texts.map((text) => ({ operation: "insert", table: "notes", colNames: ["text"], colTypes: ["TEXT"], colValues: [text] })),
      // In names and types: refused.
      ...names.map((text) => insert(text, 1)),
      ...names.slice(0, 8).map((text) => ({ operation: "insert", table: "notes", colNames: [text], colTypes: ["TEXT"], colValues: ["x"] })),
      ...[
        "INTEGER); DROP TABLE accounts; --",
        "TEXT DEFAULT (SELECT 1)",
        "TEXT PRIMARY KEY",
        "VARCHAR(5)) ; DROP TABLE accounts",
        "DECIMAL(5,2) CHECK (1)",
        "INTEGER REFERENCES accounts",
        "TEXT; --",
      ].map((type) => ({ operation: "insert", table: "notes", colNames: ["other"], colTypes: [type], colValues: ["x"] })),
    ];
    expect(attempts).toHaveLength(50);
    for (const attempt of attempts) {
      const { status } = await post(gateway, [attempt]);
      if (status === 202) stored++;
      else if (status === 422) refused++;
    }
    await settled(gateway);
    using database = tables(gateway);
    expect([stored, refused]).toEqual([20, 30]);
    expect(database.query("SELECT text FROM notes ORDER BY rowid").all()).toEqual(texts.map((text) => ({ text })));
    expect(database.query("SELECT id FROM accounts").all()).toEqual([{ id: 1 }]);
    const made = database.query("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sluice_%' ORDER BY name").all() as {
      name: string;
    }[];
    expect(made.map(({ name }) => name)).toEqual(["accounts", "activity_log", "notes", "sqlite_sequence"]);
    // A delete with such values finds its row, and no other.
    for (const text of texts)
      await post(gateway, [
        { operation: "delete", table: "notes", oldValue: { colNames: ["text"], colTypes: ["TEXT"], colValues: [text] } },
      ]);
    expect((await settled(gateway)).failed).toBe(0);
    expect(database.query("SELECT count(*) AS rows FROM notes").get()).toEqual({ rows: 0 });
  });

  test("loses nothing and does nothing twice when the process is killed at any moment", async () => {
    using home = folder();
    const accepted = new Set<number>();
    const uncertain = new Map<number, number>();
    let next = 0;
    for (let round = 0; round < 10; round++) {
      await using gateway = await start({ config: CONFIG, cwd: home.path });
      let isDead = false;
      const user = async () => {
        while (!isDead) {
          const batch = next++;
          const rows = Array.from({ length: 20 }, (_, i) => batch * 100 + i);
          // Each fifth batch holds a mistake at its end: nothing of it may take effect.
          const isWrong = batch % 5 === 4;
          const activities = rows.map((id) => insert(isWrong ? "refused" : "t", id));
          if (isWrong) activities.push(insert("refused", "x"));
          try {
            const { status } = await post(gateway, activities);
            expect(status).toBe(isWrong ? 422 : 202);
            if (!isWrong) accepted.add(batch);
          } catch (error) {
            if (!isDead) throw error;
            if (!isWrong) uncertain.set(batch, rows.length);
          }
        }
      };
      const users = Promise.all(Array.from({ length: 4 }, user));
      await Bun.sleep(20 + Math.random() * 150);
      isDead = true;
      await gateway.stop("SIGKILL");
      await users;
    }
    await using gateway = await start({ config: CONFIG, cwd: home.path });
    await settled(gateway);
    using database = tables(gateway);
    const found = new Map<number, number[]>();
    for (const { id } of database.query("SELECT id FROM t").all() as { id: number }[]) {
      const batch = Math.floor(id / 100);
      found.set(batch, [...(found.get(batch) ?? []), id % 100]);
    }
    expect(accepted.size).toBeGreaterThan(20);
    for (const [batch, rows] of found) {
      // All of a batch, each of it once.
      expect(rows.sort((a, b) => a - b)).toEqual(Array.from({ length: 20 }, (_, i) => i));
      expect(accepted.has(batch) || uncertain.has(batch)).toBe(true);
    }
    for (const batch of accepted) expect(found.has(batch)).toBe(true);
    expect(database.query("SELECT name FROM sqlite_master WHERE name = 'refused'").all()).toEqual([]);
    expect(database.query("SELECT count(*) AS rows FROM activity_log WHERE is_error = 0").get()).toEqual({ rows: found.size * 20 });
  });
});

describe("the gateway's own database", () => {
  const ATTACKERS = "attacker-admin-token-1";
  const asAdmin = (table: string) => ({
    operation: "insert",
    table,
    colNames: ["id", "name", "hash", "role", "created_at"],
    colTypes: ["TEXT", "TEXT", "TEXT", "TEXT", "INTEGER"],
    colValues: ["e", "e", new Bun.CryptoHasher("sha256").update(ATTACKERS).digest("hex"), "admin", 1],
  });
  const open = { ...CONFIG, activities: { auth: "none" } };
  const own = (path: string) => ({ ...open, storage: { path: "d/sluice.db" }, activities: { auth: "none", path } });

  test("is never where activities are kept: no caller makes itself admin", async () => {
    using home = folder();
    {
      // Its database is there before the links that lead to it.
      await using gateway = await start({ config: own("elsewhere.db"), cwd: home.path });
      // In a file of its own it is a table as any other.
      expect((await post(gateway, [asAdmin("admin_tokens")], {})).status).toBe(202);
      expect((await fetch(`${gateway.url}/admin/tokens`, { headers: { authorization: `Bearer ${ATTACKERS}` } })).status).toBe(401);
    }
    symlinkSync("d/sluice.db", join(home.path, "soft.db"));
    symlinkSync("d", join(home.path, "soft"));
    linkSync(join(home.path, "d/sluice.db"), join(home.path, "hard.db"));
    for (const path of [
      "d/sluice.db",
      "./d/../d/sluice.db",
      "soft.db",
      "soft/sluice.db",
      "hard.db",
      "d/sluice.db-wal",
      "d/sluice.db.lock",
    ]) {
      writeFileSync(join(home.path, "config.json"), JSON.stringify(own(path)));
      const outcome = await run(["serve", "--port", "0"], { cwd: home.path, env: { SLUICE_ADMIN_TOKEN: ADMIN_TOKEN } });
      expect([path, outcome.status, outcome.stderr]).toEqual([
        path,
        1,
        expect.stringContaining("activities.path: leads to the gateway's own"),
      ]);
      expect((await run(["check"], { cwd: home.path })).status).toBe(1);
    }
    // By --data it can be another file than the configuration says, and by the default's name the same.
    writeFileSync(join(home.path, "config.json"), JSON.stringify({ ...open, activities: { path: "d/sluice.db" } }));
    const moved = await run(["serve", "--port", "0", "--data", "d"], { cwd: home.path, env: { SLUICE_ADMIN_TOKEN: ADMIN_TOKEN } });
    expect([moved.status, moved.stderr]).toEqual([1, expect.stringContaining("activities.path")]);
    writeFileSync(join(home.path, "config.json"), JSON.stringify({ ...open, storage: { path: "d/activities.db" } }));
    expect((await run(["check"], { cwd: home.path })).status).toBe(1);
  }, 60_000);

  test("is refused by a reload, and another gateway's as well", async () => {
    using home = folder();
    await using gateway = await start({ config: { ...CONFIG, storage: { path: "d/sluice.db" }, activities: null }, cwd: home.path });
    symlinkSync("d/sluice.db", join(home.path, "soft.db"));
    mkdirSync(join(home.path, "other"));
    const copy = new Database(join(home.path, "d/sluice.db"));
    copy.run("VACUUM INTO ?", [join(home.path, "other/sluice.db")]);
    copy.close();
    const reload = async (path: string) => {
      writeFileSync(join(home.path, "config.json"), JSON.stringify(own(path)));
      const answer = await gateway.admin("POST", "/admin/config/reload");
      return [answer.status, JSON.stringify(await answer.json())];
    };
    for (const path of ["d/sluice.db", "soft.db"])
      expect([path, ...(await reload(path))]).toEqual([path, 422, expect.stringContaining("the gateway's own database")]);
    expect(await reload("other/sluice.db")).toEqual([422, expect.stringContaining("it holds a gateway's own records")]);
    expect((await post(gateway, [asAdmin("admin_tokens")], {})).status).toBe(404);
    expect((await reload("fine.db"))[0]).toBe(200);
    expect((await post(gateway, [insert("t", 1)], {})).status).toBe(202);
  }, 60_000);
});

having("redis-server").describe("activities of several instances", () => {
  test("wait in Redis: one applies, and when it is killed in the middle of a batch another goes on, each activity once", async () => {
    await using redis = await redisServer();
    using home = folder();
    // The tables are in one place: a file that both have, as a warehouse would be.
    const config = { ...CONFIG, redis: { url: redis.url, timeout: "500ms" }, activities: { path: join(home.path, "shared.db") } };
    const instances = await Promise.all([start({ config }), start({ config }), start({ config })]);
    try {
      const accepted = new Set<number>();
      const uncertain = new Set<number>();
      const dead = new Set<Running>();
      let next = 0;
      let isOver = false;
      const user = async (which: number) => {
        const gateway = instances[which] as Running;
        while (!isOver && !dead.has(gateway)) {
          const batch = next++;
          const rows = Array.from({ length: batch % 7 === 0 ? 1500 : 50 }, (_, i) => insert("t", batch * 10_000 + i));
          try {
            expect((await post(gateway, rows)).status).toBe(202);
            accepted.add(batch);
          } catch (error) {
            if (!dead.has(gateway)) throw error;
            uncertain.add(batch);
          }
        }
      };
      const users = Promise.all([0, 0, 1, 1, 2].map(user));
      for (const victim of instances.slice(0, 2)) {
        await Bun.sleep(400);
        dead.add(victim);
        await victim.stop("SIGKILL");
      }
      await Bun.sleep(300);
      isOver = true;
      await users;
      await settled(instances[2] as Running);
      using database = new Database(join(home.path, "shared.db"), { readonly: true });
      const found = new Map<number, number>();
      for (const { id } of database.query("SELECT id FROM t").all() as { id: number }[]) found.set(id, (found.get(id) ?? 0) + 1);
      expect([...found.values()].filter((times) => times !== 1)).toEqual([]);
      const batches = new Map<number, number>();
      for (const id of found.keys()) batches.set(Math.floor(id / 10_000), (batches.get(Math.floor(id / 10_000)) ?? 0) + 1);
      for (const [batch, rows] of batches) expect([batch, rows]).toEqual([batch, batch % 7 === 0 ? 1500 : 50]);
      expect(accepted.size).toBeGreaterThan(10);
      for (const batch of accepted) expect(batches.has(batch)).toBe(true);
      for (const batch of batches.keys()) expect(accepted.has(batch) || uncertain.has(batch)).toBe(true);
      expect(await redis.client.xlen("sluice:{activities}:stream")).toBe(0);
      expect(await state(instances[2] as Running)).toMatchObject({ backlog: { activities: 0, batches: 0, size: 0 } });
    } finally {
      await Promise.all(instances.map((each) => each[Symbol.asyncDispose]()));
    }
  });

  test("are refused while Redis is away, and taken again when it is back", async () => {
    await using redis = await redisServer();
    await using gateway = await start({ config: { ...CONFIG, redis: { url: redis.url, timeout: "200ms" }, activities: {} } });
    const taken = await post(gateway, [
      insert("t", 1),
      { operation: "delete", table: "nowhere", oldValue: { colNames: ["a"], colTypes: ["TEXT"], colValues: ["x"] } },
    ]);
    expect(taken.status).toBe(202);
    expect(await settled(gateway)).toMatchObject({ applied: 1, failed: 1 });
    await redis.kill();
    const refused = await post(gateway, [insert("t", 2)]);
    expect([refused.status, refused.body.code]).toEqual([503, "queueUnavailable"]);
    await redis.restart();
    while ((await post(gateway, [insert("t", 3)])).status !== 202) await Bun.sleep(20);
    await post(gateway, [{ operation: "insert", table: "nowhere", colNames: ["a"], colTypes: ["TEXT"], colValues: ["y"] }]);
    await settled(gateway);
    expect((await gateway.admin("POST", `/admin/activities/${taken.body.id}:1/replay`)).status).toBe(202);
    await settled(gateway);
    expect((await gateway.admin("POST", `/admin/activities/${taken.body.id}:1/replay`)).status).toBe(409);
    using database = tables(gateway);
    const ids = (database.query("SELECT id FROM t ORDER BY id").all() as { id: number }[]).map(({ id }) => id);
    expect(ids.filter((id) => id !== 2)).toEqual([1, 3]);
  });
});

test("the endpoint is one path: what lies below it is nobody's", async () => {
  await using gateway = await start({ config: { activities: { auth: "none" } } });
  const at = (path: string) => fetch(gateway.url + path, { method: "POST", body: "{}", headers: { "content-type": "application/json" } });
  expect([(await at("/api/activities")).status, (await at("/api/activities/")).status]).toEqual([422, 422]);
  expect((await at("/api/activities/anything")).status).toBe(404);
});
