import { collectDefaultMetrics, Registry, type RegistryContentType } from "prom-client";
import type { Family, Sample } from "../values/family.ts";
import type { Trace } from "./trace.ts";

/** Upper bounds of latencies in milliseconds. */
export const BUCKETS = [1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000];
/** The default metrics of prom-client that say nothing, or nothing true, of this runtime. */
const NOT_OURS = [
  "process_heap_bytes",
  "nodejs_active_handles",
  "nodejs_active_handles_total",
  "nodejs_active_requests",
  "nodejs_active_requests_total",
  "nodejs_active_resources",
  "nodejs_active_resources_total",
];
/** Methods that have a label of their own: a caller may send any word. */
export const METHODS: readonly string[] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"];
const OTHER = METHODS.length;
const STATUSES = 600;
const TENTH_OF_A_MICROSECOND = 10_000;

/** Describes a request that stands for others of its latency. */
interface Exemplar {
  readonly labelSet: { readonly trace_id: string };
  /** Milliseconds. */
  readonly value: number;
  /** Seconds since 1970. */
  readonly timestamp: number;
}

/** Counts one route's requests: numbers in arrays, so that a request costs two additions and no look-up of labels. */
export class RouteMetrics {
  /** Requests by method and status. */
  readonly requests = new Map<number, number>();
  /** Requests by latency, each in the first bucket that holds it; the last holds the rest. */
  readonly buckets = new Float64Array(BUCKETS.length + 1);
  /** The last traced request of each bucket. */
  readonly exemplars: (Exemplar | undefined)[] = [];
  sum = 0;
  /** False while nobody but Sluice itself counts here: callers' requests are another number than those of probes and scrapers. */
  isTraffic = false;

  constructor(readonly route: string) {}

  /** Tells a count of 0 for this method and status until there are requests: a counter that begins at 1 shows Prometheus no increase. */
  expect(method: string, status: number): void {
    this.requests.set(METHODS.indexOf(method) * STATUSES + status, 0);
  }

  /** Counts one request that has ended. `latency` in milliseconds. */
  observe(method: string, status: number, latency: number, trace: Trace | null): void {
    const at = METHODS.indexOf(method);
    const key = (at < 0 ? OTHER : at) * STATUSES + status;
    this.requests.set(key, (this.requests.get(key) ?? 0) + 1);
    // A connection that has left HTTP lasts as long as it likes.
    if (status === 101) return;
    let bucket = 0;
    while (bucket < BUCKETS.length && latency > (BUCKETS[bucket] as number)) bucket++;
    (this.buckets[bucket] as number)++;
    this.sum += latency;
    if (trace?.isSampled === true)
      this.exemplars[bucket] = { labelSet: { trace_id: trace.traceId }, value: latency, timestamp: Date.now() / 1000 };
  }
}

/** The endpoints that Sluice always answers itself beside its admin API, and those that may be turned on. */
const OWN_ENDPOINTS = ["health", "ready", "metrics", "docs"] as const;
export type OwnEndpoint = (typeof OWN_ENDPOINTS)[number] | "authz";

type Labels = Sample["labels"];

/** Counts events by labels whose values are few: names of the configuration, never what a caller sends. */
export class Counter implements Family {
  readonly type = "counter";
  private readonly counts = new Map<string, { labels: Labels; value: number }>();

  constructor(
    readonly name: string,
    readonly help: string,
  ) {}

  add(labels: Labels, by = 1): void {
    this.of(labels).value += by;
  }

  /** Gives the count of these labels, for whoever adds to it often. */
  of(labels: Labels): { value: number } {
    const key = JSON.stringify(labels);
    let count = this.counts.get(key);
    if (count === undefined) {
      count = { labels, value: 0 };
      this.counts.set(key, count);
    }
    return count;
  }

  readonly read = (): Iterable<Sample> => this.counts.values();
}

/** Tells what became of one route's requests since the start. */
export interface RouteCounts {
  readonly name: string;
  readonly requests: number;
  /** 4xx other than 429. */
  readonly clientErrors: number;
  /** 5xx, and callers who left before there was an answer. */
  readonly serverErrors: number;
  /** 429. */
  readonly limited: number;
  /** Requests in each bucket of latency. */
  readonly latency: number[];
}

/** Describes a metric of the process as prom-client has it. */
interface ProcessMetric {
  readonly name: string;
  readonly help: string;
  readonly type: string;
  get(): Promise<{ readonly values: object[] }>;
}

/** Holds everything that Prometheus scrapes. Requests are counted in plain arrays; names, labels and text are made when it asks. */
export class Metrics {
  /** What is counted as it happens, in the order in which a scrape lists it. */
  private readonly counters: Counter[] = [];
  readonly breakerChanges = this.counter("circuit_breaker_state_changes_total", "Changes of circuit breakers' states.");
  readonly limited = this.counter(
    "sluice_limited_requests_total",
    "Requests that limits and quotas refused, by the limit's owner and its name.",
  );
  readonly shadowed = this.counter("sluice_shadow_denials_total", "Requests that limits in shadow would have refused.");
  private readonly refusals = this.counter(
    "sluice_refused_requests_total",
    "Requests that Sluice itself refused, by the code of its answer and the caller's tier.",
  );
  readonly retries = this.counter("sluice_upstream_retries_total", "Repetitions of requests to upstreams.");
  private readonly refusalsOf = new Map<string, Map<string, { value: number }>>();
  private readonly routes = new Map<string, RouteMetrics>();
  /** The metrics of the process. */
  private readonly process = new Registry();
  private families: readonly Family[] = [];
  /** The registries that Prometheus' own format and OpenMetrics, with exemplars, are written from; made when somebody asks first. */
  private registries: { readonly plain: Registry<RegistryContentType>; readonly open: Registry<RegistryContentType> } | null = null;

  constructor() {
    this.expectRefusals(null);
    for (const endpoint of OWN_ENDPOINTS) this.ofOwn(endpoint).expect("GET", 200);
    collectDefaultMetrics({ register: this.process });
    for (const name of NOT_OURS) this.process.removeSingleMetric(name);
  }

  /** Makes a counter that a scrape lists. Call it before anybody asks. */
  counter(name: string, help: string): Counter {
    const counter = new Counter(name, help);
    this.counters.push(counter);
    return counter;
  }

  /** Sets the metrics that show a state: they are read when somebody asks. Call it once, before anybody does. */
  show(families: readonly Family[]): void {
    this.families = families;
  }

  /** Tells a count of 0 of refusals by limits for a tier's callers (`null`: without a key) until there are some. */
  expectRefusals(tier: string | null): void {
    for (const code of ["rateLimited", "quotaExceeded"]) this.refusalCount(code, tier);
  }

  /**
   * Counts a request that was refused. `tier`: the caller's; `null` without a key. Takes two look-ups and makes no text, since a flood
   * brings many refusals.
   */
  refused(code: string, tier: string | null): void {
    this.refusalCount(code, tier).value++;
  }

  private refusalCount(code: string, tier: string | null): { value: number } {
    const of = tier ?? "none";
    let codes = this.refusalsOf.get(of);
    if (codes === undefined) {
      codes = new Map();
      this.refusalsOf.set(of, codes);
    }
    let count = codes.get(code);
    if (count === undefined) {
      count = this.refusals.of({ code, tier: of });
      codes.set(code, count);
    }
    return count;
  }

  /** Gives the counts of a route of this name; they go on over reloads. */
  of(route: string): RouteMetrics {
    const metrics = this.series(route);
    metrics.isTraffic = true;
    return metrics;
  }

  /**
   * Gives the counts of an endpoint that Sluice itself answers. Prometheus sees them beside the routes'; sums for people are of callers'
   * requests. A route of the same name counts here as well.
   */
  ofOwn(endpoint: OwnEndpoint): RouteMetrics {
    return this.series(endpoint);
  }

  private series(route: string): RouteMetrics {
    let metrics = this.routes.get(route);
    if (metrics === undefined) {
      metrics = new RouteMetrics(route);
      this.routes.set(route, metrics);
    }
    return metrics;
  }

  /** Gives the metrics as text, and its content type. Whoever accepts OpenMetrics gets that: with exemplars, the ids of traces. */
  async text(accept: string | null): Promise<{ type: string; body: string }> {
    this.registries ??= {
      plain: this.registry(Registry.PROMETHEUS_CONTENT_TYPE),
      open: this.registry(Registry.OPENMETRICS_CONTENT_TYPE),
    };
    const registry = accept?.includes("application/openmetrics-text") === true ? this.registries.open : this.registries.plain;
    return { type: registry.contentType, body: await registry.metrics() };
  }

  /** Tells what became of each route's requests, for people without Prometheus. */
  byRoute(): RouteCounts[] {
    const traffic = [...this.routes.values()].filter(({ isTraffic }) => isTraffic);
    return traffic.map(({ route, requests, buckets }) => {
      const sums = { requests: 0, clientErrors: 0, serverErrors: 0, limited: 0 };
      for (const [key, count] of requests) {
        const status = key % STATUSES;
        sums.requests += count;
        if (status === 429) sums.limited += count;
        else if (status >= 500 || status === 499) sums.serverErrors += count;
        else if (status >= 400) sums.clientErrors += count;
      }
      return { name: route, ...sums, latency: [...buckets] };
    });
  }

  /** Makes a registry for one format: each has its own, since one of them renames its metrics. */
  private registry(contentType: RegistryContentType): Registry<RegistryContentType> {
    const registry: Registry<RegistryContentType> = new Registry();
    registry.setContentType(contentType);
    const register = (name: string, help: string, type: string, read: () => Iterable<object> | Promise<Iterable<object>>): void => {
      // OpenMetrics names a counter without the ending of its samples.
      const family = contentType === Registry.OPENMETRICS_CONTENT_TYPE && type === "counter" ? name.replace(/_total$/, "") : name;
      registry.registerMetric({
        name: family,
        type,
        get: async () => ({ name: family, help, type, aggregator: "sum", values: [...(await read())] }),
      } as unknown as Parameters<Registry["registerMetric"]>[0]);
    };
    for (const metric of this.process.getMetricsAsArray() as unknown as ProcessMetric[])
      register(metric.name, metric.help, metric.type, async () => (await metric.get()).values);
    register("http_requests_total", "Requests by route, method and status.", "counter", () => this.requests());
    for (const { name, help, type, read } of [...this.counters, ...this.families]) register(name, help, type, read);
    register("http_request_latency_ms", "Time from a request's head to the last byte of its answer, in milliseconds.", "histogram", () =>
      this.latencies(),
    );
    return registry;
  }

  private *requests(): Generator<Sample> {
    for (const { route, requests } of this.routes.values())
      for (const [key, value] of requests) {
        const method = METHODS[Math.floor(key / STATUSES)] ?? "other";
        yield { labels: { route, method, status: String(key % STATUSES) }, value };
      }
  }

  private *latencies(): Generator<Sample & { metricName: string; exemplar?: Exemplar }> {
    for (const { route, buckets, sum, exemplars } of this.routes.values()) {
      let count = 0;
      for (const [i, value] of buckets.entries()) {
        count += value;
        const exemplar = exemplars[i];
        yield {
          metricName: "http_request_latency_ms_bucket",
          labels: { route, le: String(BUCKETS[i] ?? "+Inf") },
          value: count,
          ...(exemplar === undefined ? {} : { exemplar }),
        };
      }
      yield {
        metricName: "http_request_latency_ms_sum",
        labels: { route },
        value: Math.round(sum * TENTH_OF_A_MICROSECOND) / TENTH_OF_A_MICROSECOND,
      };
      yield { metricName: "http_request_latency_ms_count", labels: { route }, value: count };
    }
  }
}
