import type { Body, Sink } from "../http/body.ts";
import type { Trailers } from "../http/trailers.ts";
import { PREFIX } from "./messages.ts";

// gRPC-Web (https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-WEB.md): the same messages, over any version of HTTP. Browsers can't read trailers:
// these are the last message.

/** The first byte of the message that holds the trailers. */
const TRAILERS = 0x80;

/** Gives the media type of the call that a browser's is translated to, and the other way round. */
export const grpcTypeOf = (webType: string): string => webType.replace(/^application\/grpc-web(?:-text)?/i, "application/grpc");
export const webTypeOf = (grpcType: string, kind: "web" | "web-text"): string =>
  grpcType.replace(/^application\/grpc/i, kind === "web" ? "application/grpc-web" : "application/grpc-web-text");

/** Writes the message that holds the trailers. */
export function trailerMessage(trailers: Trailers): Buffer {
  let text = "";
  for (let i = 0; i < trailers.lower.length; i++) text += `${trailers.lower[i]}: ${trailers.values[i]}\r\n`;
  const bytes = Buffer.from(text, "latin1");
  const framed = Buffer.alloc(PREFIX + bytes.length);
  framed[0] = TRAILERS;
  framed.writeUInt32BE(bytes.length, 1);
  bytes.copy(framed, PREFIX);
  return framed;
}

/** Gives the answer of a call as a browser reads it: with its trailers as the last message. */
export function webAnswer(source: Body, kind: "web" | "web-text"): Body {
  const encode = kind === "web" ? (bytes: Uint8Array) => bytes : asBase64;
  return {
    length: -1,
    start: (sink: Sink) =>
      source.start({
        write: (bytes) => sink.write(encode(bytes)),
        end: (trailers = null) => {
          if (trailers !== null) sink.write(encode(trailerMessage(trailers)));
          sink.end();
        },
        fail: (reason) => sink.fail(reason),
      }),
    resume: () => source.resume(),
    cancel: () => source.cancel(),
  };
}

/** Each piece is whole base64 with its padding, which readers take: no message waits for the next one. */
const asBase64 = (bytes: Uint8Array): Uint8Array =>
  Buffer.from(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("base64"), "latin1");

/** Says that a browser's body is no base64. */
export class MalformedBase64 extends Error {
  constructor() {
    super("the body is no base64");
  }
}

/** Gives the body of a browser's call in bytes. Fails with `MalformedBase64`. */
export class WebRequest implements Body {
  readonly length = -1;
  private held = "";

  constructor(private readonly source: Body) {}

  start(sink: Sink): void {
    let isOver = false;
    const fail = (reason: Error): void => {
      if (isOver) return;
      isOver = true;
      sink.fail(reason);
    };
    this.source.start({
      write: (bytes) => {
        if (isOver) return true;
        const decoded = this.decode(bytes);
        if (decoded === null) {
          this.source.cancel();
          fail(new MalformedBase64());
          return true;
        }
        return decoded.length === 0 ? true : sink.write(decoded);
      },
      end: () => {
        if (this.held !== "") fail(new MalformedBase64());
        else if (!isOver) sink.end();
      },
      fail,
    });
  }

  resume(): void {
    this.source.resume();
  }

  cancel(): void {
    this.source.cancel();
  }

  /** Decodes what is whole by now: several pieces may each have their padding. */
  private decode(bytes: Uint8Array): Buffer | null {
    const text = this.held + Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("latin1");
    const whole = text.length - (text.length % 4);
    this.held = text.slice(whole);
    const ready = text.slice(0, whole);
    if (!BASE64.test(ready)) return null;
    return Buffer.concat((ready.match(PIECES) ?? []).map((piece) => Buffer.from(piece, "base64")));
  }
}

const BASE64 = /^(?:[A-Za-z0-9+/]{4}|[A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{2}==)*$/;
/** Finds the pieces that end with their padding, and the rest. */
const PIECES = /[A-Za-z0-9+/]+={0,2}/g;
