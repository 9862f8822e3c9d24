import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { tracesUrl } from "../../src/telemetry/otlp.ts";
import { SpanQueue } from "../../src/telemetry/span-queue.ts";
import type { Span } from "../../src/telemetry/spans.ts";
import { parseTraceparent, type TraceContext, Tracer } from "../../src/telemetry/trace.ts";
import type { Target } from "../../src/upstreams/upstream.ts";

const TRACE = "0af7651916cd43dd8448eb211c80319c";
const SPAN = "b7ad6b7169203331";
const TARGET = { url: "http://users-1:8001", host: "users-1:8001" } as Target;

describe("a traceparent", () => {
  test("is read as W3C Trace Context says", () => {
    const rows: [string | null, TraceContext | null][] = [
      [`00-${TRACE}-${SPAN}-01`, { traceId: TRACE, spanId: SPAN, flags: 1 }],
      [`00-${TRACE}-${SPAN}-00`, { traceId: TRACE, spanId: SPAN, flags: 0 }],
      [`cc-${TRACE}-${SPAN}-03-what-the-future-brings`, { traceId: TRACE, spanId: SPAN, flags: 3 }],
      [`00-${TRACE}-${SPAN}-01-more`, null],
      [`ff-${TRACE}-${SPAN}-01`, null],
      [`00-${"0".repeat(32)}-${SPAN}-01`, null],
      [`00-${TRACE}-${"0".repeat(16)}-01`, null],
      [`00-${TRACE.toUpperCase()}-${SPAN}-01`, null],
      [`00-${TRACE}-${SPAN}-01, 00-${TRACE}-${SPAN}-01`, null],
      [`00-${TRACE}-${SPAN}`, null],
      ["", null],
      [null, null],
    ];
    for (const [text, wanted] of rows) expect([text, parseTraceparent(text)]).toEqual([text, wanted]);
    fc.assert(fc.property(fc.string(), (text) => parseTraceparent(text) === null));
  });
});

describe("a trace", () => {
  const tracer = (sample: number, random = 0.5) => new Tracer({ sample, random: () => random });

  test("follows its caller's, and what the caller decided", () => {
    const trace = tracer(0).begin(`00-${TRACE}-${SPAN}-01`);
    expect([trace?.traceId, trace?.parentId, trace?.isSampled]).toEqual([TRACE, SPAN, true]);
    expect(trace?.header).toBe(`00-${TRACE}-${trace?.spanId}-01`);
    expect(tracer(1).begin(`00-${TRACE}-${SPAN}-00`)).toBeNull();
  });

  test("begins here where the caller sends none, or none that can be read; the share decides whether it is recorded", () => {
    for (const sent of [null, "nonsense"]) {
      const recorded = tracer(0.6).begin(sent);
      expect([recorded?.parentId, recorded?.isSampled, recorded?.header.slice(-3)]).toEqual([null, true, "-01"]);
      const not = tracer(0.5).begin(sent);
      expect([not?.isSampled, not?.header.slice(-3)]).toEqual([false, "-00"]);
      not?.enter("limits", 1);
      expect(not?.steps).toEqual([]);
    }
  });

  test("has ids that are never the same, and of the right form", () => {
    const seen = new Set<string>();
    for (let i = 0; i < 2000; i++) {
      const trace = tracer(1).begin(null);
      expect(parseTraceparent(trace?.header ?? "")).not.toBeNull();
      seen.add(trace?.traceId ?? "").add(trace?.spanId ?? "");
    }
    expect(seen.size).toBe(4000);
  });

  test("ends what is still under way: an attempt was given up, and nothing that comes later changes it", () => {
    const trace = tracer(1).begin(null);
    trace?.sends("users", TARGET, 1, "GET", 10);
    trace?.end(15);
    trace?.answered(null, "aborted", 20);
    expect(trace?.steps).toMatchObject([{ endedAt: 15, isError: true, attributes: { "error.type": "aborted" } }]);
  });

  test("passes on no flags that it does not know, and none of its own for a request in its wake", () => {
    const trace = tracer(1).begin(`cc-${TRACE}-${SPAN}-ff-more`);
    expect(trace?.header.slice(-3)).toBe("-03");
    expect(trace?.detached().header).toMatch(new RegExp(`^00-${TRACE}-[0-9a-f]{16}-00$`));
  });

  test("gives each attempt a span, whose id the backend gets", () => {
    const trace = tracer(1).begin(`00-${TRACE}-${SPAN}-01`);
    if (trace === null) throw new Error("no trace");
    trace.enter("limits", 10);
    trace.leave(11, { "sluice.allowed": true });
    trace.sends("users", TARGET, 1, "GET", 12);
    const first = trace.header;
    trace.answered(null, "reset", 15);
    trace.sends("users", TARGET, 2, "GET", 20);
    const second = trace.header;
    trace.answered(200, null, 22);
    expect(trace.steps.map(({ name, startedAt, endedAt, isError }) => [name, startedAt, endedAt, isError])).toEqual([
      ["limits", 10, 11, false],
      ["GET users", 12, 15, true],
      ["GET users", 20, 22, false],
    ]);
    expect(trace.steps.map(({ attributes }) => attributes)).toMatchObject([
      { "sluice.allowed": true },
      { "server.address": "users-1", "server.port": 8001, "error.type": "reset" },
      { "http.request.resend_count": 1, "http.response.status_code": 200 },
    ]);
    expect([first, second]).toEqual([`00-${TRACE}-${trace.steps[1]?.spanId}-01`, `00-${TRACE}-${trace.steps[2]?.spanId}-01`]);
  });

  test("names a Unix socket by its path", () => {
    const trace = tracer(1).begin(`00-${TRACE}-${SPAN}-01`);
    trace?.sends("app", { url: "unix:/run/app.sock:/v1", host: "localhost" } as Target, 1, "GET", 12);
    trace?.answered(200, null, 22);
    expect(trace?.steps[0]?.attributes["server.address"]).toBe("/run/app.sock");
    expect(trace?.steps[0]?.attributes["server.port"]).toBeUndefined();
  });
});

describe("spans on their way", () => {
  const span = { name: "a" } as Span;
  const wait = async (until: () => boolean) => {
    while (!until()) await Bun.sleep(1);
  };

  test("go in batches; a collector that takes none costs spans, not requests, and is told of once", async () => {
    const batches: number[] = [];
    const told: [boolean, string][] = [];
    let isUp = true;
    const counts = { sent: 0, dropped: 0 };
    const queue = new SpanQueue({
      counts,
      sender: async () => ({
        send: async (spans) => {
          batches.push(spans.length);
          if (!isUp) throw new Error("refused");
        },
        close: async () => {},
      }),
      onChange: (...change) => void told.push(change),
    });
    for (let i = 0; i < 512; i++) queue.add([span]);
    await wait(() => counts.sent === 512);
    isUp = false;
    for (let i = 0; i < 1024; i++) queue.add([span]);
    await wait(() => counts.dropped === 1024);
    isUp = true;
    for (let i = 0; i < 512; i++) queue.add([span]);
    await wait(() => counts.sent === 1024);
    expect(told).toEqual([
      [false, "refused"],
      [true, ""],
    ]);
    expect(Math.max(...batches)).toBe(512);
    queue.add([span, span]);
    await queue.close(1000);
    expect(counts).toEqual({ sent: 1026, dropped: 1024 });
    queue.add([span]);
    expect(counts.dropped).toBe(1025);
  });

  test("are bounded while the collector is silent, and an end does not wait for it", async () => {
    const counts = { sent: 0, dropped: 0 };
    const queue = new SpanQueue({
      counts,
      sender: async () => ({ send: () => new Promise(() => {}), close: () => new Promise(() => {}) }),
      onChange: () => {},
    });
    for (let i = 0; i < 10_000; i++) queue.add([span]);
    // Neither does it wait for the exporter's own end.
    expect(counts.dropped).toBe(10_000 - 8192 - 512);
    await queue.close(1);
  });

  test("go one batch at a time, however often the collector fails: what is on its way stays bounded", async () => {
    const counts = { sent: 0, dropped: 0 };
    let [underWay, max] = [0, 0];
    const send = async () => {
      max = Math.max(max, ++underWay);
      await Bun.sleep(2);
      underWay--;
      throw new Error("refused");
    };
    const queue = new SpanQueue({ counts, sender: async () => ({ send, close: async () => {} }), onChange: () => {} });
    for (let i = 0; i < 20; i++) {
      for (let k = 0; k < 600; k++) queue.add([span]);
      await Bun.sleep(1);
    }
    await queue.close(5000);
    expect([max, counts]).toEqual([1, { sent: 0, dropped: 12_000 }]);
  });

  test("are given up where what sends them can't be made, and an end goes on all the same", async () => {
    const counts = { sent: 0, dropped: 0 };
    const queue = new SpanQueue({ counts, sender: () => Promise.reject(new Error("no such place")), onChange: () => {} });
    queue.add([span]);
    await queue.close(1000);
    expect(counts).toEqual({ sent: 0, dropped: 1 });
  });

  test("go to the collector's place for traces", () => {
    expect(["http://c:4318", "http://c:4318/", "https://c/otlp", "http://c/v1/traces"].map(tracesUrl)).toEqual([
      "http://c:4318/v1/traces",
      "http://c:4318/v1/traces",
      "https://c/otlp/v1/traces",
      "http://c/v1/traces",
    ]);
  });
});
