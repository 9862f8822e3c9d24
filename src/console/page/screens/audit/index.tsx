import { useState } from "preact/hooks";
import { get, type Problem, problemOf } from "../../api.ts";
import { counted, dateTime } from "../../format.ts";
import { useList } from "../../list.ts";
import { ErrorNote } from "../../parts/error-note.tsx";
import { ScreenFrame } from "../../parts/screen.tsx";
import { Listing } from "../../parts/table.tsx";
import type { ScreenProps } from "../index.ts";
import { Filters, filterIn } from "./filters.tsx";
import { WhatChanged } from "./what-changed.tsx";

/** A row of `GET /admin/audit`. */
export interface AuditRow {
  readonly seq: number;
  readonly at: string;
  readonly actor: string;
  readonly ip: string;
  readonly action: string;
  readonly subject: string;
  readonly before: unknown;
  readonly after: unknown;
  readonly requestId: string;
}

/** Shows what was done to the gateway, and proves that nobody has touched the list. */
export function AuditScreen({ query }: ScreenProps) {
  const list = useList<AuditRow>("audit", filterIn(query));
  return (
    <ScreenFrame
      title="Audit"
      intro="Who did what to the gateway, the newest first. Each row is tied to the one before it, so that a row that is changed or taken away is found."
    >
      <Verification />
      <Listing
        list={list}
        caption="Audit log"
        noun="rows"
        textOf={({ actor, action, subject, ip }) => `${actor} ${action} ${subject} ${ip}`}
        keyOf={({ seq }) => String(seq)}
        filters={<Filters query={query} />}
        empty={<p>Nothing matches. What people and the gateway itself change is written down here.</p>}
        columns={[
          { name: "No.", isNumber: true, isWide: true, cell: ({ seq }) => seq },
          { name: "Time", cell: ({ at }) => <time dateTime={at}>{dateTime(at)}</time> },
          {
            name: "Who",
            cell: ({ actor, ip }) => (
              <>
                {actor}
                {ip !== "" && <span class="fine"> {ip}</span>}
              </>
            ),
          },
          { name: "What", cell: (row) => <WhatChanged row={row} /> },
        ]}
      />
    </ScreenFrame>
  );
}

interface Verified {
  readonly valid: boolean;
  readonly rows: number;
  readonly broken: { readonly seq: number; readonly why: string } | null;
}

/** Has the gateway compare all rows with their hashes, and says what came of it. */
function Verification() {
  const [found, setFound] = useState<Verified | Problem | null>(null);
  const [isBusy, setBusy] = useState(false);
  const verify = async (): Promise<void> => {
    setBusy(true);
    setFound(await get<Verified>("audit/verify").catch(problemOf));
    setBusy(false);
  };
  return (
    <div class="verification">
      <button type="button" aria-disabled={isBusy} onClick={() => void (isBusy || verify())}>
        Verify all rows
      </button>
      <div role="status">
        {found !== null && "valid" in found && found.broken === null && (
          <p class="note">{counted(found.rows, "row")} compared: all are as they were written.</p>
        )}
        {found !== null && "valid" in found && found.broken !== null && (
          <p class="note bad">
            Row {found.broken.seq} is not as it was written: {found.broken.why}. The {counted(found.rows, "row")} before it are. Somebody
            has changed the database by hand.
          </p>
        )}
      </div>
      {found !== null && !("valid" in found) && <ErrorNote problem={found} />}
    </div>
  );
}
