import { parseActivity } from "../activity.ts";
import { KafkaReader, type Partition, type ReaderSettings, type ReadRecord } from "../kafka/reader.ts";
import { type Backlog, type Delivered, type Feed, LeaseLost, type Portion, QueueAway } from "./queue.ts";

/** Names the headers of a record in the queue. */
export const HEADERS = {
  /** The activity's id. */
  id: "sluice-id",
  /** Of an activity that is tried again: the sink that is to try it, and no other. */
  replay: "sluice-replay",
} as const;

export interface FeedSettings extends Omit<ReaderSettings, "whenSettled"> {
  readonly sink: string;
}

interface Item {
  readonly partition: Partition;
  readonly delivered: Delivered;
  readonly timestamp: number;
  /** The offset up to which all is settled when this is: what follows it may be of no concern to this sink. */
  upTo: number;
  attempts: number;
}

/** Milliseconds between two looks for something that nobody has told of. */
const LOOK_EVERY = 1000;
/** Milliseconds in which a commit must have been done; afterwards it is done with the next, since what it tells has taken effect. */
const COMMIT_WITHIN = 5000;
const COMMIT_AGAIN = 200;
/** Milliseconds for which a count of what waits holds. */
const COUNT_HOLDS = 1000;

/** Hands one sink what stands in the topic: in order in each partition, and committed when it has taken effect. */
export class KafkaFeed implements Feed {
  private readonly reader: KafkaReader;
  /** What was given back, before all that was never handed out. */
  private again: Item[] = [];
  private againAt = 0;
  private out: { readonly portion: Portion; readonly items: readonly Item[] } | null = null;
  private settled: PromiseWithResolvers<void> | null = null;
  /** The partition from which to take next. */
  private turn = 0;
  /** What was counted last; `null` while nothing was. */
  private counted: { readonly at: number; readonly activities: number } | null = null;
  private counting: Promise<void> | null = null;

  constructor(private readonly settings: FeedSettings) {
    this.reader = new KafkaReader({
      ...settings,
      whenSettled: () => {
        if (this.out === null) return Promise.resolve();
        this.settled ??= Promise.withResolvers();
        return this.settled.promise;
      },
    });
  }

  lease(max: number, now: number): Portion | null {
    if (!this.reader.isMember) return null;
    // What was neither done nor given back comes first.
    if (this.out !== null) this.giveBack(this.out.items);
    this.again = this.again.filter(({ partition }) => !partition.isLost);
    if (this.again.length > 0 && now < this.againAt) return null;
    const items = this.again.length > 0 ? this.again.splice(0, max) : this.gather(max);
    if (items.length === 0) return null;
    for (const item of items) item.attempts++;
    const portion: Portion = {
      deliveries: items.map(({ delivered }) => delivered),
      attempts: items.reduce((most, { attempts }) => Math.max(most, attempts), 0),
      mayRepeat: true,
    };
    this.out = { portion, items };
    return portion;
  }

  /** Takes what has arrived, from one partition after the other: what follows each other is likely for the same table then. */
  private gather(max: number): Item[] {
    const items: Item[] = [];
    const partitions = [...this.reader.partitions.values()];
    let isSkipped = false;
    for (let i = 0; i < partitions.length && items.length < max; i++) {
      const partition = partitions[(this.turn + i) % partitions.length] as Partition;
      let last: Item | null = null;
      while (items.length < max) {
        const record = this.reader.take(partition);
        if (record === undefined) break;
        const upTo = record.offset + 1;
        const delivered = this.read(record, partition);
        if (delivered !== null) {
          last = { partition, delivered, timestamp: record.timestamp, upTo, attempts: 0 };
          items.push(last);
        } else if (last !== null) last.upTo = upTo;
        else {
          partition.settled = upTo;
          isSkipped = true;
        }
      }
    }
    this.turn = partitions.length === 0 ? 0 : (this.turn + 1) % partitions.length;
    // Nothing is applied with which it would be committed.
    if (isSkipped && items.length === 0) this.reader.commit().catch(() => {});
    return items;
  }

  /** Gives what a record says; `null` when it is for another sink, or for nobody. */
  private read(record: ReadRecord, partition: Partition): Delivered | null {
    let id: string | undefined;
    let replay: string | undefined;
    for (const [name, value] of record.headers) {
      const field = name?.toString();
      if (field === HEADERS.id) id = value?.toString();
      else if (field === HEADERS.replay) replay = value?.toString();
    }
    if (replay !== undefined && replay !== this.settings.sink) return null;
    const activity = record.value === null ? null : parseActivity(record.value.toString());
    if (id !== undefined && activity !== null && !("faults" in activity))
      return { id, activity, position: record.offset, isReplay: replay !== undefined };
    const [fault] = activity !== null && "faults" in activity ? activity.faults : [];
    const why =
      id === undefined ? `it has no header ${HEADERS.id}` : fault === undefined ? "it is empty" : `${fault.path} ${fault.message}`;
    this.settings.onStrange(
      `record ${record.offset} in partition ${partition.id} of ${this.settings.topic} is no activity, and is left out (${why}): let nobody but Sluice write to this topic`,
    );
    return null;
  }

  async done(portion: Portion): Promise<void> {
    const items = this.takeBack(portion);
    try {
      for (const { partition, upTo } of items) partition.settled = Math.max(partition.settled, upTo);
      await this.commit(items);
    } finally {
      this.release();
    }
    if (items.some(({ partition }) => partition.isLost)) throw new LeaseLost("another instance has a part of these activities now");
  }

  /** Commits what is settled. A broker that is away for longer is told later: what it would be told has taken effect. */
  private async commit(items: readonly Item[]): Promise<void> {
    const end = performance.now() + COMMIT_WITHIN;
    const isDue = () => items.some(({ partition: { isLost, settled, committed } }) => !isLost && settled > committed);
    while (isDue()) {
      const isDone = await this.reader.commit().then(
        () => true,
        () => false,
      );
      if (isDone || performance.now() > end) return;
      await Bun.sleep(COMMIT_AGAIN);
    }
  }

  retry(portion: Portion, at: number): void {
    const items = this.takeBack(portion);
    this.giveBack(items);
    this.againAt = at;
    this.release();
  }

  private takeBack(portion: Portion): readonly Item[] {
    if (this.out?.portion !== portion) throw new LeaseLost("these activities were handed out again");
    const { items } = this.out;
    this.out = null;
    return items;
  }

  private giveBack(items: readonly Item[]): void {
    this.again = [...items.filter(({ partition }) => !partition.isLost), ...this.again];
    this.out = null;
  }

  private release(): void {
    this.settled?.resolve();
    this.settled = null;
  }

  nextAt(now: number): number | null {
    if (this.out !== null) return null;
    if (!this.reader.isMember) return now + LOOK_EVERY;
    if (this.again.length > 0) return Math.max(now, this.againAt);
    const hasArrived = [...this.reader.partitions.values()].some(({ first }) => first !== undefined);
    return hasArrived ? now : now + LOOK_EVERY;
  }

  /** Counts what waits in the whole topic, once a second at most. While Kafka is away it is what was known last. Throws `QueueAway`. */
  async backlog(): Promise<Backlog> {
    if (this.counted === null || performance.now() - this.counted.at > COUNT_HOLDS)
      this.counting ??= this.reader
        .lag()
        .then(
          (activities) => {
            this.counted = { at: performance.now(), activities };
          },
          () => {},
        )
        .finally(() => {
          this.counting = null;
        });
    await Promise.race([this.counting, Bun.sleep(COUNT_HOLDS)]);
    if (this.counted === null) throw new QueueAway("what waits in Kafka is not counted yet");
    const { activities } = this.counted;
    return { batches: null, activities, size: null, oldest: activities === 0 ? null : this.oldest() };
  }

  /** Gives when the oldest was accepted of what has arrived here. */
  private oldest(): number | null {
    const times = [...(this.out?.items ?? []), ...this.again].map(({ timestamp }) => timestamp);
    for (const { first } of this.reader.partitions.values()) if (first !== undefined) times.push(first.timestamp);
    return times.length === 0 ? null : times.reduce((least, each) => Math.min(least, each));
  }

  /** Commits what is settled, and leaves the group: others take over at once. */
  async close(): Promise<void> {
    await Promise.race([this.reader.commit().catch(() => {}), Bun.sleep(LOOK_EVERY)]);
    await this.reader.close();
  }
}
