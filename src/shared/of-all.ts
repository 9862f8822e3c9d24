import type { Bus } from "./bus.ts";

/** Milliseconds that a process may take to say what only it knows. */
export const ASKED_WITHIN = 500;

/**
 * Registers what this process answers to a question, and gives a function that asks it of all processes; this one's answer is the first.
 *
 * @example
 * const inFlight = ofAll(bus, "inFlight", () => 3);
 * (await inFlight(null)).reduce((sum, each) => sum + each, 0);
 */
export function ofAll<Q, T>(bus: Bus, topic: string, own: (question: Q) => T): (question: Q) => Promise<readonly T[]> {
  bus.answer<Q>(topic, own);
  return async (question) => [own(question), ...(await bus.askAll<T>(topic, question, ASKED_WITHIN))];
}
