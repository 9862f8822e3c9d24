import { Badge, type Tone } from "./badge.tsx";

/** What a change created, changed and deleted: `route users`, or `file`. */
export interface EffectProps {
  readonly created: readonly string[];
  readonly changed: readonly string[];
  readonly deleted: readonly string[];
}

/** The most names of one kind that are shown at once. */
const MOST = 12;

/** Shows what a change has done, or would do, a line for each kind of effect. */
export const Effect = ({ created, changed, deleted }: EffectProps) =>
  created.length + changed.length + deleted.length === 0 ? (
    <span class="fine">nothing</span>
  ) : (
    <ul class="effect">
      <Names tone="good" word="created" names={created} />
      <Names tone="accent" word="changed" names={changed} />
      <Names tone="bad" word="deleted" names={deleted} />
    </ul>
  );

const Names = ({ tone, word, names }: { readonly tone: Tone; readonly word: string; readonly names: readonly string[] }) =>
  names.length === 0 ? null : (
    <li>
      <Badge tone={tone}>{word}</Badge>{" "}
      {names
        .slice(0, MOST)
        .map((name) => (name === "file" ? "configuration file" : name))
        .join(", ")}
      {names.length > MOST && ` and ${names.length - MOST} more`}
    </li>
  );
