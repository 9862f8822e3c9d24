/**
 * Says what becomes of a request's field on its way to the backend: it passes, is dropped whoever sent it, or passes when a trusted proxy
 * sent it.
 */
export type Passage = "always" | "never" | "trusted";

/** Fields for one hop only (RFC 9110 §7.6.1), and the older ones that RFC 2616 named. */
export const HOP_BY_HOP: readonly string[] = [
  "connection",
  "keep-alive",
  "proxy-connection",
  "proxy-authenticate",
  "proxy-authorization",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
];

/** Fields that are never copied from a request: this hop's, those that frame the message, and those that Sluice alone may set. */
const NEVER: ReadonlySet<string> = new Set([
  ...HOP_BY_HOP,
  ...["host", "content-length", "expect", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-request-id", "x-retry-count"],
  // No field of HTTP's, but CGI programs would send their own requests to where it says (CVE-2016-5385, "httpoxy").
  "proxy",
]);
/** The beginnings of names by which gateways tell backends who calls: `X-Consumer-ID`, and the names that other gateways use. */
const NEVER_BEGINS: readonly string[] = ["x-consumer-"];

/** Fields by which a proxy tells where a request came from: an untrusted peer could place a false trail there (also by RFC 7239). */
const TRUSTED: ReadonlySet<string> = new Set(["forwarded", "x-real-ip", "x-rewrite-url"]);
const TRUSTED_BEGINS: readonly string[] = [
  ...["x-forwarded-", "x-original-"],
  // Those by which proxies tell which certificate a client has shown (RFC 9440, and what nginx, HAProxy and clouds call it).
  ...[
    "client-cert",
    "x-client-cert",
    "ssl-client-",
    "x-ssl-client-",
    "x-tls-client-",
    "x-amzn-mtls-",
    "x-arr-clientcert",
    "cf-client-cert",
  ],
];

/** Fields that Sluice reads, sets or stores answers by: in another spelling Sluice would not see the value that the backend sees. */
const READ: ReadonlySet<string> = new Set([
  "accept-charset",
  "accept-encoding",
  "accept-language",
  "cache-control",
  "content-encoding",
  "content-type",
  "idempotency-key",
  "if-match",
  "if-modified-since",
  "if-none-match",
  "if-range",
  "if-unmodified-since",
  "user-agent",
]);

/** The number of field names that are remembered, for all routes together: clients who invent names can't fill memory. */
const MAX_KNOWN = 2048;
const known = new Map<string, Passage | "spelt">();

const begins = (name: string, list: readonly string[]): boolean => list.some((each) => name.startsWith(each));

/**
 * Gives the `-` form of a name, as backends read it that make a variable of it: CGI, FastCGI and WSGI servers turn `_`, and some of them
 * every other character, into one and the same.
 */
export const dashedName = (lower: string): string => lower.replace(/[^a-z0-9-]/g, "-");

/** Tells what holds for a name on every route. `spelt`: a name with other characters, of which the one with `-` has to be looked at. */
function generally(name: string): Passage | "spelt" {
  const found = known.get(name);
  if (found !== undefined) return found;
  const dashed = dashedName(name);
  const isNever = NEVER.has(dashed) || begins(dashed, NEVER_BEGINS);
  const isTrusted = TRUSTED.has(dashed) || begins(dashed, TRUSTED_BEGINS);
  const isSpelt = dashed !== name;
  const passage = isNever || (isSpelt && (isTrusted || READ.has(dashed))) ? "never" : isSpelt ? "spelt" : isTrusted ? "trusted" : "always";
  if (known.size < MAX_KNOWN) known.set(name, passage);
  return passage;
}

/** Tells whether a request's field with this lower-case name is never copied, on whatever route: it is this hop's, or Sluice's own to set. */
export const isNeverCopied = (lower: string): boolean => generally(lower) === "never";

/**
 * Tells whether a request's field with this lower-case name is for nobody but proxies to set: it is this hop's, Sluice's own, or tells where
 * the request came from.
 */
export const isOfProxies = (lower: string): boolean => {
  const passage = generally(lower);
  return passage === "never" || passage === "trusted";
};

/**
 * Tells which fields of a request go to the backend, by name. CGI, WSGI and PHP read `X_Consumer_ID` as X-Consumer-ID, some also
 * `X.Consumer.ID`: such a name is dropped where Sluice sets, drops or reads the one with `-`.
 */
export class NameFilter {
  private readonly dropped: ReadonlySet<string>;
  private readonly spelt: ReadonlySet<string>;

  /**
   * Adds to the names that hold for every route. `dropped`: more names that never pass, in any letter case. `read`: more that must not come
   * in another spelling.
   */
  constructor(dropped: Iterable<string>, read: readonly string[] = []) {
    this.dropped = new Set([...dropped].map((name) => name.toLowerCase()));
    this.spelt = new Set([...this.dropped, ...read].map(dashedName));
  }

  /** Tells what becomes of the field with this lower-case name. */
  of(name: string): Passage {
    const passage = generally(name);
    if (passage === "never" || this.dropped.has(name)) return "never";
    if (passage !== "spelt") return passage;
    return this.spelt.has(dashedName(name)) ? "never" : "always";
  }
}
