/** Says what the head of a frame says (RFC 6455 §5.2). */
export interface FrameHead {
  readonly opcode: number;
  readonly isFinal: boolean;
  /** True when one of the bits is set that belong to extensions. */
  readonly isExtended: boolean;
  /** Bytes of payload; more than `Number.MAX_SAFE_INTEGER` is told as infinity. */
  readonly length: number;
}

export const CONTINUATION = 0x0;
export const TEXT = 0x1;
export const BINARY = 0x2;
export const CLOSE = 0x8;
export const PING = 0x9;
export const PONG = 0xa;

/** The longest head: two bytes, eight of length, four of the mask. */
const MAX_HEAD = 14;
const NONE = Buffer.alloc(0);

/** Reads the frames of one direction of a WebSocket as they pass: only heads are looked at, and nothing of a payload is kept. */
export class FrameReader {
  /** Bytes of the present frame's payload that have not come yet. */
  private left = 0;
  /** The beginning of a head whose end has not come yet. */
  private begun: Buffer = NONE;

  /** True when what was given ends with a frame, so that another one may be put in. */
  get isBetween(): boolean {
    return this.left === 0;
  }

  /**
   * Reads what has come, and gives what of it may go on: all up to the beginning of a head that is not complete, which comes out in front
   * of what comes next. `take` is told of each frame before it; false ends the reading, and neither that frame nor anything behind it is
   * given.
   */
  read(bytes: Uint8Array, take: (frame: FrameHead) => boolean): Uint8Array {
    const chunk = this.begun.length === 0 ? bytes : Buffer.concat([this.begun, bytes]);
    this.begun = NONE;
    let at = 0;
    for (;;) {
      const payload = Math.min(this.left, chunk.length - at);
      at += payload;
      this.left -= payload;
      if (this.left > 0 || at === chunk.length) return chunk;
      const size = headSize(chunk, at);
      if (size === null) {
        this.begun = Buffer.from(chunk.subarray(at, at + MAX_HEAD));
        return chunk.subarray(0, at);
      }
      const frame = headAt(chunk, at);
      if (!take(frame)) return chunk.subarray(0, at);
      at += size;
      this.left = frame.length;
    }
  }
}

/** Gives the bytes of the head at `at`; `null` when it is not there as a whole. */
function headSize(chunk: Uint8Array, at: number): number | null {
  if (chunk.length - at < 2) return null;
  const second = chunk[at + 1] as number;
  const short = second & 0x7f;
  const size = 2 + (short === 126 ? 2 : short === 127 ? 8 : 0) + ((second & 0x80) === 0 ? 0 : 4);
  return chunk.length - at < size ? null : size;
}

function headAt(chunk: Uint8Array, at: number): FrameHead {
  const first = chunk[at] as number;
  const short = (chunk[at + 1] as number) & 0x7f;
  let length = short;
  if (short >= 126) {
    length = 0;
    for (let i = 0; i < (short === 126 ? 2 : 8); i++) length = length * 256 + (chunk[at + 2 + i] as number);
    if (length > Number.MAX_SAFE_INTEGER) length = Number.POSITIVE_INFINITY;
  }
  return { opcode: first & 0x0f, isFinal: (first & 0x80) !== 0, isExtended: (first & 0x70) !== 0, length };
}

/** Makes a Close frame (RFC 6455 §5.5.1). `masked`: as a client sends it. `reason`: at most 123 bytes of ASCII. */
export function closeFrame(code: number, reason: string, masked: boolean): Buffer {
  const payload = Buffer.alloc(2 + reason.length);
  payload.writeUInt16BE(code);
  payload.write(reason, 2, "latin1");
  if (!masked) return Buffer.concat([Buffer.from([0x80 | CLOSE, payload.length]), payload]);
  const mask = crypto.getRandomValues(new Uint8Array(4));
  for (let i = 0; i < payload.length; i++) payload[i] = (payload[i] as number) ^ (mask[i % 4] as number);
  return Buffer.concat([Buffer.from([0x80 | CLOSE, 0x80 | payload.length]), mask, payload]);
}
