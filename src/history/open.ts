import { CellFolder } from "../shared/cell-folder.ts";
import { CellSums } from "../shared/cell-sums.ts";
import type { Storage } from "../storage/open.ts";
import { Metrics } from "../telemetry/metrics.ts";
import type { Clock } from "../values/clock.ts";
import type { ConsumerCounts } from "./consumer-counts.ts";
import { History } from "./history.ts";
import type { Traffic } from "./sums.ts";
import { HistoryTable } from "./table.ts";
import { HistoryWriter } from "./writer.ts";

export interface OpeningDeps {
  readonly storage: Storage;
  readonly clock: Clock;
  readonly metrics: Pick<Metrics, "traffic">;
  readonly consumers: ConsumerCounts;
  /** Names this start of the gateway; `null`: this process is alone. */
  readonly run: string | null;
  /** Has what consumers have used up to now be noted in `consumers`. */
  readonly flushUsage: () => void;
}

/** Opens history: what writes it, what answers questions, and the rows themselves. */
export function openHistory({ storage, clock, metrics, consumers, run, flushUsage }: OpeningDeps) {
  const table = new HistoryTable(storage);
  const writer = new HistoryWriter({
    ...{ table, clock, consumers, run },
    traffic: () => trafficIn(metrics.traffic()),
    trafficOf: (other) => leftBy(storage.path, other),
  });
  return { table, writer, history: new History({ table, writer, clock, flushUsage }) };
}

/** Gives what another start of the gateway on this database had counted, from the files of its processes. */
function leftBy(databasePath: string, run: string): Traffic | null | "lives" {
  if (databasePath === ":memory:") return null;
  const folder = new CellFolder(databasePath);
  const files = folder.files("metrics").filter((file) => file.run === run);
  if (files.some(({ process }) => !folder.isDead(process))) return "lives";
  if (files.length === 0 && folder.retired(run).length === 0) return null;
  return trafficIn(Metrics.trafficOf(new CellSums(folder, run)));
}

function trafficIn({ routes, refusals }: ReturnType<Metrics["traffic"]>): Traffic {
  return {
    routes: new Map(
      routes.map(({ name, serverErrors, ...sums }) => {
        const { requests, clientErrors, limited, latency } = sums;
        return [name, { requests, clientErrors, errors: serverErrors, limited, latency }];
      }),
    ),
    refusals,
  };
}
