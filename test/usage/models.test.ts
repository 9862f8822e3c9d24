import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { readMigrationFiles } from "drizzle-orm/migrator";
import { ANONYMOUS, type Caller } from "../../src/exchange/caller.ts";
import { CellFolder } from "../../src/shared/cell-folder.ts";
import { openStorage } from "../../src/storage/open.ts";
import { MAX_CALLED } from "../../src/usage/intake.ts";
import { type Dimension, Usage } from "../../src/usage/usage.ts";
import { FakeClock } from "../support/clock.ts";
import { folder } from "../support/process.ts";

const NOW = Date.parse("2026-11-21T10:30:00Z");
const HOUR = Date.parse("2026-11-21T10:00:00Z");
const acme: Caller = { ...ANONYMOUS, via: "key", id: "key_1", consumer: { ...ANONYMOUS.consumer, id: "acme" } };
const ALL = { of: {}, from: 0, to: Number.MAX_SAFE_INTEGER, per: null, limit: 5000, offset: 0 } as const;

function counting() {
  const storage = openStorage(":memory:");
  const isConfigured = (column: string, name: string): boolean => name === `a ${column} of ours`;
  const usage = new Usage({ storage, clock: new FakeClock(NOW), hasRecord: () => true, isConfigured });
  const by = (...dimensions: Dimension[]) => usage.sums({ ...ALL, by: dimensions });
  return { usage, by, [Symbol.dispose]: () => storage.close() };
}

test("usage tells models and tools apart, with what they have cost to the nano-dollar", () => {
  using counted = counting();
  const { usage, by } = counted;
  usage.note("chat", acme, 200, false, 100, 1_250_001, "large", "");
  usage.note("chat", acme, 200, false, 100, 999_999_999_999_999, "large", "");
  usage.note("chat", acme, 429, true, 0, 0, "small", "");
  usage.note("tools", acme, 200, false, 0, 0, "", "search");
  usage.note("tools", acme, 502, false, 0, 0, "", "search");
  usage.note("plain", acme, 200, false, 0, 0, "", "");
  expect(by("model")).toEqual([
    { model: "", requests: 3, errors: 1, limited: 0, tokens: 0, cost: 0 },
    { model: "large", requests: 2, errors: 0, limited: 0, tokens: 200, cost: 1_000_000_001_250_000 },
    { model: "small", requests: 1, errors: 0, limited: 1, tokens: 0, cost: 0 },
  ]);
  expect(by("route", "tool")).toMatchObject([
    { route: "chat", tool: "", requests: 3 },
    { route: "plain", tool: "", requests: 1 },
    { route: "tools", tool: "search", requests: 2, errors: 1 },
  ]);
  expect(usage.sums({ ...ALL, of: { model: "large", consumer: "acme" }, by: ["key"] })).toMatchObject([{ key: "key_1", requests: 2 }]);
  expect(usage.sums({ ...ALL, of: { tool: "search", model: "large" }, by: [] })).toMatchObject([{ requests: 0, cost: 0 }]);
});

test("callers who name ever more models and tools make no more rows than are told apart in an hour, and hide none of the configuration's", () => {
  using counted = counting();
  const { usage, by } = counted;
  for (const at of ["model", "tool"] as const) {
    const note = (name: string) => usage.note("all", acme, 404, false, 0, 7, at === "model" ? name : "", at === "tool" ? name : "");
    for (let n = 0; n < MAX_CALLED + 500; n++) note(`made up ${n}`);
    note("x".repeat(100_000));
    note("made up 3");
    note(`a ${at} of ours`);
    const rows = new Map(by(at).map((row) => [row[at], row.requests]));
    expect([rows.get("other"), rows.get("made up 3"), rows.get(`a ${at} of ours`)]).toEqual([501, 2, 1]);
    rows.delete("");
    expect(rows.size).toBe(MAX_CALLED + 2);
  }
});

test("what an older version has counted in a file, and not yet written, is taken over once", () => {
  using root = folder();
  const database = join(root.path, "sluice.db");
  const storage = openStorage(database);
  const file = new CellFolder(database).writer("run", "1").create("usage", 4096);
  // Four counts, of which three requests and five tokens are in the database, and no name of a model.
  file?.cells.add(JSON.stringify([HOUR, "all", "acme", "key_1", ""]), 12)?.set([7, 2, 1, 30, 3, 0, 0, 5]);
  file?.cells.close();
  const bytes = Buffer.from(Bun.mmap(file?.path ?? "").buffer);
  bytes.writeInt32LE(1, 4);
  writeFileSync(file?.path ?? "", bytes);
  const usage = new Usage({ storage, clock: new FakeClock(NOW), hasRecord: () => true });
  for (let times = 0; times < 2; times++)
    expect(usage.sums({ ...ALL, by: ["consumer", "model"] })).toEqual([
      { consumer: "acme", model: "", requests: 4, errors: 2, limited: 1, tokens: 25, cost: 0 },
    ]);
  expect(new CellFolder(database).files("usage")).toEqual([]);
  storage.close();
});

test("what an older version has in its database stays, as usage that called no model and cost nothing", () => {
  using root = folder();
  const database = join(root.path, "sluice.db");
  const before = new Database(database, { create: true });
  before.run("CREATE TABLE __drizzle_migrations (id INTEGER PRIMARY KEY, hash text NOT NULL, created_at numeric)");
  for (const { sql, hash, folderMillis } of readMigrationFiles({ migrationsFolder: join(import.meta.dir, "../../drizzle") })) {
    if (sql.some((statement) => statement.includes("__new_usage"))) break;
    for (const statement of sql) before.run(statement);
    before.run("INSERT INTO __drizzle_migrations (hash, created_at) VALUES (?, ?)", [hash, folderMillis]);
  }
  before.run("INSERT INTO usage VALUES (?, 'acme', 'key_1', 'all', 9, 2, 1, 40)", [HOUR]);
  before.close();
  const storage = openStorage(database);
  const usage = new Usage({ storage, clock: new FakeClock(NOW), hasRecord: () => true });
  usage.note("all", acme, 200, false, 1, 5, "large", "");
  usage.note("all", acme, 200, false, 1, 0, "", "");
  // An older version that still serves while another takes over names no model.
  storage.client.run(
    "INSERT INTO usage (hour, consumer, key, route, requests, errors, limited, tokens) VALUES (?1, 'acme', 'key_1', 'all', 1, 0, 0, 0) ON CONFLICT DO UPDATE SET requests = requests + 1",
    [HOUR],
  );
  expect(usage.sums({ ...ALL, by: ["consumer", "key", "route", "model", "tool"] })).toEqual([
    { consumer: "acme", key: "key_1", route: "all", model: "", tool: "", requests: 11, errors: 2, limited: 1, tokens: 41, cost: 0 },
    { consumer: "acme", key: "key_1", route: "all", model: "large", tool: "", requests: 1, errors: 0, limited: 0, tokens: 1, cost: 5 },
  ]);
  storage.close();
});
