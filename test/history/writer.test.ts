import { expect, test } from "bun:test";
import fc from "fast-check";
import { ConsumerCounts } from "../../src/history/consumer-counts.ts";
import { History } from "../../src/history/history.ts";
import type { Sums, Traffic } from "../../src/history/sums.ts";
import { type By, HistoryTable, KINDS, MAX_CONSUMERS, type Step } from "../../src/history/table.ts";
import { HistoryWriter } from "../../src/history/writer.ts";
import { openStorage } from "../../src/storage/open.ts";
import { HISTORY_BUCKETS } from "../../src/storage/schema.ts";
import { BUCKETS } from "../../src/telemetry/route-metrics.ts";
import { FakeClock, START } from "../support/clock.ts";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const EVER = { step: "minute", by: null, name: null, limit: 10 } as const;

/** Counts of a gateway that a test makes, and what writes and reads their history. */
function counting(
  options: { run?: string; left?: (run: string) => Traffic | null | "lives"; storage?: ReturnType<typeof openStorage> } = {},
) {
  const storage = options.storage ?? openStorage(":memory:");
  const clock = new FakeClock();
  const routes = new Map<string, Sums>();
  const refusals = new Map<string, number>();
  const table = new HistoryTable(storage);
  const opened = () => {
    const consumers = new ConsumerCounts();
    const writer = new HistoryWriter({
      ...{ table, clock, consumers, run: options.run ?? null },
      traffic: () => ({ routes: new Map(routes), refusals: new Map(refusals) }),
      trafficOf: options.left ?? (() => null),
    });
    writer.begin();
    return { consumers, writer, history: new History({ table, writer, clock, flushUsage: () => {} }) };
  };
  let { consumers, writer, history } = opened();
  return {
    clock,
    table,
    storage,
    routes,
    refusals,
    get consumers() {
      return consumers;
    },
    get writer() {
      return writer;
    },
    /** Adds requests of a route, each of 3 ms. */
    serve: (route: string, requests: number): void => {
      const before = routes.get(route)?.requests ?? 0;
      const latency = BUCKETS.map((bound) => (bound === 5 ? before + requests : 0));
      routes.set(route, { requests: before + requests, clientErrors: 0, errors: 0, limited: 0, latency: [...latency, 0] });
    },
    /** Another process in the place of the one before; `isKept`: counts go on. */
    restart: (isKept: boolean): void => {
      if (!isKept) {
        routes.clear();
        refusals.clear();
      }
      ({ consumers, writer, history } = opened());
    },
    ask: (question: { by?: By; step?: Step; limit?: number } = {}) =>
      // Of what is told apart there is less in one answer.
      history.answer({ ...EVER, to: clock.wall() + 1, from: question.by === undefined ? 0 : clock.wall() - 2 * HOUR, ...question }),
  };
}

const requests = ({ whole }: { whole: { items: readonly { time: number; sums: Sums }[] } }) =>
  whole.items.map(({ time, sums }) => [(time - START) / MINUTE, sums.requests]);

test("rows have a column for each bucket of latency that routes count", () => {
  expect(HISTORY_BUCKETS).toBe(BUCKETS.length + 1);
});

test("each minute has what was counted in it, and a minute without requests is there with 0", () => {
  const { clock, serve, writer, ask } = counting();
  serve("shop", 5);
  clock.advance(MINUTE);
  writer.look();
  clock.advance(MINUTE);
  writer.look();
  serve("shop", 2);
  clock.advance(20_000);
  expect(requests(ask())).toEqual([
    [0, 5],
    [1, 0],
    [2, 2],
  ]);
  const [first, , third] = ask().whole.items;
  expect([first?.covered, third?.covered]).toEqual([MINUTE, 20_000]);
  expect(ask({ step: "hour" }).whole.items).toMatchObject([{ time: START, covered: 140_000, sums: { requests: 7 } }]);
});

test("whatever happens to the process, each count is in history once, as far as it was written, and nothing is negative", () => {
  const happening = fc.oneof(
    fc.record({ kind: fc.constant("serve" as const), route: fc.constantFrom("a", "b"), count: fc.integer({ min: 1, max: 50 }) }),
    fc.record({ kind: fc.constant("pass" as const), by: fc.integer({ min: 1, max: 3 * MINUTE }) }),
    fc.record({ kind: fc.constant("jump" as const), by: fc.integer({ min: -2 * HOUR, max: 2 * HOUR }) }),
    fc.record({ kind: fc.constantFrom("look" as const, "read" as const, "stop" as const, "kill" as const) }),
  );
  fc.assert(
    fc.property(fc.array(happening, { maxLength: 60 }), fc.boolean(), (all, isKept) => {
      const gateway = counting(isKept ? { run: "run" } : {});
      gateway.clock.time = START + 12 * HOUR;
      gateway.restart(true);
      let [served, unwritten] = [0, 0];
      for (const each of all)
        switch (each.kind) {
          case "serve":
            gateway.serve(each.route, each.count);
            served += each.count;
            unwritten += each.count;
            break;
          case "pass":
            gateway.clock.advance(each.by);
            break;
          case "jump":
            gateway.clock.ahead = Math.min(HOUR, Math.max(-6 * HOUR, gateway.clock.ahead + each.by));
            break;
          case "look":
            gateway.writer.look();
            break;
          case "read":
            gateway.ask();
            unwritten = 0;
            break;
          case "stop":
            gateway.writer.write();
            unwritten = 0;
            gateway.restart(isKept);
            break;
          case "kill":
            // What looks have written in between is known to nobody here: it is written first, so that the sum is known.
            if (!isKept && unwritten > 0) gateway.writer.write();
            unwritten = 0;
            gateway.restart(isKept);
        }
      gateway.writer.write();
      const rows = gateway.storage.client.query("SELECT * FROM history").all() as Record<string, number>[];
      expect(rows.every((row) => Object.values(row).every((value) => typeof value !== "number" || value >= 0))).toBe(true);
      const sum = (step: number, kind: number): number =>
        rows.filter((row) => row.step === step && row.kind === kind).reduce((total, row) => total + (row.requests ?? 0), 0);
      for (const step of [0, 1]) for (const kind of [KINDS.route.all, KINDS.route.each]) expect(sum(step, kind)).toBe(served);
      gateway.storage.close();
    }),
    { numRuns: 60 },
  );
});

test("while the gateway is off there is a gap, and no zeros", () => {
  const { clock, serve, writer, restart, ask } = counting();
  serve("shop", 1);
  writer.write();
  clock.advance(10 * MINUTE);
  restart(false);
  serve("shop", 2);
  expect(requests(ask())).toEqual([
    [0, 1],
    [10, 2],
  ]);
});

test("what a start of the gateway had counted and not written when all of it was killed is written by the next one, once", () => {
  const storage = openStorage(":memory:");
  const before = counting({ run: "first", storage });
  before.serve("shop", 3);
  before.writer.write();
  before.serve("shop", 4);
  before.refusals.set("keyInvalid", 2);
  // As the files of dead processes have it.
  const left: Traffic = { routes: new Map(before.routes), refusals: new Map(before.refusals) };
  const after = counting({ run: "second", storage, left: (run) => (run === "first" ? left : null) });
  after.serve("shop", 1);
  expect(after.ask().whole.total.requests).toBe(8);
  after.restart(true);
  expect(after.ask().whole.total.requests).toBe(8);
  expect(after.ask({ by: "refusal" }).series.map(({ name, total }) => [name, total.requests])).toEqual([["keyInvalid", 2]]);
});

test("what another start of the gateway counts, of which a process lives, is left to it", () => {
  const storage = openStorage(":memory:");
  const one = counting({ run: "first", storage });
  one.serve("shop", 3);
  one.writer.write();
  const other = counting({ run: "second", storage, left: () => "lives" });
  other.serve("shop", 1);
  one.serve("shop", 1);
  expect([one.ask().whole.total.requests, other.ask().whole.total.requests]).toEqual([4, 5]);
  expect(other.table.marks().map(({ run }) => run)).toEqual(["first", "second"]);
});

test("the busiest have series of their own, and the others are one: nothing is lost between them", () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 1000 }), { minLength: 1, maxLength: 30 }), (counts) => {
      const { serve, consumers, ask, storage } = counting();
      for (const [i, count] of counts.entries()) {
        serve(`route-${i}`, count);
        consumers.note(`consumer-${i}`, count, 0, 0);
      }
      const sum = counts.reduce((a, b) => a + b);
      for (const by of ["route", "consumer"] as const) {
        const { whole, series } = ask({ by, limit: 5 });
        expect(whole.total.requests).toBe(sum);
        expect(series.reduce((total, each) => total + each.total.requests, 0)).toBe(sum);
        expect(series.filter(({ name }) => name !== null).length).toBe(Math.min(5, counts.length));
        expect(series[0]?.total.requests).toBe(Math.max(...counts));
      }
      storage.close();
    }),
    { numRuns: 20 },
  );
});

test("of many consumers the busiest of a minute and of an hour are kept, and the rest stay in the sum", () => {
  const { consumers, clock, writer, ask, storage } = counting();
  const names = Array.from({ length: 500 }, (_, i) => `c${i}`);
  for (const minutes of [0, 1])
    for (const [i, name] of names.entries()) {
      consumers.note(name, 1 + ((i + minutes * 250) % 500), 0, 0);
      if (i % 100 === 99) {
        clock.advance(10_000);
        writer.look();
      }
      if (i === 499) {
        clock.advance(10_000);
        writer.look();
      }
    }
  clock.advance(HOUR);
  writer.look();
  const kept = storage.client
    .query("SELECT step, time, count(*) AS n FROM history WHERE kind = ?1 GROUP BY step, time")
    .all(KINDS.consumer.each) as { n: number }[];
  expect(kept.map(({ n }) => n)).toEqual([MAX_CONSUMERS, MAX_CONSUMERS, MAX_CONSUMERS]);
  const { whole, series } = ask({ step: "hour", by: "consumer", limit: 50 });
  expect(whole.total.requests).toBe(2 * ((500 * 501) / 2));
  expect(series.at(-1)?.name).toBeNull();
  expect(series.reduce((sum, each) => sum + each.total.requests, 0)).toBe(whole.total.requests);
});

test("minutes are kept for a day and hours for ninety", () => {
  const { clock, serve, writer, table, ask, storage } = counting();
  serve("shop", 1);
  writer.write();
  clock.advance(DAY + HOUR);
  writer.look();
  table.prune(clock.wall());
  const times = (step: number) =>
    storage.client
      .query("SELECT DISTINCT time FROM history WHERE step = ?1")
      .values(step)
      .map(([time]) => (Number(time) - START) / HOUR);
  expect([times(0), times(1)]).toEqual([[], [0]]);
  serve("shop", 1);
  expect(ask({ step: "hour" }).whole.total.requests).toBe(2);
  clock.advance(91 * DAY);
  table.prune(clock.wall());
  expect(times(1)).toEqual([]);
});

test("what can't be written now is written later", () => {
  const { clock, serve, consumers, writer, storage, ask } = counting();
  serve("shop", 3);
  consumers.note("acme", 3, 1, 0);
  storage.client.run("CREATE TEMP TRIGGER stop BEFORE INSERT ON history BEGIN SELECT raise(ABORT, 'full'); END");
  expect(() => writer.write()).toThrow("full");
  clock.advance(5000);
  storage.client.run("DROP TRIGGER stop");
  expect(ask().whole.total.requests).toBe(3);
  expect(ask({ by: "consumer" }).whole.total).toMatchObject({ requests: 3, errors: 1 });
});

test("a gateway without requests writes once a minute", () => {
  const { clock, writer, storage } = counting();
  const changes = (): number => Number(storage.client.query("SELECT total_changes() AS n").values()[0]?.[0]);
  const before = changes();
  for (let second = 0; second < 59; second++) {
    clock.advance(1000);
    writer.look();
  }
  expect(changes()).toBe(before);
  clock.advance(1000);
  writer.look();
  expect(changes()).toBeGreaterThan(before);
});
