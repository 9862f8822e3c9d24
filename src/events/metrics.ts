import { counter, type Family, gauge, single } from "../values/family.ts";
import type { EventHub } from "./hub.ts";

/** Tells Prometheus who reads the events. */
export const eventFamilies = (events: EventHub): readonly Family[] => [
  gauge("sluice_event_readers", "Readers of the admin API's events.", () => single(events.readers)),
  counter("sluice_event_readers_dropped_total", "Readers of events that were dropped because they read too slowly.", () =>
    single(events.dropped),
  ),
];
