import { type Body, collect } from "../../src/http/body.ts";
import { type ClientNotes, originOf, PooledClient, UpstreamFailure, type UpstreamRequest } from "../../src/http/client.ts";
import type { Descriptors } from "../../src/http/descriptors.ts";
import type { Incoming } from "../../src/http/incoming.ts";
import { type HttpLimits, HttpServer, type HttpServerOptions, type Reply } from "../../src/http/server.ts";
import { systemClock } from "../../src/values/clock.ts";

export const text = (status: number, body: string, head = ""): Reply => ({
  status,
  reason: "Test",
  head,
  body: Buffer.from(body),
  length: -1,
});

/** A server on a free port with this handler, and small limits. */
export function server(
  handle: (incoming: Incoming) => void,
  { crowd, http2 = true, ...limits }: Partial<HttpLimits & Pick<HttpServerOptions, "crowd" | "http2">> = {},
  { tls = null, ...more }: Partial<HttpServerOptions> = {},
): HttpServer & AsyncDisposable {
  const it = new HttpServer({
    hostname: "127.0.0.1",
    port: 0,
    tls,
    http2,
    limits: { maxHeaderSize: 16_384, maxBodySize: 1_000_000_000, bodyRate: 0, ...limits },
    ...(crowd === undefined ? {} : { crowd }),
    handle,
    refuse: (fault) => text(fault.status, fault.detail),
    onFault: (error) => {
      throw error;
    },
    ...more,
  });
  return Object.assign(it, { [Symbol.asyncDispose]: () => it.close(0) });
}

/** Answers with what arrived. */
export const echo = async (incoming: Incoming): Promise<void> => {
  const body = incoming.body === null ? new Uint8Array() : await collect(incoming.body, 1_000_000_000);
  const { head } = incoming;
  const fields = head.fields.names.map((name, i) => `${name}: ${head.fields.values[i]}`);
  incoming.reply(
    text(200, JSON.stringify({ method: head.method, target: head.target, fields, body: Buffer.from(body).toString("latin1") })),
  );
};

export function client(notes: Partial<ClientNotes> = {}, descriptors?: Descriptors): PooledClient & Disposable {
  const it = new PooledClient(systemClock, notes, descriptors);
  return Object.assign(it, { [Symbol.dispose]: () => it.close() });
}

/** Sends one request and reads the whole response. */
export async function send(
  using: PooledClient,
  port: number,
  head: string,
  more: Partial<UpstreamRequest> = {},
): Promise<{ status: number; reason: string; body: string; fields: string[] }> {
  const call = using.send(originOf("127.0.0.1", port, false), {
    method: head.split(" ", 1)[0] ?? "GET",
    head: `${head}\r\n\r\n`,
    body: null,
    chunked: false,
    upgrade: false,
    connectTimeout: 1000,
    timeout: 5000,
    bodyTimeout: 5000,
    ...more,
  });
  const response = await call.response;
  const body =
    response.body === null
      ? new Uint8Array()
      : response.body instanceof Uint8Array
        ? response.body
        : await collect(response.body as Body, 1e9);
  return {
    status: response.status,
    reason: response.reason,
    body: Buffer.from(body).toString("latin1"),
    fields: response.fields.names.map((name, i) => `${name}: ${response.fields.values[i]}`),
  };
}

/** The kind of failure that a promise ends with. */
export const failureOf = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => "no failure",
    (error: unknown) => (error instanceof UpstreamFailure ? error.kind : String(error)),
  );

/** A TCP server that answers each connection with these bytes, piece by piece, once a request's head has arrived; `null` closes. */
export function scripted(script: readonly (string | null)[]): { port: number; connections: () => number } & Disposable {
  let connections = 0;
  const listener = Bun.listen({
    hostname: "127.0.0.1",
    port: 0,
    socket: {
      open: () => {
        connections++;
      },
      data: async (socket, bytes) => {
        if (!bytes.toString("latin1").includes("\r\n\r\n")) return;
        for (const piece of script) {
          if (piece === null) socket.end();
          else socket.write(Buffer.from(piece, "latin1"));
          socket.flush();
          await new Promise((resolve) => setImmediate(resolve));
        }
      },
    },
  });
  return { port: listener.port, connections: () => connections, [Symbol.dispose]: () => listener.stop(true) };
}
