import type { Audit } from "../audit/audit.ts";
import type { Along } from "../config/live.ts";
import { type Environment, loadConfig, placed } from "../config/load.ts";
import type { Config } from "../config/schema.ts";
import { problem } from "../http/problem.ts";
import { invalid, notFound, Refused, refused } from "../http/refused.ts";
import type { Documents } from "../records/documents.ts";
import type { DocumentKind } from "../records/kinds.ts";
import { SecretFault } from "../records/sealing.ts";
import type { DocumentChange, StagedDocument } from "../records/staged.ts";
import { type Fault, wireFaults } from "../schema/faults.ts";
import { mayHoldSecrets } from "../schema/secrets.ts";
import { type FieldChange, fieldChanges } from "./document-diff.ts";
import { replaceFile } from "./file.ts";
import { maskedText, masksInText, unmaskedText } from "./file-text.ts";
import { type Journal, type KeptText, type Summary, summaryOf, type VersionSource } from "./journal.ts";
import { lineDiff } from "./line-diff.ts";
import { foreignFaults, processFaults } from "./process-settings.ts";
import { type DocumentTexts, stepsBetween } from "./state-at.ts";

/** Watches the configuration's file, and puts other texts in force. */
export interface LiveFile {
  readonly file: string | null;
  /** The text in force. */
  readonly text: string | null;
  onDisk(): string;
  replace(text: string, along: Along): Promise<readonly Fault[]>;
}

export interface VersionsDeps {
  readonly journal: Journal;
  readonly audit: Audit;
  readonly live: LiveFile;
  readonly env: Environment;
  readonly config: () => Config;
  readonly documents: Readonly<Record<DocumentKind, Documents<object>>>;
  /** Gives all that keeps documents from coming into force beside the configuration in force. `leaving`: users that are changed in the same step. */
  readonly faultsOf: (staged: readonly StagedDocument[], leaving?: ReadonlySet<string>) => readonly Fault[];
  /** Puts documents in force that were stored. */
  readonly enter: (staged: readonly StagedDocument[]) => void;
  /** Runs a change of what instances share while no other instance changes anything. Rejects with `RedisDown`. */
  readonly alone: <T>(work: () => Promise<T>) => Promise<T>;
}

/** Says what is to be changed in one step. */
export interface Step {
  readonly documents: readonly StagedDocument[];
  /** The file's text from then on; `null`: it stays. */
  readonly text: string | null;
  readonly action: string;
  readonly subject: string;
  readonly source?: VersionSource;
  readonly note: string | null;
  readonly restored?: number;
  /** Changes something more within the transaction, and checks it there. */
  readonly more?: () => void;
  /** Names what that changes, as in "consumer acme". */
  readonly leaving?: ReadonlySet<string>;
}

/** Says what a step has changed. `number`: its version, or the last one where it changed nothing that a version holds. */
export interface Done extends Summary {
  readonly number: number;
}

/** Says how a document differs between two states. */
export interface DocumentDiff {
  readonly kind: DocumentKind;
  readonly name: string;
  readonly change: "created" | "changed" | "deleted";
  readonly fields: readonly FieldChange[];
}

/** Tells and restores what the gateway's rules were. */
export class Versions {
  /** True while a text of the file came into force of which no version says it yet. */
  private isFileUntold = false;

  constructor(private readonly deps: VersionsDeps) {}

  get journal(): Journal {
    return this.deps.journal;
  }

  /** Writes the first version where there is none, and one where the file's text is another than versions say. Rejects with `RedisDown`. */
  async noteFile(): Promise<void> {
    this.isFileUntold = true;
    await this.deps.alone(async () => this.writeUntold());
  }

  /** Tries again what `noteFile` could not do. */
  async noteUntold(): Promise<void> {
    if (this.isFileUntold) await this.noteFile();
  }

  /** Gives the file's text as it was in a version, or is now, as others may see it; `null`: there is none, or nobody knows. */
  fileAt(number: number | null): string | null {
    const { journal, live } = this.deps;
    if (number === null) return live.text === null ? null : maskedText(live.text);
    const kept = journal.fileAt(number);
    return kept === null ? null : journal.shown(kept);
  }

  /** Throws 404 for a version that is not kept. */
  require(number: number) {
    const head = this.deps.journal.find(number);
    if (head === null) throw notFound("version", String(number));
    return head;
  }

  /** Gives the documents that differ between two versions, and the difference of the file's text; `to`: `null` for what is in force now. */
  diff(from: number, to: number | null): { documents: DocumentDiff[]; file: string } {
    return {
      documents: this.differences(this.deps.journal.textsAt(from), this.deps.journal.textsAt(to)),
      file: lineDiff(this.fileAt(from) ?? "", this.fileAt(to) ?? ""),
    };
  }

  /** Says how documents differ, field by field, as others may see them. */
  differences(before: DocumentTexts, after: DocumentTexts): DocumentDiff[] {
    return stepsBetween(before, after).map(({ kind, name, text }): DocumentDiff => {
      const was = before[kind].get(name) ?? null;
      const change = was === null ? "created" : text === null ? "deleted" : "changed";
      return { kind, name, change, fields: fieldChanges(this.seen(kind, was), this.seen(kind, text)) };
    });
  }

  /** Gives a stored document as others may see it; `null`: its secrets can't be opened any more. */
  shown(kind: DocumentKind, text: string): object | null {
    return this.seen(kind, text).shown as object | null;
  }

  /**
   * Makes the documents, and with `file` the configuration file, what they were in a version: all of it in one step, or nothing. `file`: `null` where
   * nobody has said what is to be done about it. Throws 404, 409 with the difference of the file where that is not said, and 422 with all faults.
   */
  async restore(number: number, note: string | null, file: boolean | null): Promise<Done & { readonly file: boolean }> {
    const { journal, live } = this.deps;
    this.require(number);
    const documents = this.stepsTo(this.deps.journal.textsAt(number));
    const kept = journal.fileAt(number);
    const isOther = kept !== null && live.text !== null && !journal.isSame(kept, live.text);
    if (isOther && file === null)
      throw new Refused(
        problem(
          "conflict",
          'The configuration file was another in this version: repeat with "file": true to write it as well, or with "file": false to leave it as it is.',
          { difference: lineDiff(maskedText(live.text ?? ""), journal.shown(kept) ?? "") },
        ),
      );
    const text = isOther && file === true ? this.wholeText(kept, number) : null;
    if (text !== null) this.requireEditable();
    const done = await this.make({
      ...{ documents, text, note, source: "restore", restored: number },
      ...{ action: "version.restore", subject: `version ${number}` },
    });
    return { ...done, file: text !== null };
  }

  /** Gives what makes these documents of those that are there. What was sealed under the secret before (SLUICE_SECRET_OLD) is sealed anew. */
  private stepsTo(wanted: DocumentTexts): StagedDocument[] {
    const now = this.deps.journal.texts();
    return stepsBetween(now, wanted).flatMap((step): StagedDocument[] => {
      const { kind, name, text } = step;
      const documents = this.deps.documents[kind];
      const before = now[kind].get(name);
      if (text === null || !mayHoldSecrets(documents.schema)) return [step];
      try {
        const document = documents.opened(text);
        const isSame = before !== undefined && Bun.deepEquals(documents.opened(before), document);
        return isSame ? [] : [{ kind, name, text: documents.closed(document) }];
      } catch (error) {
        // Whoever checks it says so.
        if (error instanceof SecretFault) return [step];
        throw error;
      }
    });
  }

  /** Gives the file's text as it is on the disk, with its secrets. Throws 409 where there is no file, or it can't be read. */
  fileText(): string {
    const { live } = this.deps;
    if (live.file === null) throw refused("conflict", "This is the embedded demo, which has no file: start with a config.json.");
    try {
      return live.onDisk();
    } catch (error) {
      throw refused("conflict", `${live.file} can't be read: ${error instanceof Error ? error.message : String(error)}.`);
    }
  }

  /** Gives the tag of the file's text, for `If-Match`. */
  tagOf(text: string): string {
    return new Bun.CryptoHasher("sha256").update(text).digest("hex").slice(0, 32);
  }

  /** Gives the file as others may see it, as it is on the disk. Throws 409. */
  fileNow(): {
    readonly file: string;
    readonly text: string;
    readonly tag: string;
    readonly isInForce: boolean;
    readonly isEditable: boolean;
  } {
    const { live, config } = this.deps;
    const text = this.fileText();
    const { editFile } = config().admin;
    return { file: live.file ?? "", text: maskedText(text), tag: this.tagOf(text), isInForce: text === live.text, isEditable: editFile };
  }

  /**
   * Writes the configuration file, and puts it in force; as a trial it only says what would become of it. Secrets that the text has masks for stay.
   * `check` may refuse the change of what is there. Throws 403, 409, and 422 with all faults.
   */
  async editFile(
    given: string,
    note: string | null,
    { isTrial, check }: { readonly isTrial: boolean; readonly check: (before: string) => void },
  ): Promise<Done & { readonly diff: string }> {
    const { live } = this.deps;
    this.requireEditable();
    return await this.deps.alone(async () => {
      const before = this.fileText();
      check(before);
      const text = this.editedText(given, before);
      const diff = lineDiff(maskedText(before), maskedText(text));
      const step = { documents: [], text, note, action: "config.write", subject: "config" };
      if (isTrial) {
        await this.putInForce(step, null);
        return { ...this.lastOne(), ...summaryOf([], text === live.text ? undefined : { before, after: text }), diff };
      }
      if (text === before && text === live.text) return { ...this.lastOne(), diff };
      return { ...(await this.make(step)), diff };
    });
  }

  /** Gives the text that somebody means to write, with the secrets that stay. Throws 422 for one that the API may not write. */
  private editedText(given: string, before: string): string {
    const { live, config, env } = this.deps;
    // Of a file that can't be read nothing can be put back: what is in force may have the same secrets.
    const text = unmaskedText(unmaskedText(given, before), live.text ?? before);
    const masks = masksInText(text).map((path) => ({
      path,
      message: "is what is shown in a secret's place: write ${NAME}, or the secret itself",
    }));
    if (masks.length > 0) throw unusable(placed(text, masks));
    const loaded = loadConfig(text, env, live.file);
    if ("faults" in loaded) throw unusable(loaded.faults);
    const trusted = [before, live.text ?? before].map((each) => {
      const known = loadConfig(each, env);
      return { text: each, config: "config" in known ? known.config : config() };
    });
    const foreign = foreignFaults(trusted, { config: loaded.config, text });
    if (foreign.length > 0) throw unusable(placed(text, foreign));
    return text;
  }

  /** Makes a change in one step: all of it or nothing. Throws 422 with all that is wrong. */
  async make(step: Step): Promise<Done> {
    const { audit, enter, faultsOf, live } = this.deps;
    const { documents, text } = step;
    const changes = this.changesOf(documents);
    if (changes.length === 0 && text === null && step.more === undefined) return this.lastOne();
    const file = text === null || text === live.text ? undefined : { before: live.text, after: text };
    const summary = summaryOf(changes, file);
    let number = 0;
    const isFresh = this.look(text !== null);
    const store = (): void => {
      const after = { ...summary, ...(step.note === null ? {} : { note: step.note }) };
      audit.together(() =>
        audit.change({ action: step.action, subject: step.subject, after }, () => {
          for (const { kind, name, text: next } of documents) this.deps.documents[kind].write(name, next);
          step.more?.();
          number = this.write(step, changes, file);
        }),
      );
    };
    if (text !== null) await this.putInForce({ ...step, text }, { isFresh, store });
    else {
      const faults = faultsOf(documents, step.leaving);
      if (faults.length > 0) throw invalid(faults);
      store();
      if (documents.length > 0) enter(documents);
    }
    return { number, ...summary };
  }

  /** Says what a change would be, without making it. Throws 422 with all that is wrong. */
  tried(documents: readonly StagedDocument[], leaving?: ReadonlySet<string>): Done {
    const faults = this.deps.faultsOf(documents, leaving);
    if (faults.length > 0) throw invalid(faults);
    return { ...this.lastOne(), ...summaryOf(this.changesOf(documents)) };
  }

  private lastOne(): Done {
    return { number: this.deps.journal.last()?.number ?? 0, created: [], changed: [], deleted: [] };
  }

  private changesOf(documents: readonly StagedDocument[]): DocumentChange[] {
    const now = this.deps.journal.texts();
    return documents
      .map(({ kind, name, text }) => ({ kind, name, before: now[kind].get(name) ?? null, after: text }))
      .filter(({ before, after }) => before !== after);
  }

  private write(step: Step, documents: readonly DocumentChange[], file: { before: string | null; after: string } | undefined): number {
    const { journal } = this.deps;
    if (documents.length === 0 && file === undefined) return journal.last()?.number ?? 0;
    const { note, source, restored } = step;
    return journal.write({
      ...{ documents, note },
      ...(file === undefined ? {} : { file }),
      ...(source === undefined ? {} : { source }),
      ...(restored === undefined ? {} : { restored }),
    });
  }

  /** Looks at what a change begins with. Gives what tells whether all of that is still so. `hasFile`: the file belongs to it. */
  private look(hasFile: boolean): () => boolean {
    const { journal, live } = this.deps;
    const onDisk = (): string | null => {
      try {
        return hasFile ? live.onDisk() : null;
      } catch {
        return null;
      }
    };
    const [number, text, disk] = [journal.last()?.number, live.text, onDisk()];
    return () => journal.last()?.number === number && live.text === text && onDisk() === disk;
  }

  /** Puts a text of the file in force with what belongs to it. `change`: `null` where all is only checked. Rejects with 409 where it is not fresh by then. */
  private async putInForce(
    { documents, text }: { documents: readonly StagedDocument[]; text: string },
    change: { readonly isFresh: () => boolean; readonly store: () => void } | null,
  ): Promise<void> {
    const { live, config } = this.deps;
    const commit = (): void => {
      if (change?.isFresh() === false) throw overtaken();
      const putBack = replaceFile(live.file ?? "", text);
      try {
        change?.store();
      } catch (error) {
        putBack();
        throw error;
      }
    };
    const faults = await live.replace(text, {
      documents,
      check: (next) => processFaults(config(), next),
      commit: change === null ? null : commit,
    });
    if (faults.length > 0) throw unusable(faults);
  }

  private writeUntold(): void {
    const { journal, live, audit } = this.deps;
    const { text } = live;
    audit.together(() => {
      const last = journal.last();
      if (last === null) {
        journal.begin();
        return;
      }
      const known = journal.fileAt(last.number);
      if (text === null || (known !== null && journal.isSame(known, text))) return;
      journal.write({ documents: [], file: { before: known === null ? null : journal.opened(known), after: text }, source: "file" });
    });
    this.isFileUntold = false;
  }

  private seen(kind: DocumentKind, text: string | null): { value: unknown; shown: unknown } {
    if (text === null) return { value: undefined, shown: undefined };
    const documents = this.deps.documents[kind];
    try {
      const value = documents.opened(text);
      return { value, shown: documents.shown(value) };
    } catch (error) {
      if (error instanceof SecretFault) return { value: text, shown: null };
      throw error;
    }
  }

  private wholeText(kept: KeptText, number: number): string {
    if (kept.isMasked)
      throw refused(
        "conflict",
        `The file of version ${number} had a secret in the clear, which was not kept, since SLUICE_SECRET was not set: write the file by hand, and repeat with "file": false.`,
      );
    const text = this.deps.journal.opened(kept);
    if (text === null)
      throw refused(
        "conflict",
        `The file of version ${number} was sealed under another SLUICE_SECRET: start with that one as SLUICE_SECRET_OLD.`,
      );
    return text;
  }

  private requireEditable(): void {
    if (!this.deps.config().admin.editFile)
      throw refused(
        "forbidden",
        'The configuration file is written by the API only where it says so itself: set "admin": { "editFile": true } in it.',
      );
  }
}

/** Refuses what was overtaken while it was made ready: plug-ins, certificates and workers take a while. */
const overtaken = (): Refused =>
  refused("conflict", "Something else was changed at the same moment, and nothing of this was: look at what there is now, and repeat it.");

/** Refuses a text of the file with all its faults, each with its line and column. */
function unusable(faults: readonly Fault[]): Refused {
  const errors = wireFaults(faults);
  const [first] = errors;
  const more = errors.length > 1 ? `, and ${errors.length - 1} more` : "";
  const place = first?.path === "" ? "" : `${first?.path}: `;
  return new Refused(
    problem("validationFailed", `Nothing was changed: line ${first?.line}, column ${first?.column}: ${place}${first?.message}${more}.`, {
      errors,
    }),
  );
}
