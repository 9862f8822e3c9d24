import { count, span } from "../../format.ts";
import { useList } from "../../list.ts";
import { Badge } from "../../parts/badge.tsx";
import { ScreenFrame } from "../../parts/screen.tsx";
import { Listing } from "../../parts/table.tsx";
import { NewLink } from "../../records/new-link.tsx";
import { hrefTo } from "../../router.ts";
import { eventsOf, type Webhook } from "./webhook.ts";

/** Lists the webhooks. */
export function WebhookList() {
  const list = useList<Webhook>("webhooks");
  return (
    <ScreenFrame
      title="Webhooks"
      intro="Who is told what happens: keys that expire, quotas that are used up, targets that are down. Each event is signed, kept until it is delivered, and tried for a day."
      acts={<NewLink href={hrefTo(["webhooks"], { new: "webhook" })} words="New webhook" />}
    >
      <Listing
        list={list}
        caption="Webhooks"
        noun="webhooks"
        textOf={({ name, url, events }) => `${name} ${url} ${events.join(" ")}`}
        keyOf={({ name }) => name}
        sortedBy={{ name: "Name" }}
        empty={
          <>
            <p>
              Nobody is told anything yet. Create a webhook with the address of a receiver, such as one of your chat, and choose the events
              that it gets.
            </p>
            <p>
              <a href="/docs/guides/webhooks">How to receive and verify events</a>
            </p>
          </>
        }
        columns={[
          { name: "Name", sort: ({ name }) => name, cell: ({ name }) => <a href={hrefTo(["webhooks", name])}>{name}</a> },
          { name: "State", cell: (webhook) => <WebhookBadge webhook={webhook} /> },
          { name: "Events", isWide: true, cell: eventsOf },
          { name: "Waiting", isNumber: true, sort: ({ state }) => state.waiting, cell: ({ state }) => count(state.waiting) },
          {
            name: "Oldest",
            isNumber: true,
            isWide: true,
            cell: ({ state: { oldest } }) => (oldest === null ? "–" : span((Date.now() - Date.parse(oldest)) / 1000)),
          },
          { name: "Sent to", isWide: true, cell: ({ url }) => <code>{url}</code> },
          { name: "From", isWide: true, cell: ({ source }) => (source === "config" ? "file" : "API") },
        ]}
      />
    </ScreenFrame>
  );
}

/** Says in a word whether a webhook gets what happens. */
export const WebhookBadge = ({ webhook: { enabled, state } }: { readonly webhook: Webhook }) =>
  state.isGone ? <Badge tone="bad">wants no more (410)</Badge> : enabled ? <Badge tone="good">on</Badge> : <Badge tone="warn">off</Badge>;
