import { Fields, lowerName } from "./fields.ts";
import { dashedName } from "./name-filter.ts";

/** Holds the trailer fields of a chunked message (RFC 9110 §6.5), without those that must not stand there. */
export type Trailers = Fields;

/** Tells whether a trailer field of this lower-case name goes on to the next hop. */
export type KeepsTrailer = (lower: string) => boolean;

/**
 * Fields that are never taken from a trailer section (RFC 9110 §6.5.1): those that frame or route the message, modify the request,
 * authenticate, say how the content is read, or control caches. A recipient that merges trailers into the header would let a sender say
 * these things after everybody who decides by them has decided.
 */
const FORBIDDEN = new Set([
  ...["transfer-encoding", "content-length", "trailer", "te", "host", "connection", "keep-alive", "proxy-connection", "upgrade", "expect"],
  ...[
    "content-encoding",
    "content-type",
    "content-range",
    "content-location",
    "range",
    "max-forwards",
    "pragma",
    "location",
    "retry-after",
  ],
  ...[
    "if-match",
    "if-none-match",
    "if-modified-since",
    "if-unmodified-since",
    "if-range",
    "cache-control",
    "age",
    "date",
    "expires",
    "vary",
  ],
  ...["authorization", "proxy-authorization", "proxy-authenticate", "www-authenticate", "cookie", "set-cookie", "warning", "forwarded"],
  ...["traceparent", "tracestate", "idempotency-key"],
]);
/**
 * Fields in which gateways describe a caller or a path, in whatever spelling a backend could take for them: nobody behind one believes them
 * from a trailer.
 */
const SAID_BY_GATEWAYS =
  /^(x-(consumer|forwarded|original|real-ip|request-id|retry-count|api-key|process-time|http-method)|access-control-|ratelimit|x-ratelimit)/;

const CONTROL = /[\0-\x08\x0b\x0c\x0e-\x1f\x7f]/;

/** Reads trailer lines, each ended by LF alone. Gives `null` when nothing is left of them, or "malformed". */
export function parseTrailers(text: string): Trailers | null | "malformed" {
  if (CONTROL.test(text)) return "malformed";
  let fields: Trailers | null = null;
  for (const line of text.split("\n")) {
    if (line === "") continue;
    const colon = line.indexOf(":");
    const name = colon < 0 ? "" : line.slice(0, colon);
    const lower = lowerName(name);
    if (lower === null) return "malformed";
    if (FORBIDDEN.has(lower) || SAID_BY_GATEWAYS.test(dashedName(lower))) continue;
    fields ??= new Fields();
    fields.add(name, lower, line.slice(colon + 1).trim());
  }
  return fields;
}

/** Makes the end of a chunked body with these trailers. */
export function lastChunk(trailers: Trailers, keeps: KeepsTrailer | null): Buffer {
  let text = "0\r\n";
  for (let i = 0; i < trailers.names.length; i++)
    if (keeps === null || keeps(trailers.lower[i] as string)) text += `${trailers.names[i]}: ${trailers.values[i]}\r\n`;
  return Buffer.from(`${text}\r\n`, "latin1");
}
