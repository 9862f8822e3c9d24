import type { Audit } from "../audit/audit.ts";
import { UNKNOWN_ADDRESS } from "../http/client-ip.ts";
import type { Storage } from "../storage/open.ts";
import type { Emit } from "../telemetry/occurrences.ts";
import type { Clock } from "../values/clock.ts";
import { Halves } from "../values/halves.ts";
import { CidrSet, formatIp, parseIp } from "../values/ip.ts";
import { hashKey, isMade } from "../values/key-format.ts";
import { parseDuration } from "../values/units.ts";
import type { GuardConfig } from "./settings.ts";

/** Describes an address, or a block of addresses, that is refused. */
export interface Block {
  readonly cidr: string;
  readonly reason: string;
  /** Its maker: `guard`, or an admin token's name. */
  readonly by: string;
  /** Milliseconds since 1970. */
  readonly createdAt: number;
  /** Milliseconds since 1970; `null` for a block that stays until it is lifted. */
  readonly expiresAt: number | null;
}

/** The maker of the blocks that the guard itself makes. */
const GUARD = "guard";

/** Remembers, at a key, where the guard accepted it last. */
export interface Acceptable {
  acceptedFrom?: string;
  acceptedAt?: number;
}

export interface GuardDeps {
  readonly storage: Storage;
  readonly clock: Clock;
  readonly audit: Audit;
  /** Tells of each block; and of a proxy that nobody named, once until the settings change. */
  readonly emit: Emit;
  /** Learns of a block that the database did not take: it holds in memory all the same. */
  readonly onFault: (error: unknown) => void;
}

/** The most addresses with bad keys that are remembered: an attacker with a million of them must not fill memory. */
const MAX_SUSPECTS = 100_000;

/**
 * Milliseconds for which an address may go on with a key that was accepted from it, though the guard blocks the address; and milliseconds
 * after which that is noted again.
 */
const ACCEPTED_FOR = 24 * 3_600_000;
const NOTED_EVERY = 10 * 60_000;
/** The most pairs of address and key that are remembered. */
const MAX_ACCEPTED = 100_000;

/**
 * The wrong keys that are looked up during one block for callers that an unnamed proxy hides, as a multiple of `invalidKeyLimit`: for each
 * caller that the proxy names, and for all of them together. So one who guesses uses up only their own share, and a flood under made-up
 * addresses ends too.
 */
const TRIES_OF_ONE = 1;
const TRIES_OF_ALL = 10;

/**
 * Refuses addresses: for a while those that have shown too many unknown keys or tokens, and those that the admin API names. IPv6 addresses
 * count by their network, since one subscriber has a whole /64 of them (RFC 6177).
 */
export class Guard {
  /** Blocks of single addresses and of suspects' networks, by their text; larger ones from the admin API are in `networks`. */
  private exact = new Map<string, Block>();
  private networks: { readonly set: CidrSet; readonly block: Block }[] = [];
  /** The monotonic times at which each address has shown its last bad keys. */
  private readonly suspects = new Halves<string, number[]>(MAX_SUSPECTS);
  /** The time at which each pair of address and key was accepted last, by the pair's hash. */
  private readonly acceptedPairs = new Halves<string, number>(MAX_ACCEPTED);
  /** The accepted pairs that the database does not have yet. */
  private unwritten = new Map<string, number>();
  /** The wrong keys during a block, by its address and by the caller that a proxy names; the total under `null`. */
  private readonly tries = new Map<string, Map<string | null, number>>();
  private hasSeenProxy = false;
  private settings: GuardConfig = null;
  private allowed = new CidrSet([]);
  private window = 0;
  private blockFor = 0;
  private prefix = 64;

  constructor(private readonly deps: GuardDeps) {
    this.load();
    this.loadAccepted();
  }

  configure(settings: GuardConfig): void {
    this.hasSeenProxy = false;
    this.settings = settings;
    this.allowed = new CidrSet(settings?.allow ?? []);
    this.window = settings === null ? 0 : parseDuration(settings.window);
    this.blockFor = settings === null ? 0 : parseDuration(settings.blockFor);
    this.prefix = settings?.ipv6Prefix ?? 64;
  }

  /**
   * Gives the milliseconds for which an address is still refused: infinite for one that is refused until further notice, 0 for one that is
   * not refused.
   */
  blockedFor(ip: string): number {
    if (this.exact.size === 0 && this.networks.length === 0) return 0;
    if (this.allowed.has(ip)) return 0;
    const now = this.deps.clock.wall();
    let longest = 0;
    const single = this.exact.get(this.subjectOf(ip));
    if (single !== undefined) longest = leftOf(single, now);
    for (const { set, block } of this.networks) if (set.has(ip)) longest = Math.max(longest, leftOf(block, now));
    return longest;
  }

  /** Tells whether an operator refuses the address: then no key helps. */
  refusesAll(ip: string): boolean {
    if (this.allowed.has(ip)) return false;
    const now = this.deps.clock.wall();
    const isHard = (block: Block | undefined) => block !== undefined && block.by !== GUARD && leftOf(block, now) > 0;
    return isHard(this.exact.get(this.subjectOf(ip))) || this.networks.some(({ set, block }) => isHard(block) && set.has(ip));
  }

  /**
   * Tells whether a request from a blocked address may go on, to have its key looked up if it shows one. An operator's block stops all. The
   * guard's own block lets keys pass that can't have been guessed, and those that were accepted from the address before. `hidden`: the
   * caller that an unnamed proxy names. Such a proxy's address is blocked for what others did, so its requests go on without a key, and
   * with any key while few were wrong. `secret`: `null` where no key is shown, or none is looked at.
   */
  lets(ip: string, secret: string | null, hidden: string | null): boolean {
    if (this.refusesAll(ip)) return false;
    if (secret === null) return hidden !== null;
    return isMade(secret) || this.letsKnown(ip, false, hashKey(secret)) || (hidden !== null && this.mayTry(ip, hidden));
  }

  /** Tells the same as `lets`, for a key of which only the hash is known, and whether it has the form of made keys. */
  letsKnown(ip: string, isOfMadeForm: boolean, hash: string): boolean {
    return !this.refusesAll(ip) && (isOfMadeForm || this.hasAcceptedHash(ip, hash));
  }

  /**
   * Counts a wrong key that was looked up during a block, for a caller behind an unnamed proxy. A key in the form of made keys does not
   * count: it is no guess at another.
   */
  tried(ip: string, secret: string, hidden: string): void {
    if (this.settings === null || isMade(secret)) return;
    const subject = this.subjectOf(ip);
    const tries = this.tries.get(subject) ?? new Map<string | null, number>();
    this.tries.set(subject, tries);
    for (const who of [null, this.callerOf(hidden)]) tries.set(who, (tries.get(who) ?? 0) + 1);
  }

  private mayTry(ip: string, hidden: string): boolean {
    const tries = this.tries.get(this.subjectOf(ip));
    const { settings } = this;
    // A block that is left over from when the guard was on.
    if (settings === null || tries === undefined) return true;
    const few = (who: string | null, times: number) => (tries.get(who) ?? 0) < settings.invalidKeyLimit * times;
    return few(null, TRIES_OF_ALL) && few(this.callerOf(hidden), TRIES_OF_ONE);
  }

  private callerOf(hidden: string): string {
    return hidden === "" ? "" : this.subjectOf(hidden);
  }

  /**
   * Remembers that a key was found good from this address, so that it may go on during a block that the guard makes. A made key may do so
   * anyway. `now` in milliseconds since 1970.
   */
  accepted(ip: string, secret: string, key: Acceptable, now: number): void {
    // The key by itself knows of the last time: most stay where they are.
    if (ip === UNKNOWN_ADDRESS) return;
    if (this.settings === null || (key.acceptedFrom === ip && now - (key.acceptedAt ?? 0) < NOTED_EVERY && now >= (key.acceptedAt ?? 0)))
      return;
    key.acceptedFrom = ip;
    key.acceptedAt = now;
    if (isMade(secret)) return;
    const pair = this.pairOf(ip, hashKey(secret));
    this.acceptedPairs.set(pair, now);
    // While the database can't be written, the newest are not worth more than those that wait.
    if (this.unwritten.size < MAX_ACCEPTED) this.unwritten.set(pair, now);
  }

  /** Tells whether a key was accepted from this address in the last 24 hours. Does not ask the registry of keys. */
  private hasAcceptedHash(ip: string, hash: string): boolean {
    const at = this.acceptedPairs.get(this.pairOf(ip, hash));
    return at !== undefined && this.deps.clock.wall() - at < ACCEPTED_FOR;
  }

  /** Tells, once until the settings change, of a private or loopback peer that names its caller and is not trusted. */
  sawProxy(peer: string): void {
    if (this.hasSeenProxy) return;
    this.hasSeenProxy = true;
    this.deps.emit({ type: "unnamedProxy", peer });
  }

  /** Counts an unknown key or token from an address, and blocks the address when there were too many. */
  strike(ip: string): void {
    const { settings } = this;
    if (settings === null || ip === UNKNOWN_ADDRESS || this.allowed.has(ip)) return;
    const subject = this.subjectOf(ip);
    const now = this.deps.clock.now();
    const times = this.timesOf(subject);
    times.push(now);
    if (times.length < settings.invalidKeyLimit) return;
    const first = times.shift() as number;
    // Only the last so many are remembered: the first of them says whether all lie within the window.
    if (now - first >= this.window) return;
    this.suspects.delete(subject);
    this.tries.delete(subject);
    const reason = `${settings.invalidKeyLimit} invalid keys within ${settings.window}`;
    try {
      this.block(subject, reason, this.blockFor, GUARD);
    } catch (error) {
      const createdAt = this.deps.clock.wall();
      this.exact.set(subject, { cidr: subject, reason, by: GUARD, createdAt, expiresAt: createdAt + this.blockFor });
      this.deps.onFault(error);
    }
  }

  /** Refuses an address or a block of them, for `ttl` milliseconds or until further notice. `cidr` must be valid. */
  block(cidr: string, reason: string, ttl: number | null, by: string): Block {
    const now = this.deps.clock.wall();
    const block: Block = { cidr: canonical(cidr), reason, by, createdAt: now, expiresAt: ttl === null ? null : now + ttl };
    this.deps.audit.change({ action: "block.create", subject: `block ${block.cidr}`, before: this.find(block.cidr), after: block }, () => {
      this.deps.storage.client
        .query("INSERT OR REPLACE INTO blocks (cidr, reason, by, created_at, expires_at) VALUES (?1, ?2, ?3, ?4, ?5)")
        .run(block.cidr, reason, by, now, block.expiresAt);
    });
    this.load();
    this.deps.emit({ type: "block", block });
    return block;
  }

  /** Lifts a block. Gives false when there is none. */
  unblock(cidr: string): boolean {
    const name = canonical(cidr);
    const before = this.find(name);
    if (before === null) return false;
    this.deps.audit.change({ action: "block.delete", subject: `block ${name}`, before }, () => {
      this.deps.storage.client.query("DELETE FROM blocks WHERE cidr = ?1").run(name);
    });
    this.load();
    return true;
  }

  /** Lists the blocks in force, by address. */
  all(): Block[] {
    const now = this.deps.clock.wall();
    return this.rows()
      .filter((block) => leftOf(block, now) > 0)
      .sort((a, b) => (a.cidr < b.cidr ? -1 : 1));
  }

  /** Reads the blocks from the database: at the start, and after a change. */
  load(): void {
    const now = this.deps.clock.wall();
    this.exact = new Map();
    this.networks = [];
    for (const block of this.rows()) {
      if (leftOf(block, now) <= 0) continue;
      const [address = "", bits] = block.cidr.split("/");
      const isWhole = bits === undefined || (address.includes(":") && Number(bits) === this.prefix);
      if (isWhole) this.exact.set(block.cidr, block);
      else this.networks.push({ set: new CidrSet([block.cidr]), block });
    }
  }

  /** Forgets blocks and notes whose time is over; for a timer. */
  sweep(): void {
    const now = this.deps.clock.wall();
    const isOver = [...this.exact.values(), ...this.networks.map(({ block }) => block)].some((block) => leftOf(block, now) <= 0);
    if (isOver) {
      this.deps.storage.client.query("DELETE FROM blocks WHERE expires_at <= ?1").run(now);
      this.load();
    }
    for (const subject of this.tries.keys()) if (!this.exact.has(subject)) this.tries.delete(subject);
    const old = this.deps.clock.now() - this.window;
    this.acceptedPairs.forget((at) => now - at >= ACCEPTED_FOR);
    this.suspects.forget((times) => (times.at(-1) ?? 0) < old);
  }

  /**
   * Writes the keys that were accepted since the last call, so that they pass a block after a restart as well; for a timer and the stop.
   * Throws what the database throws, and then keeps them.
   */
  flush(): void {
    if (this.unwritten.size === 0) return;
    const { client } = this.deps.storage;
    client.transaction(() => {
      const insert = client.query("INSERT OR REPLACE INTO accepted_keys (pair, at) VALUES (?1, ?2)");
      for (const [pair, at] of this.unwritten) insert.run(pair, at);
      client
        .query(
          "DELETE FROM accepted_keys WHERE at <= max(?1, coalesce((SELECT at FROM accepted_keys ORDER BY at DESC LIMIT 1 OFFSET ?2), 0))",
        )
        .run(this.deps.clock.wall() - ACCEPTED_FOR, MAX_ACCEPTED);
    })();
    this.unwritten = new Map();
  }

  /** Gives the number of addresses that have shown bad keys. */
  get suspected(): number {
    return this.suspects.size;
  }

  /** Gives the number of pairs of address and key that are remembered. */
  get remembered(): number {
    return this.acceptedPairs.size;
  }

  private timesOf(subject: string): number[] {
    const known = this.suspects.get(subject);
    if (known !== undefined) return known;
    const times: number[] = [];
    this.suspects.set(subject, times);
    return times;
  }

  private find(cidr: string): Block | null {
    return this.rows().find((block) => block.cidr === cidr) ?? null;
  }

  private rows(): Block[] {
    return this.deps.storage.client
      .query<Block, []>("SELECT cidr, reason, by, created_at AS createdAt, expires_at AS expiresAt FROM blocks")
      .all();
  }

  /** Reads the accepted keys from the database, the oldest first, as they were remembered. */
  private loadAccepted(): void {
    const rows = this.deps.storage.client
      .query<{ pair: string; at: number }, [number, number]>(
        "SELECT pair, at FROM (SELECT pair, at FROM accepted_keys WHERE at > ?1 ORDER BY at DESC LIMIT ?2) ORDER BY at",
      )
      .all(this.deps.clock.wall() - ACCEPTED_FOR, MAX_ACCEPTED);
    for (const { pair, at } of rows) this.acceptedPairs.set(pair, at);
  }

  private pairOf(ip: string, hash: string): string {
    return hashKey(`${this.subjectOf(ip)} ${hash}`);
  }

  /** Gives the address or the network that an address counts as. */
  private subjectOf(ip: string): string {
    return ip.includes(":") ? canonical(`${ip}/${this.prefix}`) : ip;
  }
}

const leftOf = (block: Block, now: number): number => (block.expiresAt === null ? Number.POSITIVE_INFINITY : block.expiresAt - now);

/**
 * Gives the one form of an address or a block: the bits behind the prefix are 0, a whole address has no prefix. Throws for text that is
 * neither.
 */
export function canonical(cidr: string): string {
  const [address = "", length] = cidr.split("/");
  const bytes = parseIp(address);
  if (bytes === null) throw new Error(`${JSON.stringify(cidr)} is no address`);
  const isMapped = bytes.length === 4 && address.includes(":");
  const bits = length === undefined ? bytes.length * 8 : Number(length) - (isMapped ? 96 : 0);
  const masked = bytes.map((byte, i) => {
    const kept = Math.min(8, Math.max(0, bits - 8 * i));
    return byte & (0xff << (8 - kept));
  });
  return bits === bytes.length * 8 ? formatIp(masked) : `${formatIp(masked)}/${bits}`;
}
