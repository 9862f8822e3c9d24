import type { CidrSet } from "../values/ip.ts";

/** The most peers of which it is remembered that their last connection had no line. */
const MAX_REMEMBERED = 64;

/** Knows the balancers whose connections begin with a PROXY line, and tells of those whose connections do not. */
export class ProxyPeers {
  /** Those whose last connection that said anything began without the line. */
  private readonly without = new Set<string>();

  constructor(
    private peers: CidrSet,
    /** Learns of a peer whose connections come without the line, or (`false`) with it again; once for each change. */
    private readonly onChange: (peer: string, isMissing: boolean) => void,
  ) {}

  /** True when there is nobody. */
  get isEmpty(): boolean {
    return this.peers.isEmpty;
  }

  /** Tells whether connections of this peer must begin with a line. */
  has(peer: string): boolean {
    return this.peers.has(peer);
  }

  /** Learns how a connection has begun that must begin with a line. */
  began(peer: string, withLine: boolean): void {
    if (withLine) {
      if (this.without.size > 0 && this.without.delete(peer)) this.onChange(peer, false);
    } else if (this.without.size < MAX_REMEMBERED && !this.without.has(peer)) {
      this.without.add(peer);
      this.onChange(peer, true);
    }
  }

  /** Puts other peers in the place of these. */
  configure(peers: CidrSet): void {
    this.peers = peers;
    for (const peer of [...this.without]) if (!peers.has(peer)) this.began(peer, true);
  }
}
