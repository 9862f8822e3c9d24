import { Database } from "bun:sqlite";
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { type Listing, orderOf, placeOf, places } from "../../src/records/listing.ts";
import { formsOf, isFound, isFoundIn, small } from "../../src/records/search.ts";

interface Thing {
  readonly id: string;
  readonly name: string | null;
  readonly size: number;
}

const LISTING: Listing<Thing> = {
  table: "things",
  sorts: {
    id: { sql: "id", of: ({ id }) => id },
    name: { sql: "lower(coalesce(name, ''))", of: ({ name }) => small(name ?? "") },
    size: { sql: "size", of: ({ size }) => size },
  },
  searched: { columns: ["id", "name"], of: ({ id, name }) => [id, name] },
};

function table(things: readonly Thing[]): Database {
  const database = new Database(":memory:", { strict: true });
  database.run("CREATE TABLE things (id TEXT PRIMARY KEY, name TEXT, size INTEGER NOT NULL)");
  const insert = database.query("INSERT INTO things VALUES (?, ?, ?)");
  database.transaction(() => {
    for (const { id, name, size } of things) insert.run(id, name, size);
  })();
  return database;
}

/** Walks through all pages of a list. */
async function walk(database: Database, declared: readonly Thing[], sort: string, search: string | null, limit: number): Promise<string[]> {
  const order = orderOf(sort, Object.keys(LISTING.sorts));
  const ids: string[] = [];
  let cursor: string | undefined;
  for (;;) {
    const { found, nextCursor } = await places(
      database,
      LISTING,
      { limit, order, after: placeOf(cursor, order), forms: search === null ? null : formsOf(search), conditions: [], isNarrow: false },
      declared,
    );
    ids.push(...found.map(({ id }) => id));
    if (nextCursor === null) return ids;
    expect(found.length).toBe(limit);
    cursor = nextCursor;
  }
}

const name = fc.option(fc.string({ unit: fc.constantFrom("a", "B", "ä", "Ä", "é", "😀", "%", "_", " "), maxLength: 4 }));
const things = fc.uniqueArray(
  fc.record({ id: fc.string({ unit: fc.constantFrom("a", "b", "Z", "1", "-"), minLength: 1, maxLength: 3 }), name, size: fc.nat(3) }),
  { selector: ({ id }) => id, maxLength: 40 },
);

describe("a list", () => {
  test("gives each record once, in its order, wherever it is kept", async () => {
    await fc.assert(
      fc.asyncProperty(
        things,
        fc.constantFrom("id", "-id", "name", "-name", "size", "-size"),
        fc.option(fc.constantFrom("a", "ä", "B", "%", "1")),
        fc.integer({ min: 1, max: 7 }),
        async (all, sort, search, limit) => {
          using database = table(all.filter((_, i) => i % 3 !== 0));
          const declared = all.filter((_, i) => i % 3 === 0);
          using together = table(all);
          const [by, direction] = sort.startsWith("-") ? [sort.slice(1), "DESC"] : [sort, "ASC"];
          const key = LISTING.sorts[by]?.sql;
          const wanted = isFoundIn(["id", "name"], search === null ? [""] : formsOf(search));
          const expected = together
            .query<{ id: string }, (string | number)[]>(
              `SELECT id FROM things WHERE ${wanted.sql} ORDER BY ${key} ${direction}, id ${direction}`,
            )
            .all(...wanted.values);
          expect(await walk(database, declared, sort, search, limit)).toEqual(expected.map(({ id }) => id));
        },
      ),
      { numRuns: 60 },
    );
  });

  test("looks through many by and by, and others have their turn meanwhile", async () => {
    const many = Array.from({ length: 20_000 }, (_, i) => ({ id: `id-${i.toString().padStart(6, "0")}`, name: `n${i % 7}`, size: i }));
    using database = table(many);
    for (const [sort, first] of [
      ["id", "id-019999"],
      ["-id", "id-019999"],
      ["-size", "id-019999"],
    ] as const) {
      let turns = 0;
      let isDone = false;
      const count = (): void => {
        turns++;
        if (!isDone) setImmediate(count);
      };
      setImmediate(count);
      expect(await walk(database, [], sort, "19999", 50)).toEqual([first]);
      isDone = true;
      expect(turns).toBeGreaterThanOrEqual(3);
    }
  });

  test("refuses an order that it does not know, and a cursor of another order", () => {
    expect(() => orderOf("colour", ["id", "name"])).toThrow();
    expect(() => orderOf("", ["id", "name"])).toThrow();
    const order = orderOf("name", ["id", "name"]);
    for (const text of ["acme", '["-name","a","b"]', '["name",null,"b"]', '["name","a"]', "{", "[]"])
      expect(() => placeOf(Buffer.from(text).toString("base64url"), order)).toThrow();
    expect(placeOf(Buffer.from('["name","a","b"]').toString("base64url"), order)).toEqual({ key: "a", id: "b" });
    // Cursors from before lists could be sorted are ids.
    expect(placeOf(Buffer.from("acme").toString("base64url"), orderOf(undefined, ["id"]))).toEqual({ key: "acme", id: "acme" });
  });
});

describe("a search", () => {
  test.each([
    ["acme", "The ACME Corp.", true],
    ["ACME", "acme", true],
    ["müller", "MÜLLER & SÖHNE", true],
    ["ÖZ", "özil", true],
    ["émilie béart", "Émilie Béart", true],
    ["100%", "100 percent", false],
    ["a_c", "abc", false],
    ["", "anything", true],
    ["i", "İ", false],
  ])("for %j in %j", (search, text, expected) => {
    const forms = formsOf(search);
    expect(isFound(forms, [null, text])).toBe(expected);
    using database = table([{ id: "x", name: text, size: 0 }]);
    const { sql, values } = isFoundIn(["name"], forms);
    expect(database.query(`SELECT 1 FROM things WHERE ${sql}`).all(...values).length).toBe(expected ? 1 : 0);
  });

  test("has few forms, whatever is searched for", () => {
    expect(formsOf("äöüéèçñß").length).toBeLessThanOrEqual(3);
    expect(formsOf("äöüé").length).toBe(16);
  });
});
