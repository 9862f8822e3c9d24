const MILLISECONDS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };
const BYTES: Readonly<Record<string, number>> = { b: 1, kb: 1024, mb: 1024 ** 2, gb: 1024 ** 3 };

export const DURATION_PATTERN = "^[0-9]{1,9}(ms|s|m|h|d)$";
export const SIZE_PATTERN = "^[0-9]{1,9}(b|kb|mb|gb)$";

/**
 * Gives the milliseconds of a duration such as "250ms", "30s", "5m", "1h", "30d". Throws for anything else.
 *
 * @example
 * parseDuration("5m"); // 300_000
 */
export function parseDuration(text: string): number {
  const parts = /^(\d{1,9})(ms|s|m|h|d)$/.exec(text);
  if (parts === null) throw new Error(`${JSON.stringify(text)} is not a duration such as "250ms", "30s", "5m", "1h" or "30d"`);
  return Number(parts[1]) * (MILLISECONDS[parts[2] as string] as number);
}

/**
 * Gives the bytes of a size such as "512b", "64kb", "10mb", "1gb"; a kilobyte has 1,024. Throws for anything else.
 *
 * @example
 * parseSize("64kb"); // 65_536
 */
export function parseSize(text: string): number {
  const parts = /^(\d{1,9})(b|kb|mb|gb)$/.exec(text);
  if (parts === null) throw new Error(`${JSON.stringify(text)} is not a size such as "512b", "64kb", "10mb" or "1gb"`);
  return Number(parts[1]) * (BYTES[parts[2] as string] as number);
}

const RFC3339 = /^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)$/;

/** Gives the milliseconds since 1970 of an RFC 3339 time, or `null` when `text` is no such time. */
export function parseTime(text: string): number | null {
  if (!RFC3339.test(text)) return null;
  const time = Date.parse(text.toUpperCase());
  // Date.parse takes 30 February for 2 March.
  const [year, month, day] = text.slice(0, 10).split("-").map(Number) as [number, number, number];
  const isDay = new Date(Date.UTC(year, month - 1, day)).getUTCDate() === day;
  return Number.isNaN(time) || !isDay ? null : time;
}
