import { chunkFrame, encodeChunk } from "./framing.ts";
import { writeLatin1, writeUtf8 } from "./latin1.ts";

/** Describes what both directions of a connection need of a socket. */
export interface RawSocket {
  /** Writes bytes and gives how many were taken: fewer than given when the kernel's buffer is full, -1 when the socket is closed. */
  write(bytes: Uint8Array, offset?: number, length?: number): number;
  pause(): void;
  resume(): void;
  /** Sends what was written and closes the write side. */
  shutdown(halfClose?: boolean): void;
  end(): void;
  /** Closes at once, with the written bytes on their way; over TLS as well, where `end` waits for the peer. */
  close(): void;
  terminate(): void;
  /** The descriptor. */
  readonly fd?: number;
  /** Has the system ask after a silent peer. */
  setKeepAlive(enable: boolean, milliseconds: number): boolean;
  /** What was agreed on by ALPN, once the handshake is over; Bun's types don't know it. */
  readonly alpnProtocol?: string | false | null;
  /** The peer's address; undefined when the peer has reset the connection. */
  readonly remoteAddress: string | undefined;
}

/** Sends bytes to one socket, in order; those that the kernel does not take at once wait here. */
export class Outgoing {
  /** Bytes that wait. Above 0, `flush` must be called on `drain`. */
  pending = 0;
  /** Bytes that had to wait and were taken since: while it does not grow, the other side does not read. */
  flushed = 0;
  /** Is asked once, just before the next bytes leave. False: nobody will read them, and they are dropped. `null`: they leave. */
  mayLeave: (() => boolean) | null = null;
  private readonly queue: Uint8Array[] = [];
  /** Where in `turn` the messages stand that leave at the end of this turn of the event loop; the same numbers: there are none. */
  private from = 0;
  private to = 0;

  constructor(private readonly socket: RawSocket) {}

  /** Writes bytes, which must not be changed afterwards. True when the kernel took all of them. */
  write(bytes: Uint8Array): boolean {
    this.send();
    if (this.pending > 0) {
      this.wait(bytes);
      return false;
    }
    if (this.isHeldBack()) return true;
    const taken = this.socket.write(bytes);
    if (taken >= bytes.length) return true;
    this.wait(taken > 0 ? bytes.subarray(taken) : bytes);
    return false;
  }

  /**
   * Writes bytes, which must not be empty nor be changed afterwards, as one chunk of a chunked body. Many of them leave between what frames
   * them: a copy of each part of a large body was half of the garbage that it made. True when the kernel took all of it.
   */
  writeChunk(bytes: Uint8Array): boolean {
    if (bytes.length <= MAX_TOGETHER) return this.write(encodeChunk(bytes));
    const [before, behind] = chunkFrame(bytes.length);
    this.write(before);
    this.write(bytes);
    return this.write(behind);
  }

  /**
   * Writes a head and, in the same call, the bytes behind it, or a text in UTF-8: one packet for a small message. That leaves at the end of
   * this turn of the event loop, together with those for other sockets: of peers on this machine the first wakes a process, and the others
   * find it awake. False when the kernel did not take all of a larger one. Before the socket is closed, `send` must be called.
   */
  writeMessage(head: string, body: Uint8Array | string | null): boolean {
    const most = head.length + (body === null ? 0 : typeof body === "string" ? MOST_OF_UTF8 * body.length : body.length);
    // What stands between this message and the one before is for others. Who does not read is not written to for ever.
    if (this.to !== end || this.to - this.from + most > MAX_TOGETHER) this.send();
    if (end + most > turn.length) sendAll();
    if (most > MAX_TOGETHER || end + most > turn.length || this.pending > 0) {
      const fits = this.write(Buffer.from(head, "latin1"));
      return body === null || body.length === 0 ? fits : this.write(typeof body === "string" ? Buffer.from(body) : body);
    }
    if (waiting.length === 0) setImmediate(sendAll);
    if (this.from === this.to) {
      this.from = end;
      waiting.push(this);
    }
    writeLatin1(turn, head, end);
    end += head.length;
    if (typeof body === "string") end += writeUtf8(turn, body, end);
    else if (body !== null) {
      turn.set(body, end);
      end += body.length;
    }
    this.to = end;
    return true;
  }

  /** Sends now what would leave at the end of this turn. */
  send(): void {
    const { from, to } = this;
    if (from === to) return;
    this.from = this.to;
    if (this.isHeldBack()) return;
    const taken = this.pending > 0 ? 0 : this.socket.write(turn, from, to - from);
    // The memory belongs to the next turn's messages: what waits must be a copy.
    if (taken < to - from) this.wait(Buffer.from(turn.subarray(from + Math.max(taken, 0), to)));
  }

  /** Writes on after `drain`. True when nothing waits any more. */
  flush(): boolean {
    this.send();
    let done = 0;
    for (const bytes of this.queue) {
      const taken = this.socket.write(bytes);
      if (taken < bytes.length) {
        const sent = Math.max(taken, 0);
        this.pending -= sent;
        this.flushed += sent;
        this.queue.splice(0, done + 1, bytes.subarray(sent));
        return false;
      }
      this.pending -= bytes.length;
      this.flushed += bytes.length;
      done++;
    }
    this.queue.length = 0;
    return true;
  }

  private isHeldBack(): boolean {
    const { mayLeave } = this;
    if (mayLeave === null) return false;
    this.mayLeave = null;
    return !mayLeave();
  }

  private wait(bytes: Uint8Array): void {
    this.queue.push(bytes);
    this.pending += bytes.length;
  }
}

/** The most bytes that a text takes for each unit of its length. */
const MOST_OF_UTF8 = 3;
/** What one socket sends together, in bytes: larger messages leave at once, they are not worth a copy. */
const MAX_TOGETHER = 65_536;

/** Holds what all sockets send at the end of this turn of the event loop, up to `end`; and those that send something. */
const turn = Buffer.allocUnsafeSlow(262_144);
let end = 0;
const waiting: Outgoing[] = [];
/** The one of them that is next, and whether they are being gone through. */
let next = 0;
let isSending = false;

/** Sends what all sockets would send at the end of this turn. */
function sendAll(): void {
  if (isSending) return;
  isSending = true;
  try {
    while (next < waiting.length) waiting[next++]?.send();
    waiting.length = 0;
    next = 0;
    end = 0;
  } finally {
    isSending = false;
    // One has thrown: the others leave all the same, before their places are given to what comes.
    if (waiting.length > 0) setImmediate(sendAll);
  }
}
