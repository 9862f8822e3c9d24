import type { AttemptResult } from "./made-attempt.ts";

/** Says what an attempt of a virtual model failed by when it did so last. */
export interface LastFailure {
  /** Milliseconds since 1970. */
  readonly at: number;
  readonly outcome: string;
  readonly requestId: string;
}

/** Names one attempt of a virtual model. */
export interface AttemptName {
  readonly model: string;
  readonly place: number;
  readonly upstream: string;
  readonly used: string;
}

/** The most attempts that are remembered: configurations come and go. */
const MAX_REMEMBERED = 4096;

/** Remembers how attempts have failed last, for people. */
export class LastFailures {
  private readonly known = new Map<string, AttemptName & LastFailure>();

  /** Notes a result. `at` in milliseconds since 1970. */
  note({ model, attempt, outcome, requestId }: AttemptResult, at: number): void {
    if (outcome === "answered" || outcome === "left") return;
    const name = { model, place: attempt.place, upstream: attempt.upstreamName, used: attempt.model };
    const key = keyOf(name);
    if (!this.known.has(key) && this.known.size >= MAX_REMEMBERED) this.known.delete(this.known.keys().next().value ?? "");
    this.known.set(key, { ...name, at, outcome: String(outcome), requestId });
  }

  all(): readonly (AttemptName & LastFailure)[] {
    return [...this.known.values()];
  }
}

/** Gives the text by which an attempt is found. */
export const keyOf = ({ model, place, upstream, used }: AttemptName): string => `${model}\n${place}\n${upstream}\n${used}`;
