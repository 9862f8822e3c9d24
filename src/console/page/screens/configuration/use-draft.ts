import { useEffect, useState } from "preact/hooks";
import { Problem, problemOf } from "../../api.ts";
import { type ConfigFile, draftNow, faultsOf, isConflict, keepDraft, type PlacedFault, readFile, type Written, writeFile } from "./file.ts";

/** What became of a text: it was checked, is refused, was applied, or stands against what somebody else wrote. */
interface Outcome {
  /** What applying would change; `null`: it was not checked as it is now. */
  readonly trial: Written | null;
  /** Of the last check; `null`: there was none. */
  readonly faults: readonly PlacedFault[] | null;
  readonly problem: Problem | null;
  /** The file as somebody else has changed it meanwhile. */
  readonly theirs: ConfigFile | null;
  readonly applied: Written | null;
}

const NOTHING: Outcome = { trial: null, faults: null, problem: null, theirs: null, applied: null };

/** Holds a text that may become the file's: checked first, then applied, unless somebody else has changed the file. */
export function useDraft(file: ConfigFile, onWritten: () => void) {
  const [{ base, text }, setEdited] = useState(() => {
    const draft = draftNow();
    return draft === null ? { base: file, text: file.text } : { base: draft.base, text: draft.text };
  });
  const [outcome, setOutcome] = useState<Outcome>(NOTHING);
  const [isBusy, setBusy] = useState(false);
  const isChanged = text !== base.text;
  useEffect(() => keepDraft(base, text), [base, text]);
  useEffect(() => {
    if (!isChanged) return;
    const onLeave = (event: BeforeUnloadEvent): void => event.preventDefault();
    addEventListener("beforeunload", onLeave);
    return () => removeEventListener("beforeunload", onLeave);
  }, [isChanged]);

  const begin = (next: ConfigFile): void => {
    setEdited({ base: next, text: next.text });
    setOutcome(NOTHING);
  };
  const attempt = async (work: () => Promise<void>): Promise<void> => {
    setBusy(true);
    try {
      await work();
    } catch (error) {
      const theirs = isConflict(error) ? await readFile().catch(problemOf) : problemOf(error);
      setOutcome(theirs instanceof Problem ? refusedBy(theirs) : { ...NOTHING, theirs });
    } finally {
      setBusy(false);
    }
  };
  const check = (against: ConfigFile = base): Promise<void> =>
    attempt(async () => {
      setEdited({ base: against, text });
      setOutcome({ ...NOTHING, faults: [], trial: await writeFile(against, text, { isTrial: true, note: "" }) });
    });
  return {
    ...{ base, text, isChanged, isBusy, ...outcome },
    edit: (next: string): void => {
      setEdited({ base, text: next });
      setOutcome((before) => ({ ...before, trial: null, applied: null }));
    },
    check: () => check(),
    apply: (note: string) =>
      attempt(async () => {
        const applied = await writeFile(base, text, { isTrial: false, note });
        begin(await readFile());
        setOutcome({ ...NOTHING, applied });
        onWritten();
      }),
    /** Takes the file as it is now, and forgets what was typed. */
    reread: () => attempt(async () => begin(await readFile())),
    takeTheirs: () => outcome.theirs !== null && begin(outcome.theirs),
    /** Compares what was typed with what somebody else wrote: applying it then overwrites that. */
    keepMine: async () => {
      if (outcome.theirs !== null) await check(outcome.theirs);
    },
  };
}

const refusedBy = (problem: Problem): Outcome => {
  const faults = faultsOf(problem);
  return faults.length > 0 ? { ...NOTHING, faults } : { ...NOTHING, problem };
};
