import type { Member, Seat } from "./crowd.ts";
import { descriptors } from "./descriptors.ts";
import { HeadFault } from "./head.ts";
import { hasUnreadBytes } from "./kernel.ts";
import type { RawSocket } from "./outgoing.ts";
import { proxyLineIn } from "./proxy-line.ts";
import type { Guest, HttpServer } from "./server.ts";

/** Seconds that a balancer has for its line, and anybody for the first byte of TLS. */
const WITHIN = 15;
/** The first byte of a TLS handshake (RFC 8446 §5.1). */
const TLS_HANDSHAKE = 22;
const EMPTY = Buffer.alloc(0);

/** What Bun's sockets can, and their types do not say on both sides. */
interface Upgradable {
  data: unknown;
  /** Begins TLS: gives the socket as it was, which goes on to hear of the bytes as they are on the wire, and the one of what they mean. */
  upgradeTLS(options: object): readonly [raw: { data: unknown }, secured: RawSocket & { data: unknown }];
}

/** Reads what stands before HTTP on a connection: a balancer's PROXY line, where its peer must send one, and where TLS begins. */
export class Prelude implements Guest, Member {
  /** The connection's place among all connections. */
  seat!: Seat;
  private read: Buffer = EMPTY;
  /** The client that the line has named; `null`: none has come yet. */
  private client: string | null = null;
  private readonly since: number;
  private isOver = false;

  constructor(
    private readonly server: HttpServer,
    readonly socket: RawSocket,
    /** The peer's own address. */
    readonly ip: string,
    /** True when the peer must begin with a PROXY line; otherwise it may not. */
    private readonly isOfProxy: boolean,
  ) {
    this.since = server.tick;
  }

  receive(chunk: Buffer): void {
    if (this.isOver) return;
    if (!this.isOfProxy || this.client !== null) {
      this.goOn(this.client ?? this.ip, this.isOfProxy, chunk);
      return;
    }
    const bytes = this.read.length === 0 ? chunk : Buffer.concat([this.read, chunk]);
    const line = proxyLineIn(bytes);
    if (typeof line !== "string") {
      this.server.options.proxies?.began(this.ip, true);
      this.client = line.source ?? this.ip;
      this.goOn(this.client, true, bytes.subarray(line.length));
    } else if (line === "incomplete") this.read = Buffer.from(bytes);
    else {
      if (line === "absent") this.server.options.proxies?.began(this.ip, false);
      this.refuse(bytes, line === "absent" ? MISSING : MALFORMED);
    }
  }

  drained(): void {}

  closed(): void {
    if (this.isOver) return;
    this.leave();
    descriptors.closed();
  }

  dispose(): void {
    this.socket.terminate();
    this.closed();
  }

  closeEarly(): boolean {
    if (hasUnreadBytes(this.socket.fd)) {
      this.seat.waits();
      return false;
    }
    this.socket.close();
    this.closed();
    return true;
  }

  checkDeadline(tick: number): void {
    if (tick - this.since > WITHIN) this.dispose();
  }

  /** Hands the connection on, with the bytes behind the line. */
  private goOn(ip: string, hasLine: boolean, rest: Buffer): void {
    const { tlsOptions } = this.server;
    if (tlsOptions === null) this.begin(this.socket, ip, hasLine, rest);
    else if (rest.length === 0) {
      // Whether TLS begins says the next byte.
    } else if (rest[0] !== TLS_HANDSHAKE) this.refuse(rest, NOT_TLS);
    else {
      const socket = this.server.handlers(true);
      const options = { data: undefined, tls: tlsOptions, isServer: true, initialData: rest, socket };
      const [raw, secured] = (this.socket as unknown as Upgradable).upgradeTLS(options);
      this.leave();
      // What is on the wire is nobody's business from here on.
      raw.data = undefined;
      secured.data = this.server.begin(secured, ip, hasLine) ?? undefined;
    }
  }

  private begin(socket: RawSocket, ip: string, hasLine: boolean, rest: Buffer): void {
    this.leave();
    const connection = this.server.begin(socket, ip, hasLine);
    (socket as unknown as Upgradable).data = connection ?? undefined;
    if (rest.length > 0) connection?.receive(rest);
  }

  /** Ends the connection; says why where that can be read. */
  private refuse(bytes: Buffer, why: string): void {
    if (bytes[0] === TLS_HANDSHAKE) {
      this.dispose();
      return;
    }
    this.leave();
    const connection = this.server.begin(this.socket, this.ip, true);
    (this.socket as unknown as Upgradable).data = connection ?? undefined;
    connection?.answerAndClose(this.server.options.refuse(new HeadFault(400, why), this.ip));
  }

  /** Gives up the seat: another takes the connection over, or it is closed. */
  private leave(): void {
    this.isOver = true;
    this.seat.leave();
    this.server.left(this);
  }
}

const MISSING = "Connections from your address must begin with a PROXY line: server.proxyProtocol names it.";
const MALFORMED = "The PROXY line is malformed.";
const NOT_TLS = "This port speaks https: call it with https://.";
