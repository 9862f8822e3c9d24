import type { Clock } from "../values/clock.ts";
import { type Family, gauge, type Sample } from "../values/family.ts";
import { letsThrough } from "./breaker.ts";
import type { Upstreams } from "./registry.ts";
import type { TargetState, Upstream } from "./upstream.ts";

/** Tells Prometheus of each target: its breaker, its health checks, its requests. */
export function upstreamFamilies(upstreams: Upstreams, clock: Clock): readonly Family[] {
  const eachTarget = (value: (state: TargetState, upstream: Upstream) => number): Sample[] =>
    upstreams
      .all()
      .flatMap((upstream) =>
        upstream.targets.map(({ url, state }) => ({ labels: { upstream: upstream.name, target: url }, value: value(state, upstream) })),
      );
  return [
    gauge(
      "circuit_breaker_state",
      "0 closed, 1 half-open (the next request is a probe), 2 open.",
      () =>
        eachTarget(({ breaker }, { breakerPolicy }) => {
          if (breaker.state === "closed") return 0;
          // One whose time is over lets the next request through, whenever that comes.
          return breaker.state === "open" && !letsThrough(breaker, breakerPolicy, clock.now()) ? 2 : 1;
        }),
      "max",
    ),
    gauge("sluice_target_healthy", "What health checks say of a target.", () => eachTarget(({ isHealthy }) => (isHealthy ? 1 : 0)), "min"),
    gauge("sluice_target_in_flight", "Requests under way to a target.", () => eachTarget(({ inFlight }) => inFlight), "sum"),
  ];
}
