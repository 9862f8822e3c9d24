import { useId } from "preact/hooks";
import { get, part } from "../../api.ts";
import { dateTime } from "../../format.ts";
import { useLive } from "../../live.ts";
import { Badge } from "../../parts/badge.tsx";
import { Difference, type DifferenceLine, linesOfDiff } from "../../parts/difference.tsx";
import { ErrorNote } from "../../parts/error-note.tsx";
import { type Option, Options } from "../../parts/options.tsx";
import { Panel } from "../../parts/screen.tsx";
import { setQuery } from "../../router.ts";
import type { Version, VersionDifference } from "./version.ts";

/** Names what is in force now, beside the numbers of versions. */
const NOW = "now";

export interface ComparedProps {
  readonly number: number;
  /** The newest first, and at least one. */
  readonly versions: readonly Version[];
  readonly against: string | null;
}

/** Shows how a version differs from what is in force now, or from another version: always from the older to the newer. */
export function Compared({ number, versions, against }: ComparedProps) {
  const id = useId();
  const others = versions.filter((version) => version.number !== number);
  // Of the newest there is nothing else to be seen than what it changed.
  const isNewest = versions[0]?.number === number;
  const before = others.find((version) => version.number < number)?.number;
  const other = against ?? (isNewest && before !== undefined ? String(before) : NOW);
  const isLater = other === NOW || Number(other) > number;
  const [from, to] = isLater ? [String(number), other] : [other, String(number)];
  const { value, error, refresh } = useLive(
    `versions/${from}/diff/${to}`,
    (signal) => get<VersionDifference>(`versions/${part(from)}/diff`, { to: to === NOW ? null : to }, signal),
    0,
  );
  return (
    <Panel
      title={to === NOW ? `From version ${from} to now` : `From version ${from} to version ${to}`}
      acts={
        <div class="inline">
          <label for={id}>Compare with</label>
          <select id={id} value={other} onChange={({ currentTarget }) => setQuery({ with: currentTarget.value })}>
            <Options
              of={[
                [NOW, "what is in force now"],
                ...others.map(
                  ({ number: each, at }): Option => [
                    String(each),
                    `version ${each}${each === before ? ", the one before" : ""}, ${dateTime(at)}`,
                  ],
                ),
              ]}
            />
          </select>
        </div>
      }
    >
      {error !== null && <ErrorNote problem={error} onRetry={refresh} />}
      {value === null ? error === null && <p class="fine">Loading…</p> : <WhatDiffers difference={value} />}
    </Panel>
  );
}

const TONES = { created: "good", changed: "accent", deleted: "bad" } as const;

const WhatDiffers = ({ difference: { documents, file } }: { readonly difference: VersionDifference }) => (
  <div class="differences" role="status">
    {documents.length === 0 && file === "" && <p class="fine">Nothing differs.</p>}
    {documents.map(({ kind, name, change, fields }) => (
      <section key={`${kind} ${name}`}>
        <h3>
          {kind} {name} <Badge tone={TONES[change]}>{change}</Badge>
        </h3>
        <Difference label={`What differs of ${kind} ${name}`} lines={fields.flatMap(linesOfField)} />
      </section>
    ))}
    {file !== "" && (
      <section>
        <h3>
          configuration file <Badge tone="accent">changed</Badge>
        </h3>
        <Difference label="What differs of the configuration file" lines={linesOfDiff(file)} />
      </section>
    )}
  </div>
);

function linesOfField({ path, before, after }: VersionDifference["documents"][number]["fields"][number]): DifferenceLine[] {
  const lines = (sign: "-" | "+", value: unknown): DifferenceLine[] =>
    value === null || value === undefined
      ? []
      : JSON.stringify(value, null, 2)
          .split("\n")
          .map((text) => ({ sign, text }));
  return [...(path === "" ? [] : [{ sign: "@", text: path } as const]), ...lines("-", before), ...lines("+", after)];
}
