import type { Subscriber } from "../telemetry/occurrences.ts";

/** Leaves out what another process of this gateway has decided and this one follows: that has its line, its event and its count there. */
export const ofThisProcess = (subscriber: Subscriber): Subscriber => ({
  ...subscriber,
  health: (occurrence) => {
    if (occurrence.origin !== "process") subscriber.health?.(occurrence);
  },
  block: (occurrence) => {
    if (occurrence.origin !== "process") subscriber.block?.(occurrence);
  },
  target: (occurrence) => {
    if (occurrence.origin !== "process") subscriber.target?.(occurrence);
  },
  breaker: (occurrence) => {
    if (occurrence.cause !== "process") subscriber.breaker?.(occurrence);
  },
});
