import { type Static, Type } from "@sinclair/typebox";
import type { Arrival, Asker } from "../exchange/exchange.ts";
import { Exchange } from "../exchange/exchange.ts";
import { neverTaken } from "../exchange/own-gates.ts";
import { aimOf, place } from "../exchange/place.ts";
import type { Route } from "../exchange/route.ts";
import type { Snapshot } from "../exchange/snapshot.ts";
import { Fields } from "../http/fields.ts";
import type { Problem } from "../http/problem.ts";
import { invalid } from "../http/refused.ts";
import type { ModelAttempt } from "../models/virtual-model.ts";
import { forwardedPath } from "../upstreams/forwarded-path.ts";
import type { Clock } from "../values/clock.ts";
import { normaliseIp } from "../values/ip.ts";
import type { Explain } from "./explain.ts";

export interface WalkDeps {
  readonly clock: Clock;
  readonly explain: Explain;
  /** Gives what the main port serves. */
  readonly snapshot: () => Snapshot;
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
    tool: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 256,
        description: "The tool that it calls, where the route's upstream is a server of the Model Context Protocol.",
        examples: ["search"],
      }),
    ),
    model: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 256,
        description: "The model that it names, where the route calls models.",
        examples: ["smart"],
      }),
    ),
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
      step: Type.String({
        description: "path, route, ips, guard, identify, plugin, tool, models, model, limits, authorize, cache, attempt or target.",
        examples: ["route"],
      }),
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

type Step = WalkedAnswer["steps"][number];

/**
 * Tells what would become of a request, step by step: it walks the request's own line, whose gates tell what they find. Sends, charges and
 * counts nothing.
 */
export class Walk {
  constructor(private readonly deps: WalkDeps) {}

  async walk(question: WalkQuestion): Promise<WalkedAnswer> {
    const steps: Step[] = [];
    const asker: Asker = { tell: (step, detail, passed) => void steps.push({ step, passed, detail }) };
    const refused = ({ status, code }: Problem): WalkedAnswer => ({ steps, refusal: { status, code }, forwarded: null });
    const snapshot = this.deps.snapshot();
    const aim = aimOf(question.target);
    const arrival = arrivalOf(question, snapshot.identity.headerName);
    const exchange = new Exchange(arrival, snapshot, aim.path, aim.query, this.deps.clock.now(), aim.odd, asker);
    exchange.tool = question.tool ?? null;
    exchange.model = question.model ?? null;

    const line = place(exchange, snapshot.router, aim.fault);
    const { route } = exchange;
    if ("code" in line) {
      if (aim.fault === undefined && neverTaken(question.method) === null) tellPath(question, aim.path, asker);
      asker.tell(line.code === "badRequest" ? "path" : "route", missText(line), false);
      return refused(line);
    }
    if (aim.fault === undefined) tellPath(question, aim.path, asker);
    // What is Sluice's own tells by its first gate what it is.
    if (route.own === null || route.own === "activities")
      asker.tell("route", `${route.name} takes ${route.path}${route.hosts.length === 0 ? "" : ` of ${route.hosts.join(", ")}`}`, true);
    for (const gate of line.gates) {
      const stop = await gate(exchange);
      if (stop === null) continue;
      if ("code" in stop) return refused(stop);
      if (stop.kind === "reply") return { steps, refusal: null, forwarded: null };
      // Whoever would answer by themselves, such as a plug-in, is not asked: what follows is told all the same.
    }
    return line === route.preflight ? preflighted(steps, asker) : this.answered(exchange, steps, asker);
  }

  /** Tells what would answer a request that all gates let through. */
  private answered(exchange: Exchange<Arrival>, steps: Step[], asker: Asker): WalkedAnswer {
    const { route } = exchange;
    const through: WalkedAnswer = { steps, refusal: null, forwarded: null };
    if (route.own !== null) {
      const said = OWN_ANSWERS[route.own];
      if (said !== undefined) asker.tell("target", ...said);
      return through;
    }
    if (route.respond !== null) {
      asker.tell("target", `Sluice itself answers, by the route's respond: ${route.respond.says}`, true);
      return through;
    }
    if (route.cache !== null) asker.tell("cache", "an answer that is kept and fresh is given without asking a backend", null);
    const virtual = route.virtualModels.get(exchange.model ?? "");
    if (virtual !== undefined) {
      for (const attempt of virtual.attempts) asker.tell("attempt", ...describeAttempt(attempt));
      return through;
    }
    const refusal = this.deps.explain.backendRefusal(route, []);
    if (refusal !== null) {
      asker.tell("target", refusal.detail, false);
      return { ...through, refusal: { status: STATUSES[refusal.code] ?? 503, code: refusal.code } };
    }
    const targets = route.upstream?.targets ?? [];
    for (const { url, state } of targets)
      asker.tell(
        "target",
        `${url}: breaker ${state.breaker.state}, ${state.isHealthy ? "up" : "down"}`,
        state.isHealthy && state.breaker.state !== "open",
      );
    return { ...through, forwarded: forwardedText(exchange, route) };
  }
}

/** What is told of Sluice's own answers to callers, and whether they get past: `null` where that depends on what the request holds. */
const OWN_ANSWERS: Partial<Record<NonNullable<Route["own"]>, readonly [says: string, passed: boolean | null]>> = {
  activities: ["Sluice itself answers", true],
  "api-key": ["the answer is a key of the pool that the body names", null],
  "key-verification": ["the answer says whether the key that the body names is good", null],
  me: ["the answer is where the caller stands", true],
  "me-rotate": ["the answer is the key's new secret, unless its tier or the file forbids it", null],
  "my-api": ["the answer is about the keys of the consumer whom a link has let in", null],
  "me-keys": ["the answer is about the caller's keys, as far as its tier allows it", null],
};

/** Tells of one of those who may answer for a virtual model, and whether it can be asked. */
function describeAttempt({
  upstream,
  upstreamName,
  model,
  pool,
  weight,
  isFallback,
}: ModelAttempt): [detail: string, passed: boolean | null] {
  const by = pool === null ? "" : ` with a key of ${pool}`;
  const when = isFallback ? "after the others" : `with the weight ${weight}`;
  const detail = `${model} at ${upstreamName}${by}, ${when}`;
  return upstream?.hasTarget === true ? [detail, true] : [`${detail}: nobody can be asked there`, false];
}

/** Tells of a browser's preflight, which reaches no backend. */
function preflighted(steps: Step[], asker: Asker): WalkedAnswer {
  asker.tell("target", "Sluice itself answers the preflight, by the route's cors", true);
  return { steps, refusal: null, forwarded: null };
}

/** The statuses of backends' refusals that are not 503. */
const STATUSES: Readonly<Record<string, number>> = { poolExhausted: 429 };

const tellPath = ({ target }: WalkQuestion, path: string, asker: Asker): void =>
  asker.tell("path", path === target.split("?", 1)[0] ? path : `${path} (normalised: that is matched and forwarded)`, true);

/** Tells why no route takes a request, for an operator, who knows the routes. */
function missText({ code, members, headers }: Problem): string {
  if (code === "routeNotFound") return "no route takes this path";
  const allow = headers.find(([name]) => name === "Allow")?.[1];
  return String(members.detail).startsWith("This route takes") ? `the routes of this path take ${allow}` : String(members.detail);
}

/** Gives the method and URL that a backend would get. */
function forwardedText({ incoming, path, odd, query }: Exchange<Arrival>, route: Route): string | null {
  const targets = route.upstream?.targets ?? [];
  const first = targets.find(({ state }) => state.isHealthy && state.breaker.state !== "open") ?? targets[0];
  if (first === undefined) return null;
  const { unix } = first.origin;
  const place = unix === undefined ? new URL(first.url).origin : `unix:${unix}:`;
  return `${incoming.head.method} ${place}${forwardedPath({ path, odd }, route, first)}${query}`;
}

/** Gives the request that is asked about, as if it had arrived. Throws 422. */
function arrivalOf(question: WalkQuestion, keyHeader: string): Arrival {
  const ip = normaliseIp(question.ip ?? "127.0.0.1");
  if (ip === null) throw invalid([{ path: ["ip"], message: "must be an IPv4 or IPv6 address" }]);
  const head: Arrival["head"] = {
    method: question.method,
    target: question.target,
    minor: 1,
    fields: fieldsOf(question, keyHeader),
    host: question.host ?? URL.parse(question.target)?.host ?? "",
    framing: "none",
    contentLength: -1,
    keepAlive: true,
    connection: "",
    upgrade: "",
    expectsContinue: false,
    mayHoldOwnCookie: false,
  };
  return { head, body: null, ip, hasProxyLine: false, isTls: false, isAborted: false, onAbort: null };
}

/** Gives the fields of the request; a key that is given by itself stands in the header for keys. Throws 422. */
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
