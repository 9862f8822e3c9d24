import { useState } from "preact/hooks";
import { get } from "../../api.ts";
import { count, money } from "../../format.ts";
import { useList } from "../../list.ts";
import { useLive } from "../../live.ts";
import { Code } from "../../parts/copy.tsx";
import { ErrorNote } from "../../parts/error-note.tsx";
import { Form, TextField } from "../../parts/form.tsx";
import { Panel } from "../../parts/screen.tsx";
import { type Column, Listing, Table } from "../../parts/table.tsx";
import type { ModelPrice, PriceList } from "../../shapes.ts";

const EXAMPLE = `curl -s https://models.dev/api.json | sluice prices import models.dev - --provider openai --models 'gpt-5*' > models.json`;

/** Shows what tokens of each model cost, and which price a model has. */
export function Prices() {
  const { value, error } = useLive("prices", (signal) => get<PriceList>("prices", { limit: 1 }, signal), 0);
  const list = useList<ModelPrice>("prices");
  const isEmpty = value !== null && value.items.length === 0;
  return (
    <>
      {error !== null && <ErrorNote problem={error} />}
      {value !== null && !isEmpty && (
        <p class="fine">
          Dollars for a million tokens, from {value.source === "inline" ? "the configuration" : <code>{value.source}</code>}. Where a budget
          is in dollars, a model without a price is{" "}
          {value.unpriced === "deny" ? "refused (403 modelUnpriced)" : "let through, and costs nothing"}.
        </p>
      )}
      {!isEmpty && <PriceOf />}
      <Listing<ModelPrice>
        list={list}
        noun="prices"
        caption="Prices, in dollars for a million tokens"
        textOf={({ pattern }) => pattern}
        keyOf={({ pattern }) => pattern}
        empty={
          <>
            <p>
              There are no prices, so that nothing can be counted in dollars. Write them under <code>prices</code> in the configuration, or
              take them from a public list into a file that it names:
            </p>
            <Code text={EXAMPLE} what="command" />
            <p>
              <a href="/docs/guides/budgets">One key for the team, a budget for each</a>
            </p>
          </>
        }
        columns={COLUMNS}
      />
    </>
  );
}

/** Writes a price. `otherwise`: what stands where there is none. */
const dollars = (value: ModelPrice["input"], otherwise = "–") =>
  value === undefined ? <span class="fine">{otherwise}</span> : money(Number(value));

const numberOf = (value: ModelPrice["input"]): number | null => (value === undefined ? null : Number(value));

const COLUMNS: readonly Column<ModelPrice>[] = [
  { name: "Models", cell: ({ pattern }) => <code>{pattern}</code>, sort: ({ pattern }) => pattern },
  { name: "Input", isNumber: true, cell: ({ input }) => dollars(input), sort: ({ input }) => numberOf(input) },
  { name: "Output", isNumber: true, cell: ({ output }) => dollars(output), sort: ({ output }) => numberOf(output) },
  { name: "From cache", isNumber: true, cell: ({ cacheRead }) => dollars(cacheRead, "as input"), isWide: true },
  { name: "Into cache", isNumber: true, cell: ({ cacheWrite }) => dollars(cacheWrite, "as input"), isWide: true },
  { name: "Reasoning", isNumber: true, cell: ({ reasoning }) => dollars(reasoning, "as output"), isWide: true },
  {
    name: "Longest answer",
    isNumber: true,
    isWide: true,
    cell: ({ maxOutput }) => (maxOutput === undefined ? <span class="fine">–</span> : count(maxOutput)),
  },
];

/** Tells which price a model has: of several patterns the longest counts. */
function PriceOf() {
  const [model, setModel] = useState("");
  const [found, setFound] = useState<{ readonly model: string; readonly items: readonly ModelPrice[] } | null>(null);
  return (
    <Panel title="What does a model cost?">
      <Form
        submit="Find it"
        needs="viewer"
        onSubmit={async () => setFound({ model, items: (await get<PriceList>("prices", { model })).items })}
      >
        <TextField name="model" label="Model" required value={model} placeholder="gpt-5-mini" onValue={setModel} />
      </Form>
      {found !== null && (
        <div aria-live="polite">
          <Table
            caption={`The price of ${found.model}`}
            rows={found.items}
            keyOf={({ pattern }) => pattern}
            empty={<p>{`${found.model} has no price.`}</p>}
            columns={COLUMNS}
          />
        </div>
      )}
    </Panel>
  );
}
