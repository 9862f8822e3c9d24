// How spans wait for a collector that is slow or fails: our queue beside the SDK's processor (docs/adr/0011-own-span-queue.md). `bun test/bench/span-queue.ts`

import { BatchSpanProcessor, type ReadableSpan, type SpanExporter } from "@opentelemetry/sdk-trace";
import { SpanQueue } from "../../src/telemetry/span-queue.ts";
import type { Span } from "../../src/telemetry/spans.ts";

/** Milliseconds that spans are added; that a batch takes; that the stop may take. */
const ADDED_FOR = 3000;
const BATCH_TAKES = 100;
const STOP_WITHIN = 1000;

interface Queue {
  add(): void;
  close(): Promise<unknown>;
}

/** Counts what a collector would see. */
class Collector {
  underWay = 0;
  maxUnderWay = 0;
  held = 0;
  maxHeld = 0;
  calls = 0;
  sent = 0;

  constructor(private readonly isFailing: boolean) {}

  async take(spans: number): Promise<void> {
    this.calls++;
    this.maxUnderWay = Math.max(this.maxUnderWay, ++this.underWay);
    this.held += spans;
    this.maxHeld = Math.max(this.maxHeld, this.held);
    await Bun.sleep(BATCH_TAKES);
    this.underWay--;
    this.held -= spans;
    if (this.isFailing) throw new Error("refused");
    this.sent += spans;
  }
}

function own(collector: Collector): Queue {
  const queue = new SpanQueue({
    counts: { sent: 0, dropped: 0 },
    sender: async () => ({ send: (spans) => collector.take(spans.length), close: async () => {} }),
    onChange: () => {},
  });
  return { add: () => queue.add([{ name: "a" } as Span]), close: () => queue.close(STOP_WITHIN) };
}

function theirs(collector: Collector): Queue {
  const exporter: SpanExporter = {
    export: (spans, done) =>
      void collector.take(spans.length).then(
        () => done({ code: 0 }),
        (error: Error) => done({ code: 1, error }),
      ),
    shutdown: async () => {},
  };
  const processor = new BatchSpanProcessor({ exporter, maxQueueSize: 8192, maxExportBatchSize: 512, scheduledDelayMillis: 1000 });
  // The processor reads nothing else of a span.
  const span = { spanContext: () => ({ traceFlags: 1 }), resource: {} } as unknown as ReadableSpan;
  return { add: () => processor.onEnd(span), close: () => Promise.race([processor.shutdown().catch(() => {}), Bun.sleep(STOP_WITHIN)]) };
}

for (const [name, make] of [["own", own] as const, ["the SDK's", theirs] as const])
  for (const isFailing of [false, true]) {
    const collector = new Collector(isFailing);
    const queue = make(collector);
    for (const began = performance.now(); performance.now() - began < ADDED_FOR; await Bun.sleep(2))
      for (let i = 0; i < 200; i++) queue.add();
    const { maxUnderWay, calls, sent } = collector;
    await queue.close();
    console.log(
      `${name.padEnd(10)} ${isFailing ? "failing" : "slow   "}  at once ${maxUnderWay}, ${calls} exports;  with the stop: at once ${collector.maxUnderWay}, outside the queue ${collector.maxHeld}, sent in it ${collector.sent - sent}`,
    );
    await Bun.sleep(2000);
  }
process.exit(0);
