import { Database } from "bun:sqlite";

/** A row as it was sent, and as it must be found. */
export interface Row {
  readonly id: number;
  readonly name: string;
  readonly price: string;
}

/** Tables to which a sink applies activities. */
export interface Tables {
  readonly name: string;
  /** Gives how many rows there are; 0 where the table is not there. */
  count(): Promise<number>;
  rows(): Promise<readonly Row[]>;
  close(): Promise<void>;
}

/** Opens the tables of a sink of the type sqlite. Throws where there is no such file. */
export function sqliteTables(file: string, table: string): Tables {
  const database = new Database(file, { readonly: true });
  const isThere = () => database.query("SELECT 1 FROM sqlite_schema WHERE name = ?").get(table) !== null;
  return {
    name: file,
    count: async () => (isThere() ? (database.query(`SELECT count(*) AS count FROM "${table}"`).get() as { count: number }).count : 0),
    rows: async () => (isThere() ? (database.query(`SELECT id, name, price FROM "${table}"`).all() as Row[]) : []),
    close: async () => database.close(),
  };
}

/** Opens the tables of a sink of the type postgres. */
export function postgresTables(url: string, schema: string, table: string): Tables {
  const sql = new Bun.SQL(url, { max: 1 });
  const at = `"${schema}"."${table}"`;
  /** A table that is not there has no rows yet. */
  const asked = async <T>(query: string): Promise<readonly T[]> => {
    try {
      return (await sql.unsafe(query)) as T[];
    } catch (error) {
      if (error instanceof Bun.SQL.PostgresError && error.errno === "42P01") return [];
      throw error;
    }
  };
  const { host, pathname } = new URL(url);
  return {
    name: `PostgreSQL ${host}${pathname}`,
    count: async () => Number((await asked<{ count: string }>(`SELECT count(*) AS count FROM ${at}`))[0]?.count ?? 0),
    rows: async () =>
      (await asked<{ id: string; name: string; price: string }>(`SELECT id::text, name, price::text FROM ${at}`)).map((row) => ({
        ...row,
        id: Number(row.id),
      })),
    close: () => sql.close(),
  };
}

/** Milliseconds for which nothing may change before what is missing counts as missing. */
const PATIENCE = 15_000;

/** Waits until there are so many rows and nothing waits any more. Gives false when nothing has changed for 15 s before that. */
export async function settled(tables: Tables, rows: number, waiting: () => Promise<number | null>): Promise<boolean> {
  let last = "";
  let changed = performance.now();
  for (;;) {
    const [count, wait] = [await tables.count(), await waiting()];
    if (count === rows && (wait ?? 0) === 0) return true;
    const now = `${count} ${wait}`;
    if (now !== last) changed = performance.now();
    else if (performance.now() - changed > PATIENCE) return false;
    last = now;
    await Bun.sleep(50);
  }
}

/** Compares the rows with those that must be there, each once. Of those in `uncertain` nobody knows. Gives what is wrong. */
export function faultsOf(found: readonly Row[], rows: ReadonlyMap<number, Row>, uncertain: ReadonlySet<number>): string[] {
  const counts = new Map<number, number>();
  const wrong: string[] = [];
  for (const row of found) {
    counts.set(row.id, (counts.get(row.id) ?? 0) + 1);
    if (uncertain.has(row.id)) continue;
    const should = rows.get(row.id);
    if (should === undefined) wrong.push(`row ${row.id} should not be there`);
    else if (should.name !== row.name || should.price !== row.price) wrong.push(`row ${row.id} is not as it was sent`);
  }
  for (const id of rows.keys())
    if (!uncertain.has(id) && counts.get(id) !== 1) wrong.push(`row ${id} is there ${counts.get(id) ?? 0} times`);
  return wrong;
}
