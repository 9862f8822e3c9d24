import type { Problem } from "../http/problem.ts";
import { type Answer, GONE } from "./answer.ts";
import type { Arrival, Exchange } from "./exchange.ts";

/** Says with what a gate stops a request: a refusal, or an answer of somebody who was asked about it. */
export type Stop = Problem | Answer;

/** Stops a request, or lets it go on (`null`). It gives a promise only where it has to wait. */
export type Gate = (exchange: Exchange<Arrival>) => Stop | null | Promise<Stop | null>;

/** Answers a request that all gates have let through. It may wrap another: a cache stands around what it keeps. */
export type Answerer = (exchange: Exchange) => Answer | Promise<Answer>;

/** Holds a route's way, compiled once: steps that the route does not use are not in it, and cost nothing. */
export interface Line {
  readonly gates: readonly Gate[];
  readonly answer: Answerer;
  /**
   * Writes down what became of the request, `elapsed` milliseconds after its head had arrived: when its answer is out, or its caller gone.
   */
  readonly ended: (exchange: Exchange<Arrival>, elapsed: number) => void;
}

/**
 * Takes a request along its line, from the gate at `from` on. The only place that waits, and only for a step that gave a promise: in memory
 * nothing waits before the backend is asked. Throws, or rejects with, what a step throws.
 *
 * @example
 * const line = { gates: [(exchange) => (exchange.ip === "192.0.2.1" ? problem("forbidden", "Not from there.") : null)], answer: sayHello, ended: () => {} };
 * const answer = await walk(exchange, line);
 */
export function walk(exchange: Exchange, line: Line): Answer | Promise<Answer> {
  const stop = admit(exchange, line.gates);
  if (stop instanceof Promise) return stop.then((decided) => (decided === null ? line.answer(exchange) : answerOf(decided)));
  return stop === null ? line.answer(exchange) : answerOf(stop);
}

/**
 * Takes a request through gates, from the one at `from` on: says with what the first one stops it, or lets it go on (`null`). Throws, or
 * rejects with, what a gate throws.
 */
export function admit(exchange: Exchange<Arrival>, gates: readonly Gate[], from = 0): Stop | null | Promise<Stop | null> {
  for (let i = from; i < gates.length; i++) {
    const stop = (gates[i] as Gate)(exchange);
    if (stop !== null) return stop instanceof Promise ? admitOn(exchange, gates, i, stop) : stop;
  }
  return null;
}

/**
 * Makes one gate of several, which are asked one after the other: for a line whose steps depend on the request.
 *
 * @example
 * const known = inTurn([guardGate(guard), identity.gateFor(entrance)]);
 * const gate: Gate = (exchange) => (isOperator(exchange) ? null : known(exchange));
 */
export function inTurn(gates: readonly Gate[]): Gate {
  const askFrom = (exchange: Exchange<Arrival>, from: number): ReturnType<Gate> => {
    for (let i = from; i < gates.length; i++) {
      const stop = (gates[i] as Gate)(exchange);
      if (stop instanceof Promise)
        return stop.then((decided) => (decided === null && !exchange.isOver ? askFrom(exchange, i + 1) : decided));
      if (stop !== null) return stop;
    }
    return null;
  };
  return (exchange) => askFrom(exchange, 0);
}

/** Gives the answer to a request that a gate has stopped. */
export const answerOf = (stop: Stop): Answer => ("kind" in stop ? stop : { kind: "problem", problem: stop });

async function admitOn(
  exchange: Exchange<Arrival>,
  gates: readonly Gate[],
  at: number,
  waiting: Promise<Stop | null>,
): Promise<Stop | null> {
  const stop = await waiting;
  // The caller has left meanwhile, or its body was refused: nothing more is done in its name.
  if (exchange.isOver) return GONE;
  return stop === null ? admit(exchange, gates, at + 1) : stop;
}
