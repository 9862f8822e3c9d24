import type { Arrival, Exchange } from "../exchange/exchange.ts";
import { discard, UpstreamFailure, type UpstreamResponse } from "../http/client.ts";
import { problem } from "../http/problem.ts";
import { retryAfterOf } from "../http/retry-after.ts";
import { type Charge, CredentialRefused, PoolExhausted } from "../pools/credential.ts";
import { priced } from "../prices/answer.ts";
import { errorEvent } from "../tokens/error-event.ts";
import type { Prompt } from "../tokens/prompt.ts";
import type { Forwarder } from "../upstreams/forwarder.ts";
import { NoTarget } from "../upstreams/no-target.ts";
import type { Clock } from "../values/clock.ts";
import { FirstContent } from "./first-content.ts";
import { HeldAnswer } from "./held-answer.ts";
import type { Failed } from "./outcome.ts";
import type { ModelAttempt, VirtualModel } from "./virtual-model.ts";
import { failureIn } from "./whole-answer.ts";

/** Tells what became of an attempt. */
export interface AttemptResult {
  readonly requestId: string;
  /** The virtual model. */
  readonly model: string;
  readonly attempt: ModelAttempt;
  /**
   * `answered`: what it said went to the caller, be it an error after which no other attempt is made. `broken`: it answered, and the answer
   * broke off when its caller had seen a part. `left`: the caller has left meanwhile.
   */
  readonly outcome: Failed | "answered" | "broken" | "left";
}

export interface AttemptDeps {
  readonly clock: Clock;
  readonly forwarder: Pick<Forwarder, "send">;
  readonly onResult: (result: AttemptResult) => void;
}

/**
 * Holds what an attempt gave: an answer for the caller; or why another attempt is made, and the milliseconds after which this one may be
 * made again (`null`: nobody has said).
 */
export type Made = { readonly answer: UpstreamResponse } | { readonly failed: Failed; readonly retryIn: number | null };

type Lost = Extract<Made, { readonly failed: Failed }>;

/** Makes one attempt of a virtual model, and gives it up without a trace but what it cost. */
export class MadeAttempt {
  /** How much was to be done at the exchange's end before this began. */
  private readonly since: number;
  private hasAnswered = false;

  /** `prompt`: the request as this attempt's upstream gets it. */
  constructor(
    private readonly deps: AttemptDeps,
    private readonly exchange: Exchange<Arrival>,
    private readonly model: VirtualModel,
    private readonly attempt: ModelAttempt,
    prompt: Prompt,
  ) {
    this.since = exchange.pendingEndings;
    exchange.prompt = prompt;
    exchange.modelUsed = attempt.model;
  }

  /**
   * Makes it. There must be something to read at `until`; of an answer in one piece that has begun by then, the whole at `giveUpAt` (both as
   * of `clock.now()`). Rejects with why there is no answer where no other attempt is made after that.
   */
  async run(until: number, giveUpAt: number): Promise<Made> {
    const { exchange, attempt, deps } = this;
    const { spending } = exchange;
    if (spending !== null && !(await spending.begin(attempt.model))) return this.lost("budget");
    if (attempt.upstream === null) return this.lost("connect");
    const charge: Charge | null = spending === null ? null : chargeOf(spending, attempt.model);
    let response: UpstreamResponse;
    try {
      const turn = { within: until - deps.clock.now(), charge };
      response = await deps.forwarder.send(exchange, attempt.route, attempt.upstream, null, turn);
    } catch (error) {
      return this.thrown(error);
    }
    const { status } = response;
    if (status >= 400) return this.model.on.has(status) ? this.lost(status, response) : this.answer(response, giveUpAt);
    return this.judge(response, until, giveUpAt);
  }

  /** Waits until it shows whether an answer is worth passing on. */
  private async judge(response: UpstreamResponse, until: number, giveUpAt: number): Promise<Made> {
    const { body } = response;
    const isStream = response.fields.mediaType === "text/event-stream";
    const { method } = this.exchange.incoming.head;
    if (body === null || (body instanceof Uint8Array && !isStream)) {
      const outcome = failureIn(response, body ?? new Uint8Array(), method);
      return outcome !== null && this.model.on.has(outcome) ? this.lost(outcome, response) : this.answer(response, giveUpAt);
    }
    // It was asked for as it is: what is compressed all the same can't be looked into, and would seem to say nothing.
    if (isStream && isCoded(response)) return this.answer(response, giveUpAt);
    if (body instanceof Uint8Array) {
      const shown = new FirstContent().feed(body);
      const outcome = shown === "content" ? null : shown === "nothing" ? "connect" : shown;
      if (outcome !== null && this.model.on.has(outcome)) return this.lost(outcome, response);
      return this.answer(response, giveUpAt);
    }
    const afterwards = {
      lastWords: () => errorEvent(this.exchange.prompt?.api ?? "other", BROKEN_OFF, this.exchange.meter?.events ?? 0),
      onBroken: () => {
        if (this.hasAnswered && !this.exchange.isOver) this.tell("broken");
      },
    };
    const held = new HeldAnswer(body, isStream, afterwards, (whole) => failureIn(response, whole, method));
    const verdict = await this.decided(held, until, giveUpAt);
    if (this.exchange.isOver) return this.lost("connect");
    const isSaid = typeof verdict === "number" || held.isWhole;
    if (verdict === null || (isSaid && !this.model.on.has(verdict))) return this.answer({ ...response, body: held }, giveUpAt);
    held.cancel();
    const made = this.lost(verdict);
    if (this.model.on.has(verdict)) return made;
    throw new UpstreamFailure(verdict === "timeout" ? "timeout" : "reset", `the model's answer did not come: ${verdict}`, true);
  }

  private async decided(held: HeldAnswer, until: number, giveUpAt: number): Promise<Failed | null> {
    const { clock } = this.deps;
    let timer: Timer | undefined;
    const wait = (end: number): void => {
      timer = setTimeout(
        () => {
          if (held.hasPart && end < giveUpAt) wait(giveUpAt);
          else held.giveUp("timeout");
        },
        Math.max(0, end - clock.now()),
      );
    };
    wait(until);
    const verdict = await held.verdict;
    clearTimeout(timer);
    return verdict;
  }

  /** Says what is thrown means for this attempt. Throws it again where no other attempt is made after it. */
  private thrown(error: unknown): Made {
    const { exchange, model } = this;
    const outcomes = exchange.isOver ? [] : outcomesOf(error);
    const [told] = outcomes;
    const isTriedOn = outcomes.some((outcome) => model.on.has(outcome));
    const made = this.lost(told ?? "connect", null, told !== undefined);
    if (isTriedOn) return { ...made, retryIn: retryInOf(error) };
    throw error;
  }

  /** Gives it up: what it has cost stays spent, and nothing else is left of it. */
  private lost(failed: Failed, response: UpstreamResponse | null = null, isTold = true): Lost {
    const { exchange, deps } = this;
    exchange.lostUnits = exchange.units;
    exchange.meter = null;
    // First: the pool's key is charged with what that has come to.
    exchange.spending?.lost();
    exchange.credential?.lost();
    exchange.credential = null;
    if (response !== null) discard(response);
    exchange.endSince(this.since);
    if (isTold) this.tell(exchange.isOver ? "left" : failed);
    return { failed, retryIn: response === null ? null : retryAfterOf(response.fields.get("retry-after"), deps.clock.wall()) };
  }

  /** Gives the answer to the caller. One that has to be whole before it goes on, by `giveUpAt`, may still break off. */
  private async answer(response: UpstreamResponse, giveUpAt: number): Promise<Made> {
    const { exchange } = this;
    const { spending } = exchange;
    let answer: UpstreamResponse;
    try {
      answer = spending === null ? response : await priced(exchange, spending, response, giveUpAt - this.deps.clock.now());
    } catch (error) {
      return this.thrown(error);
    }
    this.hasAnswered = true;
    this.tell("answered");
    const fields = answer.fields.shared();
    fields.set("X-Model-Used", "x-model-used", this.attempt.model);
    return { answer: { ...answer, fields } };
  }

  private tell(outcome: AttemptResult["outcome"]): void {
    const { exchange, model, attempt } = this;
    this.deps.onResult({ requestId: exchange.id, model: model.name, attempt, outcome });
  }
}

const isCoded = ({ fields }: UpstreamResponse): boolean =>
  !["", "identity"].includes(fields.joined("content-encoding")?.trim().toLowerCase() ?? "");

const BROKEN_OFF = problem("upstreamFailed", "The answer broke off; try again.");

/** Gives what an attempt by this model costs in money. */
function chargeOf(spending: NonNullable<Exchange["spending"]>, model: string): Charge {
  const before = spending.lostSoFar;
  return {
    model,
    reserve: spending.reserveOf(model),
    cost: () => {
      const cost = spending.cost();
      return cost === null ? null : cost - before;
    },
  };
}

/** Gives the milliseconds after which an error may be over; `null`: it does not say. */
function retryInOf(error: unknown): number | null {
  const retryIn = error instanceof PoolExhausted ? error.retryIn : error instanceof NoTarget ? error.why.retryIn : Number.POSITIVE_INFINITY;
  return Number.isFinite(retryIn) ? retryIn : null;
}

/** Gives what an error says of an attempt, in the words of `on`, the one that is told first; none for what is not the upstream's doing. */
function outcomesOf(error: unknown): readonly Failed[] {
  if (error instanceof NoTarget) return ["connect"];
  if (error instanceof PoolExhausted) return error.status === 0 ? ["budget"] : [error.status, "budget"];
  if (error instanceof CredentialRefused) return [error.status];
  if (!(error instanceof UpstreamFailure)) return [];
  switch (error.kind) {
    case "timeout":
      return ["timeout"];
    case "connect":
    case "reset":
    case "protocol":
      return ["connect"];
    default:
      return [];
  }
}
