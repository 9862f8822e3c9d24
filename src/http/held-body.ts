import type { Body, Sink } from "./body.ts";
import type { Trailers } from "./trailers.ts";

/** Reads a body that turns out to be small; one that does not goes on as it comes, from its beginning. */
export class HeldBody implements Body {
  readonly length: number;
  /** All of it, where it is there: nobody need wait for it then. `null`: it is not, or is too large. */
  ready: Uint8Array | null = null;
  /** The fields that followed it; `null`: there were none, or it has not ended. */
  trailers: Trailers | null = null;
  private held: Uint8Array[] = [];
  private size = 0;
  private sink: Sink | null = null;
  private isEnded = false;
  private isTooLarge = false;
  private isGivenUp = false;
  private failure: Error | null = null;
  /** Whoever waits for `whole`. */
  private waiting: PromiseWithResolvers<Uint8Array | null> | null = null;

  /** Begins to read. `max`: the bytes that are held. `counts` is told of more bytes, and says whether there is room for them. */
  constructor(
    private readonly source: Body,
    private readonly max: number,
    private readonly counts: (bytes: number) => boolean = () => true,
  ) {
    this.length = source.length;
    source.start({
      write: (bytes) => {
        if (this.sink !== null) return this.sink.write(bytes);
        this.held.push(bytes);
        this.size += bytes.length;
        if (this.counts(bytes.length) && this.size <= this.max) return true;
        this.isTooLarge = true;
        this.waiting?.resolve(null);
        return false;
      },
      end: (trailers = null) => {
        this.isEnded = true;
        this.trailers = trailers;
        if (!this.isTooLarge && !this.isGivenUp && this.sink === null) {
          this.ready = this.held.length === 1 ? (this.held[0] as Uint8Array) : Buffer.concat(this.held, this.size);
          this.waiting?.resolve(this.ready);
        }
        this.sink?.end(trailers);
      },
      fail: (reason) => {
        this.failure = reason;
        this.waiting?.reject(reason);
        this.sink?.fail(reason);
      },
    });
  }

  /** All of it, or `null` when it is too large, or goes on before it has ended. Rejects when it breaks off. */
  get whole(): Promise<Uint8Array | null> {
    if (this.ready !== null || this.isTooLarge || this.isGivenUp) return Promise.resolve(this.ready);
    if (this.failure !== null) return Promise.reject(this.failure);
    this.waiting ??= Promise.withResolvers();
    return this.waiting.promise;
  }

  start(sink: Sink): void {
    const { held } = this;
    this.giveUp();
    this.held = [];
    this.sink = sink;
    let fits = true;
    for (const bytes of held) fits = sink.write(bytes) && fits;
    if (this.failure !== null) sink.fail(this.failure);
    else if (this.isEnded) sink.end(this.trailers);
    else if (fits) this.source.resume();
  }

  resume(): void {
    this.source.resume();
  }

  cancel(): void {
    this.sink = null;
    this.giveUp();
    this.source.cancel();
  }

  private giveUp(): void {
    this.isGivenUp = true;
    this.waiting?.resolve(null);
  }
}
