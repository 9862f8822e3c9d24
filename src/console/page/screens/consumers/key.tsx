import { useState } from "preact/hooks";
import { part, send } from "../../api.ts";
import { dateTime } from "../../format.ts";
import { Act, Dangerous } from "../../parts/act.tsx";
import { Badge } from "../../parts/badge.tsx";
import { ConflictNotice } from "../../parts/conflict.tsx";
import { Dialog } from "../../parts/dialog.tsx";
import { ErrorNote } from "../../parts/error-note.tsx";
import { Form, SelectField, TextField, TimeField } from "../../parts/form.tsx";
import { KeyValue } from "../../parts/key-value.tsx";
import { Panel, ScreenFrame } from "../../parts/screen.tsx";
import { type Editable, useRecord } from "../../record.ts";
import { WordsField } from "../../records/fields.tsx";
import { type FieldsProps, RecordEditor } from "../../records/record-page.tsx";
import { Since } from "../../records/since.tsx";
import { ManagedByFile } from "../../records/source.tsx";
import type { Key } from "../../records/types.ts";
import { hrefTo } from "../../router.ts";
import { may } from "../../session.ts";
import { Handover } from "./handover.tsx";
import { KEY_TONES } from "./lists.tsx";
import type { KeyWithSecret } from "./new-key.tsx";
import { OwnFields } from "./own-fields.tsx";
import { UsageOf } from "./usage.tsx";

/** Shows a key: what it may do, when it was used, and what can be done with it. */
export function KeyPage({ id, consumer }: { readonly id: string; readonly consumer: string }) {
  const record = useRecord<Key>(`keys/${part(id)}`);
  const { value } = record;
  return (
    <ScreenFrame
      title={value?.name ?? (value === null ? "Key" : `Key ${value.start}…${value.end}`)}
      intro={<a href={hrefTo(["consumers", consumer])}>{`← ${consumer}`}</a>}
      acts={value?.source === "admin" && value.status !== "revoked" && <Acts record={record} of={value} />}
    >
      {record.error !== null && <ErrorNote problem={record.error} onRetry={record.reload} />}
      {value !== null && (
        <>
          <Facts of={value} />
          <UsageOf consumer={value.consumer} keyId={id} />
          <Settings record={record} value={value} />
        </>
      )}
    </ScreenFrame>
  );
}

const listed = (words: readonly string[], otherwise: string) =>
  words.length === 0 ? <span class="fine">{otherwise}</span> : words.join(", ");

const Facts = ({ of: key }: { readonly of: Key }) => (
  <KeyValue
    of={[
      [
        "State",
        <Badge key="state" tone={KEY_TONES[key.status]}>
          {key.status}
        </Badge>,
      ],
      ["Secret", <code key="secret">{key.start === "" ? "imported by its hash" : `${key.start}…${key.end}`}</code>],
      ["Id", <code key="id">{key.id}</code>],
      ["Scopes", listed(key.scopes, "none")],
      ["Routes", listed(key.routes, "all")],
      ["Addresses", listed(key.ips, "all")],
      ["Models", listed(key.models, "all that its consumer may use")],
      ["Expires", key.expiresAt === null ? "never" : `${dateTime(key.expiresAt)}`],
      ["Last used", key.lastUsedAt === null ? "never" : <Since time={key.lastUsedAt} />],
      ["Secret before", key.previousExpiresAt === null ? null : `good until ${dateTime(key.previousExpiresAt)}`],
      ["Revoked", key.revokedAt === null ? null : <Since time={key.revokedAt} />],
      ["Created", key.createdAt === null ? null : <Since time={key.createdAt} />],
    ]}
  />
);

function Acts({ record, of: { id, enabled, start, end } }: { readonly record: Editable<Key>; readonly of: Key }) {
  const about = `key ${start}…${end}`;
  const put = async (next: boolean): Promise<void> => {
    await send("PATCH", `keys/${part(id)}`, { body: { enabled: next } });
    record.reload();
  };
  return (
    <>
      <Rotate id={id} onDone={record.reload} />
      {enabled ? (
        <Dangerous label="Disable" about={about} needs="admin" title="Disable this key?" done="The key is disabled." act={() => put(false)}>
          <p>It is refused with 401 from the next request on. You can enable it again.</p>
        </Dangerous>
      ) : (
        <Act label="Enable" about={about} needs="admin" done="The key is enabled." act={() => put(true)} />
      )}
      <Dangerous
        label="Revoke"
        about={about}
        needs="admin"
        title="Revoke this key?"
        done="The key is revoked."
        act={async () => {
          await send("DELETE", `keys/${part(id)}`);
          record.reload();
        }}
      >
        <p>It is refused from the next request on, at every instance within a second, and for ever. Its record and its usage stay.</p>
      </Dangerous>
    </>
  );
}

const GRACES = [
  ["", "at once"],
  ["1h", "after 1 hour"],
  ["24h", "after 24 hours"],
  ["7d", "after 7 days"],
] as const;

function Rotate({ id, onDone }: { readonly id: string; readonly onDone: () => void }) {
  const [isOpen, setOpen] = useState(false);
  const [grace, setGrace] = useState("24h");
  const [made, setMade] = useState<KeyWithSecret | null>(null);
  if (!may("admin")) return null;
  const close = (): void => {
    setOpen(false);
    if (made !== null) onDone();
    setMade(null);
  };
  return (
    <>
      <button type="button" onClick={() => setOpen(true)}>
        Rotate
      </button>
      {isOpen && (
        <Dialog title={made === null ? "Give this key a new secret?" : "The new secret"} onClose={close}>
          {made === null ? (
            <Form
              submit="Rotate"
              needs="admin"
              onCancel={close}
              onSubmit={async () =>
                setMade(
                  (await send<KeyWithSecret>("POST", `keys/${part(id)}/rotate`, { body: grace === "" ? {} : { gracePeriod: grace } }))
                    .value,
                )
              }
            >
              <p>The key's id, limits and usage stay.</p>
              <SelectField
                name="gracePeriod"
                label="The secret before ends"
                required
                value={grace}
                options={GRACES}
                hint="Choose a time in which whoever has it can change over."
                onValue={setGrace}
              />
            </Form>
          ) : (
            <Handover made={made} onClose={close} />
          )}
        </Dialog>
      )}
    </>
  );
}

const KeyFields = ({ draft, change }: FieldsProps<Key>) => (
  <>
    <div class="cells">
      <TextField name="name" label="Name" value={draft.name ?? ""} onValue={(name) => change({ name: name === "" ? null : name })} />
      <TimeField name="expiresAt" label="Expires" value={draft.expiresAt} onValue={(expiresAt) => change({ expiresAt })} />
      <WordsField name="scopes" label="Scopes" value={draft.scopes} placeholder="none" onValue={(scopes) => change({ scopes })} />
      <WordsField name="routes" label="Only these routes" value={draft.routes} placeholder="all" onValue={(routes) => change({ routes })} />
      <WordsField name="ips" label="Only from these addresses" value={draft.ips} placeholder="all" onValue={(ips) => change({ ips })} />
      <WordsField name="models" label="Only these models" value={draft.models} placeholder="all" onValue={(models) => change({ models })} />
    </div>
    <OwnFields {...{ draft, change }} insteadOf="its consumer's and tier's" />
  </>
);

const TOLD = [
  "id",
  "start",
  "end",
  "consumer",
  "status",
  "source",
  "createdAt",
  "updatedAt",
  "lastUsedAt",
  "revokedAt",
  "previousExpiresAt",
] as const;

const Settings = ({ record, value }: { readonly record: Editable<Key>; readonly value: Key }) => (
  <Panel title="Settings">
    {value.source === "config" ? (
      <ManagedByFile what="key" />
    ) : (
      <>
        <ConflictNotice record={record} />
        <RecordEditor {...{ record, value }} noun="key" told={TOLD} defaults={{ enabled: true }} Fields={KeyFields} />
      </>
    )}
  </Panel>
);
