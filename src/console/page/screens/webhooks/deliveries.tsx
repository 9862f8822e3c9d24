import { useId, useState } from "preact/hooks";
import { get, type Page, part, send } from "../../api.ts";
import { ago, count, dateTime } from "../../format.ts";
import { useLive } from "../../live.ts";
import { Act } from "../../parts/act.tsx";
import { Badge } from "../../parts/badge.tsx";
import { ErrorNote } from "../../parts/error-note.tsx";
import { Options } from "../../parts/options.tsx";
import { Panel } from "../../parts/screen.tsx";
import { Table } from "../../parts/table.tsx";
import { OneDelivery } from "./one-delivery.tsx";
import type { Delivery } from "./webhook.ts";

/** Milliseconds between two looks. */
const LOOK_EVERY = 3000;
/** Rows that are shown at first, and the most. */
const FEW = 50;
const MOST = 500;

const TONES = { waiting: "accent", delivered: "good", failed: "bad" } as const;

export interface DeliveriesProps {
  readonly name: string;
  readonly isEnabled: boolean;
  readonly onChanged: () => void;
}

/** Lists what was sent to a webhook, or waits for it, the newest first, and sends it again. */
export function Deliveries({ name, isEnabled, onChanged }: DeliveriesProps) {
  const id = useId();
  const [state, setState] = useState("");
  const [limit, setLimit] = useState(FEW);
  const { value, error, refresh } = useLive(
    `deliveries ${name} ${state} ${limit}`,
    (signal) => get<Page<Delivery>>(`webhooks/${part(name)}/deliveries`, { state, limit }, signal),
    LOOK_EVERY,
  );
  const redeliver = async (delivery: string): Promise<void> => {
    await send("POST", `webhooks/deliveries/${part(delivery)}/redeliver`);
    refresh();
    onChanged();
  };
  return (
    <Panel
      title="Deliveries"
      acts={
        <div class="inline">
          <label for={id}>Show</label>
          <select id={id} value={state} onChange={({ currentTarget }) => setState(currentTarget.value)}>
            <Options of={[["", "all"], "waiting", "delivered", "failed"]} />
          </select>
        </div>
      }
    >
      <p class="fine">What waits, and the last 1,000 that ended within seven days. Each instance of the gateway has its own.</p>
      {error !== null && <ErrorNote problem={error} onRetry={refresh} />}
      {value !== null && (
        <Table
          caption="Deliveries, the newest first"
          rows={value.items}
          keyOf={({ id: delivery }) => delivery}
          empty={
            <p>
              {state === ""
                ? "Nothing was sent yet. As soon as an event that it gets happens, it is listed here, with the receiver's answer."
                : `No delivery is ${state}.`}
            </p>
          }
          columns={[
            { name: "Event", cell: (delivery) => <OneDelivery delivery={delivery} /> },
            { name: "State", cell: ({ state: is }) => <Badge tone={TONES[is]}>{is}</Badge> },
            { name: "Answer", isWide: true, cell: ({ status, error: why }) => status ?? why ?? <span class="fine">–</span> },
            { name: "Tries", isNumber: true, isWide: true, cell: ({ tries }) => count(tries) },
            {
              name: "Happened",
              isNumber: true,
              isWide: true,
              cell: ({ createdAt }) => <time dateTime={createdAt}>{dateTime(createdAt)}</time>,
            },
            {
              name: "Next try",
              isNumber: true,
              isWide: true,
              cell: ({ nextAt }) => (nextAt === null ? <span class="fine">–</span> : ago(nextAt)),
            },
            {
              name: "Acts",
              cell: ({ id: delivery, state: is }) => (
                <Act
                  label="Redeliver"
                  about={delivery}
                  needs="admin"
                  disabled={is === "waiting" || !isEnabled}
                  done="It is sent again."
                  act={() => redeliver(delivery)}
                />
              ),
            },
          ]}
        />
      )}
      {value !== null && value.nextCursor !== null && (
        <p class="fine more">
          {`The newest ${value.items.length} are shown.`}
          {limit < MOST && (
            <button type="button" onClick={() => setLimit(MOST)}>
              Show more
            </button>
          )}
        </p>
      )}
    </Panel>
  );
}
