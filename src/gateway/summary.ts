import type { Metrics } from "../telemetry/metrics.ts";
import type { Services } from "./services.ts";

/** Gives the counts that `/_metrics` tells people without Prometheus. */
export function summaryOf(metrics: Metrics, { upstreams, caching, cacheStore }: Pick<Services, "upstreams" | "caching" | "cacheStore">) {
  const sums = { total: 0, refused: 0, failed: 0, limited: 0 };
  for (const { requests, clientErrors, serverErrors, limited } of metrics.byRoute()) {
    sums.total += requests;
    sums.refused += clientErrors;
    sums.failed += serverErrors;
    sums.limited += limited;
  }
  const breakers: Record<string, { state: string; failures: number }> = {};
  for (const { targets } of upstreams.all())
    for (const { url, state } of targets) breakers[url] = { state: state.breaker.state, failures: state.breaker.failures };
  return {
    requests_total: sums.total,
    requests_success: sums.total - sums.refused - sums.failed - sums.limited,
    requests_failed: sums.failed,
    requests_rate_limited: sums.limited,
    cache_hits: caching.counts.hits,
    cache_misses: caching.counts.misses,
    cache_size: cacheStore.stats.entries,
    circuit_breakers: breakers,
  };
}
