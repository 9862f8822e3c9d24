import { signal } from "@preact/signals";
import { Problem, read, send } from "../../api.ts";
import type { EffectProps } from "../../parts/effect.tsx";
import { me } from "../../session.ts";

/** `GET /admin/config/file`, with its ETag. */
export interface ConfigFile {
  readonly file: string;
  readonly text: string;
  readonly isInForce: boolean;
  readonly isEditable: boolean;
  readonly etag: string | null;
}

/** What `PUT /admin/config/file` answers, as a trial or for good. */
export interface Written extends EffectProps {
  readonly number: number;
  /** A unified diff. */
  readonly diff: string;
}

/** What is wrong with the file's text, and where: both from 1. */
export interface PlacedFault {
  readonly path: string;
  readonly message: string;
  readonly line: number;
  readonly column: number;
}

/** What somebody has typed, and the text that it began with. */
export interface Draft {
  readonly by: string;
  readonly base: ConfigFile;
  readonly text: string;
}

/** What was typed and is not in force: it stays while other screens are looked at, until the page is closed. */
const kept = signal<Draft | null>(null);

/** Gives what who is signed in has typed; `null`: nothing. Never what somebody else has. */
export const draftNow = (): Draft | null => (kept.value?.by === me.value?.name ? kept.value : null);

/** Keeps what was typed; a text that is as the file's is not kept. */
export function keepDraft(base: ConfigFile, text: string): void {
  kept.value = text === base.text ? null : { by: me.peek()?.name ?? "", base, text };
}

/** Reads the file. Rejects with a `Problem`. */
export async function readFile(): Promise<ConfigFile> {
  const { value, etag } = await read<Omit<ConfigFile, "etag">>("config/file");
  return { ...value, etag };
}

/** Writes the file, unless somebody has changed it since it was `base`; as a trial it only tells what would come of it. Rejects with a `Problem`. */
export async function writeFile(base: ConfigFile, text: string, { isTrial, note }: { isTrial: boolean; note: string }): Promise<Written> {
  const body = { text, ...(note.trim() === "" ? {} : { note: note.trim() }) };
  return (await send<Written>("PUT", "config/file", { body, etag: base.etag, query: { dryRun: isTrial ? true : null } })).value;
}

/** Gives the faults of a refused text; none for any other problem. */
export function faultsOf(problem: Problem): readonly PlacedFault[] {
  const { errors } = problem.members;
  return problem.status === 422 && Array.isArray(errors) ? errors.map(placedFault) : [];
}

function placedFault(each: unknown): PlacedFault {
  // What the gateway sends, or nothing that can be read: then it stands at the beginning.
  const { path, message, line, column } = (each ?? {}) as { path?: unknown; message?: unknown; line?: unknown; column?: unknown };
  const numberOr1 = (value: unknown): number => (typeof value === "number" ? value : 1);
  return {
    path: typeof path === "string" ? path : "",
    message: typeof message === "string" ? message : JSON.stringify(each),
    ...{ line: numberOr1(line), column: numberOr1(column) },
  };
}

/** Tells whether a problem says that the file is another than the one that was read. */
export const isConflict = (error: unknown): boolean => error instanceof Problem && error.status === 412;
