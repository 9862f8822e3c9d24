import { Database } from "bun:sqlite";
import { expect } from "bun:test";
import fc from "fast-check";
import { openActivities } from "../../../src/activities/database.ts";
import { PostgresSink } from "../../../src/activities/sinks/postgres.ts";
import type { Outcome, Run } from "../../../src/activities/sinks/sink.ts";
import { SqliteSink } from "../../../src/activities/sinks/sqlite.ts";
import { postgresServer } from "../../support/postgres.ts";
import { having } from "../../support/programs.ts";
import { delivered, insert, parsed, remove, runsOf } from "../../support/runs.ts";

const tests = having("postgres");

/** A database of activities in which nothing has happened yet. */
const EMPTY = openActivities(":memory:").durable.serialize();

/** Applies runs by the sink for SQLite, in a database of its own. */
function bySqlite(portions: readonly (readonly Run[])[], database: Database): (readonly Outcome[])[] {
  const sink = new SqliteSink(database, { sharesQueue: true, keepsLog: true });
  return portions.map((runs) => sink.apply(runs, { at: Date.UTC(2026, 0, 1), mayRepeat: false, giveUp: null, settle: () => {} }));
}

/** Few values, so that deletes find rows, of all the types that there are; some fit no other type. */
const TYPED = fc.oneof(
  fc.tuple(fc.constant("INTEGER"), fc.constantFrom(0, 1, 2, null, "9223372036854775807")),
  fc.tuple(fc.constant("TEXT"), fc.constantFrom("", "0", "1", "true", "x", "ü\\\"'\n", null)),
  fc.tuple(fc.constant("VARCHAR(3)"), fc.constantFrom("1", "abc", "x", null)),
  fc.tuple(fc.constant("DOUBLE"), fc.constantFrom(0, 1, 0.1, 1e300, null)),
  fc.tuple(fc.constant("BOOLEAN"), fc.constantFrom(true, false, null)),
  fc.tuple(fc.constant("DECIMAL(6,2)"), fc.constantFrom("1", "1.50", "-0.01", null)),
);
const ACTIVITY = fc
  .tuple(
    fc.boolean(),
    fc.constantFrom("one", "ONE", "two"),
    fc.dictionary(fc.constantFrom("a", "b", "c"), TYPED, { minKeys: 1, maxKeys: 3, noNullPrototype: true }),
  )
  .map(([isInsert, table, values]) => (isInsert ? insert : remove)(table, values as Parameters<typeof insert>[1]));

/** What SQLite's columns are in PostgreSQL; numbers and truth as text, which is the same in both. */
const shown = (value: unknown): string | null =>
  value === null ? null : typeof value === "boolean" ? String(Number(value)) : String(value);
const sorted = (rows: readonly Readonly<Record<string, unknown>>[]): string[] =>
  rows
    .map((row) =>
      JSON.stringify(
        Object.fromEntries(
          Object.entries(row)
            .map(([name, value]) => [name, shown(value)])
            .sort(),
        ),
      ),
    )
    .sort();

tests.test("the same activities leave the same rows in PostgreSQL as in SQLite, and fail for the same reasons", async () => {
  await using server = await postgresServer();
  const client = server.client();
  let schema = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(fc.array(ACTIVITY, { minLength: 1, maxLength: 25 }), { minLength: 1, maxLength: 3 }), async (batches) => {
      const name = `s${schema++}`;
      const sink = new PostgresSink({ url: server.url, schema: name, ca: null }, { keepsLog: schema % 2 === 0 });
      using database = Database.deserialize(EMPTY, { strict: true, safeIntegers: true });
      try {
        const portions = batches.map((batch, b) => runsOf(parsed(batch), (index) => `${b}:${index}`));
        const outcomes: (readonly Outcome[])[] = [];
        for (const runs of portions) outcomes.push(await sink.apply(runs, delivered()));
        const wanted = bySqlite(portions, database);
        const plain = (all: readonly (readonly Outcome[])[]) => all.map((some) => some.map((outcome) => String(outcome).toLowerCase()));
        expect(plain(outcomes)).toEqual(plain(wanted));
        for (const table of ["one", "two"]) {
          const there = database.query("SELECT name FROM sqlite_schema WHERE name = ? COLLATE NOCASE").get(table) !== null;
          const [found] = await client.unsafe(`SELECT to_regclass('${name}.${table}') IS NOT NULL AS there`);
          expect((found as { there: boolean }).there).toBe(there);
          if (!there) continue;
          const rows = [...(await client.unsafe(`SELECT * FROM ${name}.${table}`))] as Record<string, unknown>[];
          expect(sorted(rows)).toEqual(sorted(database.query(`SELECT * FROM ${table}`).all() as Record<string, unknown>[]));
        }
      } finally {
        await sink.close();
        await client.unsafe(`DROP SCHEMA IF EXISTS ${name} CASCADE`);
      }
    }),
    { numRuns: 150 },
  );
});
