import type { Sample } from "../values/family.ts";
import type { Exemplar } from "./merging.ts";
import { BUCKETS, IS_TRAFFIC, LATENCY, REQUESTS, SUM } from "./route-metrics.ts";

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

const TENTH_OF_A_MICROSECOND = 10_000;
const NONE = new Float64Array(IS_TRAFFIC + 1);

interface RoutePicture {
  readonly requests: Sample[];
  latency: Float64Array;
  exemplars: readonly (Exemplar | undefined)[];
}

/** Is the text of the key of what counts otherwise than requests: the metric's name, its labels, and the sample's name where it is another. */
export const keyOf = (name: string, labels: Sample["labels"], metricName?: string): string =>
  JSON.stringify(metricName === undefined ? [name, labels] : [name, labels, metricName]);

type Parsed =
  | { readonly kind: "requests"; readonly route: string; readonly labels: Sample["labels"] }
  | { readonly kind: "latency"; readonly route: string }
  | { readonly kind: "other"; readonly name: string; readonly sample: Omit<Sample, "value"> };

/** Reads keys of cells; remembers them, since there are few and they are read again with each scrape. */
export class Keys {
  private readonly known = new Map<string, Parsed>();

  of(text: string): Parsed {
    let parsed = this.known.get(text);
    if (parsed === undefined) {
      parsed = parse(JSON.parse(text));
      this.known.set(text, parsed);
    }
    return parsed;
  }
}

function parse(parts: readonly [string, ...unknown[]]): Parsed {
  const [name] = parts;
  if (name === REQUESTS) {
    const [, route, method, status] = parts as readonly [string, string, string, string];
    return { kind: "requests", route, labels: { route, method, status } };
  }
  if (name === LATENCY) return { kind: "latency", route: (parts as readonly [string, string])[1] };
  const [, labels, metricName] = parts as readonly [string, Sample["labels"], string?];
  return { kind: "other", name, sample: metricName === undefined ? { labels } : { labels, metricName } };
}

/** Shows what was counted at one moment, by one process or all of them: by route, and by metric. */
export class Picture {
  private readonly routes = new Map<string, RoutePicture>();
  private readonly others = new Map<string, Sample[]>();

  constructor(cells: Iterable<readonly [key: string, cells: Float64Array]>, keys: Keys) {
    for (const [text, counts] of cells) {
      const parsed = keys.of(text);
      const value = counts[0] ?? 0;
      if (parsed.kind === "requests") this.routeOf(parsed.route).requests.push({ labels: parsed.labels, value });
      else if (parsed.kind === "latency") this.routeOf(parsed.route).latency = counts;
      else this.samplesOf(parsed.name).push({ ...parsed.sample, value });
    }
  }

  /** Adds the exemplars of a route's buckets; of several of one bucket the latest stands. */
  show(route: string, bucket: number, exemplar: Exemplar): void {
    const of = this.routeOf(route);
    const before = of.exemplars[bucket];
    if (before === undefined || before.timestamp < exemplar.timestamp)
      of.exemplars = Object.assign([...of.exemplars], { [bucket]: exemplar });
  }

  /** Gives the samples of a metric that is counted otherwise than by requests. */
  of(name: string): readonly Sample[] {
    return this.others.get(name) ?? [];
  }

  /** Tells what became of the requests of callers, by route. */
  byRoute(): RouteCounts[] {
    return [...this.routes].flatMap(([name, { requests, latency }]) => {
      if ((latency[IS_TRAFFIC] ?? 0) === 0) return [];
      const sums = { requests: 0, clientErrors: 0, serverErrors: 0, limited: 0 };
      for (const { labels, value } of requests) {
        const status = Number(labels.status);
        sums.requests += value;
        if (status === 429) sums.limited += value;
        else if (status >= 500 || status === 499) sums.serverErrors += value;
        else if (status >= 400) sums.clientErrors += value;
      }
      return [{ name, ...sums, latency: [...latency.subarray(0, SUM)] }];
    });
  }

  *requests(): Generator<Sample> {
    for (const { requests } of this.routes.values()) yield* requests;
  }

  *latencies(): Generator<Sample & { metricName: string; exemplar?: Exemplar }> {
    for (const [route, { latency, exemplars }] of this.routes) {
      let count = 0;
      for (let i = 0; i < SUM; i++) {
        count += latency[i] ?? 0;
        const exemplar = exemplars[i];
        yield {
          metricName: `${LATENCY}_bucket`,
          labels: { route, le: String(BUCKETS[i] ?? "+Inf") },
          value: count,
          ...(exemplar === undefined ? {} : { exemplar }),
        };
      }
      const sum = Math.round((latency[SUM] ?? 0) * TENTH_OF_A_MICROSECOND) / TENTH_OF_A_MICROSECOND;
      yield { metricName: `${LATENCY}_sum`, labels: { route }, value: sum };
      yield { metricName: `${LATENCY}_count`, labels: { route }, value: count };
    }
  }

  private routeOf(name: string): RoutePicture {
    let route = this.routes.get(name);
    if (route === undefined) {
      route = { requests: [], latency: NONE, exemplars: [] };
      this.routes.set(name, route);
    }
    return route;
  }

  private samplesOf(name: string): Sample[] {
    let samples = this.others.get(name);
    if (samples === undefined) {
      samples = [];
      this.others.set(name, samples);
    }
    return samples;
  }
}
