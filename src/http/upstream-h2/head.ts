import type { Origin } from "../client.ts";
import { Fields, nameAt } from "../fields.ts";
import { setsOwnCookie } from "../own-cookies.ts";

/** Fields of HTTP/1.1 alone: they say how its messages are framed and what its connections are used for (RFC 9113 §8.2.2). */
const OF_HTTP1: ReadonlySet<string> = new Set([
  "connection",
  "transfer-encoding",
  "keep-alive",
  "proxy-connection",
  "upgrade",
  "http2-settings",
]);

// RFC 9113 §8.2.1, RFC 9110 §5.5: in HTTP/1.1, in which it may go on, such a value would be more than one line.
const FORBIDDEN = /[\0-\x08\x0a-\x1f\x7f]/;
const LENGTH = /^\d{1,15}$/;

/** Holds the fields of a request as node:http2 takes them. */
export type H2Headers = Record<string, string>;

/** What a request's media type begins with that is a gRPC call. */
const GRPC = "application/grpc";

/** Writes the fields that a request with this HTTP/1.1 head has in HTTP/2. */
export function headersOf(head: string, origin: Origin): H2Headers {
  const line = head.indexOf("\r\n");
  const method = head.indexOf(" ");
  const headers: H2Headers = Object.create(null);
  headers[":method"] = head.slice(0, method);
  headers[":scheme"] = origin.tls ? "https" : "http";
  headers[":authority"] = "";
  headers[":path"] = head.slice(method + 1, head.lastIndexOf(" ", line));
  for (let at = line + 2; at < head.length - 2; ) {
    const end = head.indexOf("\r\n", at);
    const colon = head.indexOf(":", at);
    const lower = nameAt(head, at, colon)?.lower;
    const value = head.slice(head.charCodeAt(colon + 1) === 32 ? colon + 2 : colon + 1, end);
    at = end + 2;
    if (lower === undefined || OF_HTTP1.has(lower)) continue;
    if (lower === "host") headers[":authority"] = value;
    else if (lower !== "te" || value === "trailers") addTo(headers, lower, value);
  }
  // Servers of gRPC refuse calls whose sender might lose the trailers.
  if (isGrpc(headers)) headers.te = "trailers";
  return headers;
}

/** Tells whether these are the fields of a gRPC call. */
export const isGrpc = (headers: H2Headers): boolean => headers["content-type"]?.startsWith(GRPC) === true;

/** Adds a field. Of several that have one name HTTP/2's libraries take one value alone: they are joined (RFC 9110 §5.3, RFC 9113 §8.2.3). */
function addTo(headers: H2Headers, lower: string, value: string): void {
  const known = headers[lower];
  headers[lower] = known === undefined ? value : `${known}${lower === "cookie" ? ";" : ","} ${value}`;
}

/** Holds the head of an answer. */
export interface H2Head {
  readonly status: number;
  readonly fields: Fields;
  /** Bytes of the body as stated, or -1. */
  readonly length: number;
}

/** Reads the fields of an answer, names and values in turn. Gives what is wrong with them where they can't go on. */
export function readHead(raw: readonly string[]): H2Head | string {
  const fields = new Fields();
  let status = 0;
  let length = -1;
  for (let i = 0; i < raw.length; i += 2) {
    const name = raw[i] as string;
    const value = (raw[i + 1] as string).trim();
    if (FORBIDDEN.test(value)) return "control character in the response's head";
    if (name === ":status") {
      status = Number(value);
      continue;
    }
    const known = nameAt(name, 0, name.length);
    if (known === null) return "malformed name in the response's head";
    if (OF_HTTP1.has(known.lower) || (known.lower === "set-cookie" && setsOwnCookie(value))) continue;
    if (known.lower === "content-length") {
      if (!LENGTH.test(value) || (length >= 0 && Number(value) !== length)) return "malformed Content-Length";
      length = Number(value);
    }
    fields.add(known.name, known.lower, value);
  }
  return status >= 100 && status <= 599 ? { status, fields, length } : "malformed status";
}

/** Writes the trailer section of an answer as `parseTrailers` reads it; `null`: it can't go on. */
export function trailerText(raw: readonly string[]): string | null {
  let text = "";
  for (let i = 0; i < raw.length; i += 2) {
    if ((raw[i] as string).startsWith(":") || FORBIDDEN.test(raw[i + 1] as string)) return null;
    text += `${raw[i]}: ${raw[i + 1]}\n`;
  }
  return text;
}

/** Gives trailers as node:http2 takes them. */
export function trailerHeaders({ lower, values }: Fields, keeps: ((lower: string) => boolean) | null): H2Headers {
  const headers: H2Headers = Object.create(null);
  for (let i = 0; i < lower.length; i++)
    if (keeps === null || keeps(lower[i] as string)) addTo(headers, lower[i] as string, values[i] as string);
  return headers;
}
