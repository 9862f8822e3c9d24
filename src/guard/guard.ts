import type { Audit } from "../audit/audit.ts";
import { UNKNOWN_ADDRESS } from "../http/client-ip.ts";
import type { Bus } from "../shared/bus.ts";
import type { Storage } from "../storage/open.ts";
import type { Emit } from "../telemetry/occurrences.ts";
import type { Clock } from "../values/clock.ts";
import { Halves } from "../values/halves.ts";
import { CidrSet, formatIp, parseIp, UNIX_PEER } from "../values/ip.ts";
import { hashKey, isMade } from "../values/key-format.ts";
import { parseDuration } from "../values/units.ts";
import type { GuardConfig } from "./settings.ts";
import type { Strikes } from "./strikes.ts";
import type { Tries } from "./tries.ts";

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
  /** Counts unknown keys and tokens: for all processes of this gateway together. */
  readonly strikes: Strikes;
  /** Counts wrong keys during a block in the same way. */
  readonly tries: Tries;
  /** Tells the other processes of blocks, and of keys that were accepted. */
  readonly bus: Bus;
}

/** What processes tell each other: a block, the end of one, accepted pairs; and what workers ask of the keeper: to write a block, to write pairs. */
const BLOCK = "guard.block";
const UNBLOCK = "guard.unblock";
const ACCEPTED = "guard.accepted";
const WRITE_BLOCK = "guard.writeBlock";
const WRITE_ACCEPTED = "guard.writeAccepted";
/** What is asked at a start: the pairs that the database does not have yet. */
const UNWRITTEN = "guard.unwritten";
/** Milliseconds that a worker waits for the keeper to write: another one has long taken the place of one that died. */
const WRITTEN_WITHIN = 60_000;
/** Milliseconds that a start waits for what others have accepted. */
const LOOK_WITHIN = 1000;
/** The most pairs that are told in one message. */
const MAX_TOLD = 2000;

type Pairs = readonly (readonly [pair: string, at: number])[];

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
  /** The time at which each pair of address and key was accepted last, by the pair's hash. */
  private readonly acceptedPairs = new Halves<string, number>(MAX_ACCEPTED);
  /** Blocks that hold here, and were not seen in the database yet. */
  private readonly pending = new Map<string, Block>();
  /** The accepted pairs that the database does not have yet. */
  private unwritten = new Map<string, number>();
  /** True while the keeper is asked to write accepted pairs. */
  private isHandingOver = false;
  private hasSeenProxy = false;
  private settings: GuardConfig = null;
  private allowed = new CidrSet([]);
  private window = 0;
  private blockFor = 0;
  private prefix = 64;

  constructor(private readonly deps: GuardDeps) {
    this.load();
    this.loadAccepted();
    this.hearOthers();
  }

  /** Takes over what other processes of this gateway have accepted and the database does not have yet; once at the start. */
  async look(): Promise<void> {
    for (const pairs of await this.deps.bus.askAll<Pairs>(UNWRITTEN, null, LOOK_WITHIN)) this.learn(pairs);
  }

  private hearOthers(): void {
    const { bus, emit } = this.deps;
    bus.hear<Block>(BLOCK, (block) => {
      this.hold(block);
      emit({ type: "block", block, origin: "process" });
    });
    bus.hear<string>(UNBLOCK, (cidr) => {
      this.pending.delete(cidr);
      this.load();
    });
    bus.hear<Pairs>(ACCEPTED, (pairs) => this.learn(pairs));
    bus.answer(UNWRITTEN, () => [...this.unwritten].slice(-MAX_TOLD));
    bus.answer<Block>(WRITE_BLOCK, (block) => {
      this.write(block);
      this.load();
    });
    bus.answer<Pairs>(WRITE_ACCEPTED, (pairs) => {
      this.learn(pairs);
      for (const [pair, at] of pairs) this.toBeWritten(pair, at);
    });
  }

  /** Remembers keys that another process has accepted. */
  private learn(pairs: Pairs): void {
    for (const [pair, at] of pairs) this.acceptedPairs.set(pair, at);
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
    const block = this.exact.get(subject);
    if (block === undefined) return;
    const { clock, tries } = this.deps;
    const now = clock.now();
    tries.add(nameOf(block), [null, this.callerOf(hidden)], now, now + leftOf(block, clock.wall()));
  }

  private mayTry(ip: string, hidden: string): boolean {
    const block = this.exact.get(this.subjectOf(ip));
    const { settings } = this;
    // A block that is left over from when the guard was on.
    if (settings === null || block === undefined) return true;
    const name = nameOf(block);
    const few = (who: string | null, times: number) => this.deps.tries.of(name, who) < settings.invalidKeyLimit * times;
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
    this.toBeWritten(pair, now);
  }

  private toBeWritten(pair: string, at: number): void {
    // While the database can't be written, the newest are not worth more than those that wait.
    if (this.unwritten.size < MAX_ACCEPTED) this.unwritten.set(pair, at);
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
    const { strikes, clock, bus, onFault } = this.deps;
    if (!strikes.count(subject, settings.invalidKeyLimit, this.window, clock.now())) return;
    const reason = `${settings.invalidKeyLimit} invalid keys within ${settings.window}`;
    const block = this.made(canonical(subject), reason, this.blockFor, GUARD);
    if (bus.role !== "worker") {
      try {
        this.put(block);
      } catch (error) {
        this.hold(block);
        onFault(error);
      }
      return;
    }
    this.hold(block);
    this.tell(block);
    // Written down without anybody waiting for it.
    bus.askKeeper(WRITE_BLOCK, block, WRITTEN_WITHIN).catch(onFault);
  }

  /** Refuses an address or a block of them, for `ttl` milliseconds or until further notice. `cidr` must be valid. */
  block(cidr: string, reason: string, ttl: number | null, by: string): Block {
    const block = this.made(canonical(cidr), reason, ttl, by);
    this.put(block);
    return block;
  }

  private made(cidr: string, reason: string, ttl: number | null, by: string): Block {
    const now = this.deps.clock.wall();
    return { cidr, reason, by, createdAt: now, expiresAt: ttl === null ? null : now + ttl };
  }

  private put(block: Block): void {
    this.write(block);
    this.load();
    this.tell(block);
  }

  private write(block: Block): void {
    const { cidr, reason, by, createdAt, expiresAt } = block;
    this.deps.audit.change({ action: "block.create", subject: `block ${cidr}`, before: this.find(cidr), after: block }, () => {
      this.deps.storage.client
        .query("INSERT OR REPLACE INTO blocks (cidr, reason, by, created_at, expires_at) VALUES (?1, ?2, ?3, ?4, ?5)")
        .run(cidr, reason, by, createdAt, expiresAt);
    });
  }

  private tell(block: Block): void {
    this.deps.bus.tell(BLOCK, block);
    this.deps.emit({ type: "block", block, origin: "here" });
  }

  /** Lets a block hold here that the database does not have yet. */
  private hold(block: Block): void {
    this.pending.set(block.cidr, block);
    this.networks = this.networks.filter((each) => each.block.cidr !== block.cidr);
    this.enter(block);
  }

  /** Lifts a block. Gives false when there is none. */
  unblock(cidr: string): boolean {
    const name = canonical(cidr);
    const before = this.find(name);
    if (before === null) return false;
    this.deps.audit.change({ action: "block.delete", subject: `block ${name}`, before }, () => {
      this.deps.storage.client.query("DELETE FROM blocks WHERE cidr = ?1").run(name);
    });
    this.pending.delete(name);
    this.load();
    this.deps.bus.tell(UNBLOCK, name);
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
      if (leftOf(block, now) > 0) this.enter(block);
      if ((this.pending.get(block.cidr)?.createdAt ?? Number.POSITIVE_INFINITY) <= block.createdAt) this.pending.delete(block.cidr);
    }
    for (const [cidr, block] of this.pending) {
      if (leftOf(block, now) > 0) this.enter(block);
      else this.pending.delete(cidr);
    }
  }

  private enter(block: Block): void {
    const [address = "", bits] = block.cidr.split("/");
    const isWhole = bits === undefined || (address.includes(":") && Number(bits) === this.prefix);
    if (isWhole) this.exact.set(block.cidr, block);
    else this.networks.push({ set: new CidrSet([block.cidr]), block });
  }

  /** Forgets blocks and notes whose time is over; for a timer. */
  sweep(): void {
    const now = this.deps.clock.wall();
    const isOver = [...this.exact.values(), ...this.networks.map(({ block }) => block)].some((block) => leftOf(block, now) <= 0);
    if (isOver) {
      if (this.deps.bus.role !== "worker") this.deps.storage.client.query("DELETE FROM blocks WHERE expires_at <= ?1").run(now);
      this.load();
    }
    this.deps.tries.keepOnly(new Set(Array.from(this.exact.values(), nameOf)));
    this.acceptedPairs.forget((at) => now - at >= ACCEPTED_FOR);
    this.deps.strikes.forget(this.deps.clock.now() - this.window);
  }

  /**
   * Writes the keys that were accepted since the last call, so that they pass a block after a restart as well; for a timer and the stop.
   * A worker hands them to the keeper and the other workers. Throws what the database throws, and then keeps them.
   */
  flush(): void {
    if (this.unwritten.size === 0) return;
    if (this.deps.bus.role === "worker") {
      this.handOver();
      return;
    }
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

  private handOver(): void {
    if (this.isHandingOver) return;
    const { bus, onFault } = this.deps;
    const pairs: Pairs = [...this.unwritten].slice(0, MAX_TOLD);
    this.isHandingOver = true;
    bus.tell(ACCEPTED, pairs);
    bus
      .askKeeper(WRITE_ACCEPTED, pairs, WRITTEN_WITHIN)
      .then(() => {
        for (const [pair, at] of pairs) if (this.unwritten.get(pair) === at) this.unwritten.delete(pair);
      })
      .catch(onFault)
      .finally(() => {
        this.isHandingOver = false;
      });
  }

  /** Gives the number of addresses that have shown bad keys. */
  get suspected(): number {
    return this.deps.strikes.size;
  }

  /** Gives the number of pairs of address and key that are remembered. */
  get remembered(): number {
    return this.acceptedPairs.size;
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

/** Names a block, and not another one of the same address. */
const nameOf = ({ cidr, createdAt }: Block): string => `${createdAt} ${cidr}`;

const leftOf = (block: Block, now: number): number => (block.expiresAt === null ? Number.POSITIVE_INFINITY : block.expiresAt - now);

/**
 * Gives the one form of an address or a block: the bits behind the prefix are 0, a whole address has no prefix. Peers on a Unix socket stand
 * by their name. Throws for text that is none of these.
 */
export function canonical(cidr: string): string {
  if (cidr === UNIX_PEER) return cidr;
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
