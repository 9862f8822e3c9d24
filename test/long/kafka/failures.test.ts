import { expect } from "bun:test";
import { Admin } from "@platformatic/kafka";
import { LeaseLost, QueueAway } from "../../../src/activities/queues/queue.ts";
import { type KafkaBroker, startKafka } from "../../support/kafka.ts";
import { accepted, follow, insert, kafkaQueue, until } from "../../support/kafka-queue.ts";
import { patience } from "../../support/patience.ts";
import { having } from "../../support/programs.ts";

const { afterAll, beforeAll, test } = having("java", "mvn");

let broker: KafkaBroker;
beforeAll(async () => {
  // A quota holds for what was sent within a second or two.
  broker = await startKafka({ settings: { "quota.window.num": "2" } });
});
afterAll(() => broker[Symbol.asyncDispose]());

test("a start while Kafka is away works: nothing is put in, it is told what to do, and it goes on when Kafka is there", async () => {
  await broker.stop();
  await using at = kafkaQueue({ brokers: [broker.address] });
  const feed = at.queue.feed("sqlite");
  const one = accepted("a", [insert("orders", 1)]);
  const refused = await at.queue.put([one], Date.now()).catch((error) => error);
  expect(refused).toBeInstanceOf(QueueAway);
  expect(refused.message).toBe(
    `Kafka at ${broker.address} can't be reached (ECONNREFUSED): check that it runs, and activities.queue.kafka.brokers`,
  );
  // Nobody waits for what is known.
  const many = await Promise.allSettled(Array.from({ length: 1000 }, () => at.queue.put([one], Date.now())));
  expect(many.every(({ status }) => status === "rejected")).toBe(true);
  expect(await feed.lease(1000, Date.now())).toBeNull();
  expect(at.told.changes).toEqual([{ isUp: false, why: refused.message }]);
  await broker.start();
  await until("it is told that Kafka is back", () => at.told.changes.length === 2);
  expect(at.told.changes[1]).toEqual({ isUp: true, why: "" });
  expect(await at.queue.put([one], Date.now())).toEqual(["put"]);
  expect((await follow(feed, 1)).map(({ id }) => id)).toEqual(["a:0"]);
});

test("what was acknowledged is handed out, in order, while the broker is killed and started three times", async () => {
  await using at = kafkaQueue({ brokers: [broker.address] });
  const feed = at.queue.feed("sqlite");
  const tables = ["orders", "customers", "items"];
  const put = new Set<string>();
  let isOver = false;
  const produce = async (writer: number): Promise<void> => {
    for (let n = 0; !isOver; ) {
      const batch = `w${writer}-${String(n).padStart(6, "0")}`;
      // The same is sent again until it is acknowledged, as with an Idempotency-Key.
      try {
        await at.queue.put(
          [
            accepted(
              batch,
              tables.map((table) => insert(table, n)),
            ),
          ],
          Date.now(),
        );
        for (const i of tables.keys()) put.add(`${batch}:${i}`);
        n++;
      } catch (error) {
        expect(error).toBeInstanceOf(QueueAway);
        await Bun.sleep(50);
      }
    }
  };
  const writers = [0, 1, 2, 3].map(produce);
  const got = new Map<string, string[]>(tables.map((table) => [table, []]));
  const seen = new Set<string>();
  const consume = (async () => {
    while (!isOver || (await feed.backlog()).activities > 0 || [...put].some((id) => !seen.has(id))) {
      const portion = await feed.lease(500, Date.now());
      if (portion === null) await Bun.sleep(10);
      else {
        for (const { id, activity } of portion.deliveries)
          if (!seen.has(id)) {
            seen.add(id);
            got.get(activity.table)?.push(id);
          }
        // What is lost is handed out again.
        await Promise.resolve(feed.done(portion, Date.now())).catch((error) => expect(error).toBeInstanceOf(LeaseLost));
      }
    }
  })();
  for (let i = 0; i < 3; i++) {
    const before = put.size;
    await until("activities are acknowledged", () => put.size > before + 100);
    await broker.kill();
    await broker.start();
  }
  const before = put.size;
  await until("activities are acknowledged after the last start", () => put.size > before + 100);
  isOver = true;
  await Promise.all([...writers, consume]);
  expect([...put].filter((id) => !seen.has(id))).toEqual([]);
  // A writer waits for each batch: its own come in order in each table.
  for (const list of got.values())
    for (const writer of [0, 1, 2, 3]) {
      const own = list.filter((id) => id.startsWith(`w${writer}-`));
      expect(own).toEqual([...own].sort());
    }
});

test("a broker that hangs is away, and what waits for it is refused", async () => {
  await using at = kafkaQueue({ brokers: [broker.address] });
  await at.queue.put([accepted("a", [insert("orders", 1)])], Date.now());
  broker.signal("SIGSTOP");
  try {
    const refused = await at.queue.put([accepted("b", [insert("orders", 2)])], Date.now()).catch((error) => error);
    expect(refused).toBeInstanceOf(QueueAway);
    expect(refused.message).toContain("did not acknowledge within 5 s");
    expect(at.told.changes.at(0)?.isUp).toBe(false);
    // Whoever begins to connect now, or waits for it to be back, can be closed all the same.
    const other = kafkaQueue({ brokers: [broker.address] });
    const closing = (async () => {
      await Bun.sleep(1500);
      await Promise.all([other.queue.close(), at.queue.close()]);
      return "closed";
    })();
    expect(await Promise.race([closing, Bun.sleep(patience(20_000))])).toBe("closed");
  } finally {
    broker.signal("SIGCONT");
  }
  await using next = kafkaQueue({ brokers: [broker.address] });
  await until("it takes something again", () =>
    next.queue.put([accepted("b", [insert("orders", 2)])], Date.now()).then(
      () => true,
      () => false,
    ),
  );
});

test("a broker that takes little at once is not away: all of what was put in together is acknowledged in the end", async () => {
  await using at = kafkaQueue({ brokers: [broker.address] });
  await at.queue.put([accepted("first", [insert("notes", 0)])], Date.now());
  const admin = new Admin({ clientId: "operator", bootstrapBrokers: [broker.address] });
  const hold = (op: { value: number; remove: false } | { remove: true }) =>
    admin.alterClientQuotas({
      entries: [{ entities: [{ entityType: "client-id", entityName: "sluice" }], ops: [{ key: "producer_byte_rate", ...op }] }],
    });
  await hold({ value: 500_000, remove: false });
  try {
    const large = { operation: "insert", table: "notes", colNames: ["text"], colTypes: ["TEXT"], colValues: ["x".repeat(99_000)] };
    // More than what may take five seconds at this rate.
    const batches = Array.from({ length: 8 }, (_, i) => accepted(`b${i}`, new Array(9).fill(large)));
    expect((await Promise.all(batches.map((batch) => at.queue.put([batch], Date.now())))).flat()).toEqual(batches.map(() => "put"));
  } finally {
    await hold({ remove: true });
    await admin.close();
  }
  expect(at.told.changes).toEqual([]);
});

test("a topic that is deleted and made anew is read from its first record, though as many were read of the old one", async () => {
  const topic = "made-anew";
  await using at = kafkaQueue({ brokers: [broker.address], topic });
  const feed = at.queue.feed("sqlite");
  await at.queue.put([accepted("old", new Array(50).fill(insert("orders", 0)))], Date.now());
  await follow(feed, 50);
  const admin = new Admin({ clientId: "operator", bootstrapBrokers: [broker.address] });
  await admin.deleteTopics({ topics: [topic] });
  await admin.close();
  await until("it takes activities again", () =>
    at.queue.put([accepted("new", new Array(100).fill(insert("orders", 1)))], Date.now()).then(
      () => true,
      () => false,
    ),
  );
  expect((await follow(feed, 100)).map(({ id }) => id)).toEqual(Array.from({ length: 100 }, (_, i) => `new:${i}`));
  expect(at.told.strange.join()).toContain("was made anew");
});
