import { rawJson } from "../values/json.ts";

/** Lists the kinds of columns that activities may have. */
export type ColumnType =
  | { readonly kind: "INTEGER" | "TEXT" | "FLOAT" | "BOOLEAN" }
  | { readonly kind: "VARCHAR" /** Characters. */; readonly length: number }
  | { readonly kind: "DECIMAL" /** Digits in all, and of them behind the point. */; readonly precision: number; readonly scale: number };

/** Holds a value as the database takes it. Decimals are text, so that they stay exact. */
export type SqlValue = string | number | bigint | null;

export const TYPES = "INTEGER, TEXT, VARCHAR(n), FLOAT, DOUBLE, BOOLEAN or DECIMAL(p,s)";
const MAX_DIGITS = 1000;
const PLAIN = new Map<string, ColumnType>([
  ["INTEGER", { kind: "INTEGER" }],
  ["TEXT", { kind: "TEXT" }],
  ["VARCHAR", { kind: "TEXT" }],
  ["FLOAT", { kind: "FLOAT" }],
  ["DOUBLE", { kind: "FLOAT" }],
  ["BOOLEAN", { kind: "BOOLEAN" }],
]);

/** Gives the type that a text names, in large or small letters; `null` for no type. */
export function parseType(text: string): ColumnType | null {
  const plain = PLAIN.get(text);
  if (plain !== undefined) return plain;
  const found = /^\s*([A-Za-z]+)\s*(?:\(\s*(\d{1,7})\s*(?:,\s*(\d{1,4})\s*)?\))?\s*$/.exec(text);
  if (found === null) return null;
  const [, word = "", first, second] = found;
  const name = word.toUpperCase();
  if (first === undefined) return PLAIN.get(name) ?? null;
  const size = Number(first);
  if (name === "VARCHAR") return second === undefined && size > 0 ? { kind: "VARCHAR", length: size } : null;
  if (name !== "DECIMAL") return null;
  const scale = Number(second ?? 0);
  return size > 0 && size <= MAX_DIGITS && scale <= size ? { kind: "DECIMAL", precision: size, scale } : null;
}

export const typeText = (type: ColumnType): string =>
  type.kind === "VARCHAR" ? `VARCHAR(${type.length})` : type.kind === "DECIMAL" ? `DECIMAL(${type.precision},${type.scale})` : type.kind;

const NUMBER = /^([+-]?)(\d{1,1100})(?:\.(\d{0,1100}))?(?:[eE]([+-]?\d{1,4}))?$/;
const GREATEST = 2n ** 63n - 1n;
const LEAST = -(2n ** 63n);

/** Tells what is wrong with a value; a class of its own, so that no value can be taken for it. */
export class Unfit {
  constructor(readonly why: string) {}
}

/** Gives a JSON value as the database takes it in a column of this type, or what is wrong with it. `null` fits everywhere. */
export function fit(value: unknown, type: ColumnType): SqlValue | Unfit {
  if (value === null) return null;
  const raw = rawJson.isRawJSON(value);
  if (typeof value === "object" && !raw)
    return new Unfit(`must be text, a number, true, false or null, got ${Array.isArray(value) ? "a list" : "an object"}`);
  switch (type.kind) {
    case "TEXT":
      return textOf(value);
    case "VARCHAR": {
      const text = textOf(value);
      // Characters, not UTF-16 units.
      return text.length > type.length && [...text].length > type.length ? new Unfit(`has more than ${type.length} characters`) : text;
    }
    case "INTEGER": {
      if (typeof value === "number" && Number.isSafeInteger(value)) return value;
      const parts = partsOf(value);
      if (parts === null || parts.scale > 0) return new Unfit(`must be a whole number, got ${shown(value)}`);
      if (parts.digits > GREATEST || parts.digits < LEAST) return new Unfit("must be a whole number of 64 bits");
      const { digits } = parts;
      return digits >= Number.MIN_SAFE_INTEGER && digits <= Number.MAX_SAFE_INTEGER ? Number(digits) : digits;
    }
    case "FLOAT": {
      if (typeof value === "number") return value;
      const text = typeof value === "boolean" ? "" : textOf(value).trim();
      const number = NUMBER.test(text) ? Number(text) : Number.NaN;
      return Number.isFinite(number) ? number : new Unfit(`must be a number, got ${shown(value)}`);
    }
    case "BOOLEAN": {
      const word = textOf(value).toLowerCase();
      if (word === "true" || word === "1") return 1;
      if (word === "false" || word === "0") return 0;
      return new Unfit(`must be true or false, got ${shown(value)}`);
    }
    case "DECIMAL": {
      const parts = partsOf(value);
      if (parts === null) return new Unfit(`must be a decimal number, got ${shown(value)}`);
      if (parts.scale > type.scale) return new Unfit(`has ${parts.scale} digits behind the point, ${typeText(type)} takes ${type.scale}`);
      const digits = String(parts.digits < 0n ? -parts.digits : parts.digits) + "0".repeat(type.scale - parts.scale);
      const whole = digits.length > type.scale ? digits.slice(0, digits.length - type.scale) : "0";
      if (whole !== "0" && whole.length > type.precision - type.scale)
        return new Unfit(`has ${whole.length} digits before the point, ${typeText(type)} takes ${type.precision - type.scale}`);
      const fraction = type.scale === 0 ? "" : `.${digits.slice(-type.scale).padStart(type.scale, "0")}`;
      return `${parts.digits < 0n ? "-" : ""}${whole}${fraction}`;
    }
  }
}

/** Gives a number without its point: `digits` × 10^-`scale`, with as few digits behind the point as it needs. */
function partsOf(value: unknown): { digits: bigint; scale: number } | null {
  if (typeof value === "boolean") return null;
  const found = NUMBER.exec(textOf(value).trim());
  if (found === null) return null;
  const [, sign = "", whole = "", fraction = "", exponent = "0"] = found;
  const shift = Number(exponent);
  if (Math.abs(shift) > MAX_DIGITS) return null;
  let text = whole + fraction;
  let scale = fraction.length - shift;
  if (scale < 0) {
    text += "0".repeat(-scale);
    scale = 0;
  }
  let cut = text.length;
  while (scale > 0 && (cut === 0 || text[cut - 1] === "0")) {
    if (cut > 0) cut--;
    scale--;
  }
  const digits = BigInt(text.slice(0, cut) === "" ? "0" : text.slice(0, cut));
  return { digits: sign === "-" ? -digits : digits, scale: digits === 0n ? 0 : scale };
}

const textOf = (value: unknown): string => (typeof value === "string" ? value : rawJson.isRawJSON(value) ? value.rawJSON : String(value));

function shown(value: unknown): string {
  const text = typeof value === "string" ? JSON.stringify(value) : textOf(value);
  return text.length > 60 ? `${text.slice(0, 57)}…` : text;
}
