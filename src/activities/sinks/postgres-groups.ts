import { quoted } from "./postgres-link.ts";
import { indexConditions, type Table, type TableColumn } from "./postgres-tables.ts";

type Value = string | number | null;

/** Describes a row that is to take effect. */
export interface Pending {
  /** Its place among the outcomes. */
  readonly slot: number;
  readonly values: readonly Value[];
}

/** Joins rows that one statement applies. */
export interface Group {
  readonly operation: "insert" | "delete";
  readonly table: Table;
  readonly columns: readonly TableColumn[];
  readonly rows: Pending[];
}

/** Parts what a key is made of; no value has it. */
const NUL = "\0";
const keyOf = (values: readonly (Value | undefined)[]): string => {
  let key = "";
  for (const value of values) key += value === null || value === undefined ? `${NUL}-` : `${NUL}${value}`;
  return key;
};

interface Deletes {
  readonly group: Group;
  readonly keys: Set<string>;
}

/** Joins rows of one plain table, of any shape: all inserts, then all deletes, as long as none of these would find a later insert. */
class Bundle {
  private readonly inserts = new Map<string, Group>();
  private readonly deletes = new Map<string, Deletes>();

  /** Adds a row; gives false, and adds nothing, when it must come after what is here. */
  add(operation: Group["operation"], table: Table, columns: readonly TableColumn[], shape: string, row: Pending): boolean {
    if (operation === "delete") {
      let deletes = this.deletes.get(shape);
      if (deletes === undefined) {
        deletes = { group: { operation, table, columns, rows: [] }, keys: new Set() };
        this.deletes.set(shape, deletes);
      }
      deletes.group.rows.push(row);
      deletes.keys.add(keyOf(row.values));
      return true;
    }
    for (const { group, keys } of this.deletes.values())
      if (keys.has(keyOf(group.columns.map(({ name }) => row.values[columns.findIndex((column) => column.name === name)])))) return false;
    const group = this.inserts.get(shape);
    if (group === undefined) this.inserts.set(shape, { operation, table, columns, rows: [row] });
    else group.rows.push(row);
    return true;
  }

  get groups(): Group[] {
    return [...this.inserts.values(), ...[...this.deletes.values()].map(({ group }) => group)];
  }
}

/**
 * Joins rows in few groups that have the effect of the rows in their order. Rows of plain tables depend on nothing but rows of the same
 * table; those of all others keep their order.
 */
export class Grouping {
  private readonly done: Group[] = [];
  private readonly bundles = new Map<string, Bundle>();
  private last: { readonly shape: string; readonly group: Group } | null = null;

  /** Adds a row. `shape`: the names of the columns, joined. */
  add(operation: Group["operation"], table: Table, columns: readonly TableColumn[], shape: string, row: Pending): void {
    if (table.isPlain && columns.every(({ isExact }) => isExact)) {
      const bundle = this.bundles.get(table.name);
      if (bundle?.add(operation, table, columns, shape, row)) return;
      if (bundle !== undefined) this.done.push(...bundle.groups);
      const next = new Bundle();
      next.add(operation, table, columns, shape, row);
      this.bundles.set(table.name, next);
      return;
    }
    // A table may be plain for some of its columns: what is joined of it comes first.
    const bundle = this.bundles.get(table.name);
    if (bundle !== undefined) {
      this.done.push(...bundle.groups);
      this.bundles.delete(table.name);
    }
    const key = `${operation} ${table.name} ${shape}`;
    if (this.last?.shape === key && this.done.at(-1) === this.last.group) this.last.group.rows.push(row);
    else {
      const group: Group = { operation, table, columns, rows: [row] };
      this.done.push(group);
      this.last = { shape: key, group };
    }
  }

  get groups(): Group[] {
    return [...this.done, ...[...this.bundles.values()].flatMap((bundle) => bundle.groups)];
  }
}

export interface Statement {
  readonly text: string;
  readonly values: readonly string[];
}

/** The columns of a delete that are compared so that an index may be used. */
const SEARCHED = 3;

/** Gives the statements that apply rows of a group. `at`: the table's name in a statement. */
export function statementsFor(group: Group, rows: readonly Pending[], at: string): Statement[] {
  const { columns } = group;
  const castAt = (i: number): string => {
    const { type, cast } = columns[i] as TableColumn;
    return type?.kind === "TEXT" || type?.kind === "VARCHAR" ? `x.c${i}` : `x.c${i}::${cast}`;
  };
  // A list of texts for each column: the quickest of what was measured, and its text does not depend on the number of rows.
  const from = `ROWS FROM (${columns.map((_, i) => `json_array_elements_text($${i + 1}::text::json)`).join(", ")}) AS x (${columns.map((_, i) => `c${i}`).join(", ")})`;
  const listsOf = (some: readonly Pending[]): string[] => columns.map((_, i) => JSON.stringify(some.map(({ values }) => values[i])));
  if (group.operation === "insert")
    return [
      {
        text: `INSERT INTO ${at} (${columns.map(({ name }) => quoted(name)).join(", ")}) SELECT ${columns.map((_, i) => castAt(i)).join(", ")} FROM ${from}`,
        values: listsOf(rows),
      },
    ];
  // IS NOT DISTINCT FROM uses no index: rows are parted by which of their first values are NULL.
  const parts = new Map<string, Pending[]>();
  for (const row of rows) {
    const mask = row.values.map((value, i) => (i < SEARCHED && value === null ? "0" : "1")).join("");
    const part = parts.get(mask);
    if (part === undefined) parts.set(mask, [row]);
    else part.push(row);
  }
  return [...parts].map(([mask, part]) => {
    const isNull = (i: number): boolean => mask[i] === "0";
    const isMixed = columns.map((_, i) => i >= SEARCHED && part.some(({ values }) => values[i] === null));
    const conditions = columns.map(({ name }, i) => {
      const left = `t.${quoted(name)}`;
      return isNull(i) ? `${left} IS NULL` : `${left} ${isMixed[i] ? "IS NOT DISTINCT FROM" : "="} ${castAt(i)}`;
    });
    conditions.push(
      ...indexConditions(group.table, columns, (column) => {
        const i = columns.indexOf(column);
        return isNull(i) ? null : isMixed[i] ? undefined : castAt(i);
      }),
    );
    return { text: `DELETE FROM ${at} AS t USING ${from} WHERE ${conditions.join(" AND ")}`, values: listsOf(part) };
  });
}
