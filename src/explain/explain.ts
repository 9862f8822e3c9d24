import { ANONYMOUS, type Caller, type Consumer, countedId } from "../exchange/caller.ts";
import { claimOf } from "../exchange/headers.ts";
import { isModelRoute, type Route } from "../exchange/route.ts";
import type { Guard } from "../guard/guard.ts";
import { NOT_FROM_THERE } from "../guard/ips-gate.ts";
import { modelUnpriced, type Problem } from "../http/problem.ts";
import type { CertificateCaller } from "../identity/client-certificates.ts";
import type { TokenCaller } from "../issuers/caller.ts";
import type { KeyEntry, KeyRegistry } from "../keys/registry.ts";
import type { LimitReading, LimitService } from "../limits/limiter.ts";
import { isInMoney } from "../limits/money.ts";
import { chargeOf, type Policy, scopeText } from "../limits/policy.ts";
import { ipSubject, subjectOf } from "../limits/subject.ts";
import { toolRefusal } from "../mcp/gate.ts";
import { nameRefusal } from "../models/bounds.ts";
import { candidatesOn, type VirtualModel } from "../models/virtual-model.ts";
import type { Clock } from "../values/clock.ts";
import type { Denial } from "./denials.ts";

export interface ExplainDeps {
  readonly clock: Clock;
  readonly guard: Guard;
  readonly registry: KeyRegistry;
  readonly limiter: LimitService;
  /** Gives the refusals of callers that are remembered, by their ids and addresses. */
  readonly denials: (callers: readonly string[]) => Promise<readonly Denial[]>;
  /** Tells why a key may not be used on a route from an address; `null` when it may. */
  readonly mayUse: (caller: Caller, route: Route, ip: string) => Problem | null;
  /** Tells what limits do now that Redis is away; `null` while it is there, or there is none. */
  readonly away: () => "local" | "allow" | "deny" | null;
  /** Tells whether a key has the form of those that Sluice makes. */
  readonly isOfMadeForm: (key: KeyEntry) => boolean;
  /** Tells whether a model has a price, or counts as free without one. */
  readonly isPriced: (model: string) => boolean;
  /** Tells whether a key of a pool is ready and has anything left. */
  readonly poolHolds: (pool: string) => boolean;
}

/** Describes who asks for what. What is not known is `null`. */
export interface Situation {
  readonly consumer: Consumer | null;
  /** The caller who shows a token, or has shown one lately, or may show a certificate. */
  readonly caller: TokenCaller | CertificateCaller | null;
  /** The key that is asked about, or the only one there is. */
  readonly key: KeyEntry | null;
  /** All of the consumer's keys in use. */
  readonly keys: readonly KeyEntry[];
  readonly route: Route | null;
  readonly ip: string | null;
  /** The model that the request names, and the tool that it calls. */
  readonly model: string | null;
  readonly tool: string | null;
  /** Gives a field of the request; `null` when it is not known. */
  readonly header: (name: string) => string | null;
}

/** Says why a request would be refused. */
export interface Refusal {
  readonly code: string;
  readonly detail: string;
}

/** Describes one limit that applies, and where the caller stands under it. */
export interface Applied {
  readonly policy: Policy;
  /** The reason why this limit applies, for people. */
  readonly why: string;
  /** The number that must be left for a request to pass; 0 of money, since that depends on the model and the request. */
  readonly cost: number;
  /** The subject that it is counted for, or the reason why that can't be said. */
  readonly subject: string | { readonly unknown: string };
  readonly reading: LimitReading | null;
}

export interface Explanation {
  /** True when the caller counts as one without a key. */
  readonly isAnonymous: boolean;
  /** The reason why a request would be refused before any limit is looked at; `null` when it would not. */
  readonly refusal: Refusal | null;
  /** The reason why it would be refused after all limits have let it through; `null` when it would not. */
  readonly backendRefusal: Refusal | null;
  /** Facts that would have to be known to say more, in words for people. */
  readonly unknown: readonly string[];
  /** The choice that limits make now that Redis is away; `null` while it is there, or there is none. */
  readonly away: "local" | "allow" | "deny" | null;
  readonly limits: readonly Applied[];
  /** Limits that do not apply because others come before them. */
  readonly passedOver: readonly { readonly scope: string; readonly names: readonly string[]; readonly why: string }[];
  readonly denials: readonly Denial[];
}

/**
 * Answers what operators ask most: which limits hold for this caller, and why was the last request refused. Changes nothing and charges
 * nothing.
 */
export class Explain {
  constructor(private readonly deps: ExplainDeps) {}

  async explain(situation: Situation): Promise<Explanation> {
    const { registry, limiter, denials } = this.deps;
    const { consumer, route, ip } = situation;
    // A route without keys does not look at one.
    const isAnonymous = consumer === null || route?.auth === "none";
    const key = isAnonymous ? null : situation.key;
    const shown = key ?? situation.caller;
    const own = isAnonymous
      ? registry.anonymousPolicies()
      : shown !== null
        ? registry.policiesFor(shown)
        : registry.policiesOfConsumer(consumer);
    const policies = [...own, ...(route?.policies ?? [])].filter((policy) => holdsOn(route, policy));
    const known = { ...situation, consumer: isAnonymous ? null : consumer, key, caller: isAnonymous ? null : situation.caller };
    const subjects = policies.map((policy) => subjectFor(policy, known));
    const countable = policies.flatMap((policy, i) => (typeof subjects[i] === "string" ? [[policy, subjects[i]] as const] : []));
    const readings = await limiter.inspect(
      countable.map(([policy]) => policy),
      countable.map(([, subject]) => subject),
    );
    const costOfTool = route === null || route.mcp === null || situation.tool === null ? null : route.mcp.costOf(situation.tool);
    const limits = policies.map((policy, i): Applied => {
      const at = countable.findIndex(([each]) => each === policy);
      return {
        policy,
        why: whyOf(policy, isAnonymous, route),
        cost: chargeOf(policy, costOfTool ?? route?.cost ?? 1, 0),
        subject: subjects[i] ?? "",
        reading: at < 0 ? null : (readings[at] ?? null),
      };
    });
    const remembered = await denials([...(consumer === null ? [] : [consumer.id]), ...(ip === null ? [] : [ipSubject(ip)])]);
    const unknown: string[] = [];
    const away = this.deps.away();
    const refusal =
      this.refusalOf(situation, isAnonymous, unknown) ??
      modelRefusalOf(situation) ??
      this.priceRefusal(situation, policies) ??
      callRefusal(situation, isAnonymous, unknown);
    const backendRefusal = this.backendRefusal(route, unknown, situation.model);
    if (!isAnonymous && route?.cache && !route.cache.isShared && !route.cache.isPerConsumer)
      unknown.push(
        "whether answers are kept: for callers with a key only those that say public, s-maxage or must-revalidate, unless the route's cache has perConsumer or shared",
      );
    if (route !== null && route.authorize !== null)
      unknown.push(`what ${route.authorize.shownUrl} says, which is asked whether the request may pass`);
    return {
      isAnonymous,
      refusal:
        refusal === null && away === "deny" && policies.length > 0
          ? { code: "limiterUnavailable", detail: "Redis is away, and redis.onFailure is deny." }
          : refusal,
      backendRefusal,
      unknown,
      away,
      limits,
      passedOver: isAnonymous ? [] : passedOver(own, consumer, key, registry),
      denials: [...remembered].sort((a, b) => b.at - a.at),
    };
  }

  /**
   * Tells why a request would be refused before any limit, in the order in which requests are looked at: the address, by the route and by
   * the guard, then the key. Adds to `unknown` what would have to be known.
   */
  private refusalOf(situation: Situation, isAnonymous: boolean, unknown: string[]): Refusal | null {
    const { guard, clock } = this.deps;
    const { route, ip } = situation;
    if (route !== null && route.ips !== null) {
      if (ip === null) unknown.push("the address: the route takes requests from some alone");
      else if (route.ips.keptOutBy(ip) !== null) return refusalOf(NOT_FROM_THERE);
    }
    const blockedFor = ip === null ? 0 : guard.blockedFor(ip);
    if (blockedFor > 0 && ip !== null && !this.isLetOn(situation, ip, isAnonymous, unknown)) {
      const detail = Number.isFinite(blockedFor)
        ? `The address is blocked until ${new Date(clock.wall() + blockedFor).toISOString()}.`
        : "The address is blocked until further notice.";
      const isByGuard = !isAnonymous && !guard.refusesAll(ip);
      const but = " Keys that Sluice made pass all the same, and those that were accepted from it in the 24 hours before.";
      return { code: "ipBlocked", detail: isByGuard ? detail + but : detail };
    }
    if (isAnonymous && route?.auth === "required") return { code: "keyMissing", detail: "The route takes only callers with a key." };
    if (isAnonymous) return null;
    return situation.caller === null ? this.keysRefusal(situation, unknown) : this.callersRefusal(situation.caller, route, ip);
  }

  /** Tells why a caller with a token, or a certificate, may not use a route; `null` when they may. A token was judged before. */
  private callersRefusal(caller: TokenCaller | CertificateCaller, route: Route | null, ip: string | null): Refusal | null {
    if (this.deps.clock.wall() >= caller.expiresAt) return { code: "tokenExpired", detail: "The token has expired." };
    const refusal = route === null ? null : this.deps.mayUse(caller, route, ip ?? "");
    return refusal === null ? null : refusalOf(refusal);
  }

  /** Tells whether the block of an address lets one of the keys in question on. */
  private isLetOn({ key, keys }: Situation, ip: string, isAnonymous: boolean, unknown: string[]): boolean {
    if (isAnonymous) return false;
    const asked = key === null ? keys : [key];
    const held = asked.filter((each) => !this.deps.guard.letsKnown(ip, this.deps.isOfMadeForm(each), each.hash));
    if (held.length === asked.length) return false;
    if (held.length > 0) unknown.push(`which key is used: the address is blocked for ${held.map(({ id }) => id).join(", ")}`);
    return true;
  }

  /** Tells that a model has no price where limits count money; `null` where it has one, or none is asked about. */
  private priceRefusal({ route, model }: Situation, policies: readonly Policy[]): Refusal | null {
    if (route === null || model === null || !policies.some((policy) => isInMoney(policy) && !policy.shadow)) return null;
    const unpriced = candidatesOn(route, model).find((each) => !this.deps.isPriced(each));
    return unpriced === undefined ? null : refusalOf(modelUnpriced(unpriced));
  }

  /**
   * Tells why a request would be refused after all limits have let it through. Adds to `unknown` what would have to be known. `model`: the one
   * that it names; `null`: none.
   */
  backendRefusal(route: Route | null, unknown: string[], model: string | null = null): Refusal | null {
    if (route === null || route.own !== null || route.respond !== null) return null;
    const virtual = route.virtualModels.get(model ?? "");
    const refusal = virtual === undefined ? this.targetRefusal(route) : this.attemptsRefusal(virtual);
    if (refusal === null || route.cache === null) return refusal;
    unknown.push(`whether the answer is kept: ${refusal.detail}`);
    return null;
  }

  private attemptsRefusal({ name, attempts }: VirtualModel): Refusal | null {
    const canBeAsked = attempts.some(({ upstream, pool }) => upstream?.hasTarget === true && (pool === null || this.deps.poolHolds(pool)));
    return canBeAsked ? null : { code: "noModelAnswered", detail: `None of those who may answer for ${name} can be asked at the moment.` };
  }

  private targetRefusal({ upstream, credential }: Route): Refusal | null {
    if (credential !== null && !this.deps.poolHolds(credential.pool))
      return { code: "poolExhausted", detail: `No key of the pool ${credential.pool} is ready and has anything left.` };
    if (upstream === null) return { code: "noHealthyTarget", detail: "The route's upstream is gone." };
    if (upstream.hasTarget) return null;
    return { code: upstream.whyNot().code, detail: `No target of the upstream ${upstream.name} can be asked at the moment.` };
  }

  /** Tells why none of the keys in question would be taken; `null` when one would be, or may be. */
  private keysRefusal({ consumer, key, keys, route, ip }: Situation, unknown: string[]): Refusal | null {
    if (consumer !== null && "enabled" in consumer && consumer.enabled === false)
      return { code: "keyRevoked", detail: "The consumer is disabled." };
    const asked = key === null ? keys : [key];
    if (asked.length === 0) return { code: "keyMissing", detail: "The consumer has no key." };
    const refusals = asked.map((each) => this.keyRefusal(each, route, ip, unknown));
    const [first = null] = refusals;
    if (refusals.every((each) => each !== null)) return first;
    const refused = asked.filter((_, i) => refusals[i] !== null);
    if (refused.length > 0) unknown.push(`which key is used: ${refused.map(({ id }) => id).join(", ")} would be refused`);
    return null;
  }

  private keyRefusal(key: KeyEntry, route: Route | null, ip: string | null, unknown: string[]): Refusal | null {
    if (key.off !== null) return { code: "keyRevoked", detail: "The key is revoked or disabled." };
    if (this.deps.clock.wall() >= key.expiresAt) return { code: "keyExpired", detail: "The key has expired." };
    if (route === null) return null;
    // An address that the key is surely good from, where none is known.
    const anyIp = ip === null && key.ips !== null;
    if (anyIp) unknown.push(`the address: the key ${key.id} is bound to some`);
    const refusal = this.deps.mayUse(anyIp ? { ...key, ips: null } : key, route, ip ?? "");
    return refusal === null ? null : refusalOf(refusal);
  }
}

/** Tells whether a limit holds on a route, or may on some: what is no call of a model costs no money, and tools are called by MCP alone. */
const holdsOn = (route: Route | null, policy: Policy): boolean =>
  route === null || ((!isInMoney(policy) || isModelRoute(route)) && (!policy.by.includes("tool") || route.mcp !== null));

/** Tells why a model may not be called, as far as the route, the key and its consumer are known; `null` when it may. */
function modelRefusalOf({ route, model, key, caller, consumer }: Situation): Refusal | null {
  if (route === null || model === null || !isModelRoute(route)) return null;
  const refusal = nameRefusal(key ?? caller ?? { ...ANONYMOUS, consumer: consumer ?? ANONYMOUS.consumer }, route, model);
  return refusal === null ? null : refusalOf(refusal);
}

const refusalOf = ({ code, members }: Problem): Refusal => ({ code, detail: String(members.detail) });

/** Tells why a call of the tool that is asked about would be refused; `null` where it would not, and where none is asked about. */
function callRefusal({ route, tool, key, caller, consumer }: Situation, isAnonymous: boolean, unknown: string[]): Refusal | null {
  if (route === null || route.mcp === null) return null;
  if (tool === null) {
    if (route.mcp.isRestricted) unknown.push("the tool that is called: the route lets callers call some");
    return null;
  }
  const known = isAnonymous ? ANONYMOUS : (key ?? caller);
  if (known === null && route.mcp.lets(tool) && route.mcp.scopesFor(tool).length > 0) {
    unknown.push(`the key of ${consumer?.id}: the tool needs scopes`);
    return null;
  }
  const refusal = toolRefusal(route.mcp, known ?? ANONYMOUS, tool);
  return refusal === null ? null : refusalOf(refusal);
}

/** Gives the subject that a limit is counted for, or what would have to be known to say it. */
function subjectFor(
  policy: Policy,
  { consumer, key: known, caller, route, ip, model, tool, header }: Situation,
): string | { unknown: string } {
  const by = policy.by.length > 0 ? policy.by : ["consumer"];
  const key = known ?? caller;
  const fieldOf = (name: string): string | null => {
    const lower = name.toLowerCase();
    // What an issuer says there is known, and what is sent there counts for nothing.
    return route?.claimFields.has(lower) === true ? ((caller === null ? null : claimOf(caller, lower)) ?? "") : header(name);
  };
  for (const each of by) {
    if (each.startsWith("header:") && fieldOf(each.slice(7)) === null)
      return { unknown: `it is counted by the field ${each.slice(7)}: give its value` };
    if (each.startsWith("tag:")) return { unknown: `it is counted by ${each}, which a plug-in says for each request` };
    // On routes that call no models the name of none is counted.
    if ((each === "model" && model === null && (route === null || isModelRoute(route))) || (each === "tool" && tool === null))
      return { unknown: `it is counted by ${each}: name one` };
    if (each === "route" && route === null) return { unknown: "it is counted by route: name one" };
    if (each === "key" && consumer !== null && key === null) return { unknown: "it is counted by key: name one" };
    const isByIp = each === "ip" || ((each === "consumer" || each === "key") && consumer === null);
    if (isByIp && ip === null) return { unknown: "it is counted by address: name one" };
  }
  return subjectOf(policy, {
    consumerId: consumer?.id ?? null,
    keyId: key === null ? null : countedId(key),
    ip: ip ?? "",
    route: route?.name ?? "",
    model: model ?? "",
    tool: tool ?? "",
    header: fieldOf,
    tag: () => null,
  });
}

function whyOf({ scope, calendar }: Policy, isAnonymous: boolean, route: Route | null): string {
  const what = calendar === null ? "limits" : "quotas";
  switch (scope.kind) {
    case "route":
      return "the route's own, which come besides the caller's";
    case "key":
      return `the key has ${what} of its own, which come first`;
    case "consumer":
      return `the consumer has ${what} of its own, and the key has none`;
    case "tier":
      if (!isAnonymous) return `the tier's: neither the key nor the consumer has ${what} of its own`;
      return route?.auth === "none"
        ? "the route takes no keys: everybody counts as a caller without one"
        : "callers without a key have this tier";
  }
}

/** Gives the limits that those in force stand in place of. */
function passedOver(
  own: readonly Policy[],
  consumer: Consumer | null,
  key: KeyEntry | null,
  registry: KeyRegistry,
): Explanation["passedOver"] {
  if (consumer === null) return [];
  const owners = [
    ...(key === null ? [] : registry.policiesFor(key)),
    ...registry.policiesOfConsumer(consumer),
    ...registry.policiesOfTier(consumer.tier),
  ];
  const found = new Map<string, { scope: string; names: string[]; why: string }>();
  const seen = new Set(own.map(({ id }) => id));
  for (const policy of owners) {
    if (seen.has(policy.id)) continue;
    seen.add(policy.id);
    const isQuota = policy.calendar !== null;
    const first = own.find(({ calendar }) => (calendar !== null) === isQuota)?.scope.kind ?? "key";
    const scope = scopeText(policy);
    const entry = found.get(`${scope} ${isQuota}`) ?? {
      scope,
      names: [],
      why: `the ${first} has ${isQuota ? "quotas" : "limits"} of its own`,
    };
    entry.names.push(policy.name);
    found.set(`${scope} ${isQuota}`, entry);
  }
  return [...found.values()];
}
