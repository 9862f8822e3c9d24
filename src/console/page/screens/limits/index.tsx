import { ScreenFrame } from "../../parts/screen.tsx";
import { Tabs } from "../../parts/tabs.tsx";
import { NewLink } from "../../records/new-link.tsx";
import { go, hrefTo } from "../../router.ts";
import type { ScreenProps } from "../index.ts";
import { Blocks } from "./blocks.tsx";
import { Shadow } from "./shadow.tsx";
import { NewTier, TierPage } from "./tier.tsx";
import { TierList } from "./tier-list.tsx";

const TABS = [
  { id: "tiers", name: "Tiers" },
  { id: "shadow", name: "Limits in shadow" },
  { id: "blocks", name: "Blocked addresses" },
] as const;

/** Shows tiers with their limits and quotas, limits that are tried out, and addresses that are blocked. */
export function Limits({ rest: [kind, name], query }: ScreenProps) {
  if (query.get("new") === "tier") return <NewTier />;
  if (kind === "tier" && name !== undefined) return <TierPage key={name} name={name} />;
  const tab = TABS.find(({ id }) => id === kind)?.id ?? "tiers";
  return (
    <ScreenFrame
      title="Limits and tiers"
      intro="How much callers may use, by tier, and who is kept out."
      acts={tab === "tiers" && <NewLink href={hrefTo(["limits"], { new: "tier" })} words="New tier" />}
    >
      <Tabs label="Limits and tiers" tabs={TABS} current={tab} onChange={(id) => go(hrefTo(["limits", id === "tiers" ? "" : id]))}>
        {tab === "tiers" && <TierList />}
        {tab === "shadow" && <Shadow />}
        {tab === "blocks" && <Blocks />}
      </Tabs>
    </ScreenFrame>
  );
}
