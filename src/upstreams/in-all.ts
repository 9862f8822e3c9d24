import type { Breaker } from "./breaker.ts";
import type { Upstreams } from "./registry.ts";
import type { Troubles } from "./troubles.ts";
import type { Target } from "./upstream.ts";

/** Says what one process knows of a target that others do not: plain, so that it can be told. */
export interface TargetCounts extends Pick<Breaker, "state" | "failures" | "successes" | "failedProbes" | "isVouchedFor"> {
  readonly upstream: string;
  readonly url: string;
  readonly inFlight: number;
  /** What went wrong with it last; `null` when nothing is known. */
  readonly trouble: string | null;
}

/** Gives what is known of all processes together. */
export type CountsInAll = () => Promise<(upstream: string, target: Target) => Omit<TargetCounts, "upstream" | "url">>;

/** Gives what this process knows of its targets. */
export const countsHere = (upstreams: Upstreams, troubles: Troubles): readonly TargetCounts[] =>
  upstreams.all().flatMap(({ name, targets }) =>
    targets.map(({ url, state: { breaker, inFlight } }) => {
      const { state, failures, successes, failedProbes, isVouchedFor } = breaker;
      return { upstream: name, url, state, failures, successes, failedProbes, isVouchedFor, inFlight, trouble: troubles.of(name, url) };
    }),
  );

/**
 * Puts together what all processes know, this one's first: requests under way are added up; of what each counts by itself the most counts, and a probe
 * that is under way anywhere.
 */
export function together(answers: readonly (readonly TargetCounts[])[]): (upstream: string, target: Target) => TargetCounts {
  const sums = new Map<string, TargetCounts>();
  for (const each of answers.flat()) {
    const name = nameOf(each.upstream, each.url);
    const known = sums.get(name);
    sums.set(name, known === undefined ? each : sum(known, each));
  }
  return (upstream, { url, state: { breaker, inFlight } }) =>
    sums.get(nameOf(upstream, url)) ?? { ...breaker, upstream, url, inFlight, trouble: null };
}

const sum = (a: TargetCounts, b: TargetCounts): TargetCounts => ({
  ...a,
  state: a.state === "open" && b.state === "half-open" ? b.state : a.state,
  failures: Math.max(a.failures, b.failures),
  successes: Math.max(a.successes, b.successes),
  failedProbes: Math.max(a.failedProbes, b.failedProbes),
  isVouchedFor: a.isVouchedFor || b.isVouchedFor,
  inFlight: a.inFlight + b.inFlight,
  trouble: a.trouble ?? b.trouble,
});

const nameOf = (upstream: string, url: string): string => `${upstream}\n${url}`;
