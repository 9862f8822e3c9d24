import { Fields, isToken, nameAt } from "../fields.ts";
import { HeadFault, isHost, isTarget, type RequestHead } from "../head.ts";
import { mayHoldOwnCookie } from "../own-cookies.ts";
import { isOfHttp1 } from "./lines.ts";

/** Says that a request breaks a rule of HTTP/2 in a way that has no answer: its stream is reset (RFC 9113 §8.1.1). */
export const MALFORMED = "malformed";

// RFC 9113 §8.2.1, and RFC 9110 §5.5: what is passed on must not read as more than one line.
const FORBIDDEN = /[\0-\x08\x0a-\x1f\x7f]/;
const LENGTH = /^\d{1,15}$/;

/** Holds the pseudo-header fields of a request (RFC 9113 §8.3.1). */
interface Pseudo {
  method: string;
  path: string;
  authority: string | null;
}

/**
 * Reads the fields of a request, names and values in turn, as the head that the same request would have by HTTP/1.1. `isWhole`: no content
 * follows. `maxSize`: the bytes that the head may have as HTTP/1.1 writes it.
 */
export function readHead(raw: readonly string[], isWhole: boolean, maxSize: number): RequestHead | HeadFault | typeof MALFORMED {
  const pseudo: Pseudo = { method: "", path: "", authority: null };
  const fields = new Fields();
  const fault = readFields(raw, pseudo, fields, maxSize);
  if (fault !== null) return fault;
  const { method, authority } = pseudo;
  // CONNECT has no path: its target is the authority (RFC 9113 §8.5).
  const target = method === "CONNECT" ? (authority ?? "") : pseudo.path;
  if (!isToken(method) || target === "") return MALFORMED;
  if (method !== "CONNECT" && (!isTarget(target) || (target[0] !== "/" && target !== "*")))
    return new HeadFault(400, "The path must begin with a slash.");
  const host = hostOf(fields, authority);
  if (host instanceof HeadFault) return host;
  const length = lengthOf(fields);
  if (length instanceof HeadFault) return length;
  const expect = fields.get("expect");
  if (expect !== null && expect.toLowerCase() !== "100-continue")
    return new HeadFault(417, "The only expectation known here is 100-continue.");
  const framing = isWhole || length === 0 ? "none" : length < 0 ? "chunked" : "length";
  // A request that states content and ends without any.
  if (isWhole && length > 0) return MALFORMED;
  return {
    method,
    target,
    minor: 1,
    fields,
    host,
    framing,
    contentLength: length,
    keepAlive: true,
    // As by HTTP/1.1, where TE is named by Connection.
    connection: fields.get("te") === null ? "" : "te",
    upgrade: "",
    expectsContinue: expect !== null && !isWhole,
    mayHoldOwnCookie: mayHoldOwnCookie(fields.get("cookie") ?? ""),
  };
}

function readFields(raw: readonly string[], pseudo: Pseudo, fields: Fields, maxSize: number): HeadFault | typeof MALFORMED | null {
  let size = " HTTP/1.1\r\n".length;
  let cookies = -1;
  for (let i = 0; i < raw.length; i += 2) {
    const name = raw[i] as string;
    const value = (raw[i + 1] as string).trim();
    size += name.length + value.length + 4;
    if (size > maxSize) return new HeadFault(431, `The request line and headers are larger than ${maxSize} bytes.`);
    if (FORBIDDEN.test(value)) return MALFORMED;
    if (name.charCodeAt(0) === 58) {
      // They stand before all others (RFC 9113 §8.3).
      if (fields.names.length > 0 || !takePseudo(pseudo, name, value)) return MALFORMED;
      continue;
    }
    const known = nameAt(name, 0, name.length);
    if (known === null || known.lower !== name || isOfHttp1(name)) return MALFORMED;
    if (name === "te" && value.toLowerCase() !== "trailers") return MALFORMED;
    // RFC 9113 §8.2.3: a Cookie may come in crumbs, and goes on as one field.
    if (name === "cookie") {
      if (cookies >= 0) {
        fields.values[cookies] += `; ${value}`;
        continue;
      }
      cookies = fields.names.length;
    }
    fields.add(name, name, value);
  }
  return null;
}

/** Takes a pseudo-header field. False when there is no such one, or it comes twice. */
function takePseudo(pseudo: Pseudo, name: string, value: string): boolean {
  switch (name) {
    case ":method":
      if (pseudo.method !== "") return false;
      pseudo.method = value;
      return true;
    case ":path":
      if (pseudo.path !== "") return false;
      pseudo.path = value;
      return true;
    case ":authority":
      if (pseudo.authority !== null) return false;
      pseudo.authority = value;
      return true;
    // The connection says whether it is https.
    case ":scheme":
      return true;
    default:
      return false;
  }
}

/** Gives the host that is asked for, and puts it into a Host field, as HTTP/1.1 would have it. */
function hostOf(fields: Fields, authority: string | null): string | HeadFault {
  const named = fields.get("host");
  const host = authority === null || authority === "" ? named : authority;
  if (host === null) return new HeadFault(400, "A request needs :authority, or a Host field.");
  if (!isHost(host)) return new HeadFault(400, ":authority must be a host name or address, with a port if need be.");
  // RFC 9113 §8.3.1: whoever looks at the one must not decide by something else than who looks at the other.
  if (fields.lower.filter((lower) => lower === "host").length > 1 || (named !== null && named.toLowerCase() !== host.toLowerCase()))
    return new HeadFault(400, "Host and :authority disagree.");
  if (named === null) fields.add("host", "host", host);
  return host;
}

/** Gives the bytes of content that are stated; -1: none are. */
function lengthOf({ lower, values }: Fields): number | HeadFault {
  let length = -1;
  for (let i = 0; i < lower.length; i++) {
    if (lower[i] !== "content-length") continue;
    const value = values[i] as string;
    if (!LENGTH.test(value)) return new HeadFault(400, "Content-Length must be one whole number of bytes.");
    if (length >= 0 && length !== Number(value)) return new HeadFault(400, "Two Content-Length fields disagree.");
    length = Number(value);
  }
  return length;
}
