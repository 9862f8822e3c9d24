import * as http2 from "node:http2";
import type { AddressInfo, Socket } from "node:net";
import { createServer } from "node:net";
import { originOf, PooledClient, type UpstreamRequest, type UpstreamResponse } from "../../src/http/client.ts";
import { Http2Client } from "../../src/http/upstream-h2/client.ts";
import { systemClock } from "../../src/values/clock.ts";

/** An HTTP/2 server on a free port, with prior knowledge: it shows its connections and its streams. */
export async function http2Server(
  handle: (stream: http2.ServerHttp2Stream, headers: http2.IncomingHttpHeaders) => void,
  options: http2.ServerOptions = {},
) {
  const server = http2.createServer(options);
  const sessions = new Set<http2.ServerHttp2Session>();
  let connections = 0;
  server.on("session", (session) => {
    connections++;
    sessions.add(session);
    session.on("error", () => {});
    session.on("close", () => sessions.delete(session));
  });
  server.on("stream", (stream: http2.ServerHttp2Stream, headers: http2.IncomingHttpHeaders) => {
    stream.on("error", () => {});
    handle(stream, headers);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: (server.address() as AddressInfo).port,
    sessions,
    connections: () => connections,
    [Symbol.dispose]: () => {
      for (const session of sessions) session.destroy();
      server.close();
    },
  };
}

/** Makes one frame (RFC 9113 §4.1). */
export function frame(type: number, flags: number, stream: number, payload: Uint8Array = new Uint8Array()): Buffer {
  const bytes = Buffer.alloc(9 + payload.length);
  bytes.writeUIntBE(payload.length, 0, 3);
  bytes[3] = type;
  bytes[4] = flags;
  bytes.writeUInt32BE(stream, 5);
  bytes.set(payload, 9);
  return bytes;
}

export const DATA = 0;
export const HEADERS = 1;
export const RST_STREAM = 3;
export const SETTINGS = 4;
export const GOAWAY = 7;

/** Fields in HPACK's plainest form (RFC 7541 §6.2.2): literal, not indexed, not packed. */
export function hpack(fields: Readonly<Record<string, string>>): Buffer {
  return Buffer.concat(
    Object.entries(fields).flatMap(([name, value]) => [
      Buffer.from([0, name.length]),
      Buffer.from(name),
      Buffer.from([value.length]),
      Buffer.from(value, "latin1"),
    ]),
  );
}

/** 32 bits of a frame's payload. */
export function word(...values: number[]): Buffer {
  const bytes = Buffer.alloc(4 * values.length);
  for (const [i, value] of values.entries()) bytes.writeUInt32BE(value, 4 * i);
  return bytes;
}

/** A server that speaks frames: `script` is given each stream that a client opens, with a connection to write to. It shows the frames that have come. */
export async function framed(script: (stream: number, socket: Socket, nth: number) => void) {
  let connections = 0;
  const frames: { readonly type: number; readonly flags: number; readonly stream: number }[] = [];
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    const nth = ++connections;
    sockets.add(socket);
    socket.on("error", () => {});
    socket.write(frame(SETTINGS, 0, 0));
    let buffer = Buffer.alloc(0);
    let isGreeted = false;
    socket.on("data", (bytes: Buffer) => {
      buffer = Buffer.concat([buffer, bytes]);
      if (!isGreeted) {
        if (buffer.length < 24) return;
        isGreeted = true;
        buffer = buffer.subarray(24);
      }
      while (buffer.length >= 9 && buffer.length >= 9 + buffer.readUIntBE(0, 3)) {
        const length = buffer.readUIntBE(0, 3);
        if (buffer[3] === SETTINGS && ((buffer[4] as number) & 1) === 0) socket.write(frame(SETTINGS, 1, 0));
        frames.push({ type: buffer[3] as number, flags: buffer[4] as number, stream: buffer.readUInt32BE(5) });
        if (buffer[3] === HEADERS) script(buffer.readUInt32BE(5), socket, nth);
        buffer = buffer.subarray(9 + length);
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", () => resolve()));
  return {
    port: (server.address() as AddressInfo).port,
    connections: () => connections,
    frames,
    [Symbol.dispose]: () => {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}

/** The client under test. */
export function http2Client(): { client: Http2Client } & Disposable {
  const names = new PooledClient(systemClock);
  const faults: unknown[] = [];
  const client = new Http2Client(systemClock, names, (error) => void faults.push(error));
  return {
    client,
    [Symbol.dispose]: () => {
      client.close();
      names.close();
      if (faults.length > 0) throw faults[0];
    },
  };
}

export const requestOf = (head: string, more: Partial<UpstreamRequest> = {}): UpstreamRequest => ({
  method: head.split(" ", 1)[0] ?? "GET",
  head: `${head}\r\n\r\n`,
  body: null,
  chunked: false,
  upgrade: false,
  connectTimeout: 5000,
  timeout: 10_000,
  bodyTimeout: 10_000,
  ...more,
});

export const originAt = (port: number) => ({ ...originOf("127.0.0.1", port, false), http2: true });

/** What came of a response. */
export interface Read {
  readonly status: number;
  readonly fields: Readonly<Record<string, string>>;
  readonly body: string;
  readonly trailers: Readonly<Record<string, string>> | null;
}

const asRecord = ({ lower, values }: UpstreamResponse["fields"]): Record<string, string> => {
  const all: Record<string, string> = {};
  for (const [i, name] of lower.entries()) all[name] = name in all ? `${all[name]}|${values[i]}` : (values[i] as string);
  return all;
};

/** Reads a whole response. Rejects with what breaks it off. */
export async function read(response: UpstreamResponse): Promise<Read> {
  const { status, fields, body } = response;
  const parts: Uint8Array[] = [];
  let trailers: Read["trailers"] = null;
  if (body instanceof Uint8Array) parts.push(body);
  else if (body !== null)
    await new Promise<void>((resolve, reject) =>
      body.start({
        write: (bytes) => parts.push(bytes) > 0,
        end: (given = null) => {
          trailers = given === null ? null : asRecord(given);
          resolve();
        },
        fail: reject,
      }),
    );
  return { status, fields: asRecord(fields), body: Buffer.concat(parts).toString("latin1"), trailers };
}
