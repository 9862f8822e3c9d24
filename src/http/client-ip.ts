import { type CidrSet, normaliseIp } from "../values/ip.ts";

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
