import { counter, each, type Family, gauge } from "../../values/family.ts";
import type { AcmeOrders } from "./orders.ts";

/** Tells Prometheus how it stands with certificates that are ordered. */
export const acmeFamilies = (orders: AcmeOrders | null): readonly Family[] => [
  counter(
    "sluice_acme_orders_total",
    "Certificates that were ordered, and tries that brought none.",
    () => (orders === null || orders.isIdle ? [] : each("result", orders.counts)),
    "keeper",
  ),
  gauge("sluice_acme_failures", "Tries in a row that brought no certificate, by host; 0: all is well.", () =>
    (orders?.standings ?? []).map(({ place, failures }) => ({ labels: { host: place }, value: failures })),
  ),
  gauge(
    "sluice_acme_next_order_timestamp_seconds",
    "When a certificate is ordered next, by host: its renewal, or the next try; 0: now.",
    () => (orders?.standings ?? []).map(({ place, renewsAt }) => ({ labels: { host: place }, value: (renewsAt ?? 0) / 1000 })),
  ),
];
