import { type Static, Type } from "@sinclair/typebox";
import { isAdminPath, neverTaken, type Own, ownAt, ownMethodRefusal } from "../exchange/own.ts";
import { ambiguityOf } from "../exchange/route.ts";
import { isMiss } from "../exchange/router.ts";
import type { Snapshot } from "../exchange/snapshot.ts";
import type { Guard } from "../guard/guard.ts";
import { clientIp } from "../http/client-ip.ts";
import { Fields } from "../http/fields.ts";
import { parseTarget, withSlashes } from "../http/path.ts";
import { invalid } from "../http/refused.ts";
import { type Entrance, hiddenCaller, type KeyCarrier, mayUse, takeKeys } from "../identity/identify.ts";
import type { KeyEntry, KeyRefusal, KeyRegistry } from "../keys/registry.ts";
import { scopeText } from "../limits/policy.ts";
import { forwardedPath } from "../upstreams/forwarder.ts";
import type { Clock } from "../values/clock.ts";
import { normaliseIp } from "../values/ip.ts";
import type { Applied, Explain } from "./explain.ts";

export interface WalkDeps {
  readonly clock: Clock;
  readonly explain: Explain;
  readonly guard: Guard;
  readonly registry: KeyRegistry;
  readonly snapshot: () => Pick<Snapshot, "router" | "identity" | "trustedProxies" | "pages">;
  /** `null` while there are no pools. */
  readonly handOut: () => { readonly entrance: Entrance } | null;
  /** The admin API has a listener of its own: what is walked is the main one. */
  readonly isAdminElsewhere: boolean;
}

export const WalkQuestion = Type.Object(
  {
    method: Type.String({
      pattern: "^[A-Z]{1,32}$",
      expects: "a method in capitals",
      description: "The request's method.",
      examples: ["GET"],
    }),
    target: Type.String({
      minLength: 1,
      maxLength: 16_384,
      description: "Its path with the query, or its URL.",
      examples: ["/api/users/7"],
    }),
    host: Type.Optional(Type.String({ maxLength: 255, description: "Its Host field, where routes have hosts." })),
    key: Type.Optional(Type.String({ maxLength: 4096, description: "The API key that it shows.", secret: true })),
    ip: Type.Optional(Type.String({ maxLength: 64, description: "The caller's address; 127.0.0.1 by default." })),
    headers: Type.Optional(
      Type.Array(Type.String({ maxLength: 8192 }), {
        maxItems: 64,
        description: "Fields of the request, for limits by header; a key may stand in one as well.",
        examples: [["X-Tenant: acme"]],
      }),
    ),
  },
  { additionalProperties: false },
);
export type WalkQuestion = Static<typeof WalkQuestion>;

export const WalkedRequest = Type.Object({
  steps: Type.Array(
    Type.Object({
      step: Type.String({ description: "path, route, guard, identify, limits, cache or target.", examples: ["route"] }),
      passed: Type.Union([Type.Boolean(), Type.Null()], {
        description: "Whether the request gets past it; null where that can't be said.",
      }),
      detail: Type.String({ description: "What was found there, for people." }),
    }),
    { description: "In the order in which a request is looked at, up to the one that refuses it." },
  ),
  refusal: Type.Union(
    [
      Type.Object({
        status: Type.Integer({ description: "The status of the refusal." }),
        code: Type.String({ description: "Its code." }),
      }),
      Type.Null(),
    ],
    {
      description: "With what it would be refused; null: it would be let through.",
    },
  ),
  forwarded: Type.Union([Type.String(), Type.Null()], { description: "The method and URL that a backend would get." }),
});
export type WalkedAnswer = Static<typeof WalkedRequest>;

const KEYS: Readonly<Record<KeyRefusal, string>> = {
  keyMalformed: "the key can't be one: its form or its checksum is wrong",
  keyInvalid: "the key is not known",
  keyExpired: "the key has expired",
  keyRevoked: "the key is revoked or disabled, or its consumer is disabled",
};

const OWN: Readonly<Record<Exclude<Own, "handOut">, string>> = {
  health: "Sluice itself answers: whether it is alive",
  ready: "Sluice itself answers: whether it is ready",
  metrics: "Sluice itself answers: metrics, for programs on this machine and who shows an admin token",
  page: "Sluice itself answers with a page of its own",
  admin: "the admin API answers, to who shows an admin token",
};

type Step = WalkedAnswer["steps"][number];

/** Tells what would become of a request, step by step, in the order of the pipeline. Sends, charges and counts nothing. */
export class Walk {
  constructor(private readonly deps: WalkDeps) {}

  async walk(question: WalkQuestion): Promise<WalkedAnswer> {
    const steps: Step[] = [];
    const pass = (step: string, detail: string, passed: boolean | null = true): void => void steps.push({ step, passed, detail });
    const refuse = (step: string, detail: string, status: number, code: string): WalkedAnswer => {
      steps.push({ step, passed: false, detail });
      return { steps, refusal: { status, code }, forwarded: null };
    };
    const peer = normaliseIp(question.ip ?? "127.0.0.1");
    if (peer === null) throw invalid([{ path: ["ip"], message: "must be an IPv4 or IPv6 address" }]);
    const snapshot = this.deps.snapshot();
    const fields = fieldsOf(question, snapshot.identity.headerName);
    const ip = clientIp(peer, fields.joined("x-forwarded-for"), snapshot.trustedProxies);

    const { method } = question;
    const never = neverTaken(method);
    if (never !== null) return refuse("route", String(never.members.detail), never.status, never.code);
    const target = parseTarget(question.target);
    const ownOf = (own: Exclude<Own, "handOut">): WalkedAnswer => {
      const refusal = ownMethodRefusal(own, method);
      if (refusal !== null) return refuse("route", String(refusal.members.detail), refusal.status, refusal.code);
      pass("route", OWN[own]);
      return { steps, refusal: null, forwarded: null };
    };
    if (typeof target === "string") {
      if (!this.deps.isAdminElsewhere && isAdminPath(question.target)) return ownOf("admin");
      return refuse("path", target, 400, "badRequest");
    }
    pass(
      "path",
      target.path === question.target.split("?", 1)[0] ? target.path : `${target.path} (normalised: that is matched and forwarded)`,
    );

    const carrier = {
      snapshot,
      incoming: { head: { fields } },
      query: target.query,
      keyField: "",
      dropsAuthorization: false,
    };
    const own = ownAt(target.path, method, this.deps.isAdminElsewhere, { snapshot: () => snapshot, handOut: this.deps.handOut });
    if (own === "handOut") {
      const refusal = ownMethodRefusal(own, method);
      if (refusal !== null) return refuse("route", String(refusal.members.detail), refusal.status, refusal.code);
      pass("route", "Sluice itself answers: it hands out keys of pools");
      const entrance = (this.deps.handOut() as { readonly entrance: Entrance }).entrance;
      const caller = this.identified(carrier, entrance, peer, ip, pass, refuse);
      if ("answer" in caller) return caller.answer;
      const forbidden = caller.key === null ? null : mayUse(caller.key, entrance, ip);
      if (forbidden !== null) return refuse("identify", String(forbidden.members.detail), forbidden.status, forbidden.code);
      pass("target", "the answer is a key of the pool that the body names", null);
      return { steps, refusal: null, forwarded: null };
    }
    if (own !== null) return ownOf(own);

    const host = question.host ?? URL.parse(question.target)?.host ?? "";
    const { odd } = target;
    const find = (path: string) => snapshot.router.find(host, method, path);
    const route = find(odd === null ? target.path : odd.match);
    const ambiguity = odd === null ? null : ambiguityOf(odd, route, find);
    if (ambiguity !== null) return refuse("path", ambiguity, 400, "badRequest");
    if (isMiss(route))
      return route.allow === null
        ? refuse("route", "no route takes this path", 404, "routeNotFound")
        : refuse("route", `the routes of this path take ${route.allow.join(", ")}`, 405, "methodNotAllowed");
    pass("route", `${route.name} takes ${route.path}${route.hosts.length === 0 ? "" : ` of ${route.hosts.join(", ")}`}`);

    const caller = this.identified(carrier, route, peer, ip, pass, refuse);
    if ("answer" in caller) return caller.answer;
    const { key } = caller;

    const found = await this.deps.explain.explain({
      consumer: key?.consumer ?? null,
      key,
      keys: key === null ? [] : [key],
      route,
      ip,
      header: (name) => fields.joined(name.toLowerCase()),
      isPastGuard: true,
    });
    if (found.refusal !== null) return refuse("identify", found.refusal.detail, statusOf(found.refusal.code), found.refusal.code);
    if (found.limits.length === 0) pass("limits", "no limit holds");
    let denied: Applied | null = null;
    for (const limit of found.limits) {
      const isDenied = denies(limit);
      pass("limits", describe(limit), limit.reading === null ? null : !isDenied);
      if (isDenied && denied === null) denied = limit;
    }
    if (denied !== null && found.away !== "allow")
      return { steps, refusal: { status: 429, code: denied.policy.calendar === null ? "rateLimited" : "quotaExceeded" }, forwarded: null };

    if (route.own !== null) {
      pass("target", "Sluice itself answers");
      return { steps, refusal: null, forwarded: null };
    }
    if (route.cache !== null) pass("cache", "an answer that is kept and fresh is given without asking a backend", null);
    if (found.backendRefusal !== null)
      return refuse("target", found.backendRefusal.detail, statusOf(found.backendRefusal.code), found.backendRefusal.code);
    const targets = route.upstream?.targets ?? [];
    const path = odd !== null && route.keepsSlashes ? withSlashes(target.path, odd.kept, route.depth) : target.path;
    for (const { url, state } of targets)
      pass(
        "target",
        `${url}: breaker ${state.breaker.state}, ${state.isHealthy ? "up" : "down"}`,
        state.isHealthy && state.breaker.state !== "open",
      );
    const first = targets.find(({ state }) => state.isHealthy && state.breaker.state !== "open") ?? targets[0];
    const forwarded =
      first === undefined
        ? null
        : `${question.method} ${new URL(first.url).origin}${forwardedPath({ path, odd }, route, first)}${carrier.query}`;
    return { steps, refusal: null, forwarded };
  }

  /** Guard and identify, as the pipeline does it but without counting. */
  private identified(
    carrier: KeyCarrier,
    entrance: Entrance,
    peer: string,
    ip: string,
    pass: (step: string, detail: string) => void,
    refuse: (step: string, detail: string, status: number, code: string) => WalkedAnswer,
  ): { readonly key: KeyEntry | null } | { readonly answer: WalkedAnswer } {
    const { guard, registry, clock } = this.deps;
    const hidden = hiddenCaller(peer, carrier.incoming.head.fields, this.deps.snapshot().trustedProxies);
    const shown = takeKeys(carrier, registry, entrance.auth !== "none");
    const secret = entrance.auth === "none" ? null : shown;
    const isBlocked = guard.blockedFor(ip) > 0;
    if (!isBlocked) pass("guard", `${ip} is not blocked`);
    else if (!guard.lets(ip, secret, hidden)) return { answer: refuse("guard", `${ip} is blocked`, 429, "ipBlocked") };
    else pass("guard", `${ip} is blocked by the guard, which lets ${secret === null ? "callers without a key" : "this key"} pass`);
    if (secret === null) {
      if (entrance.auth === "required")
        return { answer: refuse("identify", "the route wants a key, and none is shown", 401, "keyMissing") };
      pass(
        "identify",
        entrance.auth === "none" ? "the route looks at no key: everybody is anonymous" : "no key is shown: the caller is anonymous",
      );
      return { key: null };
    }
    const found = registry.find(secret, clock.wall());
    if (typeof found === "string") {
      const why = KEYS[found] ?? found;
      return {
        answer: isBlocked ? refuse("identify", `${why}, and ${ip} is blocked`, 429, "ipBlocked") : refuse("identify", why, 401, found),
      };
    }
    pass("identify", `key ${found.id} of consumer ${found.consumer.id}, tier ${found.consumer.tier}`);
    return { key: found };
  }
}

/** One that is overdrawn denies what costs nothing as well. */
const denies = ({ policy, cost, reading }: Applied): boolean =>
  reading !== null && !policy.shadow && (reading.denied || reading.remaining < cost);

function describe({ policy, cost, subject, reading }: Applied): string {
  const name = `${policy.name} (${scopeText(policy)})${policy.shadow ? ", in shadow" : ""}`;
  if (typeof subject !== "string") return `${name}: ${subject.unknown}`;
  return `${name}: ${reading?.remaining ?? "?"} of ${reading?.limit ?? "?"} left, a request takes ${cost}`;
}

/** The fields of the request; a key that is given by itself stands in the header for keys. Throws 422. */
function fieldsOf({ headers = [], key = "" }: WalkQuestion, header: string): Fields {
  const fields = new Fields();
  if (key !== "") fields.add(header, header.toLowerCase(), key);
  for (const line of headers) {
    const at = line.indexOf(":");
    if (at < 1) throw invalid([{ path: ["headers"], message: 'must be fields, such as "X-Tenant: acme"' }]);
    const name = line.slice(0, at).trim();
    if (key === "" || name.toLowerCase() !== header.toLowerCase()) fields.add(name, name.toLowerCase(), line.slice(at + 1).trim());
  }
  return fields;
}

const STATUSES: Readonly<Record<string, number>> = { ipBlocked: 429, poolExhausted: 429, forbidden: 403, modelUnknown: 403 };
const statusOf = (code: string): number => STATUSES[code] ?? (code.startsWith("key") ? 401 : 503);
