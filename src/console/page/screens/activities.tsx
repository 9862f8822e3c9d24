import { useState } from "preact/hooks";
import { get, Problem, part, send } from "../api.ts";
import { ago, bytes, clock, count, counted, dateTime, millis, rate } from "../format.ts";
import { useList } from "../list.ts";
import { useLive } from "../live.ts";
import { Act } from "../parts/act.tsx";
import { Badge } from "../parts/badge.tsx";
import { Code } from "../parts/copy.tsx";
import { ErrorNote } from "../parts/error-note.tsx";
import { KeyValue } from "../parts/key-value.tsx";
import { Options } from "../parts/options.tsx";
import { Panel, ScreenFrame } from "../parts/screen.tsx";
import { Listing, Table } from "../parts/table.tsx";

/** A sink of `GET /admin/activities`. */
interface Sink {
  readonly name: string;
  readonly type: string;
  readonly delivery: string;
  readonly state: string;
  readonly applied: number;
  readonly failed: number;
  readonly waiting: number | null;
  readonly lag: number | null;
  readonly lastError: { readonly at: string; readonly message: string } | null;
}

/** What failed, or was refused. */
interface Failure {
  readonly id: string;
  readonly state: "failed" | "replaying" | "rejected";
  readonly payload: unknown;
  readonly createdAt: string;
  readonly error: string | null;
}

/** `GET /admin/activities`. */
interface State {
  readonly backlog: { readonly activities: number; readonly batches: number | null; readonly size: number | null; readonly lag: number };
  readonly rates: { readonly accepted: number; readonly applied: number; readonly failed: number; readonly rejected: number };
  readonly accepted: number;
  readonly applied: number;
  readonly failed: number;
  readonly callers: number;
  readonly trouble: string | null;
  readonly queue: { readonly kind: string; readonly trouble: string | null };
  readonly sinks: readonly Sink[];
  readonly itemsTrouble: string | null;
}

/** Milliseconds between two looks. */
const LOOK_EVERY = 2000;

/** Shows how activities get to where they take effect, and what failed. */
export function Activities() {
  const { value, error, refresh } = useLive("activities", (signal) => get<State>("activities", { limit: 1 }, signal), LOOK_EVERY);
  if (error instanceof Problem && error.status === 404) return <TurnedOff />;
  return (
    <ScreenFrame title="Activities" intro="What callers send to be written into tables: how much waits, where it goes, and what failed.">
      {error !== null && <ErrorNote problem={error} onRetry={refresh} />}
      {value !== null && (
        <>
          {value.trouble !== null && <p class="note warn">Nothing can be applied to one of the sinks at the moment: {value.trouble}</p>}
          {value.queue.trouble !== null && <p class="note bad">The queue takes no batches: {value.queue.trouble}</p>}
          <Numbers state={value} />
          <Sinks sinks={value.sinks} />
          <Failures sinks={value.sinks} trouble={value.itemsTrouble} />
        </>
      )}
    </ScreenFrame>
  );
}

const TurnedOff = () => (
  <ScreenFrame title="Activities" intro="What callers send to be written into tables.">
    <div class="empty">
      <p>
        Activities are off. With this in the configuration, callers send batches of inserts and deletes to <code>/api/activities</code>, and
        Sluice writes them into tables of SQLite, PostgreSQL, BigQuery or Kafka.
      </p>
      <Code text={'"activities": {}'} what="line" />
      <p>
        <a href="/docs/guides/activities">How activities work</a>
      </p>
    </div>
  </ScreenFrame>
);

const Numbers = ({ state: { backlog, rates, accepted, applied, failed, callers, queue } }: { readonly state: State }) => (
  <Panel title="Queue">
    <KeyValue
      of={[
        ["Kind", queue.kind],
        ["Waiting", `${counted(backlog.activities, "activity", "activities")}${backlog.size === null ? "" : `, ${bytes(backlog.size)}`}`],
        ["The oldest waits", backlog.activities === 0 ? "–" : millis(backlog.lag)],
        ["Accepted", `${rate(rates.accepted)} a second, ${count(accepted)} since the start`],
        ["Took effect", `${rate(rates.applied)} a second, ${count(applied)} since the start`],
        ["Failed", `${rate(rates.failed)} a second, ${count(failed)} since the start`],
        ["Callers in the last minute", count(callers)],
      ]}
    />
  </Panel>
);

const Sinks = ({ sinks }: { readonly sinks: readonly Sink[] }) => (
  <Panel title="Sinks">
    <Table
      caption="Sinks"
      rows={sinks}
      keyOf={({ name }) => name}
      empty={<p>There is none.</p>}
      columns={[
        { name: "Name", cell: ({ name, type }) => (name === type ? name : `${name} (${type})`) },
        {
          name: "State",
          cell: ({ state }) => <Badge tone={state === "away" ? "bad" : state === "following" ? "good" : "warn"}>{state}</Badge>,
        },
        { name: "Waiting", isNumber: true, cell: ({ waiting }) => (waiting === null ? "–" : count(waiting)) },
        { name: "Lag", isNumber: true, cell: ({ lag }) => (lag === null ? "–" : millis(lag)) },
        { name: "Took effect", isNumber: true, isWide: true, cell: ({ applied }) => count(applied) },
        { name: "Failed", isNumber: true, isWide: true, cell: ({ failed }) => count(failed) },
        {
          name: "Last error",
          isWide: true,
          cell: ({ lastError }) => (lastError === null ? "–" : `${lastError.message} (${clock(lastError.at)}, ${ago(lastError.at)})`),
        },
      ]}
    />
  </Panel>
);

function Failures({ sinks, trouble }: { readonly sinks: readonly Sink[]; readonly trouble: string | null }) {
  const [sink, setSink] = useState("");
  const list = useList<Failure>("activities", { sink });
  const replay = async (id: string): Promise<void> => {
    await send("POST", `activities/${part(id)}/replay`, { query: { sink } });
    list.reload();
  };
  return (
    <Panel
      title="What failed"
      acts={
        <label>
          In{" "}
          <select value={sink} onChange={({ currentTarget }) => setSink(currentTarget.value)}>
            <Options of={[["", "the first sink, and what was refused"], ...sinks.map(({ name }) => name)]} />
          </select>
        </label>
      }
    >
      {trouble !== null && <p class="note warn">It can't be listed at the moment: {trouble}</p>}
      <Listing
        list={list}
        caption="Activities that failed"
        noun="failures"
        textOf={({ id, error, payload }) => `${id} ${error} ${JSON.stringify(payload)}`}
        keyOf={({ id }) => id}
        empty={<p>Nothing failed. What is refused, or can't take effect, is listed here with its reason, and can be tried again.</p>}
        columns={[
          { name: "Time", cell: ({ createdAt }) => <time dateTime={createdAt}>{dateTime(createdAt)}</time> },
          { name: "Why", cell: (failure) => <Why failure={failure} /> },
          { name: "State", isWide: true, cell: ({ state }) => <Badge tone={state === "replaying" ? "accent" : "warn"}>{state}</Badge> },
          {
            name: "Acts",
            cell: ({ id, state }) =>
              state === "rejected" ? (
                <span class="fine">send it again, mended</span>
              ) : (
                <Act
                  label="Replay"
                  about={id}
                  needs="admin"
                  disabled={state === "replaying"}
                  done="It will be tried again."
                  act={() => replay(id)}
                />
              ),
          },
        ]}
      />
    </Panel>
  );
}

const Why = ({ failure: { id, error, payload } }: { readonly failure: Failure }) => (
  <details class="happening">
    <summary>{error ?? "No reason is known."}</summary>
    <p class="fine">
      <code>{id}</code>
    </p>
    <pre>
      <code>{JSON.stringify(payload, null, 2)}</code>
    </pre>
  </details>
);
