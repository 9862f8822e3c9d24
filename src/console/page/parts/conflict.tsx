import { useState } from "preact/hooks";
import { type Problem, problemOf } from "../api.ts";
import type { Editable } from "../record.ts";
import { ErrorNote } from "./error-note.tsx";

/** Tells that somebody else has changed a record meanwhile, shows what, and lets the reader choose. Shown only then. */
export function ConflictNotice<T extends object>({
  record,
}: {
  readonly record: Pick<Editable<T>, "conflict" | "overwrite" | "takeTheirs">;
}) {
  const [problem, setProblem] = useState<Problem | null>(null);
  const { conflict } = record;
  if (conflict === null) return null;
  const { before, theirs, patch } = conflict;
  const names = Object.keys({ ...before, ...theirs.value, ...patch }) as (keyof T & string)[];
  const changed = names.filter((name) => name in patch || textOf(before[name]) !== textOf(theirs.value[name]));
  return (
    <section class="note warn" role="alert" aria-label="Somebody else changed this">
      <p>
        <strong>Somebody else changed this since you read it.</strong> Yours was not saved.
      </p>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by the keyboard. */}
      <section class="scroll" aria-label="What was changed" tabIndex={0}>
        <table>
          <thead>
            <tr>
              <th scope="col">Field</th>
              <th scope="col">When you read it</th>
              <th scope="col">Now</th>
              <th scope="col">Yours</th>
            </tr>
          </thead>
          <tbody>
            {changed.map((name) => (
              <tr key={name}>
                <th scope="row">{name}</th>
                <td>
                  <code>{textOf(before[name])}</code>
                </td>
                <td>
                  <code>{textOf(theirs.value[name])}</code>
                </td>
                <td>{name in patch ? <code>{textOf(patch[name])}</code> : "not changed"}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </section>
      {problem !== null && <ErrorNote problem={problem} />}
      <div class="acts">
        <button type="button" onClick={record.takeTheirs}>
          Take theirs
        </button>
        <button type="button" class="danger" onClick={() => record.overwrite().catch((error: unknown) => setProblem(problemOf(error)))}>
          Save yours over it
        </button>
      </div>
    </section>
  );
}

const textOf = (value: unknown): string => (value === undefined ? "–" : JSON.stringify(value));
