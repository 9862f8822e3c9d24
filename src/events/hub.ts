/** The types of events, named after their subjects. */
export const EVENT_TYPES = ["request", "limit", "breaker", "target", "health", "change", "pool", "quota", "redis", "issuer"] as const;
export type EventType = (typeof EVENT_TYPES)[number];

/** Names what readers can filter an event by, as far as it has it. */
export interface EventSubject {
  readonly route?: string | null;
  readonly consumer?: string | null;
  readonly status?: number;
}

/** Says which events a reader wants to see. */
export interface EventFilter {
  /** Empty for all types. */
  readonly types: readonly EventType[];
  readonly route: string | null;
  readonly consumer: string | null;
  /** A status, or the first digit of a class of them; `null` for any. */
  readonly status: number | null;
  /** The share of requests that is shown, from 0 to 1. */
  readonly sample: number;
}

/** Receives the events that its filter lets through. */
export interface Reader {
  readonly filter: EventFilter;
  /** Sends one event. False when the reader is too slow, and is dropped. */
  send(text: string): boolean;
  /** Takes an event as it is before it is written, for a reader elsewhere: the JSON without its last brace, and how many were left out before it. */
  pass?(type: EventType, fields: string, skipped: number): void;
  /** Ends the stream: no more events come. */
  end(): void;
}

/** The most requests and denials a second that one reader is shown: more than anybody can read. */
export const MAX_A_SECOND = 100;
/** The types of which there may be very many. */
const MANY: readonly EventType[] = ["request", "limit"];
export const MAX_READERS = 32;
const BEAT_EVERY = 10_000;

interface Listening {
  readonly id: number;
  readonly reader: Reader;
  /** Tells whether the reader may still listen. */
  readonly mayStay: () => boolean;
  second: number;
  shown: number;
  skipped: number;
}

export interface HubDeps {
  /** Milliseconds since 1970. */
  readonly now: () => number;
  /** Gives numbers from 0 up to 1. */
  readonly random: () => number;
}

/** Tells readers what happens, as it happens. Without a reader an event costs one comparison. */
export class EventHub {
  /** Readers that were dropped because they read too slowly. */
  dropped = 0;
  private readonly listening = new Set<Listening>();
  private beat: Timer | null = null;
  private isClosed = false;
  private added = 0;
  /** Learns that readers have come or gone. */
  onReaders: () => void = () => {};

  constructor(private readonly deps: HubDeps) {}

  /** Tells whether nobody listens, so that whoever makes events can save the work. */
  get isIdle(): boolean {
    return this.listening.size === 0;
  }

  get readers(): number {
    return this.listening.size;
  }

  /** Tells whether no more readers are taken: there are too many, or the gateway stops. */
  get isFull(): boolean {
    return this.isClosed || this.listening.size >= MAX_READERS;
  }

  /** Sends events to `reader` until the function that this gives is called. `mayStay` is asked from time to time. */
  add(reader: Reader, mayStay: () => boolean): () => void {
    const listening: Listening = { id: ++this.added, reader, mayStay, second: 0, shown: 0, skipped: 0 };
    this.listening.add(listening);
    this.onReaders();
    this.beat ??= setInterval(() => this.keepAlive(), BEAT_EVERY);
    return () => this.remove(listening);
  }

  /** Sends an event to the readers that want it. `data` makes its fields: it is called once, and only when somebody wants to see them. */
  publish(type: EventType, subject: EventSubject, data: () => object): void {
    let fields: string | null = null;
    for (const listening of this.listening) {
      if (!wants(listening.reader.filter, type, subject)) continue;
      if (MANY.includes(type) && !this.admit(listening, type !== "request" ? 1 : listening.reader.filter.sample)) continue;
      fields ??= JSON.stringify({ type, at: new Date(this.deps.now()).toISOString(), ...data() }).slice(0, -1);
      this.show(listening, type, fields);
    }
  }

  /** Says what each reader wants to see, for who makes events elsewhere. */
  wishes(): { readonly id: number; readonly filter: EventFilter }[] {
    return [...this.listening].map(({ id, reader: { filter } }) => ({ id, filter }));
  }

  /** Sends an event that was made elsewhere, and passed its filter there, to the reader of this id. */
  forwarded(id: number, type: EventType, fields: string, skipped: number): void {
    const listening = [...this.listening].find((each) => each.id === id);
    if (listening === undefined) return;
    listening.skipped += skipped;
    if (MANY.includes(type) && !this.admit(listening, 1)) return;
    this.show(listening, type, fields);
  }

  private show(listening: Listening, type: EventType, fields: string): void {
    const { reader, skipped } = listening;
    if (MANY.includes(type)) listening.skipped = 0;
    if (reader.pass !== undefined) reader.pass(type, fields, MANY.includes(type) ? skipped : 0);
    else this.send(listening, `event: ${type}\ndata: ${fields}${MANY.includes(type) && skipped > 0 ? `,"skipped":${skipped}` : ""}}\n\n`);
  }

  /** Ends all streams, and takes no more readers. */
  close(): void {
    this.isClosed = true;
    for (const listening of [...this.listening]) {
      this.remove(listening);
      listening.reader.end();
    }
  }

  /**
   * Decides by chance, with the share `sample` and within a bound per second, whether a reader is shown an event, and counts it: what was
   * left out is told with the next one.
   */
  private admit(listening: Listening, sample: number): boolean {
    const second = Math.floor(this.deps.now() / 1000);
    if (second !== listening.second) {
      listening.second = second;
      listening.shown = 0;
    }
    const isShown = listening.shown < MAX_A_SECOND && (sample >= 1 || this.deps.random() < sample);
    if (isShown) listening.shown++;
    else listening.skipped++;
    return isShown;
  }

  /** Ends the streams of readers that may not stay. */
  recheck(): void {
    for (const listening of [...this.listening]) {
      if (listening.mayStay()) continue;
      this.remove(listening);
      listening.reader.end();
    }
  }

  /** Sends a comment, so that nothing between us takes the connection for dead, and readers that are gone are noticed. */
  private keepAlive(): void {
    this.recheck();
    for (const listening of [...this.listening]) this.send(listening, ":\n\n");
  }

  private send(listening: Listening, text: string): void {
    if (listening.reader.send(text)) return;
    this.dropped++;
    this.remove(listening);
  }

  private remove(listening: Listening): void {
    this.listening.delete(listening);
    this.onReaders();
    if (this.listening.size > 0 || this.beat === null) return;
    clearInterval(this.beat);
    this.beat = null;
  }
}

function wants({ types, route, consumer, status }: EventFilter, type: EventType, subject: EventSubject): boolean {
  if (types.length > 0 && !types.includes(type)) return false;
  if (route !== null && subject.route !== route) return false;
  if (consumer !== null && subject.consumer !== consumer) return false;
  if (status === null) return true;
  return status < 10 ? subject.status !== undefined && Math.floor(subject.status / 100) === status : subject.status === status;
}
