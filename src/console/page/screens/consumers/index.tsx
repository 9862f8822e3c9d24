import { ScreenFrame } from "../../parts/screen.tsx";
import { Tabs } from "../../parts/tabs.tsx";
import { go, hrefTo } from "../../router.ts";
import type { ScreenProps } from "../index.ts";
import { ConsumerPage } from "./consumer.tsx";
import { KeyPage } from "./key.tsx";
import { ConsumerList, KeyList } from "./lists.tsx";
import { NewConsumer } from "./new-consumer.tsx";

const TABS = [
  { id: "consumers", name: "Consumers" },
  { id: "keys", name: "Keys" },
] as const;

/** Shows consumers with their keys, what they may use, and what they have used. */
export function Consumers({ rest: [id, keyId], query }: ScreenProps) {
  if (id !== undefined && keyId !== undefined) return <KeyPage key={keyId} id={keyId} consumer={id} />;
  if (id !== undefined) return <ConsumerPage key={id} id={id} />;
  const tab = query.get("tab") === "keys" ? "keys" : "consumers";
  return (
    <ScreenFrame title="Consumers and keys" intro="Who may call, with which keys, and how much they use." acts={<NewConsumer />}>
      <Tabs
        label="Consumers and keys"
        tabs={TABS}
        current={tab}
        onChange={(next) => go(hrefTo(["consumers"], { tab: next === "keys" ? "keys" : null }))}
      >
        {tab === "keys" ? <KeyList key="keys" /> : <ConsumerList key="consumers" />}
      </Tabs>
    </ScreenFrame>
  );
}
