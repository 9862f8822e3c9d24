import { CONTINUATION, type FrameHead, PING } from "./frames.ts";

/** Bounds what a client may send over a WebSocket. */
export interface MessagePolicy {
  /** Bytes of a message, all its fragments together; infinity: any. */
  readonly maxMessage: number;
  /** Messages and pings a second, with a second's worth at once; infinity: any. */
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

/** Judges the frames of one client by their heads. */
export class MessageBounds {
  /** Bytes of the fragments of the message under way; -1: none is. */
  private size = -1;
  /** What is left of a second's worth of messages, as of `since`. */
  private left: number;

  /** `since`: milliseconds of a clock that `judge` is told as well. */
  constructor(
    private readonly policy: MessagePolicy,
    private since: number,
  ) {
    this.left = policy.perSecond;
  }

  /** Says why a frame is refused; `null`: it may pass. */
  judge({ opcode, isFinal, isExtended, length }: FrameHead, now: number): Violation | null {
    const { maxMessage, perSecond } = this.policy;
    // What an extension has made of a message can't be measured: none was agreed upon.
    if (isExtended && maxMessage !== Number.POSITIVE_INFINITY) return MALFORMED;
    if (opcode >= 0x8) {
      if (length > MAX_CONTROL || !isFinal) return MALFORMED;
      return opcode === PING && !this.takes(perSecond, now) ? TOO_MANY : null;
    }
    // Whoever put such fragments together all the same would get more than was counted.
    if ((opcode === CONTINUATION) !== this.size >= 0) return MALFORMED;
    const size = Math.max(this.size, 0) + length;
    if (size > maxMessage || length === Number.POSITIVE_INFINITY) return TOO_LARGE;
    if (opcode !== CONTINUATION && !this.takes(perSecond, now)) return TOO_MANY;
    this.size = isFinal ? -1 : size;
    return null;
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
