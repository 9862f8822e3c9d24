import { resolve } from "node:path";
import { shareFiles } from "../../storage/files.ts";
import type { SinkConfig } from "../destinations.ts";

/** Gives a sink's name: its own, or its type. */
export const nameOf = ({ name, type }: SinkConfig): string => name ?? type;

/** Tells whether a sink can keep `activity_log`. */
export const canKeepLog = ({ type }: SinkConfig): boolean => type !== "kafka";

/** Tells whether a sink's tables are in the file of the queue. */
export const isLocal = (sink: SinkConfig, path: string): boolean =>
  sink.type === "sqlite" && (sink.path === null || resolve(sink.path) === resolve(path) || shareFiles(sink.path, path));
