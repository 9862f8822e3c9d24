import { dateTime } from "../../format.ts";
import type { List } from "../../list.ts";
import { Badge } from "../../parts/badge.tsx";
import { Effect } from "../../parts/effect.tsx";
import { ScreenFrame } from "../../parts/screen.tsx";
import { Listing } from "../../parts/table.tsx";
import { hrefTo } from "../../router.ts";
import { sourceOf, type Version } from "./version.ts";

/** Lists the versions, the newest first. */
export const VersionList = ({ list }: { readonly list: List<Version> }) => (
  <ScreenFrame
    title="Versions"
    intro="Each change of what rules requests: by this console, by the API or in the configuration file. Open one to see what it changed, and to go back to it. The last 100 are kept; consumers, keys, tokens and blocks are not in them."
  >
    <Listing
      list={list}
      caption="Versions, the newest first"
      noun="versions"
      textOf={({ number, actor, note, created, changed, deleted }) =>
        [number, actor, note, ...created, ...changed, ...deleted].filter((each) => each !== null).join(" ")
      }
      keyOf={({ number }) => String(number)}
      empty={<p>There is no version yet. Change a tier, a route or the configuration file, and it is listed here.</p>}
      columns={[
        {
          name: "Version",
          cell: ({ number }) => (
            <>
              <a href={hrefTo(["versions", String(number)])}>{number}</a>{" "}
              {number === list.items[0]?.number && <Badge tone="good">in force</Badge>}
            </>
          ),
        },
        { name: "When", cell: ({ at }) => <time dateTime={at}>{dateTime(at)}</time> },
        { name: "What", cell: (version) => <Effect {...version} /> },
        { name: "Who", isWide: true, cell: ({ actor }) => actor },
        { name: "By", isWide: true, cell: sourceOf },
        { name: "Note", isWide: true, cell: ({ note }) => note ?? <span class="fine">–</span> },
      ]}
    />
  </ScreenFrame>
);
