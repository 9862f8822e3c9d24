import type { Database } from "bun:sqlite";
import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import fc from "fast-check";
import { openActivities } from "../../src/activities/database.ts";
import { ActivityEngine, type ActivityPolicy } from "../../src/activities/engine.ts";
import { SqliteQueue } from "../../src/activities/queues/sqlite.ts";
import { type Outcome, type Run, type Sink, SinkAway } from "../../src/activities/sinks/sink.ts";
import { SqliteSink } from "../../src/activities/sinks/sqlite.ts";
import { POLICY } from "../support/activities.ts";
import { FakeClock } from "../support/clock.ts";
import { folder } from "../support/process.ts";
import { insert, int, remove } from "../support/runs.ts";

const clock = new FakeClock(Date.UTC(2026, 0, 1));

function engineOn(
  path = ":memory:",
  policy: Partial<ActivityPolicy> = {},
  sinkOn: (client: Database) => Sink = (client) => new SqliteSink(client, { sharesQueue: true, keepsLog: true }),
) {
  const database = openActivities(path);
  const troubles: string[] = [];
  const engine = new ActivityEngine({
    database,
    queue: new SqliteQueue(database.durable, database.quick),
    sinks: [{ name: "sqlite", type: "sqlite", sink: sinkOn(database.quick) }],
    keeper: "sqlite",
    isLogLocal: true,
    clock,
    policy: { ...POLICY, maxBacklog: 1000, ...policy },
    onTrouble: (_sink, message) => void troubles.push(message),
  });
  return {
    engine,
    troubles,
    database,
    all: (query: string) => database.quick.query(query).all() as Record<string, unknown>[],
    post: async (...activities: object[]) =>
      (await engine.take([{ body: JSON.stringify({ activities }), key: null }]))[0] as { kind: string; id: string },
    work: async () => {
      while ((await engine.work()) === 0);
    },
    [Symbol.dispose]: () => database.close(),
  };
}

const failuresOf = async (engine: ActivityEngine, place: string, limit: number) => (await engine.failures(null, place, limit))?.items ?? [];

describe("activities", () => {
  test("make tables and columns, insert, and delete by all the columns they name", async () => {
    using it = engineOn();
    await it.post(
      insert("people", { id: int(1), name: ["VARCHAR(20)", "Ann"] }),
      insert("people", { id: int(2), name: ["VARCHAR(20)", "Bob"], Balance: ["DECIMAL(20,4)", "12345678901234.5"] }),
      insert("PEOPLE", { ID: int(3), ok: ["BOOLEAN", true], score: ["DOUBLE", 0.1], note: ["TEXT", null] }),
      remove("people", { id: int(1), name: ["TEXT", "Bob"] }),
      remove("people", { id: ["TEXT", "1"], name: ["TEXT", "Ann"] }),
      remove("people", { balance: ["DECIMAL(20,2)", "12345678901234.50"], note: ["TEXT", null] }),
    );
    await it.work();
    expect(it.all("SELECT * FROM people")).toEqual([{ id: 3, name: null, Balance: null, ok: 1, score: 0.1, note: null }]);
    expect(it.all("SELECT name, type FROM pragma_table_info('people')")).toEqual([
      { name: "id", type: "INTEGER" },
      { name: "name", type: "VARCHAR(20)" },
      { name: "Balance", type: "DECIMAL_TEXT(20,4)" },
      { name: "ok", type: "BOOLEAN" },
      { name: "score", type: "DOUBLE" },
      { name: "note", type: "TEXT" },
    ]);
    expect(it.all("SELECT count(*) AS rows, sum(is_error) AS errors FROM activity_log")).toEqual([{ rows: 6, errors: 0 }]);
    expect(await it.engine.stats()).toMatchObject({ accepted: 6, applied: 6, failed: 0, waiting: 0, waitingBatches: 0, lag: 0 });
  });

  test("that can't be done are written down, and the rest is done", async () => {
    using it = engineOn();
    const { id } = await it.post(
      remove("nowhere", { id: int(1) }),
      insert("t", { id: int(1) }),
      remove("t", { id: int(1), other: int(2) }),
      insert("t", { id: ["TEXT", "seven"] }),
    );
    await it.work();
    expect(it.all("SELECT id, is_error, error_message, created_at FROM activity_log ORDER BY rowid")).toEqual([
      { id: `${id}:0`, is_error: 1, error_message: "there is no table nowhere", created_at: "2026-01-01T00:00:00.000Z" },
      { id: `${id}:1`, is_error: 0, error_message: null, created_at: "2026-01-01T00:00:00.000Z" },
      { id: `${id}:2`, is_error: 1, error_message: "the table t has no column other", created_at: "2026-01-01T00:00:00.000Z" },
      {
        id: `${id}:3`,
        is_error: 1,
        error_message: 'the column id is INTEGER: the value must be a whole number, got "seven"',
        created_at: "2026-01-01T00:00:00.000Z",
      },
    ]);
    expect(it.all("SELECT * FROM t")).toEqual([{ id: 1 }]);
    const newest = await failuresOf(it.engine, "", 3);
    expect(newest.map((failure) => failure.id)).toEqual([`${id}:3`, `${id}:2`, `${id}:0`]);
    const older = await failuresOf(it.engine, newest[1]?.place ?? "", 2);
    expect(older.map((failure) => [failure.id, JSON.parse(failure.payload).operation])).toEqual([[`${id}:0`, "delete"]]);
  });

  test("that failed can be replayed, one or a whole batch, and take effect once", async () => {
    using it = engineOn();
    const { id } = await it.post(remove("t", { id: int(1) }), remove("t", { id: int(2) }));
    await it.work();
    await it.post(insert("t", { id: int(1) }), insert("t", { id: int(2) }), insert("t", { id: int(3) }));
    await it.work();
    expect(await it.engine.replay(`${id}:1`, null)).toEqual({ replayed: 1, states: ["failed"] });
    expect(await it.engine.replay(`${id}:1`, null)).toEqual({ replayed: 0, states: ["replaying"] });
    expect(await it.engine.stats()).toMatchObject({ waiting: 1 });
    await it.work();
    expect(it.all("SELECT id FROM t")).toEqual([{ id: 1 }, { id: 3 }]);
    expect(await it.engine.replay(id, null)).toEqual({ replayed: 1, states: ["failed", "applied"] });
    await it.work();
    expect(it.all("SELECT id FROM t")).toEqual([{ id: 3 }]);
    expect([await it.engine.replay(id, null), await it.engine.replay("nobody", null)]).toEqual([
      { replayed: 0, states: ["applied"] },
      null,
    ]);
    expect(it.all("SELECT count(*) AS rows, sum(is_error) AS errors FROM activity_log")).toEqual([{ rows: 5, errors: 0 }]);
  });

  test("that are refused leave a row, and can't be replayed", async () => {
    using it = engineOn();
    expect((await it.engine.take(['{"activities":[]}', "{"].map((body) => ({ body, key: null })))).map(({ kind }) => kind)).toEqual([
      "invalid",
      "invalid",
    ]);
    const rows = it.all("SELECT id, payload, is_error, error_message, state FROM activity_log ORDER BY rowid");
    expect(rows).toMatchObject([
      { payload: '{"activities":[]}', is_error: 1, error_message: "activities: must hold at least one activity", state: "rejected" },
      { payload: "{", is_error: 1, state: "rejected" },
    ]);
    expect(await it.engine.replay(String(rows[0]?.id), null)).toEqual({ replayed: 0, states: ["rejected"] });
  });

  test("are refused while too many wait, and taken again when they are applied", async () => {
    using it = engineOn(":memory:", { maxBacklog: 3 });
    const one = insert("t", { id: int(1) });
    expect([(await it.post(one, one)).kind, (await it.post(one, one)).kind, (await it.post(one)).kind, (await it.post(one)).kind]).toEqual([
      "accepted",
      "full",
      "accepted",
      "full",
    ]);
    await it.work();
    // A batch of more than may ever wait is taken when nothing waits.
    expect([(await it.post(one, one, one, one)).kind, (await it.post(one)).kind]).toEqual(["accepted", "full"]);
  });

  test("are refused while too many bytes of them wait, and taken again when they are applied", async () => {
    using it = engineOn(":memory:", { maxBacklogSize: 1000 });
    const of = (size: number) => insert("t", { text: ["TEXT", "é".repeat(size / 2)] });
    expect([(await it.post(of(600))).kind, (await it.post(of(600))).kind, (await it.post(of(100))).kind]).toEqual([
      "accepted",
      "full",
      "accepted",
    ]);
    expect((await it.engine.stats()).waitingSize).toBeGreaterThan(700);
    await it.work();
    expect((await it.engine.stats()).waitingSize).toBe(0);
    // One of more than may ever wait is taken when nothing waits; of several at once the first.
    const large = JSON.stringify({ activities: [of(2000)] });
    expect((await it.engine.take([large, large].map((body) => ({ body, key: null })))).map(({ kind }) => kind)).toEqual([
      "accepted",
      "full",
    ]);
  });

  test("are refused when the database has the size that it may have, and leave no row; what is deleted makes room", async () => {
    using it = engineOn(":memory:", { maxSize: 300_000, keepFor: 60_000 });
    const large = insert("t", { text: ["TEXT", "x".repeat(50_000)] });
    const kinds: string[] = [];
    for (let i = 0; i < 10; i++) {
      kinds.push((await it.post(large)).kind);
      await it.work();
    }
    expect([kinds[0], kinds.at(-1)]).toEqual(["accepted", "full"]);
    expect(await it.engine.take([{ body: "{", key: null }])).toMatchObject([{ kind: "invalid" }]);
    expect(await it.engine.take([{ body: JSON.stringify({ activities: [large] }), key: null }])).toEqual([
      { kind: "full", what: "database" },
    ]);
    const accepted = kinds.filter((kind) => kind === "accepted").length;
    expect(it.all("SELECT count(*) AS rows FROM activity_log")).toEqual([{ rows: accepted }]);
    clock.time += 120_000;
    expect(await it.engine.prune()).toBe(true);
    expect((await it.post(large)).kind).toBe("accepted");
  });

  test("that wait survive whatever happens to the process, and the log forgets what is old", async () => {
    using home = folder();
    const path = join(home.path, "activities.db");
    {
      using it = engineOn(path);
      await it.post(insert("t", { id: int(1) }), remove("gone", { id: int(1) }));
    }
    using it = engineOn(path, { keepFor: 60_000 });
    expect(await it.engine.stats()).toMatchObject({ waiting: 2, waitingBatches: 1 });
    await it.work();
    expect(it.all("SELECT id FROM t")).toEqual([{ id: 1 }]);
    expect(await it.engine.prune()).toBe(false);
    clock.time += 61_000;
    expect([await it.engine.prune(), await it.engine.prune()]).toEqual([true, false]);
    expect(it.all("SELECT id FROM activity_log")).toEqual([]);
  });

  test("are worked off by two processes without doing one twice", async () => {
    using home = folder();
    const path = join(home.path, "activities.db");
    using one = engineOn(path);
    using two = engineOn(path);
    for (let i = 0; i < 50; i++) await one.post(insert("t", { id: int(2 * i) }), insert("t", { id: int(2 * i + 1) }));
    for (let i = 0; i < 50; i++) await Promise.all([one.engine.work(), two.engine.work()]);
    expect(one.all("SELECT count(*) AS rows, count(DISTINCT id) AS ids FROM t")).toEqual([{ rows: 100, ids: 100 }]);
    // Somebody else changes a table: it is noticed.
    await two.post(insert("t", { id: int(1), more: int(7) }));
    await two.work();
    await one.post(insert("t", { id: int(1), more: int(8) }));
    await one.work();
    expect(one.all("SELECT more FROM t WHERE more IS NOT NULL")).toEqual([{ more: 7 }, { more: 8 }]);
  });

  test("agree with a plain list of rows, whatever is inserted and deleted", async () => {
    const value = fc.oneof(fc.integer({ min: 0, max: 3 }), fc.constant(null));
    const step = fc.record({ op: fc.constantFrom("insert", "insert", "delete"), a: value, b: fc.option(value, { nil: undefined }) });
    await fc.assert(
      fc.asyncProperty(fc.array(fc.array(step, { minLength: 1, maxLength: 6 }), { maxLength: 8 }), async (batches) => {
        using it = engineOn();
        let model: { a: number | null; b: number | null }[] = [];
        const has = { table: false, b: false };
        for (const steps of batches) {
          await it.post(
            ...steps.map(({ op, a, b }) => {
              const names = { a: int(a), ...(b === undefined ? {} : { b: int(b) }) };
              if (op === "insert") {
                has.table = true;
                has.b ||= b !== undefined;
                model.push({ a, b: b ?? null });
                return insert("t", names);
              }
              if (has.table && (b === undefined || has.b)) model = model.filter((it) => it.a !== a || (b !== undefined && it.b !== b));
              return remove("t", names);
            }),
          );
          if (steps.length % 2 === 0) await it.work();
        }
        await it.work();
        const rows = has.table ? it.all(`SELECT a, ${has.b ? "b" : "NULL AS b"} FROM t ORDER BY rowid`) : [];
        expect(rows).toEqual(model);
      }),
      { numRuns: 60 },
    );
  });

  test("that name what is no table fail by themselves, and hold nobody up", async () => {
    using it = engineOn();
    it.database.quick.run("CREATE VIEW seen AS SELECT 1 AS id");
    const names = ["pragma_table_info", "seen", "dbstat", "json_tree"];
    await it.post(
      insert("t", { id: int(1) }),
      ...names.map((name) => insert(name, { id: int(1) })),
      ...names.map((name) => remove(name, { id: int(1) })),
    );
    await it.post(insert("t", { id: int(2) }));
    await it.work();
    expect([it.all("SELECT id FROM t"), (await it.engine.stats()).trouble]).toEqual([[{ id: 1 }, { id: 2 }], null]);
    expect((await it.engine.stats()).waiting).toBe(0);
  });

  test("of a large batch are applied in parts, between which others are let in; no batch overtakes another", async () => {
    using home = folder();
    const path = join(home.path, "activities.db");
    using one = engineOn(path, { maxBacklog: 100_000 });
    using two = engineOn(path, { maxBacklog: 100_000 });
    await one.post(...Array.from({ length: 2500 }, (_, i) => insert("t", { id: int(i) })));
    await two.post(remove("t", { id: int(2400) }));
    await one.engine.work();
    expect([one.all("SELECT count(*) AS rows FROM t"), (await one.engine.stats()).waiting]).toEqual([[{ rows: 1000 }], 1501]);
    // The first worker has it and is gone: until its lease is over nobody goes past it.
    one.database.quick.run("UPDATE sluice_cursors SET owner = 'one', available_at = ?", [clock.wall() + 3000]);
    expect(await two.engine.work()).toBe(3000);
    clock.time += 3000;
    await two.work();
    expect(two.all("SELECT count(*) AS rows, count(DISTINCT id) AS ids FROM t")).toEqual([{ rows: 2499, ids: 2499 }]);
    expect(two.all("SELECT count(*) AS rows, sum(is_error) AS errors FROM activity_log")).toEqual([{ rows: 2501, errors: 0 }]);
  });

  test("find rows to delete by an index once a table is large", async () => {
    using it = engineOn(":memory:", { maxBacklog: 100_000 });
    await it.post(...Array.from({ length: 3000 }, (_, i) => insert("t", { kind: int(i % 3), id: int(i) })));
    await it.post(remove("t", { kind: int(0), id: int(0) }));
    await it.work();
    expect(it.all("SELECT name FROM sqlite_master WHERE type = 'index' AND tbl_name = 't'")).toMatchObject([
      { name: expect.stringMatching(/^sluice_/) },
    ]);
    expect(it.all("SELECT count(*) AS rows FROM t")).toEqual([{ rows: 2999 }]);
    // An index on some of the columns may find most of the table; names that only look alike when they are joined get their own.
    await it.post(...Array.from({ length: 2500 }, (_, i) => insert("t_kind", { id: int(i), kind: int(1) })));
    await it.post(
      remove("t", { id: int(3) }),
      remove("t", { other: int(1) }),
      remove("t_kind", { kind: int(0) }),
      remove("t_kind", { kind: int(1), id: int(7) }),
    );
    await it.work();
    const indexed = it.all(
      "SELECT tbl_name AS t, (SELECT group_concat(name) FROM pragma_index_info(m.name)) AS columns FROM sqlite_master AS m WHERE name LIKE 'sluice_%' AND tbl_name NOT LIKE 'sluice_%' AND type = 'index' ORDER BY 1, 2",
    );
    expect(indexed).toEqual([
      { t: "t", columns: "id" },
      { t: "t", columns: "kind,id" },
      { t: "t_kind", columns: "kind" },
      { t: "t_kind", columns: "kind,id" },
    ]);
  });
});

/** A warehouse: it has no transaction in common with the queue, takes its time, and is away at times. */
class Warehouse implements Sink {
  readonly delivery = "atLeastOnce";
  readonly sharesQueue = false;
  readonly ledger = null;
  readonly rows = new Map<string, string>();
  readonly asked: number[] = [];
  isAway = false;
  breaksOff = false;
  poison = "";

  async apply(runs: readonly Run[]): Promise<Outcome[]> {
    this.asked.push(runs.reduce((sum, run) => sum + run.rows.length, 0));
    await Bun.sleep(1);
    if (runs.some(({ table }) => table === this.poison)) throw new Error("it can't take that");
    if (this.isAway) throw new SinkAway("the warehouse is away");
    for (const run of runs) for (const { id, values } of run.rows) this.rows.set(id, `${run.table} ${values.join()}`);
    if (this.breaksOff) throw new SinkAway("the connection broke");
    return runs.flatMap((run) => run.rows.map(({ values }) => (values.includes(13) ? "13 is not taken" : null)));
  }

  prune(): boolean {
    return false;
  }

  close(): void {}
}

describe("a sink that is a warehouse", () => {
  const withWarehouse = (path?: string) => {
    const warehouse = new Warehouse();
    return { warehouse, it: engineOn(path, {}, () => warehouse) };
  };

  test("gets rows by table and columns, and by the same ids when they are delivered again", async () => {
    const { warehouse, it } = withWarehouse();
    using _ = it;
    await it.post(insert("a", { x: int(1) }), insert("a", { x: int(2) }), insert("b", { x: int(3) }));
    warehouse.breaksOff = true;
    expect(await it.engine.work()).toBe(1000);
    warehouse.breaksOff = false;
    expect([(await it.engine.stats()).trouble, (await it.engine.stats()).waiting]).toEqual(["the connection broke", 3]);
    expect((await it.engine.stats()).sinks).toMatchObject([
      { state: "away", lastError: { at: clock.wall(), message: "the connection broke" } },
    ]);
    clock.time += 1000;
    await it.work();
    expect([...warehouse.rows.values()]).toEqual(["a 1", "a 2", "b 3"]);
    expect(await it.engine.stats()).toMatchObject({ trouble: null, waiting: 0, applied: 3, sinks: [{ state: "following" }] });
  });

  test("that can't take one activity gives up that one, and no other", async () => {
    const { warehouse, it } = withWarehouse();
    using _ = it;
    const { id } = await it.post(...[1, 2, 3].map((n) => insert(n === 2 ? "poison" : "a", { x: int(n) })));
    warehouse.poison = "poison";
    while ((await it.engine.stats()).waiting > 0) clock.time += Math.min(10_000, await it.engine.work());
    expect([...warehouse.rows.keys()]).toEqual([`${id}:0`, `${id}:2`]);
    expect(await failuresOf(it.engine, "", 9)).toMatchObject([{ id: `${id}:1`, error: "given up after 3 attempts: it can't take that" }]);
    expect(await it.engine.stats()).toMatchObject({ applied: 2, failed: 1 });
    // The last that waits is given up: nothing keeps others from being applied then.
    await it.post(insert("poison", { x: int(4) }));
    while ((await it.engine.stats()).waiting > 0) clock.time += Math.min(10_000, await it.engine.work());
    expect((await it.engine.stats()).sinks).toMatchObject([{ state: "away" }]);
    clock.time += 10_000;
    await it.work();
    expect(await it.engine.stats()).toMatchObject({ failed: 2, trouble: null, sinks: [{ state: "following" }] });
    warehouse.poison = "";
    expect(await it.engine.replay(id, "nobody")).toBe(null);
    expect(await it.engine.replay(id, "sqlite")).toEqual({ replayed: 1, states: ["failed"] });
    expect(await failuresOf(it.engine, "", 9)).toMatchObject([{ state: "failed" }, { state: "replaying" }]);
    await it.work();
    expect([[...warehouse.rows.keys()].at(-1), (await failuresOf(it.engine, "", 9)).length]).toEqual([`${id}:1`, 1]);
  });

  test("that stays away is tried again ever more rarely, for ever, and gets all of it in the end", async () => {
    const { warehouse, it } = withWarehouse();
    using _ = it;
    const { id } = await it.post(insert("a", { x: int(1) }), insert("a", { x: int(2) }));
    warehouse.isAway = true;
    const waits = [];
    for (let i = 0; i < 7; i++) {
      waits.push(await it.engine.work());
      expect(await it.engine.work()).toBe(waits.at(-1) ?? 0);
      clock.time += waits.at(-1) ?? 0;
    }
    expect([waits, it.troubles.length, warehouse.asked]).toEqual([[1000, 2000, 4000, 8000, 10_000, 10_000, 10_000], 7, Array(7).fill(2)]);
    warehouse.isAway = false;
    await it.work();
    expect([...warehouse.rows.keys()]).toEqual([`${id}:0`, `${id}:1`]);
    expect(await failuresOf(it.engine, "", 9)).toEqual([]);
  });
});
