import { useState } from "preact/hooks";
import { Problem, part, send } from "../../api.ts";
import { Dialog } from "../../parts/dialog.tsx";
import { Difference, linesOfDiff } from "../../parts/difference.tsx";
import type { EffectProps } from "../../parts/effect.tsx";
import { Form, TextField } from "../../parts/form.tsx";

/** What a restore came to. */
export interface Restored extends EffectProps {
  readonly number: number;
  readonly file: boolean;
}

export interface RestoreProps {
  readonly number: number;
  readonly onClose: () => void;
  readonly onRestored: (done: Restored) => void;
}

/** Asks whether a version is to be restored, why, and, where the configuration file was another, what becomes of that. */
export function Restore({ number, onClose, onRestored }: RestoreProps) {
  const [note, setNote] = useState("");
  const [difference, setDifference] = useState<string | null>(null);
  const [file, setFile] = useState(false);
  const restore = async (): Promise<void> => {
    const body = { ...(note.trim() === "" ? {} : { note: note.trim() }), ...(difference === null ? {} : { file }) };
    try {
      onRestored((await send<Restored>("POST", `versions/${part(String(number))}/restore`, { body })).value);
    } catch (error) {
      if (!(error instanceof Problem) || typeof error.members.difference !== "string") throw error;
      setDifference(error.members.difference);
    }
  };
  return (
    <Dialog title={`Restore version ${number}?`} onClose={onClose}>
      <Form submit="Restore" needs="admin" onSubmit={restore} onCancel={onClose}>
        <p>
          Tiers, routes, upstreams, pools, issuers and webhooks that the API or this console made become what they were then, in one step.
          That is a new version, so that you can go back. Consumers, keys, tokens and blocks stay.
        </p>
        {difference !== null && <FileToo number={number} difference={difference} file={file} onFile={setFile} />}
        <TextField name="note" label="Note" hint="Why, for whoever looks later." value={note} onValue={setNote} />
      </Form>
    </Dialog>
  );
}

interface FileTooProps {
  readonly number: number;
  readonly difference: string;
  readonly file: boolean;
  readonly onFile: (file: boolean) => void;
}

/** Shows how the configuration file was another, and asks whether it is to be written as well. */
const FileToo = ({ number, difference, file, onFile }: FileTooProps) => (
  <div class="note warn" role="alert">
    <p>
      <strong>The configuration file was another in version {number}.</strong> Say what is to become of it, then restore.
    </p>
    <Difference label="What restoring would change in the file" lines={linesOfDiff(difference)} />
    <fieldset class="options">
      <legend class="hidden">The configuration file</legend>
      <label>
        <input type="radio" name="file" checked={!file} onChange={() => onFile(false)} /> Leave the file as it is
      </label>
      <label>
        <input type="radio" name="file" checked={file} onChange={() => onFile(true)} /> Write the file as well
      </label>
    </fieldset>
  </div>
);
