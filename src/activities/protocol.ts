import type { RedisConfig } from "../redis/settings.ts";
import type { Failure } from "./activity-log.ts";
import type { ActivityPolicy, ActivityStats, Admission } from "./engine.ts";

/** Lists the questions of the gateway to the thread that works on activities. `id` comes back with the answer. */
export type Question =
  | { readonly kind: "open"; readonly path: string; readonly policy: ActivityPolicy; readonly redis: RedisConfig | null }
  | { readonly kind: "policy"; readonly policy: ActivityPolicy }
  | { readonly kind: "take"; readonly id: number; readonly body: string }
  | { readonly kind: "failures"; readonly id: number; readonly before: string; readonly limit: number }
  | { readonly kind: "replay"; readonly id: number; readonly of: string }
  | { readonly kind: "stats"; readonly id: number }
  | { readonly kind: "close"; readonly id: number };

/** Names the answer to each kind of question. */
export interface Values {
  readonly take: Admission;
  readonly failures: readonly Failure[];
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
  /** Batches that could not be applied can be again. */
  | { readonly kind: "fine" }
  | { readonly kind: "trouble"; readonly message: string; readonly attempts: number };
