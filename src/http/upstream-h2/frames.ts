import { FLAG, FRAME, HEADER } from "../h2/frames.ts";

/** Bytes of a GOAWAY's payload that are read: the last stream, and the code. */
const GOAWAY_READ = 8;

/** Hears what becomes of streams. */
export interface FrameEvents {
  /** The peer has sent its last frame of this stream. */
  ended(stream: number): void;
  /** The peer has given the stream up. */
  reset(stream: number, code: number): void;
  /** The peer takes no streams above `last`, and has not looked at those that are there. */
  goesAway(last: number, code: number): void;
}

/**
 * Reads the headers of the frames that a server sends, before node:http2 sees them, and tells how each stream ends. Bun's node:http2 ends the
 * stream of a lost connection, and one that was given up, as it ends a whole one: a torn answer would pass for the whole.
 */
export class FrameReader {
  /** What has come of a frame's header, or of a payload that is read. */
  private readonly part = Buffer.alloc(HEADER + GOAWAY_READ);
  private filled = 0;
  private wanted = HEADER;
  /** Bytes of a payload that are still to come and are not read. */
  private left = 0;

  constructor(private readonly events: FrameEvents) {}

  /** Reads what has arrived. */
  read(bytes: Buffer): void {
    let at = 0;
    while (at < bytes.length) {
      if (this.left > 0) {
        const take = Math.min(this.left, bytes.length - at);
        this.left -= take;
        at += take;
        continue;
      }
      const take = Math.min(this.wanted - this.filled, bytes.length - at);
      bytes.copy(this.part, this.filled, at, at + take);
      this.filled += take;
      at += take;
      if (this.filled === this.wanted) this.look();
    }
  }

  private look(): void {
    const { part } = this;
    const length = part.readUIntBE(0, 3);
    const type = part[3] as number;
    const read = type === FRAME.rstStream ? Math.min(length, 4) : type === FRAME.goAway ? Math.min(length, GOAWAY_READ) : 0;
    if (this.wanted === HEADER && read > 0) {
      this.wanted = HEADER + read;
      return;
    }
    this.wanted = HEADER;
    this.filled = 0;
    this.left = length - read;
    const stream = part.readUInt32BE(5) & 0x7fffffff;
    if (type === FRAME.data || type === FRAME.headers) {
      if (((part[4] as number) & FLAG.endStream) !== 0) this.events.ended(stream);
    } else if (type === FRAME.rstStream) {
      if (read === 4) this.events.reset(stream, part.readUInt32BE(HEADER));
    } else if (type === FRAME.goAway && read === GOAWAY_READ) {
      this.events.goesAway(part.readUInt32BE(HEADER) & 0x7fffffff, part.readUInt32BE(HEADER + 4));
    }
  }
}
