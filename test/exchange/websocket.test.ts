import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import type { Socket, TCPSocketListener } from "bun";
import { frameOf, framesIn } from "../support/frames.ts";
import { RawConnection } from "../support/raw.ts";
import { serving } from "../support/serving.ts";
import { until } from "../support/until.ts";

/** A backend over plain sockets, which takes every upgrade, tells the bytes of frames that reached it, and writes what it is told to. */
class RawBackend {
  received = Buffer.alloc(0);
  head = "";
  isClosed = false;
  private readonly listener: TCPSocketListener<undefined>;
  /** The connection that was opened last: what comes of others is theirs. */
  private current: Socket<undefined> | null = null;

  constructor() {
    this.listener = Bun.listen<undefined>({
      hostname: "127.0.0.1",
      port: 0,
      socket: {
        open: (socket) => {
          this.current = socket;
          this.received = Buffer.alloc(0);
          this.head = "";
          this.isClosed = false;
        },
        data: (socket, bytes) => {
          if (socket !== this.current) return;
          this.received = Buffer.concat([this.received, bytes]);
          const end = this.head === "" ? this.received.indexOf("\r\n\r\n") : -1;
          if (end < 0) return;
          this.head = this.received.toString("latin1", 0, end);
          this.received = this.received.subarray(end + 4);
          socket.write("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n");
        },
        close: (socket) => {
          if (socket === this.current) this.isClosed = true;
        },
        error: () => {},
      },
    });
  }

  get url(): string {
    return `http://127.0.0.1:${this.listener.port}`;
  }

  get frames(): { opcode: number; payload: Buffer }[] {
    return framesIn(this.received);
  }

  /** The codes of the Close frames that reached it. */
  get codes(): number[] {
    return codesIn(this.frames);
  }

  send(bytes: Uint8Array): void {
    this.current?.write(bytes);
  }

  end(): void {
    this.current?.end();
  }

  stop(): void {
    this.listener.stop(true);
  }
}

const codesIn = (frames: readonly { opcode: number; payload: Buffer }[]): number[] =>
  frames.filter(({ opcode }) => opcode === 8).map(({ payload }) => payload.readUInt16BE());

let backend: RawBackend;
let gateway: ReturnType<typeof serving>;

beforeAll(() => {
  backend = new RawBackend();
  const route = { upstream: backend.url, auth: "none" };
  gateway = serving({
    tiers: { anonymous: { limits: [] } },
    routes: [
      { ...route, path: "/size", name: "size", websocket: { maxMessage: "1kb" } },
      { ...route, path: "/rate", websocket: { maxMessage: null, messagesPerSecond: 2 } },
      { ...route, path: "/free" },
    ],
  });
});
afterAll(async () => {
  await gateway.stop();
  backend.stop();
});

const EXTENSION = "Sec-WebSocket-Extensions: permessage-deflate\r\n";

let client: RawConnection;

async function open(path: string): Promise<void> {
  client = await RawConnection.open(gateway.port);
  client.write(
    `GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n${EXTENSION}\r\n`,
  );
  await client.until("\r\n\r\n");
}

/** The frames that the client got. */
const got = (): { opcode: number; payload: Buffer }[] => {
  const bytes = Buffer.from(client.text, "latin1");
  return framesIn(bytes.subarray(bytes.indexOf("\r\n\r\n") + 4));
};
const text = (payload: string | Uint8Array, isFinal = true) => frameOf({ opcode: 1, payload, isFinal });
const more = (payload: string | Uint8Array, isFinal = true) => frameOf({ opcode: 0, payload, isFinal });

beforeEach(() => {
  client?.close();
});

describe("a route's websocket", () => {
  test("lets through what is within the bounds, as it was sent", async () => {
    await open("/size");
    const sent = Buffer.concat([text("hello"), frameOf({ opcode: 2, payload: new Uint8Array(1024) }), text("a", false), more("b")]);
    // A byte at a time at first: heads come in pieces.
    for (const byte of sent.subarray(0, 20)) {
      client.write(new Uint8Array([byte]));
      await Bun.sleep(1);
    }
    client.write(sent.subarray(20));
    await until(() => backend.received.length >= sent.length);
    expect(backend.received.equals(sent)).toBe(true);
    // Backends may send what they like.
    backend.send(frameOf({ opcode: 2, payload: new Uint8Array(100_000), isMasked: false }));
    await until(() => got().length === 1);
    expect(got()[0]?.payload.length).toBe(100_000);
    client.write(frameOf({ opcode: 8, payload: new Uint8Array([3, 232]) }));
    await until(() => backend.codes.length > 0);
    expect(backend.codes).toEqual([1000]);
    client.close();
    await until(() => backend.isClosed);
  });

  test("closes both sides with 1009 at a message that is too large, of which nothing reaches the backend", async () => {
    await open("/size");
    client.write(Buffer.concat([text("before"), text("x".repeat(1025)), text("behind")]));
    await client.untilClosed();
    expect(codesIn(got())).toEqual([1009]);
    await until(() => backend.codes.length > 0);
    expect(backend.frames.map(({ opcode, payload }) => (opcode === 8 ? payload.readUInt16BE() : payload.toString()))).toEqual([
      "before",
      1009,
    ]);
    backend.end();
    await until(() => backend.isClosed);
    const metrics = await (await fetch(`${gateway.url}/metrics`)).text();
    expect(metrics).toContain('sluice_websockets_closed_total{route="size",code="1009"} 1');
  });

  test("counts the fragments of a message together, and sees through their heads", async () => {
    await open("/size");
    client.write(Buffer.concat([text("x".repeat(600), false), frameOf({ opcode: 9, payload: "" }), more("y".repeat(425))]));
    await client.untilClosed();
    expect(codesIn(got())).toEqual([1009]);
    await until(() => backend.codes.length > 0);
    expect(backend.frames.map(({ opcode }) => opcode)).toEqual([1, 9, 8]);
  });

  test("closes with 1008 at a message too many, and lets compression through where only the number counts", async () => {
    await open("/rate");
    expect(backend.head.toLowerCase()).toContain("permessage-deflate");
    client.write(Buffer.concat(["one", "two", "three", "four"].map((each) => text(each))));
    await client.untilClosed();
    expect(codesIn(got())).toEqual([1008]);
    await until(() => backend.codes.length > 0);
    expect(backend.frames.slice(0, -1).map(({ payload }) => payload.toString())).toEqual(["one", "two"]);
    expect(backend.codes).toEqual([1008]);
  });

  test("counts frames that are no messages, but not the answers to the backend's pings", async () => {
    await open("/rate");
    const pong = frameOf({ opcode: 10, payload: "" });
    for (let i = 1; i <= 4; i++) {
      backend.send(frameOf({ opcode: 9, payload: "", isMasked: false }));
      await until(() => got().length === i);
      client.write(pong);
      await until(() => backend.frames.length === i);
    }
    client.write(Buffer.concat(Array(100).fill(pong)));
    await client.untilClosed();
    expect(codesIn(got())).toEqual([1008]);
  });

  test("offers backends no compression where it measures messages", async () => {
    await open("/size");
    expect(backend.head.toLowerCase()).not.toContain("sec-websocket-extensions");
    await open("/free");
    expect(backend.head.toLowerCase()).toContain("sec-websocket-extensions: permessage-deflate");
  });

  test("puts its Close behind the frame that the backend is sending", async () => {
    await open("/size");
    const frame = frameOf({ opcode: 2, payload: new Uint8Array(3000).fill(7), isMasked: false });
    backend.send(frame.subarray(0, 1000));
    await until(() => client.text.length > 1000);
    client.write(text("x".repeat(2000)));
    await until(() => backend.codes.length > 0);
    expect(codesIn(got())).toEqual([]);
    // The rest of it goes on; what is behind it does not.
    backend.send(Buffer.concat([frame.subarray(1000), frameOf({ opcode: 1, payload: "late", isMasked: false })]));
    await client.untilClosed();
    expect(got().map(({ opcode, payload }) => [opcode, opcode === 8 ? payload.readUInt16BE() : payload.length])).toEqual([
      [2, 3000],
      [8, 1009],
    ]);
  });

  test("looks at what came with the request, before there was an answer", async () => {
    client = await RawConnection.open(gateway.port);
    const head = "GET /size HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\r\n";
    client.write(Buffer.concat([Buffer.from(head), text("early"), text("x".repeat(1025))]));
    await client.untilClosed();
    expect(client.text).toStartWith("HTTP/1.1 101");
    expect(codesIn(got())).toEqual([1009]);
    await until(() => backend.codes.length > 0);
    expect(backend.frames.map(({ opcode, payload }) => (opcode === 8 ? payload.readUInt16BE() : payload.toString()))).toEqual([
      "early",
      1009,
    ]);
  });

  test("tells a client that is still sending, and a backend that does not answer is closed all the same", async () => {
    await open("/size");
    const large = text(new Uint8Array(20_000_000));
    client.write(large);
    await client.untilClosed();
    expect(codesIn(got())).toEqual([1009]);
    expect(backend.codes).toEqual([1009]);
    client.close();
    await until(() => backend.isClosed);
  });

  test("a backend that closes leaves the client its Close", async () => {
    await open("/size");
    backend.send(frameOf({ opcode: 8, payload: new Uint8Array([0x0f, 0xa1]), isMasked: false }));
    backend.end();
    await client.untilClosed();
    expect(codesIn(got())).toEqual([4001]);
  });
});

test("a real client sees the code, and so does a real backend", async () => {
  const closed = Promise.withResolvers<number>();
  const server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch: (request, self) => (self.upgrade(request, { data: undefined }) ? undefined : new Response("no")),
    websocket: { message: (socket, message) => void socket.send(message), close: (_socket, code) => closed.resolve(code) },
  });
  const own = serving({
    tiers: { anonymous: { limits: [] } },
    routes: [{ path: "/", upstream: `http://127.0.0.1:${server.port}`, auth: "none", websocket: { maxMessage: "1kb" } }],
  });
  try {
    const socket = new WebSocket(own.url.replace("http", "ws"));
    const seen = Promise.withResolvers<CloseEvent>();
    const echoed = Promise.withResolvers<unknown>();
    socket.onclose = (event) => seen.resolve(event);
    socket.onmessage = ({ data }) => echoed.resolve(data);
    socket.onopen = () => socket.send("x".repeat(1000));
    expect(await echoed.promise).toBe("x".repeat(1000));
    socket.send("x".repeat(1025));
    const { code, reason } = await seen.promise;
    expect([code, reason, await closed.promise]).toEqual([1009, "message too large", 1009]);
  } finally {
    await own.stop();
    await server.stop(true);
  }
});
