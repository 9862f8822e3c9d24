import { Database } from "bun:sqlite";
import { describe, expect, test } from "bun:test";
import { closeSync, copyFileSync, mkdirSync, openSync, rmSync, statSync, truncateSync, writeFileSync, writeSync } from "node:fs";
import { resolve } from "node:path";
import { openStorage, StorageError } from "../../src/storage/open.ts";
import { folder, run } from "../support/process.ts";

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

describe("a database that is gone is no first start", () => {
  const opened = (prepare: (path: string) => void): string => {
    using data = folder();
    const path = `${data.path}/sluice.db`;
    openStorage(path).close();
    prepare(path);
    return refusal(path);
  };

  test("emptied to 0 bytes, with a write-ahead log beside it or without", () => {
    expect(opened((path) => writeFileSync(path, ""))).toMatch(/has 0 bytes.*sluice restore FILE/);
    expect(
      opened((path) => {
        writeFileSync(path, "");
        writeFileSync(`${path}-wal`, "frames");
      }),
    ).toMatch(/has 0 bytes.*sluice restore FILE/);
  });

  test("deleted, and its write-ahead log left behind", () => {
    expect(
      opened((path) => {
        rmSync(path);
        writeFileSync(`${path}-wal`, "frames");
      }),
    ).toMatch(/is gone.*sluice restore FILE/);
  });

  test("but one that was moved away is begun anew, and so is a file that somebody has made for it", () => {
    expect(opened((path) => rmSync(path))).toBe("opened");
    using data = folder();
    writeFileSync(`${data.path}/sluice.db`, "");
    expect(refusal(`${data.path}/sluice.db`)).toBe("opened");
  });
});

test("damaged pages that are only found later are told in one sentence that says what to do", async () => {
  using data = folder();
  const path = `${data.path}/sluice.db`;
  const storage = openStorage(path);
  for (let i = 0; i < 2000; i++)
    storage.client
      .query(
        "INSERT INTO keys (id, hash, start, end, consumer, enabled, version, created_at, updated_at) VALUES (?1, ?2, '', '', 'acme', 1, 1, 0, 0)",
      )
      .run(`key_${i}`, `hash-${i}`.repeat(8));
  storage.close();
  const size = statSync(path).size;
  const file = openSync(path, "r+");
  // The header and the schema stay whole.
  for (let at = 4096 * 60; at + 4096 < size; at += 4096) writeSync(file, Buffer.alloc(4096, 0xa5), 0, 4096, at);
  closeSync(file);
  const { status, stderr } = await run(["serve", "--port", "0", "--data", data.path], { cwd: data.path });
  expect([status, stderr]).toEqual([1, expect.stringMatching(/^sluice: .*is damaged.*sluice restore FILE.*\n$/)]);
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
