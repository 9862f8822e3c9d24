import { writeSync } from "node:fs";
import type { SocketHandler, TCPSocketListener } from "bun";
import { normaliseIp, UNIX_PEER } from "../values/ip.ts";
import { type ArrivingBody, type Body, isWhole, type Sink, TooLarge, TooSlow } from "./body.ts";
import { BodyRate } from "./body-rate.ts";
import {
  type ClientCertificateRules,
  certificateOf,
  isForWantOfCertificate,
  type JudgedCertificate,
  type ShownCertificate,
} from "./client-certificate.ts";
import { Crowd, type Member, type Seat } from "./crowd.ts";
import { BODY_STALLS_AFTER, HEAD_WITHIN, KEEP_ALIVE_FOR, REPLY_STALLS_AFTER } from "./deadlines.ts";
import { descriptors } from "./descriptors.ts";
import { ChunkedDecoder, type Decoder, encodeChunk, LAST_CHUNK, LengthDecoder } from "./framing.ts";
import type { CutOffCause } from "./h2/frame-watch.ts";
import { ERROR, goAway, NO_SETTINGS, PREFACE_HEAD } from "./h2/frames.ts";
import { http2Works } from "./h2/self-test.ts";
import { Http2Session } from "./h2/session.ts";
import { HeadFault, HeadReader, type RequestHead } from "./head.ts";
import type { Incoming } from "./incoming.ts";
import { noticeVanishedPeers } from "./keep-alive.ts";
import { copyDescriptor, hasUnreadBytes } from "./kernel.ts";
import { type ConnectionCounts, type ListeningSocket, SharedAccept } from "./listening-socket.ts";
import { Outgoing, type RawSocket } from "./outgoing.ts";
import { Prelude } from "./prelude.ts";
import { misplacedLine } from "./proxy-line.ts";
import type { ProxyPeers } from "./proxy-peers.ts";
import { RELAY_FIELD, type Relay, relayIn } from "./relay.ts";
import { divertConnections } from "./reuseport-handover.ts";
import type { ServerTls } from "./server-tls.ts";
import { type KeepsTrailer, lastChunk, type Trailers } from "./trailers.ts";
import { listenAt, type UnixPlace } from "./unix-socket.ts";

/** Holds an answer as the wire needs it. */
export interface Reply {
  readonly status: number;
  readonly reason: string;
  /** Header lines, each ended by CRLF, without those that frame the message (Content-Length, Transfer-Encoding, Connection). */
  readonly head: string;
  /** A text goes out as UTF-8: it is written where it is sent from, which a short one is worth. */
  readonly body: Uint8Array | string | Body | null;
  /** The Content-Length to state where no body is sent (HEAD, 304), or -1 to state none. */
  readonly length: number;
  /** Tells which trailer fields of a streamed body go on; left out: all. */
  readonly keepsTrailer?: KeepsTrailer | null;
}

/** Connects the two ends of a connection that has left HTTP (after 101). */
export interface Tunnel {
  /** Writes bytes from the client. False: slow down until `resume` of the exchange's tunnel end is called. */
  write(bytes: Uint8Array): boolean;
  /** Goes on, since the client's side can take more. */
  resume(): void;
  /** Closes this end, since the client is gone. */
  close(): void;
}

/** Is the client's end of a connection that has left HTTP. */
export interface TunnelEnd {
  /** Writes bytes to the client. False: slow down until the tunnel's `resume` is called. */
  write(bytes: Uint8Array): boolean;
  /** Goes on reading, since the other end can take more. */
  resume(): void;
  /** Closes it after what was written, since the other end has closed. */
  close(): void;
  /** Closes it after what was written, for a client that may still be sending: what comes is dropped, so that it reads what was written. */
  part(): void;
}

export interface HttpLimits {
  /** Bytes of a request's head, from the request line to the empty line. */
  maxHeaderSize: number;
  /** Bytes of a request's body; a chunked body is cut off when it grows past it. */
  maxBodySize: number;
  /** Bytes a second that a request's body must bring while the server waits for it; 0: any. */
  bodyRate: number;
}

export interface HttpServerOptions {
  readonly hostname: string;
  readonly port: number;
  /** The path to listen on, in the place of a host and a port; of a socket that processes share whoever has opened it holds the path. */
  readonly unix?: UnixPlace;
  /** The peers whose connections begin with a PROXY line; left out: nobody's do. */
  readonly proxies?: ProxyPeers;
  /** By what TLS is spoken; `null`: it is not. */
  readonly tls: ServerTls | null;
  /** How clients' certificates are judged, which `tls` asks for; left out: none is looked at. */
  readonly clients?: ClientCertificateRules;
  /** Lets other processes that ask for it listen on the same port (SO_REUSEPORT): the kernel shares new connections out. */
  readonly reusePort?: boolean;
  /** A listening socket that other processes share, in the place of one of its own. */
  readonly shared?: { readonly socket: ListeningSocket; readonly counts: ConnectionCounts };
  /** Serves requests that workers pass on over this socket of theirs: each says by `RELAY_FIELD` whom it is of. */
  readonly relays?: ListeningSocket;
  /** Speaks HTTP/2 as well: by ALPN on TLS, and otherwise with those who begin with it (prior knowledge, RFC 9113 §3.3); left out: never. */
  readonly http2?: boolean;
  /** Hears of connections that are cut off, the first of an address for a while. */
  readonly onCutOff?: (cause: CutOffCause, ip: string) => void;
  /** True for the admin API's own listener; left out: it is another. */
  readonly isAdmin?: boolean;
  /** The server's bounds, which may be changed while it runs. */
  readonly limits: HttpLimits;
  /** The connections that there may be, counted together for all servers that share it; left out: as many as there are descriptors for. */
  readonly crowd?: Crowd;
  /** Handles each request; must call `incoming.reply` or `incoming.upgrade` once, now or later. */
  readonly handle: (incoming: Incoming) => void;
  /** Answers a head that could not be read. The connection is closed after it. */
  readonly refuse: (fault: HeadFault, ip: string) => Reply;
  /** Tells of a fault of our own while a connection was served; the connection is closed. */
  readonly onFault: (error: unknown) => void;
}

/** Seconds without a request after which nothing is kept of the last one. */
const FORGETS_AFTER = 1;
/** Seconds for which a client that has its last answer may go on sending. */
const LINGER_FOR = 3;

/** Milliseconds that handshakes and requests may be under way when a stop begins. */
const UNDER_WAY_FOR = 250;

/** Bytes that wait in memory for a slow reader before the writer is told to pause. */
const HIGH_WATER = 65_536;

/** The bytes of empty lines that are skipped before a request: eight lines. A client that errs sends one behind a body. */
const MAX_EMPTY_LINES = 16;
/** The bytes of memory that one kept piece of a body costs. */
const PIECE = 128;
/** The size in bytes with which the memory for a head that comes in pieces begins. */
const MIN_PIECES = 512;

const NOT_SECURE = new HeadFault(400, "This port speaks https, and the request came by http: write https:// before the host.");
/** The first byte of a TLS handshake (RFC 8446 §5.1). */
const TLS_HANDSHAKE = 22;
const EMPTY = Buffer.alloc(0);
/** Stands for the address of a worker that passes requests on. */
const RELAYED = "127.0.0.1";
const CONTINUE = Buffer.from("HTTP/1.1 100 Continue\r\n\r\n");

/**
 * Serves HTTP/1.1 over TCP or TLS sockets. It reads strictly (RFC 9112), keeps the request as it was sent, and moves bodies without
 * buffering them: a gateway needs these things, and a `Request` object hides them.
 */
export class HttpServer {
  readonly connections = new Set<Connection>();
  /** Connections of which it is not known yet whom they are of. */
  readonly preludes = new Set<Prelude>();
  /** Seconds since the start, coarse. */
  tick = 0;
  draining = false;
  /** False where node:http2 turned out not to be what HTTP/2 takes here. */
  speaksHttp2 = true;
  /** Exchanges that have begun and are not answered completely, tunnels included. */
  inFlight = 0;
  readonly port: number;
  private listener: Pick<TCPSocketListener<Guest>, "stop">;
  /** Leaves the path that this process listens on; `null` where it holds none. */
  private readonly leavePath: (() => void) | null = null;
  /** The descriptor of the listening socket; -1 where there is none. */
  private descriptor: number;
  /** The version of `options.tls` that is listened with, and whether it could not be the one that is in force. */
  private tlsVersion: number;
  private isBehind = false;
  private readonly accepts: SharedAccept | null = null;
  private readonly ticker: Timer;
  private settled: (() => void) | null = null;
  readonly crowd: Crowd;
  /** True when TLS begins on connections that are plain at first, since a PROXY line may come before it. */
  private readonly readsPreludes: boolean;
  /** True when each connection must be told to notice a peer that vanishes. */
  private readonly asksForLife: boolean;

  constructor(readonly options: HttpServerOptions) {
    this.crowd =
      options.crowd ?? new Crowd({ maxConnections: Number.POSITIVE_INFINITY, maxConnectionsPerAddress: Number.POSITIVE_INFINITY });
    const { shared, relays, unix } = options;
    this.readsPreludes = options.tls !== null && options.proxies?.isEmpty === false;
    this.tlsVersion = options.tls?.version ?? 0;
    if (shared !== undefined) {
      this.accepts = new SharedAccept(shared.socket, shared.counts, (descriptor) => this.listenOn({ fd: descriptor }));
      this.listener = { stop: () => this.accepts?.close() };
      this.descriptor = shared.socket.descriptor;
      this.port = shared.socket.port;
    } else if (relays !== undefined) {
      this.listener = this.listenOn({ fd: relays.descriptor });
      this.descriptor = -1;
      this.port = relays.port;
    } else if (unix !== undefined) {
      const { listener, leave } = listenAt(unix, (path) => this.listenOn({ unix: path }));
      this.listener = listener;
      this.leavePath = leave;
      this.descriptor = -1;
      this.port = 0;
    } else {
      // Bun takes reusePort, and tells the descriptor: its types say neither.
      const listener = this.listenOn({ hostname: options.hostname, port: options.port, reusePort: options.reusePort === true });
      this.listener = listener;
      this.descriptor = (listener as { fd?: number }).fd ?? -1;
      this.port = listener.port;
    }
    if (options.http2 === true)
      http2Works().then((works) => {
        if (works) return;
        this.speaksHttp2 = false;
        options.onFault(new Error("node:http2 of this Bun does not do what Sluice needs of it: HTTP/2 is refused"));
      });
    this.asksForLife = unix === undefined && !noticeVanishedPeers(this.descriptor);
    this.ticker = setInterval(() => {
      this.tick++;
      this.renewTls();
      for (const connection of this.connections) connection.checkDeadline(this.tick);
      for (const prelude of this.preludes) prelude.checkDeadline(this.tick);
    }, 1000);
  }

  private listenOn(where: object): TCPSocketListener<Guest> {
    // A PROXY line stands before TLS.
    const tls = this.readsPreludes ? null : this.tlsOptions;
    return Bun.listen<Guest>({
      ...(where as { hostname: string; port: number }),
      ...(tls === null ? {} : { tls }),
      socket: {
        ...this.handlers(tls !== null),
        open: (socket) => {
          const guest = this.accept(socket as unknown as RawSocket);
          if (guest !== null) socket.data = guest;
        },
      },
    });
  }

  /** Gives what hears of a connection from its first byte on. `isSecure`: whether it begins with TLS. */
  handlers(isSecure: boolean): SocketHandler<Guest> {
    return {
      ...(isSecure ? this.options.tls?.handlers : {}),
      ...(isSecure ? { handshake: (socket, isDone, error) => socket.data?.secured?.(isDone, error) } : {}),
      data: (socket, bytes) => socket.data?.receive(bytes as Buffer),
      drain: (socket) => socket.data?.drained(),
      close: (socket) => socket.data?.closed(),
      error: (socket, error) => {
        // Bun reports here both a broken connection and what a handler threw.
        if (!("code" in error)) this.options.onFault(error);
        socket.data?.dispose();
      },
    };
  }

  /** What TLS is spoken by; `null`: plain http is. */
  get tlsOptions(): object | null {
    const { tls } = this.options;
    return tls === null ? null : { ...tls.options, ALPNProtocols: Buffer.from(this.options.http2 ? "\x02h2\x08http/1.1" : "\x08http/1.1") };
  }

  /**
   * Listens anew where TLS is spoken by something else than before. The socket stays, and whatever waits in its queue: no connection is refused or lost, and
   * those that there are go on. What fails for want of a descriptor is done a second later.
   */
  renewTls(): void {
    const { tls, onFault } = this.options;
    if (tls === null || tls.version === this.tlsVersion || this.draining) return;
    if (this.readsPreludes) {
      // Where TLS begins later, it begins by what is in force then.
      this.tlsVersion = tls.version;
      return;
    }
    try {
      if (this.accepts !== null) this.accepts.renew();
      else {
        const next = this.listenOn({ fd: copyDescriptor(this.descriptor) });
        this.listener.stop(false);
        this.listener = next;
        this.descriptor = (next as { fd?: number }).fd ?? -1;
      }
      this.tlsVersion = tls.version;
    } catch (error) {
      if (!this.isBehind) onFault(error);
    }
    this.isBehind = this.tlsVersion !== tls.version;
  }

  /**
   * Takes no new connections; resolves when the last exchange is answered or `timeout` milliseconds are over, with all connections closed.
   */
  async close(timeout: number): Promise<void> {
    this.draining = true;
    this.leavePath?.();
    // Whoever has opened a path has left it by now, or another listens there.
    const isDiverted = this.options.unix !== undefined || (this.options.reusePort === true && divertConnections(this.descriptor));
    if (!isDiverted) this.listener.stop(false);
    for (const connection of this.connections) connection.drain(false);
    // An idle connection may have a request on its way to us: its answer says that it is the last one.
    const underWay = isDiverted || this.connections.size + this.preludes.size > 0 ? Math.min(UNDER_WAY_FOR, timeout) : 0;
    if (underWay > 0) await Bun.sleep(underWay);
    if (isDiverted) this.listener.stop(false);
    for (const connection of this.connections) connection.drain(true);
    const patience = setTimeout(() => this.settled?.(), timeout - underWay);
    if (this.isBusy) {
      await new Promise<void>((resolve) => {
        this.settled = resolve;
      });
    }
    clearTimeout(patience);
    clearInterval(this.ticker);
    for (const connection of [...this.connections]) connection.part();
    for (const prelude of [...this.preludes]) prelude.dispose();
    if (this.options.crowd === undefined) this.crowd.close();
  }

  /** Takes a new connection in, or closes it where there are too many. */
  private accept(socket: RawSocket): Guest | null {
    const { options } = this;
    const remoteAddress = options.relays !== undefined ? RELAYED : options.unix !== undefined ? UNIX_PEER : socket.remoteAddress;
    if (remoteAddress === undefined) {
      // Port scanners and health checks of load balancers reset a connection that we have not looked at yet.
      socket.terminate();
      return null;
    }
    descriptors.opened();
    // On a socket for both families an IPv4 peer shows as ::ffff:192.0.2.1.
    const ip = normaliseIp(remoteAddress) ?? remoteAddress;
    if (this.asksForLife) socket.setKeepAlive(true, 60_000);
    const isOfProxy = options.proxies?.has(ip) === true;
    return isOfProxy || this.readsPreludes ? this.hear(new Prelude(this, socket, ip, isOfProxy)) : this.begin(socket, ip, false);
  }

  /** Waits for what stands before HTTP on a connection. */
  private hear(prelude: Prelude): Prelude | null {
    const seat = this.seatFor(prelude, prelude.ip);
    if (seat === null) return null;
    prelude.seat = seat;
    this.preludes.add(prelude);
    this.countAnew();
    return prelude;
  }

  /** Begins to serve a connection whose client is known, or closes it (`null`) where there are too many. Its descriptor is counted already. */
  begin(socket: RawSocket, ip: string, hasProxyLine: boolean): Connection | null {
    const connection = new Connection(this, socket, ip, hasProxyLine);
    const seat = this.seatFor(connection, ip);
    if (seat === null) return null;
    connection.seat = seat;
    this.connections.add(connection);
    this.countAnew();
    return connection;
  }

  private seatFor(guest: Guest & Member, ip: string): Seat | null {
    const seat = this.crowd.admit(guest, ip);
    if (seat !== null) return seat;
    descriptors.closed();
    guest.socket.close();
    return null;
  }

  /** Takes out a connection that is closed, or goes on as another. */
  left(guest: Connection | Prelude): void {
    if (guest instanceof Connection) this.connections.delete(guest);
    else this.preludes.delete(guest);
    this.countAnew();
  }

  private countAnew(): void {
    this.accepts?.changed(this.connections.size + this.preludes.size);
  }

  /** Ends a stop's wait when nothing is under way any more; called when an exchange has ended or an answer has left. */
  settle(): void {
    if (this.settled !== null && !this.isBusy) this.settled();
  }

  private get isBusy(): boolean {
    if (this.inFlight > 0) return true;
    for (const { out } of this.connections) {
      out.send();
      if (out.pending > 0) return true;
    }
    return false;
  }
}

/** Hears what happens to a connection. */
export interface Guest {
  readonly socket: RawSocket;
  /** Learns what became of the handshake, where there is one. `error`: what Bun found wrong. */
  secured?(isDone: boolean, error: Error | null): void;
  receive(chunk: Buffer): void;
  drained(): void;
  closed(): void;
  /** Ends the connection now, whatever is under way. */
  dispose(): void;
}

/** Runs one client's connection: requests one after the other, pipelined ones in order. */
export class Connection implements Guest, Member {
  readonly out: Outgoing;
  /** The connection's place among all connections. */
  seat!: Seat;
  /** The certificate that the client has shown; `null`: none. */
  certificate: ShownCertificate | null = null;
  private buffer: Buffer = EMPTY;
  private readonly heads = new HeadReader();
  private current: Http1Incoming | null = null;
  private tunnel: Tunnel | null = null;
  /** Serves the connection in HTTP/2; `null`: it is one of HTTP/1.1. */
  private session: Http2Session | null = null;
  /** True until a request has come. */
  private isFresh = true;
  private isAdvancing = false;
  private isPaused = false;
  private isClosed = false;
  /**
   * True when all is answered and the write side is closed; bytes that still come are dropped until the client closes, so that it reads our
   * answer instead of a reset.
   */
  private isLingering = false;
  private lingersSince = 0;
  private closeWhenFlushed = false;
  private isTunnelOver = false;
  private activeAt: number;
  /** The tick when the connection began to wait for a request. */
  private idleSince: number;
  /** The tick when the first byte of the head that is being read came. */
  private headSince = 0;
  /** Bytes of `buffer` that hold no end of a head. */
  private scanned = 0;
  /** Bytes of empty lines before the head that is being read. */
  private skipped = 0;
  /** The memory whose filled end is `buffer`, when a head came in pieces: so that a piece is appended without copying those before it. */
  private pieces: Buffer | null = null;
  /** The tick when bytes of an answer left last, and how many had left by then. */
  private drainedAt = 0;
  private drainedUpTo = 0;

  constructor(
    readonly server: HttpServer,
    readonly socket: RawSocket,
    /** The peer's address in its canonical form: its own, or the one that its balancer's PROXY line says. */
    readonly ip: string,
    /** True when a balancer has made the connection, for itself or somebody else. */
    readonly hasProxyLine: boolean,
  ) {
    this.out = new Outgoing(socket);
    this.activeAt = server.tick;
    this.idleSince = server.tick;
  }

  /** Goes on after the handshake of TLS, before anything is received. `error`: what was wrong with it, or with the certificate. */
  secured(isOver: boolean, error: Error | null): void {
    if (!isOver && error?.message.includes("HTTP_REQUEST") === true) this.refusePlain();
    if (this.learnsCertificate(isOver, error) && isOver && this.socket.alpnProtocol === "h2") this.speakHttp2();
  }

  /** Learns whose certificate was shown, where one is asked for. False when the connection is closed for want of one that holds. */
  private learnsCertificate(isOver: boolean, error: Error | null): boolean {
    const { clients } = this.server.options;
    if (clients === undefined || clients.isEmpty) return true;
    if (!isOver) {
      if (isForWantOfCertificate(error)) clients.holds(null);
      return true;
    }
    this.certificate = certificateOf(this.socket, error);
    // TLS has closed the others itself, but knows nothing of revocation lists.
    if (clients.holds(this.certificate) || !clients.isRequired) return true;
    this.dispose();
    return false;
  }

  /** Answers a request that came without TLS. Only the descriptor takes bytes that TLS has not made; the connection is closed after it. */
  private refusePlain(): void {
    const { fd } = this.socket;
    const reply = this.server.options.refuse(NOT_SECURE, this.ip);
    if (fd === undefined || !(fd >= 0) || typeof reply.body !== "string") return;
    try {
      writeSync(fd, headText(reply, "Connection: close\r\n", true) + reply.body);
    } catch {
      // It has gone.
    }
  }

  receive(chunk: Buffer): void {
    this.activeAt = this.server.tick;
    if (this.tunnel !== null) {
      if (!this.tunnel.write(chunk)) this.pause();
      return;
    }
    if (this.isLingering || this.closeWhenFlushed) return;
    if (this.session !== null) {
      this.session.receive(chunk);
      return;
    }
    let rest = chunk;
    const body = this.current?.body;
    if (body && !body.isComplete) {
      const used = body.feed(chunk, 0);
      if (used === chunk.length) return;
      rest = chunk.subarray(used);
    }
    this.append(rest);
    this.advance();
    // A client that has said with its request that it sends no more is closed before the turn ends.
    if (this.server.options.tls !== null) this.out.send();
  }

  drained(): void {
    if (!this.out.flush()) return;
    this.server.settle();
    if (this.isTunnelOver) this.socket.end();
    else if (this.tunnel !== null) this.tunnel.resume();
    else if (this.closeWhenFlushed) this.linger();
    else if (this.session !== null) this.session.drained();
    else if (this.current !== null) this.current.resumeReply();
    else {
      this.waitForRequest();
      this.resume();
      this.advance();
    }
  }

  closed(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    descriptors.closed();
    this.seat.leave();
    this.server.left(this);
    const current = this.current;
    this.current = null;
    this.session?.closed();
    if (this.tunnel !== null) {
      const tunnel = this.tunnel;
      this.tunnel = null;
      tunnel.close();
      this.server.inFlight--;
    } else if (current !== null) {
      current.abort();
      this.server.inFlight--;
    }
    this.server.settle();
  }

  /** Closes the connection when the server stops, without cutting off what was written. */
  part(): void {
    this.out.send();
    if (this.out.pending > 0 || this.current !== null || this.tunnel !== null || (this.session?.open ?? 0) > 0) this.dispose();
    else this.socket.end();
  }

  /** Ends the connection now, whatever is under way. */
  dispose(): void {
    this.out.send();
    this.socket.terminate();
    this.closed();
  }

  /**
   * Closes the connection for the sake of another. False, with the connection left open, when a request has arrived that was not read yet, or
   * an answer is still leaving.
   */
  closeEarly(): boolean {
    if (!this.isLingering && hasUnreadBytes(this.socket.fd)) {
      this.seat.waits();
      return false;
    }
    this.out.send();
    if (this.session === null && !this.isLingering && this.out.pending > 0) {
      // Its last answer has not left: `drained` has it wait for a request again.
      this.seat.works();
      return false;
    }
    this.session?.end(ERROR.none);
    this.socket.close();
    this.closed();
    return true;
  }

  /** Tells a client of HTTP/2 that the server stops. `isLast`: what it begins from here on is refused. */
  drain(isLast: boolean): void {
    this.session?.drain(isLast);
  }

  /** Goes on in HTTP/2, which the client has agreed on or begun with. */
  speakHttp2(): void {
    const { crowd, speaksHttp2 } = this.server;
    this.isFresh = false;
    const isBarred = crowd.cutOffs.isBarred(this.ip);
    if (speaksHttp2 && !isBarred) {
      this.session = new Http2Session(this);
      return;
    }
    if (isBarred) this.cutOff("address");
    // RFC 9113 §3.4: SETTINGS come first, also where nothing follows them.
    this.out.write(NO_SETTINGS);
    this.out.write(goAway(0, isBarred ? ERROR.enhanceYourCalm : ERROR.http11Required));
    this.closeAfterFlush();
  }

  /** Counts that the connection is cut off. */
  cutOff(cause: CutOffCause): void {
    if (this.server.crowd.cutOffs.note(cause, this.ip)) this.server.options.onCutOff?.(cause, this.ip);
  }

  checkDeadline(tick: number): void {
    if (this.tunnel !== null) return;
    const { pending, flushed } = this.out;
    if (pending === 0 || flushed !== this.drainedUpTo) {
      this.drainedUpTo = flushed;
      this.drainedAt = tick;
    }
    if (this.isLingering) {
      // In all, not since the last byte: who keeps sending is not waited for.
      if (tick - this.lingersSince > LINGER_FOR) this.dispose();
    } else if (pending > 0 && tick - this.drainedAt > REPLY_STALLS_AFTER) {
      // By what was read of it alone: who goes on sending reads nothing all the same.
      this.dispose();
    } else if (this.session !== null) {
      this.session.checkDeadline(tick);
    } else if (this.isPaused) {
      // We asked the client to wait.
    } else if (this.current !== null) {
      const { body } = this.current;
      if (body !== null && this.current.awaitsBody && (body.isTooSlow() || tick - this.activeAt > BODY_STALLS_AFTER))
        body.fail(new TooSlow());
    } else if (this.buffer.length > 0) {
      // Counted from the head's first byte: one that drips in would otherwise hold the connection for hours.
      if (tick - this.headSince > HEAD_WITHIN)
        this.answerAndClose(this.server.options.refuse(new HeadFault(408, "The request's head did not arrive in time."), this.ip));
    } else {
      if (pending === 0 && tick - this.idleSince > KEEP_ALIVE_FOR) this.dispose();
      if (tick - this.idleSince > FORGETS_AFTER) this.heads.forget();
    }
  }

  pause(): void {
    if (this.isPaused || this.isClosed) return;
    this.isPaused = true;
    this.socket.pause();
  }

  resume(): void {
    if (!this.isPaused || this.isClosed) return;
    this.isPaused = false;
    this.activeAt = this.server.tick;
    this.socket.resume();
  }

  /** Ends an exchange whose reply is written and whose request is read; `reusable` says whether another may follow. */
  finish(reusable: boolean): void {
    if (this.current === null) return;
    this.current = null;
    this.server.inFlight--;
    this.server.settle();
    if (!reusable || this.isClosed) {
      this.closeAfterFlush();
      return;
    }
    this.waitForRequest();
    if (this.out.pending <= HIGH_WATER) this.resume();
    this.advance();
  }

  enterTunnel(incoming: Http1Incoming, tunnel: Tunnel): void {
    this.tunnel = {
      ...tunnel,
      close: () => {
        tunnel.close();
        incoming.end();
      },
    };
    this.current = null;
    const early = this.buffer;
    this.buffer = EMPTY;
    if (early.length > 0) tunnel.write(early);
    this.resume();
  }

  /** Closes this end of a tunnel, after what was written, since the other end has closed. */
  endTunnel(): void {
    this.isTunnelOver = true;
    this.out.send();
    if (this.out.pending === 0) this.socket.end();
  }

  /**
   * Leaves a tunnel and closes this end, after what was written. The client may still be sending: what comes is dropped until it closes, so
   * that it reads what was written instead of a reset.
   */
  partTunnel(): void {
    const { tunnel } = this;
    if (tunnel === null) return;
    this.tunnel = null;
    this.server.inFlight--;
    tunnel.close();
    this.server.settle();
    this.closeAfterFlush();
  }

  answerAndClose(reply: Reply): void {
    this.out.writeMessage(headText(reply, "Connection: close\r\n", true), isWhole(reply.body) ? reply.body : null);
    this.closeAfterFlush();
  }

  /** Closes the connection after what was written; what still comes is dropped. */
  closeAfterFlush(): void {
    if (this.isClosed) return;
    this.seat.works();
    this.buffer = EMPTY;
    this.closeWhenFlushed = true;
    this.out.send();
    if (this.out.pending === 0) this.linger();
  }

  /** Begins to wait for a request; while bytes of the last answer still have to leave, the wait begins when they have. */
  private waitForRequest(): void {
    this.idleSince = this.server.tick;
    // What came of the next head while the last request was answered was not waited for.
    this.headSince = this.server.tick;
    if (this.out.pending === 0) this.seat.waits();
  }

  private linger(): void {
    this.isLingering = true;
    this.lingersSince = this.server.tick;
    // Others need not wait for one that is answered and only slow to leave.
    this.seat.waits();
    this.resume();
    this.socket.shutdown();
  }

  /** Appends bytes that have arrived to those that wait. */
  private append(chunk: Buffer): void {
    const { length } = this.buffer;
    if (length === 0) {
      this.headSince = this.server.tick;
      this.buffer = chunk;
      this.pieces = null;
      this.scanned = 0;
      return;
    }
    let start = this.pieces === null ? 0 : this.buffer.byteOffset - this.pieces.byteOffset;
    const size = length + chunk.length;
    if (this.pieces === null || start + size > this.pieces.length) {
      // Doubled, so that a head of n bytes that come one by one is copied twice and not n times.
      this.pieces = Buffer.allocUnsafeSlow(Math.max(MIN_PIECES, 2 * size));
      this.buffer.copy(this.pieces);
      start = 0;
    }
    chunk.copy(this.pieces, start + length);
    this.buffer = this.pieces.subarray(start, start + size);
  }

  /**
   * Begins the requests that have arrived, one at a time. A loop, not a recursion: a thousand pipelined requests may be answered at once.
   */
  private advance(): void {
    if (this.isAdvancing) return;
    this.isAdvancing = true;
    while (
      this.current === null &&
      this.tunnel === null &&
      this.buffer.length > 0 &&
      this.out.pending <= HIGH_WATER &&
      !this.closeWhenFlushed &&
      !this.isClosed
    ) {
      if (!this.begin()) break;
    }
    this.isAdvancing = false;
    // Who does not read the answers is asked nothing more: `drained` goes on.
    if (this.current === null ? this.tunnel === null && this.out.pending > HIGH_WATER : this.buffer.length > HIGH_WATER) this.pause();
  }

  /** Tells whether the client begins in HTTP/2. Over TLS that is agreed on before (RFC 9113 §3.2). */
  private isPreface(bytes: Buffer): boolean {
    const { http2, tls } = this.server.options;
    return http2 === true && tls === null && this.isFresh && bytes.subarray(0, PREFACE_HEAD.length).equals(PREFACE_HEAD);
  }

  /** Reads the next head and hands the exchange over. False when it is not complete yet. */
  private begin(): boolean {
    const { options } = this.server;
    // RFC 9112 §2.2: an empty line before the request line is skipped.
    let empty = 0;
    while (this.buffer[empty] === 13 && this.buffer[empty + 1] === 10 && empty <= MAX_EMPTY_LINES) empty += 2;
    if (empty > 0) {
      this.skipped += empty;
      if (this.skipped > MAX_EMPTY_LINES) {
        this.answerAndClose(options.refuse(new HeadFault(400, "Too many empty lines before the request line."), this.ip));
        return false;
      }
      this.buffer = empty === this.buffer.length ? EMPTY : this.buffer.subarray(empty);
      this.scanned = 0;
    }
    const end = this.heads.find(this.buffer, this.scanned);
    if ((end < 0 ? this.buffer.length : end) > options.limits.maxHeaderSize) {
      this.answerAndClose(
        options.refuse(new HeadFault(431, `The request line and headers are larger than ${options.limits.maxHeaderSize} bytes.`), this.ip),
      );
      return false;
    }
    if (end < 0 && this.scanned === 0 && !mayBegin(this.buffer[0] as number)) {
      // What is no HTTP has no end that could be waited for.
      const isTls = this.buffer[0] === TLS_HANDSHAKE;
      const detail = isTls
        ? "This port speaks http: call it with http://, or ask for its https port."
        : (misplacedLine(this.buffer) ?? "This is not HTTP.");
      this.answerAndClose(options.refuse(new HeadFault(400, detail), this.ip));
      return false;
    }
    if (end < 0) {
      // Who has begun to send is not the first to be closed; who never ends is, in the end.
      if (this.scanned === 0 && this.out.pending === 0) this.seat.waits();
      // The end may have begun: its first three bytes are looked at again.
      this.scanned = Math.max(0, this.buffer.length - 3);
      return false;
    }
    this.scanned = 0;
    this.skipped = 0;
    const head = this.heads.request();
    const rest = end + 4 === this.buffer.length ? EMPTY : this.buffer.subarray(end + 4);
    if (head instanceof HeadFault) {
      const all = this.buffer;
      const line = misplacedLine(all);
      this.buffer = EMPTY;
      if (this.isPreface(all)) {
        this.speakHttp2();
        this.receive(all);
        return false;
      }
      this.answerAndClose(options.refuse(line === null ? head : new HeadFault(400, line), this.ip));
      return false;
    }
    const incoming = new Http1Incoming(this, head, options.limits);
    this.current = incoming;
    this.isFresh = false;
    this.seat.works();
    this.server.inFlight++;
    this.buffer = incoming.body === null ? rest : rest.subarray(incoming.body.feed(rest, 0));
    if (this.buffer.length === 0) this.buffer = EMPTY;
    // What came with the head was no body: it is refused already, and nobody may begin with it.
    if (incoming.isReplied) return false;
    options.handle(incoming);
    return true;
  }
}

/** Holds one request that has come by HTTP/1.1, and answers it. */
export class Http1Incoming implements Incoming {
  readonly body: IncomingBody | null;
  /** Learns that the client is gone before the answer was complete; called once, and `onEnd` follows. */
  onAbort: (() => void) | null = null;
  /** Learns that nothing more will happen: the answer is written whole, or broke off, or the tunnel is closed; called once. */
  onEnd: (() => void) | null = null;
  isReplied = false;
  isAborted = false;
  /** What a worker says of a request that it passes on; `null`: it has come here by itself. */
  readonly relay: Relay | null;
  private replySink: ReplySink | null = null;

  constructor(
    readonly connection: Connection,
    readonly head: RequestHead,
    limits: HttpLimits,
  ) {
    this.relay = connection.server.options.relays === undefined ? null : relayIn(head.fields.get(RELAY_FIELD));
    this.body = head.framing === "none" ? null : new IncomingBody(connection, this, head, limits);
  }

  /** The peer's address. */
  get ip(): string {
    return this.relay?.ip ?? this.connection.ip;
  }

  /** True when a PROXY line stood before the connection: then a balancer has made it. */
  get hasProxyLine(): boolean {
    return this.relay?.hasProxyLine ?? this.connection.hasProxyLine;
  }

  /** The certificate that the client has shown, or what a worker says of it; `null`: none. */
  get certificate(): ShownCertificate | JudgedCertificate | null {
    return this.relay === null ? this.connection.certificate : (this.relay.certificate ?? null);
  }

  get isTls(): boolean {
    return this.relay?.isTls ?? this.connection.server.options.tls !== null;
  }

  /** True while the client owes us bytes that somebody waits for. */
  get awaitsBody(): boolean {
    return this.body !== null && !this.body.isComplete && !this.body.isHeld && !this.isReplied;
  }

  reply(reply: Reply): void {
    if (this.isReplied || this.isAborted) {
      if (!isWhole(reply.body)) reply.body.cancel();
      return;
    }
    this.isReplied = true;
    const { head, connection } = this;
    const bodiless = head.method === "HEAD" || reply.status === 204 || reply.status === 304;
    const streamed = isWhole(reply.body) ? null : reply.body;
    const chunked = streamed !== null && streamed.length < 0 && head.minor === 1;
    const reusable =
      head.keepAlive &&
      !connection.server.draining &&
      !(streamed !== null && streamed.length < 0 && !chunked) &&
      (this.body === null || this.body.isRead);
    const persistence = reusable ? (head.minor === 0 ? "Connection: keep-alive\r\n" : "") : "Connection: close\r\n";
    const text = headText(reply, persistence, bodiless, chunked);
    if (streamed === null || bodiless) {
      streamed?.cancel();
      connection.out.writeMessage(text, bodiless ? null : (reply.body as Uint8Array | string | null));
      this.finish(reusable);
      return;
    }
    const sink = new ReplySink(this, streamed, chunked, reusable, text, reply.keepsTrailer ?? null);
    this.replySink = sink;
    streamed.start(sink);
    sink.writeHead();
  }

  /**
   * Passes an interim answer on (RFC 9110 §15.2). `head`: its header lines. HTTP/1.0 knows none, and who does not read gets none: they are
   * hints, which must not pile up.
   */
  interim(status: number, reason: string, head: string): void {
    const { out } = this.connection;
    if (this.isReplied || this.isAborted || this.head.minor === 0 || out.pending > 0) return;
    out.writeMessage(`HTTP/1.1 ${status} ${reason}\r\n${head}\r\n`, null);
  }

  upgrade(head: string, tunnel: Tunnel): TunnelEnd {
    const { connection } = this;
    this.isReplied = true;
    connection.out.writeMessage(head, null);
    connection.enterTunnel(this, tunnel);
    return {
      write: (bytes) => connection.out.write(bytes),
      resume: () => connection.resume(),
      close: () => connection.endTunnel(),
      part: () => connection.partTunnel(),
    };
  }

  resumeReply(): void {
    this.replySink?.body.resume();
  }

  finish(reusable: boolean): void {
    this.replySink = null;
    this.body?.drop();
    this.end();
    this.connection.finish(reusable);
  }

  /** Ends the exchange; also called when the client has left its tunnel. */
  end(): void {
    const { onEnd } = this;
    this.onEnd = null;
    onEnd?.();
  }

  abort(): void {
    this.isAborted = true;
    this.replySink?.body.cancel();
    this.body?.fail(new Error("the client went away"));
    const { onAbort } = this;
    this.onAbort = null;
    onAbort?.();
    this.end();
  }
}

/** Writes a streamed reply to the client. */
class ReplySink implements Sink {
  private head: string | null;

  constructor(
    private readonly incoming: Http1Incoming,
    readonly body: Body,
    private readonly chunked: boolean,
    private readonly reusable: boolean,
    head: string,
    private readonly keepsTrailer: KeepsTrailer | null,
  ) {
    this.head = head;
  }

  /** Sends the head by itself when no bytes of the body were there to go with it. */
  writeHead(): void {
    if (this.head === null) return;
    this.incoming.connection.out.writeMessage(this.head, null);
    this.head = null;
  }

  write(bytes: Uint8Array): boolean {
    if (this.incoming.isAborted) return true;
    const { out } = this.incoming.connection;
    const { head } = this;
    if (head === null) return this.chunked ? out.writeChunk(bytes) : out.write(bytes);
    this.head = null;
    return out.writeMessage(head, this.chunked ? encodeChunk(bytes) : bytes);
  }

  end(trailers: Trailers | null = null): void {
    if (this.incoming.isAborted) return;
    this.writeHead();
    if (this.chunked) this.incoming.connection.out.write(trailers === null ? LAST_CHUNK : lastChunk(trailers, this.keepsTrailer));
    this.incoming.finish(this.reusable);
  }

  // The status is sent already: only a broken connection can tell the client that the body is not whole.
  fail(): void {
    if (!this.incoming.isAborted) this.incoming.connection.dispose();
  }
}

/** Pushes the body of a request on as it arrives; bytes that nobody has asked for yet are held up to a bound. */
export class IncomingBody implements ArrivingBody {
  readonly length: number;
  private readonly decoder: Decoder;
  private sink: Sink | null = null;
  private held: Uint8Array[] = [];
  private heldSize = 0;
  private received = 0;
  private isDropped = false;
  private failure: Error | null = null;
  private max: number;
  private readonly rate: BodyRate;
  private needsContinue: boolean;

  constructor(
    private readonly connection: Connection,
    private readonly incoming: Http1Incoming,
    head: RequestHead,
    limits: HttpLimits,
  ) {
    this.max = limits.maxBodySize;
    this.rate = new BodyRate(limits.bodyRate);
    this.length = head.contentLength;
    this.needsContinue = head.expectsContinue;
    this.decoder = head.framing === "chunked" ? new ChunkedDecoder() : new LengthDecoder(head.contentLength);
  }

  get isComplete(): boolean {
    return this.decoder.done || this.failure !== null;
  }

  /** Sets other bounds than the server's, in bytes and bytes a second, before anybody takes it; `null` leaves the rate. */
  bound(max: number, rate: number | null): void {
    this.max = max;
    if (rate !== null) this.rate.least = rate;
  }

  // HTTP/1.1's clients read an answer when they have sent all.
  mayRest(): void {}

  /** Counts one more second in which nothing but this body was waited for. True when the body has brought too little of late. */
  isTooSlow(): boolean {
    return this.rate.isTooSlow(this.received);
  }

  /** True while bytes wait for a sink: the client is then not the one who is late. */
  get isHeld(): boolean {
    return this.sink === null || this.heldSize > 0;
  }

  /** True when all of it has been read: a rest that an early answer leaves of a body must never be taken for the next request. */
  get isRead(): boolean {
    return this.failure === null && this.decoder.done;
  }

  start(sink: Sink): void {
    this.sink = sink;
    if (this.needsContinue && !this.decoder.done) {
      this.needsContinue = false;
      this.connection.out.write(CONTINUE);
    }
    const held = this.held;
    this.held = [];
    this.heldSize = 0;
    if (this.failure === null && this.isTooLarge) this.failure = new TooLarge(this.max);
    if (this.failure !== null) {
      this.sink = null;
      sink.fail(this.failure);
      return;
    }
    let fits = true;
    for (const bytes of held) fits = sink.write(bytes) && fits;
    if (this.decoder.done) sink.end(this.decoder.trailers);
    else if (fits) this.connection.resume();
  }

  resume(): void {
    if (!this.isComplete) this.connection.resume();
  }

  cancel(): void {
    this.sink = null;
    this.isDropped = true;
    this.connection.resume();
  }

  /** Drops whatever still comes, since the exchange is answered. */
  drop(): void {
    this.isDropped = true;
    this.sink = null;
    this.held = [];
  }

  fail(reason: Error): void {
    if (!this.isComplete) this.giveUp(reason);
  }

  private giveUp(reason: Error): void {
    this.failure = reason;
    const sink = this.sink;
    this.sink = null;
    sink?.fail(reason);
  }

  /** Takes its part of `chunk` and gives the position behind it. */
  feed(chunk: Buffer, from: number): number {
    if (this.failure !== null) return chunk.length;
    let next: number;
    try {
      next = this.decoder.decode(chunk, from, (part) => this.push(part));
    } catch {
      this.refuse(new HeadFault(400, "The body's chunks are malformed."));
      return chunk.length;
    }
    if (this.decoder.done) {
      if (this.failure === null) this.sink?.end(this.decoder.trailers);
      this.sink = null;
    }
    return next;
  }

  /** Tells whether a chunked body has grown past its bound; the size that a Content-Length states is checked before. */
  private get isTooLarge(): boolean {
    return this.received > this.max && this.decoder instanceof ChunkedDecoder;
  }

  private push(part: Uint8Array): void {
    if (this.failure !== null) return;
    this.received += part.length;
    if (this.isDropped) return;
    if (this.sink !== null) {
      if (this.isTooLarge) {
        // It may have come with its end: what is too large has not arrived for all that.
        this.giveUp(new TooLarge(this.max));
        return;
      }
      if (!this.sink.write(part)) this.connection.pause();
      return;
    }
    this.held.push(part);
    // With what it costs to keep it: a body may come in pieces of one byte.
    this.heldSize += part.length + PIECE;
    if (this.heldSize > HIGH_WATER) this.connection.pause();
  }

  private refuse(fault: HeadFault): void {
    this.fail(new Error(fault.detail));
    if (!this.incoming.isReplied) this.incoming.reply(this.connection.server.options.refuse(fault, this.connection.ip));
    else this.connection.dispose();
  }
}

function headText(reply: Reply, persistence: string, bodiless: boolean, chunked = false): string {
  let framing = "";
  if (chunked) framing = "Transfer-Encoding: chunked\r\n";
  else if (!bodiless || (reply.body !== null && isWhole(reply.body))) {
    const length = reply.body === null ? 0 : typeof reply.body === "string" ? Buffer.byteLength(reply.body) : reply.body.length;
    // 204 has no Content-Length (RFC 9110 §8.6).
    if (length >= 0 && reply.status !== 204) framing = `Content-Length: ${length}\r\n`;
  } else if (reply.length >= 0 && reply.status !== 204) framing = `Content-Length: ${reply.length}\r\n`;
  return `HTTP/1.1 ${reply.status} ${reply.reason}\r\n${reply.head}${framing}${persistence}\r\n`;
}

/** Tells whether a request may begin with this byte: a character of its method (RFC 9110 §5.6.2), or an empty line's. */
const mayBegin = (byte: number): boolean => byte === 13 || byte === 10 || (byte > 32 && byte < 127);
