/** Gives the 4 or 16 bytes of an address, and `null` when `text` is no address; an IPv4-mapped IPv6 address gives 4. */
export function parseIp(text: string): Uint8Array | null {
  if (!text.includes(":")) return parseIpv4(text);
  const zone = text.indexOf("%");
  const bytes = parseIpv6(zone < 0 ? text : text.slice(0, zone));
  if (bytes === null) return null;
  const isMapped = bytes[10] === 0xff && bytes[11] === 0xff && bytes.subarray(0, 10).every((byte) => byte === 0);
  return isMapped ? bytes.slice(12) : bytes;
}

/** The name of a peer on a Unix socket, which has no address. Sets of addresses may hold it. */
export const UNIX_PEER = "unix";

/** Tells whether an address is one of this machine itself. */
export const isLoopback = (ip: string): boolean => ip === "::1" || ip.startsWith("127.") || ip.startsWith("::ffff:127.");

/** Tells whether only programs on this machine reach what listens on this address. */
export const isLoopbackHost = (host: string): boolean => host === "localhost" || host === "::1" || /^127(\.\d{1,3}){3}$/.test(host);

/**
 * Writes an address in the one way that Sluice writes it (RFC 5952 for IPv6; IPv4-mapped as IPv4); gives `null` when `text` is no address.
 */
export function normaliseIp(text: string): string | null {
  // The form that nearly every peer has needs no work.
  if (CANONICAL_IPV4.test(text)) return text;
  const bytes = parseIp(text);
  return bytes === null ? null : formatIp(bytes);
}

const CANONICAL_IPV4 = /^(?:(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(?:\.(?!$)|$)){4}$/;

export function formatIp(bytes: Uint8Array): string {
  if (bytes.length === 4) return bytes.join(".");
  const groups = Array.from({ length: 8 }, (_, i) => ((bytes[2 * i] as number) << 8) | (bytes[2 * i + 1] as number));
  let [from, length] = [-1, 1];
  for (let i = 0; i < 8; i++) {
    let j = i;
    while (j < 8 && groups[j] === 0) j++;
    if (j - i > length) [from, length] = [i, j - i];
  }
  const hex = groups.map((group) => group.toString(16));
  return from < 0 ? hex.join(":") : `${hex.slice(0, from).join(":")}::${hex.slice(from + length).join(":")}`;
}

function parseIpv4(text: string): Uint8Array | null {
  const parts = text.split(".");
  if (parts.length !== 4) return null;
  const bytes = new Uint8Array(4);
  for (const [i, part] of parts.entries()) {
    // A leading zero is octal for some and decimal for others: refused.
    if (!/^(?:0|[1-9]\d{0,2})$/.test(part) || Number(part) > 255) return null;
    bytes[i] = Number(part);
  }
  return bytes;
}

function parseIpv6(text: string): Uint8Array | null {
  const halves = text.split("::");
  if (halves.length > 2) return null;
  const groups = halves.map((half) => (half === "" ? [] : half.split(":")));
  const last = groups.at(-1);
  const tail = last?.at(-1);
  if (last !== undefined && tail?.includes(".")) {
    const v4 = parseIpv4(tail);
    if (v4 === null) return null;
    const [a, b, c, d] = v4 as unknown as [number, number, number, number];
    last.splice(-1, 1, ((a << 8) | b).toString(16), ((c << 8) | d).toString(16));
  }
  const [left = [], right = []] = groups;
  const given = left.length + right.length;
  if (halves.length === 2 ? given > 7 : given !== 8) return null;
  const all = halves.length === 2 ? [...left, ...Array.from({ length: 8 - given }, () => "0"), ...right] : left;
  const bytes = new Uint8Array(16);
  for (const [i, group] of all.entries()) {
    if (!/^[0-9A-Fa-f]{1,4}$/.test(group)) return null;
    const value = Number.parseInt(group, 16);
    bytes[2 * i] = value >> 8;
    bytes[2 * i + 1] = value & 255;
  }
  return bytes;
}

/** Tells whether `text` is an address, or an address with a prefix length: "10.0.0.0/8", "2001:db8::/32". */
export const isCidr = (text: string): boolean => parseCidr(text) !== null;

interface Block {
  readonly bytes: Uint8Array;
  readonly bits: number;
}

function parseCidr(text: string): Block | null {
  const slash = text.indexOf("/");
  const bytes = parseIp(slash < 0 ? text : text.slice(0, slash));
  if (bytes === null) return null;
  if (slash < 0) return { bytes, bits: bytes.length * 8 };
  const length = text.slice(slash + 1);
  if (!/^\d{1,3}$/.test(length)) return null;
  const isMapped = bytes.length === 4 && text.includes(":");
  const bits = Number(length) - (isMapped ? 96 : 0);
  return bits >= 0 && bits <= bytes.length * 8 ? { bytes, bits } : null;
}

/** The number of addresses whose answers are remembered, so that the same peers are not parsed for each request. */
const REMEMBERED = 4096;

/**
 * Holds a set of address blocks, and perhaps the peers on Unix sockets (`UNIX_PEER`). Throws for an entry that is neither: check with
 * `isCidr` first.
 *
 * @example
 * new CidrSet(["10.0.0.0/8", "2001:db8::/32"]).has("10.1.2.3"); // true
 */
export class CidrSet {
  private readonly blocks: readonly Block[];
  private readonly hasUnix: boolean;
  private readonly known = new Map<string, boolean>();

  constructor(readonly list: readonly string[]) {
    this.hasUnix = list.includes(UNIX_PEER);
    const blocks = this.hasUnix ? list.filter((text) => text !== UNIX_PEER) : list;
    this.blocks = blocks.map((text) => {
      const block = parseCidr(text);
      if (block === null) throw new Error(`${JSON.stringify(text)} is not an address or an address block`);
      return block;
    });
  }

  /** True when nothing is in it. */
  get isEmpty(): boolean {
    return this.blocks.length === 0 && !this.hasUnix;
  }

  has(ip: string): boolean {
    if (ip === UNIX_PEER) return this.hasUnix;
    if (this.blocks.length === 0) return false;
    const known = this.known.get(ip);
    if (known !== undefined) return known;
    const bytes = parseIp(ip);
    const found = bytes !== null && this.blocks.some((block) => isWithin(bytes, block));
    if (this.known.size >= REMEMBERED) this.known.clear();
    this.known.set(ip, found);
    return found;
  }

  /** Tells whether one of the blocks holds all addresses of `block`, an address or an address block; false for other text. */
  covers(block: string): boolean {
    const inner = parseCidr(block);
    return inner !== null && this.blocks.some((outer) => outer.bits <= inner.bits && isWithin(inner.bytes, outer));
  }

  /** Gives the set of what is in both: of two blocks one holds the other, or they have nothing in common. */
  common(other: CidrSet): CidrSet {
    const within = (list: readonly string[], set: CidrSet): string[] =>
      list.filter((each) => (each === UNIX_PEER ? set.hasUnix : set.covers(each)));
    return new CidrSet([...new Set([...within(this.list, other), ...within(other.list, this)])]);
  }
}

function isWithin(bytes: Uint8Array, block: Block): boolean {
  if (bytes.length !== block.bytes.length) return false;
  const whole = block.bits >> 3;
  for (let i = 0; i < whole; i++) if (bytes[i] !== block.bytes[i]) return false;
  const rest = block.bits & 7;
  return rest === 0 || ((bytes[whole] as number) ^ (block.bytes[whole] as number)) >> (8 - rest) === 0;
}

/**
 * The places where a translated IPv6 address holds the IPv4 address that it leads to: the prefix, and the position of each of the four
 * bytes.
 */
const EMBEDDINGS: readonly (readonly [prefix: CidrSet, at: readonly number[], isInverted: boolean])[] = [
  // NAT64 (RFC 6052), with the prefix for local use (RFC 8215) in the forms that its length allows.
  [new CidrSet(["64:ff9b::/96"]), [12, 13, 14, 15], false],
  [new CidrSet(["64:ff9b:1::/48"]), [12, 13, 14, 15], false],
  [new CidrSet(["64:ff9b:1::/48"]), [6, 7, 9, 10], false],
  [new CidrSet(["64:ff9b:1::/48"]), [7, 9, 10, 11], false],
  [new CidrSet(["64:ff9b:1::/48"]), [9, 10, 11, 12], false],
  // IPv4-compatible (RFC 4291, deprecated) and IPv4-translated (RFC 7915).
  [new CidrSet(["::/96", "::ffff:0:0:0/96"]), [12, 13, 14, 15], false],
  // 6to4 (RFC 3056).
  [new CidrSet(["2002::/16"]), [2, 3, 4, 5], false],
  // Teredo (RFC 4380): the server, and the client, its bits turned over.
  [new CidrSet(["2001::/32"]), [4, 5, 6, 7], false],
  [new CidrSet(["2001::/32"]), [12, 13, 14, 15], true],
];

/**
 * Gives the IPv4 addresses to which translators (NAT64, 6to4, Teredo and the like) take an IPv6 address; an empty list for any other
 * address.
 */
function embeddedIpv4(ip: string): string[] {
  const bytes = parseIp(ip);
  if (bytes === null || bytes.length === 4) return [];
  const found = EMBEDDINGS.filter(([prefix]) => prefix.has(ip)).map(([, at, isInverted]) =>
    at.map((i) => ((bytes[i] as number) ^ (isInverted ? 0xff : 0)) & 0xff).join("."),
  );
  // ISATAP (RFC 5214) stands below any prefix.
  const isIsatap = (bytes[8] === 0 || bytes[8] === 2) && bytes[9] === 0 && bytes[10] === 0x5e && bytes[11] === 0xfe;
  return isIsatap ? [...found, bytes.subarray(12).join(".")] : found;
}

/** Loopback, private (RFC 1918, RFC 4193), shared (RFC 6598) and link-local addresses: whoever runs the gateway has proxies there. */
const PRIVATE = new CidrSet([
  "127.0.0.0/8",
  "10.0.0.0/8",
  "172.16.0.0/12",
  "192.168.0.0/16",
  "100.64.0.0/10",
  "169.254.0.0/16",
  "::1",
  "fc00::/7",
  "fe80::/10",
]);

export const isPrivate = (ip: string): boolean => PRIVATE.has(ip);

/** Tells whether all addresses of a block are private. */
export const isPrivateBlock = (block: string): boolean => PRIVATE.covers(block);

/** The addresses where clouds keep a machine's credentials, and others that only this machine and its network's fabric should reach. */
const LINK_LOCAL = new CidrSet(["169.254.0.0/16", "fe80::/10", "fd00:ec2::254/128", "100.100.100.200/32"]);

/**
 * Tells whether an address is one that no backend has: link-local, of the clouds' metadata services, or one that a translator takes to one
 * of these.
 */
export const isLinkLocal = (ip: string): boolean => LINK_LOCAL.has(ip) || embeddedIpv4(ip).some((inner) => LINK_LOCAL.has(inner));

/** What is not for anybody on the internet, by the registries of special-purpose addresses (RFC 6890): tests, documentation, multicast and the like. */
const SPECIAL = new CidrSet([
  ...["0.0.0.0/8", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3"],
  ...["2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"],
]);
/** The addresses that IPv6 has for the internet (RFC 4291). */
const GLOBAL_IPV6 = new CidrSet(["2000::/3"]);

/** Tells whether an address is one of the internet: neither of a private network nor for a special purpose, nor one that a translator takes elsewhere. */
export const isPublic = (ip: string): boolean =>
  !PRIVATE.has(ip) && !isLinkLocal(ip) && !SPECIAL.has(ip) && (GLOBAL_IPV6.has(ip) || parseIp(ip)?.length === 4);

/** Gives the network that counts as one address: an IPv6 subscriber has a whole /64 (RFC 6177). */
export function networkOf(ip: string): string {
  if (!ip.includes(":")) return ip;
  const bytes = parseIp(ip);
  return bytes === null || bytes.length === 4 ? ip : Buffer.from(bytes.subarray(0, 8)).toString("hex");
}
