import { parseDuration } from "../values/units.ts";
import type { OtlpConfig } from "./settings.ts";
import { SpanQueue } from "./span-queue.ts";
import type { Span } from "./spans.ts";
import { Tracer } from "./trace.ts";

export interface TracingDeps {
  /** A name that tells this process from others. */
  readonly instance: string;
  /** Gives random numbers from 0 up to 1. */
  readonly random: () => number;
  /** Tells that the collector takes no spans, or takes them again. */
  readonly onChange: (endpoint: string, isUp: boolean, why: string) => void;
  readonly onFault: (error: unknown) => void;
}

/** Decides whether and how requests are traced, and where their spans go. */
export class Tracing {
  /** The numbers of spans sent and dropped, over all collectors. */
  readonly counts = { sent: 0, dropped: 0 };
  /** Decides which requests are traced; `null`: none is. */
  tracer: Tracer | null = null;
  private queue: SpanQueue | null = null;
  private config: OtlpConfig | null = null;

  constructor(private readonly deps: TracingDeps) {}

  /** Begins to trace, goes on by other rules, or ends it. */
  configure(config: OtlpConfig | null): void {
    if (Bun.deepEquals(this.config, config)) return;
    this.close(parseDuration(this.config?.timeout ?? "0s")).catch(this.deps.onFault);
    this.config = config;
    this.tracer = config === null ? null : new Tracer({ sample: config.sample, random: this.deps.random });
    this.queue = config === null ? null : this.queueFor(config);
  }

  /** Sends the spans of a request that has ended, with others. */
  add(spans: readonly Span[]): void {
    // Tracing may be off since the request began.
    if (this.queue === null) this.counts.dropped += spans.length;
    else this.queue.add(spans);
  }

  /** Sends the spans that wait, for at most `timeout` milliseconds. */
  async close(timeout: number): Promise<void> {
    await this.queue?.close(timeout);
  }

  private queueFor(config: OtlpConfig): SpanQueue {
    return new SpanQueue({
      counts: this.counts,
      // Loaded when there is something to send: most gateways never trace.
      sender: async () => {
        const { otlpSender } = await import("./otlp.ts");
        return otlpSender({ ...config, instance: this.deps.instance, timeout: parseDuration(config.timeout) });
      },
      onChange: (isUp, why) => this.deps.onChange(config.endpoint, isUp, why),
    });
  }
}
