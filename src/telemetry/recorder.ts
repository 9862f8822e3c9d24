import type { Clock } from "../clock.ts";
import type { EventHub } from "../events/hub.ts";
import type { Denials } from "../explain/denials.ts";
import { ipSubject } from "../limits/subject.ts";
import type { Exchange } from "../proxy/exchange.ts";
import type { Metrics } from "./metrics.ts";
import { type Span, spansOf } from "./spans.ts";

export interface RecorderParts {
  readonly clock: Clock;
  readonly metrics: Metrics;
  readonly events: EventHub;
  readonly denials: Denials;
  /** Takes the spans of requests to the collector. */
  readonly onSpans: (spans: readonly Span[]) => void;
}

/** Writes down what became of a request: the same for every kind of request that a caller can make. */
export class Recorder {
  constructor(private readonly parts: RecorderParts) {}

  /** The request has ended, `elapsed` milliseconds after its head had arrived. */
  note(x: Exchange, elapsed: number): void {
    const { events, clock } = this.parts;
    const { accessLog, unrouted } = x.generation;
    (x.endpoint?.metrics ?? unrouted).observe(x.incoming.head.method, x.status, elapsed, x.trace);
    if (x.refusal !== null) this.refused(x);
    accessLog?.note(x, elapsed);
    if (x.trace?.isSampled === true) this.parts.onSpans(spansOf(x, elapsed, clock.wall()));
    if (!events.isIdle) events.publish("request", subjectOf(x), () => described(x, elapsed));
  }

  private refused(x: Exchange): void {
    const { metrics, denials, clock } = this.parts;
    const { refusal, holder } = x;
    if (refusal === null) return;
    metrics.refused(refusal.code, x.key === null ? null : x.key.consumer.tier);
    const { status } = refusal;
    if (status !== 401 && status !== 403 && status !== 429) return;
    denials.note(holder === null ? ipSubject(x.ip) : holder.consumer.id, {
      at: clock.wall(),
      requestId: x.id,
      route: x.endpoint?.name ?? null,
      refusal,
    });
  }
}

export const subjectOf = (x: Exchange) => ({ route: x.endpoint?.name ?? null, consumer: x.holder?.consumer.id ?? null, status: x.status });

/** What an event tells of a request: the same as a line of the log. */
const described = (x: Exchange, elapsed: number) => ({
  requestId: x.id,
  method: x.generation.redactor.clean(x.incoming.head.method),
  path: x.generation.redactor.clean(x.path),
  status: x.status,
  latencyMs: Math.round(elapsed * 1000) / 1000,
  route: x.endpoint?.name ?? null,
  consumer: x.holder?.consumer.id ?? null,
  tier: x.holder?.consumer.tier ?? null,
  keyId: x.holder?.id ?? null,
  ip: x.ip,
  upstream: x.target?.url ?? null,
  attempts: x.attempts,
  cache: x.cache,
  ...(x.refusal === null ? {} : { code: x.refusal.code }),
  ...(x.trouble === null ? {} : { error: x.generation.redactor.clean(x.trouble) }),
  ...(x.incoming.isAborted ? { aborted: true } : {}),
  ...(x.trace === null ? {} : { traceId: x.trace.traceId }),
});
