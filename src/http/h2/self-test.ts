import http2, { type ServerHttp2Stream } from "node:http2";
import { Outgoing, type RawSocket } from "../outgoing.ts";
import { ERROR, FLAG, FRAME, HEADER, NO_SETTINGS, PREFACE } from "./frames.ts";
import { resetStream } from "./reset.ts";
import { Wire } from "./wire.ts";

/** SETTINGS without any, and a request for "/" of the host "h" (RFC 7541 appendix A: GET, http, /, :authority). */
const REQUEST = Buffer.concat([
  PREFACE,
  NO_SETTINGS,
  Buffer.from([0, 0, 6, FRAME.headers, FLAG.endStream | FLAG.endHeaders, 0, 0, 0, 1, 0x82, 0x86, 0x84, 0x41, 1, 104]),
]);

let result: Promise<boolean> | null = null;

/**
 * Tells whether node:http2 does what is asked of it here beyond what is documented: it serves whatever takes and gives bytes, it takes an answer's fields as a
 * list, and a stream can be reset without being ended. Tries it once for the process.
 */
export const http2Works = (): Promise<boolean> => {
  result ??= tried();
  return result;
};

async function tried(): Promise<boolean> {
  const written: Buffer[] = [];
  const socket = { write: (bytes: Uint8Array) => written.push(Buffer.from(bytes)) && bytes.length } as unknown as RawSocket;
  const wire = new Wire(new Outgoing(socket), { ended: () => {} });
  try {
    const session = http2.performServerHandshake(wire);
    session.on("error", () => {});
    session.on("stream", (stream: ServerHttp2Stream) => {
      stream.on("error", () => {});
      stream.respond([":status", "200", "x-a", "1"] as unknown as Record<string, string>);
      stream.write(Buffer.from("half"));
      resetStream(stream, ERROR.internal);
    });
    wire.arrive(REQUEST);
    // The reset is written by another turn of the event loop.
    for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve));
    session.destroy();
  } catch {
    return false;
  }
  const frames = framesOf(Buffer.concat(written));
  const isEnded = frames.some(({ type, flags }) => type === FRAME.data && (flags & FLAG.endStream) !== 0);
  return !isEnded && [FRAME.headers, FRAME.data, FRAME.rstStream].every((type) => frames.some((frame) => frame.type === type));
}

function framesOf(bytes: Buffer): { type: number; flags: number }[] {
  const frames = [];
  for (let at = 0; at + HEADER <= bytes.length; at += HEADER + bytes.readUIntBE(at, 3))
    frames.push({ type: bytes[at + 3] as number, flags: bytes[at + 4] as number });
  return frames;
}
