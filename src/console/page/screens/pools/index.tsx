import { get, type Page, part, send } from "../../api.ts";
import { ago, amountLeft, counted, type Unit, windowText } from "../../format.ts";
import { useLive } from "../../live.ts";
import { Act } from "../../parts/act.tsx";
import { Badge } from "../../parts/badge.tsx";
import { ErrorNote } from "../../parts/error-note.tsx";
import { Panel, ScreenFrame } from "../../parts/screen.tsx";
import { type Column, Table } from "../../parts/table.tsx";
import { Bar } from "../../records/bar.tsx";
import { NewLink } from "../../records/new-link.tsx";
import { NewRecord, RecordPage, type RecordWords } from "../../records/record-page.tsx";
import { SourceBadge } from "../../records/source.tsx";
import type { Pool, PoolKeyState, PoolSettings } from "../../records/types.ts";
import { hrefTo } from "../../router.ts";
import type { ScreenProps } from "../index.ts";
import { PoolFields } from "./fields.tsx";

const BACK = hrefTo(["pools"]);
/** Milliseconds between two looks at what is left. */
const EVERY = 3000;

const WORDS: RecordWords<PoolSettings> = {
  noun: "pool",
  list: "pools",
  back: BACK,
  backTo: "Pools",
  Fields: PoolFields,
  lost: "Its keys are no longer handed out, and their secrets are gone: Sluice never shows them.",
  force: "Delete it though routes use it: they answer 503 from then on.",
};

/** Shows pools of upstream credentials with what is left to each key. */
export function Pools({ rest: [name], query }: ScreenProps) {
  if (query.get("new") !== null) return <NewPool />;
  if (name === undefined) return <PoolList />;
  return (
    <RecordPage<PoolSettings, Pool> key={name} name={name} words={WORDS}>
      {() => <PoolNow name={name} />}
    </RecordPage>
  );
}

function PoolList() {
  const { value, error, refresh } = useLive("pools", (signal) => get<Page<Pool>>("pools", { limit: 500 }, signal), EVERY);
  return (
    <ScreenFrame
      title="Pools"
      intro="Keys of upstream services, handed out or put into requests within their budgets."
      acts={<NewLink href={hrefTo(["pools"], { new: "pool" })} words="New pool" />}
    >
      {error !== null && <ErrorNote problem={error} onRetry={refresh} />}
      {value?.items.length === 0 && (
        <div class="empty">
          <p>
            There are no pools. A pool shares the keys of a service, such as a model provider, among your callers, and counts what each key
            has left.
          </p>
          <p>
            <a href={hrefTo(["pools"], { new: "pool" })}>Make a pool</a>, then name it in the <code>credential</code> of a route.
          </p>
        </div>
      )}
      {value?.items.map((pool) => (
        <Panel
          key={pool.name}
          title={pool.name}
          acts={
            <p class="fine">
              <SourceBadge of={pool} /> {counted(pool.keys.length, "key")}, {pool.strategy} ·{" "}
              <a href={hrefTo(["pools", pool.name])} aria-label={`Open pool ${pool.name}`}>
                Open
              </a>
            </p>
          }
        >
          <PoolKeys pool={pool} onChange={refresh} />
        </Panel>
      ))}
    </ScreenFrame>
  );
}

function PoolNow({ name }: { readonly name: string }) {
  const { value, error, refresh } = useLive(`pool ${name}`, (signal) => get<Pool>(`pools/${part(name)}`, {}, signal), EVERY);
  return (
    <Panel title="Keys and what they have left">
      {error !== null && <ErrorNote problem={error} />}
      {value !== null && <PoolKeys pool={value} onChange={refresh} />}
    </Panel>
  );
}

/** The column of what can be done with keys that are not used at the moment. */
const actColumn = (pool: string, onChange: () => void): Column<PoolKeyState> => ({
  name: "Act",
  cell: ({ id, status }) =>
    status === "ready" ? null : (
      <Act
        label="Use again"
        about={`key ${id} of ${pool}`}
        needs="admin"
        done={`${id} is used again.`}
        act={async () => {
          await send("POST", `pools/${part(pool)}/reset`, { query: { key: id } });
          onChange();
        }}
      />
    ),
});

/** Gives how amounts of a budget are written. */
const unitOf = (of: string): Unit => (of === "usd" ? "usd" : "units");

const TONES = { ready: "good", resting: "warn", quarantined: "bad" } as const;

function PoolKeys({ pool, onChange }: { readonly pool: Pool; readonly onChange: () => void }) {
  return (
    <Table<PoolKeyState>
      caption={`Keys of the pool ${pool.name}`}
      keyOf={({ id }) => id}
      rows={pool.state.keys}
      empty={<p>This pool has no keys in force.</p>}
      columns={[
        { name: "Key", cell: ({ id }) => <code class="short">{id}</code>, sort: ({ id }) => id },
        { name: "State", cell: (key) => <Standing of={key} />, sort: ({ status }) => status },
        {
          name: "Used",
          cell: ({ budgets }) => (
            <ul class="budgets">
              {budgets.map((budget) => (
                <li key={`${budget.of} ${budget.window}`}>
                  <Bar used={budget.used} limit={budget.limit} unit={unitOf(budget.of)} />
                  <span class="fine">
                    {budget.of === "usd" ? "dollars" : budget.of} in {windowText(budget.window)}
                    {budget.reset === null ? "" : `, anew ${ago(budget.reset)}`}
                  </span>
                </li>
              ))}
            </ul>
          ),
        },
        {
          name: "Left",
          isNumber: true,
          cell: ({ remaining, unit }) => amountLeft(remaining, unitOf(unit)),
          sort: ({ remaining }) => remaining,
        },
        ...(pool.state.keys.some(({ status }) => status !== "ready") ? [actColumn(pool.name, onChange)] : []),
      ]}
    />
  );
}

/** Says how it stands with a key, why, and when that ends. */
function Standing({ of: { status, until, lastError } }: { readonly of: PoolKeyState }) {
  const why = lastError === null ? "" : `the upstream answered ${lastError.status}${lastError.at === null ? "" : ` ${ago(lastError.at)}`}`;
  return (
    <>
      <Badge tone={TONES[status]}>{status}</Badge>
      {status !== "ready" && (
        <div class="fine">
          {why}
          {until !== null && `${why === "" ? "" : "; "}${status === "resting" ? "returns" : "tried again"} ${ago(until)}`}
        </div>
      )}
    </>
  );
}

const NewPool = () => (
  <NewRecord
    words={WORDS}
    initial={{ name: "", strategy: "in-order", keys: [{ id: "", limit: 1000, window: "1m" }], services: {}, auth: "required" }}
    intro="The keys of one service. Secrets are encrypted and never shown again."
    hrefOf={(name) => hrefTo(["pools", name])}
    example="openai"
  />
);
