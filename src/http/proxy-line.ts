import { normaliseIp } from "../values/ip.ts";

/**
 * Describes the line with which a balancer begins a connection (PROXY protocol, versions 1 and 2,
 * https://www.haproxy.org/download/2.9/doc/proxy-protocol.txt).
 */
export interface ProxyLine {
  /** The bytes that it takes. */
  readonly length: number;
  /**
   * The address of the client that the balancer stands for, in its canonical form; `null`: the connection is the balancer's own (LOCAL), or
   * it does not know the address.
   */
  readonly source: string | null;
}

/** Says why there is no line: more bytes must come first, what came is something else, or it is a line with a fault. */
export type NoProxyLine = "incomplete" | "absent" | "malformed";

const V1 = Buffer.from("PROXY ");
/** The most bytes of a line of version 1, with its end (§2.1). */
const V1_MAX = 107;
const V2 = Buffer.from("\r\n\r\n\0\r\nQUIT\n", "latin1");
const V2_HEADER = 16;
/** The most bytes of a line of version 2: addresses take 36, and what balancers add, such as a TLS client's certificate, stays far below. */
const V2_MAX = 4096;

/** The commands and address families of version 2 (§2.2). */
const LOCAL = 0;
const PROXY = 1;
const INET = 1;
const INET6 = 2;
const UNIX = 3;

/** Reads the line that stands at the beginning of what has come of a connection. It is a byte of something else's beginning that decides. */
export function proxyLineIn(bytes: Buffer): ProxyLine | NoProxyLine {
  if (beginsLike(bytes, V2)) return bytes.length < V2_HEADER ? "incomplete" : binary(bytes);
  if (beginsLike(bytes, V1)) return text(bytes);
  return "absent";
}

/** Tells whether bytes begin with a mark, or may still come to. */
const beginsLike = (bytes: Buffer, mark: Buffer): boolean => {
  const length = Math.min(bytes.length, mark.length);
  return bytes.compare(mark, 0, length, 0, length) === 0;
};

/** Reads a line of version 1: `PROXY TCP4 192.0.2.1 198.51.100.1 56324 443`. */
function text(bytes: Buffer): ProxyLine | NoProxyLine {
  const end = bytes.subarray(0, V1_MAX).indexOf("\r\n");
  if (end < 0) return bytes.length < V1_MAX ? "incomplete" : "malformed";
  const [, family, source = "", destination = "", sourcePort = "", destinationPort = "", ...more] = bytes
    .toString("latin1", 0, end)
    .split(" ");
  const length = end + 2;
  // What stands behind it is to be ignored (§2.1).
  if (family === "UNKNOWN") return { length, source: null };
  const isOfFamily = (address: string): boolean =>
    (family === "TCP4" && !address.includes(":")) || (family === "TCP6" && address.includes(":") && !address.includes("%"));
  const ip = isOfFamily(source) && isOfFamily(destination) && normaliseIp(destination) !== null ? normaliseIp(source) : null;
  if (ip === null || !isPort(sourcePort) || !isPort(destinationPort) || more.length > 0) return "malformed";
  return { length, source: ip };
}

const isPort = (text: string): boolean => /^(?:0|[1-9]\d{0,4})$/.test(text) && Number(text) <= 65_535;

/** Reads a line of version 2. */
function binary(bytes: Buffer): ProxyLine | NoProxyLine {
  const version = (bytes[12] as number) >> 4;
  const command = (bytes[12] as number) & 15;
  const family = (bytes[13] as number) >> 4;
  const addresses = bytes.readUInt16BE(14);
  const length = V2_HEADER + addresses;
  if (version !== 2 || command > PROXY || family > UNIX || length > V2_MAX) return "malformed";
  if (bytes.length < length) return "incomplete";
  if (command === LOCAL) return { length, source: null };
  const at = bytes.subarray(V2_HEADER, length);
  switch (family) {
    case INET:
      return at.length < 12 ? "malformed" : { length, source: normaliseIp(at.subarray(0, 4).join(".")) };
    case INET6:
      return at.length < 36 ? "malformed" : { length, source: normaliseIp(groupsOf(at.subarray(0, 16))) };
    default:
      return { length, source: null };
  }
}

const groupsOf = (address: Buffer): string => Array.from({ length: 8 }, (_, i) => address.readUInt16BE(2 * i).toString(16)).join(":");

/** Says, of what can't be read as a request, that it begins with a PROXY line, which is not taken there; `null`: it does not. */
export const misplacedLine = (bytes: Buffer): string | null =>
  bytes.indexOf(V1) === 0 || bytes.indexOf(V2_WITHOUT_EMPTY_LINES) === 0
    ? "This begins with a PROXY line, which is not taken from your address: server.proxyProtocol does not name it."
    : null;

/** What is left of the mark where empty lines before a request are skipped. */
const V2_WITHOUT_EMPTY_LINES = V2.subarray(4);
