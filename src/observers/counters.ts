import type { Metrics } from "../telemetry/metrics.ts";
import type { Subscriber } from "../telemetry/occurrences.ts";

/** Counts occurrences for Prometheus. Counts that nothing has raised yet are told as 0: a counter that begins at 1 shows no increase. */
export function counters(metrics: Metrics): Subscriber {
  const reloads = metrics.counter("sluice_config_reloads_total", "Reloads of the configuration, by their result.");
  for (const trigger of ["file", "signal", "admin"]) for (const result of ["ok", "faulty"]) reloads.of({ trigger, result });
  const blocked = metrics.counter("sluice_blocks_total", "Addresses that were blocked.");
  for (const by of ["guard", "admin"]) blocked.of({ by });
  return {
    block: ({ block: { by } }) => blocked.add({ by: by === "guard" ? "guard" : "admin" }),
    breaker: ({ target: { url }, from, to }) => {
      // A person who takes over an open one changes no state.
      if (from !== to) metrics.breakerChanges.add({ target: url, from, to });
    },
    modelAttempt: ({ model, attempt: { place, upstreamName: upstream, model: used }, outcome }) =>
      metrics.modelAttempts.add({ model, place: String(place), upstream, used, outcome: String(outcome) }),
    unpriced: ({ route }) => metrics.unpriced.add({ route }),
    reload: ({ trigger, faults }) => reloads.add({ trigger, result: faults.length === 0 ? "ok" : "faulty" }),
  };
}
