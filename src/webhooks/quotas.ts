import type { QuotaSight } from "../limits/gate.ts";
import type { LimitReading, Verdict } from "../limits/limiter.ts";
import { type Policy, scopeText } from "../limits/policy.ts";
import type { Clock } from "../values/clock.ts";
import { eventOf, type WebhookEvent } from "./events.ts";

type Level = 80 | 100;

/** What was told of a subject in the period that ends at `until`, in milliseconds since 1970. */
interface Told {
  level: Level;
  until: number;
}

/** The most subjects of which is remembered what was told: beyond them the database tells what was told already. */
const MAX_SUBJECTS = 50_000;
/** Milliseconds after a period's end for which it is remembered what was told of it: clocks differ. */
const REMEMBERED_FOR = 86_400_000;

export interface QuotaWatchDeps {
  readonly clock: Clock;
  /** Takes an event. Rejects where it could not be written down: it is told anew with the next request. */
  readonly tell: (event: WebhookEvent) => Promise<void> | void;
}

/**
 * Tells when a quota is used to four fifths, and when it is used up, each once for each subject and period. Requests pay one comparison for
 * each of their quotas, and nothing while no webhook wants to know.
 */
export class QuotaWatch implements QuotaSight {
  isOn = false;
  private readonly told = new Map<string, Map<string, Told>>();
  private subjects = 0;

  constructor(private readonly deps: QuotaWatchDeps) {}

  saw(readings: readonly LimitReading[]): void {
    for (let i = 0; i < readings.length; i++) {
      const reading = readings[i] as LimitReading;
      if (reading.policy.calendar !== null) this.look(reading, reading.used, reading.denied);
    }
  }

  settled({ readings, ...verdict }: Verdict, used: number): void {
    if (!verdict.allowed) return;
    for (const { policy, subject, charge } of verdict.metered) {
      const reading = policy.calendar === null ? undefined : readings.find((each) => each.policy === policy && each.subject === subject);
      if (reading !== undefined) this.look(reading, reading.used + used - charge, false);
    }
  }

  private look({ policy, subject, limit }: LimitReading, used: number, isDenied: boolean): void {
    const isFull = used >= limit || isDenied;
    if (!isFull && used * 5 < limit * 4) return;
    const now = this.deps.clock.wall();
    const known = this.told.get(policy.id)?.get(subject);
    const level: Level = isFull ? 100 : 80;
    if (known !== undefined && now < known.until && known.level >= level) return;
    const period = policy.calendar?.at(now);
    if (period === undefined) return;
    this.remember(policy, subject, { level, until: period.end });
    const data = { quota: policy.name, scope: scopeText(policy), subject, limit, used, resetAt: new Date(period.end).toISOString() };
    const once = (of: Level) => ({
      once: { name: `quota:${policy.id}:${subject}:${period.end}:${of}`, until: period.end + REMEMBERED_FOR },
    });
    // A request may cost so much that both are reached at once.
    if (used * 5 >= limit * 4) this.tell(eventOf("quota.80", data, once(80)), policy, subject);
    if (isFull) this.tell(eventOf("quota.100", data, once(100)), policy, subject);
  }

  private tell(event: WebhookEvent, policy: Policy, subject: string): void {
    const waits = this.deps.tell(event);
    waits?.catch(() => this.told.get(policy.id)?.delete(subject));
  }

  private remember({ id }: Policy, subject: string, told: Told): void {
    if (this.subjects >= MAX_SUBJECTS) {
      this.told.clear();
      this.subjects = 0;
    }
    let subjects = this.told.get(id);
    if (subjects === undefined) {
      subjects = new Map();
      this.told.set(id, subjects);
    }
    if (!subjects.has(subject)) this.subjects++;
    subjects.set(subject, told);
  }
}
