import { expect } from "bun:test";
import { kafkaLibrary } from "../../../src/activities/kafka/load.ts";
import { LeaseLost, type Portion } from "../../../src/activities/queues/queue.ts";
import { engineIn } from "../../support/activities.ts";
import { type KafkaBroker, startKafka } from "../../support/kafka.ts";
import { accepted, follow, insert, kafkaQueue, until } from "../../support/kafka-queue.ts";
import { folder } from "../../support/process.ts";
import { having } from "../../support/programs.ts";

const { afterAll, beforeAll, test } = having("java", "mvn");

let broker: KafkaBroker;
beforeAll(async () => {
  broker = await startKafka();
});
afterAll(() => broker[Symbol.asyncDispose]());

const numbers = (from: number, count: number, table = "orders"): object[] =>
  Array.from({ length: count }, (_, i) => insert(table, from + i));
const ids = (deliveries: readonly { readonly id: string }[]): string[] => deliveries.map(({ id }) => id);

/** Hands out one portion; waits for it. */
async function leaseOne(feed: { lease(max: number, now: number): unknown }, max: number): Promise<Portion> {
  let portion: Portion | null = null;
  await until("a portion is handed out", async () => {
    portion = (await feed.lease(max, Date.now())) as Portion | null;
    return portion !== null;
  });
  return portion as unknown as Portion;
}

test("activities that were put in are handed out once, in order for each table, as they were sent", async () => {
  await using at = kafkaQueue({ brokers: [broker.address] });
  const feed = at.queue.feed("sqlite");
  const mixed = Array.from({ length: 3000 }, (_, i) => insert(["Orders", "orders", "customers", "items"][i % 4] as string, i));
  const exact = `{"operation":"delete","table":"prices","old_value":{"col_names":["a"],"col_types":["DECIMAL(30,10)"],"col_values":[12345678901234567890.50]}}`;
  const put = await at.queue.put([accepted("b1", mixed), accepted("b2", numbers(0, 5)), accepted("b3", [exact])], 1_700_000_000_000);
  expect(put).toEqual(["put", "put", "put"]);
  const got = await follow(feed, 3006);
  expect(new Set(ids(got)).size).toBe(3006);
  expect(got.length).toBe(3006);
  for (const name of ["orders", "customers", "items"]) {
    const table = got.filter(({ activity }) => activity.table.toLowerCase() === name);
    const places = table.map(({ id }) => id.split(":")).map(([batch = "", i]) => Number(batch.slice(1)) * 10_000 + Number(i));
    expect(places).toEqual([...places].sort((a, b) => a - b));
    const positions = table.map(({ position }) => position);
    expect(positions).toEqual([...new Set(positions)].sort((a, b) => a - b));
  }
  const price = got.find(({ id }) => id === "b3:0");
  expect(JSON.stringify(price?.activity.payload)).toBe(exact);
  expect(price?.activity.values).toEqual(["12345678901234567890.5000000000"]);
  expect(at.told.strange).toEqual([]);
  expect(at.told.arrivals).toContain("sqlite");
});

test("each sink gets all of it, one that comes later as well, and goes on where it was", async () => {
  const topic = "each-sink";
  {
    await using at = kafkaQueue({ brokers: [broker.address], topic });
    const feed = at.queue.feed("first");
    await at.queue.put([accepted("a", numbers(0, 50))], Date.now());
    expect((await follow(feed, 50)).length).toBe(50);
  }
  await using at = kafkaQueue({ brokers: [broker.address], topic });
  const [first, second] = [at.queue.feed("first"), at.queue.feed("second")];
  await at.queue.put([accepted("b", numbers(50, 10))], Date.now());
  expect(ids(await follow(first, 10)).every((id) => id.startsWith("b:"))).toBe(true);
  expect((await follow(second, 60)).length).toBe(60);
});

test("what was given back is handed out again from its time on, one by one if that is asked for, and what follows it after it", async () => {
  await using at = kafkaQueue({ brokers: [broker.address], partitions: 1 });
  const feed = at.queue.feed("sqlite");
  await at.queue.put([accepted("a", numbers(0, 20))], Date.now());
  const portion = await leaseOne(feed, 1000);
  expect(ids(portion.deliveries)).toEqual(numbers(0, 20).map((_, i) => `a:${i}`));
  expect(portion).toMatchObject({ attempts: 1, mayRepeat: true });
  const now = Date.now();
  await feed.retry(portion, now + 60_000);
  expect(await feed.lease(1, now)).toBeNull();
  expect(feed.nextAt(now)).toBe(now + 60_000);
  const single = await leaseOne({ lease: (max) => feed.lease(max, now + 60_000) }, 1);
  expect(ids(single.deliveries)).toEqual(["a:0"]);
  expect(single.attempts).toBe(2);
  await feed.done(single, now);
  const rest = await leaseOne({ lease: (max) => feed.lease(max, now + 60_000) }, 1000);
  expect(ids(rest.deliveries)).toEqual(ids(portion.deliveries).slice(1));
  await feed.done(rest, now);
  expect(async () => feed.done(rest, now)).toThrow(LeaseLost);
});

test("a replay goes to its sink alone, with the id that the activity had", async () => {
  await using at = kafkaQueue({ brokers: [broker.address] });
  const [one, other] = [at.queue.feed("one"), at.queue.feed("other")];
  await at.queue.put([{ ...accepted("r", numbers(7, 1)), replay: { id: "old:3", sink: "one" } }], Date.now());
  await at.queue.put([accepted("a", numbers(8, 1))], Date.now());
  const [replayed, fresh] = await follow(one, 2);
  expect(replayed).toMatchObject({ id: "old:3", isReplay: true });
  expect(fresh).toMatchObject({ id: "a:0", isReplay: false });
  expect(ids(await follow(other, 1))).toEqual(["a:0"]);
  await until("what is for another sink counts as read", async () => (await other.backlog()).activities === 0);
});

test("what waits is counted in activities over all partitions, with the time of the oldest", async () => {
  await using at = kafkaQueue({ brokers: [broker.address] });
  const feed = at.queue.feed("sqlite");
  const accepted1 = 1_700_000_000_123;
  await at.queue.put([accepted("a", [...numbers(0, 30), ...numbers(0, 12, "customers")])], accepted1);
  await until("all of it waits", async () => {
    const { activities, oldest } = await feed.backlog();
    return activities === 42 && oldest === accepted1;
  });
  await follow(feed, 42);
  await until("nothing waits", async () => (await feed.backlog()).activities === 0);
  expect(await feed.backlog()).toEqual({ batches: null, activities: 0, size: null, oldest: null });
});

test("what a stranger writes to the topic is left out and told, and holds up nothing", async () => {
  const topic = "with-strangers";
  await using at = kafkaQueue({ brokers: [broker.address], topic, partitions: 1 });
  const feed = at.queue.feed("sqlite");
  await at.queue.put([accepted("a", numbers(0, 1))], Date.now());
  const { Producer } = await kafkaLibrary();
  const stranger = new Producer({ clientId: "stranger", bootstrapBrokers: [broker.address] });
  const id = new Map([[Buffer.from("sluice-id"), Buffer.from("x:0")]]);
  await stranger.send({
    messages: [
      { topic, value: Buffer.from("hello") },
      { topic, value: Buffer.from("not json"), headers: id },
      { topic, value: Buffer.from('{"operation":"upsert","table":"t"}'), headers: id },
    ],
    acks: -1,
  });
  await stranger.close();
  await at.queue.put([accepted("b", numbers(1, 1))], Date.now());
  expect(ids(await follow(feed, 2))).toEqual(["a:0", "b:0"]);
  expect(at.told.strange.length).toBe(3);
  expect(at.told.strange.join("\n")).toMatch(
    /record 1 .*no header[\s\S]*record 2 .*is not JSON[\s\S]*record 3 .*activity\.operation must be/,
  );
  await until("nothing waits", async () => (await feed.backlog()).activities === 0);
});

test("batches of more than a broker takes at once are put in, and one activity larger than the topic takes is refused alone", async () => {
  await using at = kafkaQueue({ brokers: [broker.address] });
  const feed = at.queue.feed("sqlite");
  const large = (size: number) => ({
    operation: "insert",
    table: "notes",
    colNames: ["text"],
    colTypes: ["TEXT"],
    colValues: ["x".repeat(size)],
  });
  const many = Array.from({ length: 40 }, () => large(100_000));
  await at.queue.put([accepted("many", many)], Date.now());
  const results = await Promise.all([
    at.queue.put([accepted("a", numbers(0, 1))], Date.now()),
    at.queue.put([accepted("huge", [large(17 * 1024 * 1024)])], Date.now()),
    at.queue.put([accepted("b", numbers(0, 1))], Date.now()),
  ]);
  expect(results).toEqual([["put"], ["tooLarge"], ["put"]]);
  const got = ids(await follow(feed, 42));
  expect(got.filter((id) => id.startsWith("many:"))).toEqual(many.map((_, i) => `many:${i}`));
  expect(got).toContain("a:0");
  expect(got).toContain("b:0");
});

test("no more is held than a bound while nobody takes it, and all of it comes", async () => {
  await using at = kafkaQueue({ brokers: [broker.address], partitions: 3 });
  const large = (n: number) => ({
    operation: "insert",
    table: `t${n % 7}`,
    colNames: ["n", "text"],
    colTypes: ["INTEGER", "TEXT"],
    colValues: [n, "y".repeat(20_000)],
  });
  const count = 3000;
  for (let i = 0; i < count; i += 500)
    await at.queue.put(
      [
        accepted(
          `b${i}`,
          Array.from({ length: 500 }, (_, j) => large(i + j)),
        ),
      ],
      Date.now(),
    );
  Bun.gc(true);
  const before = process.memoryUsage().rss;
  const feed = at.queue.feed("slow");
  await until("something has arrived", () => (feed.nextAt(0) ?? 1) === 0);
  await Bun.sleep(3000);
  Bun.gc(true);
  // 60 MB wait in the topic.
  expect(process.memoryUsage().rss - before).toBeLessThan(45e6);
  expect(new Set(ids(await follow(feed, count))).size).toBe(count);
});

test("a batch that waits in the file and is too large for Kafka stays there, and is told", async () => {
  using home = folder();
  const large = { ...insert("notes", 1), colNames: ["t"], colTypes: ["TEXT"], colValues: ["x".repeat(17 * 1024 * 1024)] };
  {
    const it = engineIn({ home: home.path });
    await it.post(insert("orders", 1));
    await it.post(large);
    await it.close();
  }
  await using at = kafkaQueue({ brokers: [broker.address] });
  const it = engineIn({ home: home.path, queueOn: () => at.queue });
  await expect(it.post(insert("orders", 2))).rejects.toThrow("has an activity that is larger than the queue takes");
  expect(it.all("SELECT activities FROM sluice_queue WHERE body LIKE '%notes%'")).toEqual([{ activities: 1 }]);
  await it.close();
});
