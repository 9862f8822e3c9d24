import type { Problem } from "../http/problem.ts";

/** Describes a request that was refused. */
export interface Denial {
  /** Milliseconds since 1970. */
  readonly at: number;
  readonly requestId: string;
  readonly route: string | null;
  readonly refusal: Problem;
}

/** The most callers whose denials are remembered, and the most denials of each. */
const MAX_CALLERS = 10_000;
const MAX_EACH = 5;

/** Holds a denial with the caller that it is remembered for: a consumer's id, or an address as a subject. */
export interface CallersDenial extends Denial {
  readonly caller: string;
}

/** Remembers the last refusals of each caller, for who asks why. Forgets the callers first that were refused longest ago. */
export class Denials {
  private readonly byCaller = new Map<string, Denial[]>();

  /** Remembers a refusal. `caller`: a consumer's id, or an address as a subject. */
  note(caller: string, denial: Denial): void {
    const before = this.byCaller.get(caller);
    // Put at the end again: the map's order is that of the last denial.
    if (before !== undefined) this.byCaller.delete(caller);
    else if (this.byCaller.size >= MAX_CALLERS) this.byCaller.delete(this.byCaller.keys().next().value as string);
    const denials = before ?? [];
    if (denials.length >= MAX_EACH) denials.shift();
    denials.push(denial);
    this.byCaller.set(caller, denials);
  }

  /** Gives the refusals of a caller, the newest first. */
  of(caller: string): readonly Denial[] {
    return this.byCaller.get(caller)?.toReversed() ?? [];
  }

  /** Gives the last refusals of all callers together, the newest first. */
  latest(most: number): readonly CallersDenial[] {
    // The newest ones are of those who were refused last, since each of them has one of its own there.
    const callers = [...this.byCaller].slice(-most);
    const all = callers.flatMap(([caller, denials]) => denials.map((denial) => ({ ...denial, caller })));
    return all.sort((a, b) => b.at - a.at).slice(0, most);
  }

  /** Gives the refusal of a request; `null` when none is remembered. */
  find(requestId: string): CallersDenial | null {
    for (const [caller, denials] of this.byCaller)
      for (const denial of denials) if (denial.requestId === requestId) return { ...denial, caller };
    return null;
  }
}
