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
  private readonly queue: Uint8Array[] = [];

  constructor(private readonly socket: RawSocket) {}

  /** Writes bytes, which must not be changed afterwards. True when the kernel took all of them. */
  write(bytes: Uint8Array): boolean {
    if (this.pending > 0) {
      this.wait(bytes);
      return false;
    }
    const taken = this.socket.write(bytes);
    if (taken >= bytes.length) return true;
    this.wait(taken > 0 ? bytes.subarray(taken) : bytes);
    return false;
  }

  /** Writes a head and, in the same call, the bytes behind it, or a text in UTF-8: one packet for a small message. */
  writeMessage(head: string, body: Uint8Array | string | null): boolean {
    const most = head.length + (body === null ? 0 : typeof body === "string" ? MOST_OF_UTF8 * body.length : body.length);
    if (most > scratch.length || this.pending > 0) {
      const fits = this.write(Buffer.from(head, "latin1"));
      return body === null || body.length === 0 ? fits : this.write(typeof body === "string" ? Buffer.from(body) : body);
    }
    writeLatin1(scratch, head, 0);
    let size = head.length;
    if (typeof body === "string") size += writeUtf8(scratch, body, size);
    else if (body !== null) {
      scratch.set(body, size);
      size += body.length;
    }
    const taken = this.socket.write(scratch, 0, size);
    if (taken >= size) return true;
    // The scratch buffer belongs to the next message: what waits must be a copy.
    this.wait(Buffer.from(scratch.subarray(Math.max(taken, 0), size)));
    return false;
  }

  /** Writes on after `drain`. True when nothing waits any more. */
  flush(): boolean {
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

  private wait(bytes: Uint8Array): void {
    this.queue.push(bytes);
    this.pending += bytes.length;
  }
}

/** The most bytes that a text takes for each unit of its length. */
const MOST_OF_UTF8 = 3;

/** A buffer that all connections share: used and read again within one synchronous call. */
const scratch = Buffer.allocUnsafe(65_536);
