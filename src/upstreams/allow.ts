import { CidrSet, isCidr, isLinkLocal, parseIp } from "../values/ip.ts";
import { unixFault, unixTargetOf } from "./unix-target.ts";

/** Names under which clouds keep a machine's credentials. */
const METADATA_NAMES = /^(metadata|metadata\.google\.internal|instance-data|instance-data\.ec2\.internal)\.?$/i;

const HOST_PATTERN = /^(\*\.)?[A-Za-z0-9]([A-Za-z0-9._-]{0,252})$/;

/**
 * Tells whether this may stand in `admin.upstreamAllow`: a host name, `*.example.com`, an address or a block of them, a Unix socket such as
 * `unix:/run/app.sock`, or `unix:/run/apps/*` for those in one folder.
 */
export const isAllowEntry = (text: string): boolean =>
  text.startsWith("unix:") ? unixTargetOf(text)?.basePath === "" && unixFault(text) === null : isCidr(text) || HOST_PATTERN.test(text);

/**
 * Tells what is wrong with an upstream's URL that comes by the admin API; `null` when nothing is. Whoever holds a token must not get at
 * what the gateway's own network position opens to it (server-side request forgery, OWASP API7:2023). `allow`: host names and blocks of
 * addresses, nothing else; `null`: everything but link-local addresses, metadata services and Unix sockets, by which a machine's own services
 * trust whoever reaches them. `url` must be valid.
 */
export function upstreamFault(url: string, allow: readonly string[] | null): string | null {
  const unix = unixTargetOf(url);
  if (unix !== null)
    return allow?.some((entry) => isSocket(entry, unix.socket)) === true
      ? null
      : `is a Unix socket of this machine, which the admin API forwards to only where admin.upstreamAllow lists it: ${JSON.stringify(`unix:${unix.socket}`)}`;
  // The parser has made one form of all ways to write an address: 0x7f.1, 2130706433, [::ffff:7f00:1].
  const host = new URL(url).hostname.replace(/^\[|\]$/g, "");
  const isAddress = parseIp(host) !== null;
  if (isAddress ? isLinkLocal(host) : METADATA_NAMES.test(host))
    return "is link-local or a cloud's metadata service, which the admin API does not forward to: declare it in config.json if you mean it";
  if (allow === null) return null;
  const isAllowed = allow.some((entry) => (isAddress ? isCidr(entry) && new CidrSet([entry]).has(host) : isName(entry, host)));
  return isAllowed ? null : "is not among the hosts of admin.upstreamAllow";
}

/** Tells whether an entry names this host: by its name, or with others as in `*.example.com`. */
export const isName = (entry: string, host: string): boolean =>
  entry.startsWith("*.") ? host.toLowerCase().endsWith(entry.slice(1).toLowerCase()) : entry.toLowerCase() === host.toLowerCase();

/** Tells whether an entry is this socket, or the folder that it lies in. */
const isSocket = (entry: string, socket: string): boolean =>
  entry === `unix:${socket}` || (entry.endsWith("/*") && entry.slice("unix:".length, -1) === socket.slice(0, socket.lastIndexOf("/") + 1));
