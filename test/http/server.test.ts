import { describe, expect, test } from "bun:test";
import { exchange, RawConnection } from "../support/raw.ts";
import { echo, server, text } from "../support/relay.ts";

const GET = (path: string, ...lines: string[]) => `${[`GET ${path} HTTP/1.1`, "Host: h", ...lines].join("\r\n")}\r\n\r\n`;
const bodyOf = (answer: string) => answer.slice(answer.lastIndexOf("\r\n\r\n") + 4);

describe("the HTTP server", () => {
  test("answers pipelined requests in order on one connection", async () => {
    await using it = server((incoming) => {
      // The first answer comes last: the second must wait for it.
      if (incoming.head.target === "/0") setTimeout(() => incoming.reply(text(200, "0")), 5);
      else incoming.reply(text(200, incoming.head.target.slice(1)));
    });
    const many = Array.from({ length: 500 }, (_, i) => GET(`/${i}`)).join("");
    const answer = await exchange(it.port, many + GET("/end", "Connection: close"));
    expect(answer.match(/\r\n\r\n(\d+|end)/g)?.length).toBe(501);
    expect(answer.indexOf("\r\n\r\n0HTTP")).toBeGreaterThan(0);
    expect(bodyOf(answer)).toBe("end");
  });

  test.each([
    ["a short one", "Grüße, 你好 🙂"],
    ["one of more than is sent at once", "Grüße, 你好 🙂 ".repeat(5000)],
    ["none at all", ""],
  ])("sends a text in UTF-8, with its length in bytes: %s", async (_, body) => {
    await using it = server((incoming) => incoming.reply({ status: 200, reason: "OK", head: "", body, length: -1 }));
    const answer = await fetch(`http://127.0.0.1:${it.port}/`);
    expect([answer.headers.get("content-length"), await answer.text()]).toEqual([String(Buffer.byteLength(body)), body]);
    const head = await fetch(`http://127.0.0.1:${it.port}/`, { method: "HEAD" });
    expect([head.headers.get("content-length"), await head.text()]).toEqual([String(Buffer.byteLength(body)), ""]);
  });

  test("reads a request that comes byte by byte", async () => {
    await using it = server(echo);
    const connection = await RawConnection.open(it.port);
    for (const byte of `POST /slow HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n`) {
      connection.write(byte);
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(JSON.parse(bodyOf(await connection.untilClosed()))).toMatchObject({ target: "/slow", body: "abcde" });
  });

  test("hands over a body that a GET carries", async () => {
    await using it = server(echo);
    const answer = await exchange(it.port, `${GET("/search", "Content-Length: 5", "Connection: close")}query`);
    expect(JSON.parse(bodyOf(answer)).body).toBe("query");
  });

  test("asks for the body of an expecting client only when somebody wants it", async () => {
    await using it = server((incoming) => (incoming.head.target === "/no" ? incoming.reply(text(401, "no")) : void echo(incoming)));
    const head = (path: string) => `POST ${path} HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n`;
    const refused = await exchange(it.port, head("/no"));
    expect(refused).not.toContain("100 Continue");
    expect(refused).toContain("Connection: close");

    const connection = await RawConnection.open(it.port);
    connection.write(head("/yes"));
    await connection.until("100 Continue\r\n\r\n");
    connection.write("ok");
    expect(await connection.until('"body":"ok"')).toContain("HTTP/1.1 200");
    connection.close();
  });

  test("never takes the rest of a body, after an answer that did not wait for it, for another request", async () => {
    const seen: string[] = [];
    await using it = server((incoming) => {
      seen.push(incoming.head.target);
      incoming.reply(text(401, "no"));
    });
    const connection = await RawConnection.open(it.port);
    connection.write("POST /1 HTTP/1.1\r\nHost: h\r\nContent-Length: 34\r\n\r\n");
    expect(await connection.until("no")).toContain("Connection: close");
    connection.write(GET("/smuggled"));
    await connection.untilClosed();
    expect(seen).toEqual(["/1"]);
  });

  test("closes after an answer that did not wait for a large body, and the client still reads the answer", async () => {
    await using it = server((incoming) => incoming.reply(text(413, "too large")));
    const connection = await RawConnection.open(it.port);
    connection.write("POST /1 HTTP/1.1\r\nHost: h\r\nContent-Length: 100000000\r\n\r\n");
    connection.write(Buffer.alloc(1_000_000));
    const answer = await connection.untilClosed();
    expect(answer).toContain("Connection: close");
    expect(bodyOf(answer)).toBe("too large");
  });

  test("refuses a head that is too large with 431, also one that never ends", async () => {
    await using it = server(echo, { maxHeaderSize: 1000 });
    expect(await exchange(it.port, GET("/", `X: ${"a".repeat(1000)}`))).toContain("HTTP/1.1 431");
    expect(await exchange(it.port, `GET / HTTP/1.1\r\nX: ${"a".repeat(2000)}`)).toContain("HTTP/1.1 431");
    expect(await exchange(it.port, GET("/", `X: ${"a".repeat(800)}`, "Connection: close"))).toContain("HTTP/1.1 200");
  });

  test("waits for a head that drips in no longer than for one that stops", async () => {
    await using it = server(echo);
    const connection = await RawConnection.open(it.port);
    connection.write("GET / HTTP/1.1\r\n");
    while (it.connections.size === 0) await Bun.sleep(1);
    const [accepted] = it.connections;
    const begun = it.tick;
    for (let second = 1; second <= 14; second++) {
      connection.write("X");
      accepted?.checkDeadline(begun + second);
    }
    expect(connection.text).toBe("");
    while (!connection.text.includes("408")) {
      accepted?.checkDeadline(begun + 17);
      await Bun.sleep(1);
    }
    expect(await connection.untilClosed()).toContain("HTTP/1.1 408");
  });

  test("answers a malformed head with 400 and closes", async () => {
    await using it = server(echo);
    expect(await exchange(it.port, "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")).toContain("HTTP/1.1 400");
    expect(await exchange(it.port, "\x16\x03\x01\x02\x00\x01\x00\r\n\r\n")).toContain("HTTP/1.1 400");
  });

  test("refuses what is no HTTP at its first byte, and tells a client that speaks TLS which port it is", async () => {
    await using it = server(echo);
    expect(await exchange(it.port, "\x16\x03\x01\x02\x00\x01\x00")).toMatch(/^HTTP\/1\.1 400 .*https port\.$/s);
    expect(await exchange(it.port, "\x00\x00\x00\x17")).toMatch(/^HTTP\/1\.1 400 /);
  });

  test("answers malformed chunks with 400 and closes", async () => {
    await using it = server((incoming) => void echo(incoming).catch(() => {}));
    expect(await exchange(it.port, "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n")).toContain("HTTP/1.1 400");
  });

  test("sends no body for HEAD but states its length", async () => {
    await using it = server((incoming) => incoming.reply(text(200, "12345")));
    const answer = await exchange(it.port, "HEAD / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    expect(answer).toContain("Content-Length: 5\r\n");
    expect(answer.endsWith("\r\n\r\n")).toBe(true);
  });

  test("speaks HTTP/1.0: closes unless asked to keep the connection", async () => {
    await using it = server((incoming) => incoming.reply(text(200, "x")));
    expect(await exchange(it.port, "GET / HTTP/1.0\r\n\r\n")).toContain("Connection: close");
    const kept = await RawConnection.open(it.port);
    kept.write("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    expect(await kept.until("\r\n\r\nx")).toContain("Connection: keep-alive");
    kept.close();
  });

  test("tells the exchange when the client goes away", async () => {
    const gone = Promise.withResolvers<void>();
    const begun = Promise.withResolvers<void>();
    await using it = server((incoming) => {
      incoming.onAbort = () => gone.resolve();
      begun.resolve();
    });
    const connection = await RawConnection.open(it.port);
    connection.write(GET("/"));
    await begun.promise;
    connection.close();
    await gone.promise;
    expect(it.inFlight).toBe(0);
  });

  test("stops when the last exchange is answered, and closes what is idle", async () => {
    const begun = Promise.withResolvers<() => void>();
    await using it = server((incoming) => begun.resolve(() => incoming.reply(text(200, "last"))));
    const idle = await RawConnection.open(it.port);
    const busy = await RawConnection.open(it.port);
    busy.write(GET("/"));
    const answer = await begun.promise;
    const stopped = it.close(5000);
    answer();
    expect(await busy.untilClosed()).toContain("last");
    await idle.untilClosed();
    await stopped;
    expect(it.connections.size).toBe(0);
  });

  test("keeps a large answer whole for a slow reader", async () => {
    const large = Buffer.alloc(8_000_000, "x");
    await using it = server((incoming) => incoming.reply({ status: 200, reason: "OK", head: "", body: large, length: -1 }));
    const connection = await RawConnection.open(it.port);
    connection.socket.pause();
    connection.write(GET("/", "Connection: close"));
    await Bun.sleep(20);
    connection.socket.resume();
    expect((await connection.untilClosed()).length).toBeGreaterThan(8_000_000);
  });
});
