import { parseBatch } from "../../src/activities/activity.ts";
import type { KafkaQueueConfig } from "../../src/activities/destinations.ts";
import { KafkaQueue, type KafkaQueueOptions } from "../../src/activities/queues/kafka.ts";
import type { Accepted, Delivered, Feed } from "../../src/activities/queues/queue.ts";
import { patience } from "./patience.ts";

/** What a queue has told of itself. */
export interface Told {
  readonly changes: { readonly isUp: boolean; readonly why: string }[];
  readonly strange: string[];
  readonly arrivals: string[];
}

/** Opens a queue in Kafka for a test, which closes it with its scope. */
export function kafkaQueue(
  config: Partial<KafkaQueueConfig> & Pick<KafkaQueueConfig, "brokers">,
  options: Partial<KafkaQueueOptions> = {},
) {
  const told: Told = { changes: [], strange: [], arrivals: [] };
  const queue = new KafkaQueue({
    config: { tls: false, sasl: null, topic: `activities-${Bun.randomUUIDv7()}`, partitions: 4, group: "sluice", ...config },
    keepFor: null,
    onArrival: (sink) => told.arrivals.push(sink),
    onChange: (isUp, why) => told.changes.push({ isUp, why }),
    onStrange: (why) => told.strange.push(why),
    ...options,
  });
  return { queue, told, [Symbol.asyncDispose]: () => queue.close() };
}

/** Gives a batch of activities, as it is accepted; each is an object, or its JSON. */
export function accepted(batch: string, activities: readonly (object | string)[]): Accepted {
  const body = `{"activities":[${activities.map((each) => (typeof each === "string" ? each : JSON.stringify(each))).join()}]}`;
  const read = parseBatch(body);
  if ("faults" in read) throw new Error(JSON.stringify(read.faults));
  return { batch, body, activities: read.activities, key: null, replay: null };
}

/** Gives an activity: a row of a table with a number. */
export const insert = (table: string, n: number): object => ({
  operation: "insert",
  table,
  colNames: ["n"],
  colTypes: ["INTEGER"],
  colValues: [n],
});

/** Waits until something is so; fails when it does not come to that. */
export async function until(what: string, isSo: () => boolean | Promise<boolean>, within = 60_000): Promise<void> {
  const end = performance.now() + patience(within);
  while (!(await isSo())) {
    if (performance.now() > end) throw new Error(`it did not come to this: ${what}`);
    await Bun.sleep(20);
  }
}

/** Takes what a feed hands out, until there are as many; each is done at once. */
export async function follow(feed: Feed, count: number): Promise<Delivered[]> {
  const all: Delivered[] = [];
  await until(`${count} activities are handed out`, async () => {
    const portion = await feed.lease(1000, Date.now());
    if (portion === null) return all.length >= count;
    await feed.done(portion, Date.now());
    all.push(...portion.deliveries);
    return all.length >= count;
  });
  return all;
}
