import { useState } from "preact/hooks";
import { get, part, send } from "../../api.ts";
import { ago, amountLeft, windowText } from "../../format.ts";
import { useList } from "../../list.ts";
import { useLive } from "../../live.ts";
import { Act, Dangerous } from "../../parts/act.tsx";
import { Badge } from "../../parts/badge.tsx";
import { ErrorNote } from "../../parts/error-note.tsx";
import { CheckField, SelectField, TextField } from "../../parts/form.tsx";
import { KeyValue } from "../../parts/key-value.tsx";
import { Panel, ScreenFrame } from "../../parts/screen.tsx";
import { Table } from "../../parts/table.tsx";
import { type Editable, useRecord } from "../../record.ts";
import { Bar } from "../../records/bar.tsx";
import { WordsField } from "../../records/fields.tsx";
import { QuotasEditor } from "../../records/limits-editor.tsx";
import { type FieldsProps, RecordSettings } from "../../records/record-page.tsx";
import { Since } from "../../records/since.tsx";
import { SourceBadge } from "../../records/source.tsx";
import type { Consumer, LimitLeft, Tier } from "../../records/types.ts";
import { go, hrefTo } from "../../router.ts";
import { SelfServiceLink } from "./link.tsx";
import { KeyList } from "./lists.tsx";
import { NewKey } from "./new-key.tsx";
import { OwnFields } from "./own-fields.tsx";
import { UsageOf } from "./usage.tsx";

/** Shows a consumer: what it may use, what it has used, and its keys. */
export function ConsumerPage({ id }: { readonly id: string }) {
  const record = useRecord<Consumer>(`consumers/${part(id)}`);
  const { value } = record;
  return (
    <ScreenFrame
      title={value?.name ?? id}
      intro={<a href={hrefTo(["consumers"])}>← Consumers and keys</a>}
      acts={
        value !== null && (
          <>
            <a class="button" href={hrefTo(["why"], { consumer: id })}>
              Why is it refused?
            </a>
            <SelfServiceLink id={id} />
            {value.source === "admin" && <Acts record={record} consumer={value} />}
          </>
        )
      }
    >
      {record.error !== null && <ErrorNote problem={record.error} onRetry={record.reload} />}
      {value !== null && (
        <>
          <Facts of={value} />
          <Keys consumer={value} />
          <LimitsLeft id={id} />
          <UsageOf consumer={id} />
          <Settings record={record} value={value} />
        </>
      )}
    </ScreenFrame>
  );
}

function Acts({ record, consumer: { id, enabled } }: { readonly record: Editable<Consumer>; readonly consumer: Consumer }) {
  const [isForced, setForced] = useState(false);
  const put = async (next: boolean): Promise<void> => {
    await send("PATCH", `consumers/${part(id)}`, { body: { enabled: next } });
    record.reload();
  };
  return (
    <>
      {enabled ? (
        <Dangerous
          label="Disable"
          about={`consumer ${id}`}
          needs="admin"
          title={`Disable ${id}?`}
          done={`${id} is disabled: its keys are refused.`}
          act={() => put(false)}
        >
          <p>All its keys are refused with 401 from the next request on. Nothing is lost: you can enable it again.</p>
        </Dangerous>
      ) : (
        <Act label="Enable" about={`consumer ${id}`} needs="admin" done={`${id} is enabled.`} act={() => put(true)} />
      )}
      <Dangerous
        label="Delete"
        about={`consumer ${id}`}
        needs="admin"
        title={`Delete ${id}?`}
        typed={id}
        done={`${id} is deleted.`}
        act={async () => {
          await send("DELETE", `consumers/${part(id)}`, { query: { force: isForced ? "true" : null } });
          go(hrefTo(["consumers"]));
        }}
      >
        <p>Its requests are refused from then on. Its usage stays.</p>
        <label>
          <input type="checkbox" checked={isForced} onChange={(event) => setForced(event.currentTarget.checked)} /> Delete its keys as well
        </label>
      </Dangerous>
    </>
  );
}

const Facts = ({ of: consumer }: { readonly of: Consumer }) => (
  <KeyValue
    of={[
      ["Id", <code key="id">{consumer.id}</code>],
      [
        "Tier",
        <a key="tier" href={hrefTo(["limits", "tier", consumer.tier])}>
          {consumer.tier}
        </a>,
      ],
      ["Models", consumer.models === null ? null : consumer.models.join(", ")],
      ["State", consumer.enabled ? <Badge tone="good">enabled</Badge> : <Badge tone="warn">disabled</Badge>],
      ["Managed by", consumer.source === "config" ? <SourceBadge of={consumer} /> : "this console and the admin API"],
      ["Created", consumer.createdAt === null ? null : <Since time={consumer.createdAt} />],
      ["Changed", consumer.updatedAt === null ? null : <Since time={consumer.updatedAt} />],
    ]}
  />
);

function Keys({ consumer: { id } }: { readonly consumer: Consumer }) {
  const [made, setMade] = useState(0);
  return (
    <Panel title="Keys" acts={<NewKey consumer={id} onMade={() => setMade((before) => before + 1)} />}>
      <KeyList key={made} consumer={id} />
    </Panel>
  );
}

/** Milliseconds between two looks at what is left. */
const EVERY = 2000;

function LimitsLeft({ id }: { readonly id: string }) {
  const { value, error, refresh } = useLive(
    `limits ${id}`,
    (signal) => get<{ readonly limits: readonly LimitLeft[] }>(`limits/${part(id)}`, {}, signal),
    EVERY,
  );
  return (
    <Panel
      title="Limits and what is left"
      acts={
        <Dangerous
          label="Reset"
          about={`limits of ${id}`}
          needs="operator"
          title={`Reset the limits of ${id}?`}
          done={`The limits of ${id} begin anew.`}
          act={async () => {
            await send("DELETE", `limits/${part(id)}`);
            refresh();
          }}
        >
          <p>All its limits and quotas begin anew, as if nothing had been used: this month's quota too.</p>
        </Dangerous>
      }
    >
      {error !== null && <ErrorNote problem={error} />}
      {value !== null && (
        <Table<LimitLeft>
          caption={`Limits of ${id}`}
          keyOf={({ name, scope, subject }) => `${scope} ${name} ${subject}`}
          rows={value.limits}
          empty={<p>Nothing limits all that it sends: its tier has no such limits, and neither have the routes.</p>}
          columns={[
            {
              name: "Limit",
              cell: ({ name, scope, subject }) => (
                <>
                  {name}
                  <div class="fine">
                    of {scope}
                    {subject === id ? "" : `, for ${subject}`}
                  </div>
                </>
              ),
            },
            {
              name: "Counts",
              isWide: true,
              cell: ({ algorithm, window }) => (window === null ? algorithm : `${algorithm}, ${windowText(window)}`),
            },
            { name: "Used", cell: ({ used, limit, unit }) => <Bar {...{ used, limit, unit }} /> },
            { name: "Left", isNumber: true, cell: ({ remaining, unit }) => amountLeft(remaining, unit) },
            { name: "More", isNumber: true, cell: ({ reset }) => (reset === null ? <span class="fine">–</span> : ago(reset)) },
          ]}
        />
      )}
      <p class="fine">
        Limits that count each model, tool or address by itself are not here:{" "}
        <a href={hrefTo(["why"], { consumer: id })}>ask about a request</a> to see them.
      </p>
    </Panel>
  );
}

function ConsumerFields({ draft, change }: FieldsProps<Consumer>) {
  const tiers = useList<Tier>("tiers").items.map(({ name }) => name);
  return (
    <>
      <div class="cells">
        <TextField name="name" label="Name" value={draft.name ?? ""} onValue={(name) => change({ name: name === "" ? null : name })} />
        <SelectField
          name="tier"
          label="Tier"
          required
          value={draft.tier}
          options={tiers.includes(draft.tier) ? tiers : [draft.tier, ...tiers]}
          onValue={(tier) => change({ tier })}
        />
        <WordsField
          name="models"
          label="Only these models"
          value={draft.models ?? []}
          placeholder="all"
          onValue={(models) => change({ models: models.length === 0 ? null : models })}
        />
      </div>
      <OwnFields {...{ draft, change }} insteadOf="the tier's">
        <CheckField
          name="own-quota"
          label="Quotas of its own, instead of the tier's"
          value={draft.quota !== null}
          onValue={(isOwn) => change({ quota: isOwn ? [] : null })}
        />
        {draft.quota !== null && <QuotasEditor name="quota" value={draft.quota} onValue={(quota) => change({ quota })} />}
      </OwnFields>
    </>
  );
}

const TOLD = ["id", "source", "createdAt", "updatedAt"] as const;

const Settings = ({ record, value }: { readonly record: Editable<Consumer>; readonly value: Consumer }) => (
  <Panel title="Settings">
    <RecordSettings {...{ record, value }} noun="consumer" told={TOLD} defaults={{ enabled: true }} Fields={ConsumerFields} />
  </Panel>
);
