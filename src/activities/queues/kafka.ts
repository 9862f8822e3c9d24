import type { KafkaQueueConfig } from "../destinations.ts";
import { KafkaAway } from "../kafka/client.ts";
import { type KafkaRecord, KafkaWriter, RecordTooLarge } from "../kafka/writer.ts";
import { HEADERS, KafkaFeed } from "./kafka-feed.ts";
import { type Accepted, type ActivityQueue, activityId, type Feed, type PutResult, QueueAway } from "./queue.ts";

export interface KafkaQueueOptions {
  readonly config: KafkaQueueConfig;
  /** How long a topic that is made here keeps what it holds, in milliseconds; `null`: for ever. */
  readonly keepFor: number | null;
  /** Tells that there is something for a sink. */
  readonly onArrival: (sink: string) => void;
  /** Tells that Kafka is away, and why, or back; called once for each. */
  readonly onChange: (isUp: boolean, why: string) => void;
  /** Tells of records that are left out: they are no activities, or were deleted before a sink had them. */
  readonly onStrange: (why: string) => void;
}

const WHERE = "activities.queue.kafka";

/** Keeps activities in a topic of Kafka, one record each, keyed by table. Instances share the topic, and each sink's consumer group. */
export class KafkaQueue implements ActivityQueue {
  readonly kind = "kafka";
  readonly rank = 2;
  readonly isTransactional = false;
  private readonly writer: KafkaWriter;
  private readonly feeds: KafkaFeed[] = [];
  /** What is away, and why. */
  private readonly away = new Map<string, string>();

  constructor(private readonly options: KafkaQueueOptions) {
    this.writer = new KafkaWriter({ ...this.topic, onChange: (isUp, why) => this.changed("", isUp, why) });
  }

  private get topic() {
    const { config, keepFor } = this.options;
    return { connection: config, where: WHERE, topic: config.topic, partitions: config.partitions, retention: keepFor ?? -1 };
  }

  private changed(part: string, isUp: boolean, why: string): void {
    const wasUp = this.away.size === 0;
    if (isUp) this.away.delete(part);
    else this.away.set(part, why);
    if (wasUp !== (this.away.size === 0)) this.options.onChange(!wasUp, wasUp ? why : "");
  }

  /** Puts batches in, and is done when all replicas in sync have all of them. Throws `QueueAway`. */
  async put(batches: readonly Accepted[], now: number): Promise<readonly PutResult[]> {
    try {
      await this.writer.write(batches.flatMap((batch) => recordsOf(batch, now)));
      return batches.map(() => "put");
    } catch (error) {
      if (error instanceof KafkaAway) throw new QueueAway(error.message);
      if (!(error instanceof RecordTooLarge)) throw error;
      if (batches.length === 1) return ["tooLarge"];
    }
    // One of them has it: the others are none the worse for it. What of them is there already has the same ids.
    const results: PutResult[] = [];
    for (const batch of batches) results.push(...(await this.put([batch], now)));
    return results;
  }

  feed(sink: string): Feed {
    const feed = new KafkaFeed({
      ...this.topic,
      sink,
      group: `${this.options.config.group}.${sink}`,
      onArrival: () => this.options.onArrival(sink),
      onChange: (isUp, why) => this.changed(sink, isUp, why),
      onStrange: this.options.onStrange,
    });
    this.feeds.push(feed);
    return feed;
  }

  async close(): Promise<void> {
    await Promise.all([this.writer.close(), ...this.feeds.map((feed) => feed.close())]);
  }
}

/** Gives a record for each activity of a batch. */
function recordsOf({ batch, activities, replay }: Accepted, now: number): KafkaRecord[] {
  return activities.map(({ table, payload }, i) => {
    const key = table.toLowerCase();
    const headers: (readonly [string, string])[] = [[HEADERS.id, replay?.id ?? activityId(batch, i)]];
    if (replay !== null) headers.push([HEADERS.replay, replay.sink]);
    return { key, partitionBy: key, value: JSON.stringify(payload), headers, timestamp: now };
  });
}
