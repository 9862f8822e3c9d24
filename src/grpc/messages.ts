import { type Body, type Sink, TooLarge } from "../http/body.ts";
import type { Trailers } from "../http/trailers.ts";

/** Bytes before each message: whether it is compressed, and its length. */
export const PREFIX = 5;

/** Finds the messages of a call's body as it goes by. */
export class MessageReader {
  private readonly prefix = Buffer.alloc(PREFIX);
  private filled = 0;
  private left = 0;
  /** Bytes of the largest message that has begun. */
  largest = 0;

  read(bytes: Uint8Array): void {
    let at = 0;
    while (at < bytes.length) {
      if (this.left > 0) {
        const take = Math.min(this.left, bytes.length - at);
        this.left -= take;
        at += take;
        continue;
      }
      this.prefix[this.filled++] = bytes[at++] as number;
      if (this.filled < PREFIX) continue;
      this.filled = 0;
      this.left = this.prefix.readUInt32BE(1);
      if (this.left > this.largest) this.largest = this.left;
    }
  }
}

/**
 * Bounds the messages of a call's body: a stream of them may go on for as long as it likes, so that the whole has no bound. One of more than
 * `max` bytes breaks it off (`TooLarge`) before it goes on.
 */
export class BoundedMessages implements Body {
  readonly length: number;
  private readonly messages = new MessageReader();
  private isOver = false;

  constructor(
    private readonly source: Body,
    private readonly max: number,
  ) {
    this.length = source.length;
  }

  start(sink: Sink): void {
    this.source.start({
      write: (bytes) => {
        if (this.isOver) return true;
        this.messages.read(bytes);
        if (this.messages.largest <= this.max) return sink.write(bytes);
        this.isOver = true;
        this.source.cancel();
        sink.fail(new TooLarge(this.max));
        return true;
      },
      end: (trailers: Trailers | null = null) => {
        if (!this.isOver) sink.end(trailers);
      },
      fail: (reason) => {
        if (!this.isOver) sink.fail(reason);
      },
    });
  }

  resume(): void {
    this.source.resume();
  }

  cancel(): void {
    this.source.cancel();
  }
}

/** Puts the prefix before a message. */
export function framedMessage(bytes: Uint8Array): Buffer {
  const framed = Buffer.alloc(PREFIX + bytes.length);
  framed.writeUInt32BE(bytes.length, 1);
  framed.set(bytes, PREFIX);
  return framed;
}

/** Gives the one message that a body holds; `null`: it holds none, a compressed one, or more. */
export function oneMessage(body: Uint8Array): Uint8Array | null {
  if (body.length < PREFIX || body[0] !== 0) return null;
  const length = Buffer.from(body.buffer, body.byteOffset, body.length).readUInt32BE(1);
  return body.length === PREFIX + length ? body.subarray(PREFIX) : null;
}
