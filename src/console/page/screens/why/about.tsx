import { get, type Page } from "../../api.ts";
import { ago, amount, amountLeft, clock, dateTime } from "../../format.ts";
import { useLive } from "../../live.ts";
import { Badge } from "../../parts/badge.tsx";
import { ErrorNote } from "../../parts/error-note.tsx";
import { Icon } from "../../parts/icon.tsx";
import { KeyValue } from "../../parts/key-value.tsx";
import { Options } from "../../parts/options.tsx";
import { Panel } from "../../parts/screen.tsx";
import { Table } from "../../parts/table.tsx";
import type { Route } from "../../records/types.ts";
import { setQuery } from "../../router.ts";
import type { AppliedLimit, Explained } from "../../shapes.ts";
import { verdictOf } from "./verdict.ts";

/** Milliseconds between two looks: what is left changes. */
const LOOK_EVERY = 3000;

/** Says who is explained, and where. */
export interface Situation {
  readonly consumer: string | null;
  readonly key: string | null;
  readonly ip: string | null;
  readonly route: string | null;
  /** The model that the request names, and the tool that it calls. */
  readonly model: string | null;
  readonly tool: string | null;
  /** Not in the address: it is a secret. */
  readonly token: string | null;
}

/** Explains what applies to a caller, what is left, and why the last requests were refused. */
export function About({ situation, title }: { readonly situation: Situation; readonly title: string }) {
  const query = { ...situation };
  const { value, error } = useLive(JSON.stringify(query), (signal) => get<Explained>("explain", query, signal), LOOK_EVERY);
  if (value === null) return error === null ? <p class="fine">Looking…</p> : <ErrorNote problem={error} />;
  const { tone, title: said, sentences } = verdictOf(value);
  return (
    <>
      <section class={`verdict ${tone}`} aria-label={title}>
        <p class="fine">{title}</p>
        <h2>
          <Icon name={tone === "good" ? "check" : tone === "bad" ? "stop" : "why"} /> {said}
        </h2>
        {sentences.map((sentence) => (
          <p key={sentence}>{sentence}</p>
        ))}
      </section>
      <div class="columns">
        <Panel title="Who this is">
          <KeyValue
            of={[
              ["Consumer", value.consumer ?? <i>without a key</i>],
              ["Tier", value.tier],
              ["Key", value.key === null ? null : <code>{value.key}</code>],
              [
                "Token",
                value.token === null ? null : `${value.token.passed ? "good" : "refused"}, issuer ${value.token.issuer ?? "not known"}`,
              ],
              ["Address", value.ip],
              ["Route", value.route ?? <i>any</i>],
              ["System", value.system],
            ]}
          />
        </Panel>
        <Refine situation={situation} explained={value} />
      </div>
      <Limits limits={value.limits} />
      <PassedOver explained={value} />
      <Denials explained={value} />
    </>
  );
}

/** Lets the reader say more of the request. */
function Refine({ situation, explained }: { readonly situation: Situation; readonly explained: Explained }) {
  const routes = useLive("routes", (signal) => get<Page<RouteAsked>>("routes", { limit: 500 }, signal), 0);
  const change = (more: Partial<Situation>): void => {
    const { consumer, key, ip, route, model, tool } = { ...situation, ...more };
    setQuery({ consumer, key, ip, route, model, tool });
  };
  const all = routes.value?.items ?? [];
  return (
    <Panel title="Say more, to know more">
      <div class="field">
        <label for="why-route">Route</label>
        <select
          id="why-route"
          value={situation.route ?? ""}
          onChange={({ currentTarget }) => change({ route: currentTarget.value || null })}
        >
          <Options of={[["", "any"], ...all.map(({ name }) => name)]} />
        </select>
      </div>
      {explained.keysWithOwnLimits.length > 0 && (
        <div class="field">
          <label for="why-key">Key with limits of its own</label>
          <select id="why-key" value={situation.key ?? ""} onChange={({ currentTarget }) => change({ key: currentTarget.value || null })}>
            <Options of={[["", "any"], ...explained.keysWithOwnLimits]} />
          </select>
        </div>
      )}
      <Detail what="ip" label="Address" example="203.0.113.9" value={situation.ip} onValue={(ip) => change({ ip })} />
      {all.some(({ models, credential }) => models.length > 0 || credential !== null) && (
        <Detail what="model" label="Model" example="gpt-5-mini" value={situation.model} onValue={(model) => change({ model })} />
      )}
      {all.some(({ mcp }) => mcp !== null) && (
        <Detail what="tool" label="Tool" example="search" value={situation.tool} onValue={(tool) => change({ tool })} />
      )}
    </Panel>
  );
}

/** Tells of a route what can be asked about its requests. */
type RouteAsked = Pick<Route, "name" | "models" | "credential" | "mcp">;

interface DetailProps {
  readonly what: string;
  readonly label: string;
  readonly example: string;
  readonly value: string | null;
  readonly onValue: (value: string | null) => void;
}

const Detail = ({ what, label, example, value, onValue }: DetailProps) => (
  <div class="field">
    <label for={`why-${what}`}>{label}</label>
    <input
      id={`why-${what}`}
      defaultValue={value ?? ""}
      placeholder={example}
      autocomplete="off"
      spellcheck={false}
      onChange={({ currentTarget }) => onValue(currentTarget.value.trim() || null)}
    />
  </div>
);

function Limits({ limits }: { readonly limits: readonly AppliedLimit[] }) {
  return (
    <Panel title="Limits that apply">
      <Table
        caption="Limits and quotas, with what is left of each"
        rows={limits}
        keyOf={({ scope, name }) => `${scope} ${name}`}
        empty={<p>No limit applies: as many requests pass as come.</p>}
        columns={[
          {
            name: "Limit",
            cell: ({ name, scope, shadow, why }) => (
              <>
                <b>{name}</b> <span class="fine">{scope}</span> {shadow && <Badge>shadow: only counts</Badge>}
                <p class="fine">{why}</p>
              </>
            ),
            sort: ({ name }) => name,
          },
          {
            name: "Used",
            cell: (limit) => <Used limit={limit} />,
            sort: ({ used, limit }) => (used === null ? null : used / limit),
            isNumber: true,
          },
          {
            name: "Left",
            isNumber: true,
            cell: ({ remaining, unit }) => (remaining === null ? "–" : amountLeft(remaining, unit)),
            sort: ({ remaining }) => remaining,
          },
          {
            name: "Costs",
            isNumber: true,
            isWide: true,
            cell: ({ cost, unit }) => (unit === "usd" ? <span class="fine">by its model</span> : amount(cost, unit)),
          },
          {
            name: "More",
            isNumber: true,
            cell: ({ reset }) => (reset === null ? "–" : <span title={dateTime(reset)}>{ago(reset)}</span>),
            sort: ({ reset }) => reset,
          },
          {
            name: "Now",
            cell: ({ denies, subjectUnknown }) =>
              denies === null ? (
                <Badge tone="warn">{subjectUnknown ?? "not known"}</Badge>
              ) : (
                <Badge tone={denies ? "bad" : "good"}>{denies ? "refuses" : "lets pass"}</Badge>
              ),
          },
        ]}
      />
    </Panel>
  );
}

/** Shows how much of a limit is used, as a number and a bar. */
function Used({ limit: { used, limit, name, unit } }: { readonly limit: AppliedLimit }) {
  if (used === null) return <>of {amount(limit, unit)}</>;
  return (
    <span class="used">
      {amount(used, unit)} of {amount(limit, unit)}
      <meter
        min={0}
        max={limit > 0 ? limit : 1}
        low={limit * 0.7}
        high={limit * 0.95}
        optimum={0}
        value={Math.min(used, limit)}
        aria-label={`${name}: used`}
      />
    </span>
  );
}

function PassedOver({ explained: { passedOver } }: { readonly explained: Explained }) {
  if (passedOver.length === 0) return null;
  return (
    <Panel title="Limits that do not apply">
      <ul class="list">
        {passedOver.map(({ scope, names, why }) => (
          <li key={scope}>
            <b>{names.join(", ")}</b> <span class="fine">{scope}</span>: {why}
          </li>
        ))}
      </ul>
    </Panel>
  );
}

const Denials = ({ explained: { denials } }: { readonly explained: Explained }) => (
  <Panel title="Refused last">
    <Table
      caption="The last requests of this caller that were refused"
      rows={denials}
      keyOf={({ requestId }) => requestId}
      empty={<p>No refusal of this caller is remembered.</p>}
      columns={[
        { name: "Time", isNumber: true, cell: ({ at }) => <time dateTime={at}>{clock(at)}</time> },
        { name: "Status", isNumber: true, cell: ({ status }) => status },
        {
          name: "Why",
          cell: ({ code, detail, limits }) => (
            <>
              <b>{code}</b>{" "}
              {limits
                .map(({ name, scope, unit, used, limit }) => `${name} (${scope}): ${amount(used, unit)} of ${amount(limit, unit)}`)
                .join(", ")}
              <p class="fine">{detail}</p>
            </>
          ),
        },
        { name: "Route", cell: ({ route }) => route ?? "–" },
        { name: "Request", isWide: true, cell: ({ requestId }) => <code>{requestId}</code> },
      ]}
    />
  </Panel>
);
