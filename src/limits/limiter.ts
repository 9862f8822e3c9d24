import type { Clock } from "../values/clock.ts";
import { newReading, type State } from "./algorithms/algorithm.ts";
import { askForMore, chargesInMoney, noteGrowth } from "./growth.ts";
import type { Entry, MemoryStore } from "./memory/store.ts";
import { chargeOf, type Policy, type Terms, termsOf } from "./policy.ts";

/** Says where a subject stands under one limit. */
export interface LimitReading {
  readonly policy: Policy;
  readonly subject: string;
  /** The number in force, from the policy's terms. */
  readonly limit: number;
  used: number;
  remaining: number;
  /** Milliseconds until more is left; 0 when nothing is used. */
  resetIn: number;
  /** Milliseconds until the request would fit; 0 when it does. */
  retryIn: number;
  /** True when the limit denies, or would if it were not in shadow. */
  denied: boolean;
  /** True when the request would fit while the system is NORMAL. */
  onlyDegraded: boolean;
}

export type Verdict =
  | {
      readonly allowed: true;
      readonly readings: readonly LimitReading[];
      readonly held: readonly Held[];
      /** The charges under limits that count usage or money, until that is known. */
      readonly metered: Metered[];
      /** The charges in Redis that are not settled yet; left out when there are none. */
      readonly remote?: (Metered & { readonly key: string })[];
    }
  | { readonly allowed: false; readonly readings: readonly LimitReading[] };

/** Holds what a request has taken until it ends: where that is counted, as its limiter says it, and how much is still held. */
export interface Held {
  readonly place: Entry | number;
  cost: number;
}

export interface Metered {
  readonly policy: Policy;
  readonly subject: string;
  /** What was taken; it grows with what is taken later. */
  charge: number;
  /** When it was taken, by the time that its algorithm counts by: in Redis by Redis' clock. */
  readonly at: number;
}

export interface LimiterDeps {
  readonly store: MemoryStore;
  readonly clock: Clock;
  readonly isDegraded: () => boolean;
}

/** Says that limits can't be checked: nobody passes then. */
export class LimiterUnavailable extends Error {}

/** Counts limits: in memory that the processes of one gateway share, in this process, or in Redis for several instances. */
export interface LimitService {
  /**
   * Charges each policy's subject, or none: `cost` (or the policy's own), and of limits in money `money`, in whole nano-dollars. `subjects` runs
   * beside `policies`.
   */
  admit(policies: readonly Policy[], subjects: readonly string[], cost: number, money?: number): Verdict | Promise<Verdict>;
  /**
   * Takes more from each limit in money that the verdict has charged, in whole nano-dollars: from all of them or from none. Gives whether it
   * did, or there is none; false where the verdict is settled meanwhile.
   */
  grow(verdict: Verdict, money: number): boolean | Promise<boolean>;
  /**
   * Replaces what was taken by what the response said it cost, also where that is more than was left: `used` in units, `money` in whole
   * nano-dollars. `null`: nobody has said, and what was taken stays. A second call does nothing.
   */
  settle(verdict: Verdict, used: number | null, money?: number | null): void;
  /** Frees what a request held, once it has ended. A second call does nothing. */
  release(verdict: Verdict): void;
  /**
   * Tells where subjects stand, without charging or remembering anything. `cost` and `money`: what would be charged (see `admit`), for which
   * the readings say whether it fits; left out: nothing.
   */
  inspect(
    policies: readonly Policy[],
    subjects: readonly string[],
    cost?: number,
    money?: number,
  ): LimitReading[] | Promise<LimitReading[]>;
  /** Forgets what was counted of each policy's subject. `subjects` runs beside `policies`. */
  reset(policies: readonly Policy[], subjects: readonly string[]): void | Promise<void>;
  /** Drops idle subjects; for a timer. */
  sweep(): void;
}

/** Gives what `inspect` asks a policy for. */
export const askedOf = (policy: Policy, cost: number | undefined, money = 0): number =>
  cost === undefined ? 0 : chargeOf(policy, cost, money);

const NOTHING: readonly Held[] = [];
/** Shared by all, and therefore never written to. */
const NONE: Metered[] = [];

/** Decides by all limits of a request at once whether it may pass. If one denies, all of them stay as they were. */
export class Limiter implements LimitService {
  private readonly scratch = newReading();

  constructor(private readonly deps: LimiterDeps) {}

  admit(policies: readonly Policy[], subjects: readonly string[], cost: number, money = 0): Verdict {
    const now = this.now();
    const isDegraded = this.deps.isDegraded();
    const readings: LimitReading[] = [];
    const entries: Entry[] = [];
    let isDenied = false;
    for (let i = 0; i < policies.length; i++) {
      const policy = policies[i] as Policy;
      const subject = subjects[i] as string;
      const terms = termsOf(policy, isDegraded);
      const at = this.timeFor(policy, now);
      const entry = this.deps.store.open(policy, subject, terms, at);
      entries.push(entry);
      const reading = this.read(entry.state, policy, subject, terms, chargeOf(policy, cost, money), at);
      readings.push(reading);
      if (reading.denied && !policy.shadow) isDenied = true;
    }
    if (isDenied) return { allowed: false, readings };
    let held: Held[] | null = null;
    let metered: Metered[] | null = null;
    for (let i = 0; i < entries.length; i++) {
      const reading = readings[i] as LimitReading;
      // A limit in shadow counts what it would have let through.
      if (reading.denied) continue;
      const entry = entries[i] as Entry;
      const { policy } = reading;
      const charge = chargeOf(policy, cost, money);
      const { counting } = policy;
      const terms = termsOf(policy, isDegraded);
      const at = this.timeFor(policy, now);
      counting.take(entry.state, policy, terms, charge, at);
      if (policy.durable) this.deps.store.markDirty(entry);
      if (policy.isMetered) {
        metered ??= [];
        metered.push({ policy, subject: reading.subject, charge, at });
      }
      if (counting.holds) {
        held ??= [];
        held.push({ place: entry, cost: charge });
      }
      const { scratch } = this;
      counting.peek(entry.state, policy, terms, charge, at, scratch);
      reading.used = scratch.used;
      reading.remaining = scratch.remaining;
      reading.resetIn = scratch.resetIn;
    }
    return { allowed: true, readings, held: held ?? NOTHING, metered: metered ?? NONE };
  }

  grow(verdict: Verdict, money: number): boolean {
    const charges = chargesInMoney(verdict);
    return charges.length === 0 || noteGrowth(this, verdict, charges, askForMore(this, charges, money), money);
  }

  settle(verdict: Verdict, units: number | null, money: number | null = null): void {
    if (!verdict.allowed || verdict.metered.length === 0) return;
    const { store } = this.deps;
    for (const { policy, subject, charge, at } of verdict.metered.splice(0)) {
      const used = policy.unit === "usd" ? money : units;
      if (used === null || used === charge) continue;
      const terms = termsOf(policy, this.deps.isDegraded());
      const { counting } = policy;
      const now = this.timeFor(policy, this.now());
      const entry = store.open(policy, subject, terms, now);
      if (used > charge) counting.take(entry.state, policy, terms, used - charge, now);
      else if (used < charge && !counting.holds) counting.refund(entry.state, policy, terms, charge - used, now, at);
      store.markDirty(entry);
    }
  }

  release(verdict: Verdict): void {
    if (!verdict.allowed) return;
    for (const held of verdict.held) {
      if (typeof held.place === "number") continue;
      const { policy, state } = held.place;
      if (policy.counting.holds) policy.counting.give(state, held.cost);
      held.cost = 0;
    }
  }

  inspect(policies: readonly Policy[], subjects: readonly string[], cost?: number, money?: number): LimitReading[] {
    const now = this.now();
    const isDegraded = this.deps.isDegraded();
    return policies.map((policy, i) => {
      const subject = subjects[i] ?? "";
      const terms = termsOf(policy, isDegraded);
      const charge = askedOf(policy, cost, money);
      const at = this.timeFor(policy, now);
      const state = this.deps.store.find(policy, subject)?.state ?? (charge > 0 ? policy.counting.open(policy, at, terms) : null);
      if (state !== null) return this.read(state, policy, subject, terms, charge, at);
      return {
        policy,
        subject,
        limit: terms.limit,
        used: 0,
        remaining: terms.limit,
        resetIn: 0,
        retryIn: 0,
        denied: false,
        onlyDegraded: false,
      };
    });
  }

  /** Forgets what was counted of each policy's subject. `subjects` runs beside `policies`. */
  reset(policies: readonly Policy[], subjects: readonly string[]): void {
    const isDegraded = this.deps.isDegraded();
    const now = this.now();
    for (const [i, policy] of policies.entries())
      this.deps.store.reset(policy, subjects[i] ?? "", termsOf(policy, isDegraded), this.timeFor(policy, now));
  }

  /** Gives the counts of a subject, or `undefined` where nothing was counted yet. */
  entry(policy: Policy, subject: string): Entry | undefined {
    return this.deps.store.find(policy, subject);
  }

  /**
   * Begins a subject's count with what another store said `ago` milliseconds ago: `used` units, of which more were left in `resetIn`
   * milliseconds.
   */
  seed(policy: Policy, subject: string, used: number, resetIn: number, ago: number): void {
    const terms = termsOf(policy, this.deps.isDegraded());
    const { counting } = policy;
    const then = Math.floor(this.timeFor(policy, this.now()) - ago);
    const { state } = this.deps.store.open(policy, subject, terms, then);
    if (counting.seed !== undefined) counting.seed(state, policy, used, resetIn, then);
    else counting.take(state, policy, terms, used, then);
  }

  /** Drops idle subjects; for a timer. */
  sweep(): void {
    this.deps.store.sweep(this.now());
  }

  private read(state: State, policy: Policy, subject: string, terms: Terms, cost: number, now: number): LimitReading {
    const { scratch } = this;
    policy.counting.peek(state, policy, terms, cost, now, scratch);
    const { used, remaining, resetIn, retryIn, fits } = scratch;
    return {
      policy,
      subject,
      limit: terms.limit,
      used,
      remaining,
      resetIn,
      retryIn,
      denied: !fits,
      onlyDegraded: !fits && terms !== policy.normal && used + cost <= policy.normal.limit,
    };
  }

  /** Gives the time that a policy's algorithm counts by, in whole milliseconds. `now`: the time of the clock that never runs backwards. */
  private timeFor(policy: Policy, now: number): number {
    if (policy.aligned) policy.ahead = Math.floor(this.deps.clock.wall()) - now;
    return policy.counting.time === "monotonic" ? now : Math.floor(this.deps.clock.wall());
  }

  /** Gives the time in whole milliseconds: the algorithms' unit. */
  private now(): number {
    return Math.floor(this.deps.clock.now());
  }
}
