import type { Arrival, Exchange } from "../exchange/exchange.ts";
import type { Gate, Stop } from "../exchange/line.ts";
import type { UpstreamClient } from "../http/client.ts";
import { passing } from "../http/problem.ts";
import type { Counter, Metrics } from "../telemetry/metrics.ts";
import type { Emit } from "../telemetry/occurrences.ts";
import type { Clock } from "../values/clock.ts";
import { Asking, type Decision } from "./asking.ts";
import { KeptDecisions, mayBeKept } from "./kept.ts";
import { headOf, keyOf, questionOf } from "./question.ts";
import type { RouteAuthorize } from "./route-authorize.ts";

export interface AuthorizeDeps {
  readonly clock: Clock;
  readonly client: UpstreamClient;
  readonly metrics: Pick<Metrics, "counter">;
  /** Tells when a service does not decide, and when it does again. */
  readonly emit: Emit;
}

/** Milliseconds for which a service's failures are not told again: each request may be one. */
const TOLD_FOR = 60_000;

const FAILED = passing(
  "authorizeFailed",
  "Whether this request may pass could not be found out: the service that decides gave no answer. Try again in a second.",
  1,
);

const OUTCOMES = ["allowed", "refused", "failed"] as const;

/** Holds a route that asks, and what is known of the service it asks. */
interface AskingRoute {
  readonly name: string;
  readonly authorize: RouteAuthorize;
  readonly outcomes: Readonly<Record<Decision["kind"], { value: number }>>;
  readonly asked: { value: number };
  readonly seconds: { value: number };
  /** The `clock.now()` until which failures are not told again. */
  toldUntil: number;
  /** True when a failure was told, and since then the service has not decided. */
  isFailing: boolean;
}

/**
 * Asks other services whether requests may pass, one for each route that names one. Those who ask the same at the same time share one
 * question where answers are kept.
 */
export class Authorize {
  private readonly kept: KeptDecisions;
  /** Questions under way, by what their answers are kept under. */
  private readonly shared = new Map<string, Asking>();
  private readonly outcomes: Counter;
  private readonly asked: Counter;
  private readonly seconds: Counter;

  constructor(private readonly deps: AuthorizeDeps) {
    const { clock, metrics } = deps;
    this.kept = new KeptDecisions(clock);
    this.outcomes = metrics.counter(
      "sluice_authorize_total",
      "Requests by what the service that their route asks has decided: allowed, refused, or failed, where it has not; kept answers count as well.",
    );
    this.asked = metrics.counter("sluice_authorize_asked_total", "Questions to services that decide whether requests may pass.");
    this.seconds = metrics.counter("sluice_authorize_seconds_total", "Seconds for which these questions were under way, all together.");
  }

  /** Makes the gate of a route that asks. */
  gateFor(route: string, authorize: RouteAuthorize): Gate {
    const of = (outcome: Decision["kind"]) => this.outcomes.of({ route, outcome });
    const [allowed, refused, failed] = OUTCOMES;
    const on: AskingRoute = {
      ...{ name: route, authorize },
      outcomes: { allowed: of(allowed), refused: of(refused), failed: of(failed) },
      ...{ asked: this.asked.of({ route }), seconds: this.seconds.of({ route }) },
      ...{ toldUntil: Number.NEGATIVE_INFINITY, isFailing: false },
    };
    return (exchange) => {
      if (exchange.asker !== null) {
        exchange.asker.tell("authorize", `${authorize.shownUrl} would be asked whether it may pass`, null);
        return null;
      }
      exchange.trace?.enter("authorize", this.deps.clock.now());
      const question = questionOf(exchange, authorize);
      if (authorize.cacheFor === null) return this.askAlone(exchange, on, question, authorize.timeout);
      const key = keyOf(question, authorize, exchange);
      const kept = this.kept.find(key);
      return kept === null ? this.askTogether(exchange, on, question, key, authorize.cacheFor) : this.conclude(exchange, on, kept, true);
    };
  }

  /** Asks for this request alone. `within`: milliseconds. */
  private async askAlone(exchange: Exchange<Arrival>, on: AskingRoute, question: string, within: number): Promise<Stop | null> {
    const decision = await this.wait(exchange, this.ask(exchange, on, question, within));
    return this.conclude(exchange, on, decision, false);
  }

  /** Asks together with others who ask the same. An answer for one alone is given to one: the others ask once more, each by itself. */
  private async askTogether(
    exchange: Exchange<Arrival>,
    on: AskingRoute,
    question: string,
    key: string,
    cacheFor: number,
  ): Promise<Stop | null> {
    const { clock } = this.deps;
    const { timeout } = on.authorize;
    const began = clock.now();
    const underWay = this.shared.get(key);
    if (underWay !== undefined && !underWay.isOver) {
      const decision = await this.wait(exchange, underWay);
      if (decision.kind === "failed" || mayBeKept(decision)) return this.conclude(exchange, on, decision, true);
      return exchange.isOver ? null : this.askAlone(exchange, on, question, Math.max(1, timeout - (clock.now() - began)));
    }
    const asking = this.ask(exchange, on, question, timeout);
    this.shared.set(key, asking);
    asking.decision.then(
      (decision) => {
        if (mayBeKept(decision)) this.kept.put(key, decision, cacheFor);
        this.forget(key, asking);
      },
      () => this.forget(key, asking),
    );
    return this.conclude(exchange, on, await this.wait(exchange, asking), false);
  }

  private forget(key: string, asking: Asking): void {
    // One that was given up has made room for another.
    if (this.shared.get(key) === asking) this.shared.delete(key);
  }

  private ask(exchange: Exchange<Arrival>, on: AskingRoute, question: string, within: number): Asking {
    const { clock, client } = this.deps;
    const began = clock.now();
    const asking = new Asking(client, on.authorize, headOf(question, exchange), within);
    on.asked.value++;
    asking.decision.then(
      (decision) => {
        on.seconds.value += (clock.now() - began) / 1000;
        if (!asking.isOver) this.tell(on, decision);
      },
      // Whoever waits for it hears of a fault of Sluice's own.
      () => {},
    );
    return asking;
  }

  /** Waits for a decision for as long as the caller stays. */
  private async wait(exchange: Exchange<Arrival>, asking: Asking): Promise<Decision> {
    asking.enter();
    exchange.incoming.onAbort = () => asking.leave();
    try {
      return await asking.decision;
    } finally {
      exchange.incoming.onAbort = null;
    }
  }

  /** Makes a gate's result of a decision. `isKept`: nobody was asked for this request. */
  private conclude(exchange: Exchange<Arrival>, on: AskingRoute, decision: Decision, isKept: boolean): Stop | null {
    if (exchange.isOver) return null;
    on.outcomes[decision.kind].value++;
    const { notes } = exchange;
    if (decision.kind !== "allowed") notes.authorize = decision.kind;
    if (decision.kind === "failed") notes.trouble = `authorize: ${decision.why}`;
    exchange.trace?.leave(this.deps.clock.now(), { "sluice.authorize": decision.kind, "sluice.kept": isKept });
    switch (decision.kind) {
      case "allowed":
        exchange.granted = decision.fields;
        return null;
      case "refused":
        return { kind: "forwarded", response: decision.response };
      case "failed":
        return on.authorize.mayPassOnError ? null : FAILED;
    }
  }

  /** Tells of a failure, at most once a minute, and that it is over. */
  private tell(on: AskingRoute, decision: Decision): void {
    const { clock, emit } = this.deps;
    const { name: route, authorize } = on;
    const about = { type: "authorize", route, service: authorize.shownUrl, isDenied: !authorize.mayPassOnError } as const;
    if (decision.kind !== "failed") {
      if (on.isFailing) emit({ ...about, why: null });
      on.isFailing = false;
    } else if (clock.now() >= on.toldUntil) {
      on.toldUntil = clock.now() + TOLD_FOR;
      on.isFailing = true;
      emit({ ...about, why: decision.why });
    }
  }
}
