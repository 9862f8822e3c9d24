import { useEffect, useState } from "preact/hooks";
import { part, send } from "../../api.ts";
import { count, dateTime } from "../../format.ts";
import { Act, Dangerous } from "../../parts/act.tsx";
import { ErrorNote } from "../../parts/error-note.tsx";
import { KeyValue } from "../../parts/key-value.tsx";
import { Panel, ScreenFrame } from "../../parts/screen.tsx";
import { useRecord } from "../../record.ts";
import { go, hrefTo } from "../../router.ts";
import { Deliveries } from "./deliveries.tsx";
import { Edit } from "./edit.tsx";
import { Gone } from "./gone.tsx";
import { Rotate } from "./rotate.tsx";
import { TestDelivery } from "./test-delivery.tsx";
import { eventsOf, type Webhook } from "./webhook.ts";
import { WebhookBadge } from "./webhook-list.tsx";

/** Milliseconds between two looks at what waits, and whether the receiver wants more. */
const LOOK_EVERY = 3000;

/** Shows one webhook: its settings, a test, and its deliveries. */
export function OneWebhook({ name }: { readonly name: string }) {
  const path = `webhooks/${part(name)}`;
  const record = useRecord<Webhook>(path);
  const [isEditing, setEditing] = useState(false);
  const { value, error, reload } = record;
  useEffect(() => {
    // Whoever edits keeps what was read, so that somebody else's change is a conflict.
    if (isEditing) return;
    const timer = setInterval(() => document.hidden || reload(), LOOK_EVERY);
    return () => clearInterval(timer);
  }, [isEditing]);
  return (
    <ScreenFrame
      title={`Webhook ${name}`}
      intro={<a href={hrefTo(["webhooks"])}>← Webhooks</a>}
      acts={value !== null && <WebhookBadge webhook={value} />}
    >
      {error !== null && <ErrorNote problem={error} onRetry={reload} />}
      {value !== null && (
        <>
          {value.state.isGone && <Gone webhook={value} onChanged={reload} />}
          {isEditing ? (
            <Panel title="Settings">
              <Edit webhook={value} record={record} onClose={() => setEditing(false)} />
            </Panel>
          ) : (
            <SettingsPanel webhook={value} path={path} onEdit={() => setEditing(true)} onChanged={reload} />
          )}
          <TestDelivery name={name} events={value.events} />
          <Deliveries name={name} isEnabled={value.enabled && !value.state.isGone} onChanged={reload} />
        </>
      )}
    </ScreenFrame>
  );
}

interface SettingsPanelProps {
  readonly webhook: Webhook;
  readonly path: string;
  readonly onEdit: () => void;
  readonly onChanged: () => void;
}

const SettingsPanel = ({ webhook, path, onEdit, onChanged }: SettingsPanelProps) => (
  <Panel title="Settings">
    <KeyValue
      of={[
        ["Sent to", <code>{webhook.url}</code>],
        ["Events", webhook.events.length > 3 ? webhook.events.join(", ") : eventsOf(webhook)],
        [
          "Waiting",
          `${count(webhook.state.waiting)}${webhook.state.oldest === null ? "" : `, the oldest since ${dateTime(webhook.state.oldest)}`}`,
        ],
        ["Created", webhook.createdAt === null ? null : dateTime(webhook.createdAt)],
        ["Changed", webhook.updatedAt === null || webhook.updatedAt === webhook.createdAt ? null : dateTime(webhook.updatedAt)],
      ]}
    />
    {webhook.source === "config" ? (
      <p class="note">
        <span>
          The configuration file declares this webhook, so that it is changed there, under <code>webhooks</code>.{" "}
          <a href={hrefTo(["configuration"])}>Go to Configuration</a>
        </span>
      </p>
    ) : (
      <div class="acts">
        <Act label="Edit" needs="admin" act={async () => onEdit()} />
        <Rotate name={webhook.name} onChanged={onChanged} />
        <Dangerous
          label="Delete"
          needs="admin"
          title={`Delete webhook ${webhook.name}?`}
          done={`Webhook ${webhook.name} is deleted.`}
          act={async () => {
            await send("DELETE", path);
            go(hrefTo(["webhooks"]));
          }}
        >
          <p>Nothing more is sent to it, and its deliveries are forgotten.</p>
        </Dangerous>
      </div>
    )}
  </Panel>
);
