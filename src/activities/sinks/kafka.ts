import type { KafkaSinkConfig } from "../destinations.ts";
import { KafkaAway } from "../kafka/client.ts";
import { type KafkaRecord, KafkaWriter, RecordTooLarge } from "../kafka/writer.ts";
import { type Delivery, type Outcome, type Row, type Run, type Sink, SinkAway } from "./sink.ts";

export interface KafkaSinkOptions {
  readonly config: KafkaSinkConfig;
  /** The place of its settings, such as "activities.sinks[1]". */
  readonly where: string;
}

/** Writes activities to a topic: in order for each table, each at least once, with its id. */
export class KafkaSink implements Sink {
  readonly delivery = "atLeastOnce";
  readonly sharesQueue = false;
  readonly ledger = null;
  private readonly writer: KafkaWriter;

  constructor({ config, where }: KafkaSinkOptions) {
    const { topic, partitions } = config;
    // That it is away is told by what is thrown.
    this.writer = new KafkaWriter({ connection: config, where, topic, partitions, retention: null, onChange: () => {} });
  }

  async apply(runs: readonly Run[], { at }: Delivery): Promise<readonly Outcome[]> {
    const records = runs.flatMap((run) => run.rows.map((row) => recordOf(run, row, at)));
    try {
      await this.writer.write(records);
    } catch (error) {
      if (error instanceof KafkaAway) throw new SinkAway(error.message);
      // Alone it is known which one it is: nobody tries it again in vain.
      if (error instanceof RecordTooLarge && records.length === 1) return [error.message];
      throw error;
    }
    return records.map(() => null);
  }

  prune(): boolean {
    return false;
  }

  close(): Promise<void> {
    return this.writer.close();
  }
}

/** Gives an activity as others read it: with the names of fields in one spelling, and what was sent as it was sent. */
function recordOf({ operation, table }: Run, { id, payload }: Row, timestamp: number): KafkaRecord {
  const name = table.toLowerCase();
  const sent = payload as Readonly<Record<string, unknown>>;
  const lists = (from: Readonly<Record<string, unknown>>) => ({
    colNames: from.colNames ?? from.col_names,
    colTypes: from.colTypes ?? from.col_types,
    colValues: from.colValues ?? from.col_values,
  });
  const old = (sent.oldValue ?? sent.old_value) as Readonly<Record<string, unknown>>;
  const value = { id, operation, table: sent.table, ...(operation === "insert" ? lists(sent) : { oldValue: lists(old) }) };
  return { key: `${name}:${id}`, partitionBy: name, value: JSON.stringify(value), headers: [], timestamp };
}
