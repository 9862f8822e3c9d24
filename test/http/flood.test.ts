import { describe, expect, test } from "bun:test";
import type { HttpServer } from "../../src/http/server.ts";
import { type ClosedReader, flood } from "../support/flood.ts";
import { exchange, RawConnection } from "../support/raw.ts";
import { echo, server, text } from "../support/relay.ts";

const GET = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";
const waitFor = async (holds: () => boolean): Promise<void> => {
  while (!holds()) await Bun.sleep(5);
};
/** Bytes of answers that wait for the only client. */
const waiting = (it: HttpServer): number => [...it.connections][0]?.out.pending ?? 0;

describe("a client that floods the server", () => {
  test("gets 400 for empty lines without end, and what it sent of them is not kept", async () => {
    await using it = server(echo);
    const connection = await RawConnection.open(it.port);
    connection.write("\r\n".repeat(4_000_000));
    expect(await connection.until("HTTP/1.1 400")).toContain("Connection: close");
    connection.close();
  });

  test("may send a few empty lines before a request, and no more by sending them one at a time", async () => {
    await using it = server(echo);
    expect(await exchange(it.port, `\r\n\r\n\r\n${GET.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n")}`)).toContain("HTTP/1.1 200");
    const connection = await RawConnection.open(it.port);
    for (let i = 0; i < 20 && !connection.text.includes("400"); i++) {
      connection.write("\r");
      await Bun.sleep(1);
      connection.write("\n");
      await Bun.sleep(1);
    }
    expect(await connection.untilClosed()).toContain("HTTP/1.1 400");
  });

  test("gets no more answers while it reads none, and all of them once it reads", async () => {
    let begun = 0;
    await using it = server((incoming) => {
      begun++;
      incoming.reply(text(200, "x".repeat(1000)));
    });
    const reader: ClosedReader = await flood(it.port, Buffer.from(GET.repeat(200)), 20_000);
    await waitFor(() => waiting(it) > 65_536 && reader.isStuck);
    expect(begun).toBeLessThan(20_000);
    expect(waiting(it)).toBeLessThan(200_000);
    expect(await reader.readAll("HTTP/1.1 200")).toBe(20_000);
    expect(begun).toBe(20_000);
    reader.close();
    await waitFor(() => it.connections.size === 0);
  });

  test("is not closed for another before its answers have left", async () => {
    await using it = server((incoming) => incoming.reply(text(200, "x".repeat(60_000))));
    const reader = await flood(it.port, Buffer.from(GET.repeat(200)), 400);
    await waitFor(() => waiting(it) > 0 && reader.isStuck);
    expect([...it.connections][0]?.closeEarly()).toBe(false);
    expect(await reader.readAll("HTTP/1.1 200")).toBe(400);
    reader.close();
    await waitFor(() => it.connections.size === 0);
  });

  test("is let go when it reads nothing for two minutes, though it goes on sending", async () => {
    await using it = server((incoming) => incoming.reply(text(200, "x".repeat(100_000))));
    const reader = await flood(it.port, Buffer.from(GET.repeat(200)), 2_000);
    await waitFor(() => waiting(it) > 65_536 && reader.isStuck);
    const [connection] = it.connections;
    const now = it.tick + 1;
    connection?.checkDeadline(now);
    for (let second = 1; second <= 120; second += 10) {
      it.tick = now + second;
      connection?.receive(Buffer.from("GET"));
      connection?.checkDeadline(now + second);
    }
    expect(it.connections.size).toBe(1);
    connection?.checkDeadline(now + 121);
    expect(it.connections.size).toBe(0);
    reader.close();
  });

  test("is let go at once when it leaves without having read", async () => {
    await using it = server((incoming) => incoming.reply(text(200, "x".repeat(100_000))));
    const reader = await flood(it.port, Buffer.from(GET.repeat(200)), 2_000);
    await waitFor(() => waiting(it) > 65_536 && reader.isStuck);
    reader.close();
    await waitFor(() => it.connections.size === 0);
    expect(it.inFlight).toBe(0);
  });

  test("reads heads that come in pieces of any size, with what is pipelined behind them", async () => {
    await using it = server(echo, { maxHeaderSize: 1_000_000 });
    for (const size of [1, 3, 7, 61, 4_099]) {
      const filler = `X-Filler: ${"f".repeat(size * 40)}\r\n`;
      const one = `POST /a HTTP/1.1\r\nHost: h\r\n${filler}Content-Length: 3\r\n\r\nabc`;
      const last = `POST /b HTTP/1.1\r\nHost: h\r\n${filler}Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n3\r\ndef\r\n0\r\n\r\n`;
      const all = one + one + last;
      const connection = await RawConnection.open(it.port);
      for (let at = 0; at < all.length; at += size) {
        connection.write(all.slice(at, at + size));
        await new Promise((resolve) => setImmediate(resolve));
      }
      const answers = await connection.untilClosed();
      expect(answers.match(/"target":"\/a".*?"body":"abc"/g)?.length).toBe(2);
      expect(answers).toContain('"body":"def"');
    }
  });

  test("that resets its connections before they are looked at is no fault of the server", async () => {
    const faults: unknown[] = [];
    let begun = 0;
    await using it = server((incoming) => {
      begun++;
      // Whoever answers asks for the caller's address first.
      incoming.reply(text(200, incoming.ip));
    });
    Object.assign(it.options, { onFault: (error: unknown) => faults.push(error) });
    const program = `for (let i = 0; i < 50; i++) {
      const socket = await Bun.connect({ hostname: "127.0.0.1", port: ${it.port}, socket: { data() {} } });
      socket.write(${JSON.stringify(GET)});
      socket.terminate();
    }`;
    // This process stands still meanwhile: all of them have been reset when it accepts them.
    expect(Bun.spawnSync([process.execPath, "-e", program]).exitCode).toBe(0);
    expect(await exchange(it.port, GET.replace("Host: h", "Host: h\r\nConnection: close"))).toEndWith("127.0.0.1");
    await waitFor(() => it.connections.size === 0 && it.inFlight === 0);
    expect(faults).toEqual([]);
    expect(begun).toBe(1);
  });

  test("and vanishes without a word is noticed: its connection asks after it", async () => {
    await using it = server(echo);
    const connection = await RawConnection.open(it.port);
    await waitFor(() => it.connections.size === 1);
    if (Bun.which("ss") !== null)
      expect(Bun.spawnSync(["ss", "-tno", "sport", "=", `:${it.port}`]).stdout.toString()).toContain("timer:(keepalive,");
    connection.close();
  });
});
