import type { Across, Sample } from "../values/family.ts";

/** Describes a metric's samples as one process gives them. */
export interface Told {
  readonly worker: string;
  /** The samples of states, by the metric's name. */
  readonly states: Readonly<Record<string, readonly Sample[]>>;
  /** What is counted in memory that only the process itself can read. */
  readonly counts: readonly (readonly [key: string, counts: readonly number[]])[];
  readonly exemplars: readonly (readonly [route: string, bucket: number, exemplar: Exemplar])[];
}

/** Describes a request that stands for others of its latency. */
export interface Exemplar {
  readonly labelSet: { readonly trace_id: string };
  /** Milliseconds. */
  readonly value: number;
  /** Seconds since 1970. */
  readonly timestamp: number;
}

/**
 * Puts together the samples of one metric of a state that several processes gave; those of the keeper first.
 *
 * @example
 * merged("sum", [[{ labels: {}, value: 2 }], [{ labels: {}, value: 3 }]]); // [{ labels: {}, value: 5 }]
 */
export function merged(across: Across, [keeper = [], ...workers]: readonly (readonly Sample[])[]): Sample[] {
  if (across === "keeper") return [...keeper];
  const all = new Map<string, Sample>();
  for (const samples of across === "workers" ? workers : [keeper, ...workers])
    for (const sample of samples) {
      const { labels, value } = sample;
      // A number that is none is null in JSON.
      if (!Number.isFinite(value)) continue;
      const key = JSON.stringify(labels);
      const before = all.get(key)?.value;
      all.set(key, before === undefined ? sample : { ...sample, value: both(across, before, value) });
    }
  return [...all.values()];
}

function both(across: Across, a: number, b: number): number {
  if (across === "max") return Math.max(a, b);
  return across === "min" ? Math.min(a, b) : a + b;
}
