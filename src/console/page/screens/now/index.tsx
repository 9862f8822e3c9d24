import { get, type Page } from "../../api.ts";
import { useLive } from "../../live.ts";
import { ErrorNote } from "../../parts/error-note.tsx";
import { ScreenFrame } from "../../parts/screen.tsx";
import { hrefTo } from "../../router.ts";
import { Happenings, LastRefusals } from "./happenings.tsx";
import { OverTime } from "./over-time.tsx";
import { Standing } from "./standing.tsx";
import { Blocks, Busiest, PoolStates, Processes, Refusals, Routes, Targets } from "./tables.tsx";
import { Tiles } from "./tiles.tsx";
import { useWatch } from "./watch.ts";

/** Shows what the gateway does at this moment: to be left open on a wall. */
export function Now() {
  const { now, before, rates, error } = useWatch();
  return (
    <ScreenFrame title="Now">
      {error !== null && <ErrorNote problem={error} />}
      {now !== null && before !== null && (
        <>
          <Standing now={now} />
          <NoRoutes />
          <Tiles {...{ now, before, rates }} />
          <OverTime rates={rates} />
          <div class="columns">
            <Routes {...{ now, before }} />
            <Refusals {...{ now, before }} />
            <Busiest now={now} />
            <LastRefusals />
            <Targets now={now} />
            <Happenings />
            <PoolStates now={now} />
            <Blocks now={now} />
            <Processes now={now} />
          </div>
        </>
      )}
    </ScreenFrame>
  );
}

/** Leads to the first steps while there is no route. */
function NoRoutes() {
  const { value } = useLive("routes", (signal) => get<Page<object>>("routes", { limit: 1 }, signal), 0);
  if (value === null || value.items.length > 0) return null;
  return (
    <p class="note">
      <span>
        This gateway has no route yet. <a href={hrefTo(["start"])}>Set it up in three steps</a>: a backend, a route, a key.
      </span>
    </p>
  );
}
