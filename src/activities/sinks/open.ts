import { shareFiles } from "../../storage/files.ts";
import type { Clock } from "../../values/clock.ts";
import { type ActivityDatabase, openActivities } from "../database.ts";
import type { SinkConfig } from "../destinations.ts";
import type { NamedSink } from "../engine.ts";
import type { ActivityQueue } from "../queues/queue.ts";
import { BigQuerySink } from "./bigquery.ts";
import { KafkaSink } from "./kafka.ts";
import { canKeepLog, isLocal, nameOf } from "./names.ts";
import { PostgresSink } from "./postgres.ts";
import type { Sink } from "./sink.ts";
import { SqliteSink } from "./sqlite.ts";

export interface SinkSources {
  readonly path: string;
  /** The path of the gateway's own database. */
  readonly databasePath: string;
  readonly database: ActivityDatabase;
  readonly queue: ActivityQueue;
  readonly clock: Clock;
  /** Tells what is wrong in a sink though activities take effect. */
  readonly onTrouble: (sink: string, message: string) => void;
}

/** Opens the sinks, and says which of them keeps `activity_log` (`null`: none can). Connects to nothing yet. Throws for a file that can't be used. */
export function openSinks(configs: readonly SinkConfig[], sources: SinkSources) {
  const keeper = configs.find(canKeepLog) ?? null;
  const sinks = configs.map(
    (config, place): NamedSink => ({ name: nameOf(config), type: config.type, sink: openSink(config, place, config === keeper, sources) }),
  );
  return { sinks, keeper: keeper === null ? null : nameOf(keeper), isLogLocal: keeper === null || isLocal(keeper, sources.path) };
}

function openSink(
  config: SinkConfig,
  place: number,
  keepsLog: boolean,
  { path, databasePath, database, queue, clock, onTrouble }: SinkSources,
): Sink {
  switch (config.type) {
    case "sqlite": {
      if (isLocal(config, path)) {
        const sharesQueue = queue.isTransactional;
        // What another queue has forgotten must be on the disk.
        return new SqliteSink(sharesQueue ? database.quick : database.durable, { sharesQueue, keepsLog });
      }
      const file = config.path ?? path;
      if (shareFiles(file, databasePath)) throw new Error(`${file} leads to the gateway's own database`);
      const own = openActivities(file);
      return new SqliteSink(own.durable, { sharesQueue: false, keepsLog }, () => void own.close());
    }
    case "postgres":
      return new PostgresSink(config, { keepsLog });
    case "bigquery":
      return new BigQuerySink({ config, rank: queue.rank, keepsLog, clock, onTrouble: (message) => onTrouble(nameOf(config), message) });
    case "kafka":
      return new KafkaSink({ config, where: `activities.sinks[${place}]` });
  }
}
