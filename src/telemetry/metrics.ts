import { collectDefaultMetrics, Registry, type RegistryContentType } from "prom-client";
import { CellBook } from "../shared/cell-book.ts";
import type { CellSums } from "../shared/cell-sums.ts";
import type { Across, Family, Sample } from "../values/family.ts";
import { merged, type Told } from "./merging.ts";
import { Keys, keyOf, Picture, type RouteCounts } from "./picture.ts";
import { LATENCY, REQUESTS, RouteMetrics } from "./route-metrics.ts";

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
/** How the metrics of prom-client are put together that are not added up. */
const ACROSS_PROCESSES: Readonly<Record<string, Across>> = {
  process_start_time_seconds: "min",
  nodejs_version_info: "keeper",
  nodejs_eventloop_lag_min_seconds: "min",
};
const LAG = "nodejs_eventloop_lag";
const REFUSALS = "sluice_refused_requests_total";
/** The metric of virtual models' attempts. */
export const MODEL_ATTEMPTS = "sluice_model_attempts_total";

/** The endpoints that Sluice always answers itself beside its admin API, and those that may be turned on. */
const OWN_ENDPOINTS = ["health", "ready", "metrics", "docs", "console", "my"] as const;
export type OwnEndpoint = (typeof OWN_ENDPOINTS)[number] | "acme-challenge" | "resource-metadata" | "authz" | "redirect";

type Labels = Sample["labels"];

/** Is a number that is added to, wherever it lies. */
class Cell {
  constructor(private readonly cells: Float64Array) {}

  get value(): number {
    return this.cells[0] ?? 0;
  }

  set value(value: number) {
    this.cells[0] = value;
  }
}

/** Counts events by labels whose values are few: names of the configuration, never what a caller sends. */
export class Counter {
  private readonly counts = new Map<string, { value: number }>();

  constructor(
    readonly name: string,
    readonly help: string,
    private readonly book: CellBook,
  ) {}

  add(labels: Labels, by = 1): void {
    this.of(labels).value += by;
  }

  /** Gives the count of these labels, for whoever adds to it often. */
  of(labels: Labels): { value: number } {
    const key = keyOf(this.name, labels);
    let count = this.counts.get(key);
    if (count === undefined) {
      count = new Cell(this.cellOf(labels));
      this.counts.set(key, count);
    }
    return count;
  }

  /** Gives the same as a cell, for who adds to it for each request of a flood. */
  cellOf(labels: Labels): Float64Array {
    return this.book.of(keyOf(this.name, labels), 1);
  }
}

/** Describes a metric of the process as prom-client has it. */
interface ProcessMetric {
  readonly name: string;
  readonly help: string;
  readonly type: Family["type"];
  get(): Promise<{ readonly values: Sample[] }>;
}

/** Names where a process counts, and how it knows what others have counted. */
export interface MetricsDeps {
  /** Gives the cells that this process counts in. */
  readonly book: CellBook;
  /** Names this process. */
  readonly self: string;
  /** Gives what all processes have counted; `null`: this one speaks for itself alone. */
  readonly sums: CellSums | null;
  /** Asks all workers. */
  readonly ask: () => Promise<readonly Told[]>;
}

const alone = (): MetricsDeps => ({ book: new CellBook(null), self: "", sums: null, ask: async () => [] });

/** Holds what was read for one scrape. */
interface Scrape {
  readonly picture: Picture;
  /** Gives the samples of a metric of a state. */
  readonly stateOf: (family: Family) => Iterable<Sample> | Promise<Iterable<Sample>>;
}

/** Holds everything that Prometheus scrapes. Requests are counted in plain arrays; names, labels and text are made when it asks. */
export class Metrics {
  private readonly book: CellBook;
  private readonly keys = new Keys();
  /** What is counted as it happens, in the order in which a scrape lists it. */
  private readonly counters: Counter[] = [];
  readonly breakerChanges: Counter;
  readonly limited: Counter;
  readonly shadowed: Counter;
  private readonly refusals: Counter;
  readonly retries: Counter;
  readonly costs: Counter;
  readonly closedWebSockets: Counter;
  readonly unpriced: Counter;
  readonly modelAttempts: Counter;
  readonly grpcCalls: Counter;
  readonly toolCalls: Counter;
  private readonly refusalsOf = new Map<string, Map<string, Float64Array>>();
  private readonly routes = new Map<string, RouteMetrics>();
  /** The metrics of the process. */
  private readonly process = new Registry();
  private families: readonly Family[] = [];
  /** What of each sample, by its key, was added to the cells already. */
  private readonly mirrored = new Map<string, number>();
  private mirroring: Promise<void> | null = null;
  private scrape: Scrape | null = null;
  /** The registries that Prometheus' own format and OpenMetrics, with exemplars, are written from; made when somebody asks first. */
  private registries: { readonly plain: Registry<RegistryContentType>; readonly open: Registry<RegistryContentType> } | null = null;

  constructor(private readonly deps: MetricsDeps = alone()) {
    this.book = deps.book;
    this.breakerChanges = this.counter("circuit_breaker_state_changes_total", "Changes of circuit breakers' states.");
    this.limited = this.counter(
      "sluice_limited_requests_total",
      "Requests that limits and quotas refused, by the limit's owner and its name.",
    );
    this.shadowed = this.counter("sluice_shadow_denials_total", "Requests that limits in shadow would have refused.");
    this.refusals = this.counter(REFUSALS, "Requests that Sluice itself refused, by the code of its answer and the caller's tier.");
    this.retries = this.counter("sluice_upstream_retries_total", "Repetitions of requests to upstreams.");
    this.unpriced = this.counter(
      "sluice_unpriced_requests_total",
      "Calls of models without a price, refused or counted as free: add them to prices.",
    );
    this.modelAttempts = this.counter(MODEL_ATTEMPTS, "Attempts of virtual models, by who was asked and what it came to.");
    this.costs = this.counter(
      "sluice_usage_cost_usd_total",
      "Dollars that calls of models have cost, by the route and the model that answered. Models that the configuration has by a pattern go by it, and those that it does not have are other.",
    );
    this.closedWebSockets = this.counter(
      "sluice_websockets_closed_total",
      "WebSockets that were closed since their callers went beyond the route's bounds, by the code they were closed with.",
    );
    this.grpcCalls = this.counter("sluice_grpc_calls_total", "Calls of gRPC, by the status that they ended with.");
    this.toolCalls = this.counter(
      "sluice_mcp_calls_total",
      "Calls of tools by the Model Context Protocol, by what became of them. Tools that the configuration does not name are other.",
    );
    this.expectRefusals(null);
    for (const endpoint of OWN_ENDPOINTS) this.ofOwn(endpoint).expect("GET", 200);
    collectDefaultMetrics({ register: this.process });
    for (const name of NOT_OURS) this.process.removeSingleMetric(name);
  }

  /** Makes a counter that a scrape lists. Call it before anybody asks. */
  counter(name: string, help: string): Counter {
    const counter = new Counter(name, help, this.book);
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

  /** Tells a count of 0 of a route's calls of gRPC, for the statuses that alerts are made of, until there are some. */
  expectCalls(route: string): void {
    for (const status of ["OK", "RESOURCE_EXHAUSTED", "UNAVAILABLE"]) this.grpcCalls.of({ route, status });
  }

  /**
   * Counts a request that was refused. `tier`: the caller's; `null` without a key. Takes two look-ups and makes no text, since a flood
   * brings many refusals.
   */
  refused(code: string, tier: string | null): void {
    (this.refusalCount(code, tier)[0] as number)++;
  }

  private refusalCount(code: string, tier: string | null): Float64Array {
    const of = tier ?? "none";
    let codes = this.refusalsOf.get(of);
    if (codes === undefined) {
      codes = new Map();
      this.refusalsOf.set(of, codes);
    }
    let count = codes.get(code);
    if (count === undefined) {
      count = this.refusals.cellOf({ code, tier: of });
      codes.set(code, count);
    }
    return count;
  }

  /** Gives the counts of a route of this name; they go on over reloads. */
  of(route: string): RouteMetrics {
    const metrics = this.series(route);
    metrics.isOfTraffic();
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
      metrics = new RouteMetrics(route, this.book, this.closedWebSockets);
      this.routes.set(route, metrics);
    }
    return metrics;
  }

  /**
   * Gives counts by name that lie in cells: properties that are added to. `family` and `label` tell them from others.
   */
  tally<Name extends string>(family: string, label: string, names: readonly Name[]): Record<Name, number> {
    const tally = {};
    for (const name of names) {
      const cells = this.book.of(keyOf(family, { [label]: name }), 1);
      Object.defineProperty(tally, name, {
        enumerable: true,
        get: () => cells[0],
        set: (value: number) => {
          cells[0] = value;
        },
      });
    }
    return tally as Record<Name, number>;
  }

  /** Gives the sums of such counts over all processes. */
  totals<Name extends string>(family: string, label: string, names: readonly Name[]): Record<Name, number> {
    const samples = this.picture().of(family);
    const of = (name: Name): number => samples.find(({ labels }) => labels[label] === name)?.value ?? 0;
    return Object.fromEntries(names.map((name) => [name, of(name)])) as Record<Name, number>;
  }

  /** Gives the metrics of all processes as text, and its content type. Whoever accepts OpenMetrics gets that: with exemplars, the ids of traces. */
  async text(accept: string | null): Promise<{ type: string; body: string }> {
    this.registries ??= {
      plain: this.registry(Registry.PROMETHEUS_CONTENT_TYPE),
      open: this.registry(Registry.OPENMETRICS_CONTENT_TYPE),
    };
    const registry = accept?.includes("application/openmetrics-text") === true ? this.registries.open : this.registries.plain;
    this.scrape = await this.look();
    return { type: registry.contentType, body: await registry.metrics() };
  }

  /** Tells what became of each route's requests, for people without Prometheus; over all processes. */
  byRoute(): RouteCounts[] {
    return this.picture().byRoute();
  }

  /** Gives the same with the refusals by their code, as of one moment. */
  traffic(): { readonly routes: readonly RouteCounts[]; readonly refusals: ReadonlyMap<string, number> } {
    const picture = this.picture();
    return { routes: picture.byRoute(), refusals: refusalsIn(picture) };
  }

  /** Gives what another start of the gateway on this database had counted, of which no process lives; `sums`: reads that. */
  static trafficOf(sums: CellSums): ReturnType<Metrics["traffic"]> {
    const picture = new Picture(sums.read(), new Keys());
    return { routes: picture.byRoute(), refusals: refusalsIn(picture) };
  }

  /** Gives the number of requests of callers that this process has counted. */
  get ownRequests(): number {
    return new Picture(this.book.all, this.keys).byRoute().reduce((sum, { requests }) => sum + requests, 0);
  }

  /** Gives the sums over all processes of a metric's samples. */
  counted(name: string): readonly Sample[] {
    return this.picture().of(name);
  }

  /**
   * Adds to the cells what was counted elsewhere since the last call, so that it outlives this process: for a timer, where there are several
   * processes.
   */
  mirror(): Promise<void> {
    // One at a time: values that were read before another's would look as if they had begun anew.
    this.mirroring ??= this.mirrorNow().finally(() => {
      this.mirroring = null;
    });
    return this.mirroring;
  }

  private async mirrorNow(): Promise<void> {
    for (const family of this.readFamilies()) {
      if (family.type === "gauge" || family.across === "keeper") continue;
      for (const { labels, metricName, value } of await family.read()) {
        const key = keyOf(family.name, labels, metricName);
        const more = value - (this.mirrored.get(key) ?? 0);
        this.mirrored.set(key, value);
        // One that is less has begun anew.
        const cells = this.book.of(key, 1);
        (cells[0] as number) += more >= 0 ? more : value;
      }
    }
  }

  /** Puts together what dead processes had counted; for a timer. */
  absorb(): void {
    this.deps.sums?.absorb();
  }

  /** Tells another process what it can't read in the cells of this one. */
  async told(): Promise<Told> {
    await this.mirror();
    const states: Record<string, readonly Sample[]> = {};
    for (const { name, type, across, read } of this.readFamilies())
      if (type === "gauge" && across !== "keeper") states[name] = [...(await read())];
    return {
      ...{ worker: this.deps.self, states },
      counts: [...this.book.homeless].map(([key, cells]) => [key, [...cells]]),
      exemplars: [...this.exemplars()],
    };
  }

  private async look(): Promise<Scrape> {
    const { sums, ask } = this.deps;
    if (sums === null) return { picture: this.withExemplars(this.picture(), []), stateOf: ({ read }) => read() };
    const [told] = await Promise.all([ask(), this.mirror()]);
    return {
      picture: this.withExemplars(this.picture(told), told),
      stateOf: async ({ name, across, read }) => merged(across, [[...(await read())], ...told.map(({ states }) => states[name] ?? [])]),
    };
  }

  /** Reads what all processes have counted; `told`: with what they alone can read. */
  private picture(told: readonly Told[] = []): Picture {
    const { sums } = this.deps;
    if (sums === null) return new Picture(this.book.all, this.keys);
    const read = sums.read();
    // In the order in which this process knows them: a scrape lists routes as the configuration does.
    const all = new Map([...this.book.all.keys()].map((key) => [key, read.get(key) ?? new Float64Array(0)]));
    for (const [key, counts] of read) all.set(key, counts);
    const further = [
      this.book.homeless,
      ...told.map(({ counts }) => counts.map(([key, cells]) => [key, Float64Array.from(cells)] as const)),
    ];
    for (const counts of further) for (const [key, cells] of counts) all.set(key, plus(all.get(key), cells));
    return new Picture(all, this.keys);
  }

  private withExemplars(picture: Picture, told: readonly Told[]): Picture {
    for (const exemplars of [this.exemplars(), ...told.map((each) => each.exemplars)])
      for (const [route, bucket, exemplar] of exemplars) picture.show(route, bucket, exemplar);
    return picture;
  }

  private *exemplars(): Generator<Told["exemplars"][number]> {
    for (const { route, exemplars } of this.routes.values())
      for (const [bucket, exemplar] of exemplars.entries()) if (exemplar !== undefined) yield [route, bucket, exemplar];
  }

  /** Gives all metrics that are read elsewhere than in cells: those of the process, and those that were shown. */
  private readFamilies(): Family[] {
    return [...this.processFamilies(), ...this.families];
  }

  private processFamilies(): Family[] {
    return (this.process.getMetricsAsArray() as unknown as ProcessMetric[]).map((metric): Family => {
      const { name, help, type } = metric;
      const across = ACROSS_PROCESSES[name] ?? (name.startsWith(LAG) ? "max" : "sum");
      return { name, help, type, across, read: async () => (await metric.get()).values };
    });
  }

  /** Makes a registry for one format: each has its own, since one of them renames its metrics. */
  private registry(contentType: RegistryContentType): Registry<RegistryContentType> {
    const registry: Registry<RegistryContentType> = new Registry();
    registry.setContentType(contentType);
    const register = (
      { name, help, type }: Pick<Family, "name" | "help"> & { readonly type: string },
      read: (scrape: Scrape) => Iterable<object> | Promise<Iterable<object>>,
    ): void => {
      // OpenMetrics names a counter without the ending of its samples.
      const family = contentType === Registry.OPENMETRICS_CONTENT_TYPE && type === "counter" ? name.replace(/_total$/, "") : name;
      const get = async () => {
        const values = this.scrape === null ? [] : [...(await read(this.scrape))];
        return { name: family, help, type, aggregator: "sum", values };
      };
      registry.registerMetric({ name: family, type, get } as unknown as Parameters<Registry["registerMetric"]>[0]);
    };
    const isAlone = this.deps.sums === null;
    const registerFamily = (family: Family): void => {
      const isCounted = family.type !== "gauge" && family.across !== "keeper";
      register(family, isAlone || !isCounted ? ({ stateOf }) => stateOf(family) : ({ picture }) => picture.of(family.name));
    };
    for (const family of this.processFamilies()) registerFamily(family);
    register({ name: REQUESTS, help: "Requests by route, method and status.", type: "counter" }, ({ picture }) => picture.requests());
    for (const { name, help } of this.counters) register({ name, help, type: "counter" }, ({ picture }) => picture.of(name));
    for (const family of this.families) registerFamily(family);
    register(
      {
        name: LATENCY,
        help: "Time from a request's head to the last byte of its answer, in milliseconds.",
        type: "histogram",
      },
      ({ picture }) => picture.latencies(),
    );
    return registry;
  }
}

const plus = (a: Float64Array | undefined, b: Float64Array): Float64Array => b.map((value, i) => value + (a?.[i] ?? 0));

/** Sums refusals by their code. */
function refusalsIn(picture: Picture): Map<string, number> {
  const codes = new Map<string, number>();
  for (const { labels, value } of picture.of(REFUSALS)) {
    const code = String(labels.code);
    if (value > 0) codes.set(code, (codes.get(code) ?? 0) + value);
  }
  return codes;
}
