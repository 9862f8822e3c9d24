import { useState } from "preact/hooks";
import { NumberField, SelectField, TextField } from "../../parts/form.tsx";
import { AmountField, amountIn } from "../../records/amount-field.tsx";
import type { FieldsProps } from "../../records/record-page.tsx";
import { Row, Rows } from "../../records/rows.tsx";
import type { Budget, PoolKey, PoolSettings } from "../../records/types.ts";

/** What stands in a secret's place in answers; sent back, the secret stays. */
const MASK = "***";

const STRATEGIES = [
  ["in-order", "in-order: the first that has room"],
  ["most-remaining", "most-remaining: the one with most left"],
  ["round-robin", "round-robin: each in turn"],
] as const;

const AUTH = [
  ["required", "with a key of Sluice"],
  ["none", "anybody: for demos only"],
] as const;

/** The form of a pool. */
export const PoolFields = ({ draft, change }: FieldsProps<PoolSettings>) => (
  <>
    <div class="cells">
      <SelectField
        name="strategy"
        label="Which key is used"
        required
        value={draft.strategy}
        options={STRATEGIES}
        onValue={(strategy) => change({ strategy })}
      />
      <SelectField
        name="auth"
        label="Who may ask for one"
        required
        value={draft.auth}
        options={AUTH}
        hint="By POST /api/v1/api-key. Routes that name the pool put a key in by themselves."
        onValue={(auth) => change({ auth: auth === "none" ? "none" : "required" })}
      />
    </div>
    <Rows title="Keys" add="Add a key" onAdd={() => change({ keys: [...draft.keys, { id: "", limit: 1000, window: "1m" }] })}>
      {draft.keys.map((key, i) => (
        <KeyRow
          key={`keys[${i}]`}
          at={`keys[${i}]`}
          number={i + 1}
          poolKey={key}
          onChange={(changed) => change({ keys: draft.keys.with(i, changed) })}
          onRemove={draft.keys.length === 1 ? null : () => change({ keys: draft.keys.toSpliced(i, 1) })}
        />
      ))}
    </Rows>
    <ServicesField draft={draft} change={change} />
  </>
);

interface KeyRowProps {
  readonly at: string;
  readonly number: number;
  readonly poolKey: PoolKey;
  readonly onChange: (key: PoolKey) => void;
  /** `null`: it is the last one. */
  readonly onRemove: (() => void) | null;
}

function KeyRow({ at, number, poolKey, onChange, onRemove }: KeyRowProps) {
  const { budgets = [], limit, window, cost } = poolKey;
  const isMoney = cost === "usd";
  const isKept = poolKey.secret === MASK;
  const [wasKept] = useState(isKept);
  const withSecret = (secret: string): PoolKey => {
    const { secret: _, ...rest } = poolKey;
    if (secret !== "") return { ...rest, secret };
    return wasKept ? { ...rest, secret: MASK } : rest;
  };
  return (
    <Row
      what={`key ${number}`}
      onRemove={onRemove}
      below={
        <FurtherBudgets
          at={`${at}.budgets`}
          number={number}
          budgets={budgets}
          onChange={(next) => {
            const { budgets: _, ...rest } = poolKey;
            onChange(next.length === 0 ? rest : { ...rest, budgets: next });
          }}
        />
      }
    >
      <TextField
        name={`${at}.id`}
        label="Id"
        required
        value={poolKey.id}
        placeholder="key_1"
        onValue={(id) => onChange({ ...poolKey, id })}
      />
      <TextField
        name={`${at}.secret`}
        label="Secret"
        isSecret
        autocomplete="new-password"
        value={isKept ? "" : (poolKey.secret ?? "")}
        placeholder={isKept ? "kept; type to replace it" : "the id itself"}
        onValue={(secret) => onChange(withSecret(secret))}
      />
      <SelectField
        name={`${at}.cost`}
        label="Budget of"
        required
        value={cost ?? "tokens"}
        options={OWN_BUDGET}
        onValue={(of) =>
          onChange(withBudget(poolKey, limit === undefined ? undefined : amountIn(limit, of === "usd"), window, of === "usd"))
        }
      />
      <AmountField
        name={`${at}.limit`}
        label={isMoney ? "Budget" : "Tokens"}
        isMoney={isMoney}
        value={limit}
        onValue={(next) => onChange(withBudget(poolKey, next, window, isMoney))}
      />
      <TextField
        name={`${at}.window`}
        label="In each"
        value={window ?? ""}
        placeholder="1m"
        onValue={(next) => onChange(withBudget(poolKey, limit, next, isMoney))}
      />
    </Row>
  );
}

const OWN_BUDGET = [
  ["tokens", "tokens"],
  ["usd", "dollars"],
] as const;

/** Gives a key with this budget, or without one where all of it is left empty. */
function withBudget(
  { limit: _, window: __, cost: ___, ...key }: PoolKey,
  limit: PoolKey["limit"],
  window: string | undefined,
  isMoney: boolean,
): PoolKey {
  return {
    ...key,
    ...(isMoney ? { cost: "usd" } : {}),
    ...(limit === undefined ? {} : { limit }),
    ...(window === undefined || window === "" ? {} : { window }),
  };
}

interface FurtherBudgetsProps {
  readonly at: string;
  /** The number of the key that they are of. */
  readonly number: number;
  readonly budgets: readonly Budget[];
  readonly onChange: (budgets: readonly Budget[]) => void;
}

const FURTHER_BUDGET = [["requests", "requests"], ...OWN_BUDGET] as const;

/** Edits the budgets of a key beside its own: all of them must hold. */
const FurtherBudgets = ({ at, number, budgets, onChange }: FurtherBudgetsProps) => (
  <Rows
    title="Further budgets"
    none="None: the one above is all that bounds it."
    isEmpty={budgets.length === 0}
    add={`Add a budget to key ${number}`}
    onAdd={() => onChange([...budgets, { of: "requests", limit: 500, window: "1m" }])}
  >
    {budgets.map((budget, i) => {
      const isMoney = budget.cost === "usd";
      const here = `${at}[${i}]`;
      const put = (changed: Partial<Budget>): void => onChange(budgets.with(i, { ...budget, ...changed }));
      return (
        <Row key={here} what={`budget ${i + 1} of key ${number}`} onRemove={() => onChange(budgets.toSpliced(i, 1))}>
          <SelectField
            name={`${here}.of`}
            label="Budget of"
            required
            value={isMoney ? "usd" : (budget.of ?? "tokens")}
            options={FURTHER_BUDGET}
            onValue={(of) => {
              const limit = amountIn(budget.limit, of === "usd");
              onChange(budgets.with(i, { ...(of === "usd" ? { cost: "usd" } : { of }), limit, window: budget.window }));
            }}
          />
          <AmountField
            name={`${here}.limit`}
            label={isMoney ? "Budget" : "How many"}
            required
            isMoney={isMoney}
            value={budget.limit}
            onValue={(limit) => put({ limit: limit ?? (isMoney ? "" : 0) })}
          />
          <TextField
            name={`${here}.window`}
            label="In each"
            required
            value={budget.window}
            placeholder="1d"
            onValue={(window) => put({ window })}
          />
        </Row>
      );
    })}
  </Rows>
);

/** Services by name with what each costs: a line for each. */
function ServicesField({ draft, change }: FieldsProps<PoolSettings>) {
  const entries = Object.entries(draft.services);
  const put = (list: readonly (readonly [string, { readonly cost: number }])[]): void => change({ services: Object.fromEntries(list) });
  return (
    <Rows
      title="Services"
      none="None. They name what callers of /api/v1/api-key ask for, and what a grant of it costs."
      isEmpty={entries.length === 0}
      add="Add a service"
      onAdd={() => put([...entries, [`service_${entries.length + 1}`, { cost: 100 }]])}
    >
      {entries.map(([name, { cost }], i) => (
        <Row key={`service ${i}`} what={`service ${i + 1}`} onRemove={() => put(entries.toSpliced(i, 1))}>
          <TextField
            name={`services.${name}`}
            label="Service"
            required
            value={name}
            onValue={(next) => put(entries.with(i, [next, { cost }]))}
          />
          <NumberField
            name={`services.${name}.cost`}
            label="Costs"
            required
            min={1}
            value={cost}
            onValue={(next) => put(entries.with(i, [name, { cost: next ?? 0 }]))}
          />
        </Row>
      ))}
    </Rows>
  );
}
