import { ScreenFrame } from "../../parts/screen.tsx";
import { Tabs } from "../../parts/tabs.tsx";
import { go, hrefTo } from "../../router.ts";
import type { ScreenProps } from "../index.ts";
import { Costs } from "./costs.tsx";
import { Prices } from "./prices.tsx";
import { Tools } from "./tools.tsx";
import { VirtualModels } from "./virtual-models.tsx";

const TABS = [
  { id: "models", name: "Virtual models" },
  { id: "costs", name: "What models cost" },
  { id: "prices", name: "Prices" },
  { id: "tools", name: "Tools" },
] as const;

/** Shows language models with how their upstreams answer, what they cost, and the tools of MCP servers. */
export function Models({ rest: [kind] }: ScreenProps) {
  const tab = TABS.find(({ id }) => id === kind)?.id ?? "models";
  return (
    <ScreenFrame title="Models and tools" intro="Language models with their prices and fallbacks, and the tools that callers use.">
      <Tabs label="Models and tools" tabs={TABS} current={tab} onChange={(id) => go(hrefTo(["models", id === "models" ? "" : id]))}>
        {tab === "models" && <VirtualModels />}
        {tab === "costs" && <Costs />}
        {tab === "prices" && <Prices />}
        {tab === "tools" && <Tools />}
      </Tabs>
    </ScreenFrame>
  );
}
