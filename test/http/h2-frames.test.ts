// What no client would send, and what those would who mean harm.
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { Crowd } from "../../src/http/crowd.ts";
import { Budget } from "../../src/http/h2/budget.ts";
import { CutOffs } from "../../src/http/h2/cut-offs.ts";
import { ALLOWED, FrameWatch } from "../../src/http/h2/frame-watch.ts";
import { ERROR, FLAG, FRAME, PREFACE } from "../../src/http/h2/frames.ts";
import { http2Works } from "../../src/http/h2/self-test.ts";
import type { Incoming } from "../../src/http/incoming.ts";
import type { HttpServer } from "../../src/http/server.ts";
import { block, FrameConnection, frame, request } from "../support/http2.ts";
import { echo, server, text } from "../support/relay.ts";
import { until } from "../support/until.ts";

const hi = (incoming: Incoming): void => incoming.reply(text(200, "hi"));
const causes = ({ crowd }: HttpServer): Record<string, number> =>
  Object.fromEntries(Object.entries(crowd.cutOffs.counts).filter(([, count]) => count > 0));
const times = (count: number, make: (i: number) => Buffer): Buffer => Buffer.concat(Array.from({ length: count }, (_, i) => make(i)));
const reset = (id: number): Buffer => frame(FRAME.rstStream, 0, id, Buffer.from([0, 0, 0, 8]));

describe("a client of HTTP/2 that floods is cut off", () => {
  test.each([
    [
      "resets of streams that are not answered",
      "resets",
      times(10_000, (i) =>
        Buffer.concat([frame(FRAME.headers, FLAG.endHeaders | FLAG.endStream, 2 * i + 1, block(request("/hang"))), reset(2 * i + 1)]),
      ),
    ],
    ["SETTINGS", "settings", times(2000, () => frame(FRAME.settings, 0, 0))],
    ["PINGs", "pings", times(2000, () => frame(FRAME.ping, 0, 0, Buffer.alloc(8)))],
    ["PRIORITY", "frames", times(20_000, () => frame(FRAME.priority, 0, 1, Buffer.from([0, 0, 0, 0, 1])))],
    ["frames of unknown types", "frames", times(20_000, () => frame(250, 0, 0))],
    ["WINDOW_UPDATE", "frames", times(20_000, () => frame(FRAME.windowUpdate, 0, 0, Buffer.from([0, 0, 0, 1])))],
    [
      "DATA without bytes",
      "frames",
      Buffer.concat([
        frame(FRAME.headers, FLAG.endHeaders, 1, block(request("/hang", "POST"))),
        times(20_000, () => frame(FRAME.data, 0, 1)),
      ]),
    ],
    [
      "CONTINUATION without end",
      "headers",
      Buffer.concat([
        frame(FRAME.headers, FLAG.endStream, 1, block(request("/"))),
        times(1000, () => frame(FRAME.continuation, 0, 1, block([["x-a", "a".repeat(1000)]]))),
      ]),
    ],
    [
      "CONTINUATION without bytes",
      "headers",
      Buffer.concat([frame(FRAME.headers, FLAG.endStream, 1, block(request("/"))), times(1000, () => frame(FRAME.continuation, 0, 1))]),
    ],
    [
      "streams above the number that may be open",
      "streams",
      times(3000, (i) => frame(FRAME.headers, FLAG.endHeaders | FLAG.endStream, 2 * i + 1, block(request("/hang")))),
    ],
  ])("by %s", async (_, cause, bytes) => {
    await using it = server((incoming) => (incoming.head.target === "/hang" ? void 0 : hi(incoming)));
    const client = await FrameConnection.open(it.port);
    client.write(bytes);
    expect(await client.goAwayCode()).toBe(ERROR.enhanceYourCalm);
    expect(causes(it)).toEqual({ [cause]: 1 });
    await until(() => it.inFlight === 0);
    client.close();
    await until(() => it.connections.size === 0);
  });

  test("by fields that never end", async () => {
    await using it = server(hi);
    const client = await FrameConnection.open(it.port);
    client.write(frame(FRAME.headers, FLAG.endStream, 1, block(request("/"))));
    await client.frame(FRAME.settings);
    const [connection] = it.connections;
    for (let second = 0; second <= 17; second++) connection?.checkDeadline(it.tick + second);
    expect(await client.goAwayCode()).toBe(ERROR.enhanceYourCalm);
    expect(causes(it)).toEqual({ slow: 1 });
    client.close();
  });

  test("but not by what people's clients do", async () => {
    await using it = server(hi);
    const client = await FrameConnection.open(it.port);
    for (let i = 0; i < 900; i++) {
      client.headers(2 * i + 1, request("/"));
      client.write(frame(FRAME.windowUpdate, 0, 0, Buffer.from([0, 0, 1, 0])));
      if (i % 10 === 0) await client.frame(FRAME.data, 2 * i + 1);
    }
    await client.frame(FRAME.data, 1799);
    expect(causes(it)).toEqual({});
    client.close();
  });
});

describe("a client that breaks the rules of frames is ended, with the code that says why", () => {
  test.each([
    ["content of a stream that nobody has opened", [frame(FRAME.data, 0, 1, Buffer.from("x"))], ERROR.protocol],
    ["a stream with an even id", [frame(FRAME.headers, 5, 2, block(request("/")))], ERROR.protocol],
    ["a frame that is too long", [frame(FRAME.data, 0, 1, Buffer.alloc(16_385))], ERROR.frameSize],
    [
      "another frame within fields",
      [frame(FRAME.headers, 1, 1, block(request("/"))), frame(FRAME.ping, 0, 0, Buffer.alloc(8))],
      ERROR.protocol,
    ],
    ["CONTINUATION of nothing", [frame(FRAME.continuation, 4, 1, block(request("/")))], ERROR.protocol],
    ["fields that can't be unpacked", [frame(FRAME.headers, 5, 1, Buffer.from([0xff, 0xff, 0xff, 0xff, 0xff]))], ERROR.protocol],
  ] as const)("%s", async (_, frames, code) => {
    await using it = server(hi);
    const client = await FrameConnection.open(it.port);
    client.write(...frames);
    expect(await client.goAwayCode()).toBe(code);
    expect(causes(it)).toEqual({});
    client.close();
    await until(() => it.connections.size === 0);
  });

  test("a stream that was opened before", async () => {
    await using it = server(hi);
    const client = await FrameConnection.open(it.port);
    client.headers(5, request("/"));
    await client.frame(FRAME.data, 5);
    client.headers(3, request("/"));
    expect(await client.goAwayCode()).toBe(ERROR.streamClosed);
    client.close();
  });

  test("content behind the end", async () => {
    await using it = server(() => {});
    const client = await FrameConnection.open(it.port);
    client.headers(1, request("/", "POST"));
    client.write(frame(FRAME.data, 0, 1, Buffer.from("x")));
    expect(await client.goAwayCode()).toBe(ERROR.streamClosed);
    client.close();
  });
});

test("content behind the end of a stream that is over ends the connection as well", async () => {
  await using it = server(hi);
  const client = await FrameConnection.open(it.port);
  client.headers(1, request("/"));
  await client.frame(FRAME.data, 1);
  await until(() => it.inFlight === 0);
  client.write(frame(FRAME.data, 0, 1, Buffer.from("x")));
  expect(await client.goAwayCode()).toBe(ERROR.streamClosed);
  client.close();
});

describe("a request that breaks the rules of HTTP/2 is reset, and its connection goes on", () => {
  const POST = (length: string): [string, string][] => [...request("/", "POST"), ["content-length", length]];
  test.each([
    ["a name with capitals", [...request("/"), ["X-A", "1"]], null],
    ["a field of HTTP/1.1", [...request("/"), ["transfer-encoding", "chunked"]], null],
    ["Connection", [...request("/"), ["connection", "close"]], null],
    ["another TE than trailers", [...request("/"), ["te", "gzip"]], null],
    ["a line break in a value", [...request("/"), ["x-a", "1\r\nx-b: 2"]], null],
    ["a pseudo-header field behind others", [["x-a", "1"], ...request("/")], null],
    ["an unknown pseudo-header field", [...request("/"), [":protocol", "websocket"]], null],
    ["less content than stated", POST("5"), [frame(FRAME.data, FLAG.endStream, 1, Buffer.from("abc"))]],
    ["more content than stated", POST("2"), [frame(FRAME.data, FLAG.endStream, 1, Buffer.from("abc"))]],
    ["content where none is stated", POST("0"), [frame(FRAME.data, FLAG.endStream, 1, Buffer.from("abc"))]],
    ["no content where some is stated", POST("5"), null],
  ] as [string, [string, string][], Buffer[] | null][])("%s", async (_, fields, frames) => {
    const seen: string[] = [];
    await using it = server((incoming) => {
      if (incoming.head.target === "/ok") return hi(incoming);
      incoming.body?.start({ write: () => true, end: () => void seen.push("whole"), fail: () => {} });
    });
    const client = await FrameConnection.open(it.port);
    client.headers(1, fields, frames === null);
    if (frames !== null) client.write(...frames);
    expect((await client.frame(FRAME.rstStream, 1)).payload.readUInt32BE()).toBe(ERROR.protocol);
    client.headers(3, request("/ok"));
    await client.frame(FRAME.data, 3);
    expect(seen).toEqual([]);
    client.close();
    await until(() => it.inFlight === 0);
  });

  test.each([
    ["a path without a slash", request("x")],
    ["a host that is none", request("/").with(2, [":authority", "a b"])],
    ["two hosts", [...request("/"), ["host", "other"]]],
    ["a length that is none", [...request("/"), ["content-length", "x"]]],
  ] as [string, [string, string][]][])("or answered where HTTP/1.1 would: %s", async (_, fields) => {
    await using it = server(() => {
      throw new Error("this must not be handled");
    });
    const client = await FrameConnection.open(it.port);
    client.headers(1, fields);
    const ends = () => client.frames.find(({ type, id }) => id === 1 && (type === FRAME.data || type === FRAME.rstStream));
    await until(() => ends() !== undefined);
    client.close();
  });

  test("fields that are too large get 431, and much larger ones a reset", async () => {
    await using it = server(echo, { maxHeaderSize: 2000 });
    const client = await FrameConnection.open(it.port);
    client.headers(1, [...request("/"), ["x-a", "a".repeat(2000)]]);
    expect((await client.frame(FRAME.data, 1)).payload.toString()).toContain("larger than 2000 bytes");
    client.headers(3, [...request("/"), ["x-a", "a".repeat(15_000)], ["x-b", "b".repeat(1000)]]);
    expect((await client.frame(FRAME.data, 3)).payload.toString()).toContain("larger than 2000 bytes");
    client.headers(5, [...request("/"), ["x-a", "a".repeat(1000)]]);
    expect((await client.frame(FRAME.data, 5)).payload.toString()).toContain("aaaa");
    client.close();
  });
});

test("what a connection's bodies hold is bounded: it is read no further, and goes on when they are taken over", async () => {
  const waiting: Incoming[] = [];
  await using it = server((incoming) => (incoming.body === null ? hi(incoming) : void waiting.push(incoming)));
  const client = await FrameConnection.open(it.port);
  await client.frame(FRAME.settings);
  const before = process.memoryUsage.rss();
  // As much as each stream's window lets through, with the connection's window given back as it comes.
  let sent = 0;
  const isPaused = (): boolean => [...it.connections].some((connection) => Reflect.get(connection, "isPaused") === true);
  const isGiven = (): boolean =>
    65_535 +
      client.frames
        .filter(({ type, id }) => type === FRAME.windowUpdate && id === 0)
        .reduce((sum, { payload }) => sum + payload.readUInt32BE(), 0) >=
    sent + 49_152;
  for (let i = 0; i < 200 && !isPaused(); i++) {
    await until(() => isGiven() || isPaused());
    if (!isGiven()) break;
    client.headers(2 * i + 1, request("/", "POST"), false);
    client.write(times(3, () => frame(FRAME.data, 0, 2 * i + 1, Buffer.alloc(16_384))));
    sent += 49_152;
  }
  expect(isPaused()).toBe(true);
  await until(() => waiting.length > 50);
  expect(process.memoryUsage.rss() - before).toBeLessThan(100_000_000);
  const { length } = waiting;
  for (const incoming of waiting.slice()) incoming.reply(text(413, "no"));
  await until(() => client.frames.filter(({ type }) => type === FRAME.data).length >= length && !isPaused());
  client.close();
  await until(() => it.inFlight === 0);
});

test("padding is not held against a body that is taken over", async () => {
  let got = 0;
  await using it = server((incoming) =>
    incoming.body?.start({
      write: (bytes) => {
        got += bytes.length;
        return true;
      },
      end: () => incoming.reply(text(200, "all")),
      fail: () => {},
    }),
  );
  const client = await FrameConnection.open(it.port);
  client.headers(1, request("/", "POST"), false);
  const part = frame(FRAME.data, FLAG.padded, 1, Buffer.alloc(256, 245));
  // More padding in all than a connection's bodies may hold.
  for (let sent = 0; sent < 20_000; sent += 200) {
    client.write(times(200, () => part));
    await until(() => got === (sent + 200) * 10);
  }
  client.write(frame(FRAME.data, FLAG.padded | FLAG.endStream, 1, Buffer.from([2, 0, 0])));
  expect((await client.frame(FRAME.data, 1)).payload.toString()).toBe("all");
  client.close();
});

describe("what is counted", () => {
  test("is the same in whatever pieces the frames come", () => {
    const kinds = fc.constantFrom("headers", "reset", "ping", "settings", "data", "padded", "update", "priority");
    fc.assert(
      fc.property(fc.array(kinds, { maxLength: 60 }), fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1 }), (sent, sizes) => {
        let id = -1;
        const bytes = Buffer.concat([
          PREFACE,
          ...sent.map((kind) => {
            switch (kind) {
              case "headers":
                id += 2;
                return frame(FRAME.headers, FLAG.endHeaders, id, block(request("/")));
              case "reset":
                return id < 0 ? Buffer.alloc(0) : reset(id);
              case "ping":
                return frame(FRAME.ping, 0, 0, Buffer.alloc(8));
              case "settings":
                return frame(FRAME.settings, 0, 0, Buffer.alloc(6));
              case "data":
                return id < 0 ? Buffer.alloc(0) : frame(FRAME.data, 0, id, Buffer.alloc(33));
              case "padded":
                return id < 0 ? Buffer.alloc(0) : frame(FRAME.data, FLAG.padded, id, Buffer.alloc(33, 7));
              case "update":
                return frame(FRAME.windowUpdate, 0, 0, Buffer.from([0, 0, 0, 9]));
              default:
                return frame(FRAME.priority, 0, 1, Buffer.alloc(5));
            }
          }),
        ]);
        const told = (pieces: Buffer[]) => {
          const seen: (number | string)[] = [];
          const streams = {
            open: 0,
            isUnanswered: () => true,
            mayReset: () => seen.push("reset") > 0,
            arrives: (of: number, size: number) => seen.push(of, size) > 0,
            isPadded: (of: number, size: number) => seen.push("padded", of, size),
          };
          const watch = new FrameWatch(streams, () => 16_384, 250);
          for (const piece of pieces) expect(watch.read(piece, 0)).toBeNull();
          return { seen, last: watch.last, isSilent: watch.isSilent, isInFields: watch.isInFields };
        };
        const pieces: Buffer[] = [];
        for (let at = 0, i = 0; at < bytes.length; i++) {
          const size = sizes[i % sizes.length] as number;
          pieces.push(bytes.subarray(at, at + size));
          at += size;
        }
        expect(told(pieces)).toEqual(told([bytes]));
        expect(told([bytes])).toMatchObject({ last: Math.max(id, 0), isSilent: false, isInFields: false });
      }),
    );
  });

  test("fills again by the second", () => {
    fc.assert(
      fc.property(fc.array(fc.nat({ max: 3 }), { maxLength: 200 }), (waits) => {
        const budget = new Budget({ burst: 20, perSecond: 2 });
        let [now, taken] = [0, 0];
        for (const wait of waits) {
          now += wait;
          if (budget.take(now)) taken++;
          expect(taken).toBeLessThanOrEqual(20 + 2 * now);
        }
      }),
    );
    const budget = new Budget({ burst: 2, perSecond: 1 });
    expect([budget.take(0), budget.take(0), budget.take(0), budget.take(1), budget.take(1)]).toEqual([true, true, false, true, false]);
    budget.credit(1);
    expect(budget.take(1)).toBe(true);
  });

  test("credits who gets much: it may ask for more, and measure the way", () => {
    const watch = new FrameWatch(
      { open: 0, isUnanswered: () => false, mayReset: () => true, arrives: () => true, isPadded: () => {} },
      () => 16_384,
      250,
    );
    watch.read(PREFACE, 0);
    const ping = frame(FRAME.ping, 0, 0, Buffer.alloc(8));
    for (let i = 0; i < 10 * ALLOWED.pings.burst; i++) {
      if (i % ALLOWED.pings.burst === 0) watch.sent(1);
      expect(watch.read(ping, 0)).toBeNull();
    }
    expect(
      watch.read(
        times(ALLOWED.pings.burst, () => ping),
        0,
      ),
    ).toEqual({ code: ERROR.enhanceYourCalm, cause: "pings" });
  });
});

describe("an address that goes on with it", () => {
  const at = (ip: string, now = { value: 0 }) => ({
    ip,
    now,
    cutOffs: new CutOffs(
      (shared) => shared === "127.0.0.1",
      () => now.value,
    ),
  });

  test("gets no HTTP/2 for a minute after five times, and the whole /64 where it has one", () => {
    const { cutOffs, now } = at("2001:db8::1");
    for (let i = 0; i < 5; i++) {
      expect(cutOffs.isBarred("2001:db8::1")).toBe(false);
      expect(cutOffs.note("pings", `2001:db8::${i}`)).toBe(i === 0);
    }
    expect([cutOffs.isBarred("2001:db8::99"), cutOffs.isBarred("2001:db8:1::1")]).toEqual([true, false]);
    now.value = 61_000;
    expect(cutOffs.isBarred("2001:db8::1")).toBe(false);
    expect(cutOffs.counts.pings).toBe(5);
  });

  test("may reset only so many streams over all its connections; one that many share is judged by connection", () => {
    const { cutOffs } = at("192.0.2.1");
    const many = (ip: string) => Array.from({ length: 20_000 }, () => cutOffs.mayReset(ip)).filter(Boolean).length;
    expect([many("192.0.2.1"), many("192.0.2.2"), many("127.0.0.1")]).toEqual([10_000, 10_000, 20_000]);
    for (let i = 0; i < 10; i++) cutOffs.note("pings", "127.0.0.1");
    expect(cutOffs.isBarred("127.0.0.1")).toBe(false);
  });

  test("is remembered among a bounded number", () => {
    const { cutOffs, now } = at("");
    for (let i = 0; i < 20_000; i++) cutOffs.note("pings", `10.0.${i >> 8}.${i & 255}`);
    // Of those that are not, one a second is told.
    now.value = 1000;
    expect([cutOffs.note("pings", "192.0.2.1"), cutOffs.note("pings", "192.0.2.2")]).toEqual([true, false]);
    now.value = 62_000;
    expect([cutOffs.note("pings", "192.0.2.1"), cutOffs.note("pings", "192.0.2.1")]).toEqual([true, false]);
  });

  test("is told, in HTTP/2, that it gets none", async () => {
    const crowd = new Crowd({ maxConnections: 100, maxConnectionsPerAddress: 100 });
    await using it = server(hi, { crowd });
    crowd.cutOffs.isBarred = () => true;
    const client = await FrameConnection.open(it.port);
    expect(await client.goAwayCode()).toBe(ERROR.enhanceYourCalm);
    expect(causes(it)).toEqual({ address: 1 });
    expect(await (await fetch(`http://127.0.0.1:${it.port}/`)).text()).toBe("hi");
    client.close();
  });
});

test("where node:http2 is not what it should be, clients are told to come by HTTP/1.1", async () => {
  expect(await http2Works()).toBe(true);
  await using it = server(hi);
  it.speaksHttp2 = false;
  const client = await FrameConnection.open(it.port);
  expect(await client.goAwayCode()).toBe(ERROR.http11Required);
  client.close();
});

test("an idle connection of HTTP/2 makes room for another, as one of HTTP/1.1 does", async () => {
  const crowd = new Crowd({ maxConnections: 1, maxConnectionsPerAddress: 10 });
  await using it = server((incoming) => (incoming.head.target === "/hang" ? void 0 : hi(incoming)), { crowd });
  const first = await FrameConnection.open(it.port);
  first.headers(1, request("/"));
  await first.frame(FRAME.data, 1);
  const second = await FrameConnection.open(it.port);
  expect(await first.goAwayCode()).toBe(ERROR.none);
  second.headers(1, request("/hang"));
  await until(() => it.inFlight === 1);
  // One that is asked something is kept.
  const third = await FrameConnection.open(it.port);
  await third.raw.untilClosed();
  expect([crowd.closedEarly.total, crowd.refused.total, it.inFlight]).toEqual([1, 1, 1]);
  for (const client of [first, second, third]) client.close();
  await until(() => it.connections.size === 0 && crowd.open === 0 && it.inFlight === 0);
});
