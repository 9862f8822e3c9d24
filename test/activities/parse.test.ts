import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { parseBatch } from "../../src/activities/activity.ts";
import { fit, parseType, Unfit } from "../../src/activities/column-type.ts";
import { parseExactly } from "../../src/values/json.ts";

const typed = (text: string) => {
  const type = parseType(text);
  if (type === null) throw new Error(`${text} is no type`);
  return type;
};
/** The value as it would be stored, or "!" and what is wrong with it. */
const stored = (json: string, type: string) => {
  // The word makes the parser look at how numbers are written, as a column's type does.
  const { value } = parseExactly(`{"type":"decimal","value":${json}}`) as { value: unknown };
  const fits = fit(value, typed(type));
  return fits instanceof Unfit ? `!${fits.why}` : fits;
};

describe("a column's type", () => {
  test.each([
    ["INTEGER", { kind: "INTEGER" }],
    ["varchar(40)", { kind: "VARCHAR", length: 40 }],
    [" Decimal ( 10 , 2 ) ", { kind: "DECIMAL", precision: 10, scale: 2 }],
    ["DECIMAL(5)", { kind: "DECIMAL", precision: 5, scale: 0 }],
    ["DOUBLE", { kind: "FLOAT" }],
    ["float", { kind: "FLOAT" }],
    ["BOOLEAN", { kind: "BOOLEAN" }],
    ["VARCHAR", { kind: "TEXT" }],
    ...[
      "",
      "BLOB",
      "DECIMAL",
      "DECIMAL(2,3)",
      "DECIMAL(0,0)",
      "VARCHAR(0)",
      "VARCHAR(1,2)",
      "INTEGER(4)",
      "TEXT); DROP TABLE t",
      "constructor",
      "INTEGER PRIMARY KEY",
    ].map((text): [string, null] => [text, null]),
  ])("%p is %p", (text, type) => {
    expect(parseType(text)).toEqual(type as never);
  });

  test.each<[json: string, type: string, stored: unknown]>([
    ['"7"', "INTEGER", 7],
    ["7.0", "INTEGER", 7],
    ["1e3", "INTEGER", 1000],
    ["9223372036854775807", "INTEGER", 9223372036854775807n],
    ["-9223372036854775808", "INTEGER", -9223372036854775808n],
    ["9223372036854775808", "INTEGER", "!must be a whole number of 64 bits"],
    ["7.5", "INTEGER", "!must be a whole number, got 7.5"],
    ["true", "INTEGER", "!must be a whole number, got true"],
    ['""', "INTEGER", '!must be a whole number, got ""'],
    ["null", "INTEGER", null],
    ["12.30", "DECIMAL(10,2)", "12.30"],
    ["12.3", "DECIMAL(10,2)", "12.30"],
    ['"-0.5"', "DECIMAL(10,2)", "-0.50"],
    ["0", "DECIMAL(4,4)", "0.0000"],
    ["12345678901234567890.12", "DECIMAL(22,2)", "12345678901234567890.12"],
    ["1.230", "DECIMAL(10,2)", "1.23"],
    ["1.234", "DECIMAL(10,2)", "!has 3 digits behind the point, DECIMAL(10,2) takes 2"],
    ["123456789", "DECIMAL(10,2)", "!has 9 digits before the point, DECIMAL(10,2) takes 8"],
    ["1e400", "FLOAT", "!must be a number, got 1e400"],
    ['"1.5"', "DOUBLE", 1.5],
    ['"x"', "FLOAT", '!must be a number, got "x"'],
    ["true", "BOOLEAN", 1],
    ['"false"', "BOOLEAN", 0],
    ["2", "BOOLEAN", "!must be true or false, got 2"],
    ['"ä€😀"', "VARCHAR(3)", "ä€😀"],
    ['"abcd"', "VARCHAR(3)", "!has more than 3 characters"],
    ["12345678901234567890", "TEXT", "12345678901234567890"],
    ["{}", "TEXT", "!must be text, a number, true, false or null, got an object"],
    ["1.50", "TEXT", "1.50"],
    ["1e400", "TEXT", "1e400"],
    ["1.0", "BOOLEAN", "!must be true or false, got 1.0"],
    ['"0x10"', "FLOAT", '!must be a number, got "0x10"'],
    ["[1]", "INTEGER", "!must be text, a number, true, false or null, got a list"],
  ])("%p in a column of %s is stored as %p", (json, type, value) => {
    expect(stored(json, type)).toBe(value as never);
  });

  test("keeps every decimal exactly, however it is written", () => {
    fc.assert(
      fc.property(fc.bigInt(-(10n ** 30n), 10n ** 30n), fc.nat(12), fc.boolean(), (digits, scale, quoted) => {
        const text = String(digits < 0n ? -digits : digits).padStart(scale + 1, "0");
        const written = `${digits < 0n ? "-" : ""}${text.slice(0, text.length - scale)}${scale === 0 ? "" : `.${text.slice(text.length - scale)}`}`;
        const kept = stored(quoted ? `"${written}"` : written, "DECIMAL(45,12)");
        expect(BigInt(String(kept).replace(".", ""))).toBe(digits * 10n ** BigInt(12 - scale));
      }),
    );
  });
});

const faultsOf = (body: unknown) => {
  const batch = parseBatch(typeof body === "string" ? body : JSON.stringify(body));
  return "faults" in batch ? batch.faults.map(({ path, message }) => `${path}: ${message}`) : [];
};

describe("a batch", () => {
  const camel = { colNames: ["id"], colTypes: ["INTEGER"], colValues: [1] };
  const snake = { col_names: ["id"], col_types: ["INTEGER"], col_values: [1] };

  test("takes both spellings", () => {
    for (const activity of [
      { operation: "insert", table: "t", ...camel },
      { operation: "insert", table: "t", ...snake },
      { operation: "delete", table: "t", oldValue: camel },
      { operation: "delete", table: "t", old_value: snake },
      { operation: "delete", table: "t", old_value: camel },
    ])
      expect(parseBatch(JSON.stringify({ activities: [activity] }))).toMatchObject({
        activities: [{ table: "t", columns: [{ name: "id", type: { kind: "INTEGER" } }], values: [1], payload: activity }],
      });
  });

  test("with mistakes is told all of them, each with its place", () => {
    expect(
      faultsOf({
        activities: [
          { operation: "insert", table: "t", ...camel, col_names: ["id"] },
          { operation: "insert", table: "1t", colNames: ["a", "A", "b-c"], colTypes: ["INTEGER", "TEXT", "BLOB"], colValues: ["x", 1, 2] },
          { operation: "insert", table: "t", colNames: ["a", "b"], col_types: ["TEXT"], colValues: "x" },
          { operation: "insert", table: "t", colNames: [], colTypes: [], colValues: [] },
          { operation: "update", table: "t" },
          { operation: "delete", table: "sqlite_master", oldValue: { ...camel, rows: 1 } },
          { operation: "delete", ...camel },
          7,
        ],
      }),
    ).toEqual([
      "activities[0].col_names: is colNames in another spelling: send one of them",
      "activities[1].table: must be 1 to 63 letters, digits and _, beginning with a letter or _",
      'activities[1].colValues[0]: must be a whole number, got "x"',
      "activities[1].colNames[1]: stands here twice",
      "activities[1].colNames[2]: must be 1 to 63 letters, digits and _, beginning with a letter or _",
      "activities[1].colTypes[2]: must be INTEGER, TEXT, VARCHAR(n), FLOAT, DOUBLE, BOOLEAN or DECIMAL(p,s)",
      "activities[2].colValues: must be a list",
      "activities[3].colNames: must name at least one column",
      'activities[4].operation: must be "insert" or "delete"',
      "activities[5].table: is a name that Sluice or SQLite keeps for itself",
      "activities[5].oldValue.rows: is not known here: there are colNames, colTypes, colValues",
      "activities[6].table: is required",
      "activities[6].colNames: is not known here: there are operation, table, oldValue",
      "activities[6].colTypes: is not known here: there are operation, table, oldValue",
      "activities[6].colValues: is not known here: there are operation, table, oldValue",
      "activities[6].oldValue: is required for a delete: the lists of columns, types and values",
      "activities[7]: must be an object",
    ]);
    expect(faultsOf("{")).toEqual([': the body is not JSON: send { "activities": [ … ] }']);
    expect(faultsOf([])).toEqual([': must be an object: { "activities": [ … ] }']);
    expect(faultsOf({ activities: [] })).toEqual(["activities: must hold at least one activity"]);
    expect(faultsOf({ activities: Array.from({ length: 10_001 }, () => ({})) })).toEqual([
      "activities: must hold at most 10000 activities; send several batches",
    ]);
  });

  test("of any JSON whatever is told, and never throws", () => {
    fc.assert(fc.property(fc.json(), (text) => void parseBatch(text)));
    fc.assert(
      fc.property(
        fc.json(),
        (text) =>
          void parseBatch(`{"activities":[{"operation":"insert","table":"t","colNames":${text},"colTypes":${text},"colValues":${text}}]}`),
      ),
    );
  });
});

describe("faults name what the sender wrote", () => {
  const faultsOf = (activity: object) => {
    const batch = parseBatch(JSON.stringify({ activities: [{ table: "t", ...activity }] }));
    return "faults" in batch ? batch.faults.map(({ path, message }) => `${path} ${message}`) : [];
  };

  test("in its own spelling, also of what is missing", () => {
    const row = { col_names: ["a"], col_types: ["INTEGER"], col_values: ["x"] };
    expect(faultsOf({ operation: "insert", ...row })).toEqual([
      expect.stringContaining("activities[0].col_values[0] must be a whole number"),
    ]);
    expect(faultsOf({ operation: "insert", col_names: ["a"], col_types: ["INTEGER"] })).toEqual(["activities[0].col_values is required"]);
    expect(faultsOf({ operation: "insert", ...row, col_values: 1 })).toEqual(["activities[0].col_values must be a list"]);
    expect(faultsOf({ operation: "insert", ...row, col_values: [1], col_value: 1 })).toEqual([
      "activities[0].col_value is not known here: there are operation, table, col_names, col_types, col_values",
    ]);
    expect(faultsOf({ operation: "delete", old_value: { ...row, col_types: [] } })).toEqual([
      "activities[0].old_value.col_types must be as long as the list of names: 1, got 0",
    ]);
    expect(faultsOf({ operation: "delete", old_value: { ...row, col_values: [1] }, more: 1 })).toEqual([
      "activities[0].more is not known here: there are operation, table, old_value",
    ]);
    expect(faultsOf({ operation: "insert", colNames: ["a"], colTypes: ["INTEGER"] })).toEqual(["activities[0].colValues is required"]);
    expect(faultsOf({ operation: "insert" })[0]).toBe("activities[0].colNames is required");
    // Both of one name: the second is told of.
    expect(faultsOf({ operation: "insert", ...row, col_values: [1], colNames: ["a"] })).toContain(
      "activities[0].col_names is colNames in another spelling: send one of them",
    );
  });
});

test("a table may not have a name that Sluice or SQLite keeps for itself in the same file; any other is the sender's", () => {
  const faultsOf = (table: string) => {
    const batch = parseBatch(
      JSON.stringify({ activities: [{ operation: "insert", table, colNames: ["a"], colTypes: ["TEXT"], colValues: ["x"] }] }),
    );
    return "faults" in batch ? batch.faults.map(({ path, message }) => `${path} ${message}`) : [];
  };
  for (const table of ["__drizzle_migrations", "sqlite_x", "sluice_queue", "Activity_Log"])
    expect([table, faultsOf(table)]).toEqual([table, ["activities[0].table is a name that Sluice or SQLite keeps for itself"]]);
  // The gateway's own tables lie in another file, which the connection refuses.
  for (const table of ["users", "consumers", "usage"]) expect(faultsOf(table)).toEqual([]);
});
