import { describe, expect, test } from "bun:test";
import { type Running, start } from "../support/process.ts";
import { exchange, RawConnection } from "../support/raw.ts";

/** A backend over plain sockets: `answer` gets each head that arrives, with what came behind it, and writes what it likes. */
function rawBackend(answer: (request: string, write: (text: string | null) => void, index: number) => void | Promise<void>) {
  const seen: string[] = [];
  const state = { connections: 0 };
  const listener = Bun.listen<{ text: string }>({
    hostname: "127.0.0.1",
    port: 0,
    socket: {
      open: (socket) => {
        socket.data = { text: "" };
        state.connections++;
      },
      data: async (socket, bytes) => {
        socket.data.text += bytes.toString("latin1");
        const { text } = socket.data;
        const isChunked = /\r\ntransfer-encoding: chunked\r\n/i.test(text);
        if (!(isChunked ? /\r\n0\r\n([^\r\n]+\r\n)*\r\n$/ : /\r\n\r\n/).test(text)) return;
        socket.data.text = "";
        seen.push(text);
        await answer(
          text,
          (piece) => {
            if (piece === null) socket.terminate();
            else socket.write(Buffer.from(piece, "latin1"));
          },
          seen.length - 1,
        );
      },
    },
  });
  return { url: `http://127.0.0.1:${listener.port}`, seen, state, [Symbol.dispose]: () => listener.stop(true) };
}

const gatewayTo = (urls: readonly string[], route: object = {}, upstream: object = {}): Promise<Running> =>
  start({
    config: {
      tiers: { anonymous: { limits: [] } },
      logging: { accessLog: false },
      upstreams: { main: { targets: urls.map((url) => ({ url })), breaker: null, ...upstream } },
      routes: [{ name: "main", path: "/", upstream: "main", auth: "none", ...route }],
    },
  });

const OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

describe("a backend that does not keep to HTTP", () => {
  test("can't give its body for a HEAD to the next caller", async () => {
    const poison = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nPOISON";
    using behind = rawBackend(async (request, write) => {
      if (!request.startsWith("HEAD")) {
        await Bun.sleep(60);
        return write(OK);
      }
      write(`HTTP/1.1 200 OK\r\nContent-Length: ${poison.length}\r\n\r\n`);
      await Bun.sleep(20);
      write(poison);
    });
    await using gateway = await gatewayTo([behind.url]);
    for (let i = 0; i < 10; i++) {
      expect((await fetch(`${gateway.url}/evil`, { method: "HEAD" })).status).toBe(200);
      const answers = await Promise.all(Array.from({ length: 3 }, async () => (await fetch(gateway.url)).text()));
      expect(answers).toEqual(["ok", "ok", "ok"]);
    }
  });

  test("and sends bytes that nobody asked for is told of in the log", async () => {
    using behind = rawBackend((_request, write) => write(`${OK}${OK}`));
    await using gateway = await gatewayTo([behind.url]);
    for (let i = 0; i < 5; i++) expect(await (await fetch(gateway.url)).text()).toBe("ok");
    expect(behind.state.connections).toBe(5);
    while (!gateway.output().includes("bytes that nobody asked for")) await Bun.sleep(5);
    expect(gateway.output().split("bytes that nobody asked for").length).toBe(2);
  });

  test("fails at its first bytes, and another target is asked", async () => {
    using ill = rawBackend((_request, write) => write("220 mail.example.com ESMTP\r\n"));
    using well = rawBackend((_request, write) => write(OK));
    await using gateway = await gatewayTo([ill.url, well.url], { timeout: "10m" });
    for (let i = 0; i < 6; i++) expect((await fetch(gateway.url)).status).toBe(200);
    expect(ill.seen.length).toBeGreaterThan(0);
    // What can't be sent twice fails as well at once.
    const statuses = [await fetch(gateway.url, { method: "POST" }), await fetch(gateway.url, { method: "POST" })].map(
      ({ status }) => status,
    );
    expect(statuses.sort()).toEqual([200, 502]);
  });

  test("and says HTTP/1.0 with chunks, or never ends its interim answers, is answered with 502", async () => {
    using old = rawBackend((_request, write) =>
      write("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive\r\n\r\n0\r\n\r\n"),
    );
    await using first = await gatewayTo([old.url], { retry: null });
    expect((await fetch(first.url)).status).toBe(502);
    using flood = rawBackend((_request, write) => write("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n".repeat(1000)));
    await using second = await gatewayTo([flood.url], { retry: null, timeout: "10m" });
    expect((await fetch(second.url)).status).toBe(502);
  });
});

describe("interim answers", () => {
  const HINTS = "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\nX-Hidden: 1\r\nKeep-Alive: 5\r\n\r\n";

  test("reach an HTTP/1.1 client as they come, and nothing of them gets into the answer", async () => {
    const go = Promise.withResolvers<void>();
    using behind = rawBackend(async (_request, write) => {
      write(`HTTP/1.1 100 Continue\r\n\r\n${HINTS}`);
      await go.promise;
      write(OK);
    });
    await using gateway = await gatewayTo([behind.url], { headers: { response: { remove: ["X-Hidden"] } } });
    const client = await RawConnection.open(gateway.port);
    client.write("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    expect(await client.until("style.css>\r\n\r\n")).toBe(
      "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n",
    );
    go.resolve();
    const whole = await client.until("\r\n\r\nok");
    expect(whole.split("style.css").length).toBe(2);
    expect(whole).toContain("HTTP/1.1 200 OK");
    client.close();
  });

  test("do not reach an HTTP/1.0 client", async () => {
    using behind = rawBackend((_request, write) => write(HINTS + OK));
    await using gateway = await gatewayTo([behind.url]);
    const text = await exchange(gateway.port, "GET / HTTP/1.0\r\nHost: h\r\n\r\n");
    expect(text).toStartWith("HTTP/1.1 200 OK\r\n");
    expect(text).not.toContain("style.css");
  });
});

describe("trailers", () => {
  test("of a request reach the backend, without those that only a gateway may say, and its key", async () => {
    using behind = rawBackend((_request, write) => write(OK));
    await using gateway = await gatewayTo([behind.url], { headers: { request: { remove: ["X-Removed"] } } });
    const client = await RawConnection.open(gateway.port);
    client.write(
      "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\nTE: trailers\r\nConnection: TE\r\n\r\n" +
        "3\r\nabc\r\n0\r\nX-Sum: 42\r\nX-Consumer-ID: admin\r\nX_Consumer_ID: admin\r\nAuthorization: x\r\nX-API-Key: k\r\nX_API_Key: k\r\nProxy: x\r\nX-Removed: 1\r\n\r\n",
    );
    await client.until("\r\n\r\nok");
    const [request = ""] = behind.seen;
    expect(request).toEndWith("3\r\nabc\r\n0\r\nX-Sum: 42\r\n\r\n");
    expect(request).toContain("\r\nTrailer: X-Sum\r\n");
    expect(request).toContain("\r\nTE: trailers\r\nConnection: TE\r\n");
    client.close();
  });

  test("of an answer reach an HTTP/1.1 client, in one piece or in many, and no HTTP/1.0 client", async () => {
    const body =
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: Server-Timing\r\n\r\n" +
      "2\r\nok\r\n0\r\nServer-Timing: db;dur=5\r\nSet-Cookie: a=1\r\nX-Removed: 1\r\n\r\n";
    using behind = rawBackend(async (request, write) => {
      if (request.startsWith("GET /whole")) return write(body);
      for (const piece of body.match(/[\s\S]{1,7}/g) ?? []) {
        write(piece);
        await Bun.sleep(1);
      }
    });
    await using gateway = await gatewayTo([behind.url], { headers: { response: { remove: ["X-Removed"] } } });
    for (const path of ["/whole", "/pieces"]) {
      const client = await RawConnection.open(gateway.port);
      client.write(`GET ${path} HTTP/1.1\r\nHost: h\r\n\r\n`);
      const text = await client.until("dur=5\r\n\r\n");
      expect(text).toContain("\r\nTrailer: Server-Timing\r\n");
      expect(text).toEndWith("\r\n0\r\nServer-Timing: db;dur=5\r\n\r\n");
      client.close();
      const old = await exchange(gateway.port, `GET ${path} HTTP/1.0\r\nHost: h\r\n\r\n`);
      expect(old).toEndWith("\r\n\r\nok");
      expect(old).not.toContain("Trailer:");
    }
  });

  test("of an answer whose usage is read come through as well", async () => {
    const answer =
      "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n" +
      '1c\r\n{"usage":{"total_tokens":5}}\r\n0\r\nX-Sum: 1\r\n\r\n';
    using behind = rawBackend((_request, write) => write(answer));
    await using gateway = await gatewayTo([behind.url], { usage: "usage.total_tokens" });
    const client = await RawConnection.open(gateway.port);
    client.write("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    expect(await client.until("X-Sum: 1\r\n\r\n")).toEndWith("\r\n0\r\nX-Sum: 1\r\n\r\n");
    client.close();
  });

  test("are sent again with a request that is sent again", async () => {
    using behind = rawBackend((_request, write, index) => write(index === 0 ? null : OK));
    await using gateway = await gatewayTo([behind.url], { retry: { attempts: 2, baseDelay: "1ms" } });
    const client = await RawConnection.open(gateway.port);
    client.write("PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 42\r\n\r\n");
    await client.until("\r\n\r\nok");
    expect(behind.seen.map((request) => request.endsWith("0\r\nX-Sum: 42\r\n\r\n"))).toEqual([true, true]);
    client.close();
  });
});
