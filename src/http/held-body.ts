import type { Body, Sink } from "./body.ts";
import type { Trailers } from "./trailers.ts";

/** Reads a body that turns out to be small; one that does not goes on as it comes, from its beginning. */
export class HeldBody implements Body {
  readonly length: number;
  /** All of it, or `null` when it is too large, or goes on before it has ended. Rejects when it breaks off. */
  readonly whole: Promise<Uint8Array | null>;
  /** What `whole` gives, where it is there already: nobody need wait for it then. `null`: it is not, or is too large. */
  ready: Uint8Array | null = null;
  /** The fields that followed it; `null`: there were none, or it has not ended. */
  trailers: Trailers | null = null;
  private held: Uint8Array[] = [];
  private size = 0;
  private sink: Sink | null = null;
  private isEnded = false;
  private isTooLarge = false;
  private failure: Error | null = null;
  private giveUp: () => void = () => {};

  /** Begins to read. `max`: the bytes that are held. `counts` is told of more bytes, and says whether there is room for them. */
  constructor(
    private readonly source: Body,
    private readonly max: number,
    private readonly counts: (bytes: number) => boolean = () => true,
  ) {
    this.length = source.length;
    this.whole = new Promise((resolve, reject) => {
      this.giveUp = () => resolve(null);
      source.start({
        write: (bytes) => {
          if (this.sink !== null) return this.sink.write(bytes);
          this.held.push(bytes);
          this.size += bytes.length;
          if (this.counts(bytes.length) && this.size <= this.max) return true;
          this.isTooLarge = true;
          resolve(null);
          return false;
        },
        end: (trailers = null) => {
          this.isEnded = true;
          this.trailers = trailers;
          const bytes = this.held.length === 1 ? (this.held[0] as Uint8Array) : Buffer.concat(this.held, this.size);
          if (!this.isTooLarge && this.sink === null) this.ready = bytes;
          resolve(bytes);
          this.sink?.end(trailers);
        },
        fail: (reason) => {
          this.failure = reason;
          reject(reason);
          this.sink?.fail(reason);
        },
      });
    });
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
}
