import type { Answer } from "../exchange/answer.ts";
import { type Caller, countedId } from "../exchange/caller.ts";
import type { Exchange } from "../exchange/exchange.ts";
import type { Route } from "../exchange/route.ts";
import { timeText } from "../http/conventions.ts";
import { jsonReply } from "../http/reply.ts";
import { mayUse } from "../identity/gate.ts";
import type { Keys } from "../keys/keys.ts";
import type { KeyRegistry } from "../keys/registry.ts";
import { leftOf } from "../limits/left.ts";
import type { LimitReading, LimitService } from "../limits/limiter.ts";
import { type Policy, scopeText } from "../limits/policy.ts";
import { isToldBy, subjectOf } from "../limits/subject.ts";
import type { Usage, UsageRow } from "../usage/usage.ts";
import type { Clock } from "../values/clock.ts";
import { Halves } from "../values/halves.ts";

export interface StandingDeps {
  readonly keys: Keys;
  readonly registry: KeyRegistry;
  readonly limiter: LimitService;
  readonly usage: Usage;
  readonly clock: Clock;
  /** Gives the routes that callers can mean. */
  readonly routes: () => readonly Route[];
}

/**
 * Milliseconds for which sums of usage are good, at least; and how many times the time that it took to add them up, so that whoever asks
 * again and again keeps the database busy for a hundredth of the time at most.
 */
const KEPT_FOR = 10_000;
const KEPT_FOR_TIMES = 100;
/** The most consumers whose sums are kept. */
const MAX_KEPT = 10_000;

/** Holds a consumer's sums, and until when they are good by the clock that never runs backwards. */
interface Kept {
  readonly days: readonly UsageRow[];
  readonly month: number;
  readonly until: number;
}

/** Answers `GET /api/v1/me`: tells callers where they stand, and charges them nothing. */
export class Standing {
  private readonly kept = new Halves<string, Kept>(MAX_KEPT);

  constructor(private readonly deps: StandingDeps) {}

  async answer(exchange: Exchange): Promise<Answer> {
    return { kind: "reply", reply: jsonReply(200, await this.of(exchange), "Cache-Control: no-store\r\n") };
  }

  private async of({ caller, ip }: Exchange): Promise<object> {
    const { limiter, clock } = this.deps;
    const asked = this.limitsOf(caller, ip);
    const readings = await limiter.inspect(
      asked.map(([policy]) => policy),
      asked.map(([, subject]) => subject),
    );
    const now = clock.wall();
    const counted = readings.filter(({ policy }) => !policy.shadow);
    const shown = (all: readonly LimitReading[]) => all.map((each) => ({ ...leftOf(each, now), scope: scopeText(each.policy) }));
    return {
      consumer: caller.consumer.id,
      tier: caller.consumer.tier,
      key: this.keyOf(caller),
      limits: shown(counted.filter(({ policy }) => policy.calendar === null)),
      quotas: shown(counted.filter(({ policy }) => policy.calendar !== null)),
      usage: this.usageOf(caller.consumer.id, now).map(({ time, ...counts }) => ({ time: timeText(time), ...counts })),
    };
  }

  /** Gives the caller's limits and those of the routes that it may use, as far as the caller alone says whom they count. */
  private limitsOf(caller: Caller, ip: string): [policy: Policy, subject: string][] {
    const { registry, routes } = this.deps;
    const of = (policies: readonly Policy[], route: string, told: readonly string[]): [Policy, string][] => {
      const requester = { consumerId: caller.consumer.id, keyId: countedId(caller), ip, route, header: nothing, tag: nothing };
      return policies.filter((policy) => isToldBy(policy, told)).map((policy) => [policy, subjectOf(policy, requester)]);
    };
    return [
      ...of(registry.policiesFor(caller), "", TOLD),
      ...routes().flatMap((route) => (isOpenTo(route, caller, ip) ? of(route.policies, route.name, TOLD_ON_ROUTE) : [])),
    ];
  }

  /** Gives what a caller may know of the key that it shows; `null` where it shows another kind of credential. */
  private keyOf({ via, id }: Caller): object | null {
    if (via !== "key") return null;
    const { name, start, end, scopes, routes, expiresAt, previousExpiresAt } = this.deps.keys.get(id).record;
    return { id, name, start, end, scopes, routes, expiresAt, previousExpiresAt };
  }

  /** Gives what a consumer has used on each day of this month (UTC), as this instance has counted it. */
  private usageOf(consumer: string, now: number): readonly UsageRow[] {
    const { usage, clock } = this.deps;
    const date = new Date(now);
    const month = Date.UTC(date.getUTCFullYear(), date.getUTCMonth());
    const begun = clock.now();
    const known = this.kept.get(consumer);
    if (known !== undefined && begun < known.until && known.month === month) return known.days;
    const days = usage.sums({ consumer, from: month, to: now + 1, by: [], per: "day", limit: 31, offset: 0 });
    const ended = clock.now();
    this.kept.set(consumer, { days, month, until: ended + Math.max(KEPT_FOR, KEPT_FOR_TIMES * (ended - begun)) });
    return days;
  }
}

/** The parts of subjects that are known of a caller, and on a route. */
const TOLD = ["consumer", "key", "ip", "global"];
const TOLD_ON_ROUTE = [...TOLD, "route"];

/** Tells whether a caller may use a route that has limits of its own: others are nobody's business. */
const isOpenTo = (route: Route, caller: Caller, ip: string): boolean =>
  route.policies.length > 0 &&
  route.auth !== "none" &&
  (route.ips === null || route.ips.keptOutBy(ip) === null) &&
  mayUse(caller, route, ip) === null;

const nothing = (): null => null;
