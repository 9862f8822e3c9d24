import type { ClusterMetadata } from "@platformatic/kafka";
import { type Consumer, isRefusal, isUnknownTopic, type Producer } from "./client.ts";
import type { Library } from "./load.ts";

export interface TopicSettings {
  readonly topic: string;
  /** Of a topic that is made here. */
  readonly partitions: number;
  /** How long the records of a topic that is made here are kept, in milliseconds; -1: for ever; `null`: as the brokers do by default. */
  readonly retention: number | null;
}

type Client = Producer | Consumer;

/** The largest record of a topic that is made here. An activity may be as large as a request's body, which is 10 MB by default. */
const MAX_RECORD = 16 * 1024 * 1024;
const CREATE_WITHIN = 4000;

/** Makes sure that a topic is there. Throws what the client throws. */
export async function ensureTopic(kafka: Library, client: Client, settings: TopicSettings): Promise<void> {
  const { topic } = settings;
  const end = performance.now() + CREATE_WITHIN;
  for (let isMade = false; ; ) {
    try {
      const metadata = await client.metadata({ topics: [topic], forceUpdate: true, retries: 0 });
      if (metadata.topics.get(topic)?.partitions.every(({ leader }) => leader >= 0)) return;
    } catch (error) {
      const isMissing = isUnknownTopic(error);
      if (!isMissing && !isRefusal(error, "LEADER_NOT_AVAILABLE")) throw error;
      if (performance.now() > end) throw error;
      if (isMissing && !isMade) await create(kafka, client, settings);
      isMade = true;
    }
    await Bun.sleep(100);
  }
}

async function create(kafka: Library, client: Client, { topic, partitions, retention }: TopicSettings): Promise<void> {
  const { brokers, controllerId }: ClusterMetadata = await client.metadata({ topics: [], forceUpdate: true, retries: 0 });
  const controller = brokers.get(controllerId) ?? [...brokers.values()][0];
  if (controller === undefined) throw new Error("the cluster names no broker");
  const configs = [
    { name: "max.message.bytes", value: String(MAX_RECORD) },
    ...(retention === null ? [] : [{ name: "retention.ms", value: String(retention) }]),
  ];
  // The brokers' default.
  const request = [{ name: topic, numPartitions: partitions, replicationFactor: -1, assignments: [], configs }];
  await new Promise<void>((resolve, reject) => {
    const settle = (error?: Error | null): void =>
      // Another instance was faster.
      error && !isRefusal(error, "TOPIC_ALREADY_EXISTS") ? reject(error) : resolve();
    client[kafka.kGetConnection](controller, (failed, connection) => {
      if (failed) return settle(failed);
      client[kafka.kGetApi]<[unknown, typeof request, number, boolean, typeof settle], unknown>("CreateTopics", (missing, api) => {
        if (missing) return settle(missing);
        (api as unknown as (...args: unknown[]) => void)(connection, request, CREATE_WITHIN, false, settle);
      });
    });
  });
}
