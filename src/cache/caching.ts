import type { Arrival, Exchange } from "../exchange/exchange.ts";
import { keptFields } from "../exchange/headers.ts";
import type { Route } from "../exchange/route.ts";
import { isMiss } from "../exchange/router.ts";
import type { Body, Sink } from "../http/body.ts";
import { callerLeft, discard, UpstreamFailure, type UpstreamResponse } from "../http/client.ts";
import { Fields } from "../http/fields.ts";
import { below, matchOf, onlyParameters } from "../http/path.ts";
import { date } from "../http/reply.ts";
import type { Reply } from "../http/server.ts";
import { CredentialRefused, PoolExhausted } from "../pools/credential.ts";
import { type Forwarder, NoTarget } from "../upstreams/forwarder.ts";
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

/** An answer from the cache, or a response on its way from the backend. */
export type Answer =
  | { readonly kind: "kept"; readonly reply: Reply }
  | { readonly kind: "forwarded"; readonly response: UpstreamResponse }
  /** The caller wanted a kept one, and there is none (RFC 9111 §5.2.1.7). */
  | { readonly kind: "none" };

export interface CachingParts {
  readonly store: CacheStore;
  readonly forwarder: Forwarder;
  readonly clock: Clock;
  readonly onFault: (error: unknown, requestId: string) => void;
}

/** For how long requests for what can't be kept don't wait for each other, in milliseconds, and for how many URIs that is remembered. */
const PASS_FOR = 10_000;
const MOST_PASSED = 10_000;
/** A request waits for the URI's first answer, and once more for that of its own variant. */
const MOST_WAITS = 2;

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

  constructor(private readonly parts: CachingParts) {}

  /** The answer that can be given without asking anybody, or `null`. */
  lookUp(x: Exchange, route: Route, cache: RouteCache): Reply | null {
    const request = directivesOf(x);
    const entry = this.find(x, keyOf(x, route, cache));
    if (entry === null) return null;
    const now = this.parts.clock.now();
    const age = ageOf(entry, now);
    const use = useOf(entry.freshness, age, request);
    if (use === "expired" || use === "asked-for") return null;
    // Parts are of what is whole, and nothing else is fetched for them.
    if (use === "stale-while-revalidate" && isForPart(x)) return null;
    if (use === "fresh") {
      this.counts.hits++;
      x.cache = "hit";
    } else {
      this.counts.stale++;
      x.cache = "stale";
      if (use === "stale-while-revalidate") this.refresh(x, route, cache, entry);
    }
    return replyOf(x, entry, age, `hit; ttl=${Math.floor((entry.freshness.lifetime - age) / 1000)}`);
  }

  /** The answer for which the backend, or another request for the same, has to be asked. Rejects as `Forwarder.send` does. */
  async answer(x: Exchange, route: Route, cache: RouteCache, upstream: Upstream): Promise<Answer> {
    const request = directivesOf(x);
    const key = keyOf(x, route, cache);
    if (request.onlyIfCached) return { kind: "none" };
    for (let waits = 0; ; waits++) {
      if (waits > 0) {
        const kept = this.collapsed(x, key, request);
        if (kept !== null) return { kind: "kept", reply: kept };
      }
      const fillKey = `${key}\n${this.variantOf(x, key)}`;
      const fill = this.fills.get(fillKey);
      const isAskedFor = request.noCache || request.maxAge === 0 || request.noStore;
      if (fill === undefined || waits >= MOST_WAITS || isAskedFor || this.isPassed(key))
        return this.fetch(x, route, cache, upstream, request, key, fill === undefined && !request.noStore ? fillKey : null);
      this.counts.collapsed++;
      x.trace?.enter("collapsed", this.parts.clock.now());
      const isSettled = await within(fill.settled, route.timeout);
      x.trace?.leave(this.parts.clock.now());
      if (!isSettled) {
        // Whatever became of it: the next ones must not wait for it as well.
        if (this.fills.get(fillKey) === fill) this.fills.delete(fillKey);
        throw new UpstreamFailure("timeout", "another request for the same got no answer", false);
      }
      if (x.incoming.isAborted) throw callerLeft();
    }
  }

  /** Notes a request that the cache has no part in. */
  bypass(x: Exchange): void {
    this.counts.bypassed++;
    x.cache = "bypass";
    x.cacheHead = status("fwd=bypass");
  }

  /** Forgets what an unsafe request has changed (RFC 9111 §4.4): its URI, and those that the response names. */
  invalidate(x: Exchange, response: UpstreamResponse): void {
    if (response.status >= 400) return;
    const { host } = x.incoming.head;
    this.forget(x, x.path, x.query);
    for (const name of ["location", "content-location"]) {
      const value = response.fields.get(name);
      const url = value === null ? null : URL.parse(value, `http://${host}${x.path}`);
      if (url === null || url.host !== URL.parse(`http://${host}`)?.host) continue;
      this.forget(x, url.pathname, url.search);
      // A backend behind a prefix names its own paths.
      if (x.route !== null && x.route.strip > 0)
        this.forget(x, x.path.slice(0, x.path.length - below(x.path, x.route.depth).length) + url.pathname, url.search);
    }
  }

  /** Forgets what is kept of a route, below a path prefix, or all. Gives how many responses that were. */
  purge(isMeant: (route: string, path: string) => boolean): number {
    // What is under way may be of any kind, and is fetched again soon.
    for (const fill of this.active) fill.isVoid = true;
    this.passed.clear();
    return this.parts.store.purge(isMeant);
  }

  private find(x: Exchange<Arrival>, key: string): Entry | null {
    const valueFor = valuesOf(x);
    const found = this.parts.store.find(key, valueFor);
    if (x.incoming.head.method !== "HEAD") return found;
    const head = this.parts.store.find(`HEAD ${key}`, valueFor);
    return head === null || (found !== null && found.arrivedAt >= head.arrivedAt) ? found : head;
  }

  /** After a wait: what the other request has brought, if it is for this one too. */
  private collapsed(x: Exchange, key: string, request: Directives): Reply | null {
    const entry = this.find(x, key);
    if (entry === null) return null;
    const age = ageOf(entry, this.parts.clock.now());
    const use = useOf(entry.freshness, age, request);
    if (use === "expired" || use === "asked-for") return null;
    this.counts.hits++;
    x.cache = "hit";
    return replyOf(x, entry, age, "fwd=uri-miss; collapsed");
  }

  /** Asks the backend, about what is stale if there is something, and keeps what may be kept. */
  private async fetch(
    x: Exchange<Arrival>,
    route: Route,
    cache: RouteCache,
    upstream: Upstream,
    request: Directives,
    key: string,
    fillKey: string | null,
  ): Promise<Answer> {
    // What backends see must be what tells responses apart: what else is in the query could change the answer for everybody.
    if (cache.query !== null) x.query = onlyParameters(x.query, cache.query);
    const fill = new Fill(fillKey ?? key, uriOf(x, route, cache, x.path, x.query));
    this.active.add(fill);
    if (fillKey !== null) this.fills.set(fillKey, fill);
    const done = () => {
      this.active.delete(fill);
      if (this.fills.get(fill.key) === fill) this.fills.delete(fill.key);
      fill.settle();
    };
    try {
      const found = this.find(x, key);
      const entry = found !== null && found.body !== null && x.incoming.head.method === "GET" ? found : null;
      const why = found === null ? (this.parts.store.varyOf(key) === null ? "uri-miss" : "vary-miss") : this.whyForwarded(found, request);
      const isAlone = this.isPassed(key) || request.noStore;
      const requestedAt = this.parts.clock.now();
      let response: UpstreamResponse;
      try {
        // What the caller has already is compared here: the backend is asked for the whole, so that there is something to keep.
        response = await this.parts.forwarder.send(x, route, upstream, entry === null ? (isAlone ? null : "") : conditionsOf(entry));
      } catch (error) {
        const isBackends =
          error instanceof NoTarget || (error instanceof UpstreamFailure && error.kind !== "aborted" && error.kind !== "request");
        const reply = isBackends && found !== null ? this.standIn(x, found, request, null) : null;
        done();
        if (reply === null) throw error;
        return { kind: "kept", reply };
      }
      if (found !== null && isError(response.status)) {
        const reply = this.standIn(x, found, request, response.status);
        if (reply !== null) {
          abandon(x, response);
          done();
          return { kind: "kept", reply };
        }
      }
      if (entry !== null && response.status === 304) {
        const renewed = this.renew(x, route, cache, key, entry, response, requestedAt, fill.isVoid);
        abandon(x, response);
        done();
        this.counts.revalidated++;
        x.cache = "revalidated";
        return { kind: "kept", reply: replyOf(x, renewed, ageOf(renewed, this.parts.clock.now()), `fwd=${why}; fwd-status=304`) };
      }
      this.counts.misses++;
      x.cache = "miss";
      return { kind: "forwarded", response: this.take(x, route, cache, key, request, response, requestedAt, fill, why, entry, done) };
    } catch (error) {
      done();
      throw error;
    }
  }

  /** Why what is kept does not do (RFC 9211 §2.2). */
  private whyForwarded(found: Entry, request: Directives): "request" | "stale" {
    return useOf(found.freshness, ageOf(found, this.parts.clock.now()), request) === "asked-for" ? "request" : "stale";
  }

  /** A full response: kept on its way through if it may be. */
  private take(
    x: Exchange<Arrival>,
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
    const { clock } = this.parts;
    const arrivedAt = clock.now();
    if (x.incoming.head.method === "HEAD" && response.status === 200) this.compare(key, valuesOf(x), response);
    const freshness = freshnessOf(response.status, response.fields, clock.wall(), arrivedAt - requestedAt, cache.ttl);
    const notStored = this.whyNot(x, cache, request, response, freshness);
    if (notStored !== null) {
      if (!isError(response.status)) {
        if (entry !== null) this.parts.store.remove(key, entry);
        if (!request.noStore) this.pass(key);
      }
      done();
      x.cacheHead = status(`fwd=${why}; fwd-status=${response.status}; detail=${notStored}`);
      return response;
    }
    x.cacheHead = status(`fwd=${why}; fwd-status=${response.status}; stored`);
    return this.keeping(x, route, cache, key, response, freshness, arrivedAt, fill, done);
  }

  /**
   * Keeps the answer to a POST for the GETs of its URI when it says that it is what they would get, and for how long (RFC 9110 §9.3.3), and when the key holds all of its query. Comes after `invalidate`.
   */
  keepPosted(x: Exchange, route: Route, cache: RouteCache, response: UpstreamResponse): UpstreamResponse {
    const { head } = x.incoming;
    const location = response.fields.get("content-location");
    if (head.method !== "POST" || response.status !== 200 || response.tunnel !== null || location === null) return response;
    // It was forwarded with its whole query: what the key leaves out may have changed the answer, which is its caller's own then.
    if (cache.query !== null && onlyParameters(x.query, cache.query) !== x.query) return response;
    const itself = `http://${head.host}${x.path}${x.query}`;
    if (URL.parse(location, itself)?.href !== URL.parse(itself)?.href || x.generation.router.find(head.host, "GET", x.match) !== route)
      return response;
    const { clock } = this.parts;
    const arrivedAt = clock.now();
    const freshness = freshnessOf(response.status, response.fields, clock.wall(), arrivedAt - x.startedAt, cache.ttl);
    if (!freshness.isStated || freshness.lifetime <= 0 || this.whyNot(x, cache, directivesOf(x), response, freshness) !== null)
      return response;
    x.cacheHead = status(`fwd=method; fwd-status=${response.status}; stored`);
    const key = keyOf(x, route, cache);
    const fill = new Fill(key, uriOf(x, route, cache, x.path, x.query));
    this.active.add(fill);
    return this.keeping(x, route, cache, key, response, freshness, arrivedAt, fill, () => void this.active.delete(fill));
  }

  private whyNot(
    x: Exchange<Arrival>,
    cache: RouteCache,
    request: Directives,
    { status, fields, length }: UpstreamResponse,
    freshness: Freshness,
  ): NotStored | null {
    const hasCookie = x.incoming.head.fields.get("cookie") !== null;
    const identity = identityOf(x, cache);
    return whyNotStored({ status, fields, request, identity, hasCookie, freshness }) ?? (length > cache.maxEntrySize ? "too-large" : null);
  }

  /** The response, which is kept when it has gone by. */
  private keeping(
    x: Exchange<Arrival>,
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
    const valueFor = valuesOf(x);
    const isHead = x.incoming.head.method === "HEAD";
    const kept = keptHead(keptFields(response.fields, response.connection, route, this.parts.clock.wall()));
    const keep = (body: Uint8Array | null): void => {
      if (!fill.isVoid) {
        const names = vary === "*" ? [] : vary;
        this.counts.stored++;
        this.passed.delete(hashOf(key));
        this.put(x, route, cache, isHead ? `HEAD ${key}` : key, {
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
    const kept = this.parts.store.find(key, valueFor);
    if (kept === null || kept.body === null || kept.status !== 200) return;
    const differs = (own: string | null, name: string): boolean => fields.get(name) !== null && fields.get(name) !== own;
    if (differs(kept.etag, "etag") || differs(kept.lastModified, "last-modified") || (length >= 0 && length !== kept.body.length))
      this.parts.store.remove(key, kept);
  }

  /** Brings a kept response up to date by a 304 (RFC 9111 §4.3.4). */
  private renew(
    x: Exchange<Arrival>,
    route: Route,
    cache: RouteCache,
    key: string,
    entry: Entry,
    response: UpstreamResponse,
    requestedAt: number,
    isVoid: boolean,
  ): Entry {
    const { clock } = this.parts;
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
    this.parts.store.remove(key, entry);
    if (!isVoid) this.put(x, route, cache, key, renewed);
    return renewed;
  }

  private put(x: Exchange<Arrival>, route: Route, cache: RouteCache, key: string, entry: Entry): void {
    const uri = hasSeveral(cache) ? uriOf(x, route, cache, x.path, x.query) : null;
    this.parts.store.put(key, route.name, owned(x.path), entry, uri);
  }

  /** A kept response in the place of an error, where that is allowed. */
  private standIn(x: Exchange<Arrival>, entry: Entry, request: Directives, forwardedStatus: number | null): Reply | null {
    const age = ageOf(entry, this.parts.clock.now());
    if (!mayStandIn(entry.freshness, age, request)) return null;
    this.counts.stale++;
    x.cache = "stale";
    return replyOf(x, entry, age, `fwd=stale${forwardedStatus === null ? "" : `; fwd-status=${forwardedStatus}`}; detail=stale-if-error`);
  }

  /** Fetches a new one in the background, once at a time. */
  private refresh(x: Exchange, route: Route, cache: RouteCache, entry: Entry): void {
    if (this.refreshing.has(entry) || route.upstream === null) return;
    this.refreshing.add(entry);
    const detached = x.detached(this.parts.clock.now());
    const key = keyOf(x, route, cache);
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
        const isExpected = [UpstreamFailure, NoTarget, PoolExhausted, CredentialRefused].some((it) => error instanceof it);
        if (!isExpected) this.parts.onFault(error, x.id);
      })
      .finally(() => {
        detached.release();
        this.refreshing.delete(entry);
      });
  }

  private forget(x: Exchange, path: string, query: string): void {
    const found = x.generation.router.find(x.incoming.head.host, "GET", matchOf(path));
    if (isMiss(found) || found.cache === null) return;
    const uri = uriOf(x, found, found.cache, path, query);
    for (const fill of this.active) if (fill.uri === uri) fill.isVoid = true;
    const { store } = this.parts;
    if (hasSeveral(found.cache)) store.removeUri(uri);
    else {
      store.removeAll(uri);
      store.removeAll(`HEAD ${uri}`);
    }
  }

  /** The values of the fields by which the URI's last response varied. */
  private variantOf(x: Exchange, key: string): string {
    const vary = this.parts.store.varyOf(key);
    return vary === null ? "" : vary.map(valuesOf(x)).join("\n");
  }

  private pass(key: string): void {
    if (this.passed.size >= MOST_PASSED) this.passed.clear();
    this.passed.set(hashOf(key), this.parts.clock.now() + PASS_FOR);
  }

  private isPassed(key: string): boolean {
    if (this.passed.size === 0) return false;
    const hash = hashOf(key);
    const until = this.passed.get(hash);
    if (until === undefined) return false;
    if (this.parts.clock.now() < until) return true;
    this.passed.delete(hash);
    return false;
  }
}

/**
 * Whether the cache has any part in a request: GET or HEAD without a body, for the whole, and not on condition that nothing was changed. A HEAD is always for the whole (RFC 9110
 * §14.2).
 */
export function isCacheable(x: Exchange): boolean {
  const { head, body } = x.incoming;
  if ((head.method !== "GET" && head.method !== "HEAD") || body !== null || head.upgrade !== "") return false;
  const { fields } = head;
  return fields.get("if-match") === null && fields.get("if-unmodified-since") === null && !isForPart(x);
}

/** Whether a request may be answered by a part of what is kept; if nothing is, it goes by the cache. */
export const isForPart = (x: Exchange<Arrival>): boolean => {
  const { head, body } = x.incoming;
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
export const isOnlyIfCached = (x: Exchange<Arrival>): boolean => directivesOf(x).onlyIfCached;

function directivesOf(x: Exchange<Arrival>): Directives {
  const { fields } = x.incoming.head;
  return requestDirectives(fields.joined("cache-control"), fields.get("pragma"));
}

const SAFE = new Set(["GET", "HEAD", "OPTIONS", "TRACE"]);
/** RFC 9110 §9.2.1; methods that nobody knows are taken to change something (RFC 9111 §4.4). */
export const isUnsafe = (method: string): boolean => !SAFE.has(method);

const keyOf = (x: Exchange<Arrival>, route: Route, cache: RouteCache): string => {
  const uri = uriOf(x, route, cache, x.path, x.query);
  if (!hasSeveral(cache)) return uri;
  // No consumer's id is empty: callers without a key have copies of their own.
  const consumer = cache.isPerConsumer && x.key !== null ? x.key.consumer.id : "";
  return `${uri}\n\n${consumer}\n${cache.headers.map(valuesOf(x)).join("\n")}`;
};

/** Whether one URI has several keys: all of them go when it is changed. */
const hasSeveral = (cache: RouteCache): boolean => cache.isPerConsumer || cache.headers.length > 0;

/** What a key begins with, in lines: none of what is joined holds a line break. */
function uriOf(x: Exchange<Arrival>, route: Route, cache: RouteCache, path: string, query: string): string {
  const { head } = x.incoming;
  // What was everybody's before a reload is not a single caller's after it.
  const scope = cache.isShared ? "shared" : "";
  // What trusted proxies say of the URI that was asked for is passed on, and backends make links of it: behind one that ends TLS, http and https are two URIs.
  const seen = x.generation.trustedProxies.has(x.incoming.ip) ? forwardedUri(head.fields) : "\n";
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
  (x: Exchange<Arrival>) =>
  (name: string): string => {
    switch (name) {
      case "x-consumer-id":
        return x.key === null ? "" : x.key.consumer.id;
      case "x-consumer-tier":
        return x.key === null ? "" : x.key.consumer.tier;
      case "x-request-id":
        return x.id;
      case "x-forwarded-for":
        return x.ip;
      case "host":
        return x.incoming.head.host;
    }
    // No field holds a NUL (the head's parser refuses it): nobody can send what stands for somebody else's key.
    if (name === x.keyField && x.key !== null) return `\0${x.key.id}`;
    if (x.route?.requestRules.dropped.has(name) === true) return "";
    const value = x.incoming.head.fields.joined(name);
    return value === null ? "" : normalized(name, value);
  };

/** By what the response may be for this caller alone, unless it says otherwise (RFC 9111 §3.5). */
function identityOf(x: Exchange<Arrival>, cache: RouteCache): "key" | "authorization" | null {
  if (x.key !== null && !cache.isShared && !cache.isPerConsumer) return "key";
  return x.keyField !== "authorization" && x.incoming.head.fields.get("authorization") !== null ? "authorization" : null;
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
function replyOf(x: Exchange<Arrival>, entry: Entry, age: number, what: string): Reply {
  const { fields } = x.incoming.head;
  x.cacheHead = `Age: ${Math.max(0, Math.floor(age / 1000))}\r\n${status(what)}`;
  if (isUnmodified(fields, entry.status, entry))
    return { status: 304, reason: "Not Modified", head: entry.notModifiedHead, body: null, length: -1 };
  const { body } = entry;
  if (body === null) return { status: entry.status, reason: entry.reason, head: entry.head, body, length: entry.length };
  const part = entry.status === 200 && isForPart(x) ? partOf(fields, body.length, entry) : null;
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

function abandon(x: Exchange<Arrival>, response: UpstreamResponse): void {
  discard(response);
  x.release();
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
    private readonly most: number,
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
        if (this.size > this.most) {
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
