import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { quantile, screenOf } from "../../src/cli/top-screen.ts";
import type { StatsAnswer } from "../../src/stats/admin.ts";

const BOUNDS = [1, 10, 100];
const route = (name: string, requests: number, more: object = {}) => ({
  name,
  requests,
  clientErrors: 0,
  serverErrors: 0,
  limited: 0,
  latency: [requests, 0, 0, 0],
  ...more,
});
const stats = (more: Partial<StatsAnswer> = {}): StatsAnswer => ({
  at: "2026-11-21T10:00:02.000Z",
  version: "0.1.0",
  uptime: 102,
  status: "NORMAL",
  inFlight: 3,
  latencyBounds: BOUNDS,
  refusals: [],
  routes: [route("users", 300, { limited: 20, latency: [200, 90, 10, 0] })],
  consumers: [
    { consumer: "acme", requests: 40, limited: 4, total: 1198, totalLimited: 20 },
    { consumer: null, requests: 1, limited: 0, total: 2, totalLimited: 0 },
  ],
  targets: [
    { upstream: "users", target: "http://users-1:8001", breaker: "closed", healthy: true, inFlight: 3, why: null },
    { upstream: "users", target: "http://users-2:8001", breaker: "open", healthy: true, inFlight: 0, why: "answered 503" },
  ],
  pools: [{ pool: "llm", key: "one", status: "resting", remaining: 700, unit: "tokens" }],
  plugins: [{ plugin: "tenant", calls: 210, seconds: 0.4, failures: 2, longestHold: 1500 }],
  workers: [],
  cache: { hits: 75, misses: 25 },
  redis: "ok",
  activities: { waiting: 7, lag: 0.24 },
  droppedLines: 0,
  blocks: { count: 0, latest: [] },
  faults: [],
  warnings: [],
  ...more,
});
const before = stats({
  uptime: 100,
  routes: [route("users", 100, { limited: 10, latency: [100, 0, 0, 0] })],
  consumers: [{ consumer: "acme", requests: 40, limited: 4, total: 1000, totalLimited: 10 }],
  plugins: [{ plugin: "tenant", calls: 10, seconds: 0.2, failures: 0, longestHold: 3 }],
  cache: { hits: 0, misses: 0 },
});
const SCREEN = { columns: 80, rows: 24, hasColour: false };

describe("the screen of sluice top", () => {
  test("shows what models have cost since the hour began, the dearest first, and nothing of it where there are no prices", () => {
    const costs = [
      { model: "small", requests: 90, tokens: 9000, cost: 0.0009 },
      { model: "tiny", requests: 1, tokens: 15, cost: 0.000009 },
      { model: "free", requests: 1, tokens: 15, cost: 0 },
      { model: "large", requests: 3, tokens: 5000, cost: 1.25 },
    ];
    const lines = screenOf(before, stats(), { ...SCREEN, rows: 60 }, costs);
    const at = lines.findIndex((line) => line.startsWith("MODEL, THIS HOUR"));
    expect(lines.slice(at + 1, at + 5).map((line) => line.split(/ +/))).toEqual([
      ["large", "3", "5000", "$1.2500"],
      ["small", "90", "9000", "$0.0009"],
      // What is not nothing does not look like it.
      ["tiny", "1", "15", "<$0.0001"],
      ["free", "1", "15", "$0.0000"],
    ]);
    expect(screenOf(before, stats(), SCREEN).join("\n")).not.toContain("MODEL");
  });

  test("shows what each process serves, also one that took another's place, where there are several", () => {
    const worker = (name: string, pid: number, requests: number) => ({
      ...{ worker: name, pid, requests, since: "2026-11-21T09:00:00.000Z", connections: 3, memory: 81_000_000, restarts: null },
    });
    const then = stats({ ...before, workers: [worker("1", 11, 100), worker("2", 12, 7)] });
    const now = stats({ workers: [worker("1", 11, 150), { ...worker("2", 13, 20), restarts: 1 }] });
    const text = screenOf(then, now, SCREEN).map((each) => each.replace(/ +/g, " "));
    expect(text).toContain("1 25.0 3 81 -");
    expect(text).toContain("2 10.0 3 81 1");
    const alone = screenOf(before, stats({ workers: [worker("1", 11, 150)] }), SCREEN);
    expect(alone.some((line) => line.startsWith("WORKER"))).toBe(false);
  });

  test("shows rates between two looks, and what is not well first", () => {
    const text = screenOf(before, stats(), SCREEN);
    expect(text[0]).toStartWith("sluice 0.1.0  up 1m 42s  NORMAL");
    expect(text[1]).toBe("100.0 req/s over 2.0 s  limited 5.0/s  4xx 5.0%  5xx 0.0%  p50 1.0 p99 82.0 ms");
    expect(text[2]).toBe("in flight 3  cache 75% hits  redis ok  queue 7 waiting, 0.2 s");
    const line = (start: string) => text.find((each) => each.startsWith(start))?.replace(/ +/g, " ");
    expect(line("users ")).toBe("users 100.0 5.0 5.0 0.0 1.0 10.0 82.0");
    expect(line("acme")).toBe("acme 99.0 5.0");
    expect(line("(no key)")).toBe("(no key) 1.0 0.0");
    expect(line("llm one")).toBe("llm one resting 700");
    expect(line("tenant")).toBe("tenant 100.0 1.0 1.00 1500.0");
    expect(line("users http://users-2")).toBe("users http://users-2:8001 open up 0 answered 503");
    expect(text.findIndex((each) => each.includes("users-2"))).toBeLessThan(text.findIndex((each) => each.includes("users-1")));
  });

  test("names a faulty configuration, warnings, addresses that are blocked and requests that no route takes", () => {
    const now = stats({
      routes: [route("none", 300)],
      faults: ['config.json:3:5 routes[0].upstream: there is no upstream "user"', "another"],
      warnings: [{ code: "storageReadOnly", message: "Changes can't be stored." }],
      blocks: { count: 31, latest: [{ cidr: "192.0.2.7", by: "guard", expiresAt: "2026-11-21T10:15:00.000Z" }] },
    });
    const text = screenOf(before, now, { ...SCREEN, columns: 160 });
    expect(text[2]).toContain("31 addresses blocked");
    expect(text[3]).toBe(
      'the configuration is faulty, the one before is in force: config.json:3:5 routes[0].upstream: there is no upstream "user" (and 1 more)',
    );
    expect(text[4]).toBe("Changes can't be stored.");
    expect(text.some((line) => /^192\.0\.2\.7 +guard +2026-11-21 10:15:00$/.test(line))).toBe(true);
    // On a wide terminal a name's numbers still stand beside it.
    const [line = ""] = text.filter((each) => each.startsWith("(no route)"));
    expect(line.indexOf("150.0")).toBeLessThan(70);
  });

  test("counts a gateway that was started anew from nothing", () => {
    const text = screenOf(stats({ uptime: 5000 }), stats({ uptime: 10 }), SCREEN);
    expect(text[1]).toStartWith("30.0 req/s");
  });

  test("fits, whatever there is to show and however small the terminal is; without colour it has no escapes", () => {
    const name = fc.string({ minLength: 1, maxLength: 120, unit: "grapheme-ascii" });
    const many = fc.record({
      routes: fc.array(fc.tuple(name, fc.nat(1e9)), { maxLength: 60 }),
      consumers: fc.array(
        fc.record({
          consumer: fc.option(name),
          requests: fc.nat(1e6),
          limited: fc.nat(1e6),
          total: fc.nat(1e6),
          totalLimited: fc.nat(1e6),
        }),
        { maxLength: 20 },
      ),
      columns: fc.integer({ min: 40, max: 200 }),
      rows: fc.integer({ min: 10, max: 60 }),
      hasColour: fc.boolean(),
    });
    fc.assert(
      fc.property(many, ({ routes, consumers, columns, rows, hasColour }) => {
        const now = stats({ routes: routes.map(([each, requests]) => route(each, requests)), consumers });
        const lines = screenOf(before, now, { columns, rows, hasColour });
        expect(lines.length).toBeLessThanOrEqual(rows);
        for (const line of lines) expect(Bun.stripANSI(line).length).toBeLessThanOrEqual(columns);
        if (!hasColour) expect(lines.join("")).not.toContain("\x1b");
      }),
    );
  });

  test("shows some of everything at 80 by 24", () => {
    const crowd = stats({
      routes: Array.from({ length: 40 }, (_, i) => route(`route-${i}`, 1000 - i)),
      targets: Array.from({ length: 40 }, (_, i) => ({
        upstream: `u${i}`,
        target: `http://t${i}`,
        breaker: "closed",
        healthy: true,
        inFlight: i,
        why: null,
      })),
    });
    const text = screenOf(before, crowd, SCREEN);
    expect(text.length).toBe(24);
    for (const title of ["ROUTE", "CONSUMER", "TARGET", "POOL KEY"]) expect(text.some((line) => line.startsWith(title))).toBe(true);
    expect(text.some((line) => line.startsWith("route-0 "))).toBe(true);
    expect(text.some((line) => /^ROUTE \(\d+ of 40\) +REQ/.test(line))).toBe(true);
  });
});

test("a quantile lies where Prometheus' histogram_quantile puts it", () => {
  expect(quantile(0.5, [0, 0, 0, 0], BOUNDS)).toBeNull();
  expect(quantile(0.5, [100, 0, 0, 0], BOUNDS)).toBe(0.5);
  expect(quantile(0.75, [50, 50, 0, 0], BOUNDS)).toBe(5.5);
  expect(quantile(0.99, [0, 0, 0, 5], BOUNDS)).toBe(100);
});
