import { amountLeft, bytes, clock, count, millis, rate } from "../../format.ts";
import { Badge } from "../../parts/badge.tsx";
import { Panel } from "../../parts/screen.tsx";
import { Table } from "../../parts/table.tsx";
import { hrefTo } from "../../router.ts";
import type { Stats } from "../../shapes.ts";
import { refusalRatesOf, routeRatesOf } from "./rates.ts";

interface Both {
  readonly now: Stats;
  readonly before: Stats;
}

/** Consumers that are listed. */
const BUSIEST = 10;

const latency = (value: number | null): string => (value === null ? "–" : millis(value));

/** Lists what routes do. */
export function Routes({ now, before }: Both) {
  // Endpoints of Sluice's own are counted beside routes: those that nobody uses say nothing.
  const used = new Set(now.routes.filter(({ requests }) => requests > 0).map(({ name }) => name));
  const rows = routeRatesOf(before, now).filter(({ name }) => used.has(name));
  return (
    <Panel title="Routes">
      <Table
        caption="Routes, with what became of their requests in the last seconds"
        rows={rows}
        keyOf={({ name }) => name}
        sortedBy={{ name: "A second", isDown: true }}
        empty={<p>No route has had a request since the gateway started.</p>}
        columns={[
          { name: "Route", cell: ({ name }) => (name === "none" ? <i>no route</i> : name), sort: ({ name }) => name },
          { name: "A second", isNumber: true, cell: (row) => rate(row.requests), sort: (row) => row.requests },
          { name: "Limited", isNumber: true, cell: (row) => <Notable value={row.limited} tone="warn" />, sort: (row) => row.limited },
          { name: "Failed", isNumber: true, cell: (row) => <Notable value={row.failed} tone="bad" />, sort: (row) => row.failed },
          { name: "Half below", isNumber: true, isWide: true, cell: (row) => latency(row.p50), sort: (row) => row.p50 },
          { name: "95 % below", isNumber: true, isWide: true, cell: (row) => latency(row.p95), sort: (row) => row.p95 },
        ]}
      />
    </Panel>
  );
}

/** Shows a rate that is coloured when there is any. */
const Notable = ({ value, tone }: { readonly value: number; readonly tone: "warn" | "bad" }) => (
  <span class={value > 0 ? `notable ${tone}` : ""}>{rate(value)}</span>
);

/** Lists why requests are refused. */
export function Refusals({ now, before }: Both) {
  return (
    <Panel title="Refused, by reason">
      <Table
        caption="Codes of refusals, with how often they were given"
        rows={refusalRatesOf(before, now)}
        keyOf={({ code }) => code}
        empty={<p>Nothing was refused since the gateway started.</p>}
        columns={[
          {
            name: "Reason",
            cell: ({ code }) => (
              <a href={`/docs/reference/errors#${code}`}>
                <code>{code}</code>
              </a>
            ),
          },
          { name: "A second", isNumber: true, cell: (row) => <Notable value={row.rate} tone="warn" /> },
          { name: "Since the start", isNumber: true, cell: ({ total }) => count(total) },
        ]}
      />
    </Panel>
  );
}

/** Lists who calls most. */
export const Busiest = ({ now }: Pick<Both, "now">) => (
  <Panel title="Busiest consumers">
    <Table
      caption="The consumers that call most, over about ten seconds"
      rows={now.consumers.toSorted((a, b) => b.requests - a.requests).slice(0, BUSIEST)}
      keyOf={({ consumer }) => consumer ?? ""}
      empty={<p>Nobody calls at the moment.</p>}
      columns={[
        {
          name: "Consumer",
          cell: ({ consumer }) => (consumer === null ? <i>without a key</i> : <a href={hrefTo(["why"], { consumer })}>{consumer}</a>),
        },
        { name: "A second", isNumber: true, cell: ({ requests }) => rate(requests) },
        { name: "Limited", isNumber: true, cell: ({ limited }) => <Notable value={limited} tone="warn" /> },
      ]}
    />
  </Panel>
);

/** Lists what requests are forwarded to, who is ill first. */
export function Targets({ now: { targets } }: Pick<Both, "now">) {
  const illness = ({ healthy, breaker }: Stats["targets"][number]): number => (healthy ? 0 : 2) + (breaker === "closed" ? 0 : 1);
  return (
    <Panel title="Backends">
      <Table
        caption="Targets of upstreams, with their breakers and health"
        rows={targets.toSorted((a, b) => illness(b) - illness(a))}
        keyOf={({ upstream, target }) => `${upstream} ${target}`}
        empty={<p>There is no upstream yet: requests have nowhere to go.</p>}
        columns={[
          {
            name: "Target",
            cell: ({ upstream, target, why }) => (
              <>
                <b>{upstream}</b> <span class="fine">{target}</span>
                {why !== null && <p class="fine why">{why}</p>}
              </>
            ),
          },
          {
            name: "State",
            cell: ({ healthy, breaker }) => (
              <>
                <Badge tone={healthy ? "good" : "bad"}>{healthy ? "up" : "down"}</Badge>{" "}
                {breaker !== "closed" && <Badge tone={breaker === "open" ? "bad" : "warn"}>breaker {breaker}</Badge>}
              </>
            ),
          },
          { name: "Under way", isNumber: true, cell: ({ inFlight }) => count(inFlight) },
        ]}
      />
    </Panel>
  );
}

/** Lists pools of credentials by what their keys can give. */
export function PoolStates({ now: { pools } }: Pick<Both, "now">) {
  if (pools.length === 0) return null;
  const names = [...new Set(pools.map(({ pool }) => pool))];
  const many = (pool: string, status: string): number => pools.filter((key) => key.pool === pool && key.status === status).length;
  return (
    <Panel title="Pools">
      <Table
        caption="Pools, with the states of their keys"
        rows={names}
        keyOf={(name) => name}
        empty={null}
        columns={[
          { name: "Pool", cell: (name) => name },
          { name: "Ready", isNumber: true, cell: (name) => count(many(name, "ready")) },
          { name: "Resting", isNumber: true, cell: (name) => count(many(name, "resting")) },
          { name: "Quarantined", isNumber: true, cell: (name) => count(many(name, "quarantined")) },
          {
            name: "Left",
            isNumber: true,
            cell: (name) => leftOf(pools.filter(({ pool }) => pool === name)),
          },
        ]}
      />
    </Panel>
  );
}

/** Writes what all keys of a pool have left: tokens and dollars apart. */
const leftOf = (keys: Stats["pools"]): string =>
  [...Map.groupBy(keys, ({ unit }) => unit === "usd")]
    .map(([isMoney, some]) =>
      amountLeft(
        some.reduce((sum, { remaining }) => sum + remaining, 0),
        isMoney ? "usd" : "units",
      ),
    )
    .join(" and ");

/** Lists addresses that are refused. */
export function Blocks({ now: { blocks } }: Pick<Both, "now">) {
  if (blocks.count === 0) return null;
  return (
    <Panel title={`Blocked addresses (${count(blocks.count)})`}>
      <Table
        caption="The addresses that were blocked last"
        rows={blocks.latest}
        keyOf={({ cidr }) => cidr}
        empty={null}
        columns={[
          { name: "Address", cell: ({ cidr }) => <a href={hrefTo(["why"], { ip: cidr.split("/")[0] ?? cidr })}>{cidr}</a> },
          { name: "By", cell: ({ by }) => by },
          { name: "Until", isNumber: true, cell: ({ expiresAt }) => (expiresAt === null ? "lifted by hand" : clock(expiresAt)) },
        ]}
      />
    </Panel>
  );
}

/** Lists the processes of the gateway, where there are several. */
export function Processes({ now: { workers } }: Pick<Both, "now">) {
  if (workers.length < 2) return null;
  return (
    <Panel title="Processes">
      <Table
        caption="Processes of the gateway"
        rows={workers}
        keyOf={({ worker }) => worker}
        empty={null}
        columns={[
          { name: "Process", cell: ({ worker }) => (worker === "keeper" ? "keeper" : `worker ${worker}`) },
          { name: "Connections", isNumber: true, cell: ({ connections }) => count(connections) },
          { name: "Requests", isNumber: true, cell: ({ requests }) => count(requests) },
          { name: "Memory", isNumber: true, isWide: true, cell: ({ memory }) => bytes(memory) },
          { name: "Restarts", isNumber: true, isWide: true, cell: ({ restarts }) => (restarts === null ? "–" : count(restarts)) },
        ]}
      />
    </Panel>
  );
}
