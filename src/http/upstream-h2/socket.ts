import { Duplex } from "node:stream";
import { Outgoing, type RawSocket } from "../outgoing.ts";

/**
 * Gives node:http2 a socket of `Bun.connect` as a stream: cheaper than those of node:net, and what arrives is seen here first.
 */
export class Http2Socket extends Duplex {
  /** What node:http2 asks for: without it, it answers a server's connection with 403. */
  readonly alpnProtocol = "h2";
  private readonly out: Outgoing;
  private drained: (() => void) | null = null;
  private isHeld = false;
  private isClosed = false;

  constructor(private readonly socket: RawSocket) {
    super({ allowHalfOpen: false });
    this.out = new Outgoing(socket);
    // A peer that vanishes is no fault of ours, and is told otherwise.
    this.on("error", () => {});
  }

  /** Takes what has arrived. */
  arrived(bytes: Buffer): void {
    if (!this.push(bytes) && !this.isHeld) {
      this.isHeld = true;
      this.socket.pause();
    }
  }

  /** Goes on after the kernel has taken what waited. */
  flushed(): void {
    if (!this.out.flush()) return;
    const { drained } = this;
    this.drained = null;
    drained?.();
  }

  /** The connection is closed: what is still written goes nowhere, and what has come can be read. */
  cut(): void {
    this.isClosed = true;
    const { drained } = this;
    this.drained = null;
    drained?.();
  }

  /** Ends the stream. */
  lost(): void {
    this.isClosed = true;
    this.destroy();
  }

  override _read(): void {
    if (!this.isHeld || this.isClosed) return;
    this.isHeld = false;
    this.socket.resume();
  }

  override _write(bytes: Uint8Array, _encoding: string, done: (error?: Error | null) => void): void {
    if (this.isClosed || this.out.write(bytes)) done();
    else this.drained = done;
  }

  override _final(done: (error?: Error | null) => void): void {
    if (!this.isClosed) this.socket.end();
    done();
  }

  override _destroy(_error: Error | null, done: (error?: Error | null) => void): void {
    if (!this.isClosed) this.socket.terminate();
    this.isClosed = true;
    done();
  }
}
