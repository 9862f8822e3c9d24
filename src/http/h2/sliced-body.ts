import type { Body, Sink } from "../body.ts";

/** Bytes of a slice. */
const SLICE = 65_536;

/** Holds a body that is there as a whole, and hands it over as fast as it is read: so that it shows whether it is read at all. */
export class SlicedBody implements Body {
  readonly length: number;
  private sink: Sink | null = null;
  private at = 0;

  constructor(private readonly bytes: Uint8Array) {
    this.length = bytes.length;
  }

  start(sink: Sink): void {
    this.sink = sink;
    this.resume();
  }

  resume(): void {
    const { bytes } = this;
    while (this.sink !== null && this.at < bytes.length) {
      const slice = bytes.subarray(this.at, this.at + SLICE);
      this.at += slice.length;
      if (!this.sink.write(slice)) break;
    }
    if (this.at < bytes.length) return;
    const { sink } = this;
    this.sink = null;
    sink?.end();
  }

  cancel(): void {
    this.sink = null;
  }
}
