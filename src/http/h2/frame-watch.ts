import { type Allowance, Budget } from "./budget.ts";
import { ERROR, type ErrorCode, FLAG, FRAME, HEADER, MAX_FRAME, PREFACE } from "./frames.ts";

/** Names what a connection is cut off for. */
export type CutOffCause = "resets" | "streams" | "settings" | "pings" | "headers" | "frames" | "slow" | "address";

/** Says why a connection is ended. */
export interface FrameFault {
  readonly code: ErrorCode;
  /** What the client did too much of; `null`: it has broken a rule of the protocol. */
  readonly cause: CutOffCause | null;
}

/**
 * What one connection may do of that which costs the server much and the client little. People's clients and gRPC's stay far below; who is
 * above is ended by GOAWAY with ENHANCE_YOUR_CALM.
 */
export const ALLOWED = {
  /** Streams that the client resets before they are answered (CVE-2023-44487): nghttp2's figures. */
  resets: { burst: 1000, perSecond: 33 },
  /** Streams above the number that may be open at once, each of which is refused. */
  streams: { burst: 1000, perSecond: 100 },
  /** SETTINGS, each of which is acknowledged (CVE-2019-9515). */
  settings: { burst: 100, perSecond: 10 },
  /** PINGs, each of which is answered (CVE-2019-9512), while no content moves: with it gRPC's clients measure the way by many. */
  pings: { burst: 500, perSecond: 20 },
  /** Frames that bring nothing: DATA without bytes, PRIORITY, unknown ones (CVE-2019-9513, CVE-2019-9518), and WINDOW_UPDATE beyond what was sent. */
  frames: { burst: 10_000, perSecond: 1000 },
} as const satisfies Partial<Record<CutOffCause, Allowance>>;

/** The CONTINUATION frames that one block of fields may have (CVE-2024-27316). */
const MAX_CONTINUATIONS = 64;
/** Bytes of content for which one more frame that brings nothing is allowed. */
const BYTES_A_FRAME = 512;

/** Tells of a connection's streams, and hears of what comes for them. */
export interface Streams {
  /** True while this stream, which the client has opened, is not answered. */
  isUnanswered(id: number): boolean;
  /** The number of streams that are open. */
  readonly open: number;
  /** Tells whether one more may be reset before it is answered, whichever connection of its address it is on. */
  mayReset(): boolean;
  /** Hears of content. `isLast`: it is whole with this. False when it was whole before. */
  arrives(id: number, bytes: number, isLast: boolean): boolean;
  /** Hears how many bytes of the content that has arrived last are padding, which nobody takes over. */
  isPadded(id: number, bytes: number): void;
}

const ENOUGH = (cause: CutOffCause): FrameFault => ({ code: ERROR.enhanceYourCalm, cause });
const BROKEN: FrameFault = { code: ERROR.protocol, cause: null };

/**
 * Reads the headers of the frames that a client sends, before node:http2 sees them, and tells when it has sent too much of what costs much.
 * It knows no fields and no content: what it lets pass is read there.
 */
export class FrameWatch {
  /** The highest stream that the client has opened. */
  last = 0;
  private readonly budgets = new Map<CutOffCause, Budget>();
  /** Bytes of the preface that have come. */
  private greeted = 0;
  /** What has come of a frame's header. */
  private readonly header = Buffer.alloc(HEADER);
  private filled = 0;
  /** Bytes of the frame's payload that are still to come. */
  private left = 0;
  /** The stream of the frame whose payload begins with the length of its padding, which is still to come; 0: it is none. */
  private padded = 0;
  /** The stream whose block of fields goes on in CONTINUATION; 0: none does. */
  private block = 0;
  private blockSize = 0;
  private continuations = 0;
  private isHeaderFrame = false;
  /** How many streams the bytes have opened that are being read. */
  private opened = 0;

  /** `maxBlock`: bytes that a block of fields may have as it is sent, packed. */
  constructor(
    private readonly streams: Streams,
    private readonly maxBlock: () => number,
    private readonly maxStreams: number,
  ) {}

  /** True while fields have begun to come and are not there as a whole. */
  get isInFields(): boolean {
    return this.block !== 0 || (this.isHeaderFrame && this.left > 0);
  }

  /** True when the client has not begun as one that speaks HTTP/2 must. */
  get isSilent(): boolean {
    return this.greeted < PREFACE.length;
  }

  /** Notes content that was sent: who gets much may ask for more, and measure the way. */
  sent(bytes: number): void {
    this.budgets.get("pings")?.credit(Number.POSITIVE_INFINITY);
    this.budgets.get("frames")?.credit(bytes / BYTES_A_FRAME);
  }

  /** Reads what has arrived. `second`: the clock, coarse. Gives why the connection has to be ended, or `null`. */
  read(bytes: Buffer, second: number): FrameFault | null {
    let at = 0;
    this.opened = 0;
    while (this.greeted < PREFACE.length && at < bytes.length) if (bytes[at++] !== PREFACE[this.greeted++]) return BROKEN;
    while (at < bytes.length) {
      if (this.left > 0) {
        if (this.padded !== 0) {
          // RFC 9113 §6.1; the byte itself is none of the content either.
          this.streams.isPadded(this.padded, Math.min((bytes[at] as number) + 1, this.left));
          this.padded = 0;
        }
        const take = Math.min(this.left, bytes.length - at);
        this.left -= take;
        at += take;
        continue;
      }
      // Nearly always a whole header is there.
      if (this.filled === 0 && bytes.length - at >= HEADER) {
        const fault = this.begin(bytes, at, second);
        if (fault !== null) return fault;
        at += HEADER;
        continue;
      }
      this.header[this.filled++] = bytes[at++] as number;
      if (this.filled < HEADER) continue;
      this.filled = 0;
      const fault = this.begin(this.header, 0, second);
      if (fault !== null) return fault;
    }
    return null;
  }

  /** Looks at the header of a frame, which stands at `at`. */
  private begin(bytes: Buffer, at: number, second: number): FrameFault | null {
    const length = bytes.readUIntBE(at, 3);
    const type = bytes[at + 3] as number;
    const flags = bytes[at + 4] as number;
    const id = bytes.readUInt32BE(at + 5) & 0x7fffffff;
    this.left = length;
    this.isHeaderFrame = type === FRAME.headers || type === FRAME.continuation;
    if (length > MAX_FRAME) return { code: ERROR.frameSize, cause: null };
    // RFC 9113 §6.10: nothing else may stand within a block of fields.
    if (this.block !== 0 && (type !== FRAME.continuation || id !== this.block)) return BROKEN;
    switch (type) {
      case FRAME.data:
        // RFC 9113 §5.1: nobody has opened it.
        if (id === 0 || id > this.last) return BROKEN;
        // RFC 9113 §5.1: half-closed.
        if (!this.streams.arrives(id, length, (flags & FLAG.endStream) !== 0)) return { code: ERROR.streamClosed, cause: null };
        if (length > 0) {
          this.budgets.get("pings")?.credit(Number.POSITIVE_INFINITY);
          if ((flags & FLAG.padded) !== 0) this.padded = id;
          return null;
        }
        return (flags & FLAG.endStream) !== 0 ? null : this.take("frames", second);
      case FRAME.headers:
        return this.opens(id, length, flags, second);
      case FRAME.continuation:
        return this.goesOn(length, flags);
      case FRAME.rstStream:
        if (id > this.last) return BROKEN;
        if (!this.streams.isUnanswered(id)) return this.take("frames", second);
        return this.streams.mayReset() ? this.take("resets", second) : ENOUGH("resets");
      case FRAME.settings:
        return (flags & FLAG.ack) !== 0 ? this.take("frames", second) : this.take("settings", second);
      case FRAME.ping:
        return (flags & FLAG.ack) !== 0 ? this.take("frames", second) : this.take("pings", second);
      case FRAME.windowUpdate:
        if (id > this.last) return BROKEN;
        return this.take("frames", second);
      default:
        return this.take("frames", second);
    }
  }

  private opens(id: number, length: number, flags: number, second: number): FrameFault | null {
    // RFC 9113 §5.1.1: a client's streams are odd.
    if (id % 2 === 0) return BROKEN;
    this.blockSize = length;
    this.continuations = 0;
    if ((flags & FLAG.endHeaders) === 0) this.block = id;
    const isNew = id > this.last;
    if (isNew) this.last = id;
    if ((flags & FLAG.endStream) !== 0 && !this.streams.arrives(id, 0, true)) return { code: ERROR.streamClosed, cause: null };
    if (!isNew) return null;
    return this.streams.open + ++this.opened > this.maxStreams ? this.take("streams", second) : null;
  }

  private goesOn(length: number, flags: number): FrameFault | null {
    if (this.block === 0) return BROKEN;
    this.blockSize += length;
    if (++this.continuations > MAX_CONTINUATIONS || this.blockSize > this.maxBlock()) return ENOUGH("headers");
    if ((flags & FLAG.endHeaders) !== 0) this.block = 0;
    return null;
  }

  private take(cause: keyof typeof ALLOWED, second: number): FrameFault | null {
    let budget = this.budgets.get(cause);
    if (budget === undefined) {
      budget = new Budget(ALLOWED[cause]);
      this.budgets.set(cause, budget);
    }
    return budget.take(second) ? null : ENOUGH(cause);
  }
}
