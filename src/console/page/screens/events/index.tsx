import { useState } from "preact/hooks";
import { type Events, type GatewayEvent, RING, useEvents } from "../../events.ts";
import { clock, count } from "../../format.ts";
import { Badge } from "../../parts/badge.tsx";
import { ScreenFrame } from "../../parts/screen.tsx";
import { Table } from "../../parts/table.tsx";
import { hrefTo } from "../../router.ts";
import type { ScreenProps } from "../index.ts";
import { Filters, filterIn } from "./filters.tsx";
import { saidOf, toneOf, whoOf } from "./said.ts";

/** Shows what happens, as it happens. */
export function EventsScreen({ query }: ScreenProps) {
  const [isPaused, setPaused] = useState(false);
  const events = useEvents(filterIn(query), isPaused);
  return (
    <ScreenFrame
      title="Events"
      intro="Requests, refusals and changes as they happen. The gateway shows a hundred requests a second, and counts those that it leaves out."
      acts={
        <button type="button" aria-pressed={isPaused} onClick={() => setPaused(!isPaused)}>
          {isPaused ? "Go on" : "Pause"}
        </button>
      }
    >
      <Filters query={query} />
      <Standing events={events} isPaused={isPaused} />
      <Table
        caption="Events, the newest first"
        rows={events.latest}
        keyOf={({ n }) => String(n)}
        empty={
          <p>
            Nothing has happened since you came. Send a request through the gateway: it is listed here at once. Filters may hide what you
            look for.
          </p>
        }
        columns={[
          { name: "Time", cell: ({ at }) => <time dateTime={at}>{clock(at)}</time> },
          { name: "Type", cell: (event) => <Badge tone={toneOf(event)}>{labelOf(event)}</Badge> },
          { name: "What", cell: (event) => <What event={event} /> },
          { name: "Who", isWide: true, cell: whoOf },
        ]}
      />
    </ScreenFrame>
  );
}

const labelOf = ({ type, status }: GatewayEvent): string => (type === "request" ? String(status) : type);

const STATES: Readonly<Record<Events["state"], string>> = {
  connecting: "Connecting…",
  open: "Live",
  lost: "The connection was lost: it is made again by itself",
};

/** Says whether events come, and how many have. */
const Standing = ({ events: { state, total, skipped, latest }, isPaused }: { readonly events: Events; readonly isPaused: boolean }) => (
  <p class="standing">
    <Badge tone={isPaused || state !== "open" ? "warn" : "good"}>{isPaused ? "Paused" : STATES[state]}</Badge>
    <span class="fine">
      {count(total)} so far
      {skipped > 0 && `, of which the gateway left out ${count(skipped)}`}
      {latest.length >= RING && `; the last ${RING} are kept here`}
    </span>
  </p>
);

/** Shows an event in a line, and all that is known of it to who opens it. */
const What = ({ event }: { readonly event: GatewayEvent }) => {
  const { n: _, type, requestId, status, ...rest } = event;
  const isRefused = type === "limit" || status === 401 || status === 403 || status === 429;
  return (
    <details class="happening">
      <summary>{saidOf(event)}</summary>
      {isRefused && typeof requestId === "string" && (
        <p>
          <a href={hrefTo(["why"], { request: requestId })}>Why it was refused</a>
        </p>
      )}
      <pre>
        <code>{JSON.stringify({ type, status, requestId, ...rest }, null, 2)}</code>
      </pre>
    </details>
  );
};
