import type { Answer } from "../exchange/answer.ts";
import type { Caller } from "../exchange/caller.ts";
import type { Arrival, Exchange } from "../exchange/exchange.ts";
import type { Gate, Stop } from "../exchange/line.ts";
import type { Route } from "../exchange/route.ts";
import type { Guard } from "../guard/guard.ts";
import { ipBlocked, type Problem, type ProblemCode, passing, problem, standing } from "../http/problem.ts";
import type { Clock } from "../values/clock.ts";
import type { Finder, Refused } from "./finder.ts";
import type { IdentitySettings } from "./settings.ts";

/** Holds the fields of a route that decide who may use it. */
export interface Entrance extends Pick<Route, "auth" | "issuers" | "tiers" | "scopes"> {
  /** The name that a key may be bound to; `null`: the routes that a key is bound to do not matter here. */
  readonly name: string | null;
}

/** The entrance of what every caller with a good credential may use, wherever else it may be used. */
export const FOR_KNOWN_CALLERS: Entrance = { auth: "required", name: null, issuers: [], tiers: [], scopes: [] };

export interface IdentityDeps {
  /** In order: the first that finds something decides. */
  readonly finders: readonly Finder[];
  readonly guard: Guard;
  readonly clock: Clock;
}

/** Says who calls where no credential does; `null` where it can't say either. It may answer the request by itself. */
export type Otherwise = (exchange: Exchange<Arrival>) => Caller | Answer | null | Promise<Caller | Answer | null>;

/** Identifies callers, and decides whether they may come in. */
export class Identity {
  constructor(private readonly deps: IdentityDeps) {}

  /** Gives the lower-case names of the fields that are never forwarded: they carry what shows who calls. */
  fields(settings: IdentitySettings): readonly string[] {
    return this.deps.finders.flatMap((finder) => finder.fields(settings));
  }

  /**
   * Makes a route's gate, which refuses callers who may not use the route. It comes after the guard's. `otherwise` is asked about requests
   * without a credential; `null`: nobody is.
   */
  gateFor(entrance: Entrance, otherwise: Otherwise | null = null): Gate {
    return (exchange) => {
      exchange.trace?.enter("identify", this.deps.clock.now());
      const stop = this.identify(exchange, entrance, otherwise);
      return stop instanceof Promise ? stop.then((decided) => this.leave(exchange, decided)) : this.leave(exchange, stop);
    };
  }

  private leave({ trace }: Exchange<Arrival>, stop: Stop | null): Stop | null {
    trace?.leave(this.deps.clock.now(), stop !== null && "code" in stop ? { "sluice.code": stop.code } : {});
    return stop;
  }

  /**
   * Takes credentials out of the request and looks up who calls. Gives the refusal of a caller who may not come in. `Guard.lets` says what
   * passes while the address is blocked.
   */
  private identify(exchange: Exchange<Arrival>, entrance: Entrance, otherwise: Otherwise | null): Stop | null | Promise<Stop | null> {
    const { finders, guard, clock } = this.deps;
    const { ip, hiddenCaller, blockedFor, asker } = exchange;
    const looks = entrance.auth !== "none";
    let secret: string | null = null;
    let finder: Finder | null = null;
    for (let i = 0; i < finders.length; i++) {
      const each = finders[i] as Finder;
      const shown = each.take(exchange, looks && secret === null);
      if (shown === null || secret !== null || !looks) continue;
      secret = shown;
      finder = each;
    }
    if (blockedFor > 0) {
      const isLet = guard.lets(ip, secret, hiddenCaller);
      asker?.tell(
        "guard",
        isLet
          ? `${ip} is blocked by the guard, which lets ${secret === null ? "callers without a key" : "this key"} pass`
          : `${ip} is blocked`,
        isLet,
      );
      if (!isLet) return ipBlocked(blockedFor);
    }
    if (secret === null || finder === null)
      return otherwise === null || !looks
        ? this.withoutCredential(exchange, entrance)
        : this.identifyOtherwise(exchange, entrance, otherwise);
    const now = clock.wall();
    const found = finder.find(secret, now, asker === null, exchange);
    const by = finder;
    const shown = secret;
    return found instanceof Promise
      ? found.then((known) => this.decide(exchange, entrance, by, shown, known))
      : this.decide(exchange, entrance, by, shown, found);
  }

  /** Decides about a caller whose credential was looked at. */
  private decide(exchange: Exchange<Arrival>, entrance: Entrance, finder: Finder, secret: string, found: Caller | Refused): Problem | null {
    const { asker } = exchange;
    if ("isGuess" in found) return this.refuse(exchange, finder, secret, found);
    if (asker === null) finder.accepted(found, exchange, secret, this.deps.clock.wall());
    return this.enter(exchange, entrance, found, finder.name);
  }

  /** Lets a caller in who may use the route. `by`: what says who it is. */
  private enter(exchange: Exchange<Arrival>, entrance: Entrance, caller: Caller, by: string): Problem | null {
    const { asker, ip } = exchange;
    const { id, tier } = caller.consumer;
    asker?.tell("identify", `${by}${caller.id === id ? "" : ` ${caller.id}`} of consumer ${id}, tier ${tier}`, true);
    exchange.caller = caller;
    const forbidden = mayUse(caller, entrance, ip);
    if (forbidden !== null) asker?.tell("identify", String(forbidden.members.detail), false);
    return forbidden;
  }

  private identifyOtherwise(exchange: Exchange<Arrival>, entrance: Entrance, otherwise: Otherwise): Stop | null | Promise<Stop | null> {
    const decide = (found: Caller | Answer | null): Stop | null => {
      if (found === null) return this.withoutCredential(exchange, entrance);
      return "kind" in found ? found : this.enter(exchange, entrance, found, "a plug-in");
    };
    const found = otherwise(exchange);
    return found instanceof Promise ? found.then(decide) : decide(found);
  }

  private withoutCredential(exchange: Exchange<Arrival>, { auth, issuers }: Entrance): Problem | null {
    const { asker } = exchange;
    if (auth !== "required") {
      asker?.tell(
        "identify",
        auth === "none" ? "the route looks at no key: everybody is anonymous" : "no key is shown: the caller is anonymous",
        true,
      );
      return null;
    }
    asker?.tell("identify", `the route wants a ${issuers.length === 0 ? "key" : "token"}, and none is shown`, false);
    return keyMissing(exchange.snapshot.identity, issuers);
  }

  private refuse(exchange: Exchange<Arrival>, finder: Finder, secret: string, refused: Refused): Problem {
    const { code, detail, why, isGuess, isKnown } = refused;
    const { guard } = this.deps;
    const { ip, hiddenCaller, blockedFor, asker, snapshot } = exchange;
    asker?.tell("identify", blockedFor > 0 ? `${why}, and ${ip} is blocked` : why, false);
    if (blockedFor > 0) {
      // No guess is told from another.
      if (asker === null && hiddenCaller !== null && isGuess) guard.tried(ip, secret, hiddenCaller);
      return ipBlocked(blockedFor);
    }
    if (asker === null) {
      if (isGuess) guard.strike(ip);
      // Whose it is, is worth knowing: nobody asks more often why they were refused.
      if (isKnown) exchange.notes.refusedCaller = finder.holderOf(secret, exchange);
    }
    if (refused.retryAfter !== undefined) return passing(code, detail, refused.retryAfter);
    return refused.challenge === undefined
      ? sameFor(refused, snapshot.identity, () => unauthorized(snapshot.identity, code, detail))
      : unauthorized(snapshot.identity, code, detail, refused.challenge);
  }
}

const BEARER = ["WWW-Authenticate", 'Bearer realm="sluice"'] as const;
/** The challenge (RFC 7617) without which git and similar clients never send the password they know. */
const BASIC = ["WWW-Authenticate", 'Basic realm="sluice", charset="UTF-8"'] as const;

function unauthorized({ basic }: IdentitySettings, code: ProblemCode, detail: string, challenge?: string): Problem {
  const bearer = challenge === undefined ? BEARER : (["WWW-Authenticate", `Bearer ${challenge}`] as const);
  return problem(code, detail, {}, basic ? [bearer, BASIC] : [bearer]);
}

/** The refusals that are the same for everybody, by their reason, with the settings that they were made for: a flood brings many of few. */
const same = new WeakMap<object, { readonly identity: IdentitySettings; readonly refusal: Problem }>();

function sameFor(reason: object, identity: IdentitySettings, make: () => Problem): Problem {
  let known = same.get(reason);
  if (known === undefined || known.identity !== identity) {
    known = { identity, refusal: standing(make()) };
    same.set(reason, known);
  }
  return known.refusal;
}

const MISSING = {};

const NOBODY: readonly string[] = [];

/** Gives the refusal of a caller who shows no key where one is needed, or no token of `issuers` where these alone are taken. */
export const keyMissing = (identity: IdentitySettings, issuers = NOBODY): Problem =>
  issuers.length === 0
    ? sameFor(MISSING, identity, () => unauthorized(identity, "keyMissing", `Send your API key in the ${identity.headerName} header.`))
    : sameFor(issuers, identity, () =>
        unauthorized(identity, "keyMissing", `Send a token in the Authorization header, behind "Bearer": this route takes no keys.`),
      );

/** Tells why a caller may not use a route from an address; `null` when they may. */
export function mayUse(caller: Caller, route: Entrance, ip: string): Problem | null {
  if (route.issuers.length > 0 && (caller.issuer === undefined || !route.issuers.includes(caller.issuer)))
    return problem("forbidden", `This route takes tokens of ${route.issuers.join(", ")} alone.`);
  if (route.tiers.length > 0 && !route.tiers.includes(caller.consumer.tier)) {
    return problem("forbidden", `This route is for ${route.tiers.join(", ")}; your tier is ${caller.consumer.tier}.`);
  }
  const missing = route.scopes.length === 0 ? route.scopes : route.scopes.filter((scope) => !caller.scopes.includes(scope));
  if (missing.length > 0) return insufficientScope(caller, missing, route.scopes);
  if (route.name !== null && caller.routes.length > 0 && !caller.routes.includes(route.name))
    return problem("forbidden", "This API key may not use this route.");
  if (caller.ips !== null && !caller.ips.has(ip)) return problem("forbidden", "This API key may not be used from your address.");
  return null;
}

/** Gives the refusal of a caller who lacks scopes; one with a token is told by a challenge which to ask for (RFC 6750, section 3.1). */
export function insufficientScope({ via }: Caller, missing: readonly string[], wanted: readonly string[]): Problem {
  if (via === "certificate") return problem("forbidden", `Certificates carry no scopes, and this takes ${missing.join(", ")}: send a key.`);
  if (via !== "token") return problem("forbidden", `This API key lacks the scope ${missing.join(", ")}.`);
  const challenge = `Bearer error="insufficient_scope", scope="${wanted.join(" ")}"`;
  return problem("forbidden", `This token lacks the scope ${missing.join(", ")}.`, {}, [["WWW-Authenticate", challenge]]);
}
