import { type FieldProps, NumberField, SelectField, TextField } from "../parts/form.tsx";
import type { Option } from "../parts/options.tsx";

/** An amount as records have it: a whole number, or dollars as a text such as `25.00`. */
export type Amount = number | string;

/** Gives an amount by what it counts now: one in dollars is a text. */
export const amountIn = (amount: Amount, isMoney: boolean): Amount =>
  isMoney ? String(amount) : Math.max(1, Math.round(Number(amount)) || 1);

export interface AmountFieldProps extends FieldProps {
  /** Left out: empty. */
  readonly value: Amount | undefined;
  readonly onValue: (value: Amount | undefined) => void;
  readonly isMoney: boolean;
  readonly min?: number;
}

/** A field for how much of something: a whole number, or an amount of dollars. */
export const AmountField = ({ value, onValue, isMoney, min = 1, label, ...field }: AmountFieldProps) =>
  isMoney ? (
    <TextField
      {...field}
      label={`${label} in dollars`}
      value={value === undefined ? "" : String(value)}
      placeholder="25.00"
      onValue={(text) => onValue(text.trim() === "" ? undefined : text.trim())}
    />
  ) : (
    <NumberField
      {...field}
      {...{ label, min }}
      value={value === undefined ? null : Number(value)}
      onValue={(many) => onValue(many ?? undefined)}
    />
  );

export interface CountsFieldProps extends Pick<FieldProps, "name"> {
  /** As the record has it; left out: the route's cost. */
  readonly value: number | string | undefined;
  readonly onValue: (value: number | "usage" | "usd" | undefined) => void;
}

/** A field for what a limit or quota counts. */
export function CountsField({ name, value, onValue }: CountsFieldProps) {
  const options: Option[] = [
    ["requests", "requests"],
    ["usage", "what answers report, such as tokens"],
    ["usd", "dollars"],
    ...(typeof value === "number" ? [[String(value), `${value} for each request`] as const] : []),
  ];
  return (
    <SelectField
      {...{ name, options }}
      label="Counts"
      required
      value={value === undefined ? "requests" : String(value)}
      onValue={(next) => onValue(next === "requests" ? undefined : next === "usage" || next === "usd" ? next : Number(next))}
    />
  );
}
