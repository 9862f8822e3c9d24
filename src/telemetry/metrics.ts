import { collectDefaultMetrics, Registry } from "prom-client";

/** Upper bounds of latencies in milliseconds. */
const BUCKETS = [1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000];
/** Methods that have a label of their own: a caller may send any word. */
const METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"];
const OTHER = METHODS.length;
const STATUSES = 600;
const TENTH_OF_A_MICROSECOND = 10_000;

/** What is counted of one route's requests: numbers in arrays, so that a request costs two additions and no look-up of labels. */
export class RouteMetrics {
  /** By method and status. */
  readonly requests = new Map<number, number>();
  /** Requests by latency, each in the first bucket that holds it; the last holds the rest. */
  readonly buckets = new Float64Array(BUCKETS.length + 1);
  sum = 0;

  constructor(readonly route: string) {}

  /** One request has ended. `latency` in milliseconds. */
  observe(method: string, status: number, latency: number): void {
    const at = METHODS.indexOf(method);
    const key = (at < 0 ? OTHER : at) * STATUSES + status;
    this.requests.set(key, (this.requests.get(key) ?? 0) + 1);
    let bucket = 0;
    while (bucket < BUCKETS.length && latency > (BUCKETS[bucket] as number)) bucket++;
    (this.buckets[bucket] as number)++;
    this.sum += latency;
  }
}

type Labels = Readonly<Record<string, string>>;

/** One number of a metric. */
export interface Sample {
  readonly labels: Labels;
  readonly value: number;
}

/** A metric that is read when somebody asks. */
export interface Family {
  readonly name: string;
  readonly help: string;
  readonly type: "counter" | "gauge";
  readonly read: () => Iterable<Sample> | Promise<Iterable<Sample>>;
}

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

  /** The count of these labels, for who adds to it often. */
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

/** What Prometheus scrapes. Requests are counted in plain arrays; names, labels and text are made when it asks. */
export class Metrics {
  readonly breakerChanges = new Counter("circuit_breaker_state_changes_total", "Changes of circuit breakers' states.");
  readonly limited = new Counter(
    "sluice_limited_requests_total",
    "Requests that limits and quotas refused, by the limit's owner and its name.",
  );
  readonly shadowed = new Counter("sluice_shadow_denials_total", "Requests that limits in shadow would have refused.");
  readonly retries = new Counter("sluice_upstream_retries_total", "Repetitions of requests to upstreams.");
  readonly reloads = new Counter("sluice_config_reloads_total", "Reloads of the configuration, by their result.");
  readonly blocked = new Counter("sluice_blocks_total", "Addresses that were blocked.");
  private readonly registry = new Registry();
  private readonly routes = new Map<string, RouteMetrics>();

  constructor(families: readonly Family[]) {
    collectDefaultMetrics({ register: this.registry });
    const own = [this.breakerChanges, this.limited, this.shadowed, this.retries, this.reloads, this.blocked];
    this.register({
      name: "http_requests_total",
      help: "Requests by route, method and status.",
      type: "counter",
      read: () => this.requests(),
    });
    for (const family of [...own, ...families]) this.register(family);
    this.registry.registerMetric({
      name: "http_request_latency_ms",
      get: async () => ({
        name: "http_request_latency_ms",
        help: "Time from a request's head to the last byte of its answer, in milliseconds.",
        type: "histogram",
        aggregator: "sum",
        values: [...this.latencies()],
      }),
    } as unknown as Parameters<Registry["registerMetric"]>[0]);
  }

  /** The counts of a route of this name; they go on over reloads. */
  of(route: string): RouteMetrics {
    let metrics = this.routes.get(route);
    if (metrics === undefined) {
      metrics = new RouteMetrics(route);
      this.routes.set(route, metrics);
    }
    return metrics;
  }

  /** The text format, and its content type. */
  async text(): Promise<{ type: string; body: string }> {
    return { type: this.registry.contentType, body: await this.registry.metrics() };
  }

  /** Sums over all routes, for people without Prometheus. */
  totals(): { total: number; success: number; failed: number; limited: number } {
    const sums = { total: 0, success: 0, failed: 0, limited: 0 };
    for (const { requests } of this.routes.values())
      for (const [key, count] of requests) {
        const status = key % STATUSES;
        sums.total += count;
        if (status < 400) sums.success += count;
        else if (status === 429) sums.limited += count;
        else if (status >= 500 || status === 499) sums.failed += count;
      }
    return sums;
  }

  private register({ name, help, type, read }: Family): void {
    this.registry.registerMetric({
      name,
      get: async () => ({ name, help, type, aggregator: "sum", values: [...(await read())] }),
    } as unknown as Parameters<Registry["registerMetric"]>[0]);
  }

  private *requests(): Generator<Sample> {
    for (const { route, requests } of this.routes.values())
      for (const [key, value] of requests) {
        const method = METHODS[Math.floor(key / STATUSES)] ?? "other";
        yield { labels: { route, method, status: String(key % STATUSES) }, value };
      }
  }

  private *latencies(): Generator<Sample & { metricName: string }> {
    for (const { route, buckets, sum } of this.routes.values()) {
      let count = 0;
      for (const [i, value] of buckets.entries()) {
        count += value;
        yield { metricName: "http_request_latency_ms_bucket", labels: { route, le: String(BUCKETS[i] ?? "+Inf") }, value: count };
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
