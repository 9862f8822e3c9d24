import type { ConnectionPool } from "@platformatic/kafka";
import { type Consumer, clientOptions, explain, isRefusal, type KafkaPlace } from "./client.ts";
import { kafkaLibrary, type Library } from "./load.ts";
import { ensureTopic, type TopicSettings } from "./topic.ts";

export interface ReadRecord {
  readonly offset: number;
  /** In milliseconds since 1970. */
  readonly timestamp: number;
  readonly value: Buffer | null;
  readonly headers: readonly (readonly [name: Buffer | null, value: Buffer | null])[];
}

/** Holds what has arrived of one partition while it is ours. When it comes to us again it is another object. */
export class Partition {
  /** True when another instance may have it. */
  isLost = false;
  /** What has arrived, in order; what stands before `head` was taken. */
  private records: ReadRecord[] = [];
  private head = 0;

  constructor(
    readonly id: number,
    /** The offset to be fetched next. */
    public next: bigint,
    /** The offset that was committed last; -1: it is not known. */
    public committed: number,
    /** The offset that is to be committed. */
    public settled: number,
  ) {}

  get first(): ReadRecord | undefined {
    return this.records[this.head];
  }

  add(record: ReadRecord): void {
    this.records.push(record);
  }

  shift(): ReadRecord | undefined {
    const record = this.records[this.head];
    if (record === undefined) return undefined;
    this.head++;
    if (this.head === this.records.length || this.head > 4096) {
      this.records = this.records.slice(this.head);
      this.head = 0;
    }
    return record;
  }
}

export interface ReaderSettings extends KafkaPlace, TopicSettings {
  readonly group: string;
  /** Tells that something has arrived where nothing was. */
  readonly onArrival: () => void;
  /** Tells that nothing can be read any more, or again; not called twice with the same. */
  readonly onChange: (isUp: boolean, why: string) => void;
  /** Tells of records that are gone before they were read, or that can't be. */
  readonly onStrange: (why: string) => void;
  /** Waits until what was taken is settled: partitions are given up after it. */
  readonly whenSettled: () => Promise<void>;
}

/** An instance that says nothing for so long has lost its partitions. In milliseconds; brokers allow no less by default. */
const SESSION = 6000;
const HEARTBEAT_EVERY = 1000;
/** What was taken may be settled within this time before partitions are given up. In milliseconds; well below `SESSION`. */
const SETTLE_WITHIN = 2500;
/** The time for which a broker waits for something new before it says that there is nothing. In milliseconds. */
const WAIT = 1000;
/** No more is fetched while as much has arrived and was not taken, in bytes and in records. */
const MAX_HELD = 8 * 1024 * 1024;
const MAX_RECORDS = 20_000;
const MAX_FETCH = 4 * 1024 * 1024;
const MAX_OF_PARTITION = 1024 * 1024;
/** What a record takes besides its value. */
const OVERHEAD = 300;
/** Fetches in a row that may fail before everything begins anew, with certificates read again. */
const FAILURES = 40;
const AGAIN_AFTER = 500;
/** What brokers say while they begin or hand over: it is told only when it goes on for longer. In milliseconds. */
const PASSING = [
  "COORDINATOR_NOT_AVAILABLE",
  "COORDINATOR_LOAD_IN_PROGRESS",
  "NOT_COORDINATOR",
  "LEADER_NOT_AVAILABLE",
  "NOT_LEADER_OR_FOLLOWER",
  "UNKNOWN_TOPIC_OR_PARTITION",
  "UNKNOWN_TOPIC_ID",
  "REBALANCE_IN_PROGRESS",
  "UNKNOWN_MEMBER_ID",
];
const PASSING_FOR = 10_000;
const REQUEST_WITHIN = 15_000;

/** What is told of the client's group while it is part of it. */
interface Session {
  readonly kafka: Library;
  readonly consumer: Consumer;
  readonly pool: ConnectionPool;
  readonly fail: (error: unknown) => void;
  readonly failed: Promise<never>;
}

/**
 * Reads a topic as a member of a consumer group, and connects again for ever. Partitions come and go as members do; one that stays keeps
 * what has arrived. Nothing is fetched without bound: what was not taken holds up what comes.
 */
export class KafkaReader {
  readonly partitions = new Map<number, Partition>();
  private session: Session | null = null;
  private member = "";
  private generation = -1;
  /** Partitions that were assigned, and where they begin is not known yet. */
  private fresh: number[] = [];
  /** Of the topic that is read: another has other records, though it has the same name. */
  private topicId: string | null = null;
  private isJoining = true;
  private joinedAt = 0;
  private held = 0;
  private records = 0;
  private readonly fetching = new Set<number>();
  private failures = 0;
  private isUp: boolean | null = null;
  private passingSince: number | null = null;
  private isClosed = false;
  private readonly running: Promise<void>;
  private wake: () => void = () => {};

  constructor(private readonly settings: ReaderSettings) {
    this.running = this.run();
  }

  /** True while this instance is known to have its partitions: another can't have them. */
  get isMember(): boolean {
    if (this.session === null || this.isJoining) return false;
    const heard = Math.max(this.joinedAt, this.session.consumer.lastHeartbeat?.getTime() ?? 0);
    return Date.now() - heard < SESSION;
  }

  /** Takes the next record of a partition. */
  take(partition: Partition): ReadRecord | undefined {
    const record = partition.shift();
    if (record === undefined) return undefined;
    this.count(record, -1);
    if (this.held < MAX_HELD / 2 && this.records < MAX_RECORDS / 2) this.wake();
    return record;
  }

  private count(record: ReadRecord, sign: 1 | -1): void {
    this.held += sign * ((record.value?.length ?? 0) + OVERHEAD);
    this.records += sign;
  }

  /** Commits what is settled of the partitions that are still ours. Throws when it can't be done now: it stays to be done. */
  async commit(): Promise<void> {
    const due = [...this.partitions.values()].filter(({ settled, committed }) => settled > committed);
    if (due.length === 0) return;
    if (this.session === null) throw new Error("Kafka is away");
    const marks = due.map((partition) => ({ partition, offset: partition.settled }));
    await this.session.consumer.commit({
      offsets: marks.map(({ partition, offset }) => ({
        topic: this.settings.topic,
        partition: partition.id,
        offset: BigInt(offset),
        leaderEpoch: -1,
      })),
    });
    for (const { partition, offset } of marks) partition.committed = Math.max(partition.committed, offset);
  }

  /** Counts what the group has not committed, of all partitions. Throws when Kafka can't be asked. */
  async lag(): Promise<number> {
    if (this.session === null) throw new Error("Kafka is away");
    const { consumer } = this.session;
    const { topic } = this.settings;
    const ends = (await consumer.listOffsets({ topics: [topic], timestamp: -1n })).get(topic) ?? [];
    const starts = (await consumer.listOffsets({ topics: [topic], timestamp: -2n })).get(topic) ?? [];
    const committed = (await consumer.listCommittedOffsets({ topics: [{ topic, partitions: [...ends.keys()] }] })).get(topic) ?? [];
    return ends.reduce((sum, end, i) => {
      const from = committed[i] ?? -1n;
      const start = starts[i] ?? 0n;
      return sum + Math.max(0, Number(end - (from > start ? from : start)));
    }, 0);
  }

  async close(): Promise<void> {
    this.isClosed = true;
    this.wake();
    this.session?.fail(new Error("closed"));
    await this.running;
  }

  private async run(): Promise<void> {
    while (!this.isClosed) {
      try {
        await this.attend();
      } catch (error) {
        this.tell(false, error);
      }
      this.loseAll();
      if (!this.isClosed) await Bun.sleep(AGAIN_AFTER);
    }
  }

  private tell(isUp: boolean, error?: unknown): void {
    if (isUp) this.passingSince = null;
    if (this.isClosed || this.isUp === isUp) return;
    if (!isUp && isRefusal(error, ...PASSING)) {
      this.passingSince ??= performance.now();
      if (performance.now() - this.passingSince < PASSING_FOR) return;
    }
    // A start that succeeds is no news.
    const isNews = this.isUp !== null || !isUp;
    this.isUp = isUp;
    if (isNews) this.settings.onChange(isUp, isUp ? "" : explain(error, this.settings));
  }

  /** Is a member of the group until something fails for good. */
  private async attend(): Promise<void> {
    const kafka = await kafkaLibrary();
    const options = { ...clientOptions(this.settings), requestTimeout: REQUEST_WITHIN, retries: 0 };
    const { promise: failed, reject: fail } = Promise.withResolvers<never>();
    failed.catch(() => {});
    const consumer: Consumer = new kafka.Consumer({
      ...options,
      groupId: this.settings.group,
      sessionTimeout: SESSION,
      rebalanceTimeout: SESSION,
      heartbeatInterval: HEARTBEAT_EVERY,
      autocommit: false,
      // Called before the group is joined, and before it is joined again: the last moment to settle what will be another's.
      protocolsMetadata: () => this.beforeJoin(),
    });
    const pool = new kafka.ConnectionPool(options.clientId, options);
    const session = { kafka, consumer, pool, fail, failed };
    this.session = session;
    consumer.on("error" as never, fail as never);
    consumer.on("consumer:group:join", () => this.joined(consumer));
    consumer.on("consumer:heartbeat:error", ({ error }) => this.tell(false, error));
    try {
      await Promise.race([this.begin(session), failed]);
      while (!this.isClosed) await Promise.race([this.step(session), failed]);
    } finally {
      this.session = null;
      this.isJoining = true;
      await this.leave(session);
    }
  }

  private async begin({ kafka, consumer }: Session): Promise<void> {
    await ensureTopic(kafka, consumer, this.settings);
    consumer.topics.track(this.settings.topic);
    await consumer.joinGroup({});
  }

  private async leave({ consumer, pool }: Session): Promise<void> {
    const closing = (async () => {
      await consumer.close(true).catch(() => {});
      await pool.close().catch(() => {});
    })();
    await Promise.race([closing, Bun.sleep(AGAIN_AFTER * 2)]);
  }

  private async beforeJoin(): Promise<Buffer> {
    this.isJoining = true;
    await Promise.race([this.settings.whenSettled(), Bun.sleep(SETTLE_WITHIN)]);
    return Buffer.alloc(0);
  }

  /** Keeps what stays ours, and forgets the rest. */
  private joined({ memberId, generationId, assignments }: Consumer): void {
    // After a generation that was missed another instance may have had what is ours again.
    if (memberId !== this.member || generationId !== this.generation + 1) this.loseAll();
    this.member = memberId ?? "";
    this.generation = generationId;
    const ours = new Set(assignments?.find(({ topic }) => topic === this.settings.topic)?.partitions ?? []);
    for (const partition of this.partitions.values()) if (!ours.has(partition.id)) this.lose(partition);
    this.fresh = [...ours].filter((id) => !this.partitions.has(id));
    this.isJoining = false;
    this.joinedAt = Date.now();
    this.tell(true);
    this.wake();
  }

  private lose(partition: Partition): void {
    partition.isLost = true;
    for (let record = partition.shift(); record !== undefined; record = partition.shift()) this.count(record, -1);
    this.partitions.delete(partition.id);
  }

  private loseAll(): void {
    for (const partition of this.partitions.values()) this.lose(partition);
    this.fresh = [];
  }

  /** Fetches where there is room, and waits until something happens. */
  private async step(session: Session): Promise<void> {
    const woken = new Promise<void>((resolve) => {
      this.wake = resolve;
    });
    if (this.isJoining) return woken;
    try {
      if (this.fresh.length > 0) await this.find(session);
      await this.fetchAll(session);
    } catch (error) {
      await this.faulted(session, error);
      return;
    }
    await Promise.race([woken, Bun.sleep(WAIT)]);
  }

  private async faulted(session: Session, error: unknown): Promise<void> {
    this.tell(false, error);
    if (++this.failures >= FAILURES) {
      this.failures = 0;
      session.fail(error);
    }
    await Bun.sleep(AGAIN_AFTER);
  }

  /** Finds where fresh partitions begin: where the group has got to, or at the oldest record. */
  private async find({ consumer }: Session): Promise<void> {
    const ids = this.fresh;
    const { generation } = this;
    const { topic } = this.settings;
    const starts = (await consumer.listOffsets({ topics: [topic], partitions: { [topic]: ids }, timestamp: -2n })).get(topic) ?? [];
    const committed = (await consumer.listCommittedOffsets({ topics: [{ topic, partitions: ids }] })).get(topic) ?? [];
    if (generation !== this.generation || this.isJoining || ids !== this.fresh) return;
    this.fresh = [];
    for (const id of ids) {
      const start = starts[id] ?? 0n;
      const at = committed[id] ?? -1n;
      if (at >= 0n && at < start) this.gone(id, start - at);
      const next = at > start ? at : start;
      this.partitions.set(id, new Partition(id, next, Number(next), Number(next)));
    }
  }

  private gone(id: number, count: bigint): void {
    this.settings.onStrange(
      `${count} records of partition ${id} of ${this.settings.topic} are gone before ${this.settings.group} had read them: raise the topic's retention.ms`,
    );
  }

  private async fetchAll(session: Session): Promise<void> {
    if (this.held >= MAX_HELD || this.records >= MAX_RECORDS) return;
    const { topic } = this.settings;
    const metadata = await session.consumer.metadata({ topics: [topic] });
    const known = metadata.topics.get(topic);
    if (known === undefined) throw new Error(`the topic ${topic} is gone`);
    if (this.topicId !== null && this.topicId !== known.id) await this.beginAnew(session);
    this.topicId = known.id;
    const wanted = new Map<number, Partition[]>();
    for (const partition of this.partitions.values()) {
      const leader = known.partitions[partition.id]?.leader ?? -1;
      if (!this.fetching.has(leader)) wanted.set(leader, [...(wanted.get(leader) ?? []), partition]);
    }
    for (const [node, partitions] of wanted) {
      this.fetching.add(node);
      this.fetch(session, node, known.id, partitions)
        .catch((error) => this.faulted(session, error))
        .finally(() => {
          this.fetching.delete(node);
          this.wake();
        });
    }
  }

  private async fetch({ consumer, pool }: Session, node: number, topicId: string, partitions: readonly Partition[]): Promise<void> {
    const wanted = partitions.map((partition) => ({
      partition: partition.id,
      currentLeaderEpoch: -1,
      fetchOffset: partition.next,
      lastFetchedEpoch: -1,
      partitionMaxBytes: MAX_OF_PARTITION,
    }));
    let response: Awaited<ReturnType<Consumer["fetch"]>>;
    try {
      response = await consumer.fetch({
        node,
        topics: [{ topicId, partitions: wanted }],
        connectionPool: pool,
        maxWaitTime: WAIT,
        minBytes: 1,
        maxBytes: MAX_FETCH,
      });
    } catch (error) {
      if (!isRefusal(error, "OFFSET_OUT_OF_RANGE")) throw error;
      await this.beginAgain(consumer, partitions);
      return;
    }
    this.failures = 0;
    this.tell(true);
    const before = this.records;
    for (const { partitionIndex, records } of response.responses.flatMap((each) => each.partitions)) {
      const partition = partitions.find(({ id }) => id === partitionIndex);
      if (partition !== undefined && !partition.isLost && records) for (const batch of records) this.arrived(partition, batch);
    }
    if (before === 0 && this.records > 0) this.settings.onArrival();
  }

  private arrived(partition: Partition, batch: Batch): void {
    const first = Number(batch.firstOffset);
    const next = Number(partition.next);
    // Marks of transactions are no records.
    if ((batch.attributes & 0x20) === 0)
      for (const { offsetDelta, timestampDelta, value, headers } of batch.records) {
        const offset = first + offsetDelta;
        // Batches come whole, from before the offset that was asked for.
        if (offset < next) continue;
        const record = { offset, timestamp: Number(batch.firstTimestamp + timestampDelta), value, headers };
        partition.add(record);
        this.count(record, 1);
      }
    const end = batch.firstOffset + BigInt(batch.lastOffsetDelta) + 1n;
    if (end > partition.next) partition.next = end;
  }

  /** Goes on at the oldest record where what was to come next is not there: it was deleted, or the topic was made anew. */
  private async beginAgain(consumer: Consumer, partitions: readonly Partition[]): Promise<void> {
    const { topic } = this.settings;
    const starts = (await consumer.listOffsets({ topics: [topic], timestamp: -2n })).get(topic) ?? [];
    const ends = (await consumer.listOffsets({ topics: [topic], timestamp: -1n })).get(topic) ?? [];
    for (const partition of partitions) {
      const start = starts[partition.id] ?? 0n;
      const end = ends[partition.id] ?? 0n;
      if (partition.isLost || (partition.next >= start && partition.next <= end)) continue;
      if (partition.next < start) this.gone(partition.id, start - partition.next);
      else this.settings.onStrange(`partition ${partition.id} of ${topic} was made anew: it is read from its first record`);
      this.beginAt(partition.id, start);
    }
  }

  /** Begins at the first record of a topic that was deleted and made anew: how far the old one was read says nothing of it. */
  private async beginAnew({ consumer }: Session): Promise<void> {
    const { topic } = this.settings;
    const starts = (await consumer.listOffsets({ topics: [topic], timestamp: -2n })).get(topic) ?? [];
    this.settings.onStrange(`the topic ${topic} was made anew: it is read from its first record, and what nobody had read is gone`);
    for (const id of [...this.partitions.keys()]) this.beginAt(id, starts[id] ?? 0n);
  }

  private beginAt(id: number, start: bigint): void {
    const partition = this.partitions.get(id);
    if (partition !== undefined) this.lose(partition);
    // What was committed may be greater: it is to be committed anew.
    this.partitions.set(id, new Partition(id, start, -1, Number(start)));
  }
}

/** Describes records as the client gives them. */
interface Batch {
  readonly firstOffset: bigint;
  readonly lastOffsetDelta: number;
  readonly firstTimestamp: bigint;
  readonly attributes: number;
  readonly records: readonly {
    readonly offsetDelta: number;
    readonly timestampDelta: bigint;
    readonly value: Buffer | null;
    readonly headers: readonly (readonly [Buffer | null, Buffer | null])[];
  }[];
}
