import { counter, each, type Family, gauge } from "../values/family.ts";
import type { Deliveries } from "./deliveries.ts";
import type { Webhooks } from "./webhooks.ts";

/** Tells Prometheus of webhooks; nothing in a process that tells none. */
export const webhookFamilies = (hooks: { readonly webhooks: Webhooks; readonly deliveries: Deliveries } | null): readonly Family[] => {
  const names = (): string[] => hooks?.webhooks.all.map(({ name }) => name) ?? [];
  return [
    counter(
      "sluice_webhook_deliveries_total",
      "Tries to deliver events to webhooks by what has come of them: retried comes again, failed was the last, dropped had to make room.",
      () => (hooks === null ? [] : each("result", hooks.webhooks.counts)),
      "keeper",
    ),
    gauge("sluice_webhook_waiting", "Events that wait for a webhook.", () =>
      names().map((webhook) => ({ labels: { webhook }, value: hooks?.deliveries.waiting(webhook) ?? 0 })),
    ),
    gauge("sluice_webhook_lag_seconds", "How long the oldest event waits for a webhook.", () =>
      names().map((webhook) => {
        const oldest = hooks?.deliveries.oldest(webhook) ?? null;
        return { labels: { webhook }, value: oldest === null ? 0 : Math.max(0, (hooks?.webhooks.wall() ?? 0) - oldest) / 1000 };
      }),
    ),
  ];
};
