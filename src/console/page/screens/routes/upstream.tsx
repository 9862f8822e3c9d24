import { CheckField, NumberField, SelectField, TextField } from "../../parts/form.tsx";
import { Panel } from "../../parts/screen.tsx";
import { type FieldsProps, NewRecord, RecordPage, type RecordWords } from "../../records/record-page.tsx";
import { Row, Rows } from "../../records/rows.tsx";
import type { Upstream, UpstreamSettings } from "../../records/types.ts";
import { hrefTo } from "../../router.ts";
import { Health } from "./health.tsx";

const PROTOCOLS = ["http/1.1", "h2", "h2c", "grpc"] as const;
const BALANCES = [
  ["round-robin", "round-robin: each in turn, by weight"],
  ["least-requests", "least-requests: the one with the fewest under way"],
  ["consistent-hash", "consistent-hash: the same one for the same caller"],
] as const;

const UpstreamFields = ({ draft, change }: FieldsProps<UpstreamSettings>) => (
  <>
    <Rows title="Targets" add="Add a target" onAdd={() => change({ targets: [...draft.targets, { url: "" }] })}>
      {draft.targets.map((target, i) => (
        <Row
          key={`targets[${i}]`}
          what={`target ${i + 1}`}
          onRemove={draft.targets.length === 1 ? null : () => change({ targets: draft.targets.toSpliced(i, 1) })}
        >
          <TextField
            name={`targets[${i}].url`}
            label="URL"
            required
            value={target.url}
            placeholder="http://users-1:8001"
            onValue={(url) => change({ targets: draft.targets.with(i, { ...target, url }) })}
          />
          <NumberField
            name={`targets[${i}].weight`}
            label="Weight"
            min={1}
            value={target.weight ?? null}
            onValue={(weight) => change({ targets: draft.targets.with(i, weight === null ? { url: target.url } : { ...target, weight }) })}
          />
        </Row>
      ))}
    </Rows>
    <div class="cells">
      <SelectField
        name="protocol"
        label="The targets speak"
        required
        value={draft.protocol}
        options={PROTOCOLS}
        onValue={(protocol) => change({ protocol })}
      />
      <SelectField
        name="balance"
        label="How one is chosen"
        required
        value={draft.balance}
        options={BALANCES}
        onValue={(balance) => change({ balance })}
      />
      <TextField
        name="connectTimeout"
        label="Time to connect"
        required
        value={draft.connectTimeout}
        placeholder="5s"
        onValue={(connectTimeout) => change({ connectTimeout })}
      />
    </div>
    <div class="cells">
      <CheckField
        name="healthCheck"
        label="Ask each target whether it is well"
        value={draft.healthCheck !== null}
        onValue={(isOn) => change({ healthCheck: isOn ? { path: "/health", interval: "5s" } : null })}
      />
      {draft.healthCheck !== null && (
        <>
          <TextField
            name="healthCheck.path"
            label="At this path"
            required
            value={draft.healthCheck.path}
            onValue={(path) => change({ healthCheck: { interval: "5s", ...draft.healthCheck, path } })}
          />
          <TextField
            name="healthCheck.interval"
            label="How often"
            required
            value={draft.healthCheck.interval}
            onValue={(interval) => change({ healthCheck: { path: "/health", ...draft.healthCheck, interval } })}
          />
        </>
      )}
    </div>
  </>
);

const WORDS: RecordWords<UpstreamSettings> = {
  noun: "upstream",
  list: "upstreams",
  back: hrefTo(["routes", "upstreams"]),
  backTo: "Upstreams",
  Fields: UpstreamFields,
  lost: "Its targets get no more requests by it.",
  force: "Delete it though routes use it: they answer 503 from then on.",
};

/** Shows an upstream with its targets, how they are, and their breakers. */
export const UpstreamPage = ({ name }: { readonly name: string }) => (
  <RecordPage<UpstreamSettings, Upstream> name={name} words={WORDS}>
    {() => (
      <Panel title="Targets now">
        <Health of={name} />
      </Panel>
    )}
  </RecordPage>
);

export const NewUpstream = () => (
  <NewRecord
    words={WORDS}
    initial={{ name: "", targets: [{ url: "" }], protocol: "http/1.1", balance: "round-robin", connectTimeout: "5s", healthCheck: null }}
    intro="Backends that share requests. Routes name it."
    hrefOf={(name) => hrefTo(["routes", "upstream", name])}
    example="users"
  />
);
