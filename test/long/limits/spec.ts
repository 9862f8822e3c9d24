import type { LimitConfig, QuotaConfig } from "../../../src/limits/settings.ts";

/** What a worker of this test does. */
export interface Spec {
  readonly limits: readonly LimitConfig[];
  readonly quotas: readonly QuotaConfig[];
  readonly requests: number;
  /** Whether what a request holds stays held until the process ends. */
  readonly holds: "for ever" | false;
}
