import { afterAll, describe, expect, test } from "bun:test";
import fc from "fast-check";
import { UpstreamFailure, type UpstreamResponse } from "../../src/http/client.ts";
import { PoolExhausted } from "../../src/pools/credential.ts";
import { Pools } from "../../src/pools/pools.ts";
import { openStorage } from "../../src/storage/open.ts";
import { Forwarder } from "../../src/upstreams/forwarder.ts";
import { NoTarget } from "../../src/upstreams/no-target.ts";
import { FakeClock } from "../support/clock.ts";
import { type Asked, CountedUpstream, exchangeOn, FakeClient, HeldBody, routeOf, turn } from "../support/exchange.ts";

const URLS = ["http://a.test", "http://b.test", "http://c.test"];
const RETRY = { attempts: 4, baseDelay: "1ms", maxDelay: "1ms", factor: 1, jitter: true };

const storage = openStorage(":memory:");
afterAll(() => storage.close());

/** A forwarder whose backends a test plays. */
function forwarding(config: object = {}, { urls = URLS, breaker = null as object | null } = {}) {
  const clock = new FakeClock();
  const client = new FakeClient();
  const pools = new Pools({ storage, clock, link: null, table: null, isWriter: true, onFault: () => {}, emit: () => {} });
  const keys = ["k1", "k2", "k3"].map((id) => ({ id, limit: 1000, window: "1h" }));
  pools.configure([["p", { strategy: "in-order", auth: "none", services: {}, keys }]]);
  const faults: unknown[] = [];
  const failed: (number | string)[] = [];
  const forwarder = new Forwarder({
    clock,
    client,
    pools,
    random: () => 0,
    onFault: (error) => faults.push(error),
    onFailed: (_id, _upstream, _target, _attempt, why) => failed.push(why instanceof UpstreamFailure ? why.kind : why),
  });
  const upstream = CountedUpstream.of(urls, clock, { breaker });
  const route = routeOf({ retry: RETRY, ...config }, upstream);
  return {
    clock,
    client,
    pools,
    upstream,
    faults,
    failed,
    hosts: () => client.calls.map(({ origin }) => origin.hostname[0]).join(""),
    send: (asked: Asked = {}) => {
      const exchange = exchangeOn(route, clock, asked);
      const answer = forwarder.send(exchange, route, upstream);
      answer.catch(() => {});
      return { exchange, answer };
    },
    /** Each attempt has ended once. */
    expectNothingLeft: () => {
      expect([upstream.inFlight, upstream.told]).toEqual([0, upstream.begun]);
      expect(faults).toEqual([]);
    },
  };
}

describe("an attempt", () => {
  test("keeps its target busy until the exchange ends, however long ago the answer came", async () => {
    const gateway = forwarding();
    const { exchange, answer } = gateway.send();
    (await gateway.client.next()).answer(200, {}, new HeldBody());
    expect((await answer).status).toBe(200);
    expect([gateway.upstream.inFlight, gateway.upstream.told]).toEqual([1, 1]);
    exchange.end();
    exchange.end();
    gateway.expectNothingLeft();
  });

  test("goes to another target at once when it fails, and to as many as the route allows", async () => {
    const gateway = forwarding();
    const { exchange, answer } = gateway.send();
    (await gateway.client.next()).fail("connect");
    const refused = new HeldBody();
    (await gateway.client.next()).answer(503, {}, refused);
    (await gateway.client.next()).answer(200);
    expect((await answer).status).toBe(200);
    expect([gateway.hosts(), gateway.failed, exchange.attempts, refused.isCancelled]).toEqual(["abc", ["connect", 503], 3, true]);
    expect(gateway.upstream.inFlight).toBe(1);
    expect(gateway.client.calls[2]?.request.head).toContain("X-Retry-Count: 2\r\n");
    exchange.end();
    gateway.expectNothingLeft();
  });

  test("that was the last gives the caller what came of it", async () => {
    const gateway = forwarding();
    const answered = gateway.send();
    for (const status of [502, 503, 504, 503]) (await gateway.client.next()).answer(status, { "X-Status": String(status) });
    expect((await answered.answer).status).toBe(503);
    answered.exchange.end();
    const broken = gateway.send();
    for (let i = 0; i < 4; i++) (await gateway.client.next()).fail("reset");
    await expect(broken.answer).rejects.toMatchObject({ kind: "reset" });
    broken.exchange.end();
    expect(gateway.client.calls).toHaveLength(8);
    gateway.expectNothingLeft();
  });

  test("is not repeated for a POST, but where no connection was made", async () => {
    const gateway = forwarding();
    for (const end of ["reset", "connect"] as const) {
      const { exchange, answer } = gateway.send({ method: "POST", body: "{}" });
      (await gateway.client.next()).fail(end);
      if (end === "connect") (await gateway.client.next()).answer(201);
      await answer.catch(() => {});
      exchange.end();
    }
    expect(gateway.client.calls).toHaveLength(3);
    gateway.expectNothingLeft();
  });

  test("by a connection that had been closed counts for nothing: a new one takes its place", async () => {
    const gateway = forwarding({ retry: null }, { urls: ["http://a.test"], breaker: { failureThreshold: 1 } });
    const { exchange, answer } = gateway.send();
    (await gateway.client.next()).fail("reset", { isStale: true });
    const again = await gateway.client.next();
    expect([again.request.reuse, exchange.attempts, gateway.upstream.targets[0]?.state.breaker.state]).toEqual(["new", 1, "closed"]);
    again.answer(200);
    expect((await answer).status).toBe(200);
    exchange.end();
    gateway.expectNothingLeft();
  });

  test("ends with its caller, who says nothing of the target", async () => {
    const gateway = forwarding({}, { breaker: { failureThreshold: 1 } });
    const { exchange, answer } = gateway.send();
    const call = await gateway.client.next();
    exchange.leave();
    expect([call.isOver, gateway.upstream.inFlight]).toEqual([true, 0]);
    await expect(answer).rejects.toMatchObject({ kind: "aborted" });
    expect(gateway.upstream.targets.map(({ state }) => state.breaker.state)).toEqual(["closed", "closed", "closed"]);
    gateway.expectNothingLeft();
  });

  test("whose answer comes in the tick in which its caller leaves is over all the same", async () => {
    const gateway = forwarding();
    const { exchange, answer } = gateway.send();
    (await gateway.client.next()).answer(200);
    exchange.leave();
    await answer;
    gateway.expectNothingLeft();
  });

  test("is not begun for a caller who left in a pause between two", async () => {
    const gateway = forwarding(
      { retry: { ...RETRY, baseDelay: "1h", maxDelay: "1h", jitter: false }, timeout: "2h" },
      { urls: ["http://a.test"] },
    );
    const { exchange, answer } = gateway.send();
    (await gateway.client.next()).answer(503);
    await turn();
    exchange.leave();
    await expect(answer).rejects.toMatchObject({ kind: "aborted" });
    expect(gateway.client.calls).toHaveLength(1);
    gateway.expectNothingLeft();
  });

  test("ends where the gateway itself breaks, which is no failure of the target", async () => {
    const gateway = forwarding();
    const { exchange, answer } = gateway.send();
    (await gateway.client.next()).break(new TypeError("a bug"));
    await expect(answer).rejects.toThrow("a bug");
    expect([gateway.failed, gateway.upstream.inFlight]).toEqual([[], 0]);
    exchange.end();
    gateway.expectNothingLeft();
  });

  test("needs a target", async () => {
    const gateway = forwarding();
    for (const target of gateway.upstream.targets) gateway.upstream.setHealthy(target, false);
    await expect(gateway.send().answer).rejects.toBeInstanceOf(NoTarget);
    gateway.expectNothingLeft();
  });
});

describe("a credential", () => {
  const credential = { pool: "p", cost: 100 };
  const remaining = (pools: Pools) => pools.keysOf("p")?.map((key) => key.remaining);

  test("that is refused gives way to the next one, and gets back what it did not use", async () => {
    const gateway = forwarding({ credential });
    const { exchange, answer } = gateway.send();
    (await gateway.client.next()).answer(429, { "Retry-After": "60" });
    const second = await gateway.client.next();
    expect(second.request.head).toContain("Authorization: Bearer k2\r\n");
    expect([gateway.upstream.inFlight, remaining(gateway.pools)]).toEqual([1, [1000, 900, 1000]]);
    second.answer(200);
    expect((await answer).status).toBe(200);
    exchange.end();
    gateway.expectNothingLeft();
    expect(remaining(gateway.pools)).toEqual([1000, 900, 1000]);
  });

  test("of which none is left gives the answer up", async () => {
    const gateway = forwarding({ credential });
    const { exchange, answer } = gateway.send();
    const bodies = [new HeldBody(), new HeldBody(), new HeldBody()];
    for (const body of bodies) (await gateway.client.next()).answer(429, { "Retry-After": "60" }, body);
    await expect(answer).rejects.toBeInstanceOf(PoolExhausted);
    expect(bodies.map(({ isCancelled }) => isCancelled)).toEqual([true, true, true]);
    exchange.end();
    gateway.expectNothingLeft();
    expect(remaining(gateway.pools)).toEqual([1000, 1000, 1000]);
  });

  test("is given back at once when its caller leaves before the request is out", async () => {
    const gateway = forwarding({ credential });
    const { exchange, answer } = gateway.send();
    (await gateway.client.next()).isSent = false;
    exchange.leave();
    await answer.catch(() => {});
    gateway.expectNothingLeft();
    expect(remaining(gateway.pools)).toEqual([1000, 1000, 1000]);
  });
});

/** What a target, or the caller, does next. */
const step = fc.oneof(
  fc.constantFrom(200, 204, 302, 401, 403, 404, 429, 500, 502, 503, 504).map((status) => ({ status })),
  fc.constantFrom("connect", "timeout", "reset", "protocol", "request", "descriptors").map((kind) => ({ kind })),
  fc.constantFrom("stale", "bug", "leaves", "answers as its caller leaves").map((what) => ({ what })),
);
const request = fc.record({
  method: fc.constantFrom("GET", "HEAD", "PUT", "POST", "DELETE"),
  headers: fc.constantFrom<Record<string, string>>({}, { "Idempotency-Key": "1" }),
  body: fc.constantFrom(undefined, "{}"),
});

test("whatever backends and callers do, each attempt ends once, and nothing is under way when all is over", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(request, fc.array(step, { minLength: 1, maxLength: 6 })), { minLength: 1, maxLength: 4 }),
      fc.boolean(),
      fc.boolean(),
      async (script, retries, hasCredential) => {
        const gateway = forwarding(
          { retry: retries ? RETRY : null, credential: hasCredential ? { pool: "p", cost: 10 } : null },
          { breaker: { failureThreshold: 2, recoveryTimeout: "1s" } },
        );
        for (const [{ method, headers, body }, steps] of script) {
          const { exchange, answer } = gateway.send({ method, headers, ...(body === undefined ? {} : { body }) });
          let ended: UpstreamResponse | Error | null = null;
          answer.then(
            (response) => (ended = response),
            (error: Error) => (ended = error),
          );
          for (let i = 0; i < 20; i++) {
            // Two keys may be asked about at the same time, and each of these requests comes to an end.
            const open = () => gateway.client.calls.find(({ isOver }) => !isOver);
            for (let wait = 0; wait < 3 && ended === null && open() === undefined; wait++) await turn();
            if (ended !== null) break;
            const call = open();
            if (call === undefined) continue;
            const next = steps[i] ?? { status: 200 };
            if ("status" in next) call.answer(next.status, {}, new HeldBody());
            else if ("kind" in next) call.fail(next.kind as "reset");
            else if (next.what === "stale") call.fail("reset", { isStale: true });
            else if (next.what === "bug") call.break(new TypeError("a bug"));
            else {
              if (next.what !== "leaves") call.answer(200);
              exchange.leave();
            }
            await turn();
          }
          // The answer is out, or there is none.
          expect(ended).not.toBeNull();
          const isAnswer = !((ended as unknown) instanceof Error) && !exchange.incoming.isAborted;
          expect(gateway.upstream.inFlight).toBe(isAnswer ? 1 : 0);
          exchange.end();
          gateway.expectNothingLeft();
          gateway.clock.time += 400;
        }
      },
    ),
    { numRuns: 300 },
  );
});

test("a failure at the end of the route's time is told as a timeout, whatever the last attempt was at", async () => {
  const gateway = forwarding({ timeout: "1s" });
  const { exchange, answer } = gateway.send();
  const call = await gateway.client.next();
  gateway.clock.time += 1000;
  call.fail("connect");
  const error = await answer.catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(UpstreamFailure);
  expect(error).toMatchObject({ kind: "timeout" });
  exchange.end();
  gateway.expectNothingLeft();
});
