import { ago, amount, amountLeft } from "../format.ts";
import { Panel } from "../parts/screen.tsx";
import type { Left, OwnKey, Standing } from "./api.ts";
import { nameOf } from "./keys.tsx";

/** Shows what is left of limits and quotas. */
export const Limits = ({ standing: { limits, quotas }, keys }: { readonly standing: Standing; readonly keys: readonly OwnKey[] }) => (
  <Panel title="What is left">
    {limits.length + quotas.length === 0 ? (
      <p class="fine">No limit counts all your calls together.</p>
    ) : (
      <ul class="bars">
        {[...quotas, ...limits].map((left) => (
          <Bar key={`${left.scope} ${left.name} ${left.key}`} {...{ left, keys }} />
        ))}
      </ul>
    )}
  </Panel>
);

/** Says whom a limit counts. */
function aboutOf({ key, scope }: Left, keys: readonly OwnKey[]): string {
  if (scope.startsWith("route ")) return scope;
  const of = keys.find(({ id }) => id === key);
  return key === undefined ? "all your keys" : `key ${of === undefined ? key : nameOf(of)}, with those made from it`;
}

function Bar({ left, keys }: { readonly left: Left; readonly keys: readonly OwnKey[] }) {
  const { name, limit, remaining, reset, unit } = left;
  const isOut = remaining === 0;
  return (
    <li>
      <div class="bar-head">
        <span>
          <strong>{name}</strong> <span class="fine">{aboutOf(left, keys)}</span>
        </span>
        <span class="number">
          {amountLeft(remaining, unit)} of {amount(limit, unit)} left
        </span>
      </div>
      <progress class={isOut ? "bad" : "accent"} max={limit > 0 ? limit : 1} value={remaining} aria-label={`${name}: left`} />
      {reset !== null && <p class="fine">{isOut ? `Used up: there is more ${ago(reset)}.` : `More ${ago(reset)}.`}</p>}
    </li>
  );
}
