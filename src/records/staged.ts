import type { DocumentKind } from "./kinds.ts";

/** Names a document, with the JSON text that is to be stored for it: secrets are sealed in it. */
export interface StagedDocument {
  readonly kind: DocumentKind;
  readonly name: string;
  /** `null`: it is to be deleted. */
  readonly text: string | null;
}

/** Says what a document was and is, as it is stored: secrets are sealed in it. */
export interface DocumentChange {
  readonly kind: DocumentKind;
  readonly name: string;
  /** `null`: there was none. */
  readonly before: string | null;
  /** `null`: it was deleted. */
  readonly after: string | null;
}

/** Writes down changes of documents, within the transaction that makes them. */
export type WriteDown = (changes: readonly DocumentChange[]) => void;

/** Names a document as people read it: "route users". */
export const subjectOf = ({ kind, name }: Pick<StagedDocument, "kind" | "name">): string => `${kind} ${name}`;
