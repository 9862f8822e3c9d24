const WHOLE = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const ONE = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const TENTHS = new Intl.NumberFormat("en", { minimumFractionDigits: 1, maximumFractionDigits: 1 });
const SHORT = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const DOLLARS = new Intl.NumberFormat("en", { style: "currency", currency: "USD" });
const CENTS_PARTS = new Intl.NumberFormat("en", { style: "currency", currency: "USD", maximumFractionDigits: 9 });
const PERCENT = new Intl.NumberFormat("en", { style: "percent", maximumFractionDigits: 1 });

/** Writes a whole number with its thousands apart: `12,345`. */
export const count = (value: number): string => WHOLE.format(value);

/** Writes a number for where there is little room: `12.3K`. */
export const short = (value: number): string => (Math.abs(value) < 10_000 ? ONE.format(value) : SHORT.format(value));

/** Writes dollars: `$1,204.50`; below one dollar what there is of it, to three digits: `$0.00123`. */
export const money = (dollars: number): string =>
  Math.abs(dollars) >= 1 ? DOLLARS.format(dollars) : CENTS_PARTS.format(Number(dollars.toPrecision(3)));

/** What an amount counts: requests, what responses report, or dollars. */
export type Unit = "requests" | "units" | "usd";

/** Writes an amount by what it counts: `$25.00`, `12,345`. */
export const amount = (value: number, unit: Unit): string => (unit === "usd" ? money(value) : count(value));

/** Writes what is left of an amount. Dollars are rounded down: whoever has spent something sees less than the whole. */
export const amountLeft = (value: number, unit: Unit): string => (unit === "usd" ? money(roundedDown(value)) : count(value));

/** Rounds dollars down to what `money` writes of them. */
function roundedDown(dollars: number): number {
  const nano = Math.round(dollars * 1e9);
  if (nano <= 0) return dollars;
  const step = nano >= 1e9 ? 1e7 : 10 ** Math.max(0, String(nano).length - 3);
  return (Math.floor(nano / step) * step) / 1e9;
}

/** Writes a rate a second, so that it lines up with others: `0.0`, `7.3`, `98.1`, `1,204`. */
export const rate = (value: number): string => (value > 0 && value < 0.05 ? "< 0.1" : (value < 100 ? TENTHS : WHOLE).format(value));

/** Writes a share from 0 to 1: `99.9%`. */
export const percent = (share: number): string => PERCENT.format(share);

/** Writes milliseconds: `0.8 ms`, `340 ms`, `2.5 s`. */
export const millis = (value: number): string =>
  value >= 1000 ? `${ONE.format(value / 1000)} s` : `${(value < 10 ? ONE : WHOLE).format(value)} ms`;

const BYTES = ["B", "KB", "MB", "GB", "TB"] as const;

/** Writes a number of bytes: `12.5 MB`. */
export function bytes(value: number): string {
  const step = value < 1 ? 0 : Math.min(BYTES.length - 1, Math.floor(Math.log10(value) / 3));
  return `${ONE.format(value / 1000 ** step)} ${BYTES[step]}`;
}

const STEPS = [
  [86_400, "d"],
  [3600, "h"],
  [60, "min"],
  [1, "s"],
] as const;

/** Writes a span of seconds by its two largest units: `2 d 4 h`, `45 s`, `under 1 s`. */
export function span(seconds: number): string {
  let left = Math.round(seconds);
  if (left < 1) return "under 1 s";
  const parts: string[] = [];
  for (const [size, unit] of STEPS) {
    const many = Math.floor(left / size);
    if (many === 0) {
      if (parts.length > 0) break;
      continue;
    }
    parts.push(`${many} ${unit}`);
    left -= many * size;
    if (parts.length === 2) break;
  }
  return parts.join(" ");
}

/** Writes a window of the gateway's by its largest units: `86400s` is `1 d`. */
export const windowText = (window: string): string => (/^\d+s$/.test(window) ? span(Number.parseInt(window, 10)) : window);

/** Writes how long ago a time was, or how long it is until then: `12 s ago`, `in 3 h 5 min`. `now` in milliseconds since 1970. */
export function ago(time: string | number, now = Date.now()): string {
  const seconds = (now - new Date(time).getTime()) / 1000;
  if (seconds >= 0 && seconds < 1) return "now";
  return seconds > 0 ? `${span(seconds)} ago` : `in ${span(-seconds)}`;
}

const CLOCK = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const MINUTE = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
const DAY = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric" });

/** Writes the time of day with seconds, by the reader's time zone: `14:03:59`. */
export const clock = (time: string | number): string => CLOCK.format(new Date(time));

/** Writes the time of day: `14:03`. */
export const minute = (time: string | number): string => MINUTE.format(new Date(time));

/** Writes a day: `29 Nov 2026`. */
export const day = (time: string | number): string => DAY.format(new Date(time));

/** Writes day and time: `29 Nov 2026 14:03:59`. */
export const dateTime = (time: string | number): string => `${day(time)} ${clock(time)}`;

/** Writes a number with its noun: `1 key`, `2 keys`. */
export const counted = (many: number, one: string, more = `${one}s`): string => `${count(many)} ${many === 1 ? one : more}`;
