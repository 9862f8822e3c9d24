import { counter, each, type Family, gauge, single } from "../values/family.ts";
import type { Crowd } from "./crowd.ts";
import { descriptors } from "./descriptors.ts";

/** Gives the metrics of connections: clients' on all listeners together, and all sockets of the process. */
export const connectionFamilies = (crowd: Crowd): readonly Family[] => [
  gauge("sluice_connections_open", "Connections of clients.", () => single(crowd.open), "workers"),
  gauge("sluice_connections_limit", "How many connections clients may have open.", () => single(crowd.limits.maxConnections), "workers"),
  counter(
    "sluice_connections_refused_total",
    "New connections that were closed since there were too many: of all, or of one address.",
    () => each("of", crowd.refused),
  ),
  counter("sluice_connections_closed_early_total", "Idle connections that were closed to make room for others.", () =>
    each("of", crowd.closedEarly),
  ),
  counter("sluice_http2_cut_off_total", "Connections of HTTP/2 that were ended, by what the client did too much of.", () =>
    each("why", crowd.cutOffs.counts),
  ),
  gauge("sluice_sockets_open", "Connections of clients and to backends, out of process_max_fds.", () => single(descriptors.sockets), "sum"),
];
