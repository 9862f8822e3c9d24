/** Holds one number of a metric, with its labels. */
export interface Sample {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
  /** The sample's own name, where it is not the metric's: a histogram has several. */
  readonly metricName?: string;
}

/**
 * Says how a metric is put together that each process of a gateway has: added up, over all or over the workers alone; the greatest or the
 * least, where they should all say the same, and one that says the worse is heard; or as the keeper says it.
 */
export type Across = "sum" | "workers" | "max" | "min" | "keeper";

/** Describes a metric that is read only when somebody asks for it. */
export interface Family {
  readonly name: string;
  readonly help: string;
  readonly type: "counter" | "gauge" | "histogram";
  readonly read: () => Iterable<Sample> | Promise<Iterable<Sample>>;
  /** For counters and histograms "sum" or "keeper". */
  readonly across: Across;
}

/**
 * Makes a metric of a state, which goes up and down.
 *
 * @example
 * gauge("sluice_pools", "Pools of keys.", () => single(2)).read(); // [{ labels: {}, value: 2 }]
 */
export const gauge = (name: string, help: string, read: Family["read"], across: Across = "keeper"): Family => ({
  ...{ name, help, type: "gauge", read, across },
});

/** Makes a metric of a count, which only goes up. */
export const counter = (name: string, help: string, read: Family["read"], across: "sum" | "keeper" = "sum"): Family => ({
  ...{ name, help, type: "counter", read, across },
});

/** Makes a metric of how values are spread; its samples have the names that Prometheus wants (_bucket, _sum, _count). */
export const histogram = (name: string, help: string, read: Family["read"]): Family => ({
  ...{ name, help, type: "histogram", read, across: "sum" },
});

/** Gives the one sample of a metric without labels. */
export const single = (value: number): Sample[] => [{ labels: {}, value }];

/** Gives a sample for each of the counts, whose name stands in the label `label`. */
export const each = (label: string, counts: Readonly<Record<string, number>>): Sample[] =>
  Object.entries(counts).map(([name, value]) => ({ labels: { [label]: name }, value }));
