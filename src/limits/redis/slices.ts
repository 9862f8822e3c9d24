import type { Clock } from "../../values/clock.ts";
import type { LimitReading, Verdict } from "../limiter.ts";
import { chargeOf, type Policy, termsOf } from "../policy.ts";
import type { Batches } from "./batches.ts";
import { type Demand, readingOf } from "./demand.ts";
import { LEASE_NUMBERS } from "./script.ts";
import type { TermTexts } from "./terms.ts";

export interface SlicesDeps {
  readonly batches: Batches;
  readonly terms: TermTexts;
  readonly clock: Clock;
  /** Gives the milliseconds that an answer may take. */
  readonly patience: () => number;
  /** Learns what Redis said of a subject, and with the time at which it was asked. */
  readonly onSaid: (key: string, reading: LimitReading, at: number) => void;
}

/** Milliseconds for which a slice may be used at most; and the largest share of a limit that it may be. */
const LEASE_FOR = 1000;
const MAX_OF_LIMIT = 0.05;
const MAX_SLICES = 100_000;

/** Holds a part of a limit that was taken beforehand for one subject. */
interface Slice {
  left: number;
  /** The time until which it may be used, by this instance's clock. */
  until: number;
  /** The amount to take the next time: more when it did not last, less when some was left. */
  want: number;
  /** The answer of Redis when it was taken, and the time of that. */
  remaining: number;
  resetIn: number;
  at: number;
}

/** Holds the amount that a request takes under one limit, and how much of it comes from a slice that this instance has. */
interface Charge {
  readonly charge: number;
  readonly own: number;
}

/**
 * Tells whether slices of a limit can be taken beforehand: not where the algorithm does not allow it, where the cost is only known from the
 * response, or in shadow.
 */
export const isLeaseable = (policy: Policy): boolean => policy.counting.leaseable && !policy.isMetered && !policy.shadow;

/** Takes parts of limits beforehand for busy subjects, and decides by itself while they last: never more is granted than the limit. */
export class Slices {
  private readonly slices = new Map<string, Slice>();
  /** Slices that Redis was asked for, by the keys of their limits. */
  private readonly coming = new Map<string, Promise<Verdict>>();

  constructor(private readonly deps: SlicesDeps) {}

  /** Decides by what this instance has taken beforehand; gives `null` when that is not enough. */
  take({ policies, subjects, keys, cost, money, isDegraded }: Demand): Verdict | null {
    const now = this.deps.clock.now();
    for (const [i, policy] of policies.entries()) {
      const slice = this.slices.get(keys[i] as string);
      if (slice === undefined || now >= slice.until || slice.left < chargeOf(policy, cost, money)) return null;
    }
    const readings = policies.map((policy, i): LimitReading => {
      const slice = this.slices.get(keys[i] as string) as Slice;
      slice.left -= chargeOf(policy, cost, money);
      const { limit } = termsOf(policy, isDegraded);
      const remaining = slice.remaining + slice.left;
      return {
        policy,
        subject: subjects[i] as string,
        limit,
        used: Math.max(0, limit - remaining),
        remaining,
        resetIn: Math.max(0, Math.ceil(slice.resetIn - (now - slice.at))),
        retryIn: 0,
        denied: false,
        onlyDegraded: false,
      };
    });
    return { allowed: true, readings, held: [], metered: [] };
  }

  /**
   * Waits for a slice that is on its way for the same limits and subjects, or asks for one: many at once must not each take one. Gives
   * `null` where what came was not enough for all who waited. Rejects when Redis gave no answer.
   */
  async lease(demand: Demand): Promise<Verdict | null> {
    const name = demand.keys.join();
    const coming = this.coming.get(name);
    if (coming !== undefined) {
      // Whoever asked for it hears what went wrong.
      await coming.catch(() => {});
      return this.take(demand);
    }
    const asked = this.askFor(demand);
    this.coming.set(name, asked);
    try {
      return await asked;
    } finally {
      this.coming.delete(name);
    }
  }

  /** Drops slices that are over; for a timer. */
  forget(now: number): void {
    for (const [key, slice] of this.slices) if (now > slice.until + LEASE_FOR) this.slices.delete(key);
    if (this.slices.size >= MAX_SLICES) this.slices.clear();
  }

  /** Asks Redis for what the request needs, and for a slice besides. */
  private async askFor(demand: Demand): Promise<Verdict> {
    const { policies, keys, isDegraded } = demand;
    const asked = this.deps.clock.now();
    const charges = this.takeOwn(demand, asked);
    let reply: readonly number[];
    try {
      const args = policies.flatMap((policy, i) => {
        const { charge, own } = charges[i] as Charge;
        const want = this.wantOf(policy, keys[i] as string, asked, isDegraded, charge);
        return [this.deps.terms.of(policy, isDegraded), charge - own, want];
      });
      reply = await this.deps.batches.ask("lease", keys, args);
    } catch (error) {
      this.giveBackOwn(keys, charges);
      throw error;
    }
    const allowed = reply[0] === 1;
    if (!allowed) this.giveBackOwn(keys, charges);
    const readings = policies.map((_, i) => this.enter(demand, i, charges[i] as Charge, reply, asked));
    return allowed ? { allowed, readings, held: [], metered: [] } : { allowed, readings };
  }

  /** Gives how much of the limit under `key` was taken beforehand, is left, and may be used at the time `at`. */
  leftOf(key: string, at: number): number {
    const slice = this.slices.get(key);
    return slice !== undefined && at < slice.until ? slice.left : 0;
  }

  /** Takes what is left of slices first: it was counted already. */
  private takeOwn({ policies, keys, cost, money }: Demand, now: number): Charge[] {
    return policies.map((policy, i) => {
      const slice = this.slices.get(keys[i] as string);
      const charge = chargeOf(policy, cost, money);
      // Not what may be over before the answer is there.
      const own = Math.min(this.leftOf(keys[i] as string, now + this.deps.patience()), charge);
      if (slice !== undefined) slice.left -= own;
      return { charge, own };
    });
  }

  private giveBackOwn(keys: readonly string[], charges: readonly Charge[]): void {
    for (const [i, { own }] of charges.entries()) {
      const slice = this.slices.get(keys[i] as string);
      if (slice !== undefined) slice.left += own;
    }
  }

  /** Enters the answer of Redis for one limit, and gives its reading. */
  private enter(demand: Demand, i: number, { charge, own }: Charge, reply: readonly number[], asked: number): LimitReading {
    const policy = demand.policies[i] as Policy;
    const key = demand.keys[i] as string;
    const at = 1 + i * LEASE_NUMBERS;
    const reading = readingOf(policy, demand.subjects[i] as string, charge, demand.isDegraded, reply, at);
    this.deps.onSaid(key, reading, asked);
    const slice = this.sliceOf(key, asked);
    if (this.deps.clock.now() >= slice.until) slice.left = 0;
    if (reply[0] === 1) {
      slice.left += (reply[at + 5] as number) - (charge - own);
      // From before it was asked, so that a slow answer makes it shorter, never longer.
      slice.until = asked + Math.min(LEASE_FOR, reply[at + 6] as number, Math.max(1, policy.window / 20));
      slice.at = asked;
      slice.resetIn = reading.resetIn;
    }
    slice.remaining = reading.remaining;
    reading.remaining += slice.left;
    reading.used = Math.max(0, reading.used - slice.left);
    return reading;
  }

  private sliceOf(key: string, now: number): Slice {
    let slice = this.slices.get(key);
    if (slice === undefined) {
      if (this.slices.size >= MAX_SLICES) this.forget(now);
      slice = { left: 0, until: 0, want: 0, remaining: 0, resetIn: 0, at: now };
      this.slices.set(key, slice);
    }
    return slice;
  }

  /** Gives the amount to take for a subject: the more often it comes the more, so that nothing is wasted on one who comes seldom. */
  private wantOf(policy: Policy, key: string, now: number, isDegraded: boolean, charge: number): number {
    const slice = this.sliceOf(key, now);
    const max = Math.floor(termsOf(policy, isDegraded).limit * MAX_OF_LIMIT);
    if (now < slice.until) slice.want = Math.min(max, Math.max(charge, slice.want) * 2);
    else {
      // What was not used in time is lost: by half as much is asked for less.
      slice.want = slice.left > 0 ? Math.floor(slice.want / 2) : now - slice.until < LEASE_FOR ? slice.want : 0;
      slice.left = 0;
    }
    return Math.max(charge, Math.min(max, slice.want));
  }
}
