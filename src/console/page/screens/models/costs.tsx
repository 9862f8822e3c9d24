import { useState } from "preact/hooks";
import { get, type Page } from "../../api.ts";
import { counted, money } from "../../format.ts";
import { useLive } from "../../live.ts";
import { ErrorNote } from "../../parts/error-note.tsx";
import { Panel } from "../../parts/screen.tsx";
import { SpanChoice, type SpanName, spanOf } from "../../records/span.tsx";
import type { UsageRow } from "../../records/types.ts";
import { UsageTable } from "../../records/usage-table.tsx";
import { hrefTo } from "../../router.ts";

/** Milliseconds between two looks. */
const EVERY = 15_000;

/** Shows what models have cost: each, and for whom. */
export function Costs() {
  const [name, setName] = useState<SpanName>("day");
  const { words } = spanOf(name);
  const { value, error, refresh } = useLive(
    `costs ${name}`,
    async (signal) => {
      const { first } = spanOf(name);
      const ask = async (by: string) =>
        (await get<Page<UsageRow>>("usage", { by, from: new Date(first).toISOString(), sort: "-cost", limit: 500 }, signal)).items;
      const [models, payers] = await Promise.all([ask("model"), ask("consumer,model")]);
      return { models: models.filter(({ model = "" }) => model !== ""), payers: payers.filter(({ cost }) => cost > 0) };
    },
    EVERY,
  );
  return (
    <Panel title="What models cost" acts={<SpanChoice value={name} onValue={setName} />}>
      {error !== null && <ErrorNote problem={error} onRetry={refresh} />}
      {value !== null && (
        <>
          {value.models.length > 0 && <p>{totalOf(value.models, words)}</p>}
          <UsageTable
            by="Model"
            caption="Usage by model"
            rows={value.models}
            keyOf={({ model = "" }) => model}
            sortedBy="Cost"
            empty={
              <p>
                No model was called in {words}. Models are counted on routes that have a <code>credential</code> or <code>models</code>.
              </p>
            }
          />
          {value.payers.length > 0 && (
            <UsageTable
              by="Consumer"
              caption="Who spent it"
              rows={value.payers}
              keyOf={({ consumer = "", model = "" }) => `${consumer} ${model}`}
              cell={Payer}
              sortedBy="Cost"
              empty={null}
            />
          )}
        </>
      )}
    </Panel>
  );
}

/** Names who called which model. */
const Payer = ({ consumer = "", model = "" }: UsageRow) => (
  <>
    {consumer === "" ? <span class="fine">callers without a name</span> : <a href={hrefTo(["consumers", consumer])}>{consumer}</a>}{" "}
    <span class="fine">{model}</span>
  </>
);

/** Says in a sentence what all models together were used. */
function totalOf(rows: readonly UsageRow[], words: string): string {
  const sum = (field: "requests" | "tokens" | "cost"): number => rows.reduce((total, row) => total + row[field], 0);
  return `${counted(sum("requests"), "request")} and ${counted(sum("tokens"), "token")} in ${words}, for ${money(sum("cost"))}.`;
}
