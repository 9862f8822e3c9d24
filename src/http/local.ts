import type { Arrival } from "../exchange/exchange.ts";
import { isLoopback } from "../values/ip.ts";

/** Matches a Host field that names this machine itself. */
export const LOOPBACK_HOST = /^(?:localhost\.?|127\.\d{1,3}\.\d{1,3}\.\d{1,3}|\[::1\])(?::\d*)?$/i;
const PROXY_FIELDS: readonly string[] = ["forwarded", "x-forwarded-for", "x-real-ip"];

/**
 * Tells whether a program on this machine asks. A request that a proxy on this machine passes on comes from elsewhere, whether it says so by
 * a PROXY line or by a field, and so does one that a page has its visitor's browser send under a name that leads here (DNS rebinding).
 */
export const isLocal = ({ ip, hasProxyLine, head: { fields, host } }: Pick<Arrival, "ip" | "head" | "hasProxyLine">): boolean =>
  isLoopback(ip) && !hasProxyLine && LOOPBACK_HOST.test(host) && PROXY_FIELDS.every((name) => fields.get(name) === null);
