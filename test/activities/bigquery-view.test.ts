import { Database } from "bun:sqlite";
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { SqlValue } from "../../src/activities/column-type.ts";
import type { Run } from "../../src/activities/sinks/sink.ts";
import { COLUMNS, changes, history, idsOf, lastState, openSink, runsOf } from "../support/bigquery-sink.ts";
import { insert, int, parsed, remove, text } from "../support/runs.ts";

/** Applies activities to a table of SQLite. Gives the ids of the rows that are left. */
function ids(activities: readonly object[]): string[] {
  using database = new Database(":memory:");
  const names = Object.keys(COLUMNS);
  database.run(`CREATE TABLE t (id TEXT, ${names.map((name) => `${name} ANY`).join(", ")}) STRICT`);
  const there = new Set<string>();
  for (const [i, { operation, columns, values }] of parsed(activities).entries()) {
    const named = columns.map(({ name }) => name);
    const bound = values as readonly Exclude<SqlValue, bigint>[];
    if (operation === "insert") {
      for (const name of named) there.add(name);
      database.query(`INSERT INTO t (id, ${named}) VALUES (?, ${named.map(() => "?")})`).run(`b:${i + 1}`, ...bound);
    } else if (named.every((name) => there.has(name)))
      database.query(`DELETE FROM t WHERE ${named.map((name) => `${name} IS ?`).join(" AND ")}`).run(...bound);
  }
  return (database.query("SELECT id FROM t ORDER BY id").all() as { id: string }[]).map(({ id }) => id);
}

describe("the view of the last state", () => {
  test("holds what a table holds in which the same inserts and deletes took effect", async () => {
    await fc.assert(
      fc.asyncProperty(changes, async (activities) => {
        await using it = await openSink();
        await it.apply(insert("t", { a: int(5) }));
        await it.apply(...activities);
        const left = ids([insert("t", { a: int(5) }), ...activities]);
        expect(idsOf(it.server.current("t"))).toEqual(left);
        expect(idsOf(lastState(it.server, "t"))).toEqual(left);
      }),
      { numRuns: 60 },
    );
  });

  test("counts an activity once that was delivered several times, in the place in which it came first", async () => {
    await fc.assert(
      fc.asyncProperty(history, fc.array(fc.tuple(fc.nat(14), fc.nat(14)), { maxLength: 4 }), async (all, repeats) => {
        await using it = await openSink();
        const runs = runsOf(all);
        await it.deliver(runs);
        for (const [from, count] of repeats) {
          // insertIds are forgotten by then.
          it.clock.advance(61_000);
          await it.deliver(runs.slice(from, from + count), true);
        }
        expect(idsOf(lastState(it.server, "t"))).toEqual(ids(all));
      }),
      { numRuns: 40 },
    );
  });

  test("tells NULL from the text null, and finds NULL by NULL", async () => {
    await using it = await openSink();
    await it.apply(
      insert("t", { a: text("null") }),
      insert("t", { a: text(null) }),
      insert("t", { b: text("x") }),
      remove("t", { a: text(null) }),
    );
    expect(lastState(it.server, "t").map(({ a }) => a)).toEqual(["null"]);
  });

  test("keeps an insert that came after a delete, also when the delete is written later", async () => {
    await using it = await openSink();
    const runs = runsOf([insert("t", { n: int(1) }), remove("t", { n: int(1) }), insert("t", { n: int(1) })]);
    await it.deliver(runs.slice(0, 1));
    await it.deliver(runs.slice(2));
    await it.deliver(runs.slice(1, 2));
    expect(idsOf(lastState(it.server, "t"))).toEqual(["b:3"]);
  });

  test("leaves deleted what is replayed although it had been stored", async () => {
    await using it = await openSink();
    const [first, second] = runsOf([insert("t", { n: int(1) }), remove("t", { n: int(1) })]) as [Run, Run];
    await it.deliver([first, second]);
    it.clock.advance(61_000);
    await it.deliver([{ ...first, rows: first.rows.map((row) => ({ ...row, position: 3, isReplay: true })) }]);
    expect(it.server.rows("t")).toHaveLength(3);
    expect(lastState(it.server, "t")).toEqual([]);
  });

  test("has nothing that an owner had in the table before", async () => {
    await using it = await openSink();
    it.server.make("t", [{ name: "n", type: "INTEGER" }]);
    (it.server.rows("t") as object[]).push({ n: "7" });
    await it.apply(insert("t", { n: int(1) }));
    expect(lastState(it.server, "t")).toEqual([{ n: 1n, _id: "b:1", _seq: 1n, _at: expect.any(String) }]);
  });

  test("is mended when it is not as it should, and not made when it would be too long", async () => {
    await using it = await openSink();
    await it.apply(insert("t", { n: int(1) }));
    const query = it.server.query("t_current");
    (it.server.resource("t_current").view as { query: string }).query = "SELECT 1";
    const other = it.open();
    await it.deliver(runsOf([insert("t", { n: int(2) })], 2), false, other);
    expect(it.server.query("t_current")).toBe(query);
    other.close();
    const wide = (from: number) =>
      Object.fromEntries(Array.from({ length: 500 }, (_, i) => [`column_with_a_long_name_${from + i}`, int(1)]));
    expect(await it.apply(insert("w", wide(0)), insert("w", wide(500)), insert("w", wide(1000)))).toEqual([null, null, null]);
    expect(it.server.rows("w")).toHaveLength(3);
    expect(it.troubles).toEqual([
      "the view w_current of the last state can't be made: the table has too many columns: its query would have more than 262144 characters",
    ]);
  });
});
