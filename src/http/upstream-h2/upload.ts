import type { ClientHttp2Stream } from "node:http2";
import type { Body } from "../body.ts";
import type { Trailers } from "../trailers.ts";
import type { H2Headers } from "./head.ts";

export interface UploadEvents {
  /** The server has taken what there was, or all of it is handed over: it is the server's turn from here on. */
  moved(): void;
  /** It has broken off: the caller's part of it. */
  failed(reason: Error): void;
  /** Gives the trailers that go on; `null`: none do. */
  readonly trailers: ((trailers: Trailers) => H2Headers) | null;
}

/** Sends a request's body over a stream, as fast as the server takes it. */
export class Upload {
  /** True when all was handed over, or nobody wants the rest. */
  isDone = false;
  private isFull = false;
  private trailing: H2Headers = {};

  constructor(
    private readonly stream: ClientHttp2Stream,
    private readonly body: Body,
    private readonly events: UploadEvents,
  ) {}

  /** True while the server has taken what there is, and the caller goes on. */
  get isAwaited(): boolean {
    return !this.isDone && !this.isFull;
  }

  start(): void {
    const { stream, body, events } = this;
    stream.on("drain", () => {
      if (!this.isFull) return;
      this.isFull = false;
      events.moved();
      if (!this.isDone) body.resume();
    });
    if (events.trailers !== null) stream.on("wantTrailers", () => stream.sendTrailers(this.trailing));
    body.start({
      write: (bytes) => this.write(bytes),
      end: (trailers = null) => this.end(trailers),
      fail: (reason) => {
        if (this.isDone) return;
        this.cancel();
        events.failed(reason);
      },
    });
  }

  /** Sends no more of it. */
  cancel(): void {
    if (this.isDone) return;
    this.isDone = true;
    this.body.cancel();
  }

  private write(bytes: Uint8Array): boolean {
    if (this.isDone || this.stream.destroyed) return true;
    const fits = this.stream.write(bytes);
    if (!fits) this.isFull = true;
    return fits;
  }

  private end(trailers: Trailers | null): void {
    if (this.isDone) return;
    this.isDone = true;
    if (trailers !== null && this.events.trailers !== null) this.trailing = this.events.trailers(trailers);
    if (!this.stream.destroyed) this.stream.end();
    this.events.moved();
  }
}
