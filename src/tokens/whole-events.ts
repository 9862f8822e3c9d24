import { bufferOf } from "../values/buffer.ts";

/** The most bytes of an event that are held back: a larger one goes on as it comes. */
const MAX_HELD = 65_536;

const LF = 10;

/**
 * Cuts a stream of Server-Sent Events into whole ones: what has come of the last goes on with its end. So another event can be written
 * behind any of them.
 */
export class WholeEvents {
  private held: Uint8Array[] = [];
  private size = 0;
  /** True when a part of an event has gone on. */
  private isBroken = false;

  /** Takes a piece of the stream. Gives what goes on now; `null`: nothing. */
  take(bytes: Uint8Array): Uint8Array | null {
    const end = lastBorder(bytes);
    // A border that two pieces share shows in both together.
    if (end < 0 && this.size > 0) return this.joined(bytes);
    if (end < 0) return this.hold(bytes);
    this.isBroken = false;
    const passed = this.size === 0 && end === bytes.length ? bytes : Buffer.concat([...this.held, bytes.subarray(0, end)]);
    this.held = [];
    this.size = 0;
    if (end < bytes.length) this.hold(bytes.subarray(end));
    return passed;
  }

  /** Gives what has come of an event that has not ended, when the stream ends; `null`: nothing. */
  rest(): Uint8Array | null {
    return this.size === 0 ? null : Buffer.concat(this.held, this.size);
  }

  /** What must stand before an event of our own. */
  get gap(): string {
    return this.isBroken ? "\n\n" : "";
  }

  private joined(bytes: Uint8Array): Uint8Array | null {
    const all = Buffer.concat([...this.held, bytes], this.size + bytes.length);
    this.held = [];
    this.size = 0;
    const end = lastBorder(all);
    if (end < 0) return this.hold(all);
    this.isBroken = false;
    if (end < all.length) this.hold(all.subarray(end));
    return all.subarray(0, end);
  }

  private hold(bytes: Uint8Array): Uint8Array | null {
    if (this.isBroken || this.size + bytes.length > MAX_HELD) {
      this.isBroken = true;
      return bytes;
    }
    this.held.push(bytes);
    this.size += bytes.length;
    return null;
  }
}

/** The ends of lines between which there is none: with them an event ends (WHATWG HTML §9.2.6). */
const BORDERS = ["\n\n", "\n\r\n", "\r\r"].map((border) => Buffer.from(border));

/** Gives the position behind the last empty line; -1 where there is none. */
function lastBorder(piece: Uint8Array): number {
  // Most pieces are whole events.
  if (piece.at(-1) === LF && piece.at(-2) === LF) return piece.length;
  const bytes = bufferOf(piece);
  let last = -1;
  for (const border of BORDERS) {
    const at = bytes.lastIndexOf(border);
    if (at >= 0) last = Math.max(last, at + border.length);
  }
  return last;
}
