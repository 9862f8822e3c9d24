import { type Answer, type Caching, isCacheable, isForPart, isOnlyIfCached, isUnsafe } from "../cache/caching.ts";
import type { Guard } from "../guard/guard.ts";
import { UpstreamFailure, type UpstreamResponse } from "../http/client.ts";
import { type Target, withSlashes } from "../http/path.ts";
import { bodyTooLarge, forModelClients, type Problem, passing, problem, REDUCED_CAPACITY, unavailable } from "../http/problem.ts";
import { date, problemReply } from "../http/reply.ts";
import type { Incoming, Reply } from "../http/server.ts";
import { identify } from "../identity/identify.ts";
import type { KeyRegistry } from "../keys/registry.ts";
import { isOnlyDegraded, isQuota, limitHeaders, retryAfterSeconds, violatedPolicies } from "../limits/headers.ts";
import type { LimitReading, LimitService, Verdict } from "../limits/limiter.ts";
import { subjectOf } from "../limits/subject.ts";
import type { Recorder } from "../telemetry/recorder.ts";
import type { Forwarder } from "../upstreams/forwarder.ts";
import type { Clock } from "../values/clock.ts";
import { corsHead, preflightHead, preflightMethod } from "./cors.ts";
import { Exchange } from "./exchange.ts";
import { failureOf } from "./failure.ts";
import { ownHead, responseHead } from "./headers.ts";
import { ambiguityOf, type Route } from "./route.ts";
import { isMiss, prefixOf } from "./router.ts";
import type { Snapshot } from "./snapshot.ts";

const NO_ROUTE = problem("routeNotFound", "No route takes this path; check it, or ask for the list of routes.");

export interface PipelineDeps {
  readonly clock: Clock;
  readonly keys: KeyRegistry;
  readonly guard: Guard;
  readonly limiter: LimitService;
  readonly forwarder: Forwarder;
  readonly caching: Caching;
  readonly recorder: Recorder;
  /** Logs a fault of Sluice's own. */
  readonly onFault: (error: unknown, requestId: string) => void;
}

/** The way of a request, from the head that has arrived to the answer. */
export class Pipeline {
  constructor(private readonly deps: PipelineDeps) {}

  /** Answers one request. In memory nothing waits before the upstream call. */
  handle(incoming: Incoming, snapshot: Snapshot, { path, query, odd }: Target): void {
    const exchange = new Exchange(incoming, snapshot, path, query, this.deps.clock.now(), odd);
    incoming.onEnd = () => this.record(exchange);
    try {
      if (this.preflight(exchange)) return;
      const refusal = this.place(exchange) ?? this.identify(exchange);
      if (refusal !== null) this.refuse(exchange, refusal);
      else this.admit(exchange);
    } catch (error) {
      this.fail(exchange, error);
    }
  }

  /** Refuses a request that can't be placed anywhere, such as one with a malformed path. */
  reject(incoming: Incoming, snapshot: Snapshot, refusal: Problem): void {
    const [path = ""] = incoming.head.target.split("?", 1);
    const exchange = new Exchange(incoming, snapshot, path, "", this.deps.clock.now());
    incoming.onEnd = () => this.record(exchange);
    this.refuse(exchange, refusal);
  }

  /** Answers what a browser asks before it sends a page's request to a route with CORS: without a key, and free of charge. */
  private preflight(exchange: Exchange): boolean {
    const { head } = exchange.incoming;
    const method = preflightMethod(head.method, head.fields);
    if (method === null) return false;
    const found = exchange.snapshot.router.find(head.host, method, exchange.match);
    if (isMiss(found) || found.cors === null) return false;
    if (
      exchange.odd !== null &&
      ambiguityOf(exchange.odd, found, (path) => exchange.snapshot.router.find(head.host, method, path)) !== null
    )
      return false;
    exchange.route = found;
    exchange.status = 204;
    const own = preflightHead(found.cors, head.fields) + ownHead(exchange, this.deps.clock.now() - exchange.startedAt);
    exchange.incoming.reply({ status: 204, reason: "No Content", head: date() + own, body: null, length: -1 });
    return true;
  }

  /** Route: which backend, and whether this method may go there. */
  private place(exchange: Exchange): Problem | null {
    const { head } = exchange.incoming;
    const found = exchange.snapshot.router.find(head.host, head.method, exchange.match);
    if (exchange.odd !== null) {
      const refusal = ambiguityOf(exchange.odd, found, (path) => exchange.snapshot.router.find(head.host, head.method, path));
      if (refusal !== null) return problem("badRequest", refusal);
    }
    // What Sluice itself answers has one path, and nothing below it.
    const isBelow = !isMiss(found) && found.own !== null && prefixOf(exchange.match) !== prefixOf(found.path);
    if (isBelow) return NO_ROUTE;
    if (isMiss(found)) {
      if (found.allow === null) return NO_ROUTE;
      const allow = found.allow.join(", ");
      return problem("methodNotAllowed", `This route takes ${allow}.`, {}, [["Allow", allow]]);
    }
    exchange.route = found;
    if (exchange.odd !== null && found.keepsSlashes) exchange.path = withSlashes(exchange.path, exchange.odd.kept, found.depth);
    exchange.routeHead = found.responseRules.lines;
    if (found.cors !== null) exchange.routeHead += corsHead(found.cors, head.fields.get("origin"));
    const maxBodySize = found.maxBodySize ?? exchange.snapshot.maxBodySize;
    if (head.contentLength > maxBodySize) return bodyTooLarge(maxBodySize);
    if (found.maxBodySize !== null || found.bodyRate !== null) exchange.incoming.body?.bound(maxBodySize, found.bodyRate);
    return null;
  }

  /** Guard and identify: whether this address may call, who calls, and whether this key may use this route. */
  private identify(exchange: Exchange): Problem | null {
    exchange.trace?.enter("identify", this.deps.clock.now());
    const refusal = identify(exchange, exchange.route as Route, this.deps);
    exchange.trace?.leave(this.deps.clock.now(), refusal === null ? {} : { "sluice.code": refusal.code });
    return refusal;
  }

  /** Admit: all limits at once, the caller's and the route's; one that denies charges none. */
  private admit(exchange: Exchange): void {
    const route = exchange.route as Route;
    const own = exchange.key === null ? this.deps.keys.anonymousPolicies() : this.deps.keys.policiesFor(exchange.key);
    const policies = route.policies.length === 0 ? own : own.length === 0 ? route.policies : [...own, ...route.policies];
    if (policies.length === 0) {
      this.serve(exchange);
      return;
    }
    const { fields } = exchange.incoming.head;
    const caller = {
      consumerId: exchange.key === null ? null : exchange.key.consumer.id,
      keyId: exchange.key === null ? null : exchange.key.id,
      ip: exchange.ip,
      route: route.name,
      header: (name: string) => fields.joined(name.toLowerCase()),
    };
    exchange.trace?.enter("limits", this.deps.clock.now());
    const verdict = this.deps.limiter.admit(
      policies,
      policies.map((policy) => subjectOf(policy, caller)),
      route.cost,
    );
    if (!(verdict instanceof Promise)) this.decide(exchange, verdict);
    else
      verdict
        .then((decided) => {
          // The caller left meanwhile, or its body was refused: the exchange is recorded already.
          if (exchange.incoming.isAborted || exchange.incoming.isReplied) this.deps.limiter.release(decided);
          else this.decide(exchange, decided);
        })
        .catch((error: unknown) => this.fail(exchange, error));
  }

  private decide(exchange: Exchange, verdict: Verdict): void {
    const now = this.deps.clock.wall();
    exchange.limitHead = limitHeaders(verdict.readings, now);
    exchange.trace?.leave(this.deps.clock.now(), { "sluice.limits": namesOf(verdict.readings), "sluice.allowed": verdict.allowed });
    if (verdict.readings.some(isDenied)) this.deps.recorder.denied(exchange, verdict.readings);
    if (verdict.allowed) {
      exchange.verdict = verdict;
      this.serve(exchange);
      return;
    }
    exchange.isLimited = true;
    const retryAfter = retryAfterSeconds(verdict);
    const violated = violatedPolicies(verdict, now);
    const isOfQuota = isQuota(verdict);
    const refusal = passing(
      isOfQuota ? "quotaExceeded" : "rateLimited",
      isOfQuota
        ? `Your quota is used up: a new period begins in ${retryAfter} seconds.`
        : `Too many requests: wait ${retryAfter} seconds, then try again.`,
      retryAfter,
      { ...(isOnlyDegraded(verdict) ? { type: REDUCED_CAPACITY } : {}), limit: violated[0]?.limit, violatedPolicies: violated },
    );
    this.refuse(exchange, refusal);
  }

  /** The request may pass. */
  private serve(exchange: Exchange): void {
    if (!this.isAnsweredFromCache(exchange)) this.forward(exchange);
  }

  /** Cache: gives what is kept and fresh. */
  private isAnsweredFromCache(exchange: Exchange): boolean {
    const route = exchange.route as Route;
    if (route.cache === null || !(isCacheable(exchange) || isForPart(exchange))) return false;
    exchange.trace?.enter("cache", this.deps.clock.now());
    const reply = this.deps.caching.lookUp(exchange, route, route.cache);
    exchange.trace?.leave(this.deps.clock.now(), { "sluice.cache": exchange.cache ?? "miss" });
    if (reply !== null) this.reply(exchange, reply);
    return reply !== null;
  }

  /** Forward: to a target, or to another request for the same, and the answer back as it comes. */
  private forward(exchange: Exchange): void {
    const route = exchange.route as Route;
    const { caching, forwarder } = this.deps;
    const fail = (error: unknown) => this.fail(exchange, error);
    if (route.own !== null) {
      exchange.trace?.enter(route.name, this.deps.clock.now());
      route.own
        .answer(exchange)
        .then((answer) => ("code" in answer ? this.refuse(exchange, answer) : this.reply(exchange, answer)))
        .catch(fail);
      return;
    }
    exchange.isForwarded = true;
    if (route.upstream === null) this.refuse(exchange, unavailable("noHealthyTarget", 5000));
    else if (route.cache !== null && isCacheable(exchange)) {
      caching
        .answer(exchange, route, route.cache, route.upstream)
        .then((answer) => this.respondWith(exchange, answer))
        .catch(fail);
    } else {
      if (route.cache !== null && isForPart(exchange) && isOnlyIfCached(exchange)) {
        this.respondWith(exchange, { kind: "none" });
        return;
      }
      if (route.cache !== null) caching.bypass(exchange);
      forwarder
        .send(exchange, route, route.upstream)
        .then((response) => {
          const { hasCache } = exchange.snapshot;
          if (hasCache && isUnsafe(exchange.incoming.head.method)) caching.invalidate(exchange, response);
          this.respond(exchange, hasCache && route.cache !== null ? caching.keepPosted(exchange, route, route.cache, response) : response);
        })
        .catch(fail);
    }
  }

  private respondWith(exchange: Exchange, answer: Answer): void {
    if (answer.kind === "forwarded") this.respond(exchange, answer.response);
    else if (answer.kind === "kept") this.reply(exchange, answer.reply);
    else
      this.refuse(exchange, problem("notCached", "The request takes only what is kept (only-if-cached), and nothing is: leave that out."));
  }

  /** An answer of which only our own header lines are missing. */
  private reply(exchange: Exchange, reply: Reply): void {
    exchange.status = reply.status;
    exchange.incoming.reply({ ...reply, head: reply.head + ownHead(exchange, this.deps.clock.now() - exchange.startedAt) });
  }

  /** Respond: the upstream's answer, and ours around it. */
  private respond(exchange: Exchange, response: UpstreamResponse): void {
    exchange.status = response.status;
    const own = ownHead(exchange, this.deps.clock.now() - exchange.startedAt);
    const head = responseHead(exchange, exchange.route as Route, response) + own;
    if (response.tunnel === null) {
      const { status, reason, body, length } = response;
      // Trailers come in chunks alone.
      if (body === null || body instanceof Uint8Array || body.length >= 0) exchange.incoming.reply({ status, reason, head, body, length });
      else {
        const { dropped } = (exchange.route as Route).responseRules;
        exchange.incoming.reply({ status, reason, head, body, length, keepsTrailer: (lower) => !dropped.has(lower) });
      }
      return;
    }
    const { tunnel } = response;
    if (exchange.incoming.isAborted) {
      tunnel.close();
      return;
    }
    const { connection } = exchange.incoming;
    const protocol = response.fields.get("upgrade") ?? "websocket";
    exchange.incoming.upgrade(`HTTP/1.1 101 ${response.reason}\r\n${head}Connection: Upgrade\r\nUpgrade: ${protocol}\r\n\r\n`, {
      write: (bytes) => tunnel.write(bytes),
      resume: () => tunnel.resume(),
      close: () => tunnel.close(),
    });
    tunnel.start({
      write: (bytes) => connection.out.write(bytes),
      drained: () => connection.resume(),
      close: () => connection.endTunnel(),
    });
  }

  private refuse(exchange: Exchange, refusal: Problem): void {
    exchange.status = refusal.status;
    exchange.refusal = refusal;
    const told = exchange.route?.credential == null ? refusal : forModelClients(refusal);
    exchange.incoming.reply(problemReply(told, exchange.id, ownHead(exchange, this.deps.clock.now() - exchange.startedAt)));
  }

  private fail(exchange: Exchange, error: unknown): void {
    if (exchange.incoming.isReplied || exchange.incoming.isAborted) return;
    const { refusal, isFault } = failureOf(error);
    if (isFault) this.deps.onFault(error, exchange.id);
    else if (error instanceof UpstreamFailure) exchange.trouble = error.message;
    this.refuse(exchange, refusal);
  }

  /** Record: runs when the answer is written whole or has broken off. */
  private record(exchange: Exchange): void {
    const { units } = exchange;
    if (exchange.verdict !== null) {
      if (units !== null) this.deps.limiter.settle(exchange.verdict, units);
      this.deps.limiter.release(exchange.verdict);
    }
    exchange.release();
    // 499 is nginx's: the client closed the connection before there was an answer.
    if (exchange.status === 0) exchange.status = 499;
    const { auto, usage } = exchange.snapshot;
    const elapsed = this.deps.clock.now() - exchange.startedAt;
    if (usage !== null && exchange.route !== null)
      usage.note(exchange.route.name, exchange.key, exchange.status, exchange.isLimited, units ?? 0);
    // The caller who gave up says nothing of the backend.
    if (auto !== null && exchange.isForwarded && exchange.status !== 499) auto.observe(exchange.status >= 500, elapsed);
    this.deps.recorder.note(exchange, elapsed);
  }
}

const namesOf = (readings: readonly LimitReading[]): string => readings.map(({ policy }) => policy.name).join(",");
const isDenied = ({ denied }: LimitReading): boolean => denied;
