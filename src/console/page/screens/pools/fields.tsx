import { useState } from "preact/hooks";
import { NumberField, SelectField, TextField } from "../../parts/form.tsx";
import type { FieldsProps } from "../../records/record-page.tsx";
import { Row, Rows } from "../../records/rows.tsx";
import type { PoolKey, PoolSettings } from "../../records/types.ts";

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
  const { budgets = [] } = poolKey;
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
      end={
        budgets.length > 0 && (
          <p class="fine">
            Further budgets: {budgets.map(({ of, limit, window }) => `${limit} ${of} in ${window}`).join(", ")}. Change them as JSON.
          </p>
        )
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
      <NumberField
        name={`${at}.limit`}
        label="Tokens"
        min={1}
        value={poolKey.limit ?? null}
        onValue={(limit) => onChange(withBudget(poolKey, limit, poolKey.window))}
      />
      <TextField
        name={`${at}.window`}
        label="In each"
        value={poolKey.window ?? ""}
        placeholder="1m"
        onValue={(window) => onChange(withBudget(poolKey, poolKey.limit ?? null, window))}
      />
    </Row>
  );
}

/** Gives a key with this budget, or without one where both are left empty. */
function withBudget({ limit: _, window: __, ...key }: PoolKey, limit: number | null, window: string | undefined): PoolKey {
  return { ...key, ...(limit === null ? {} : { limit }), ...(window === undefined || window === "" ? {} : { window }) };
}

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
