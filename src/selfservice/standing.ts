import type { Answer } from "../exchange/answer.ts";
import { type Caller, type Consumer, countedId } from "../exchange/caller.ts";
import type { Exchange } from "../exchange/exchange.ts";
import type { Route } from "../exchange/route.ts";
import { timeText } from "../http/conventions.ts";
import { jsonReply } from "../http/reply.ts";
import { mayUse } from "../identity/gate.ts";
import type { Keys } from "../keys/keys.ts";
import { isOrigin } from "../keys/narrowed.ts";
import type { ConsumerEntry, KeyEntry, KeyRegistry } from "../keys/registry.ts";
import { leftOf } from "../limits/left.ts";
import type { LimitService } from "../limits/limiter.ts";
import { type Policy, scopeText } from "../limits/policy.ts";
import { isToldBy, subjectOf } from "../limits/subject.ts";
import type { Usage, UsageRow } from "../usage/usage.ts";
import type { Clock } from "../values/clock.ts";
import { Halves } from "../values/halves.ts";
import { NANO } from "../values/money.ts";

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

/** The most keys of a consumer whose limits are told to who has come by a link. */
const MAX_KEYS = 50;

/** Holds a limit, and whom it counts; `of`: the key that it is about, where that must be said. */
interface Counted {
  readonly policy: Policy;
  readonly subject: string;
  readonly of?: { readonly key: string };
}

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

  /** Answers a caller. */
  async answer({ caller, ip }: Exchange): Promise<Answer> {
    const told = this.told(caller.consumer, this.keyOf(caller), await this.left(this.limitsOf(caller, ip)));
    return { kind: "reply", reply: jsonReply(200, told, "Cache-Control: no-store\r\n") };
  }

  /** Gives where a consumer stands who has come by an operator's link and shows no key: with what is left to each of the keys. */
  async byLink(consumer: ConsumerEntry): Promise<object> {
    return this.told(consumer, null, await this.left(this.limitsOfAll(consumer)));
  }

  private told({ id, tier }: Consumer, key: object | null, left: { limits: object[]; quotas: object[] }): object {
    const usage = this.usageOf(id, this.deps.clock.wall()).map(({ time, cost, ...counts }) => ({
      time: timeText(time),
      ...counts,
      cost: cost / NANO,
    }));
    return { consumer: id, tier, key, ...left, usage };
  }

  /** Gives what is left of limits and of quotas. */
  private async left(asked: readonly Counted[]): Promise<{ limits: object[]; quotas: object[] }> {
    const { limiter, clock } = this.deps;
    const counted = asked.filter(({ policy }) => !policy.shadow);
    const readings = await limiter.inspect(
      counted.map(({ policy }) => policy),
      counted.map(({ subject }) => subject),
    );
    const now = clock.wall();
    const shown = (isQuota: boolean): object[] =>
      readings.flatMap((reading, i) =>
        (reading.policy.calendar !== null) === isQuota
          ? [{ ...leftOf(reading, now), scope: scopeText(reading.policy), ...(counted[i]?.of ?? {}) }]
          : [],
      );
    return { limits: shown(false), quotas: shown(true) };
  }

  /** Gives the caller's limits and those of the routes that it may use, as far as the caller alone says whom they count. */
  private limitsOf(caller: Caller, ip: string): Counted[] {
    const { registry, routes } = this.deps;
    const of = (policies: readonly Policy[], route: string, told: readonly string[]): Counted[] => {
      const requester = {
        consumerId: caller.consumer.id,
        keyId: countedId(caller),
        ip,
        route,
        header: nothing,
        tag: nothing,
        model: "",
        tool: "",
      };
      return policies.filter((policy) => isToldBy(policy, told)).map((policy) => ({ policy, subject: subjectOf(policy, requester) }));
    };
    return [
      ...of(registry.policiesFor(caller), "", TOLD),
      ...routes().flatMap((route) => (isOpenTo(route, caller, ip) ? of(route.policies, route.name, TOLD_ON_ROUTE) : [])),
    ];
  }

  /** Gives a consumer's limits, those of its keys, and those of the routes that these may use, whatever the address; each once. */
  private limitsOfAll(consumer: ConsumerEntry): Counted[] {
    const { registry, routes, clock } = this.deps;
    const now = clock.wall();
    const keys = registry
      .keysOf(consumer.id)
      .filter((key) => isOrigin(key, now))
      .slice(0, MAX_KEYS);
    const found = new Map<string, Counted>();
    const add = (policies: readonly Policy[], key: KeyEntry | null, route: string, told: readonly string[]): void => {
      const requester = {
        consumerId: consumer.id,
        keyId: key?.id ?? "",
        ip: "",
        route,
        header: nothing,
        tag: nothing,
        model: "",
        tool: "",
      };
      for (const policy of policies) {
        if (!isToldBy(policy, told)) continue;
        const subject = subjectOf(policy, requester);
        const isOfKey = key !== null && (policy.scope.kind === "key" || policy.by.includes("key"));
        found.set(`${policy.id} ${subject}`, { policy, subject, ...(isOfKey ? { of: { key: key.id } } : {}) });
      }
    };
    if (keys.length === 0) add(registry.policiesOfConsumer(consumer), null, "", ["consumer", "global"]);
    for (const key of keys) add(registry.policiesFor(key), key, "", ["consumer", "key", "global"]);
    for (const route of routes())
      for (const key of keys)
        if (isOpenTo(route, { ...key, ips: null }, null)) add(route.policies, key, route.name, ["consumer", "key", "global", "route"]);
    return [...found.values()];
  }

  /** Gives what a caller may know of the key that it shows; `null` where it shows another kind of credential. */
  private keyOf({ via, id }: Caller): object | null {
    if (via !== "key") return null;
    const { name, start, end, scopes, routes, models, expiresAt, previousExpiresAt } = this.deps.keys.get(id).record;
    return { id, name, start, end, scopes, routes, models, expiresAt, previousExpiresAt };
  }

  /** Gives what a consumer has used on each day of this month (UTC), as this instance has counted it. */
  private usageOf(consumer: string, now: number): readonly UsageRow[] {
    const { usage, clock } = this.deps;
    const date = new Date(now);
    const month = Date.UTC(date.getUTCFullYear(), date.getUTCMonth());
    const begun = clock.now();
    const known = this.kept.get(consumer);
    if (known !== undefined && begun < known.until && known.month === month) return known.days;
    const days = usage.sums({ of: { consumer }, from: month, to: now + 1, by: [], per: "day", limit: 31, offset: 0 });
    const ended = clock.now();
    this.kept.set(consumer, { days, month, until: ended + Math.max(KEPT_FOR, KEPT_FOR_TIMES * (ended - begun)) });
    return days;
  }
}

/** The parts of subjects that are known of a caller, and on a route. */
const TOLD = ["consumer", "key", "ip", "global"];
const TOLD_ON_ROUTE = [...TOLD, "route"];

/** Tells whether a caller may use a route that has limits of its own, from an address or from any: others are nobody's business. */
const isOpenTo = (route: Route, caller: Caller, ip: string | null): boolean =>
  route.policies.length > 0 &&
  route.auth !== "none" &&
  (ip === null || route.ips === null || route.ips.keptOutBy(ip) === null) &&
  mayUse(caller, route, ip ?? "") === null;

const nothing = (): null => null;
