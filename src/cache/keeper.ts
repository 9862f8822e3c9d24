import type { Arrival, Exchange } from "../exchange/exchange.ts";
import type { UpstreamResponse } from "../http/client.ts";
import { onlyParameters } from "../http/path.ts";
import type { Clock } from "../values/clock.ts";
import type { CacheCounts } from "./counts.ts";
import { owned } from "./directives.ts";
import type { Fill, Fills } from "./fill.ts";
import { KeptBody } from "./kept-body.ts";
import { type CachedRoute, headKey, type Lookup, lookupOf } from "./lookup.ts";
import { type Freshness, freshnessOf, isError, type NotStored, varyOf, whyNotStored } from "./policy.ts";
import type { CacheStore, Entry } from "./store.ts";
import { cacheStatus, isAnotherVersion, keptHead, renewedFields } from "./stored.ts";

/** Holds a request for which the backend is asked. */
export interface Asked {
  readonly lookup: Lookup;
  readonly fill: Fill;
  /** What is kept, but does not do; `null`: nothing. */
  readonly found: Entry | null;
  /** The same, where the backend is asked whether it is still good. */
  readonly entry: Entry | null;
  /** Why what is kept does not do (RFC 9211 §2.2). */
  readonly why: "uri-miss" | "vary-miss" | "request" | "stale";
  /** When the backend was asked, on the clock that never runs backwards. */
  readonly at: number;
}

export interface KeeperDeps {
  readonly store: CacheStore;
  readonly fills: Fills;
  readonly counts: CacheCounts;
  readonly clock: Clock;
}

/** Keeps responses, as far as they may be. */
export class Keeper {
  constructor(private readonly deps: KeeperDeps) {}

  /** Gives a full response, which is kept on its way through if it may be. The fill ends when that is decided. */
  take({ lookup, fill, entry, why, at }: Asked, response: UpstreamResponse): UpstreamResponse {
    const { clock, store, fills } = this.deps;
    const { exchange, on, directives, key } = lookup;
    const arrivedAt = clock.now();
    if (exchange.incoming.head.method === "HEAD" && response.status === 200) this.compare(lookup, response);
    const freshness = freshnessOf(response.status, response.fields, clock.wall(), arrivedAt - at, on.cache.ttl);
    const notStored = whyNot(lookup, response, freshness);
    if (notStored !== null) {
      if (!isError(response.status)) {
        if (entry !== null) store.remove(key, entry);
        if (!directives.noStore) fills.pass(key);
      }
      fill.end();
      exchange.cacheHead = cacheStatus(`fwd=${why}; fwd-status=${response.status}; detail=${notStored}`);
      return response;
    }
    exchange.cacheHead = cacheStatus(`fwd=${why}; fwd-status=${response.status}; stored`);
    return this.keeping(lookup, response, freshness, arrivedAt, fill);
  }

  /**
   * Keeps the answer to a POST for the GETs of its URI when it says that it is what they would get, and for how long (RFC 9110 §9.3.3), and when the key holds all of its query. What
   * the request has changed must be forgotten before.
   */
  takePosted(exchange: Exchange<Arrival>, on: CachedRoute, response: UpstreamResponse): UpstreamResponse {
    const location = response.fields.get("content-location");
    if (response.status !== 200 || response.tunnel !== null || location === null) return response;
    const { head } = exchange.incoming;
    // It was forwarded with its whole query: what the key leaves out may have changed the answer, which is its caller's own then.
    if (on.cache.query !== null && onlyParameters(exchange.query, on.cache.query) !== exchange.query) return response;
    const itself = `http://${head.host}${exchange.path}${exchange.query}`;
    if (URL.parse(location, itself)?.href !== URL.parse(itself)?.href) return response;
    if (exchange.snapshot.router.find(head.host, "GET", exchange.match) !== on.route) return response;
    const { clock, fills } = this.deps;
    const arrivedAt = clock.now();
    const freshness = freshnessOf(response.status, response.fields, clock.wall(), arrivedAt - exchange.startedAt, on.cache.ttl);
    if (!freshness.isStated || freshness.lifetime <= 0) return response;
    const lookup = lookupOf(exchange, on, false);
    if (whyNot(lookup, response, freshness) !== null) return response;
    exchange.cacheHead = cacheStatus(`fwd=method; fwd-status=${response.status}; stored`);
    return this.keeping(lookup, response, freshness, arrivedAt, fills.begin(null, lookup.uri));
  }

  /** Brings a kept response up to date by a 304 (RFC 9111 §4.3.4). Gives it as it is now. */
  renew({ lookup, fill, at }: Asked, entry: Entry, response: UpstreamResponse): Entry {
    const { clock, store } = this.deps;
    const { on, key } = lookup;
    const arrivedAt = clock.now();
    const fields = renewedFields(entry, response.fields);
    const renewed: Entry = {
      ...entry,
      ...keptHead(fields, response.connection, on.route, clock.wall()),
      freshness: freshnessOf(entry.status, fields, clock.wall(), arrivedAt - at, on.cache.ttl),
      arrivedAt,
    };
    store.remove(key, entry);
    if (!fill.isVoid) this.put(lookup, key, renewed);
    return renewed;
  }

  /** Gives the response, which is kept when it has gone by. */
  private keeping(lookup: Lookup, response: UpstreamResponse, freshness: Freshness, arrivedAt: number, fill: Fill): UpstreamResponse {
    const { exchange, on, key, valueFor } = lookup;
    const vary = varyOf(response.fields);
    const isHead = exchange.incoming.head.method === "HEAD";
    const kept = keptHead(response.fields, response.connection, on.route, this.deps.clock.wall());
    const keep = (body: Uint8Array | null): void => {
      if (!fill.isVoid) {
        const names = vary === "*" ? [] : vary;
        this.deps.counts.stored++;
        this.deps.fills.kept(key);
        this.put(lookup, isHead ? headKey(key) : key, {
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
      fill.end();
    };
    const { body } = response;
    if (body === null || body instanceof Uint8Array) {
      // A copy: the bytes are a part of what the socket read.
      keep(body === null ? null : new Uint8Array(body));
      return response;
    }
    return { ...response, body: new KeptBody(body, on.cache.maxEntrySize, keep, () => fill.end()) };
  }

  /** Forgets what was kept of a GET when a HEAD tells that there is another version now. */
  private compare({ key, valueFor }: Lookup, response: UpstreamResponse): void {
    const { store } = this.deps;
    const kept = store.find(key, valueFor);
    if (kept !== null && kept.body !== null && kept.status === 200 && isAnotherVersion(kept, response)) store.remove(key, kept);
  }

  private put({ exchange, on, uri, key }: Lookup, under: string, entry: Entry): void {
    this.deps.store.put(under, on.route.name, owned(exchange.path), entry, key === uri ? null : uri);
  }
}

/** Tells why a response is not kept; `null` when it is. */
function whyNot({ exchange, on, directives }: Lookup, response: UpstreamResponse, freshness: Freshness): NotStored | null {
  const { status, fields, length } = response;
  const hasCookie = exchange.incoming.head.fields.get("cookie") !== null;
  const why = whyNotStored({ status, fields, request: directives, identity: identityOf(exchange, on), hasCookie, freshness });
  return why ?? (length > on.cache.maxEntrySize ? "too-large" : null);
}

/** Tells by what the response may be for this caller alone, unless it says otherwise (RFC 9111 §3.5). */
function identityOf(
  { caller, carriedIn, incoming }: Lookup["exchange"],
  { route, cache: { isShared, isPerConsumer } }: Lookup["on"],
): "key" | "authorization" | null {
  // Whom another service lets through is not anybody, whether or not Sluice knows them.
  if ((caller.via !== "none" || route.authorize !== null) && !isShared && !isPerConsumer) return "key";
  return carriedIn !== "authorization" && incoming.head.fields.get("authorization") !== null ? "authorization" : null;
}
