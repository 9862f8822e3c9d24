import type { Instance } from "./instance.ts";

/** Describes a plug-in as a route uses it. */
export interface Use {
  readonly instance: Instance;
  /** Its place among the route's plug-ins. */
  readonly at: number;
  /** Milliseconds that each hook may take. */
  readonly timeout: number;
  /** True when a hook that fails is taken for one that is not there. */
  readonly skips: boolean;
  /** The bytes of a body, decoded, that its hooks may read. */
  readonly maxBody: number;
}
