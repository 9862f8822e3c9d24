import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { ANONYMOUS } from "../../src/exchange/caller.ts";
import type { Exchange } from "../../src/exchange/exchange.ts";
import { AccessLog } from "../../src/telemetry/access-log.ts";
import { Log } from "../../src/telemetry/log.ts";
import { Output } from "../../src/telemetry/output.ts";
import { pretty } from "../../src/telemetry/pretty.ts";
import { holdsKey, Redactor, withoutKeys } from "../../src/values/redact.ts";
import { FakeClock } from "../support/clock.ts";

const CONFIG = { level: "info", format: "json", accessLog: true, accessLogSample: 1 } as const;
const KEY = `slc_${"a1B2".repeat(8)}x5Yz9Q`;

function logging(config: object = {}) {
  const written: string[] = [];
  const output = new Output({ write: (text) => written.push(text), flush: () => 0 });
  const clock = new FakeClock(Date.parse("2026-11-21T10:00:00.007Z"));
  const redactor = new Redactor();
  const log = new Log({ output, clock, random: () => 0.5, redactor, level: undefined }, { ...CONFIG, ...config });
  const lines = async () => {
    await output.end(1000);
    return written.join("").split("\n").slice(0, -1);
  };
  return { log, clock, redactor, lines };
}

const MISS = { name: "none" };
const exchange = ({ notes = {}, ...more }: { notes?: object; [field: string]: unknown } = {}): Exchange =>
  ({
    id: "req-1",
    incoming: { head: { method: "GET" }, isAborted: false },
    snapshot: { redactor: new Redactor(), miss: MISS },
    path: "/users/7",
    status: 200,
    route: { name: "users" },
    holder: { via: "key", id: "key_1", consumer: { id: "acme", tier: "pro" } },
    ip: "192.0.2.1",
    target: { url: "http://127.0.0.1:3000" },
    attempts: 1,
    trace: null,
    ...{ model: null, modelUsed: null, tool: null, spending: null, money: 0 },
    notes: { cache: null, refusal: null, authorize: null, trouble: null, grpcStatus: null, tool: null, ...notes },
    ...more,
  }) as unknown as Exchange;

describe("the line of a request", () => {
  test("says what the contract names", async () => {
    const { log, lines } = logging();
    log.accessLog?.note(exchange(), 1.23456);
    expect((await lines()).map((line) => JSON.parse(line))).toEqual([
      {
        level: "info",
        time: "2026-11-21T10:00:00.007Z",
        requestId: "req-1",
        method: "GET",
        path: "/users/7",
        status: 200,
        latencyMs: 1.235,
        route: "users",
        consumer: "acme",
        tier: "pro",
        keyId: "key_1",
        ip: "192.0.2.1",
        upstream: "http://127.0.0.1:3000",
        attempts: 1,
        cache: null,
        msg: "request",
      },
    ]);
  });

  test("is JSON whatever a caller sends, and its time is the clock's", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), fc.string(), fc.integer({ min: 0, max: 4_102_444_800_000 }), (path, consumer, time) => {
        const lines: string[] = [];
        const log = new AccessLog((text) => lines.push(text), {
          clock: new FakeClock(time),
          random: () => 0,
          sample: 1,
          isOfFailures: false,
        });
        log.note(exchange({ path, holder: { via: "key", id: "k", consumer: { id: consumer, tier: "t" } } }), 1);
        const [line = ""] = lines;
        const read = JSON.parse(line);
        expect([read.path, read.consumer, read.time]).toEqual([path, consumer, new Date(time).toISOString()]);
        expect(line.indexOf("\n")).toBe(line.length - 1);
      }),
    );
  });

  test("is sampled where the request succeeded, and always there where it did not", async () => {
    const { log, lines } = logging({ accessLogSample: 0.4 });
    for (const status of [200, 304, 404, 429, 500, 499]) log.accessLog?.note(exchange({ status }), 1);
    expect((await lines()).map((line) => JSON.parse(line).status)).toEqual([404, 429, 500, 499]);
  });

  test("is an error where the request failed: above info there are only such", async () => {
    const { log, lines } = logging({ level: "warn" });
    for (const status of [200, 404, 429, 499, 500, 503]) log.accessLog?.note(exchange({ status }), 1);
    expect((await lines()).map((line) => [JSON.parse(line).level, JSON.parse(line).status])).toEqual([
      ["error", 500],
      ["error", 503],
    ]);
  });

  test("names the code of a refusal and the trace", async () => {
    const { log, lines } = logging();
    log.accessLog?.note(
      exchange({ status: 401, notes: { refusal: { code: "keyInvalid" } }, trace: { traceId: "0af7651916cd43dd8448eb211c80319c" } }),
      1,
    );
    expect(JSON.parse((await lines())[0] ?? "")).toMatchObject({ code: "keyInvalid", traceId: "0af7651916cd43dd8448eb211c80319c" });
  });

  test("names the model and the tool that were called, and what that has cost in dollars", async () => {
    const { log, lines } = logging();
    const spending = {};
    log.accessLog?.note(exchange({ model: "smart", modelUsed: "gpt-5", spending, money: 1_230_001 }), 1);
    log.accessLog?.note(exchange({ model: "gpt-5", modelUsed: "gpt-5", spending }), 1);
    log.accessLog?.note(exchange({ model: "\n".repeat(1000) }), 1);
    log.accessLog?.note(exchange({ tool: `"${KEY}"` }), 1);
    const [smart, same, long, tool] = (await lines()).map((line) => JSON.parse(line));
    expect(smart).toMatchObject({ model: "smart", modelUsed: "gpt-5", cost: 0.001230001, unit: "usd" });
    expect([same.model, same.modelUsed, same.cost]).toEqual(["gpt-5", undefined, 0]);
    expect([long.model, long.cost]).toEqual(["\n".repeat(256), undefined]);
    expect([tool.model, tool.tool.includes(KEY)]).toEqual([undefined, false]);
  });

  test("says what was wrong with the backend, and that the caller left before the end", async () => {
    const { log, lines } = logging();
    log.accessLog?.note(exchange({ status: 502, notes: { trouble: "connection refused" } }), 1);
    log.accessLog?.note(exchange({ incoming: { head: { method: "GET" }, isAborted: true } }), 1);
    expect((await lines()).map((line) => JSON.parse(line))).toMatchObject([{ error: "connection refused" }, { aborted: true }]);
  });

  test("is one for people where that is asked for", () => {
    const { log, lines } = logging({ format: "pretty" });
    const refused = { status: 401, holder: ANONYMOUS, notes: { refusal: { code: "keyMissing" } }, target: null, attempts: 0, route: MISS };
    log.accessLog?.note(exchange(refused), 0.3);
    log.accessLog?.note(exchange({ status: 502, attempts: 3, notes: { cache: "miss", trouble: "connection refused" } }), 1234.5);
    log.accessLog?.note(exchange({ incoming: { head: { method: "GET" }, isAborted: true } }), 61_000);
    return lines().then((text) =>
      expect(text).toEqual([
        "10:00:00 401 GET /users/7 0.3ms keyMissing 192.0.2.1 req-1",
        "10:00:00 502 GET /users/7 1235ms acme 192.0.2.1 cache=miss attempts=3 error=connection refused req-1",
        "10:00:00 200 GET /users/7 61.0s acme 192.0.2.1 aborted=true req-1",
      ]),
    );
  });

  test("is in colour by its status, the request's id dim and last", () => {
    const line =
      '{"level":"info","time":"2026-11-21T10:00:00.007Z","requestId":"req-1","method":"GET","path":"/","status":404,"msg":"request"}';
    expect(pretty(line, true)).toBe("\x1b[2m10:00:00\x1b[0m \x1b[33m404\x1b[0m GET / \x1b[2mreq-1\x1b[0m\n");
  });

  test("is one for people by itself on a terminal, and JSON anywhere else", () => {
    const format = (isTerminal: boolean, wanted: "auto" | "json" | "pretty") =>
      new Log(
        {
          output: new Output({ write: () => 0, flush: () => 0 }),
          clock: new FakeClock(0),
          random: () => 0,
          redactor: new Redactor(),
          level: undefined,
          terminal: { isTerminal, hasColour: false },
        },
        { ...CONFIG, format: wanted },
      ).state.format;
    expect([format(true, "auto"), format(false, "auto"), format(true, "json"), format(false, "pretty")]).toEqual([
      "pretty",
      "json",
      "json",
      "pretty",
    ]);
  });
});

test("a line for people can't be made to look like two", () => {
  const line = pretty(
    `${JSON.stringify({ level: "info", time: "2026-11-21T10:00:00.007Z", reason: "x\n12:00 INFO forged \u001b[31m", msg: "m" })}\n`,
  );
  expect(line).toBe('10:00:00 INFO  m reason="x\\n12:00 INFO forged \\u001b[31m"\n');
});

describe("what is set by hand", () => {
  test("goes before the configuration, outlasts another one, and ends by itself", () => {
    const { log, clock } = logging();
    expect(log.logger.isLevelEnabled("debug")).toBe(false);
    log.set({ level: "debug", accessLogSample: 0 }, 60_000);
    log.configure({ ...CONFIG, level: "error" });
    expect(log.settings).toEqual({ level: "debug", accessLog: true, accessLogSample: 0 });
    expect(log.logger.isLevelEnabled("debug")).toBe(true);
    clock.time += 59_999;
    log.look();
    expect(log.settings.level).toBe("debug");
    clock.time += 1;
    log.look();
    expect([log.settings, log.state.until]).toEqual([{ level: "error", accessLog: true, accessLogSample: 1 }, null]);
    expect(log.logger.isLevelEnabled("warn")).toBe(false);
    log.set({ level: "debug" }, 60_000);
    log.set({ accessLogSample: 0.5 });
    expect(log.state.until).toBe(clock.time + 60_000);
    log.set({}, null);
    expect(log.state.until).toBeNull();
  });

  test("makes no lines of requests where none are wanted", () => {
    const { log } = logging({ accessLog: false });
    expect(log.accessLog).toBeNull();
    log.set({ accessLog: true }, null);
    expect(log.accessLog).not.toBeNull();
    log.set({ level: "fatal" }, null);
    expect(log.accessLog).toBeNull();
    log.reset();
    expect(log.accessLog).toBeNull();
  });
});

describe("secrets", () => {
  test("are taken out of every line, in whatever they stand", async () => {
    const { log, redactor, lines } = logging();
    redactor.learn("test", ["an-imported-key-0123", 'with "quotes" in it', "short"]);
    log.logger.error({ error: `Error: ${KEY} refused\n    at Bearer eyJhbGciOi.x.y, an-imported-key-0123` }, "a fault");
    log.logger.warn(
      { url: "redis://user:pa55word@10.0.0.1:6379/0", headers: { authorization: "Basic dXNlcjpwYXNz" } },
      'with "quotes" in it',
    );
    log.logger.info({ token: "slat_0123456789abcdefghij" }, "short words stay");
    const text = (await lines()).join("\n");
    for (const secret of ["a1B2", "eyJhbGci", "an-imported-key", "pa55word", "user:", "dXNlcjpw", "quotes", "slat_0"])
      expect(text).not.toContain(secret);
    expect(text).toContain("short words stay");
    expect(text).toContain("redis://[redacted]@10.0.0.1:6379/0");
    for (const line of text.split("\n")) expect(() => JSON.parse(line)).not.toThrow();
  });

  test("that are known are taken out of paths, and for no request's id", () => {
    const redactor = new Redactor();
    redactor.learn("a", ["an-imported-key-0123", "an-imported-key-0123-longer"]);
    redactor.learn("b", ["another-secret-0123"]);
    redactor.learn("b", []);
    expect(redactor.clean("/a/an-imported-key-0123-longer/another-secret-0123")).toBe("/a/[redacted]/another-secret-0123");
    const encoded = [..."an-imported-key-0123"].map((char) => `%${char.charCodeAt(0).toString(16)}`).join("");
    expect([redactor.clean(`/a/${encoded}%2f`), redactor.clean("/a%2fb"), redactor.clean(`/a/${encoded}%ff`)]).toEqual([
      "[redacted]",
      "/a%2fb",
      "[redacted]",
    ]);
    expect([redactor.isSecret("an-imported-key-0123"), redactor.isSecret("another-secret-0123"), redactor.isSecret(KEY)]).toEqual([
      true,
      false,
      true,
    ]);
  });

  test("of Sluice's own form are known anywhere, and nothing else is", () => {
    expect(withoutKeys(`/a/${KEY}/b`)).toBe("/a/[redacted]/b");
    expect(withoutKeys(JSON.stringify({ a: `bad\n${KEY}` }))).toBe('{"a":"bad\\n[redacted]"}');
    expect([holdsKey(KEY), holdsKey(`x-${KEY}`), holdsKey("slc_"), holdsKey("muslc_tin"), holdsKey("01a1fdce-be0c-7567")]).toEqual([
      true,
      true,
      false,
      false,
      false,
    ]);
    fc.assert(fc.property(fc.string(), (text) => text.includes("sl") || withoutKeys(text) === text));
  });
});
