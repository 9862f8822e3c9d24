import { get, type Page } from "../../api.ts";
import { useEvents } from "../../events.ts";
import { clock } from "../../format.ts";
import { useLive } from "../../live.ts";
import { Badge } from "../../parts/badge.tsx";
import { Panel } from "../../parts/screen.tsx";
import { Table } from "../../parts/table.tsx";
import { hrefTo } from "../../router.ts";
import type { Refusal } from "../../shapes.ts";
import { saidOf, toneOf } from "../events/said.ts";

/** Milliseconds between two looks at the last refusals, and how many are shown. */
const LOOK_EVERY = 3000;
const REFUSALS = 8;
/** Events that are shown. */
const EVENTS = 10;

/** Lists who was refused last: each leads to why. */
export function LastRefusals() {
  const { value } = useLive("refusals", (signal) => get<Pick<Page<Refusal>, "items">>("explain/refusals", {}, signal), LOOK_EVERY);
  return (
    <Panel title="Refused last">
      <Table
        caption="The last requests that were refused"
        rows={(value?.items ?? []).slice(0, REFUSALS)}
        keyOf={({ requestId }) => requestId}
        empty={<p>Nobody was refused lately. Whoever is will be listed here, with the reason.</p>}
        columns={[
          { name: "Time", isNumber: true, cell: ({ at }) => clock(at) },
          { name: "Who", cell: ({ consumer, ip }) => <a href={hrefTo(["why"], { consumer, ip })}>{consumer ?? ip}</a> },
          {
            name: "Why",
            cell: ({ code, requestId }) => <a href={hrefTo(["why"], { request: requestId })}>{code}</a>,
          },
          { name: "Route", isWide: true, cell: ({ route }) => route ?? "–" },
        ]}
      />
    </Panel>
  );
}

/** Lists what happened to the gateway itself, as it happens. */
export function Happenings() {
  const { latest, state } = useEvents({ type: "breaker,target,health,change,pool,quota,redis,issuer" });
  return (
    <Panel title="What happens" acts={<Badge tone={state === "open" ? "good" : "warn"}>{state === "open" ? "live" : state}</Badge>}>
      {latest.length === 0 ? (
        <p class="empty">
          Quiet. Breakers that open, backends that fall ill, changes that somebody makes: they are listed here as they happen.
        </p>
      ) : (
        <ol class="happenings">
          {latest.slice(0, EVENTS).map((event) => (
            <li key={event.n}>
              <time dateTime={event.at} class="number">
                {clock(event.at)}
              </time>
              <Badge tone={toneOf(event)}>{event.type}</Badge>
              <span>{saidOf(event)}</span>
            </li>
          ))}
        </ol>
      )}
    </Panel>
  );
}
