import { Fields, isToken, lowerName } from "./fields.ts";

/** The bytes that end a head (RFC 9112 §2.1). */
export const HEAD_END = Buffer.from("\r\n\r\n");

/** Says how the length of a message's body is known (RFC 9112 §6.3). `close`: it ends with the connection. */
export type Framing = "none" | "length" | "chunked" | "close";

export interface RequestHead {
  readonly method: string;
  /** The request target as it was sent. */
  readonly target: string;
  /** 1 for HTTP/1.1, 0 for HTTP/1.0. */
  readonly minor: 0 | 1;
  readonly fields: Fields;
  readonly host: string;
  readonly framing: "none" | "length" | "chunked";
  /** Bytes of the body, or -1 when it is chunked. */
  readonly contentLength: number;
  readonly keepAlive: boolean;
  /** The value of `Connection` in lower case, or "" without one: names further fields that are for this hop only. */
  readonly connection: string;
  /** The protocol that an `Upgrade` field asks for when `Connection` names it, in lower case, or "". */
  readonly upgrade: string;
  readonly expectsContinue: boolean;
}

export interface ResponseHead {
  readonly status: number;
  readonly reason: string;
  readonly minor: 0 | 1;
  readonly fields: Fields;
  readonly framing: Framing;
  readonly contentLength: number;
  /** True when the head speaks of a body that must not follow: an answer to HEAD, a 304. */
  readonly statesBody: boolean;
  readonly keepAlive: boolean;
  readonly connection: string;
}

/** Says why a message's head was refused: the status that RFC 9112 names for it and a sentence for whoever sent it. */
export class HeadFault {
  constructor(
    readonly status: 400 | 408 | 417 | 431 | 501 | 505,
    readonly detail: string,
  ) {}
}

// A bare CR or another control character in a head is how smuggling begins: RFC 9112 §2.2, RFC 9110 §5.5.
const FORBIDDEN = /[\0-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?!\n)/;
const TARGET = /^[\x21-\x7e\x80-\xff]+$/;
// RFC 3986 §3.2.2 without the comma, so that two hosts joined into one field can't pass for one.
const HOST = /^(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~%!$&'()*+;=-]*)(?::\d{0,5})?$/;
/** Tells whether `text` may stand in a request line as its target. */
export const isTarget = (text: string): boolean => TARGET.test(text);

/** Tells whether `text` is a host name or an address, with or without a port. */
export const isHost = (text: string): boolean => HOST.test(text);

const LENGTH = /^\d{1,15}$/;

interface Framed {
  contentLength: number;
  chunked: boolean;
  connection: string;
  host: string | null;
  upgrade: string;
  expect: string;
}

/**
 * Reads a request's head: all before the empty line, each line ended by CRLF but the last.
 * Stricter than it must be wherever leniency has led to request smuggling: no line folding, no space before a colon,
 * no second `Host` or differing `Content-Length`, no `Content-Length` beside `Transfer-Encoding`.
 */
export function parseRequestHead(text: string): RequestHead | HeadFault {
  if (FORBIDDEN.test(text)) return new HeadFault(400, "The request's head holds a control character.");
  let end = text.indexOf("\r\n");
  if (end < 0) end = text.length;
  const methodEnd = text.indexOf(" ");
  const targetEnd = text.indexOf(" ", methodEnd + 1);
  if (methodEnd <= 0 || targetEnd < 0 || targetEnd > end)
    return new HeadFault(400, "The request line must be METHOD SP TARGET SP HTTP/1.1.");
  const method = text.slice(0, methodEnd);
  const target = text.slice(methodEnd + 1, targetEnd);
  const version = text.slice(targetEnd + 1, end);
  if (!isToken(method) || !TARGET.test(target)) return new HeadFault(400, "The request line must be METHOD SP TARGET SP HTTP/1.1.");
  if (version !== "HTTP/1.1" && version !== "HTTP/1.0") {
    return /^HTTP\/\d\.\d$/.test(version)
      ? new HeadFault(505, "Only HTTP/1.1 and HTTP/1.0 are spoken here.")
      : new HeadFault(400, "The request line must end with HTTP/1.1.");
  }
  const minor = version === "HTTP/1.1" ? 1 : 0;

  const fields = new Fields();
  const framed: Framed = { contentLength: -1, chunked: false, connection: "", host: null, upgrade: "", expect: "" };
  const fault = readFields(text, end + 2, fields, framed);
  if (fault) return fault;

  if (framed.host === null && minor === 1) return new HeadFault(400, "A request needs exactly one Host field.");
  if (framed.chunked && minor === 0) return new HeadFault(400, "HTTP/1.0 has no Transfer-Encoding.");
  // RFC 9112 §3.2.2: the authority of an absolute-form target stands for Host, whatever that says.
  const authority = /^https?:\/\/([^/?#]*)/i.exec(target)?.[1];
  if (authority !== undefined && (authority === "" || !HOST.test(authority)))
    return new HeadFault(400, "The request target's host is malformed.");
  const connection = framed.connection;
  const keepAlive = minor === 1 ? !hasOption(connection, "close") : hasOption(connection, "keep-alive");
  if (framed.expect !== "" && framed.expect !== "100-continue")
    return new HeadFault(417, "The only expectation known here is 100-continue.");
  return {
    method,
    target,
    minor,
    fields,
    host: authority ?? framed.host ?? "",
    framing: framed.chunked ? "chunked" : framed.contentLength > 0 ? "length" : "none",
    contentLength: framed.chunked ? -1 : framed.contentLength,
    keepAlive,
    connection,
    // RFC 9110 §7.8: an HTTP/1.0 client's Upgrade is ignored.
    upgrade: minor === 1 && framed.upgrade !== "" && hasOption(connection, "upgrade") ? framed.upgrade : "",
    expectsContinue: framed.expect !== "" && minor === 1,
  };
}

/** Reads a response's head. `method` is the request's: it decides whether a body follows (RFC 9112 §6.3). */
export function parseResponseHead(text: string, method: string): ResponseHead | HeadFault {
  if (FORBIDDEN.test(text)) return new HeadFault(400, "control character in the response's head");
  let end = text.indexOf("\r\n");
  if (end < 0) end = text.length;
  const version = text.slice(0, 9);
  const status = Number(text.slice(9, 12));
  if ((version !== "HTTP/1.1 " && version !== "HTTP/1.0 ") || !(status >= 100 && status <= 999) || (end > 12 && text[12] !== " ")) {
    return new HeadFault(400, "malformed status line");
  }
  const minor = version === "HTTP/1.1 " ? 1 : 0;
  const fields = new Fields();
  const framed: Framed = { contentLength: -1, chunked: false, connection: "", host: "", upgrade: "", expect: "" };
  const fault = readFields(text, end + 2, fields, framed, true);
  if (fault) return fault;
  // RFC 9112 §6.1: HTTP/1.0 knows no transfer codings, so that such a message's framing is faulty.
  if (framed.chunked && minor === 0) return new HeadFault(400, "HTTP/1.0 has no Transfer-Encoding.");
  const bodiless = method === "HEAD" || status === 204 || status === 304 || status < 200;
  return {
    status,
    reason: text.slice(13, end),
    minor,
    fields,
    framing: bodiless || framed.contentLength === 0 ? "none" : framed.chunked ? "chunked" : framed.contentLength > 0 ? "length" : "close",
    contentLength: framed.contentLength,
    statesBody: bodiless && (framed.chunked || framed.contentLength > 0),
    keepAlive: minor === 1 ? !hasOption(framed.connection, "close") : hasOption(framed.connection, "keep-alive"),
    connection: framed.connection,
  };
}

/** Tells whether a comma-separated, lower-case field value holds this option. */
export function hasOption(value: string, option: string): boolean {
  if (value === option) return true;
  if (value === "" || !value.includes(option)) return false;
  return value.split(",").some((part) => part.trim() === option);
}

function readFields(text: string, from: number, fields: Fields, framed: Framed, isResponse = false): HeadFault | null {
  let at = from;
  while (at < text.length) {
    let end = text.indexOf("\n", at);
    if (end < 0) end = text.length;
    else if (text.charCodeAt(end - 1) !== 13) return new HeadFault(400, "Lines end with CRLF.");
    else end--;
    const colon = text.indexOf(":", at);
    if (colon < 0 || colon >= end) return new HeadFault(400, "A header line has no colon.");
    const name = text.slice(at, colon);
    const lower = lowerName(name);
    if (lower === null) return new HeadFault(400, "A header's name holds a character that is not allowed there, or a line is folded.");
    const value = trimmed(text, colon + 1, end);
    fields.add(name, lower, value);
    switch (lower) {
      case "content-length": {
        if (!LENGTH.test(value)) return new HeadFault(400, "Content-Length must be one whole number of bytes.");
        const length = Number(value);
        if (framed.contentLength >= 0 && framed.contentLength !== length) return new HeadFault(400, "Two Content-Length fields disagree.");
        framed.contentLength = length;
        break;
      }
      case "transfer-encoding":
        if (framed.chunked || value.toLowerCase() !== "chunked")
          return new HeadFault(501, "The only transfer coding known here is chunked.");
        framed.chunked = true;
        break;
      case "connection":
        framed.connection = framed.connection === "" ? value.toLowerCase() : `${framed.connection}, ${value.toLowerCase()}`;
        break;
      case "host":
        if (isResponse) break;
        if (framed.host !== null) return new HeadFault(400, "A request needs exactly one Host field.");
        if (!HOST.test(value)) return new HeadFault(400, "Host must be a host name or address, with a port if need be.");
        framed.host = value;
        break;
      case "upgrade":
        framed.upgrade = value.toLowerCase();
        break;
      case "expect":
        framed.expect = value.toLowerCase();
        break;
    }
    at = end + 2;
  }
  // RFC 9112 §6.1: a message with both is either an attempt at smuggling or a fault; a request is refused, and so is a response.
  if (framed.chunked && framed.contentLength >= 0) return new HeadFault(400, "Content-Length and Transfer-Encoding exclude each other.");
  return null;
}

/** Gives the text between two positions without the spaces and tabs around it (OWS, RFC 9110 §5.6.3). */
function trimmed(text: string, from: number, to: number): string {
  let start = from;
  let end = to;
  while (start < end && isBlank(text.charCodeAt(start))) start++;
  while (end > start && isBlank(text.charCodeAt(end - 1))) end--;
  return text.slice(start, end);
}

const isBlank = (code: number): boolean => code === 32 || code === 9;
