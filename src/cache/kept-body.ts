import type { Body, Sink } from "../http/body.ts";

/** Keeps a response's body while it passes. A slow reader does not hold up what others wait for: what is kept is bounded anyway. */
export class KeptBody implements Body {
  readonly length: number;
  private parts: Uint8Array[] | null = [];
  private size = 0;

  /** Takes `max` in bytes. `keep` gets the whole; `giveUp` is called instead when it breaks off or is too large. */
  constructor(
    private readonly source: Body,
    private readonly max: number,
    private readonly keep: (body: Uint8Array) => void,
    private readonly giveUp: () => void,
  ) {
    this.length = source.length;
  }

  start(sink: Sink): void {
    this.source.start({
      write: (bytes) => {
        const fits = sink.write(bytes);
        if (this.parts === null) return fits;
        this.size += bytes.length;
        if (this.size > this.max) {
          this.lose();
          return fits;
        }
        this.parts.push(bytes);
        return true;
      },
      end: (trailers) => {
        if (this.parts !== null) this.keep(Buffer.concat(this.parts, this.size));
        this.parts = null;
        sink.end(trailers);
      },
      fail: (reason) => {
        this.lose();
        sink.fail(reason);
      },
    });
  }

  resume(): void {
    this.source.resume();
  }

  cancel(): void {
    this.lose();
    this.source.cancel();
  }

  private lose(): void {
    if (this.parts === null) return;
    this.parts = null;
    this.giveUp();
  }
}
