import { RedisDown, type RedisLink } from "../../redis/link.ts";
import type { RedisConfig } from "../../redis/settings.ts";
import type { Clock } from "../../values/clock.ts";
import { newReading, type State } from "../algorithms/algorithm.ts";
import type { Limiter, LimitReading, LimitService, Verdict } from "../limiter.ts";
import type { Entry } from "../memory/store.ts";
import { type Policy, type Terms, termsOf } from "../policy.ts";
import { SCRIPT } from "./script.ts";

/** Limits can't be checked, and the configuration says that nobody passes then. */
export class LimiterUnavailable extends Error {}

export interface RedisLimiterDeps {
  readonly link: RedisLink;
  /** Decides by itself while Redis is away. */
  readonly local: Limiter;
  readonly clock: Clock;
  readonly isDegraded: () => boolean;
  /** What happens to requests while Redis is away. */
  readonly onFailure: () => RedisConfig["onFailure"];
  /** `leased`: this instance takes slices of limits, and decides by itself while they last. */
  readonly mode: RedisConfig["mode"];
  /** Tells this instance from others. */
  readonly instance: string;
  readonly onFault: (error: unknown) => void;
  /** Called while Redis is there and something was decided without it: `giveBack` is to follow. */
  readonly onOwing?: () => void;
  /** The time for tests; left out: Redis' own. */
  readonly now?: () => number;
}

/** What is done, by the number that the script knows it by. */
const DEEDS = { take: 1, peek: 2, charge: 3, refund: 4, hold: 5, extend: 6, lease: 7 } as const;
type Deed = keyof typeof DEEDS;

interface Question {
  readonly deed: Deed;
  readonly keys: readonly string[];
  /** For each limit its terms and what it is charged. */
  readonly args: readonly (string | number)[];
}

interface Asked extends Question {
  /** Since when it waits. */
  readonly at: number;
  readonly resolve: (reply: readonly number[]) => void;
  readonly reject: (error: Error) => void;
}

/** What one request asks for: its limits, and for each the subject that it counts for and the key that this is kept under. */
interface Demand {
  readonly policies: readonly Policy[];
  readonly subjects: readonly string[];
  readonly keys: readonly string[];
  readonly cost: number;
  readonly isDegraded: boolean;
}

/** Requests that one call of the script is for: enough to share its cost, few enough not to hold Redis up. */
const MAX_TOGETHER = 64;
/** Calls that are under way at a time: while Redis is quick one is enough, and cheapest. */
const MAX_ON_THE_WAY = 16;
/** How long a request waits at most to go along with others, in milliseconds. */
const WAIT_AT_MOST = 2;
/** How long what an instance has in flight holds without being said again, and how often it is, in milliseconds. */
const HOLD_FOR = 4000;
const HOLD_AGAIN_EVERY = 1000;
const NUMBERS = 5;
const LEASE_NUMBERS = 7;
const widthOf = (deed: Deed): number => (deed === "lease" ? LEASE_NUMBERS : NUMBERS);

/** How long a slice may be used at most, in milliseconds; and which part of a limit it is at most. */
const LEASE_FOR = 1000;
const MAX_OF_LIMIT = 0.05;
const MAX_SLICES = 100_000;
/** Subjects of which this instance remembers what Redis said last: twice as many at most. */
const MAX_REMEMBERED = 50_000;

/** A local count, with what of it this instance let through by itself: that much is given back. Kept with the count over a restart. */
type Owed = State & { alone?: number };

/** What Redis said of a subject under one limit. */
interface Said {
  readonly used: number;
  readonly resetIn: number;
  /** By this instance's clock, in milliseconds. */
  readonly at: number;
}

/** A part of a limit that was taken beforehand for one subject. */
interface Slice {
  left: number;
  /** By this instance's clock. */
  until: number;
  /** How much to take the next time: more when it did not last, less when some was left. */
  want: number;
  /** What Redis said when it was taken, and when. */
  remaining: number;
  resetIn: number;
  at: number;
}

interface RunScript {
  sluiceLimits(count: number, ...args: (string | number)[]): Promise<string>;
}

/**
 * Limits that several instances share. All limits of a request are one atomic step in Redis, by Redis' clock; requests that come together share a call. On a cluster, where a script
 * can only touch one slot, limits with different subjects are taken one subject after the other, and given back when a later one denies: never too much is granted.
 */
export class RedisLimiter implements LimitService {
  private waiting: Asked[] = [];
  private isScheduled = false;
  private patience: Timer | null = null;
  /** Milliseconds that Redis' clock is ahead of ours; `null` before its first answer. */
  private ahead: number | null = null;
  /** Calls that Redis has not answered. */
  private onTheWay = 0;
  /** What this instance has in flight, by key: it is said again from time to time, so that it outlives no crash. */
  private readonly held = new Map<string, { count: number; terms: string }>();
  private readonly slices = new Map<string, Slice>();
  /** Slices that Redis was asked for, by the keys of their limits. */
  private readonly coming = new Map<string, Promise<Verdict>>();
  private readonly keys = new WeakMap<Policy, string>();
  private readonly terms = new WeakMap<Terms, string>();
  private readonly quotaTerms = new WeakMap<Policy, { until: number; text: string }>();
  /** What Redis said last, by key, in two generations: when the newer one is full it becomes the older one. An outage goes on from there. */
  private said = new Map<string, Said>();
  private saidBefore = new Map<string, Said>();
  /** Something was decided here and is not given back yet. */
  private owes = false;
  private isGivingBack = false;
  /** Decisions without Redis, since the start. */
  readonly counts = { alone: 0 };
  private readonly holder: Timer;
  private readonly scratch = newReading();

  constructor(private readonly deps: RedisLimiterDeps) {
    deps.link.client.defineCommand("sluiceLimits", { lua: SCRIPT });
    this.holder = setInterval(() => this.renew(), HOLD_AGAIN_EVERY);
    this.holder.unref();
  }

  admit(policies: readonly Policy[], subjects: readonly string[], cost: number): Verdict | Promise<Verdict> {
    if (!this.deps.link.isUp) return this.without(policies, subjects, cost);
    const keys = policies.map((policy, i) => this.keyOf(policy, subjects[i] as string));
    const demand: Demand = { policies, subjects, keys, cost, isDegraded: this.deps.isDegraded() };
    if (this.deps.mode === "leased" && !this.deps.link.isCluster && policies.every(isLeaseable))
      return this.fromSlices(demand) ?? this.fromNewSlices(demand);
    return this.exactly(demand);
  }

  /** Redis decides. */
  private exactly(demand: Demand): Verdict | Promise<Verdict> {
    const { policies, subjects, keys, cost, isDegraded } = demand;
    if (!this.deps.link.isUp) return this.without(policies, subjects, cost);
    const args: (string | number)[] = [];
    for (const policy of policies) args.push(this.termsOf(policy, isDegraded), policy.cost ?? cost);
    const verdict = this.ask("take", keys, args).then((reply) => this.verdictOf(demand, reply));
    return verdict.catch((error: unknown) => {
      if (!(error instanceof RedisDown)) this.deps.onFault(error);
      return this.without(policies, subjects, cost);
    });
  }

  /** Decides by what this instance has taken beforehand; `null` when that is not enough. */
  private fromSlices({ policies, subjects, keys, cost, isDegraded }: Demand): Verdict | null {
    const now = this.deps.clock.now();
    for (const [i, policy] of policies.entries()) {
      const slice = this.slices.get(keys[i] as string);
      if (slice === undefined || now >= slice.until || slice.left < (policy.cost ?? cost)) return null;
    }
    const readings = policies.map((policy, i): LimitReading => {
      const slice = this.slices.get(keys[i] as string) as Slice;
      slice.left -= policy.cost ?? cost;
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

  /** Waits for a slice that is on its way for the same limits and subjects, or asks for one: many at once must not each take one. */
  private async fromNewSlices(demand: Demand): Promise<Verdict> {
    const name = demand.keys.join();
    const coming = this.coming.get(name);
    if (coming !== undefined) {
      await coming;
      // Where that was not enough for all who waited, Redis decides: nobody waits twice.
      return this.fromSlices(demand) ?? this.exactly(demand);
    }
    const asked = this.lease(demand);
    this.coming.set(name, asked);
    try {
      return await asked;
    } finally {
      this.coming.delete(name);
    }
  }

  /** Takes what the request needs, and a slice besides. */
  private async lease({ policies, subjects, keys, cost, isDegraded }: Demand): Promise<Verdict> {
    const asked = this.deps.clock.now();
    const charges = policies.map((policy, i) => {
      const slice = this.slices.get(keys[i] as string);
      const charge = policy.cost ?? cost;
      // What is left of a slice is used first: it was counted already. Not what may be over before the answer is there.
      const own = slice !== undefined && asked + this.deps.link.patience < slice.until ? Math.min(slice.left, charge) : 0;
      if (slice !== undefined) slice.left -= own;
      return { charge, own };
    });
    const giveBack = (): void => {
      for (const [i, { own }] of charges.entries()) {
        const slice = this.slices.get(keys[i] as string);
        if (slice !== undefined) slice.left += own;
      }
    };
    try {
      const reply = await this.ask(
        "lease",
        keys,
        policies.flatMap((policy, i) => {
          const { charge, own } = charges[i] as (typeof charges)[0];
          return [this.termsOf(policy, isDegraded), charge - own, this.wantOf(policy, keys[i] as string, asked, isDegraded, charge)];
        }),
      );
      const allowed = reply[0] === 1;
      if (!allowed) giveBack();
      const readings = policies.map((policy, i) => {
        const at = 1 + i * LEASE_NUMBERS;
        const reading = readingOf(policy, subjects[i] as string, policy.cost ?? cost, isDegraded, reply, at);
        this.remember(keys[i] as string, reading.used, reading.resetIn, asked);
        const { charge, own } = charges[i] as (typeof charges)[0];
        const slice = this.sliceOf(keys[i] as string, asked);
        if (this.deps.clock.now() >= slice.until) slice.left = 0;
        if (allowed) {
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
      });
      return allowed ? { allowed, readings, held: [], metered: [] } : { allowed, readings };
    } catch (error) {
      giveBack();
      if (!(error instanceof RedisDown)) this.deps.onFault(error);
      return this.without(policies, subjects, cost);
    }
  }

  private sliceOf(key: string, now: number): Slice {
    let slice = this.slices.get(key);
    if (slice === undefined) {
      if (this.slices.size >= MAX_SLICES) this.forgetSlices(now);
      slice = { left: 0, until: 0, want: 0, remaining: 0, resetIn: 0, at: now };
      this.slices.set(key, slice);
    }
    return slice;
  }

  /** What to take for a subject: more the more often it comes, so that who comes seldom wastes nothing. */
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

  private forgetSlices(now: number): void {
    for (const [key, slice] of this.slices) if (now > slice.until + LEASE_FOR) this.slices.delete(key);
    if (this.slices.size >= MAX_SLICES) this.slices.clear();
  }

  private without(policies: readonly Policy[], subjects: readonly string[], cost: number): Verdict {
    this.counts.alone++;
    switch (this.deps.onFailure()) {
      case "local":
        return this.locally(policies, subjects, cost);
      case "allow":
        return { allowed: true, readings: [], held: [], metered: [] };
      case "deny":
        throw new LimiterUnavailable("limits can't be checked");
    }
  }

  /** Decides by this instance's own counts, which go on from what Redis said last. */
  private locally(policies: readonly Policy[], subjects: readonly string[], cost: number): Verdict {
    const { local, clock } = this.deps;
    const now = clock.now();
    const begun: number[] = [];
    for (const [i, policy] of policies.entries()) {
      const subject = subjects[i] as string;
      if (policy.counting.holds || local.entry(policy, subject) !== undefined) continue;
      begun.push(i);
      const key = this.keyOf(policy, subject);
      const said = this.said.get(key) ?? this.saidBefore.get(key);
      if (said !== undefined && said.used > 0) local.seed(policy, subject, said.used, said.resetIn, now - said.at);
    }
    const verdict = local.admit(policies, subjects, cost);
    for (const i of begun) {
      const owed = this.owedBy(policies[i] as Policy, subjects[i] as string);
      if (owed !== null) owed.alone ??= 0;
    }
    if (verdict.allowed)
      for (const { policy, subject, denied } of verdict.readings) if (!denied) this.countAlone(policy, subject, policy.cost ?? cost);
    this.owes = true;
    return verdict;
  }

  private owedBy(policy: Policy, subject: string): Owed | null {
    return (this.deps.local.entry(policy, subject)?.state as Owed | undefined) ?? null;
  }

  private countAlone(policy: Policy, subject: string, cost: number): void {
    const owed = this.owedBy(policy, subject);
    if (owed?.alone !== undefined) owed.alone = Math.max(0, owed.alone + cost);
  }

  private remember(key: string, used: number, resetIn: number, at: number): void {
    if (this.said.size >= MAX_REMEMBERED) {
      this.saidBefore = this.said;
      this.said = new Map();
    }
    this.said.set(key, { used, resetIn, at });
  }

  private verdictOf({ policies, subjects, keys, cost, isDegraded }: Demand, reply: readonly number[]): Verdict {
    const allowed = reply[0] === 1;
    const now = this.deps.clock.now();
    const readings = policies.map((policy, i) => {
      const reading = readingOf(policy, subjects[i] as string, policy.cost ?? cost, isDegraded, reply, 1 + i * NUMBERS);
      this.remember(keys[i] as string, reading.used, reading.resetIn, now);
      return reading;
    });
    if (!allowed) return { allowed, readings };
    const remote: { key: string; policy: Policy; charge: number }[] = [];
    for (const [i, policy] of policies.entries()) {
      const charge = policy.cost ?? cost;
      const key = keys[i] as string;
      if ((readings[i] as LimitReading).denied) continue;
      if (policy.counting.holds) this.hold(key, charge, this.termsOf(policy, isDegraded));
      if (policy.counting.holds || policy.isMetered) remote.push({ key, policy, charge });
    }
    return remote.length === 0 ? { allowed, readings, held: [], metered: [] } : { allowed, readings, held: [], metered: [], remote };
  }

  release(verdict: Verdict): void {
    if (!verdict.allowed) return;
    if (verdict.remote === undefined) {
      this.deps.local.release(verdict);
      return;
    }
    for (const { key, policy, charge } of verdict.remote.splice(0)) {
      if (!policy.counting.holds) continue;
      const terms = this.hold(key, -charge, "");
      // What does not arrive is said again soon, or expires.
      this.tell("refund", key, terms, charge);
    }
  }

  settle(verdict: Verdict, used: number): void {
    if (!verdict.allowed) return;
    if (verdict.remote === undefined) {
      for (const { policy, subject, charge } of verdict.metered) this.countAlone(policy, subject, used - charge);
      this.deps.local.settle(verdict, used);
      return;
    }
    const isDegraded = this.deps.isDegraded();
    for (const { key, policy, charge } of verdict.remote) {
      if (!policy.isMetered || used === charge) continue;
      this.tell(used > charge ? "charge" : "refund", key, this.termsOf(policy, isDegraded), Math.abs(used - charge));
    }
    const left = verdict.remote.filter(({ policy }) => policy.counting.holds);
    verdict.remote.splice(0, verdict.remote.length, ...left);
  }

  async inspect(policies: readonly Policy[], subjects: readonly string[]): Promise<LimitReading[]> {
    if (policies.length === 0) return [];
    const isDegraded = this.deps.isDegraded();
    try {
      const keys = policies.map((policy, i) => this.keyOf(policy, subjects[i] ?? ""));
      const reply = await this.ask(
        "peek",
        keys,
        policies.flatMap((policy) => [this.termsOf(policy, isDegraded), 0]),
      );
      return policies.map((policy, i) => readingOf(policy, subjects[i] ?? "", 0, isDegraded, reply, 1 + i * NUMBERS));
    } catch (error) {
      if (!(error instanceof RedisDown)) throw error;
      return this.deps.local.inspect(policies, subjects);
    }
  }

  /** Rejects with `RedisDown` while Redis is away. */
  async reset(policies: readonly Policy[], subjects: readonly string[]): Promise<void> {
    const keys = policies.flatMap((policy, i) => {
      const key = this.keyOf(policy, subjects[i] ?? "");
      this.said.delete(key);
      this.saidBefore.delete(key);
      const { holds, besides } = policy.counting;
      return holds ? [] : [key, ...besides.map((end) => key + end)];
    });
    await Promise.all(keys.map((key) => this.deps.link.run((client) => client.del(key))));
    this.deps.local.reset(policies, subjects);
  }

  sweep(): void {
    this.deps.local.sweep();
  }

  /**
   * Redis is back: what was counted here meanwhile is added to what it has, so that an outage gives nobody twice as much for the rest of a window.
   * `entries`: the local states; `forget` is called for each that Redis has now, and not for one that it did not take.
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
      // Not a million at once.
      if (told.length >= 500) await Promise.all(told.splice(0));
    }
    await Promise.all(told);
  }

  /** Gives back what one subject was let through. False when more came meanwhile, which is still owed. */
  private async giveBackOne(entry: Entry, used: number, isDegraded: boolean): Promise<boolean> {
    const { policy, subject } = entry;
    const state = entry.state as Owed;
    const { alone } = state;
    const keys = [this.keyOf(policy, subject)];
    const terms = this.termsOf(policy, isDegraded);
    let charge = used;
    if (alone !== undefined) {
      // What went on from Redis' own count is not added to it again, unless Redis came back without it.
      const remote = (await this.ask("peek", keys, [terms, 0]))[1] as number;
      charge = Math.min(used, Math.max(alone, used - remote));
    }
    if (charge > 0) await this.ask("charge", keys, [terms, charge]);
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

  close(): void {
    clearInterval(this.holder);
  }

  /** The time, who asks, and until when anybody waits for the answer, by Redis' clock as far as it is known. */
  private preamble(patience: number): (string | number)[] {
    const { now, instance, clock } = this.deps;
    if (now !== undefined) return [now(), instance, ""];
    return ["", instance, this.ahead === null ? "" : Math.ceil(clock.now() + this.ahead + patience)];
  }

  /** Takes note of what Redis' clock says. A reply was some time on its way: the greatest lead that was seen is nearest to the truth. */
  private setClock(time: number): void {
    const ahead = time - this.deps.clock.now();
    // Its clock may have been set, or another server have taken its place.
    if (this.ahead === null || Math.abs(ahead - this.ahead) > 1000) this.ahead = ahead;
    else this.ahead = Math.max(this.ahead, ahead);
  }

  private ask(deed: Deed, keys: readonly string[], args: readonly (string | number)[]): Promise<readonly number[]> {
    if (this.deps.link.isCluster) return this.askCluster(deed, keys, args);
    return new Promise((resolve, reject) => {
      this.waiting.push({ deed, keys, args, at: this.deps.clock.now(), resolve, reject });
      // What else arrives in this turn of the event loop, or while Redis is at work, goes along; but not for long.
      if (this.isScheduled) return;
      if (this.onTheWay === 0) {
        this.isScheduled = true;
        setImmediate(() => this.flush());
      } else if (this.onTheWay < MAX_ON_THE_WAY) {
        if (this.waiting.length >= MAX_TOGETHER) this.flush();
        else
          this.patience ??= setTimeout(() => {
            this.patience = null;
            if (this.waiting.length > 0 && this.onTheWay < MAX_ON_THE_WAY) this.flush();
          }, WAIT_AT_MOST);
      }
    });
  }

  private flush(): void {
    this.isScheduled = false;
    const asked = this.waiting.splice(0, MAX_TOGETHER);
    if (asked.length === 0) return;
    // Who came first has waited longest: what is left of its time is what the call may take.
    const left = (asked[0] as Asked).at + this.deps.link.patience - this.deps.clock.now();
    if (left <= 0) {
      for (const { reject } of asked) reject(new RedisDown("Redis was too slow for those before"));
      this.flush();
      return;
    }
    this.call(asked, left).then(
      (reply) => {
        this.flush();
        let at = 0;
        for (const { deed, keys: its, resolve } of asked) {
          const next = at + 1 + its.length * widthOf(deed);
          resolve(reply.slice(at, next));
          at = next;
        }
      },
      (error: Error) => {
        this.flush();
        for (const { reject } of asked) reject(error);
      },
    );
  }

  /** One call of the script, and its reply behind the time. */
  private async call(asked: readonly Question[], patience = this.deps.link.patience): Promise<number[]> {
    const call = this.callOf(asked, patience);
    this.onTheWay++;
    try {
      const text = await this.deps.link.run((client) => (client as unknown as RunScript).sluiceLimits(...call), patience);
      const [time = 0, ...reply] = text.split(" ").map(Number);
      this.setClock(time);
      return reply;
    } finally {
      this.onTheWay--;
    }
  }

  /** The script's arguments: each key and each limit's terms once, and numbers that say which of them belong together. */
  private callOf(asked: readonly Question[], patience: number): [number, ...(string | number)[]] {
    const keys = new Map<string, number>();
    const terms = new Map<string, number>();
    let numbers = "";
    for (const { deed, keys: its, args } of asked) {
      numbers += `${numbers === "" ? "" : " "}${its.length} ${DEEDS[deed]}`;
      const width = deed === "lease" ? 3 : 2;
      for (let i = 0; i < its.length; i++) {
        const key = its[i] as string;
        let at = keys.get(key);
        if (at === undefined) {
          at = keys.size + 1;
          keys.set(key, at);
        }
        const text = args[i * width] as string;
        let which = terms.get(text);
        if (which === undefined) {
          which = terms.size + 1;
          terms.set(text, which);
        }
        numbers += ` ${at} ${which} ${args[i * width + 1]}`;
        if (width === 3) numbers += ` ${args[i * width + 2]}`;
      }
    }
    return [keys.size, ...keys.keys(), ...this.preamble(patience), `[${[...terms.keys()].join()}]`, numbers];
  }

  /** One call for each slot, which is one for each subject. */
  private async askCluster(deed: Deed, keys: readonly string[], args: readonly (string | number)[]): Promise<readonly number[]> {
    const groups = new Map<string, number[]>();
    for (const [i, key] of keys.entries()) {
      const tag = key.slice(key.indexOf("{"), key.indexOf("}"));
      const group = groups.get(tag);
      if (group === undefined) groups.set(tag, [i]);
      else group.push(i);
    }
    const reply: number[] = new Array(1 + keys.length * NUMBERS).fill(0);
    reply[0] = 1;
    const taken: number[][] = [];
    const run = (its: readonly number[], how: Deed): Promise<number[]> =>
      this.call([
        {
          deed: how,
          keys: its.map((i) => keys[i] as string),
          args: its.flatMap((i) => [args[2 * i] as string, args[2 * i + 1] as number]),
        },
      ]);
    const giveBack = (): void => {
      for (const its of taken) {
        // A limit in shadow that did not fit has taken nothing.
        const fitted = its.filter((i) => reply[1 + i * NUMBERS + 4] === 1);
        if (fitted.length > 0) run(fitted, "refund").catch(() => {});
      }
    };
    try {
      for (const its of groups.values()) {
        // After a denial the others are only looked at, for the headers.
        const part = await run(its, deed === "take" && reply[0] === 0 ? "peek" : deed);
        if (part[0] === 0) reply[0] = 0;
        else if (deed === "take") taken.push(its);
        for (const [n, i] of its.entries())
          for (let k = 0; k < NUMBERS; k++) reply[1 + i * NUMBERS + k] = part[1 + n * NUMBERS + k] as number;
      }
    } catch (error) {
      giveBack();
      throw error;
    }
    if (reply[0] === 0) giveBack();
    return reply;
  }

  private tell(deed: Deed, key: string, terms: string, cost: number): void {
    if (!this.deps.link.isUp) return;
    this.ask(deed, [key], [terms, cost]).catch((error: unknown) => {
      if (!(error instanceof RedisDown)) this.deps.onFault(error);
    });
  }

  /** Counts what is in flight here. Gives the terms it was taken under. */
  private hold(key: string, change: number, terms: string): string {
    const held = this.held.get(key);
    const count = (held?.count ?? 0) + change;
    const its = held?.terms ?? terms;
    if (count <= 0) this.held.delete(key);
    else this.held.set(key, { count, terms: its });
    return its;
  }

  /** Says again what is in flight, for a timer: exactly, when nothing is on its way that would change it. */
  renew(): void {
    this.forgetSlices(this.deps.clock.now());
    if (!this.deps.link.isUp) return;
    // A single answer that never came is no outage, after which all is given back.
    if (this.owes && !this.isGivingBack) this.deps.onOwing?.();
    const deed = this.onTheWay === 0 && this.waiting.length === 0 ? "hold" : "extend";
    for (const [key, { count, terms }] of this.held) this.tell(deed, key, terms, count);
  }

  /** A slot for each subject: its keys stand together on a cluster. */
  private keyOf(policy: Policy, subject: string): string {
    let id = this.keys.get(policy);
    if (id === undefined) {
      id = new Bun.CryptoHasher("sha1").update(policy.id).digest("hex").slice(0, 16);
      this.keys.set(policy, id);
    }
    return `${this.deps.link.prefix}:limit:{${tagOf(subject)}}:${id}`;
  }

  private termsOf(policy: Policy, isDegraded: boolean): string {
    if (policy.calendar !== null) return this.quotaTermsOf(policy, policy.calendar);
    const terms = termsOf(policy, isDegraded);
    let text = this.terms.get(terms);
    if (text === undefined) {
      const { algorithm, counting, window, aligned, shadow, normal, reduced } = policy;
      text = JSON.stringify({
        algorithm,
        window: counting.holds ? HOLD_FOR : window,
        limit: terms.limit,
        perMs: Number.isFinite(terms.perMs) ? terms.perMs : 0,
        full: Math.max(normal.limit, reduced.limit),
        aligned,
        shadow,
      });
      this.terms.set(terms, text);
    }
    return text;
  }

  /** The period before, this one and the next: which of them it is, is for Redis' clock to say. */
  private quotaTermsOf(policy: Policy, calendar: NonNullable<Policy["calendar"]>): string {
    const now = Math.floor(this.deps.clock.wall());
    const known = this.quotaTerms.get(policy);
    if (known !== undefined && now < known.until) return known.text;
    const next = calendar.at(calendar.at(now).end);
    const before = calendar.at(calendar.at(now).start - 1);
    const { start, end } = calendar.at(now);
    const text = JSON.stringify({
      algorithm: policy.algorithm,
      window: policy.window,
      limit: policy.normal.limit,
      shadow: policy.shadow,
      periods: [before.start, start, end, next.end],
    });
    this.quotaTerms.set(policy, { until: end, text });
    return text;
  }
}

/** Slices of these can be taken beforehand: what is in flight can't, what must be exact must not, and what its responses cost is not known. */
const isLeaseable = (policy: Policy): boolean => policy.counting.leaseable && !policy.isMetered && !policy.shadow;

const PLAIN_SUBJECT = /^[\w.:[\]@/-]{1,96}$/;

/** What stands for a subject in a key: itself, or a digest where it is long, or could be taken for something else. */
const tagOf = (subject: string): string =>
  PLAIN_SUBJECT.test(subject) ? subject : `#${new Bun.CryptoHasher("sha256").update(subject).digest("hex").slice(0, 32)}`;

/** `charge`: what was asked for under this limit; 0 where it was only looked at. */
function readingOf(
  policy: Policy,
  subject: string,
  charge: number,
  isDegraded: boolean,
  reply: readonly number[],
  at: number,
): LimitReading {
  const used = reply[at] as number;
  const terms = termsOf(policy, isDegraded);
  const denied = reply[at + 4] === 0;
  return {
    policy,
    subject,
    limit: terms.limit,
    used,
    remaining: reply[at + 1] as number,
    resetIn: reply[at + 2] as number,
    retryIn: reply[at + 3] as number,
    denied,
    onlyDegraded: denied && terms !== policy.normal && used + charge <= policy.normal.limit,
  };
}
