import { CLOSE, CONTINUATION, type FrameHead, PONG } from "./frames.ts";

/** Bounds what a client may send over a WebSocket. */
export interface MessagePolicy {
  /** Bytes of a message, all its fragments together; infinity: any. */
  readonly maxMessage: number;
  /** Messages, pings, small fragments, and pongs that nobody has asked for, a second, with a second's worth at once; infinity: any. */
  readonly perSecond: number;
}

/** The codes that a WebSocket is closed with (RFC 6455 §7.4.1): it does not keep to the protocol, to the rate, to the size. */
export const CLOSE_CODES = [1002, 1008, 1009] as const;

/** Says why a WebSocket is closed. */
export interface Violation {
  readonly code: (typeof CLOSE_CODES)[number];
  /** Told to both sides. */
  readonly reason: string;
}

const TOO_LARGE: Violation = { code: 1009, reason: "message too large" };
const TOO_MANY: Violation = { code: 1008, reason: "too many messages" };
const MALFORMED: Violation = { code: 1002, reason: "protocol error" };
/** The most bytes of a control frame's payload (RFC 6455 §5.5). */
const MAX_CONTROL = 125;
/** Bytes below which a fragment between others counts as a message: a frame costs its reader as much as a message does. */
const SMALL_FRAGMENT = 126;
/** The most pings of the backend's whose pongs are waited for. */
const MAX_ASKED = 16;

/** Judges the frames of one client by their heads. */
export class MessageBounds {
  /** Bytes of the fragments of the message under way; -1: none is. */
  private size = -1;
  /** The backend's pings that have not been answered yet. */
  private asked = 0;
  /** What is left of a second's worth of messages, as of `since`. */
  private left: number;

  /** `since`: milliseconds of a clock that `judge` is told as well. */
  constructor(
    private readonly policy: MessagePolicy,
    private since: number,
  ) {
    this.left = policy.perSecond;
  }

  /** Notes that the backend has sent a ping: a pong that answers it does not count. */
  pinged(): void {
    if (this.asked < MAX_ASKED) this.asked++;
  }

  /** Says why a frame is refused; `null`: it may pass. */
  judge({ opcode, isFinal, isExtended, length }: FrameHead, now: number): Violation | null {
    const { maxMessage, perSecond } = this.policy;
    // What an extension has made of a message can't be measured: none was agreed upon.
    if (isExtended && maxMessage !== Number.POSITIVE_INFINITY) return MALFORMED;
    if (opcode >= 0x8) {
      if (length > MAX_CONTROL || !isFinal) return MALFORMED;
      if (opcode === CLOSE || (opcode === PONG && this.isAnswer())) return null;
      return this.takes(perSecond, now) ? null : TOO_MANY;
    }
    // Whoever put such fragments together all the same would get more than was counted.
    if ((opcode === CONTINUATION) !== this.size >= 0) return MALFORMED;
    const size = Math.max(this.size, 0) + length;
    if (size > maxMessage || length === Number.POSITIVE_INFINITY) return TOO_LARGE;
    const counts = opcode !== CONTINUATION || (!isFinal && length < SMALL_FRAGMENT);
    if (counts && !this.takes(perSecond, now)) return TOO_MANY;
    this.size = isFinal ? -1 : size;
    return null;
  }

  private isAnswer(): boolean {
    if (this.asked === 0) return false;
    this.asked--;
    return true;
  }

  private takes(perSecond: number, now: number): boolean {
    if (perSecond === Number.POSITIVE_INFINITY) return true;
    this.left = Math.min(perSecond, this.left + ((now - this.since) * perSecond) / 1000);
    this.since = now;
    if (this.left < 1) return false;
    this.left--;
    return true;
  }
}
