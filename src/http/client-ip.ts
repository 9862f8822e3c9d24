import { type CidrSet, isPrivate, normaliseIp } from "../values/ip.ts";

/**
 * The caller's address: the peer's, or, when the peer is a trusted proxy, the rightmost address of X-Forwarded-For that is not trusted.
 * An entry that is no address ends the walk: what stands to its left can't be believed.
 */
export function clientIp(peer: string, forwardedFor: string | null, trusted: CidrSet): string {
  if (forwardedFor === null || !trusted.has(peer)) return peer;
  let ip = peer;
  let end = forwardedFor.length;
  while (end >= 0) {
    const comma = forwardedFor.lastIndexOf(",", end - 1);
    const entry = normaliseIp(withoutPort(forwardedFor.slice(comma + 1, end).trim()));
    if (entry === null) return ip;
    ip = entry;
    if (comma < 0 || !trusted.has(entry)) return ip;
    end = comma;
  }
  return ip;
}

/** Some proxies write `203.0.113.7:4711` or `[2001:db8::1]:4711`. */
export function withoutPort(entry: string): string {
  if (entry.startsWith("[")) return entry.slice(1, entry.indexOf("]"));
  const colon = entry.indexOf(":");
  return colon >= 0 && entry.indexOf(":", colon + 1) < 0 ? entry.slice(0, colon) : entry;
}

/** The fields of a request that proxies set. */
interface TrailFields {
  /** The first field of this name, in small letters. */
  get(lower: string): string | null;
  /** All fields of this name as one. */
  joined(lower: string): string | null;
}

/**
 * Tells for whom a proxy on this machine or in its network asks that `server.trustedProxies` does not name; `null` where there is none. All of its callers have its address.
 * The last address of X-Forwarded-For is the one that the proxy itself has seen; "" when it says none.
 */
export function hiddenCaller(peer: string, fields: TrailFields, trusted: CidrSet): string | null {
  if (!isPrivate(peer)) return null;
  const trail = fields.joined("x-forwarded-for");
  if ((trail === null && fields.get("forwarded") === null) || trusted.has(peer)) return null;
  if (trail === null) return "";
  return normaliseIp(withoutPort(trail.slice(trail.lastIndexOf(",") + 1).trim())) ?? "";
}
