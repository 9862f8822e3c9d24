import type { EventHub } from "../events/hub.ts";
import type { Caller } from "../exchange/caller.ts";
import type { Arrival, Exchange } from "../exchange/exchange.ts";
import type { Snapshot } from "../exchange/snapshot.ts";
import type { Denials } from "../explain/denials.ts";
import { nameOf } from "../grpc/status.ts";
import type { Problem } from "../http/problem.ts";
import type { LimitReading } from "../limits/limiter.ts";
import { shownAmount, shownUnit } from "../limits/money.ts";
import { type Policy, scopeText } from "../limits/policy.ts";
import { ipSubject } from "../limits/subject.ts";
import type { CallOutcome } from "../mcp/route-mcp.ts";
import type { AccessLog } from "../telemetry/access-log.ts";
import type { Logger } from "../telemetry/log.ts";
import type { Metrics } from "../telemetry/metrics.ts";
import { RequestLine } from "../telemetry/request-line.ts";
import { spansOf } from "../telemetry/spans.ts";
import type { Tracing } from "../telemetry/tracing.ts";
import { OTHER } from "../values/called-name.ts";
import type { Clock } from "../values/clock.ts";
import { Costs } from "./costs.ts";

export interface RecorderDeps {
  readonly clock: Clock;
  readonly metrics: Metrics;
  readonly events: EventHub;
  readonly denials: Denials;
  readonly tracing: Tracing;
  /** Gives what metrics tell a model by. */
  readonly labelOf: (model: string) => string;
  /** The log; `null`: nothing is logged. */
  readonly log: Logger | null;
  /** Gives the writer of requests' lines; `null`: requests are not logged. */
  readonly accessLog: () => AccessLog | null;
}

/** Describes a request that could not be read. */
export interface Malformed {
  readonly requestId: string;
  readonly status: number;
  readonly detail: string;
  readonly ip: string;
}

/** Says who was refused where; in the name of the request of this id. */
export interface Judged {
  readonly requestId: string;
  /** The route's name; `null`: there is none. */
  readonly route: string | null;
  readonly caller: Caller;
  /** The caller's address; `null`: it is not known. */
  readonly ip: string | null;
}

/** Writes down what became of requests, alike for every kind that a caller can make. */
export class Recorder {
  private readonly line = new RequestLine();
  /** The counts of each limit's denials. */
  private readonly counts = new WeakMap<Policy, { value: number }>();

  private readonly costs: Costs;

  constructor(private readonly deps: RecorderDeps) {
    this.costs = new Costs(deps.metrics.costs, deps.labelOf);
  }

  /** Writes down a request that has ended, `elapsed` milliseconds after its head had arrived. */
  note(exchange: Exchange<Arrival>, elapsed: number): void {
    const { metrics, events, clock, tracing } = this.deps;
    const { route, notes } = exchange;
    route.metrics.observe(exchange.incoming.head.method, exchange.status, elapsed, exchange.trace);
    if (exchange.attempts > 1) metrics.retries.add({ route: route.name }, exchange.attempts - 1);
    if (exchange.spending !== null) this.costs.add(route.name, exchange.calledModel, exchange.money);
    if (notes.refusal !== null) this.refused(exchange);
    if (notes.tool !== null) this.called(exchange, notes.tool);
    if (notes.grpcStatus !== null) metrics.grpcCalls.add({ route: route.metrics.route, status: nameOf(notes.grpcStatus) });
    this.deps.accessLog()?.note(exchange, elapsed);
    if (exchange.trace?.isSampled === true) tracing.add(spansOf(exchange, elapsed, clock.wall()));
    if (!events.isIdle)
      events.publish("request", { ...subjectOf(exchange), status: exchange.status }, () =>
        JSON.parse(`{${this.line.fields(exchange, elapsed)}}`),
      );
  }

  /** Counts the limits that denied a request, or would have if they were not in shadow. */
  denied(exchange: Exchange<Arrival>, readings: readonly LimitReading[]): void {
    const { id, ip, caller, holder } = exchange;
    this.countDenied({ requestId: id, ip, caller, route: routeNameOf(exchange) }, consumerOf(holder), readings);
  }

  /**
   * Writes down that a service of somebody's own was told that a key may not be used there: in the same places as a request that the key is
   * refused. `refusal`: `null` where only
   * limits in shadow would refuse it.
   */
  judged(asked: Judged, refusal: Problem | null, readings: readonly LimitReading[]): void {
    const { requestId, caller, route } = asked;
    if (readings.some(({ denied }) => denied)) this.countDenied(asked, caller.consumer.id, readings);
    if (refusal !== null) this.deps.denials.note(caller.consumer.id, { at: this.deps.clock.wall(), requestId, route, refusal });
  }

  /** Begins the counts of these limits at 0, since they may deny. */
  expect(policies: readonly Policy[]): void {
    for (const policy of policies) this.countOf(policy);
  }

  /** Logs a request to the admin API that is answered; one that only reads is logged at debug. */
  administered({ id, incoming, path, status, ip, tool }: Exchange<Arrival>, elapsed: number): void {
    const { log } = this.deps;
    const { method } = incoming.head;
    const isLook = (method === "GET" || method === "HEAD") && status < 400;
    const latencyMs = Math.round(elapsed * 1000) / 1000;
    log?.[isLook ? "debug" : "info"](
      { requestId: id, method, path, status, latencyMs, ip, ...(tool === null ? {} : { tool }) },
      "admin request",
    );
  }

  /** Counts a request that could not be read; logs it where requests are logged. */
  malformed(request: Malformed, { miss }: Snapshot): void {
    miss.metrics.observe("other", request.status, 0, null);
    if (this.deps.accessLog() !== null) this.deps.log?.info(request, "malformed request");
  }

  private called({ route, status, notes }: Exchange<Arrival>, tool: string): void {
    const outcome: CallOutcome = notes.isLimited
      ? "limited"
      : notes.refusal !== null && notes.refusal.status < 500
        ? "refused"
        : callOutcome(status);
    this.deps.metrics.toolCalls.add({ route: route.name, tool: route.mcp?.labelOf(tool) ?? OTHER, outcome });
  }

  private countDenied(asked: Judged, consumer: string | null, readings: readonly LimitReading[]): void {
    const { events } = this.deps;
    if (!events.isIdle) events.publish("limit", { route: asked.route, consumer, status: 429 }, () => deniedSaid(asked, readings));
    for (const { policy, denied } of readings) if (denied) this.countOf(policy).value++;
  }

  private countOf(policy: Policy): { value: number } {
    let count = this.counts.get(policy);
    if (count === undefined) {
      const { metrics } = this.deps;
      const { kind } = policy.scope;
      // A consumer's and a key's own limits go by their kind: there may be a million of them, each with a name of its own.
      const isFew = kind === "tier" || kind === "route";
      const labels = isFew ? { owner: scopeText(policy), limit: policy.name } : { owner: kind, limit: policy.algorithm };
      count = (policy.shadow ? metrics.shadowed : metrics.limited).of(labels);
      this.counts.set(policy, count);
    }
    return count;
  }

  private refused(exchange: Exchange<Arrival>): void {
    const { metrics, denials, clock } = this.deps;
    const { holder, caller } = exchange;
    const { refusal } = exchange.notes;
    if (refusal === null) return;
    metrics.refused(refusal.code, caller.via === "none" ? null : caller.consumer.tier);
    const { status } = refusal;
    if (status !== 401 && status !== 403 && status !== 429) return;
    denials.note(holder.via === "none" ? ipSubject(exchange.ip) : holder.consumer.id, {
      at: clock.wall(),
      requestId: exchange.id,
      route: routeNameOf(exchange),
      refusal,
    });
  }
}

const callOutcome = (status: number): CallOutcome => (status >= 200 && status < 300 ? "answered" : "failed");

const routeNameOf = ({ route, snapshot }: Exchange<Arrival>): string | null => (route === snapshot.miss ? null : route.name);

const consumerOf = (caller: Caller): string | null => (caller.via === "none" ? null : caller.consumer.id);

const subjectOf = (exchange: Exchange<Arrival>) => ({ route: routeNameOf(exchange), consumer: consumerOf(exchange.holder) });

/** Gives the data of an event about a request that limits denied. */
const deniedSaid = ({ requestId, route, caller, ip }: Judged, readings: readonly LimitReading[]) => ({
  requestId,
  route,
  consumer: consumerOf(caller),
  tier: caller.via === "none" ? null : caller.consumer.tier,
  ip,
  limits: readings
    .filter(({ denied }) => denied)
    .map(({ policy, limit, used }) => ({
      ...{ name: policy.name, scope: scopeText(policy), unit: shownUnit(policy) },
      ...{ limit: shownAmount(policy, limit), used: shownAmount(policy, used), shadow: policy.shadow },
    })),
});
