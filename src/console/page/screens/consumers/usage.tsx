import { useState } from "preact/hooks";
import { get, type Page } from "../../api.ts";
import { count, counted, day } from "../../format.ts";
import { useLive } from "../../live.ts";
import { Chart } from "../../parts/chart.tsx";
import { ErrorNote } from "../../parts/error-note.tsx";
import { Panel } from "../../parts/screen.tsx";
import { Table } from "../../parts/table.tsx";
import { Choice } from "../../records/choice.tsx";
import type { UsageRow } from "../../records/types.ts";
import { hrefTo } from "../../router.ts";

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
/** Milliseconds between two looks. */
const EVERY = 15_000;

const SPANS = {
  day: { words: "the last 24 hours", per: "hour", step: HOUR, many: 24 },
  week: { words: "the last 7 days", per: "hour", step: HOUR, many: 168 },
  month: { words: "the last 30 days", per: "day", step: DAY, many: 30 },
} as const;

type Span = keyof typeof SPANS;

/** Shows what a consumer, or a key, has used over time and by route. */
export function UsageOf({ consumer, keyId }: { readonly consumer: string; readonly keyId?: string }) {
  const [name, setName] = useState<Span>("day");
  const { words, per, step, many } = SPANS[name];
  const { value, error, refresh } = useLive(
    `usage ${consumer} ${keyId ?? ""} ${name}`,
    async (signal) => {
      const first = Math.floor(Date.now() / step) * step - (many - 1) * step;
      const of = { consumer, key: keyId, from: new Date(first).toISOString(), limit: 500 };
      const [over, by] = await Promise.all([
        get<Page<UsageRow>>("usage", { ...of, per }, signal),
        get<Page<UsageRow>>("usage", { ...of, by: "route" }, signal),
      ]);
      return { first, over: over.items, routes: by.items };
    },
    EVERY,
  );
  return (
    <Panel
      title="Usage"
      acts={
        <Choice
          label="Over how long"
          value={name}
          onValue={(next) => setName(next === "week" || next === "month" ? next : "day")}
          options={Object.entries(SPANS).map(([id, each]) => [id, each.words] as const)}
        />
      }
    >
      {error !== null && <ErrorNote problem={error} onRetry={refresh} />}
      {value !== null &&
        (value.over.length === 0 ? (
          <p class="fine">Nothing was used in {words}. What is used appears here within a second.</p>
        ) : (
          <>
            <OverTime rows={value.over} {...{ first: value.first, step, many, words, per }} />
            <ByRoute rows={value.routes} />
          </>
        ))}
    </Panel>
  );
}

interface OverTimeProps {
  readonly rows: readonly UsageRow[];
  readonly first: number;
  readonly step: number;
  readonly many: number;
  readonly words: string;
  readonly per: "hour" | "day";
}

function OverTime({ rows, first, step, many, words, per }: OverTimeProps) {
  const byTime = new Map(rows.map((row) => [Date.parse(row.time ?? ""), row]));
  const times = Array.from({ length: many }, (_, i) => first + i * step);
  const of = (field: "requests" | "errors" | "limited") => times.map((time) => byTime.get(time)?.[field] ?? 0);
  const sum = (field: "requests" | "errors" | "limited" | "tokens"): number => rows.reduce((total, row) => total + row[field], 0);
  const tokens = sum("tokens");
  return (
    <>
      <p>
        {counted(sum("requests"), "request")} in {words}, {count(sum("limited"))} limited, {count(sum("errors"))} failed
        {tokens === 0 ? "" : `, ${counted(tokens, "token")}`}.
      </p>
      <Chart
        title={per === "hour" ? "Requests an hour" : "Requests a day"}
        says={`${counted(sum("requests"), "request")}, ${count(sum("limited"))} limited and ${count(sum("errors"))} failed in ${words}.`}
        times={times}
        format={count}
        series={[
          { name: "requests", values: of("requests"), tone: "accent" },
          { name: "limited", values: of("limited"), tone: "warn" },
          { name: "failed", values: of("errors"), tone: "bad" },
        ]}
      />
      {per === "day" && <p class="fine">From {day(first)} on; days of UTC.</p>}
    </>
  );
}

const ByRoute = ({ rows }: { readonly rows: readonly UsageRow[] }) => (
  <Table<UsageRow>
    caption="Usage by route"
    rows={rows}
    keyOf={({ route }) => route ?? ""}
    empty={<p>No route was used.</p>}
    sortedBy={{ name: "Requests", isDown: true }}
    columns={[
      {
        name: "Route",
        cell: ({ route = "" }) => <a href={hrefTo(["routes", "route", route])}>{route}</a>,
        sort: ({ route }) => route ?? "",
      },
      { name: "Requests", isNumber: true, cell: ({ requests }) => count(requests), sort: ({ requests }) => requests },
      { name: "Limited", isNumber: true, cell: ({ limited }) => count(limited), sort: ({ limited }) => limited },
      { name: "Failed", isNumber: true, cell: ({ errors }) => count(errors), sort: ({ errors }) => errors },
      { name: "Tokens", isNumber: true, isWide: true, cell: ({ tokens }) => count(tokens), sort: ({ tokens }) => tokens },
    ]}
  />
);
