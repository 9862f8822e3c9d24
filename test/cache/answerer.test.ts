import { describe, expect, test } from "bun:test";
import { Caching } from "../../src/cache/answerer.ts";
import { CacheStore } from "../../src/cache/store.ts";
import type { Answer } from "../../src/exchange/answer.ts";
import type { Arrival, Exchange } from "../../src/exchange/exchange.ts";
import { UpstreamFailure, type UpstreamResponse } from "../../src/http/client.ts";
import { NoTarget } from "../../src/upstreams/no-target.ts";
import { FakeClock } from "../support/clock.ts";
import { type Asked, exchangeOn, type FakeExchange, HeldBody, responseOf, routeOf, turn } from "../support/exchange.ts";

/** A request that was passed on to what the cache stands around. */
interface Forwarded {
  readonly exchange: Exchange<Arrival>;
  readonly conditions: string | null;
  /** What was held for it is free again. */
  isFreed: boolean;
  answer(...told: Parameters<typeof responseOf>): Promise<void>;
  fail(error: Error): Promise<void>;
}

/** A cached route whose backend a test plays. */
function cached(config: object | null = {}) {
  const clock = new FakeClock(Date.parse("2026-11-21T00:00:00Z"));
  const faults: unknown[] = [];
  const store = new CacheStore(1_000_000);
  const caching = new Caching({ store, clock, onFault: (error) => faults.push(error) });
  const forwarded: Forwarded[] = [];
  const route = routeOf({ cache: config === null ? null : { ttl: "10s", ...config } });
  const answerer = caching.around(route, (exchange, conditions) => {
    const { promise, resolve, reject } = Promise.withResolvers<UpstreamResponse>();
    const request: Forwarded = {
      exchange,
      conditions,
      isFreed: false,
      answer: (...told) => {
        resolve(responseOf(...told));
        return turn();
      },
      fail: (error) => {
        reject(error);
        return turn();
      },
    };
    exchange.onEnded(() => {
      request.isFreed = true;
    });
    forwarded.push(request);
    return promise;
  });
  const begin = (asked: Asked = {}) => {
    const exchange = exchangeOn(route, clock, asked);
    const answer = answerer(exchange);
    if (answer instanceof Promise) answer.catch(() => {});
    return { exchange, answer, last: forwarded.at(-1) as Forwarded };
  };
  return {
    clock,
    caching,
    store,
    faults,
    forwarded,
    begin,
    /** Sends a request which the backend answers so, if it is asked. */
    ask: async (asked: Asked = {}, ...told: Parameters<typeof responseOf>) => {
      const before = forwarded.length;
      const { exchange, answer } = begin(asked);
      if (forwarded.length > before) await forwarded.at(-1)?.answer(...told);
      return { ...read(await answer), exchange, wasAsked: forwarded.length > before };
    },
  };
}

/** What the caller gets. */
function read(answer: Answer): { kind: Answer["kind"]; status: number; body: string } {
  if (answer.kind === "problem") return { kind: answer.kind, status: answer.problem.status, body: "" };
  if (answer.kind === "gone") return { kind: answer.kind, status: 0, body: "" };
  const { status, body } = answer.kind === "reply" ? answer.reply : answer.response;
  return { kind: answer.kind, status, body: body instanceof Uint8Array ? Buffer.from(body).toString() : "" };
}

const statusOf = ({ cacheHead }: FakeExchange): string => /sluice; (.*)\r\n/.exec(cacheHead)?.[1] ?? "";

describe("a request for what is kept", () => {
  test("is answered at once, and asks nobody", async () => {
    const { ask, begin, clock, forwarded, caching } = cached();
    expect(await ask({}, 200, {}, "one")).toMatchObject({ kind: "forwarded", body: "one" });
    clock.time += 4000;
    const { exchange, answer } = begin();
    expect(answer).not.toBeInstanceOf(Promise);
    expect([read(answer as Answer), statusOf(exchange), exchange.notes.isForwarded]).toEqual([
      { kind: "reply", status: 200, body: "one" },
      "hit; ttl=6",
      false,
    ]);
    expect(exchange.cacheHead).toStartWith("Age: 4\r\n");
    expect([forwarded.length, caching.counts]).toEqual([1, expect.objectContaining({ hits: 1, misses: 1, stored: 1 })]);
  });

  test("gets a part of it, or nothing where it has it already", async () => {
    const { ask } = cached();
    await ask({}, 200, { ETag: '"1"' }, "0123456789");
    expect(await ask({ headers: { Range: "bytes=2-4" } })).toMatchObject({ status: 206, body: "234" });
    expect(await ask({ headers: { Range: "bytes=20-" } })).toMatchObject({ status: 416 });
    expect(await ask({ headers: { "If-None-Match": 'W/"1"' } })).toMatchObject({ status: 304, wasAsked: false });
  });

  test("by HEAD gets what was kept of a GET, and a newer one makes forget it", async () => {
    const { ask } = cached();
    await ask({}, 200, { ETag: '"1"' }, "one");
    expect(await ask({ method: "HEAD" })).toMatchObject({ kind: "reply", status: 200, wasAsked: false });
    await ask({ method: "HEAD", headers: { "Cache-Control": "no-cache" } }, 200, { ETag: '"2"' });
    expect(await ask({}, 200, { ETag: '"2"' }, "two")).toMatchObject({ wasAsked: true, body: "two" });
  });
});

describe("a request for what is not", () => {
  test("is refused where it takes nothing else, in parts as well", async () => {
    const { ask, forwarded } = cached();
    for (const headers of [{}, { Range: "bytes=0-1" }] as Record<string, string>[])
      expect(await ask({ headers: { "Cache-Control": "only-if-cached", ...headers } })).toMatchObject({ kind: "problem", status: 504 });
    expect(forwarded).toEqual([]);
  });

  test("waits for another one that fetches it", async () => {
    const { begin, forwarded, caching } = cached();
    const [first, ...others] = [begin(), begin(), begin()];
    expect(forwarded).toHaveLength(1);
    await first.last.answer(200, {}, "one");
    expect(read(await first.answer)).toMatchObject({ kind: "forwarded", body: "one" });
    for (const { exchange, answer } of others)
      expect([read(await answer), statusOf(exchange)]).toEqual([{ kind: "reply", status: 200, body: "one" }, "fwd=uri-miss; collapsed"]);
    expect([forwarded.length, caching.counts.collapsed]).toEqual([1, 2]);
  });

  test("does not wait for what can't be kept, once that is known", async () => {
    const { begin, forwarded } = cached();
    const [first, second] = [begin(), begin()];
    await first.last.answer(200, { "Cache-Control": "no-store" }, "mine");
    expect(statusOf(first.exchange)).toBe("fwd=uri-miss; fwd-status=200; detail=no-store");
    await forwarded[1]?.answer(200, { "Cache-Control": "no-store" }, "yours");
    expect(read(await second.answer)).toMatchObject({ body: "yours" });
    begin();
    begin();
    expect(forwarded).toHaveLength(4);
  });

  test("goes on by itself when the one that it waits for fails, and leaves with its caller", async () => {
    const { begin, forwarded } = cached();
    const [first, second, third] = [begin(), begin(), begin()];
    third.exchange.leave();
    await first.last.fail(new UpstreamFailure("reset", "broke", true));
    await expect(first.answer).rejects.toMatchObject({ kind: "reset" });
    await expect(third.answer).rejects.toMatchObject({ kind: "aborted" });
    expect(forwarded).toHaveLength(2);
    await forwarded[1]?.answer(200, {}, "one");
    expect(read(await second.answer)).toMatchObject({ body: "one" });
  });

  test("is kept when its body has gone by whole, and not when that breaks off, is too large, or was purged meanwhile", async () => {
    const { begin, caching, store } = cached({ maxEntrySize: "4b" });
    const pass = async (text: string, during: () => void = () => {}, isWhole = true): Promise<number> => {
      const body = new HeldBody();
      const { answer, last } = begin();
      await last.answer(200, {}, body);
      const given = await answer;
      const passed: string[] = [];
      if (given.kind !== "forwarded" || given.response.body === null || given.response.body instanceof Uint8Array)
        throw new Error("no stream");
      given.response.body.start({ write: (bytes) => passed.push(Buffer.from(bytes).toString()) > 0, end: () => {}, fail: () => {} });
      body.write(text);
      during();
      if (isWhole) body.end();
      else body.break();
      expect(passed).toEqual([text]);
      return store.stats.entries;
    };
    expect(await pass("12345")).toBe(0);
    expect(await pass("123", () => {}, false)).toBe(0);
    expect(await pass("1234", () => caching.purge(() => true))).toBe(0);
    expect(await pass("1234")).toBe(1);
  });
});

describe("what is stale", () => {
  const KEPT = { ETag: '"1"', "Cache-Control": "max-age=1, stale-if-error=60" };
  const stale = async (fields: Record<string, string> = KEPT) => {
    const gateway = cached();
    await gateway.ask({}, 200, fields, "old");
    gateway.clock.time += 2000;
    return gateway;
  };

  test("is asked about, and is good again by a 304, which frees the backend at once", async () => {
    const { begin, ask, caching } = await stale();
    const { exchange, answer, last } = begin();
    expect(last.conditions).toBe('If-None-Match: "1"\r\n');
    await last.answer(304, { "Cache-Control": "max-age=9" });
    expect([read(await answer), statusOf(exchange)]).toEqual([{ kind: "reply", status: 200, body: "old" }, "fwd=stale; fwd-status=304"]);
    expect([last.isFreed, caching.counts.revalidated, (await ask()).wasAsked]).toEqual([true, 1, false]);
  });

  test("stands in for an error, whose answer is given up and frees the backend at once", async () => {
    const { begin } = await stale();
    const body = new HeldBody();
    const { exchange, answer, last } = begin();
    let isOver = false;
    exchange.onEnded(() => {
      isOver = true;
    });
    await last.answer(503, {}, body);
    expect([read(await answer), statusOf(exchange)]).toEqual([
      { kind: "reply", status: 200, body: "old" },
      "fwd=stale; fwd-status=503; detail=stale-if-error",
    ]);
    expect([body.isCancelled, last.isFreed]).toEqual([true, true]);
    exchange.end();
    expect(isOver).toBe(true);
  });

  test("stands in where nobody answers, and not for the caller's own fault", async () => {
    const { begin } = await stale();
    for (const error of [new UpstreamFailure("connect", "refused", false), new NoTarget({ code: "circuitOpen", retryIn: 1 })]) {
      const { answer, last } = begin();
      await last.fail(error);
      expect(read(await answer)).toMatchObject({ kind: "reply", body: "old" });
    }
    const { answer, last } = begin();
    await last.fail(new UpstreamFailure("request", "broke off", true));
    await expect(answer).rejects.toMatchObject({ kind: "request" });
  });

  test("frees nothing that was held before the backend was asked", async () => {
    const gateway = await stale();
    const exchange = gateway.begin({ headers: { "Cache-Control": "no-cache" } }).exchange;
    expect(exchange.pendingEndings).toBe(1);
    await gateway.forwarded.at(-1)?.answer(304);
    expect(exchange.pendingEndings).toBe(0);
  });

  test("is given while a new one is fetched once, for nobody who waits", async () => {
    const gateway = await stale({ "Cache-Control": "max-age=1, stale-while-revalidate=60" });
    for (let i = 0; i < 3; i++) expect(read((await gateway.begin({ method: "HEAD" }).answer) as Answer)).toMatchObject({ status: 200 });
    expect(gateway.forwarded).toHaveLength(2);
    const background = gateway.forwarded[1] as Forwarded;
    expect(background.exchange.incoming.head.method).toBe("GET");
    await background.answer(200, { "Cache-Control": "max-age=9" }, "new");
    expect(background.isFreed).toBe(true);
    expect(await gateway.ask()).toMatchObject({ wasAsked: false, body: "new" });
    expect(gateway.faults).toEqual([]);
  });
});

describe("a change", () => {
  test("makes forget its URI and those that it names, with a cache of its own or without", async () => {
    const gateway = cached();
    for (const path of ["/r/a", "/r/b", "/r/c"]) await gateway.ask({ path }, 200, {}, "one");
    await gateway.ask({ method: "PUT" }, 404);
    expect((await gateway.ask()).wasAsked).toBe(false);
    await gateway.ask({ method: "PUT" }, 204, { Location: "/r/b" });
    const asked = [];
    for (const path of ["/r/a", "/r/b", "/r/c"]) asked.push((await gateway.ask({ path }, 200, {}, "two")).wasAsked);
    expect(asked).toEqual([true, true, false]);
  });

  test("keeps out what was fetched before it", async () => {
    const { begin, ask } = cached();
    const { answer, last } = begin();
    await ask({ method: "DELETE" }, 204);
    await last.answer(200, {}, "old");
    await answer;
    expect((await ask({}, 200, {}, "new")).body).toBe("new");
  });

  test("by POST may bring what the next GET gets", async () => {
    const { ask } = cached();
    await ask({ method: "POST", body: "{}" }, 200, { "Content-Location": "/r/a", "Cache-Control": "max-age=5" }, "posted");
    expect(await ask()).toMatchObject({ wasAsked: false, body: "posted" });
  });
});

test("a route without a cache forwards as it is asked", async () => {
  const { begin, ask, caching } = cached(null);
  const { last } = begin({ headers: { "If-None-Match": '"1"' } });
  expect(last.conditions).toBeNull();
  expect(await ask({}, 200, {}, "one")).toMatchObject({ kind: "forwarded", wasAsked: true });
  expect(Object.values(caching.counts).every((count) => count === 0)).toBe(true);
});
