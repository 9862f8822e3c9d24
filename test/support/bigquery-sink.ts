import { Database } from "bun:sqlite";
import { join } from "node:path";
import fc from "fast-check";
import type { BigQuerySinkConfig } from "../../src/activities/destinations.ts";
import { runsOf as joined } from "../../src/activities/follower.ts";
import { BigQuerySink } from "../../src/activities/sinks/bigquery.ts";
import type { Outcome, Run } from "../../src/activities/sinks/sink.ts";
import { BigQueryServer, type StoredRow } from "./bigquery.ts";
import { FakeClock } from "./clock.ts";
import { folder } from "./process.ts";
import { insert, parsed, remove } from "./runs.ts";

type Cells = Parameters<typeof insert>[1];

export const COLUMNS = {
  a: ["INTEGER", fc.constantFrom(null, 0, 1, "9007199254740993")],
  B: ["TEXT", fc.constantFrom(null, "", "null", '"', ",", "0", "é")],
  c: ["DOUBLE", fc.constantFrom(null, 0, 0.1, 1e300)],
  d: ["BOOLEAN", fc.constantFrom(null, true, false)],
  e: ["DECIMAL(30,4)", fc.constantFrom(null, "0", "1.50", "-12345678901234567890.5")],
  f: ["DECIMAL(90,45)", fc.constantFrom(null, "1.0", "0.25")],
} as const;
const cells = fc
  .record(
    Object.fromEntries(Object.entries(COLUMNS).map(([name, [type, values]]) => [name, values.map((value) => [type, value] as const)])),
    { requiredKeys: [] },
  )
  .filter((row) => Object.keys(row).length > 0) as fc.Arbitrary<Cells>;
/** Inserts into the table T, and deletes, most of which name some columns of a row that was inserted before, as they are there. */
export const changes = fc
  .array(fc.record({ kind: fc.constantFrom("insert", "insert", "aim", "aim", "remove"), row: cells, of: fc.nat(), names: fc.nat(63) }), {
    minLength: 1,
    maxLength: 25,
  })
  .map((steps) => {
    const inserted: Cells[] = [];
    return steps.map(({ kind, row, of, names }) => {
      const target = inserted[of % inserted.length];
      if (kind === "insert" || target === undefined) {
        inserted.push(row);
        return insert("T", row);
      }
      const aimed = Object.entries(COLUMNS)
        .filter((_, i) => (names & (1 << i)) !== 0)
        .map(([name, [type]]) => [name, target[name] ?? [type, null]] as const);
      return remove("t", kind === "aim" && aimed.length > 0 ? Object.fromEntries(aimed) : row);
    });
  });

/** Inserts that make all columns, and what comes then. */
export const history = changes.map((all) => [
  ...Object.entries(COLUMNS).map(([name, [type]]) => insert("t", { [name]: [type, null] })),
  ...all,
]);

export const idsOf = (rows: readonly StoredRow[]): string[] => rows.map(({ _id }) => String(_id)).sort();

/** Joins activities into runs, as they come to a sink. `from`: the first one's place. */
export const runsOf = (activities: readonly object[], from = 1, batch = "b"): Run[] =>
  joined(parsed(activities).map((activity, i) => ({ id: `${batch}:${from + i}`, activity, position: from + i, isReplay: false })));

/** Starts a server and a sink on it. Pauses take no time: the clock goes on instead. */
export async function openSink(
  options: { config?: Partial<BigQuerySinkConfig>; rank?: 0 | 1 | 2; keepsLog?: boolean; key?: Record<string, unknown> | null } = {},
) {
  const clock = new FakeClock();
  const server = await BigQueryServer.start({ clock });
  const place = folder();
  const file = join(place.path, "key.json");
  if (options.key !== null) await Bun.write(file, await server.key(options.key));
  const troubles: string[] = [];
  const pauses: number[] = [];
  const open = (): BigQuerySink =>
    new BigQuerySink({
      config: {
        type: "bigquery",
        name: null,
        project: server.project,
        dataset: server.dataset,
        credentials: file,
        endpoint: server.url,
        every: null,
        ...options.config,
      },
      rank: options.rank ?? 0,
      keepsLog: options.keepsLog ?? false,
      clock,
      onTrouble: (message) => void troubles.push(message),
      sleep: async (milliseconds) => {
        pauses.push(milliseconds);
        clock.advance(milliseconds);
      },
      metadataHost: server.url.slice("http://".length),
    });
  const sink = open();
  let next = 1;
  const deliver = async (runs: readonly Run[], mayRepeat = false, to = sink): Promise<readonly Outcome[]> => {
    const delivery = { at: clock.wall(), mayRepeat, giveUp: null, settle: () => {} };
    return await to.apply(runs, delivery);
  };
  return {
    clock,
    server,
    sink,
    file,
    troubles,
    pauses,
    open,
    deliver,
    /** Has the sink apply activities that come after all before. */
    apply: async (...activities: object[]): Promise<readonly Outcome[]> => {
      const runs = runsOf(activities, next);
      next += activities.length;
      return await deliver(runs);
    },
    [Symbol.asyncDispose]: async () => {
      sink.close();
      place[Symbol.dispose]();
      await server.close();
    },
  };
}

/** Runs the query of a table's view, in SQLite: it differs from BigQuery in one function's name. */
export function lastState(server: BigQueryServer, table: string): Record<string, unknown>[] {
  using database = new Database(":memory:", { safeIntegers: true });
  const fields = server.fields(table);
  const kind = (type: string): string => (type === "INTEGER" || type === "BOOLEAN" ? "INTEGER" : type === "FLOAT" ? "REAL" : "TEXT");
  const name = `\`${server.project}.${server.dataset}.${table}\``;
  database.run(`CREATE TABLE ${name} (${fields.map((field) => `\`${field.name}\` ${kind(field.type)}`).join(", ")})`);
  const insertRow = database.prepare(`INSERT INTO ${name} VALUES (${fields.map(() => "?").join(", ")})`);
  for (const row of server.rows(table))
    insertRow.run(
      ...fields.map((field) => {
        const value = row[field.name] ?? null;
        return field.type === "INTEGER" && value !== null ? BigInt(value as string) : (value as string | number | boolean | null);
      }),
    );
  return database.query(server.query(`${table}_current`).replaceAll("TO_JSON_STRING(", "json_quote(")).all() as Record<string, unknown>[];
}
