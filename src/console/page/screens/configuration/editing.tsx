import { useEffect, useId, useRef } from "preact/hooks";
import { ErrorNote } from "../../parts/error-note.tsx";
import { whyNot } from "../../session.ts";
import { Editor, type EditorHandle } from "./editor.tsx";
import { Faults } from "./faults.tsx";
import type { ConfigFile } from "./file.ts";
import type { FileEditorProps } from "./file-editor.tsx";
import { Applied, Preview } from "./preview.tsx";
import { TheirChange } from "./their-change.tsx";
import { useDraft } from "./use-draft.ts";

export interface EditingProps extends FileEditorProps {
  readonly file: ConfigFile;
}

/** Lets an admin change the file's text: check it, see what would change, apply it. Others see why they can't. */
export function Editing({ file, configuration, onWritten }: EditingProps) {
  const draft = useDraft(file, onWritten);
  const { base, text, isChanged, isBusy, trial, problem, theirs, applied } = draft;
  const editor = useRef<EditorHandle>(null);
  const id = useId();
  const why = whyNot("admin");
  const isReadOnly = why !== null || !base.isEditable;
  // What somebody writes on the disk is shown, unless it would take away what was typed here.
  const onDisk = `${configuration.loadedAt} ${JSON.stringify(configuration.faults)}`;
  const seen = useRef(onDisk);
  useEffect(() => {
    if (seen.current === onDisk) return;
    seen.current = onDisk;
    if (!isChanged && applied === null) void draft.reread();
  }, [onDisk, isChanged]);
  const faults = draft.faults ?? (isChanged ? [] : configuration.faults);
  return (
    <div class="editing">
      {isReadOnly && <ReadOnly why={why} />}
      {draft.base.isInForce === false && !isChanged && faults.length > 0 && (
        <p class="note bad">The file as it stands here is not in force: it has faults. What was good before stays in force.</p>
      )}
      <Editor
        label="The configuration file"
        text={text}
        onText={draft.edit}
        isReadOnly={isReadOnly}
        faults={faults}
        describedBy={faults.length > 0 ? `${id}-faults` : undefined}
        handle={editor}
      />
      <Faults id={`${id}-faults`} faults={faults} onGo={({ line, column }) => editor.current?.goTo(line, column)} />
      {problem !== null && <ErrorNote problem={problem} />}
      {theirs !== null && (
        <TheirChange before={base.text} theirs={theirs.text} onTake={() => draft.takeTheirs()} onKeep={() => void draft.keepMine()} />
      )}
      {!isReadOnly && (
        <div class="acts">
          <button
            type="button"
            class={trial === null ? "primary" : ""}
            aria-disabled={isBusy}
            onClick={() => void (isBusy || draft.check())}
          >
            Check
          </button>
          {isChanged && (
            <button type="button" onClick={() => void draft.reread()}>
              Discard my changes
            </button>
          )}
        </div>
      )}
      {trial !== null && <Preview trial={trial} isBusy={isBusy} onApply={draft.apply} />}
      {applied !== null && <Applied applied={applied} />}
    </div>
  );
}

/** Says why the text can't be changed here; `why`: what the role lacks. */
const ReadOnly = ({ why }: { readonly why: string | null }) => (
  <p class="note">
    {why === null ? (
      <span>
        You can read the file here, but not change it. To allow it, write <code>{'"admin": { "editFile": true }'}</code> into the file on
        its machine.
      </span>
    ) : (
      <span>You can read the file here, but not change it. {why}</span>
    )}
  </p>
);
