import { useEffect, useId, useRef, useState } from "preact/hooks";
import { Difference, linesOfDiff } from "../../parts/difference.tsx";
import { Effect } from "../../parts/effect.tsx";
import { Panel } from "../../parts/screen.tsx";
import { hrefTo } from "../../router.ts";
import type { Written } from "./file.ts";

export interface PreviewProps {
  readonly trial: Written;
  readonly isBusy: boolean;
  readonly onApply: (note: string) => Promise<void>;
}

const isNothing = ({ diff, created, changed, deleted }: Written): boolean =>
  diff === "" && created.length + changed.length + deleted.length === 0;

/** Shows what applying a text would change, and applies it. */
export function Preview({ trial, isBusy, onApply }: PreviewProps) {
  const [note, setNote] = useState("");
  const id = useId();
  if (isNothing(trial))
    return (
      <p class="note" role="status">
        It has no faults, and is as the file is: there is nothing to apply.
      </p>
    );
  return (
    <Panel title="What applying it changes">
      <p role="status">It has no faults. Nothing is written yet.</p>
      {trial.diff === "" ? (
        <p class="fine">The text is as the file's, which is not in force yet.</p>
      ) : (
        <Difference label="What applying it changes in the file" lines={linesOfDiff(trial.diff)} />
      )}
      <form
        class="form"
        onSubmit={(event) => {
          event.preventDefault();
          if (!isBusy) void onApply(note);
        }}
      >
        <div class="field">
          <label for={id}>
            Note <span class="fine">optional</span>
          </label>
          <input
            id={id}
            value={note}
            maxLength={500}
            autocomplete="off"
            aria-describedby={`${id}-hint`}
            onInput={({ currentTarget }) => setNote(currentTarget.value)}
          />
          <p class="fine" id={`${id}-hint`}>
            Why, for whoever looks later.
          </p>
        </div>
        <div class="acts">
          <button type="submit" class="primary" aria-disabled={isBusy}>
            Apply
          </button>
        </div>
      </form>
    </Panel>
  );
}

/** Says what was applied. The button that did it is gone: the focus comes here. */
export function Applied({ applied }: { readonly applied: Written }) {
  const note = useRef<HTMLDivElement>(null);
  useEffect(() => note.current?.focus(), []);
  return (
    <div class="note" role="status" tabIndex={-1} ref={note}>
      <p>
        <strong>It is in force</strong> as <a href={hrefTo(["versions", String(applied.number)])}>version {applied.number}</a>. The text
        before stays beside the file, as FILE.before.
      </p>
      <Effect {...applied} />
    </div>
  );
}
