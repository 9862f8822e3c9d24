import { get } from "../api.ts";
import { ago, dateTime, day } from "../format.ts";
import { useLive } from "../live.ts";
import { Badge } from "../parts/badge.tsx";
import { Code } from "../parts/copy.tsx";
import { ErrorNote } from "../parts/error-note.tsx";
import { ScreenFrame } from "../parts/screen.tsx";
import { Table } from "../parts/table.tsx";

/** How it stands with one place that certificates come from. */
interface Certificate {
  readonly names: readonly string[];
  readonly source: "file" | "acme";
  readonly place: string;
  readonly endsAt: string | null;
  readonly renewsAt: string | null;
  readonly trouble: string | null;
  readonly troubledSince: string | null;
}

/** Milliseconds between two looks. */
const LOOK_EVERY = 10_000;
/** Milliseconds before its end from which a certificate is worth a look. */
const SOON = 14 * 86_400_000;

const TURN_ON = `"server": {
  "tls": { "port": 443, "acme": { "hosts": ["api.example.com"], "email": "you@example.com" } }
}`;

/** Shows what https is served with, and until when. */
export function Certificates() {
  const { value, error, refresh } = useLive(
    "certificates",
    (signal) => get<{ readonly items: readonly Certificate[] }>("certificates", {}, signal),
    LOOK_EVERY,
  );
  return (
    <ScreenFrame
      title="Certificates"
      intro="What https is served with, until when each is valid, and what keeps one from being read or renewed."
    >
      {error !== null && <ErrorNote problem={error} onRetry={refresh} />}
      {value !== null && (
        <Table
          caption="Certificates"
          rows={value.items}
          keyOf={({ source, place }) => `${source} ${place}`}
          sortedBy={{ name: "Valid until" }}
          empty={
            <>
              <p>
                This gateway does not serve https. To have certificates ordered and renewed by themselves, put this into the configuration,
                with the names that lead here; with certificates of your own, name their files by <code>cert</code> and <code>key</code>.
              </p>
              <Code text={TURN_ON} what="lines" />
              <p>
                <a href="/docs/guides/https">How to serve https</a>
              </p>
            </>
          }
          columns={[
            { name: "Names", sort: ({ names }) => names.join(), cell: ({ names }) => (names.length === 0 ? "none yet" : names.join(", ")) },
            { name: "State", cell: State },
            {
              name: "Valid until",
              isNumber: true,
              sort: ({ endsAt }) => (endsAt === null ? null : Date.parse(endsAt)),
              cell: ({ endsAt }) =>
                endsAt === null ? (
                  "–"
                ) : (
                  <time dateTime={endsAt} title={dateTime(endsAt)}>
                    {day(endsAt)}, {ago(endsAt)}
                  </time>
                ),
            },
            {
              name: "Renewed",
              isNumber: true,
              isWide: true,
              cell: ({ renewsAt, source }) => (source === "file" ? "by you" : renewsAt === null ? "–" : ago(renewsAt)),
            },
            {
              name: "From",
              isWide: true,
              cell: ({ source, place }) => (source === "acme" ? `ordered for ${place}` : <code>{place}</code>),
            },
          ]}
        />
      )}
    </ScreenFrame>
  );
}

const State = ({ trouble, troubledSince, endsAt }: Certificate) => {
  if (trouble !== null)
    return (
      <>
        <Badge tone="bad">trouble</Badge>
        <p>{trouble}</p>
        {troubledSince !== null && <p class="fine">since {ago(troubledSince)}; what was good serves on</p>}
      </>
    );
  if (endsAt === null) return <Badge tone="warn">not there yet</Badge>;
  const left = Date.parse(endsAt) - Date.now();
  return left < 0 ? <Badge tone="bad">over</Badge> : left < SOON ? <Badge tone="warn">ends soon</Badge> : <Badge tone="good">good</Badge>;
};
