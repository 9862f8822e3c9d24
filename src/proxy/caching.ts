import type { Directives } from "../cache/directives.ts";
import { requestDirectives } from "../cache/directives.ts";
import { freshnessOf, isError, isStorable, isUnmodified, mayStandIn, useOf, varyOf } from "../cache/policy.ts";
import type { CacheStore, Entry } from "../cache/store.ts";
import type { Clock } from "../clock.ts";
import type { Body, Sink } from "../http/body.ts";
import { Fields } from "../http/fields.ts";
import type { Reply } from "../http/server.ts";
import { callerLeft, discard, UpstreamFailure, type UpstreamResponse } from "../upstreams/client.ts";
import type { Upstream } from "../upstreams/upstream.ts";
import { PoolExhausted } from "./credential.ts";
import type { Arrival, Exchange } from "./exchange.ts";
import { type Forwarder, NoTarget } from "./forwarder.ts";
import { keptFields } from "./headers.ts";
import { parameter } from "./path.ts";
import type { Route } from "./route.ts";
import { isMiss } from "./router.ts";

/** What a route's cache is set to, ready for requests. */
export interface RouteCache {
  /** Milliseconds that a response is fresh which says nothing of it; `null`: by when it was modified. */
  readonly ttl: number | null;
  /** Bytes. */
  readonly maxEntrySize: number;
  /** Callers with a key get each other's responses. */
  readonly isShared: boolean;
  /** Lower-case names of fields that tell responses apart beside Vary. */
  readonly headers: readonly string[];
  /** Names of the query's parameters that tell responses apart; `null`: the whole query does. */
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

  constructor(readonly key: string) {
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
  /** URIs whose responses could not be kept, and until when that is believed. */
  private readonly passed = new Map<string, number>();
  /** Entries that are being revalidated in the background. */
  private readonly refreshing = new Set<Entry>();

  constructor(private readonly parts: CachingParts) {}

  /** The answer that can be given without asking anybody, or `null`. */
  lookUp(x: Exchange, route: Route, cache: RouteCache): Reply | null {
    const { fields } = x.incoming.head;
    const request = requestDirectives(fields.joined("cache-control"), fields.get("pragma"));
    const entry = this.find(x, keyOf(x, route, cache));
    if (entry === null) return null;
    const now = this.parts.clock.now();
    const age = ageOf(entry, now);
    const use = useOf(entry.freshness, age, request);
    if (use === "expired" || use === "asked-for") return null;
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
    const { fields } = x.incoming.head;
    const request = requestDirectives(fields.joined("cache-control"), fields.get("pragma"));
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
      if (x.route !== null && x.route.strip > 0) this.forget(x, x.path.slice(0, x.route.strip) + url.pathname, url.search);
    }
  }

  /** Forgets what is kept of a route, below a path prefix, or all. Gives how many responses that were. */
  purge(isMeant: (route: string, path: string) => boolean): number {
    // What is under way may be of any kind, and is fetched again soon.
    for (const fill of this.active) fill.isVoid = true;
    this.passed.clear();
    return this.parts.store.purge(isMeant);
  }

  private find(x: Exchange, key: string): Entry | null {
    const valueFor = valuesOf(x);
    const found = this.parts.store.find(key, valueFor);
    return found === null && x.incoming.head.method === "HEAD" ? this.parts.store.find(`HEAD ${key}`, valueFor) : found;
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
    const fill = new Fill(fillKey ?? key);
    this.active.add(fill);
    if (fillKey !== null) this.fills.set(fillKey, fill);
    const done = () => {
      this.active.delete(fill);
      if (this.fills.get(fill.key) === fill) this.fills.delete(fill.key);
      fill.settle();
    };
    try {
      const found = this.parts.store.find(key, valuesOf(x));
      const entry = found !== null && found.body !== null && x.incoming.head.method === "GET" ? found : null;
      const why =
        entry === null ? (this.parts.store.varyOf(key) === null ? "uri-miss" : "vary-miss") : request.noCache ? "request" : "stale";
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
    const { method } = x.incoming.head;
    const freshness = freshnessOf(response.status, response.fields, clock.wall(), arrivedAt - requestedAt, cache.ttl);
    const mayKeep =
      isStorable({
        status: response.status,
        fields: response.fields,
        request,
        isAuthorized: isAuthorized(x, cache),
        hasCookie: x.incoming.head.fields.get("cookie") !== null,
        freshness,
      }) && response.length <= cache.maxEntrySize;
    if (!mayKeep) {
      if (!isError(response.status)) {
        if (entry !== null) this.parts.store.remove(key, entry);
        if (!request.noStore) this.pass(key);
      }
      done();
      x.cacheHead = status(`fwd=${why}; fwd-status=${response.status}`);
      return response;
    }
    const vary = varyOf(response.fields);
    const valueFor = valuesOf(x);
    const kept = keptFields(response.fields, response.connection, route, clock.wall());
    const keep = (body: Uint8Array | null): void => {
      if (!fill.isVoid) {
        const names = vary === "*" ? [] : vary;
        const isHead = method === "HEAD";
        this.counts.stored++;
        this.passed.delete(key);
        this.parts.store.put(isHead ? `HEAD ${key}` : key, route.name, x.path, {
          vary: names,
          varied: names.map(valueFor),
          status: response.status,
          reason: response.reason,
          ...kept,
          body: isHead ? null : (body ?? new Uint8Array()),
          length: response.length,
          etag: response.fields.get("etag"),
          lastModified: response.fields.get("last-modified"),
          freshness,
          arrivedAt,
        });
      }
      done();
    };
    x.cacheHead = status(`fwd=${why}; fwd-status=${response.status}; stored`);
    const { body } = response;
    if (body === null || body instanceof Uint8Array) {
      // A copy: the bytes are a part of what the socket read.
      keep(body === null ? null : new Uint8Array(body));
      return response;
    }
    return { ...response, body: new KeptBody(body, cache.maxEntrySize, keep, done) };
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
    for (let i = 0; i < entry.fields.names.length; i++) {
      const lower = entry.fields.lower[i] as string;
      if (!isNew(lower) && lower !== "age") fields.add(entry.fields.names[i] as string, lower, entry.fields.values[i] as string);
    }
    for (let i = 0; i < response.fields.names.length; i++) {
      const lower = response.fields.lower[i] as string;
      if (isNew(lower)) fields.add(response.fields.names[i] as string, lower, response.fields.values[i] as string);
    }
    const renewed: Entry = {
      ...entry,
      ...keptFields(fields, response.connection, route, clock.wall()),
      etag: fields.get("etag"),
      lastModified: fields.get("last-modified"),
      freshness: freshnessOf(entry.status, fields, clock.wall(), arrivedAt - requestedAt, cache.ttl),
      arrivedAt,
    };
    this.parts.store.remove(key, entry);
    if (!isVoid) this.parts.store.put(key, route.name, x.path, renewed);
    return renewed;
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
        if (!(error instanceof UpstreamFailure) && !(error instanceof NoTarget) && !(error instanceof PoolExhausted))
          this.parts.onFault(error, x.id);
      })
      .finally(() => {
        detached.release();
        this.refreshing.delete(entry);
      });
  }

  private forget(x: Exchange, path: string, query: string): void {
    const found = x.generation.router.find(x.incoming.head.host, "GET", path);
    if (isMiss(found) || found.cache === null) return;
    const key = keyFor(x, found, found.cache, path, query);
    // Keys of the same URI that differ by a header begin alike.
    const prefix = found.cache.headers.length === 0 ? key : key.slice(0, key.lastIndexOf("\n\n"));
    for (const fill of this.active) if (fill.key.startsWith(prefix)) fill.isVoid = true;
    if (found.cache.headers.length === 0) {
      this.parts.store.removeAll(key);
      this.parts.store.removeAll(`HEAD ${key}`);
    } else this.parts.store.purge((route, its) => route === found.name && its === path);
  }

  /** The values of the fields by which the URI's last response varied. */
  private variantOf(x: Exchange, key: string): string {
    const vary = this.parts.store.varyOf(key);
    return vary === null ? "" : vary.map(valuesOf(x)).join("\n");
  }

  private pass(key: string): void {
    if (this.passed.size >= MOST_PASSED) this.passed.clear();
    this.passed.set(key, this.parts.clock.now() + PASS_FOR);
  }

  private isPassed(key: string): boolean {
    if (this.passed.size === 0) return false;
    const until = this.passed.get(key);
    if (until === undefined) return false;
    if (this.parts.clock.now() < until) return true;
    this.passed.delete(key);
    return false;
  }
}

/** Whether the cache has any part in a request: GET or HEAD without a body, for the whole, and not on condition that nothing was changed. */
export function isCacheable(x: Exchange): boolean {
  const { head, body } = x.incoming;
  if ((head.method !== "GET" && head.method !== "HEAD") || body !== null || head.upgrade !== "") return false;
  const { fields } = head;
  return (
    fields.get("range") === null &&
    fields.get("if-match") === null &&
    fields.get("if-unmodified-since") === null &&
    fields.get("if-range") === null
  );
}

const SAFE = new Set(["GET", "HEAD", "OPTIONS", "TRACE"]);
/** RFC 9110 §9.2.1; methods that nobody knows are taken to change something (RFC 9111 §4.4). */
export const isUnsafe = (method: string): boolean => !SAFE.has(method);

const keyOf = (x: Exchange<Arrival>, route: Route, cache: RouteCache): string => keyFor(x, route, cache, x.path, x.query);

function keyFor(x: Exchange<Arrival>, route: Route, cache: RouteCache, path: string, query: string): string {
  const { head } = x.incoming;
  const search =
    cache.query === null || query === "" ? query : `?${cache.query.map((name) => `${name}=${parameter(query, name) ?? ""}`).join("&")}`;
  // Behind a proxy that ends TLS, http and https are two URIs.
  const proto = x.generation.trustedProxies.has(x.incoming.ip) ? (head.fields.joined("x-forwarded-proto") ?? "") : "";
  const key = `${route.name}\n${proto}//${head.host.toLowerCase()}${path}${search}`;
  return cache.headers.length === 0 ? key : `${key}\n\n${cache.headers.map(valuesOf(x)).join("\n")}`;
}

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
    if (name === x.keyField && x.key !== null) return `key ${x.key.id}`;
    if (x.route?.requestRules.dropped.has(name) === true) return "";
    const value = x.incoming.head.fields.joined(name);
    return value === null ? "" : value.trim().replace(/\s+/g, " ").replace(/ ?, ?/g, ",");
  };

/** Whether the response may be for this caller alone, unless it says otherwise (RFC 9111 §3.5). */
function isAuthorized(x: Exchange<Arrival>, cache: RouteCache): boolean {
  if (x.key !== null && !cache.isShared) return true;
  return x.keyField !== "authorization" && x.incoming.head.fields.get("authorization") !== null;
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

/** A kept response as an answer to `x`: whole, or a 304 when the caller has it already. */
function replyOf(x: Exchange<Arrival>, entry: Entry, age: number, what: string): Reply {
  x.cacheHead = `Age: ${Math.max(0, Math.floor(age / 1000))}\r\n${status(what)}`;
  if (isUnmodified(x.incoming.head.fields, entry.status, entry.etag, entry.lastModified))
    return { status: 304, reason: "Not Modified", head: entry.notModifiedHead, body: null, length: -1 };
  const length = entry.body === null ? entry.length : entry.body.length;
  return { status: entry.status, reason: entry.reason, head: entry.head, body: entry.body, length };
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
