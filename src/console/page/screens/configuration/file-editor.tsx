import { useLive } from "../../live.ts";
import { ErrorNote } from "../../parts/error-note.tsx";
import { Editing } from "./editing.tsx";
import { readFile } from "./file.ts";
import type { Configuration } from "./index.tsx";

export interface FileEditorProps {
  readonly configuration: Configuration;
  readonly onWritten: () => void;
}

/** Shows the file's text, as it is on the disk. */
export function FileEditor(props: FileEditorProps) {
  const { value, error, refresh } = useLive("config/file", readFile, 0);
  if (value !== null) return <Editing file={value} {...props} />;
  return error === null ? <p class="fine">Loading…</p> : <ErrorNote problem={error} onRetry={refresh} />;
}
