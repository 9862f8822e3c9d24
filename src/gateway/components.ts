import type { Activities } from "../activities/activities.ts";
import { nameOf } from "../activities/sinks/names.ts";
import { SINK } from "../health/probes.ts";
import type { Ground } from "./ground.ts";
import type { Services } from "./services.ts";

/** Tells the state of each part of the gateway: ok, degraded, away or failing. */
export class Components {
  constructor(
    private readonly ground: Pick<Ground, "inForce" | "writability" | "link">,
    private readonly services: Pick<Services, "activities" | "upstreams">,
  ) {}

  /** Gives the states of the parts without which requests should go elsewhere. */
  ofGateway(): Record<string, string> {
    const { inForce, writability, link } = this.ground;
    const { activities } = this.services;
    const { config } = inForce;
    return {
      // Keys and limits are in memory: a database that can't be written, or is damaged, is no reason to serve no longer.
      database: writability.state === null ? "ok" : "degraded",
      // Requests are served all the same.
      ...(config.activities === null ? {} : activitiesStates(config.activities.sinks.map(nameOf), activities.current)),
      ...(link === null ? {} : { redis: link.isUp ? "ok" : config.redis?.onFailure === "deny" ? "failing" : "away" }),
      ...(config.ready.upstreams.length === 0 ? {} : { upstreams: Object.values(this.required()).includes("failing") ? "failing" : "ok" }),
    };
  }

  /** Gives the states of all parts, for people: backends that are down are no reason to take the gateway out of service. */
  all(): Record<string, string> {
    const states = this.services.upstreams.all();
    const isDown = states.some((upstream) => !upstream.hasTarget);
    const isHurt = states.some(({ targets }) => targets.some(({ state }) => !state.isHealthy || state.breaker.state !== "closed"));
    return { ...this.ofGateway(), upstreams: isDown ? "failing" : isHurt ? "degraded" : "ok" };
  }

  /** Gives the states of the upstreams without which the gateway is not ready. */
  required(): Record<string, string> {
    const states = this.services.upstreams.all();
    const stateOf = (name: string): string => (states.find((each) => each.name === name)?.isReady === true ? "ok" : "failing");
    return Object.fromEntries(this.ground.inForce.config.ready.upstreams.map((name) => [name, stateOf(name)]));
  }
}

/** Gives the states of the queue of activities and of each sink that they go to. */
function activitiesStates(sinks: readonly string[], activities: Activities | null): Record<string, string> {
  if (activities === null) return { queue: "degraded" };
  const { away } = activities;
  const states = sinks.map((sink) => [`${SINK}${sink}`, away.includes(sink) ? "away" : "ok"]);
  return { queue: activities.queueFault === null ? "ok" : "degraded", ...Object.fromEntries(states) };
}
