import { promisify } from "node:util";
import {
  brotliCompress,
  brotliCompressSync,
  constants,
  createBrotliCompress,
  createGzip,
  createZstdCompress,
  gzip,
  gzipSync,
  zstdCompress,
  zstdCompressSync,
} from "node:zlib";
import type { Body, Sink } from "../http/body.ts";
import type { Trailers } from "../http/trailers.ts";
import type { Coding } from "./settings.ts";

/** What an encoder of a stream does besides being one. */
type Encoder = ReturnType<typeof createGzip>;

/** Does a coding's work: on what is there at once, and on streams. */
interface Method {
  /** Bytes that can be done at once in less time than handing them to another thread would take. */
  now(bytes: Uint8Array): Uint8Array;
  later(bytes: Uint8Array): Promise<Uint8Array>;
  stream(): Encoder;
  /** Says to an encoder that what it has must come out. */
  readonly flush: number;
}

// Levels at which a core compresses about 100 MB of JSON a second; windows that keep a stream's memory below 2 MB.
const GZIP = { level: 5 };
const BROTLI = { params: { [constants.BROTLI_PARAM_QUALITY]: 4, [constants.BROTLI_PARAM_LGWIN]: 17 } };
// Decoders take no window above 8 MB (RFC 9659 §3).
const ZSTD = { params: { [constants.ZSTD_c_compressionLevel]: 3, [constants.ZSTD_c_windowLog]: 18 } };

const [laterGzip, laterBrotli, laterZstd] = [promisify(gzip), promisify(brotliCompress), promisify(zstdCompress)];

const METHODS: Readonly<Record<Coding, Method>> = {
  gzip: {
    now: (bytes) => gzipSync(bytes, GZIP),
    later: (bytes) => laterGzip(bytes, GZIP),
    stream: () => createGzip(GZIP),
    flush: constants.Z_SYNC_FLUSH,
  },
  br: {
    now: (bytes) => brotliCompressSync(bytes, BROTLI),
    later: (bytes) => laterBrotli(bytes, BROTLI),
    stream: () => createBrotliCompress(BROTLI) as unknown as Encoder,
    flush: constants.BROTLI_OPERATION_FLUSH,
  },
  zstd: {
    now: (bytes) => zstdCompressSync(bytes, ZSTD),
    later: (bytes) => laterZstd(bytes, ZSTD),
    stream: () => createZstdCompress(ZSTD) as unknown as Encoder,
    flush: constants.ZSTD_e_flush,
  },
};

/** Bytes up to which a body is compressed where it stands: 0.2 ms. */
const AT_ONCE = 32_768;
/** Streams that are compressed at a time: each holds up to 2 MB. Those beyond go out as they are. */
const MAX_STREAMS = 128;
/** Milliseconds that a stream's bytes may wait for more of them. */
const FLUSH_AFTER = 20;

let streams = 0;

/** Tells whether one more stream can be compressed now. */
export const hasRoom = (): boolean => streams < MAX_STREAMS;

/** Compresses a body that is there as a whole. */
export const encoded = (bytes: Uint8Array, coding: Coding): Uint8Array | Promise<Uint8Array> =>
  bytes.length <= AT_ONCE ? METHODS[coding].now(bytes) : METHODS[coding].later(bytes);

/**
 * Compresses a body as it comes, in another thread. What has come is passed on within `FLUSH_AFTER` milliseconds, and whoever reads slowly
 * slows the sender.
 */
export class EncodedBody implements Body {
  readonly length = -1;
  private readonly encoder: Encoder;
  private readonly flushKind: number;
  private trailers: Trailers | null = null;
  private flushing: Timer | null = null;
  /** True when all of the body has come. */
  private isRead = false;
  private isOver = false;

  constructor(
    private readonly body: Body,
    coding: Coding,
  ) {
    const { stream, flush } = METHODS[coding];
    this.encoder = stream();
    this.flushKind = flush;
    streams++;
  }

  start(sink: Sink): void {
    const { encoder, body } = this;
    const fail = (reason: Error): void => {
      if (this.end()) sink.fail(reason);
    };
    encoder.on("data", (bytes: Uint8Array) => {
      if (!this.isOver && !sink.write(bytes)) encoder.pause();
    });
    encoder.on("drain", () => {
      if (!this.isRead && !this.isOver) body.resume();
    });
    encoder.on("end", () => {
      if (this.end()) sink.end(this.trailers);
    });
    encoder.on("error", (error: Error) => {
      if (!this.isOver && !this.isRead) body.cancel();
      fail(error);
    });
    body.start({
      write: (bytes) => {
        if (this.isOver) return true;
        this.flushing ??= setTimeout(() => this.flush(), FLUSH_AFTER);
        return encoder.write(bytes);
      },
      end: (trailers = null) => {
        this.isRead = true;
        this.trailers = trailers;
        if (!this.isOver) encoder.end();
      },
      fail,
    });
  }

  resume(): void {
    if (!this.isOver) this.encoder.resume();
  }

  cancel(): void {
    if (this.end()) this.body.cancel();
  }

  private flush(): void {
    this.flushing = null;
    if (!this.isOver && !this.encoder.writableEnded) this.encoder.flush(this.flushKind);
  }

  /** Ends it once, and lets go of what it holds. False when it had ended before. */
  private end(): boolean {
    if (this.isOver) return false;
    this.isOver = true;
    streams--;
    if (this.flushing !== null) clearTimeout(this.flushing);
    this.encoder.destroy();
    return true;
  }
}
