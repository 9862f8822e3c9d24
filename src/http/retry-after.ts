/** Gives the milliseconds of a Retry-After field (RFC 9110 §10.2.3): seconds or a date. `null` for none and for what is neither. `now` in milliseconds since 1970. */
export function retryAfterOf(value: string | null, now: number): number | null {
  if (value === null) return null;
  if (/^\d{1,9}$/.test(value)) return Number(value) * 1000;
  const at = Date.parse(value);
  return Number.isNaN(at) ? null : Math.max(0, at - now);
}
