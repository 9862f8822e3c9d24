import * as http2 from "node:http2";
import { isLinkLocal } from "../../values/ip.ts";
import { type Origin, tlsOptions, UpstreamFailure } from "../client.ts";
import { giveUpUnacknowledged } from "../keep-alive.ts";
import { isQuiet } from "../kernel.ts";
import type { RawSocket } from "../outgoing.ts";
import { isOutOfDescriptors } from "../shortage.ts";
import type { Http2Client } from "./client.ts";
import type { Http2Exchange } from "./exchange.ts";
import { FrameReader } from "./frames.ts";
import type { H2Headers } from "./head.ts";
import { Http2Socket } from "./socket.ts";

/** The streams that are opened at once on a connection before its server has said how many it takes, and at most. */
const MAX_BEFORE_SETTINGS = 100;
const MAX_STREAMS = 1000;
/** Bytes that a stream's server may send ahead of its reader: what one slow caller costs in memory. */
const WINDOW = 262_144;
/** The highest stream after which a connection takes no more: ids are not used twice. */
const LAST_STREAM = 2 ** 30;
/** Milliseconds that a connection to a name is used: after that the name is looked up again, since it may lead elsewhere by now. */
const NAMED_FOR = 60_000;
/** Milliseconds after which a silent peer is asked whether it is still there; Bun then asks each second, ten times. */
const KEEP_ALIVE_AFTER = 60_000;

type ClientSession = http2.ClientHttp2Session;

/** Runs one HTTP/2 connection to a target: requests share it. */
export class Http2Session {
  /** Requests under way, those included that wait for the connection. */
  readonly exchanges = new Set<Http2Exchange>();
  /** `client.now()` since which nothing is under way. */
  idleSince: number;
  /** True when it takes no further request. */
  isRetired = false;
  isClosed = false;
  /** True when requests can be sent over it. */
  isConnected = false;
  private readonly byStream = new Map<number, Http2Exchange>();
  private session: ClientSession | null = null;
  private socket: Http2Socket | null = null;
  private raw: RawSocket | null = null;
  private maxStreams = MAX_BEFORE_SETTINGS;
  private isHandshakeDone = false;
  /** The `client.now()` from which on it takes no further request. */
  private readonly retiresAt: number;
  private readonly frames: FrameReader;

  constructor(
    readonly client: Http2Client,
    readonly origin: Origin,
  ) {
    this.idleSince = client.now;
    this.retiresAt = origin.isNamed ? client.now + NAMED_FOR : Number.POSITIVE_INFINITY;
    this.frames = new FrameReader({
      ended: (stream) => this.byStream.get(stream)?.hasEnded(),
      reset: (stream, code) => this.byStream.get(stream)?.wasReset(code),
      goesAway: (last) => this.goesAway(last),
    });
  }

  /** True when one more request may take it. */
  get hasRoom(): boolean {
    return !this.isRetired && !this.isClosed && this.exchanges.size < this.maxStreams && this.client.now <= this.retiresAt;
  }

  /** False when nothing is under way and the kernel has bytes from the server, such as its end, that were not looked at. */
  get isSurelyOpen(): boolean {
    return this.exchanges.size > 0 || !this.isConnected || this.raw?.fd === undefined || isQuiet(this.raw.fd) !== false;
  }

  /** True when nobody needs it any more. */
  isOver(idleFor: number): boolean {
    return this.exchanges.size === 0 && (this.isRetired || this.client.now > this.retiresAt || this.client.now - this.idleSince > idleFor);
  }

  /** Connects. Requests that have taken it begin when that is done. */
  connect(): void {
    const { addresses, descriptors } = this.client.names;
    descriptors.opened();
    const fault = this.origin.own?.fault ?? null;
    if (fault !== null) {
      this.broke(new UpstreamFailure("connect", fault, false));
      return;
    }
    const known = this.origin.isNamed ? addresses.get(this.origin.name) : undefined;
    // While a name can't be looked up, not every connection waits for that.
    this.dial(known !== undefined && this.client.now < known.doubtedUntil ? known.address : null);
  }

  /** Connects to the target. `address`: the one that its name led to last, when it can't be looked up now. */
  private dial(address: string | null): void {
    const { client, origin } = this;
    Bun.connect<Http2Session>({
      hostname: address ?? origin.hostname,
      port: origin.port,
      ...((origin.unix === undefined ? {} : { unix: origin.unix }) as object),
      data: this,
      ...((origin.tls ? { tls: { ...tlsOptions(origin), ALPNProtocols: Buffer.from("\x02h2") } } : {}) as object),
      socket: HANDLERS,
    }).then(
      (socket) => {
        // A name that leads to such an address was made to lead there.
        if (origin.isNamed && isLinkLocal(socket.remoteAddress)) {
          this.broke(new UpstreamFailure("connect", "the name leads to a link-local address", false));
          return;
        }
        if (origin.isNamed && address === null) client.names.ledTo(origin, socket.remoteAddress);
        if (this.isClosed) socket.terminate();
        else if (!origin.tls) this.begin();
      },
      (error: Error & { code?: string; syscall?: string }) => {
        const isLookUp = address === null && error.syscall === "getaddrinfo" && !this.isClosed;
        const last = isLookUp ? client.names.lastAddress(origin, error.message) : null;
        if (last !== null) {
          this.dial(last);
          return;
        }
        // Bun tells a want of descriptors as a refused connection.
        const isOurs = isOutOfDescriptors(error.code, client.names.descriptors);
        this.broke(isOurs ? client.names.lacksDescriptors() : new UpstreamFailure("connect", error.message, false));
      },
    );
  }

  opened(raw: RawSocket): void {
    this.raw = raw;
    raw.setKeepAlive(true, KEEP_ALIVE_AFTER);
    if (raw.fd !== undefined) giveUpUnacknowledged(raw.fd);
  }

  /** Takes the end of the TLS handshake. `error`: why it failed. */
  handshaken(error: Error | null, protocol: string | false | null): void {
    if (this.isHandshakeDone || this.isClosed) return;
    this.isHandshakeDone = true;
    if (error !== null) this.broke(new UpstreamFailure("connect", `TLS: ${error.message}`, false));
    else if (protocol !== "h2") this.broke(new UpstreamFailure("connect", "TLS: the server does not offer HTTP/2 (ALPN h2)", false));
    else this.begin();
  }

  /** Speaks HTTP/2 from here on. */
  private begin(): void {
    const { raw } = this;
    if (raw === null || this.session !== null || this.isClosed) return;
    const socket = new Http2Socket(raw);
    const session = http2.connect("http://upstream", {
      createConnection: () => socket,
      settings: { enablePush: false, initialWindowSize: WINDOW },
      maxSessionMemory: 1000,
    });
    this.socket = socket;
    this.session = session;
    session.on("remoteSettings", ({ maxConcurrentStreams = MAX_STREAMS }) => {
      this.maxStreams = Math.min(maxConcurrentStreams, MAX_STREAMS);
    });
    // What has broken is told to each request by the socket.
    session.on("error", (error) => this.broke(new UpstreamFailure("protocol", `HTTP/2: ${error.message}`, true)));
    session.on("close", () => this.closed());
    // Before that streams have no numbers.
    session.on("connect", () => this.connected());
    session.unref();
  }

  private connected(): void {
    if (this.isClosed || this.isConnected) return;
    this.isConnected = true;
    this.idleSince = this.client.now;
    for (const exchange of [...this.exchanges]) exchange.begin(this);
  }

  /** Begins a stream for a request; `null`: none can be begun any more. */
  open(exchange: Http2Exchange, headers: H2Headers, isWhole: boolean, hasTrailers: boolean): http2.ClientHttp2Stream | null {
    if (this.session === null || this.isClosed || this.session.closed) return null;
    let stream: http2.ClientHttp2Stream;
    try {
      stream = this.session.request(headers, { endStream: isWhole, waitForTrailers: hasTrailers });
    } catch (error) {
      this.client.onFault(error);
      return null;
    }
    const { id } = stream;
    if (id !== undefined) {
      this.byStream.set(id, exchange);
      if (id >= LAST_STREAM) this.retire();
    }
    return stream;
  }

  /** Takes a request on, which begins at once where the connection is there. */
  take(exchange: Http2Exchange): void {
    this.exchanges.add(exchange);
    exchange.joins(this);
    if (this.isConnected) exchange.begin(this);
  }

  /** Lets go of a request that is over. */
  leave(exchange: Http2Exchange, stream: number | undefined): void {
    this.exchanges.delete(exchange);
    if (stream !== undefined) this.byStream.delete(stream);
    if (this.exchanges.size > 0) return;
    this.idleSince = this.client.now;
    if (this.isClosed) this.dispose();
    else if (this.isRetired || !this.isConnected) this.close();
  }

  /** Takes no further request; those under way go on. */
  retire(): void {
    this.isRetired = true;
    if (this.exchanges.size === 0) this.close();
  }

  /** Closes the connection, with what is under way. */
  close(): void {
    this.broke(new UpstreamFailure("reset", "the connection was closed", true));
  }

  arrived(bytes: Buffer): void {
    this.frames.read(bytes);
    this.socket?.arrived(bytes);
  }

  drained(): void {
    this.socket?.flushed();
  }

  /** Ends the connection, and fails what is under way. Answers that have come as a whole are delivered all the same. */
  broke(failure: UpstreamFailure): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.client.names.descriptors.closed();
    this.client.left(this);
    this.socket?.cut();
    this.raw?.terminate();
    for (const exchange of [...this.exchanges]) exchange.wasLost(failure);
    if (this.exchanges.size === 0) this.dispose();
  }

  /** Lets go of what node:http2 holds. */
  private dispose(): void {
    this.socket?.lost();
    if (this.session !== null && !this.session.destroyed) this.session.destroy();
  }

  closed(): void {
    this.broke(
      this.isConnected
        ? new UpstreamFailure("reset", "the upstream closed the connection before it answered", true)
        : new UpstreamFailure("connect", "the connection closed at once", false),
    );
  }

  /** The server takes no more streams, and none above `last` was looked at: those can be sent again. */
  private goesAway(last: number): void {
    this.isRetired = true;
    for (const [id, exchange] of [...this.byStream]) if (id > last) exchange.wasRefused();
    if (this.exchanges.size === 0) this.close();
  }
}

const HANDLERS = {
  open: (socket: { readonly data: Http2Session }) => socket.data.opened(socket as unknown as RawSocket),
  data: (socket: { readonly data: Http2Session }, bytes: Buffer) => socket.data.arrived(bytes),
  drain: (socket: { readonly data: Http2Session }) => socket.data.drained(),
  close: (socket: { readonly data: Http2Session }) => socket.data.closed(),
  error: (socket: { readonly data: Http2Session }) => socket.data.closed(),
  // Bun rejects the promise of `connect` as well, which is where the failure is handled.
  connectError: () => {},
  handshake: (
    socket: { readonly data: Http2Session; readonly alpnProtocol?: string | false | null },
    success: boolean,
    error: Error | null,
  ) => socket.data.handshaken(success && error === null ? null : (error ?? new Error("the handshake failed")), socket.alpnProtocol ?? null),
};
