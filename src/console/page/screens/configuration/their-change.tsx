import { lineDiff } from "../../../../versions/line-diff.ts";
import { Difference, linesOfDiff } from "../../parts/difference.tsx";

export interface TheirChangeProps {
  readonly before: string;
  readonly theirs: string;
  readonly onTake: () => void;
  readonly onKeep: () => void;
}

/** Tells that somebody else has changed the file meanwhile, shows what, and lets the reader choose. */
export const TheirChange = ({ before, theirs, onTake, onKeep }: TheirChangeProps) => (
  <section class="note warn" role="alert" aria-label="Somebody else changed the file">
    <p>
      <strong>Somebody else changed the file since you read it.</strong> Yours was not applied. This is what they changed:
    </p>
    <Difference label="What somebody else changed" lines={linesOfDiff(lineDiff(before, theirs))} />
    <div class="acts">
      <button type="button" onClick={onTake}>
        Take theirs, and lose mine
      </button>
      <button type="button" class="danger" onClick={onKeep}>
        Compare mine with theirs, to overwrite it
      </button>
    </div>
  </section>
);
