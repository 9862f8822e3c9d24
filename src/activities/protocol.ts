import type { RedisConfig } from "../config/schema.ts";
import type { Failure } from "./activity-log.ts";
import type { ActivityPolicy, ActivityStats, Admission } from "./engine.ts";

/** What the gateway asks of the thread that works on activities. `id` comes back with the answer. */
export type Question =
  | { readonly kind: "open"; readonly path: string; readonly policy: ActivityPolicy; readonly redis: RedisConfig | null }
  | { readonly kind: "policy"; readonly policy: ActivityPolicy }
  | { readonly kind: "take"; readonly id: number; readonly body: string }
  | { readonly kind: "failures"; readonly id: number; readonly before: string; readonly limit: number }
  | { readonly kind: "replay"; readonly id: number; readonly of: string }
  | { readonly kind: "stats"; readonly id: number }
  | { readonly kind: "close"; readonly id: number };

export type Answer =
  | { readonly kind: "opened"; readonly fault: string | null }
  | { readonly kind: "admission"; readonly id: number; readonly admission: Admission }
  | { readonly kind: "failures"; readonly id: number; readonly failures: readonly Failure[] }
  | { readonly kind: "replayed"; readonly id: number; readonly result: { replayed: number; states: string[] } | null }
  | { readonly kind: "stats"; readonly id: number; readonly stats: ActivityStats }
  | { readonly kind: "closed"; readonly id: number }
  /** The question could not be answered: the disk is full, or the like. */
  | { readonly kind: "fault"; readonly id: number; readonly message: string }
  /** What could not be applied can be again. */
  | { readonly kind: "fine" }
  | { readonly kind: "trouble"; readonly message: string; readonly attempts: number };
