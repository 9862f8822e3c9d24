import type { ServerHttp2Stream } from "node:http2";
import { type ArrivingBody, type Sink, TooLarge } from "../body.ts";
import { BodyRate } from "../body-rate.ts";
import type { RequestHead } from "../head.ts";
import type { HttpLimits } from "../server.ts";
import { parseTrailers, type Trailers } from "../trailers.ts";
import { ERROR } from "./frames.ts";
import { linesOf } from "./lines.ts";
import { resetStream } from "./reset.ts";

/** Describes what a body tells the request that it is part of. */
export interface BodyOwner {
  /** True when the client's last frame has come. */
  readonly isEnded: boolean;
  /** True when nothing can be sent on the stream any more. */
  readonly isGone: boolean;
  /** Hears of bytes that were taken over, or dropped. */
  took(bytes: number): void;
}

/** Pushes the body of a request on as it arrives. What nobody has asked for waits in the stream, and the client's window bounds it. */
export class Http2Body implements ArrivingBody {
  readonly length: number;
  private sink: Sink | null = null;
  private received = 0;
  private isDone = false;
  private isDropped = false;
  private failure: Error | null = null;
  private trailers: Trailers | null = null;
  private max: number;
  private readonly rate: BodyRate;
  private needsContinue: boolean;
  private rests = false;

  constructor(
    private readonly stream: ServerHttp2Stream,
    private readonly owner: BodyOwner,
    head: RequestHead,
    limits: HttpLimits,
  ) {
    this.length = head.contentLength;
    this.max = limits.maxBodySize;
    this.rate = new BodyRate(limits.bodyRate);
    this.needsContinue = head.expectsContinue;
    stream.on("trailers", (_headers: unknown, _flags: unknown, raw: readonly string[]) => this.takeTrailers(raw));
  }

  get isComplete(): boolean {
    return this.isDone || this.failure !== null;
  }

  bound(max: number, rate: number | null): void {
    this.max = max;
    if (rate !== null) this.rate.least = rate;
  }

  mayRest(): void {
    this.rests = true;
  }

  /** True while bytes wait for a sink, none is there, or the client may be silent: it is then not the one who is late. */
  get isHeld(): boolean {
    return this.rests || this.sink === null || this.stream.isPaused();
  }

  /** Counts one more second in which nothing but this body was waited for. True when the body has brought too little of late. */
  isTooSlow(): boolean {
    return this.rate.isTooSlow(this.received);
  }

  start(sink: Sink): void {
    if (this.failure === null && this.received > this.max && this.length < 0) this.failure = new TooLarge(this.max);
    if (this.failure !== null) {
      sink.fail(this.failure);
      return;
    }
    this.sink = sink;
    if (this.needsContinue && !this.owner.isEnded && !this.owner.isGone) this.stream.additionalHeaders({ ":status": 100 });
    this.needsContinue = false;
    this.flow();
  }

  resume(): void {
    if (!this.isComplete) this.stream.resume();
  }

  cancel(): void {
    this.drop();
  }

  /** Drops whatever still comes, since nobody wants it. */
  drop(): void {
    if (this.isDropped || this.isComplete) return;
    this.isDropped = true;
    if (this.sink === null) this.flow();
    this.sink = null;
    this.stream.resume();
  }

  fail(reason: Error): void {
    if (this.isComplete) return;
    this.failure = reason;
    const { sink } = this;
    this.sink = null;
    sink?.fail(reason);
  }

  private flow(): void {
    this.stream.on("data", (part: Buffer) => this.push(part));
    this.stream.on("end", () => this.end());
  }

  private push(part: Buffer): void {
    this.owner.took(part.length);
    this.received += part.length;
    if (this.failure !== null || this.isDropped) return;
    if (this.length >= 0 && this.received > this.length) this.break("the body is longer than its Content-Length says");
    else if (this.length < 0 && this.received > this.max) this.fail(new TooLarge(this.max));
    else if (this.sink?.write(part) === false) this.stream.pause();
  }

  private end(): void {
    if (this.isComplete) return;
    // A stream that is reset ends as well.
    if (!this.owner.isEnded) this.fail(new Error("the client went away"));
    else if (this.length >= 0 && this.received !== this.length) this.break("the body is shorter than its Content-Length says");
    else {
      this.isDone = true;
      const { sink } = this;
      this.sink = null;
      sink?.end(this.trailers);
    }
  }

  /** Resets the stream: what was sent on already must not pass for a whole body (RFC 9113 §8.1.1). */
  private break(why: string): void {
    this.fail(new Error(why));
    resetStream(this.stream, ERROR.protocol);
  }

  private takeTrailers(raw: readonly string[]): void {
    // Pseudo-header fields don't stand there (RFC 9113 §8.1), and no value is more than one line.
    const isOdd = raw.some((text, i) => (i % 2 === 0 ? text.startsWith(":") : /[\r\n]/.test(text)));
    const trailers = isOdd ? "malformed" : parseTrailers(linesOf(raw));
    if (trailers === "malformed") this.break("the trailers are malformed");
    else this.trailers = trailers;
  }
}
