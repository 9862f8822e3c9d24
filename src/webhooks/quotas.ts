import type { QuotaSight } from "../limits/gate.ts";
import { chargesOf } from "../limits/growth.ts";
import type { LimitReading, Verdict } from "../limits/limiter.ts";
import { isInMoney, shownAmount, shownUnit } from "../limits/money.ts";
import { type Policy, scopeText } from "../limits/policy.ts";
import type { OccurrenceOf } from "../telemetry/occurrences.ts";
import type { Clock } from "../values/clock.ts";
import { NANO } from "../values/money.ts";
import type { EventData } from "./event-types.ts";
import { eventOf, type WebhookEvent } from "./events.ts";

type Level = 80 | 100;

/** What was told of a subject in the period that ends at `until`, in milliseconds since 1970. */
interface Told {
  level: Level;
  until: number;
}

/** Holds what is reserved of a quota in money for calls that are under way here, and what those that are over have cost, in nano-dollars. */
interface UnderWay {
  reserved: number;
  spent: number;
  /** When the period ends, in milliseconds since 1970. */
  endsAt: number;
}

/** The most subjects of which is remembered what was told: beyond them the database tells what was told already. */
const MAX_SUBJECTS = 50_000;
/** Milliseconds after a period's end for which it is remembered what was told of it: clocks differ. */
const REMEMBERED_FOR = 86_400_000;

/** The scope of what is told of the keys of pools. */
export const OF_POOL = "a key of the pool";

export interface QuotaWatchDeps {
  readonly clock: Clock;
  /** Takes an event. Rejects where it could not be written down: it is told anew with the next request. */
  readonly tell: (event: WebhookEvent) => Promise<void> | void;
  /** Tells whether anybody wants to know. */
  readonly isWanted: () => boolean;
}

/**
 * Tells when a quota, or a limit in money with long windows, is used to four fifths, and when it is used up, each once for each subject and
 * period. Requests pay one comparison for each of their quotas, and nothing while nobody wants to know.
 */
export class QuotaWatch implements QuotaSight {
  private readonly told = new Map<string, Map<string, Told>>();
  private subjects = 0;
  /** What calls of models are under way, by policy and subject: no more than there are requests. */
  private readonly underWay = new Map<string, UnderWay>();

  constructor(private readonly deps: QuotaWatchDeps) {}

  get isOn(): boolean {
    return this.deps.isWanted();
  }

  saw(verdict: Verdict): void {
    const { readings } = verdict;
    for (let i = 0; i < readings.length; i++) {
      const reading = readings[i] as LimitReading;
      if (!isWatched(reading.policy)) continue;
      if (isInMoney(reading.policy)) this.sawMoney(reading, chargeIn(verdict, reading));
      else this.look(reading, reading.used, reading.denied);
    }
  }

  grew(verdict: Verdict, money: number): void {
    for (const { policy, subject } of chargesOf(verdict)) {
      const known = isInMoney(policy) ? this.underWay.get(nameOf(policy, subject)) : undefined;
      if (known !== undefined) known.reserved += money;
    }
  }

  settled(verdict: Verdict, units: number | null, money: number | null): void {
    for (const { policy, subject, charge } of chargesOf(verdict)) {
      if (!isWatched(policy) || !policy.isMetered) continue;
      const reading = verdict.readings.find((each) => each.policy === policy && each.subject === subject);
      if (reading === undefined) continue;
      if (isInMoney(policy)) this.settledMoney(reading, charge, money ?? charge);
      else if (units !== null) this.look(reading, reading.used + units - charge, false);
    }
  }

  /**
   * Looks at a quota in money, of which `charge` was reserved. What is reserved for calls that are under way here may never be spent, and is
   * not told of. That a call is denied means that the quota is used up where most of it is spent: else others have reserved the rest.
   */
  private sawMoney(reading: LimitReading, charge: number): void {
    const { policy, subject, used, limit, denied } = reading;
    const name = nameOf(policy, subject);
    const known = this.underWay.get(name);
    const reserved = (known?.reserved ?? 0) + charge;
    const spent = Math.max(0, used - reserved);
    const endsAt = this.endOf(reading);
    if (known !== undefined) Object.assign(known, { reserved, spent, endsAt });
    else if (charge > 0) this.underWay.set(name, { reserved, spent, endsAt });
    this.look(reading, spent, denied && isNearlyUsed(spent, limit), endsAt);
  }

  private settledMoney(reading: LimitReading, charge: number, money: number): void {
    const name = nameOf(reading.policy, reading.subject);
    const known = this.underWay.get(name);
    if (known === undefined) return;
    known.reserved -= charge;
    known.spent += money;
    if (known.reserved <= 0) this.underWay.delete(name);
    // What was spent in a period that is over is not told of the next one.
    if (this.deps.clock.wall() < known.endsAt) this.look(reading, known.spent, false, known.endsAt);
  }

  /** Gives when the period of a reading ends, in milliseconds since 1970. */
  private endOf({ policy, resetIn }: LimitReading): number {
    const now = this.deps.clock.wall();
    if (policy.calendar !== null) return policy.calendar.at(now).end;
    // A window that slides has no end: it is told of once in each that the clock makes.
    return policy.counting.alignable ? toMinute(now + resetIn) : Math.ceil((now + 1) / policy.window) * policy.window;
  }

  private look(reading: LimitReading, used: number, isDenied: boolean, end: number | null = null): void {
    const { policy, subject, limit } = reading;
    const isFull = used >= limit || isDenied;
    if ((!isFull && !isNearlyUsed(used, limit)) || this.isTold(policy.id, subject, isFull)) return;
    const endsAt = end ?? this.endOf(reading);
    const words = { quota: policy.name, scope: scopeText(policy), subject, unit: shownUnit(policy) };
    const numbers = { limit: shownAmount(policy, limit), used: shownAmount(policy, used) };
    this.say(policy.id, { ...words, ...numbers, isNear: isNearlyUsed(used, limit), isFull, endsAt });
  }

  /** Looks at a budget in money of a pool's key, of which four fifths are spent. */
  sawPool({ pool, key, limit, used, window, endsIn }: OccurrenceOf<"poolSpent">): void {
    const id = `pool:${pool}:${window}`;
    const isFull = used >= limit;
    if (!this.isOn || this.isTold(id, key, isFull)) return;
    const words = { quota: pool, scope: OF_POOL, subject: key, unit: "usd" as const };
    const endsAt = toMinute(this.deps.clock.wall() + endsIn);
    this.say(id, { ...words, limit: limit / NANO, used: used / NANO, isNear: true, isFull, endsAt });
  }

  /** Forgets what was told: there is somebody new to tell it to. */
  forget(): void {
    this.told.clear();
    this.subjects = 0;
  }

  private isTold(id: string, subject: string, isFull: boolean): boolean {
    const known = this.told.get(id)?.get(subject);
    return known !== undefined && this.deps.clock.wall() < known.until && (known.level === 100 || !isFull);
  }

  private say(id: string, { isNear, isFull, endsAt, ...said }: Reached): void {
    const { subject } = said;
    this.remember(id, subject, { level: isFull ? 100 : 80, until: endsAt });
    const data = { ...said, resetAt: new Date(endsAt).toISOString() };
    const once = (of: Level) => ({
      once: { name: `quota:${id}:${subject}:${endsAt}:${of}`, until: endsAt + REMEMBERED_FOR },
    });
    // A request may cost so much that both are reached at once.
    if (isNear) this.tell(eventOf("quota.80", data, once(80)), id, subject);
    if (isFull) this.tell(eventOf("quota.100", data, once(100)), id, subject);
  }

  private tell(event: WebhookEvent, id: string, subject: string): void {
    const waits = this.deps.tell(event);
    waits?.catch(() => this.told.get(id)?.delete(subject));
  }

  private remember(id: string, subject: string, told: Told): void {
    if (this.subjects >= MAX_SUBJECTS) this.forget();
    let subjects = this.told.get(id);
    if (subjects === undefined) {
      subjects = new Map();
      this.told.set(id, subjects);
    }
    if (!subjects.has(subject)) this.subjects++;
    subjects.set(subject, told);
  }
}

/** Says how far a quota is used. Amounts as they are shown: money in dollars. */
interface Reached extends Omit<EventData<"quota.80">, "resetAt"> {
  readonly isNear: boolean;
  readonly isFull: boolean;
  /** Milliseconds since 1970. */
  readonly endsAt: number;
}

const MINUTE = 60_000;

/** Gives the full minute that is nearest: processes and instances that look at one window compute its end to some milliseconds, and must give it one name. */
const toMinute = (time: number): number => Math.round(time / MINUTE) * MINUTE;

/** Tells whether it is told of: quotas, and limits in money whose windows last. What has a capacity fills up all the time, and has no period. */
const isWatched = ({ calendar, unit, durable, shadow, counting }: Policy): boolean =>
  calendar !== null || (unit === "usd" && durable && !shadow && counting.windowed && counting.capacity === null);

const isNearlyUsed = (used: number, limit: number): boolean => used * 5 >= limit * 4;

const nameOf = ({ id }: Policy, subject: string): string => `${id} ${subject}`;

/** Gives what a verdict has charged under the limit of a reading. */
const chargeIn = (verdict: Verdict, { policy, subject }: LimitReading): number =>
  chargesOf(verdict).find((each) => each.policy === policy && each.subject === subject)?.charge ?? 0;
