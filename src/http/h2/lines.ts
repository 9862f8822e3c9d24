import { nameAt } from "../fields.ts";
import type { KeepsTrailer, Trailers } from "../trailers.ts";

/** Fields of a hop of HTTP/1.1, which have no place in HTTP/2 (RFC 9113 §8.2.2). */
const OF_HTTP1: ReadonlySet<string> = new Set(["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"]);

/** Tells whether a field of this lower-case name belongs to a hop of HTTP/1.1. */
export const isOfHttp1 = (lower: string): boolean => OF_HTTP1.has(lower);

/** Writes names and values in turn as lines, each ended by LF. */
export function linesOf(raw: readonly string[]): string {
  let lines = "";
  for (let i = 0; i < raw.length; i += 2) lines += `${raw[i]}: ${raw[i + 1]}\n`;
  return lines;
}

/** Appends header lines, each ended by CRLF, to names and values in turn, as HTTP/2 has them. */
export function addLines(pairs: (string | number)[], lines: string): void {
  let at = 0;
  while (at < lines.length) {
    let end = lines.indexOf("\r\n", at);
    if (end < 0) end = lines.length;
    const colon = lines.indexOf(":", at);
    if (colon > at && colon < end) {
      const name = nameAt(lines, at, colon);
      if (name !== null && !OF_HTTP1.has(name.lower)) pairs.push(name.lower, lines.slice(colon + 1, end).trim());
    }
    at = end + 2;
  }
}

/** Gives names and values in turn as an object: a name that comes more than once has a list. node:http2 takes lists of pairs for answers alone. */
export function gathered(pairs: readonly (string | number)[]): Record<string, string | string[]> {
  // Without a prototype, whose names a field may have.
  const all: Record<string, string | string[]> = Object.create(null);
  for (let i = 0; i < pairs.length; i += 2) {
    const name = String(pairs[i]);
    const value = String(pairs[i + 1]);
    const before = all[name];
    all[name] = before === undefined ? value : typeof before === "string" ? [before, value] : [...before, value];
  }
  return all;
}

/** Gives trailers as node:http2 takes them. */
export const trailersOf = ({ lower, values }: Trailers, keeps: KeepsTrailer | null): Record<string, string | string[]> =>
  gathered(lower.flatMap((name, i) => (keeps === null || keeps(name) ? [name, values[i] as string] : [])));
