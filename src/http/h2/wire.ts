import { Duplex } from "node:stream";
import type { Outgoing } from "../outgoing.ts";

/** Says what a connection is told by node:http2, which reads from and writes to its wire. */
export interface WireEnds {
  /** All that node:http2 has to say was written. */
  ended(): void;
}

/**
 * Joins a connection of ours and node:http2, which takes any stream for a socket. Bytes go straight through in both directions; that the
 * client reads slowly is told by `write`.
 */
export class Wire extends Duplex {
  /** Node's sockets have it, and node:http2 answers 403 to one that did not agree on a protocol. */
  readonly alpnProtocol = "h2";
  private isFull = false;

  constructor(
    private readonly out: Outgoing,
    private readonly ends: WireEnds,
  ) {
    super({ allowHalfOpen: true, autoDestroy: false });
  }

  /** Hands over bytes that have arrived. */
  arrive(bytes: Buffer): void {
    // Not by the buffer of a stream: what was not begun when this is done was refused.
    this.emit("data", bytes);
  }

  /** Hands over that the connection is closed. */
  gone(): void {
    this.destroy();
  }

  /** Goes on after the client has read. */
  drained(): void {
    if (!this.isFull) return;
    this.isFull = false;
    this.emit("drain");
  }

  override write(bytes: Buffer): boolean {
    // What is written belongs to us: node:http2 makes each anew.
    const fits = this.out.write(bytes);
    if (!fits) this.isFull = true;
    return fits;
  }

  override _read(): void {}

  override _final(done: () => void): void {
    done();
    // node:http2 tells what it ends for only after it has ended.
    process.nextTick(() => this.ends.ended());
  }

  override _destroy(_error: Error | null, done: (error: null) => void): void {
    done(null);
    process.nextTick(() => this.ends.ended());
  }
}
