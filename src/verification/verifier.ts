import { type Static, Type } from "@sinclair/typebox";
import type { Answer } from "../exchange/answer.ts";
import { countedId } from "../exchange/caller.ts";
import type { Exchange } from "../exchange/exchange.ts";
import { VERIFICATION_NAME } from "../exchange/own-paths.ts";
import type { Route } from "../exchange/route.ts";
import { NOT_FROM_THERE } from "../guard/ips-gate.ts";
import { readJson } from "../http/json-body.ts";
import { KEYS_UNAVAILABLE, type Problem } from "../http/problem.ts";
import { invalid, Refused } from "../http/refused.ts";
import { jsonReply } from "../http/reply.ts";
import { FOR_KNOWN_CALLERS, mayUse } from "../identity/gate.ts";
import type { KnownMetadata } from "../keys/metadata.ts";
import type { KeyEntry, KeyRefusal, KeyRegistry } from "../keys/registry.ts";
import { besides, type QuotaSight, refusalOf } from "../limits/gate.ts";
import { allLeft, type Left } from "../limits/left.ts";
import type { LimitReading, LimitService, Verdict } from "../limits/limiter.ts";
import { hasMoney } from "../limits/money.ts";
import type { Policy } from "../limits/policy.ts";
import { isToldBy, type Requester, subjectOf } from "../limits/subject.ts";
import { nearest } from "../schema/faults.ts";
import { Scope } from "../schema/fields.ts";
import type { Usage } from "../usage/usage.ts";
import type { Clock } from "../values/clock.ts";
import { normaliseIp } from "../values/ip.ts";

/** Describes the question. Any text may stand for a key: callers of others send what they like. */
const Question = Type.Object(
  {
    key: Type.String({ secret: true }),
    cost: Type.Optional(Type.Integer({ minimum: 0, maximum: 1e9 })),
    scopes: Type.Optional(Type.Array(Scope, { maxItems: 64 })),
    route: Type.Optional(Type.String({ minLength: 1, maxLength: 1024 })),
    ip: Type.Optional(Type.String({ maxLength: 64 })),
  },
  { additionalProperties: false },
);
type Question = Static<typeof Question>;

const QUESTION = { schema: Question, max: 65_536, advice: 'send { "key": "KEY" }' };

/** Says why a key is no good. */
export type VerificationCode = "notFound" | "disabled" | "expired" | "revoked" | "forbidden" | "rateLimited" | "quotaExceeded";

/** Describes the answer. What is not known of a key that nobody has is `null`. */
export interface Verification {
  readonly valid: boolean;
  /** `null` for a key that is good. */
  readonly code: VerificationCode | null;
  readonly keyId: string | null;
  readonly consumer: string | null;
  readonly tier: string | null;
  readonly scopes: readonly string[];
  readonly metadata: Readonly<Record<string, unknown>> | null;
  readonly limits: readonly Left[];
}

export interface VerifierDeps {
  readonly keys: KeyRegistry;
  readonly metadata: KnownMetadata;
  readonly limiter: LimitService;
  readonly usage: Usage;
  readonly clock: Clock;
  /** Takes over what another process has changed a moment ago, and tells whether there was something; `null`: there is no other. */
  readonly catchUp: (() => boolean) | null;
  readonly routeOf: (name: string) => Route | null;
  readonly routeNames: () => readonly string[];
  readonly quotas: Pick<QuotaSight, "isOn" | "saw">;
  /** Learns that a key may not be used, or that limits in shadow would not let it (`null`). `readings`: where it stands under its limits. */
  readonly onRefused: (exchange: Exchange, key: KeyEntry, asked: Asked, refusal: Problem | null, readings: readonly LimitReading[]) => void;
  /** Learns where a key stands under its limits of which some are in shadow. */
  readonly onShadow: (key: KeyEntry, readings: readonly LimitReading[]) => void;
}

/** Says what a key is wanted for. */
export interface Asked {
  readonly route: Route | null;
  /** The address of whoever shows the key; `null`: it was not said. */
  readonly ip: string | null;
  readonly scopes: readonly string[];
  readonly cost: number;
}

const UNKNOWN: Verification = {
  valid: false,
  code: "notFound",
  keyId: null,
  consumer: null,
  tier: null,
  scopes: [],
  metadata: null,
  limits: [],
};

/** The parts of subjects that are known of every key, and those that are known where the address is said. */
const TOLD = ["consumer", "key", "route", "global"];
const TOLD_WITH_IP = [...TOLD, "ip"];

/**
 * Answers `POST /v1/keys/verify { "key", "cost"?, "scopes"?, "route"?, "ip"? }`: services of somebody's own ask it about each of their
 * requests, and the key pays as if Sluice had forwarded it.
 */
export class Verifier {
  constructor(private readonly deps: VerifierDeps) {}

  /** Answers one question. Throws a `Refused` where it is none. */
  async answer(exchange: Exchange): Promise<Answer> {
    const question = await readJson(exchange.incoming.body, QUESTION);
    const asked = this.understood(question);
    return { kind: "reply", reply: jsonReply(200, await this.verify(exchange, question.key, asked), "Cache-Control: no-store\r\n") };
  }

  /** Looks up what a question names. Throws 422. */
  private understood({ route: name, ip: text, scopes = [], cost }: Question): Asked {
    const route = name === undefined ? null : this.deps.routeOf(name);
    if (name !== undefined && route === null) {
      const hint = nearest(name, this.deps.routeNames());
      const near = hint === null ? "" : `, did you mean ${JSON.stringify(hint)}?`;
      throw invalid([{ path: ["route"], message: `there is no route ${JSON.stringify(name)}${near}` }]);
    }
    const ip = text === undefined ? null : normaliseIp(text);
    if (text !== undefined && ip === null) throw invalid([{ path: ["ip"], message: "must be an IPv4 or IPv6 address" }]);
    return { route, ip, scopes, cost: cost ?? route?.cost ?? 1 };
  }

  private verify(exchange: Exchange, secret: string, asked: Asked): Verification | Promise<Verification> {
    const { keys, clock, catchUp } = this.deps;
    const now = clock.wall();
    let key = keys.find(secret, now);
    if (key === "keyInvalid" && catchUp?.() === true) key = keys.find(secret, now);
    if (typeof key === "string") {
      if (key === "keysUnavailable") throw new Refused(KEYS_UNAVAILABLE);
      const code = this.codeOf(key, secret);
      const known = code === "notFound" ? null : keys.known(secret);
      return known === null ? UNKNOWN : this.said(known, code, []);
    }
    keys.touch(key, now);
    const forbidden = forbids(key, asked);
    if (forbidden === null) return this.charge(exchange, key, asked);
    this.note(exchange, key, asked, forbidden, []);
    return this.said(key, "forbidden", []);
  }

  private codeOf(refusal: Exclude<KeyRefusal, "keysUnavailable">, secret: string): VerificationCode {
    switch (refusal) {
      case "keyMalformed":
      case "keyInvalid":
        return "notFound";
      case "keyExpired":
        return "expired";
      case "keyRevoked":
        // A key whose consumer is disabled is itself as it was.
        return this.deps.keys.known(secret)?.off ?? "disabled";
    }
  }

  /** Charges a key that may be used, or only looks where the cost is 0. In memory nothing waits. */
  private charge(exchange: Exchange, key: KeyEntry, asked: Asked): Verification | Promise<Verification> {
    const { keys, limiter, clock } = this.deps;
    const policies = judged(besides(keys.policiesFor(key), asked.route?.policies ?? []), asked.ip);
    const requester = requesterOf(key, asked);
    const subjects = policies.map((policy) => subjectOf(policy, requester));
    if (asked.cost === 0) {
      const readings = limiter.inspect(policies, subjects);
      const looked = (found: LimitReading[]): Verification => this.said(key, null, allLeft(found, clock.wall()));
      return readings instanceof Promise ? readings.then(looked) : looked(readings);
    }
    const decided = (found: Verdict): Verification => {
      const { readings } = found;
      if (this.deps.quotas.isOn) this.deps.quotas.saw(found);
      const refusal = found.allowed ? null : refusalOf(found, clock.wall());
      this.note(exchange, key, asked, refusal, readings);
      // Limits and quotas refuse with a code of their own, which is one of the answer's as well.
      return this.said(key, refusal === null ? null : (refusal.code as VerificationCode), allLeft(readings, clock.wall()));
    };
    const take = (): Verification | Promise<Verification> => {
      const verdict = policies.length === 0 ? FREE : limiter.admit(policies, subjects, asked.cost);
      return verdict instanceof Promise ? verdict.then(decided) : decided(verdict);
    };
    if (!hasMoney(policies)) return take();
    // A verification costs no money, and a key whose money is spent is no good.
    const readings = limiter.inspect(policies, subjects, asked.cost, LEAST_MONEY);
    const looked = (found: LimitReading[]) =>
      found.some(({ denied, policy }) => denied && !policy.shadow) ? decided({ allowed: false, readings: found }) : take();
    return readings instanceof Promise ? readings.then(looked) : looked(readings);
  }

  /** Counts a verification in the key's usage, and tells of a refusal. One that only looks leaves no trace. */
  private note(exchange: Exchange, key: KeyEntry, asked: Asked, refusal: Problem | null, readings: readonly LimitReading[]): void {
    const { usage, onRefused, onShadow } = this.deps;
    if (asked.cost === 0) return;
    usage.note(asked.route?.name ?? VERIFICATION_NAME, key, refusal?.status ?? 200, refusal?.status === 429, 0, 0, "", "");
    if (refusal !== null || readings.some(({ denied }) => denied)) onRefused(exchange, key, asked, refusal, readings);
    if (readings.some(({ policy }) => policy.shadow)) onShadow(key, readings);
  }

  private said(key: KeyEntry, code: VerificationCode | null, limits: readonly Left[]): Verification {
    const { id, consumer, scopes } = key;
    return {
      valid: code === null,
      code,
      keyId: id,
      consumer: consumer.id,
      tier: consumer.tier,
      scopes,
      metadata: this.deps.metadata.of(key),
      limits,
    };
  }
}

/** The least that there is of money, in nano-dollars. */
const LEAST_MONEY = 1;

const FREE: Verdict = { allowed: true, readings: [], held: [], metered: [] };

/** Tells why a key may not be used for what is asked; `null` when it may. */
function forbids(key: KeyEntry, { route, ip, scopes }: Asked): Problem | null {
  // A key or route that is bound to addresses is of no use from one that nobody names.
  if (route !== null && route.ips !== null && (ip === null || route.ips.keptOutBy(ip) !== null)) return NOT_FROM_THERE;
  const from = ip ?? "";
  return (
    mayUse(key, route ?? FOR_KNOWN_CALLERS, from) ?? (scopes.length === 0 ? null : mayUse(key, { ...FOR_KNOWN_CALLERS, scopes }, from))
  );
}

/** Gives the limits that can be judged: what holds until a response has ended is not held, and of a request only its address may be known. */
function judged(policies: readonly Policy[], ip: string | null): readonly Policy[] {
  const told = ip === null ? TOLD : TOLD_WITH_IP;
  const isJudged = (policy: Policy): boolean => !policy.counting.holds && isToldBy(policy, told);
  return policies.every(isJudged) ? policies : policies.filter(isJudged);
}

const nothing = (): null => null;

const requesterOf = (key: KeyEntry, { route, ip }: Asked): Requester => ({
  consumerId: key.consumer.id,
  keyId: countedId(key),
  ip: ip ?? "",
  route: route?.name ?? VERIFICATION_NAME,
  model: "",
  tool: "",
  header: nothing,
  tag: nothing,
});
