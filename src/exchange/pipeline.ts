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
import type { Generation } from "./snapshot.ts";

const NO_ROUTE = problem("routeNotFound", "No route takes this path; check it, or ask for the list of routes.");

export interface PipelineParts {
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
  constructor(private readonly parts: PipelineParts) {}

  /** Answers one request. In memory nothing waits before the upstream call. */
  handle(incoming: Incoming, generation: Generation, { path, query, odd }: Target): void {
    const x = new Exchange(incoming, generation, path, query, this.parts.clock.now(), odd);
    incoming.onEnd = () => this.record(x);
    try {
      if (this.preflight(x)) return;
      const refusal = this.place(x) ?? this.identify(x);
      if (refusal !== null) this.refuse(x, refusal);
      else this.admit(x);
    } catch (error) {
      this.fail(x, error);
    }
  }

  /** Refuses a request that can't be placed anywhere, such as one with a malformed path. */
  reject(incoming: Incoming, generation: Generation, refusal: Problem): void {
    const [path = ""] = incoming.head.target.split("?", 1);
    const x = new Exchange(incoming, generation, path, "", this.parts.clock.now());
    incoming.onEnd = () => this.record(x);
    this.refuse(x, refusal);
  }

  /** Answers what a browser asks before it sends a page's request to a route with CORS: without a key, and free of charge. */
  private preflight(x: Exchange): boolean {
    const { head } = x.incoming;
    const method = preflightMethod(head.method, head.fields);
    if (method === null) return false;
    const found = x.generation.router.find(head.host, method, x.match);
    if (isMiss(found) || found.cors === null) return false;
    if (x.odd !== null && ambiguityOf(x.odd, found, (path) => x.generation.router.find(head.host, method, path)) !== null) return false;
    x.route = found;
    x.status = 204;
    const own = preflightHead(found.cors, head.fields) + ownHead(x, this.parts.clock.now() - x.startedAt);
    x.incoming.reply({ status: 204, reason: "No Content", head: date() + own, body: null, length: -1 });
    return true;
  }

  /** Route: which backend, and whether this method may go there. */
  private place(x: Exchange): Problem | null {
    const { head } = x.incoming;
    const found = x.generation.router.find(head.host, head.method, x.match);
    if (x.odd !== null) {
      const refusal = ambiguityOf(x.odd, found, (path) => x.generation.router.find(head.host, head.method, path));
      if (refusal !== null) return problem("badRequest", refusal);
    }
    // What Sluice itself answers has one path, and nothing below it.
    const isBelow = !isMiss(found) && found.own !== null && prefixOf(x.match) !== prefixOf(found.path);
    if (isBelow) return NO_ROUTE;
    if (isMiss(found)) {
      if (found.allow === null) return NO_ROUTE;
      const allow = found.allow.join(", ");
      return problem("methodNotAllowed", `This route takes ${allow}.`, {}, [["Allow", allow]]);
    }
    x.route = found;
    if (x.odd !== null && found.keepsSlashes) x.path = withSlashes(x.path, x.odd.kept, found.depth);
    x.routeHead = found.responseRules.lines;
    if (found.cors !== null) x.routeHead += corsHead(found.cors, head.fields.get("origin"));
    const maxBodySize = found.maxBodySize ?? x.generation.maxBodySize;
    if (head.contentLength > maxBodySize) return bodyTooLarge(maxBodySize);
    if (found.maxBodySize !== null || found.bodyRate !== null) x.incoming.body?.bound(maxBodySize, found.bodyRate);
    return null;
  }

  /** Guard and identify: whether this address may call, who calls, and whether this key may use this route. */
  private identify(x: Exchange): Problem | null {
    x.trace?.enter("identify", this.parts.clock.now());
    const refusal = identify(x, x.route as Route, this.parts);
    x.trace?.leave(this.parts.clock.now(), refusal === null ? {} : { "sluice.code": refusal.code });
    return refusal;
  }

  /** Admit: all limits at once, the caller's and the route's; one that denies charges none. */
  private admit(x: Exchange): void {
    const route = x.route as Route;
    const own = x.key === null ? this.parts.keys.anonymousPolicies() : this.parts.keys.policiesFor(x.key);
    const policies = route.policies.length === 0 ? own : own.length === 0 ? route.policies : [...own, ...route.policies];
    if (policies.length === 0) {
      this.serve(x);
      return;
    }
    const { fields } = x.incoming.head;
    const caller = {
      consumerId: x.key === null ? null : x.key.consumer.id,
      keyId: x.key === null ? null : x.key.id,
      ip: x.ip,
      route: route.name,
      header: (name: string) => fields.joined(name.toLowerCase()),
    };
    x.trace?.enter("limits", this.parts.clock.now());
    const verdict = this.parts.limiter.admit(
      policies,
      policies.map((policy) => subjectOf(policy, caller)),
      route.cost,
    );
    if (!(verdict instanceof Promise)) this.decide(x, verdict);
    else
      verdict
        .then((it) => {
          // The caller left meanwhile, or its body was refused: the exchange is recorded already.
          if (x.incoming.isAborted || x.incoming.isReplied) this.parts.limiter.release(it);
          else this.decide(x, it);
        })
        .catch((error: unknown) => this.fail(x, error));
  }

  private decide(x: Exchange, verdict: Verdict): void {
    const now = this.parts.clock.wall();
    x.limitHead = limitHeaders(verdict.readings, now);
    x.trace?.leave(this.parts.clock.now(), { "sluice.limits": namesOf(verdict.readings), "sluice.allowed": verdict.allowed });
    if (verdict.readings.some(isDenied)) this.parts.recorder.denied(x, verdict.readings);
    if (verdict.allowed) {
      x.verdict = verdict;
      this.serve(x);
      return;
    }
    x.isLimited = true;
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
    this.refuse(x, refusal);
  }

  /** The request may pass. */
  private serve(x: Exchange): void {
    if (!this.isAnsweredFromCache(x)) this.forward(x);
  }

  /** Cache: gives what is kept and fresh. */
  private isAnsweredFromCache(x: Exchange): boolean {
    const route = x.route as Route;
    if (route.cache === null || !(isCacheable(x) || isForPart(x))) return false;
    x.trace?.enter("cache", this.parts.clock.now());
    const reply = this.parts.caching.lookUp(x, route, route.cache);
    x.trace?.leave(this.parts.clock.now(), { "sluice.cache": x.cache ?? "miss" });
    if (reply !== null) this.reply(x, reply);
    return reply !== null;
  }

  /** Forward: to a target, or to another request for the same, and the answer back as it comes. */
  private forward(x: Exchange): void {
    const route = x.route as Route;
    const { caching, forwarder } = this.parts;
    const fail = (error: unknown) => this.fail(x, error);
    if (route.own !== null) {
      x.trace?.enter(route.name, this.parts.clock.now());
      route.own
        .answer(x)
        .then((answer) => ("code" in answer ? this.refuse(x, answer) : this.reply(x, answer)))
        .catch(fail);
      return;
    }
    x.isForwarded = true;
    if (route.upstream === null) this.refuse(x, unavailable("noHealthyTarget", 5000));
    else if (route.cache !== null && isCacheable(x)) {
      caching
        .answer(x, route, route.cache, route.upstream)
        .then((answer) => this.respondWith(x, answer))
        .catch(fail);
    } else {
      if (route.cache !== null && isForPart(x) && isOnlyIfCached(x)) {
        this.respondWith(x, { kind: "none" });
        return;
      }
      if (route.cache !== null) caching.bypass(x);
      forwarder
        .send(x, route, route.upstream)
        .then((response) => {
          const { hasCache } = x.generation;
          if (hasCache && isUnsafe(x.incoming.head.method)) caching.invalidate(x, response);
          this.respond(x, hasCache && route.cache !== null ? caching.keepPosted(x, route, route.cache, response) : response);
        })
        .catch(fail);
    }
  }

  private respondWith(x: Exchange, answer: Answer): void {
    if (answer.kind === "forwarded") this.respond(x, answer.response);
    else if (answer.kind === "kept") this.reply(x, answer.reply);
    else this.refuse(x, problem("notCached", "The request takes only what is kept (only-if-cached), and nothing is: leave that out."));
  }

  /** An answer of which only our own header lines are missing. */
  private reply(x: Exchange, reply: Reply): void {
    x.status = reply.status;
    x.incoming.reply({ ...reply, head: reply.head + ownHead(x, this.parts.clock.now() - x.startedAt) });
  }

  /** Respond: the upstream's answer, and ours around it. */
  private respond(x: Exchange, response: UpstreamResponse): void {
    x.status = response.status;
    const own = ownHead(x, this.parts.clock.now() - x.startedAt);
    const head = responseHead(x, x.route as Route, response) + own;
    if (response.tunnel === null) {
      const { status, reason, body, length } = response;
      // Trailers come in chunks alone.
      if (body === null || body instanceof Uint8Array || body.length >= 0) x.incoming.reply({ status, reason, head, body, length });
      else {
        const { dropped } = (x.route as Route).responseRules;
        x.incoming.reply({ status, reason, head, body, length, keepsTrailer: (lower) => !dropped.has(lower) });
      }
      return;
    }
    const { tunnel } = response;
    if (x.incoming.isAborted) {
      tunnel.close();
      return;
    }
    const { connection } = x.incoming;
    const protocol = response.fields.get("upgrade") ?? "websocket";
    x.incoming.upgrade(`HTTP/1.1 101 ${response.reason}\r\n${head}Connection: Upgrade\r\nUpgrade: ${protocol}\r\n\r\n`, {
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

  private refuse(x: Exchange, refusal: Problem): void {
    x.status = refusal.status;
    x.refusal = refusal;
    const told = x.route?.credential == null ? refusal : forModelClients(refusal);
    x.incoming.reply(problemReply(told, x.id, ownHead(x, this.parts.clock.now() - x.startedAt)));
  }

  private fail(x: Exchange, error: unknown): void {
    if (x.incoming.isReplied || x.incoming.isAborted) return;
    const { refusal, isFault } = failureOf(error);
    if (isFault) this.parts.onFault(error, x.id);
    else if (error instanceof UpstreamFailure) x.trouble = error.message;
    this.refuse(x, refusal);
  }

  /** Record: runs when the answer is written whole or has broken off. */
  private record(x: Exchange): void {
    const { units } = x;
    if (x.verdict !== null) {
      if (units !== null) this.parts.limiter.settle(x.verdict, units);
      this.parts.limiter.release(x.verdict);
    }
    x.release();
    // 499 is nginx's: the client closed the connection before there was an answer.
    if (x.status === 0) x.status = 499;
    const { auto, usage } = x.generation;
    const elapsed = this.parts.clock.now() - x.startedAt;
    if (usage !== null && x.route !== null) usage.note(x.route.name, x.key, x.status, x.isLimited, units ?? 0);
    // The caller who gave up says nothing of the backend.
    if (auto !== null && x.isForwarded && x.status !== 499) auto.observe(x.status >= 500, elapsed);
    this.parts.recorder.note(x, elapsed);
  }
}

const namesOf = (readings: readonly LimitReading[]): string => readings.map(({ policy }) => policy.name).join(",");
const isDenied = ({ denied }: LimitReading): boolean => denied;
