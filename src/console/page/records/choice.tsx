import { useId } from "preact/hooks";
import { type Option, Options } from "../parts/options.tsx";

export interface ChoiceProps {
  readonly label: string;
  readonly value: string;
  readonly onValue: (value: string) => void;
  readonly options: readonly Option[];
}

/** A filter of a list: one of several values. Its label is for who hears it; the values say it to who sees them. */
export function Choice({ label, value, onValue, options }: ChoiceProps) {
  const id = useId();
  return (
    <div class="picker">
      <label for={id} class="hidden">
        {label}
      </label>
      <select id={id} value={value} onChange={(event) => onValue(event.currentTarget.value)}>
        <Options of={options} />
      </select>
    </div>
  );
}
