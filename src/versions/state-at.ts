import { DOCUMENT_KINDS, type DocumentKind } from "../records/kinds.ts";
import type { DocumentChange, StagedDocument } from "../records/staged.ts";

/** Holds the texts of all documents that the API made, by kind and name. */
export type DocumentTexts = Readonly<Record<DocumentKind, ReadonlyMap<string, string>>>;

/** Makes an empty place for each kind. A cast, since `Object.fromEntries` forgets what the keys are. */
export const noTexts = (): Record<DocumentKind, Map<string, string>> =>
  Object.fromEntries(DOCUMENT_KINDS.map((kind) => [kind, new Map<string, string>()])) as Record<DocumentKind, Map<string, string>>;

/** Gives what documents were before these changes, which are the last ones and stand oldest first. */
export function undone(now: DocumentTexts, changes: readonly DocumentChange[]): DocumentTexts {
  const then = noTexts();
  for (const kind of DOCUMENT_KINDS) for (const [name, text] of now[kind]) then[kind].set(name, text);
  for (const { kind, name, before } of changes.toReversed()) {
    if (before === null) then[kind].delete(name);
    else then[kind].set(name, before);
  }
  return then;
}

/** Gives what makes `wanted` of what is there, deletions among it. */
export function stepsBetween(now: DocumentTexts, wanted: DocumentTexts): StagedDocument[] {
  return DOCUMENT_KINDS.flatMap((kind): StagedDocument[] => {
    const names = [...new Set([...now[kind].keys(), ...wanted[kind].keys()])].sort();
    return names
      .filter((name) => now[kind].get(name) !== wanted[kind].get(name))
      .map((name) => ({ kind, name, text: wanted[kind].get(name) ?? null }));
  });
}
