import { type Caller, countedId } from "../exchange/caller.ts";
import type { Arrival, Exchange } from "../exchange/exchange.ts";
import { claimOf } from "../exchange/headers.ts";
import type { Gate } from "../exchange/line.ts";
import { isModelRoute, type Route } from "../exchange/route.ts";
import { UNKNOWN_ADDRESS } from "../http/client-ip.ts";
import { limited, modelUnpriced, type Problem, passing } from "../http/problem.ts";
import type { KeyRegistry } from "../keys/registry.ts";
import type { Clock } from "../values/clock.ts";
import { chargesInMoney } from "./growth.ts";
import { denying, isOnlyDegraded, isQuota, limitHeaders, retryAfterSeconds, violatedPolicies } from "./headers.ts";
import { LimiterUnavailable, type LimitReading, type LimitService, type Verdict } from "./limiter.ts";
import { amountText, hasMoney, isInMoney, isTooDear, moneyOf, spentText, tooDear } from "./money.ts";
import { chargeOf, type Policy, scopeText } from "./policy.ts";
import { countsByAddress, type Requester, subjectOf } from "./subject.ts";

/** Sees how far quotas are used. It is asked for each request: it costs next to nothing while nobody wants to know. */
export interface QuotaSight {
  readonly isOn: boolean;
  /** Sees where a request stands under its limits, which have let it through and charged it, or denied it. */
  saw(verdict: Verdict): void;
  /** Sees that a request has taken more from its limits in money, in whole nano-dollars. */
  grew(verdict: Verdict, money: number): void;
  /**
   * Sees what a request has taken in the end, as its response said, in the place of each charge: so many units, and so many nano-dollars.
   * `null`: nobody has said, and the charge stays.
   */
  settled(verdict: Verdict, units: number | null, money: number | null): void;
}

export interface LimitsGateDeps {
  readonly limiter: LimitService;
  readonly keys: KeyRegistry;
  readonly clock: Clock;
  /** Gives what limits do while Redis is away; `null` while it is there, or there is none. */
  readonly away: () => "local" | "allow" | "deny" | null;
  /** Learns that limits denied a request, or would have in earnest. */
  readonly onDenied: (exchange: Exchange<Arrival>, readings: readonly LimitReading[]) => void;
  /** Learns of a request that limits have looked at of which some are in shadow. */
  readonly onShadow: (exchange: Exchange<Arrival>, readings: readonly LimitReading[]) => void;
  readonly quotas: QuotaSight;
}

/**
 * Does something with the limits of a request: it counts for `subjects`, which run beside `policies`, and takes `cost` from each, or `money` from those
 * in money.
 */
type Act = (
  exchange: Exchange<Arrival>,
  policies: readonly Policy[],
  subjects: readonly string[],
  cost: number,
  money: number,
) => Problem | null | Promise<Problem | null>;

/**
 * Checks all limits of a request at once, the caller's and the route's: one that denies charges none. When the exchange ends, what it held
 * is free again, and usage that the response reports is settled.
 */
export class LimitsGate {
  constructor(private readonly deps: LimitsGateDeps) {}

  /** Makes the gate of a route. */
  gateFor(route: Route): Gate {
    return (exchange) => this.onLimitsOf(exchange, route, exchange.asker === null ? this.take : this.ask);
  }

  /**
   * Makes the two gates of a route whose requests have others to pass before they are charged: `look` refuses what would be refused, and
   * charges nothing; `take` charges.
   */
  gatesAround(route: Route): { readonly look: Gate; readonly take: Gate } {
    return {
      look: (exchange) => this.onLimitsOf(exchange, route, exchange.asker === null ? this.look : this.ask),
      // Whoever only asks was told everything by `look`.
      take: (exchange) => (exchange.asker === null ? this.onLimitsOf(exchange, route, this.take) : null),
    };
  }

  private onLimitsOf(exchange: Exchange<Arrival>, route: Route, act: Act): Problem | null | Promise<Problem | null> {
    const own = this.deps.keys.policiesFor(exchange.caller);
    const all = besides(own, route.policies);
    const ofTool = exchange.tool === null ? withoutTools(all) : all;
    const known = exchange.ip === UNKNOWN_ADDRESS ? withoutAddress(ofTool, exchange.caller) : ofTool;
    const { spending } = exchange;
    const money = spending?.reserve ?? null;
    let policies = known;
    if (money === null && hasMoney(known)) {
      const unpriced = spending === null || !known.some(isInMoneyInEarnest) ? null : modelUnpriced(spending.model);
      if (unpriced !== null) return this.unpriced(exchange, unpriced);
      // Whoever asks about calls of a model is told where they stand, though nothing names one.
      if (spending !== null || exchange.asker === null || !isModelRoute(route)) policies = known.filter((policy) => !isInMoney(policy));
    }
    if (policies.length > 0) return act(exchange, policies, subjectsOf(policies, exchange, route), exchange.cost ?? route.cost, money ?? 0);
    exchange.asker?.tell("limits", "no limit holds", true);
    return null;
  }

  /** Refuses the call of a model that has no price. It costs nothing. */
  private unpriced(exchange: Exchange<Arrival>, refusal: Problem): Problem {
    exchange.asker?.tell("limits", String(refusal.members.detail), false);
    return refusal;
  }

  private readonly take: Act = (exchange, policies, subjects, cost, money) => {
    const { limiter, clock } = this.deps;
    exchange.trace?.enter("limits", clock.now());
    const verdict = limiter.admit(policies, subjects, cost, money);
    return verdict instanceof Promise ? verdict.then((decided) => this.decide(exchange, decided)) : this.decide(exchange, verdict);
  };

  private readonly look: Act = (exchange, policies, subjects, cost, money) => {
    const { limiter, clock, away } = this.deps;
    switch (away()) {
      case "deny":
        throw new LimiterUnavailable("limits can't be checked");
      case "allow":
        return null;
    }
    exchange.trace?.enter("limits", clock.now());
    const readings = limiter.inspect(policies, subjects, cost, money);
    return readings instanceof Promise ? readings.then((seen) => this.looked(exchange, seen)) : this.looked(exchange, readings);
  };

  private looked(exchange: Exchange<Arrival>, readings: readonly LimitReading[]): Problem | null {
    const isDeniedInEarnest = readings.some(({ denied, policy }) => denied && !policy.shadow);
    if (isDeniedInEarnest && this.deps.away() !== "allow") return this.decide(exchange, { allowed: false, readings });
    // What passes is written down when it is charged.
    exchange.trace?.leave(this.deps.clock.now());
    return null;
  }

  private decide(exchange: Exchange<Arrival>, verdict: Verdict): Problem | null {
    const { limiter, clock, quotas } = this.deps;
    // The caller left meanwhile, or its body was refused: the exchange is recorded already.
    if (exchange.isOver) {
      limiter.settle(verdict, null, 0);
      limiter.release(verdict);
      return null;
    }
    const now = clock.wall();
    const { readings } = verdict;
    exchange.limitHead = limitHeaders(readings, now);
    const isSeen = quotas.isOn;
    if (isSeen) quotas.saw(verdict);
    exchange.trace?.leave(clock.now(), { "sluice.limits": namesOf(readings), "sluice.allowed": verdict.allowed });
    if (readings.some(isDenied)) this.deps.onDenied(exchange, readings);
    if (readings.some(isInShadow)) this.deps.onShadow(exchange, readings);
    if (verdict.allowed) {
      // Most limits have nothing to give back or to settle.
      if (verdict.held.length > 0 || verdict.metered.length > 0 || verdict.remote !== undefined) this.follow(exchange, verdict, isSeen);
      return null;
    }
    exchange.notes.isLimited = true;
    return refusalOf(verdict, now, exchange.spending?.reserve ?? 0);
  }

  /**
   * Lets the call of a model take more as it goes on; settles and gives back what a request has taken when it ends. `isSeen`: what it takes
   * was told to `quotas`, which then must see what becomes of it, whether or not somebody still wants to know.
   */
  private follow(exchange: Exchange<Arrival>, verdict: Verdict, isSeen: boolean): void {
    const { limiter, quotas } = this.deps;
    const { spending } = exchange;
    if (spending !== null && chargesInMoney(verdict).length > 0) spending.grow = (more) => this.grow(exchange, verdict, more, isSeen);
    exchange.onEnded(() => {
      const { units } = exchange;
      const money = spending?.cost() ?? null;
      try {
        // Before: what is settled is no longer in the verdict.
        if (isSeen) quotas.settled(verdict, units, money);
        if (units !== null || money !== null) limiter.settle(verdict, units, money);
      } finally {
        // What is not released stays held for as long as this process lives.
        limiter.release(verdict);
      }
    });
  }

  /** Takes more from the limits in money. Gives whether all of them had it: not where they can't be checked. */
  private grow(exchange: Exchange<Arrival>, verdict: Verdict, more: number, isSeen: boolean): boolean | Promise<boolean> {
    const { limiter, quotas } = this.deps;
    if (exchange.isOver) return false;
    const note = (isGrown: boolean): boolean => {
      if (isGrown && isSeen) quotas.grew(verdict, more);
      return isGrown;
    };
    try {
      const grown = limiter.grow(verdict, more);
      return grown instanceof Promise ? grown.then(note).catch(cantBeChecked) : note(grown);
    } catch (error) {
      return cantBeChecked(error);
    }
  }

  /** Tells where the caller stands under each limit, without charging anything. */
  private readonly ask: Act = async (exchange, policies, subjects, cost, money) => {
    const { limiter, clock } = this.deps;
    const away = this.deps.away();
    if (away === "deny") {
      exchange.asker?.tell("limits", AWAY, false);
      return passing("limiterUnavailable", AWAY, 1);
    }
    const readings = (await limiter.inspect(policies, subjects)).map((reading): LimitReading => {
      const { policy } = reading;
      // What the call of a model costs is not known where nothing names one: something.
      const taken = isInMoney(policy) && exchange.spending === null ? null : chargeOf(policy, cost, money);
      // One that is overdrawn denies what costs nothing as well.
      const denied = reading.denied || reading.remaining < (taken ?? 1);
      exchange.asker?.tell("limits", describe(reading, taken), !denied || policy.shadow);
      return { ...reading, denied };
    });
    const allowed = away === "allow" || !readings.some(({ denied, policy }) => denied && !policy.shadow);
    return allowed ? null : refusalOf({ allowed: false, readings }, clock.wall());
  };
}

const AWAY = "Redis is away, and redis.onFailure is deny.";

/** Says where a request stands under a limit. `cost`: what it takes; `null`: that depends on its model. */
function describe({ policy, remaining, limit }: LimitReading, cost: number | null): string {
  const takes = cost === null ? "what a request takes depends on its model" : `a request takes ${amountText(policy, cost)}`;
  const left = `${amountText(policy, remaining)} of ${amountText(policy, limit)} left`;
  return `${policy.name} (${scopeText(policy)})${policy.shadow ? ", in shadow" : ""}: ${left}, ${takes}`;
}

/** Gives the limits of a request: the caller's own, and a route's besides. */
export const besides = (own: readonly Policy[], ofRoute: readonly Policy[]): readonly Policy[] =>
  ofRoute.length === 0 ? own : own.length === 0 ? ofRoute : [...own, ...ofRoute];

/**
 * Makes the 429 of a request that limits or quotas deny; the 413 where one in money could never hold what it may cost, `money` in whole
 * nano-dollars. `now` in milliseconds since 1970.
 */
export function refusalOf(verdict: Verdict, now: number, money = 0): Problem {
  const denied = denying(verdict);
  const violated = violatedPolicies(denied, now, money);
  const tooSmall = denied.find((reading) => isTooDear(reading, money));
  if (tooSmall !== undefined) return tooDear(tooSmall, money, violated);
  const retryAfter = retryAfterSeconds(denied);
  if (!isQuota(denied)) {
    const detail = `Too many requests: wait ${retryAfter} seconds, then try again.`;
    return limited("rateLimited", detail, retryAfter, isOnlyDegraded(denied), violated);
  }
  const inMoney = moneyOf(denied);
  const detail =
    inMoney === undefined ? `Your quota is used up: a new period begins in ${retryAfter} seconds.` : spentText(inMoney, money, retryAfter);
  return limited("quotaExceeded", detail, retryAfter, isOnlyDegraded(denied), violated);
}

/** Tells limits who makes a request. Most ask for nothing but the consumer's id or the address. */
class OfExchange implements Requester {
  constructor(
    private readonly exchange: Exchange<Arrival>,
    private readonly taken: Route,
  ) {}

  get consumerId(): string | null {
    const { caller } = this.exchange;
    return caller.via === "none" ? null : caller.consumer.id;
  }

  get keyId(): string | null {
    const { caller } = this.exchange;
    return caller.via === "none" ? null : countedId(caller);
  }

  get ip(): string {
    return this.exchange.ip;
  }

  get route(): string {
    return this.taken.name;
  }

  get model(): string {
    return this.exchange.model ?? "";
  }

  get tool(): string {
    return this.exchange.tool ?? "";
  }

  header(name: string): string | null {
    const lower = name.toLowerCase();
    const { exchange, taken } = this;
    // What a service or an issuer says of the caller is not the caller's to say.
    if (taken.authorize?.sets.has(lower) === true) return exchange.granted?.joined(lower) ?? null;
    return taken.claimFields.has(lower) ? claimOf(exchange.caller, lower) : exchange.incoming.head.fields.joined(lower);
  }

  tag(name: string): string | null {
    return this.exchange.tags?.[name] ?? null;
  }
}

function subjectsOf(policies: readonly Policy[], exchange: Exchange<Arrival>, route: Route): string[] {
  const requester = new OfExchange(exchange, route);
  const subjects: string[] = [];
  for (let i = 0; i < policies.length; i++) subjects.push(subjectOf(policies[i] as Policy, requester));
  return subjects;
}

/** Gives the limits that hold for a request whose address is not known. */
function withoutAddress(policies: readonly Policy[], { via }: Caller): readonly Policy[] {
  return policies.filter((policy) => !countsByAddress(policy, via !== "none"));
}

/** Gives the limits that hold for a request that calls no tool: those by tool count calls alone. */
function withoutTools(policies: readonly Policy[]): readonly Policy[] {
  for (let i = 0; i < policies.length; i++)
    if ((policies[i] as Policy).by.includes("tool")) return policies.filter(({ by }) => !by.includes("tool"));
  return policies;
}

const isInMoneyInEarnest = (policy: Policy): boolean => isInMoney(policy) && !policy.shadow;

/** Takes it that nothing may be taken, where an error says that limits can't be checked. Throws other errors. */
function cantBeChecked(error: unknown): false {
  if (error instanceof LimiterUnavailable) return false;
  throw error;
}

const namesOf = (readings: readonly LimitReading[]): string => readings.map(({ policy }) => policy.name).join(",");
const isDenied = ({ denied }: LimitReading): boolean => denied;
const isInShadow = ({ policy }: LimitReading): boolean => policy.shadow;
