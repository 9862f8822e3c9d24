import { useList } from "../../list.ts";
import { Badge } from "../../parts/badge.tsx";
import { ScreenFrame } from "../../parts/screen.tsx";
import { Listing } from "../../parts/table.tsx";
import { Tabs } from "../../parts/tabs.tsx";
import { Walk } from "../../parts/walk.tsx";
import { NewLink } from "../../records/new-link.tsx";
import { SourceBadge } from "../../records/source.tsx";
import type { Answer, Route, Upstream } from "../../records/types.ts";
import { go, hrefTo } from "../../router.ts";
import type { ScreenProps } from "../index.ts";
import { CachePanel } from "./cache.tsx";
import { Health } from "./health.tsx";
import { NewRoute, RoutePage } from "./route.tsx";
import { NewUpstream, UpstreamPage } from "./upstream.tsx";
import { UpstreamName, useKnownUpstreams } from "./upstream-name.tsx";

const TABS = [
  { id: "routes", name: "Routes" },
  { id: "upstreams", name: "Upstreams" },
  { id: "health", name: "Health and breakers" },
  { id: "cache", name: "Cache" },
  { id: "test", name: "Test a request" },
] as const;

/** Shows routes and upstreams, how their targets are, and what is cached. */
export function Routes({ rest: [kind, name], query }: ScreenProps) {
  if (query.get("new") === "route") return <NewRoute />;
  if (query.get("new") === "upstream") return <NewUpstream />;
  if (kind === "route" && name !== undefined) return <RoutePage key={name} name={name} />;
  if (kind === "upstream" && name !== undefined) return <UpstreamPage key={name} name={name} />;
  const tab = TABS.find(({ id }) => id === kind)?.id ?? "routes";
  return (
    <ScreenFrame
      title="Routes and upstreams"
      intro="Where requests go, and how what answers them is."
      acts={
        tab === "routes" ? (
          <NewLink href={hrefTo(["routes"], { new: "route" })} words="New route" />
        ) : (
          tab === "upstreams" && <NewLink href={hrefTo(["routes"], { new: "upstream" })} words="New upstream" />
        )
      }
    >
      <Tabs label="Routes and upstreams" tabs={TABS} current={tab} onChange={(id) => go(hrefTo(["routes", id === "routes" ? "" : id]))}>
        {tab === "routes" && <RouteList />}
        {tab === "upstreams" && <UpstreamList />}
        {tab === "health" && <Health />}
        {tab === "cache" && <CachePanel />}
        {tab === "test" && <Walk method="GET" target="/" />}
      </Tabs>
    </ScreenFrame>
  );
}

const AUTH = { required: "a key", optional: "a key or none", none: "none: open to all" } as const;

function RouteList() {
  const list = useList<Route>("routes", {}, "search");
  const known = useKnownUpstreams();
  return (
    <Listing<Route>
      list={list}
      noun="routes"
      caption="Routes"
      keyOf={({ name }) => name}
      empty={
        <p>
          There are no routes, so that every request is answered with 404. <a href={hrefTo(["routes"], { new: "route" })}>Make a route</a>{" "}
          from a path to your backend.
        </p>
      }
      columns={[
        {
          name: "Route",
          cell: (route) => (
            <>
              <a href={hrefTo(["routes", "route", route.name])}>{route.name}</a> <SourceBadge of={route} />
            </>
          ),
          sort: ({ name }) => name,
        },
        {
          name: "Takes",
          cell: ({ path, methods, hosts }) => (
            <>
              <code>{path}</code>
              <span class="fine">
                {methods.length === 0 ? "" : ` ${methods.join(", ")}`}
                {hosts.length === 0 ? "" : ` at ${hosts.join(", ")}`}
              </span>
            </>
          ),
          sort: ({ path }) => path,
        },
        {
          name: "Goes to",
          cell: ({ upstream, respond }) =>
            respond === null ? <UpstreamName of={upstream ?? ""} known={known} /> : <Itself of={respond} />,
          sort: ({ upstream }) => upstream ?? "",
        },
        {
          name: "Callers show",
          cell: ({ auth }) => (auth === "none" ? <Badge tone="warn">{AUTH.none}</Badge> : AUTH[auth]),
          sort: ({ auth }) => auth,
        },
        { name: "Own limits", isNumber: true, cell: ({ limits }) => limits.length, sort: ({ limits }) => limits.length, isWide: true },
        { name: "Cache", cell: ({ cache }) => (cache === null ? <span class="fine">off</span> : "on"), isWide: true },
      ]}
    />
  );
}

/** Says what a route answers, which has no upstream. */
function Itself({ of: { status, headers } }: { readonly of: Answer }) {
  const location = Object.entries(headers).find(([name]) => name.toLowerCase() === "location")?.[1];
  return (
    <>
      answers itself: {status}
      {location !== undefined && (
        <>
          {" "}
          to <code>{location}</code>
        </>
      )}
    </>
  );
}

function UpstreamList() {
  const list = useList<Upstream>("upstreams", {}, "search");
  return (
    <Listing<Upstream>
      list={list}
      noun="upstreams"
      caption="Upstreams"
      keyOf={({ name }) => name}
      empty={
        <p>
          There are no named upstreams. A route may go to an address by itself;{" "}
          <a href={hrefTo(["routes"], { new: "upstream" })}>make an upstream</a> to share several targets, health checks and a breaker among
          routes.
        </p>
      }
      columns={[
        {
          name: "Upstream",
          cell: (upstream) => (
            <>
              <a href={hrefTo(["routes", "upstream", upstream.name])}>{upstream.name}</a> <SourceBadge of={upstream} />
            </>
          ),
          sort: ({ name }) => name,
        },
        {
          name: "Targets",
          cell: ({ targets }) => (
            <ul class="lines">
              {targets.map(({ url }) => (
                <li key={url}>
                  <code>{url}</code>
                </li>
              ))}
            </ul>
          ),
        },
        { name: "Speaks", cell: ({ protocol }) => protocol, sort: ({ protocol }) => protocol, isWide: true },
        { name: "Chosen", cell: ({ balance }) => balance, sort: ({ balance }) => balance, isWide: true },
        {
          name: "Health check",
          cell: ({ healthCheck }) =>
            healthCheck === null ? <span class="fine">none</span> : `${healthCheck.path} every ${healthCheck.interval}`,
          isWide: true,
        },
      ]}
    />
  );
}
