import { describe, expect, test } from "bun:test";
import { TooSlow } from "../../src/http/body.ts";
import type { Incoming } from "../../src/http/incoming.ts";
import type { HttpServer } from "../../src/http/server.ts";
import { RawConnection } from "../support/raw.ts";
import { echo, server, text } from "../support/relay.ts";
import { serving } from "../support/serving.ts";

const HEAD = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n";

/** Answers as the gateway does when a body comes too slowly. */
const patient = (incoming: Incoming): void =>
  void echo(incoming).catch((error: unknown) => incoming.reply(text(error instanceof TooSlow ? 408 : 500, String(error))));

/** Lets seconds pass for the only connection; before each, the client sends `perSecond` bytes, which are waited for. */
async function seconds(it: HttpServer, count: number, connection: RawConnection, perSecond: number): Promise<void> {
  const [accepted] = it.connections;
  for (let i = 0; i < count && accepted !== undefined; i++) {
    if (perSecond > 0) {
      const before = arrived;
      connection.write(Buffer.alloc(perSecond, "x"));
      while (arrived < before + perSecond && !connection.text.includes("408")) await Bun.sleep(0);
    }
    accepted.checkDeadline(it.tick);
  }
}
let arrived = 0;
const counting = (incoming: Incoming): void => {
  arrived = 0;
  const { body } = incoming;
  body?.start({
    write: (bytes) => {
      arrived += bytes.length;
      return true;
    },
    end: () => incoming.reply(text(200, "whole")),
    fail: (reason) => incoming.reply(text(reason instanceof TooSlow ? 408 : 500, reason.message)),
  });
};

async function sending(it: HttpServer): Promise<RawConnection> {
  // The seconds of these tests are the only ones.
  clearInterval(Reflect.get(it, "ticker"));
  const connection = await RawConnection.open(it.port);
  connection.write(HEAD);
  while (it.inFlight === 0) await Bun.sleep(1);
  return connection;
}

describe("a request's body that comes slowly", () => {
  test("is refused with 408 when it brought less than the least rate over 30 seconds, after 10 of grace", async () => {
    await using it = server(counting, { bodyRate: 100 });
    const connection = await sending(it);
    await seconds(it, 39, connection, 99);
    expect(connection.text).toBe("");
    await seconds(it, 1, connection, 99);
    expect(await connection.untilClosed()).toContain("HTTP/1.1 408");
  });

  test("is taken at the least rate, and what came fast stands for what comes slowly within 30 seconds", async () => {
    await using it = server(counting, { bodyRate: 100 });
    const connection = await sending(it);
    await seconds(it, 100, connection, 100);
    await seconds(it, 1, connection, 3000);
    await seconds(it, 29, connection, 0);
    expect(connection.text).toBe("");
    await seconds(it, 2, connection, 0);
    expect(await connection.untilClosed()).toContain("HTTP/1.1 408");
  });

  test("is not late while the server has it wait", async () => {
    let resume = (): void => {};
    await using it = server(
      (incoming) => {
        resume = () => incoming.body?.resume();
        incoming.body?.start({
          // Full after each piece.
          write: () => false,
          end: () => incoming.reply(text(200, "whole")),
          fail: (reason) => incoming.reply(text(408, reason.message)),
        });
      },
      { bodyRate: 100 },
    );
    const connection = await sending(it);
    connection.write("x".repeat(100));
    const [accepted] = it.connections;
    while (accepted !== undefined && !Reflect.get(accepted, "isPaused")) await Bun.sleep(1);
    for (let second = 0; second < 200; second++) accepted?.checkDeadline(it.tick);
    expect(connection.text).toBe("");
    resume();
    for (let second = 0; second < 41; second++) accepted?.checkDeadline(it.tick);
    expect(await connection.untilClosed()).toContain("HTTP/1.1 408");
  });

  test("has the bounds of its route", async () => {
    await using it = server(
      (incoming) => {
        incoming.body?.bound(1_000_000, incoming.head.target === "/any" ? 0 : 500);
        counting(incoming);
      },
      { bodyRate: 100 },
    );
    const connection = await sending(it);
    await seconds(it, 40, connection, 200);
    expect(await connection.untilClosed()).toContain("HTTP/1.1 408");
    const any = await RawConnection.open(it.port);
    any.write(HEAD.replace("/", "/any"));
    while (it.inFlight === 0) await Bun.sleep(1);
    await seconds(it, 1000, any, 0);
    expect(any.text).toBe("");
    any.close();
  });

  test("does not fail one that comes whole, however it is cut", async () => {
    await using it = server(patient, { bodyRate: 100 });
    const connection = await RawConnection.open(it.port);
    connection.write("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nConnection: close\r\n\r\na");
    await Bun.sleep(5);
    connection.write("bc");
    expect(await connection.untilClosed()).toContain('"body":"abc"');
  });
});

describe("a request's body on its way through the gateway", () => {
  const gatewayTo = (port: number, more: object = {}, server: object = {}) =>
    serving({
      server: { host: "127.0.0.1", drainTimeout: "0s", ...server },
      routes: [{ path: "/", auth: "none", upstream: `http://127.0.0.1:${port}`, ...more }],
    });

  test("takes a connection to the backend when it is there, if it is small", async () => {
    let connections = 0;
    let received = "";
    using backend = Bun.listen({
      hostname: "127.0.0.1",
      port: 0,
      socket: {
        open: () => void connections++,
        data: (socket, bytes) => {
          received += bytes.toString("latin1");
          if (received.endsWith("12345")) socket.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        },
      },
    });
    const it = gatewayTo(backend.port);
    const port = Number(new URL(it.url).port);
    const slow = await RawConnection.open(port);
    slow.write("POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n123");
    // Others are served meanwhile, which shows that the first has been looked at.
    const quick = await RawConnection.open(port);
    quick.write("POST /b HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n12345");
    await quick.until("ok");
    expect(connections).toBe(1);
    expect(received).not.toContain("/a");
    slow.write("45");
    await slow.until("ok");
    expect(received).toContain("POST /a");
    for (const each of [slow, quick]) each.close();
    await it.stop();
  });

  test("that is left half is given up when its caller leaves", async () => {
    using backend = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data: () => {} } });
    const it = gatewayTo(backend.port);
    const caller = await RawConnection.open(Number(new URL(it.url).port));
    caller.write("POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n123");
    await fetch(`${it.url}/health`);
    caller.close();
    await fetch(`${it.url}/health`);
    await it.stop();
    expect(it.faults).toEqual([]);
  });

  test("that grows too large in the piece that ends it is refused as any other", async () => {
    const { promise: isAsked, resolve: asked } = Promise.withResolvers<void>();
    using backend = Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      fetch: async (request) => {
        asked();
        return new Response(String((await request.bytes()).length));
      },
    });
    const it = gatewayTo(backend.port ?? 0, { maxBodySize: "4kb" });
    const caller = await RawConnection.open(Number(new URL(it.url).port));
    const chunk = `400\r\n${"x".repeat(1024)}\r\n`;
    caller.write(`POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n${chunk}`);
    await isAsked;
    caller.write(`${chunk.repeat(4)}0\r\n\r\n`);
    await caller.until("\r\n\r\n");
    expect(caller.text).toStartWith("HTTP/1.1 413 ");
    caller.close();
    await it.stop();
  });

  test("may be as large as its route says, whatever the server's bound is", async () => {
    using backend = Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      fetch: async (request) => new Response(String((await request.bytes()).length)),
    });
    const chunked = (size: number): ReadableStream =>
      new ReadableStream({
        start: (controller) => {
          for (let sent = 0; sent < size; sent += 1024) controller.enqueue(new Uint8Array(1024));
          controller.close();
        },
      });
    for (const [own, servers, size, status] of [
      ["4kb", "1mb", 4096, 200],
      ["4kb", "1mb", 5120, 413],
      ["1mb", "4kb", 102_400, 200],
      [null, "4kb", 5120, 413],
    ] as const) {
      const it = gatewayTo(backend.port ?? 0, { maxBodySize: own }, { maxBodySize: servers });
      for (const body of [new Uint8Array(size), chunked(size)]) {
        const answer = await fetch(it.url, { method: "POST", body });
        expect(answer.status).toBe(status);
        if (status === 200) expect(await answer.text()).toBe(String(size));
        else expect(await answer.json()).toMatchObject({ code: "bodyTooLarge" });
      }
      await it.stop();
      expect(it.faults).toEqual([]);
    }
  });
});
