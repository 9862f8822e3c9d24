import { UpstreamFailure } from "../http/client.ts";
import type { Incoming } from "../http/incoming.ts";
import type { Problem } from "../http/problem.ts";
import type { Clock } from "../values/clock.ts";
import type { Answer } from "./answer.ts";
import { Exchange } from "./exchange.ts";
import { finish } from "./finish.ts";
import { walk } from "./line.ts";
import { aimOf, place } from "./place.ts";
import type { Route } from "./route.ts";
import type { Router } from "./router.ts";
import type { Snapshot } from "./snapshot.ts";

/** Says what the caller is told of an error, and whether it is a fault that whoever runs the gateway has to know of. */
export interface Failure {
  readonly refusal: Problem;
  readonly isFault: boolean;
}

export interface DispatcherDeps {
  readonly clock: Clock;
  /** Gives the snapshot in force: a request keeps the one it began with. */
  readonly snapshot: () => Snapshot;
  /** Gives the refusal that the caller gets for an error, and tells whether the error is a fault of Sluice's own. */
  readonly failureOf: (error: unknown) => Failure;
  /** Logs a fault of Sluice's own. */
  readonly onFault: (error: unknown, requestId: string) => void;
}

/** Takes requests along their lines, from the head that has arrived to the answer. */
export class Dispatcher {
  constructor(private readonly deps: DispatcherDeps) {}

  /** Answers one request by the routes of `routerOf`. In memory nothing waits before the upstream call. */
  dispatch(incoming: Incoming, routerOf: (snapshot: Snapshot) => Router<Route>): void {
    const { clock } = this.deps;
    const snapshot = this.deps.snapshot();
    const aim = aimOf(incoming.head.target);
    const exchange = new Exchange(incoming, snapshot, aim.path, aim.query, clock.now(), aim.odd);
    incoming.onEnd = () => this.end(exchange);
    try {
      const line = place(exchange, routerOf(snapshot), aim.fault);
      const answer = "code" in line ? problemAnswer(line) : walk(exchange, line);
      if (!(answer instanceof Promise)) finish(exchange, answer, clock.now());
      else
        answer.then(
          (given) => this.finish(exchange, given),
          (error: unknown) => this.fail(exchange, error),
        );
    } catch (error) {
      this.fail(exchange, error);
    }
  }

  /** Writes an answer that was waited for. */
  private finish(exchange: Exchange, answer: Answer): void {
    try {
      finish(exchange, answer, this.deps.clock.now());
    } catch (error) {
      this.fail(exchange, error);
    }
  }

  private fail(exchange: Exchange, error: unknown): void {
    if (exchange.incoming.isReplied || exchange.incoming.isAborted) return;
    const { refusal, isFault } = this.deps.failureOf(error);
    if (isFault) this.deps.onFault(error, exchange.id);
    else if (error instanceof UpstreamFailure) exchange.notes.trouble = error.message;
    finish(exchange, problemAnswer(refusal), this.deps.clock.now());
  }

  /** Ends the exchange when the answer is written whole or has broken off. */
  private end(exchange: Exchange): void {
    exchange.end();
    // 499 is nginx's: the client closed the connection before there was an answer.
    if (exchange.status === 0) exchange.status = 499;
    exchange.route.line.ended(exchange, this.deps.clock.now() - exchange.startedAt);
  }
}

const problemAnswer = (refusal: Problem): Answer => ({ kind: "problem", problem: refusal });
