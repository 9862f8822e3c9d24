import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { client, echo, failureOf, scripted, send, server } from "../support/relay.ts";

const GET = "GET /a?b HTTP/1.1\r\nHost: h";

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
});
