import { Database } from "bun:sqlite";
import { describe, expect, test } from "bun:test";
import { copyFileSync, mkdirSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { openStorage, StorageError } from "../../src/storage/open.ts";
import { folder } from "../support/process.ts";

const modeOf = (path: string): string => (statSync(path).mode & 0o777).toString(8);

function refusal(path: string): string {
  try {
    openStorage(path).close();
  } catch (error) {
    if (error instanceof StorageError) return error.message;
    throw error;
  }
  return "opened";
}

describe("the database", () => {
  test("is made with its folder, for the owner only", () => {
    using data = folder();
    const path = `${data.path}/a/b/sluice.db`;
    const storage = openStorage(path);
    storage.client.run("CREATE TABLE t (x)");
    expect([modeOf(`${data.path}/a/b`), modeOf(path), modeOf(`${path}-wal`), modeOf(`${path}-shm`)]).toEqual(["700", "600", "600", "600"]);
    storage.close();
  });

  test("loses nothing that was committed when the power fails, and waits for others", () => {
    using data = folder();
    const storage = openStorage(`${data.path}/sluice.db`);
    const pragma = (name: string) => Object.values(storage.client.query(`PRAGMA ${name}`).get() as object)[0];
    // 2: FULL.
    expect([pragma("journal_mode"), pragma("synchronous"), pragma("busy_timeout"), pragma("foreign_keys")]).toEqual(["wal", 2, 5000, 1]);
    storage.close();
  });

  test("opened again is as it was left, and its migrations run once", () => {
    using data = folder();
    const path = `${data.path}/sluice.db`;
    const first = openStorage(path);
    first.client.run("INSERT INTO limit_counts VALUES ('p', 's', '{}', 1)");
    const applied = first.client.query("SELECT hash FROM __drizzle_migrations").all();
    first.close();
    const second = openStorage(path);
    expect(second.client.query("SELECT count(*) AS n FROM limit_counts").get()).toEqual({ n: 1 });
    expect(second.client.query("SELECT hash FROM __drizzle_migrations").all()).toEqual(applied);
    second.close();
  });

  test("is whole in its one file once it is closed", () => {
    using data = folder();
    const storage = openStorage(`${data.path}/sluice.db`);
    storage.client.run("INSERT INTO limit_counts VALUES ('p', 's', '{}', 1)");
    storage.close();
    copyFileSync(`${data.path}/sluice.db`, `${data.path}/copy.db`);
    const copy = openStorage(`${data.path}/copy.db`);
    expect(copy.client.query("SELECT count(*) AS n FROM limit_counts").get()).toEqual({ n: 1 });
    copy.close();
  });

  test("may live in memory", () => {
    const storage = openStorage(":memory:");
    expect(storage.client.query("SELECT count(*) AS n FROM keys").get()).toEqual({ n: 0 });
    storage.close();
  });
});

describe("a database that can't be used is refused with what to do", () => {
  test("written by a newer version", () => {
    using data = folder();
    const path = `${data.path}/sluice.db`;
    openStorage(path).close();
    {
      using newer = new Database(path);
      newer.run("INSERT INTO __drizzle_migrations (hash, created_at) VALUES ('of-a-later-version', 9999999999999)");
    }
    expect(refusal(path)).toMatch(/newer Sluice.*(run that version).*backup/);
  });

  test("not a database", () => {
    using data = folder();
    const path = `${data.path}/sluice.db`;
    writeFileSync(path, "this is a text file, and long enough to be no header of SQLite's".repeat(100));
    expect(refusal(path)).toMatch(/damaged.*backup/);
  });

  test("cut off", () => {
    using data = folder();
    const path = `${data.path}/sluice.db`;
    openStorage(path).close();
    truncateSync(path, 5000);
    expect(refusal(path)).toMatch(/damaged.*backup/);
  });

  test("in a folder that can't be made", () => {
    using data = folder();
    writeFileSync(`${data.path}/file`, "");
    expect(refusal(`${data.path}/file/sluice.db`)).toMatch(/can't be (made|opened).*--data/);
    expect(refusal("/proc/nowhere/sluice.db")).toMatch(/can't be (made|opened).*--data/);
  });

  test("a folder of that name", () => {
    using data = folder();
    mkdirSync(`${data.path}/sluice.db`);
    expect(refusal(`${data.path}/sluice.db`)).toMatch(/can't be opened.*--data/);
  });
});

test("several processes that start together on one new database all open it, and it is migrated once", async () => {
  using data = folder();
  const path = `${data.path}/sluice.db`;
  const program = `import { openStorage } from ${JSON.stringify(resolve(import.meta.dir, "../../src/storage/open.ts"))};
    const storage = openStorage(${JSON.stringify(path)});
    console.log(storage.client.query("SELECT count(*) AS n FROM __drizzle_migrations").get().n);
    storage.close();`;
  const file = `${data.path}/open.ts`;
  writeFileSync(file, program);
  const runs = Array.from({ length: 4 }, () => Bun.spawn([process.execPath, file], { stdout: "pipe", stderr: "pipe" }));
  const outcomes = await Promise.all(
    runs.map(async (run) => [await new Response(run.stdout).text(), await new Response(run.stderr).text(), await run.exited]),
  );
  const expected = outcomes[0]?.[0];
  expect(Number(expected)).toBeGreaterThan(0);
  for (const outcome of outcomes) expect(outcome).toEqual([expected ?? "", "", 0]);
});
