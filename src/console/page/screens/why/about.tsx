import { get, type Page } from "../../api.ts";
import { ago, clock, count, dateTime } from "../../format.ts";
import { useLive } from "../../live.ts";
import { Badge } from "../../parts/badge.tsx";
import { ErrorNote } from "../../parts/error-note.tsx";
import { Icon } from "../../parts/icon.tsx";
import { KeyValue } from "../../parts/key-value.tsx";
import { Options } from "../../parts/options.tsx";
import { Panel } from "../../parts/screen.tsx";
import { Table } from "../../parts/table.tsx";
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
  const routes = useLive("routes", (signal) => get<Page<{ readonly name: string }>>("routes", { limit: 500 }, signal), 0);
  const change = (more: Partial<Situation>): void => {
    const { consumer, key, ip, route } = { ...situation, ...more };
    setQuery({ consumer, key, ip, route });
  };
  return (
    <Panel title="Say more, to know more">
      <div class="field">
        <label for="why-route">Route</label>
        <select
          id="why-route"
          value={situation.route ?? ""}
          onChange={({ currentTarget }) => change({ route: currentTarget.value || null })}
        >
          <Options of={[["", "any"], ...(routes.value?.items ?? []).map(({ name }) => name)]} />
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
      <div class="field">
        <label for="why-ip">Address</label>
        <input
          id="why-ip"
          defaultValue={situation.ip ?? ""}
          placeholder="203.0.113.9"
          autocomplete="off"
          spellcheck={false}
          onChange={({ currentTarget }) => change({ ip: currentTarget.value.trim() || null })}
        />
      </div>
    </Panel>
  );
}

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
            cell: ({ remaining }) => (remaining === null ? "–" : count(remaining)),
            sort: ({ remaining }) => remaining,
          },
          { name: "Costs", isNumber: true, isWide: true, cell: ({ cost }) => count(cost) },
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
function Used({ limit: { used, limit, name } }: { readonly limit: AppliedLimit }) {
  if (used === null) return <>of {count(limit)}</>;
  return (
    <span class="used">
      {count(used)} of {count(limit)}
      <meter
        min={0}
        max={Math.max(1, limit)}
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
              {limits.map(({ name, scope, used, limit }) => `${name} (${scope}): ${count(used)} of ${count(limit)}`).join(", ")}
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
