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

/** Gives trailers as node:http2 takes them: a name that comes twice has a list. */
export function trailersOf({ lower, values }: Trailers, keeps: KeepsTrailer | null): Record<string, string | string[]> {
  const all: Record<string, string | string[]> = Object.create(null);
  for (let i = 0; i < lower.length; i++) {
    const name = lower[i] as string;
    if (keeps !== null && !keeps(name)) continue;
    const value = values[i] as string;
    const before = all[name];
    all[name] = before === undefined ? value : [...(typeof before === "string" ? [before] : before), value];
  }
  return all;
}
