import { useList } from "../../list.ts";
import { Panel } from "../../parts/screen.tsx";
import { Listing } from "../../parts/table.tsx";
import { quotaList } from "../../records/limit-text.ts";
import { LimitsEditor, QuotasEditor } from "../../records/limits-editor.tsx";
import { type FieldsProps, NewRecord, RecordPage, type RecordWords } from "../../records/record-page.tsx";
import type { Consumer, Tier, TierSettings } from "../../records/types.ts";
import { hrefTo } from "../../router.ts";

const TierFields = ({ draft, change }: FieldsProps<TierSettings>) => (
  <>
    <LimitsEditor name="limits" value={draft.limits} onValue={(limits) => change({ limits })} />
    <QuotasEditor
      name="quota"
      value={quotaList(draft.quota)}
      onValue={(quotas) => change({ quota: quotas.length === 0 ? null : quotas })}
    />
  </>
);

const WORDS: RecordWords<TierSettings> = {
  noun: "tier",
  list: "tiers",
  back: hrefTo(["limits"]),
  backTo: "Limits and tiers",
  Fields: TierFields,
  lost: "Its limits and quotas are gone.",
  force: "Delete it though consumers have it: they are without limits from then on.",
};

/** Shows a tier, and who has it. */
export const TierPage = ({ name }: { readonly name: string }) => (
  <RecordPage<TierSettings, Tier>
    name={name}
    words={WORDS}
    below={
      <Panel title="Consumers of this tier">
        <ConsumersOf tier={name} />
      </Panel>
    }
  />
);

export const NewTier = () => (
  <NewRecord
    words={WORDS}
    initial={{ name: "", limits: [{ algorithm: "sliding-window", limit: 100, window: "1m" }], quota: null }}
    intro="A named set of limits and quotas. Consumers of the tier have them from the next request on."
    hrefOf={(name) => hrefTo(["limits", "tier", name])}
    example="gold"
  />
);

function ConsumersOf({ tier }: { readonly tier: string }) {
  const list = useList<Consumer>("consumers", { tier }, "search");
  return (
    <Listing<Consumer>
      list={list}
      noun="consumers"
      caption={`Consumers of the tier ${tier}`}
      keyOf={({ id }) => id}
      empty={<p>No consumer has this tier. Choose it on a consumer's page.</p>}
      columns={[
        { name: "Consumer", cell: ({ id }) => <a href={hrefTo(["consumers", id])}>{id}</a> },
        { name: "Name", cell: ({ name }) => name ?? "" },
        {
          name: "Limits",
          cell: ({ limits }) => (limits === null || limits.length === 0 ? "the tier's" : "its own, instead of the tier's"),
          isWide: true,
        },
      ]}
    />
  );
}
