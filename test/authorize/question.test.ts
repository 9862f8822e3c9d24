import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { headOf, keyOf, questionOf } from "../../src/authorize/question.ts";
import type { RouteAuthorize } from "../../src/authorize/route-authorize.ts";
import { ANONYMOUS, type Caller } from "../../src/exchange/caller.ts";
import { FakeClock } from "../support/clock.ts";
import { type Asked, exchangeOn, routeOf } from "../support/exchange.ts";

const clock = new FakeClock();
const routeNamed = (name: string) =>
  routeOf({ name, authorize: { url: "http://127.0.0.1:1/may", headers: ["Authorization", "Cookie", "X-Tenant"], cacheFor: "1m" } });
const routes = [routeNamed("one"), routeNamed("two")];
const callers: Caller[] = [
  ANONYMOUS,
  ...["k1", "k2"].flatMap((id) =>
    ["acme", "bolt"].map(
      (consumer): Caller => ({ ...ANONYMOUS, via: "key", id, consumer: { ...ANONYMOUS.consumer, id: consumer, tier: "plain" } }),
    ),
  ),
  { ...ANONYMOUS, via: "token", id: "acme", consumer: { ...ANONYMOUS.consumer, id: "acme", tier: "plain" } },
  { ...ANONYMOUS, via: "token", id: "acme", consumer: { ...ANONYMOUS.consumer, id: "acme", tier: "gold" }, lines: "X-Claim: 1\r\n" },
];

/** All that may decide, in small numbers of values, so that two requests are often nearly the same. */
const few = (...values: string[]) => fc.constantFrom(...values);
const decisive = fc.record({
  route: fc.constantFrom(0, 1),
  method: few("GET", "POST"),
  path: few("/r/a", "/r/a?b=1", "/r/a?b=1&c", "/r/ab"),
  caller: fc.nat(callers.length - 1),
  host: few("a.test", "b.test"),
  // Values that look like other parts of the question.
  authorization: fc.option(few("Basic eA==", "a", "X-Tenant: a")),
  cookie: fc.option(few("a=1", "a=1; X-Tenant: a", "a")),
  "x-tenant": fc.option(few("a", "a=1")),
});
/** What may not decide. */
const idle = fc.record({
  "x-request-id": few("r1", "r2"),
  "x-other": few("1", "2"),
  "x-forwarded-uri": few("/r/a", "/else"),
  x_tenant: few("a", "b"),
});

type Made = typeof decisive extends fc.Arbitrary<infer T> ? T : never;

function keyFor({ route, method, path, caller, host, ...named }: Made, more: Record<string, string>): string {
  const fields = Object.entries(named).flatMap(([name, value]) => (value === null ? [] : [[name, value] as const]));
  const asked: Asked = { method, path, headers: { Host: host, ...Object.fromEntries(fields), ...more } };
  const on = routes[route] ?? routeNamed("none");
  const exchange = exchangeOn(on, clock, asked);
  exchange.caller = callers[caller] ?? ANONYMOUS;
  const authorize = on.authorize as RouteAuthorize;
  return keyOf(questionOf(exchange, authorize), authorize, exchange);
}

describe("what an answer is kept under", () => {
  test("is the same for two requests if all that may decide is the same, and for no others", () => {
    fc.assert(
      fc.property(decisive, decisive, fc.nat(7), idle, idle, (one, other, mixed, oneMore, otherMore) => {
        // The second differs from the first in some parts, often in one or none.
        const parts = Object.keys(one) as (keyof Made)[];
        const second = { ...one, ...(mixed < parts.length ? { [parts[mixed] as string]: other[parts[mixed] as keyof Made] } : other) };
        const isSame = Bun.deepEquals(one, second);
        expect(keyFor(one, oneMore) === keyFor(second as Made, otherMore)).toBe(isSame);
      }),
      { numRuns: 3000 },
    );
  });

  test("does not hold when the route asks otherwise", () => {
    const plain = { url: "http://127.0.0.1:1/may", cacheFor: "1m" };
    const ways = [{}, { url: "http://127.0.0.1:1/other" }, { upstreamHeaders: ["X-Role"] }, { headers: ["Cookie"] }, { onError: "allow" }];
    const keys = ways.map((way) => {
      const route = routeOf({ authorize: { ...plain, ...way } });
      const exchange = exchangeOn(route, clock);
      const authorize = route.authorize as RouteAuthorize;
      return keyOf(questionOf(exchange, authorize), authorize, exchange);
    });
    expect(new Set(keys).size).toBe(ways.length);
  });
});

test("a question holds its named fields as they came, without those of the caller's own connection", () => {
  const [route] = routes;
  if (route === undefined) throw new Error("no route");
  const exchange = exchangeOn(route, clock, {
    headers: { Connection: "keep-alive, X-Tenant", "X-Tenant": "hop", COOKIE: "a=1", Authorization: "Bearer x", "X-Request-ID": "r1" },
  });
  const question = () => headOf(questionOf(exchange, route.authorize as RouteAuthorize), exchange);
  expect(question()).toBe(
    `GET /may HTTP/1.1\r\nHost: 127.0.0.1:1\r\nX-Forwarded-Method: GET\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: gateway.test\r\nX-Forwarded-Uri: /r/a\r\nX-Forwarded-For: 192.0.2.1\r\nCOOKIE: a=1\r\nAuthorization: Bearer x\r\nX-Request-ID: ${exchange.id}\r\n\r\n`,
  );
  exchange.dropsAuthorization = true;
  expect(question()).not.toContain("Bearer");
});
