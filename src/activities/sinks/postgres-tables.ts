import type { Column } from "../activity.ts";
import { type ColumnType, fit, type SqlValue, typeText, Unfit } from "../column-type.ts";
import { kindOf, quoted, type Session, saidBy } from "./postgres-link.ts";

/** Describes a column of a table that is there. */
export interface TableColumn {
  readonly name: string;
  /** The type by which values are checked; `null`: PostgreSQL alone knows what fits. */
  readonly type: ColumnType | null;
  /** What values are cast to. */
  readonly cast: string;
  /** True when two values are equal for PostgreSQL just when they are the same for us. */
  readonly isExact: boolean;
  /** True when PostgreSQL makes its values, and takes none. */
  readonly isGenerated: boolean;
}

export interface Table {
  readonly name: string;
  readonly columns: ReadonlyMap<string, TableColumn>;
  /** Why rows can't be inserted or deleted at all; `null`: they may be. */
  readonly fault: { readonly insert: string | null; readonly delete: string | null };
  /** True when rows do not depend on each other: no unique index, trigger, rule, default, foreign key or policy. */
  readonly isPlain: boolean;
  readonly indexes: readonly Index[];
}

interface Index {
  readonly name: string;
  readonly isUnique: boolean;
  /** Its columns; `null` for an expression. */
  readonly columns: readonly (string | null)[];
}

/** Says that something must be made, which is done while no other instance writes. */
export class NeedsAlone extends Error {}

/** The most tables that a schema may have for Sluice to make more. */
const MAX_TABLES = 10_000;
const INDEX_FROM = 2000;
const MAX_INDEXES = 4;
const MAX_INDEXED_COLUMNS = 3;
/** The largest table, in bytes, that gets an index: while it is made nobody writes to the table. */
const MAX_INDEXED_SIZE = 512 * 1024 * 1024;
/** An entry of an index has 2,704 bytes at most: of longer text its first characters are indexed. */
const INDEXED_CHARACTERS = 64;

const CATALOG = `SELECT c.relname AS name, json_build_array(c.relkind, has_any_column_privilege(c.oid, 'INSERT'), has_table_privilege(c.oid, 'DELETE'),
    c.relhastriggers OR c.relhasrules OR c.relrowsecurity OR c.relhassubclass,
    (SELECT json_agg(json_build_array(a.attname, a.atttypid::int8, a.atttypmod, format_type(a.atttypid, -1), a.attgenerated <> '' OR a.attidentity = 'a',
        a.atthasdef OR a.attidentity <> '', coalesce(o.collisdeterministic, true)) ORDER BY a.attnum)
      FROM pg_catalog.pg_attribute a LEFT JOIN pg_catalog.pg_collation o ON o.oid = a.attcollation
      WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
    (SELECT json_agg(json_build_array(x.relname, i.indisunique OR i.indisexclusion, i.indisvalid AND i.indpred IS NULL,
        (SELECT json_agg(a.attname ORDER BY k.place) FROM unnest(i.indkey::int2[]) WITH ORDINALITY k (number, place)
          LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number AND k.number <> 0)) ORDER BY x.relname)
      FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid WHERE i.indrelid = c.oid))::text AS shape
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  WHERE n.nspname = $1::text AND c.relname IN (SELECT json_array_elements_text($2::text::json))`;

type ShapeColumn = readonly [
  name: string,
  type: number,
  modifier: number,
  cast: string,
  isGenerated: boolean,
  hasDefault: boolean,
  isDeterministic: boolean,
];
type ShapeIndex = readonly [name: string, isUnique: boolean, isUsable: boolean, columns: readonly (string | null)[]];
type Shape = readonly [
  kind: string,
  mayInsert: boolean,
  mayDelete: boolean,
  isEntangled: boolean,
  columns: readonly ShapeColumn[] | null,
  indexes: readonly ShapeIndex[] | null,
];

const declared = (type: ColumnType): string =>
  type.kind === "INTEGER"
    ? "bigint"
    : type.kind === "FLOAT"
      ? "double precision"
      : type.kind === "VARCHAR"
        ? `varchar(${type.length})`
        : type.kind === "DECIMAL"
          ? `numeric(${type.precision},${type.scale})`
          : type.kind.toLowerCase();

/** Knows the tables of a schema: reads them, and makes what is missing. */
export class PostgresTables {
  /** What was read last, by name: reading the same text again gives the same table. */
  private readonly kept = new Map<string, { readonly shape: string; readonly table: Table }>();
  /** The approximate numbers of rows of tables that rows are deleted from. */
  private readonly rows = new Map<string, number>();
  private readonly unindexed = new Set<string>();

  constructor(private readonly schema: string) {}

  /** Gives a table's name for a statement. */
  at(table: string): string {
    return `${quoted(this.schema)}.${quoted(table)}`;
  }

  /** Reads those of the tables that are there. */
  async read(session: Session, names: readonly string[]): Promise<Map<string, Table>> {
    const found = new Map<string, Table>();
    for (const row of await session.ask(CATALOG, [this.schema, JSON.stringify(names)])) {
      const { name, shape } = row as { name: string; shape: string };
      const kept = this.kept.get(name);
      const table = kept?.shape === shape ? kept.table : tableOf(name, JSON.parse(shape) as Shape);
      if (kept?.table !== table) {
        if (this.kept.size >= MAX_TABLES) this.kept.clear();
        this.kept.set(name, { shape, table });
      }
      found.set(name, table);
    }
    return found;
  }

  /** Gives the table with all columns of an insert, made where they are missing; or the reason why that can't be. */
  async makeRoom(
    session: Session,
    name: string,
    columns: readonly Column[],
    tables: Map<string, Table>,
    isAlone: boolean,
  ): Promise<Table | string> {
    const table = tables.get(name);
    if (table !== undefined) {
      const { insert } = table.fault;
      if (insert !== null) return insert;
      const generated = columns.find((column) => table.columns.get(column.name.toLowerCase())?.isGenerated);
      if (generated !== undefined) return `the column ${generated.name} of the table ${name} is generated: it takes no values`;
      if (columns.every((column) => table.columns.has(column.name.toLowerCase()))) return table;
    }
    if (!isAlone) throw new NeedsAlone();
    if (table === undefined) {
      const [counted] = await session.ask(
        "SELECT count(*)::int AS tables FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1::text AND c.relkind IN ('r', 'p')",
        [this.schema],
      );
      if ((counted as { tables: number }).tables >= MAX_TABLES) return `there are ${MAX_TABLES} tables already: no more are made`;
    }
    const missing = columns.filter((column) => !table?.columns.has(column.name.toLowerCase()));
    const parts = missing.map((column) => `${quoted(column.name.toLowerCase())} ${declared(column.type)}`);
    const text =
      table === undefined
        ? `CREATE TABLE ${this.at(name)} (${parts.join(", ")})`
        : `ALTER TABLE ${this.at(name)} ${parts.map((part) => `ADD COLUMN ${part}`).join(", ")}`;
    const fault = await attempt(session, text);
    if (fault !== null) return `the table ${name} can't be ${table === undefined ? "made" : "changed"}: ${fault}`;
    const made = (await this.read(session, [name])).get(name);
    if (made === undefined) return `the table ${name} could not be made`;
    tables.set(name, made);
    return made;
  }

  /** Gives the table with all columns of a delete, or what of it is missing. */
  findRoom(name: string, columns: readonly Column[], tables: ReadonlyMap<string, Table>): Table | string {
    const table = tables.get(name);
    if (table === undefined) return `there is no table ${name}`;
    if (table.fault.delete !== null) return table.fault.delete;
    const missing = columns.find((column) => !table.columns.has(column.name.toLowerCase()));
    return missing === undefined ? table : `the table ${name} has no column ${missing.name}`;
  }

  /** Notes about how many rows have come. */
  grew(table: Table, by: number): void {
    const rows = this.rows.get(table.name);
    if (rows !== undefined) this.rows.set(table.name, rows + by);
  }

  /** Makes an index for deletes by these columns, where the table is large and none serves. One that can't be made is gone without. */
  async indexFor(
    session: Session,
    table: Table,
    columns: readonly TableColumn[],
    tables: Map<string, Table>,
    isAlone: boolean,
  ): Promise<void> {
    const keys = indexedBy(columns);
    if (keys.length === 0 || serves(table, keys)) return;
    const name = indexName(table.name, keys);
    if (this.unindexed.has(name) || table.indexes.filter((index) => index.name.startsWith("sluice_")).length >= MAX_INDEXES) return;
    let rows = this.rows.get(table.name);
    if (rows === undefined) {
      const [counted] = await session.ask(
        `SELECT count(*)::int AS rows FROM (SELECT FROM ${this.at(table.name)} LIMIT ${INDEX_FROM}) AS t`,
      );
      rows = (counted as { rows: number }).rows;
      if (this.rows.size >= MAX_TABLES) this.rows.clear();
      this.rows.set(table.name, rows);
    }
    if (rows < INDEX_FROM) return;
    if (!isAlone) throw new NeedsAlone();
    const [measured] = await session.ask("SELECT pg_relation_size(to_regclass($1::text))::float8 AS size", [this.at(table.name)]);
    const isSmall = (measured as { size: number | null }).size !== null && (measured as { size: number }).size <= MAX_INDEXED_SIZE;
    const parts = keys.map((column) => (isLong(column) ? `left(${quoted(column.name)}, ${INDEXED_CHARACTERS})` : quoted(column.name)));
    const fault = isSmall ? await attempt(session, `CREATE INDEX ${quoted(name)} ON ${this.at(table.name)} (${parts.join(", ")})`) : "";
    if (fault !== null) {
      if (this.unindexed.size >= MAX_TABLES) this.unindexed.clear();
      this.unindexed.add(name);
      return;
    }
    const again = (await this.read(session, [table.name])).get(table.name);
    if (again !== undefined) tables.set(table.name, again);
  }
}

/** Runs a statement that may fail without the transaction. Gives what was wrong. Throws what is no fault of the statement. */
async function attempt(session: Session, text: string): Promise<string | null> {
  await session.run("SAVEPOINT sluice_make");
  try {
    await session.run(text);
    await session.run("RELEASE SAVEPOINT sluice_make");
    return null;
  } catch (error) {
    const kind = kindOf(error);
    if (kind === "again" || kind === "away") throw error;
    await session.run("ROLLBACK TO SAVEPOINT sluice_make");
    return saidBy(error);
  }
}

function tableOf(name: string, [kind, mayInsert, mayDelete, isEntangled, columns, indexes]: Shape): Table {
  const what = KINDS[kind] ?? (kind === "r" || kind === "p" ? null : "something else");
  const fault = (may: boolean, verb: string): string | null =>
    what !== null
      ? `${name} is ${what}, no table that rows can be kept in`
      : may
        ? null
        : `the user may not ${verb} rows of the table ${name}`;
  return {
    name,
    columns: new Map((columns ?? []).map((column) => [column[0], columnOf(column)])),
    fault: { insert: fault(mayInsert, "insert"), delete: fault(mayDelete, "delete") },
    isPlain:
      kind === "r" &&
      !isEntangled &&
      !(columns ?? []).some(([, , , , , hasDefault]) => hasDefault) &&
      !(indexes ?? []).some(([, isUnique]) => isUnique),
    indexes: (indexes ?? [])
      .filter(([, , isUsable]) => isUsable)
      .map(([index, isUnique, , keys]) => ({ name: index, isUnique, columns: keys })),
  };
}

const KINDS: Readonly<Record<string, string>> = {
  v: "a view",
  m: "a materialized view",
  f: "a foreign table",
  i: "an index",
  I: "an index",
  S: "a sequence",
  c: "a type",
};

function columnOf([name, type, modifier, cast, isGenerated, , isDeterministic]: ShapeColumn): TableColumn {
  const known = typeOf(type, modifier);
  // real rounds what it is compared with.
  return { name, type: known, cast, isExact: known !== null && isDeterministic && type !== 700, isGenerated };
}

/** Gives the type of a column by the numbers of pg_type.dat, which never change. */
function typeOf(type: number, modifier: number): ColumnType | null {
  switch (type) {
    case 20:
    case 21:
    case 23:
      return { kind: "INTEGER" };
    case 700:
    case 701:
      return { kind: "FLOAT" };
    case 16:
      return { kind: "BOOLEAN" };
    case 25:
      return { kind: "TEXT" };
    case 1043:
      return modifier < 4 ? { kind: "TEXT" } : { kind: "VARCHAR", length: modifier - 4 };
    case 1700: {
      const precision = ((modifier - 4) >> 16) & 0xffff;
      const scale = (modifier - 4) & 0x7ff;
      return modifier < 4 || scale > precision ? null : { kind: "DECIMAL", precision, scale };
    }
    default:
      return null;
  }
}

const isLong = ({ type }: TableColumn): boolean => type?.kind === "TEXT" || (type?.kind === "VARCHAR" && type.length > INDEXED_CHARACTERS);

/** Gives the columns of an index for deletes that name these. */
const indexedBy = (columns: readonly TableColumn[]): TableColumn[] =>
  columns.filter(({ isExact }) => isExact).slice(0, MAX_INDEXED_COLUMNS);

/** Gives the name of our index: a digest, as names joined by _ can be joined in several ways. */
const indexName = (table: string, columns: readonly TableColumn[]): string =>
  `sluice_${new Bun.CryptoHasher("sha1")
    .update(`${table} ${columns.map(({ name }) => name).join()}`)
    .digest("hex")
    .slice(0, 20)}`;

/** Tells whether an index finds few rows for these columns: all of its columns are named, and it has as many or is unique. */
const serves = (table: Table, columns: readonly TableColumn[]): boolean =>
  table.indexes.some(
    (index) =>
      index.name === indexName(table.name, columns) ||
      ((index.isUnique || index.columns.length >= columns.length) &&
        index.columns.every((name) => name !== null && columns.some((column) => column.name === name))),
  );

/**
 * Gives the conditions, beside those for equality, by which our index is used for a delete. `valueFor`: what a column is compared with; `null`:
 * with NULL; `undefined`: with either.
 */
export function indexConditions(
  table: Table,
  columns: readonly TableColumn[],
  valueFor: (column: TableColumn) => string | null | undefined,
): string[] {
  const keys = indexedBy(columns);
  if (!keys.some(isLong) || !table.indexes.some(({ name }) => name === indexName(table.name, keys))) return [];
  return keys.filter(isLong).flatMap((column) => {
    const value = valueFor(column);
    const part = `left(t.${quoted(column.name)}, ${INDEXED_CHARACTERS})`;
    if (value === undefined) return [];
    return value === null ? [`${part} IS NULL`] : [`${part} = left(${value}, ${INDEXED_CHARACTERS})`];
  });
}

const isSameType = (a: ColumnType, b: ColumnType): boolean => {
  if (a.kind === "VARCHAR") return b.kind === "VARCHAR" && a.length === b.length;
  if (a.kind === "DECIMAL") return b.kind === "DECIMAL" && a.precision === b.precision && a.scale === b.scale;
  return a.kind === b.kind;
};

/** Tells whether two lists of columns are the same. */
export const isSameColumns = (a: readonly Column[], b: readonly Column[]): boolean =>
  a.length === b.length && a.every(({ name, type }, i) => name === b[i]?.name && isSameType(type, b[i].type));

type Converter = (value: SqlValue) => string | number | null | Unfit;

/**
 * Gives what turns values of an activity with these columns into what the table's columns take, so that what was inserted is found again by
 * whatever type it is named with; or into what is wrong with them.
 */
export function converterFor(
  given: readonly Column[],
  columns: readonly TableColumn[],
): (values: readonly SqlValue[]) => (string | number | null)[] | string {
  const converters = columns.map((column, i) => converterOf((given[i] as Column).type, column));
  return (values) => {
    const result = new Array<string | number | null>(values.length);
    for (let i = 0; i < converters.length; i++) {
      const value = (converters[i] as Converter)(values[i] as SqlValue);
      if (value instanceof Unfit) {
        const { type, cast } = columns[i] as TableColumn;
        return `the column ${(given[i] as Column).name} is ${type === null ? cast : typeText(type)}: the value ${value.why}`;
      }
      result[i] = value;
    }
    return result;
  };
}

function converterOf(given: ColumnType, { type, cast }: TableColumn): Converter {
  const converted = (value: SqlValue): string | number | null | Unfit => {
    if (value === null) return null;
    const plain = typeof value === "bigint" ? String(value) : value;
    if (type === null) return given.kind === "BOOLEAN" && cast !== "numeric" ? (plain === 1 ? "true" : "false") : plain;
    const fits = fit(plain, type);
    return typeof fits === "bigint" ? String(fits) : fits;
  };
  const plain = (value: SqlValue): string | number | null => (typeof value === "bigint" ? String(value) : value);
  const convert = type !== null && isSameType(given, type) ? plain : converted;
  if (given.kind !== "TEXT" && given.kind !== "VARCHAR") return convert;
  return (value) => {
    const text = convert(value);
    if (typeof text !== "string") return text;
    if (text.includes("\0")) return new Unfit("has the character NUL (U+0000), which PostgreSQL does not keep in text");
    return text.isWellFormed() ? text : text.toWellFormed();
  };
}
