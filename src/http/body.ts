/** Takes a body's bytes as they come. */
export interface Sink {
  /** False when it can't take more for now; it will call `resume()` on the body then. The bytes are taken in any case. */
  write(bytes: Uint8Array): boolean;
  end(): void;
  /** The body broke off: what was written so far is not the whole. */
  fail(reason: Error): void;
}

/**
 * A body on its way from a socket to one sink. It is pushed, not pulled: bytes go on in the tick in which they came,
 * and the sink's slowness travels back to the socket that feeds it.
 */
export interface Body {
  /** Bytes in all, or -1 when that is not known before the end. */
  readonly length: number;
  /** Begins to push into `sink`; called once. */
  start(sink: Sink): void;
  /** The sink can take more. */
  resume(): void;
  /** Nobody wants the rest. */
  cancel(): void;
}

/** Reads a body to its end. Rejects when it breaks off or grows past `most` bytes (`TooLarge`). */
export function collect(body: Body, most: number): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const parts: Uint8Array[] = [];
    let size = 0;
    body.start({
      write: (bytes) => {
        size += bytes.length;
        if (size > most) {
          body.cancel();
          reject(new TooLarge(most));
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

/** A body grew past what the server takes. */
export class TooLarge extends Error {
  constructor(readonly most: number) {
    super(`the body is larger than ${most} bytes`);
  }
}
