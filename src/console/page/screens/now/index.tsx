import { ErrorNote } from "../../parts/error-note.tsx";
import { ScreenFrame } from "../../parts/screen.tsx";
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
