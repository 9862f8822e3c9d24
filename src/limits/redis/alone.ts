import { RedisDown } from "../../redis/link.ts";
import type { Clock } from "../../values/clock.ts";
import { newReading, type State } from "../algorithms/algorithm.ts";
import type { Limiter, LimitReading, Verdict } from "../limiter.ts";
import type { Entry } from "../memory/store.ts";
import { chargeOf, type Policy, termsOf } from "../policy.ts";
import type { Batches } from "./batches.ts";
import type { LimitKeys } from "./keys.ts";
import type { TermTexts } from "./terms.ts";

export interface AloneDeps {
  readonly batches: Batches;
  readonly keys: LimitKeys;
  readonly terms: TermTexts;
  /** Counts in this process. */
  readonly local: Limiter;
  readonly clock: Clock;
  readonly isDegraded: () => boolean;
}

/** The number of subjects in each generation of what Redis said last: twice as many are remembered at most. */
const MAX_REMEMBERED = 50_000;
/** The number of subjects that are given back at the same time: not a million. */
const MAX_AT_A_TIME = 500;

/**
 * Holds a local count, with the part of it that this instance let through by itself, which is to be given back. The part is kept with the count
 * over a restart.
 */
type Owed = State & { alone?: number };

/** Holds the answer of Redis on a subject under one limit. */
interface Said {
  readonly used: number;
  readonly resetIn: number;
  /** The time of the answer by this instance's clock, in milliseconds. */
  readonly at: number;
}

/**
 * Decides while Redis is away, by this instance's own counts, which go on from what Redis said last. Adds what it let through to Redis'
 * counts when Redis is back.
 */
export class Alone {
  /**
   * The last answers of Redis, by key, in two generations: when the newer one is full it becomes the older one. An outage goes on from
   * there.
   */
  private said = new Map<string, Said>();
  private saidBefore = new Map<string, Said>();
  /** True when something was decided here that is not given back yet. */
  private owes = false;
  private isGivingBack = false;
  private readonly scratch = newReading();

  constructor(private readonly deps: AloneDeps) {}

  /** Tells whether something is to be given back, and nobody is doing it. */
  get isOwing(): boolean {
    return this.owes && !this.isGivingBack;
  }

  /** Tells whether all that was decided here is in Redis' counts. */
  get isEven(): boolean {
    return !this.owes && !this.isGivingBack;
  }

  /** Remembers what Redis said of a subject. */
  remember(key: string, { used, resetIn }: LimitReading, at: number): void {
    if (this.said.size >= MAX_REMEMBERED) {
      this.saidBefore = this.said;
      this.said = new Map();
    }
    this.said.set(key, { used, resetIn, at });
  }

  /** Forgets what Redis said of a subject. */
  forget(key: string): void {
    this.said.delete(key);
    this.saidBefore.delete(key);
  }

  /** Charges all limits in this instance's counts, or none. */
  admit(policies: readonly Policy[], subjects: readonly string[], cost: number, money = 0): Verdict {
    const { local, keys, clock } = this.deps;
    const now = clock.now();
    const begun: number[] = [];
    for (const [i, policy] of policies.entries()) {
      const subject = subjects[i] as string;
      if (policy.counting.holds || local.entry(policy, subject) !== undefined) continue;
      begun.push(i);
      const key = keys.of(policy, subject);
      const said = this.said.get(key) ?? this.saidBefore.get(key);
      if (said !== undefined && said.used > 0) local.seed(policy, subject, said.used, said.resetIn, now - said.at);
    }
    const verdict = local.admit(policies, subjects, cost, money);
    for (const i of begun) {
      const owed = this.owedBy(policies[i] as Policy, subjects[i] as string);
      if (owed !== null) owed.alone ??= 0;
    }
    if (verdict.allowed)
      for (const { policy, subject, denied } of verdict.readings) if (!denied) this.count(policy, subject, chargeOf(policy, cost, money));
    this.owes = true;
    return verdict;
  }

  /** Corrects what a request took here by what its response said it used. */
  settle(verdict: Verdict, units: number | null, money: number | null): void {
    if (!verdict.allowed) return;
    for (const { policy, subject, charge } of verdict.metered) {
      const used = policy.unit === "usd" ? money : units;
      if (used !== null) this.count(policy, subject, used - charge);
    }
    this.deps.local.settle(verdict, units, money);
  }

  /**
   * Adds what was counted here to what Redis has, so that an outage gives nobody twice as much for the rest of a window. `entries`: the
   * local states. `forget` is called for each that Redis has now, and not for one that it did not take. Rejects with what went wrong.
   */
  async giveBack(entries: readonly Entry[], forget: (entry: Entry) => void): Promise<void> {
    if (this.isGivingBack) {
      // Two at a time would give the same twice.
      this.owes = true;
      return;
    }
    this.isGivingBack = true;
    this.owes = false;
    try {
      await this.giveBackAll(entries, forget);
    } catch (error) {
      // What Redis refuses for another reason it would refuse each second.
      if (error instanceof RedisDown) this.owes = true;
      throw error;
    } finally {
      this.isGivingBack = false;
    }
  }

  private owedBy(policy: Policy, subject: string): Owed | null {
    // What else stands in a state is its algorithm's.
    return (this.deps.local.entry(policy, subject)?.state as Owed | undefined) ?? null;
  }

  private count(policy: Policy, subject: string, cost: number): void {
    const owed = this.owedBy(policy, subject);
    if (owed?.alone !== undefined) owed.alone = Math.max(0, owed.alone + cost);
  }

  private async giveBackAll(entries: readonly Entry[], forget: (entry: Entry) => void): Promise<void> {
    const isDegraded = this.deps.isDegraded();
    const told: Promise<void>[] = [];
    for (const entry of entries) {
      const { policy, state } = entry;
      if (policy.counting.holds) continue;
      const used = this.usedIn(policy, state, isDegraded);
      if (used <= 0) {
        forget(entry);
        continue;
      }
      told.push(
        this.giveBackOne(entry, used, isDegraded).then((isEven) => {
          if (isEven) forget(entry);
        }),
      );
      if (told.length >= MAX_AT_A_TIME) await Promise.all(told.splice(0));
    }
    await Promise.all(told);
  }

  /** Adds to Redis what one subject was let through here. Gives false when more came meanwhile, which is still owed. */
  private async giveBackOne(entry: Entry, used: number, isDegraded: boolean): Promise<boolean> {
    const { batches } = this.deps;
    const { policy, subject } = entry;
    const state = entry.state as Owed;
    const { alone } = state;
    const keys = [this.deps.keys.of(policy, subject)];
    const terms = this.deps.terms.of(policy, isDegraded);
    let charge = used;
    if (alone !== undefined) {
      // What went on from Redis' own count is not added to it again, unless Redis came back without it.
      const remote = (await batches.ask("peek", keys, [terms, 0]))[1] as number;
      charge = Math.min(used, Math.max(alone, used - remote));
    }
    if (charge > 0) await batches.ask("charge", keys, [terms, charge]);
    if (alone === undefined || state.alone === alone) return true;
    state.alone = Math.max(0, (state.alone ?? 0) - alone);
    this.owes = true;
    return false;
  }

  private usedIn(policy: Policy, state: State, isDegraded: boolean): number {
    const { clock } = this.deps;
    const now = Math.floor(policy.counting.time === "monotonic" ? clock.now() : clock.wall());
    policy.counting.peek(state, policy, termsOf(policy, isDegraded), 0, now, this.scratch);
    return this.scratch.used;
  }
}
