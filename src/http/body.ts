import type { Trailers } from "./trailers.ts";

/** Takes a body's bytes as they come. */
export interface Sink {
  /** Takes bytes, in any case. False when the sink is full for now; it calls `resume()` on the body when it can take more. */
  write(bytes: Uint8Array): boolean;
  /** Ends the body. `trailers`: the fields that followed it, where there were any. */
  end(trailers?: Trailers | null): void;
  /** Tells the sink that the body broke off: the bytes written so far are not the whole. */
  fail(reason: Error): void;
}

/**
 * Carries bytes from a socket to one sink. They are pushed, not pulled: bytes go on in the tick in which they came, and the sink's slowness
 * travels back to the socket that feeds it.
 */
export interface Body {
  /** The number of bytes in all, or -1 when it is not known before the end. */
  readonly length: number;
  /** Begins to push into `sink`; called once. */
  start(sink: Sink): void;
  /** Goes on, since the sink can take more. */
  resume(): void;
  /** Gives up the rest, which nobody wants. */
  cancel(): void;
}

/** Describes a body that is still being received. */
export interface ArrivingBody extends Body {
  /** True when nothing more will come. */
  readonly isComplete: boolean;
  /** Sets other bounds than the server's, in bytes and bytes a second, before anybody takes it; `null` leaves the rate. */
  bound(max: number, rate: number | null): void;
  /** Lets the client be silent for as long as it likes, where the version of HTTP knows streams that go both ways. */
  mayRest(): void;
}

/** Tells whether a body is there already, or is none. */
export const isWhole = (body: Uint8Array | string | Body | null): body is Uint8Array | string | null =>
  body === null || typeof body === "string" || body instanceof Uint8Array;

/** Reads a body to its end. Rejects when it breaks off or grows past `max` bytes (`TooLarge`). */
export function collect(body: Body, max: number): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const parts: Uint8Array[] = [];
    let size = 0;
    body.start({
      write: (bytes) => {
        size += bytes.length;
        if (size > max) {
          body.cancel();
          reject(new TooLarge(max));
          return true;
        }
        parts.push(bytes);
        return true;
      },
      end: () => resolve(parts.length === 1 ? (parts[0] as Uint8Array) : Buffer.concat(parts, size)),
      fail: reject,
    });
  });
}

/** Holds a body that is there as a whole: it can be sent any number of times. */
export class WholeBody implements Body {
  readonly length: number;

  constructor(private readonly bytes: Uint8Array) {
    this.length = bytes.length;
  }

  start(sink: Sink): void {
    sink.write(this.bytes);
    sink.end();
  }

  resume(): void {}

  cancel(): void {}
}

/** Passes a body's bytes through `write` on their way to its sink. */
export const through = (body: Body, write: (bytes: Uint8Array, sink: Sink) => boolean): Body => ({
  length: body.length,
  resume: () => body.resume(),
  cancel: () => body.cancel(),
  start: (sink) =>
    body.start({
      write: (bytes) => write(bytes, sink),
      end: (trailers) => sink.end(trailers),
      fail: (reason) => sink.fail(reason),
    }),
});

/** Makes a body of a stream, for content that is made piece by piece. */
export class StreamBody implements Body {
  readonly length = -1;
  private readonly reader: {
    read(): Promise<{ done: boolean; value?: Uint8Array | undefined }>;
    cancel(): Promise<void>;
    readonly closed: Promise<unknown>;
  };
  private sink: Sink | null = null;
  private isReading = false;

  constructor(stream: ReadableStream<Uint8Array>) {
    // Two libraries describe readers, and differ in what this one has besides.
    this.reader = stream.getReader() as unknown as StreamBody["reader"];
    // It may break off while the sink is full and nothing is read.
    this.reader.closed.catch((error: unknown) => this.sink?.fail(error instanceof Error ? error : new Error(String(error))));
  }

  start(sink: Sink): void {
    this.sink = sink;
    this.resume();
  }

  resume(): void {
    if (!this.isReading) this.read().catch((error: unknown) => this.sink?.fail(error instanceof Error ? error : new Error(String(error))));
  }

  cancel(): void {
    this.sink = null;
    this.reader.cancel().catch(() => {});
  }

  private async read(): Promise<void> {
    this.isReading = true;
    for (;;) {
      const { done, value } = await this.reader.read();
      if (this.sink === null) return;
      if (done || value === undefined) {
        this.sink.end();
        return;
      }
      if (!this.sink.write(value)) break;
    }
    this.isReading = false;
  }
}

/** Says that a body comes more slowly than the server waits for. */
export class TooSlow extends Error {
  constructor() {
    super("the client sends its body too slowly, or has stopped sending");
  }
}

/** Says that a body grew past what the server takes. */
export class TooLarge extends Error {
  constructor(readonly max: number) {
    super(`the body is larger than ${max} bytes`);
  }
}
