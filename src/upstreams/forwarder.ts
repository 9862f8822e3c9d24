import type { Arrival, Exchange } from "../exchange/exchange.ts";
import type { Route } from "../exchange/route.ts";
import { type GrpcStatus, nameOf } from "../grpc/status.ts";
import { callerLeft, type UpstreamClient, UpstreamFailure, type UpstreamResponse } from "../http/client.ts";
import { retryAfterOf } from "../http/retry-after.ts";
import { type Charge, CredentialUse } from "../pools/credential.ts";
import type { Pools } from "../pools/pools.ts";
import { priced } from "../prices/answer.ts";
import { metered, meterOf } from "../tokens/meter.ts";
import type { Prompt } from "../tokens/prompt.ts";
import { promptOf } from "../tokens/reading.ts";
import type { Clock } from "../values/clock.ts";
import { Attempt } from "./attempt.ts";
import { callAnswer, statusAtHead } from "./grpc-answer.ts";
import { NoTarget } from "./no-target.ts";
import { RefusedKeys } from "./refused-key.ts";
import { delayBefore, mayBeRepeated } from "./retry.ts";
import { gather, isRepeatable, isSmallAndOnItsWay, Sending } from "./sending.ts";
import type { GrpcOutcome, Target, Upstream } from "./upstream.ts";

export interface ForwarderDeps {
  readonly clock: Clock;
  readonly client: UpstreamClient;
  readonly pools: Pools;
  /** Numbers from 0 up to 1. */
  readonly random: () => number;
  /** Tells of an error that nobody waits for. */
  readonly onFault: (error: unknown) => void;
  /** Learns that an attempt failed: by its answer's status, or without one. */
  readonly onFailed: (
    requestId: string,
    upstream: string,
    target: Target,
    attempt: number,
    why: number | GrpcOutcome | UpstreamFailure,
  ) => void;
}

/**
 * Says how a request is sent that is one of several attempts, which somebody else decides about: the route's retry has no say. Another target
 * is asked where the first can't be reached, and another key of the pool where the first is refused.
 */
export interface Turn {
  /** Milliseconds until a response must have begun. */
  readonly within: number;
  /** What it costs in money; `null`: nothing is priced. */
  readonly charge: Charge | null;
}

/** Sends a request to one of an upstream's targets, and again to another where that is allowed and may help. */
export class Forwarder {
  private readonly refused: RefusedKeys;

  constructor(private readonly deps: ForwarderDeps) {
    this.refused = new RefusedKeys(deps);
  }

  /**
   * Gives the upstream's answer. Its target counts as busy, and its credential's cost as reserved, until the exchange ends. Rejects with `UpstreamFailure` when the last attempt got
   * none, with `NoTarget` when there was nobody to ask, with `PoolExhausted` and `PoolMissing` when there was no credential.
   * `conditions`: the fields that stand in place of the caller's own conditions; `null` leaves those. `turn`: it is one of several attempts;
   * `null`: it is the only one.
   */
  async send(
    exchange: Exchange<Arrival>,
    route: Route,
    upstream: Upstream,
    conditions: string | null = null,
    turn: Turn | null = null,
  ): Promise<UpstreamResponse> {
    const preparing = route.usage !== null || route.credential !== null ? this.prepare(exchange, route, turn) : null;
    if (preparing !== null) await preparing;
    // Not before the body is there: how slowly the caller sends it says nothing of the backend.
    const gathered = exchange.prompt === null && isSmallAndOnItsWay(exchange) ? await gather(exchange) : null;
    const sending = new Sending(exchange, route, upstream, conditions, gathered, this.deps.clock.now(), turn);
    route.budget.earn();
    for (;;) {
      const attempt = this.begin(sending);
      const call = this.deps.client.send(attempt.target.origin, sending.requestTo(attempt.target, this.deps.clock.now()));
      attempt.sent(call);
      let result: UpstreamResponse | UpstreamFailure;
      try {
        result = await call.response;
      } catch (error) {
        result = this.failed(sending, attempt, error);
      }
      if (result instanceof UpstreamFailure) {
        if (sending.takesNewConnection(result)) continue;
      } else {
        const call = callStatus(sending, result);
        const isRefusal = attempt.answered(result, call);
        const why = setbackOf(sending, result, call);
        if (why === null) {
          const use = isRefusal ? exchange.credential : null;
          if (use === null || (await this.refused.decide(sending, use, attempt, result)) === "answer")
            return this.answer(sending, attempt, result);
          attempt.giveUp(result);
          continue;
        }
        this.deps.onFailed(exchange.id, upstream.name, attempt.target, exchange.attempts, why);
      }
      sending.tried = [...sending.tried, attempt.target];
      const wait = this.waitAfter(sending, result);
      if (wait === null || !(await mayCostMore(exchange))) return this.last(sending, attempt, result);
      if (!(result instanceof UpstreamFailure)) attempt.giveUp(result);
      if (wait > 0) await pause(exchange, upstream, wait);
    }
  }

  /** Begins an attempt at the target that is next. Throws `NoTarget` where there is none, and when the caller has left meanwhile. */
  private begin({ exchange, upstream, hash, tried }: Sending): Attempt {
    if (exchange.isOver) throw callerLeft();
    const target = upstream.choose(hash, tried);
    if (target === null) throw new NoTarget(upstream.whyNot());
    return new Attempt(exchange, upstream, target, this.deps.clock);
  }

  /** Ends an attempt that got no answer. Gives why; what is no failure of the upstream's is thrown on. */
  private failed({ exchange, upstream }: Sending, attempt: Attempt, error: unknown): UpstreamFailure {
    if (!(error instanceof UpstreamFailure)) {
      attempt.end();
      throw error;
    }
    this.deps.onFailed(exchange.id, upstream.name, attempt.target, exchange.attempts, error);
    attempt.failed(error);
    return error;
  }

  /** Gives the milliseconds to wait before the request is sent again, or `null` when it is not. Another target is asked at once: delays are for asking the same one again. */
  private waitAfter(sending: Sending, result: UpstreamResponse | UpstreamFailure): number | null {
    const { clock, random } = this.deps;
    const { exchange, route, upstream, isRepeatable, deadline } = sending;
    if (sending.turn !== null) return mayAskAnother(sending, result, clock.now()) ? 0 : null;
    const attempts = exchange.attempts - sending.keyChanges;
    if (route.retry === null || attempts >= route.retry.attempts) return null;
    const { method, fields } = exchange.incoming.head;
    const why =
      result instanceof UpstreamFailure ? result.kind : (setbackOf(sending, result, callStatus(sending, result)) ?? result.status);
    const isUnprocessed = result instanceof UpstreamFailure && result.isUnprocessed;
    const on = exchange.grpc === null ? null : route.retry.on;
    if (!mayBeRepeated({ why, method, hasKey: fields.get("idempotency-key") !== null, isRepeatable, isUnprocessed, on })) return null;
    let wait = 0;
    if (!upstream.hasFresh(sending.tried)) {
      const asked = result instanceof UpstreamFailure ? null : askedBy(result, clock.wall());
      wait = delayBefore(route.retry, attempts, why, asked, random);
    }
    const isInTime = clock.now() + wait < deadline;
    return isInTime && !exchange.isOver && upstream.hasTarget && route.budget.spend() ? wait : null;
  }

  /** Gives an answer for the caller. */
  private answer(sending: Sending, attempt: Attempt, response: UpstreamResponse): UpstreamResponse | Promise<UpstreamResponse> {
    const { exchange, upstream } = sending;
    const { spending, grpc } = exchange;
    // Of several attempts the one that answers is priced, when it is known to.
    if (spending !== null && response.tunnel === null && sending.turn === null)
      return priced(exchange, spending, measured(sending, response));
    if (grpc === null) return measured(sending, response);
    return measured(sending, callAnswer(exchange, upstream, attempt, response, sending.callLeft(this.deps.clock.now())));
  }

  /** Gives the last attempt's answer to the caller, or throws why there was none. */
  private last(
    sending: Sending,
    attempt: Attempt,
    result: UpstreamResponse | UpstreamFailure,
  ): UpstreamResponse | Promise<UpstreamResponse> {
    if (!(result instanceof UpstreamFailure)) return this.answer(sending, attempt, result);
    // What ran out was the time for all of it, whatever the last attempt was at.
    if (result.kind === "connect" && this.deps.clock.now() >= sending.deadline) throw new UpstreamFailure("timeout", result.message, false);
    throw result;
  }

  /** Reads what the request will cost, and takes a credential for it. `null`: that is done, there was nothing to wait for. */
  private prepare(exchange: Exchange<Arrival>, route: Route, turn: Turn | null): Promise<unknown> | null {
    const reading = promptOf(exchange, route, false);
    if (reading instanceof Promise) return reading.then((prompt) => this.takeCredential(exchange, route, turn, prompt));
    return this.takeCredential(exchange, route, turn, reading);
  }

  private takeCredential(exchange: Exchange<Arrival>, { credential }: Route, turn: Turn | null, prompt: Prompt): Promise<void> | null {
    if (credential === null) return null;
    const charge = turn === null ? exchange.spending : turn.charge;
    const use = CredentialUse.begin(this.deps, exchange, credential, prompt, isRepeatable(prompt.body), charge);
    if (use instanceof Promise) return use.then((taken) => useIn(exchange, taken));
    useIn(exchange, use);
    return null;
  }
}

/** Has an exchange use a pool's key. */
function useIn(exchange: Exchange<Arrival>, use: CredentialUse): void {
  exchange.credential = use;
  exchange.spending?.drawOn(use);
  if (exchange.isOver) throw callerLeft();
}

/** Gives the milliseconds that a backend asks to wait for before the next attempt; `null`: it says nothing. */
const askedBy = ({ fields }: UpstreamResponse, now: number): number | null => {
  const pushback = fields.get("grpc-retry-pushback-ms");
  return pushback !== null && /^\d{1,9}$/.test(pushback) ? Number(pushback) : retryAfterOf(fields.get("retry-after"), now);
};

const callStatus = ({ exchange }: Sending, response: UpstreamResponse): GrpcStatus | "open" | null =>
  exchange.grpc === null ? null : statusAtHead(response);

/** Tells whether one of several attempts goes on with another target: where the first was not reached, nothing has come of it. */
const mayAskAnother = (
  { exchange, upstream, tried, deadline }: Sending,
  result: UpstreamResponse | UpstreamFailure,
  now: number,
): boolean =>
  result instanceof UpstreamFailure && result.kind === "connect" && !exchange.isOver && now < deadline && upstream.hasFresh(tried);

/** Tells with what an answer is no good one, so that another attempt may do better; `null`: it is one. `call`: the status that it gives a call. */
function setbackOf(
  { route, upstream }: Sending,
  { status }: UpstreamResponse,
  call: GrpcStatus | "open" | null,
): number | GrpcOutcome | null {
  if (status >= 500) return status;
  if (call === null || call === "open" || call === 0) return null;
  const outcome: GrpcOutcome = `grpc:${nameOf(call)}`;
  return upstream.isFailingCall(call) || route.retry?.on.has(outcome) === true ? outcome : null;
}

/** Gives the answer for the caller, its cost being read as it goes by. */
function measured({ exchange, route }: Sending, response: UpstreamResponse): UpstreamResponse {
  if (route.usage === null || response.tunnel !== null) return response;
  exchange.meter = meterOf(response, route.usage, exchange.prompt);
  exchange.credential?.measure(exchange.meter);
  exchange.spending?.measure(exchange.meter);
  return exchange.meter === null ? response : metered(response, exchange.meter);
}

/** Tells whether limits in money hold another attempt, where those before it may have cost something. */
const mayCostMore = ({ spending }: Exchange<Arrival>): boolean | Promise<boolean> => spending === null || spending.again();

/** Waits for the time of a retry; less when the caller leaves, or when no target is left to try. */
async function pause(exchange: Exchange<Arrival>, upstream: Upstream, milliseconds: number): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, milliseconds);
  const forget = upstream.onUnavailable(resolve);
  exchange.incoming.onAbort = resolve;
  await promise;
  clearTimeout(timer);
  forget();
  exchange.incoming.onAbort = null;
}
