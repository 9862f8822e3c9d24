import { expect } from "bun:test";
import type { SQL } from "bun";
import { PostgresSink } from "../../../src/activities/sinks/postgres.ts";
import { type Outcome, REPEATED } from "../../../src/activities/sinks/sink.ts";
import { type PostgresServer, postgresServer } from "../../support/postgres.ts";
import { having } from "../../support/programs.ts";
import { delivered, insert, int, parsed, remove, runsOf, text } from "../../support/runs.ts";

const tests = having("postgres");
let server: PostgresServer;
let client: SQL;
let count = 0;
tests.beforeAll(async () => {
  server = await postgresServer();
  client = server.client();
});
tests.afterAll(async () => {
  await server[Symbol.asyncDispose]();
});

/** Opens a sink on a schema of its own. */
function opened(keepsLog = false, schema = `s${++count}`, url = server.url) {
  const sink = new PostgresSink({ url, schema, ca: null }, { keepsLog });
  let batch = 0;
  return {
    sink,
    schema,
    apply: (activities: readonly object[], id = `b${++batch}`, isReplay = false): Promise<readonly Outcome[]> =>
      Promise.resolve(
        sink.apply(
          runsOf(parsed(activities), (index) => `${id}:${index}`, isReplay),
          delivered(),
        ),
      ),
    all: async (query: string): Promise<object[]> => [...(await client.unsafe(query.replaceAll("$", schema)))],
    [Symbol.asyncDispose]: () => sink.close(),
  };
}
const nulls = (length: number): null[] => new Array<null>(length).fill(null);

tests.describe("the sink for PostgreSQL", () => {
  tests.test("makes schema, tables and columns, inserts, and deletes by all the columns that are named", async () => {
    await using it = opened(false, `Made${++count}`);
    const outcomes = await it.apply([
      insert("People", { id: int(1), name: ["VARCHAR(20)", "Ann"] }),
      insert("people", { id: int(2), name: ["VARCHAR(20)", "Bob"], Balance: ["DECIMAL(20,4)", "12345678901234.5"] }),
      insert("PEOPLE", { ID: int("9223372036854775807"), ok: ["BOOLEAN", true], score: ["DOUBLE", 0.1], note: text(null) }),
      remove("people", { id: int(1), name: text("Bob") }),
      remove("people", { id: text("1"), name: text("Ann") }),
      remove("people", { balance: ["DECIMAL(20,2)", "12345678901234.50"], note: text(null) }),
    ]);
    expect(outcomes).toEqual(nulls(6));
    const schema = it.schema.toLowerCase();
    expect(await it.all(`SELECT id::text, name, balance, ok, score, note FROM ${schema}.people`)).toEqual([
      { id: "9223372036854775807", name: null, balance: null, ok: true, score: 0.1, note: null },
    ]);
    expect(
      await it.all(
        `SELECT attname AS name, format_type(atttypid, atttypmod) AS type FROM pg_attribute WHERE attrelid = '${schema}.people'::regclass AND attnum > 0 ORDER BY attnum`,
      ),
    ).toEqual([
      { name: "id", type: "bigint" },
      { name: "name", type: "character varying(20)" },
      { name: "balance", type: "numeric(20,4)" },
      { name: "ok", type: "boolean" },
      { name: "score", type: "double precision" },
      { name: "note", type: "text" },
    ]);
  });

  tests.test("says what is wrong with an activity, and applies those beside it", async () => {
    await using it = opened();
    const long = "x".repeat(3000);
    const outcomes = await it.apply([
      remove("absent", { a: int(1) }),
      insert("t", { a: int(1), b: text("one\u0000") }),
      insert("t", { a: text("two"), b: text("two") }),
      insert("t", { a: int(3), b: text(long) }),
      insert("t", { a: int(4), b: text("\ud83d") }),
      remove("t", { absent: int(1) }),
      insert("t", { ctid: int(1) }),
      insert("t", { a: int(5), select: text('\' OR "1" \\') }),
    ]);
    expect(outcomes).toEqual([
      "there is no table absent",
      "the column b is TEXT: the value has the character NUL (U+0000), which PostgreSQL does not keep in text",
      'the column a is INTEGER: the value must be a whole number, got "two"',
      null,
      null,
      "the table t has no column absent",
      expect.stringContaining("ctid"),
      null,
    ]);
    expect(await it.all(`SELECT a::int, b, "select" AS s FROM $.t ORDER BY a`)).toEqual([
      { a: 3, b: long, s: null },
      { a: 4, b: "\ufffd", s: null },
      { a: 5, b: null, s: '\' OR "1" \\' },
    ]);
  });

  tests.test("applies each id once, and one that failed when it is replayed", async () => {
    await using it = opened();
    const activities = [insert("t", { a: int(1) }), remove("gone", { a: int(1) })];
    expect(await it.apply(activities, "x")).toEqual([null, "there is no table gone"]);
    // Who delivers again may not have heard of the failure.
    expect(await it.apply(activities, "x")).toEqual([REPEATED, "there is no table gone"]);
    expect(await it.apply([insert("gone", { a: int(1) })])).toEqual([null]);
    expect(await it.apply(activities, "x")).toEqual([REPEATED, "there is no table gone"]);
    expect(await it.apply(activities, "x", true)).toEqual([REPEATED, null]);
    expect(await it.apply(activities, "x", true)).toEqual([REPEATED, REPEATED]);
    expect(await it.apply(activities, "x")).toEqual([REPEATED, REPEATED]);
    expect(await it.all("SELECT (SELECT count(*)::int FROM $.t) AS t, (SELECT count(*)::int FROM $.gone) AS gone")).toEqual([
      { t: 1, gone: 0 },
    ]);
  });

  tests.test("takes an activity and its replay in one delivery", async () => {
    await using it = opened();
    const [one] = runsOf(parsed([remove("t", { a: int(1) })]), () => "same");
    const [make] = runsOf(parsed([insert("t", { a: int(1) })]), () => "make");
    if (one === undefined || make === undefined) throw new Error("no runs");
    const again = { ...one, rows: one.rows.map((row) => ({ ...row, isReplay: true })) };
    expect(await it.sink.apply([{ ...one, rows: [...one.rows, ...one.rows] }, make, again], delivered())).toEqual([
      "there is no table t",
      "there is no table t",
      null,
      null,
    ]);
    expect(await it.all("SELECT * FROM $.t")).toEqual([]);
  });

  tests.test("keeps the order of activities of a table, and deletes rows with NULL", async () => {
    await using it = opened();
    const row = (a: unknown, b: unknown) => ({ a: int(a), b: text(b), c: int(null), d: text(b) });
    expect(
      await it.apply([
        insert("t", row(1, "x")),
        remove("t", row(1, "x")),
        insert("t", row(1, "x")),
        insert("t", row(2, null)),
        insert("t", row(null, null)),
        remove("t", row(2, null)),
        remove("t", row(null, "x")),
        insert("t", row(2, null)),
        insert("t", row(2, null)),
        remove("t", { d: text(null), a: int(null) }),
      ]),
    ).toEqual(nulls(10));
    expect(await it.all("SELECT a::int, b FROM $.t ORDER BY a")).toEqual([
      { a: 1, b: "x" },
      { a: 2, b: null },
      { a: 2, b: null },
    ]);
  });

  tests.test("makes an index for deletes on a large table, by which long text is found as well", async () => {
    await using it = opened();
    const long = (i: number) => `${"ß".repeat(3000)}${i}`;
    for (let part = 0; part < 3; part++)
      await it.apply(
        Array.from({ length: 1000 }, (_, i) => insert("t", { name: text(i % 100 === 0 ? long(part) : `n${part}-${i}`), id: int(i) })),
      );
    expect(await it.apply([remove("t", { name: text("n1-7"), id: int(7) }), remove("t", { name: text(long(2)), id: int(900) })])).toEqual([
      null,
      null,
    ]);
    expect(await it.apply([remove("t", { name: text("n1-8"), id: int(8) }), remove("t", { name: text(long(2)), id: int(800) })])).toEqual([
      null,
      null,
    ]);
    expect(await it.all("SELECT count(*)::int AS rows FROM $.t")).toEqual([{ rows: 2996 }]);
    expect(
      await it.all("SELECT indexdef LIKE '%left%(name, 64), id)' AS found FROM pg_indexes WHERE schemaname = '$' AND tablename = 't'"),
    ).toEqual([{ found: true }]);
    await client.unsafe(`INSERT INTO ${it.schema}.t SELECT 'more' || n, n FROM generate_series(1, 100000) AS n; ANALYZE ${it.schema}.t`);
    // The server counts what it has done a little later.
    for (let i = 0; ; i++) {
      expect(await it.apply([remove("t", { name: text(`more${i}`), id: int(i) })])).toEqual([null]);
      const [used] = await it.all("SELECT idx_scan::int AS scans FROM pg_stat_user_indexes WHERE schemaname = '$' AND relname = 't'");
      if ((used as { scans: number }).scans > 0) break;
      await Bun.sleep(50);
    }
  });
});

tests.describe("a table that a person has made", () => {
  tests.test("takes what PostgreSQL can cast, and refuses single rows", async () => {
    await using it = opened();
    await it.apply([insert("warm", { a: int(1) })]);
    await client.unsafe(
      `CREATE TABLE ${it.schema}.own (id integer PRIMARY KEY, at timestamptz, key uuid, doc jsonb, price numeric, code char(3), tags text[], level smallint CHECK (level < 10), name varchar(5) NOT NULL DEFAULT 'none', real real, twice integer GENERATED ALWAYS AS (id * 2) STORED)`.replace(
        "real real",
        "r real",
      ),
    );
    const good = {
      id: int(1),
      at: text("2026-01-02T03:04:05Z"),
      key: text("0197a3c0-0000-7000-8000-000000000001"),
      doc: text('{"n":1.50}'),
      price: ["DOUBLE", 1.5],
      code: text("abc"),
      tags: text("{a,b}"),
      level: ["BOOLEAN", true],
      r: ["DOUBLE", 0.1],
    } as const;
    expect(
      await it.apply([
        insert("own", good),
        insert("own", { ...good, id: int(2), at: text("yesterday evening") }),
        insert("own", { ...good, id: int(1) }),
        insert("own", { ...good, id: int(3), level: int(10) }),
        insert("own", { ...good, id: int(4), code: text("abcd") }),
        insert("own", { ...good, id: int("5000000000") }),
        insert("own", { ...good, id: int(6), doc: text("{") }),
        insert("own", { id: int(7), name: text(null) }),
        insert("own", { id: int(8), name: text("toolong") }),
        insert("own", { id: int(9), twice: int(18) }),
        insert("own", { ...good, id: int(10) }),
        remove("own", {
          id: int(10),
          at: text("2026-01-02 04:04:05+01"),
          key: text("0197A3C0-0000-7000-8000-000000000001"),
          doc: text('{"n": 1.5}'),
          code: text("abc"),
          r: ["DOUBLE", 0.1],
        }),
        insert("own", { id: int(11), fresh: text("column") }),
        insert("own", { id: int(10) }),
      ]),
    ).toEqual([
      null,
      expect.stringMatching(/^the table own does not take it: .*yesterday evening/),
      expect.stringMatching(/own_pkey.*\(1\) already exists/),
      expect.stringContaining("own_level_check"),
      expect.stringContaining("too long for type character(3)"),
      expect.stringContaining("out of range for type integer"),
      expect.stringContaining("invalid input syntax for type json"),
      expect.stringContaining('null value in column "name"'),
      "the column name is VARCHAR(5): the value has more than 5 characters",
      "the column twice of the table own is generated: it takes no values",
      null,
      null,
      null,
      null,
    ]);
    expect(await it.all("SELECT id, level, doc->>'n' AS n, tags::text, name, fresh FROM $.own ORDER BY id")).toEqual([
      { id: 1, level: 1, n: "1.50", tags: "{a,b}", name: "none", fresh: null },
      { id: 10, level: null, n: null, tags: null, name: "none", fresh: null },
      { id: 11, level: null, n: null, tags: null, name: "none", fresh: "column" },
    ]);
  });

  tests.test("keeps the order of what depends on each other across tables", async () => {
    await using it = opened();
    await it.apply([insert("warm", { a: int(1) })]);
    await client.unsafe(
      `CREATE TABLE ${it.schema}.parent (id bigint PRIMARY KEY, name text UNIQUE); CREATE TABLE ${it.schema}.child (id bigserial, parent bigint REFERENCES ${it.schema}.parent DEFERRABLE INITIALLY DEFERRED)`,
    );
    expect(
      await it.apply([
        insert("child", { parent: int(1) }),
        insert("parent", { id: int(1), name: text("a") }),
        insert("child", { parent: int(1) }),
        insert("parent", { id: int(2), name: text("b") }),
        insert("child", { parent: int(2) }),
        remove("parent", { name: text("b") }),
        remove("child", { parent: int(2) }),
        remove("parent", { name: text("b") }),
        insert("parent", { id: int(3), name: text("b") }),
        remove("parent", { name: text("b") }),
        insert("parent", { id: int(3), name: text("c") }),
      ]),
    ).toEqual([
      expect.stringContaining("child_parent_fkey"),
      null,
      null,
      null,
      null,
      expect.stringContaining("child_parent_fkey"),
      null,
      null,
      null,
      null,
      null,
    ]);
    expect(await it.all("SELECT id::int, name FROM $.parent ORDER BY id")).toEqual([
      { id: 1, name: "a" },
      { id: 3, name: "c" },
    ]);
  });

  tests.test("may be a view, another's, or changed at any time", async () => {
    await using it = opened();
    await it.apply([insert("t", { a: int(1) }), insert("secret", { a: int(1) })]);
    await client.unsafe(
      `CREATE VIEW ${it.schema}.seen AS SELECT 1 AS a; CREATE ROLE limited LOGIN; GRANT USAGE, CREATE ON SCHEMA ${it.schema} TO limited; GRANT ALL ON ${it.schema}.sluice_ids, ${it.schema}.t TO limited`,
    );
    await using limited = opened(false, it.schema, server.url.replace("sluice@", "limited@"));
    expect(
      await limited.apply(
        [
          insert("seen", { a: int(1) }),
          insert("secret", { a: int(2) }),
          insert("t", { a: int(2) }),
          insert("t", { b: int(2) }),
          insert("mine", { a: int(1) }),
        ],
        "limited",
      ),
    ).toEqual([
      "seen is a view, no table that rows can be kept in",
      "the user may not insert rows of the table secret",
      null,
      "the table t can't be changed: must be owner of table t",
      null,
    ]);
    await client.unsafe(`ALTER TABLE ${it.schema}.t ALTER a TYPE text USING 'v' || a`);
    expect(await it.apply([remove("t", { a: text("v1") }), insert("t", { a: text("w") })])).toEqual([null, null]);
    expect(await it.all("SELECT a FROM $.t ORDER BY a")).toEqual([{ a: "v2" }, { a: "w" }]);
    await client.unsafe(`DROP TABLE ${it.schema}.t; DROP TABLE ${it.schema}.sluice_ids`);
    expect(await it.apply([insert("t", { a: int(7) })])).toEqual([null]);
    expect(await it.all("SELECT a::int FROM $.t")).toEqual([{ a: 7 }]);
  });
});

tests.describe("activity_log in PostgreSQL", () => {
  tests.test("has a row for each activity, and gives what failed to be replayed", async () => {
    await using it = opened(true);
    const { ledger } = it.sink;
    if (ledger === null) throw new Error("it keeps no log");
    expect(await ledger.newest()).toBe("");
    await it.apply(
      [insert("t", { a: int("9007199254740993"), b: ["DECIMAL(5,2)", 1.5], c: text("x\u0000".slice(0, 1)) }), remove("u", { a: int(1) })],
      "b1",
    );
    await it.apply([insert("t", { a: int(1), c: text("\u0000") })], "b10");
    const place = await ledger.newest();
    const refusal = { id: "r1", body: '{"\u0000', at: Date.UTC(2026, 0, 2), error: "not JSON \ud83d" };
    await ledger.refuse([refusal]);
    await ledger.refuse([{ ...refusal, error: "another" }]);
    const failures = await ledger.failures("", 10);
    expect(failures.map(({ place: _, payload, ...rest }) => ({ ...rest, payload: payload.slice(0, 26) }))).toEqual([
      { id: "r1", state: "rejected", createdAt: "2026-01-02T00:00:00.000Z", error: "not JSON \ufffd", payload: '{"\ufffd' },
      {
        id: "b10:0",
        state: "failed",
        createdAt: "2026-01-01T00:00:00.000Z",
        error: expect.stringContaining("NUL"),
        payload: '{"operation":"insert","tab',
      },
      {
        id: "b1:1",
        state: "failed",
        createdAt: "2026-01-01T00:00:00.000Z",
        error: "there is no table u",
        payload: '{"operation":"delete","tab',
      },
    ]);
    expect((await ledger.failures("", 1)).map(({ id }) => id)).toEqual(["r1"]);
    expect((await ledger.failures(failures[0]?.place ?? "", 1)).map(({ id }) => id)).toEqual(["b10:0"]);
    expect((await ledger.find("b1")).map(({ id, state }) => `${id} ${state}`)).toEqual(["b1:0 applied", "b1:1 failed"]);
    expect((await ledger.find("b1:1")).map(({ id }) => id)).toEqual(["b1:1"]);
    await ledger.replaying(["b1:1"]);
    expect((await ledger.find("b1:1"))[0]?.state).toBe("replaying");
    await it.apply([insert("u", { a: int(1) })], "b2");
    const [again] = await ledger.find("b1:1");
    const replay = runsOf(parsed([JSON.parse(again?.payload ?? "") as object]), () => "b1:1", true);
    expect(await it.sink.apply(replay, delivered())).toEqual([null]);
    expect(await it.sink.apply(replay, delivered())).toEqual([REPEATED]);
    expect((await ledger.find("b1:1"))[0]?.state).toBe("applied");
    const history = await ledger.history("", place, 10);
    expect(history.map(({ id }) => id)).toEqual(["b1:0", "b1:1", "b10:0"]);
    expect((await ledger.history(history[0]?.place ?? "", place, 1)).map(({ id }) => id)).toEqual(["b1:1"]);
  });

  tests.test("forgets what is old, and so do the ids", async () => {
    await using it = opened(true);
    const old = Date.UTC(2025, 0, 1);
    const many = parsed(Array.from({ length: 6000 }, (_, i) => (i === 5 ? remove("nowhere", { a: int(i) }) : insert("t", { a: int(i) }))));
    await it.sink.apply(
      runsOf(many, (index) => `old:${index}`),
      delivered(old),
    );
    await it.apply([insert("t", { a: int(1) })]);
    await it.sink.ledger?.replaying(["old:5"]);
    const before = { log: old + 1, ids: old + 1 };
    expect(await it.sink.prune(before)).toBe(true);
    let rounds = 0;
    while (await it.sink.prune(before)) rounds++;
    expect(rounds).toBeLessThan(5);
    expect(await it.all("SELECT id FROM $.activity_log ORDER BY seq")).toEqual([{ id: "old:5" }, { id: "b1:0" }]);
    expect(await it.all("SELECT id FROM $.sluice_ids")).toEqual([{ id: "b1:0" }]);
    // Only what failed can wait to be tried again.
    await it.sink.ledger?.replaying(["b1:0"]);
    expect((await it.sink.ledger?.find("b1:0"))?.map(({ state }) => state)).toEqual(["applied"]);
    expect(await it.sink.prune({ log: null, ids: old })).toBe(false);
  });
});
