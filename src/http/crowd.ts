import { isLoopback, networkOf, UNIX_PEER } from "../values/ip.ts";
import { descriptors } from "./descriptors.ts";
import { CutOffs } from "./h2/cut-offs.ts";

/** Says how many connections clients may have open. */
export interface CrowdLimits {
  /** In all. */
  maxConnections: number;
  /** From one address; from one /64 where it is an IPv6 address. */
  maxConnectionsPerAddress: number;
}

/** Says which bound was exceeded: that of all connections, or that of one address. */
export type Excess = "total" | "address";

/** Represents a connection in the crowd. */
export interface Member {
  /**
   * Closes the connection and gives up its seat at once. False when a request has arrived that was not read yet: the connection has then
   * gone behind the others.
   */
  closeEarly(): boolean;
}

/** The share of the descriptors that clients may take: the rest is for backends. */
const CLIENTS_SHARE = 2 / 3;
/** The least number of connections that one address may have: many people share one behind a NAT. */
const MIN_PER_ADDRESS = 1000;

/**
 * Reads how many connections are allowed; "auto" goes by the descriptors that this process may have. `workers`: the number of processes that share them out
 * evenly, each of which allows its part.
 */
export function crowdLimits(
  server: { maxConnections: number | "auto"; maxConnectionsPerAddress: number | "auto" },
  workers = 1,
): CrowdLimits {
  const usable = descriptors.limit - descriptors.reserve;
  const maxConnections =
    server.maxConnections === "auto" ? Math.floor(usable * CLIENTS_SHARE) : Math.min(Math.ceil(server.maxConnections / workers), usable);
  const perAddress = server.maxConnectionsPerAddress;
  return {
    maxConnections,
    maxConnectionsPerAddress: Math.ceil(
      (perAddress === "auto" ? Math.max(MIN_PER_ADDRESS, Math.floor((maxConnections * workers) / 4)) : perAddress) / workers,
    ),
  };
}

/** The number of idle connections that are looked at to find one that can be closed. */
const MAX_ASKED = 64;

/** Holds a place in a list, or the list itself: each is a circle. */
class Place {
  private before: Place = this;
  private after: Place = this;

  constructor(readonly member: Member | null) {}

  /** The member that joined first, or `null`. */
  get first(): Member | null {
    return this.after.member;
  }

  /** Moves to the end of a list. */
  join(list: Place): void {
    this.leave();
    this.before = list.before;
    this.after = list;
    list.before.after = this;
    list.before = this;
  }

  leave(): void {
    this.before.after = this.after;
    this.after.before = this.before;
    this.before = this;
    this.after = this;
  }
}

/** Counts the connections of one address. */
interface Peer {
  readonly key: string;
  open: number;
  readonly idle: Place;
}

/**
 * Keeps all clients' connections; those that wait for a request stand in the order in which they began to wait. Where there are too many,
 * the one that has waited longest is closed, and where none waits, the new one is. Each step takes the same short time however many there
 * are.
 */
export class Crowd {
  open = 0;
  /** Connections that were refused since the start. */
  readonly refused: Record<Excess, number> = { total: 0, address: 0 };
  readonly closedEarly: Record<Excess, number> = { total: 0, address: 0 };
  /** The address that had too many last. */
  lastCrowded: string | null = null;
  /** Those that spoke HTTP/2 and were cut off. */
  readonly cutOffs: CutOffs;
  private readonly idle = new Place(null);
  private readonly peers = new Map<string, Peer>();
  private readonly forget: () => void;

  /**
   * Begins empty. `limits` may be changed. `isExempt` tells addresses that many clients come from by their nature; loopback addresses and
   * peers on Unix sockets are exempt in any case.
   */
  constructor(
    readonly limits: CrowdLimits,
    private readonly isExempt: (ip: string) => boolean = () => false,
  ) {
    this.cutOffs = new CutOffs((ip) => this.isShared(ip));
    this.forget = descriptors.holdsIdle(() => this.closeOne(this.idle, "total"));
  }

  /** Gives a seat to a connection whose descriptor is counted already; `null` when the connection must be closed. */
  admit(member: Member, ip: string): Seat | null {
    const { limits } = this;
    const peer = this.peerOf(ip);
    if (peer !== null && peer.open >= limits.maxConnectionsPerAddress) {
      this.lastCrowded = ip;
      if (!this.closeOne(peer.idle, "address")) return this.refuse("address");
    }
    while (this.open >= limits.maxConnections) if (!this.closeOne(this.idle, "total")) return this.refuse("total");
    if (descriptors.isShort && !descriptors.makeRoom()) return this.refuse("total");
    this.open++;
    if (peer !== null) {
      peer.open++;
      this.peers.set(peer.key, peer);
    }
    return new Seat(this, member, peer);
  }

  left(peer: Peer | null): void {
    this.open--;
    if (peer !== null && --peer.open === 0) this.peers.delete(peer.key);
  }

  close(): void {
    this.forget();
  }

  /** The list of those that wait for a request. */
  get waiting(): Place {
    return this.idle;
  }

  private refuse(why: Excess): null {
    this.refused[why]++;
    return null;
  }

  private closeOne(list: Place, why: Excess): boolean {
    for (let asked = 0; asked < MAX_ASKED; asked++) {
      const member = list.first;
      if (member === null) return false;
      if (member.closeEarly()) {
        this.closedEarly[why]++;
        return true;
      }
    }
    return false;
  }

  private isShared(ip: string): boolean {
    return ip === UNIX_PEER || isLoopback(ip) || this.isExempt(ip);
  }

  private peerOf(ip: string): Peer | null {
    if (this.isShared(ip)) return null;
    const key = networkOf(ip);
    return this.peers.get(key) ?? { key, open: 0, idle: new Place(null) };
  }
}

/** Holds one connection's place in the crowd. */
export class Seat {
  private readonly place: Place;
  private readonly placeAmongPeers: Place | null;

  constructor(
    private readonly crowd: Crowd,
    member: Member,
    private readonly peer: Peer | null,
  ) {
    this.place = new Place(member);
    this.placeAmongPeers = peer === null ? null : new Place(member);
    this.waits();
  }

  /** Marks the connection as waiting for a request, behind those that wait already. */
  waits(): void {
    this.place.join(this.crowd.waiting);
    if (this.peer !== null) this.placeAmongPeers?.join(this.peer.idle);
  }

  /** Marks the connection as in use: nothing closes it for the sake of another. */
  works(): void {
    this.place.leave();
    this.placeAmongPeers?.leave();
  }

  /** Gives the seat up, since the connection is closed; called once. */
  leave(): void {
    this.works();
    this.crowd.left(this.peer);
  }
}
