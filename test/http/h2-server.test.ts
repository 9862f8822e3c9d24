import { describe, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import http2 from "node:http2";
import { collect, type Sink } from "../../src/http/body.ts";
import { fieldsOf } from "../../src/http/fields.ts";
import { ERROR, FLAG, FRAME } from "../../src/http/h2/frames.ts";
import type { Incoming } from "../../src/http/incoming.ts";
import type { Tunnel } from "../../src/http/server.ts";
import { ask, FrameConnection, http2To, request } from "../support/http2.ts";
import { exchange, RawConnection } from "../support/raw.ts";
import { echo, server, text } from "../support/relay.ts";
import { CERTIFICATE, PRIVATE_KEY } from "../support/tls.ts";
import { until } from "../support/until.ts";

const TLS = { version: 1, options: { cert: CERTIFICATE, key: PRIVATE_KEY }, handlers: {} };
const urlOf = ({ port }: { port: number }): string => `http://127.0.0.1:${port}`;

/** A body that is pushed by hand. */
function handBody() {
  const state = { sink: null as Sink | null, resumed: 0, isCancelled: false };
  return {
    state,
    body: {
      length: -1,
      start: (sink: Sink) => {
        state.sink = sink;
      },
      resume: () => {
        state.resumed++;
      },
      cancel: () => {
        state.isCancelled = true;
      },
    },
  };
}

describe("the server in HTTP/2", () => {
  test("answers with prior knowledge, beside HTTP/1.1 on the same port", async () => {
    await using it = server(echo);
    using session = http2To(urlOf(it));
    const answer = await ask(session, { ":path": "/a?b=c", "x-a": "1", cookie: "a=1; b=2" });
    expect(answer.status).toBe(200);
    expect(JSON.parse(answer.body)).toMatchObject({ method: "GET", target: "/a?b=c", body: "" });
    expect(JSON.parse(answer.body).fields).toContain("x-a: 1");
    expect(JSON.parse(answer.body).fields).toContain(`host: 127.0.0.1:${it.port}`);
    expect(await (await fetch(`${urlOf(it)}/x`)).json()).toMatchObject({ target: "/x" });
    // Nothing is added that nobody has asked for.
    expect(Object.keys(answer.headers).sort()).toEqual([":status", "content-length"]);
  });

  test("is offered by ALPN over TLS, and HTTP/1.1 goes on there as well", async () => {
    await using it = server((incoming) => incoming.reply(text(200, String(incoming.isTls))), {}, { tls: TLS });
    using session = http2To(`https://127.0.0.1:${it.port}`, { ca: CERTIFICATE });
    expect((await ask(session, { ":path": "/" })).body).toBe("true");
    expect(session.alpnProtocol).toBe("h2");
    expect(await (await fetch(`https://127.0.0.1:${it.port}/`, { tls: { ca: CERTIFICATE } })).text()).toBe("true");
  });

  test("is not spoken where it is turned off", async () => {
    await using plain = server(echo, { http2: false });
    expect(await exchange(plain.port, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")).toStartWith("HTTP/1.1 505");
    await using secure = server(echo, { http2: false }, { tls: TLS });
    using session = http2To(`https://127.0.0.1:${secure.port}`, { ca: CERTIFICATE });
    await until(() => session.destroyed);
  });

  test("is no way out of a connection that has begun in HTTP/1.1", async () => {
    await using it = server((incoming) => incoming.reply(text(200, "hi")));
    const connection = await RawConnection.open(it.port);
    connection.write("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    await connection.until("hi");
    connection.write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    expect(await connection.untilClosed()).toContain("HTTP/1.1 505");
  });

  test("reads a beginning that comes byte by byte", async () => {
    await using it = server((incoming) => incoming.reply(text(200, "hi")));
    const connection = await RawConnection.open(it.port);
    for (const byte of "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0") {
      connection.write(byte);
      await new Promise((resolve) => setImmediate(resolve));
    }
    // SETTINGS of the server's, and that it has read ours.
    await connection.until("\0\0\0\x04\x01\0\0\0\0");
    connection.close();
  });

  test("keeps the order of many streams apart: each gets its own answer", async () => {
    await using it = server((incoming) => {
      const { target } = incoming.head;
      setTimeout(() => incoming.reply(text(200, target)), Number(target.slice(1)) % 7);
    });
    using session = http2To(urlOf(it));
    const answers = await Promise.all(Array.from({ length: 200 }, (_, i) => ask(session, { ":path": `/${i}` })));
    expect(answers.map(({ body }) => body)).toEqual(Array.from({ length: 200 }, (_, i) => `/${i}`));
    expect(it.connections.size).toBe(1);
    await until(() => it.inFlight === 0);
  });

  test("passes fields on in their order and as often as they stand, in Latin-1", async () => {
    await using it = server((incoming) =>
      incoming.reply({
        ...text(200, "x"),
        head: `Set-Cookie: a=1\r\nX-Name: caf\xe9\r\nSet-Cookie: b=2\r\nConnection: close\r\nDate: now\r\nDate: then\r\n`,
      }),
    );
    using session = http2To(urlOf(it));
    const { headers } = await ask(session, { ":path": "/" });
    expect([headers["set-cookie"], headers["x-name"], headers.connection]).toEqual([["a=1", "b=2"], "caf\xe9", undefined]);
  });

  test.each([
    ["a HEAD", { ":method": "HEAD" }, 200, "12345", "5"],
    ["a 304", {}, 304, null, undefined],
    ["a 204", {}, 204, null, undefined],
    ["an answer without content", {}, 200, null, "0"],
  ])("sends no content for %s", async (_, headers, status, body, length) => {
    await using it = server((incoming) =>
      incoming.reply({ status, reason: "", head: "", body: body === null ? null : Buffer.from(body), length: -1 }),
    );
    using session = http2To(urlOf(it));
    const answer = await ask(session, { ":path": "/", ...headers });
    expect([answer.status, answer.headers["content-length"], answer.body]).toEqual([status, length, ""]);
  });

  test("reads content of any length, with and without Content-Length, and trailers behind it", async () => {
    let trailers: string | null = null;
    await using it = server((incoming) => {
      const { body } = incoming;
      const hash = createHash("sha256");
      let size = 0;
      body?.start({
        write: (bytes) => {
          size += bytes.length;
          hash.update(bytes);
          return true;
        },
        end: (last) => {
          trailers = last?.get("x-sum") ?? null;
          incoming.reply(text(200, `${incoming.head.framing} ${size} ${hash.digest("hex")}`));
        },
        fail: (reason) => incoming.reply(text(400, reason.message)),
      });
    });
    using session = http2To(urlOf(it));
    const content = Buffer.alloc(3_000_001, "abcdefg");
    const sum = createHash("sha256").update(content).digest("hex");
    expect((await ask(session, { ":path": "/", ":method": "POST" }, content)).body).toBe(`chunked 3000001 ${sum}`);
    const stated = { ":path": "/", ":method": "POST", "content-length": String(content.length) };
    expect((await ask(session, stated, content)).body).toBe(`length 3000001 ${sum}`);

    const stream = session.request({ ":path": "/", ":method": "POST", trailer: "x-sum" }, { endStream: false, waitForTrailers: true });
    stream.on("wantTrailers", () => stream.sendTrailers({ "x-sum": "abc", authorization: "never" }));
    stream.end("body");
    await new Promise((resolve) => stream.on("close", resolve).resume());
    expect(trailers as string | null).toBe("abc");
  });

  test("sends what comes bit by bit, with trailers, and slows its source down where the client does not read", async () => {
    const hand = handBody();
    await using it = server((incoming) => incoming.reply({ ...text(200, ""), body: hand.body, keepsTrailer: (name) => name !== "x-no" }));
    using session = http2To(urlOf(it));
    const stream = session.request({ ":path": "/" });
    let received = 0;
    let trailers: http2.IncomingHttpHeaders = {};
    stream.on("trailers", (fields) => {
      trailers = fields;
    });
    await until(() => hand.state.sink !== null);
    const piece = Buffer.alloc(16_384);
    let sent = 0;
    while (hand.state.sink?.write(piece) === true) sent += piece.length;
    sent += piece.length;
    // The client's window, and what node:http2 keeps.
    expect(sent).toBeLessThan(1_000_000);
    expect(hand.state.resumed).toBe(0);
    stream.on("data", (bytes: Buffer) => {
      received += bytes.length;
    });
    await until(() => hand.state.resumed > 0);
    hand.state.sink?.end(fieldsOf("X-Sum: abc\r\nX-No: 1\r\n"));
    await new Promise((resolve) => stream.on("close", resolve));
    expect([received, trailers["x-sum"], trailers["x-no"]]).toEqual([sent, "abc", undefined]);
  });

  test("sends a long text that is there as a whole", async () => {
    const body = "Grüße, 你好 🙂 ".repeat(200_000);
    await using it = server((incoming) => incoming.reply({ status: 200, reason: "", head: "", body, length: -1 }));
    using session = http2To(urlOf(it));
    const answer = await ask(session, { ":path": "/" });
    expect([answer.headers["content-length"], answer.body === body]).toEqual([String(Buffer.byteLength(body)), true]);
  });

  test("tells of a client that resets its stream, and serves the others", async () => {
    const gone = Promise.withResolvers<boolean>();
    const ended = Promise.withResolvers<void>();
    await using it = server((incoming) => {
      if (incoming.head.target !== "/long") return incoming.reply(text(200, "hi"));
      incoming.onAbort = () => gone.resolve(incoming.isAborted);
      incoming.onEnd = () => ended.resolve();
    });
    using session = http2To(urlOf(it));
    const stream = session.request({ ":path": "/long" });
    stream.on("error", () => {});
    await until(() => it.inFlight === 1);
    stream.close(http2.constants.NGHTTP2_CANCEL);
    expect(await gone.promise).toBe(true);
    await ended.promise;
    expect((await ask(session, { ":path": "/" })).body).toBe("hi");
    await until(() => it.inFlight === 0);
  });

  test("resets a stream whose answer breaks off, so that nobody takes it for whole", async () => {
    const hand = handBody();
    await using it = server((incoming) => incoming.reply({ ...text(200, ""), body: hand.body }));
    const client = await FrameConnection.open(it.port);
    client.headers(1, request("/"));
    await until(() => hand.state.sink !== null);
    hand.state.sink?.write(Buffer.from("half"));
    hand.state.sink?.fail(new Error("the backend is gone"));
    expect((await client.frame(FRAME.rstStream, 1)).payload.readUInt32BE()).toBe(ERROR.internal);
    const content = client.frames.filter(({ type }) => type === FRAME.data);
    expect(content.map(({ flags, payload }) => [flags & FLAG.endStream, payload.toString()])).toEqual([[0, "half"]]);
    client.headers(3, request("/"));
    await until(() => it.inFlight === 1);
    client.close();
    await until(() => it.inFlight === 0);
  });

  test("answers before the content is there, and asks for no more of it", async () => {
    await using it = server((incoming) => incoming.reply(text(413, "too large")));
    using session = http2To(urlOf(it));
    const stream = session.request({ ":path": "/", ":method": "POST" }, { endStream: false });
    stream.on("error", () => {});
    let status = 0;
    stream.on("response", (fields) => {
      status = Number(fields[":status"]);
    });
    stream.write(Buffer.alloc(100_000));
    let body = "";
    stream.on("data", (bytes: Buffer) => {
      body += bytes;
    });
    await new Promise((resolve) => stream.on("close", resolve));
    expect([status, body]).toEqual([413, "too large"]);
    await until(() => it.inFlight === 0);
    expect((await ask(session, { ":path": "/" })).status).toBe(413);
  });

  test("asks for the content of an expecting client only when somebody wants it", async () => {
    await using it = server((incoming) => (incoming.head.target === "/no" ? incoming.reply(text(401, "no")) : void echo(incoming)));
    using session = http2To(urlOf(it));
    const asks = (path: string) => {
      const stream = session.request({ ":path": path, ":method": "POST", expect: "100-continue" }, { endStream: false });
      const seen: string[] = [];
      stream.on("error", () => {});
      stream.on("continue", () => {
        seen.push("continue");
        stream.end("ok");
      });
      stream.on("headers", (fields) => seen.push(String(fields[":status"])));
      stream.on("response", (fields) => seen.push(String(fields[":status"])));
      stream.resume();
      return new Promise<string[]>((resolve) => stream.on("close", () => resolve(seen)));
    };
    const no = asks("/no");
    expect(await no).toEqual(["401"]);
    expect((await asks("/yes")).at(-1)).toBe("200");
  });

  test("passes interim answers on", async () => {
    await using it = server((incoming) => {
      incoming.interim(103, "Early Hints", "Link: </a.css>; rel=preload\r\nLink: </b.js>; rel=preload\r\n");
      incoming.reply(text(200, "hi"));
    });
    using session = http2To(urlOf(it));
    const stream = session.request({ ":path": "/" });
    const hints = Promise.withResolvers<http2.IncomingHttpHeaders>();
    stream.on("headers", (fields) => hints.resolve(fields));
    stream.resume();
    const fields = await hints.promise;
    expect([Number(fields[":status"]), String(fields.link)]).toEqual([103, "</a.css>; rel=preload, </b.js>; rel=preload"]);
  });

  test("has no upgrade, which nothing asks for", async () => {
    const thrown = Promise.withResolvers<unknown>();
    await using it = server((incoming: Incoming) => {
      try {
        incoming.upgrade("", {} as Tunnel);
      } catch (error) {
        thrown.resolve(error);
      }
      incoming.reply(text(200, incoming.head.upgrade));
    });
    using session = http2To(urlOf(it));
    expect((await ask(session, { ":path": "/" })).body).toBe("");
    expect(await thrown.promise).toBeInstanceOf(Error);
  });

  test("bounds content that does not say its length", async () => {
    await using it = server(
      (incoming) => {
        if (incoming.body === null) return incoming.reply(text(200, ""));
        collect(incoming.body, Number.POSITIVE_INFINITY).then(
          () => incoming.reply(text(200, "all")),
          (error: Error) => incoming.reply(text(413, error.constructor.name)),
        );
      },
      { maxBodySize: 100_000 },
    );
    using session = http2To(urlOf(it));
    expect((await ask(session, { ":path": "/", ":method": "POST" }, Buffer.alloc(100_000))).body).toBe("all");
    const stream = session.request({ ":path": "/", ":method": "POST" }, { endStream: false });
    stream.on("error", () => {});
    const status = new Promise((resolve) => stream.on("response", (fields) => resolve(fields[":status"])));
    stream.write(Buffer.alloc(200_000));
    expect(await status).toBe(413);
  });

  test("waits for content no longer than for that of HTTP/1.1", async () => {
    await using it = server(
      (incoming) =>
        incoming.body?.start({
          write: () => true,
          end: () => incoming.reply(text(200, "all")),
          fail: (reason) => incoming.reply(text(408, reason.constructor.name)),
        }),
      { bodyRate: 1000 },
    );
    using session = http2To(urlOf(it));
    const stream = session.request({ ":path": "/", ":method": "POST" }, { endStream: false });
    stream.on("error", () => {});
    let body = "";
    stream.on("data", (bytes: Buffer) => {
      body += bytes;
    });
    await until(() => it.inFlight === 1);
    const [connection] = it.connections;
    const begun = it.tick;
    for (let second = 1; second <= 41; second++) {
      stream.write("slow");
      connection?.checkDeadline(begun + second);
    }
    await until(() => body === "TooSlow");
  });

  test("closes a connection that asks nothing, and one whose answer nobody reads", async () => {
    await using it = server((incoming) => incoming.reply(text(200, "x".repeat(1_000_000))));
    using idle = http2To(urlOf(it));
    await ask(idle, { ":path": "/" });
    const [connection] = it.connections;
    connection?.checkDeadline(it.tick + 70);
    expect(idle.closed).toBe(false);
    connection?.checkDeadline(it.tick + 77);
    await until(() => idle.destroyed && it.connections.size === 0);

    using deaf = http2To(urlOf(it));
    const stream = deaf.request({ ":path": "/" });
    stream.on("error", () => {});
    stream.pause();
    await until(() => it.inFlight === 1);
    await Bun.sleep(50);
    const [other] = it.connections;
    other?.checkDeadline(it.tick);
    other?.checkDeadline(it.tick + 60);
    expect(it.inFlight).toBe(1);
    other?.checkDeadline(it.tick + 125);
    await until(() => it.inFlight === 0);
  });

  test("stops without cutting off what is under way, and without refusing what is on its way", async () => {
    const late: (() => void)[] = [];
    const it = server((incoming) => {
      if (incoming.head.target === "/slow") late.push(() => incoming.reply(text(200, "late")));
      else incoming.reply(text(200, "hi"));
    });
    using session = http2To(urlOf(it));
    const slow = ask(session, { ":path": "/slow" });
    await until(() => it.inFlight === 1);
    const goAway = Promise.withResolvers<number>();
    session.on("goaway", (code) => goAway.resolve(code));
    const closing = it.close(5000);
    expect(await goAway.promise).toBe(0);
    await until(() => it.connections.size === 1);
    for (const answer of late) answer();
    expect((await slow).body).toBe("late");
    await closing;
    await until(() => session.destroyed);
    expect(it.inFlight).toBe(0);
  });
});
