import type { ClientHttp2Stream } from "node:http2";
import type { Body, Sink } from "../body.ts";
import { type Call, callerLeft, UpstreamFailure, type UpstreamRequest, type UpstreamResponse } from "../client.ts";
import { ERROR } from "../h2/frames.ts";
import { resetStream } from "../h2/reset.ts";
import { parseTrailers, type Trailers } from "../trailers.ts";
import type { Http2Client } from "./client.ts";
import { headersOf, isGrpc, readHead, trailerHeaders, trailerText } from "./head.ts";
import type { Http2Session } from "./session.ts";
import { Upload } from "./upload.ts";

/** The number of interim answers that are read before an answer: more are a backend's fault, or a flood. */
const MAX_INTERIM = 100;

/** Carries one request over a stream, from its start to the end of its response. */
export class Http2Exchange implements Call {
  readonly response: Promise<UpstreamResponse>;
  isSent = false;
  /** `client.now` by which something must have happened. */
  private deadline: number;
  /** The same for the response's head, whatever the caller still sends. */
  private readonly hardDeadline: number;
  private settle!: (response: UpstreamResponse) => void;
  private refuse!: (reason: UpstreamFailure) => void;
  private session: Http2Session | null = null;
  private stream: ClientHttp2Stream | null = null;
  private body: Http2Body | null = null;
  private upload: Upload | null = null;
  private hasAnswer = false;
  private isOver = false;
  private interims = 0;
  private isLast = false;

  constructor(
    private readonly client: Http2Client,
    readonly request: UpstreamRequest,
  ) {
    this.deadline = client.now + request.connectTimeout;
    this.hardDeadline = client.now + (request.deadline ?? Number.POSITIVE_INFINITY);
    this.response = new Promise((resolve, reject) => {
      this.settle = resolve;
      this.refuse = reject;
    });
  }

  /** Waits for a connection that has taken the request. */
  joins(session: Http2Session): void {
    this.session = session;
  }

  /** Sends the request over its connection, which is there. */
  begin(session: Http2Session): void {
    if (this.isOver) return;
    const { request, client } = this;
    const headers = headersOf(request.head, session.origin);
    // What nobody will send need not be waited for.
    const mayTrail = request.body !== null && request.chunked && !isGrpc(headers);
    const stream = session.open(this, headers, request.body === null, mayTrail);
    if (stream === null) {
      this.wasRefused();
      return;
    }
    this.isSent = true;
    this.stream = stream;
    this.deadline = client.now + request.timeout;
    this.listen(stream);
    if (request.body === null) return;
    this.upload = new Upload(stream, request.body, {
      moved: () => this.uploadMoved(),
      failed: (reason) => this.broke(new UpstreamFailure("request", reason.message, true, reason)),
      trailers: mayTrail ? (trailers) => trailerHeaders(trailers, request.keepsTrailer ?? null) : null,
    });
    this.upload.start();
  }

  private listen(stream: ClientHttp2Stream): void {
    stream.on("headers", (_headers, _flags, raw?: readonly string[]) => this.interim(raw ?? []));
    stream.on("response", (_headers, flags, raw?: readonly string[]) => this.answered(raw ?? [], (flags & 1) !== 0));
    stream.on("trailers", (_headers, _flags, raw?: readonly string[]) => this.body?.trailed(raw ?? []));
    // Why it has ended is known by its frames.
    stream.on("error", (error) => this.broke(new UpstreamFailure("reset", `HTTP/2: ${error.message}`, true)));
    stream.on("close", () => this.streamClosed());
    // A peer of HTTP/2 may push, which was refused.
    stream.on("push", () => stream.close(ERROR.cancel));
  }

  /** The server has sent its last frame of this stream. */
  hasEnded(): void {
    this.isLast = true;
  }

  /** The server has given the stream up. */
  wasReset(code: number): void {
    if (this.isLast) return;
    if (code === ERROR.refusedStream && !this.hasAnswer) this.wasRefused();
    else this.broke(new UpstreamFailure("reset", `the upstream gave the request up (HTTP/2 error ${code})`, true));
  }

  /** The server has not looked at the request (RFC 9113 §8.7). */
  wasRefused(): void {
    const failure = new UpstreamFailure("reset", "the upstream took no more requests on this connection", true);
    // On a connection of its own it is the upstream's decision, and no accident.
    failure.isStale = this.request.reuse !== "new";
    failure.isUnprocessed = true;
    this.broke(failure);
  }

  /** The connection is lost. True when all of the answer had come: what of it is on its way to us is still delivered. */
  wasLost({ kind, message, wasSent }: UpstreamFailure): boolean {
    if (this.isLast) return true;
    if (this.stream === null) {
      this.broke(new UpstreamFailure(kind === "reset" ? "connect" : kind, message, false));
      return false;
    }
    const failure = new UpstreamFailure(kind, message, wasSent);
    // One that had served was most likely closed while nobody used it.
    failure.isStale = kind === "reset" && !this.hasAnswer && this.request.reuse !== "new" && (this.stream.id ?? 1) > 1;
    this.broke(failure);
    return false;
  }

  checkDeadline(now: number): void {
    if (this.isOver) return;
    if (!this.hasAnswer && now >= this.hardDeadline) {
      this.late();
      return;
    }
    if (now < this.deadline || this.body?.isPaused === true) return;
    if (this.stream === null) {
      this.broke(new UpstreamFailure("connect", "no connection within the connect timeout", false));
      return;
    }
    // While the caller is still sending, the upstream is not the one who is late.
    if (this.upload?.isAwaited === true && !this.hasAnswer) this.deadline = now + this.request.timeout;
    else this.late();
  }

  private late(): void {
    // Others must not wait on a connection that may lead nowhere.
    if (!this.hasAnswer) this.session?.retire();
    this.broke(new UpstreamFailure("timeout", "the upstream did not answer in time", this.isSent));
  }

  abort(): void {
    this.broke(callerLeft(true));
  }

  /** Notes that bytes of the answer have come. */
  progress(): void {
    const timeout = this.body?.timeout ?? Number.POSITIVE_INFINITY;
    this.deadline = this.client.now + timeout;
  }

  /** Ends the exchange, since its answer is whole. */
  complete(): void {
    this.over();
    // The server may answer before it has read all; nobody sends on then.
    if (this.upload !== null && !this.upload.isDone) {
      this.upload.cancel();
      if (this.stream !== null) resetStream(this.stream, ERROR.cancel);
    }
  }

  /** Ends the exchange: it has failed, or nobody wants it any more. */
  broke(failure: UpstreamFailure): void {
    if (this.isOver) return;
    this.over();
    this.upload?.cancel();
    // A body that has come in part must not pass for a whole one.
    if (this.stream !== null) resetStream(this.stream, ERROR.cancel);
    if (!this.hasAnswer) {
      this.hasAnswer = true;
      this.refuse(failure);
    } else this.body?.fail(failure);
  }

  private over(): void {
    this.isOver = true;
    this.client.active.delete(this);
    this.session?.leave(this, this.stream?.id);
  }

  private uploadMoved(): void {
    if (!this.hasAnswer) this.deadline = this.client.now + this.request.timeout;
  }

  private interim(raw: readonly string[]): void {
    if (this.isOver || this.hasAnswer) return;
    const head = readHead(raw);
    if (typeof head === "string" || ++this.interims > MAX_INTERIM) {
      this.broke(new UpstreamFailure("protocol", typeof head === "string" ? head : "too many interim responses", true));
      return;
    }
    // The client's 100 was answered by us; 101 does not exist in HTTP/2.
    if (head.status > 101) this.request.onInterim?.(head.status, "", head.fields, "");
  }

  private answered(raw: readonly string[], isWhole: boolean): void {
    if (this.isOver || this.hasAnswer || this.stream === null) return;
    const head = readHead(raw);
    if (typeof head === "string") {
      this.broke(new UpstreamFailure("protocol", head, true));
      return;
    }
    const { status, fields, length } = head;
    const isBodiless = this.request.method === "HEAD" || status === 204 || status === 304;
    if (isWhole && length > 0 && !isBodiless) {
      this.broke(new UpstreamFailure("protocol", "the response is shorter than its Content-Length says", true));
      return;
    }
    this.hasAnswer = true;
    if (isWhole || isBodiless) {
      this.settle({ status, reason: "", fields, connection: "", length, body: null, tunnel: null });
      if (!isWhole) this.stream.resume();
      this.complete();
      return;
    }
    const type = fields.get("content-type");
    const isOpenEnded = type?.startsWith("text/event-stream") === true;
    this.body = new Http2Body(this, this.stream, length, isOpenEnded ? Number.POSITIVE_INFINITY : this.request.bodyTimeout);
    this.progress();
    this.settle({ status, reason: "", fields, connection: "", length, body: this.body, tunnel: null });
  }

  private streamClosed(): void {
    if (this.isOver) return;
    // Without content the stream closes before anybody has asked for it.
    if (this.isLast && this.body !== null) this.body.end();
    else this.broke(new UpstreamFailure("reset", "the upstream broke the request off", true));
  }

  /** True when the server has sent all it had to. */
  get isWhole(): boolean {
    return this.isLast;
  }
}

/** Passes a response's body on as it comes. */
class Http2Body implements Body {
  isPaused = true;
  private sink: Sink | null = null;
  private received = 0;
  private trailers: Trailers | null = null;
  private failure: Error | null = null;
  private isDone = false;

  constructor(
    private readonly exchange: Http2Exchange,
    private readonly stream: ClientHttp2Stream,
    readonly length: number,
    /** Milliseconds that it may be silent. */
    readonly timeout: number,
  ) {}

  start(sink: Sink): void {
    if (this.failure !== null) {
      sink.fail(this.failure);
      return;
    }
    if (this.isDone) {
      sink.end(this.trailers);
      return;
    }
    this.sink = sink;
    this.isPaused = false;
    this.stream.on("data", (part: Buffer) => this.push(part));
    this.stream.on("end", () => this.end());
  }

  resume(): void {
    if (!this.isPaused) return;
    this.isPaused = false;
    this.exchange.progress();
    this.stream.resume();
  }

  cancel(): void {
    this.sink = null;
    this.exchange.abort();
  }

  /** Takes the trailer section. */
  trailed(raw: readonly string[]): void {
    const text = trailerText(raw);
    const trailers = text === null ? "malformed" : parseTrailers(text);
    if (trailers === "malformed") this.exchange.broke(new UpstreamFailure("protocol", "the trailers are malformed", true));
    else this.trailers = trailers;
  }

  fail(reason: Error): void {
    if (this.isDone || this.failure !== null) return;
    this.failure = reason;
    const { sink } = this;
    this.sink = null;
    sink?.fail(reason);
  }

  private push(part: Buffer): void {
    if (this.failure !== null || this.sink === null) return;
    this.received += part.length;
    this.exchange.progress();
    // More than was stated would be the beginning of another answer where it goes on by HTTP/1.1.
    if (this.length >= 0 && this.received > this.length) this.break("the response is longer than its Content-Length says");
    else if (!this.sink.write(part)) {
      this.isPaused = true;
      this.stream.pause();
    }
  }

  /** Takes note of the end. */
  end(): void {
    if (this.isDone || this.failure !== null) return;
    // A stream that was given up ends as well.
    if (!this.exchange.isWhole) {
      this.exchange.broke(new UpstreamFailure("reset", "the upstream broke off within the response", true));
      return;
    }
    if (this.length >= 0 && this.received < this.length) {
      this.break("the response is shorter than its Content-Length says");
      return;
    }
    this.isDone = true;
    const { sink } = this;
    this.sink = null;
    this.exchange.complete();
    sink?.end(this.trailers);
  }

  private break(why: string): void {
    this.exchange.broke(new UpstreamFailure("protocol", why, true));
  }
}
