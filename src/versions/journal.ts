import type { Audit } from "../audit/audit.ts";
import { DOCUMENT_KINDS, type DocumentKind } from "../records/kinds.ts";
import { SecretFault, type Secrets } from "../records/sealing.ts";
import { type DocumentChange, subjectOf, type WriteDown } from "../records/staged.ts";
import type { Storage } from "../storage/open.ts";
import type { Clock } from "../values/clock.ts";
import { maskedText } from "./file-text.ts";
import { type DocumentTexts, noTexts, undone } from "./state-at.ts";

/** The versions that are kept, and the most bytes of them: then the oldest go before their time. */
const KEPT_VERSIONS = 100;
const MAX_BYTES = 64 * 1024 * 1024;
/** The name of the configuration file among what a version changed. */
const FILE_SUBJECT = "file";

export type VersionSource = "api" | "file" | "console" | "restore";

/** Names what a version created, changed and deleted, as in "route users". */
export interface Summary {
  readonly created: readonly string[];
  readonly changed: readonly string[];
  readonly deleted: readonly string[];
}

/** Holds what a version is, without what it changed. */
export interface VersionHead extends Summary {
  readonly number: number;
  /** Milliseconds since 1970. */
  readonly at: number;
  readonly actor: string;
  readonly source: VersionSource;
  readonly note: string | null;
  /** The version that it restored. */
  readonly restored: number | null;
}

/** Holds a text of the file as it is kept. */
export interface KeptText {
  /** The text; sealed where it holds a secret. */
  readonly text: string;
  /** True where a secret that stood in it could not be kept: `text` has masks in their place. */
  readonly isMasked: boolean;
}

/** Says what a version is to be. */
export interface NewVersion {
  readonly documents: readonly DocumentChange[];
  /** The file's text from here on; left out: it did not change. */
  readonly file?: { readonly before: string | null; readonly after: string };
  /** Left out: the API, or the console. */
  readonly source?: VersionSource;
  readonly note?: string | null;
  readonly restored?: number;
}

interface Row {
  readonly number: number;
  readonly at: number;
  readonly actor: string;
  readonly source: VersionSource;
  readonly note: string | null;
  readonly summary: string;
  readonly restored: number | null;
}

const HEAD = "number, at, actor, source, note, summary, restored";

export interface JournalDeps {
  readonly storage: Storage;
  readonly clock: Clock;
  readonly audit: Audit;
  readonly secrets: Secrets;
  /** Gives the text of the file that is in force; `null`: there is no file. */
  readonly fileText: () => string | null;
}

/**
 * Keeps the last versions: what each has changed, by whom, when and why. A version is written in the transaction of its change, and numbered there:
 * whoever changes shared records holds the write lock, so that instances agree on numbers.
 */
export class Journal {
  constructor(private readonly deps: JournalDeps) {}

  /** Writes down changes of documents within the transaction that makes them. */
  readonly writeDown: WriteDown = (documents) => void this.write({ documents });

  /** Writes down a version within the caller's transaction, after its change, and gives its number. Before the first one goes what was there before it. */
  write(version: NewVersion): number {
    if (this.last() === null) this.writeFirst(undone(this.texts(), version.documents), version.file?.before);
    return this.append(version);
  }

  /** Writes the first version within the caller's transaction: what is there when versions begin. */
  begin(): void {
    this.writeFirst(this.texts());
  }

  /** Gives the texts of all documents that the API made, as they are stored now. */
  texts(): DocumentTexts {
    const texts = noTexts();
    const rows = this.deps.storage.client
      .query<{ kind: DocumentKind; name: string; document: string }, []>("SELECT kind, name, document FROM documents ORDER BY kind, name")
      .all();
    // A later version of Sluice may have kinds that this one does not know.
    for (const { kind, name, document } of rows) texts[kind]?.set(name, document);
    return texts;
  }

  /** Gives the texts of all documents as they were in a version; `null`: as they are now. */
  textsAt(number: number | null): DocumentTexts {
    return number === null ? this.texts() : undone(this.texts(), this.changesSince(number));
  }

  private writeFirst(texts: DocumentTexts, file: string | null = this.deps.fileText()): void {
    const documents = DOCUMENT_KINDS.flatMap((kind) => [...texts[kind]].map(([name, after]) => ({ kind, name, before: null, after })));
    this.append({
      ...{ documents, source: "file", note: "What was there when versions began." },
      ...(file === null ? {} : { file: { before: null, after: file } }),
    });
  }

  private append({ documents, file, source, note, restored }: NewVersion): number {
    const { storage, clock, audit } = this.deps;
    const number = (this.last()?.number ?? 0) + 1;
    const { actor } = audit;
    const given = note ?? actor.note ?? null;
    const before = file === undefined || file.before === null ? null : JSON.stringify(this.kept(file.before));
    storage.client
      .query(
        `INSERT INTO versions (slot, number, at, actor, source, note, summary, documents, file_before, file_after, restored, version)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?2) ON CONFLICT (slot) DO UPDATE SET
         number = excluded.number, at = excluded.at, actor = excluded.actor, source = excluded.source, note = excluded.note, summary = excluded.summary,
         documents = excluded.documents, file_before = excluded.file_before, file_after = excluded.file_after, restored = excluded.restored, version = excluded.version`,
      )
      .run(
        String(number % KEPT_VERSIONS),
        number,
        clock.wall(),
        actor.name,
        source ?? (actor.isInConsole === true ? "console" : "api"),
        given === "" ? null : given,
        JSON.stringify(summaryOf(documents, file)),
        JSON.stringify(documents),
        before,
        file === undefined ? null : JSON.stringify(this.kept(file.after)),
        restored ?? null,
      );
    this.bound();
    return number;
  }

  /** Gives the last version; `null`: there is none. */
  last(): VersionHead | null {
    const row = this.deps.storage.client.query<Row, []>(`SELECT ${HEAD} FROM versions ORDER BY number DESC LIMIT 1`).get();
    return row === null ? null : headOf(row);
  }

  /** Gives up to `limit` + 1 versions before a number, the newest first. */
  page(before: number, limit: number): VersionHead[] {
    return this.deps.storage.client
      .query<Row, [number, number]>(`SELECT ${HEAD} FROM versions WHERE number < ?1 ORDER BY number DESC LIMIT ?2`)
      .all(before, limit + 1)
      .map(headOf);
  }

  find(number: number): VersionHead | null {
    const row = this.deps.storage.client.query<Row, [number]>(`SELECT ${HEAD} FROM versions WHERE number = ?1`).get(number);
    return row === null ? null : headOf(row);
  }

  private changesSince(number: number): DocumentChange[] {
    return this.deps.storage.client
      .query<{ documents: string }, [number]>("SELECT documents FROM versions WHERE number > ?1 ORDER BY number")
      .all(number)
      .flatMap(({ documents }) => JSON.parse(documents) as DocumentChange[]);
  }

  /** Gives the file's text as it was in a version, from whichever of the versions that are kept says it; `null`: none does. */
  fileAt(number: number): KeptText | null {
    const { client } = this.deps.storage;
    const then = client
      .query<{ text: string }, [number]>(
        "SELECT file_after AS text FROM versions WHERE number <= ?1 AND file_after IS NOT NULL ORDER BY number DESC LIMIT 1",
      )
      .get(number);
    const later = (): { text: string | null } | null =>
      client
        .query<{ text: string | null }, [number]>(
          "SELECT file_before AS text FROM versions WHERE number > ?1 AND file_after IS NOT NULL ORDER BY number LIMIT 1",
        )
        .get(number);
    const text = then?.text ?? later()?.text ?? null;
    return text === null ? null : (JSON.parse(text) as KeptText);
  }

  /** Gives the text that was kept of a file, with its secrets unless it has masks in their place; `null`: it can't be opened any more. */
  opened({ text }: KeptText): string | null {
    try {
      return this.deps.secrets.openIfSealed(text);
    } catch (error) {
      if (error instanceof SecretFault) return null;
      throw error;
    }
  }

  /** Gives a kept text as others may see it; `null`: it can't be opened any more. */
  shown(kept: KeptText): string | null {
    const text = this.opened(kept);
    return text === null ? null : maskedText(text);
  }

  /** Tells whether a kept text is this one. */
  isSame(kept: KeptText, text: string): boolean {
    return kept.isMasked ? kept.text === maskedText(text) : this.opened(kept) === text;
  }

  /** Gives a text of the file as the database may hold it: one with a secret is sealed, or where it can't be, the secret is left out. */
  private kept(text: string): KeptText {
    const shown = maskedText(text);
    const { secrets } = this.deps;
    if (shown === text) return { text, isMasked: false };
    return secrets.canSeal ? { text: secrets.seal(text), isMasked: false } : { text: shown, isMasked: true };
  }

  /** Drops the oldest versions beyond the most bytes; the newest stays, however large it is. */
  private bound(): void {
    const { client } = this.deps.storage;
    const sizes = client
      .query<{ number: number; bytes: number }, []>(
        // Unlike length(), which reads each text: this is asked with every change.
        "SELECT number, octet_length(documents) + coalesce(octet_length(file_before), 0) + coalesce(octet_length(file_after), 0) AS bytes FROM versions ORDER BY number DESC",
      )
      .all();
    let sum = 0;
    for (const [i, { number, bytes }] of sizes.entries()) {
      sum += bytes;
      if (i > 0 && sum > MAX_BYTES) {
        client.query("DELETE FROM versions WHERE number <= ?1").run(number);
        return;
      }
    }
  }
}

function headOf({ number, at, actor, source, note, summary, restored }: Row): VersionHead {
  return { number, at, actor, source, note, restored, ...(JSON.parse(summary) as Summary) };
}

/** Names what changes of documents and of the file have created, changed and deleted. */
export function summaryOf(documents: readonly DocumentChange[], file?: NewVersion["file"]): Summary {
  const named = (isMeant: (change: DocumentChange) => boolean): string[] => documents.filter(isMeant).map(subjectOf);
  const ofFile = file === undefined ? [] : [FILE_SUBJECT];
  return {
    created: [...named(({ before }) => before === null), ...(file?.before === null ? ofFile : [])],
    changed: [...named(({ before, after }) => before !== null && after !== null), ...(file?.before === null ? [] : ofFile)],
    deleted: named(({ after }) => after === null),
  };
}
