import { describe, expect, test } from "bun:test";
import { once } from "node:events";
import { connect as connectTcp, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { Crowd } from "../../src/http/crowd.ts";
import { descriptors } from "../../src/http/descriptors.ts";
import type { Incoming } from "../../src/http/incoming.ts";
import { isLocal } from "../../src/http/local.ts";
import { ProxyPeers } from "../../src/http/proxy-peers.ts";
import type { HttpServer } from "../../src/http/server.ts";
import { CidrSet } from "../../src/values/ip.ts";
import { proxyV2 } from "../support/proxy-line.ts";
import { exchange, RawConnection } from "../support/raw.ts";
import { echo, server, text } from "../support/relay.ts";
import { CERTIFICATE, PRIVATE_KEY } from "../support/tls.ts";
import { until } from "../support/until.ts";

const GET = "GET /a HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
const LINE = "PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n";
const TLS = { cert: CERTIFICATE, key: PRIVATE_KEY };
const SERVED = { version: 1, options: TLS, handlers: {} };

/** Takes lines from these peers; tells who came without. */
function peers(...list: string[]) {
  const told: string[] = [];
  return { told, proxies: new ProxyPeers(new CidrSet(list), (peer, isMissing) => void told.push(`${peer} ${isMissing}`)) };
}

const who = (incoming: Incoming): void =>
  incoming.reply(text(200, `${incoming.ip} ${incoming.isTls ? "https" : "http"} ${isLocal(incoming) ? "local" : "elsewhere"}`));

/** Speaks TLS on a connection on which something was sent before. */
async function securely(port: number, before: string | Uint8Array, separately = false) {
  const raw = connectTcp({ host: "127.0.0.1", port, noDelay: true });
  await once(raw, "connect");
  raw.write(before);
  if (separately) await new Promise((resolve) => setTimeout(resolve, 20));
  const socket = connectTls({ socket: raw, ca: CERTIFICATE, servername: "localhost", ALPNProtocols: ["http/1.1"] });
  await once(socket, "secureConnect");
  return socket;
}

async function answerOn(socket: Socket): Promise<string> {
  let answer = "";
  socket.setEncoding("latin1").on("data", (part) => {
    answer += part;
  });
  await once(socket, "close");
  return answer;
}

describe("a connection that begins with a PROXY line", () => {
  test.each([
    ["of version 1", LINE, "192.0.2.7 http elsewhere"],
    ["of version 2", proxyV2({ source: new Uint8Array([192, 0, 2, 7]), more: new Uint8Array(200) }), "192.0.2.7 http elsewhere"],
    [
      "of version 2, of a client by IPv6",
      proxyV2({ source: Buffer.from("20010db8000000000000000000000001", "hex") }),
      "2001:db8::1 http elsewhere",
    ],
    // Nobody on this machine's loopback interface comes through a balancer without its saying so.
    ["of a client on this machine", "PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n", "127.0.0.1 http elsewhere"],
    ["of the balancer itself", proxyV2({ command: 0 }), "127.0.0.1 http elsewhere"],
    ["that names nobody", "PROXY UNKNOWN\r\n", "127.0.0.1 http elsewhere"],
  ])("is of whom the line says: %s", async (_, line, said) => {
    const { proxies, told } = peers("127.0.0.1");
    await using it = server(who, {}, { proxies });
    expect(await exchange(it.port, Buffer.concat([Buffer.from(line as string), Buffer.from(GET)]))).toEndWith(said);
    expect(told).toEqual([]);
  });

  test("may bring it byte by byte, and any number of requests behind it", async () => {
    const { proxies } = peers("127.0.0.1");
    await using it = server(who, {}, { proxies });
    const connection = await RawConnection.open(it.port);
    for (const byte of proxyV2({ source: new Uint8Array([192, 0, 2, 7]) })) {
      connection.write(new Uint8Array([byte]));
      await new Promise((resolve) => setImmediate(resolve));
    }
    connection.write("GET /1 HTTP/1.1\r\nHost: h\r\n\r\nGET /2 HTTP/1.1\r\nHost: h\r\n\r\n");
    connection.write(GET);
    expect((await connection.untilClosed()).match(/192\.0\.2\.7 http/g)?.length).toBe(3);
  });

  test("is refused where the line is malformed or missing, and its peer is told of once", async () => {
    const { proxies, told } = peers("127.0.0.1");
    await using it = server(who, {}, { proxies });
    expect(await exchange(it.port, `PROXY TCP4 nobody nobody 1 2\r\n${GET}`)).toContain("The PROXY line is malformed.");
    expect(told).toEqual([]);
    for (const _ of [1, 2]) expect(await exchange(it.port, GET)).toMatch(/^HTTP\/1\.1 400 [\s\S]*must begin with a PROXY line/);
    expect(told).toEqual(["127.0.0.1 true"]);
    expect(await exchange(it.port, LINE + GET)).toContain("192.0.2.7");
    expect(told).toEqual(["127.0.0.1 true", "127.0.0.1 false"]);
    // A balancer that only looks whether the port is open has said nothing.
    (await RawConnection.open(it.port)).close();
    await until(() => it.preludes.size + it.connections.size === 0);
    expect(told.length).toBe(2);
  });

  test.each([
    ["1", Buffer.from(LINE)],
    ["2", proxyV2({ source: new Uint8Array([192, 0, 2, 7]) })],
  ])("is refused from a peer that may not send one: version %s", async (_, line) => {
    const { proxies } = peers("192.0.2.0/24");
    await using it = server(who, {}, { proxies });
    expect(await exchange(it.port, Buffer.concat([line, Buffer.from(GET)]))).toMatch(/^HTTP\/1\.1 400 [\s\S]*not taken from your address/);
    expect(await exchange(it.port, GET)).toEndWith("127.0.0.1 http local");
    await using plain = server(who);
    expect(await exchange(plain.port, Buffer.concat([line, Buffer.from(GET)]))).toStartWith("HTTP/1.1 400 ");
  });

  test("takes a seat of the client that it names, and gives it back", async () => {
    const crowd = new Crowd({ maxConnections: 100, maxConnectionsPerAddress: 1 }, (ip) => ip === "127.0.0.1");
    const before = descriptors.sockets;
    const { proxies } = peers("127.0.0.1");
    await using it = server(who, { crowd }, { proxies });
    const first = await RawConnection.open(it.port);
    first.write(`${LINE}GET /1 HTTP/1.1\r\nHost: h\r\n\r\n`);
    await first.until("192.0.2.7");
    // The second of this client pushes the idle first one out; another client's stays.
    const other = await RawConnection.open(it.port);
    other.write("PROXY TCP4 192.0.2.8 198.51.100.1 1 2\r\nGET /1 HTTP/1.1\r\nHost: h\r\n\r\n");
    await other.until("192.0.2.8");
    const second = await RawConnection.open(it.port);
    second.write(`${LINE}GET /1 HTTP/1.1\r\nHost: h\r\n\r\n`);
    await second.until("192.0.2.7");
    await first.untilClosed();
    expect([crowd.open, it.connections.size, it.preludes.size]).toEqual([2, 2, 0]);
    for (const connection of [other, second]) connection.close();
    await until(() => crowd.open === 0 && it.connections.size === 0);
    expect(descriptors.sockets).toBe(before);
    crowd.close();
  });

  test("is closed when its line does not come, and makes room for others before that", async () => {
    const crowd = new Crowd({ maxConnections: 2, maxConnectionsPerAddress: 100 });
    const { proxies } = peers("127.0.0.1");
    await using it = server(who, { crowd }, { proxies });
    const [a, b] = [await RawConnection.open(it.port), await RawConnection.open(it.port)];
    await until(() => it.preludes.size === 2);
    const c = await RawConnection.open(it.port);
    c.write(LINE + GET);
    expect(await c.untilClosed()).toContain("192.0.2.7");
    expect(crowd.closedEarly.total).toBeGreaterThan(0);
    for (const prelude of it.preludes) prelude.checkDeadline(it.tick + 16);
    await Promise.all([a.untilClosed(), b.untilClosed()]);
    await until(() => crowd.open === 0);
    crowd.close();
  });
});

describe("TLS behind a PROXY line", () => {
  const secure = (...list: string[]) => {
    const { proxies, told } = peers(...list);
    return { told, it: server(who, {}, { proxies, tls: SERVED }) };
  };

  test.each([
    ["in one packet with the handshake", LINE, false],
    ["by itself", LINE, true],
    ["of version 2", proxyV2({ source: new Uint8Array([192, 0, 2, 7]) }), false],
  ])("is spoken with whom the line says: %s", async (_, line, separately) => {
    const { it } = secure("127.0.0.1");
    await using _it = it;
    const socket = await securely(it.port, line, separately);
    expect(socket.alpnProtocol).toBe("http/1.1");
    socket.write(GET);
    expect(await answerOn(socket)).toEndWith("192.0.2.7 https elsewhere");
    await until(() => it.connections.size === 0);
  });

  test("is spoken without one with all others, and neither without TLS", async () => {
    const { it, told } = secure("192.0.2.0/24");
    await using _it = it;
    const socket = await securely(it.port, "");
    socket.write(GET);
    expect(await answerOn(socket)).toEndWith("127.0.0.1 https local");
    for (const before of ["", LINE]) expect(await exchange(it.port, before + GET)).toMatch(/^HTTP\/1\.1 400 [\s\S]*speaks https/);
    expect(told).toEqual([]);
  });

  test("is not begun where the line is missing", async () => {
    const { it, told } = secure("127.0.0.1");
    await using _it = it;
    await expect(securely(it.port, "")).rejects.toThrow();
    await until(() => told.length > 0);
    expect(told).toEqual(["127.0.0.1 true"]);
    expect(await exchange(it.port, LINE + GET)).toMatch(/^HTTP\/1\.1 400 [\s\S]*speaks https/);
    const connection = await RawConnection.open(it.port);
    connection.write(LINE);
    await new Promise((resolve) => setTimeout(resolve, 20));
    connection.write(GET);
    expect(await connection.untilClosed()).toMatch(/^HTTP\/1\.1 400 [\s\S]*speaks https/);
  });

  test("carries large bodies both ways, and slows down who sends more than is read", async () => {
    const { proxies } = peers("127.0.0.1");
    const body = Buffer.alloc(20_000_000, "0123456789");
    await using it: HttpServer & AsyncDisposable = server(echo, {}, { proxies, tls: SERVED });
    const socket = await securely(it.port, LINE);
    socket.write(`POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: ${body.length}\r\n\r\n`);
    socket.write(body);
    socket.pause();
    await until(() => [...it.connections].some(({ out }) => out.pending > 0));
    const whole = answerOn(socket);
    socket.resume();
    const answer = await whole;
    expect(JSON.parse(answer.slice(answer.indexOf("\r\n\r\n") + 4)).body === body.toString()).toBe(true);
  });

  test("leaves nothing behind of connections that break off at any point", async () => {
    const before = descriptors.sockets;
    const { it } = secure("127.0.0.1");
    await using _it = it;
    for (const sent of ["", LINE.slice(0, 10), LINE, Buffer.concat([Buffer.from(LINE), Buffer.from([22, 3, 1, 2, 0, 1])])]) {
      const socket = connectTcp({ host: "127.0.0.1", port: it.port });
      await once(socket, "connect");
      if (sent.length > 0) socket.write(sent);
      await until(() => it.preludes.size + it.connections.size === 1);
      socket.resetAndDestroy();
      await until(() => it.preludes.size + it.connections.size === 0);
    }
    const socket = await securely(it.port, LINE);
    socket.destroy();
    await until(() => it.connections.size === 0);
    expect(descriptors.sockets).toBe(before);
  });
});

test("a peer that may leave the line out from now on is told of no more", () => {
  const { proxies, told } = peers("192.0.2.1", "192.0.2.2");
  for (const peer of ["192.0.2.1", "192.0.2.2", "192.0.2.1"]) proxies.began(peer, false);
  proxies.configure(new CidrSet(["192.0.2.2"]));
  expect(told).toEqual(["192.0.2.1 true", "192.0.2.2 true", "192.0.2.1 false"]);
});
