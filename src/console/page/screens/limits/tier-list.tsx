import { useList } from "../../list.ts";
import { Listing } from "../../parts/table.tsx";
import { limitText, quotaList, quotaText } from "../../records/limit-text.ts";
import { SourceBadge } from "../../records/source.tsx";
import type { Tier } from "../../records/types.ts";
import { hrefTo } from "../../router.ts";

/** Lists the tiers. */
export function TierList() {
  const list = useList<Tier>("tiers", {}, "search");
  return (
    <Listing<Tier>
      list={list}
      noun="tiers"
      caption="Tiers"
      keyOf={({ name }) => name}
      empty={<p>There are no tiers. A tier is a named set of limits that consumers have.</p>}
      columns={[
        {
          name: "Tier",
          cell: (tier) => (
            <>
              <a href={hrefTo(["limits", "tier", tier.name])}>{tier.name}</a> <SourceBadge of={tier} />
            </>
          ),
          sort: ({ name }) => name,
        },
        {
          name: "Limits",
          cell: ({ limits }) => (limits.length === 0 ? <span class="fine">none</span> : <Lines of={limits.map(limitText)} />),
        },
        {
          name: "Quotas",
          cell: ({ quota }) => {
            const quotas = quotaList(quota);
            return quotas.length === 0 ? <span class="fine">none</span> : <Lines of={quotas.map(quotaText)} />;
          },
        },
      ]}
    />
  );
}

const Lines = ({ of }: { readonly of: readonly string[] }) => (
  <ul class="lines">
    {of.map((line) => (
      <li key={line}>{line}</li>
    ))}
  </ul>
);
