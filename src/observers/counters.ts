import type { Metrics } from "../telemetry/metrics.ts";
import type { Subscriber } from "../telemetry/occurrences.ts";

/** Counts occurrences for Prometheus. */
export const counters = (metrics: Metrics): Subscriber => ({
  block: ({ block: { by } }) => metrics.blocked.add({ by: by === "guard" ? "guard" : "admin" }),
  breaker: ({ target: { url }, from, to }) => {
    // A person who takes over an open one changes no state.
    if (from !== to) metrics.breakerChanges.add({ target: url, from, to });
  },
  reload: ({ trigger, faults }) => metrics.reloads.add({ trigger, result: faults.length === 0 ? "ok" : "faulty" }),
});
