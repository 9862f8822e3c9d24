import { useState } from "preact/hooks";
import { get, type Page } from "../../api.ts";
import { count, counted, day, money } from "../../format.ts";
import { useLive } from "../../live.ts";
import { Chart } from "../../parts/chart.tsx";
import { ErrorNote } from "../../parts/error-note.tsx";
import { Panel } from "../../parts/screen.tsx";
import { SpanChoice, type SpanName, spanOf } from "../../records/span.tsx";
import type { UsageRow } from "../../records/types.ts";
import { UsageTable } from "../../records/usage-table.tsx";
import { hrefTo } from "../../router.ts";

/** Milliseconds between two looks. */
const EVERY = 15_000;

/** Shows what a consumer, or a key, has used over time, by route, and by model and tool where it names some. */
export function UsageOf({ consumer, keyId }: { readonly consumer: string; readonly keyId?: string }) {
  const [name, setName] = useState<SpanName>("day");
  const { words } = spanOf(name);
  const { value, error, refresh } = useLive(
    `usage ${consumer} ${keyId ?? ""} ${name}`,
    async (signal) => {
      const span = spanOf(name);
      const of = { consumer, key: keyId, from: new Date(span.first).toISOString(), limit: 500 };
      const ask = async (how: { readonly per: string } | { readonly by: string; readonly sort: string }) =>
        (await get<Page<UsageRow>>("usage", { ...of, ...how }, signal)).items;
      const [over, routes, models, tools] = await Promise.all([
        ask({ per: span.per }),
        ask({ by: "route", sort: "-requests" }),
        ask({ by: "model", sort: "-cost" }),
        ask({ by: "tool", sort: "-requests" }),
      ]);
      return { span, over, routes, models, tools };
    },
    EVERY,
  );
  return (
    <Panel title="Usage" acts={<SpanChoice value={name} onValue={setName} />}>
      {error !== null && <ErrorNote problem={error} onRetry={refresh} />}
      {value !== null &&
        (value.over.length === 0 ? (
          <p class="fine">Nothing was used in {words}. What is used appears here within a second.</p>
        ) : (
          <>
            <OverTime rows={value.over} span={value.span} />
            <UsageTable
              by="Route"
              caption="Usage by route"
              rows={value.routes}
              keyOf={({ route = "" }) => route}
              cell={({ route = "" }) => <a href={hrefTo(["routes", "route", route])}>{route}</a>}
              empty={<p>No route was used.</p>}
            />
            <Named by="Model" rows={value.models} nameOf={({ model = "" }) => model} />
            <Named by="Tool" rows={value.tools} nameOf={({ tool = "" }) => tool} />
          </>
        ))}
    </Panel>
  );
}

interface NamedProps {
  readonly by: "Model" | "Tool";
  readonly rows: readonly UsageRow[];
  /** Empty: the requests named none. */
  readonly nameOf: (row: UsageRow) => string;
}

/** Lists what was used of each model or tool; nothing where no request named one. */
function Named({ by, rows, nameOf }: NamedProps) {
  const named = rows.filter((row) => nameOf(row) !== "");
  if (named.length === 0) return null;
  return <UsageTable {...{ by, rows: named, keyOf: nameOf }} caption={`Usage by ${by.toLowerCase()}`} empty={null} />;
}

function OverTime({ rows, span }: { readonly rows: readonly UsageRow[]; readonly span: ReturnType<typeof spanOf> }) {
  const { first, step, many, words, per } = span;
  const byTime = new Map(rows.map((row) => [Date.parse(row.time ?? ""), row]));
  const times = Array.from({ length: many }, (_, i) => first + i * step);
  const of = (field: "requests" | "errors" | "limited" | "cost") => times.map((time) => byTime.get(time)?.[field] ?? 0);
  const sum = (field: "requests" | "errors" | "limited" | "tokens" | "cost"): number => rows.reduce((total, row) => total + row[field], 0);
  const [tokens, cost] = [sum("tokens"), sum("cost")];
  return (
    <>
      <p>
        {counted(sum("requests"), "request")} in {words}, {count(sum("limited"))} limited, {count(sum("errors"))} failed
        {tokens === 0 ? "" : `, ${counted(tokens, "token")}`}
        {cost === 0 ? "" : `, ${money(cost)}`}.
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
      {cost > 0 && (
        <Chart
          title={per === "hour" ? "Dollars an hour" : "Dollars a day"}
          says={`${money(cost)} in ${words}.`}
          times={times}
          format={money}
          series={[{ name: "cost", values: of("cost"), tone: "accent" }]}
        />
      )}
      {per === "day" && <p class="fine">From {day(first)} on; days of UTC.</p>}
    </>
  );
}
