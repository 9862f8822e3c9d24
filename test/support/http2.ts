import http2 from "node:http2";
import { FLAG, FRAME, HEADER, PREFACE } from "../../src/http/h2/frames.ts";
import { RawConnection } from "./raw.ts";
import { until } from "./until.ts";

export interface Http2Answer {
  readonly status: number;
  readonly headers: http2.IncomingHttpHeaders;
  readonly body: string;
  readonly trailers: http2.IncomingHttpHeaders;
}

/** Sends one request over a session and reads the whole answer. Rejects when its stream is reset. */
export function ask(
  session: http2.ClientHttp2Session,
  headers: http2.OutgoingHttpHeaders,
  body: string | Uint8Array | null = null,
): Promise<Http2Answer> {
  return new Promise((resolve, reject) => {
    const stream = session.request(headers, { endStream: body === null });
    let got: http2.IncomingHttpHeaders = {};
    let trailers: http2.IncomingHttpHeaders = {};
    const parts: Buffer[] = [];
    stream.on("response", (fields) => {
      got = fields;
    });
    stream.on("trailers", (fields) => {
      trailers = fields;
    });
    stream.on("data", (part: Buffer) => parts.push(part));
    stream.on("error", reject);
    stream.on("close", () => {
      if (stream.rstCode === 0) resolve({ status: Number(got[":status"]), headers: got, body: Buffer.concat(parts).toString(), trailers });
      else reject(new Error(`reset: ${stream.rstCode}`));
    });
    if (body !== null) stream.end(body);
  });
}

/** A session of HTTP/2 that closes when it is disposed of. */
export function http2To(url: string, options: http2.SecureClientSessionOptions = {}): http2.ClientHttp2Session & Disposable {
  const session = http2.connect(url, options);
  session.on("error", () => {});
  return Object.assign(session, { [Symbol.dispose]: () => session.destroy() });
}

/** A frame, as it stands on the wire. */
export function frame(type: number, flags: number, id: number, payload: Uint8Array = new Uint8Array()): Buffer {
  const bytes = Buffer.alloc(HEADER + payload.length);
  bytes.writeUIntBE(payload.length, 0, 3);
  bytes[3] = type;
  bytes[4] = flags;
  bytes.writeUInt32BE(id, 5);
  bytes.set(payload, HEADER);
  return bytes;
}

/** Fields as a block: each a literal that is not indexed (RFC 7541 §6.2.2), without Huffman codes. Texts of at most 16,000 bytes. */
export function block(fields: readonly (readonly [string, string])[]): Buffer {
  const text = (value: string): Buffer => {
    const bytes = Buffer.from(value, "latin1");
    if (bytes.length < 127) return Buffer.concat([Buffer.from([bytes.length]), bytes]);
    const rest = bytes.length - 127;
    return Buffer.concat([Buffer.from(rest < 128 ? [127, rest] : [127, (rest & 127) | 128, rest >> 7]), bytes]);
  };
  return Buffer.concat(fields.flatMap(([name, value]) => [Buffer.from([0]), text(name), text(value)]));
}

/** The fields that begin a request. */
export const request = (path: string, method = "GET"): [string, string][] => [
  [":method", method],
  [":scheme", "http"],
  [":authority", "h"],
  [":path", path],
];

/** A connection of frames, for what no client would send. */
export class FrameConnection {
  private constructor(readonly raw: RawConnection) {}

  /** Opens one with prior knowledge, and says what it must. */
  static async open(port: number): Promise<FrameConnection> {
    const connection = new FrameConnection(await RawConnection.open(port));
    connection.write(PREFACE, frame(FRAME.settings, 0, 0), frame(FRAME.settings, FLAG.ack, 0));
    return connection;
  }

  write(...frames: Uint8Array[]): void {
    this.raw.write(Buffer.concat(frames));
  }

  /** Begins a request. */
  headers(id: number, fields: readonly (readonly [string, string])[], isEnd = true): void {
    this.write(frame(FRAME.headers, FLAG.endHeaders | (isEnd ? FLAG.endStream : 0), id, block(fields)));
  }

  /** The frames that have come so far. */
  get frames(): { type: number; flags: number; id: number; payload: Buffer }[] {
    const bytes = Buffer.from(this.raw.text, "latin1");
    const frames = [];
    for (let at = 0; at + HEADER <= bytes.length; ) {
      const end = at + HEADER + bytes.readUIntBE(at, 3);
      if (end > bytes.length) break;
      frames.push({
        type: bytes[at + 3] as number,
        flags: bytes[at + 4] as number,
        id: bytes.readUInt32BE(at + 5),
        payload: bytes.subarray(at + HEADER, end),
      });
      at = end;
    }
    return frames;
  }

  /** Waits for a frame of this type, on this stream. */
  async frame(type: number, id = 0): Promise<{ flags: number; payload: Buffer }> {
    const find = () => this.frames.find((one) => one.type === type && one.id === id);
    await until(() => find() !== undefined);
    return find() as { flags: number; payload: Buffer };
  }

  /** The code with which the server ends the connection. */
  async goAwayCode(): Promise<number> {
    return (await this.frame(FRAME.goAway)).payload.readUInt32BE(4);
  }

  close(): void {
    this.raw.close();
  }
}
