import { useId, useState } from "preact/hooks";
import { isObject } from "../../../values/json.ts";
import { type FieldProps, TextField } from "../parts/form.tsx";
import { wordsOf } from "./patch.ts";

export interface WordsFieldProps extends FieldProps {
  readonly value: readonly string[];
  readonly onValue: (value: string[]) => void;
  readonly placeholder?: string;
}

/** A field for several words, such as scopes: written with commas or spaces between them. */
export function WordsField({ value, onValue, ...field }: WordsFieldProps) {
  // What is typed stays as it is, with the comma at its end.
  const [text, setText] = useState(value.join(", "));
  return (
    <TextField
      {...field}
      value={text}
      onValue={(next) => {
        setText(next);
        onValue(wordsOf(next));
      }}
    />
  );
}

export interface JsonFieldProps extends Omit<FieldProps, "required"> {
  readonly value: Readonly<Record<string, unknown>> | null;
  /** Called with each text that is a JSON object, or with `null` for an empty one. */
  readonly onValue: (value: Readonly<Record<string, unknown>> | null) => void;
}

/** A field for a JSON object. A form can't be sent while it holds something else. */
export function JsonField({ value, onValue, name, label, hint }: JsonFieldProps) {
  const [text, setText] = useState(value === null ? "" : JSON.stringify(value, null, 2));
  const [fault, setFault] = useState("");
  const id = useId();
  const onText = (area: HTMLTextAreaElement): void => {
    setText(area.value);
    const read = objectIn(area.value);
    const why = read === undefined ? 'It is no JSON object, such as { "crm": 17 }.' : "";
    area.setCustomValidity(why);
    setFault(why);
    if (read !== undefined) onValue(read);
  };
  return (
    <div class="field">
      <label for={id}>
        {label} <span class="fine">optional</span>
      </label>
      <textarea
        {...{ id, name }}
        rows={Math.min(12, Math.max(3, text.split("\n").length))}
        spellcheck={false}
        value={text}
        aria-invalid={fault !== ""}
        aria-describedby={`${id}-hint`}
        onInput={(event) => onText(event.currentTarget)}
      />
      <p class="fine" id={`${id}-hint`}>
        {hint}
      </p>
      {fault !== "" && <p class="fault">{fault}</p>}
    </div>
  );
}

/** Reads a JSON object; `null` for an empty text, `undefined` for anything else. */
function objectIn(text: string): Readonly<Record<string, unknown>> | null | undefined {
  if (text.trim() === "") return null;
  try {
    const value: unknown = JSON.parse(text);
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}
