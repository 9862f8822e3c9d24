import type { Answer } from "../exchange/answer.ts";
import type { Arrival, Exchange } from "../exchange/exchange.ts";
import { keptFields } from "../exchange/headers.ts";
import type { Answerer } from "../exchange/line.ts";
import type { Route } from "../exchange/route.ts";
import { isMiss } from "../exchange/router.ts";
import type { Body, Sink } from "../http/body.ts";
import { callerLeft, discard, UpstreamFailure, type UpstreamResponse } from "../http/client.ts";
import { Fields } from "../http/fields.ts";
import { isSafe } from "../http/methods.ts";
import { below, matchOf, onlyParameters } from "../http/path.ts";
import { problem } from "../http/problem.ts";
import { date } from "../http/reply.ts";
import type { Reply } from "../http/server.ts";
import { CredentialRefused, PoolExhausted } from "../pools/credential.ts";
import type { Forwarder } from "../upstreams/forwarder.ts";
import { NoTarget } from "../upstreams/no-target.ts";
import type { Upstream } from "../upstreams/upstream.ts";
import type { Clock } from "../values/clock.ts";
import { type Directives, owned, requestDirectives } from "./directives.ts";
import {
  type Freshness,
  freshnessOf,
  isError,
  isUnmodified,
  mayStandIn,
  type NotStored,
  normalized,
  partOf,
  useOf,
  varyOf,
  whyNotStored,
} from "./policy.ts";
import type { CacheStore, Entry } from "./store.ts";

/** What a route's cache is set to, ready for requests. */
export interface RouteCache {
  /** Milliseconds that a response is fresh which says nothing of it; `null`: by when it was modified. */
  readonly ttl: number | null;
  /** Bytes. */
  readonly maxEntrySize: number;
  /** Callers with a key get each other's responses. */
  readonly isShared: boolean;
  /** Each consumer gets its own responses again; callers without a key have one copy together. */
  readonly isPerConsumer: boolean;
  /** Lower-case names of fields that tell responses apart beside Vary. */
  readonly headers: readonly string[];
  /** Names of the query's parameters that tell responses apart, and that alone are forwarded where the cache takes part; `null`: the whole query. */
  readonly query: readonly string[] | null;
}

/** Counted since the start. */
export interface CacheCounts {
  hits: number;
  misses: number;
  /** Stale ones given, for whatever reason. */
  stale: number;
  revalidated: number;
  /** Requests that waited for another one's answer. */
  collapsed: number;
  stored: number;
  bypassed: number;
}

/** The caller wanted a kept one, and there is none (RFC 9111 §5.2.1.7). */
const NOT_CACHED: Answer = {
  kind: "problem",
  problem: problem("notCached", "The request takes only what is kept (only-if-cached), and nothing is: leave that out."),
};

export interface CachingDeps {
  readonly store: CacheStore;
  readonly forwarder: Forwarder;
  readonly clock: Clock;
  readonly onFault: (error: unknown, requestId: string) => void;
}

/** For how long requests for what can't be kept don't wait for each other, in milliseconds, and for how many URIs that is remembered. */
const PASS_FOR = 10_000;
const MAX_PASSED = 10_000;
/** A request waits for the URI's first answer, and once more for that of its own variant. */
const MAX_WAITS = 2;

/** A request that fetches what others wait for. */
class Fill {
  readonly settled: Promise<void>;
  /** A change or a purge came in between: what is fetched must not be kept. */
  isVoid = false;
  readonly settle: () => void;

  constructor(
    readonly key: string,
    readonly uri: string,
  ) {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.settled = promise;
    this.settle = resolve;
  }
}

/**
 * A shared cache by RFC 9111 before the backends: gives what is fresh, asks about what is stale, lets one request fetch what many want, and keeps private answers apart.
 */
export class Caching {
  readonly counts: CacheCounts = { hits: 0, misses: 0, stale: 0, revalidated: 0, collapsed: 0, stored: 0, bypassed: 0 };
  /** Those that others may wait for, and all of them. */
  private readonly fills = new Map<string, Fill>();
  private readonly active = new Set<Fill>();
  /** Hashes of the keys whose responses could not be kept, and until when that is believed. Two with one hash do no harm: their requests don't wait for each other. */
  private readonly passed = new Map<number, number>();
  /** Entries that are being revalidated in the background. */
  private readonly refreshing = new Set<Entry>();

  constructor(private readonly deps: CachingDeps) {}

  /** Wraps what answers a route's requests: with a cache, what is kept is given, and what may be kept is; on any route a change makes forget what it changed. */
  around(route: Route, upstream: Upstream, forward: (exchange: Exchange) => Promise<UpstreamResponse>): Answerer {
    const { cache } = route;
    if (cache === null)
      return async (exchange) => {
        exchange.notes.isForwarded = true;
        const response = await forward(exchange);
        if (exchange.snapshot.hasCache && !isSafe(exchange.incoming.head.method)) this.invalidate(exchange, response);
        return { kind: "forwarded", response };
      };
    return (exchange) => {
      const isWhole = isCacheable(exchange);
      const isPart = !isWhole && isForPart(exchange);
      if (isWhole || isPart) {
        exchange.trace?.enter("cache", this.deps.clock.now());
        const reply = this.lookUp(exchange, route, cache);
        exchange.trace?.leave(this.deps.clock.now(), { "sluice.cache": exchange.notes.cache ?? "miss" });
        if (reply !== null) return { kind: "reply", reply };
      }
      exchange.notes.isForwarded = true;
      if (isWhole) return this.answer(exchange, route, cache, upstream);
      if (isPart && isOnlyIfCached(exchange)) return NOT_CACHED;
      this.bypass(exchange);
      return this.forwardBeside(exchange, route, cache, forward);
    };
  }

  /** Asks the backend for what the cache has no part in, but may learn from. */
  private async forwardBeside(
    exchange: Exchange,
    route: Route,
    cache: RouteCache,
    forward: (exchange: Exchange) => Promise<UpstreamResponse>,
  ): Promise<Answer> {
    const response = await forward(exchange);
    if (!isSafe(exchange.incoming.head.method)) this.invalidate(exchange, response);
    return { kind: "forwarded", response: this.keepPosted(exchange, route, cache, response) };
  }

  /** The answer that can be given without asking anybody, or `null`. */
  lookUp(exchange: Exchange, route: Route, cache: RouteCache): Reply | null {
    const request = directivesOf(exchange);
    const entry = this.find(exchange, keyOf(exchange, route, cache));
    if (entry === null) return null;
    const now = this.deps.clock.now();
    const age = ageOf(entry, now);
    const use = useOf(entry.freshness, age, request);
    if (use === "expired" || use === "asked-for") return null;
    // Parts are of what is whole, and nothing else is fetched for them.
    if (use === "stale-while-revalidate" && isForPart(exchange)) return null;
    if (use === "fresh") {
      this.counts.hits++;
      exchange.notes.cache = "hit";
    } else {
      this.counts.stale++;
      exchange.notes.cache = "stale";
      if (use === "stale-while-revalidate") this.refresh(exchange, route, cache, entry);
    }
    return replyOf(exchange, entry, age, `hit; ttl=${Math.floor((entry.freshness.lifetime - age) / 1000)}`);
  }

  /** The answer for which the backend, or another request for the same, has to be asked. Rejects as `Forwarder.send` does. */
  async answer(exchange: Exchange, route: Route, cache: RouteCache, upstream: Upstream): Promise<Answer> {
    const request = directivesOf(exchange);
    const key = keyOf(exchange, route, cache);
    if (request.onlyIfCached) return NOT_CACHED;
    for (let waits = 0; ; waits++) {
      if (waits > 0) {
        const kept = this.collapsed(exchange, key, request);
        if (kept !== null) return { kind: "reply", reply: kept };
      }
      const fillKey = `${key}\n${this.variantOf(exchange, key)}`;
      const fill = this.fills.get(fillKey);
      const isAskedFor = request.noCache || request.maxAge === 0 || request.noStore;
      if (fill === undefined || waits >= MAX_WAITS || isAskedFor || this.isPassed(key))
        return this.fetch(exchange, route, cache, upstream, request, key, fill === undefined && !request.noStore ? fillKey : null);
      this.counts.collapsed++;
      exchange.trace?.enter("collapsed", this.deps.clock.now());
      const isSettled = await within(fill.settled, route.timeout);
      exchange.trace?.leave(this.deps.clock.now());
      if (!isSettled) {
        // Whatever became of it: the next ones must not wait for it as well.
        if (this.fills.get(fillKey) === fill) this.fills.delete(fillKey);
        throw new UpstreamFailure("timeout", "another request for the same got no answer", false);
      }
      if (exchange.incoming.isAborted) throw callerLeft();
    }
  }

  /** Notes a request that the cache has no part in. */
  bypass(exchange: Exchange): void {
    this.counts.bypassed++;
    exchange.notes.cache = "bypass";
    exchange.cacheHead = status("fwd=bypass");
  }

  /** Forgets what an unsafe request has changed (RFC 9111 §4.4): its URI, and those that the response names. */
  invalidate(exchange: Exchange, response: UpstreamResponse): void {
    if (response.status >= 400) return;
    const { host } = exchange.incoming.head;
    this.forget(exchange, exchange.path, exchange.query);
    for (const name of ["location", "content-location"]) {
      const value = response.fields.get(name);
      const url = value === null ? null : URL.parse(value, `http://${host}${exchange.path}`);
      if (url === null || url.host !== URL.parse(`http://${host}`)?.host) continue;
      this.forget(exchange, url.pathname, url.search);
      // A backend behind a prefix names its own paths.
      if (exchange.route.strip > 0)
        this.forget(
          exchange,
          exchange.path.slice(0, exchange.path.length - below(exchange.path, exchange.route.depth).length) + url.pathname,
          url.search,
        );
    }
  }

  /** Forgets what is kept of a route, below a path prefix, or all. Gives how many responses that were. */
  purge(isMeant: (route: string, path: string) => boolean): number {
    // What is under way may be of any kind, and is fetched again soon.
    for (const fill of this.active) fill.isVoid = true;
    this.passed.clear();
    return this.deps.store.purge(isMeant);
  }

  private find(exchange: Exchange<Arrival>, key: string): Entry | null {
    const valueFor = valuesOf(exchange);
    const found = this.deps.store.find(key, valueFor);
    if (exchange.incoming.head.method !== "HEAD") return found;
    const head = this.deps.store.find(`HEAD ${key}`, valueFor);
    return head === null || (found !== null && found.arrivedAt >= head.arrivedAt) ? found : head;
  }

  /** After a wait: what the other request has brought, if it is for this one too. */
  private collapsed(exchange: Exchange, key: string, request: Directives): Reply | null {
    const entry = this.find(exchange, key);
    if (entry === null) return null;
    const age = ageOf(entry, this.deps.clock.now());
    const use = useOf(entry.freshness, age, request);
    if (use === "expired" || use === "asked-for") return null;
    this.counts.hits++;
    exchange.notes.cache = "hit";
    return replyOf(exchange, entry, age, "fwd=uri-miss; collapsed");
  }

  /** Asks the backend, about what is stale if there is something, and keeps what may be kept. */
  private async fetch(
    exchange: Exchange<Arrival>,
    route: Route,
    cache: RouteCache,
    upstream: Upstream,
    request: Directives,
    key: string,
    fillKey: string | null,
  ): Promise<Answer> {
    // What backends see must be what tells responses apart: what else is in the query could change the answer for everybody.
    if (cache.query !== null) exchange.query = onlyParameters(exchange.query, cache.query);
    const fill = new Fill(fillKey ?? key, uriOf(exchange, route, cache, exchange.path, exchange.query));
    this.active.add(fill);
    if (fillKey !== null) this.fills.set(fillKey, fill);
    const done = () => {
      this.active.delete(fill);
      if (this.fills.get(fill.key) === fill) this.fills.delete(fill.key);
      fill.settle();
    };
    try {
      const found = this.find(exchange, key);
      const entry = found !== null && found.body !== null && exchange.incoming.head.method === "GET" ? found : null;
      const why = found === null ? (this.deps.store.varyOf(key) === null ? "uri-miss" : "vary-miss") : this.whyForwarded(found, request);
      const isAlone = this.isPassed(key) || request.noStore;
      const requestedAt = this.deps.clock.now();
      const held = exchange.pendingEndings;
      let response: UpstreamResponse;
      try {
        // What the caller has already is compared here: the backend is asked for the whole, so that there is something to keep.
        response = await this.deps.forwarder.send(exchange, route, upstream, entry === null ? (isAlone ? null : "") : conditionsOf(entry));
      } catch (error) {
        const isBackends =
          error instanceof NoTarget || (error instanceof UpstreamFailure && error.kind !== "aborted" && error.kind !== "request");
        const reply = isBackends && found !== null ? this.standIn(exchange, found, request, null) : null;
        done();
        if (reply === null) throw error;
        return { kind: "reply", reply };
      }
      if (found !== null && isError(response.status)) {
        const reply = this.standIn(exchange, found, request, response.status);
        if (reply !== null) {
          abandon(exchange, response, held);
          done();
          return { kind: "reply", reply };
        }
      }
      if (entry !== null && response.status === 304) {
        const renewed = this.renew(exchange, route, cache, key, entry, response, requestedAt, fill.isVoid);
        abandon(exchange, response, held);
        done();
        this.counts.revalidated++;
        exchange.notes.cache = "revalidated";
        return { kind: "reply", reply: replyOf(exchange, renewed, ageOf(renewed, this.deps.clock.now()), `fwd=${why}; fwd-status=304`) };
      }
      this.counts.misses++;
      exchange.notes.cache = "miss";
      return {
        kind: "forwarded",
        response: this.take(exchange, route, cache, key, request, response, requestedAt, fill, why, entry, done),
      };
    } catch (error) {
      done();
      throw error;
    }
  }

  /** Why what is kept does not do (RFC 9211 §2.2). */
  private whyForwarded(found: Entry, request: Directives): "request" | "stale" {
    return useOf(found.freshness, ageOf(found, this.deps.clock.now()), request) === "asked-for" ? "request" : "stale";
  }

  /** A full response: kept on its way through if it may be. */
  private take(
    exchange: Exchange<Arrival>,
    route: Route,
    cache: RouteCache,
    key: string,
    request: Directives,
    response: UpstreamResponse,
    requestedAt: number,
    fill: Fill,
    why: string,
    entry: Entry | null,
    done: () => void,
  ): UpstreamResponse {
    const { clock } = this.deps;
    const arrivedAt = clock.now();
    if (exchange.incoming.head.method === "HEAD" && response.status === 200) this.compare(key, valuesOf(exchange), response);
    const freshness = freshnessOf(response.status, response.fields, clock.wall(), arrivedAt - requestedAt, cache.ttl);
    const notStored = this.whyNot(exchange, cache, request, response, freshness);
    if (notStored !== null) {
      if (!isError(response.status)) {
        if (entry !== null) this.deps.store.remove(key, entry);
        if (!request.noStore) this.pass(key);
      }
      done();
      exchange.cacheHead = status(`fwd=${why}; fwd-status=${response.status}; detail=${notStored}`);
      return response;
    }
    exchange.cacheHead = status(`fwd=${why}; fwd-status=${response.status}; stored`);
    return this.keeping(exchange, route, cache, key, response, freshness, arrivedAt, fill, done);
  }

  /**
   * Keeps the answer to a POST for the GETs of its URI when it says that it is what they would get, and for how long (RFC 9110 §9.3.3), and when the key holds all of its query. Comes after `invalidate`.
   */
  keepPosted(exchange: Exchange, route: Route, cache: RouteCache, response: UpstreamResponse): UpstreamResponse {
    const { head } = exchange.incoming;
    const location = response.fields.get("content-location");
    if (head.method !== "POST" || response.status !== 200 || response.tunnel !== null || location === null) return response;
    // It was forwarded with its whole query: what the key leaves out may have changed the answer, which is its caller's own then.
    if (cache.query !== null && onlyParameters(exchange.query, cache.query) !== exchange.query) return response;
    const itself = `http://${head.host}${exchange.path}${exchange.query}`;
    if (
      URL.parse(location, itself)?.href !== URL.parse(itself)?.href ||
      exchange.snapshot.router.find(head.host, "GET", exchange.match) !== route
    )
      return response;
    const { clock } = this.deps;
    const arrivedAt = clock.now();
    const freshness = freshnessOf(response.status, response.fields, clock.wall(), arrivedAt - exchange.startedAt, cache.ttl);
    if (
      !freshness.isStated ||
      freshness.lifetime <= 0 ||
      this.whyNot(exchange, cache, directivesOf(exchange), response, freshness) !== null
    )
      return response;
    exchange.cacheHead = status(`fwd=method; fwd-status=${response.status}; stored`);
    const key = keyOf(exchange, route, cache);
    const fill = new Fill(key, uriOf(exchange, route, cache, exchange.path, exchange.query));
    this.active.add(fill);
    return this.keeping(exchange, route, cache, key, response, freshness, arrivedAt, fill, () => void this.active.delete(fill));
  }

  private whyNot(
    exchange: Exchange<Arrival>,
    cache: RouteCache,
    request: Directives,
    { status, fields, length }: UpstreamResponse,
    freshness: Freshness,
  ): NotStored | null {
    const hasCookie = exchange.incoming.head.fields.get("cookie") !== null;
    const identity = identityOf(exchange, cache);
    return whyNotStored({ status, fields, request, identity, hasCookie, freshness }) ?? (length > cache.maxEntrySize ? "too-large" : null);
  }

  /** The response, which is kept when it has gone by. */
  private keeping(
    exchange: Exchange<Arrival>,
    route: Route,
    cache: RouteCache,
    key: string,
    response: UpstreamResponse,
    freshness: Freshness,
    arrivedAt: number,
    fill: Fill,
    done: () => void,
  ): UpstreamResponse {
    const vary = varyOf(response.fields);
    const valueFor = valuesOf(exchange);
    const isHead = exchange.incoming.head.method === "HEAD";
    const kept = keptHead(keptFields(response.fields, response.connection, route, this.deps.clock.wall()));
    const keep = (body: Uint8Array | null): void => {
      if (!fill.isVoid) {
        const names = vary === "*" ? [] : vary;
        this.counts.stored++;
        this.passed.delete(hashOf(key));
        this.put(exchange, route, cache, isHead ? `HEAD ${key}` : key, {
          vary: names.map(owned),
          varied: names.map((name) => owned(valueFor(name))),
          status: response.status,
          reason: owned(response.reason),
          ...kept,
          body: isHead ? null : (body ?? new Uint8Array()),
          length: response.length,
          freshness,
          arrivedAt,
        });
      }
      done();
    };
    const { body } = response;
    if (body === null || body instanceof Uint8Array) {
      // A copy: the bytes are a part of what the socket read.
      keep(body === null ? null : new Uint8Array(body));
      return response;
    }
    return { ...response, body: new KeptBody(body, cache.maxEntrySize, keep, done) };
  }

  /** Forgets what was kept of a GET when a HEAD tells that there is another version now (RFC 9111 §4.3.5). */
  private compare(key: string, valueFor: (name: string) => string, { fields, length }: UpstreamResponse): void {
    const kept = this.deps.store.find(key, valueFor);
    if (kept === null || kept.body === null || kept.status !== 200) return;
    const differs = (own: string | null, name: string): boolean => fields.get(name) !== null && fields.get(name) !== own;
    if (differs(kept.etag, "etag") || differs(kept.lastModified, "last-modified") || (length >= 0 && length !== kept.body.length))
      this.deps.store.remove(key, kept);
  }

  /** Brings a kept response up to date by a 304 (RFC 9111 §4.3.4). */
  private renew(
    exchange: Exchange<Arrival>,
    route: Route,
    cache: RouteCache,
    key: string,
    entry: Entry,
    response: UpstreamResponse,
    requestedAt: number,
    isVoid: boolean,
  ): Entry {
    const { clock } = this.deps;
    const arrivedAt = clock.now();
    const fields = new Fields();
    // One without a Date counts as made now (RFC 9110 §6.6.1).
    const isNew = (name: string) => name === "date" || (response.fields.get(name) !== null && !NOT_RENEWED.has(name));
    const before = fieldsOf(entry.lines);
    for (let i = 0; i < before.names.length; i++) {
      const lower = before.lower[i] as string;
      if (!isNew(lower) && lower !== "age") fields.add(before.names[i] as string, lower, before.values[i] as string);
    }
    for (let i = 0; i < response.fields.names.length; i++) {
      const lower = response.fields.lower[i] as string;
      if (isNew(lower)) fields.add(response.fields.names[i] as string, lower, response.fields.values[i] as string);
    }
    const renewed: Entry = {
      ...entry,
      ...keptHead(keptFields(fields, response.connection, route, clock.wall())),
      freshness: freshnessOf(entry.status, fields, clock.wall(), arrivedAt - requestedAt, cache.ttl),
      arrivedAt,
    };
    this.deps.store.remove(key, entry);
    if (!isVoid) this.put(exchange, route, cache, key, renewed);
    return renewed;
  }

  private put(exchange: Exchange<Arrival>, route: Route, cache: RouteCache, key: string, entry: Entry): void {
    const uri = hasSeveral(cache) ? uriOf(exchange, route, cache, exchange.path, exchange.query) : null;
    this.deps.store.put(key, route.name, owned(exchange.path), entry, uri);
  }

  /** A kept response in the place of an error, where that is allowed. */
  private standIn(exchange: Exchange<Arrival>, entry: Entry, request: Directives, forwardedStatus: number | null): Reply | null {
    const age = ageOf(entry, this.deps.clock.now());
    if (!mayStandIn(entry.freshness, age, request)) return null;
    this.counts.stale++;
    exchange.notes.cache = "stale";
    return replyOf(
      exchange,
      entry,
      age,
      `fwd=stale${forwardedStatus === null ? "" : `; fwd-status=${forwardedStatus}`}; detail=stale-if-error`,
    );
  }

  /** Fetches a new one in the background, once at a time. */
  private refresh(exchange: Exchange, route: Route, cache: RouteCache, entry: Entry): void {
    if (this.refreshing.has(entry) || route.upstream === null) return;
    this.refreshing.add(entry);
    const detached = exchange.detached(this.deps.clock.now());
    const key = keyOf(exchange, route, cache);
    this.fetch(detached, route, cache, route.upstream, requestDirectives(null, null), key, null)
      .then((answer) => {
        if (answer.kind !== "forwarded") return;
        const { body } = answer.response;
        if (body === null || body instanceof Uint8Array) return;
        // What it cost is known when the last of it has gone by.
        return new Promise<void>((resolve) => body.start({ write: () => true, end: () => resolve(), fail: () => resolve() }));
      })
      .catch((error: unknown) => {
        // The next request tries again; a fault of our own is told.
        const isExpected = [UpstreamFailure, NoTarget, PoolExhausted, CredentialRefused].some((kind) => error instanceof kind);
        if (!isExpected) this.deps.onFault(error, exchange.id);
      })
      .finally(() => {
        detached.end();
        this.refreshing.delete(entry);
      });
  }

  private forget(exchange: Exchange, path: string, query: string): void {
    const found = exchange.snapshot.router.find(exchange.incoming.head.host, "GET", matchOf(path));
    if (isMiss(found) || found.cache === null) return;
    const uri = uriOf(exchange, found, found.cache, path, query);
    for (const fill of this.active) if (fill.uri === uri) fill.isVoid = true;
    const { store } = this.deps;
    if (hasSeveral(found.cache)) store.removeUri(uri);
    else {
      store.removeAll(uri);
      store.removeAll(`HEAD ${uri}`);
    }
  }

  /** The values of the fields by which the URI's last response varied. */
  private variantOf(exchange: Exchange, key: string): string {
    const vary = this.deps.store.varyOf(key);
    return vary === null ? "" : vary.map(valuesOf(exchange)).join("\n");
  }

  private pass(key: string): void {
    if (this.passed.size >= MAX_PASSED) this.passed.clear();
    this.passed.set(hashOf(key), this.deps.clock.now() + PASS_FOR);
  }

  private isPassed(key: string): boolean {
    if (this.passed.size === 0) return false;
    const hash = hashOf(key);
    const until = this.passed.get(hash);
    if (until === undefined) return false;
    if (this.deps.clock.now() < until) return true;
    this.passed.delete(hash);
    return false;
  }
}

/**
 * Whether the cache has any part in a request: GET or HEAD without a body, for the whole, and not on condition that nothing was changed. A HEAD is always for the whole (RFC 9110
 * §14.2).
 */
export function isCacheable(exchange: Exchange): boolean {
  const { head, body } = exchange.incoming;
  if ((head.method !== "GET" && head.method !== "HEAD") || body !== null || head.upgrade !== "") return false;
  const { fields } = head;
  return fields.get("if-match") === null && fields.get("if-unmodified-since") === null && !isForPart(exchange);
}

/** Whether a request may be answered by a part of what is kept; if nothing is, it goes by the cache. */
export const isForPart = (exchange: Exchange<Arrival>): boolean => {
  const { head, body } = exchange.incoming;
  return (
    head.method === "GET" &&
    body === null &&
    head.upgrade === "" &&
    head.fields.get("range") !== null &&
    head.fields.get("if-match") === null &&
    head.fields.get("if-unmodified-since") === null
  );
};

/** Whether the caller takes only what is kept. */
export const isOnlyIfCached = (exchange: Exchange<Arrival>): boolean => directivesOf(exchange).onlyIfCached;

function directivesOf(exchange: Exchange<Arrival>): Directives {
  const { fields } = exchange.incoming.head;
  return requestDirectives(fields.joined("cache-control"), fields.get("pragma"));
}

const keyOf = (exchange: Exchange<Arrival>, route: Route, cache: RouteCache): string => {
  const uri = uriOf(exchange, route, cache, exchange.path, exchange.query);
  if (!hasSeveral(cache)) return uri;
  // No consumer's id is empty: callers without a key have copies of their own.
  const consumer = cache.isPerConsumer ? exchange.caller.consumer.id : "";
  return `${uri}\n\n${consumer}\n${cache.headers.map(valuesOf(exchange)).join("\n")}`;
};

/** Whether one URI has several keys: all of them go when it is changed. */
const hasSeveral = (cache: RouteCache): boolean => cache.isPerConsumer || cache.headers.length > 0;

/** What a key begins with, in lines: none of what is joined holds a line break. */
function uriOf(exchange: Exchange<Arrival>, route: Route, cache: RouteCache, path: string, query: string): string {
  const { head } = exchange.incoming;
  // What was everybody's before a reload is not a single caller's after it.
  const scope = cache.isShared ? "shared" : "";
  // What trusted proxies say of the URI that was asked for is passed on, and backends make links of it: behind one that ends TLS, http and https are two URIs.
  const seen = exchange.snapshot.trustedProxies.has(exchange.incoming.ip) ? forwardedUri(head.fields) : "\n";
  const search = cache.query === null ? query : onlyParameters(query, cache.query);
  return `${route.name}\n${scope}\n${seen}\n${head.host.toLowerCase()}${path}${search}`;
}

const FORWARDED = /(?:^|[;,\s])(?:host|proto)\s*=\s*(?:"[^"]*"|[^;,\s]*)/gi;

function forwardedUri(fields: Fields): string {
  const proto = fields.joined("x-forwarded-proto") ?? "";
  const host = fields.joined("x-forwarded-host")?.toLowerCase() ?? "";
  const standard = fields.joined("forwarded");
  return `${proto}\n${host}${standard === null ? "" : `;${standard.match(FORWARDED)?.join(";") ?? ""}`}`;
}

const hashOf = (key: string): number => Bun.hash.xxHash32(key);

/** A request's field as the backend saw it, for Vary: what Sluice sets counts, not what a caller claims. */
const valuesOf =
  (exchange: Exchange<Arrival>) =>
  (name: string): string => {
    switch (name) {
      case "x-consumer-id":
        return exchange.caller.consumer.id;
      case "x-consumer-tier":
        return exchange.caller.consumer.tier;
      case "x-request-id":
        return exchange.id;
      case "x-forwarded-for":
        return exchange.ip;
      case "host":
        return exchange.incoming.head.host;
    }
    // No field holds a NUL (the head's parser refuses it): nobody can send what stands for somebody else's key.
    if (name === exchange.carriedIn && exchange.caller.via !== "none") return `\0${exchange.caller.id}`;
    if (exchange.route.requestRules.dropped.has(name) === true) return "";
    const value = exchange.incoming.head.fields.joined(name);
    return value === null ? "" : normalized(name, value);
  };

/** By what the response may be for this caller alone, unless it says otherwise (RFC 9111 §3.5). */
function identityOf(exchange: Exchange<Arrival>, cache: RouteCache): "key" | "authorization" | null {
  if (exchange.caller.via !== "none" && !cache.isShared && !cache.isPerConsumer) return "key";
  return exchange.carriedIn !== "authorization" && exchange.incoming.head.fields.get("authorization") !== null ? "authorization" : null;
}

/** What is kept of a response's head. Copies: a field's text is a part of a whole head, and fields one by one would take several times the bytes of their lines. */
function keptHead(
  kept: ReturnType<typeof keptFields>,
): Pick<Entry, "lines" | "head" | "notModifiedHead" | "etag" | "lastModified" | "date"> {
  const { names, values } = kept.fields;
  const head = owned(kept.head);
  let lines = "";
  for (let i = 0; i < names.length; i++) lines += `${names[i]}: ${values[i]}\r\n`;
  const copy = (name: string): string | null => {
    const value = kept.fields.get(name);
    return value === null ? null : owned(value);
  };
  return {
    lines: lines === kept.head ? head : owned(lines),
    head,
    notModifiedHead: owned(kept.notModifiedHead),
    etag: copy("etag"),
    lastModified: copy("last-modified"),
    date: copy("date"),
  };
}

/** The fields that `lines` were made of. */
function fieldsOf(lines: string): Fields {
  const fields = new Fields();
  for (const line of lines.split("\r\n")) {
    const colon = line.indexOf(": ");
    if (colon > 0) fields.add(line.slice(0, colon), line.slice(0, colon).toLowerCase(), line.slice(colon + 2));
  }
  return fields;
}

/** What asks whether a kept response is still good (RFC 9111 §4.3.1). */
function conditionsOf(entry: Entry): string {
  const tag = entry.etag === null ? "" : `If-None-Match: ${entry.etag}\r\n`;
  return entry.lastModified === null ? tag : `${tag}If-Modified-Since: ${entry.lastModified}\r\n`;
}

/** What a 304 does not change of a kept response: it is about another body than its own (RFC 9111 §3.2). */
const NOT_RENEWED = new Set(["content-length", "content-encoding", "content-type", "content-range", "transfer-encoding"]);

const ageOf = (entry: Entry, now: number): number => entry.freshness.initialAge + (now - entry.arrivedAt);

const status = (what: string): string => `Cache-Status: sluice; ${what}\r\n`;

/** A kept response as an answer to `x`: whole, the part that is asked for, or a 304 when the caller has it already. */
function replyOf(exchange: Exchange<Arrival>, entry: Entry, age: number, what: string): Reply {
  const { fields } = exchange.incoming.head;
  exchange.cacheHead = `Age: ${Math.max(0, Math.floor(age / 1000))}\r\n${status(what)}`;
  if (isUnmodified(fields, entry.status, entry))
    return { status: 304, reason: "Not Modified", head: entry.notModifiedHead, body: null, length: -1 };
  const { body } = entry;
  if (body === null) return { status: entry.status, reason: entry.reason, head: entry.head, body, length: entry.length };
  const part = entry.status === 200 && isForPart(exchange) ? partOf(fields, body.length, entry) : null;
  if (part === null) return { status: entry.status, reason: entry.reason, head: entry.head, body, length: body.length };
  if (part === "unsatisfiable")
    return {
      status: 416,
      reason: "Range Not Satisfiable",
      head: `${date()}Content-Range: bytes */${body.length}\r\n`,
      body: new Uint8Array(),
      length: 0,
    };
  const bytes = body.subarray(part.start, part.end);
  const head = `${entry.head}Content-Range: bytes ${part.start}-${part.end - 1}/${body.length}\r\n`;
  return { status: 206, reason: "Partial Content", head, body: bytes, length: bytes.length };
}

/** Gives up a response, and what was held for it since `held`. */
function abandon(exchange: Exchange<Arrival>, response: UpstreamResponse, held: number): void {
  discard(response);
  exchange.endSince(held);
}

/** Resolves to false when `promise` takes longer than this. */
function within(promise: Promise<void>, milliseconds: number): Promise<boolean> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve(false), milliseconds);
    void promise.then(() => {
      clearTimeout(timer);
      resolve(true);
    });
  });
}

/** A response's body that is kept while it passes. A slow reader does not hold up what others wait for: what is kept is bounded anyway. */
class KeptBody implements Body {
  readonly length: number;
  private parts: Uint8Array[] | null = [];
  private size = 0;

  constructor(
    private readonly source: Body,
    private readonly max: number,
    private readonly keep: (body: Uint8Array) => void,
    /** It can't be kept. */
    private readonly giveUp: () => void,
  ) {
    this.length = source.length;
  }

  start(sink: Sink): void {
    this.source.start({
      write: (bytes) => {
        const fits = sink.write(bytes);
        if (this.parts === null) return fits;
        this.size += bytes.length;
        if (this.size > this.max) {
          this.lose();
          return fits;
        }
        this.parts.push(bytes);
        return true;
      },
      end: (trailers) => {
        if (this.parts !== null) this.keep(Buffer.concat(this.parts, this.size));
        this.parts = null;
        sink.end(trailers);
      },
      fail: (reason) => {
        this.lose();
        sink.fail(reason);
      },
    });
  }

  resume(): void {
    this.source.resume();
  }

  cancel(): void {
    this.lose();
    this.source.cancel();
  }

  private lose(): void {
    if (this.parts === null) return;
    this.parts = null;
    this.giveUp();
  }
}
