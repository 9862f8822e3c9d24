import type { SendSpans } from "./otlp.ts";
import type { Span } from "./spans.ts";

/** The number of spans that may wait for the collector; the number in a batch; the milliseconds that spans wait for others. */
const MAX_WAITING = 8192;
const BATCH = 512;
const SEND_EVERY = 1000;

export interface SpanQueueDeps {
  /** Loads the sender; called once, when there is something to send. */
  readonly sender: () => Promise<{ send: SendSpans; close(): Promise<void> }>;
  /** The numbers of spans sent and dropped, over all collectors. */
  readonly counts: { sent: number; dropped: number };
  /** Tells that the collector takes no spans, or takes them again. */
  readonly onChange: (isUp: boolean, why: string) => void;
}

/**
 * Holds spans on their way to the collector. Requests never wait for it: spans that find no room are dropped and counted. It stands in the
 * place of the SDK's batch processor, which sends ever more batches at once while a collector fails (docs/adr/0011-own-span-queue.md).
 */
export class SpanQueue {
  private waiting: Span[] = [];
  private timer: Timer | null = null;
  private sending: Promise<void> | null = null;
  private sender: ReturnType<SpanQueueDeps["sender"]> | null = null;
  private isUp = true;
  private isClosed = false;

  constructor(private readonly deps: SpanQueueDeps) {}

  add(spans: readonly Span[]): void {
    if (this.isClosed || this.waiting.length + spans.length > MAX_WAITING) {
      this.deps.counts.dropped += spans.length;
      return;
    }
    this.waiting.push(...spans);
    if (this.sending !== null) return;
    if (this.waiting.length >= BATCH) this.send();
    else this.timer ??= setTimeout(() => this.send(), SEND_EVERY);
  }

  /** Sends the spans that wait, for at most `timeout` milliseconds. */
  async close(timeout: number): Promise<void> {
    this.isClosed = true;
    const { promise, resolve } = Promise.withResolvers<void>();
    const patience = setTimeout(resolve, timeout);
    await Promise.race([promise, this.drain()]);
    clearTimeout(patience);
    this.stopTimer();
    // Nobody waits for a collector that does not answer; one that could not be made need not be closed.
    this.sender?.then((sender) => sender.close()).catch(() => {});
  }

  private async drain(): Promise<void> {
    while (this.sending !== null || this.waiting.length > 0) {
      this.send();
      await this.sending;
    }
  }

  private stopTimer(): void {
    if (this.timer !== null) clearTimeout(this.timer);
    this.timer = null;
  }

  private send(): void {
    this.stopTimer();
    if (this.sending !== null || this.waiting.length === 0) return;
    const batch = this.waiting.splice(0, BATCH);
    this.sender ??= this.deps.sender();
    this.sending = this.sender
      .then(({ send }) => send(batch))
      .then(
        () => {
          this.deps.counts.sent += batch.length;
          this.tell(true, "");
        },
        (error: unknown) => {
          this.deps.counts.dropped += batch.length;
          this.tell(false, error instanceof Error ? error.message : String(error));
        },
      )
      .finally(() => {
        this.sending = null;
        if (this.waiting.length > 0 && !this.isClosed)
          this.timer ??= setTimeout(() => this.send(), this.waiting.length >= BATCH ? 0 : SEND_EVERY);
      });
  }

  private tell(isUp: boolean, why: string): void {
    if (isUp === this.isUp) return;
    this.isUp = isUp;
    this.deps.onChange(isUp, why);
  }
}
