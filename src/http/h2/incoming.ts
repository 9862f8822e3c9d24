import type { ServerHttp2Stream } from "node:http2";
import { type Body, isWhole, type Sink, TooSlow } from "../body.ts";
import type { ShownCertificate } from "../client-certificate.ts";
import { BODY_STALLS_AFTER, REPLY_STALLS_AFTER } from "../deadlines.ts";
import type { RequestHead } from "../head.ts";
import type { Incoming } from "../incoming.ts";
import type { Connection, Reply, TunnelEnd } from "../server.ts";
import type { KeepsTrailer, Trailers } from "../trailers.ts";
import { Http2Body } from "./body.ts";
import { ERROR, type ErrorCode } from "./frames.ts";
import { addLines, gathered, trailersOf } from "./lines.ts";
import { resetStream } from "./reset.ts";
import { SlicedBody } from "./sliced-body.ts";

/** Describes what a request tells the session that it came by. */
export interface Session {
  readonly connection: Connection;
  /** Hears of bytes of a body that were taken over. */
  took(bytes: number): void;
  /** Hears of content that was written. */
  sent(bytes: number): void;
}

/** Bytes of an answer that are written at once; longer ones go as the client reads them. */
const AT_ONCE = 65_536;

/** Holds one request that has come by HTTP/2, and answers it. */
export class Http2Incoming implements Incoming {
  readonly body: Http2Body | null;
  onAbort: (() => void) | null = null;
  onEnd: (() => void) | null = null;
  isReplied = false;
  isAborted = false;
  readonly relay = null;
  /** True when the client's last frame has come. */
  isEnded: boolean;
  /** Bytes of the body that have come and wait to be taken over. */
  unread = 0;
  /** True when the answer was handed over as a whole. */
  private isAnswered = false;
  private source: Body | null = null;
  private activeAt: number;
  /** How much of the answer waited when that changed last, and the tick of it. */
  private waiting = 0;
  private waitsSince = 0;

  constructor(
    readonly session: Session,
    readonly stream: ServerHttp2Stream,
    readonly head: RequestHead,
    isEnded: boolean,
  ) {
    const { server } = session.connection;
    this.isEnded = isEnded;
    this.activeAt = server.tick;
    this.body = head.framing === "none" ? null : new Http2Body(stream, this, head, server.options.limits);
    // It has said that there is none.
    if (this.body === null && !isEnded) stream.on("data", () => this.reset(ERROR.protocol));
    // Without a listener it is thrown; "close" follows.
    stream.on("error", () => {});
    stream.on("aborted", () => this.abort());
  }

  get connection(): Connection {
    return this.session.connection;
  }

  get ip(): string {
    return this.connection.ip;
  }

  get hasProxyLine(): boolean {
    return this.connection.hasProxyLine;
  }

  get certificate(): ShownCertificate | null {
    return this.connection.certificate;
  }

  get isTls(): boolean {
    return this.connection.server.options.tls !== null;
  }

  /** True until the answer is handed over as a whole. */
  get isUnanswered(): boolean {
    return !this.isAnswered;
  }

  reply(reply: Reply): void {
    if (this.isReplied || this.isAborted) {
      if (!isWhole(reply.body)) reply.body.cancel();
      return;
    }
    this.isReplied = true;
    try {
      this.write(reply);
    } catch (error) {
      // The stream is gone, which "aborted" is about to tell; or a field of the answer is none that can be sent.
      if (!this.isGone) this.connection.server.options.onFault(error);
      if (!isWhole(reply.body)) reply.body.cancel();
      this.isAnswered = false;
      this.reset(ERROR.internal);
    }
  }

  private write(reply: Reply): void {
    const isBodiless = this.head.method === "HEAD" || reply.status === 204 || reply.status === 304;
    const body = typeof reply.body === "string" ? Buffer.from(reply.body) : reply.body;
    const isStreamed = body !== null && (!isWhole(body) || body.length > AT_ONCE);
    const fields = fieldsOf(reply, body, isBodiless);
    if (isBodiless || body === null) {
      if (!isWhole(body)) body.cancel();
      this.finish(() => this.respond(fields, { endStream: true }));
    } else if (!isStreamed) {
      this.session.sent(body.length);
      this.finish(() => {
        this.respond(fields, {});
        this.stream.end(body);
      });
    } else {
      const source = isWhole(body) ? new SlicedBody(body) : body;
      this.source = source;
      // Trailers come in a frame of their own, which is asked for where there may be some.
      this.respond(fields, { waitForTrailers: source.length < 0 });
      this.stream.on("drain", () => this.source?.resume());
      source.start(new ReplySink(this, reply.keepsTrailer ?? null));
    }
  }

  /** Passes an interim answer on (RFC 9110 §15.2). Who does not read gets none: they are hints, which must not pile up. */
  interim(status: number, _reason: string, head: string): void {
    if (this.isReplied || this.isAborted || this.isGone || this.connection.out.pending > 0) return;
    const pairs: (string | number)[] = [];
    addLines(pairs, head);
    this.stream.additionalHeaders({ ...gathered(pairs), ":status": status });
  }

  // Extended CONNECT (RFC 8441) is not offered: WebSockets come by HTTP/1.1, and nothing else asks for an upgrade.
  upgrade(): TunnelEnd {
    throw new Error("HTTP/2 has no Upgrade");
  }

  /** True when nothing can be sent on the stream any more. */
  get isGone(): boolean {
    return this.stream.destroyed || this.stream.closed;
  }

  took(bytes: number): void {
    this.activeAt = this.connection.server.tick;
    this.unread -= bytes;
    this.session.took(bytes);
  }

  /** Ends the answer by `write`, which writes the last of it. */
  finish(write: () => void): void {
    this.source = null;
    // node:http2 may say that the stream is aborted while it ends it.
    this.isAnswered = true;
    write();
    this.body?.drop();
    // RFC 9113 §8.1: who has the answer need not send the rest of the request.
    if (!this.isEnded) this.stream.once("finish", () => this.isEnded || this.stream.close(ERROR.none));
    this.end();
  }

  /** Ends the stream before its time: the client learns that what it has is not the whole. */
  reset(code: ErrorCode): void {
    resetStream(this.stream, code);
    this.abort();
  }

  /** Gives the exchange up, since the client has. */
  abort(): void {
    if (this.isAborted || this.isAnswered) return;
    this.isAborted = true;
    this.source?.cancel();
    this.body?.fail(new Error("the client went away"));
    const { onAbort } = this;
    this.onAbort = null;
    onAbort?.();
    this.end();
  }

  /** Gives up what takes too long, once a second. `isRead`: the connection is being read from. */
  checkDeadline(tick: number, isRead: boolean): void {
    const { body, stream } = this;
    if (body !== null && !body.isComplete && !this.isReplied) {
      // Who has to wait for others is not late.
      if (body.isHeld || !isRead) this.activeAt = tick;
      else if (body.isTooSlow() || tick - this.activeAt > BODY_STALLS_AFTER) body.fail(new TooSlow());
    }
    if (!this.isReplied) return;
    const { writableLength } = stream;
    if (writableLength === 0 || writableLength !== this.waiting) {
      this.waiting = writableLength;
      this.waitsSince = tick;
    } else if (tick - this.waitsSince > REPLY_STALLS_AFTER) this.reset(ERROR.cancel);
  }

  private end(): void {
    const { onEnd } = this;
    this.onEnd = null;
    onEnd?.();
  }

  private respond(fields: (string | number)[], options: { endStream?: boolean; waitForTrailers?: boolean }): void {
    // Its types know no list, which alone keeps the order.
    this.stream.respond(fields as unknown as Record<string, string>, { ...options, sendDate: false } as { endStream?: boolean });
  }
}

/** Writes a streamed answer to the client. */
class ReplySink implements Sink {
  constructor(
    private readonly incoming: Http2Incoming,
    private readonly keepsTrailer: KeepsTrailer | null,
  ) {}

  write(bytes: Uint8Array): boolean {
    const { incoming } = this;
    if (incoming.isAborted || bytes.length === 0) return true;
    incoming.session.sent(bytes.length);
    return incoming.stream.write(bytes);
  }

  end(trailers: Trailers | null = null): void {
    const { incoming } = this;
    if (incoming.isAborted) return;
    incoming.stream.once("wantTrailers", () =>
      incoming.stream.sendTrailers(trailers === null ? {} : trailersOf(trailers, this.keepsTrailer)),
    );
    incoming.finish(() => incoming.stream.end());
  }

  fail(): void {
    this.incoming.reset(ERROR.internal);
  }
}

/** Gives an answer's fields as names and values in turn, its status first. */
function fieldsOf(reply: Reply, body: Uint8Array | Body | null, isBodiless: boolean): (string | number)[] {
  // HTTP/2 knows none above (RFC 9110 §15), and a client takes such a one for a failure of the server's.
  const status = reply.status > 599 ? 500 : reply.status;
  const fields: (string | number)[] = [":status", status];
  addLines(fields, reply.head);
  const length = isBodiless && (body === null || !isWhole(body)) ? reply.length : body === null ? 0 : body.length;
  if (length >= 0 && status !== 204) fields.push("content-length", String(length));
  return fields;
}
