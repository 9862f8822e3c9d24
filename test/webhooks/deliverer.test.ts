// What is sent when: pure but for the database.
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { Webhook } from "standardwebhooks";
import { openStorage } from "../../src/storage/open.ts";
import { Deliverer, type Listed, type Result } from "../../src/webhooks/deliverer.ts";
import { Deliveries, type Delivery, type Outcome } from "../../src/webhooks/deliveries.ts";
import { DELAYS, delayAfter } from "../../src/webhooks/schedule.ts";
import { isSecret, makeSecret, signatureOf } from "../../src/webhooks/signature.ts";
import { FakeClock } from "../support/clock.ts";
import { until } from "../support/until.ts";

const DAY = 86_400_000;

test("there are eight tries over about a day, each later than the one before", () => {
  expect(DELAYS.length + 1).toBe(8);
  fc.assert(
    fc.property(fc.array(fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), { minLength: 7, maxLength: 7 }), (randoms) => {
      const delays = randoms.map((random, i) => delayAfter(i + 1, random) ?? 0);
      const sum = delays.reduce((a, b) => a + b, 0);
      expect(sum).toBeGreaterThan(0.85 * DAY);
      expect(sum).toBeLessThan(1.15 * DAY);
      expect(delays).toEqual([...delays].sort((a, b) => a - b));
    }),
  );
  expect(delayAfter(8, 0.5)).toBeNull();
});

test("signatures are those of the package of Standard Webhooks, one for each secret", () => {
  fc.assert(
    fc.property(fc.string(), fc.json(), (id, body) => {
      const [one, other] = [makeSecret(), makeSecret()];
      const at = Date.now();
      const timestamp = Math.floor(at / 1000);
      const signature = signatureOf(`${one} ${other}`, { id, timestamp, body });
      expect(signature).toBe(`${new Webhook(one).sign(id, new Date(at), body)} ${new Webhook(other).sign(id, new Date(at), body)}`);
    }),
  );
  expect(
    [makeSecret(), "whsec_", "whsec_AAAA", `whsec_${Buffer.alloc(65).toString("base64")}`, Buffer.alloc(32).toString("base64")].map(
      isSecret,
    ),
  ).toEqual([true, false, false, false, false]);
});

/** A deliverer over a real database, whose receivers answer as `answers` says. */
function delivering(answers: (webhook: string, delivery: Pick<Delivery, "body">) => Promise<Outcome> | Outcome, maxWaiting?: number) {
  const way = {
    answers,
    onFault: (error: unknown): void => {
      throw error;
    },
  };
  const storage = openStorage(":memory:");
  const deliveries = new Deliveries(storage, maxWaiting);
  const clock = new FakeClock();
  const counts: Record<Result, number> = { delivered: 0, retried: 0, failed: 0, dropped: 0 };
  const sent: string[] = [];
  const listed: Listed[] = ["a", "b"].map((name) => ({ name, url: "", secret: "", events: ["*"], enabled: true, isFromApi: false }));
  const deliverer = new Deliverer({
    ...{ deliveries, clock, random: () => 0.5, webhooks: () => listed, claims: async () => true, onGone: () => {}, emit: () => {} },
    sender: {
      send: async (receiver, message) => {
        const name = listed.find((each) => each === receiver)?.name ?? "";
        sent.push(`${name} ${message.body}`);
        return await way.answers(name, message);
      },
    },
    count: (result) => counts[result]++,
    onFault: (error) => way.onFault(error),
  });
  return Object.assign(way, {
    ...{ storage, deliveries, deliverer, clock, counts, sent },
    put: (webhook: string, body: string) =>
      deliveries.put({ webhook, type: "block.made", body, createdAt: clock.wall(), claim: null, claimUntil: null }),
    [Symbol.dispose]: () => {
      deliverer.close();
      storage.close();
    },
  });
}

const GOOD: Outcome = { status: 200, answer: "", error: null };
const BAD: Outcome = { status: 500, answer: "", error: "answers 500" };

describe("deliveries", () => {
  test("come in their order for each webhook at the first try, whatever has failed before", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.boolean(), { minLength: 1, maxLength: 12 }), async (fates) => {
        using way = delivering((_, { body }) => (fates[Number(body)] ? GOOD : BAD));
        for (const i of fates.keys()) way.put("a", String(i));
        way.deliverer.look();
        await until(() => way.sent.length === fates.length);
        expect(way.sent).toEqual(fates.map((_, i) => `a ${i}`));
      }),
      { numRuns: 20 },
    );
  });

  test("of one webhook that does not answer hold up no other", async () => {
    using way = delivering((webhook) => (webhook === "a" ? new Promise<Outcome>(() => {}) : GOOD));
    for (const webhook of ["a", "b"]) for (const body of ["1", "2"]) way.put(webhook, body);
    way.deliverer.look();
    await until(() => way.counts.delivered === 2);
    expect(way.sent).toEqual(["a 1", "b 1", "b 2"]);
  });

  test("of a webhook that is made anew under its name while a try is under way are sent once each", async () => {
    const old = Promise.withResolvers<Outcome>();
    using way = delivering((_, { body }) => (body === "old" ? old.promise : GOOD));
    way.put("a", "old");
    way.deliverer.look();
    await until(() => way.sent.length === 1);
    way.deliveries.forget("a");
    way.deliverer.forget("a");
    const held = Promise.withResolvers<Outcome>();
    way.answers = (_, { body }) => (body === "1" ? held.promise : GOOD);
    for (const body of ["1", "2"]) way.put("a", body);
    way.deliverer.look();
    await until(() => way.sent.length === 2);
    old.resolve(BAD);
    await old.promise;
    await new Promise(setImmediate);
    held.resolve(GOOD);
    await until(() => way.counts.delivered === 2);
    expect(way.sent).toEqual(["a old", "a 1", "a 2"]);
    expect(way.counts).toEqual({ delivered: 2, retried: 0, failed: 0, dropped: 0 });
  });

  test("that are redelivered while they are under way are not sent beside that, and hold up nothing", async () => {
    using way = delivering(() => BAD);
    way.put("a", "1");
    way.deliverer.look();
    await until(() => way.counts.retried === 1);
    const underWay = Promise.withResolvers<Outcome>();
    way.answers = (_, { body }) => (body === "1" ? underWay.promise : GOOD);
    way.clock.advance(DAY);
    way.deliverer.look();
    const [found] = way.deliveries.page("a", "waiting", Number.MAX_SAFE_INTEGER, 1);
    if (found !== undefined) way.deliveries.again(found, way.clock.wall());
    way.put("a", "2");
    way.deliverer.look();
    await until(() => way.counts.delivered === 1);
    expect(way.sent).toEqual(["a 1", "a 1", "a 2"]);
    underWay.resolve(GOOD);
    await until(() => way.deliveries.waiting("a") === 0);
    expect([way.sent.length, way.counts.delivered]).toEqual([3, 2]);
  });

  test("whose outcome can't be written are not sent again: it is written later", async () => {
    using way = delivering(() => GOOD);
    const faults: unknown[] = [];
    way.onFault = (error) => faults.push(error);
    for (const body of ["1", "2"]) way.put("a", body);
    way.answers = (_, { body }) => (body === "1" ? BAD : GOOD);
    way.deliverer.look();
    await until(() => way.counts.retried + way.counts.delivered === 2);
    way.answers = () => GOOD;
    way.clock.advance(DAY);
    for (const body of ["3", "4"]) way.put("a", body);
    way.storage.client.run("PRAGMA query_only = 1");
    way.deliverer.look();
    // A first try and one that failed before were under way.
    await until(() => faults.length === 2);
    for (let i = 0; i < 10; i++) way.deliverer.look();
    way.clock.advance(30_000);
    way.deliverer.look();
    expect(way.sent).toEqual(["a 1", "a 2", "a 3", "a 1"]);
    expect(faults.length).toBe(3);
    way.storage.client.run("PRAGMA query_only = 0");
    way.clock.advance(30_000);
    way.deliverer.look();
    await until(() => way.counts.delivered === 4);
    expect(way.sent).toEqual(["a 1", "a 2", "a 3", "a 1", "a 4"]);
    expect(way.deliveries.waiting("a")).toBe(0);
  });

  test("are tried eight times, then given up", async () => {
    using way = delivering(() => BAD);
    way.put("a", "1");
    for (let tries = 1; tries <= 8; tries++) {
      way.deliverer.look();
      await until(() => way.counts.retried + way.counts.failed === tries);
      way.clock.advance((DELAYS[tries - 1] ?? 0) - 1);
      way.deliverer.look();
      expect(way.sent.length).toBe(tries);
      way.clock.advance(1);
    }
    expect(way.counts).toEqual({ delivered: 0, retried: 7, failed: 1, dropped: 0 });
    way.clock.advance(30 * DAY);
    way.deliverer.look();
    expect(way.sent.length).toBe(8);
    expect(way.deliveries.page("a", "failed", Number.MAX_SAFE_INTEGER, 10)).toMatchObject([{ tries: 8, status: 500, nextAt: null }]);
  });

  test("are kept up to a bound, then the oldest go; what has ended goes after a while", () => {
    using way = delivering(() => GOOD, 3);
    expect(["1", "2", "3", "4", "5"].map((body) => way.put("a", body))).toEqual([0, 0, 0, 1, 1]);
    expect([way.deliveries.waiting("a"), way.deliveries.isFull("a"), way.deliveries.first("a")?.body]).toEqual([3, true, "3"]);
    expect(way.put("b", "1")).toBe(0);
    for (let i = 0; i < 1100; i++) {
      way.put("b", "x");
      const next = way.deliveries.first("b");
      if (next !== null) way.deliveries.tried(next, way.clock.wall() + i, GOOD, null);
    }
    const all = new Set(["a", "b"]);
    way.deliveries.prune(all, way.clock.wall());
    expect(way.deliveries.page("b", "delivered", Number.MAX_SAFE_INTEGER, 5000).length).toBe(1001);
    way.deliveries.prune(all, way.clock.wall() + 8 * DAY);
    expect(way.deliveries.page("b", null, Number.MAX_SAFE_INTEGER, 5000).length).toBe(1);
    way.deliveries.prune(new Set(["b"]), way.clock.wall());
    expect(way.deliveries.waiting("a")).toBe(0);
  });

  test("of a webhook that is gone are nothing of one that is made anew under its name, also after a restart, and go bit by bit", () => {
    using way = delivering(() => GOOD);
    const rows = () => way.storage.client.query<{ n: number }, []>("SELECT count(*) AS n FROM webhook_deliveries").get()?.n;
    way.deliveries.atOnce(() => {
      for (let i = 0; i < 1200; i++) way.put("a", "old");
    });
    const [old] = way.deliveries.page("a", null, Number.MAX_SAFE_INTEGER, 1);
    const failed = way.deliveries.first("a");
    if (failed !== null) way.deliveries.tried(failed, way.clock.wall(), BAD, way.clock.wall());
    expect(way.deliveries.waiting("a")).toBe(1200);
    way.deliveries.forget("a");
    expect(rows()).toBe(1200);
    way.put("a", "new");
    for (const deliveries of [way.deliveries, new Deliveries(way.storage)]) {
      expect([deliveries.waiting("a"), deliveries.first("a")?.body, deliveries.due("a", way.clock.wall(), 9)]).toEqual([1, "new", []]);
      expect(deliveries.page("a", null, Number.MAX_SAFE_INTEGER, 9).map(({ body }) => body)).toEqual(["new"]);
      expect(deliveries.page("a", "waiting", Number.MAX_SAFE_INTEGER, 9).map(({ body }) => body)).toEqual(["new"]);
      expect(deliveries.find(old?.id ?? "")).toBeNull();
    }
    const left: unknown[] = [];
    for (let i = 0; i < 4; i++) {
      way.deliveries.prune(new Set(["a", "b"]), way.clock.wall());
      way.deliveries.sweep();
      left.push(rows());
    }
    expect(left).toEqual([701, 201, 1, 1]);
    expect(way.deliveries.waiting("a")).toBe(1);
    expect(way.storage.client.query("SELECT * FROM webhook_forgotten").all()).toEqual([]);
  });

  test("that a transaction has rolled back do not count as waiting", () => {
    using way = delivering(() => GOOD);
    const { client } = way.storage;
    const trial = (work: () => void) => {
      const all = client.transaction(() => {
        work();
        throw new Error("a dry run");
      });
      expect(all).toThrow("a dry run");
    };
    way.put("a", "1");
    trial(() => way.deliveries.atOnce(() => way.put("a", "2")));
    expect([way.deliveries.waiting("a"), way.deliveries.waiting("b")]).toEqual([1, 0]);
    trial(() => way.deliveries.atOnce(() => way.put("b", "1")));
    way.deliveries.atOnce(() => way.put("b", "2"));
    client.transaction(() => void way.deliveries.atOnce(() => way.put("b", "3")))();
    expect([way.deliveries.waiting("a"), way.deliveries.waiting("b")]).toEqual([1, 2]);
  });

  test("are told once by a mark, until its time is over", () => {
    using way = delivering(() => GOOD);
    expect([way.deliveries.mark("x", 100, 0), way.deliveries.mark("x", 200, 50), way.deliveries.mark("x", 200, 100)]).toEqual([
      true,
      false,
      true,
    ]);
  });
});
