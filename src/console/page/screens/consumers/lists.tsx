import { useState } from "preact/hooks";
import { day } from "../../format.ts";
import { useList } from "../../list.ts";
import { Badge } from "../../parts/badge.tsx";
import { type Column, Listing } from "../../parts/table.tsx";
import { Choice } from "../../records/choice.tsx";
import { Since } from "../../records/since.tsx";
import { SourceBadge } from "../../records/source.tsx";
import type { Consumer, Key, Tier } from "../../records/types.ts";
import { hrefTo } from "../../router.ts";

/** Lists all consumers. The gateway searches and sorts: there may be a hundred thousand. */
export function ConsumerList() {
  const [sort, setSort] = useState("id");
  const [tier, setTier] = useState("");
  const [enabled, setEnabled] = useState("");
  const tiers = useList<Tier>("tiers").items;
  const list = useList<Consumer>("consumers", { sort, tier, enabled }, "search");
  const isFiltered = tier !== "" || enabled !== "";
  return (
    <Listing<Consumer>
      list={list}
      noun="consumers"
      caption="Consumers"
      keyOf={({ id }) => id}
      order={{ sort, onSort: setSort }}
      filters={
        <>
          <Choice
            label="Tier"
            value={tier}
            onValue={setTier}
            options={[["", "all tiers"], ...tiers.map(({ name }) => [name, name] as const)]}
          />
          <Choice label="State" value={enabled} onValue={setEnabled} options={STATES} />
        </>
      }
      empty={
        isFiltered ? (
          <p>No consumer is like that.</p>
        ) : (
          <p>There are no consumers. A consumer is whoever calls your API: create one, then give it a key.</p>
        )
      }
      columns={CONSUMER_COLUMNS}
    />
  );
}

const STATES = [
  ["", "all states"],
  ["true", "enabled"],
  ["false", "disabled"],
] as const;

const CONSUMER_COLUMNS: readonly Column<Consumer>[] = [
  {
    name: "Consumer",
    sortBy: "id",
    cell: (consumer) => (
      <>
        <a href={hrefTo(["consumers", consumer.id])}>{consumer.id}</a> <SourceBadge of={consumer} />
      </>
    ),
  },
  { name: "Name", sortBy: "name", cell: ({ name }) => name ?? "" },
  { name: "Tier", sortBy: "tier", cell: ({ tier }) => <a href={hrefTo(["limits", "tier", tier])}>{tier}</a> },
  { name: "State", cell: ({ enabled }) => (enabled ? "enabled" : <Badge tone="warn">disabled</Badge>) },
  {
    name: "Created",
    sortBy: "createdAt",
    isNumber: true,
    isWide: true,
    cell: ({ createdAt }) => (createdAt === null ? <span class="fine">in the file</span> : day(createdAt)),
  },
];

export const KEY_TONES = { active: "good", disabled: "warn", expired: "bad", revoked: "plain" } as const;

const STATUSES = [["", "all states"], "active", "disabled", "expired", "revoked"] as const;

/** Gives the columns of keys; `withConsumer`: whose each is, where that is not known from around it. */
const keyColumns = (withConsumer: boolean): readonly Column<Key>[] => [
  {
    name: "Key",
    sortBy: "id",
    cell: (key) => (
      <>
        <a href={hrefTo(["consumers", key.consumer, key.id])}>
          <code>{key.start === "" ? key.id : `${key.start}…${key.end}`}</code>
        </a>{" "}
        <SourceBadge of={key} />
      </>
    ),
  },
  { name: "Name", sortBy: "name", cell: ({ name }) => name ?? "" },
  ...(withConsumer
    ? [
        {
          name: "Consumer",
          sortBy: "consumer",
          cell: ({ consumer }: Key) => <a href={hrefTo(["consumers", consumer])}>{consumer}</a>,
        },
      ]
    : []),
  { name: "State", cell: ({ status }) => <Badge tone={KEY_TONES[status]}>{status}</Badge> },
  {
    name: "Scopes",
    isWide: true,
    cell: ({ scopes }) => (scopes.length === 0 ? <span class="fine">none</span> : scopes.join(", ")),
  },
  {
    name: "Expires",
    sortBy: "expiresAt",
    isNumber: true,
    cell: ({ expiresAt }) => (expiresAt === null ? <span class="fine">never</span> : <Since time={expiresAt} />),
  },
  {
    name: "Last used",
    sortBy: "lastUsedAt",
    isNumber: true,
    isWide: true,
    cell: ({ lastUsedAt }) => (lastUsedAt === null ? <span class="fine">never</span> : <Since time={lastUsedAt} />),
  },
];

/** Lists keys: all, or those of a consumer. */
export function KeyList({ consumer }: { readonly consumer?: string }) {
  const [sort, setSort] = useState("id");
  const [status, setStatus] = useState("");
  const list = useList<Key>("keys", { sort, status, consumer }, "search");
  return (
    <Listing<Key>
      list={list}
      noun="keys"
      caption={consumer === undefined ? "Keys" : `Keys of ${consumer}`}
      keyOf={({ id }) => id}
      order={{ sort, onSort: setSort }}
      filters={<Choice label="State" value={status} onValue={setStatus} options={STATUSES} />}
      empty={
        status !== "" ? (
          <p>No key is {status}.</p>
        ) : consumer === undefined ? (
          <p>There are no keys. Open a consumer, and create a key for it.</p>
        ) : (
          <p>It has no keys, so that it can't call yet. Create a key, and hand it over: it is shown once.</p>
        )
      }
      columns={keyColumns(consumer === undefined)}
    />
  );
}
