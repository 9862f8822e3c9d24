import { useState } from "preact/hooks";
import { get, part } from "../../api.ts";
import { ago, dateTime } from "../../format.ts";
import { useLive } from "../../live.ts";
import { Act } from "../../parts/act.tsx";
import { Badge } from "../../parts/badge.tsx";
import { Effect } from "../../parts/effect.tsx";
import { ErrorNote } from "../../parts/error-note.tsx";
import { KeyValue } from "../../parts/key-value.tsx";
import { Panel, ScreenFrame } from "../../parts/screen.tsx";
import { hrefTo } from "../../router.ts";
import { Compared } from "./compared.tsx";
import { Restore, type Restored } from "./restore.tsx";
import { sourceOf, type Version } from "./version.ts";

export interface OneVersionProps {
  readonly number: string;
  /** Those that are kept, the newest first; empty while they are not known. */
  readonly versions: readonly Version[];
  /** What it is compared with, as the address says it. */
  readonly against: string | null;
  readonly onRestored: () => void;
}

/** Shows one version: who made it and why, how it differs from another one, and the way back to it. */
export function OneVersion({ number, versions, against, onRestored }: OneVersionProps) {
  const { value, error, refresh } = useLive(`versions/${number}`, () => get<Version>(`versions/${part(number)}`), 0);
  const [isAsking, setAsking] = useState(false);
  const [restored, setRestored] = useState<Restored | null>(null);
  const newest = versions[0]?.number;
  return (
    <ScreenFrame
      title={`Version ${number}`}
      intro={<a href={hrefTo(["versions"])}>← Versions</a>}
      acts={
        value === null ? null : value.number === newest ? (
          <Badge tone="good">in force</Badge>
        ) : (
          <Act label="Restore this version" needs="admin" act={async () => setAsking(true)} />
        )
      }
    >
      {error !== null && <ErrorNote problem={error} onRetry={refresh} />}
      {restored !== null && <WhatCameOfIt number={number} restored={restored} />}
      {value !== null && (
        <>
          <Panel title="What it did">
            <KeyValue
              of={[
                ["When", <time dateTime={value.at}>{`${dateTime(value.at)}, ${ago(value.at)}`}</time>],
                ["Who", value.actor],
                ["By", sourceOf(value)],
                ["Note", value.note ?? <span class="fine">none</span>],
                ["Effect", <Effect {...value} />],
              ]}
            />
          </Panel>
          {newest !== undefined && <Compared number={value.number} versions={versions} against={against} key={newest} />}
        </>
      )}
      {isAsking && value !== null && (
        <Restore
          number={value.number}
          onClose={() => setAsking(false)}
          onRestored={(done) => {
            setAsking(false);
            setRestored(done);
            onRestored();
          }}
        />
      )}
    </ScreenFrame>
  );
}

/** Says what a restore has changed. */
const WhatCameOfIt = ({ number, restored }: { readonly number: string; readonly restored: Restored }) =>
  restored.created.length + restored.changed.length + restored.deleted.length === 0 ? (
    <p class="note" role="status">
      Nothing differed from version {number}: nothing was changed.
    </p>
  ) : (
    <div class="note" role="status">
      <p>
        <strong>Version {number} is restored</strong> as{" "}
        <a href={hrefTo(["versions", String(restored.number)])}>{`version ${restored.number}`}</a>.
        {restored.file && " The configuration file was written; its text before stays beside it, as FILE.before."}
      </p>
      <Effect {...restored} />
    </div>
  );
