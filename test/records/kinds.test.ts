import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { openApiDocument } from "../../src/cli/openapi-document.ts";
import { type Change, ChangeFeed, type Follower, type Followers, follow } from "../../src/records/changes.ts";
import { KIND_NAMES, KINDS, type Kind } from "../../src/records/kinds.ts";
import { openStorage, type Storage } from "../../src/storage/open.ts";
import { folder } from "../support/process.ts";

interface Column {
  readonly name: string;
  readonly type: string;
  readonly notnull: number;
  readonly dflt_value: string | null;
}

const columnsOf = ({ client }: Storage, table: string): Column[] =>
  client.query<Column, [string]>("SELECT name, type, [notnull], dflt_value FROM pragma_table_info(?1)").all(table);

/** Puts a record in that has only what it must. */
function insert(storage: Storage, kind: Kind, id: string): void {
  const { table, key, isDocument } = KINDS[kind];
  const needed = columnsOf(storage, table).filter(
    ({ name, notnull, dflt_value }) => name === key || (notnull === 1 && dflt_value === null),
  );
  const values = needed.map(({ name, type }) => (name === key ? id : name === "kind" && isDocument ? kind : type === "INTEGER" ? 1 : "{}"));
  storage.client
    .query(`INSERT INTO ${table} (${needed.map(({ name }) => `"${name}"`).join(", ")}) VALUES (${needed.map(() => "?").join(", ")})`)
    .run(...values);
}

describe.each(KIND_NAMES)("records of the kind %s", (kind) => {
  const { table, key, isDocument, own, putIn, path } = KINDS[kind];

  test("have every column in the database that their row names", () => {
    const storage = openStorage(":memory:");
    const columns = columnsOf(storage, table).map(({ name }) => name);
    for (const column of [key, ...own, ...(isDocument ? ["kind"] : [])]) expect(columns).toContain(column);
    expect(columns.includes("kind")).toBe(isDocument);
    storage.close();
  });

  test("are noted as changed by triggers, so that other processes and instances learn of it", () => {
    using home = folder();
    const at = join(home.path, "sluice.db");
    const [ours, theirs] = [openStorage(at), openStorage(at)];
    const told: Change[] = [];
    const feed = new ChangeFeed(ours);
    const where = `"${key}" = 'one'${isDocument ? ` AND kind = '${kind}'` : ""}`;
    const deeds = [
      () => insert(theirs, kind, "one"),
      // Whatever is changed counts its versions; what has none is only made and deleted.
      ...(putIn === "update" ? [() => theirs.client.run(`UPDATE ${table} SET version = version + 1 WHERE ${where}`)] : []),
      () => theirs.client.run(`DELETE FROM ${table} WHERE ${where}`),
    ];
    for (const deed of deeds) {
      told.length = 0;
      deed();
      feed.poll((changes) => told.push(...changes));
      expect(told.map((change) => [change.kind, change.id])).toEqual([[kind, "one"]]);
    }
    expect(columnsOf(ours, table).some(({ name }) => name === "version")).toBe(putIn === "update");
    // What each instance has for itself is no change.
    insert(theirs, kind, "one");
    feed.poll((changes) => told.push(...changes));
    told.length = 0;
    for (const column of own) theirs.client.run(`UPDATE ${table} SET "${column}" = 5 WHERE ${where}`);
    feed.poll((changes) => told.push(...changes));
    expect(told).toEqual([]);
    ours.close();
    theirs.close();
  });

  test("are in the admin API at the path that their row names, where it names one", async () => {
    if (path === null) return;
    const { paths } = (await openApiDocument()) as { paths: Record<string, Record<string, unknown>> };
    const methods = Object.entries(paths).flatMap(([each, found]) =>
      each.replace(/\/$/, "") === `/admin/${path}` ? Object.keys(found) : [],
    );
    expect(methods).toContain("get");
    // Nobody makes a version: each change is one.
    if (kind !== "version") expect(methods).toContain("post");
  });
});

test("whatever a trigger notes as changed is of a kind that has a row", () => {
  const storage = openStorage(":memory:");
  const triggers = storage.client
    .query<{ table: string; sql: string }, []>("SELECT tbl_name AS 'table', sql FROM sqlite_master WHERE type = 'trigger'")
    .all();
  const noted = triggers.filter(({ sql }) => sql.includes("INTO `changes`"));
  expect(new Set(noted.map(({ table }) => table))).toEqual(new Set(Object.values(KINDS).map(({ table }) => table)));
  const named = noted.flatMap(({ sql }) => /VALUES \('(\w+)'/.exec(sql)?.[1] ?? []);
  for (const kind of named) expect(KIND_NAMES as readonly string[]).toContain(kind);
  storage.close();
});

test("changes are taken over in their order, then each kind settles once, after what it names", () => {
  const done: string[] = [];
  const follower = (kind: Kind, settle = () => void done.push(`${kind} settles`)): Follower => ({
    refresh: (id, was) => {
      done.push(`${kind} ${id}${was === null ? "" : ` was ${was}`}`);
      if (id === "sealed") throw new Error("sealed");
    },
    settle,
  });
  const both = () => void done.push("routes settle");
  const followers: Followers = {
    tier: follower("tier"),
    pool: follower("pool"),
    issuer: follower("issuer"),
    upstream: follower("upstream", both),
    route: follower("route", both),
    webhook: follower("webhook"),
    consumer: { ...follower("consumer"), settle: undefined },
    key: follower("key"),
    block: { settle: () => void done.push("block settles") },
    token: follower("token"),
    version: follower("version"),
    session: follower("session"),
  };
  const faults: unknown[] = [];
  follow(
    [
      { kind: "block", id: "10.0.0.0/8", was: null },
      { kind: "route", id: "r", was: null },
      { kind: "pool", id: "sealed", was: null },
      { kind: "upstream", id: "u", was: null },
      { kind: "consumer", id: "c", was: null },
      { kind: "key", id: "k", was: "h" },
    ],
    followers,
    (error) => faults.push(error),
  );
  expect(done).toEqual([
    "route r",
    "pool sealed",
    "upstream u",
    "consumer c",
    "key k was h",
    "pool settles",
    "routes settle",
    "key settles",
    "block settles",
  ]);
  expect(faults).toHaveLength(1);
});
