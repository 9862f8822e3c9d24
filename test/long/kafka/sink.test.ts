import { expect } from "bun:test";
import { parseActivity } from "../../../src/activities/activity.ts";
import { kafkaLibrary } from "../../../src/activities/kafka/load.ts";
import { KafkaSink } from "../../../src/activities/sinks/kafka.ts";
import { type Delivery, type Run, SinkAway } from "../../../src/activities/sinks/sink.ts";
import { type KafkaBroker, startKafka } from "../../support/kafka.ts";
import { until } from "../../support/kafka-queue.ts";
import { having } from "../../support/programs.ts";

const { afterAll, beforeAll, test } = having("java", "mvn");

let broker: KafkaBroker;
beforeAll(async () => {
  broker = await startKafka();
});
afterAll(() => broker[Symbol.asyncDispose]());

const DELIVERY: Delivery = { at: 1_700_000_000_000, mayRepeat: true, giveUp: null, settle: () => {} };
function sinkAt(topic: string, partitions = 5) {
  const connection = { brokers: [broker.address], tls: false, sasl: null };
  const sink = new KafkaSink({ config: { type: "kafka", name: null, ...connection, topic, partitions }, where: "activities.sinks[1]" });
  return { sink, [Symbol.asyncDispose]: () => sink.close() };
}

/** Gives a run of rows, from the JSON that was sent of each. */
function runOf(first: string, ...rest: string[]): Run {
  const read = [first, ...rest].map((text) => {
    const activity = parseActivity(text);
    if ("faults" in activity) throw new Error(JSON.stringify(activity.faults));
    return activity;
  });
  const [{ operation, table, columns }] = read as [(typeof read)[0]];
  const rows = read.map(({ values, payload }, i) => ({ id: `${table}:${i}`, values, payload, position: i, isReplay: false }));
  return { operation, table, columns, rows };
}

/** Reads a topic as anybody may. */
async function readAll(topic: string, count: number) {
  const { Consumer } = await kafkaLibrary();
  const consumer = new Consumer({ clientId: "reader", groupId: `reader-${topic}`, bootstrapBrokers: [broker.address] });
  const stream = await consumer.consume({ topics: [topic], mode: "earliest", autocommit: false });
  const all: { key: string; value: string; partition: number; timestamp: number }[] = [];
  for await (const { key, value, partition, timestamp } of stream) {
    all.push({ key: String(key), value: String(value), partition, timestamp: Number(timestamp) });
    if (all.length === count) break;
  }
  await consumer.close(true);
  return all;
}

test("each row is a record: with its table and id as the key, in one spelling, and its values as they were sent", async () => {
  await using at = sinkAt("rows");
  const insert = `{"operation":"insert","table":"Prices","col_names":["Id","price"],"col_types":["integer","DECIMAL(10,3)"],"col_values":[1,1.50]}`;
  const camel = `{"operation":"insert","table":"Prices","colNames":["Id","price"],"colTypes":["integer","DECIMAL(10,3)"],"colValues":[9007199254740993,null]}`;
  const gone = `{"operation":"delete","table":"Prices","old_value":{"col_names":["Id"],"col_types":["INTEGER"],"col_values":[1]}}`;
  expect(await at.sink.apply([runOf(insert, camel), runOf(gone)], DELIVERY)).toEqual([null, null, null]);
  const all = await readAll("rows", 3);
  expect(all.map(({ key }) => key)).toEqual(["prices:Prices:0", "prices:Prices:1", "prices:Prices:0"]);
  expect(all.map(({ value }) => value)).toEqual([
    `{"id":"Prices:0","operation":"insert","table":"Prices","colNames":["Id","price"],"colTypes":["integer","DECIMAL(10,3)"],"colValues":[1,1.50]}`,
    `{"id":"Prices:1","operation":"insert","table":"Prices","colNames":["Id","price"],"colTypes":["integer","DECIMAL(10,3)"],"colValues":[9007199254740993,null]}`,
    `{"id":"Prices:0","operation":"delete","table":"Prices","oldValue":{"colNames":["Id"],"colTypes":["INTEGER"],"colValues":[1]}}`,
  ]);
  expect(all.map(({ timestamp }) => timestamp)).toEqual([DELIVERY.at, DELIVERY.at, DELIVERY.at]);
});

test("a table has one partition, chosen as Kafka's own clients choose it for the table's name", async () => {
  await using at = sinkAt("partitions", 7);
  const rowOf = (table: string) => `{"operation":"insert","table":"${table}","colNames":["n"],"colTypes":["INTEGER"],"colValues":[1]}`;
  await at.sink.apply([runOf(rowOf("foobar"), rowOf("foobar")), runOf(rowOf("FooBar")), runOf(rowOf("customers"))], DELIVERY);
  const all = await readAll("partitions", 4);
  const placesOf = (table: string) => [...new Set(all.filter(({ key }) => key.startsWith(table)).map(({ partition }) => partition))];
  // The hash that Kafka's own tests have for "foobar" (UtilsTest.testMurmur2).
  expect(placesOf("foobar:")).toEqual([(-790332482 & 0x7fffffff) % 7]);
  expect(placesOf("customers:").length).toBe(1);
});

test("one row that is too large for the topic is an error of its own, and a sink that can't be reached is away until it can", async () => {
  await using at = sinkAt("large");
  const rowOf = (size: number) =>
    `{"operation":"insert","table":"notes","colNames":["t"],"colTypes":["TEXT"],"colValues":["${"x".repeat(size)}"]}`;
  const [outcome] = await at.sink.apply([runOf(rowOf(17 * 1024 * 1024))], DELIVERY);
  expect(outcome).toContain("max.message.bytes");
  expect(await at.sink.apply([runOf(rowOf(10))], DELIVERY)).toEqual([null]);
  await broker.kill();
  const away = await at.sink.apply([runOf(rowOf(10))], DELIVERY).catch((error) => error);
  expect(away).toBeInstanceOf(SinkAway);
  expect(away.message).toContain("activities.sinks[1]");
  await broker.start();
  await until("it takes rows again", () =>
    at.sink.apply([runOf(rowOf(10))], DELIVERY).then(
      () => true,
      () => false,
    ),
  );
});
