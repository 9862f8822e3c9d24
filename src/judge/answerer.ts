import type { RouteAuthorize } from "../authorize/route-authorize.ts";
import type { Answer } from "../exchange/answer.ts";
import type { Caller } from "../exchange/caller.ts";
import { preflightMethod } from "../exchange/cors.ts";
import type { Failure } from "../exchange/dispatcher.ts";
import { type Arrival, Exchange } from "../exchange/exchange.ts";
import { callerHead, claimOf } from "../exchange/headers.ts";
import { admit, type Line, type Stop } from "../exchange/line.ts";
import { aimOf, NO_ROUTE, place } from "../exchange/place.ts";
import type { Route } from "../exchange/route.ts";
import { isMiss, type Router } from "../exchange/router.ts";
import { isWhole } from "../http/body.ts";
import { UNKNOWN_ADDRESS } from "../http/client-ip.ts";
import type { Fields } from "../http/fields.ts";
import { linesOf } from "../http/fields.ts";
import { hasDotSegments, matchOf } from "../http/path.ts";
import { forModelClients, type Problem, passing, problem, toldAs } from "../http/problem.ts";
import { date } from "../http/reply.ts";
import type { Reply } from "../http/server.ts";
import type { Emit } from "../telemetry/occurrences.ts";
import type { Clock } from "../values/clock.ts";
import type { CidrSet } from "../values/ip.ts";
import { describe } from "./description.ts";

/** Holds what requests are judged by that another proxy asks about. */
export interface JudgeSettings {
  readonly allowFrom: CidrSet;
  /** The status in place of 429; `null`: 429. */
  readonly denyAs: number | null;
  /** Finds the users' routes alone: what Sluice answers by itself has no backend behind another proxy, which may have paths of these names. */
  readonly router: Router<Route>;
}

export interface JudgeDeps {
  readonly clock: Clock;
  readonly emit: Emit;
  /** Tells whether the gateway is about to stop. */
  readonly isDraining: () => boolean;
  /** Gives the refusal that the caller gets for an error, and tells whether the error is a fault of Sluice's own. */
  readonly failureOf: (error: unknown) => Failure;
  /** Logs a fault of Sluice's own. */
  readonly onFault: (error: unknown, requestId: string) => void;
  /** Writes down a question that describes no request. */
  readonly note: Line["ended"];
}

const DRAINING = passing("draining", "The gateway is about to stop; ask again in a second.", 1);

/** The refusal of a request to which a gate has an answer of its own that a proxy would take for a permission. */
const ANSWERED_HERE = problem(
  "forbidden",
  "This request has an answer of the gateway's own, which a proxy can't pass on that only asks: forward the request to the gateway.",
);

/** The fault of a path that the proxy's backend gets as it was sent, and may read in another way: it must not be judged by another route. */
const WITH_DOTS = "The path must not hold dot segments: ask for the path that they lead to.";
const READ_OTHERWISE = problem("badRequest", "The path belongs to another route with its empty segments: write it without them.");

/**
 * Judges requests that other proxies ask about: takes each along its route's own gates, as if it were forwarded, and tells what became of
 * it by few statuses. What is counted and written down is the request that was described, not the question.
 */
export class Judge {
  /** The requests that were asked about, by the exchanges of the questions. */
  private readonly asked = new WeakMap<Exchange<Arrival>, Exchange<Arrival>>();
  /** The settings under which a request without an address was told of. */
  private readonly toldUnder = new WeakSet<JudgeSettings>();

  /** Takes `path`, at which proxies ask. */
  constructor(
    private readonly deps: JudgeDeps,
    private readonly path: string,
  ) {}

  /** Answers a question. */
  answer(question: Exchange): Answer | Promise<Answer> {
    const { incoming, snapshot, startedAt } = question;
    const { judge } = snapshot;
    if (judge === null) return refused(NO_ROUTE);
    if (this.deps.isDraining()) return refused(DRAINING);
    const description = describe(question, this.path);
    if (typeof description === "string") return refused(toldAs(403, problem("badRequest", description)));
    const { arrival, target } = description;
    const aim = aimOf(target);
    const asked = new Exchange(arrival, snapshot, aim.path, aim.query, startedAt, aim.odd);
    this.asked.set(question, asked);
    incoming.onAbort = () => arrival.onAbort?.();
    if (asked.ip === UNKNOWN_ADDRESS) this.tellOfUnknownAddress(judge);
    try {
      const line = place(asked, judge.router, aim.fault ?? (hasDotSegments(target) ? WITH_DOTS : undefined));
      const stop = "code" in line ? line : isReadOtherwise(asked, line, judge.router) ? READ_OTHERWISE : admit(asked, line.gates);
      if (!(stop instanceof Promise)) return this.verdict(question, asked, stop);
      return stop.then(
        (decided) => this.verdict(question, asked, decided),
        (error: unknown) => this.failed(question, asked, error),
      );
    } catch (error) {
      return this.failed(question, asked, error);
    }
  }

  /** Writes down what became of a question, and of the request that was asked about. */
  ended(question: Exchange<Arrival>, elapsed: number): void {
    const asked = this.asked.get(question);
    if (asked === undefined) {
      this.deps.note(question, elapsed);
      return;
    }
    question.route.metrics.observe(question.incoming.head.method, question.status, elapsed, null);
    asked.end();
    if (asked.status === 0) asked.status = question.status;
    asked.route.line.ended(asked, elapsed);
  }

  private verdict(question: Exchange, asked: Exchange<Arrival>, stop: Stop | null): Answer {
    question.limitHead = asked.limitHead;
    question.routeHead = asked.routeHead;
    if (stop === null) {
      asked.status = 200;
      return { kind: "reply", reply: permission(asked) };
    }
    if (!("kind" in stop)) return this.refusal(question, asked, stop);
    switch (stop.kind) {
      case "gone":
        return stop;
      case "problem":
        return this.refusal(question, asked, stop.problem);
      case "reply":
      case "forwarded": {
        const answered = stop.kind === "reply" ? stop.reply : stop.response;
        if (answered.status < 300) {
          const { body } = answered;
          if (!isWhole(body)) body.cancel();
          return this.refusal(question, asked, ANSWERED_HERE);
        }
        asked.status = answered.status;
        return stop;
      }
    }
  }

  /** Refuses a request: its own status is the one that it would have had if it had been forwarded. */
  private refusal({ snapshot }: Exchange, asked: Exchange<Arrival>, refusal: Problem): Answer {
    asked.status = refusal.status;
    asked.notes.refusal = refusal;
    const told = asked.route.credential === null ? refusal : forModelClients(refusal);
    return refused(toldToProxy(told, snapshot.judge?.denyAs ?? null));
  }

  private failed(question: Exchange, asked: Exchange<Arrival>, error: unknown): Answer {
    if (asked.isOver) return { kind: "gone" };
    const { refusal, isFault } = this.deps.failureOf(error);
    if (isFault) this.deps.onFault(error, asked.id);
    return this.verdict(question, asked, refusal);
  }

  /** Tells of proxies that name no caller's address, once for each configuration. */
  private tellOfUnknownAddress(settings: JudgeSettings): void {
    if (this.toldUnder.has(settings)) return;
    this.toldUnder.add(settings);
    this.deps.emit({ type: "unknownAddress" });
  }
}

/** Tells whether a backend that keeps empty segments would take the path for another route's than `line`, which is the judged one's. */
function isReadOtherwise({ odd, route, incoming }: Exchange<Arrival>, line: Line, router: Router<Route>): boolean {
  if (odd === null || !odd.kept.includes("//")) return false;
  const { host, method, fields } = incoming.head;
  const asked = line === route.preflight ? preflightMethod(method, fields) : null;
  const other = router.find(host, asked ?? method, matchOf(odd.kept));
  return isMiss(other) ? other.allow !== null : other !== route;
}

const refused = (refusal: Problem): Answer => ({ kind: "problem", problem: refusal });

/**
 * Gives a refusal as proxies understand it: 401, 403, 429 and, where Sluice itself fails, 503, after which they may ask another time. The
 * code stays.
 */
function toldToProxy(refusal: Problem, denyAs: number | null): Problem {
  const { status } = refusal;
  if (status === 401 || status === 403) return refusal;
  if (status === 429) return toldAs(denyAs ?? status, refusal);
  if (status < 500) return toldAs(403, refusal);
  const told = toldAs(503, refusal);
  const saysWhen = told.headers.some(([name]) => name === "Retry-After");
  return saysWhen ? told : { ...told, members: { ...told.members, retryAfter: 1 }, headers: [...told.headers, ["Retry-After", "1"]] };
}

/**
 * What a proxy is told of a caller who is nobody. The fields are there, for most proxies put those that they get in the place of the
 * caller's own, and leave those alone otherwise.
 */
const NOBODY = "X-Consumer-ID: \r\nX-Consumer-Tier: \r\n";

/** Makes the answer for a request that may pass: what its proxy may tell the backend of the caller. */
const permission = ({ caller, granted, route }: Exchange<Arrival>): Reply => ({
  status: 200,
  reason: "OK",
  head: `Cache-Control: no-store\r\n${date()}${caller.via === "none" ? NOBODY : ""}${callerHead(caller, route.overruledClaims)}${missingClaims(caller, route)}${route.authorize === null ? "" : grantedLines(route.authorize, granted)}`,
  body: null,
  length: 0,
});

/** Writes, empty, the fields in which a backend would be told claims that this caller does not have. */
const missingClaims = (caller: Caller, { claimFields, overruledClaims, authorize }: Route): string =>
  [...claimFields]
    .filter((name) => authorize?.sets.has(name) !== true && (overruledClaims?.has(name) === true || claimOf(caller, name) === null))
    .map((name) => `${name}: \r\n`)
    .join("");

/** Writes the fields that the service gives which the route asks. Those that it has not given are there as well, for the same reason. */
function grantedLines({ sets }: RouteAuthorize, granted: Fields | null): string {
  const missing = [...sets].filter((name) => granted === null || granted.get(name) === null);
  return `${granted === null ? "" : linesOf(granted)}${missing.map((name) => `${name}: \r\n`).join("")}`;
}
