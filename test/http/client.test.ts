import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import fc from "fast-check";
import { type Body, WholeBody } from "../../src/http/body.ts";
import { originOf, type UpstreamRequest } from "../../src/http/client.ts";
import { Descriptors, descriptors } from "../../src/http/descriptors.ts";
import type { Fields } from "../../src/http/fields.ts";
import { client, echo, failureOf, scripted, send, server, text } from "../support/relay.ts";

const GET = "GET /a?b HTTP/1.1\r\nHost: h";
const REQUEST: UpstreamRequest = {
  method: "GET",
  head: `${GET}\r\n\r\n`,
  body: null,
  chunked: false,
  upgrade: false,
  connectTimeout: 5000,
  timeout: 5000,
  bodyTimeout: 5000,
};

describe("the upstream client", () => {
  test("sends the head as it is and adds nothing", async () => {
    await using backend = server(echo);
    using it = client();
    const { status, body } = await send(it, backend.port, `${GET}\r\nx-Case: Kept`);
    expect(status).toBe(200);
    expect(JSON.parse(body)).toEqual({ method: "GET", target: "/a?b", fields: ["Host: h", "x-Case: Kept"], body: "" });
  });

  test("uses a connection again", async () => {
    await using backend = server(echo);
    using it = client();
    for (let i = 0; i < 20; i++) await send(it, backend.port, GET);
    expect(backend.connections.size).toBe(1);
    await Promise.all(Array.from({ length: 20 }, () => send(it, backend.port, GET)));
    expect(backend.connections.size).toBe(20);
    await Promise.all(Array.from({ length: 20 }, () => send(it, backend.port, GET)));
    expect(backend.connections.size).toBe(20);
  });

  test("reads a response whole however the network cuts it", async () => {
    using it = client();
    const messages: [string, string][] = [
      ["HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nhello world", "hello world"],
      ["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nhello \r\n5\r\nworld\r\n0\r\n\r\n", "hello world"],
      ["HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "ok"],
      ["HTTP/1.1 204 No Content\r\n\r\n", ""],
    ];
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...messages), fc.array(fc.nat(120), { maxLength: 5 }), async ([message, expected], cuts) => {
        const borders = [0, ...new Set(cuts.map((cut) => cut % message.length)), message.length].sort((a, b) => a - b);
        const pieces = borders.slice(1).map((to, i) => message.slice(borders[i], to));
        using backend = scripted(pieces.filter((piece) => piece !== ""));
        expect((await send(it, backend.port, GET)).body).toBe(expected);
      }),
      { numRuns: 60 },
    );
  });

  test("reads a body that ends with the connection", async () => {
    using it = client();
    using backend = scripted(["HTTP/1.0 200 OK\r\n\r\nabc", "def", null]);
    expect((await send(it, backend.port, GET)).body).toBe("abcdef");
  });

  test("keeps a reason phrase and header bytes as they are", async () => {
    using it = client();
    using backend = scripted([
      "HTTP/1.1 299 Quite Fine\r\nX-Name: \xe9\xc3\xa9\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Length: 0\r\n\r\n",
    ]);
    const { reason, fields } = await send(it, backend.port, GET);
    expect(reason).toBe("Quite Fine");
    expect(fields).toEqual(["X-Name: \xe9\xc3\xa9", "Set-Cookie: a=1", "Set-Cookie: b=2", "Content-Length: 0"]);
  });

  test.each([
    ["reset", "nothing", [null]],
    ["reset", "half a head", ["HTTP/1.1 200", null]],
    ["reset", "half a body", ["HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", null]],
    ["protocol", "no HTTP", ["SSH-2.0-OpenSSH\r\n\r\n"]],
    ["protocol", "a length and chunks", ["HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc"]],
    ["protocol", "malformed chunks", ["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n"]],
    ["protocol", "101 that nobody asked for", ["HTTP/1.1 101 Switching Protocols\r\n\r\n"]],
  ] as [string, string, (string | null)[]][])("fails with %s when the upstream sends %s", async (kind, _what, script) => {
    using it = client();
    using backend = scripted(script);
    expect(await failureOf(send(it, backend.port, GET))).toBe(kind);
  });

  test("fails with connect when nobody listens", async () => {
    using it = client();
    const { port } = scripted([]);
    using closed = scripted([]);
    closed[Symbol.dispose]();
    expect(port).toBeGreaterThan(0);
    expect(await failureOf(send(it, closed.port, GET))).toBe("connect");
  });

  test("fails with timeout when no answer comes, and when a body stalls", async () => {
    using it = client();
    using silent = scripted([]);
    expect(await failureOf(send(it, silent.port, GET, { timeout: 40 }))).toBe("timeout");
    using stalling = scripted(["HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"]);
    expect(await failureOf(send(it, stalling.port, GET, { bodyTimeout: 40 }))).toBe("timeout");
  });

  test("lets a stream of events be silent for longer than the timeout", async () => {
    using it = client();
    await using backend = server((incoming) => {
      incoming.reply({
        status: 200,
        reason: "OK",
        head: "Content-Type: text/event-stream\r\n",
        body: {
          length: -1,
          start: (sink) => {
            sink.write(Buffer.from("data: 1\n\n"));
            setTimeout(() => {
              sink.write(Buffer.from("data: 2\n\n"));
              sink.end();
            }, 150);
          },
          resume: () => {},
          cancel: () => {},
        },
        length: -1,
      });
    });
    expect((await send(it, backend.port, GET, { timeout: 50 })).body).toBe("data: 1\n\ndata: 2\n\n");
  });

  test("does not use a connection again that is out of step", async () => {
    using it = client();
    using backend = scripted(["HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"]);
    expect((await send(it, backend.port, GET)).body).toBe("ok");
    expect((await send(it, backend.port, GET)).body).toBe("ok");
    expect(backend.connections()).toBe(2);
  });

  test.each([
    ["HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n"],
    ["HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"],
    ["GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\n"],
  ])("does not use a connection again after an answer to %s that states a body which must not follow", async (method, head) => {
    using it = client();
    using backend = scripted([head]);
    for (let i = 0; i < 3; i++) expect((await send(it, backend.port, `${method} / HTTP/1.1\r\nHost: h`)).body).toBe("");
    expect(backend.connections()).toBe(3);
    using plain = scripted(["HTTP/1.1 304 Not Modified\r\n\r\n"]);
    for (let i = 0; i < 3; i++) await send(it, plain.port, GET);
    expect(plain.connections()).toBe(1);
  });

  test("tells of bytes that nobody asked for, once a minute, and looks at the origin's connections from then on", async () => {
    const told: string[] = [];
    using it = client({ onUnasked: (origin) => told.push(origin) });
    using backend = scripted(["HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"]);
    for (let i = 0; i < 20; i++) {
      expect((await send(it, backend.port, GET)).body).toBe("ok");
      while (told.length === 0) await Bun.sleep(1);
      // The kernel has the bytes before their event is here.
      const until = performance.now() + 5;
      while (performance.now() < until);
    }
    expect(told).toEqual([`http://127.0.0.1:${backend.port}`]);
  });

  test("refuses an HTTP/1.0 answer with a transfer coding", async () => {
    using it = client();
    using backend = scripted(["HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"]);
    expect(await failureOf(send(it, backend.port, GET))).toBe("protocol");
  });

  test.each([
    ["random bytes", "\x00\x17\x03garbage"],
    ["one byte", "S"],
    ["half of another protocol", "HTTX"],
    ["HTTP/2", "HTTP/2 200"],
  ])("fails at the first bytes of an answer that is no HTTP: %s", async (_what, bytes) => {
    using it = client();
    using backend = scripted([bytes]);
    expect(await failureOf(send(it, backend.port, GET, { timeout: 60_000 }))).toBe("protocol");
  });

  test("passes interim answers on but 100, and fails when they do not end", async () => {
    using it = client();
    const seen: string[] = [];
    const onInterim = (status: number, reason: string, fields: Fields) => void seen.push(`${status} ${reason} ${fields.get("link")}`);
    using backend = scripted([
      "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n",
      "HTTP/1.1 103 Early Hints\r\nLink: </b>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    ]);
    const { body, fields } = await send(it, backend.port, GET, { onInterim });
    expect([body, fields]).toEqual(["ok", ["Content-Length: 2"]]);
    expect(seen).toEqual(["102 Processing null", "103 Early Hints </a>", "103 Early Hints </b>"]);
    using flood = scripted(["HTTP/1.1 103 Early Hints\r\n\r\n".repeat(200)]);
    expect(await failureOf(send(it, flood.port, GET, { timeout: 60_000, onInterim }))).toBe("protocol");
    expect(seen.length).toBe(3 + 100);
  });

  test("goes on with the last good address of a name that can't be looked up, and says so once", async () => {
    const told: string[] = [];
    using it = client({ onLookUp: (origin, address, error) => told.push(`${origin} ${address} ${error === null}`) });
    await using backend = server(echo);
    const origin = originOf("no-such-name.invalid", backend.port, false);
    const ask = () => failureOf(it.send(origin, { ...REQUEST, reuse: "new" }).response);
    expect(await ask()).toBe("connect");
    it.addresses.set(origin.key, { address: "127.0.0.1", doubtedUntil: 0 });
    for (let i = 0; i < 3; i++) expect(await ask()).toBe("no failure");
    expect(told).toEqual([`${origin.key} 127.0.0.1 false`]);
  });

  test("asks after peers that are silent, so that those that vanish are noticed", async () => {
    using it = client();
    using backend = scripted(["HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"]);
    await send(it, backend.port, GET);
    const peer = `0100007F:${backend.port.toString(16).toUpperCase().padStart(4, "0")}`;
    // Columns of /proc/net/tcp: number, own address, peer, state, queues, timer (02 is keep-alive) and when it fires.
    const rows = readFileSync("/proc/net/tcp", "utf8").split("\n");
    const ours = rows.map((row) => row.trim().split(/\s+/)).filter((row) => row[2] === peer && row[3] === "01");
    expect(ours.map((row) => row[5]?.slice(0, 2))).toEqual(["02"]);
  });

  test("counts each of its connections once among the process's sockets", async () => {
    const before = descriptors.sockets;
    {
      using it = client();
      using backend = scripted(["HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"]);
      await Promise.all([1, 2, 3].map(() => send(it, backend.port, GET)));
      expect(descriptors.sockets).toBe(before + 3);
      using closed = scripted([]);
      closed[Symbol.dispose]();
      expect(await failureOf(send(it, closed.port, GET))).toBe("connect");
      expect(descriptors.sockets).toBe(before + 3);
    }
    expect(descriptors.sockets).toBe(before);
  });

  test("says that the gateway has no descriptor left, not that the target refused", async () => {
    await using backend = server(echo);
    const few = new Descriptors(() => 8);
    const told: boolean[] = [];
    using it = client({ onShortage: (isShort) => told.push(isShort) }, few);
    expect((await send(it, backend.port, GET)).status).toBe(200);
    expect(few.sockets).toBe(1);
    for (let i = 0; i < 6; i++) few.opened();
    // Its own idle connection makes room before a new one fails.
    expect(await failureOf(send(it, backend.port, GET, { reuse: "new" }))).toBe("no failure");
    few.opened();
    const held = Promise.withResolvers<void>();
    await using slow = server((incoming) => void held.promise.then(() => incoming.reply(text(200, "late"))));
    const busy = send(it, slow.port, GET);
    expect(await failureOf(busy)).toBe("descriptors");
    expect(await failureOf(send(it, slow.port, GET))).toBe("descriptors");
    expect(told).toEqual([true]);
    held.resolve();
  });
});

describe("a connection that the upstream closed while it was idle", () => {
  /** A backend that answers and closes at once, as one whose idle time is over. */
  const closing = () => scripted(["HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", null]);

  test("is not used for what can't be sent twice, although its close was not dispatched yet", async () => {
    using it = client();
    using backend = closing();
    for (let i = 0; i < 30; i++) {
      const { body } = await send(it, backend.port, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0", { reuse: "checked" });
      expect(body).toBe("ok");
      // The close arrives while this turn goes on: the kernel knows, the event loop does not.
      const until = performance.now() + 3;
      while (performance.now() < until);
    }
  });

  test("loses nothing that can't be sent twice when it closes before the request has left, at the end of the turn", async () => {
    using it = client();
    await using backend = server(echo);
    await send(it, backend.port, GET);
    const { response } = it.send(originOf("127.0.0.1", backend.port, false), {
      ...{ ...REQUEST, method: "POST", reuse: "checked" },
      head: "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n",
      body: new WholeBody(Buffer.from("ok")),
    });
    for (const connection of backend.connections) connection.socket.terminate();
    const failure = await response.catch((error: unknown) => error);
    expect(failure).toMatchObject({ kind: "reset", isStale: true, isUnprocessed: true, wasSent: false });
  });

  test("costs a large body nothing: that goes by a new one", async () => {
    using it = client();
    await using backend = server(echo);
    await send(it, backend.port, GET);
    await send(it, backend.port, GET, { reuse: "new" });
    expect(backend.connections.size).toBe(2);
  });
});

test("trailers pass the client both ways", async () => {
  using it = client();
  using backend = scripted(["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n"]);
  const { response } = it.send(originOf("127.0.0.1", backend.port, false), REQUEST);
  const { body } = await response;
  const trailers = await new Promise((resolve) => (body as Body).start({ write: () => true, end: resolve, fail: resolve }));
  expect((trailers as Fields).get("x-sum")).toBe("1");
});
