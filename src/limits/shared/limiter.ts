import { enterColumns, hold, inFlight, release } from "../../shared/columns.ts";
import type { HashKey } from "../../shared/hash.ts";
import { LOG, PLAIN } from "../../shared/layout.ts";
import { BUSY, FULL, LOCKED, type Locked, type Table } from "../../shared/table.ts";
import type { Clock } from "../../values/clock.ts";
import { newReading, type State } from "../algorithms/algorithm.ts";
import { askForMore, chargesInMoney, noteGrowth } from "../growth.ts";
import { askedOf, type Held, LimiterUnavailable, type LimitReading, type LimitService, type Metered, type Verdict } from "../limiter.ts";
import { chargeOf, type Policy, type Terms, termsOf } from "../policy.ts";
import type { Logs } from "./logs.ts";

/** Keeps the counts of durable policies where they outlive the table. */
export interface DurableCounts {
  /** Gives the state that is stored of a subject which the table does not have; `null` when there is none. */
  find(policy: Policy, subject: string): State | null;
  /** Learns that a subject's count has changed. */
  changed(policy: Policy, subject: string): void;
}

export interface SharedLimiterDeps {
  readonly table: Table;
  /** Keeps what sliding logs remember. */
  readonly logs: Logs;
  readonly clock: Clock;
  readonly isDegraded: () => boolean;
  /** `null`: nothing outlives the table. */
  readonly durable: DurableCounts | null;
}

/** Holds what a limiter keeps of one policy, found once. */
interface Seat {
  readonly key: HashKey;
  /** The state that is looked at just now. */
  readonly state: State;
}

/** Holds where a policy of the step stands. */
interface Place {
  seat: Seat;
  /** The position in the table's step. */
  position: number;
  /** Whether, and in which version, the look found the subject in the table. */
  wasThere: boolean;
  version: number;
  /** The latest time in the state that was read; 0 where there is none. */
  latest: number;
  /** What the look found elsewhere. */
  stored: State | null;
}

/** Holds a settlement that could not be made, since another process stood still with the slot locked. */
interface Unsettled extends Metered {
  readonly used: number;
}

type Change = (state: State, terms: Terms, now: number) => void;

const NOTHING: readonly Held[] = [];
/** Shared by all, and therefore never written to. */
const NONE: Metered[] = [];
/** The most settlements that wait; beyond it the oldest is dropped: what was charged beforehand stays. */
const MAX_UNSETTLED = 10_000;
/** What is found under a lock: the state that was looked at, another, or nothing where there was something. */
const SAME = 0;
const CHANGED = 1;
const GONE = 2;
/** Milliseconds after which to ask again where a process has no room to hold more. */
const FULL_AGAIN_IN = 1000;
/** Milliseconds by which the clocks of two processes may differ. */
const SKEW = 1000;
/** How often a decision is begun anew since what was looked at was evicted before it was locked. */
const ATTEMPTS = 8;
/** How often a lock is waited for, each time for as long as the table waits: at once in vain where its holder has not gone on since. */
const PATIENT_ATTEMPTS = 4;

/**
 * Decides by all limits of a request at once, over a table that several processes share (see `Table`): together they never grant more than
 * one of them would. A denial takes no lock and writes nothing.
 *
 * The policies of one request are distinct. Where another process holds a subject for longer than the table waits (it was stopped), nobody
 * knows what it counts: then nobody passes, and `admit` throws `LimiterUnavailable`.
 */
export class SharedLimiter implements LimitService {
  private readonly seats = new WeakMap<Policy, Seat>();
  private readonly scratch = newReading();
  /** Where the policies of the step stand, one after another; it grows to the most that a request had. */
  private readonly places: Place[] = [];
  /** Whether a policy of the step holds something, or outlives the table. */
  private holdsSome = false;
  private isDurable = false;
  private readonly unsettled: Unsettled[] = [];
  /** The system's status, as it is for the whole of a step. */
  private isDegraded = false;
  /** The time of the step; that of the wall clock is asked for when it is needed. */
  private monotonic = 0;
  private wall = -1;

  constructor(private readonly deps: SharedLimiterDeps) {}

  admit(policies: readonly Policy[], subjects: readonly string[], cost: number, money = 0): Verdict {
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const readings = this.lookAtAll(policies, subjects, cost, money);
      if (isRefused(readings)) return { allowed: false, readings };
      const locked = this.lock();
      if (locked === FULL) throw new LimiterUnavailable("limits can't be checked: there is no room for their counts");
      // Cores that are overloaded keep a holder off for longer than the table waits, though it goes on.
      if (locked === BUSY && attempt + 1 < PATIENT_ATTEMPTS) continue;
      if (locked === BUSY) throw new LimiterUnavailable("limits can't be checked: another process stands still");
      const verdict = this.takeLocked(policies, readings, cost, money);
      if (verdict !== null) return verdict;
    }
    throw new LimiterUnavailable("limits can't be checked: their counts are evicted all the time");
  }

  grow(verdict: Verdict, money: number): boolean {
    const charges = chargesInMoney(verdict);
    return charges.length === 0 || noteGrowth(this, verdict, charges, askForMore(this, charges, money), money);
  }

  settle(verdict: Verdict, units: number | null, money: number | null = null): void {
    if (!verdict.allowed || verdict.metered.length === 0) return;
    for (const metered of verdict.metered.splice(0)) {
      const used = metered.policy.unit === "usd" ? money : units;
      if (used !== null) this.settleOne({ ...metered, used });
    }
  }

  release(verdict: Verdict): void {
    if (!verdict.allowed) return;
    for (const held of verdict.held) {
      if (held.cost > 0 && typeof held.place === "number") release(this.deps.table, held.place, held.cost);
      held.cost = 0;
    }
  }

  inspect(policies: readonly Policy[], subjects: readonly string[], cost?: number, money?: number): LimitReading[] {
    return policies.map((policy, i) => {
      const subject = subjects[i] ?? "";
      this.begin();
      const place = this.enter(0, policy, subject);
      this.look(place, policy, subject);
      this.tick();
      const charge = askedOf(policy, cost, money);
      const reading = newLimitReading(policy, subject, this.termsOf(policy));
      if (place.wasThere || place.stored !== null || charge > 0) this.readLooked(reading, place, charge);
      return reading;
    });
  }

  reset(policies: readonly Policy[], subjects: readonly string[]): void {
    for (const [i, policy] of policies.entries()) {
      if (policy.counting.holds) continue;
      const isDone = this.step(policy, subjects[i] ?? "", (state, terms, now) =>
        Object.assign(state, policy.counting.open(policy, now, terms)),
      );
      if (!isDone) throw new LimiterUnavailable("limits can't be reset at the moment");
    }
  }

  /** Makes the settlements that could not be made; for a timer. Idle subjects need none: their slots are given to others. */
  sweep(): void {
    for (const each of this.unsettled.splice(0)) this.settleOne(each);
  }

  private settleOne(each: Unsettled): void {
    const { policy, subject, charge, used, at } = each;
    const { counting } = policy;
    if (used === charge || counting.holds) return;
    const isDone = this.step(policy, subject, (state, terms, now) => {
      if (used > charge) this.take(this.placeOf(0), policy, state, terms, used - charge, now);
      else counting.refund(state, policy, terms, charge - used, now, at);
    });
    if (isDone) return;
    if (this.unsettled.length >= MAX_UNSETTLED) this.unsettled.shift();
    this.unsettled.push(each);
  }

  /** Enters all into a step, and reads without a lock where they stand. */
  private lookAtAll(policies: readonly Policy[], subjects: readonly string[], cost: number, money: number): LimitReading[] {
    this.begin();
    for (let i = 0; i < policies.length; i++) {
      const policy = policies[i] as Policy;
      const subject = subjects[i] as string;
      this.look(this.enter(i, policy, subject), policy, subject);
    }
    // After the states: none of them may be in the future.
    this.tick();
    const readings: LimitReading[] = [];
    for (let i = 0; i < policies.length; i++) {
      const policy = policies[i] as Policy;
      const reading = newLimitReading(policy, subjects[i] as string, this.termsOf(policy));
      this.readLooked(reading, this.placeOf(i), chargeOf(policy, cost, money));
      readings.push(reading);
    }
    return readings;
  }

  /** Does what `takeAll` does; the locks don't outlive it, whatever it throws. */
  private takeLocked(policies: readonly Policy[], readings: LimitReading[], cost: number, money: number): Verdict | null {
    let isOver = false;
    try {
      const verdict = this.takeAll(policies, readings, cost, money);
      isOver = true;
      return verdict;
    } finally {
      if (!isOver) this.aborted(null);
    }
  }

  /** Charges all, and commits; or none, and aborts. `null`: what was looked at is gone. */
  private takeAll(policies: readonly Policy[], readings: LimitReading[], cost: number, money: number): Verdict | null {
    const { table, durable } = this.deps;
    let isAsLooked = true;
    for (let i = 0; i < policies.length; i++) {
      const found = this.openAgain(this.placeOf(i), policies[i] as Policy);
      if (found === GONE) return this.aborted(null);
      if (found === CHANGED) isAsLooked = false;
    }
    if (!isAsLooked) {
      // Others have counted since the look, at a later time, which must not be in the future.
      this.tick();
      for (let i = 0; i < policies.length; i++) {
        const policy = policies[i] as Policy;
        this.readInto(readings[i] as LimitReading, this.placeOf(i), chargeOf(policy, cost, money));
      }
    }
    if (!isAsLooked && isRefused(readings)) return this.aborted({ allowed: false, readings });
    const held = this.holdsSome ? this.hold(policies, readings, cost) : NOTHING;
    if (held === null) return this.aborted({ allowed: false, readings });
    let metered: Metered[] | null = null;
    for (let i = 0; i < policies.length; i++) {
      const reading = readings[i] as LimitReading;
      // A limit in shadow counts what it would have let through.
      if (reading.denied) continue;
      const policy = policies[i] as Policy;
      const charge = chargeOf(policy, cost, money);
      const at = this.charge(this.placeOf(i), policy, charge, reading);
      if (policy.isMetered) {
        metered ??= [];
        metered.push({ policy, subject: reading.subject, charge, at });
      }
    }
    table.commit();
    if (this.isDurable && durable !== null)
      for (const { policy, subject, denied } of readings) if (policy.durable && !denied) durable.changed(policy, subject);
    return { allowed: true, readings, held, metered: metered ?? NONE };
  }

  /** Holds all that is to be held until the request ends. `null`: a limit has no room for more, which its reading says. */
  private hold(policies: readonly Policy[], readings: readonly LimitReading[], cost: number): readonly Held[] | null {
    const { table } = this.deps;
    let all: Held[] | null = null;
    for (let i = 0; i < policies.length; i++) {
      const policy = policies[i] as Policy;
      const reading = readings[i] as LimitReading;
      if (!policy.counting.holds || reading.denied) continue;
      const charge = policy.cost ?? cost;
      const column = hold(table, this.placeOf(i).position, charge);
      if (column >= 0) {
        all ??= [];
        all.push({ place: column, cost: charge });
        continue;
      }
      for (const { place, cost: taken } of all ?? NOTHING) release(table, place as number, taken);
      reading.denied = true;
      reading.retryIn = FULL_AGAIN_IN;
      return null;
    }
    return all ?? NOTHING;
  }

  /** Charges a subject that is locked, and writes into `reading` where it stands then. Gives the time at which it was charged. */
  private charge(place: Place, policy: Policy, charge: number, reading: LimitReading): number {
    const { state } = place.seat;
    const { counting } = policy;
    const terms = this.termsOf(policy);
    const now = this.timeFor(place, policy);
    this.take(place, policy, state, terms, charge, now);
    if (!counting.holds) this.save(place, policy, state);
    const { scratch } = this;
    counting.peek(state, policy, terms, charge, now, scratch);
    reading.used = scratch.used;
    reading.remaining = scratch.remaining;
    reading.resetIn = scratch.resetIn;
    return now;
  }

  private take(place: Place, policy: Policy, state: State, terms: Terms, charge: number, now: number): void {
    const { counting } = policy;
    if (counting.ringed && charge > 0) this.deps.logs.makeRoom(state, place.position, now);
    counting.take(state, policy, terms, charge, now);
  }

  /** Changes one subject's state. False: it could not be locked. */
  private step(policy: Policy, subject: string, change: Change): boolean {
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      this.begin();
      this.look(this.enter(0, policy, subject), policy, subject);
      this.tick();
      if (this.lock() !== LOCKED) return false;
      if (!this.changeLocked(policy, change)) continue;
      if (policy.durable) this.deps.durable?.changed(policy, subject);
      return true;
    }
    return false;
  }

  private changeLocked(policy: Policy, change: Change): boolean {
    const { table } = this.deps;
    let isOver = false;
    try {
      const place = this.placeOf(0);
      const isThere = this.openAgain(place, policy) !== GONE;
      if (isThere) {
        this.tick();
        const terms = this.termsOf(policy);
        const { seat, wasThere } = place;
        const { state } = seat;
        if (!wasThere) this.openNew(place, policy);
        change(state, terms, this.timeFor(place, policy));
        this.save(place, policy, state);
        table.commit();
        isOver = true;
      }
      return isThere;
    } finally {
      if (!isOver) this.aborted(null);
    }
  }

  private begin(): void {
    this.isDegraded = this.deps.isDegraded();
    this.holdsSome = false;
    this.isDurable = false;
    this.deps.table.begin();
  }

  private lock(): Locked {
    return this.deps.table.lock(this.monotonic);
  }

  private aborted<T>(result: T): T {
    this.deps.table.abort();
    return result;
  }

  private enter(i: number, policy: Policy, subject: string): Place {
    const { table } = this.deps;
    const seat = this.seats.get(policy) ?? this.seatOf(policy);
    const { counting } = policy;
    const { holds } = counting;
    const position = holds ? enterColumns(table, seat.key, subject) : table.enter(seat.key, subject, counting.ringed ? LOG : PLAIN);
    if (holds) this.holdsSome = true;
    if (policy.durable) this.isDurable = true;
    let place = this.places[i];
    if (place === undefined) {
      place = { seat, position, wasThere: true, version: 0, latest: 0, stored: null };
      this.places[i] = place;
    } else {
      place.seat = seat;
      place.position = position;
    }
    return place;
  }

  private placeOf(i: number): Place {
    return this.places[i] as Place;
  }

  private seatOf(policy: Policy): Seat {
    const seat = { key: this.deps.table.keyOf(policy.id), state: policy.counting.open(policy, 0, policy.normal) };
    this.seats.set(policy, seat);
    return seat;
  }

  /** Reads a subject's state without a lock, from the table or else from what is stored. */
  private look(place: Place, policy: Policy, subject: string): void {
    const { table, logs, durable } = this.deps;
    const { counting } = policy;
    const { position } = place;
    const { state } = place.seat;
    place.stored = null;
    place.wasThere = true;
    place.latest = 0;
    if (counting.holds) {
      counting.countHeld(state, inFlight(table, position));
      return;
    }
    for (let attempt = 0; table.peek(position); attempt++) {
      place.version = table.versionOf(position);
      counting.load(table.scratch, 3 * position, state);
      place.latest = counting.latest(state);
      if (!counting.ringed || logs.find(state) || attempt >= ATTEMPTS) return;
    }
    place.wasThere = false;
    place.latest = 0;
    if (policy.durable && durable !== null) place.stored = durable.find(policy, subject);
  }

  /** Begins the state of a subject that is not in the table. */
  private openNew(place: Place, policy: Policy): void {
    const { seat, stored } = place;
    Object.assign(seat.state, stored ?? policy.counting.open(policy, this.timeFor(place, policy), this.termsOf(policy)));
  }

  /** Reads a state under its lock, unless it is as the look found it. */
  private openAgain(place: Place, policy: Policy): typeof SAME | typeof CHANGED | typeof GONE {
    const { table, logs } = this.deps;
    const { counting } = policy;
    const { position, wasThere } = place;
    const { state } = place.seat;
    if (counting.holds) {
      // Others give back what they hold without any lock.
      counting.countHeld(state, inFlight(table, position));
      return CHANGED;
    }
    // It was evicted after the look, so that what is stored must be asked for.
    if (table.isNew(position)) return wasThere ? GONE : SAME;
    if (wasThere && table.versionOf(position) === place.version) return SAME;
    counting.load(table.f64, table.live(position), state);
    place.latest = counting.latest(state);
    place.wasThere = true;
    if (counting.ringed && !logs.find(state)) throw new LimiterUnavailable("limits can't be checked: a log can't be read");
    return CHANGED;
  }

  private save({ position }: Place, policy: Policy, state: State): void {
    const { table, logs, durable } = this.deps;
    const { counting } = policy;
    if (counting.holds) return;
    if (counting.ringed) logs.save(state, position, this.monotonic);
    counting.save(state, table.f64, table.next(position));
    const { normal, reduced } = policy;
    let idleAt = counting.idleAt(state, policy, normal);
    if (reduced !== normal) idleAt = Math.max(idleAt, counting.idleAt(state, policy, reduced));
    const ahead = counting.time === "monotonic" ? 0 : this.monotonic - this.wall;
    table.change(position, idleAt + ahead, policy.durable && durable !== null);
  }

  /** Writes into a reading where a state stands that was looked at. */
  private readLooked(reading: LimitReading, place: Place, cost: number): void {
    const { policy, subject } = reading;
    const { table } = this.deps;
    if (!place.wasThere) this.openNew(place, policy);
    this.readInto(reading, place, cost);
    // What a log had when it was looked at may have been overwritten while it was read.
    for (let attempt = 0; policy.counting.ringed && place.wasThere && attempt < ATTEMPTS; attempt++) {
      if (table.isCurrent(place.position)) return;
      this.look(place, policy, subject);
      this.tick();
      if (!place.wasThere) this.openNew(place, policy);
      this.readInto(reading, place, cost);
    }
  }

  /** Writes into a reading where the state that was read last stands. */
  private readInto(reading: LimitReading, place: Place, cost: number): void {
    const { scratch } = this;
    const { policy } = reading;
    const terms = this.termsOf(policy);
    policy.counting.peek(place.seat.state, policy, terms, cost, this.timeFor(place, policy), scratch);
    const { fits, used } = scratch;
    reading.used = used;
    reading.remaining = scratch.remaining;
    reading.resetIn = scratch.resetIn;
    reading.retryIn = scratch.retryIn;
    reading.denied = !fits;
    reading.onlyDegraded = !fits && terms !== policy.normal && used + cost <= policy.normal.limit;
  }

  /** Takes the time for the step, in whole milliseconds: the algorithms' unit. */
  private tick(): void {
    this.monotonic = Math.floor(this.deps.clock.now());
    this.wall = -1;
  }

  /**
   * Gives the time that a policy's algorithm counts by. It is never a little before that at which another process has counted: the algorithms
   * would take its clock for one that was set back, and give for the same milliseconds again.
   */
  private timeFor({ latest }: Place, policy: Policy): number {
    const isMonotonic = policy.counting.time === "monotonic";
    const now = latest > this.monotonic && latest - this.monotonic < SKEW ? latest : this.monotonic;
    if (isMonotonic && !policy.aligned) return now;
    if (this.wall < 0) this.wall = Math.floor(this.deps.clock.wall());
    policy.ahead = this.wall - this.monotonic;
    return isMonotonic ? now : this.wall;
  }

  private termsOf(policy: Policy): Terms {
    return termsOf(policy, this.isDegraded);
  }
}

function newLimitReading(policy: Policy, subject: string, { limit }: Terms): LimitReading {
  return { policy, subject, limit, used: 0, remaining: limit, resetIn: 0, retryIn: 0, denied: false, onlyDegraded: false };
}

function isRefused(readings: readonly LimitReading[]): boolean {
  for (let i = 0; i < readings.length; i++) {
    const reading = readings[i] as LimitReading;
    if (reading.denied && !reading.policy.shadow) return true;
  }
  return false;
}
