import type { Answer } from "../exchange/answer.ts";
import type { Exchange } from "../exchange/exchange.ts";
import type { Answerer } from "../exchange/line.ts";
import type { Route } from "../exchange/route.ts";
import { isMiss } from "../exchange/router.ts";
import { callerLeft, discard, UpstreamFailure, type UpstreamResponse } from "../http/client.ts";
import { isSafe } from "../http/methods.ts";
import { matchOf, onlyParameters } from "../http/path.ts";
import { problem } from "../http/problem.ts";
import type { Reply } from "../http/server.ts";
import { CredentialRefused, PoolExhausted } from "../pools/credential.ts";
import { NoTarget } from "../upstreams/no-target.ts";
import type { Clock } from "../values/clock.ts";
import { type Changed, changedBy } from "./changed.ts";
import { type CacheCounts, noCacheCounts } from "./counts.ts";
import { type Fill, Fills } from "./fill.ts";
import { type Asked, Keeper } from "./keeper.ts";
import { hasSeveral, uriOf } from "./key.ts";
import { type CachedRoute, type Forward, findKept, headKey, inBackground, type Lookup, lookupOf, roleOf } from "./lookup.ts";
import { isError, mayStandIn, useOf } from "./policy.ts";
import type { CacheStore, Entry } from "./store.ts";
import { ageOf, cacheStatus, conditionsOf, replyOf } from "./stored.ts";

/** The caller wanted a kept one, and there is none (RFC 9111 §5.2.1.7). */
const NOT_CACHED: Answer = {
  kind: "problem",
  problem: problem("notCached", "The request takes only what is kept (only-if-cached), and nothing is: leave that out."),
};

const forwarded = (response: UpstreamResponse): Answer => ({ kind: "forwarded", response });

/** A request waits for the URI's first answer, and once more for that of its own variant. */
const MAX_WAITS = 2;

export interface CachingDeps {
  readonly store: CacheStore;
  readonly clock: Clock;
  readonly onFault: (error: unknown, requestId: string) => void;
  /** Is counted in; left out: in numbers of its own. */
  readonly counts?: CacheCounts;
}

/**
 * Caches by RFC 9111 for all callers before the backends: gives what is fresh, asks about what is stale, lets one request fetch what many want, and keeps private answers apart.
 */
export class Caching {
  readonly counts: CacheCounts;
  private readonly fills: Fills;
  private readonly keeper: Keeper;
  /** Entries that are being revalidated in the background. */
  private readonly refreshing = new Set<Entry>();

  constructor(private readonly deps: CachingDeps) {
    const { store, clock } = deps;
    this.counts = deps.counts ?? noCacheCounts();
    this.fills = new Fills(clock);
    this.keeper = new Keeper({ store, fills: this.fills, counts: this.counts, clock });
  }

  /**
   * Wraps what asks a route's backends: with a cache, what is kept is given, and what may be kept is; on any route a change makes forget what it changed.
   *
   * @example
   * const answer = caching.around(route, (exchange, conditions) => forwarder.send(exchange, route, upstream, conditions));
   */
  around(route: Route, forward: Forward): Answerer {
    const { cache } = route;
    if (cache === null)
      return (exchange) => {
        exchange.notes.isForwarded = true;
        const answering = forward(exchange, null);
        if (!exchange.snapshot.hasCache || isSafe(exchange.incoming.head.method)) return answering.then(forwarded);
        return answering.then((response) => {
          this.invalidate(exchange, response);
          return forwarded(response);
        });
      };
    const on: CachedRoute = { route, cache, forward };
    return (exchange) => {
      const role = roleOf(exchange);
      if (role === "none") return this.goBy(exchange, on);
      exchange.trace?.enter("cache", this.deps.clock.now());
      const lookup = lookupOf(exchange, on, role === "part");
      const reply = this.lookUp(lookup);
      exchange.trace?.leave(this.deps.clock.now(), { "sluice.cache": exchange.notes.cache ?? "miss" });
      if (reply !== null) return { kind: "reply", reply };
      exchange.notes.isForwarded = true;
      if (lookup.directives.onlyIfCached) return NOT_CACHED;
      return role === "whole" ? this.ask(lookup) : this.goBy(exchange, on);
    };
  }

  /** Forgets what is kept of a route, below a path prefix, or all. Gives how many responses that were. */
  purge(isMeant: (route: string, path: string) => boolean): number {
    // What is under way may be of any kind, and is fetched again soon.
    this.fills.voidAll();
    return this.deps.store.purge(isMeant);
  }

  /** Gives the answer that needs nobody to be asked, or `null`. */
  private lookUp(lookup: Lookup): Reply | null {
    const { exchange, directives } = lookup;
    const entry = findKept(this.deps.store, lookup);
    if (entry === null) return null;
    const age = ageOf(entry, this.deps.clock.now());
    const use = useOf(entry.freshness, age, directives);
    if (use === "expired" || use === "asked-for") return null;
    // Parts are of what is whole, and nothing else is fetched for them.
    if (use === "stale-while-revalidate" && lookup.isForPart) return null;
    if (use === "fresh") {
      this.counts.hits++;
      exchange.notes.cache = "hit";
    } else {
      this.counts.stale++;
      exchange.notes.cache = "stale";
      if (use === "stale-while-revalidate") this.refresh(lookup, entry);
    }
    return replyOf(lookup, entry, age, `hit; ttl=${Math.floor((entry.freshness.lifetime - age) / 1000)}`);
  }

  /** Gives the answer for which the backend, or another request for the same, has to be asked. `waits`: how often it has waited for another one. Rejects as what is wrapped does. */
  private ask(lookup: Lookup, waits = 0): Answer | Promise<Answer> {
    const { key, directives } = lookup;
    const name = `${key}\n${this.variantOf(lookup)}`;
    const fill = this.fills.find(name);
    const isAskedFor = directives.noCache || directives.maxAge === 0 || directives.noStore;
    if (fill !== null && waits < MAX_WAITS && !isAskedFor && !this.fills.isPassed(key)) return this.waitFor(fill, lookup, waits);
    return this.fetch(lookup, fill === null && !directives.noStore ? name : null);
  }

  private async waitFor(fill: Fill, lookup: Lookup, waits: number): Promise<Answer> {
    const { exchange, on } = lookup;
    const { clock } = this.deps;
    this.counts.collapsed++;
    exchange.trace?.enter("collapsed", clock.now());
    const hasEnded = await fill.endsWithin(on.route.timeout);
    exchange.trace?.leave(clock.now());
    if (!hasEnded) {
      // Whatever became of it: the next ones must not wait for it as well.
      this.fills.hide(fill);
      throw new UpstreamFailure("timeout", "another request for the same got no answer", false);
    }
    if (exchange.isOver) throw callerLeft();
    const reply = this.collapsed(lookup);
    return reply === null ? this.ask(lookup, waits + 1) : { kind: "reply", reply };
  }

  /** Gives, after a wait, what the other request has brought, if it is for this one too. */
  private collapsed(lookup: Lookup): Reply | null {
    const entry = findKept(this.deps.store, lookup);
    if (entry === null) return null;
    const age = ageOf(entry, this.deps.clock.now());
    const use = useOf(entry.freshness, age, lookup.directives);
    if (use === "expired" || use === "asked-for") return null;
    this.counts.hits++;
    lookup.exchange.notes.cache = "hit";
    return replyOf(lookup, entry, age, "fwd=uri-miss; collapsed");
  }

  /** Asks the backend, about what is stale if there is something, and keeps what may be kept. `name`: what others find it by, who then wait for it. */
  private async fetch(lookup: Lookup, name: string | null): Promise<Answer> {
    const { exchange, on, key, uri, directives } = lookup;
    // What backends see must be what tells responses apart: what else is in the query could change the answer for everybody.
    if (on.cache.query !== null) exchange.query = onlyParameters(exchange.query, on.cache.query);
    const found = findKept(this.deps.store, lookup);
    const entry = found !== null && found.body !== null && exchange.incoming.head.method === "GET" ? found : null;
    const fill = this.fills.begin(name, uri);
    const asked: Asked = { lookup, fill, found, entry, why: this.whyForwarded(lookup, found), at: this.deps.clock.now() };
    // What the caller has already is compared here: the backend is asked for the whole, so that there is something to keep.
    const conditions = entry !== null ? conditionsOf(entry) : directives.noStore || this.fills.isPassed(key) ? null : "";
    const pending = exchange.pendingEndings;
    try {
      return this.answered(asked, await on.forward(exchange, conditions), pending);
    } catch (error) {
      fill.end();
      const reply = found !== null && isBackends(error) ? this.standIn(lookup, found, null) : null;
      if (reply === null) throw error;
      return { kind: "reply", reply };
    }
  }

  /** Decides what becomes of the backend's answer. `pending`: the exchange's endings when the backend was asked. */
  private answered(asked: Asked, response: UpstreamResponse, pending: number): Answer {
    const { lookup, fill, found, entry, why } = asked;
    const { exchange } = lookup;
    let reply: Reply | null = null;
    if (found !== null && isError(response.status)) reply = this.standIn(lookup, found, response.status);
    else if (entry !== null && response.status === 304) {
      const renewed = this.keeper.renew(asked, entry, response);
      this.counts.revalidated++;
      exchange.notes.cache = "revalidated";
      reply = replyOf(lookup, renewed, ageOf(renewed, this.deps.clock.now()), `fwd=${why}; fwd-status=304`);
    }
    if (reply !== null) {
      // However slowly the caller reads what is kept, the backend is done with it.
      discard(response);
      exchange.endSince(pending);
      fill.end();
      return { kind: "reply", reply };
    }
    this.counts.misses++;
    exchange.notes.cache = "miss";
    return { kind: "forwarded", response: this.keeper.take(asked, response) };
  }

  /** Tells why what is kept does not do (RFC 9211 §2.2). */
  private whyForwarded({ key, directives }: Lookup, found: Entry | null): Asked["why"] {
    if (found === null) return this.deps.store.varyOf(key) === null ? "uri-miss" : "vary-miss";
    return useOf(found.freshness, ageOf(found, this.deps.clock.now()), directives) === "asked-for" ? "request" : "stale";
  }

  /** Gives a kept response in the place of an error, where that is allowed. `status`: that of the backend's answer. */
  private standIn(lookup: Lookup, entry: Entry, status: number | null): Reply | null {
    const age = ageOf(entry, this.deps.clock.now());
    if (!mayStandIn(entry.freshness, age, lookup.directives)) return null;
    this.counts.stale++;
    lookup.exchange.notes.cache = "stale";
    return replyOf(lookup, entry, age, `fwd=stale${status === null ? "" : `; fwd-status=${status}`}; detail=stale-if-error`);
  }

  /** Fetches a new one in the background, once at a time. */
  private refresh(lookup: Lookup, entry: Entry): void {
    if (this.refreshing.has(entry)) return;
    this.refreshing.add(entry);
    const background = inBackground(lookup, this.deps.clock.now());
    this.fetch(background, null)
      .then((answer) => (answer.kind === "forwarded" ? readToEnd(answer.response) : undefined))
      .catch((error: unknown) => {
        // The next request tries again; a fault of our own is told.
        const isExpected = [UpstreamFailure, NoTarget, PoolExhausted, CredentialRefused].some((kind) => error instanceof kind);
        if (!isExpected) this.deps.onFault(error, lookup.exchange.id);
      })
      .finally(() => {
        background.exchange.end();
        this.refreshing.delete(entry);
      });
  }

  /** Asks the backend for what the cache has no part in, but may learn from. */
  private async goBy(exchange: Exchange, on: CachedRoute): Promise<Answer> {
    const { method } = exchange.incoming.head;
    this.counts.bypassed++;
    exchange.notes.isForwarded = true;
    exchange.notes.cache = "bypass";
    exchange.cacheHead = cacheStatus("fwd=bypass");
    const response = await on.forward(exchange, null);
    if (!isSafe(method)) this.invalidate(exchange, response);
    return { kind: "forwarded", response: method === "POST" ? this.keeper.takePosted(exchange, on, response) : response };
  }

  /** Forgets what an unsafe request has changed. */
  private invalidate(exchange: Exchange, response: UpstreamResponse): void {
    for (const changed of changedBy(exchange, response)) this.forget(exchange, changed);
  }

  private forget(exchange: Exchange, { path, query }: Changed): void {
    const found = exchange.snapshot.router.find(exchange.incoming.head.host, "GET", matchOf(path));
    if (isMiss(found) || found.cache === null) return;
    const uri = uriOf(exchange, found, found.cache, path, query);
    this.fills.voidUri(uri);
    const { store } = this.deps;
    if (hasSeveral(found.cache)) store.removeUri(uri);
    else {
      store.removeAll(uri);
      store.removeAll(headKey(uri));
    }
  }

  /** Gives the values of the fields by which the URI's last response varied. */
  private variantOf({ key, valueFor }: Lookup): string {
    const vary = this.deps.store.varyOf(key);
    return vary === null ? "" : vary.map(valueFor).join("\n");
  }
}

/** Tells whether the backend is to blame, so that a stale response may stand in. */
const isBackends = (error: unknown): boolean =>
  error instanceof NoTarget || (error instanceof UpstreamFailure && error.kind !== "aborted" && error.kind !== "request");

/** Takes a response that nobody else does: what it cost is known when the last of it has gone by. */
function readToEnd({ body }: UpstreamResponse): Promise<void> | undefined {
  if (body === null || body instanceof Uint8Array) return undefined;
  return new Promise((resolve) => body.start({ write: () => true, end: () => resolve(), fail: () => resolve() }));
}
