import type { Column } from "../activity.ts";
import { type ColumnType, parseType, type SqlValue, typeText } from "../column-type.ts";

/** Describes a column as BigQuery's REST API does (TableFieldSchema). */
export interface Field {
  readonly name: string;
  readonly type: string;
  readonly mode?: string;
  readonly precision?: string;
  readonly scale?: string;
  readonly description?: string;
}

/** The columns that each table has besides those of its activities. */
export const OWN_FIELDS: readonly Field[] = [
  { name: "_op", type: "STRING", description: "What the activity does: insert, or delete." },
  { name: "_seq", type: "INTEGER", description: "The activity's place: activities of this table take effect in this order." },
  { name: "_id", type: "STRING", description: "The activity's id. Rows with one id are one activity, which came more than once." },
  { name: "_at", type: "TIMESTAMP", description: "When the activity was applied." },
  { name: "_cols", type: "STRING", description: "Of a delete: the columns that it names, by which it finds what it deletes." },
];

/** Names that BigQuery keeps for itself (https://docs.cloud.google.com/bigquery/docs/schemas#column_names), ours, and those of the view. */
const RESERVED = /^(_table_|_file_|_partition|_row_timestamp|__root__|_colidentifier)/i;
const OWN = /^(_op|_seq|_id|_at|_cols|_sluice_.*)$/i;

/** Tells why there can be no column of this name; `null`: there can. */
export function whyNoColumn(name: string): string | null {
  if (OWN.test(name)) return `the column ${name} can't be kept: Sluice's own columns in BigQuery have such names`;
  return RESERVED.test(name) ? `the column ${name} can't be kept: BigQuery keeps such names for itself` : null;
}

/**
 * Gives the column for a type. Decimals with more digits than BigQuery's types have are text. The description names the type where the
 * column alone does not.
 */
export function fieldOf({ name, type }: Column): Field {
  switch (type.kind) {
    case "INTEGER":
      return { name, type: "INTEGER" };
    case "FLOAT":
      return { name, type: "FLOAT" };
    case "BOOLEAN":
      return { name, type: "BOOLEAN" };
    case "TEXT":
      return { name, type: "STRING" };
    case "VARCHAR":
      return { name, type: "STRING", description: typeText(type) };
    case "DECIMAL": {
      const { scale } = type;
      // BigQuery wants one digit before the point at least.
      const whole = Math.max(1, type.precision - scale);
      const kind = scale <= 9 && whole <= 29 ? "NUMERIC" : scale <= 38 && whole <= 38 ? "BIGNUMERIC" : "STRING";
      const description = typeText(type);
      return kind === "STRING"
        ? { name, type: kind, description }
        : { name, type: kind, precision: String(whole + scale), scale: String(scale), description };
    }
  }
}

/** Gives the type that values of a column must fit; `null`: BigQuery is the judge, as of columns that somebody else has made. */
export function typeOf({ name, type, mode, precision, scale, description }: Field): ColumnType | null {
  if (mode === "REPEATED") return null;
  const named = description === undefined ? null : parseType(description);
  if (named !== null) {
    const as = fieldOf({ name, type: named });
    if (as.type === type && as.precision === precision && as.scale === scale) return named;
  }
  switch (type) {
    case "INTEGER":
    case "INT64":
      return { kind: "INTEGER" };
    case "FLOAT":
    case "FLOAT64":
      return { kind: "FLOAT" };
    case "BOOLEAN":
    case "BOOL":
      return { kind: "BOOLEAN" };
    case "STRING":
      return { kind: "TEXT" };
    case "NUMERIC":
      return { kind: "DECIMAL", precision: Number(precision ?? 38), scale: Number(scale ?? (precision === undefined ? 9 : 0)) };
    case "BIGNUMERIC":
      return { kind: "DECIMAL", precision: Number(precision ?? 76), scale: Number(scale ?? (precision === undefined ? 38 : 0)) };
    default:
      return null;
  }
}

/** Gives a value as JSON for a column of this type. Whole numbers that JSON's readers would round are text, which BigQuery reads as numbers. */
export function jsonOf(value: SqlValue, { kind }: ColumnType): string {
  if (value === null) return "null";
  if (kind === "BOOLEAN") return value === 1 ? "true" : "false";
  if (typeof value === "bigint") return `"${value}"`;
  return JSON.stringify(value);
}
