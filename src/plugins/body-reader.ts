import { promisify } from "node:util";
import { brotliDecompress, gunzip, inflate, inflateRaw, zstdDecompress } from "node:zlib";
import type { Arrival, Exchange } from "../exchange/exchange.ts";
import { type Body, TooLarge, TooSlow, WholeBody } from "../http/body.ts";
import type { Fields } from "../http/fields.ts";
import { HeldBody } from "../http/held-body.ts";
import { bodyTooLarge, type Problem, problem, TOO_SLOW } from "../http/problem.ts";

/** Says that a body can't be read, for which its sender is to blame and not the plug-in. */
export class Unreadable extends Error {
  constructor(
    message: string,
    /** With what the request is refused when the hook lets this pass; `null`: the body is a backend's. */
    readonly refusal: Problem | null,
  ) {
    super(message);
  }
}

/** What all bodies together may hold in memory that plug-ins read, in bytes. */
const MAX_HELD = 268_435_456;
let heldNow = 0;

/** Makes the error of a body for which there is no room at the moment. */
const tooMany = (): Error => new Error("plug-ins hold too many bodies at the moment: this one is not read");

/** The content codings of one body that are undone, at most. */
const MAX_CODINGS = 3;

type Decode = (bytes: Uint8Array, options: { readonly maxOutputLength: number }) => Promise<Uint8Array>;

const gunzipped: Decode = promisify(gunzip);
/** RFC 9110 §8.4.1.2 wants the zlib format; some senders leave its frame out. */
const inflated: Decode = (bytes, options) => promisify((bytes[0] as number) % 16 === 8 ? inflate : inflateRaw)(bytes, options);
const CODINGS: Readonly<Record<string, Decode>> = {
  ...{ gzip: gunzipped, "x-gzip": gunzipped, deflate: inflated },
  ...{ br: promisify(brotliDecompress), zstd: promisify(zstdDecompress) },
};

/** Reads a body as plug-ins get it: decoded, and once, however often it is asked for. What goes on to the other side are the bytes as they came. */
export class BodyReader {
  private reading: Promise<Uint8Array> | null = null;
  /** The bytes that it holds of what all bodies together may hold. */
  private counted = 0;
  private isOver = false;

  /** Takes `max`: the bytes that any of the plug-ins may have of it, decoded. `whose`: "request's" or "response's". */
  constructor(
    private readonly exchange: Exchange<Arrival>,
    private readonly source: {
      /** The bytes stated beforehand; -1: not known. */
      readonly length: number;
      readonly fields: Fields;
      readonly take: () => Body | Uint8Array | null;
      /** Puts in the body's place what holds the same bytes. */
      readonly put: (body: Body | Uint8Array) => void;
      readonly isRequest: boolean;
    },
    private readonly max: number,
  ) {}

  /** Gives the whole body, decoded. Rejects with `Unreadable` where it has more than `max` bytes, can't be decoded, or breaks off. */
  async read(max: number): Promise<Uint8Array> {
    this.reading ??= this.decoded();
    const bytes = await this.reading;
    if (bytes.length > max) throw this.tooLarge(max);
    return bytes;
  }

  private async decoded(): Promise<Uint8Array> {
    const codings = (this.source.fields.joined("content-encoding") ?? "")
      .split(",")
      .map((coding) => coding.trim().toLowerCase())
      .filter((coding) => coding !== "" && coding !== "identity");
    const unknown = codings.length > MAX_CODINGS ? codings.join(", ") : codings.find((coding) => !Object.hasOwn(CODINGS, coding));
    if (unknown !== undefined)
      throw this.unreadable(`has a Content-Encoding that is not known here (${unknown}): use gzip, br, deflate or zstd`);
    // What does not become smaller becomes a little larger.
    let bytes = await this.raw(codings.length === 0 ? this.max : this.max + (this.max >> 8) + 1024);
    for (const coding of codings.reverse()) bytes = await this.undone(CODINGS[coding] as Decode, bytes);
    if (codings.length > 0 && bytes.length > 0 && !this.hasRoomFor(bytes.length)) throw tooMany();
    return bytes;
  }

  private async undone(decode: Decode, bytes: Uint8Array): Promise<Uint8Array> {
    if (bytes.length === 0) return bytes;
    try {
      return await decode(bytes, { maxOutputLength: this.max });
    } catch (error) {
      if (error instanceof Error && "code" in error && error.code === "ERR_BUFFER_TOO_LARGE") throw this.tooLarge(this.max);
      throw this.unreadable("is not what its Content-Encoding says");
    }
  }

  /** Gives the bytes as they come, up to `max`. */
  private async raw(max: number): Promise<Uint8Array> {
    const { length, take, put } = this.source;
    if (length > max) throw this.tooLarge(this.max);
    const body = take();
    if (body === null) return new Uint8Array();
    if (body instanceof Uint8Array) {
      if (body.length > max) throw this.tooLarge(this.max);
      return body;
    }
    const over = Promise.withResolvers<null>();
    this.exchange.onEnded(() => {
      this.isOver = true;
      over.resolve(null);
    });
    const held = new HeldBody(body, max, (more) => this.hasRoomFor(more));
    put(held);
    let bytes: Uint8Array | null;
    try {
      bytes = await Promise.race([held.whole, over.promise]);
    } catch (error) {
      throw this.brokenOff(error);
    }
    if (bytes === null && this.isOver) throw new Error("the request has ended before its body was read");
    if (bytes === null && heldNow > MAX_HELD) throw tooMany();
    if (bytes === null) throw this.tooLarge(this.max);
    // Chunks stay chunks, and what follows them follows them.
    if (length >= 0 && held.trailers === null) put(this.source.isRequest ? new WholeBody(bytes) : bytes);
    return bytes;
  }

  /** Counts more bytes that are held until the exchange has ended. False when all bodies together are too large. */
  private hasRoomFor(bytes: number): boolean {
    // Nobody would give it back.
    if (this.isOver) return false;
    if (this.counted === 0)
      this.exchange.onEnded(() => {
        heldNow -= this.counted;
      });
    this.counted += bytes;
    heldNow += bytes;
    return heldNow <= MAX_HELD;
  }

  private tooLarge(max: number): Unreadable {
    return this.unreadable(`is larger than the ${max} bytes that a plug-in reads`, bodyTooLarge(max));
  }

  private brokenOff(error: unknown): Unreadable {
    if (error instanceof TooLarge) return this.unreadable("is larger than the route takes", bodyTooLarge(error.max));
    return this.unreadable(error instanceof TooSlow ? "comes too slowly" : "broke off", TOO_SLOW);
  }

  /** Makes the error of a body that `says` what. */
  unreadable(says: string, refusal: Problem = problem("badRequest", `The body ${says}.`)): Unreadable {
    const { isRequest } = this.source;
    return new Unreadable(`the ${isRequest ? "request's" : "response's"} body ${says}`, isRequest ? refusal : null);
  }
}
