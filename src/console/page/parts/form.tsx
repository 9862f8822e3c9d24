import { type ComponentChildren, createContext } from "preact";
import { useContext, useId, useRef, useState } from "preact/hooks";
import { type Fault, type Problem, problemOf } from "../api.ts";
import type { Role } from "../role.ts";
import { whyNot } from "../session.ts";
import { ErrorNote } from "./error-note.tsx";
import { type Option, Options } from "./options.tsx";

interface Faulty {
  readonly faults: readonly Fault[];
  /** The names of the fields of the form, so that a fault without a field is shown above. */
  readonly fields: Set<string>;
}

const FormFaults = createContext<Faulty>({ faults: [], fields: new Set() });

export interface FormProps {
  /** The word on the button: a verb. */
  readonly submit: string;
  readonly needs: Role;
  /** Sends it. What it rejects with is shown, faults at their fields. */
  readonly onSubmit: () => Promise<unknown>;
  readonly onCancel?: () => void;
  readonly children: ComponentChildren;
}

/**
 * Holds fields that are sent together. Faults that the gateway finds (`errors` of a 422) stand at the field whose `name` is their path, or
 * where that begins; others above the buttons.
 *
 * @example
 * <Form submit="Create consumer" needs="admin" onSubmit={() => send("POST", "consumers", { body })}>
 *   <TextField name="id" label="Id" value={id} onValue={setId} required />
 * </Form>
 */
export function Form({ submit, needs, onSubmit, onCancel, children }: FormProps) {
  const [problem, setProblem] = useState<Problem | null>(null);
  const [isBusy, setBusy] = useState(false);
  const form = useRef<HTMLFormElement>(null);
  const fields = useRef(new Set<string>());
  const why = whyNot(needs);
  const faults = problem?.faults ?? [];
  const others = faults.filter(({ path }) => ![...fields.current].some((name) => isAt(path, name)));
  const send = async (): Promise<void> => {
    setBusy(true);
    setProblem(null);
    try {
      await onSubmit();
    } catch (error) {
      setProblem(problemOf(error));
      // When the faults are drawn.
      setTimeout(() => form.current?.querySelector<HTMLElement>("[aria-invalid=true]")?.focus());
    } finally {
      setBusy(false);
    }
  };
  return (
    <form
      ref={form}
      class="form"
      onSubmit={(event) => {
        event.preventDefault();
        if (!isBusy && why === null) void send();
      }}
    >
      <FormFaults.Provider value={{ faults, fields: fields.current }}>{children}</FormFaults.Provider>
      {problem !== null && <ErrorNote problem={problem} />}
      {others.length > 0 && (
        <ul class="faults">
          {others.map(({ path, message }) => (
            <li key={path + message}>
              {path !== "" && <code>{path}</code>} {message}
            </li>
          ))}
        </ul>
      )}
      <FormActs {...{ submit, why, isBusy, onCancel }} />
    </form>
  );
}

export interface FormActsProps {
  readonly submit: string;
  /** Why it can't be sent; `null` when it can. */
  readonly why: string | null;
  readonly isBusy: boolean;
  readonly onCancel: (() => void) | undefined;
}

/** Ends a form: the buttons that send and leave it, and why it can't be sent. */
export const FormActs = ({ submit, why, isBusy, onCancel }: FormActsProps) => (
  <>
    {why !== null && <p class="fine">{why}</p>}
    <div class="acts">
      <button type="submit" class="primary" disabled={isBusy || why !== null}>
        {submit}
      </button>
      {onCancel !== undefined && (
        <button type="button" onClick={onCancel}>
          Cancel
        </button>
      )}
    </div>
  </>
);

/** Tells whether a fault at `path` belongs to the field `name`. */
const isAt = (path: string, name: string): boolean => path === name || path.startsWith(`${name}.`) || path.startsWith(`${name}[`);

export interface FieldProps {
  /** The path of its value in what is sent, such as `limits[0].window`. */
  readonly name: string;
  readonly label: string;
  readonly hint?: ComponentChildren;
  readonly required?: boolean;
}

/** What ties a control to its label, hint and faults. */
function useField({ name, hint }: Pick<FieldProps, "name" | "hint">) {
  const id = useId();
  const { faults, fields } = useContext(FormFaults);
  fields.add(name);
  const own = faults.filter(({ path }) => isAt(path, name));
  const described = [hint === undefined ? "" : `${id}-hint`, own.length > 0 ? `${id}-fault` : ""].filter(Boolean).join(" ");
  const control = {
    id,
    name,
    "aria-invalid": own.length > 0,
    ...(described === "" ? {} : { "aria-describedby": described }),
  };
  return { id, own, control };
}

interface FrameProps extends FieldProps {
  readonly id: string;
  readonly own: readonly Fault[];
  readonly children: ComponentChildren;
}

const Frame = ({ id, own, label, hint, required = false, name, children }: FrameProps) => (
  <div class="field">
    <label for={id}>
      {label} {!required && <span class="fine">optional</span>}
    </label>
    {children}
    {hint !== undefined && (
      <p class="fine" id={`${id}-hint`}>
        {hint}
      </p>
    )}
    {own.length > 0 && (
      <p class="fault" id={`${id}-fault`}>
        {own.map(({ path, message }) => (path === name ? message : `${path.slice(name.length)}: ${message}`)).join("; ")}
      </p>
    )}
  </div>
);

export interface TextFieldProps extends FieldProps {
  readonly value: string;
  readonly onValue: (value: string) => void;
  readonly placeholder?: string;
  /** Values that are proposed. */
  readonly choices?: readonly string[];
  readonly autocomplete?: string;
  /** More than one line: so many. */
  readonly rows?: number;
  /** True for what nobody should read over a shoulder. */
  readonly isSecret?: boolean;
}

/** A field for text. */
export function TextField({
  value,
  onValue,
  placeholder,
  choices,
  autocomplete = "off",
  rows,
  isSecret = false,
  ...field
}: TextFieldProps) {
  const { id, own, control } = useField(field);
  const common = { ...control, value, placeholder, required: field.required ?? false, spellcheck: false };
  return (
    <Frame {...{ id, own }} {...field}>
      {rows !== undefined ? (
        <textarea {...common} rows={rows} onInput={(event) => onValue(event.currentTarget.value)} />
      ) : choices !== undefined ? (
        <input {...common} type="text" autocomplete="off" list={`${id}-list`} onInput={(event) => onValue(event.currentTarget.value)} />
      ) : isSecret ? (
        <input {...common} type="password" autocomplete={autocomplete} onInput={(event) => onValue(event.currentTarget.value)} />
      ) : (
        <input {...common} type="text" autocomplete={autocomplete} onInput={(event) => onValue(event.currentTarget.value)} />
      )}
      {choices !== undefined && (
        <datalist id={`${id}-list`}>
          {choices.map((choice) => (
            <option key={choice} value={choice} />
          ))}
        </datalist>
      )}
    </Frame>
  );
}

export interface TimeFieldProps extends FieldProps {
  /** RFC 3339; `null`: empty. */
  readonly value: string | null;
  readonly onValue: (value: string | null) => void;
}

/** A field for a day and a time of day, by the reader's time zone. */
export function TimeField({ value, onValue, ...field }: TimeFieldProps) {
  const { id, own, control } = useField(field);
  const local =
    value === null ? "" : new Date(new Date(value).getTime() - new Date(value).getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
  return (
    <Frame {...{ id, own }} {...field}>
      <input
        {...control}
        type="datetime-local"
        required={field.required ?? false}
        value={local}
        onInput={({ currentTarget }) => onValue(currentTarget.value === "" ? null : new Date(currentTarget.value).toISOString())}
      />
    </Frame>
  );
}

export interface NumberFieldProps extends FieldProps {
  /** `null`: empty. */
  readonly value: number | null;
  readonly onValue: (value: number | null) => void;
  readonly min?: number;
  readonly max?: number;
  readonly step?: number;
}

/** A field for a number. */
export function NumberField({ value, onValue, min, max, step, ...field }: NumberFieldProps) {
  const { id, own, control } = useField(field);
  return (
    <Frame {...{ id, own }} {...field}>
      <input
        {...{ ...control, min, max, step }}
        type="number"
        required={field.required ?? false}
        value={value ?? ""}
        onInput={({ currentTarget }) => onValue(Number.isNaN(currentTarget.valueAsNumber) ? null : currentTarget.valueAsNumber)}
      />
    </Frame>
  );
}

export interface SelectFieldProps extends FieldProps {
  readonly value: string;
  readonly onValue: (value: string) => void;
  readonly options: readonly Option[];
}

/** A field for one of several values. */
export function SelectField({ value, onValue, options, ...field }: SelectFieldProps) {
  const { id, own, control } = useField(field);
  return (
    <Frame {...{ id, own }} {...field}>
      <select {...control} value={value} required={field.required ?? false} onChange={(event) => onValue(event.currentTarget.value)}>
        <Options of={options} />
      </select>
    </Frame>
  );
}

export interface CheckFieldProps extends Omit<FieldProps, "required"> {
  readonly value: boolean;
  readonly onValue: (value: boolean) => void;
}

/** A field for yes or no. */
export function CheckField({ value, onValue, label, hint, name }: CheckFieldProps) {
  const { id, own, control } = useField({ name, hint });
  return (
    <div class="field check">
      <label for={id}>
        <input {...control} type="checkbox" checked={value} onChange={(event) => onValue(event.currentTarget.checked)} /> {label}
      </label>
      {hint !== undefined && (
        <p class="fine" id={`${id}-hint`}>
          {hint}
        </p>
      )}
      {own.length > 0 && (
        <p class="fault" id={`${id}-fault`}>
          {own.map(({ message }) => message).join("; ")}
        </p>
      )}
    </div>
  );
}
