import { hostName } from "../values/host-name.ts";
import { normaliseIp } from "../values/ip.ts";

/**
 * Holds the names that certificates are for: `api.example.com`, `*.example.com`, which takes one label (RFC 9525 §6.3), and addresses.
 *
 * @example
 * new HostSet(["*.example.com"]).has("API.example.com:8080"); // true
 */
export class HostSet {
  private readonly exact = new Set<string>();
  /** What stands behind the star, with its dot. */
  private readonly wildcards = new Set<string>();

  constructor(names: Iterable<string>) {
    for (const name of names) {
      const lower = name.toLowerCase();
      if (lower.startsWith("*.")) this.wildcards.add(lower.slice(1));
      else this.exact.add(normaliseIp(lower) ?? lower);
    }
  }

  /** Tells whether a Host field names one of them. */
  has(host: string): boolean {
    const name = hostName(host);
    const ip = normaliseIp(name.startsWith("[") ? name.slice(1, -1) : name);
    if (ip !== null) return this.exact.has(ip);
    const dot = name.indexOf(".");
    return this.exact.has(name) || (dot > 0 && this.wildcards.has(name.slice(dot)));
  }
}
