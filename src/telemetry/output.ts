/** Carries lines to their reader. Both functions give a promise while the reader takes no more, and throw or reject when it has gone. */
export interface LineSink {
  write(text: string): unknown;
  flush(): number | Promise<number>;
}

/** Says what a line is about. There are very many lines of requests: they give way to the others when room gets short. */
export type LineKind = "requests" | "events";

/** The number of characters that are written at once without waiting for more. */
const FLUSH_AT = 65_536;
/** Milliseconds that a line waits for others. */
const FLUSH_EVERY = 20;
/** Characters that may wait while the reader is slow. */
const MAX_WAITING = 4 * 1024 * 1024;
const MAX_OF_REQUESTS = MAX_WAITING * 0.75;

/**
 * Writes lines to stdout in batches, so that a request does not pay for a system call. It never waits for the reader: lines that find no
 * room are dropped and counted.
 */
export class Output {
  /** Lines that found no room, or no reader, since the start. */
  readonly dropped: Record<LineKind, number> = { requests: 0, events: 0 };
  /** Tells that there is room again after lines were dropped, and how many those were. */
  onCaughtUp: ((dropped: number) => void) | null = null;
  private waiting = "";
  private readonly lines: Record<LineKind, number> = { requests: 0, events: 0 };
  private isWriting = false;
  private timer: Timer | null = null;
  private told = 0;
  private settled: (() => void) | null = null;

  constructor(private readonly sink: LineSink) {}

  write(line: string, kind: LineKind): void {
    if (this.waiting.length + line.length > (kind === "events" ? MAX_WAITING : MAX_OF_REQUESTS)) {
      this.dropped[kind]++;
      return;
    }
    this.waiting += line;
    this.lines[kind]++;
    if (this.isWriting) return;
    if (this.waiting.length >= FLUSH_AT) this.flush();
    else this.timer ??= setTimeout(() => this.flush(), FLUSH_EVERY);
  }

  /** Writes all that waits; gives up after `timeout` milliseconds. */
  async end(timeout: number): Promise<void> {
    this.flush();
    if (!this.isWriting) return;
    await new Promise<void>((resolve) => {
      this.settled = resolve;
      setTimeout(resolve, timeout);
    });
  }

  private flush(): void {
    if (this.timer !== null) clearTimeout(this.timer);
    this.timer = null;
    if (this.isWriting || this.waiting === "") return;
    const { waiting } = this;
    const { requests, events } = this.lines;
    this.waiting = "";
    this.lines.requests = 0;
    this.lines.events = 0;
    const lost = (): void => {
      this.dropped.requests += requests;
      this.dropped.events += events;
    };
    this.isWriting = true;
    let taken: Promise<unknown>[];
    try {
      taken = [this.sink.write(waiting), this.sink.flush()].filter((each) => each instanceof Promise);
    } catch {
      this.isWriting = false;
      // Nobody reads any more: a gateway goes on without a log.
      lost();
      return;
    }
    if (taken.length === 0) {
      this.isWriting = false;
      this.tell();
      return;
    }
    Promise.all(taken).then(
      () => {
        this.tell();
        this.goOn();
      },
      () => {
        lost();
        this.goOn();
      },
    );
  }

  private goOn(): void {
    this.isWriting = false;
    this.flush();
    if (!this.isWriting) this.settled?.();
  }

  private tell(): void {
    const dropped = this.dropped.requests + this.dropped.events;
    if (dropped === this.told) return;
    const since = dropped - this.told;
    this.told = dropped;
    this.onCaughtUp?.(since);
  }
}
