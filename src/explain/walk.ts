import { type Static, Type } from "@sinclair/typebox";
import { invalid } from "../admin/refused.ts";
import type { Clock } from "../clock.ts";
import { normaliseIp } from "../config/ip.ts";
import type { Guard } from "../guard/guard.ts";
import { isMade } from "../keys/format.ts";
import type { KeyEntry, KeyRefusal, KeyRegistry } from "../keys/registry.ts";
import { scopeText } from "../limits/policy.ts";
import { forwardedPath } from "../proxy/forwarder.ts";
import { parseTarget, withSlashes } from "../proxy/path.ts";
import { ambiguityOf, type Route } from "../proxy/route.ts";
import { isMiss, type Router } from "../proxy/router.ts";
import type { Applied, Explain } from "./explain.ts";

export interface WalkParts {
  readonly clock: Clock;
  readonly explain: Explain;
  readonly guard: Guard;
  readonly registry: KeyRegistry;
  readonly router: () => Router<Route>;
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
        description: "Fields of the request, for limits by header.",
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

type Step = WalkedAnswer["steps"][number];

/** Tells what would become of a request, step by step, in the order of the pipeline. Sends, charges and counts nothing. */
export class Walk {
  constructor(private readonly parts: WalkParts) {}

  async walk(question: WalkQuestion): Promise<WalkedAnswer> {
    const steps: Step[] = [];
    const pass = (step: string, detail: string, passed: boolean | null = true): void => void steps.push({ step, passed, detail });
    const refuse = (step: string, detail: string, status: number, code: string): WalkedAnswer => {
      steps.push({ step, passed: false, detail });
      return { steps, refusal: { status, code }, forwarded: null };
    };
    const { guard, registry, clock } = this.parts;
    const ip = normaliseIp(question.ip ?? "127.0.0.1");
    if (ip === null) throw invalid([{ path: ["ip"], message: "must be an IPv4 or IPv6 address" }]);

    const target = parseTarget(question.target);
    if (typeof target === "string") return refuse("path", target, 400, "badRequest");
    pass(
      "path",
      target.path === question.target.split("?", 1)[0] ? target.path : `${target.path} (normalised: that is matched and forwarded)`,
    );

    const host = question.host ?? URL.parse(question.target)?.host ?? "";
    const { odd } = target;
    const router = this.parts.router();
    const find = (path: string) => router.find(host, question.method, path);
    const route = find(odd === null ? target.path : odd.match);
    const ambiguity = odd === null ? null : ambiguityOf(odd, route, find);
    if (ambiguity !== null) return refuse("path", ambiguity, 400, "badRequest");
    if (isMiss(route))
      return route.allow === null
        ? refuse("route", "no route takes this path", 404, "routeNotFound")
        : refuse("route", `the routes of this path take ${route.allow.join(", ")}`, 405, "methodNotAllowed");
    pass("route", `${route.name} takes ${route.path}${route.hosts.length === 0 ? "" : ` of ${route.hosts.join(", ")}`}`);

    if (guard.blockedFor(ip) > 0) {
      // A block that the guard made lets keys pass that can't have been guessed.
      const isTrusted = question.key !== undefined && (isMade(question.key) || guard.hasAccepted(ip, question.key));
      if (guard.refusesAll(ip) || route.auth === "none" || !isTrusted) return refuse("guard", `${ip} is blocked`, 429, "ipBlocked");
      pass("guard", `${ip} is blocked by the guard, which lets this key pass`);
    } else pass("guard", `${ip} is not blocked`);

    let key: KeyEntry | null = null;
    if (route.auth === "none") pass("identify", "the route looks at no key: everybody is anonymous");
    else if (question.key === undefined || question.key === "") {
      if (route.auth === "required") return refuse("identify", "the route wants a key, and none is shown", 401, "keyMissing");
      pass("identify", "no key is shown: the caller is anonymous");
    } else {
      const found = registry.find(question.key, clock.wall());
      if (typeof found === "string") return refuse("identify", KEYS[found] ?? found, 401, found);
      key = found;
      pass("identify", `key ${found.id} of consumer ${found.consumer.id}, tier ${found.consumer.tier}`);
    }

    const found = await this.parts.explain.explain({
      consumer: key?.consumer ?? null,
      key,
      keys: key === null ? [] : [key],
      route,
      ip,
      header: headerOf(question.headers ?? []),
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
        : `${question.method} ${new URL(first.url).origin}${forwardedPath({ path, odd }, route, first)}${target.query}`;
    return { steps, refusal: null, forwarded };
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

function headerOf(lines: readonly string[]): (name: string) => string | null {
  const fields = new Map<string, string>();
  for (const line of lines) {
    const at = line.indexOf(":");
    if (at < 1) throw invalid([{ path: ["headers"], message: 'must be fields, such as "X-Tenant: acme"' }]);
    fields.set(line.slice(0, at).trim().toLowerCase(), line.slice(at + 1).trim());
  }
  return (name) => fields.get(name.toLowerCase()) ?? null;
}

const STATUSES: Readonly<Record<string, number>> = { ipBlocked: 429, poolExhausted: 429, forbidden: 403, modelUnknown: 403 };
const statusOf = (code: string): number => STATUSES[code] ?? (code.startsWith("key") ? 401 : 503);
