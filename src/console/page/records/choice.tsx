import { useId } from "preact/hooks";

export interface ChoiceProps {
  readonly label: string;
  readonly value: string;
  readonly onValue: (value: string) => void;
  /** Values, or pairs of a value and its words. */
  readonly options: readonly (string | readonly [value: string, words: string])[];
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
        {options.map((option) => {
          const [each, words] = typeof option === "string" ? [option, option] : option;
          return (
            <option key={each} value={each}>
              {words}
            </option>
          );
        })}
      </select>
    </div>
  );
}
