import { clientOptions, explain, isRefusal, KafkaAway, type KafkaPlace, type Producer } from "./client.ts";
import { kafkaLibrary, type Library } from "./load.ts";
import { ensureTopic, type TopicSettings } from "./topic.ts";

export interface KafkaRecord {
  readonly key: string;
  /** Chooses the partition, as Kafka's own clients do by the key: all with the same are in order. */
  readonly partitionBy: string;
  readonly value: string;
  readonly headers: readonly (readonly [name: string, value: string])[];
  /** In milliseconds since 1970. */
  readonly timestamp: number;
}

/** Says that a record is larger than the topic takes: to try again is of no use. */
export class RecordTooLarge extends Error {}

export interface WriterSettings extends KafkaPlace, TopicSettings {
  /** Tells that records can't be written any more, or again; not called twice with the same. */
  readonly onChange: (isUp: boolean, why: string) => void;
}

/** The time in which what is sent at once must be acknowledged by all. In milliseconds. */
const WRITE_WITHIN = 5000;
const RETRY_EVERY = 250;
const PROBE_EVERY = 1000;
/** Brokers take a million bytes at once for a partition by default; a larger record goes alone. */
const MAX_BATCH = 900_000;
const CLOSED = "the connection to Kafka is closed";
/** What a record takes besides key, value and headers, at most. */
const OVERHEAD = 64;

type Message = Parameters<Producer["send"]>[0]["messages"][number];
interface Waiting {
  readonly records: readonly KafkaRecord[];
  resolve(): void;
  reject(error: unknown): void;
}
interface Link {
  readonly kafka: Library;
  readonly producer: Producer;
}

/**
 * Writes records to a topic: in order, each once (idempotent), acknowledged by all replicas in sync. What comes while a write is under way
 * is written together. When Kafka is away writes fail at once, until a probe each second finds it back.
 */
export class KafkaWriter {
  private waiting: Waiting[] = [];
  private isWriting = false;
  private link: Promise<Link> | null = null;
  /** The producer of `link`, from before it is known whether it works. */
  private producer: Producer | null = null;
  private why: string | null = null;
  private timer: Timer | null = null;
  private isClosed = false;

  constructor(private readonly settings: WriterSettings) {
    this.probe();
  }

  /** Writes records, and is done when all replicas in sync have them. Throws `KafkaAway`, `RecordTooLarge`. */
  write(records: readonly KafkaRecord[]): Promise<void> {
    if (this.isClosed) return Promise.reject(new KafkaAway(CLOSED));
    if (this.why !== null) return Promise.reject(new KafkaAway(this.why));
    return new Promise((resolve, reject) => {
      this.waiting.push({ records, resolve, reject });
      if (!this.isWriting) this.run();
    });
  }

  private async run(): Promise<void> {
    this.isWriting = true;
    while (this.waiting.length > 0) {
      const taken = this.waiting;
      this.waiting = [];
      await this.settle(taken);
    }
    this.isWriting = false;
  }

  private async settle(taken: readonly Waiting[]): Promise<void> {
    try {
      await this.send(taken.flatMap(({ records }) => records));
      for (const { resolve } of taken) resolve();
    } catch (error) {
      if (error instanceof RecordTooLarge && taken.length > 1) {
        // One of them has it: the others are none the worse for it.
        for (const each of taken) await this.settle([each]);
        return;
      }
      for (const { reject } of taken) reject(error);
      if (error instanceof RecordTooLarge) return;
      for (const { reject } of this.waiting) reject(error);
      this.waiting = [];
    }
  }

  private async send(records: readonly KafkaRecord[]): Promise<void> {
    if (records.length === 0) return;
    if (this.why !== null) throw new KafkaAway(this.why);
    try {
      const { kafka, producer } = await this.inTime(this.connect());
      const { topic } = this.settings;
      const metadata = await this.inTime(producer.metadata({ topics: [topic] }));
      const partitions = metadata.topics.get(topic)?.partitionsCount ?? 1;
      for (const messages of rounds(kafka, topic, partitions, records)) await this.inTime(producer.send({ messages }));
    } catch (error) {
      if (isRefusal(error, "MESSAGE_TOO_LARGE", "RECORD_LIST_TOO_LARGE"))
        throw new RecordTooLarge(
          `the topic ${this.settings.topic} takes no record as large as this: raise its max.message.bytes, or send less at once`,
        );
      throw new KafkaAway(this.lose(error));
    }
  }

  /** Waits for one step of a write: brokers that are slow, or hold a client to its quota, may take longer for all of them. */
  private async inTime<T>(step: Promise<T>): Promise<T> {
    let timer: Timer | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new KafkaAway(this.late())), WRITE_WITHIN);
    });
    step.catch(() => {});
    try {
      return await Promise.race([step, late]);
    } finally {
      clearTimeout(timer);
    }
  }

  private late(): string {
    const { where, connection } = this.settings;
    return `Kafka at ${connection.brokers.join(", ")} did not acknowledge within ${WRITE_WITHIN / 1000} s: check its brokers and the replicas of the topic ${this.settings.topic} (${where})`;
  }

  private connect(): Promise<Link> {
    this.link ??= this.open();
    return this.link;
  }

  private async open(): Promise<Link> {
    const kafka = await kafkaLibrary();
    if (this.isClosed) throw new KafkaAway(CLOSED);
    const producer = new kafka.Producer({
      ...clientOptions(this.settings),
      idempotent: true,
      requestTimeout: WRITE_WITHIN,
      timeout: WRITE_WITHIN,
      retries: WRITE_WITHIN / RETRY_EVERY,
      retryDelay: RETRY_EVERY,
    });
    producer.on("error" as never, (() => {}) as never);
    this.producer = producer;
    await ensureTopic(kafka, producer, this.settings);
    return { kafka, producer };
  }

  /** Gives up the connection, on which nobody knows what will be written; a new one begins anew. Gives what is wrong. */
  private lose(error: unknown): string {
    if (this.isClosed) return CLOSED;
    const why = explain(error, this.settings);
    this.drop();
    const isNew = this.why === null;
    this.why = why;
    if (isNew) this.settings.onChange(false, why);
    this.timer ??= setTimeout(() => this.probe(), PROBE_EVERY);
    return why;
  }

  /** Closes the connection, also one that is still being made: a broker that hangs would hold it for minutes. */
  private async drop(): Promise<void> {
    const { producer } = this;
    this.link = null;
    this.producer = null;
    await producer?.close(true).catch(() => {});
  }

  private probe(): void {
    this.timer = null;
    const link = this.connect();
    link.then(
      () => {
        if (this.link !== link || this.why === null) return;
        this.why = null;
        this.settings.onChange(true, "");
      },
      (error) => {
        if (this.link === link) this.lose(error);
      },
    );
  }

  async close(): Promise<void> {
    this.isClosed = true;
    if (this.timer !== null) clearTimeout(this.timer);
    await this.drop();
  }
}

/** Gives records in rounds to be sent one after the other: of each partition no more than brokers take at once, and in order. */
function rounds(kafka: Library, topic: string, partitions: number, records: readonly KafkaRecord[]): Message[][] {
  const all: Message[][] = [];
  const places = new Map<string, number>();
  const last = new Map<number, { round: number; size: number }>();
  for (const { key, partitionBy, value, headers, timestamp } of records) {
    // As Kafka's own clients do.
    const partition = places.get(partitionBy) ?? (kafka.murmur2(Buffer.from(partitionBy)) & 0x7fffffff) % partitions;
    places.set(partitionBy, partition);
    const message = {
      topic,
      partition,
      timestamp: BigInt(timestamp),
      key: Buffer.from(key),
      value: Buffer.from(value),
      headers: new Map(headers.map(([name, text]) => [Buffer.from(name), Buffer.from(text)])),
    };
    const size =
      message.key.length + message.value.length + headers.reduce((sum, [name, text]) => sum + name.length + text.length * 3, OVERHEAD);
    const place = last.get(partition) ?? { round: 0, size: 0 };
    if (place.size > 0 && place.size + size > MAX_BATCH) {
      place.round++;
      place.size = 0;
    }
    place.size += size;
    last.set(partition, place);
    const round = all[place.round];
    if (round === undefined) all.push([message]);
    else round.push(message);
  }
  return all;
}
