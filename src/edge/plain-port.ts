import { HostSet } from "./host-set.ts";

/** The ports that URLs leave out. */
const HTTP = 80;
const HTTPS = 443;

/** Finds where a target in absolute form (RFC 9112 §3.2.2) has its path. */
const ABSOLUTE = /^[a-z][a-z0-9+.-]*:\/\/[^/?#]*/i;

/** The path of an answer to an authority that asks by http whether a name is ours (RFC 8555 §8.3). */
const CHALLENGE = /^\/\.well-known\/acme-challenge\/[A-Za-z0-9_-]+$/;

/** Tells whether a request is for an answer to an authority's question, which comes by http alone. */
export const isChallenge = (target: string): boolean => target.startsWith("/.well-known/") && CHALLENGE.test(target);

/** Says where the plain port beside the one for https sends callers. */
export class PlainPort {
  private hosts = new HostSet([]);
  private ports: { readonly plain: number; readonly tls: number } | null = null;

  /** Puts the names that certificates are for, and those that they are being ordered for, in the place of those before. */
  serve(names: Iterable<string>): void {
    this.hosts = new HostSet(names);
  }

  /** Learns on which ports the gateway listens. */
  listensOn(plain: number, tls: number): void {
    this.ports = { plain, tls };
  }

  /**
   * Gives the URL by https of what was asked for by http, with the same host; `null` for a host that no certificate is for: nobody could call
   * it by https. A host without a port was called at port 80, though another port is listened on here: then 443 leads to the one for https
   * as well.
   */
  locationOf(host: string, target: string): string | null {
    const { ports } = this;
    if (ports === null || !this.hosts.has(host)) return null;
    const colon = host.indexOf(":", host.startsWith("[") ? host.indexOf("]") : 0);
    const name = colon < 0 ? host : host.slice(0, colon);
    const isMapped = colon < 0 && ports.plain !== HTTP;
    const path = target.replace(ABSOLUTE, "");
    return `https://${name}${isMapped || ports.tls === HTTPS ? "" : `:${ports.tls}`}${path.startsWith("/") ? "" : "/"}${path}`;
  }
}
