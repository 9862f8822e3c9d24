import { RedisDown, type RedisLink } from "../../redis/link.ts";
import type { RedisConfig } from "../../redis/settings.ts";
import type { Clock } from "../../values/clock.ts";
import { askForMore, chargesInMoney, noteGrowth } from "../growth.ts";
import { askedOf, type Limiter, LimiterUnavailable, type LimitReading, type LimitService, type Metered, type Verdict } from "../limiter.ts";
import type { Entry } from "../memory/store.ts";
import { chargeOf, type Policy } from "../policy.ts";
import { Alone } from "./alone.ts";
import { Batches } from "./batches.ts";
import { type Demand, readingOf } from "./demand.ts";
import { HOLD_AGAIN_EVERY, Holds } from "./holds.ts";
import { LimitKeys } from "./keys.ts";
import { NUMBERS } from "./script.ts";
import { Settlements } from "./settlements.ts";
import { isLeaseable, Slices } from "./slices.ts";
import { TermTexts } from "./terms.ts";

export interface RedisLimiterDeps {
  readonly link: RedisLink;
  /** Decides in this process while Redis is away. */
  readonly local: Limiter;
  readonly clock: Clock;
  readonly isDegraded: () => boolean;
  /** Gives what happens to requests while Redis is away. */
  readonly onFailure: () => RedisConfig["onFailure"];
  /** The mode; with `leased` this instance takes slices of limits, and decides by itself while they last. */
  readonly mode: RedisConfig["mode"];
  /** The name that tells this instance from others. */
  readonly instance: string;
  readonly onFault: (error: unknown) => void;
  /** Called while Redis is there and something was decided without it: `giveBack` is to follow. */
  readonly onOwing?: () => void;
  /** Gives the time, for tests; left out: Redis' own clock. */
  readonly now?: () => number;
}

/**
 * Counts limits that several instances share. All limits of a request are one atomic step in Redis, by Redis' clock (see `Batches`). While
 * Redis is away each instance decides as the configuration says.
 */
export class RedisLimiter implements LimitService {
  /** The number of decisions without Redis, since the start. */
  readonly counts = { alone: 0 };
  private readonly keys: LimitKeys;
  private readonly terms: TermTexts;
  private readonly batches: Batches;
  private readonly holds: Holds;
  private readonly settlements: Settlements;
  private readonly alone: Alone;
  private readonly slices: Slices;
  private readonly holder: Timer;

  constructor(private readonly deps: RedisLimiterDeps) {
    const { link, local, clock, isDegraded } = deps;
    this.keys = new LimitKeys(link.prefix);
    this.terms = new TermTexts(clock);
    this.batches = new Batches(deps);
    this.holds = new Holds(this.batches);
    this.alone = new Alone({ batches: this.batches, keys: this.keys, terms: this.terms, local, clock, isDegraded });
    const isReady = () => link.isUp && this.alone.isEven;
    this.settlements = new Settlements({ batches: this.batches, terms: this.terms, isReady, isDegraded });
    this.slices = new Slices({
      batches: this.batches,
      terms: this.terms,
      clock,
      patience: () => link.patience,
      onSaid: (key, reading, at) => this.alone.remember(key, reading, at),
    });
    this.holder = setInterval(() => this.renew(), HOLD_AGAIN_EVERY);
    this.holder.unref();
  }

  admit(policies: readonly Policy[], subjects: readonly string[], cost: number, money = 0): Verdict | Promise<Verdict> {
    const { link, mode, isDegraded } = this.deps;
    if (!link.isUp) return this.without(policies, subjects, cost, money);
    const keys = policies.map((policy, i) => this.keys.of(policy, subjects[i] as string));
    const demand: Demand = { policies, subjects, keys, cost, money, isDegraded: isDegraded() };
    if (mode === "leased" && !link.isCluster && policies.every(isLeaseable)) return this.slices.take(demand) ?? this.leased(demand);
    return this.exactly(demand);
  }

  release(verdict: Verdict): void {
    if (!verdict.allowed) return;
    if (verdict.remote === undefined) {
      this.deps.local.release(verdict);
      return;
    }
    for (const { key, policy, charge } of verdict.remote.splice(0)) if (policy.counting.holds) this.holds.giveBack(key, charge);
  }

  grow(verdict: Verdict, money: number): boolean | Promise<boolean> {
    const charges = chargesInMoney(verdict);
    if (!verdict.allowed || charges.length === 0) return verdict.allowed;
    // What was decided here goes on here, and is given back to Redis in one.
    if (verdict.remote === undefined) return noteGrowth(this, verdict, charges, askForMore(this.alone, charges, money), money);
    const more = askForMore(this, charges, money);
    if (!(more instanceof Promise)) return noteGrowth(this, verdict, charges, more, money);
    return more.then((decided) => noteGrowth(this, verdict, charges, decided, money));
  }

  settle(verdict: Verdict, units: number | null, money: number | null = null): void {
    if (!verdict.allowed) return;
    if (verdict.remote === undefined) {
      this.alone.settle(verdict, units, money);
      return;
    }
    for (const { key, policy, charge, at } of verdict.remote) {
      const used = policy.unit === "usd" ? money : units;
      if (policy.isMetered && used !== null && used !== charge) this.settlements.tell({ key, policy, more: used - charge, at });
    }
    const left = verdict.remote.filter(({ policy }) => policy.counting.holds);
    verdict.remote.splice(0, verdict.remote.length, ...left);
  }

  async inspect(policies: readonly Policy[], subjects: readonly string[], cost?: number, money?: number): Promise<LimitReading[]> {
    if (policies.length === 0) return [];
    const { clock, mode, link, local } = this.deps;
    const isDegraded = this.deps.isDegraded();
    try {
      const keys = policies.map((policy, i) => this.keys.of(policy, subjects[i] ?? ""));
      const isLeased = cost !== undefined && mode === "leased" && !link.isCluster && policies.every(isLeaseable);
      const charges = policies.map((policy, i) => {
        const charge = askedOf(policy, cost, money);
        // What this instance has taken beforehand counts as used in Redis.
        return isLeased ? Math.max(0, charge - this.slices.leftOf(keys[i] as string, clock.now())) : charge;
      });
      const reply = await this.batches.ask(
        "peek",
        keys,
        policies.flatMap((policy, i) => [this.terms.of(policy, isDegraded), charges[i] as number]),
      );
      return policies.map((policy, i) => readingOf(policy, subjects[i] ?? "", charges[i] as number, isDegraded, reply, 1 + i * NUMBERS));
    } catch (error) {
      if (!(error instanceof RedisDown)) throw error;
      return local.inspect(policies, subjects, cost, money);
    }
  }

  /** Forgets what was counted. Rejects with `RedisDown` while Redis is away. */
  async reset(policies: readonly Policy[], subjects: readonly string[]): Promise<void> {
    const keys = policies.flatMap((policy, i) => {
      const key = this.keys.of(policy, subjects[i] ?? "");
      this.alone.forget(key);
      const { holds, besides } = policy.counting;
      return holds ? [] : [key, ...besides.map((end) => key + end)];
    });
    await Promise.all(keys.map((key) => this.deps.link.run((client) => client.del(key))));
    this.deps.local.reset(policies, subjects);
  }

  sweep(): void {
    this.deps.local.sweep();
  }

  /** Adds what was counted here while Redis was away to what it has (see `Alone.giveBack`). */
  giveBack(entries: readonly Entry[], forget: (entry: Entry) => void): Promise<void> {
    return this.alone.giveBack(entries, forget);
  }

  /** Tells Redis again what is in flight, and what could not be told; drops slices that are over. For a timer. */
  renew(): void {
    this.slices.forget(this.deps.clock.now());
    if (!this.deps.link.isUp) return;
    this.settlements.renew();
    // A single answer that never came is no outage, after which all is given back.
    if (this.alone.isOwing) this.deps.onOwing?.();
    this.holds.renew();
  }

  close(): void {
    clearInterval(this.holder);
  }

  /** Asks Redis to decide. */
  private exactly(demand: Demand): Verdict | Promise<Verdict> {
    const { policies, subjects, keys, cost, money, isDegraded } = demand;
    if (!this.deps.link.isUp) return this.without(policies, subjects, cost, money);
    const args: (string | number)[] = [];
    for (const policy of policies) args.push(this.terms.of(policy, isDegraded), chargeOf(policy, cost, money));
    const verdict = this.batches.ask("take", keys, args).then((reply) => this.verdictOf(demand, reply));
    return verdict.catch((error: unknown) => this.unanswered(error, demand));
  }

  /** Decides by slices, which have to be taken first. Where they are not enough for all who waited, Redis decides: nobody waits twice. */
  private async leased(demand: Demand): Promise<Verdict> {
    let verdict: Verdict | null;
    try {
      verdict = await this.slices.lease(demand);
    } catch (error) {
      return this.unanswered(error, demand);
    }
    return verdict ?? this.exactly(demand);
  }

  private unanswered(error: unknown, { policies, subjects, cost, money }: Demand): Verdict {
    if (!(error instanceof RedisDown)) this.deps.onFault(error);
    return this.without(policies, subjects, cost, money);
  }

  private without(policies: readonly Policy[], subjects: readonly string[], cost: number, money: number): Verdict {
    this.counts.alone++;
    switch (this.deps.onFailure()) {
      case "local":
        return this.alone.admit(policies, subjects, cost, money);
      case "allow":
        return { allowed: true, readings: [], held: [], metered: [] };
      case "deny":
        throw new LimiterUnavailable("limits can't be checked");
    }
  }

  private verdictOf({ policies, subjects, keys, cost, money, isDegraded }: Demand, reply: readonly number[]): Verdict {
    const allowed = reply[0] === 1;
    const now = this.deps.clock.now();
    const readings = policies.map((policy, i) => {
      const reading = readingOf(policy, subjects[i] as string, chargeOf(policy, cost, money), isDegraded, reply, 1 + i * NUMBERS);
      this.alone.remember(keys[i] as string, reading, now);
      return reading;
    });
    if (!allowed) return { allowed, readings };
    // Of what the answer said: the time is its last number.
    const at = reply.at(-1) ?? 0;
    const remote: (Metered & { readonly key: string })[] = [];
    for (const [i, policy] of policies.entries()) {
      const charge = chargeOf(policy, cost, money);
      const key = keys[i] as string;
      if ((readings[i] as LimitReading).denied) continue;
      const { holds } = policy.counting;
      if (holds) this.holds.take(key, charge, this.terms.of(policy, isDegraded));
      if (holds || policy.isMetered) remote.push({ key, policy, subject: subjects[i] as string, charge, at });
    }
    return remote.length === 0 ? { allowed, readings, held: [], metered: [] } : { allowed, readings, held: [], metered: [], remote };
  }
}
