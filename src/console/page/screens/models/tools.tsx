import { useState } from "preact/hooks";
import { get, type Page } from "../../api.ts";
import { useList } from "../../list.ts";
import { useLive } from "../../live.ts";
import { Code } from "../../parts/copy.tsx";
import { ErrorNote } from "../../parts/error-note.tsx";
import { KeyValue } from "../../parts/key-value.tsx";
import { Panel } from "../../parts/screen.tsx";
import { SpanChoice, type SpanName, spanOf } from "../../records/span.tsx";
import type { McpSettings, Route, UsageRow } from "../../records/types.ts";
import { UsageTable } from "../../records/usage-table.tsx";
import { hrefTo } from "../../router.ts";

/** Milliseconds between two looks. */
const EVERY = 15_000;

const EXAMPLE = `{
  "name": "files", "path": "/files/mcp", "upstream": "http://127.0.0.1:3000",
  "mcp": { "tools": { "exclude": ["*_delete"] }, "cost": { "search": 5 } }
}`;

/** Shows the routes that lead to MCP servers, with what their callers may call and do. */
export function Tools() {
  const [name, setName] = useState<SpanName>("day");
  const routes = useList<Route>("routes", {});
  const servers = routes.items.flatMap((route) => (route.mcp === null ? [] : [{ ...route, mcp: route.mcp }]));
  const { value, error, refresh } = useLive(
    `tools ${name}`,
    async (signal) => {
      const { first } = spanOf(name);
      const query = { by: "route,tool", from: new Date(first).toISOString(), sort: "-requests", limit: 500 };
      return (await get<Page<UsageRow>>("usage", query, signal)).items.filter(({ tool = "" }) => tool !== "");
    },
    EVERY,
  );
  return (
    <>
      {routes.error !== null && <ErrorNote problem={routes.error} onRetry={routes.reload} />}
      {error !== null && <ErrorNote problem={error} onRetry={refresh} />}
      {!routes.isLoading && servers.length === 0 && (
        <div class="empty">
          <p>
            No route leads to an MCP server. With <code>mcp</code> on a route, Sluice knows the tools that callers use: it hides some,
            limits each, and counts them.
          </p>
          <Code text={EXAMPLE} what="lines" />
          <p>
            <a href="/docs/guides/tools">A tool server with limits</a>
          </p>
        </div>
      )}
      {servers.length > 0 && <SpanChoice value={name} onValue={setName} />}
      {servers.map((route) => (
        <Panel
          key={route.name}
          title={route.name}
          acts={
            <a href={hrefTo(["routes", "route", route.name])} aria-label={`Open route ${route.name}`}>
              Open
            </a>
          }
        >
          <Rules of={route.mcp} path={route.path} />
          <UsageTable
            by="Tool"
            caption={`Tools of ${route.name}`}
            rows={(value ?? []).filter((row) => row.route === route.name)}
            keyOf={({ tool = "" }) => tool}
            cell={({ tool = "" }) => <code class="short">{tool}</code>}
            seconds={(Date.now() - spanOf(name).first) / 1000}
            empty={<p>{value === null ? "Looking…" : `No tool was called in ${spanOf(name).words}.`}</p>}
          />
        </Panel>
      ))}
    </>
  );
}

/** Says which tools of a server are shown, whom some ask for more, and what they cost. */
const Rules = ({ of: { tools, scopes, cost, resource }, path }: { readonly of: McpSettings; readonly path: string }) => (
  <KeyValue
    of={[
      ["Path", <code key="path">{path}</code>],
      ["Tools", tools.include.length === 0 ? "all" : tools.include.join(", ")],
      ["But not", tools.exclude.length === 0 ? null : tools.exclude.join(", ")],
      ["Scopes needed", listed(Object.entries(scopes).map(([tool, needed]) => `${tool}: ${needed.join(", ")}`))],
      ["Costs", listed(Object.entries(cost).map(([tool, units]) => `${tool}: ${units}`))],
      ["Resource", resource ?? null],
    ]}
  />
);

const listed = (lines: readonly string[]) => (lines.length === 0 ? null : lines.join("; "));
