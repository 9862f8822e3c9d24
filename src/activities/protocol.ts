import type { RedisConfig } from "../redis/settings.ts";
import type { QueueConfig, SinkConfig } from "./destinations.ts";
import type { ActivityPolicy, ActivityStats, Failures } from "./engine.ts";
import type { Admission, Post } from "./intake.ts";

/** Says where activities wait and where they go: only a restart changes it. */
export interface Opening {
  readonly path: string;
  /** The path of the gateway's own database, which no table may lie in. */
  readonly databasePath: string;
  /** Redis, which then holds the queue where that is embedded; `null`: it is in the file. */
  readonly redis: RedisConfig | null;
  readonly queue: QueueConfig;
  readonly sinks: readonly SinkConfig[];
}

/** Lists the questions of the gateway to the thread that works on activities. `id` comes back with the answer. */
export type Question =
  | { readonly kind: "open"; readonly opening: Opening; readonly policy: ActivityPolicy }
  | { readonly kind: "policy"; readonly policy: ActivityPolicy }
  | { readonly kind: "take"; readonly id: number; readonly post: Post }
  | { readonly kind: "failures"; readonly id: number; readonly sink: string | null; readonly place: string; readonly limit: number }
  | { readonly kind: "replay"; readonly id: number; readonly of: string; readonly sink: string | null }
  | { readonly kind: "stats"; readonly id: number }
  | { readonly kind: "close"; readonly id: number };

/** Names the answer to each kind of question. */
export interface Values {
  readonly take: Admission;
  readonly failures: Failures | null;
  readonly replay: { replayed: number; states: string[] } | null;
  readonly stats: ActivityStats;
  /** True when all of the database is in its one file. */
  readonly close: boolean;
}

export type Answer =
  | { readonly kind: "opened"; readonly fault: string | null }
  | { readonly kind: "answer"; readonly id: number; readonly value: Values[keyof Values] }
  /** The question could not be answered: the disk is full, or the like. */
  | { readonly kind: "fault"; readonly id: number; readonly message: string }
  /** What could not be done for a part can be again: the queue (`null`), or a sink. */
  | { readonly kind: "fine"; readonly sink: string | null }
  /** Something is wrong with a sink, or with what the queue holds (`null`), that keeps no other activity from taking effect. */
  | { readonly kind: "notice"; readonly sink: string | null; readonly message: string }
  | { readonly kind: "trouble"; readonly sink: string | null; readonly message: string; readonly attempts: number };
