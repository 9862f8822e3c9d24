import { get } from "../../api.ts";
import { ago, count, dateTime, money, percent } from "../../format.ts";
import { useLive } from "../../live.ts";
import { Badge } from "../../parts/badge.tsx";
import { Code } from "../../parts/copy.tsx";
import { ErrorNote } from "../../parts/error-note.tsx";
import { Panel } from "../../parts/screen.tsx";
import { Table } from "../../parts/table.tsx";
import { hrefTo } from "../../router.ts";
import type { ModelAttempt, ModelList, VirtualModel } from "../../shapes.ts";
import { type KnownUpstreams, UpstreamName, useKnownUpstreams } from "../routes/upstream-name.tsx";

/** Milliseconds between two looks. */
const EVERY = 5000;

const EXAMPLE = `"models": {
  "smart": { "try": [
    { "upstream": "openai", "model": "gpt-5", "pool": "openai" },
    { "upstream": "local", "model": "qwen3", "fallback": true }
  ] }
}`;

/** Shows virtual models: who answers for each, how often, and why others were asked. */
export function VirtualModels() {
  const { value, error, refresh } = useLive("models", (signal) => get<ModelList>("models", {}, signal), EVERY);
  const known = useKnownUpstreams();
  return (
    <>
      {error !== null && <ErrorNote problem={error} onRetry={refresh} />}
      {value?.items.length === 0 && (
        <div class="empty">
          <p>
            There are no virtual models. A virtual model is a name that callers use; behind it are models of several providers, and when one
            does not answer, the next is asked. Put this into the configuration, and the name into <code>models</code> of a route:
          </p>
          <Code text={EXAMPLE} what="lines" />
          <p>
            <a href="/docs/guides/model-fallback">Fallback between providers</a>
          </p>
        </div>
      )}
      {value?.items.map((model) => (
        <Panel key={model.name} title={model.name} acts={<Rules of={model} />}>
          <Attempts of={model} known={known} />
        </Panel>
      ))}
    </>
  );
}

/** Says where callers may name a model, and when another upstream is asked. */
const Rules = ({ of: { routes, on, firstToken, giveUpAfter } }: { readonly of: VirtualModel }) => (
  <p class="fine">
    {routes.length === 0 ? (
      <Badge tone="warn">no route offers it</Badge>
    ) : (
      <>
        On{" "}
        {routes.map((route, i) => (
          <span key={route}>
            {i > 0 && ", "}
            <a href={hrefTo(["routes", "route", route])}>{route}</a>
          </span>
        ))}
      </>
    )}{" "}
    · next on {on.join(", ")} · first token within {firstToken}, all within {giveUpAfter}
  </p>
);

function Attempts({ of: { name, try: attempts }, known }: { readonly of: VirtualModel; readonly known: KnownUpstreams }) {
  const weights = attempts.reduce((sum, { fallback, weight }) => sum + (fallback ? 0 : weight), 0);
  return (
    <Table<ModelAttempt>
      caption={`Who answers for ${name}`}
      rows={attempts}
      keyOf={(attempt) => String(attempts.indexOf(attempt))}
      empty={<p>Nobody answers for it.</p>}
      columns={[
        {
          name: "Model",
          cell: ({ upstream, model, pool, price }) => (
            <>
              <code class="short">{model}</code>
              <div class="fine">
                at <UpstreamName of={upstream} known={known} />
                {pool !== null && (
                  <>
                    , key of <a href={hrefTo(["pools", pool])}>{pool}</a>
                  </>
                )}
              </div>
              <div class="fine narrow">{price === null ? "no price" : `${priceText(price)} for a million tokens`}</div>
            </>
          ),
        },
        {
          name: "Asked",
          cell: ({ fallback, weight }) => (fallback ? <Badge>fallback</Badge> : `first, ${percent(weight / Math.max(1, weights))}`),
        },
        {
          name: "For a million tokens",
          isWide: true,
          cell: ({ price }) => (price === null ? <span class="fine">none</span> : priceText(price)),
        },
        { name: "Attempts", isNumber: true, isWide: true, cell: (each) => count(each.attempts), sort: (each) => each.attempts },
        { name: "Answered", isNumber: true, cell: ({ answered }) => count(answered), sort: ({ answered }) => answered },
        { name: "Failed", cell: (attempt) => <Failures of={attempt} /> },
      ]}
    />
  );
}

const priceText = ({ input, output }: NonNullable<ModelAttempt["price"]>): string => `${money(input)} in, ${money(output)} out`;

/** Says how often an attempt failed, why, and when it was last. */
function Failures({ of: { failed, lastFailure } }: { readonly of: ModelAttempt }) {
  const reasons = Object.entries(failed).filter(([, many]) => many > 0);
  if (reasons.length === 0) return <span class="fine">never</span>;
  return (
    <>
      {reasons.map(([outcome, many]) => `${outcome}: ${count(many)}`).join(", ")}
      {lastFailure !== null && lastFailure.at !== null && (
        <div class="fine">
          last {lastFailure.outcome},{" "}
          <time title={`${dateTime(lastFailure.at)}, request ${lastFailure.requestId}`}>{ago(lastFailure.at)}</time>
        </div>
      )}
    </>
  );
}
