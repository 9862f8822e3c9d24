import type { Arrival, Exchange } from "../exchange/exchange.ts";
import { type GrpcStatus, nameOf } from "../grpc/status.ts";
import { type Call, discard, type UpstreamFailure, type UpstreamResponse } from "../http/client.ts";
import { spanMethod } from "../telemetry/spans.ts";
import type { Clock } from "../values/clock.ts";
import { outcomeOf } from "./retry.ts";
import type { FailedOutcome, Target, Upstream } from "./upstream.ts";

/**
 * Follows one sending of a request to one target, which counts as under way there from its beginning to its end. It ends once, whatever happens: by its failure, when it is given up for
 * another, or with the exchange at the latest.
 */
export class Attempt {
  /** What the target's breaker wants for the result, of which it is told once. */
  private readonly ticket: number;
  private hasResult = false;
  private hasEnded = false;

  /** Begins it. The target is the one that `upstream.choose` has just given. */
  constructor(
    private readonly exchange: Exchange<Arrival>,
    private readonly upstream: Upstream,
    readonly target: Target,
    private readonly clock: Clock,
  ) {
    exchange.target = target;
    exchange.attempts++;
    this.ticket = upstream.begin(target);
    exchange.trace?.sends(upstream.name, target, exchange.attempts, spanMethod(exchange.incoming.head.method), clock.now());
    exchange.onEnded(this.end);
  }

  /** Takes note of how it is sent: a caller who leaves ends that. */
  sent(call: Call): void {
    this.exchange.credential?.sent(call);
    this.exchange.spending?.sent(call);
    this.exchange.incoming.onAbort = () => call.abort();
  }

  /**
   * Takes note of an answer's head. The target stays busy with the answer until the end. Gives whether the upstream refused the credential with it, or may have.
   * `call`: the status that it gives a call of gRPC, "open" where that comes with its end and `settled` follows; `null`: it is no such call.
   */
  answered(response: UpstreamResponse, call: GrpcStatus | "open" | null = null): boolean {
    const { exchange, upstream, target, ticket } = this;
    const { status } = response;
    const isRefusal = exchange.credential?.answered(response) === true;
    exchange.spending?.answered(status);
    if (this.hasEnded) return isRefusal;
    exchange.trace?.answered(status, null, this.clock.now());
    if (call === "open") return isRefusal;
    if (call !== null && status === 200) {
      this.settled(upstream.isFailingCall(call) ? `grpc:${nameOf(call)}` : null);
      return isRefusal;
    }
    this.hasResult = true;
    if (upstream.isFailing(status)) upstream.failed(target, ticket, status);
    else upstream.succeeded(target, ticket);
    return isRefusal;
  }

  /** Takes note, once, of what a call's answer says of its target. `failed`: `null`: it is well. */
  settled(failed: FailedOutcome | null): void {
    if (this.hasEnded || this.hasResult) return;
    this.hasResult = true;
    if (failed === null) this.upstream.succeeded(this.target, this.ticket);
    else this.upstream.failed(this.target, this.ticket, failed);
  }

  /** Takes note of why no answer came, and ends. */
  failed(failure: UpstreamFailure): void {
    if (this.hasEnded) return;
    const { exchange } = this;
    const { isStale } = failure;
    exchange.trace?.answered(null, isStale ? "stale" : failure.kind, this.clock.now());
    if (!failure.wasSent || isStale) {
      exchange.credential?.unsent();
      exchange.spending?.failed();
    } else exchange.spending?.lost();
    const outcome = isStale ? null : outcomeOf(failure.kind);
    if (outcome !== null) {
      this.hasResult = true;
      this.upstream.failed(this.target, this.ticket, outcome);
    }
    this.end();
  }

  /** Ends it, and gives up its answer, which nobody gets. */
  giveUp(response: UpstreamResponse): void {
    this.end();
    this.exchange.spending?.lost();
    discard(response);
  }

  /** Ends it: its target is free of it, and hears nothing of it where there is no result yet. A second call does nothing. */
  readonly end = (): void => {
    if (this.hasEnded) return;
    this.hasEnded = true;
    this.target.state.inFlight--;
    if (!this.hasResult) this.upstream.withdrawn(this.target, this.ticket);
  };
}
