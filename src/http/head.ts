import { Fields, isToken, nameAt } from "./fields.ts";
import { latin1Of } from "./latin1.ts";
import { mayHoldOwnCookie, setsOwnCookie } from "./own-cookies.ts";

/** The bytes that end a head (RFC 9112 §2.1). */
const HEAD_END = Buffer.from("\r\n\r\n");

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
  /** True where a Cookie field may hold a cookie of Sluice's own, which no backend gets. */
  readonly mayHoldOwnCookie: boolean;
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

/** Holds what header lines say of a message's framing and of its connection. */
interface Framed {
  contentLength: number;
  chunked: boolean;
  connection: string;
  host: string | null;
  upgrade: string;
  expect: string;
  mayHoldOwnCookie: boolean;
}

/** Holds header lines that were read: each further message with the same lines gets their fields. */
interface Lines {
  /** From the CRLF before the first line to the one behind the last. */
  readonly text: string;
  readonly fields: Fields;
  readonly framed: Readonly<Framed>;
}

const CRLF = "\r\n";
/** Bytes of a first line with which the lines behind it are compared with the last ones before the head's end is looked for. */
const FIRST_LINE = 512;

/**
 * Reads the heads of messages that one sender sends one after the other. Header lines that are the same as the last ones are recognised and
 * not read again: most clients send the same ones all the time.
 */
export class HeadReader {
  private last: Lines | null = null;
  private text = "";

  /** `isOfBackend`: it reads responses of somebody who may not set Sluice's own cookies, so that these are left out. */
  constructor(private readonly isOfBackend = false) {}

  /**
   * Finds the head that `bytes` begin with. Gives the number of bytes before the CRLF CRLF that ends it, or -1 when that has not come.
   * `from`: the number of bytes that are known to hold no end.
   */
  find(bytes: Buffer, from = 0): number {
    const { last } = this;
    if (last !== null && from === 0) {
      const text = latin1Of(bytes, 0, Math.min(bytes.length, FIRST_LINE + last.text.length));
      const line = text.indexOf(CRLF);
      const end = line + last.text.length;
      if (line > 0 && text.startsWith(last.text, line) && text.startsWith(CRLF, end)) {
        this.text = text.slice(0, end);
        return end - CRLF.length;
      }
    }
    const end = bytes.indexOf(HEAD_END, from);
    if (end >= 0) this.text = latin1Of(bytes, 0, end + CRLF.length);
    return end;
  }

  /** Reads the head that was found, as a request's. */
  request(): RequestHead | HeadFault {
    return readRequest(this.text, this);
  }

  /** Reads the head that was found, as that of the response to a request with this method, which decides whether a body follows. */
  response(method: string): ResponseHead | HeadFault {
    return readResponse(this.text, method, this);
  }

  /** Forgets the last lines, for a connection that is idle. */
  forget(): void {
    this.last = null;
    this.text = "";
  }

  /** Gives the last lines where a head whose first line ends at `end` has the same; `null`: they have to be read. */
  same(text: string, end: number): Lines | null {
    const { last } = this;
    return last !== null && end + last.text.length === text.length && text.endsWith(last.text) ? last : null;
  }

  /** Reads the header lines of a head whose first line ends at `end`. */
  read(text: string, end: number, isResponse: boolean): Lines | HeadFault {
    const fields = new Fields();
    const framed: Framed = {
      ...{ contentLength: -1, chunked: false, connection: "", host: isResponse ? "" : null, upgrade: "", expect: "" },
      mayHoldOwnCookie: false,
    };
    const fault = readFields(text, end + CRLF.length, fields, framed, isResponse);
    if (fault === null && framed.mayHoldOwnCookie && isResponse && this.isOfBackend)
      fields.replace("set-cookie", (value) => (setsOwnCookie(value) ? null : value));
    if (fault !== null) return fault;
    this.last = { text: text.slice(end), fields, framed };
    return this.last;
  }
}

/** Reads a request's head: all before the empty line, each line ended by CRLF but the last. */
export const parseRequestHead = (text: string): RequestHead | HeadFault => readRequest(ended(text), new HeadReader());

/** Reads a response's head. `method` is the request's: it decides whether a body follows (RFC 9112 §6.3). */
export const parseResponseHead = (text: string, method: string): ResponseHead | HeadFault =>
  readResponse(ended(text), method, new HeadReader());

const ended = (text: string): string => (text.endsWith(CRLF) ? text : text + CRLF);

const NO_REQUEST_LINE = "The request line must be METHOD SP TARGET SP HTTP/1.1.";
const HOLDS_CONTROL = "The request's head holds a control character.";

/** Makes the fault of a request line that is malformed. */
const faultOf = (text: string, detail: string): HeadFault => new HeadFault(400, FORBIDDEN.test(text) ? HOLDS_CONTROL : detail);

/**
 * Reads a request's head. Stricter than it must be wherever leniency has led to request smuggling: no line folding, no space before a
 * colon, no second `Host` or differing `Content-Length`, no `Content-Length` beside `Transfer-Encoding`.
 */
function readRequest(text: string, reader: HeadReader): RequestHead | HeadFault {
  const end = text.indexOf(CRLF);
  const same = reader.same(text, end);
  // In lines that were read before there is no control character, and one in the request line is refused below.
  if (same === null && FORBIDDEN.test(text)) return new HeadFault(400, HOLDS_CONTROL);
  const methodEnd = text.indexOf(" ");
  const targetEnd = text.indexOf(" ", methodEnd + 1);
  if (methodEnd <= 0 || targetEnd < 0 || targetEnd > end) return faultOf(text, NO_REQUEST_LINE);
  const method = text.startsWith("GET ") ? "GET" : text.slice(0, methodEnd);
  const target = text.slice(methodEnd + 1, targetEnd);
  if (!isToken(method) || !TARGET.test(target)) return faultOf(text, NO_REQUEST_LINE);
  const minor = text.startsWith(" HTTP/1.1\r\n", targetEnd) ? 1 : 0;
  if (minor === 0 && !text.startsWith(" HTTP/1.0\r\n", targetEnd)) {
    return /^HTTP\/\d\.\d$/.test(text.slice(targetEnd + 1, end))
      ? new HeadFault(505, "Only HTTP/1.1 and HTTP/1.0 are spoken here.")
      : faultOf(text, "The request line must end with HTTP/1.1.");
  }

  const lines = same ?? reader.read(text, end, false);
  if (lines instanceof HeadFault) return lines;
  const { framed } = lines;
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
    fields: lines.fields.shared(),
    host: authority ?? framed.host ?? "",
    framing: framed.chunked ? "chunked" : framed.contentLength > 0 ? "length" : "none",
    contentLength: framed.chunked ? -1 : framed.contentLength,
    keepAlive,
    connection,
    // RFC 9110 §7.8: an HTTP/1.0 client's Upgrade is ignored.
    upgrade: minor === 1 && framed.upgrade !== "" && hasOption(connection, "upgrade") ? framed.upgrade : "",
    expectsContinue: framed.expect !== "" && minor === 1,
    mayHoldOwnCookie: framed.mayHoldOwnCookie,
  };
}

function readResponse(text: string, method: string, reader: HeadReader): ResponseHead | HeadFault {
  const end = text.indexOf(CRLF);
  const same = reader.same(text, end);
  // Nearly all responses begin so.
  const isOk = text.startsWith("HTTP/1.1 200 OK\r\n");
  if ((same === null || !isOk) && FORBIDDEN.test(text)) return new HeadFault(400, "control character in the response's head");
  const version = isOk ? "HTTP/1.1 " : text.slice(0, 9);
  const status = isOk ? 200 : Number(text.slice(9, 12));
  if ((version !== "HTTP/1.1 " && version !== "HTTP/1.0 ") || !(status >= 100 && status <= 999) || (end > 12 && text[12] !== " ")) {
    return new HeadFault(400, "malformed status line");
  }
  const minor = version === "HTTP/1.1 " ? 1 : 0;
  const lines = same ?? reader.read(text, end, true);
  if (lines instanceof HeadFault) return lines;
  const { framed } = lines;
  // RFC 9112 §6.1: HTTP/1.0 knows no transfer codings, so that such a message's framing is faulty.
  if (framed.chunked && minor === 0) return new HeadFault(400, "HTTP/1.0 has no Transfer-Encoding.");
  const bodiless = method === "HEAD" || status === 204 || status === 304 || status < 200;
  return {
    status,
    reason: isOk ? "OK" : text.slice(13, end),
    minor,
    fields: lines.fields.shared(),
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

function readFields(text: string, from: number, fields: Fields, framed: Framed, isResponse: boolean): HeadFault | null {
  const starts = [from];
  /** True while each line stands there as it would be written. */
  let isPlain = true;
  let at = from;
  while (at < text.length) {
    const end = text.indexOf("\n", at) - 1;
    if (text.charCodeAt(end) !== 13) return new HeadFault(400, "Lines end with CRLF.");
    const colon = text.indexOf(":", at);
    if (colon < 0 || colon >= end) return new HeadFault(400, "A header line has no colon.");
    const name = nameAt(text, at, colon);
    if (name === null) return new HeadFault(400, "A header's name holds a character that is not allowed there, or a line is folded.");
    const value = trimmed(text, colon + 1, end);
    if (value.length !== end - colon - 2 || text.charCodeAt(colon + 1) !== 32) isPlain = false;
    const { lower } = name;
    fields.add(name.name, lower, value);
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
      case "cookie":
      case "set-cookie":
        framed.mayHoldOwnCookie ||= mayHoldOwnCookie(value);
        break;
      case "upgrade":
        framed.upgrade = value.toLowerCase();
        break;
      case "expect":
        framed.expect = value.toLowerCase();
        break;
    }
    at = end + CRLF.length;
    starts.push(at);
  }
  if (isPlain) fields.standIn(text, starts);
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
