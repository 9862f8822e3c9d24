import { CheckField, NumberField, SelectField, TextField } from "../parts/form.tsx";
import { AmountField, amountIn, CountsField } from "./amount-field.tsx";
import { wordsOf } from "./patch.ts";
import { Row, Rows } from "./rows.tsx";
import type { Limit, Quota } from "./types.ts";

/** The algorithms, with what each does. */
const ALGORITHMS: Readonly<Record<string, string>> = {
  "sliding-window": "Evens out over the window.",
  "fixed-window": "So many in each window.",
  "sliding-log": "Exact in any span.",
  "token-bucket": "Refills, and allows bursts.",
  gcra: "Evenly spaced.",
  concurrency: "So many at a time.",
};

const BY = ["consumer", "key", "ip", "route", "global", "model", "tool", "header:X-Tenant"] as const;

interface EditorProps<T> {
  /** The path of the list in what is sent, such as `limits`. */
  readonly name: string;
  readonly value: readonly T[];
  readonly onValue: (value: readonly T[]) => void;
}

type Changed<T> = { readonly [Name in keyof T]?: T[Name] | undefined };

/** Gives an object with other values; undefined takes a field away. */
const set = <T extends object>(item: T, changed: Changed<T>): T =>
  // The fields that are left have the types that they had.
  Object.fromEntries(Object.entries({ ...item, ...changed }).filter(([, value]) => value !== undefined)) as T;

/** Edits a list of limits. */
export const LimitsEditor = ({ name, value, onValue }: EditorProps<Limit>) => (
  <Rows
    title="Limits"
    none="None: nothing is limited by these."
    isEmpty={value.length === 0}
    add="Add a limit"
    onAdd={() => onValue([...value, { algorithm: "sliding-window", limit: 100, window: "1m" }])}
  >
    {value.map((limit, i) => (
      <LimitRow
        key={`${name}[${i}]`}
        at={`${name}[${i}]`}
        limit={limit}
        number={i + 1}
        onChange={(changed) => onValue(value.with(i, set(limit, changed)))}
        onRemove={() => onValue(value.toSpliced(i, 1))}
      />
    ))}
  </Rows>
);

interface LimitRowProps {
  readonly at: string;
  readonly limit: Limit;
  readonly number: number;
  readonly onChange: (changed: Changed<Limit>) => void;
  readonly onRemove: () => void;
}

function LimitRow({ at, limit, number, onChange, onRemove }: LimitRowProps) {
  const { algorithm, window, by = "", cost } = limit;
  const isMoney = cost === "usd";
  const inUnit = (amount: Limit["burst"], next: boolean) => (amount === undefined ? undefined : amountIn(amount, next));
  return (
    <Row
      what={`limit ${number}`}
      onRemove={onRemove}
      end={
        <CheckField
          name={`${at}.shadow`}
          label="Shadow: counts and reports, never refuses"
          value={limit.shadow === true}
          onValue={(shadow) => onChange({ shadow: shadow ? true : undefined })}
        />
      }
    >
      <SelectField
        name={`${at}.algorithm`}
        label="Algorithm"
        required
        value={algorithm}
        options={Object.keys(ALGORITHMS)}
        hint={ALGORITHMS[algorithm]}
        onValue={(next) => onChange({ algorithm: next, window: next === "concurrency" ? undefined : (window ?? "1m") })}
      />
      {(algorithm !== "concurrency" || cost !== undefined) && (
        <CountsField
          name={`${at}.cost`}
          value={cost}
          onValue={(next) =>
            onChange({
              cost: next,
              limit: amountIn(limit.limit, next === "usd"),
              burst: inUnit(limit.burst, next === "usd"),
              degraded: inUnit(limit.degraded, next === "usd"),
            })
          }
        />
      )}
      <AmountField
        name={`${at}.limit`}
        label="Limit"
        required
        isMoney={isMoney}
        value={limit.limit}
        onValue={(many) => onChange({ limit: many ?? (isMoney ? "" : 0) })}
      />
      {algorithm !== "concurrency" && (
        <TextField
          name={`${at}.window`}
          label="Window"
          required
          value={window ?? ""}
          placeholder="1m"
          onValue={(next) => onChange({ window: next })}
        />
      )}
      <AmountField name={`${at}.burst`} label="Burst" isMoney={isMoney} value={limit.burst} onValue={(burst) => onChange({ burst })} />
      <AmountField
        name={`${at}.degraded`}
        label="Degraded"
        isMoney={isMoney}
        min={0}
        value={limit.degraded}
        onValue={(degraded) => onChange({ degraded })}
      />
      <TextField
        name={`${at}.by`}
        label="Counted by"
        value={typeof by === "string" ? by : by.join(", ")}
        choices={BY}
        placeholder="consumer"
        onValue={(text) => {
          const words = wordsOf(text);
          onChange({ by: words.length === 0 ? undefined : text.includes(",") ? words : text.trim() });
        }}
      />
      <TextField
        name={`${at}.name`}
        label="Name"
        value={limit.name ?? ""}
        placeholder="per-minute"
        onValue={(name) => onChange({ name: name === "" ? undefined : name })}
      />
    </Row>
  );
}

const PERIODS = ["day", "week", "month"] as const;

/** Edits a list of quotas. */
export const QuotasEditor = ({ name, value, onValue }: EditorProps<Quota>) => (
  <Rows
    title="Quotas"
    none="None: as much as you like in a day, week or month."
    isEmpty={value.length === 0}
    add="Add a quota"
    onAdd={() => onValue([...value, { limit: 10_000, period: "day" }])}
  >
    {value.map((quota, i) => (
      <QuotaRow
        key={`${name}[${i}]`}
        at={`${name}[${i}]`}
        quota={quota}
        number={i + 1}
        onChange={(changed) => onValue(value.with(i, set(quota, changed)))}
        onRemove={() => onValue(value.toSpliced(i, 1))}
      />
    ))}
  </Rows>
);

interface QuotaRowProps {
  readonly at: string;
  readonly quota: Quota;
  readonly number: number;
  readonly onChange: (changed: Changed<Quota>) => void;
  readonly onRemove: () => void;
}

const QuotaRow = ({ at, quota, number, onChange, onRemove }: QuotaRowProps) => (
  <Row what={`quota ${number}`} onRemove={onRemove}>
    <CountsField
      name={`${at}.cost`}
      value={quota.cost}
      onValue={(next) => onChange({ cost: typeof next === "number" ? undefined : next, limit: amountIn(quota.limit, next === "usd") })}
    />
    <AmountField
      name={`${at}.limit`}
      label="Limit"
      required
      isMoney={quota.cost === "usd"}
      value={quota.limit}
      onValue={(many) => onChange({ limit: many ?? (quota.cost === "usd" ? "" : 0) })}
    />
    <SelectField
      name={`${at}.period`}
      label="In each"
      required
      value={quota.period}
      options={PERIODS}
      onValue={(period) => onChange({ period })}
    />
    <TextField
      name={`${at}.timezone`}
      label="Time zone"
      value={quota.timezone ?? ""}
      placeholder="UTC"
      onValue={(timezone) => onChange({ timezone: timezone === "" ? undefined : timezone })}
    />
    <NumberField
      name={`${at}.anchor`}
      label="Begins on day"
      min={1}
      max={31}
      value={quota.anchor ?? null}
      onValue={(anchor) => onChange({ anchor: anchor ?? undefined })}
    />
  </Row>
);
