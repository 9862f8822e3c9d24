import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import type { ClientHttp2Stream } from "node:http2";
import { Exchange } from "../../src/exchange/exchange.ts";
import { grpcGate } from "../../src/exchange/grpc-gate.ts";
import { framedMessage } from "../../src/grpc/messages.ts";
import { routeOf, snapshotOf } from "../support/exchange.ts";
import { http2To } from "../support/http2.ts";
import { server, text } from "../support/relay.ts";
import { serving } from "../support/serving.ts";
import { until } from "../support/until.ts";
import { DATA, frame, framed, HEADERS, hpack, RST_STREAM } from "../support/upstream-h2.ts";

const END_STREAM = 1;

let backend: Awaited<ReturnType<typeof framed>>;
let gateway: ReturnType<typeof serving>;
/** True when the backend answers with a head at once. */
let answers = false;

beforeAll(async () => {
  backend = await framed((stream, socket) => {
    if (answers) socket.write(frame(HEADERS, 4, stream, hpack({ ":status": "200", "content-type": "application/grpc" })));
  });
  gateway = serving({
    upstreams: { b: { targets: [{ url: `http://127.0.0.1:${backend.port}` }], protocol: "grpc", breaker: null } },
    tiers: { anonymous: { limits: [] } },
    routes: [{ path: "/a.B", upstream: "b", stripPrefix: false, auth: "none", maxBodySize: "10kb" }],
  });
});
afterAll(async () => {
  await gateway.stop();
  backend[Symbol.dispose]();
});

describe("a call that has come by HTTP/2", () => {
  const ends: Readonly<Record<string, (stream: ClientHttp2Stream, session: { destroy(): void }) => unknown>> = {
    "is given up": (stream) => stream.close(8),
    "loses its caller": (_stream, session) => session.destroy(),
    "has a message that is too large": (stream) => stream.write(framedMessage(Buffer.alloc(20_000))),
  };
  const cases = Object.keys(ends).flatMap((name) => [false, true].map((isAnswered) => [name, isAnswered] as const));

  test.each(cases)("and %s, does not look whole to its backend (answered: %p)", async (name, isAnswered) => {
    answers = isAnswered;
    const from = backend.frames.length;
    const of = (type: number) => backend.frames.slice(from).filter((one) => one.type === type);
    using session = http2To(gateway.url);
    const stream = session.request({ ":method": "POST", ":path": "/a.B/C", "content-type": "application/grpc", te: "trailers" });
    stream.on("error", () => {});
    const hasHead = new Promise((resolve) => stream.once("response", resolve));
    stream.resume();
    stream.write(framedMessage(Buffer.from("a part")));
    await until(() => of(DATA).length > 0);
    if (isAnswered) await hasHead;
    ends[name]?.(stream, session);
    await until(() => of(RST_STREAM).length > 0);
    expect(of(DATA).some(({ flags }) => (flags & END_STREAM) !== 0)).toBe(false);
    expect(gateway.faults).toEqual([]);
  });

  test.each([
    ["application/grpc", true],
    ["application/grpc-web", false],
    ["application/json", false],
  ])("of %s may be silent before its answer begins: %p", async (type, maySilent) => {
    const gate = grpcGate({ maxBodySize: null, bodyRate: null }, true);
    let heard = "";
    await using it = server((incoming) => {
      const exchange = new Exchange(incoming, snapshotOf(routeOf()), "/a.B/C", "", 0);
      gate(exchange);
      exchange.body?.start({
        write: (bytes) => {
          heard += Buffer.from(bytes);
          return true;
        },
        end: () => incoming.reply(text(200, "")),
        fail: () => incoming.reply(text(408, "")),
      });
    });
    using session = http2To(`http://127.0.0.1:${it.port}`);
    const stream = session.request({ ":method": "POST", ":path": "/a.B/C", "content-type": type, te: "trailers" });
    stream.on("error", () => {});
    const status = new Promise((resolve) => stream.on("response", (fields) => resolve(fields[":status"])));
    stream.write(framedMessage(Buffer.from("one")));
    await until(() => heard.endsWith("one"));
    const [connection] = it.connections;
    for (let second = 1; second <= 600; second++) connection?.checkDeadline(it.tick + second);
    stream.end(framedMessage(Buffer.from("two")));
    expect(await status).toBe(maySilent ? 200 : 408);
    expect(heard.endsWith("two")).toBe(maySilent);
  });
});
