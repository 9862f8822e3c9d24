import type { Metrics } from "../telemetry/metrics.ts";
import { cacheCountsOf } from "./everyone.ts";
import type { Services } from "./services.ts";

const BY_WEIGHT: readonly string[] = ["closed", "half-open", "open"];

/** Gives the counts of all processes that `/_metrics` tells people without Prometheus. */
export async function summaryOf(metrics: Metrics, { upstreams, everyone, picture }: Pick<Services, "upstreams" | "everyone" | "picture">) {
  const sums = { total: 0, refused: 0, failed: 0, limited: 0 };
  for (const { requests, clientErrors, serverErrors, limited } of metrics.byRoute()) {
    sums.total += requests;
    sums.refused += clientErrors;
    sums.failed += serverErrors;
    sums.limited += limited;
  }
  const [countsOf, processes] = await Promise.all([picture.targets(), everyone.processes()]);
  const breakers: Record<string, { state: string; failures: number }> = {};
  for (const { name, targets } of upstreams.all())
    for (const target of targets) {
      const { state, failures } = countsOf(name, target);
      // Upstreams may share a target: what is cut off for one of them must be seen.
      const before = breakers[target.url];
      if (before === undefined || BY_WEIGHT.indexOf(state) > BY_WEIGHT.indexOf(before.state)) breakers[target.url] = { state, failures };
    }
  const { hits, misses } = cacheCountsOf(metrics);
  return {
    requests_total: sums.total,
    requests_success: sums.total - sums.refused - sums.failed - sums.limited,
    requests_failed: sums.failed,
    requests_rate_limited: sums.limited,
    cache_hits: hits,
    cache_misses: misses,
    cache_size: processes.reduce((sum, { cached }) => sum + cached, 0),
    circuit_breakers: breakers,
  };
}
