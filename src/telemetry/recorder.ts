import type { EventHub } from "../events/hub.ts";
import type { Exchange } from "../exchange/exchange.ts";
import type { Generation } from "../exchange/snapshot.ts";
import type { Denials } from "../explain/denials.ts";
import type { LimitReading } from "../limits/limiter.ts";
import { type Policy, scopeText } from "../limits/policy.ts";
import { ipSubject } from "../limits/subject.ts";
import type { Clock } from "../values/clock.ts";
import type { Logger } from "./log.ts";
import type { Metrics } from "./metrics.ts";
import { RequestLine } from "./request-line.ts";
import { spansOf } from "./spans.ts";
import type { Tracing } from "./tracing.ts";

export interface RecorderParts {
  readonly clock: Clock;
  readonly metrics: Metrics;
  readonly events: EventHub;
  readonly denials: Denials;
  readonly tracing: Tracing;
  /** `null`: nothing is logged. */
  readonly log: Logger | null;
}

/** A request to the admin API that is answered. */
export interface AdminCall {
  readonly requestId: string;
  readonly method: string;
  readonly path: string;
  readonly status: number;
  readonly latencyMs: number;
  readonly ip: string;
}

/** A request that could not be read. */
export interface Malformed {
  readonly requestId: string;
  readonly status: number;
  readonly detail: string;
  readonly ip: string;
}

/** Writes down what became of requests: the same for every kind that a caller can make. */
export class Recorder {
  private readonly line = new RequestLine();
  /** How often each limit has denied. */
  private readonly counts = new WeakMap<Policy, { value: number }>();

  constructor(private readonly parts: RecorderParts) {}

  /** The request has ended, `elapsed` milliseconds after its head had arrived. */
  note(x: Exchange, elapsed: number): void {
    const { metrics, events, clock, tracing } = this.parts;
    const { accessLog, unrouted } = x.generation;
    (x.endpoint?.metrics ?? unrouted).observe(x.incoming.head.method, x.status, elapsed, x.trace);
    if (x.attempts > 1 && x.route !== null) metrics.retries.add({ route: x.route.name }, x.attempts - 1);
    if (x.refusal !== null) this.refused(x);
    accessLog?.note(x, elapsed);
    if (x.trace?.isSampled === true) tracing.add(spansOf(x, elapsed, clock.wall()));
    if (!events.isIdle)
      events.publish("request", { ...subjectOf(x), status: x.status }, () => JSON.parse(`{${this.line.fields(x, elapsed)}}`));
  }

  /** Limits denied a request, or would have in earnest. */
  denied(x: Exchange, readings: readonly LimitReading[]): void {
    const { events } = this.parts;
    if (!events.isIdle) events.publish("limit", { ...subjectOf(x), status: 429 }, () => deniedSaid(x, readings));
    for (const { policy, denied } of readings) if (denied) this.countOf(policy).value++;
  }

  /** These limits may deny: they count from 0. */
  expect(policies: readonly Policy[]): void {
    for (const policy of policies) this.countOf(policy);
  }

  /** What only looks is logged at debug. */
  administered(call: AdminCall): void {
    const { log } = this.parts;
    const isLook = (call.method === "GET" || call.method === "HEAD") && call.status < 400;
    log?.[isLook ? "debug" : "info"](call, "admin request");
  }

  /** It has a line where requests have lines. */
  malformed(request: Malformed, { unrouted, accessLog }: Generation): void {
    unrouted.observe("other", request.status, 0, null);
    if (accessLog !== null) this.parts.log?.info(request, "malformed request");
  }

  private countOf(policy: Policy): { value: number } {
    let count = this.counts.get(policy);
    if (count === undefined) {
      const { metrics } = this.parts;
      const { kind } = policy.scope;
      // A consumer's and a key's own limits go by their kind: there may be a million of them, each with a name of its own.
      const isFew = kind === "tier" || kind === "route";
      const labels = isFew ? { owner: scopeText(policy), limit: policy.name } : { owner: kind, limit: policy.algorithm };
      count = (policy.shadow ? metrics.shadowed : metrics.limited).of(labels);
      this.counts.set(policy, count);
    }
    return count;
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

const subjectOf = (x: Exchange) => ({ route: x.endpoint?.name ?? null, consumer: x.holder?.consumer.id ?? null });

/** What an event tells of a request that limits denied. */
const deniedSaid = (x: Exchange, readings: readonly LimitReading[]) => ({
  requestId: x.id,
  route: x.route?.name ?? null,
  consumer: x.key?.consumer.id ?? null,
  tier: x.key?.consumer.tier ?? null,
  ip: x.ip,
  limits: readings
    .filter(({ denied }) => denied)
    .map(({ policy, limit, used }) => ({ name: policy.name, scope: scopeText(policy), limit, used, shadow: policy.shadow })),
});
