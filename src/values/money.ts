/** Whole nano-dollars in a dollar: the unit in which money is counted everywhere inside. */
export const NANO = 1_000_000_000;
/** The most that one amount may be, in nano-dollars: just below a million dollars, which is what a structured field's integer holds (RFC 9651 §3.3.1). */
export const MAX_NANO = 999_999_999_999_999;

/** Amounts in dollars as people write them: "25", "25.00", "0.000000001". */
export const DOLLARS = "^(0|[1-9][0-9]{0,5})(\\.[0-9]{1,9})?$";

const FORM = new RegExp(DOLLARS);

/**
 * Reads an amount in dollars as whole nano-dollars. `null`: it is none.
 *
 * @example
 * nanoOf("25.00"); // 25000000000
 */
export function nanoOf(dollars: string): number | null {
  if (!FORM.test(dollars)) return null;
  const [whole = "", part = ""] = dollars.split(".");
  return Number(whole) * NANO + Number(part.padEnd(9, "0"));
}

/**
 * Writes whole nano-dollars as an amount in dollars, without zeros at its end.
 *
 * @example
 * dollarsOf(1_250_000); // "0.00125"
 */
export function dollarsOf(nano: number): string {
  const sign = nano < 0 ? "-" : "";
  const digits = String(Math.abs(Math.round(nano))).padStart(10, "0");
  const part = digits.slice(-9).replace(/0+$/, "");
  return `${sign}${digits.slice(0, -9)}${part === "" ? "" : `.${part}`}`;
}
