import { type CidrSet, isPrivate, normaliseIp, UNIX_PEER } from "../values/ip.ts";

/**
 * Gives the caller's address: the peer's, or, when the peer is a trusted proxy, the rightmost address of X-Forwarded-For that is not
 * trusted. An entry that is no address ends the search: the entries to its left can't be believed.
 */
export function clientIp(peer: string, forwardedFor: string | null, trusted: CidrSet): string {
  if (forwardedFor === null || !trusted.has(peer)) return peer;
  return namedClient(forwardedFor, trusted, peer) ?? peer;
}

/** Stands for an address that nobody has told: who calls is not known by it, and nothing is counted by it. */
export const UNKNOWN_ADDRESS = "";

/**
 * Gives the rightmost address of an X-Forwarded-For field that is neither `peer`'s, which has sent it, nor trusted; the leftmost where all
 * are. An entry that is no address ends the search: `null` where it is the last one.
 */
export function namedClient(forwardedFor: string, trusted: CidrSet, peer: string): string | null {
  let ip: string | null = null;
  let end = forwardedFor.length;
  while (end >= 0) {
    const comma = forwardedFor.lastIndexOf(",", end - 1);
    const entry = normaliseIp(withoutPort(forwardedFor.slice(comma + 1, end).trim()));
    if (entry === null) return ip;
    ip = entry;
    if (comma < 0 || (entry !== peer && !trusted.has(entry))) return ip;
    end = comma;
  }
  return ip;
}

/** Removes the port from an entry: some proxies write `203.0.113.7:4711` or `[2001:db8::1]:4711`. */
function withoutPort(entry: string): string {
  if (entry.startsWith("[")) return entry.slice(1, entry.indexOf("]"));
  const colon = entry.indexOf(":");
  return colon >= 0 && entry.indexOf(":", colon + 1) < 0 ? entry.slice(0, colon) : entry;
}

/** Gives the fields of a request that proxies set. */
interface TrailFields {
  /** Gives the value of the first field of this name, which is in lower case. */
  get(lower: string): string | null;
  /** Joins the values of all fields of this name, which is in lower case. */
  joined(lower: string): string | null;
}

/**
 * Tells for whom a proxy asks that is on this machine or in its network, but not in `server.trustedProxies`, under whose address all of its
 * callers come; `null` where there is no such proxy. Gives the last address of X-Forwarded-For, which is the one that the proxy itself has
 * seen; "" when the field holds none.
 */
export function hiddenCaller(peer: string, fields: TrailFields, trusted: CidrSet): string | null {
  if (peer !== UNIX_PEER && !isPrivate(peer)) return null;
  const trail = fields.joined("x-forwarded-for");
  if ((trail === null && fields.get("forwarded") === null) || trusted.has(peer)) return null;
  if (trail === null) return "";
  return normaliseIp(withoutPort(trail.slice(trail.lastIndexOf(",") + 1).trim())) ?? "";
}
