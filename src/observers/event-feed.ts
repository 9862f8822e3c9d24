import type { EventHub } from "../events/hub.ts";
import type { Subscriber } from "../telemetry/occurrences.ts";

/** Tells everybody who follows the events what happens besides requests. */
export const eventFeed = (events: EventHub): Subscriber => ({
  change: ({ change: { action, subject }, actor: { name: actor, requestId } }) =>
    events.publish("change", {}, () => ({ action, subject, actor, requestId })),
  health: ({ before, after: { status, by, reason } }) =>
    events.publish("health", {}, () => ({ from: before.status, to: status, by, reason })),
  redis: ({ isUp, why, isFirst }) => {
    if (!isFirst) events.publish("redis", {}, () => ({ up: isUp, why: isUp ? null : why }));
  },
  issuer: ({ issuer, why }) => events.publish("issuer", {}, () => ({ issuer, up: why === null, why })),
  poolKey: ({ pool, key, change, status }) => events.publish("pool", {}, () => ({ pool, key, change, status })),
  breaker: ({ upstream, target: { url }, from, to, cause }) =>
    events.publish("breaker", {}, () => ({ upstream, target: url, from, to, cause })),
  target: ({ upstream, target: { url }, isHealthy, why }) =>
    events.publish("target", {}, () => ({ upstream, target: url, healthy: isHealthy, why })),
});
