import type { Database } from "bun:sqlite";
import { KIND_NAMES, KINDS } from "./kinds.ts";
import { fieldOf, partsOf } from "./replicas.ts";

/** Holds a record as a row of its table, without the columns that each instance keeps for itself. */
export type Row = Record<string, string | number | null>;

/** Reads and writes records of all kinds as rows, by their fields. */
export class Rows {
  private readonly columns = new Map<string, string[]>();

  constructor(private readonly database: Database) {}

  /** Puts a record's row in the place of the one that is there; `null` deletes it. Columns that each instance keeps for itself stay. */
  put(field: string, row: Row | null): void {
    const [kind, id] = partsOf(field);
    const { table, key, isDocument, own, putIn } = KINDS[kind];
    if (row === null) {
      this.database
        .query(`DELETE FROM ${table} WHERE ${key} = ?1${isDocument ? " AND kind = ?2" : ""}`)
        .run(...(isDocument ? [id, kind] : [id]));
      return;
    }
    // A newer version's columns are left out; it fills them itself.
    const columns = this.columnsOf(table).filter((column) => Object.hasOwn(row, column) && !own.includes(column));
    const values = columns.map((column) => row[column] as string | number | null);
    const target = isDocument ? `${key}, kind` : key;
    const isReplaced = putIn === "replace";
    this.database
      .query(
        `INSERT ${isReplaced ? "OR REPLACE " : ""}INTO ${table} (${columns.join(", ")}) VALUES (${columns.map(() => "?").join(", ")})${
          isReplaced ? "" : ` ON CONFLICT (${target}) DO UPDATE SET ${columns.map((column) => `${column} = excluded.${column}`).join(", ")}`
        }`,
      )
      .run(...values);
  }

  /** Gives a record's row as it is passed on; `null` when there is none. */
  read(field: string): Row | null {
    const [kind, id] = partsOf(field);
    const { table, key, isDocument, own } = KINDS[kind];
    const row = this.database
      .query<Row, string[]>(`SELECT * FROM ${table} WHERE ${key} = ?1${isDocument ? " AND kind = ?2" : ""}`)
      .get(...(isDocument ? [id, kind] : [id]));
    if (row === null) return null;
    for (const column of own) delete row[column];
    return row;
  }

  /** Gives the fields of all records that are there. */
  *fields(): Generator<string> {
    for (const kind of KIND_NAMES) {
      const { table, key, isDocument } = KINDS[kind];
      const rows = this.database.query<{ id: string }, string[]>(
        `SELECT ${key} AS id FROM ${table}${isDocument ? " WHERE kind = ?1" : ""}`,
      );
      for (const { id } of rows.all(...(isDocument ? [kind] : []))) yield fieldOf(kind, id);
    }
  }

  private columnsOf(table: string): string[] {
    let columns = this.columns.get(table);
    if (columns === undefined) {
      columns = this.database
        .query<{ name: string }, [string]>("SELECT name FROM pragma_table_info(?1)")
        .all(table)
        .map(({ name }) => name);
      this.columns.set(table, columns);
    }
    return columns;
  }
}
