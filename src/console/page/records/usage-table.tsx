import type { ComponentChildren } from "preact";
import { count, money, rate } from "../format.ts";
import { Table } from "../parts/table.tsx";
import type { UsageRow } from "./types.ts";

export interface UsageTableProps {
  /** What it is summed up by, as the heading of the first column: "Route". */
  readonly by: string;
  readonly rows: readonly UsageRow[];
  readonly keyOf: (row: UsageRow) => string;
  readonly cell?: (row: UsageRow) => ComponentChildren;
  readonly caption: string;
  readonly empty: ComponentChildren;
  /** How long it is about, where rates are shown beside the sums. */
  readonly seconds?: number;
  /** What it is sorted by at first. */
  readonly sortedBy?: "Requests" | "Cost";
}

/** Lists sums of usage, such as those of each route. Tokens and dollars have columns where there are any. */
export const UsageTable = ({ by, rows, keyOf, cell = keyOf, caption, empty, seconds, sortedBy = "Requests" }: UsageTableProps) => (
  <Table<UsageRow>
    {...{ caption, rows, keyOf, empty }}
    sortedBy={{ name: sortedBy, isDown: true }}
    columns={[
      { name: by, cell, sort: keyOf },
      { name: "Requests", isNumber: true, cell: ({ requests }) => count(requests), sort: ({ requests }) => requests },
      ...(seconds === undefined
        ? []
        : [{ name: "An hour", isNumber: true, isWide: true, cell: ({ requests }: UsageRow) => rate((requests * 3600) / seconds) }]),
      { name: "Limited", isNumber: true, cell: ({ limited }) => count(limited), sort: ({ limited }) => limited },
      { name: "Failed", isNumber: true, cell: ({ errors }) => count(errors), sort: ({ errors }) => errors },
      ...(rows.some(({ tokens }) => tokens > 0)
        ? [
            {
              ...{ name: "Tokens", isNumber: true, isWide: true },
              cell: ({ tokens }: UsageRow) => count(tokens),
              sort: ({ tokens }: UsageRow) => tokens,
            },
          ]
        : []),
      ...(rows.some(({ cost }) => cost > 0)
        ? [{ name: "Cost", isNumber: true, cell: ({ cost }: UsageRow) => money(cost), sort: ({ cost }: UsageRow) => cost }]
        : []),
    ]}
  />
);
