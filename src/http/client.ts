import { isIP } from "node:net";
import type { Socket } from "bun";
import type { Clock } from "../values/clock.ts";
import { isLinkLocal } from "../values/ip.ts";
import type { Body, Sink } from "./body.ts";
import { type Descriptors, descriptors as ownDescriptors } from "./descriptors.ts";
import type { Fields } from "./fields.ts";
import { ChunkedDecoder, CloseDecoder, type Decoder, encodeChunk, LAST_CHUNK, LengthDecoder } from "./framing.ts";
import { HeadFault, HeadReader, type ResponseHead } from "./head.ts";
import { giveUpUnacknowledged } from "./keep-alive.ts";
import { isQuiet } from "./kernel.ts";
import { Outgoing, type RawSocket } from "./outgoing.ts";
import { isOutOfDescriptors } from "./shortage.ts";
import { type KeepsTrailer, lastChunk, type Trailers } from "./trailers.ts";

/** Holds what is to be trusted, shown and asked for in TLS with one target, as read from files: all PEM. */
export interface OwnTls {
  /** Tells it from what the same files held at another time, and from that of others. */
  readonly id: string;
  /** The authorities, in the place of the system's; `null`: the system's. */
  readonly ca: string | null;
  /** The chain that is shown, and its key; `null`: none. */
  readonly cert: string | null;
  readonly key: string | null;
  /** The name that is asked for, and that the target's certificate must be for; `null`: the one in its address. */
  readonly serverName: string | null;
  /** Says why it can't be used: then no connection is made. `null`: it can. */
  readonly fault: string | null;
}

/** Holds one target's address, parsed once. */
export interface Origin {
  /** The key that its connections are pooled under: those with other TLS have another one. */
  readonly key: string;
  /** What it is called where people read it: `https://example.com:443`. */
  readonly name: string;
  readonly hostname: string;
  readonly port: number;
  readonly tls: boolean;
  /** What its TLS is made with in the place of the defaults; `null`: nothing. */
  readonly own: OwnTls | null;
  /** True for a name, false for an address. */
  readonly isNamed: boolean;
  /** True when HTTP/2 is spoken there (RFC 9113); left out: HTTP/1.1. */
  readonly http2?: boolean;
  /** The path of a Unix socket in the place of hostname and port; left out: none. */
  readonly unix?: string;
  /** True where another process of this gateway answers, which may set Sluice's own cookies; left out: somebody else does. */
  readonly isOurs?: boolean;
}

/**
 * Says which connection a request may take: any kept one, since it can be repeated when that turns out to be closed; a kept one of which
 * the kernel knows no close; or a new one, for a request that can't be sent twice and is large enough to pay for it.
 */
export type Reuse = "any" | "checked" | "new";

export interface UpstreamRequest {
  readonly method: string;
  /** The whole head with its empty line, framing fields included. */
  readonly head: string;
  readonly body: Body | null;
  /** True when `head` says that the body is chunked. */
  readonly chunked: boolean;
  /** True when `head` asks to leave HTTP/1.1 (RFC 9110 §7.8). */
  readonly upgrade: boolean;
  /** Milliseconds that making a connection may take. */
  readonly connectTimeout: number;
  /** Milliseconds until the response's head must be there. */
  readonly timeout: number;
  /** Milliseconds until the response's head must be there whatever the caller still sends, over HTTP/2 alone; left out: any time. */
  readonly deadline?: number | null;
  /** Milliseconds that the response's body may be silent. */
  readonly bodyTimeout: number;
  /** The connection that the request may take; left out: any. */
  readonly reuse?: Reuse;
  /** Takes interim answers (RFC 9110 §15.2) but 100 and 101; left out: they are dropped. */
  readonly onInterim?: ((status: number, reason: string, fields: Fields, connection: string) => void) | null;
  /** Tells which trailer fields of a chunked body go on; left out: all. */
  readonly keepsTrailer?: KeepsTrailer | null;
}

export interface UpstreamResponse {
  readonly status: number;
  readonly reason: string;
  readonly fields: Fields;
  readonly connection: string;
  /** `Content-Length` as stated, or -1. */
  readonly length: number;
  /** All of it when it came with the head, otherwise a body on its way. */
  readonly body: Uint8Array | Body | null;
  /** After a 101: the connection itself. */
  readonly tunnel: UpstreamTunnel | null;
}

/** Controls the upstream's side of a connection that has left HTTP. */
export interface UpstreamTunnel {
  write(bytes: Uint8Array): boolean;
  resume(): void;
  close(): void;
  /** Begins to deliver. `drained` is called when a `write` that gave false has gone out. */
  start(receiver: { write(bytes: Uint8Array): boolean; drained(): void; close(): void }): void;
}

export type FailureKind = "connect" | "timeout" | "reset" | "protocol" | "request" | "aborted" | "descriptors";

/** Says why a request got no response, or not a whole one. */
export class UpstreamFailure extends Error {
  /** True when the upstream had closed a kept connection before this request: a new connection will most likely do. */
  isStale = false;
  /** True when the upstream has said that it did not look at the request (RFC 9113 §8.7): it can be sent again, whatever it does. */
  isUnprocessed = false;

  constructor(
    /**
     * `connect`: no connection was made. `reset`: it broke. `protocol`: the response was not HTTP. `request`: the caller's body broke off.
     * `aborted`: the caller gave up. `descriptors`: the gateway itself has none left.
     */
    readonly kind: FailureKind,
    message: string,
    /** False when not one byte of the request can have reached the upstream. */
    readonly wasSent: boolean,
    cause?: Error,
  ) {
    super(message, { cause });
  }
}

/** Makes the failure of a request whose caller is gone: nobody wants an answer any more. */
export const callerLeft = (wasSent = false): UpstreamFailure => new UpstreamFailure("aborted", "the caller gave up", wasSent);

/** Gives up a response that nobody gets. */
export function discard({ body }: UpstreamResponse): void {
  if (body !== null && !(body instanceof Uint8Array)) body.cancel();
}

/** Gives the origin of a host and port. `own`: what its TLS is made with in the place of the defaults. */
export function originOf(hostname: string, port: number, tls: boolean, own: OwnTls | null = null): Origin {
  const name = `${tls ? "https" : "http"}://${hostname}:${port}`;
  return {
    key: own === null ? name : `${name}#${own.id}`,
    name,
    hostname,
    port,
    tls,
    own,
    isNamed: isIP(hostname) === 0 && hostname !== "localhost",
  };
}

/** Gives the origin of a Unix socket. */
export function unixOrigin(path: string): Origin {
  const name = `unix:${path}`;
  return { key: name, name, hostname: "localhost", port: 0, tls: false, own: null, isNamed: false, unix: path };
}

/** Gives what `Bun.connect` takes for the TLS of a target. */
export function tlsOptions({ hostname, own }: Origin): object {
  const { ca = null, cert = null, key = null, serverName = null } = own ?? {};
  return {
    serverName: serverName ?? hostname,
    rejectUnauthorized: true,
    ...(ca === null ? {} : { ca }),
    ...(cert === null ? {} : { cert, key }),
  };
}

/** Controls a request under way, which can be given up. */
export interface Call {
  /** True when anything of the request may have left. */
  readonly isSent: boolean;
  readonly response: Promise<UpstreamResponse>;
  abort(): void;
}

export interface UpstreamClient {
  send(origin: Origin, request: UpstreamRequest): Call;
  close(): void;
}

/**
 * The number of idle connections kept for one origin, and the milliseconds they are kept: fewer than the 5 s after which many servers
 * close, so that few requests meet a closing connection.
 */
const MAX_IDLE = 4096;
const IDLE_FOR = 4_000;
/** Milliseconds that a connection to a name is used: after that the name is looked up again, since it may lead elsewhere by now. */
const NAMED_FOR = 60_000;
/** The exactness of timeouts, in milliseconds. */
const TICK = 25;
/** The ticks between two looks at what has been told and may be over. */
const LOOK_BACK_EVERY = 200;
const MAX_HEAD = 262_144;
/** The number of interim answers that are read before an answer: more are a backend's fault, or a flood. */
const MAX_INTERIM = 100;
/** The beginning of every response: bytes that begin otherwise are no HTTP, and no more of them are waited for. */
const PROTOCOL = "HTTP/1.";
/** Milliseconds that a connection may have been idle where the kernel can't be asked whether it is still open. */
const SURELY_OPEN_FOR = 5;
/**
 * Milliseconds for which, after an origin has sent bytes that nobody asked for, its kept connections are looked at before each use, and
 * such bytes are not told again.
 */
const SUSPECT_FOR = 60_000;
/** Milliseconds for which a name that can't be looked up is not looked up again. */
const LOOK_UP_AGAIN_AFTER = 10_000;
/**
 * Milliseconds that a shortage of descriptors is told after the last request that got none, and doubt of a name after the last request that
 * went there.
 */
const TOLD_FOR = 60_000;
/** The number of names whose last address is remembered. */
const MAX_ADDRESSES = 1024;
/** Milliseconds after which a silent peer is asked whether it is still there; Bun then asks each second, ten times. */
const KEEP_ALIVE_AFTER = 60_000;
const EMPTY = Buffer.alloc(0);

/** Names what the client tells whoever runs the gateway. */
export interface ClientNotes {
  /** Tells that an upstream has sent bytes that belong to no answer; once a minute for each origin. */
  readonly onUnasked: (origin: string) => void;
  /**
   * Tells that a name can't be looked up, so that `address` is used; or (`error` is `null`) that it can be again, or nobody has asked for
   * it for a while.
   */
  readonly onLookUp: (origin: string, address: string, error: string | null) => void;
  /** Tells that requests are refused for want of descriptors, or have not been for a while. */
  readonly onShortage: (isShort: boolean) => void;
}

/**
 * Sends requests over pooled HTTP/1.1 connections of `Bun.connect`. Compared with `fetch`: no cap on requests in flight or on idle
 * connections, the header lines and body bytes as they are on the wire (no decompression, nothing added), and a 101 gives the connection
 * itself.
 */
export class PooledClient implements UpstreamClient {
  /** Connections with a request under way. */
  readonly active = new Set<UpstreamConnection>();
  readonly pools = new Map<string, Pool>();
  /** `clock.now()` at the last tick or request. */
  now: number;
  /** The last good address of each name; one that is in doubt is used until `doubtedUntil` without being looked up. */
  readonly addresses = new Map<string, { address: string; doubtedUntil: number }>();
  private ticks = 0;
  private shortUntil = 0;
  private readonly ticker: Timer;
  private readonly forget: () => void;

  constructor(
    readonly clock: Clock,
    readonly notes: Partial<ClientNotes> = {},
    readonly descriptors: Descriptors = ownDescriptors,
  ) {
    this.now = clock.now();
    this.forget = descriptors.holdsIdle(() => this.closeIdle());
    this.ticker = setInterval(() => this.tick(), TICK);
    this.ticker.unref();
  }

  send(origin: Origin, request: UpstreamRequest): Call {
    // Exact, since a tick that comes late would take its lateness off every timeout.
    this.now = this.clock.now();
    const pool = this.poolOf(origin);
    const exchange = new Exchange(this, origin, request, pool);
    const idle = this.idleOf(pool, request.reuse ?? "any");
    if (idle !== undefined) idle.begin(exchange);
    else exchange.connect();
    return exchange;
  }

  private idleOf(pool: Pool, reuse: Reuse): UpstreamConnection | undefined {
    if (reuse === "new") return undefined;
    const isChecked = reuse === "checked" || this.now < pool.suspectUntil;
    for (;;) {
      const idle = pool.idle.pop();
      // What the kernel has closed is known only after its event: a connection that was idle for long is not trusted.
      if (idle === undefined || (idle.isUsable && (!isChecked || idle.isSurelyOpen))) return idle;
      idle.terminate();
    }
  }

  /** Closes the connection that has been idle for longest. False when no connection is idle. */
  private closeIdle(): boolean {
    let longest: UpstreamConnection | undefined;
    for (const { idle } of this.pools.values()) {
      const [first] = idle;
      if (first !== undefined && (longest === undefined || first.idleUntil < longest.idleUntil)) longest = first;
    }
    if (longest === undefined) return false;
    longest.pool.idle.shift();
    longest.terminate();
    return true;
  }

  /**
   * Suspects an origin's connections after one has brought bytes that belong to no answer: more may follow in the middle of another
   * exchange.
   */
  suspect(pool: Pool): void {
    if (this.now < pool.suspectUntil) return;
    pool.suspectUntil = this.now + SUSPECT_FOR;
    this.notes.onUnasked?.(pool.name);
  }

  /** Remembers the address that a name has led to. */
  ledTo(origin: Origin, address: string): void {
    const known = this.addresses.get(origin.name);
    if (known === undefined) {
      for (const oldest of this.addresses.keys()) {
        if (this.addresses.size < MAX_ADDRESSES) break;
        this.addresses.delete(oldest);
      }
      this.addresses.set(origin.name, { address, doubtedUntil: 0 });
      return;
    }
    known.address = address;
    if (known.doubtedUntil === 0) return;
    known.doubtedUntil = 0;
    this.notes.onLookUp?.(origin.name, address, null);
  }

  /** Gives the address that a name led to last, now that it can't be looked up; `null` when there is none. */
  lastAddress(origin: Origin, error: string): string | null {
    const known = this.addresses.get(origin.name);
    if (known === undefined) return null;
    if (known.doubtedUntil === 0) this.notes.onLookUp?.(origin.name, known.address, error);
    known.doubtedUntil = this.now + LOOK_UP_AGAIN_AFTER;
    return known.address;
  }

  /** Makes the failure of a request that got no connection, since the process has no descriptor left, and tells of the shortage. */
  lacksDescriptors(): UpstreamFailure {
    if (this.shortUntil === 0) this.notes.onShortage?.(true);
    this.shortUntil = this.now + TOLD_FOR;
    return new UpstreamFailure("descriptors", "out of file descriptors", false);
  }

  /** Tells what is over: a shortage of descriptors, and doubts about names. */
  private lookBack(): void {
    if (this.shortUntil !== 0 && this.now > this.shortUntil) {
      this.shortUntil = 0;
      this.notes.onShortage?.(false);
    }
    for (const [origin, known] of this.addresses) {
      if (known.doubtedUntil === 0 || this.now < known.doubtedUntil + TOLD_FOR) continue;
      known.doubtedUntil = 0;
      this.notes.onLookUp?.(origin, known.address, null);
    }
  }

  close(): void {
    this.forget();
    clearInterval(this.ticker);
    for (const { idle } of this.pools.values()) for (const connection of idle.splice(0)) connection.terminate();
    for (const connection of [...this.active]) connection.terminate();
  }

  private poolOf(origin: Origin): Pool {
    let pool = this.pools.get(origin.key);
    if (pool === undefined) {
      pool = { name: origin.name, heads: new HeadReader(origin.isOurs !== true), idle: [], open: 0, suspectUntil: 0 };
      this.pools.set(origin.key, pool);
    }
    return pool;
  }

  private tick(): void {
    this.now = this.clock.now();
    if (++this.ticks % LOOK_BACK_EVERY === 0) this.lookBack();
    for (const connection of this.active) connection.checkDeadline(this.now);
    for (const [key, { idle, open, suspectUntil }] of this.pools) {
      // The longest idle stand first, since the last one in is the first one out.
      while (idle.length > 0 && (idle[0] as UpstreamConnection).idleUntil < this.now) idle.shift()?.terminate();
      // Busy connections come back to the pool they were taken from: only one that has none may go.
      if (open === 0 && suspectUntil < this.now) this.pools.delete(key);
    }
  }
}

/** Holds the connections to one origin. */
interface Pool {
  /** The origin's name. */
  readonly name: string;
  readonly heads: HeadReader;
  readonly idle: UpstreamConnection[];
  /** The number of its connections: idle, busy or being made. */
  open: number;
  /** The `client.now` until which its connections are looked at before they are used again. */
  suspectUntil: number;
}

/** Carries one request from its start to its response or failure. */
class Exchange implements Call {
  readonly response: Promise<UpstreamResponse>;
  private settle!: (response: UpstreamResponse) => void;
  private refuse!: (reason: UpstreamFailure) => void;
  connection: UpstreamConnection | null = null;
  isOver = false;
  isSent = false;

  constructor(
    readonly client: PooledClient,
    private readonly origin: Origin,
    readonly request: UpstreamRequest,
    readonly pool: Pool,
  ) {
    this.response = new Promise((resolve, reject) => {
      this.settle = resolve;
      this.refuse = reject;
    });
  }

  connect(): void {
    const { client, origin, request } = this;
    const { descriptors } = client;
    if (origin.own !== null && origin.own.fault !== null) {
      this.fail(new UpstreamFailure("connect", origin.own.fault, false));
      return;
    }
    if (descriptors.isShort && !descriptors.makeRoom()) {
      this.fail(client.lacksDescriptors());
      return;
    }
    const connection = new UpstreamConnection(client, this.pool, origin.isNamed);
    this.pool.open++;
    descriptors.opened();
    const patience = setTimeout(
      () => this.fail(new UpstreamFailure("connect", "no connection within the connect timeout", false)),
      request.connectTimeout,
    );
    const known = origin.isNamed ? client.addresses.get(origin.name) : undefined;
    // While a name can't be looked up, not every connection waits for that.
    this.dial(connection, patience, known !== undefined && client.now < known.doubtedUntil ? known.address : null);
  }

  /** Connects to the target. `address`: the one that its name led to last, when it can't be looked up now. */
  private dial(connection: UpstreamConnection, patience: Timer, address: string | null): void {
    const { client, origin } = this;
    Bun.connect<UpstreamConnection>({
      hostname: address ?? origin.hostname,
      port: origin.port,
      ...((origin.unix === undefined ? {} : { unix: origin.unix }) as object),
      data: connection,
      ...((origin.tls ? { tls: tlsOptions(origin) } : {}) as object),
      socket: HANDLERS,
    }).then(
      (socket) => {
        clearTimeout(patience);
        // A name that leads to such an address was made to lead there.
        if (origin.isNamed && isLinkLocal(socket.remoteAddress)) {
          this.fail(new UpstreamFailure("connect", "the name leads to a link-local address", false));
          socket.terminate();
          return;
        }
        if (origin.isNamed && address === null) client.ledTo(origin, socket.remoteAddress);
        // With TLS the request goes out only after the certificate was checked.
        if (this.isOver) socket.terminate();
        else if (origin.tls) connection.awaitHandshake(this);
        else connection.begin(this);
      },
      (error: Error & { code?: string; syscall?: string }) => {
        const last = address === null && error.syscall === "getaddrinfo" && !this.isOver ? client.lastAddress(origin, error.message) : null;
        if (last !== null) {
          this.dial(connection, patience, last);
          return;
        }
        clearTimeout(patience);
        // Bun tells a want of descriptors as a refused connection.
        const isOurs = isOutOfDescriptors(error.code, client.descriptors);
        connection.closed();
        this.fail(isOurs ? client.lacksDescriptors() : new UpstreamFailure("connect", error.message, false));
      },
    );
  }

  resolve(response: UpstreamResponse): void {
    this.isOver = true;
    this.settle(response);
  }

  fail(failure: UpstreamFailure): void {
    if (this.isOver) return;
    this.isOver = true;
    this.refuse(failure);
  }

  abort(): void {
    this.fail(callerLeft(true));
    this.connection?.terminate();
  }
}

/** Runs one connection to a target, one exchange at a time. */
class UpstreamConnection {
  idleUntil = Number.POSITIVE_INFINITY;
  socket!: RawSocket;
  private out!: Outgoing;
  private exchange: Exchange | null = null;
  private handshakeFor: Exchange | null = null;
  private uses = 0;
  private interims = 0;
  private buffer: Buffer = EMPTY;
  private body: ResponseBody | null = null;
  private tunnel: { write(bytes: Uint8Array): boolean; drained(): void; close(): void } | null = null;
  private deadline = Number.POSITIVE_INFINITY;
  private isClosed = false;
  /** The request's body while it is on its way up. */
  private upload: Body | null = null;
  private isPaused = false;
  /** The `client.now` from which on it serves no further request. */
  private readonly retiresAt: number;

  constructor(
    private readonly client: PooledClient,
    readonly pool: Pool,
    isNamed: boolean,
  ) {
    this.retiresAt = isNamed ? client.now + NAMED_FOR : Number.POSITIVE_INFINITY;
  }

  get isUsable(): boolean {
    return !this.isClosed && this.idleUntil > this.client.now;
  }

  /** True when the kernel knows of nothing that has come, the end included; where it can't be asked, when it was used a moment ago. */
  get isSurelyOpen(): boolean {
    return isQuiet(this.descriptor) ?? this.idleUntil - IDLE_FOR + SURELY_OPEN_FOR > this.client.now;
  }

  private get descriptor(): number {
    return (this.socket as { readonly fd?: number }).fd ?? -1;
  }

  opened(socket: RawSocket): void {
    this.socket = socket;
    this.out = new Outgoing(socket);
  }

  awaitHandshake(exchange: Exchange): void {
    if (this.isClosed) exchange.fail(new UpstreamFailure("connect", "the connection closed during the TLS handshake", false));
    else this.handshakeFor = exchange;
    exchange.connection = this;
    this.client.active.add(this);
    this.deadline = this.client.now + exchange.request.connectTimeout;
    if (this.isHandshakeDone) this.handshaken(this.handshakeError);
  }

  private isHandshakeDone = false;
  private handshakeError: Error | null = null;

  handshaken(error: Error | null): void {
    this.isHandshakeDone = true;
    this.handshakeError = error;
    const exchange = this.handshakeFor;
    if (exchange === null) return;
    this.handshakeFor = null;
    if (error !== null) {
      exchange.fail(new UpstreamFailure("connect", `TLS: ${error.message}`, false));
      this.terminate();
    } else if (!exchange.isOver) this.begin(exchange);
    else this.terminate();
  }

  begin(exchange: Exchange): void {
    const { request } = exchange;
    this.exchange = exchange;
    exchange.connection = this;
    exchange.isSent = true;
    // What can't be sent twice is lost on a connection that the backend closes before it leaves, at the end of this turn.
    this.out.mayLeave = this.uses > 0 && request.reuse === "checked" ? this.isStillOpen : null;
    this.uses++;
    this.interims = 0;
    this.idleUntil = Number.POSITIVE_INFINITY;
    this.deadline = this.client.now + request.timeout;
    this.client.active.add(this);
    if (this.isClosed) {
      exchange.fail(new UpstreamFailure("connect", "the connection closed at once", false));
      return;
    }
    if (request.body === null) {
      this.out.writeMessage(request.head, null);
      return;
    }
    this.upload = request.body;
    const sink = new RequestSink(this, request);
    request.body.start(sink);
    sink.writeHead();
  }

  receive(chunk: Buffer): void {
    if (this.tunnel !== null) {
      if (!this.tunnel.write(chunk)) this.pause();
      return;
    }
    if (this.body !== null) {
      this.feed(chunk, 0);
      return;
    }
    if (this.exchange === null) {
      // Bytes that nobody asked for: the connection is out of step.
      this.client.suspect(this.pool);
      this.terminate();
      return;
    }
    this.buffer = this.buffer.length === 0 ? chunk : Buffer.concat([this.buffer, chunk]);
    this.readHead(this.exchange);
  }

  private readHead(exchange: Exchange): void {
    for (;;) {
      const end = this.pool.heads.find(this.buffer);
      if (end < 0) {
        if (this.buffer.length > MAX_HEAD) this.break("protocol", "the response's head is too large");
        else if (!PROTOCOL.startsWith(this.buffer.toString("latin1", 0, PROTOCOL.length)))
          this.break("protocol", "the response is not HTTP");
        return;
      }
      const head = this.pool.heads.response(exchange.request.method);
      if (head instanceof HeadFault) {
        this.break("protocol", head.detail);
        return;
      }
      const rest = end + 4 === this.buffer.length ? EMPTY : this.buffer.subarray(end + 4);
      this.buffer = EMPTY;
      if (head.status === 101) {
        this.leaveHttp(exchange, head, rest);
        return;
      }
      if (head.status < 200) {
        if (++this.interims > MAX_INTERIM) {
          this.break("protocol", "too many interim responses");
          return;
        }
        // The client's 100 was answered by us.
        if (head.status !== 100) exchange.request.onInterim?.(head.status, head.reason, head.fields, head.connection);
        // Who took it may have given the exchange up.
        if (this.exchange !== exchange) return;
        this.buffer = rest;
        if (rest.length === 0) return;
        continue;
      }
      this.answer(exchange, head, rest);
      return;
    }
  }

  private answer(exchange: Exchange, head: ResponseHead, rest: Buffer): void {
    if (head.framing === "none") {
      // A backend that states a body where none may follow may send it all the same, later: that would be the next caller's answer.
      this.complete(head, rest.length === 0, !head.statesBody);
      exchange.resolve(responseOf(head, null));
      return;
    }
    if (head.framing === "length" && rest.length >= head.contentLength) {
      this.complete(head, rest.length === head.contentLength);
      exchange.resolve(responseOf(head, rest.length === head.contentLength ? rest : rest.subarray(0, head.contentLength)));
      return;
    }
    const body = new ResponseBody(this, head);
    this.body = body;
    // Events may be silent for hours; anything else that stalls is cut off.
    const stream = head.fields.get("content-type")?.startsWith("text/event-stream") === true;
    body.timeout = stream ? Number.POSITIVE_INFINITY : exchange.request.bodyTimeout;
    if (stream) giveUpUnacknowledged(this.descriptor);
    this.deadline = this.client.now + body.timeout;
    exchange.resolve(responseOf(head, body));
    if (rest.length > 0) this.feed(rest, 0);
  }

  private feed(chunk: Buffer, from: number): void {
    const body = this.body;
    if (body === null) return;
    this.deadline = this.client.now + body.timeout;
    let used: number;
    try {
      used = body.feed(chunk, from);
    } catch (error) {
      this.break("protocol", error instanceof Error ? error.message : "malformed body");
      return;
    }
    if (body.isDone) {
      this.body = null;
      this.complete(body.head, used === chunk.length);
    }
  }

  private leaveHttp(exchange: Exchange, head: ResponseHead, rest: Buffer): void {
    if (!exchange.request.upgrade) {
      this.break("protocol", "101 without an upgrade being asked for");
      return;
    }
    this.deadline = Number.POSITIVE_INFINITY;
    giveUpUnacknowledged(this.descriptor);
    this.pause();
    const tunnel: UpstreamTunnel = {
      write: (bytes) => this.out.write(bytes),
      resume: () => this.resume(),
      close: () => this.part(),
      start: (receiver) => {
        if (this.isClosed) {
          receiver.close();
          return;
        }
        this.tunnel = receiver;
        if (rest.length === 0 || receiver.write(rest)) this.resume();
      },
    };
    exchange.resolve({ ...responseOf(head, null), tunnel });
  }

  /** Ends the exchange; the connection may serve another. `inStep`: nothing has come behind the answer. */
  private complete(head: ResponseHead, inStep: boolean, mayServe = true): void {
    if (!inStep) this.client.suspect(this.pool);
    // Who gives up from now on must not cut off the connection's next exchange.
    if (this.exchange !== null) this.exchange.connection = null;
    this.exchange = null;
    this.deadline = Number.POSITIVE_INFINITY;
    this.client.active.delete(this);
    if (
      !head.keepAlive ||
      !inStep ||
      !mayServe ||
      this.upload !== null ||
      this.isClosed ||
      this.pool.idle.length >= MAX_IDLE ||
      this.client.now > this.retiresAt
    ) {
      this.terminate();
      return;
    }
    this.resume();
    this.idleUntil = this.client.now + IDLE_FOR;
    this.pool.idle.push(this);
  }

  checkDeadline(now: number): void {
    if (now < this.deadline || this.isPaused) return;
    // While the caller is still sending, the upstream is not the one who is late.
    if (this.upload !== null && this.body === null && this.out.pending === 0) {
      this.deadline = now + (this.exchange?.request.timeout ?? 0);
      return;
    }
    if (this.handshakeFor !== null)
      this.handshakeFor.fail(new UpstreamFailure("connect", "no TLS handshake within the connect timeout", false));
    this.break("timeout", "the upstream did not answer in time");
  }

  drained(): void {
    if (!this.out.flush()) return;
    if (this.tunnel !== null) this.tunnel.drained();
    else this.upload?.resume();
  }

  sent(): void {
    this.upload = null;
    if (this.exchange !== null && this.body === null) this.deadline = this.client.now + this.exchange.request.timeout;
  }

  write(bytes: Uint8Array): boolean {
    return this.isClosed ? true : this.out.write(bytes);
  }

  writeChunk(bytes: Uint8Array): boolean {
    return this.isClosed ? true : this.out.writeChunk(bytes);
  }

  writeHead(head: string, body: Uint8Array | null): boolean {
    return this.isClosed ? true : this.out.writeMessage(head, body);
  }

  closed(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.pool.open--;
    this.client.descriptors.closed();
    this.client.active.delete(this);
    const { exchange, body, tunnel } = this;
    this.exchange = null;
    this.body = null;
    this.tunnel = null;
    if (tunnel !== null) tunnel.close();
    else if (body !== null) body.connectionClosed();
    else if (exchange !== null) exchange.fail(this.resetOf(exchange));
    if (this.handshakeFor !== null)
      this.handshakeFor.fail(new UpstreamFailure("connect", "the connection closed during the TLS handshake", false));
    this.giveUpUpload();
  }

  break(kind: FailureKind, message: string, cause?: Error): void {
    const failure = new UpstreamFailure(kind, message, true, cause);
    const { exchange, body } = this;
    this.exchange = null;
    this.body = null;
    this.terminate();
    if (body !== null) body.fail(failure);
    else exchange?.fail(failure);
  }

  private giveUpUpload(): void {
    const upload = this.upload;
    this.upload = null;
    upload?.cancel();
  }

  terminate(): void {
    if (this.isClosed) return;
    this.out.send();
    this.socket.terminate();
    this.closed();
  }

  /** Closes the connection after the bytes that the kernel has already taken are sent. */
  private part(): void {
    if (this.isClosed) return;
    this.out.send();
    this.socket.end();
    this.closed();
  }

  pause(): void {
    if (this.isPaused || this.isClosed) return;
    this.isPaused = true;
    this.socket.pause();
  }

  resume(): void {
    if (!this.isPaused || this.isClosed) return;
    this.isPaused = false;
    if (this.body !== null) this.deadline = this.client.now + this.body.timeout;
    this.socket.resume();
  }

  /** Tells whether the backend has not closed the kept connection meanwhile. If it has, the exchange fails as one that nobody has seen. */
  private readonly isStillOpen = (): boolean => {
    if (isQuiet(this.descriptor) !== false) return true;
    const { exchange } = this;
    this.exchange = null;
    this.terminate();
    if (exchange === null) return false;
    exchange.connection = null;
    const failure = closedWhileIdle(false);
    failure.isUnprocessed = true;
    exchange.fail(failure);
    return false;
  };

  /** Makes the failure of a connection that has closed before a response began. A kept one was most likely closed while it was idle. */
  private resetOf(exchange: Exchange): UpstreamFailure {
    exchange.connection = null;
    if (this.uses > 1 && this.buffer.length === 0) return closedWhileIdle(true);
    return new UpstreamFailure("reset", "the upstream closed the connection before it answered", true);
  }
}

/** Makes the failure of a request whose kept connection the upstream has closed. `wasSent`: bytes of the request may have reached it. */
function closedWhileIdle(wasSent: boolean): UpstreamFailure {
  const failure = new UpstreamFailure("reset", "a kept connection was closed by the upstream", wasSent);
  failure.isStale = true;
  return failure;
}

/** Sends a request that has a body. */
class RequestSink implements Sink {
  private readonly chunked: boolean;
  /** The head, until it is sent: it goes with the first bytes of the body when they are there already. */
  private head: string | null;

  constructor(
    private readonly connection: UpstreamConnection,
    private readonly request: UpstreamRequest,
  ) {
    this.chunked = request.chunked;
    this.head = request.head;
  }

  writeHead(): void {
    if (this.head !== null) this.connection.writeHead(this.head, null);
    this.head = null;
  }

  write(bytes: Uint8Array): boolean {
    const { head } = this;
    if (head === null) return this.chunked ? this.connection.writeChunk(bytes) : this.connection.write(bytes);
    this.head = null;
    return this.connection.writeHead(head, this.chunked ? encodeChunk(bytes) : bytes);
  }

  end(trailers: Trailers | null = null): void {
    this.writeHead();
    if (this.chunked) this.connection.write(trailers === null ? LAST_CHUNK : lastChunk(trailers, this.request.keepsTrailer ?? null));
    this.connection.sent();
  }

  fail(reason: Error): void {
    this.head = null;
    this.request.body?.cancel();
    this.connection.break("request", reason.message, reason);
  }
}

/** Passes a response's body on as it comes. */
class ResponseBody implements Body {
  readonly length: number;
  timeout = Number.POSITIVE_INFINITY;
  private readonly decoder: Decoder;
  private sink: Sink | null = null;
  private held: Uint8Array[] = [];
  private failure: Error | null = null;
  private isEnded = false;

  constructor(
    private readonly connection: UpstreamConnection,
    readonly head: ResponseHead,
  ) {
    this.length = head.framing === "length" ? head.contentLength : -1;
    this.decoder =
      head.framing === "chunked"
        ? new ChunkedDecoder()
        : head.framing === "length"
          ? new LengthDecoder(head.contentLength)
          : new CloseDecoder();
  }

  get isDone(): boolean {
    return this.decoder.done;
  }

  start(sink: Sink): void {
    this.sink = sink;
    const held = this.held;
    this.held = [];
    let fits = true;
    for (const bytes of held) fits = sink.write(bytes) && fits;
    if (this.failure !== null) sink.fail(this.failure);
    else if (this.isEnded) sink.end(this.decoder.trailers);
    else if (fits) this.connection.resume();
  }

  resume(): void {
    this.connection.resume();
  }

  cancel(): void {
    this.sink = null;
    if (!this.isEnded && this.failure === null) this.connection.terminate();
  }

  feed(chunk: Buffer, from: number): number {
    const used = this.decoder.decode(chunk, from, (part) => this.push(part));
    if (this.decoder.done) this.end();
    return used;
  }

  /** Ends a body whose end is the connection's end; fails any other, since the connection is gone. */
  connectionClosed(): void {
    if (this.decoder instanceof CloseDecoder) this.end();
    else this.fail(new UpstreamFailure("reset", "the upstream closed the connection within the response", true));
  }

  fail(reason: Error): void {
    if (this.isEnded) return;
    this.failure = reason;
    this.sink?.fail(reason);
  }

  private end(): void {
    this.isEnded = true;
    this.sink?.end(this.decoder.trailers);
  }

  private push(part: Uint8Array): void {
    if (this.sink === null) {
      this.held.push(part);
      this.connection.pause();
    } else if (!this.sink.write(part)) this.connection.pause();
  }
}

const HANDLERS = {
  open: (socket: Socket<UpstreamConnection>) => {
    socket.setKeepAlive(true, KEEP_ALIVE_AFTER);
    socket.data.opened(socket as unknown as RawSocket);
  },
  data: (socket: Socket<UpstreamConnection>, bytes: Buffer) => socket.data.receive(bytes),
  drain: (socket: Socket<UpstreamConnection>) => socket.data.drained(),
  close: (socket: Socket<UpstreamConnection>) => socket.data.closed(),
  error: (socket: Socket<UpstreamConnection>) => socket.data.closed(),
  // Bun rejects the promise of `connect` as well, which is where the failure is handled.
  connectError: () => {},
  handshake: (socket: Socket<UpstreamConnection>, success: boolean, error: Error | null) =>
    socket.data.handshaken(success && error === null ? null : (error ?? new Error("the handshake failed"))),
};

const responseOf = (head: ResponseHead, body: Uint8Array | Body | null): UpstreamResponse => ({
  status: head.status,
  reason: head.reason,
  fields: head.fields,
  connection: head.connection,
  length: head.contentLength,
  body,
  tunnel: null,
});
