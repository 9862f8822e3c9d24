import { lookup } from "node:dns/promises";
import { isName } from "../upstreams/allow.ts";
import { CidrSet, isCidr, isLinkLocal, isPublic, parseIp } from "../values/ip.ts";

/** Says that a webhook's host leads nowhere that it may lead, and why. */
export class DestinationFault extends Error {}

/** Gives the addresses of a name. Rejects where it can't be looked up. */
export type Resolve = (host: string) => Promise<readonly string[]>;

/** The addresses that are tried of one name at most. */
const MAX_ADDRESSES = 3;

const systemResolve: Resolve = async (host) => (await lookup(host, { all: true })).map(({ address }) => address);

/** Gives the host of a URL, an IPv6 address without its brackets. */
export const hostOf = (url: string): string => new URL(url).hostname.replace(/^\[|\]$/g, "");

const isIn = (allow: readonly string[], ip: string): boolean => new CidrSet(allow.filter(isCidr)).has(ip);

/** Tells whether an address may be connected to. Where clouds keep a machine's credentials nobody listens for events, whatever is listed. */
const mayBe = (ip: string, isListed: boolean): boolean => isPublic(ip) || (isListed && !isLinkLocal(ip));

/**
 * Tells what is wrong with the URL of a webhook that comes by the admin API; `null` when nothing is: whoever holds a token must not reach
 * what the gateway's own network position opens to it (OWASP API7:2023). `allow`: `admin.upstreamAllow`. `url` must be valid. The addresses
 * that a name leads to are judged when it is called.
 */
export function destinationFault(url: string, allow: readonly string[] | null): string | null {
  if (new URL(url).protocol !== "https:")
    return "must begin with https://, as the admin API made it: declare it in config.json if you mean http";
  const host = hostOf(url);
  if (parseIp(host) === null || mayBe(host, isIn(allow ?? [], host))) return null;
  return "is no address of the internet: list it in admin.upstreamAllow, or declare the webhook in config.json";
}

/**
 * Gives the addresses to connect to for a webhook that the admin API made: those of its host that are public or that `allow` has, IPv4 first.
 * They are looked up once, so that what was judged is what is connected to. Rejects with `DestinationFault`.
 */
export async function addressesOf(
  url: string,
  allow: readonly string[] | null,
  resolve: Resolve = systemResolve,
): Promise<readonly string[]> {
  const wrong = destinationFault(url, allow);
  if (wrong !== null) throw new DestinationFault(`the URL ${wrong}`);
  const host = hostOf(url);
  if (parseIp(host) !== null) return [host];
  let found: readonly string[];
  try {
    found = await resolve(host);
  } catch (error) {
    throw new DestinationFault(`${host} can't be looked up: ${error instanceof Error ? error.message : String(error)}`);
  }
  const isTrusted = (allow ?? []).some((entry) => isName(entry, host));
  const good = found.filter((ip) => mayBe(ip, isTrusted || isIn(allow ?? [], ip)));
  if (good.length === 0)
    throw new DestinationFault(
      `${host} leads to ${found.slice(0, MAX_ADDRESSES).join(", ") || "nowhere"}, which is no address of the internet: list it in admin.upstreamAllow if you mean it`,
    );
  return good.toSorted((a, b) => Number(a.includes(":")) - Number(b.includes(":"))).slice(0, MAX_ADDRESSES);
}
