import { parseTrailers, type Trailers } from "./trailers.ts";

/** Takes a body's bytes out of a connection's stream. */
export interface Decoder {
  /**
   * Reads from `bytes` at `from`, hands the body's bytes to `emit`, and gives the position behind the bytes that it used. Throws
   * `FramingFault`.
   */
  decode(bytes: Buffer, from: number, emit: (part: Uint8Array) => void): number;
  readonly done: boolean;
  /** The fields that followed a chunked body, once it is done. */
  readonly trailers: Trailers | null;
}

/** Says that the sender broke the rules of body framing; the connection can't be used further. */
export class FramingFault extends Error {}

/** Reads a body of `Content-Length` bytes. */
export class LengthDecoder implements Decoder {
  readonly trailers = null;

  constructor(public left: number) {}

  get done(): boolean {
    return this.left === 0;
  }

  decode(bytes: Buffer, from: number, emit: (part: Uint8Array) => void): number {
    const take = Math.min(this.left, bytes.length - from);
    if (take === 0) return from;
    this.left -= take;
    emit(from === 0 && take === bytes.length ? bytes : bytes.subarray(from, from + take));
    return from + take;
  }
}

/** Reads a body that ends with the connection (RFC 9112 §6.3, case 8). */
export class CloseDecoder implements Decoder {
  readonly done = false;
  readonly trailers = null;

  decode(bytes: Buffer, from: number, emit: (part: Uint8Array) => void): number {
    if (from < bytes.length) emit(bytes.subarray(from));
    return bytes.length;
  }
}

/** The longest chunk-size line and the longest trailer section that are read before the sender is taken for hostile, in bytes. */
const MAX_LINE = 4096;
const MAX_TRAILERS = 16_384;

enum At {
  Size,
  Extension,
  SizeLf,
  Data,
  DataCr,
  DataLf,
  TrailerStart,
  Trailer,
  TrailerLf,
  LastLf,
  Done,
}

/** Bytes from which a chunk goes on by itself: to move it costs more then than one more write. */
const GOES_ALONE = 16_384;

/**
 * Reads a chunked body (RFC 9112 §7.1). Chunk extensions are read and dropped; anything else than CRLF at a line's end is a fault. Small chunks
 * that have come together go on together, in place: streams of events have each in a chunk of its own.
 */
export class ChunkedDecoder implements Decoder {
  trailers: Trailers | null = null;
  private at: At = At.Size;
  private size = 0;
  private digits = 0;
  private skipped = 0;
  private trailerText = "";

  get done(): boolean {
    return this.at === At.Done;
  }

  decode(bytes: Buffer, from: number, emit: (part: Uint8Array) => void): number {
    let i = from;
    /** Where what goes on together begins and ends. */
    let start = from;
    let end = from;
    try {
      while (i < bytes.length && this.at !== At.Done) {
        if (this.at !== At.Data) {
          this.step(bytes[i] as number);
          i++;
          continue;
        }
        const take = Math.min(this.size, bytes.length - i);
        if (end > start && end - start + take >= GOES_ALONE) {
          const together = bytes.subarray(start, end);
          start = end;
          emit(together);
        }
        if (start === end) start = end = i;
        // Over what frames it, and over chunks before it that have moved.
        else bytes.copyWithin(end, i, i + take);
        end += take;
        this.size -= take;
        i += take;
        if (this.size === 0) this.at = At.DataCr;
      }
    } finally {
      // What came before a fault was good.
      if (end > start) emit(bytes.subarray(start, end));
    }
    return i;
  }

  private step(byte: number): void {
    switch (this.at) {
      case At.Size: {
        const digit = hexValue(byte);
        if (digit >= 0) {
          if (++this.digits > 12) throw new FramingFault("a chunk's size is out of range");
          this.size = this.size * 16 + digit;
          return;
        }
        if (this.digits === 0) throw new FramingFault("a chunk's size is missing");
        if (byte === 13) this.at = At.SizeLf;
        else if (byte === 59 || byte === 32 || byte === 9) this.at = At.Extension;
        else throw new FramingFault("a chunk's size is malformed");
        return;
      }
      case At.Extension:
        if (byte === 13) this.at = At.SizeLf;
        else if (byte === 10 || ++this.skipped > MAX_LINE) throw new FramingFault("a chunk's extension is malformed");
        return;
      case At.SizeLf:
        expect(byte, 10);
        this.digits = 0;
        this.skipped = 0;
        this.at = this.size === 0 ? At.TrailerStart : At.Data;
        return;
      case At.DataCr:
        expect(byte, 13);
        this.at = At.DataLf;
        return;
      case At.DataLf:
        expect(byte, 10);
        this.at = At.Size;
        return;
      case At.TrailerStart:
        this.at = byte === 13 ? At.LastLf : At.Trailer;
        if (byte === 10 || ++this.skipped > MAX_TRAILERS) throw new FramingFault("the trailers are malformed or too long");
        if (byte !== 13) this.trailerText += String.fromCharCode(byte);
        return;
      case At.Trailer:
        if (byte === 13) this.at = At.TrailerLf;
        else if (byte === 10 || ++this.skipped > MAX_TRAILERS) throw new FramingFault("the trailers are malformed or too long");
        else this.trailerText += String.fromCharCode(byte);
        return;
      case At.TrailerLf:
        expect(byte, 10);
        this.skipped += 2;
        this.trailerText += "\n";
        this.at = At.TrailerStart;
        return;
      case At.LastLf:
        expect(byte, 10);
        this.at = At.Done;
        if (this.trailerText !== "") this.takeTrailers();
        return;
      default:
        throw new FramingFault("the chunked body is malformed");
    }
  }

  private takeTrailers(): void {
    const trailers = parseTrailers(this.trailerText);
    if (trailers === "malformed") throw new FramingFault("the trailers are malformed or too long");
    this.trailers = trailers;
  }
}

function expect(byte: number, wanted: number): void {
  if (byte !== wanted) throw new FramingFault("a chunk does not end with CRLF");
}

function hexValue(byte: number): number {
  if (byte >= 48 && byte <= 57) return byte - 48;
  const letter = byte | 32;
  return letter >= 97 && letter <= 102 ? letter - 87 : -1;
}

const [CR, LF] = [13, 10];
const HEX = "0123456789abcdef";
export const LAST_CHUNK = Buffer.from("0\r\n\r\n");

const CHUNK_END = Buffer.from("\r\n");

/** Gives what stands before and behind so many bytes, more than 0, that are sent as one chunk of a chunked body. */
export const chunkFrame = (length: number): readonly [before: Buffer, behind: Buffer] => [
  Buffer.from(`${length.toString(16)}\r\n`),
  CHUNK_END,
];

/** Makes one chunk of a chunked body around these bytes, which must not be empty. */
export function encodeChunk(bytes: Uint8Array): Buffer {
  const { length } = bytes;
  const digits = Math.ceil((32 - Math.clz32(length)) / 4);
  const chunk = Buffer.allocUnsafe(digits + length + 4);
  for (let i = digits - 1, rest = length; i >= 0; i--, rest >>>= 4) chunk[i] = HEX.charCodeAt(rest & 15);
  chunk[digits] = CR;
  chunk[digits + 1] = LF;
  chunk.set(bytes, digits + 2);
  chunk[digits + length + 2] = CR;
  chunk[digits + length + 3] = LF;
  return chunk;
}
