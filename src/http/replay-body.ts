import type { Body, Sink } from "./body.ts";
import type { Trailers } from "./trailers.ts";

/** The size in bytes up to which a request's body is kept, so that it can be sent again. */
export const MAX_KEPT = 65_536;

/** Lets a request's body be sent more than once: the bytes that have come are kept as long as they are few. */
export class ReplayBody implements Body {
  readonly length: number;
  private kept: Uint8Array[] | null = [];
  private size = 0;
  private sink: Sink | null = null;
  private isStarted = false;
  private isEnded = false;
  private trailers: Trailers | null = null;
  private failure: Error | null = null;

  constructor(private readonly source: Body) {
    this.length = source.length;
  }

  /** True while all bytes that have come are kept. */
  get isKept(): boolean {
    return this.kept !== null && this.failure === null;
  }

  start(sink: Sink): void {
    this.sink = sink;
    if (this.isStarted) {
      let fits = true;
      for (const bytes of this.kept ?? []) fits = sink.write(bytes) && fits;
      if (this.failure !== null) sink.fail(this.failure);
      else if (this.isEnded) sink.end(this.trailers);
      else if (fits) this.source.resume();
      return;
    }
    this.isStarted = true;
    this.source.start({
      write: (bytes) => this.take(bytes),
      end: (trailers = null) => {
        this.isEnded = true;
        this.trailers = trailers;
        this.sink?.end(trailers);
      },
      fail: (reason) => {
        this.failure = reason;
        this.sink?.fail(reason);
      },
    });
  }

  resume(): void {
    if (!this.isEnded) this.source.resume();
  }

  /** Ends one attempt's use of the body; another may begin. */
  cancel(): void {
    this.sink = null;
    if (this.kept === null) this.source.cancel();
  }

  private take(bytes: Uint8Array): boolean {
    if (this.kept !== null) {
      this.size += bytes.length;
      if (this.size <= MAX_KEPT) this.kept.push(bytes);
      else this.kept = null;
    }
    if (this.sink !== null) return this.sink.write(bytes);
    if (this.kept === null) this.source.cancel();
    return true;
  }
}
