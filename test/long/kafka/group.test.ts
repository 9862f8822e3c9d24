import { expect } from "bun:test";
import { LeaseLost, type Portion } from "../../../src/activities/queues/queue.ts";
import { type KafkaBroker, startKafka } from "../../support/kafka.ts";
import { accepted, insert, kafkaQueue, until } from "../../support/kafka-queue.ts";
import { having } from "../../support/programs.ts";

const { afterAll, beforeAll, test } = having("java", "mvn");

let broker: KafkaBroker;
beforeAll(async () => {
  broker = await startKafka();
});
afterAll(() => broker[Symbol.asyncDispose]());

/** Tables enough that each partition has some. */
const TABLES = Array.from({ length: 40 }, (_, i) => `table_${i}`);
const everyTable = (batch: string, n: number) =>
  accepted(
    batch,
    TABLES.map((table) => insert(table, n)),
  );
const idsOf = (batch: string): string[] => TABLES.map((_, i) => `${batch}:${i}`);

/** Starts another instance that follows the same sink. */
function member(config: object, delay = 5) {
  const child = Bun.spawn(
    [process.execPath, `${import.meta.dir}/../../support/kafka-member.ts`, JSON.stringify({ config, sink: "sqlite", delay })],
    { stdout: "pipe", stderr: "inherit" },
  );
  const applied: string[] = [];
  (async () => {
    let text = "";
    const decoder = new TextDecoder();
    for await (const chunk of child.stdout) {
      text += decoder.decode(chunk, { stream: true });
      const lines = text.split("\n");
      text = lines.pop() ?? "";
      applied.push(...lines);
    }
  })();
  return {
    child,
    applied,
    [Symbol.asyncDispose]: async () => {
      child.kill("SIGKILL");
      await child.exited;
    },
  };
}

test("instances share what comes; when one is killed the others go on with all of it within ten seconds, and nothing is lost", async () => {
  const topic = "shared";
  const config = { brokers: [broker.address], tls: false, sasl: null, topic, partitions: 8, group: "sluice" };
  await using at = kafkaQueue(config);
  await at.queue.put([everyTable("first", 0)], Date.now());
  await using one = member(config);
  await using two = member(config);
  const all = () => new Set([...one.applied, ...two.applied]);
  await until("the first batch is applied", () => idsOf("first").every((id) => all().has(id)));
  let n = 0;
  await until("both have a part", async () => {
    const [a, b] = [one.applied.length, two.applied.length];
    await at.queue.put([everyTable(`n${n++}`, n)], Date.now());
    await Bun.sleep(300);
    return one.applied.length > a && two.applied.length > b;
  });
  // What it has taken and not told of is the other's now.
  const puts = (async () => {
    for (let i = 0; i < 20; i++) await at.queue.put([everyTable(`k${i}`, i)], Date.now());
  })();
  one.child.kill("SIGKILL");
  await one.child.exited;
  await puts;
  await until(
    "the other has all the rest",
    () =>
      Array.from({ length: 20 }, (_, i) => idsOf(`k${i}`))
        .flat()
        .every((id) => all().has(id)),
    10_000,
  );
  expect(
    Array.from({ length: n }, (_, i) => idsOf(`n${i}`))
      .flat()
      .filter((id) => !all().has(id)),
  ).toEqual([]);
});

test("what was handed out of partitions that another instance has now is not confirmed any more, and it is handed out there", async () => {
  const topic = "handed-over";
  await using first = kafkaQueue({ brokers: [broker.address], topic, partitions: 8 });
  await first.queue.put([everyTable("a", 0)], Date.now());
  const feed = first.queue.feed("sqlite");
  let portion: Portion | null = null;
  await until("all of it is handed out", async () => {
    portion ??= await feed.lease(1000, Date.now());
    return portion !== null;
  });
  const here = (portion as Portion | null)?.deliveries.map(({ id }) => id) ?? [];
  expect(here.sort()).toEqual(idsOf("a").sort());
  await using second = kafkaQueue({ brokers: [broker.address], topic, partitions: 8 });
  const other = second.queue.feed("sqlite");
  const there: string[] = [];
  await until("the other instance has a part", async () => {
    const next = await other.lease(1000, Date.now());
    if (next === null) return false;
    there.push(...next.deliveries.map(({ id }) => id));
    await other.done(next, Date.now());
    return true;
  });
  expect(there.every((id) => here.includes(id))).toBe(true);
  expect(async () => feed.done(portion as unknown as Portion, Date.now())).toThrow(LeaseLost);
});

test("what is under way is settled before partitions go to another instance: nothing is handed out twice", async () => {
  const topic = "settled-first";
  await using first = kafkaQueue({ brokers: [broker.address], topic, partitions: 8 });
  const applied: string[] = [];
  let isOver = false;
  const work = async (at: ReturnType<typeof kafkaQueue>): Promise<void> => {
    const feed = at.queue.feed("sqlite");
    while (!isOver) {
      const portion = await feed.lease(20, Date.now());
      if (portion === null) {
        await Bun.sleep(5);
        continue;
      }
      // A sink that takes its time.
      await Bun.sleep(100);
      applied.push(...portion.deliveries.map(({ id }) => id));
      await feed.done(portion, Date.now());
    }
  };
  const wanted: string[] = [];
  const workers = [work(first)];
  for (let i = 0; i < 20; i++) {
    await first.queue.put([everyTable(`a${i}`, i)], Date.now());
    wanted.push(...idsOf(`a${i}`));
  }
  await using second = kafkaQueue({ brokers: [broker.address], topic, partitions: 8 });
  workers.push(work(second));
  await until("all is applied", () => new Set(applied).size === wanted.length);
  isOver = true;
  await Promise.all(workers);
  expect(applied.sort()).toEqual(wanted.sort());
});
