import http2, { type ServerHttp2Session, type ServerHttp2Stream } from "node:http2";
import { HEAD_WITHIN, KEEP_ALIVE_FOR } from "../deadlines.ts";
import { Fields } from "../fields.ts";
import { HeadFault, type RequestHead } from "../head.ts";
import type { Connection } from "../server.ts";
import { type FrameFault, FrameWatch, type Streams } from "./frame-watch.ts";
import { ERROR, type ErrorCode, goAway, MAX_STREAM } from "./frames.ts";
import { MALFORMED, readHead } from "./head.ts";
import { Http2Incoming, type Session } from "./incoming.ts";
import { resetStream } from "./reset.ts";
import { Wire } from "./wire.ts";

/** The streams that one connection may have open at once. */
export const MAX_STREAMS = 250;
/**
 * Bytes that a client may send of one body before they are taken over, and of all bodies of its connection before they have arrived. They are the same, since
 * Bun gives nothing of a stream's window back before half of the connection's was used: with a larger one uploads stand still.
 */
const WINDOW = 262_144;
/** Bytes of a connection that wait to be taken over before nothing more is read of it; and where those of all connections are too many. */
const MAX_UNREAD = 4_194_304;
const MAX_UNREAD_OF_ALL = 67_108_864;
const MAX_UNREAD_IN_NEED = 524_288;
/** Seconds for which a connection is not read from for that, before the body that holds it up most is given up. */
const UNREAD_FOR = 10;
/** Bytes for a client that does not read, above which nothing more is read of what it sends. */
const MAX_PENDING = 1_048_576;
/** Bytes by which fields may be larger than is answered: these get 431, and larger ones a reset or a cut. */
const BEYOND_HEAD = 16_384;
/** The streams that are remembered when they are over. */
const FINISHED = 64;
/** The fields of one block. */
const MAX_FIELDS = 2000;
/** Higher than our own counts come, which are told and answered: node:http2's would end the connection without a word. */
const NEVER = 1_000_000;

/** The error of a session that the client has ended with one of its own. All others of a session are by rules that the client has broken. */
const ENDED_BY_CLIENT = "ERR_HTTP2_SESSION_ERROR";

/** Bytes that wait to be taken over, on all connections of the process. */
let unreadOfAll = 0;

/**
 * Serves HTTP/2 (RFC 9113) on one connection. node:http2 reads the frames and packs the fields; what a client may do, how long it may take and
 * how much of it waits is decided here, as for HTTP/1.1.
 */
export class Http2Session implements Session, Streams {
  private readonly streams = new Map<number, Http2Incoming>();
  private readonly watch: FrameWatch;
  private readonly wire: Wire;
  private readonly session: ServerHttp2Session;
  /** Streams whose last frame has come before they were begun: within what is being read. */
  private readonly endedEarly = new Set<number>();
  /** Content of the same. */
  private readonly early = new Map<number, number>();
  private unread = 0;
  private isUnreadHigh = false;
  private unreadSince = 0;
  private idleSince: number;
  /** The tick when fields began to come that are not whole. */
  private fieldsSince = -1;
  /** The last streams that the client had sent all of: it sends nothing more on these, closed or not. */
  private readonly finished = new Uint32Array(FINISHED);
  private finishedCount = 0;
  private isOver = false;
  private lastBegun = 0;
  /** The highest stream that is served. */
  private lastServed = MAX_STREAM;

  constructor(readonly connection: Connection) {
    const { server } = connection;
    const { limits } = server.options;
    this.idleSince = server.tick;
    this.watch = new FrameWatch(this, () => limits.maxHeaderSize + BEYOND_HEAD, MAX_STREAMS);
    this.wire = new Wire(connection.out, { ended: () => this.over(ERROR.none) });
    this.session = http2.performServerHandshake(this.wire, {
      settings: {
        maxConcurrentStreams: MAX_STREAMS,
        initialWindowSize: WINDOW,
        maxHeaderListSize: limits.maxHeaderSize + BEYOND_HEAD,
        enablePush: false,
      },
      maxHeaderListPairs: MAX_FIELDS,
      maxSessionRejectedStreams: NEVER,
      maxSessionInvalidFrames: NEVER,
      streamResetBurst: NEVER,
      streamResetRate: NEVER,
      // A backend may send a field twice that should stand once: it goes on as it came.
      strictSingleValueFields: false,
    } as http2.ServerOptions);
    this.session.on("error", (error: Error & { code?: string }) => this.over(error.code === ENDED_BY_CLIENT ? ERROR.none : ERROR.protocol));
    this.session.on("stream", (stream: ServerHttp2Stream, _headers: unknown, flags: number, raw?: readonly string[]) =>
      this.begin(stream, (flags & http2.constants.NGHTTP2_FLAG_END_STREAM) !== 0, raw ?? []),
    );
    this.session.setLocalWindowSize(WINDOW);
  }

  get open(): number {
    return this.streams.size;
  }

  /** Reads what has arrived. */
  receive(bytes: Buffer): void {
    if (this.isOver) return;
    const { tick } = this.connection.server;
    const fault = this.watch.read(bytes, tick);
    if (fault !== null) {
      this.cutOff(fault);
      return;
    }
    this.wire.arrive(bytes);
    // What was not begun by now was refused.
    this.endedEarly.clear();
    this.early.clear();
    if (!this.watch.isInFields) this.fieldsSince = -1;
    else if (this.fieldsSince < 0) this.fieldsSince = tick;
    if (this.connection.out.pending > MAX_PENDING) this.connection.pause();
  }

  /** Goes on after the client has read all that waited for it. */
  drained(): void {
    this.wire.drained();
    if (this.streams.size === 0) this.connection.seat.waits();
    if (!this.isUnreadHigh) this.connection.resume();
  }

  /** Ends what is under way, since the connection is closed. */
  closed(): void {
    this.isOver = true;
    for (const [id, incoming] of this.streams) {
      incoming.abort();
      this.leave(id, incoming);
    }
    this.wire.gone();
  }

  /** Tells the client that the server stops: what it begins from here on may be refused. `isLast`: it will be. */
  drain(isLast: boolean): void {
    if (this.isOver) return;
    // RFC 9113 §6.8: what is on its way while the client does not know yet is still served.
    if (!isLast) this.connection.out.write(goAway(MAX_STREAM, ERROR.none));
    else {
      this.lastServed = this.watch.last;
      this.connection.out.write(goAway(this.lastServed, ERROR.none));
      if (this.streams.size === 0) this.over(ERROR.none);
    }
  }

  checkDeadline(tick: number): void {
    for (const incoming of this.streams.values()) incoming.checkDeadline(tick, !this.isUnreadHigh);
    if (this.isOver) return;
    if (this.isUnreadHigh && tick - this.unreadSince > UNREAD_FOR) this.giveUpLargest(tick);
    if ((this.fieldsSince >= 0 && tick - this.fieldsSince > HEAD_WITHIN) || (this.watch.isSilent && tick - this.idleSince > HEAD_WITHIN))
      this.cutOff({ code: ERROR.enhanceYourCalm, cause: "slow" });
    else if (this.streams.size === 0 && tick - this.idleSince > KEEP_ALIVE_FOR) this.end(ERROR.none);
  }

  /** Ends the connection, after what was written. */
  end(code: ErrorCode): void {
    this.connection.out.write(goAway(this.watch.last, code));
    this.over(code, true);
  }

  isUnanswered(id: number): boolean {
    // What was opened and not begun yet comes in the same bytes, or its fields are not whole.
    return this.streams.get(id)?.isUnanswered ?? id > this.lastBegun;
  }

  mayReset(): boolean {
    const { server, ip } = this.connection;
    return server.crowd.cutOffs.mayReset(ip);
  }

  arrives(id: number, bytes: number, isLast: boolean): boolean {
    const incoming = this.streams.get(id);
    if (incoming === undefined) {
      if (this.endedEarly.has(id) || this.finished.includes(id)) return false;
      if (isLast) this.endedEarly.add(id);
      this.early.set(id, (this.early.get(id) ?? 0) + bytes);
      return true;
    }
    if (incoming.isEnded) return false;
    if (isLast) incoming.isEnded = true;
    this.waits(incoming, bytes);
    return true;
  }

  isPadded(id: number, bytes: number): void {
    const incoming = this.streams.get(id);
    if (incoming !== undefined) incoming.took(bytes);
    else if (this.early.has(id)) this.early.set(id, (this.early.get(id) ?? 0) - bytes);
  }

  took(bytes: number): void {
    this.unread -= bytes;
    unreadOfAll -= bytes;
    this.unreadSince = this.connection.server.tick;
    if (this.isUnreadHigh && !this.holdsTooMuch) {
      this.isUnreadHigh = false;
      if (this.connection.out.pending <= MAX_PENDING) this.connection.resume();
    }
  }

  sent(bytes: number): void {
    this.watch.sent(bytes);
  }

  private get holdsTooMuch(): boolean {
    return this.unread > (unreadOfAll > MAX_UNREAD_OF_ALL ? MAX_UNREAD_IN_NEED : MAX_UNREAD);
  }

  private waits(incoming: Http2Incoming, bytes: number): void {
    if (bytes === 0) return;
    incoming.unread += bytes;
    this.unread += bytes;
    unreadOfAll += bytes;
    if (this.isUnreadHigh || !this.holdsTooMuch) return;
    this.isUnreadHigh = true;
    this.unreadSince = this.connection.server.tick;
    this.connection.pause();
  }

  private giveUpLargest(tick: number): void {
    this.unreadSince = tick;
    let largest: Http2Incoming | null = null;
    for (const incoming of this.streams.values()) if (largest === null || incoming.unread > largest.unread) largest = incoming;
    largest?.reset(ERROR.enhanceYourCalm);
  }

  private begin(stream: ServerHttp2Stream, isWhole: boolean, raw: readonly string[]): void {
    const { connection } = this;
    const { server } = connection;
    const { options } = server;
    const { id } = stream;
    if (id === undefined) return;
    const head = readHead(raw, isWhole, options.limits.maxHeaderSize);
    const isEnded = isWhole || this.endedEarly.has(id);
    if (head === MALFORMED || id > this.lastServed) {
      stream.on("error", () => {});
      resetStream(stream, head === MALFORMED ? ERROR.protocol : ERROR.refusedStream);
      return;
    }
    if (id <= this.lastBegun) {
      // RFC 9113 §5.1.1: it was closed, or passed over, and node:http2 would serve it all the same.
      this.end(ERROR.streamClosed);
      return;
    }
    this.lastBegun = id;
    const incoming = new Http2Incoming(this, stream, head instanceof HeadFault ? unreadable(isWhole) : head, isEnded);
    if (this.streams.size === 0) connection.seat.works();
    this.streams.set(id, incoming);
    server.inFlight++;
    stream.once("close", () => {
      incoming.abort();
      this.leave(id, incoming);
    });
    this.waits(incoming, this.early.get(id) ?? 0);
    if (head instanceof HeadFault) incoming.reply(options.refuse(head, connection.ip));
    else options.handle(incoming);
  }

  /** Takes out a stream that is over. */
  private leave(id: number, incoming: Http2Incoming): void {
    if (this.streams.get(id) !== incoming) return;
    this.streams.delete(id);
    if (incoming.isEnded) this.finished[this.finishedCount++ % FINISHED] = id;
    const { connection } = this;
    const { server } = connection;
    server.inFlight--;
    const { unread } = incoming;
    incoming.unread = 0;
    this.took(unread);
    if (this.streams.size === 0) {
      this.idleSince = server.tick;
      if (connection.out.pending === 0 && !this.isOver) connection.seat.waits();
      if (this.lastServed < MAX_STREAM) this.over(ERROR.none);
    }
    server.settle();
  }

  private cutOff({ code, cause }: FrameFault): void {
    if (cause !== null) this.connection.cutOff(cause);
    this.end(code);
  }

  /** Ends everything here, and the connection after what was written. `isTold`: the client knows why. */
  private over(code: ErrorCode, isTold = false): void {
    if (this.isOver) return;
    this.isOver = true;
    // node:http2 does not get its own word out over anything but its own sockets.
    if (!isTold && code !== ERROR.none) this.connection.out.write(goAway(this.watch.last, code));
    for (const [id, incoming] of this.streams) {
      incoming.abort();
      this.leave(id, incoming);
    }
    if (!this.session.destroyed) this.session.destroy();
    this.connection.closeAfterFlush();
  }
}

/** Makes the head of a request that could not be read, and is answered all the same. */
const unreadable = (isWhole: boolean): RequestHead => ({
  ...{ method: "GET", target: "/", minor: 1, fields: new Fields(), host: "", contentLength: -1, keepAlive: true },
  ...{ connection: "", upgrade: "", expectsContinue: false, mayHoldOwnCookie: false },
  framing: isWhole ? "none" : "chunked",
});
