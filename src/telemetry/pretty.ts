import { printable } from "../values/redact.ts";

const RED = "\x1b[31m";
const GREEN = "\x1b[32m";
const YELLOW = "\x1b[33m";
const CYAN = "\x1b[36m";
const DIM = "\x1b[2m";
const PLAIN = "\x1b[0m";

const COLOURS: Readonly<Record<string, string>> = { error: RED, fatal: RED, warn: YELLOW, info: GREEN };
/** The colours of statuses, by their first digit. */
const OF_STATUS: readonly string[] = ["", "", GREEN, CYAN, YELLOW, RED];

const CONTROL = /[\0-\x1f\x7f-\x9f\u2028\u2029]/;

/** The messages of lines about one request, which have a form of their own. */
const OF_REQUESTS: readonly unknown[] = ["request", "admin request"];

/**
 * Writes a line of the log for people: times in UTC, null values left out, a request's id last. The form is `12:34:56 INFO  message
 * key=value …`, and for a request `12:34:56 401 GET /api/users/7 0.3ms keyMissing 192.0.2.1`.
 */
export function pretty(line: string, hasColour = false): string {
  const { time, level, msg, requestId, ...rest } = JSON.parse(line) as Record<string, unknown>;
  const style = (text: string, colour: string): string => (hasColour && colour !== "" ? colour + text + PLAIN : text);
  const at = style(String(time).slice(11, 19), DIM);
  const id = typeof requestId === "string" && requestId !== "" ? [style(shown(requestId), DIM)] : [];
  if (OF_REQUESTS.includes(msg) && typeof rest.status === "number") {
    const { method, path, status, latencyMs, code, consumer, ip, cache, attempts, aborted, authorize, error, limits } = rest;
    const words = [
      at,
      style(String(status), OF_STATUS[Math.floor(status / 100)] ?? ""),
      shown(method ?? "-"),
      shown(path ?? "-"),
      ...(typeof latencyMs === "number" ? [span(latencyMs)] : []),
      ...[code, consumer, ip].filter((each) => each !== null && each !== undefined).map(shown),
      ...pairsOf({
        cache,
        attempts: typeof attempts === "number" && attempts > 1 ? attempts : null,
        aborted: aborted === true ? true : null,
        limits,
        authorize,
        error,
      }),
      ...id,
    ];
    return `${words.join(" ")}\n`;
  }
  const words = [at, style(String(level).toUpperCase().padEnd(5), COLOURS[String(level)] ?? ""), String(msg), ...pairsOf(rest), ...id];
  return `${words.join(" ")}\n`;
}

const pairsOf = (fields: Readonly<Record<string, unknown>>): string[] =>
  Object.entries(fields)
    .filter(([, value]) => value !== null && value !== undefined)
    .map(([name, value]) => `${name}=${shown(value)}`);

/** Writes a value so that text from a caller or an operator can't look like a line of its own. */
const shown = (value: unknown): string => (typeof value === "string" && !CONTROL.test(value) ? value : printable(JSON.stringify(value)));

const span = (milliseconds: number): string =>
  milliseconds >= 10_000
    ? `${(milliseconds / 1000).toFixed(1)}s`
    : milliseconds >= 10
      ? `${Math.round(milliseconds)}ms`
      : `${milliseconds.toFixed(1)}ms`;
