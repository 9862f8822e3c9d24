/** Says what a program of callers does. */
export interface Task {
  /** What all ids of its calls begin with. */
  readonly name: string;
  /** The gateways' addresses. */
  readonly bases: readonly string[];
  readonly key: string;
  readonly models: readonly string[];
  /** Callers at the same time. */
  readonly streams: number;
  /** The refusals one after another with which a caller gives up. */
  readonly refusals: number;
  /** The most calls of each caller. */
  readonly most: number;
  readonly seed: number;
}

/** Tells what came of one call. */
export interface Call {
  readonly id: string;
  readonly model: string;
  /** 0: it broke. */
  readonly status: number;
  /** Events of a stream that have come. */
  readonly events: number;
  /** True where the caller has left before the end. */
  readonly left: boolean;
  /** What the client said of a call that failed. */
  readonly fault?: string;
}
