import { get, send } from "../../api.ts";
import { amount, count, percent, type Unit, windowText } from "../../format.ts";
import { useLive } from "../../live.ts";
import { Dangerous } from "../../parts/act.tsx";
import { ErrorNote } from "../../parts/error-note.tsx";
import { Panel } from "../../parts/screen.tsx";
import { Table } from "../../parts/table.tsx";
import { declaredBy } from "../../records/declared-by.ts";
import { SourceBadge } from "../../records/source.tsx";
import { hrefTo } from "../../router.ts";

interface Looked {
  readonly requests: number;
  readonly refused: number;
}

interface Spans {
  /** The last 24 hours, and the last seven days. */
  readonly day: Looked;
  readonly week: Looked;
}

interface OfConsumer extends Spans {
  readonly consumer: string | null;
  readonly others: boolean;
}

interface InShadow extends Spans {
  readonly owner: string;
  readonly limit: string;
  readonly source: "config" | "admin";
  readonly algorithm: string;
  readonly unit: Unit;
  readonly max: number;
  readonly window: string | null;
  readonly consumers: readonly OfConsumer[];
}

/** Milliseconds between two looks. */
const EVERY = 10_000;

/** Shows limits in shadow with what they would have refused, and puts them in force. */
export function Shadow() {
  const { value, error, refresh } = useLive(
    "shadow",
    (signal) => get<{ readonly items: readonly InShadow[] }>("shadow", {}, signal),
    EVERY,
  );
  return (
    <>
      {error !== null && <ErrorNote problem={error} onRetry={refresh} />}
      {value?.items.length === 0 && (
        <div class="empty">
          <p>No limit is in shadow. To try a limit out, check “Shadow” where you edit it: it counts and reports, and refuses nobody.</p>
          <p>Here you then see whom it would have refused, and put it in force.</p>
        </div>
      )}
      {value?.items.map((limit) => (
        <Panel key={`${limit.owner} ${limit.limit}`} title={`${limit.limit} of ${limit.owner}`} acts={<Arm of={limit} onDone={refresh} />}>
          <p class="fine">
            <SourceBadge of={limit} /> {amount(limit.max, limit.unit)}{" "}
            {limit.window === null ? "at a time" : `in ${windowText(limit.window)}`}, {limit.algorithm}.
          </p>
          <p>{saying(limit)}</p>
          <ByConsumer of={limit} />
        </Panel>
      ))}
    </>
  );
}

/** Says in a sentence what would have been refused. */
const saying = ({ day, week }: Spans): string =>
  week.requests === 0
    ? "It has looked at no request in the last seven days."
    : `It would have refused ${shareOf(day)} in the last 24 hours, and ${shareOf(week)} in the last seven days.`;

const shareOf = ({ refused, requests }: Looked): string =>
  refused === 0 ? `none of ${count(requests)}` : `${count(refused)} of ${count(requests)} requests (${percent(refused / requests)})`;

function Arm({ of: { owner, limit, source, day }, onDone }: { readonly of: InShadow; readonly onDone: () => void }) {
  if (source === "config" && declaredBy.value === "demo") return <p class="fine">The embedded demo declares it.</p>;
  if (source === "config") return <p class="fine">To put it in force, take its “shadow” away in the configuration file.</p>;
  return (
    <Dangerous
      label="Put in force"
      about={`${limit} of ${owner}`}
      needs="admin"
      title={`Put ${limit} of ${owner} in force?`}
      done={`${limit} of ${owner} is in force.`}
      act={async () => {
        await send("POST", "shadow/arm", { body: { owner, limit } });
        onDone();
      }}
    >
      <p>
        It refuses from the next request on, with 429, and goes on from what it has counted.
        {day.refused > 0 && ` In the last 24 hours that would have been ${count(day.refused)} requests.`}
      </p>
    </Dangerous>
  );
}

const ByConsumer = ({ of: { consumers, limit, owner } }: { readonly of: InShadow }) => (
  <Table<OfConsumer>
    caption={`Whom ${limit} of ${owner} would have refused`}
    rows={consumers}
    keyOf={({ consumer, others }) => (others ? "others" : (consumer ?? ""))}
    empty={<p>No consumer has sent a request that it looks at.</p>}
    columns={[
      { name: "Consumer", cell: (row) => <Named of={row} /> },
      { name: "Refused, 24 h", isNumber: true, cell: ({ day }) => count(day.refused), sort: ({ day }) => day.refused },
      { name: "of", isNumber: true, cell: ({ day }) => count(day.requests) },
      { name: "Refused, 7 d", isNumber: true, cell: ({ week }) => count(week.refused), sort: ({ week }) => week.refused },
      { name: "of all", isNumber: true, isWide: true, cell: ({ week }) => count(week.requests) },
    ]}
  />
);

function Named({ of: { consumer, others } }: { readonly of: OfConsumer }) {
  if (others) return <span class="fine">all others</span>;
  if (consumer === null) return <span class="fine">callers without a name</span>;
  return <a href={hrefTo(["consumers", consumer])}>{consumer}</a>;
}
