import { useId, useRef, useState } from "preact/hooks";
import { isObject } from "../../../values/json.ts";
import { type Problem, problemOf } from "../api.ts";
import { ErrorNote } from "../parts/error-note.tsx";
import { FormActs } from "../parts/form.tsx";
import type { Role } from "../role.ts";
import { whyNot } from "../session.ts";
import { faultAt, type Spot, spotOf, spotsOf } from "./json-lines.ts";

export interface JsonFormProps {
  /** What it is, for who hears it: "Route shop as JSON". */
  readonly label: string;
  readonly initial: object;
  readonly submit: string;
  readonly needs: Role;
  /** Sends what was written. What it rejects with is shown, faults with their lines. */
  readonly onSubmit: (value: Record<string, unknown>) => Promise<unknown>;
  readonly onCancel?: () => void;
}

interface Found extends Spot {
  readonly path: string;
  readonly message: string;
}

/** Edits a record as JSON. Faults stand below the text with their lines, and lead there. */
export function JsonForm({ label, initial, submit, needs, onSubmit, onCancel }: JsonFormProps) {
  const [text, setText] = useState(() => JSON.stringify(initial, null, 2));
  const [faults, setFaults] = useState<readonly Found[]>([]);
  const [problem, setProblem] = useState<Problem | null>(null);
  const [isBusy, setBusy] = useState(false);
  const area = useRef<HTMLTextAreaElement>(null);
  const id = useId();
  const why = whyNot(needs);
  const lead = ({ at }: Spot): void => {
    area.current?.focus();
    area.current?.setSelectionRange(at, at);
  };
  const send = async (): Promise<void> => {
    setProblem(null);
    setFaults([]);
    const read = parsed(text);
    if ("fault" in read) {
      setFaults([read.fault]);
      lead(read.fault);
      return;
    }
    setBusy(true);
    try {
      await onSubmit(read.value);
    } catch (error) {
      const refusal = problemOf(error);
      const spots = spotsOf(text);
      setProblem(refusal);
      setFaults(refusal.faults.map((fault) => ({ ...fault, ...spotOf(spots, fault.path) })).sort((a, b) => a.line - b.line));
    } finally {
      setBusy(false);
    }
  };
  return (
    <form
      class="form json-form"
      onSubmit={(event) => {
        event.preventDefault();
        if (!isBusy && why === null) void send();
      }}
    >
      <div class="field">
        <label for={id}>{label}</label>
        <textarea
          ref={area}
          id={id}
          class="json"
          rows={Math.min(28, Math.max(8, text.split("\n").length + 1))}
          spellcheck={false}
          value={text}
          aria-invalid={faults.length > 0}
          aria-describedby={faults.length > 0 ? `${id}-faults` : undefined}
          onInput={(event) => setText(event.currentTarget.value)}
        />
      </div>
      {faults.length > 0 && (
        <ul class="faults" id={`${id}-faults`} role="alert">
          {faults.map((fault) => (
            <li key={`${fault.path} ${fault.message}`}>
              <button type="button" class="quiet" onClick={() => lead(fault)}>
                Line {fault.line}
              </button>{" "}
              {fault.path !== "" && <code>{fault.path}</code>} {fault.message}
            </li>
          ))}
        </ul>
      )}
      {problem !== null && <ErrorNote problem={problem} />}
      <FormActs {...{ submit, why, isBusy, onCancel }} />
    </form>
  );
}

/** Reads a JSON object, or says where it is none. */
function parsed(text: string): { readonly value: Record<string, unknown> } | { readonly fault: Found } {
  try {
    const value: unknown = JSON.parse(text);
    if (isObject(value)) return { value };
    return { fault: { path: "", message: "must be an object: { … }", line: 1, at: 0 } };
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    const at = faultAt(text) ?? 0;
    return { fault: { path: "", message: `is no JSON: ${message}`, line: text.slice(0, at).split("\n").length, at } };
  }
}
