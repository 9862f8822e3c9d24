import { describe, expect, test } from "bun:test";
import { type Body, type Sink, WholeBody } from "../../src/http/body.ts";
import { UpstreamFailure } from "../../src/http/client.ts";
import { Fields } from "../../src/http/fields.ts";
import { until } from "../support/until.ts";
import {
  DATA,
  frame,
  framed,
  GOAWAY,
  HEADERS,
  hpack,
  http2Client,
  http2Server,
  originAt,
  RST_STREAM,
  read,
  requestOf,
  word,
} from "../support/upstream-h2.ts";

const END_STREAM = 1;
const END_HEADERS = 4;
const OK = hpack({ ":status": "200" });

/** Why a promise is rejected, which must be an `UpstreamFailure`. */
const failureOf = async (promise: Promise<unknown>): Promise<UpstreamFailure> => {
  try {
    await promise;
  } catch (error) {
    if (error instanceof UpstreamFailure) return error;
    throw error;
  }
  throw new Error("it did not fail");
};

/** A body that is written by hand. */
class Written implements Body {
  readonly length = -1;
  sink: Sink | null = null;
  resumed = 0;
  isCancelled = false;
  start(sink: Sink): void {
    this.sink = sink;
  }
  resume(): void {
    this.resumed++;
  }
  cancel(): void {
    this.isCancelled = true;
  }
}

describe("a request over HTTP/2", () => {
  test("arrives as it would by HTTP/1.1, and its answer comes back with its fields, body and trailers", async () => {
    let seen: object = {};
    let trailers: object = {};
    using backend = await http2Server((stream, headers) => {
      seen = { ...headers };
      stream.on("trailers", (given) => {
        trailers = { ...given };
      });
      stream.respond({ ":status": 201, "x-a": ["1", "2"], "set-cookie": ["a=1", "b=2"] }, { waitForTrailers: true });
      stream.on("wantTrailers", () => stream.sendTrailers({ "x-sum": "abc" }));
      stream.on("data", (part) => stream.write(part));
      stream.on("end", () => stream.end());
    });
    using at = http2Client();
    const body = new Written();
    const call = at.client.send(
      originAt(backend.port),
      requestOf(
        "POST /x?y=1 HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\nX-A: 1\r\nX-A: 2\r\nCookie: a=1\r\nCookie: b=2\r\nTE: trailers\r\nConnection: TE\r\nX-L: caf\xe9",
        {
          body,
          chunked: true,
        },
      ),
    );
    await until(() => body.sink !== null);
    body.sink?.write(Buffer.from("hello "));
    body.sink?.write(Buffer.from("world"));
    body.sink?.end(new Fields(["X-Sent"], ["x-sent"], ["1"]));
    const answer = await read(await call.response);
    expect(answer.status).toBe(201);
    expect(answer.fields["x-a"]).toBe("1|2");
    expect(answer.fields["set-cookie"]).toBe("a=1|b=2");
    expect(answer.body).toBe("hello world");
    expect(answer.trailers).toEqual({ "x-sum": "abc" });
    expect(seen).toMatchObject({
      ":method": "POST",
      ":path": "/x?y=1",
      ":authority": "a.example",
      ":scheme": "http",
      te: "trailers",
      cookie: "a=1; b=2",
      "x-l": "caf\xe9",
    });
    expect(Object.keys(seen)).not.toContain("transfer-encoding");
    expect(Object.keys(seen)).not.toContain("connection");
    expect(trailers).toMatchObject({ "x-sent": "1" });
  });

  test("shares its connection with others, as far as the server takes them", async () => {
    const held: (() => void)[] = [];
    using backend = await http2Server(
      (stream) => {
        held.push(() => {
          stream.respond({ ":status": 200 });
          stream.end("x");
        });
      },
      { settings: { maxConcurrentStreams: 2 } },
    );
    using at = http2Client();
    const send = () => at.client.send(originAt(backend.port), requestOf("GET / HTTP/1.1\r\nHost: a")).response.then(read);
    const first = send();
    await until(() => held.length === 1);
    await until(() => [...(at.client.sessions.values().next().value ?? [])].every((session) => session.isConnected));
    const others = [send(), send(), send()];
    await until(() => held.length === 4);
    expect(backend.connections()).toBe(2);
    for (const answer of held) answer();
    expect((await Promise.all([first, ...others])).map(({ body }) => body)).toEqual(["x", "x", "x", "x"]);
    expect(at.client.active.size).toBe(0);
  });

  test("waits for its reader, and holds up no other on the connection", async () => {
    const piece = Buffer.alloc(65_536, 1);
    let written = 0;
    using backend = await http2Server((stream, headers) => {
      stream.respond({ ":status": 200 });
      if (headers[":path"] === "/small") {
        stream.end("small");
        return;
      }
      const more = () => {
        while (written < 160) {
          written++;
          if (!stream.write(piece)) {
            stream.once("drain", more);
            return;
          }
        }
        stream.end();
      };
      more();
    });
    using at = http2Client();
    const { body } = await at.client.send(originAt(backend.port), requestOf("GET /big HTTP/1.1\r\nHost: a")).response;
    let taken = 0;
    let isEnded = false;
    (body as Body).start({
      write: (bytes) => {
        taken += bytes.length;
        return false;
      },
      end: () => {
        isEnded = true;
      },
      fail: (error) => {
        throw error;
      },
    });
    const small = await read(await at.client.send(originAt(backend.port), requestOf("GET /small HTTP/1.1\r\nHost: a")).response);
    expect(small.body).toBe("small");
    expect(backend.connections()).toBe(1);
    // A window, and what the server's own socket holds.
    expect(taken).toBeLessThan(1_000_000);
    expect(written).toBeLessThan(100);
    while (!isEnded) {
      (body as Body).resume();
      await Bun.sleep(0);
    }
    expect(taken).toBe(160 * piece.length);
  });

  test("slows its sender down", async () => {
    const piece = Buffer.alloc(65_536, 1);
    let received = 0;
    let stalled: { resume(): void } | null = null;
    using backend = await http2Server((stream) => {
      stalled = stream;
      stream.pause();
      stream.on("data", (part: Buffer) => {
        received += part.length;
      });
      stream.pause();
      stream.on("end", () => {
        stream.respond({ ":status": 200 });
        stream.end("done");
      });
    });
    using at = http2Client();
    const body = new Written();
    const call = at.client.send(originAt(backend.port), requestOf("POST / HTTP/1.1\r\nHost: a", { body, chunked: true }));
    await until(() => body.sink !== null);
    let sent = 0;
    while (body.sink?.write(piece) === true && sent < 1000) sent++;
    expect(sent).toBeLessThan(100);
    const before = body.resumed;
    await until(() => stalled !== null);
    stalled = stalled as { resume(): void } | null;
    stalled?.resume();
    await until(() => body.resumed > before);
    body.sink?.end();
    expect((await read(await call.response)).body).toBe("done");
    expect(received).toBe((sent + 1) * piece.length);
  });

  test("passes interim answers on", async () => {
    using backend = await http2Server((stream) => {
      stream.additionalHeaders({ ":status": 103, link: "</a>" });
      stream.respond({ ":status": 204 }, { endStream: true });
    });
    using at = http2Client();
    const told: string[] = [];
    const onInterim = (status: number, _reason: string, fields: Fields) => void told.push(`${status} ${fields.get("link")}`);
    const answer = await read(await at.client.send(originAt(backend.port), requestOf("GET / HTTP/1.1\r\nHost: a", { onInterim })).response);
    expect(answer).toMatchObject({ status: 204, body: "" });
    expect(told).toEqual(["103 </a>"]);
  });

  test("is given up by its caller alone", async () => {
    const codes: number[] = [];
    using backend = await http2Server((stream, headers) => {
      stream.on("close", () => codes.push(stream.rstCode ?? -1));
      if (headers[":path"] === "/") stream.respond({ ":status": 200 }, { endStream: true });
    });
    using at = http2Client();
    const call = at.client.send(originAt(backend.port), requestOf("GET /hang HTTP/1.1\r\nHost: a"));
    await until(() => call.isSent);
    call.abort();
    expect((await failureOf(call.response)).kind).toBe("aborted");
    await until(() => codes.length === 1);
    expect(codes).toEqual([8]);
    expect((await at.client.send(originAt(backend.port), requestOf("GET / HTTP/1.1\r\nHost: a")).response).status).toBe(200);
    expect(backend.connections()).toBe(1);
  });

  test("gets no answer in time", async () => {
    using backend = await http2Server(() => {});
    using at = http2Client();
    const late = at.client.send(originAt(backend.port), requestOf("GET / HTTP/1.1\r\nHost: a", { timeout: 60 }));
    expect((await failureOf(late.response)).kind).toBe("timeout");
    const whole = requestOf("POST / HTTP/1.1\r\nHost: a", { timeout: 60, body: new WholeBody(Buffer.from("x")), chunked: true });
    expect((await failureOf(at.client.send(originAt(backend.port), whole).response)).kind).toBe("timeout");
    // A caller who goes on sending is not waited for beyond the deadline.
    const body = new Written();
    const hard = at.client.send(originAt(backend.port), requestOf("POST / HTTP/1.1\r\nHost: a", { body, chunked: true, deadline: 60 }));
    expect((await failureOf(hard.response)).kind).toBe("timeout");
    expect(body.isCancelled).toBe(true);
  });

  test("meets nobody", async () => {
    using at = http2Client();
    const failure = await failureOf(at.client.send(originAt(1), requestOf("GET / HTTP/1.1\r\nHost: a")).response);
    expect([failure.kind, failure.wasSent]).toEqual(["connect", false]);
    expect(at.client.sessions.size).toBe(0);
  });
});

describe("an answer over HTTP/2", () => {
  const broken: readonly (readonly [string, (stream: number) => Buffer[], RegExp])[] = [
    [
      "is reset with CANCEL",
      (id) => [frame(HEADERS, END_HEADERS, id, OK), frame(DATA, 0, id, Buffer.from("abc")), frame(RST_STREAM, 0, id, word(8))],
      /gave the request up/,
    ],
    [
      "is reset without an error",
      (id) => [frame(HEADERS, END_HEADERS, id, OK), frame(DATA, 0, id, Buffer.from("abc")), frame(RST_STREAM, 0, id, word(0))],
      /gave the request up/,
    ],
    [
      "is shorter than it says",
      (id) => [
        frame(HEADERS, END_HEADERS, id, hpack({ ":status": "200", "content-length": "5" })),
        frame(DATA, END_STREAM, id, Buffer.from("abc")),
      ],
      /shorter/,
    ],
    [
      "is longer than it says",
      (id) => [
        frame(HEADERS, END_HEADERS, id, hpack({ ":status": "200", "content-length": "2" })),
        frame(DATA, END_STREAM, id, Buffer.from("abc")),
      ],
      /longer/,
    ],
  ];
  test.each([...broken])("that %s is not taken for a whole one", async (_name, script, why) => {
    using backend = await framed((stream, socket) => socket.write(Buffer.concat(script(stream))));
    using at = http2Client();
    const answering = at.client.send(originAt(backend.port), requestOf("GET / HTTP/1.1\r\nHost: a")).response.then(read);
    expect((await failureOf(answering)).message).toMatch(why);
  });

  test("whose connection is lost in the middle of it is not taken for a whole one, and one that is whole is", async () => {
    using backend = await framed((stream, socket, nth) => {
      const body = frame(DATA, nth === 1 ? 0 : END_STREAM, stream, Buffer.from("abc"));
      socket.end(Buffer.concat([frame(HEADERS, END_HEADERS, stream, OK), body]));
    });
    using at = http2Client();
    const send = () => at.client.send(originAt(backend.port), requestOf("GET / HTTP/1.1\r\nHost: a")).response.then(read);
    expect((await failureOf(send())).kind).toBe("reset");
    expect((await send()).body).toBe("abc");
    expect(at.client.active.size).toBe(0);
  });

  test("with a line break in a field does not go on", async () => {
    using backend = await framed((stream, socket) =>
      socket.write(frame(HEADERS, END_HEADERS | END_STREAM, stream, hpack({ ":status": "200", "x-a": "1\r\nX-Consumer-ID: root" }))),
    );
    using at = http2Client();
    const answering = at.client.send(originAt(backend.port), requestOf("GET / HTTP/1.1\r\nHost: a")).response;
    expect((await failureOf(answering)).kind).not.toBe("aborted");
  });

  test("to a request that was refused, or not looked at, says so", async () => {
    using backend = await framed((stream, socket, nth) => {
      if (nth === 1) socket.write(frame(RST_STREAM, 0, stream, word(7)));
      else if (nth === 2) socket.write(frame(GOAWAY, 0, 0, word(0, 0)));
      else socket.write(frame(HEADERS, END_HEADERS | END_STREAM, stream, OK));
    });
    using at = http2Client();
    const send = (reuse: "any" | "new") =>
      at.client.send(originAt(backend.port), requestOf("GET / HTTP/1.1\r\nHost: a", { reuse })).response;
    const refused = await failureOf(send("any"));
    expect([refused.isUnprocessed, refused.isStale]).toEqual([true, true]);
    const unseen = await failureOf(send("new"));
    expect([unseen.isUnprocessed, unseen.isStale]).toEqual([true, false]);
    expect((await send("new")).status).toBe(200);
  });

  test("may come as the last one of its connection", async () => {
    using backend = await framed((stream, socket) => {
      socket.write(frame(GOAWAY, 0, 0, word(stream, 0)));
      socket.write(Buffer.concat([frame(HEADERS, END_HEADERS, stream, OK), frame(DATA, END_STREAM, stream, Buffer.from("last"))]));
    });
    using at = http2Client();
    const send = () => at.client.send(originAt(backend.port), requestOf("GET / HTTP/1.1\r\nHost: a")).response.then(read);
    expect((await send()).body).toBe("last");
    expect((await send()).body).toBe("last");
    expect(backend.connections()).toBe(2);
  });

  test("that is no HTTP/2 is a failure", async () => {
    using backend = Bun.listen({
      hostname: "127.0.0.1",
      port: 0,
      socket: { data: (socket) => void socket.end("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n") },
    });
    using at = http2Client();
    const failure = await failureOf(at.client.send(originAt(backend.port), requestOf("GET / HTTP/1.1\r\nHost: a")).response);
    expect(["reset", "protocol"]).toContain(failure.kind);
  });
});
