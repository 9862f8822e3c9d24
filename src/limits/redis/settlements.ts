import type { Policy } from "../policy.ts";
import type { Batches } from "./batches.ts";
import type { TermTexts } from "./terms.ts";

/** Says by how much what a request took in Redis differs from what it has used in the end. */
export interface Settlement {
  readonly key: string;
  readonly policy: Policy;
  /** What it took too little; below 0: too much. */
  readonly more: number;
  /** When it took it, by Redis' clock. */
  readonly at: number;
}

/** The most settlements that wait for Redis; beyond it the oldest is dropped: what was taken beforehand stays. */
const MAX_WAITING = 10_000;

/**
 * Tells Redis what requests have used in the end. While it is away that waits: a month's budget would lack what was reserved in an outage.
 * It waits as well for what was let through without Redis: counts that have become smaller look as if Redis had lost something.
 * What was sent and not answered is not told again, since nobody knows whether it was done: giving back twice would let more be spent than
 * there is.
 */
export class Settlements {
  private waiting: Settlement[] = [];

  constructor(
    private readonly deps: {
      readonly batches: Batches;
      readonly terms: TermTexts;
      /** Tells whether Redis is there, and has been told all that was decided without it. */
      readonly isReady: () => boolean;
      readonly isDegraded: () => boolean;
    },
  ) {}

  tell(settlement: Settlement): void {
    const { batches, terms, isReady, isDegraded } = this.deps;
    if (!isReady()) {
      if (this.waiting.length >= MAX_WAITING) this.waiting.shift();
      this.waiting.push(settlement);
      return;
    }
    const { key, policy, more, at } = settlement;
    const text = terms.of(policy, isDegraded());
    if (more > 0) batches.tell("charge", key, text, more);
    else if (more < 0) batches.tellRefund(key, text, -more, at);
  }

  /** Tells what waits, if Redis is ready for it; for a timer. */
  renew(): void {
    if (this.waiting.length === 0 || !this.deps.isReady()) return;
    for (const each of this.waiting.splice(0)) this.tell(each);
  }
}
